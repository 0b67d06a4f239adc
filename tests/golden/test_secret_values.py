"""What External Secrets 2.9 made of properties, maps and encodings: every recorded row of the providers fake and Vault.

The rows of Vault go through a real server, because it is the server that rounds large numbers.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import GitOpsError
from gitops_core.meta import ObjectKey, ObjectMeta, Sensitive
from gitops_core.runtime.clock import SystemClock
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.schema import list_unsupported, read_manifest
from secrets_sync.adapters import FakeFactory, VaultFactory
from secrets_sync.api import DataEntry, DataFromEntry, ExternalSecretSpec, RemoteRef, SecretStore
from secrets_sync.domain.provider.extract import extract_value
from secrets_sync.domain.provider.openings import make_opening
from secrets_sync.domain.provider.payload import Payload
from secrets_sync.domain.provider.reads import plan_reads
from secrets_sync.domain.secret.hashing import hash_data, hash_owner, write_synced_version
from secrets_sync.ports import SecretProvider
from secrets_sync.reconcilers.reading import read_provider
from secrets_sync.runtime.reads import WHENEVER, Reads
from tests.secrets_sync.world import fake, payload_at, prepare, vault_store, vault_token
from tests.servers.vault import VaultServer

DATA = Path(__file__).parent / "data" / "external-secrets"


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


PROPERTIES = rows("properties.jsonl")
DATA_FROM = rows("datafrom.jsonl")


@pytest.fixture
async def vault(vault_server: VaultServer, local_cluster: LocalCluster) -> SecretProvider:
    await prepare(local_cluster)
    await vault_token(local_cluster, vault_server.token)
    return await VaultFactory(SystemClock()).open(make_opening(vault_store(vault_server.url)), local_cluster)


def test_every_property_of_the_fake_provider() -> None:
    wrong: list[str] = []
    for row in (row for row in PROPERTIES if row["provider"] == "fake"):
        payload, ref = Payload(Sensitive(row["input"])), RemoteRef(key="k", property=row["property"] or "")
        wrong += differences(row, lambda p=payload, r=ref: extract_value(p, r, "store"))

    assert wrong == []


async def test_every_property_of_vault(vault: SecretProvider, vault_server: VaultServer) -> None:
    wrong: list[str] = []
    stored: dict[str, str] = {}
    for row in (row for row in PROPERTIES if row["provider"] == "vault"):
        key = stored.get(row["input"])
        if key is None:
            key = stored[row["input"]] = f"golden/{len(stored)}"
            vault_server.put(key, row["input"])
        payload, ref = await payload_at(vault, key), RemoteRef(key=key, property=row["property"] or "")
        wrong += differences(row, lambda p=payload, r=ref: extract_value(p, r, vault.where))

    assert len(stored) > 5
    assert wrong == []


def differences(row: dict[str, Any], ask: Any) -> Iterator[str]:
    name = f"{row['provider']} {row['input'][:40]} {row['property']}"
    try:
        answer = ask().reveal()
    except GitOpsError:
        if row.get("bytes_b64") is not None:
            yield f"{name}: refused"
        return
    if row.get("bytes_b64") is None:
        yield f"{name}: not refused"
    elif answer != base64.b64decode(row["bytes_b64"]):
        yield f"{name}: {answer!r}"


PAYLOADS: dict[str, str] = DATA_FROM[0]["provider_data"]
COVERED = [
    row
    for row in DATA_FROM[1:]
    if "rejected" not in row
    and not any(list_unsupported(msgspec.convert(entry, DataFromEntry)) for entry in row["dataFrom"])
]


@pytest.fixture
async def fake_provider(local_cluster: LocalCluster) -> SecretProvider:
    store = read_manifest(SecretStore, fake(**PAYLOADS))
    return await FakeFactory().open(make_opening(store), local_cluster)


async def values_of(row: dict[str, Any], provider: SecretProvider) -> dict[str, Sensitive]:
    data_from = msgspec.convert(row["dataFrom"], tuple[DataFromEntry, ...])
    data = msgspec.convert(row.get("data", []), tuple[DataEntry, ...])
    plan = plan_reads(ExternalSecretSpec(data=data, data_from=data_from))
    return (await read_provider(plan, provider, Reads(), WHENEVER, IN_PLACE)).values


@pytest.mark.parametrize("row", [r for r in COVERED if r["provider"] == "fake"], ids=lambda r: json.dumps(r)[:90])
async def test_data_from_the_fake_provider(row: dict[str, Any], fake_provider: SecretProvider) -> None:
    if "error" in row:
        with pytest.raises(GitOpsError) as refusal:
            await values_of(row, fake_provider)
        assert str(refusal.value).partition(", err: ")[0] == row["event"].partition(", err: ")[0]
        return

    values = await values_of(row, fake_provider)

    assert {k: base64.b64encode(v.reveal()).decode() for k, v in values.items()} == row["secret_data_b64"]


@pytest.mark.parametrize("row", [r for r in COVERED if r["provider"] == "vault"], ids=lambda r: json.dumps(r)[:90])
async def test_data_from_vault(row: dict[str, Any], vault: SecretProvider, vault_server: VaultServer) -> None:
    for key in ("nested", "keys", "b64"):
        vault_server.put(f"r4/{key}", PAYLOADS[key])

    if "error" in row:
        with pytest.raises(GitOpsError):
            await values_of(row, vault)
        return

    values = await values_of(row, vault)

    assert {k: base64.b64encode(v.reveal()).decode() for k, v in values.items()} == row["secret_data_b64"]


def test_rows_that_are_not_covered_are_those_of_later_features() -> None:
    left_out = [row for row in DATA_FROM[1:] if row not in COVERED]

    assert len(COVERED) == 82
    for row in left_out:
        text = json.dumps(row["dataFrom"])
        assert "rejected" in row or "rewrite" in text


def test_hashes() -> None:
    for row in json.loads((DATA / "data-hash.json").read_text()):
        data = {key: Sensitive(text) for key, text in row["data_utf8"].items()}
        assert hash_data(data) == row["our_try_sha3_224"]
    assert hash_owner(ObjectKey("r1-lab", "create-owner")) == "446bf3f975e7170792124e738126e68fe10d667ceab45f9ca80fd3d1"
    labelled = ObjectMeta(
        generation=1,
        labels={"team": "a", "app.kubernetes.io/name": "n"},
        annotations={
            "note": "x",
            "argocd.argoproj.io/sync-wave": "1",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
        },
    )
    assert write_synced_version(labelled) == "1-36221280b9605ecb940c9f898bb07fe4246fb7b5c634c7e75bbdad96"
