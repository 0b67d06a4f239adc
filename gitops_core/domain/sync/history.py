"""The history of a Kustomization: what became of its last attempts.

Source: Flux, pkg/apis/meta/history.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from gitops_core.api import KustomizationStatus, Snapshot
from gitops_core.domain.sync.durations import write_duration

HISTORY = 5
APPLIED = ("ReconciliationSucceeded", "HealthCheckFailed")
"""Outcomes of attempts that applied everything, and pruned the others."""


def list_applied_revisions(status: KustomizationStatus) -> frozenset[str]:
    """List every revision whose objects were applied, and the others pruned, as far back as the status tells."""
    applied = (s.metadata.get("revision", "") for s in status.history if s.last_reconciled_status in APPLIED)
    return frozenset({status.last_applied_revision, *applied} - {""})


def add_attempt(
    history: Sequence[Snapshot], digest: str, outcome: str, *, revision: str, now: datetime, took: float
) -> tuple[Snapshot, ...]:
    """Add one more attempt on top of `history`: counted with the earlier ones of the same objects and outcome."""
    now = now.replace(microsecond=0)
    same = next((s for s in history if (s.digest, s.last_reconciled_status) == (digest, outcome)), None)
    fresh = Snapshot(
        digest=digest,
        first_reconciled=now,
        last_reconciled=now,
        last_reconciled_duration=write_duration(took),
        last_reconciled_status=outcome,
        total_reconciliations=1,
        metadata={"revision": revision},
    )
    if same is not None:
        count, first = same.total_reconciliations + 1, same.first_reconciled
        fresh = msgspec.structs.replace(fresh, total_reconciliations=count, first_reconciled=first)
    return (fresh, *(s for s in history if s is not same))[:HISTORY]
