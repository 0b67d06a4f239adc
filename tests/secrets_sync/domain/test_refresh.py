"""When a provider is read again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.meta import ObjectMeta
from secrets_sync.api import ExternalSecret, ExternalSecretSpec, ExternalSecretStatus
from secrets_sync.domain.hashing import synced_version
from secrets_sync.domain.refresh import is_due, next_look

SYNCED = datetime(2026, 1, 1, tzinfo=UTC)
METADATA = ObjectMeta(name="db", namespace="shop", generation=3)


def wanted(policy: Any = "Periodic", interval: str = "1h", version: str = "", synced: bool = True) -> ExternalSecret:
    status = ExternalSecretStatus(
        refresh_time=SYNCED if synced else None,
        synced_resource_version=(version or synced_version(METADATA)) if synced else "",
    )
    spec = ExternalSecretSpec(refresh_policy=policy, refresh_interval=interval)
    return ExternalSecret(metadata=METADATA, spec=spec, status=status)


@pytest.mark.parametrize("policy", ["Periodic", "OnChange", "CreatedOnce"])
def test_what_was_never_synced_is_due(policy: str) -> None:
    assert is_due(wanted(policy, "0", synced=False), SYNCED)


@pytest.mark.parametrize(
    ("policy", "interval", "due"),
    [("Periodic", "1h", True), ("Periodic", "0", False), ("OnChange", "1h", True), ("CreatedOnce", "1h", False)],
)
def test_an_edit_is_due_by_policy(policy: str, interval: str, due: bool) -> None:
    assert is_due(wanted(policy, interval, version="2-other"), SYNCED) is due


@given(st.integers(0, 10_000_000))
def test_only_periodic_looks_at_the_clock(seconds: int) -> None:
    now = SYNCED + timedelta(seconds=seconds)

    assert not is_due(wanted("OnChange"), now)
    assert not is_due(wanted("CreatedOnce"), now)
    assert not is_due(wanted("Periodic", "0"), now)
    assert is_due(wanted("Periodic"), now) == (seconds >= 3240)


@given(st.floats(1, 100_000), st.floats(0, 2), st.floats(0.95, 1.05))
def test_the_next_look_finds_something_due(interval: float, share: float, jitter: float) -> None:
    """Otherwise each refresh would cost a second look, or many."""
    subject = wanted("Periodic", f"{interval:.3f}s")
    now = SYNCED + timedelta(seconds=interval * share)

    delay = next_look(subject, SYNCED, now)

    assert delay is not None
    assert delay >= 1
    assert is_due(subject, now + timedelta(seconds=delay * jitter))


def test_a_refresh_time_in_the_future_is_not_believed() -> None:
    assert is_due(wanted(), SYNCED - timedelta(seconds=1))
