"""What histories write of built-in kinds."""

from __future__ import annotations

from typing import Any

from gitops_core.meta import Kind
from tests.contracts.schemas import Schema

_RBAC = "rbac.authorization.k8s.io"
_TEXT: Schema = {"type": "string"}
_BYTES: Schema = {"type": "string", "format": "byte"}
_ROLE: Schema = {
    "type": "object",
    "required": ["apiGroup", "kind", "name"],
    "properties": {
        "apiGroup": {"type": "string", "enum": [_RBAC]},
        "kind": {"type": "string", "enum": ["Role", "Role", "ClusterRole"]},
        "name": {"type": "string", "enum": ["p", "p", "q"]},
    },
}


def _kind(**properties: Any) -> Schema:
    return {"type": "object", "properties": properties}


def _map(inner: Schema) -> Schema:
    # never empty: an immutable ConfigMap without data refuses `data: {}`, because Go's nil is not its empty map
    return {"type": "object", "additionalProperties": inner, "minProperties": 1}


_TYPE: Schema = {"type": "string", "enum": ["Opaque", "Opaque", "", "kubernetes.io/tls", "kubernetes.io/basic-auth"]}
_SUBJECT: Schema = {
    "type": "object",
    "required": ["kind", "name"],
    "properties": {
        "kind": {"type": "string", "enum": ["User", "ServiceAccount"]},
        "name": {"type": "string", "enum": ["p", "q"]},
        "apiGroup": {"type": "string", "enum": ["", _RBAC]},
        "namespace": {"type": "string", "enum": ["p", "q"]},
    },
}
_IMMUTABLE: Schema = {"type": "boolean", "enum": [False, False, True]}

CONFIG_MAP = Kind("", "v1", "ConfigMap")

BUILTINS: dict[Kind, Schema] = {
    CONFIG_MAP: _kind(data=_map(_TEXT), binaryData=_map(_BYTES), immutable=_IMMUTABLE),
    Kind("", "v1", "Secret"): _kind(data=_map(_BYTES), stringData=_map(_TEXT), immutable=_IMMUTABLE, type=_TYPE),
    Kind(_RBAC, "v1", "RoleBinding"): _kind(roleRef=_ROLE, subjects={"type": "array", "items": _SUBJECT}),
}
