"""What an ExternalSecret makes of the values it read, whatever the cluster holds.

data                  the values; of equal keys the later entry's
labels, annotations   those of the ExternalSecret itself, as in the original where there is no template
type                  Opaque
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitops_core.meta import Sensitive
from secrets_sync.api import ExternalSecret
from secrets_sync.domain.provider.reading import Reading


@dataclass(frozen=True)
class Rendered:
    """What is to be in the Secret. `type` is that of a new Secret; one that is there keeps its own."""

    data: Mapping[str, Sensitive]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    type: str = "Opaque"


def render(wanted: ExternalSecret, reading: Reading) -> Rendered:
    """Return what `wanted` makes of `reading`."""
    return Rendered(reading.values, wanted.metadata.labels, wanted.metadata.annotations)
