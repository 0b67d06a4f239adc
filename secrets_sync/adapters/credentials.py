"""What a store's settings point to: keys of Secrets and ConfigMaps, read within its reach."""

from __future__ import annotations

import base64
import binascii

from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import Cluster
from secrets_sync.api import CaProvider, SecretKeySelector
from secrets_sync.domain.provider.openings import Reach
from secrets_sync.domain.secret.live import SECRET
from secrets_sync.domain.secret.references import CONFIG_MAP
from secrets_sync.errors import StoreInvalid


async def read_credential(cluster: Cluster, reach: Reach, field: str, selector: SecretKeySelector) -> Sensitive:
    """Read the trimmed text under a Secret's key, fit for an HTTP header.

    Args:
        field: the selector's path, for messages.

    Raises:
        StoreInvalid: no such Secret or key, another namespace, or a value that is no token.
    """
    manifest = await _get_object(cluster, reach, field, SECRET, selector.name, selector.namespace)
    value = Sensitive(_decode_value(manifest, selector.key, field).strip())
    if not value or not all(33 <= byte < 127 for byte in value.reveal()):
        raise StoreInvalid(
            f"{field}: key {selector.key!r} of Secret {selector.name!r} is empty or not plain ASCII text"
        )
    return value


async def read_certificates(cluster: Cluster, reach: Reach, field: str, source: CaProvider) -> bytes:
    """Read the PEM under a key of a Secret or ConfigMap. Raises StoreInvalid, as `read_credential` does."""
    kind = SECRET if source.type == "Secret" else CONFIG_MAP
    manifest = await _get_object(cluster, reach, field, kind, source.name, source.namespace)
    if kind == SECRET:
        return _decode_value(manifest, source.key, field)
    data = manifest.get("data") or {}
    if source.key not in data:
        raise StoreInvalid(f"{field}: ConfigMap {source.name!r} has no key {source.key!r}")
    return str(data[source.key]).encode()


async def _get_object(cluster: Cluster, reach: Reach, field: str, kind: Kind, name: str, namespace: str) -> Manifest:
    key = ObjectKey(reach.resolve_namespace(namespace, field), name)
    if not name:
        raise StoreInvalid(f"{field}.name is empty")
    manifest = await cluster.get(ObjectRef(kind, key))
    if manifest is None:
        raise StoreInvalid(f"{field}: no {kind.kind} {name!r} in namespace {key.namespace!r}")
    return manifest


def _decode_value(manifest: Manifest, key: str, field: str) -> bytes:
    data = manifest.get("data") or {}
    if key not in data:
        raise StoreInvalid(f"{field}: Secret {manifest['metadata']['name']!r} has no key {key!r}")
    try:
        return base64.b64decode(data[key])
    except binascii.Error:
        raise StoreInvalid(f"{field}: key {key!r} of Secret {manifest['metadata']['name']!r} is not base64") from None
