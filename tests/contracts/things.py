"""A kind that has every sort of field that server-side apply tells apart, and one that has a second version."""

from __future__ import annotations

from typing import Any

from gitops_core.meta import Kind, Manifest

GROUP = "contract.example.com"
THING = Kind(GROUP, "v1", "Thing")
THING_V2 = Kind(GROUP, "v2", "Thing")
PLAIN = Kind(GROUP, "v1", "Plain")
WIDE = Kind(GROUP, "v1", "Wide")

_STRING: dict[str, Any] = {"type": "string"}
_PORT: dict[str, Any] = {
    "type": "object",
    "required": ["port"],
    "properties": {
        "port": {"type": "integer"},
        "protocol": {"type": "string", "default": "TCP"},
        "name": _STRING,
    },
}
_ITEM: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": _STRING, "value": _STRING, "options": {"type": "object", "additionalProperties": _STRING}},
}
_SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": _STRING,
        "count": {"type": "integer", "maximum": 9},
        "mode": {"type": "string", "default": "slow", "enum": ["slow", "fast"]},
        "size": {"x-kubernetes-int-or-string": True},
        "maybe": {"type": "string", "nullable": True},
        "nested": {"type": "object", "properties": {"a": _STRING, "b": _STRING}},
        "settings": {"type": "object", "additionalProperties": _STRING},
        "whole": {"type": "object", "additionalProperties": _STRING, "x-kubernetes-map-type": "atomic"},
        "items": {
            "type": "array",
            "items": _ITEM,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
        "ports": {
            "type": "array",
            "items": _PORT,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port", "protocol"],
        },
        "tags": {"type": "array", "items": _STRING, "x-kubernetes-list-type": "set"},
        "steps": {"type": "array", "items": _STRING},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
_STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "phase": _STRING,
        "conditions": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {"type": "object", "required": ["type"], "properties": {"type": _STRING, "status": _STRING}},
        },
    },
}


SCHEMA: dict[str, Any] = {"type": "object", "properties": {"spec": _SPEC, "status": _STATUS}}


def definition(kind: str, schema: dict[str, Any], second: dict[str, Any] | None = None) -> Manifest:
    """A CRD with the versions v1, which is stored, and v2, which has `second` or the same schema."""
    properties, others = schema["properties"], (second or schema)["properties"]
    return _crd(kind, "Namespaced", [_version("v1", properties), _version("v2", others, storage=False)])


def _version(name: str, schema: dict[str, Any], *, storage: bool = True, status: bool = True) -> dict[str, Any]:
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": schema}},
        **({"subresources": {"status": {}}} if status else {}),
    }


def _crd(kind: str, scope: str, versions: list[dict[str, Any]]) -> Manifest:
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "names": {"kind": kind, "plural": plural}, "scope": scope, "versions": versions},
    }


CRDS = (
    definition("Thing", SCHEMA),
    _crd("Plain", "Namespaced", [_version("v1", {"spec": _SPEC, "status": _STATUS}, status=False)]),
    _crd("Wide", "Cluster", [_version("v1", {"spec": _SPEC, "status": _STATUS})]),
)
