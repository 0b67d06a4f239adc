"""A manifest as it is applied: without what only the cluster writes, and mended where server-side apply would stumble.

    metadata     uid, resourceVersion, creationTimestamp, managedFields, ... and the annotations of kubectl apply: out
    status       out
    sops         out, in the API server's own kinds: what SOPS wrote of a file is no field of theirs
    Secret       stringData becomes data, which wins: else a key taken out of stringData stays in the Secret for ever
    ports        protocol TCP where a Pod's or Service's port names none: it is part of the key of that list
    null         out, in the API server's own kinds: it would reset what others own. In ConfigMap.data and
                 Secret.stringData it is the empty text, as the API server reads it
    caBundle     out, where it holds no certificate: a placeholder for what is injected into the cluster

So what a cluster shows can be put into Git, and applying it changes nothing.

Source: Flux, pkg/ssa/normalize and RemoveCABundleFromCRD.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from gitops_core.domain.objects.secrets import encode_strings
from gitops_core.domain.sync.takeover import REMOVED_ANNOTATIONS, REMOVED_LABELS
from gitops_core.meta import Kind, Manifest
from gitops_core.schema import drop_nulls

Fields = dict[str, Any]
Change = Callable[[Fields], Fields]

SYSTEM_METADATA = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
NATIVE_GROUPS = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    }
)
POD_SPECS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "Pod"): ("spec",),
    ("", "ReplicationController"): ("spec", "template", "spec"),
    ("apps", "DaemonSet"): ("spec", "template", "spec"),
    ("apps", "Deployment"): ("spec", "template", "spec"),
    ("apps", "ReplicaSet"): ("spec", "template", "spec"),
    ("apps", "StatefulSet"): ("spec", "template", "spec"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template", "spec"),
    ("batch", "Job"): ("spec", "template", "spec"),
}
CLIENT_CONFIGS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"): ("spec", "conversion", "webhook", "clientConfig"),
    ("apiregistration.k8s.io", "APIService"): ("spec",),
}
TEXTS: Mapping[Kind, tuple[str, ...]] = {
    Kind("", "v1", "ConfigMap"): ("data",),
    Kind("", "v1", "Secret"): ("stringData",),
}
WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def normalize(manifest: Manifest) -> Fields:
    """Normalize `manifest` to what is applied. What has another shape than its kind's is left to the API server."""
    kind = Kind.of_manifest(manifest)
    found = {name: value for name, value in manifest.items() if name != "status"}
    found["metadata"] = _clean_metadata(manifest["metadata"])
    if (texts := TEXTS.get(kind)) is not None:
        found = _change(found, texts, _fill_nulls)
    if kind.group in NATIVE_GROUPS:
        found = drop_nulls({name: value for name, value in found.items() if name != "sops"})
    if kind == Kind("", "v1", "Secret"):
        found = _encode_secret(found)
    if kind == Kind("", "v1", "Service"):
        found = _change(found, ("spec",), _add_protocols)
    if (place := POD_SPECS.get((kind.group, kind.kind))) is not None:
        found = _change(found, place, _complete_pod_spec)
    if (place := CLIENT_CONFIGS.get((kind.group, kind.kind))) is not None:
        found = _change(found, place, _drop_placeholder)
    if kind.group == "admissionregistration.k8s.io" and kind.kind in WEBHOOKS:
        webhooks = _change_each(found.get("webhooks"), lambda hook: _change(hook, ("clientConfig",), _drop_placeholder))
        found = found if webhooks is None else {**found, "webhooks": webhooks}
    return found


def _clean_metadata(metadata: Manifest) -> Fields:
    found = {name: value for name, value in metadata.items() if name not in SYSTEM_METADATA and value is not None}
    for place, removed in (("annotations", REMOVED_ANNOTATIONS), ("labels", REMOVED_LABELS)):
        if isinstance(present := found.get(place), Mapping) and any(name in present for name in removed):
            found[place] = {name: value for name, value in present.items() if name not in removed}
    return found


def _fill_nulls(texts: Fields) -> Fields:
    return {name: "" if text is None else text for name, text in texts.items()}


def _encode_secret(secret: Fields) -> Fields:
    strings, data = secret.get("stringData"), secret.get("data", {})
    if not isinstance(strings, Mapping) or not isinstance(data, Mapping):
        return secret
    return encode_strings(secret) if all(isinstance(text, str) for text in strings.values()) else secret


def _complete_pod_spec(spec: Fields) -> Fields:
    lists = {name: _change_each(spec.get(name), _add_protocols) for name in ("containers", "initContainers")}
    return {**spec, **{name: items for name, items in lists.items() if items is not None}}


def _add_protocols(owner: Fields) -> Fields:
    """Add to the ports of a container, or of a Service's spec, the protocol that they do not name."""
    ports = _change_each(owner.get("ports"), lambda port: port if port.get("protocol") else {**port, "protocol": "TCP"})
    return owner if ports is None else {**owner, "ports": ports}


def _drop_placeholder(config: Fields) -> Fields:
    bundle = config.get("caBundle", "")
    if not isinstance(bundle, str | None) or (bundle and _holds_certificates(bundle)):
        return config
    return {name: value for name, value in config.items() if name != "caBundle"}


def _holds_certificates(bundle: str) -> bool:
    """Tell whether a CA bundle, in base64, holds certificates that can be loaded.

    >>> _holds_certificates("Cg==")
    False
    """
    try:
        text = base64.b64decode(bundle).decode("ascii", "ignore")  # comments between certificates are in any script
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, binascii.Error, ValueError):
        return False
    return True


def _change(fields: Fields, place: tuple[str, ...], change: Change) -> Fields:
    """Change what stands at `place` in `fields`, which stay as they are where no mapping stands there."""
    if not place:
        return change(fields)
    inner = fields.get(place[0])
    if not isinstance(inner, Mapping):
        return fields
    return {**fields, place[0]: _change(dict(inner), place[1:], change)}


def _change_each(items: Any, change: Change) -> list[Any] | None:
    """Change every mapping of a list; None where there is no list."""
    if not isinstance(items, list):
        return None
    return [change(dict(item)) if isinstance(item, Mapping) else item for item in items]
