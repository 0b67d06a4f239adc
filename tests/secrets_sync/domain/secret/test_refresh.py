"""When a provider is read again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.meta import ObjectMeta
from secrets_sync.api import ExternalSecret, ExternalSecretSpec, ExternalSecretStatus
from secrets_sync.domain.secret.hashing import write_synced_version
from secrets_sync.domain.secret.refresh import find_next_look, is_due, write_version

SYNCED = datetime(2026, 1, 1, tzinfo=UTC)
METADATA = ObjectMeta(name="db", namespace="shop", generation=3)


def wanted(policy: Any = "Periodic", interval: str = "1h", version: str = "", synced: bool = True) -> ExternalSecret:
    status = ExternalSecretStatus(
        refresh_time=SYNCED if synced else None,
        synced_resource_version=(version or write_synced_version(METADATA)) if synced else "",
    )
    spec = ExternalSecretSpec(refresh_policy=policy, refresh_interval=interval)
    return ExternalSecret(metadata=METADATA, spec=spec, status=status)


@pytest.mark.parametrize("policy", ["Periodic", "OnChange", "CreatedOnce"])
def test_an_object_that_was_never_synced_is_due(policy: str) -> None:
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

    delay = find_next_look(subject, SYNCED, now)

    assert delay is not None
    assert delay >= 1
    assert is_due(subject, now + timedelta(seconds=delay * jitter))


def test_a_refresh_time_in_the_future_is_not_believed() -> None:
    assert is_due(wanted(), SYNCED - timedelta(seconds=1))


NEVER_AGAIN = pytest.mark.parametrize(
    ("policy", "interval"), [("Periodic", "0"), ("Periodic", "0s"), ("CreatedOnce", "1h"), ("CreatedOnce", "0")]
)


def refreshed(subject: ExternalSecret) -> ExternalSecret:
    status = ExternalSecretStatus(refresh_time=SYNCED, synced_resource_version=write_version(subject))
    return msgspec.structs.replace(subject, status=status)


def edited(subject: ExternalSecret, annotations: dict[str, str], *, generation: int = 3) -> ExternalSecret:
    metadata = msgspec.structs.replace(subject.metadata, annotations=annotations, generation=generation)
    return msgspec.structs.replace(subject, metadata=metadata)


@NEVER_AGAIN
@pytest.mark.parametrize("key", ["force-sync", "external-secrets.io/force-sync"])
def test_a_new_value_of_force_sync_is_due_once_whatever_the_policy(policy: Any, interval: str, key: str) -> None:
    asked = edited(wanted(policy, interval), {key: "1"})
    done = refreshed(asked)
    asked_again = edited(done, {key: "2"})

    assert is_due(asked, SYNCED)
    assert not is_due(done, SYNCED)
    assert is_due(asked_again, SYNCED)
    assert not is_due(refreshed(asked_again), SYNCED)


@NEVER_AGAIN
def test_an_edit_beside_an_old_request_is_no_request(policy: Any, interval: str) -> None:
    done = refreshed(edited(wanted(policy, interval), {"force-sync": "1"}))

    assert not is_due(edited(done, {"force-sync": "1", "team": "a"}, generation=4), SYNCED)
    assert not is_due(edited(done, {}), SYNCED)
    assert not is_due(edited(done, {"force-sync": ""}), SYNCED)


@NEVER_AGAIN
def test_a_request_that_was_there_when_the_original_synced_is_none(policy: Any, interval: str) -> None:
    subject = edited(wanted(policy, interval), {"force-sync": "1"})
    version = write_synced_version(subject.metadata)
    status = ExternalSecretStatus(refresh_time=SYNCED, synced_resource_version=version)

    assert not is_due(msgspec.structs.replace(subject, status=status), SYNCED)


@pytest.mark.parametrize(("policy", "interval"), [("Periodic", "1h"), ("OnChange", "0")])
def test_the_version_is_the_originals_where_every_edit_refreshes(policy: Any, interval: str) -> None:
    subject = edited(wanted(policy, interval), {"force-sync": "1"})

    assert write_version(subject) == write_synced_version(subject.metadata)
    assert is_due(subject, SYNCED)
