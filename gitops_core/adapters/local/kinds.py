"""Which kinds an embedded cluster serves: the usual built-in ones, and what the CustomResourceDefinitions in it define.

builtins.json is made from a real API server by tools/builtin_kinds.py. Built-in objects are not defaulted as the real
API server defaults them, but for the few fields that everybody reads: a Secret's type, a Namespace's phase. Custom
resources are pruned, defaulted and validated by their schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gitops_core.decoding import decode_json
from gitops_core.domain.objects.crds import rank_version
from gitops_core.domain.objects.decoding import Undecodable, decode, write_plain_numbers
from gitops_core.domain.objects.embedded import find_embedded_faults, has_embedded, read_embedded
from gitops_core.domain.objects.fieldschemas import (
    DEDUCED,
    UNTYPED,
    Atom,
    ListType,
    MapType,
    Named,
    Type,
    read_object_type,
)
from gitops_core.domain.objects.immutables import find_immutable_faults
from gitops_core.domain.objects.objectmeta import find_built_in_finalizer_faults, find_metadata_faults
from gitops_core.domain.objects.rolebindings import add_groups, find_role_binding_faults, find_role_faults
from gitops_core.domain.objects.secrets import (
    encode_strings,
    find_config_map_faults,
    find_secret_faults,
    read_bytes,
)
from gitops_core.domain.objects.uniqueness import find_duplicate_faults
from gitops_core.domain.objects.writing import Object, Serving
from gitops_core.errors import FieldFault
from gitops_core.meta import Kind, Manifest
from gitops_core.ports import ApiResource
from gitops_core.schema import default, prune, remove_stray_nulls, validate

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

CRD = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
NAMESPACE = Kind("", "v1", "Namespace")


class Builtins:
    """The table, as servings."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.types: dict[str, Atom] = {}
        for name, stored in table["types"].items():
            self.types[name] = _read_atom(stored, self.types)
        self.meta: Type = Named(self.types, _OBJECT_META)
        self.resources: dict[Kind, ApiResource] = {}
        self.servings: dict[Kind, Serving] = {}
        for row in table["kinds"]:
            kind = Kind(row["group"], row["version"], row["kind"])
            short_names, categories = tuple(row["shortNames"]), tuple(row["categories"])
            self.resources[kind] = ApiResource(kind, row["plural"], row["namespaced"], short_names, categories)
            self.servings[kind] = self._make_serving(kind, row, table["types"])

    def _make_serving(self, kind: Kind, row: Mapping[str, Any], stored: Mapping[str, Any]) -> Serving:
        type_ = self.types[row["type"]]
        return Serving(
            kind=kind,
            plural=row["plural"],
            namespaced=row["namespaced"],
            has_status=row["status"],
            counts=row["generation"],
            types={kind.api_version: type_}.get,
            empty={"apiVersion": kind.api_version, "kind": kind.kind, **_make_empty({"ref": row["type"]}, stored)},
            keep=_keep_null_rules if row["type"] in _RULES else _keep_as_decoded,
            begins={"phase": "Active"} if kind == NAMESPACE else {},
            admit=partial(_admit_builtin, type_),
            validate=_find_builtin_faults,
        )


@cache
def get_builtins() -> Builtins:
    return Builtins(decode_json((Path(__file__).parent / "builtins.json").read_bytes()))


def _read_type(stored: Any, types: Mapping[str, Atom]) -> Type:
    if isinstance(stored, Mapping) and "ref" in stored:
        return Named(types, stored["ref"], stored.get("atomic"))
    return _read_atom(stored, types)


def _read_atom(stored: Any, types: Mapping[str, Atom]) -> Atom:
    match stored:
        case "any":
            return UNTYPED
        case "deduced":
            return DEDUCED
        case str():
            return Atom(scalar=stored)  # type: ignore[arg-type]  # the table was written by our own tool
        case {"list": found}:
            keys = tuple(found.get("keys", ()))
            return Atom(list=ListType(found.get("associative", False), keys, _read_type(found["items"], types)))
        case {"map": found}:
            fields = {name: _read_type(inner, types) for name, inner in found.get("fields", {}).items()}
            element = _read_type(found["element"], types) if "element" in found else None
            always = frozenset(found.get("always", ()))
            return Atom(map=MapType(fields, element, found.get("atomic", False), found.get("defaults", {}), always))
    raise ValueError(f"not a type of builtins.json: {stored!r}")


def _make_empty(stored: Any, types: Mapping[str, Any]) -> Any:
    """Return an empty object of a type: the fields that are written whatever they hold."""
    while isinstance(stored, Mapping) and "ref" in stored:
        stored = types[stored["ref"]]
    if not isinstance(stored, Mapping) or "map" not in stored:
        return {}
    fields = stored["map"].get("fields", {})
    always = stored["map"].get("always", {})
    return {name: _make_empty(fields[name], types) if value == {} else value for name, value in always.items()}


_RULES = ("io.k8s.api.rbac.v1.ClusterRole", "io.k8s.api.rbac.v1.Role")


def _keep_null_rules(role: Object) -> Object:
    """Keep the object with null for missing rules, whether they were left out or written as `[]`."""
    return {**role, "rules": role.get("rules") or None}


def _keep_as_decoded(manifest: Object) -> Object:
    return manifest


_BYTES = {("v1", "Secret"): "data", ("v1", "ConfigMap"): "binaryData"}


def _admit_builtin(type_: Type, manifest: Object, *, merged: bool) -> Object:
    kind, manifest = (manifest["apiVersion"], manifest["kind"]), write_plain_numbers(manifest)
    if kind in _BYTES:
        manifest = read_bytes(manifest, _BYTES[kind])
    manifest = decode(type_, manifest)
    match kind:
        case "v1", "Secret":
            return {**encode_strings(manifest), "type": manifest.get("type") or "Opaque"}
        case "rbac.authorization.k8s.io/v1", "RoleBinding" | "ClusterRoleBinding":
            return add_groups(manifest)
        case "v1", "Namespace":
            metadata = manifest["metadata"]
            labels = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata.get("name", "")}
            spec = manifest.get("spec") or {"finalizers": ["kubernetes"]}
            return {**manifest, "metadata": {**metadata, "labels": labels}, "spec": spec}
    return manifest


def _find_builtin_faults(manifest: Object, live: Manifest | None, *, subresource: str) -> Iterable[FieldFault]:
    yield from find_metadata_faults(manifest, live)
    yield from find_built_in_finalizer_faults(manifest, live)
    if live is not None:
        yield from find_immutable_faults(manifest, live)
    match manifest["apiVersion"], manifest["kind"]:
        case "v1", "Secret":
            yield from find_secret_faults(manifest, live)
        case "v1", "ConfigMap":
            yield from find_config_map_faults(manifest, live)
        case "rbac.authorization.k8s.io/v1", "RoleBinding" | "ClusterRoleBinding":
            yield from find_role_binding_faults(manifest, live)
        case "rbac.authorization.k8s.io/v1", "Role" | "ClusterRole":
            yield from find_role_faults(manifest)


# custom resources


def list_servings(crd: Manifest) -> Sequence[tuple[Serving, ApiResource]]:
    """Return how each served version of a CustomResourceDefinition is served, the preferred version first."""
    return _list_servings(msgspec.json.encode(crd["spec"]))


@lru_cache(maxsize=64)
def _list_servings(encoded: bytes) -> Sequence[tuple[Serving, ApiResource]]:
    spec, found = decode_json(encoded), []
    names, group = spec["names"], spec["group"]
    versions = [version for version in spec.get("versions", ()) if version.get("served")]
    versions.sort(key=lambda version: rank_version(version["name"]))
    meta = get_builtins().meta
    types: dict[str, Type] = {}
    for version in versions:
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        types[f"{group}/{version['name']}"] = read_object_type(schema, meta)
    kept = next((version for version in spec.get("versions", ()) if version.get("storage")), None)
    for version in versions:
        kind = Kind(group, version["name"], names["kind"])
        namespaced = spec.get("scope") == "Namespaced"
        shape = _read_shape(version)
        serving = Serving(
            kind=kind,
            plural=names["plural"],
            namespaced=namespaced,
            has_status="status" in (version.get("subresources") or {}),
            counts=True,
            types=types.get,
            empty={"apiVersion": kind.api_version, "kind": kind.kind},
            admit=partial(_admit_custom, shape),
            validate=partial(_find_custom_faults, shape),
            custom=True,
            read=_make_converter(group, names["kind"], version, defaults=False),
            keep=_make_converter(group, names["kind"], kept or version, defaults=True),
        )
        short_names, categories = tuple(names.get("shortNames", ())), tuple(names.get("categories", ()))
        found.append((serving, ApiResource(kind, names["plural"], namespaced, short_names, categories)))
    return found


class _Shape(NamedTuple):
    """One version's schema, and whether there may be objects inside of its objects."""

    schema: Mapping[str, Any]
    embeds: bool


def _admit_custom(shape: _Shape, manifest: Object, *, merged: bool) -> Object:
    known = manifest if merged else _coerce(shape, manifest)
    return {
        **default(shape.schema, known, keep_nulls=True),
        "metadata": _read_metadata(manifest["metadata"], "metadata"),
    }


def _coerce(shape: _Shape, manifest: Object) -> Object:
    """Read an object in a request or in the store as the API server does: fields that it knows, and no stray nulls."""
    known: Object = remove_stray_nulls(shape.schema, prune(shape.schema, manifest))
    read: Object = read_embedded(shape.schema, known, _read_metadata) if shape.embeds else known
    return read


def _read_shape(version: Mapping[str, Any]) -> _Shape:
    """Return the shape of one version, the defaults of its schema read as objects are."""
    schema: Mapping[str, Any] = _read_defaults((version.get("schema") or {}).get("openAPIV3Schema") or {})
    return _Shape(schema, has_embedded(schema))


def _read_defaults(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    read = dict(schema)
    if "properties" in schema:
        read["properties"] = {name: _read_defaults(inner) for name, inner in schema["properties"].items()}
    for name in ("items", "additionalProperties"):
        if name in schema:
            read[name] = _read_defaults(schema[name])
    if "default" in schema:
        with suppress(Undecodable):  # a real API server does not take such a CRD
            read["default"] = read_embedded(schema, prune(schema, schema["default"], root=False), _read_metadata)
    return read


def _make_converter(group: str, kind: str, version: Mapping[str, Any], *, defaults: bool) -> Callable[[Object], Object]:
    """Return a function from any version of an object to `version`. Only the stored version has its defaults."""
    shape, api_version = _read_shape(version), Kind(group, version["name"], kind).api_version

    def convert(manifest: Object) -> Object:
        read = _coerce(shape, {**manifest, "apiVersion": api_version})
        read = write_plain_numbers(default(shape.schema, read, keep_nulls=True) if defaults else read)
        return {**read, "metadata": _read_metadata(manifest["metadata"], "metadata")}

    return convert


def _read_metadata(metadata: Any, path: str) -> Any:
    read = decode(get_builtins().meta, metadata, path)
    return {name: value for name, value in (read or {}).items() if value != ""}


def _find_custom_faults(
    shape: _Shape, manifest: Object, live: Manifest | None, *, subresource: str
) -> Iterable[FieldFault]:
    schema, besides = shape.schema, [*find_metadata_faults(manifest, live)]
    if shape.embeds and not subresource:
        besides += find_embedded_faults(schema, manifest, _read_metadata)
    duplicates = list(find_duplicate_faults(schema, manifest))
    if duplicates and (live is None or not any(find_duplicate_faults(schema, live))):
        besides += duplicates  # what was stored before the schema said so stays
    return [FieldFault(*fault) for fault in validate(schema, manifest, live, besides, field=subresource)]
