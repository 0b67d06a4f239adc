"""A Resource class -> its CustomResourceDefinition, as controller-gen would have written it.

    url: Annotated[str, Meta(pattern="^https://")]   ->  {"type": "string", "pattern": "^https://"}, required
    ref: GitReference | None = None                  ->  the struct's schema, not required
    suspend: bool = False                            ->  {"type": "boolean"}
    force: Annotated[bool, SERVER_DEFAULT] = False   ->  {"type": "boolean", "default": false}

A struct's docstring is its description, `RULES` (rule, message) its CEL rules, `SCHEMA` whatever else it adds.

Source: kubernetes.io, Custom Resources, structural schemas.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import yaml

from gitops_core.meta import Manifest, Resource
from gitops_core.schema.markers import validations

Schema = dict[str, Any]

_SCALARS: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    bytes: {"type": "string", "format": "byte"},
    datetime: {"type": "string", "format": "date-time"},
    Any: {"x-kubernetes-preserve-unknown-fields": True},
}

_LENGTHS = {"string": ("minLength", "maxLength"), "array": ("minItems", "maxItems")}


def make_crd(cls: type[Resource]) -> Manifest:
    """Make the CustomResourceDefinition of one kind: one version, served and stored."""
    kind = cls.KIND
    names: dict[str, Any] = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": cls.PLURAL,
        "singular": kind.kind.lower(),
    }
    names |= _drop_none(categories=list(cls.CATEGORIES), shortNames=list(cls.SHORT_NAMES))
    version: dict[str, Any] = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": make_object_schema(cls)},
    }
    if cls.STATUS_SUBRESOURCE:
        version["subresources"] = {"status": {}}
    version |= _drop_none(
        additionalPrinterColumns=[
            {"name": c.name, "type": c.type, "jsonPath": c.json_path} | _drop_none(priority=c.priority)
            for c in cls.COLUMNS
        ],
        selectableFields=[{"jsonPath": path} for path in cls.SELECTABLE_FIELDS],
    )
    metadata = {"name": f"{cls.PLURAL}.{kind.group}"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata | _drop_none(annotations=dict(cls.CRD_ANNOTATIONS), labels=dict(cls.CRD_LABELS)),
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced" if cls.NAMESPACED else "Cluster",
            "versions": [version],
        },
    }


def write_crds(kinds: Iterable[type[Resource]]) -> dict[str, str]:
    """Write the CRDs of `kinds`: YAML text by file name, as controller-gen names them. The same text every time."""
    return {f"{cls.KIND.group}_{cls.PLURAL}.yaml": _write_yaml(make_crd(cls)) for cls in kinds}


def make_object_schema(cls: type[Resource]) -> Schema:
    """Return the schema of a whole object. The API server itself knows apiVersion, kind and metadata."""
    parts = {field.name: make_schema(field.type) for field in msgspec.structs.fields(cls)}
    return {
        "description": inspect.cleandoc(cls.__doc__ or ""),
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": parts["spec"],
            "status": parts["status"],
        },
    }


def make_schema(t: Any) -> Schema:
    """Make the structural schema of one type.

    Raises:
        TypeError: the type has no structural form, e.g. a union of two objects.
    """
    origin, args = get_origin(t), get_args(t)
    if origin is Annotated:
        return _refine(make_schema(args[0]), t.__metadata__)
    if origin in (Union, types.UnionType):
        return _make_union(tuple(a for a in args if a is not types.NoneType))
    if origin is Literal:
        return {"type": "string", "enum": list(args)}
    if origin is tuple and args[1:] == (...,):
        return {"type": "array", "items": make_schema(args[0])}
    if origin is dict:
        return {"type": "object"} | (
            _SCALARS[Any] if args[1] is Any else {"additionalProperties": make_schema(args[1])}
        )
    if isinstance(t, type) and issubclass(t, msgspec.Struct):
        return _make_object(t)
    if t in _SCALARS:
        return dict(_SCALARS[t])
    raise TypeError(f"{t!r} has no structural schema; split it into optional fields")


def join_markers(t: Any) -> dict[str, Any]:
    """Join what the `Meta(extra=...)` of an annotated type say."""
    if get_origin(t) is not Annotated:
        return {}
    return {key: value for meta in t.__metadata__ for key, value in (meta.extra or {}).items()}


def _make_object(cls: type[msgspec.Struct]) -> Schema:
    fields = msgspec.structs.fields(cls)
    schema: Schema = {
        "type": "object",
        "properties": {field.encode_name: _make_property(field) for field in fields},
        **_drop_none(
            description=inspect.cleandoc(cls.__doc__ or ""),
            required=sorted(field.encode_name for field in fields if field.required),
        ),
    }
    if pairs := getattr(cls, "RULES", ()):
        schema["x-kubernetes-validations"] = validations(pairs)
    return schema | dict(getattr(cls, "SCHEMA", {}))


def _make_property(field: msgspec.structs.FieldInfo) -> Schema:
    schema = make_schema(field.type)
    if join_markers(field.type).get("server_default"):
        schema["default"] = _write_default(
            field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        )
    return schema


def _write_default(value: Any) -> Any:
    """Write a default as the API server stores it: of a struct, the fields that have one themselves."""
    if not isinstance(value, msgspec.Struct):
        return list(value) if isinstance(value, tuple) else value
    return {
        field.encode_name: _write_default(getattr(value, field.name))
        for field in msgspec.structs.fields(value)
        if join_markers(field.type).get("server_default")
    }


def _make_union(options: tuple[Any, ...]) -> Schema:
    if len(options) == 1:
        return make_schema(options[0])
    if set(options) == {int, str}:
        return {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
    raise TypeError(f"{options} have no structural schema; split them into optional fields")


def _refine(schema: Schema, metas: tuple[msgspec.Meta, ...]) -> Schema:
    """Add to `schema` the constraints that Annotated gives."""
    shortest, longest = _LENGTHS.get(schema.get("type", ""), ("minProperties", "maxProperties"))
    for meta in metas:
        bounds = {shortest: meta.min_length, longest: meta.max_length, "minimum": meta.ge, "maximum": meta.le}
        schema |= {key: bound for key, bound in bounds.items() if bound is not None}
        schema |= _drop_none(pattern=meta.pattern) | (meta.extra_json_schema or {})
    return schema


def _drop_none(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _write_yaml(manifest: Manifest) -> str:
    return "---\n" + yaml.dump(manifest, Dumper=_Dumper, sort_keys=True, width=120, allow_unicode=True)
