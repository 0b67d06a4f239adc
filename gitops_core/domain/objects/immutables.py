"""Fields of built-in kinds that no update may change.

Source: k8s.io/kubernetes, pkg/apis/*/validation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gitops_core.domain.objects.typedvalues import is_equal
from gitops_core.errors import FieldFault
from gitops_core.meta import Manifest

_IMMUTABLE: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("apps/v1", "Deployment"): ("spec.selector",),
    ("apps/v1", "DaemonSet"): ("spec.selector",),
    ("apps/v1", "ReplicaSet"): ("spec.selector",),
    ("batch/v1", "Job"): ("spec.selector", "spec.template", "spec.completionMode", "spec.podFailurePolicy"),
    ("storage.k8s.io/v1", "StorageClass"): ("provisioner", "reclaimPolicy", "volumeBindingMode"),
    ("networking.k8s.io/v1", "IngressClass"): ("spec.controller",),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): ("spec.group", "spec.scope", "spec.names.kind"),
}
_FORBIDDEN: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("storage.k8s.io/v1", "StorageClass"): ("parameters",),
    ("scheduling.k8s.io/v1", "PriorityClass"): ("value",),
}
_MUTABLE: Mapping[tuple[str, str], frozenset[str]] = {
    ("apps/v1", "StatefulSet"): frozenset(
        {
            "minReadySeconds",
            "ordinals",
            "persistentVolumeClaimRetentionPolicy",
            "replicas",
            "revisionHistoryLimit",
            "template",
            "updateStrategy",
        }
    ),
    ("v1", "PersistentVolumeClaim"): frozenset({"resources", "volumeAttributesClassName", "volumeName"}),
}
"""Of these kinds nothing in the spec may change but this."""


def find_immutable_faults(manifest: Manifest, live: Manifest) -> Iterator[FieldFault]:
    kind = manifest["apiVersion"], manifest["kind"]
    for path in _IMMUTABLE.get(kind, ()):
        if path == "spec.template" and _get_at(live, "spec.suspend") and _get_at(manifest, "spec.suspend"):
            continue  # of a Job that waits, for whoever queues it
        if not is_equal(_get_at(manifest, path), _get_at(live, path)):
            shown = json.dumps(_get_at(manifest, path), separators=(",", ":"), ensure_ascii=False)
            yield FieldFault(path, "FieldValueInvalid", f"Invalid value: {shown}: field is immutable")
    for path in _FORBIDDEN.get(kind, ()):
        if not is_equal(_get_at(manifest, path), _get_at(live, path)):
            text = f"Forbidden: updates to {path} are forbidden."
            yield FieldFault(path, "FieldValueForbidden", text)
    if kind in _MUTABLE:
        mutable = _MUTABLE[kind]
        now, was = ({n: v for n, v in (m.get("spec") or {}).items() if n not in mutable} for m in (manifest, live))
        if not is_equal(now, was):
            text = f"Forbidden: updates to the spec of a {kind[1]} may change nothing but {', '.join(sorted(mutable))}"
            yield FieldFault("spec", "FieldValueForbidden", text)


def _get_at(manifest: Manifest, path: str) -> Any:
    value: Any = manifest
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
