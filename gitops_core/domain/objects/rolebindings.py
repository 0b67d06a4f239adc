"""Roles, RoleBindings and the cluster's own ones, as the API server completes and refuses them.

Source: k8s.io/kubernetes, pkg/apis/rbac/v1 (defaults) and pkg/apis/rbac/validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gitops_core.domain.objects.objectmeta import find_path_segment_faults, find_subdomain_faults
from gitops_core.errors import FieldFault
from gitops_core.meta import Manifest

GROUP = "rbac.authorization.k8s.io"

_ROLES = {"RoleBinding": ("Role", "ClusterRole"), "ClusterRoleBinding": ("ClusterRole",)}
_SUBJECTS = {"ServiceAccount": "", "User": GROUP, "Group": GROUP}
"""The API group of each kind of subject."""


def add_groups(binding: Manifest) -> dict[str, Any]:
    """Add to `binding` the API groups that its references leave out."""
    role = {"apiGroup": "", "kind": "", "name": "", **(binding.get("roleRef") or {})}
    completed = {**binding, "roleRef": {**role, "apiGroup": role["apiGroup"] or GROUP}}
    if binding.get("subjects"):
        completed["subjects"] = [_add_group(subject or {}) for subject in binding["subjects"]]
    return completed


def _add_group(subject: Mapping[str, Any]) -> dict[str, Any]:
    group = subject.get("apiGroup") or _SUBJECTS.get(subject.get("kind", ""), "")
    subject = {"kind": "", "name": "", **{name: value for name, value in subject.items() if value}}
    return {**subject, "apiGroup": group} if group else subject


def find_role_binding_faults(binding: Manifest, live: Manifest | None) -> Iterator[FieldFault]:
    role = binding["roleRef"]
    if role["apiGroup"] != GROUP:
        yield _make_unsupported("roleRef.apiGroup", role["apiGroup"], [GROUP])
    if role["kind"] not in _ROLES[binding["kind"]]:
        yield _make_unsupported("roleRef.kind", role["kind"], _ROLES[binding["kind"]])
    if not role["name"]:
        yield _make_required("roleRef.name")
    for rule in find_path_segment_faults(role["name"]):
        yield FieldFault("roleRef.name", "FieldValueInvalid", f'Invalid value: "{role["name"]}": {rule}')
    if live is not None and live["roleRef"] != role:
        yield FieldFault("roleRef", "FieldValueInvalid", f'Invalid value: "{role["name"]}": cannot change roleRef')
    for index, subject in enumerate(binding.get("subjects") or ()):
        yield from _find_subject_faults(subject, f"subjects[{index}]", namespaced=binding["kind"] == "RoleBinding")


def _find_subject_faults(subject: Mapping[str, Any], path: str, *, namespaced: bool) -> Iterator[FieldFault]:
    kind, group = subject["kind"], subject.get("apiGroup", "")
    if not subject["name"]:
        yield _make_required(f"{path}.name")
    if kind == "ServiceAccount":
        yield from find_subdomain_faults(subject["name"], f"{path}.name")
    if kind not in _SUBJECTS:
        yield _make_unsupported(f"{path}.kind", kind, _SUBJECTS)
    elif group != _SUBJECTS[kind]:
        yield _make_unsupported(f"{path}.apiGroup", group, [_SUBJECTS[kind]])
    if kind == "ServiceAccount" and not namespaced and not subject.get("namespace"):
        yield _make_required(f"{path}.namespace")


def find_role_faults(role: Manifest) -> Iterator[FieldFault]:
    for index, rule in enumerate(role.get("rules") or ()):
        yield from _find_rule_faults(rule or {}, f"rules[{index}]", namespaced=role["kind"] == "Role")
    aggregation = role.get("aggregationRule")
    if aggregation is not None and not aggregation.get("clusterRoleSelectors"):
        yield _make_required("aggregationRule.clusterRoleSelectors")


def _find_rule_faults(rule: Mapping[str, Any], path: str, *, namespaced: bool) -> Iterator[FieldFault]:
    if not rule.get("verbs"):
        yield _make_required(f"{path}.verbs")
    if rule.get("nonResourceURLs"):
        if namespaced:
            text = "Invalid value: namespaced rules cannot apply to non-resource URLs"
            yield FieldFault(f"{path}.nonResourceURLs", "FieldValueInvalid", text)
        if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
            text = "Invalid value: rules cannot apply to both regular resources and non-resource URLs"
            yield FieldFault(f"{path}.nonResourceURLs", "FieldValueInvalid", text)
    else:
        yield from (_make_required(f"{path}.{name}") for name in ("apiGroups", "resources") if not rule.get(name))


def _make_required(path: str) -> FieldFault:
    return FieldFault(path, "FieldValueRequired", "Required value")


def _make_unsupported(path: str, value: str, supported: Iterable[str]) -> FieldFault:
    names = ", ".join(f'"{name}"' for name in supported)
    return FieldFault(path, "FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {names}')
