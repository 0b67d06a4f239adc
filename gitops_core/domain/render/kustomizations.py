"""What a kustomization file may say, and where in it files are named: read once, by us, and written anew for kustomize.

kustomize takes `Files`, `FILES` and `files` for the same key, unfolds Lists, and tries a text as YAML before it takes
it for a path. So that there is one reading only, a key is known exactly as it is spelled here or refused, every text
that names a file passes through a function that decides what it names, and kustomize is given what came of it as JSON.

    configMapGenerator: [{name: x, files: [a/b.txt]}]      b.txt=<what the function answers for a/b.txt>
    configMapGenerator: [{name: x, Files: [a/b.txt]}]      refused: configMapGenerator[0].Files is not a known key

Source: kustomize 5.8, api/types; api/internal/builtins (what plug-ins read); api/internal/plugins/builtinconfig.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from gitops_core.domain.render.manifests import Malformed, read_documents
from gitops_core.errors import ManifestInvalid
from gitops_core.schema.formats import write_number


class Role(Enum):
    """What a text in a kustomization stands for."""

    FILE = "a file"
    YAML = "a file that kustomize reads as YAML"
    KEYED_FILE = "a file, as key=path or path"
    FILE_FOR_SECRET = "a file whose contents a Secret gets"  # noqa: S105  # a role
    KEYED_FILE_FOR_SECRET = "a file whose contents a Secret gets, as key=path or path"  # noqa: S105
    FOLDER = "a folder with a kustomization file"
    RESOURCE = "a file, or a folder with a kustomization file"
    PATCH = "a patch, or a file with one"
    TEXT = "a patch"
    PLUGIN = "the configuration of plug-ins, or a file with one"


Visit = Callable[[Role, str, str], str]
"""Decides what a text names: (its role, the text, its place such as `patches[0].path`) -> what to say instead."""


@dataclass(frozen=True)
class _List:
    of: Shape


@dataclass(frozen=True)
class _Fields:
    """A mapping with these keys and no others; `spellings` are other forms that everybody writes."""

    shapes: Mapping[str, Shape]
    spellings: Mapping[str, str] = field(default_factory=dict)


class _Leaf(Enum):
    ANY = 1  # what kustomize takes as it is: a value, or a mapping with keys of the user's
    SWITCH = 2


Shape = _List | _Fields | _Leaf | Role

ANY, SWITCH = _Leaf.ANY, _Leaf.SWITCH
_YES = frozenset(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"))
_NO = frozenset(("n", "N", "no", "No", "NO", "off", "Off", "OFF"))


def _plain(names: str) -> dict[str, Shape]:
    return dict.fromkeys(names.split(), ANY)


def _switches(names: str) -> dict[str, Shape]:
    return dict.fromkeys(names.split(), SWITCH)


_GVK = _plain("group version kind")
_ID = {**_GVK, **_plain("name namespace")}
_SELECTOR = _Fields({**_ID, **_plain("annotationSelector labelSelector")})
_FIELD_SPECS = _List(_Fields({**_GVK, **_plain("path"), **_switches("create")}))
_METADATA = _Fields(_plain("name namespace labels annotations"))
_GENERATOR_OPTIONS = _Fields({**_plain("labels annotations"), **_switches("disableNameSuffixHash immutable")})
_CONFIG_MAP: dict[str, Shape] = {
    **_plain("name namespace behavior literals"),
    "files": _List(Role.KEYED_FILE),
    "envs": _List(Role.FILE),
    "env": Role.FILE,
    "options": _GENERATOR_OPTIONS,
}
_SECRET: dict[str, Shape] = {
    **_CONFIG_MAP,
    **_plain("type"),
    "files": _List(Role.KEYED_FILE_FOR_SECRET),
    "envs": _List(Role.FILE_FOR_SECRET),
    "env": Role.FILE_FOR_SECRET,
}
_LABEL = _Fields({**_plain("pairs"), **_switches("includeSelectors includeTemplates"), "fields": _FIELD_SPECS})
_PATCH: dict[str, Shape] = {
    "path": Role.YAML,
    "patch": Role.TEXT,
    "target": _SELECTOR,
    "options": _Fields(_switches("allowNameChange allowKindChange")),
}
_FIELD_OPTIONS = _Fields({**_plain("delimiter index encoding"), **_switches("create")})
_REPLACEMENT: dict[str, Shape] = {
    "path": Role.YAML,
    "source": _Fields({**_ID, "fieldPath": ANY, "options": _FIELD_OPTIONS}),
    "sourceValue": ANY,
    "targets": _List(
        _Fields({"select": _SELECTOR, "reject": _List(_SELECTOR), "fieldPaths": ANY, "options": _FIELD_OPTIONS})
    ),
}
_IMAGE = _Fields(_plain("name newName tagSuffix newTag digest"))
_REPLICA = _Fields(_plain("name count"))
_VAR = _Fields(
    {
        "name": ANY,
        "objref": _Fields(_plain("apiVersion group version kind name namespace")),
        "fieldref": _Fields(_plain("fieldPath"), {"fieldpath": "fieldPath"}),
    }
)

KUSTOMIZATION = _Fields(
    {
        **_plain("apiVersion kind namePrefix nameSuffix namespace commonLabels commonAnnotations buildMetadata"),
        "metadata": _METADATA,
        "openapi": _Fields({"path": Role.YAML, "version": ANY}),
        "labels": _List(_LABEL),
        "patchesStrategicMerge": _List(Role.PATCH),
        "patchesJson6902": _List(_Fields(_PATCH)),
        "patches": _List(_Fields(_PATCH)),
        "images": _List(_IMAGE),
        "imageTags": _List(_IMAGE),
        "replacements": _List(_Fields(_REPLACEMENT)),
        "replicas": _List(_REPLICA),
        "vars": _List(_VAR),
        "sortOptions": _Fields({"order": ANY, "legacySortOptions": _Fields(_plain("orderFirst orderLast"))}),
        "resources": _List(Role.RESOURCE),
        "bases": _List(Role.RESOURCE),
        "components": _List(Role.FOLDER),
        "crds": _List(Role.YAML),
        "configurations": _List(Role.YAML),
        "configMapGenerator": _List(_Fields(_CONFIG_MAP)),
        "secretGenerator": _List(_Fields(_SECRET)),
        "generatorOptions": _GENERATOR_OPTIONS,
        "generators": _List(Role.PLUGIN),
        "transformers": _List(Role.PLUGIN),
        "validators": _List(Role.PLUGIN),
    }
)
_HELM = ("helmCharts", "helmChartInflationGenerator", "helmGlobals")
_SPECS: dict[str, Shape] = {"fieldSpecs": _FIELD_SPECS}
_PLUGINS: Mapping[str, Mapping[str, Shape]] = {
    "ConfigMapGenerator": _CONFIG_MAP,
    "SecretGenerator": _SECRET,
    "IAMPolicyGenerator": {
        "cloud": ANY,
        "kubernetesService": _Fields(_plain("name namespace")),
        "serviceAccount": _Fields(_plain("name projectId")),
    },
    "AnnotationsTransformer": {"annotations": ANY, **_SPECS},
    "HashTransformer": {},
    "ImageTagTransformer": {"imageTag": _IMAGE, **_SPECS},
    "LabelTransformer": {"labels": ANY, **_SPECS},
    "NamespaceTransformer": {**_plain("setRoleBindingSubjects"), **_switches("unsetOnly"), **_SPECS},
    "PatchJson6902Transformer": {"target": _SELECTOR, "path": Role.YAML, "jsonOp": Role.TEXT},
    "PatchStrategicMergeTransformer": {"paths": _List(Role.PATCH), "patches": Role.TEXT},
    "PatchTransformer": _PATCH,
    "PrefixSuffixTransformer": {"prefix": ANY, "suffix": ANY, **_SPECS},
    "PrefixTransformer": {"prefix": ANY, **_SPECS},
    "SuffixTransformer": {"suffix": ANY, **_SPECS},
    "ReplacementTransformer": {"replacements": _List(_Fields(_REPLACEMENT))},
    "ReplicaCountTransformer": {"replica": _REPLICA, **_SPECS},
    "ValueAddTransformer": {
        "value": ANY,
        "targets": _List(_Fields({"selector": _SELECTOR, **_plain("fieldPath filePathPosition")})),
        "targetFilePath": Role.FILE,
    },
}


def write_texts(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write numbers and booleans as texts where kustomize wants texts, as Flux does with the kustomization it builds.

    In those that this one uses they stay, and kustomize refuses them.

    >>> dict(write_texts({"commonLabels": {"a": True, "b": 1.50}, "images": [{"name": "web", "newTag": 2}]}))
    {'commonLabels': {'a': 'true', 'b': '1.5'}, 'images': [{'name': 'web', 'newTag': '2'}]}

    Source: fluxcd/pkg, kustomize (generator): sigs.k8s.io/yaml converts a scalar to the text that a field wants.
    """
    written = dict(document)
    for name in ("namePrefix", "nameSuffix", "namespace", "commonLabels", "commonAnnotations"):
        if name in written:
            written[name] = _write_text(written[name])
    for name, fields in _TEXTS_OF_ITEMS.items():
        if isinstance(items := written.get(name), list):
            written[name] = [_write_fields(item, fields) for item in items]
    return written


_TEXTS_OF_ITEMS = {"images": ("name", "newName", "newTag", "digest"), "labels": ("pairs",)}


def _write_fields(item: Any, fields: Collection[str]) -> Any:
    if not isinstance(item, dict):
        return item
    return {name: _write_text(value) if name in fields else value for name, value in item.items()}


def _write_text(value: Any) -> Any:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return write_number(value)
        case dict():
            return {name: _write_text(inner) for name, inner in value.items()}
        case _:
            return value


def rewrite_kustomization(document: Mapping[str, Any], visit: Visit) -> Mapping[str, Any]:
    """Rewrite the kustomization: everything that names files is replaced by what `visit` returns.

    Raises:
        ManifestInvalid: a key is unknown or a value has not its form; names the place, not the file.
    """
    for name in _HELM:
        if document.get(name):
            raise ManifestInvalid(f"{name} is not supported in a kustomization file: use a HelmRelease")
    known = {key: value for key, value in document.items() if key not in _HELM}
    return dict(_get_mapping(known, KUSTOMIZATION, "", visit))


def rewrite_plugins(found: list[Any], folder: str, place: str, visit: Visit) -> list[Mapping[str, Any]]:
    """Rewrite the configurations of generators, transformers or validators likewise.

    Args:
        folder: the name of the folder that is built, the value of a ValueAddTransformer that says none.

    Raises:
        ManifestInvalid: one is not for a plug-in that is built into kustomize.
    """
    made: list[Mapping[str, Any]] = []
    for document in found:
        if not isinstance(document, dict):
            raise ManifestInvalid(f"{place}: a plug-in's configuration must be a mapping")
        version, kind = document.get("apiVersion"), document.get("kind")
        if kind == "HelmChartInflationGenerator":
            raise ManifestInvalid(f"{place}: {kind} is not supported: use a HelmRelease")
        if version != "builtin" or not isinstance(kind, str) or kind not in _PLUGINS:
            raise ManifestInvalid(
                f"{place}: {version}/{kind} is not a plug-in that is built into kustomize, and no others are run; "
                "Lists of them are not read"
            )
        _check_annotations(document.get("metadata"), place)
        shape = _Fields({**_plain("apiVersion kind"), "metadata": _METADATA, **_PLUGINS[kind]})
        plugin = _get_mapping(document, shape, place, visit)
        if kind == "ValueAddTransformer":
            plugin.setdefault("value", folder)
        made.append(plugin)
    return made


def decode_inline(text: str) -> list[Any] | None:
    """Return the documents of a text that stands in a kustomization itself; None if it is to be taken for a path.

    >>> decode_inline("base/kustomization.yaml"), decode_inline("{a: 1}"), decode_inline("a: 1\\n---\\n")
    (None, [{'a': 1}], [{'a': 1}])
    """
    try:
        found = [document for _, document in read_documents(text.encode())]
    except (Malformed, UnicodeEncodeError):
        return None
    own = [document for document in found if document is not None]
    return own if all(isinstance(document, dict) for document in own) else None


def write_json(value: Any) -> bytes:
    """Write `value` as JSON that every YAML parser reads as the same: no raw character that YAML folds or refuses."""
    try:
        return _NOT_IN_YAML.sub(
            lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False, allow_nan=False)
        ).encode()
    except UnicodeEncodeError:
        raise ManifestInvalid("a text holds half a surrogate pair, which no file can say") from None


_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def _rewrite(value: Any, shape: Shape, place: str, visit: Visit) -> Any:
    match shape:
        case Role():
            if not isinstance(value, str):
                raise ManifestInvalid(f"{place} must be a text that names {shape.value}")
            return visit(shape, value, place)
        case _List():
            if not isinstance(value, list):
                raise ManifestInvalid(f"{place} must be a list")
            items = list(enumerate(value))
            if shape.of is Role.PLUGIN:  # kustomize takes those that stand in the list before those in files
                items.sort(key=lambda item: not isinstance(item[1], str) or decode_inline(item[1]) is None)
            return [_rewrite(item, shape.of, f"{place}[{index}]", visit) for index, item in items]
        case _Fields():
            return _get_mapping(value, shape, place, visit)
        case _Leaf.SWITCH if isinstance(value, str) and value in _YES | _NO:
            return value in _YES  # YAML 1.1, as kustomize reads its own files
        case _Leaf():
            return value


def _get_mapping(value: Any, shape: _Fields, place: str, visit: Visit) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ManifestInvalid(f"{place} must be a mapping")
    made: dict[str, Any] = {}
    for name, item in value.items():
        key, here = shape.spellings.get(name, name), f"{place}.{name}" if place else name
        if key not in shape.shapes or key in made:
            raise ManifestInvalid(f"{here} is not a known key{_write_hint(name, shape)}")
        if item is not None:
            made[key] = _rewrite(item, shape.shapes[key], here, visit)
    return made


def _write_hint(name: str, shape: _Fields) -> str:
    near = next((key for key in shape.shapes if key.casefold() == name.casefold()), "")
    return f": write {near}" if near and near != name else ""


def _check_annotations(metadata: Any, place: str) -> None:
    """Raise ManifestInvalid for functions: they are programs or containers, and none is run."""
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    for name in _list_texts(annotations):
        if name.startswith(("config.kubernetes.io/function", "config.k8s.io/function")):
            raise ManifestInvalid(f"{place}: the annotation {name} asks for a function, and none is run")


def _list_texts(value: Any) -> Iterator[str]:
    yield from (name for name in value if isinstance(name, str)) if isinstance(value, dict) else ()
