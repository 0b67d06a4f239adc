"""From Argo CD Image Updater's words to ours: annotated Applications, and its `ImageUpdater` resource.

    image-list: web=ghcr.io/org/web:^1.2     ImageRepository + ImagePolicy semver ^1.2
    web.update-strategy: alphabetical        policy.alphabetical          (name: the same)
    web.update-strategy: digest              the one tag, digestReflectionPolicy Always
    web.allow-tags: regexp:^v                filterTags.pattern
    web.ignore-tags: *-rc*                   exclusionList, as regular expressions; `*` suspends the policy
    web.platforms: linux/arm64               UpdateGuard.platforms
    write-back-target: kustomization         UpdateGuard.targets: the entry of images:
    web.helm.image-tag: web.tag              UpdateGuard.targets: helmValues or path
    imagesVerification: {cosignKey}          UpdateGuard.verify
    git-branch: main:image-updates           GitRepository.ref.branch, push.branch

Nothing is dropped in silence: what has no equivalent becomes a note that names the Application and what to do.

settings.py      what the original is told: annotations, ImageUpdaters
sources.py       where in Git an Application's images stand, and what an ApplicationSet makes

Source: argoproj-labs/argocd-image-updater, docs/configuration, registry-scanner/pkg/image, pkg/argocd/update.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops_core.errors import ImageInvalid
from gitops_core.meta import Manifest
from gitops_core.oci.references import parse_image
from image_updater.domain.registry.references import parse_repository
from image_updater.domain.tags.filters import PatternInvalid, select_matching
from image_updater.domain.tags.semver import parse_tag
from sealoop.images.argo.settings import GROUP, PREFIX, Said, Settings, Updaters, read_annotations, translate_glob
from sealoop.images.argo.sources import (
    TEMPLATE,
    Source,
    expand_template,
    find_source,
    get_mapping,
    get_sequence,
    join,
    list_mappings,
    write_glob,
)

__all__ = ["PREFIX", "Imported", "import_argo"]

DEFAULT_EXCLUSION = r"^.*\.sig$"
INTERVAL = "5m"
FLUX_IMAGE = "image.toolkit.fluxcd.io/v1"
OF_APPLICATION = "sealoop.dev/application"
SIGNED_BY = "sealoop.dev/signed-by"
PULL_REQUEST = "sealoop.dev/pull-request"

_SHORT = re.compile(r"v?[0-9]+(?:\.[0-9]+)?(?:-[0-9A-Za-z.-]+)?")
_SAMPLES = ("1.2", "v1.2", "1", "v1")
_SCP = re.compile(r"(?P<user>[\w.-]+@)?(?P<host>[\w.-]+):(?P<path>(?!/).+)")
_NO_BRANCH = re.compile(r"[0-9a-f]{40}|v?[0-9]+(?:\.[0-9x*]+)+.*|[~^<>=*].*|refs/tags/.*")
_BOOLEANS = frozenset(("1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"))


@dataclass(frozen=True)
class Imported:
    """The equivalent objects, in the order to apply them, and what a person has to look at."""

    objects: tuple[Manifest, ...]
    notes: tuple[str, ...]


@dataclass
class _Draft:
    """One Application's objects while they are made.

    Attributes:
        taken: names of objects that are there already, of this Application or another.
        keys: by policy, the Secret with the cosign key of its image; "" for none.
    """

    application: Manifest
    namespace: str
    source: Source
    taken: set[str]
    notes: list[str] = field(default_factory=list)
    repositories: list[Manifest] = field(default_factory=list)
    policies: list[Manifest] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    platforms: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.application["metadata"]["name"])

    def note(self, text: str) -> None:
        self.notes.append(f"{self.application.get('kind', 'Application')} {self.name}: {text}")

    def make_name(self, *parts: str) -> str:
        """Make a name that is not taken yet."""
        wanted = name = _make_name(*parts)
        number = 2
        while name in self.taken:
            name = f"{wanted[:60]}-{number}"
            number += 1
        self.taken.add(name)
        return name


def import_argo(manifests: Iterable[Manifest], namespace: str = "") -> Imported:
    """Translate the Applications among `manifests`, as their annotations and ImageUpdaters say.

    Args:
        namespace: of the objects that are made; "" for each Application's own.
    """
    everything = tuple(manifests)
    notes: list[str] = []
    applications = [*_list_applications(everything, notes)]
    updaters = Updaters([m for m in everything if _is(m, GROUP, "ImageUpdater")])
    objects: list[Manifest] = []
    taken: dict[str, tuple[set[str], set[str]]] = {}
    for application in applications:
        home = namespace or str(application["metadata"].get("namespace", "argocd"))
        wholes, parts = taken.setdefault(home, (set(), set()))
        draft = _Draft(application, home, find_source(application), parts)
        spec = (
            updaters.find_settings(application, draft.note)
            if updaters.manifests
            else read_annotations(application, draft.note)
        )
        if spec is not None:
            for settings in spec.images:
                _translate_image(draft, settings)
            objects += _assemble(draft, spec, wholes)
        notes += draft.notes
    if not applications:
        notes.append("there is no Application among the manifests: nothing to import")
    else:
        notes += updaters.list_unused()
    return Imported(tuple(objects), tuple(dict.fromkeys(notes)))


def _list_applications(everything: Iterable[Manifest], notes: list[str]) -> Iterable[Manifest]:
    """Yield the Applications, and those that an ApplicationSet would make and that are not there."""
    found = [m for m in everything if _is(m, "argoproj.io", "Application")]
    yield from found
    owners = {
        (m["metadata"].get("namespace"), owner.get("name"))
        for m in found
        for owner in list_mappings(m["metadata"].get("ownerReferences"))
        if owner.get("kind") == "ApplicationSet"
    }
    for each in everything:
        if not _is(each, "argoproj.io", "ApplicationSet"):
            continue
        name = each["metadata"]["name"]
        if (each["metadata"].get("namespace"), name) in owners:
            continue
        if get_mapping(each.get("spec")).get("templatePatch"):
            notes.append(f"ApplicationSet {name}: its templatePatch is not read")
        yield from ({**made, "kind": "ApplicationSet"} for made in expand_template(each))


# What it becomes


def _translate_image(draft: _Draft, settings: Settings) -> None:
    base, constraint, digest = _split(settings.image)
    if TEMPLATE in settings.image:
        draft.note(f"image {settings.image!r} is left out: it is a template that only Argo CD can fill in")
        return
    try:
        image = str(parse_repository(base))
    except ImageInvalid as error:
        draft.note(f"image {settings.image!r} is left out: {error}")
        return
    if settings.get("kustomize.image-name") and any(name.startswith("helm.") for name in settings.values):
        draft.note(f"image {settings.image!r} is left out: Helm and Kustomize are both named for it")
        return
    name = draft.make_name(draft.name, settings.alias or image.rpartition("/")[2])
    choice = _make_choice(draft, settings, constraint, name)
    if choice is None:
        return
    if digest and "digestReflectionPolicy" not in choice:
        choice["digestReflectionPolicy"] = "IfNotPresent"
        draft.note(f"{name}: its image names a digest; the policy reflects the digest of each tag beside the tag")
    draft.repositories.append(_make_repository(draft, settings, base, name))
    policy = _make_object(FLUX_IMAGE, "ImagePolicy", draft.namespace, name)
    draft.policies.append({**policy, "spec": {"imageRepositoryRef": {"name": name}, **choice}})
    draft.platforms += [p.strip() for p in settings.get("platforms").split(",") if p.strip()]
    draft.keys[name] = _read_key(draft, settings, name)
    _declare_target(draft, settings, base, name)


def _split(image: str) -> tuple[str, str, str]:
    """Split an image into its name, its tag or constraint, and its digest.

    >>> _split("r.io:5000/web:^1@sha256:00")
    ('r.io:5000/web', '^1', 'sha256:00')
    """
    rest, _, digest = image.partition("@")
    if ":" not in rest.rpartition("/")[2]:
        return rest, "", digest
    base, _, constraint = rest.rpartition(":")
    return base, constraint.strip(), digest


def _make_choice(draft: _Draft, settings: Settings, constraint: str, name: str) -> dict[str, Any] | None:
    """Make the ImagePolicy's spec beside its repository; None when there is no equivalent."""
    spec: dict[str, Any] = {}
    strategy = settings.get("update-strategy", "semver").lower()
    match strategy:
        case "alphabetical" | "name":
            spec["policy"] = {"alphabetical": {"order": "asc"}}
        case "digest":
            # one tag whose digest is followed
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
        case _:
            # semver, also for a strategy that does not exist
            if strategy != "semver":
                draft.note(f"{name}: there is no strategy {strategy!r}; semver is used, as the original does")
            spec["policy"] = {"semver": {"range": constraint or "*"}}
            if short := _find_short_tag(draft, settings, constraint):
                draft.note(
                    f"{name}: tags of fewer than three parts, such as {short!r}, are no versions here: choose by "
                    "filterTags, with pattern '^(?P<v>[0-9]+\\.[0-9]+)$' and extract '$v.0' for two parts"
                )
    if (forced := settings.get("force-update")) and forced not in _BOOLEANS:
        draft.note(f"{name}: force-update {forced!r} is no boolean: the original passed the Application over")
    pattern = _write_allowed(settings)
    # allow-tags that nothing matches, and ignore-tags that all do: the policy is kept and chooses nothing
    if pattern is None:
        allowed = settings.get("allow-tags") or settings.get("tag-match")
        draft.note(f"{name}: allow-tags {allowed!r} matches nothing in the original; the policy is suspended")
        spec["suspend"] = True
    elif pattern and "filterTags" not in spec:
        spec["filterTags"] = {"pattern": pattern}
    if "*" in _list_ignored(settings):
        spec["suspend"] = True
    return spec


def _write_allowed(settings: Settings) -> str | None:
    """Return the pattern that tags must match; "" for any, None where nothing does."""
    text = settings.get("allow-tags") or settings.get("tag-match") or "any"
    kind, colon, pattern = text.partition(":")
    if text.lower() == "any":
        return ""
    if not colon or kind.lower() != "regexp":
        return None
    try:
        select_matching(pattern, ())
    except PatternInvalid:
        return None
    return pattern


def _find_short_tag(draft: _Draft, settings: Settings, constraint: str) -> str:
    """Return a tag of one or two parts that the image has, or seems to have; "" when none is known."""
    base = _split(settings.image)[0]
    known = [constraint, *_list_running(draft, settings, base)]
    for tag in known:
        if _SHORT.fullmatch(tag) and parse_tag(tag) is None:
            return tag
    if not (pattern := _write_allowed(settings)):
        return ""
    full = select_matching(pattern, ("1.2.3", "v1.2.3"))
    return "" if full else next(iter(select_matching(pattern, _SAMPLES)), "")


def _list_running(draft: _Draft, settings: Settings, base: str) -> Iterable[str]:
    """Yield the tags of the image that the Application reports."""
    summary = get_mapping(get_mapping(draft.application.get("status")).get("summary"))
    kustomized = get_sequence(get_mapping(draft.source.main.get("kustomize")).get("images"))
    for text in (*get_sequence(summary.get("images")), *(str(each).rpartition("=")[2] for each in kustomized)):
        name, tag, _ = _split(str(text))
        if tag and _is_same_image(name, base):
            yield tag
    for parameter in list_mappings(get_mapping(draft.source.main.get("helm")).get("parameters")):
        if parameter.get("name") == (settings.get("helm.image-tag") or "image.tag"):
            yield str(parameter.get("value", "")).partition("@")[0]


def _is_same_image(one: str, other: str) -> bool:
    try:
        return parse_image(one).repository == parse_image(other).repository
    except ImageInvalid:
        return False


def _make_repository(draft: _Draft, settings: Settings, image: str, name: str) -> Manifest:
    spec: dict[str, Any] = {"image": image, "interval": INTERVAL}
    patterns = []
    for glob in _list_ignored(settings):
        try:
            patterns += [translate_glob(glob)] if glob != "*" else []
        except PatternInvalid as error:
            draft.note(f"{name}: ignore-tags {glob!r} is no pattern and ignores nothing: {error}")
    if patterns:
        spec["exclusionList"] = [DEFAULT_EXCLUSION, *patterns]
    secret = settings.get("pull-secret")
    kind, _, where = secret.partition(":")
    if kind.strip().lower() == "pullsecret":
        spec["secretRef"] = {"name": _read_secret(draft, where, name)}
    elif secret:
        draft.note(f"{name}: pull secret {kind!r} has no equivalent: make a kubernetes.io/dockerconfigjson Secret")
    repository = _make_object(FLUX_IMAGE, "ImageRepository", draft.namespace, name)
    return {**repository, "spec": spec}


def _read_secret(draft: _Draft, where: str, name: str) -> str:
    """Return the name of the Secret at `namespace/name`, which must be where the objects are."""
    namespace, _, secret = where.strip().rpartition("/")
    namespace = namespace or str(draft.application["metadata"].get("namespace") or draft.namespace)
    if namespace != draft.namespace:
        draft.note(f"{name}: copy Secret {namespace}/{secret} to namespace {draft.namespace}")
    return secret


def _read_key(draft: _Draft, settings: Settings, name: str) -> str:
    secret, key = settings.key
    if secret:
        _read_secret(draft, secret, name)
        if key and not key.endswith(".pub"):
            draft.note(f"{name}: the key {key!r} of Secret {secret} counts when its name ends with .pub")
    return secret


def _declare_target(draft: _Draft, settings: Settings, image: str, policy: str) -> None:
    """Declare the value's place in Git as an UpdateGuard's target."""
    # a plug-in: only a person knows where it reads
    if any(name.startswith("plugin.") for name in settings.values) or draft.source.kind == "plugin":
        draft.note(f"{policy}: a plug-in reads its image; put a marker behind the value, or declare a target")
        return
    kind, _, path = (part.strip() for part in settings.get("write-back-target").partition(":"))
    if kind not in ("", "kustomization", "helmvalues"):
        draft.note(f"{policy}: there is no write-back-target {kind!r}; the usual one of the source is taken")
        kind = ""
    written = [settings.get(f"helm.image-{part}") for part in ("spec", "tag", "name")]
    kustomize = settings.get("kustomize.image-name")
    sort = str(get_mapping(draft.application.get("status")).get("sourceType") or "").lower()
    is_helm = kind == "helmvalues" or any(written) or "helm" in (draft.source.kind, sort)
    if settings.get("update-strategy").lower() == "digest" and not written[0]:
        draft.note(f"{policy}: a digest is set where one stands: put it there once, tag@digest or digest: beside")
    # a kustomization's images
    if kind == "kustomization" or kustomize or not is_helm:
        place = join(draft.source.folder, path if kind == "kustomization" else "")
        entry = _make_entry(kustomize or image)
        _declare(draft, settings, join(place, "kustomization.yaml"), policy, kustomizeImage=entry)
        return
    # Helm's values: the file that is named, else the last one of the source
    values = () if kind == "helmvalues" else draft.source.values
    file = values[-1] if values else _find_values_file(draft, path)
    if len(values) > 1:
        draft.note(f"{policy}: of several value files the last one counts: the target leads into {file}")
    spec, tag, name = written
    parent, pair = _find_parent(name or ("" if tag else "image.name"), tag or ("" if name else "image.tag"))
    # one field with the whole reference; name and tag as charts have them; or fields apart
    if spec:
        _declare(draft, settings, file, policy, path=spec, value="image")
    elif pair:
        _declare(draft, settings, file, policy, helmValues={"path": parent})
    else:
        for part, value in (("name", name), ("tag", tag)):
            if value:
                _declare(draft, settings, file, policy, path=value, value=part)


def _make_entry(name: str) -> dict[str, str]:
    return {"name": _split(name)[0]}


def _find_parent(name: str, tag: str) -> tuple[str, bool]:
    """Find the field above the repository, and whether repository and tag are below it as charts have them."""
    parent, _, last = name.rpartition(".")
    other, _, last_tag = tag.rpartition(".")
    return parent, bool(parent) and parent == other and last in ("repository", "name") and last_tag == "tag"


def _find_values_file(draft: _Draft, path: str) -> str:
    if path.startswith("$"):
        return join("", path.partition("/")[2])
    return join(draft.source.folder, path or "values.yaml")


def _declare(draft: _Draft, settings: Settings, file: str, policy: str, **place: Any) -> None:
    if TEMPLATE in str(place):
        draft.note(f"{policy}: the place {next(iter(place.values()))!r} is a template; declare a target for each")
        return
    if TEMPLATE in file:
        draft.note(f"{policy}: {file!r} is a template: the target leads into all of {write_glob(file)!r}")
        file = write_glob(file)
    draft.targets.append({"file": file, "policy": policy, **place})
    name = place.get("path") or f"{place.get('helmValues', {}).get('path')}.tag"
    names = {
        str(parameter.get("name"))
        for parameter in list_mappings(get_mapping(draft.source.main.get("helm")).get("parameters"))
    }
    if "kustomizeImage" not in place and name in names:
        draft.note(f"{policy}: its helm.parameters sets {name!r} and wins over the file: take it out")
    base = _split(settings.image)[0]
    for text in get_sequence(get_mapping(draft.source.main.get("kustomize")).get("images")):
        if "kustomizeImage" in place and _is_same_image(_split(str(text).rpartition("=")[2])[0], base):
            draft.note(f"{policy}: its kustomize.images sets {text!r} and wins over the file: take it out")


def _assemble(draft: _Draft, said: Said, wholes: set[str]) -> list[Manifest]:
    if not draft.policies:
        return []
    for text in draft.source.left:
        draft.note(text)
    label = name = _make_name(draft.name)
    number = 2
    while name in wholes:
        name = label = f"{_make_name(draft.name)[:60]}-{number}"
        number += 1
    wholes.add(name)
    for policy in draft.policies:
        policy["metadata"]["labels"] = {OF_APPLICATION: label}
    selector = {"matchLabels": {OF_APPLICATION: label}}
    url = _write_url(said.wide.get("git-repository") or draft.source.url)
    choosing = [*draft.repositories, *draft.policies, *_make_guards(draft, name, selector, targets=bool(url))]
    if not url:
        what = f"{draft.source.main.get('chart') or 'unknown'} of {draft.source.main.get('repoURL', '')}"
        draft.note(
            f"its source, {what}, is in no Git repository: tags are chosen and nothing is written; name one by "
            "git-repository, and a file by write-back-target"
        )
        return choosing
    source = _make_git_repository(draft, said, name, url)
    return [source, *choosing, _make_automation(draft, said, name, selector, str(source["spec"]["ref"]["branch"]))]


def _make_git_repository(draft: _Draft, said: Said, name: str, url: str) -> Manifest:
    method, _, credentials = said.wide.get("write-back-method", "argocd").partition(":")
    match method.strip().lower():
        case "argocd":
            draft.note("it wrote to the Application itself; the equivalent writes to Git, which Argo CD then syncs")
        case "git":
            pass
        case other:
            draft.note(f"there is no write-back-method {other!r}; the equivalent writes to Git")
    if TEMPLATE in url:
        draft.note(f"repository {url!r} is a template: write a GitRepository for each")
    source: dict[str, Any] = {"url": url, "interval": INTERVAL, "ref": {"branch": _find_branch(draft, said)}}
    kind, _, secret = credentials.strip().partition(":")
    if kind.strip().lower() == "secret":
        source["secretRef"] = {"name": _read_secret(draft, secret, name)}
        if url.startswith("ssh://"):
            secret = source["secretRef"]["name"]
            draft.note(f"Secret {secret}: its key sshPrivateKey is called identity here; add known_hosts")
    else:
        draft.note(f"name a Secret that may push to {url} in GitRepository {name}")
    repository = _make_object("source.toolkit.fluxcd.io/v1", "GitRepository", draft.namespace, name)
    return {**repository, "spec": source}


def _find_branch(draft: _Draft, said: Said) -> str:
    """Return the branch that is read."""
    base = said.wide.get("git-branch", "").partition(":")[0].strip()
    revision = base or draft.source.revision
    if revision in ("", "HEAD"):
        return "main"
    if TEMPLATE in revision or (not base and _NO_BRANCH.fullmatch(revision)):
        draft.note(f"revision {revision!r} is no branch that can be pushed to; main is taken")
        return "main"
    return revision.removeprefix("refs/heads/")


def _make_automation(draft: _Draft, said: Said, name: str, selector: Mapping[str, Any], branch: str) -> Manifest:
    git: dict[str, Any] = {"commit": {"author": {"name": "sealoop", "email": "sealoop@localhost"}}}
    push, forge = said.wide.get("git-branch", "").partition(":")[2].strip(), said.wide.get("pull-request")
    if TEMPLATE in push:
        draft.note(f"push branch {push!r} is a template; one branch is used: it is rebuilt from its base each time")
    if TEMPLATE in push or (forge and push in ("", branch)):
        push = f"image-updates-{name}"
    if push:
        git["push"] = {"branch": push}
    automation = _make_object(FLUX_IMAGE, "ImageUpdateAutomation", draft.namespace, name)
    if forge:
        automation["metadata"]["annotations"] = {PULL_REQUEST: forge}
        if labels := [label for label in said.labels if label and "," not in label]:
            automation["metadata"]["annotations"][f"{PULL_REQUEST}-labels"] = ",".join(labels)
        for label in said.labels:
            if "," in label:
                draft.note(f"pull request label {label!r} is left out: a label with a comma cannot be named")
    reference = {"kind": "GitRepository", "name": name}
    update = {"strategy": "Setters", "path": "./"}
    spec = {"interval": INTERVAL, "sourceRef": reference, "git": git, "update": update, "policySelector": selector}
    return {**automation, "spec": spec}


def _make_guards(draft: _Draft, name: str, selector: Mapping[str, Any], *, targets: bool) -> list[Manifest]:
    """Make the guard of all policies, and one for each cosign key that only some images are signed with."""
    guard: dict[str, Any] = {"policySelector": selector, "targets": draft.targets if targets else []}
    if draft.platforms:
        guard["platforms"] = sorted(set(draft.platforms))
    keys = set(draft.keys.values())
    made: list[Manifest] = []
    if keys != {""} and len(keys) == 1:
        guard["verify"] = _verify(next(iter(keys)))
    else:
        for policy in draft.policies:
            if key := draft.keys[policy["metadata"]["name"]]:
                policy["metadata"]["labels"] = {**policy["metadata"]["labels"], SIGNED_BY: key}
        for key in sorted(keys - {""}):
            signed = {"matchLabels": {**selector["matchLabels"], SIGNED_BY: key}}
            manifest = _make_object("sealoop.dev/v1alpha1", "UpdateGuard", draft.namespace, _make_name(name, key))
            made.append({**manifest, "spec": {"policySelector": signed, "verify": _verify(key)}})
    return [{**_make_object("sealoop.dev/v1alpha1", "UpdateGuard", draft.namespace, name), "spec": guard}, *made]


def _verify(secret: str) -> dict[str, Any]:
    return {"provider": "cosign", "secretRef": {"name": secret}}


def _write_url(text: str) -> str:
    """Write a repository's address as a GitRepository takes it.

    >>> _write_url("git@example.com:org/fleet.git")
    'ssh://git@example.com/org/fleet.git'
    """
    found = _SCP.fullmatch(text) if "://" not in text and TEMPLATE not in text else None
    return f"ssh://{found['user'] or ''}{found['host']}/{found['path']}" if found else text


def _list_ignored(settings: Settings) -> list[str]:
    return [pattern.strip() for pattern in settings.get("ignore-tags").split(",") if pattern.strip()]


def _make_name(*parts: str) -> str:
    """Make a name that objects may have.

    >>> _make_name("My_App", "org/web")
    'my-app-org-web'
    """
    return re.sub(r"[^a-z0-9.]+", "-", "-".join(parts).lower()).strip("-.")[:63].strip("-.") or "imported"


def _make_object(api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}


def _is(manifest: Manifest, group: str, kind: str) -> bool:
    return manifest.get("kind") == kind and str(manifest.get("apiVersion", "")).startswith(f"{group}/")
