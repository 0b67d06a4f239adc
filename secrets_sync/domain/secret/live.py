"""A Secret as the cluster has it, and what External Secrets' marks on it say.

labels       reconcile.external-secrets.io/managed=true, created-by=<hash of the ExternalSecret that owns it>
annotation   reconcile.external-secrets.io/data-hash, of all its data
managers     externalsecrets.external-secrets.io/<name> owns the keys, labels and annotations it wrote
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Sensitive
from secrets_sync.domain.provider.reading import KEY_WEIGHT, weigh_values
from secrets_sync.domain.secret.hashing import hash_data

SECRET = Kind("", "v1", "Secret")
MANAGED = "reconcile.external-secrets.io/managed"
CREATED_BY = "reconcile.external-secrets.io/created-by"
DATA_HASH = "reconcile.external-secrets.io/data-hash"


@dataclass(frozen=True)
class Owned:
    """What one field manager wrote: keys of data, labels and annotations."""

    data: frozenset[str]
    labels: frozenset[str]
    annotations: frozenset[str]


@dataclass(frozen=True)
class LiveSecret:
    """What is decided on of a Secret. `manifest` is all of it, values included, and not part of the repr."""

    manifest: Manifest = field(repr=False)
    data: Mapping[str, Sensitive]

    @classmethod
    def of(cls, manifest: Manifest) -> LiveSecret:
        encoded: Mapping[str, str] = manifest.get("data") or {}
        return cls(manifest, {key: Sensitive(base64.b64decode(value or "")) for key, value in encoded.items()})

    @property
    def weight(self) -> int:
        """About how much work its data is."""
        return weigh_values(self.data)

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(SECRET, ObjectKey(self.metadata["namespace"], self.metadata["name"]))

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.manifest.get("metadata") or {}

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        return self.metadata.get("annotations") or {}

    @property
    def owners(self) -> list[Mapping[str, Any]]:
        return list(self.metadata.get("ownerReferences") or ())

    @property
    def controller(self) -> Mapping[str, Any] | None:
        """The owner reference of whoever controls the Secret."""
        return next((owner for owner in self.owners if owner.get("controller")), None)

    @property
    def immutable(self) -> bool:
        return bool(self.manifest.get("immutable"))

    @property
    def is_as_written(self) -> bool:
        """Tell whether the data is what the last refresh wrote, and the mark by which we watch it is there."""
        return self.labels.get(MANAGED) == "true" and self.annotations.get(DATA_HASH) == hash_data(self.data)

    def find_owned_by(self, manager: str) -> Owned:
        """Find what `manager` wrote and nobody else wrote since."""
        data, labels, annotations = set[str](), set[str](), set[str]()
        for entry in self.metadata.get("managedFields") or ():
            if entry.get("manager") != manager:
                continue
            fields = entry.get("fieldsV1") or {}
            metadata = fields.get("f:metadata") or {}
            data |= _list_names(fields.get("f:data"))
            labels |= _list_names(metadata.get("f:labels"))
            annotations |= _list_names(metadata.get("f:annotations"))
        return Owned(frozenset(data), frozenset(labels), frozenset(annotations))


def weigh_manifest(manifest: Manifest) -> int:
    """Weigh how much work `LiveSecret.of` is."""
    return sum(KEY_WEIGHT + len(value or "") for value in (manifest.get("data") or {}).values())


def _list_names(fields: Mapping[str, Any] | None) -> set[str]:
    return {name.removeprefix("f:") for name in fields or {} if name.startswith("f:")}
