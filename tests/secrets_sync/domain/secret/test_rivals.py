"""Which ExternalSecrets take each other's keys away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.meta import ObjectMeta
from secrets_sync.api import DataEntry, ExternalSecret, ExternalSecretSpec, RemoteRef, Target
from secrets_sync.domain.secret.rivals import list_rivals

POLICIES = ["Owner", "Orphan", "Merge", "CreateOrMerge", "None"]


def one(name: str, policy: Any, *keys: str, target: str = "db") -> ExternalSecret:
    data = tuple(DataEntry(secret_key=key, remote_ref=RemoteRef(key="k")) for key in keys)
    spec = ExternalSecretSpec(target=Target(name=target, creation_policy=policy), data=data)
    return ExternalSecret(metadata=ObjectMeta(name=name, namespace="shop"), spec=spec)


@pytest.mark.parametrize(
    ("mine", "theirs", "fight"),
    [
        (one("a", "Orphan", "x"), one("b", "Orphan", "y"), True),
        (one("a", "Orphan", "x"), one("b", "Merge", "y"), True),
        (one("a", "CreateOrMerge", "x"), one("b", "Orphan", "y"), True),
        (one("a", "Merge", "x"), one("b", "Merge", "y"), False),
        (one("a", "Merge", "x", "y"), one("b", "CreateOrMerge", "y"), True),
        (one("a", "Orphan"), one("b", "Owner"), False),
        (one("a", "Orphan"), one("b", "None"), False),
        (one("a", "Orphan"), one("b", "Orphan", target="other"), False),
        (one("a", "Orphan"), one("db", "Orphan", target=""), True),
        (one("a", "Orphan"), one("a", "Orphan"), False),
    ],
)
def test_two_that_write_the_same_key_are_rivals(mine: ExternalSecret, theirs: ExternalSecret, fight: bool) -> None:
    assert list_rivals(mine, [mine, theirs]) == ((theirs.metadata.name,) if fight else ())


def test_an_external_secret_that_is_being_deleted_is_no_rival() -> None:
    leaving = one("b", "Orphan")
    metadata = msgspec.structs.replace(leaving.metadata, deletion_timestamp=datetime(2026, 1, 1, tzinfo=UTC))

    assert list_rivals(one("a", "Orphan"), [msgspec.structs.replace(leaving, metadata=metadata)]) == ()


anyone = st.builds(
    lambda name, policy, keys, target: one(name, policy, *keys, target=target),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(POLICIES),
    st.sets(st.sampled_from(["x", "y"])),
    st.sampled_from(["db", "other"]),
)


@given(anyone, anyone)
def test_rivals_for_keys_are_reported_on_both(mine: ExternalSecret, theirs: ExternalSecret) -> None:
    assert bool(list_rivals(mine, [theirs])) == bool(list_rivals(theirs, [mine]))
