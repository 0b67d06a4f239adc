"""Which objects a process reconciles, and the Lease for which it competes with those that reconcile the same.

    --watch-namespace shop --watch-label-selector 'tier in (b, a)'  ->  shop: tier in (a,b)  ->  sealoop-1f0c...

A shard may look at everything that its objects name, whosever it is. Flux's name of the flag, and of the label that
people shard by, `sharding.fluxcd.io/key`.

Source: fluxcd.io/flux/installation/configuration/sharding.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """One of several shares of a cluster's objects.

    Attributes:
        namespace: only its objects; "" for all namespaces.
        labels: label selector of its objects, however it was written in one spelling; "" for all.
    """

    namespace: str = ""
    labels: str = ""

    @staticmethod
    def parse(namespace: str, selector: str) -> Shard:
        """Parse the shard that the options name. Raises ValueError: they are none, and why."""
        if not (namespace or selector):
            return Shard()
        # Imported here: --help need not wait for it.
        from gitops_core.domain.objects.objectmeta import find_embedded_metadata_faults
        from gitops_core.domain.objects.selectors import parse_selector, write_selector

        requirements = parse_selector(selector)
        labels = [{each.key: value} for each in requirements for value in each.values or {""}]
        for each in labels or [{}]:
            for fault in find_embedded_metadata_faults({"namespace": namespace, "labels": each}, ""):
                raise ValueError(fault.message)
        return Shard(namespace, write_selector(requirements))

    @property
    def lease(self) -> str:
        """The name of the Lease: `sealoop` for the process that reconciles all there is."""
        if self == Shard():
            return "sealoop"
        return f"sealoop-{hashlib.sha256(f'{self.namespace}/{self.labels}'.encode()).hexdigest()[:16]}"

    def __str__(self) -> str:
        return f"{self.namespace or 'all namespaces'}: {self.labels or 'all objects'}"
