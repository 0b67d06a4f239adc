"""What a provider is opened with."""

from __future__ import annotations

import re

import pytest

from gitops_core.meta import ObjectKey
from gitops_core.schema import read_manifest
from secrets_sync.api import SecretStore
from secrets_sync.domain.provider.openings import Reach, find_provider, make_opening
from secrets_sync.errors import StoreInvalid
from tests.secrets_sync.world import NAMESPACE, fake, store, vault_store


def test_a_store_is_opened_by_its_own_settings_as_itself_and_reaches_its_own_namespace() -> None:
    wanted = vault_store("https://vault.example")

    opening = make_opening(wanted)

    assert find_provider(wanted) == "vault"
    assert (opening.kind, opening.key) == ("SecretStore", ObjectKey(NAMESPACE, "vault"))
    assert (opening.uid, opening.generation) == ("store-uid", 1)
    assert opening.settings == wanted.spec.provider.vault
    assert opening.reach == Reach(NAMESPACE)


def test_an_opening_shows_no_value() -> None:
    assert "marked-4711" not in repr(make_opening(read_manifest(SecretStore, fake(db="marked-4711"))))


@pytest.mark.parametrize("named", ["", "shop"])
def test_a_namespace_that_settings_name_is_in_reach_when_it_is_the_stores_own(named: str) -> None:
    assert Reach("shop").resolve_namespace(named, "spec.x") == "shop"


@pytest.mark.parametrize("namespace", ["shop", ""])
def test_another_namespace_is_out_of_reach(namespace: str) -> None:
    with pytest.raises(StoreInvalid, match=re.escape("spec.x.namespace: a SecretStore names objects of its own")):
        Reach(namespace).resolve_namespace("other", "spec.x")


@pytest.mark.parametrize("provider", [{}, {"fake": {"data": []}, "vault": {"server": "https://vault.example"}}])
def test_a_store_has_exactly_one_provider(provider: dict[str, object]) -> None:
    with pytest.raises(StoreInvalid, match=f"names {len(provider)} providers"):
        make_opening(read_manifest(SecretStore, store("s", provider)))
