"""What Argo CD Image Updater is told of an Application: by its annotations, or by an `ImageUpdater` that names it.

    image-list: web=ghcr.io/org/web:^1.2     web.allow-tags: regexp:^v      allow-tags: for all images
    applicationRefs[].images[]               nearer settings win over wider ones; the best reference wins over others

Words are trimmed, names of strategies and functions are of any case, an empty word counts as none.

Source: argoproj-labs/argocd-image-updater, pkg/argocd/annotations.go, pkg/argocd/argocd.go, api/v1alpha1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gitops_core.api import LabelSelector
from gitops_core.decoding import convert
from gitops_core.meta import Manifest
from image_updater.domain.guards.selectors import selects
from image_updater.domain.tags.filters import PatternInvalid, compile_pattern
from image_updater.errors import SelectorInvalid
from sealoop.images.argo.sources import get_mapping, get_sequence, list_mappings

PREFIX = "argocd-image-updater.argoproj.io/"
GROUP = "argocd-image-updater.argoproj.io"
Note = Callable[[str], None]

_OF_IMAGES = ("update-strategy", "force-update", "allow-tags", "ignore-tags", "pull-secret")
_OF_ALIASES = (
    *_OF_IMAGES,
    *("platforms", "tag-match", "kustomize.image-name"),
    *("helm.image-name", "helm.image-tag", "helm.image-spec"),
)
_OF_APPLICATIONS = ("image-list", "write-back-method", "write-back-target", "git-branch", "git-repository")
_FORGES = ("github", "gitlab", "gitea")


@dataclass(frozen=True)
class Settings:
    """What was said of one image, by annotation names without prefix and alias.

    Attributes:
        image: with its constraint, as written.
        key: the Secret with the cosign key, and the key's name in it; "" for no verification.
    """

    alias: str
    image: str
    values: Mapping[str, str]
    key: tuple[str, str] = ("", "")

    def get(self, name: str, default: str = "") -> str:
        return self.values.get(name, default)


@dataclass(frozen=True)
class Said:
    """What was said of one Application.

    Attributes:
        wide: of all its images: where and how to write.
        labels: of its pull requests.
    """

    wide: Mapping[str, str]
    images: tuple[Settings, ...]
    labels: tuple[str, ...] = ()


@dataclass
class Updaters:
    """The ImageUpdaters, and which of their references were of any use."""

    manifests: Sequence[Manifest]
    used: set[tuple[str, str]] = field(default_factory=set)

    def find_settings(self, application: Manifest, note: Note) -> Said | None:
        """Return the settings of the reference that fits the Application best; None when none does."""
        best: tuple[int, Manifest, Mapping[str, Any]] | None = None
        for updater in self.manifests:
            if not _is_of_namespace(updater, application):
                continue
            for reference in list_mappings(get_mapping(updater.get("spec")).get("applicationRefs")):
                score = _rate(reference, application, note)
                if score > 0:
                    self.used.add((str(updater["metadata"]["name"]), str(reference.get("namePattern"))))
                    if best is None or score > best[0]:
                        best = score, updater, reference
        if best is None:
            if any(key.startswith(PREFIX) for key in get_mapping(application["metadata"].get("annotations"))):
                note("its annotations count only where an ImageUpdater names it with useAnnotations; none does")
            return None
        _, updater, reference = best
        if reference.get("useAnnotations"):
            found = read_annotations(application, note)
            key = _read_key(reference.get("imagesVerification"), note)
            return found and Said(found.wide, tuple(Settings(s.alias, s.image, s.values, key) for s in found.images))
        return _read_reference(get_mapping(updater.get("spec")), reference, note)

    def list_unused(self) -> Iterable[str]:
        """Yield a note on each reference that names no Application that is there."""
        for updater in self.manifests:
            name = str(updater["metadata"]["name"])
            for reference in list_mappings(get_mapping(updater.get("spec")).get("applicationRefs")):
                pattern = str(reference.get("namePattern"))
                if (name, pattern) not in self.used:
                    yield f"ImageUpdater {name}: {pattern!r} names no Application among the manifests"


def read_annotations(application: Manifest, note: Note) -> Said | None:
    """Read the settings in the annotations; None when they ask for nothing."""
    annotations = get_mapping(application["metadata"].get("annotations"))
    found = {key[len(PREFIX) :]: str(text).strip() for key, text in annotations.items() if key.startswith(PREFIX)}
    listed = [item.strip() for item in found.get("image-list", "").split(",") if item.strip()]
    if not listed:
        if found:
            note("no image-list, so nothing is updated")
        return None
    wide = {name: text for name, text in found.items() if text and name in (*_OF_APPLICATIONS, *_OF_IMAGES)}
    known = {*_OF_APPLICATIONS, *_OF_IMAGES}
    images = []
    for item in listed:
        alias, equals, image = item.partition("=")
        alias, image = (alias.strip(), image.strip()) if equals else ("", item)
        names = {f"{alias.replace('/', '_')}.{name}": name for name in _OF_ALIASES} if alias else {}
        known |= names.keys()
        own = {name: found[key] for key, name in names.items() if found.get(key)}
        images.append(Settings(alias, image, {**wide, **own}))
    for name in sorted(found.keys() - known):
        note(f"annotation {name!r} is none that is known for its images; it is left out")
    return Said(wide, tuple(images))


def _read_reference(spec: Mapping[str, Any], reference: Mapping[str, Any], note: Note) -> Said:
    configs = [get_mapping(each.get("writeBackConfig")) for each in (spec, reference)]
    wide: dict[str, str] = {}
    labels: tuple[str, ...] = ()
    for config in configs:
        wide.update(_write_back(config, note))
        asked = get_mapping(get_mapping(config.get("gitConfig")).get("pullRequest"))
        labels = tuple(str(label).strip() for label in get_sequence(asked.get("labels"))) or labels
    images = []
    for image in list_mappings(reference.get("images")):
        values = dict(wide)
        for layer in (spec, reference, image):
            values.update(_read_common(layer.get("commonUpdateSettings")))
        values.update(_read_manifest_targets(image.get("manifestTargets")))
        verification = image.get("imagesVerification") or reference.get("imagesVerification")
        alias, name = str(image.get("alias", "")).strip(), str(image.get("imageName", "")).strip()
        images.append(Settings(alias, name, values, _read_key(verification or spec.get("imagesVerification"), note)))
    return Said(wide, tuple(images), labels)


def _is_of_namespace(updater: Manifest, application: Manifest) -> bool:
    """Tell whether an ImageUpdater is of an Application's namespace; the first versions let it name another."""
    mine = application["metadata"].get("namespace")
    named = (updater["metadata"].get("namespace"), get_mapping(updater.get("spec")).get("namespace"))
    names = {str(name) for name in named if name}
    return not mine or not names or mine in names


def _rate(reference: Mapping[str, Any], application: Manifest, note: Note) -> int:
    """Return how well a reference fits, 0 for not at all: an exact name, else as many literal characters as it has."""
    name, labels = str(application["metadata"]["name"]), get_mapping(application["metadata"].get("labels"))
    pattern = str(reference.get("namePattern", ""))
    selector = reference.get("labelSelectors")
    try:
        fits = compile_glob(pattern).search(name.encode()) is not None
        wanted = convert(selector, LabelSelector) if selector else None
        if not fits or not selects(wanted, {str(key): str(value) for key, value in labels.items()}):
            return 0
    except PatternInvalid:
        note(f"applicationRefs: {pattern!r} is no pattern and matches nothing")
        return 0
    except (msgspec.ValidationError, SelectorInvalid) as error:
        note(f"applicationRefs {pattern!r}: labelSelectors cannot be read and match nothing: {error}")
        return 0
    literal = len(re.sub(r"[*?]|\[[^]]*\]", "", pattern))
    return (1_000_000 if pattern == name else literal) + 1 + (100 if selector else 0)


def compile_glob(glob: str) -> Any:
    """Compile a glob of Go's filepath.Match. Raises PatternInvalid."""
    return compile_pattern(translate_glob(glob))


def translate_glob(glob: str) -> str:
    """Write a glob of Go's filepath.Match as a regular expression of the whole text.

    >>> translate_glob("*-rc?")
    '^.*\\\\-rc.$'

    Raises:
        PatternInvalid: a class that is not closed, or a backslash at the end.
    """
    parts = re.findall(r"\*|\?|\[\^?(?:\\.|[^\]\\])+\]|\\.|[^*?\[\\]+|.", glob, re.DOTALL)
    return "^" + "".join(map(_translate_part, parts)) + "$"


def _translate_part(part: str) -> str:
    match part:
        case "*" | "?":
            return ".*" if part == "*" else "."
        case "[" | "\\":
            raise PatternInvalid(f"{part!r} is not closed")
    if part[0] == "\\":
        return re.escape(part[1])
    return part.replace("[[", "[\\[") if part[0] == "[" else re.escape(part)


def _read_common(settings: Any) -> dict[str, str]:
    settings = get_mapping(settings)
    names = {"updateStrategy": "update-strategy", "allowTags": "allow-tags", "pullSecret": "pull-secret"}
    found = {ours: str(settings[theirs]).strip() for theirs, ours in names.items() if settings.get(theirs)}
    for theirs, ours in (("ignoreTags", "ignore-tags"), ("platforms", "platforms")):
        if isinstance(settings.get(theirs), list):
            found[ours] = ",".join(map(str, settings[theirs]))
    return found


def _write_back(config: Mapping[str, Any], note: Note) -> dict[str, str]:
    git = get_mapping(config.get("gitConfig"))
    asked = {str(name): value for name, value in get_mapping(git.get("pullRequest")).items() if name != "labels"}
    found = {
        "write-back-method": config.get("method"),
        "git-repository": git.get("repository"),
        "git-branch": git.get("branch"),
        "write-back-target": git.get("writeBackTarget"),
        "pull-request": next((name.lower() for name in asked if name.lower() in _FORGES), None),
    }
    for name in asked:
        if name.lower() not in _FORGES:
            note(f"pullRequest.{name} has no equivalent: commits are pushed, and no pull request is opened")
    return {name: str(value).strip() for name, value in found.items() if value}


def _read_manifest_targets(targets: Any) -> dict[str, str]:
    targets = get_mapping(targets)
    names = {"name": "image-name", "tag": "image-tag", "spec": "image-spec"}
    found: dict[str, str] = {}
    for kind in ("helm", "plugin"):
        settings = get_mapping(targets.get(kind))
        found |= {f"{kind}.{ours}": str(settings[key]).strip() for key, ours in names.items() if settings.get(key)}
    kustomize = get_mapping(targets.get("kustomize"))
    return found | ({"kustomize.image-name": str(kustomize["name"]).strip()} if kustomize.get("name") else {})


def _read_key(verification: Any, note: Note) -> tuple[str, str]:
    """Return the Secret of `imagesVerification`, and the key's name in it."""
    verification = get_mapping(verification)
    if not verification or verification.get("enabled") is False:
        return "", ""
    key = get_mapping(verification.get("cosignKey"))
    if not key.get("secretName"):
        note("imagesVerification names no cosignKey.secretName; no signature is asked for")
        return "", ""
    return str(key["secretName"]), str(key.get("key") or "")
