"""Write gitops_core/adapters/local/builtins.json: the built-in kinds and their types, as the real API server has them.

    .venv/bin/python -m tools.builtin_kinds

Run it when the version of Kubernetes under tools/ changes. The table holds what server-side apply must know (which
lists are keyed, which maps atomic), which fields are always written (an empty object of the kind), the names of the
resources, and nothing of the descriptions, so it is a tenth of the published OpenAPI.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.servers.controlplane import ControlPlane, start_control_plane

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "gitops_core" / "adapters" / "local" / "builtins.json"

GROUP_VERSIONS = (
    "v1",
    "admissionregistration.k8s.io/v1",
    "apiextensions.k8s.io/v1",
    "apps/v1",
    "autoscaling/v2",
    "batch/v1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "networking.k8s.io/v1",
    "policy/v1",
    "rbac.authorization.k8s.io/v1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1",
)

# Kinds whose strategy counts generations (kubernetes: pkg/registry/*/strategy.go). The API does not publish it.
GENERATIONS = {
    *("CronJob", "CustomResourceDefinition", "DaemonSet", "Deployment", "EndpointSlice", "Ingress", "IngressClass"),
    *("Job", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration"),
    *("NetworkPolicy", "Pod", "PodDisruptionBudget", "PodTemplate", "PriorityClass", "ReplicaSet"),
    *("ReplicationController", "StatefulSet", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    "ValidatingWebhookConfiguration",
}

QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
RAW = "io.k8s.apimachinery.pkg.runtime.RawExtension"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        plane = start_control_plane(Path(folder))
        try:
            table = build(plane)
        finally:
            plane.stop()
    lines = json.dumps(table, separators=(",", ":"), sort_keys=True).replace('},"io.', '},\n"io.')
    TABLE.write_text(lines.replace('},{"categories"', '},\n{"categories"') + "\n")
    print(f"{len(table['kinds'])} kinds, {len(table['types'])} types, {TABLE.stat().st_size} bytes")


RULES = ("io.k8s.api.rbac.v1.ClusterRole", "io.k8s.api.rbac.v1.Role")
"""Types whose rules are written though there are none, which the published OpenAPI does not say."""


def build(plane: ControlPlane) -> dict[str, Any]:
    kinds: list[dict[str, Any]] = []
    schemas: dict[str, Any] = {}
    for group_version in GROUP_VERSIONS:
        path = f"api/{group_version}" if "/" not in group_version else f"apis/{group_version}"
        document = plane.expect("GET", f"/openapi/v3/{path}")["components"]["schemas"]
        schemas |= document
        names = {
            (g["group"], g["version"], g["kind"]): name
            for name, schema in document.items()
            for g in schema.get("x-kubernetes-group-version-kind", [])
        }
        group, _, version = group_version.rpartition("/")
        listed = plane.expect("GET", f"/{path}")["resources"]
        subresources = {r["name"] for r in listed if "/" in r["name"]}
        for resource in listed:
            if "/" in resource["name"] or "get" not in resource["verbs"] or "patch" not in resource["verbs"]:
                continue
            kinds.append(
                {
                    "categories": resource.get("categories", []),
                    "generation": resource["kind"] in GENERATIONS,
                    "group": group,
                    "kind": resource["kind"],
                    "namespaced": resource["namespaced"],
                    "plural": resource["name"],
                    "shortNames": resource.get("shortNames", []),
                    "status": f"{resource['name']}/status" in subresources,
                    "type": names[group, version, resource["kind"]],
                    "version": version,
                }
            )
    types: dict[str, Any] = {}
    for kind in kinds:
        _collect(kind["type"], schemas, types)
    _collect("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", schemas, types)
    return {"kinds": kinds, "types": types}


def _collect(name: str, schemas: Mapping[str, Any], types: dict[str, Any]) -> None:
    """Add `name` and every type it refers to."""
    if name in types:
        return
    if name in (QUANTITY, RAW):
        types[name] = "untyped" if name == QUANTITY else "any"
        return
    types[name] = None  # it may contain itself
    needed: list[str] = []
    types[name] = _atom(schemas[name], needed)
    if name in RULES:
        types[name]["map"]["always"]["rules"] = None
    for other in needed:
        _collect(other, schemas, types)


def _reference(schema: Mapping[str, Any]) -> str:
    found = schema.get("$ref") or ([*schema.get("allOf", []), {}][0]).get("$ref", "")
    return str(found).rpartition("/")[2]


def _type(schema: Mapping[str, Any], needed: list[str]) -> Any:
    if name := _reference(schema):
        needed.append(name)
        relation = schema.get("x-kubernetes-map-type")
        return {"ref": name} | ({"atomic": relation == "atomic"} if relation else {})
    return _atom(schema, needed)


def _atom(schema: Mapping[str, Any], needed: list[str]) -> Any:
    """A scalar's name, {"list": ...} or {"map": ...}; "any" where the schema has no type."""
    match schema.get("type", ""):
        case "object":
            return {"map": _map(schema, needed)}
        case "array":
            return {"list": _list(schema, needed)}
        case "integer" | "number":
            return "numeric"
        case "boolean":
            return "boolean"
        case "string":
            return "string" if schema.get("format", "") in ("", "byte") else "untyped"
    if schema.get("properties"):
        raise ValueError(f"a schema of no type has properties: {schema}")
    if "oneOf" in schema:  # IntOrString
        return "untyped"
    return "deduced"


def _list(schema: Mapping[str, Any], needed: list[str]) -> dict[str, Any]:
    relation = schema.get("x-kubernetes-list-type", "")
    keys: Iterable[str] = schema.get("x-kubernetes-list-map-keys", []) if relation == "map" else []
    if not relation and "merge" in schema.get("x-kubernetes-patch-strategy", ""):
        relation = "merge"
        keys = [schema["x-kubernetes-patch-merge-key"]] if "x-kubernetes-patch-merge-key" in schema else []
    associative = relation not in ("", "atomic")
    found: dict[str, Any] = {"items": _type(schema["items"], needed)}
    return found | ({"associative": True} if associative else {}) | ({"keys": [*keys]} if keys else {})


def _map(schema: Mapping[str, Any], needed: list[str]) -> dict[str, Any]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    found: dict[str, Any] = {}
    if properties:
        found["fields"] = {name: _type(property_, needed) for name, property_ in properties.items()}
    defaults = {n: p["default"] for n, p in properties.items() if p.get("default") not in (None, "", 0, False, {})}
    if defaults:
        found["defaults"] = defaults
    always = {n: _always(n, p, schema) for n, p in properties.items()}
    written = {name: value for name, value in always.items() if value is not ...}
    if written:
        found["always"] = written
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        found["element"] = _type(additional, needed)
    elif additional is True or (additional is None and not properties):
        found["element"] = "deduced"
    if schema.get("x-kubernetes-map-type") == "atomic":
        found["atomic"] = True
    return found


def _always(name: str, schema: Mapping[str, Any], parent: Mapping[str, Any]) -> Any:
    """What an empty Go struct writes for a field: {} for structs, null or zero without omitempty; `...` for nothing."""
    if "default" in schema and schema["default"] in ("", 0, False, {}):
        return schema["default"]
    if name in parent.get("required", ()) and (_reference(schema) or schema.get("type") in ("array", "object")):
        return None
    return ...


if __name__ == "__main__":
    main()
