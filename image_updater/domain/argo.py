"""From Argo CD Image Updater's words to ours: annotated Applications, and its `ImageUpdater` resource.

    image-list: web=ghcr.io/org/web:^1.2     ImageRepository + ImagePolicy semver ^1.2
    web.update-strategy: alphabetical        policy.alphabetical          (name: the same)
    web.update-strategy: digest              the one tag, digestReflectionPolicy Always
    web.allow-tags: regexp:^v                filterTags.pattern
    web.ignore-tags: *-rc*                   exclusionList, as regular expressions; `*` suspends the policy
    web.platforms: linux/arm64               UpdateGuard.platforms
    write-back-target: kustomization         UpdateGuard.targets: the entry of images:
    web.helm.image-tag: web.tag              UpdateGuard.targets: helmValues or path
    git-branch: main:image-updates           GitRepository.ref.branch, push.branch

Nothing is dropped in silence: what has no equivalent becomes a note that names the Application and what to do.

Source: argoproj-labs/argocd-image-updater, docs/configuration, pkg/argocd/annotations.go, api/v1alpha1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from gitops_core.meta import Manifest
from image_updater.domain.references import parse_image
from image_updater.errors import ImageInvalid

PREFIX = "argocd-image-updater.argoproj.io/"
GROUP = "argocd-image-updater.argoproj.io"
DEFAULT_EXCLUSION = r"^.*\.sig$"
INTERVAL = "5m"


@dataclass(frozen=True)
class Imported:
    """The equivalent objects, in the order to apply them, and what a person has to look at."""

    objects: tuple[Manifest, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Settings:
    """What was said of one image, by annotation names without prefix and alias."""

    alias: str
    image: str
    values: Mapping[str, str]

    def get(self, name: str, default: str = "") -> str:
        return self.values.get(name, default)


@dataclass
class _Draft:
    """One Application's objects while they are made."""

    application: Manifest
    namespace: str
    notes: list[str] = field(default_factory=list)
    repositories: list[Manifest] = field(default_factory=list)
    policies: list[Manifest] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    platforms: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.application["metadata"]["name"])

    def note(self, text: str) -> None:
        self.notes.append(f"Application {self.name}: {text}")


def import_argo(manifests: Iterable[Manifest], namespace: str = "") -> Imported:
    """The equivalents of the Applications among `manifests`, as their annotations and ImageUpdaters say.

    Args:
        namespace: of the objects that are made; "" for each Application's own.
    """
    everything = tuple(manifests)
    applications = [m for m in everything if _is(m, "argoproj.io", "Application")]
    updaters = [m for m in everything if _is(m, GROUP, "ImageUpdater")]
    objects: list[Manifest] = []
    notes: list[str] = []
    for application in applications:
        said = _of_updaters(application, updaters) if updaters else _of_annotations(application, notes)
        if said is None:
            continue
        app_wide, images = said
        draft = _Draft(application, namespace or str(application["metadata"].get("namespace", "argocd")))
        for settings in images:
            _image(draft, settings)
        objects += _assembled(draft, app_wide)
        notes += draft.notes
    if not applications:
        notes.append("there is no Application among the manifests: nothing to import")
    return Imported(tuple(objects), tuple(notes))


# What was said


def _of_annotations(application: Manifest, notes: list[str]) -> tuple[Mapping[str, str], list[_Settings]] | None:
    annotations = application["metadata"].get("annotations") or {}
    said = {key[len(PREFIX) :]: str(value) for key, value in annotations.items() if key.startswith(PREFIX)}
    listed = [item.strip() for item in said.get("image-list", "").split(",") if item.strip()]
    if not listed:
        if said:
            notes.append(f"Application {application['metadata']['name']}: no image-list, so nothing is updated")
        return None
    images = []
    for item in listed:
        alias, equals, image = item.partition("=")
        alias, image = (alias, image) if equals else ("", item)
        key = alias.replace("/", "_")
        own = {name[len(key) + 1 :]: value for name, value in said.items() if key and name.startswith(f"{key}.")}
        images.append(_Settings(alias, image, {**said, **own}))
    return said, images


def _of_updaters(
    application: Manifest, updaters: Sequence[Manifest]
) -> tuple[Mapping[str, str], list[_Settings]] | None:
    """The settings of the reference that fits the Application best; None when none does."""
    name, labels = str(application["metadata"]["name"]), application["metadata"].get("labels") or {}
    best: tuple[int, Manifest, Mapping[str, Any]] | None = None
    for updater in updaters:
        for reference in (updater.get("spec") or {}).get("applicationRefs") or ():
            score = _score(reference, name, labels)
            if score > 0 and (best is None or score > best[0]):
                best = score, updater, reference
    if best is None:
        return None
    _, updater, reference = best
    if reference.get("useAnnotations"):
        return _of_annotations(application, [])
    spec = updater.get("spec") or {}
    layers = [spec.get("commonUpdateSettings"), reference.get("commonUpdateSettings")]
    wide = {**_write_back(spec.get("writeBackConfig")), **_write_back(reference.get("writeBackConfig"))}
    images = []
    for image in reference.get("images") or ():
        values = dict(wide)
        for layer in (*layers, image.get("commonUpdateSettings")):
            values.update(_common(layer))
        values.update(_manifest_targets(image.get("manifestTargets")))
        images.append(_Settings(str(image.get("alias", "")), str(image.get("imageName", "")), values))
    return wide, images


def _score(reference: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> int:
    """How well a reference fits, 0 for not at all: an exact name, else as many literal characters as it has."""
    pattern = str(reference.get("namePattern", ""))
    wanted = (reference.get("labelSelectors") or {}).get("matchLabels") or {}
    if not fnmatchcase(name, pattern) or any(labels.get(k) != v for k, v in wanted.items()):
        return 0
    literal = len(re.sub(r"[*?]|\[[^]]*\]", "", pattern))
    return (1_000_000 if pattern == name else literal) + 1 + (100 if wanted else 0)


def _common(settings: Any) -> dict[str, str]:
    if not isinstance(settings, Mapping):
        return {}
    names = {"updateStrategy": "update-strategy", "allowTags": "allow-tags", "pullSecret": "pull-secret"}
    found = {ours: str(settings[theirs]) for theirs, ours in names.items() if settings.get(theirs)}
    for theirs, ours in (("ignoreTags", "ignore-tags"), ("platforms", "platforms")):
        if isinstance(settings.get(theirs), list):
            found[ours] = ",".join(map(str, settings[theirs]))
    return found


def _write_back(config: Any) -> dict[str, str]:
    if not isinstance(config, Mapping):
        return {}
    git = config.get("gitConfig") or {}
    found = {
        "write-back-method": config.get("method"),
        "git-repository": git.get("repository"),
        "git-branch": git.get("branch"),
        "write-back-target": git.get("writeBackTarget"),
        "pull-request": next(iter(git.get("pullRequest") or {}), None),
    }
    return {name: str(value) for name, value in found.items() if value}


def _manifest_targets(targets: Any) -> dict[str, str]:
    if not isinstance(targets, Mapping):
        return {}
    helm, kustomize = targets.get("helm") or {}, targets.get("kustomize") or {}
    names = {"name": "helm.image-name", "tag": "helm.image-tag", "spec": "helm.image-spec"}
    found = {ours: str(helm[theirs]) for theirs, ours in names.items() if helm.get(theirs)}
    return found | ({"kustomize.image-name": str(kustomize["name"])} if kustomize.get("name") else {})


# What it becomes


def _image(draft: _Draft, settings: _Settings) -> None:
    base, _, constraint = settings.image.rpartition(":") if _has_tag(settings.image) else (settings.image, "", "")
    try:
        image = str(parse_image(base).repository)
    except ImageInvalid as error:
        draft.note(f"image {settings.image!r} is left out: {error}")
        return
    name = _object_name(draft.name, settings.alias or image.rpartition("/")[2])
    choice = _choice(draft, settings, constraint, name)
    if choice is None:
        return
    draft.repositories.append(_repository(draft, settings, base, name))
    policy = _object("image.toolkit.fluxcd.io/v1", "ImagePolicy", draft.namespace, name)
    draft.policies.append({**policy, "spec": {"imageRepositoryRef": {"name": name}, **choice}})
    draft.platforms += [p.strip() for p in settings.get("platforms").split(",") if p.strip()]
    _target(draft, settings, base, name)


def _choice(draft: _Draft, settings: _Settings, constraint: str, name: str) -> dict[str, Any] | None:
    """The ImagePolicy's spec beside its repository; None when there is no equivalent."""
    spec: dict[str, Any] = {}
    match settings.get("update-strategy", "semver"):
        case "alphabetical" | "name":
            spec["policy"] = {"alphabetical": {"order": "asc"}}
        case "digest":
            if not constraint:
                draft.note(f"{name}: strategy digest needs a tag in image-list; it is left out")
                return None
            spec |= {"policy": {"alphabetical": {}}, "filterTags": {"pattern": f"^{re.escape(constraint)}$"}}
            spec |= {"digestReflectionPolicy": "Always", "interval": INTERVAL}
        case "newest-build" | "latest":
            draft.note(
                f"{name}: the build time decides nothing here, as its maker can set it to anything; put a number or a "
                "time into the tags and choose by filterTags.extract; it is left out"
            )
            return None
        case strategy:
            if strategy != "semver":
                draft.note(f"{name}: there is no strategy {strategy!r}; semver is used, as the original does")
            spec["policy"] = {"semver": {"range": constraint or "*"}}
    allowed = settings.get("allow-tags", "any")
    if allowed.startswith("regexp:") and "filterTags" not in spec:
        spec["filterTags"] = {"pattern": allowed.removeprefix("regexp:")}
    elif allowed != "any" and not allowed.startswith("regexp:"):
        draft.note(f"{name}: allow-tags {allowed!r} matches nothing in the original; the policy is suspended")
        spec["suspend"] = True
    if "*" in _ignored(settings):
        spec["suspend"] = True
    return spec


def _repository(draft: _Draft, settings: _Settings, image: str, name: str) -> Manifest:
    spec: dict[str, Any] = {"image": image, "interval": INTERVAL}
    if patterns := [_glob(pattern) for pattern in _ignored(settings) if pattern != "*"]:
        spec["exclusionList"] = [DEFAULT_EXCLUSION, *patterns]
    secret = settings.get("pull-secret")
    kind, _, where = secret.partition(":")
    if kind == "pullsecret":
        namespace, _, secret_name = where.rpartition("/")
        spec["secretRef"] = {"name": secret_name}
        if namespace not in ("", draft.namespace):
            draft.note(f"{name}: copy Secret {namespace}/{secret_name} to namespace {draft.namespace}")
    elif secret:
        draft.note(f"{name}: pull secret {kind!r} has no equivalent: make a kubernetes.io/dockerconfigjson Secret")
    repository = _object("image.toolkit.fluxcd.io/v1", "ImageRepository", draft.namespace, name)
    return {**repository, "spec": spec}


def _target(draft: _Draft, settings: _Settings, image: str, policy: str) -> None:
    """Where the value stands in Git, as an UpdateGuard's target."""
    kind, _, path = settings.get("write-back-target").partition(":")
    folder = _source(draft.application).get("path") or ""
    spec, tag, repository = (settings.get(f"helm.image-{part}") for part in ("spec", "tag", "name"))
    kustomize = settings.get("kustomize.image-name")
    is_helm = kind == "helmvalues" or spec or tag or repository or "helm" in _source(draft.application)
    if kind == "kustomization" or kustomize or not is_helm:
        place = _below(folder, path if kind == "kustomization" else "")
        target: dict[str, Any] = {"file": _below(place, "kustomization.yaml"), "policy": policy}
        draft.targets.append({**target, "kustomizeImage": {"name": kustomize or image}})
        return
    file = _below(folder, (path if kind == "helmvalues" else "") or _values_file(draft.application))
    if spec:
        draft.targets.append({"file": file, "policy": policy, "path": spec, "value": "image"})
        return
    for part, value in (("name", repository or "image.name"), ("tag", tag or "image.tag")):
        draft.targets.append({"file": file, "policy": policy, "path": value, "value": part})


def _assembled(draft: _Draft, app_wide: Mapping[str, str]) -> list[Manifest]:
    if not draft.policies:
        return []
    name = _object_name(draft.name)
    method, _, credentials = app_wide.get("write-back-method", "argocd").partition(":")
    if method == "argocd":
        draft.note("it wrote to the Application itself; the equivalent writes to Git, which Argo CD then syncs")
    base, _, push = app_wide.get("git-branch", "").partition(":")
    revision = str(_source(draft.application).get("targetRevision") or "")
    branch = base or (revision if revision not in ("", "HEAD") else "main")
    source: dict[str, Any] = {
        "url": app_wide.get("git-repository") or str(_source(draft.application).get("repoURL", "")),
        "interval": INTERVAL,
        "ref": {"branch": branch},
    }
    kind, _, secret = credentials.partition(":")
    if kind == "secret":
        source["secretRef"] = {"name": secret.rpartition("/")[2]}
    else:
        draft.note(f"name a Secret that may push to {source['url'] or 'the repository'} in GitRepository {name}")
    git: dict[str, Any] = {"commit": {"author": {"name": "sealoop", "email": "sealoop@localhost"}}}
    if push and "{{" in push:
        draft.note(f"push branch {push!r} is a template; one branch is used: it is rebuilt from its base each time")
        push = f"image-updates-{name}"
    if push:
        git["push"] = {"branch": push}
    reference = {"kind": "GitRepository", "name": name}
    update = {"strategy": "Setters", "path": "./"}
    automation = _object("image.toolkit.fluxcd.io/v1", "ImageUpdateAutomation", draft.namespace, name)
    if forge := app_wide.get("pull-request"):
        automation["metadata"]["annotations"] = {"sealoop.dev/pull-request": forge}
    selector = {"matchLabels": {"sealoop.dev/application": name}}
    for policy in draft.policies:
        policy["metadata"]["labels"] = selector["matchLabels"]
    spec = {"interval": INTERVAL, "sourceRef": reference, "git": git, "update": update, "policySelector": selector}
    guard: dict[str, Any] = {"policySelector": selector, "targets": draft.targets}
    if draft.platforms:
        guard["platforms"] = sorted(set(draft.platforms))
    return [
        {**_object("source.toolkit.fluxcd.io/v1", "GitRepository", draft.namespace, name), "spec": source},
        *draft.repositories,
        *draft.policies,
        {**_object("sealoop.dev/v1alpha1", "UpdateGuard", draft.namespace, name), "spec": guard},
        {**automation, "spec": spec},
    ]


def _source(application: Manifest) -> Mapping[str, Any]:
    spec = application.get("spec") or {}
    sources = [source for source in (spec.get("source"), *(spec.get("sources") or ())) if isinstance(source, Mapping)]
    return next((source for source in sources if source.get("path") is not None), sources[0] if sources else {})


def _values_file(application: Manifest) -> str:
    files = (_source(application).get("helm") or {}).get("valueFiles") or ()
    return next((str(file) for file in files if not str(file).startswith("$")), "values.yaml")


def _below(folder: str, path: str) -> str:
    """`path` below a folder of the repository; an absolute one is below its root."""
    whole = path if path.startswith("/") else f"{folder}/{path}"
    parts: list[str] = []
    for part in whole.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _ignored(settings: _Settings) -> list[str]:
    return [pattern.strip() for pattern in settings.get("ignore-tags").split(",") if pattern.strip()]


def _glob(pattern: str) -> str:
    """A glob of Go's filepath.Match as a regular expression of the whole tag.

    >>> _glob("*-rc?")
    '^.*\\\\-rc.$'
    """
    parts = re.findall(r"\*|\?|\[[^]]*\]|\\.|[^*?\[\\]+|.", pattern)
    known = {"*": ".*", "?": "."}
    return "^" + "".join(known.get(p) or (p if p.startswith("[") and len(p) > 1 else re.escape(p)) for p in parts) + "$"


def _has_tag(image: str) -> bool:
    return ":" in image.rpartition("/")[2]


def _object_name(*parts: str) -> str:
    """A name that objects may have.

    >>> _object_name("My_App", "org/web")
    'my-app-org-web'
    """
    return re.sub(r"[^a-z0-9.]+", "-", "-".join(parts).lower()).strip("-.")[:63].strip("-.") or "imported"


def _object(api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}


def _is(manifest: Manifest, group: str, kind: str) -> bool:
    return manifest.get("kind") == kind and str(manifest.get("apiVersion", "")).startswith(f"{group}/")
