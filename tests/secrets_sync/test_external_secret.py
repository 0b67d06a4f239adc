"""From a provider's value to a Secret, on the embedded cluster."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import GitOpsError
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import Query
from gitops_core.runtime.reconciling import Outcome
from secrets_sync.adapters import FakeFactory
from secrets_sync.api import ExternalSecret, SecretStore
from secrets_sync.domain.secret.hashing import hash_owner
from secrets_sync.domain.secret.live import CREATED_BY, DATA_HASH, MANAGED, SECRET
from secrets_sync.errors import AccessDenied, ProviderUnavailable
from tests.memories import remembering
from tests.secrets_sync.world import NAMESPACE, World, external_secret, fake, is_stalled, prepare, put_secret
from tests.simulation.fakes.provider import MemoryFactory, MemoryProvider


@pytest.fixture
async def world(local_cluster: LocalCluster) -> World:
    """A ready store `fake` whose payloads are `provider(world)`'s."""
    await prepare(local_cluster)
    provider = MemoryProvider({"db": "v1", "json": '{"a":"1","b":"2"}'})
    world = World(local_cluster, {"fake": MemoryFactory(provider)})
    await world.create(fake(unused="-"))
    return world


def provider(world: World) -> MemoryProvider:
    factory = world.factories["fake"]
    assert isinstance(factory, MemoryFactory)
    return factory.provider


async def test_a_value_becomes_a_secret_with_the_original_marks(world: World) -> None:
    await world.create(external_secret())

    await world.step()

    secret = await world.secret()
    assert secret is not None
    metadata = secret["metadata"]
    assert secret["data"] == {"password": "djE="}
    assert secret["type"] == "Opaque"
    assert metadata["labels"] == {MANAGED: "true", CREATED_BY: hash_owner(ObjectKey(NAMESPACE, "db"))}
    go_text = b"map[password:[118 49]]"
    assert metadata["annotations"] == {DATA_HASH: hashlib.sha3_224(go_text).hexdigest()}
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"], owner["blockOwnerDeletion"]) == (
        "ExternalSecret",
        "db",
        True,
        True,
    )
    assert [entry["manager"] for entry in metadata["managedFields"]] == ["externalsecrets.external-secrets.io/db"]
    assert await world.ready() == ("True", "SecretSynced", "secret synced")
    status = (await world.get()).status
    assert status.refresh_time == world.clock.now()
    assert status.binding is not None
    assert status.binding.name == "db"
    assert [(n.type, n.reason, n.message) for n in world.notices] == [("Normal", "Created", "secret created")]


async def test_rotation_reaches_the_cluster_at_the_next_refresh(world: World) -> None:
    await world.create(external_secret())
    first = await world.step()
    assert isinstance(first, Outcome)
    assert first.requeue_after == 3600

    provider(world).put("db", "v2")
    await world.step()
    assert await world.data() == {"password": "v1"}
    await world.clock.sleep(3600)
    await world.step()

    assert await world.data() == {"password": "v2"}
    assert [notice.reason for notice in world.notices] == ["Created", "Updated"]


async def test_nothing_is_written_when_nothing_changed(world: World) -> None:
    await world.create(external_secret())
    await world.step()
    before = await world.secret()

    await world.clock.sleep(3600)
    result = await world.step()

    assert await world.secret() == before
    assert isinstance(result, Outcome)
    assert not result.changed


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"annotations": {"force-sync": "1"}}},
        {"spec": {"data": [{"secretKey": "password", "remoteRef": {"key": "json", "property": "a"}}]}},
    ],
    ids=["annotation", "spec"],
)
async def test_an_edit_refreshes_at_once(world: World, change: dict[str, Any]) -> None:
    await world.create(external_secret())
    await world.step()
    reads = provider(world).reads

    await world.patch(ExternalSecret.KIND, "db", change)
    await world.step()

    assert provider(world).reads == reads + 1


@pytest.mark.parametrize("spec", [{"refreshInterval": "0"}, {"refreshPolicy": "CreatedOnce"}])
async def test_force_sync_brings_a_rotated_value_where_nothing_else_does(world: World, spec: dict[str, Any]) -> None:
    await world.create(external_secret(**spec))
    await world.step()
    provider(world).put("db", "v2")
    await world.patch(ExternalSecret.KIND, "db", {"metadata": {"annotations": {"team": "a"}}})
    await world.step()
    assert await world.data() == {"password": "v1"}

    await world.patch(ExternalSecret.KIND, "db", {"metadata": {"annotations": {"force-sync": "1"}}})
    await world.step()
    assert await world.data() == {"password": "v2"}

    reads = provider(world).reads
    await world.step()
    assert provider(world).reads == reads


async def test_an_edited_store_refreshes_at_once(world: World) -> None:
    await world.create(external_secret())
    await world.step()
    provider(world).put("db", "v2")

    await world.patch(
        SecretStore.KIND, "fake", {"spec": {"provider": {"fake": {"data": [{"key": "x", "value": "y"}]}}}}
    )
    await world.step()

    assert await world.data() == {"password": "v2"}


@pytest.mark.parametrize(
    "edit",
    [{"data": {"password": "aGFja2Vk"}}, {"data": {"more": "aGFja2Vk"}}, {"metadata": {"labels": {MANAGED: None}}}],
    ids=["value", "key", "label"],
)
async def test_a_secret_edited_by_hand_is_right_again(world: World, edit: dict[str, Any]) -> None:
    await world.create(external_secret())
    await world.step()

    await world.patch(SECRET, "db", edit)
    await world.step()

    secret = await world.secret()
    assert secret is not None
    assert secret["data"] == {"password": "djE="}
    assert secret["metadata"]["labels"][MANAGED] == "true"


async def test_a_deleted_secret_comes_back(world: World) -> None:
    await world.create(external_secret())
    await world.step()

    await world.cluster.delete(ObjectRef(SECRET, ObjectKey(NAMESPACE, "db")))
    await world.step()

    assert await world.data() == {"password": "v1"}


async def test_merge_keeps_what_others_put_there(world: World) -> None:
    await put_secret(world.cluster, "db", own="kept")
    await world.create(external_secret(target={"creationPolicy": "Merge"}))

    await world.step()

    assert await world.data() == {"own": "kept", "password": "v1"}
    secret = await world.secret()
    assert secret is not None
    assert "ownerReferences" not in secret["metadata"]
    assert CREATED_BY not in secret["metadata"]["labels"]


async def test_merge_removes_only_the_keys_it_wrote(world: World) -> None:
    await put_secret(world.cluster, "db", own="kept")
    await world.create(external_secret(target={"creationPolicy": "Merge"}))
    await world.step()

    data = [{"secretKey": "renamed", "remoteRef": {"key": "db"}}]
    await world.patch(ExternalSecret.KIND, "db", {"spec": {"data": data}})
    await world.step()

    assert await world.data() == {"own": "kept", "renamed": "v1"}


async def test_merge_without_a_secret_waits(world: World) -> None:
    await world.create(external_secret(target={"creationPolicy": "Merge"}))

    await world.step()

    assert await world.secret() is None
    assert await world.ready() == ("True", "SecretMissing", "secret will not be created due to CreationPolicy=Merge")


async def test_none_makes_nothing(world: World) -> None:
    await world.create(external_secret(target={"creationPolicy": "None"}))

    await world.step()

    assert await world.secret() is None
    assert await world.ready() == ("True", "SecretSynced", "secret synced")


async def test_owner_takes_over_a_secret_that_nobody_owns(world: World) -> None:
    await put_secret(world.cluster, "db", own="goes")
    await world.create(external_secret())

    await world.step()

    assert await world.data() == {"password": "v1"}
    assert [notice.reason for notice in world.notices] == ["Updated", "KeysReplaced"]


async def test_of_two_external_secrets_the_first_keeps_the_target(world: World) -> None:
    await world.create(external_secret("one", target={"name": "db"}), external_secret("two", target={"name": "db"}))
    await world.step("one")
    before = await world.secret()

    result = await world.step("two")

    assert is_stalled(result)
    status, reason, message = await world.ready("two")
    assert (status, reason) == ("False", "SecretSyncedError")
    assert message.startswith("target is owned by another ExternalSecret: ")
    assert await world.secret() == before


async def test_two_that_merge_share_a_target_without_fighting(world: World) -> None:
    await put_secret(world.cluster, "db", own="kept")
    merge = {"name": "db", "creationPolicy": "Merge"}
    other = [{"secretKey": "a", "remoteRef": {"key": "json", "property": "a"}}]
    await world.create(external_secret("one", target=merge), external_secret("two", target=merge, data=other))
    for name in ("one", "two", "one", "two"):
        await world.step(name)
    before, reads = await world.secret(), provider(world).reads

    for name in ("one", "two", "one", "two"):
        await world.step(name)

    assert await world.data() == {"own": "kept", "password": "v1", "a": "1"}
    assert await world.secret() == before
    assert provider(world).reads == reads


async def test_an_interval_that_is_none_is_reported(world: World) -> None:
    await world.create(external_secret(refreshInterval="often"))

    result = await world.step()

    assert is_stalled(result)
    assert "spec.refreshInterval: not a duration: 'often'" in (await world.ready())[2]


async def test_a_cluster_secret_store_is_not_mistaken_for_a_store(world: World) -> None:
    await world.create(external_secret(secretStoreRef={"name": "fake", "kind": "ClusterSecretStore"}))

    result = await world.step()

    assert is_stalled(result)
    assert "spec.secretStoreRef.kind is not supported" in (await world.ready())[2]
    assert await world.secret() is None


async def test_a_target_that_another_controller_owns_is_left_alone(world: World) -> None:
    taken = dict(await put_secret(world.cluster, "db", own="kept"))
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "namespace": NAMESPACE}}
    owner = await world.cluster.create(config, field_manager="tests")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    await world.patch(SECRET, "db", {"metadata": {"ownerReferences": [reference | {"controller": True}]}})
    await world.create(external_secret())

    result = await world.step()

    assert is_stalled(result)
    assert (await world.ready())[2].startswith("failed to take ownership of target secret: ")
    assert await world.data() == {"own": "kept"}
    assert taken["data"] == {"own": "a2VwdA=="}


async def test_a_secret_made_immutable_by_hand_is_reported(world: World) -> None:
    await world.create(external_secret())
    await world.step()
    await world.patch(SECRET, "db", {"immutable": True})
    provider(world).put("db", "v2")

    await world.clock.sleep(3600)
    result = await world.step()

    assert is_stalled(result)
    assert (await world.ready())[2].startswith("could not update secret, target is immutable: ")
    assert await world.data() == {"password": "v1"}


async def test_an_immutable_target_keeps_its_first_value(world: World) -> None:
    await world.create(external_secret(target={"immutable": True}))
    await world.step()
    provider(world).put("db", "v2")

    await world.clock.sleep(3600)
    await world.step()

    assert await world.data() == {"password": "v1"}
    assert await world.ready() == ("True", "SecretSynced", "secret synced")


async def test_a_missing_key_is_reported_and_the_secret_left_alone(world: World) -> None:
    await world.create(external_secret())
    await world.step()
    provider(world).remove("db")

    await world.clock.sleep(3600)
    result = await world.step()

    assert not is_stalled(result)
    assert str(result).startswith("error processing spec.data[0] (key: db), err: ")
    assert (await world.ready())[2].startswith("could not get secret data from provider: ")
    assert "no key 'db'" in (await world.ready())[2]
    assert await world.data() == {"password": "v1"}


async def test_with_delete_a_missing_key_leaves_and_the_last_takes_the_secret_along(world: World) -> None:
    data = [
        {"secretKey": "password", "remoteRef": {"key": "db"}},
        {"secretKey": "a", "remoteRef": {"key": "json", "property": "a"}},
    ]
    await world.create(external_secret(data=data, target={"deletionPolicy": "Delete"}))
    await world.step()

    provider(world).remove("db")
    await world.clock.sleep(3600)
    await world.step()
    assert await world.data() == {"a": "1"}
    provider(world).remove("json")
    await world.clock.sleep(3600)
    await world.step()

    assert await world.secret() is None
    assert await world.ready() == ("True", "SecretDeleted", "secret deleted due to DeletionPolicy=Delete")
    assert "MissingProviderSecret" in [notice.reason for notice in world.notices]


async def test_each_distinct_key_is_read_once(world: World) -> None:
    data = [{"secretKey": name, "remoteRef": {"key": "json", "property": name}} for name in "ab"]
    await world.create(external_secret(data=data, dataFrom=[{"extract": {"key": "json"}}]))

    await world.step()

    assert provider(world).reads == 1
    assert await world.data() == {"a": "1", "b": "2"}


async def test_a_renamed_target_leaves_no_orphan(world: World) -> None:
    await world.create(external_secret())
    await world.step()

    await world.patch(ExternalSecret.KIND, "db", {"spec": {"target": {"name": "db2"}}})
    await world.step()

    assert await world.secret("db") is None
    assert await world.data("db2") == {"password": "v1"}
    assert "secret deleted because it was orphaned" in [notice.message for notice in world.notices]


async def test_an_external_secret_that_is_renamed_onto_anothers_secret_keeps_its_own(world: World) -> None:
    await world.create(external_secret("one"), external_secret("two"))
    await world.step("one")
    await world.step("two")

    await world.patch(ExternalSecret.KIND, "one", {"spec": {"target": {"name": "two"}}})
    result = await world.step("one")

    assert is_stalled(result)
    assert await world.data("one") == {"password": "v1"}
    await world.patch(ExternalSecret.KIND, "one", {"spec": {"target": {"name": "three"}}})
    await world.step("one")
    assert await world.data("three") == {"password": "v1"}
    assert await world.secret("one") is None


@pytest.mark.parametrize("number", [2, 3])
async def test_external_secrets_that_change_names_in_a_circle_all_get_there_and_nothing_is_ever_gone(
    world: World, number: int
) -> None:
    names = [f"s{i}" for i in range(number)]
    for name in names:
        provider(world).put(name, f"of {name}")
        await world.create(external_secret(name, data=[{"secretKey": "password", "remoteRef": {"key": name}}]))
        await world.step(name)
    uids = {name: (await world.secret(name) or {})["metadata"]["uid"] for name in names}

    moves = dict(zip(names, [*names[1:], names[0]], strict=True))
    for name, target in moves.items():
        await world.patch(ExternalSecret.KIND, name, {"spec": {"target": {"name": target}}})
    for name in names * number:
        await world.step(name)
        assert {n: (await world.secret(n) or {})["metadata"]["uid"] for n in names} == uids

    for name, target in moves.items():
        assert await world.data(target) == {"password": f"of {name}"}
        secret = await world.secret(target) or {}
        assert [(o["name"], o["controller"]) for o in secret["metadata"]["ownerReferences"]] == [(name, True)]
        assert secret["metadata"]["labels"][CREATED_BY] == hash_owner(ObjectKey(NAMESPACE, name))
        assert (await world.ready(name))[:2] == ("True", "SecretSynced")


async def test_an_external_secret_waits_until_the_owner_of_its_new_name_has_moved(world: World) -> None:
    """Its Secret holds what it has until the new one is there."""
    await world.create(external_secret("one"), external_secret("two"))
    await world.step("one")
    await world.step("two")
    await world.patch(ExternalSecret.KIND, "two", {"spec": {"target": {"name": "three"}}})
    await world.patch(ExternalSecret.KIND, "one", {"spec": {"target": {"name": "two"}}})

    assert is_stalled(await world.step("one"))
    uid = (await world.secret("two") or {})["metadata"]["uid"]
    await world.step("two")  # who waits for it gets it as it is
    assert (await world.secret("two") or {})["metadata"]["uid"] == uid
    await world.step("one")

    assert await world.data("two") == await world.data("three") == {"password": "v1"}
    assert await world.secret("one") is None


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_a_target_without_values_at_the_rename_leaves_no_orphan_later(world: World, policy: str) -> None:
    extract = [{"extract": {"key": "empty"}}]
    provider(world).put("empty", '{"a":"1"}')
    await world.create(external_secret(data=[], dataFrom=extract, target={"deletionPolicy": policy}))
    await world.step()

    provider(world).put("empty", "{}")
    await world.patch(ExternalSecret.KIND, "db", {"spec": {"target": {"name": "db2"}}})
    await world.step()
    assert await world.data("db") == {"a": "1"}
    provider(world).put("empty", '{"a":"2"}')
    await world.clock.sleep(3600)
    await world.step()

    assert await world.data("db2") == {"a": "2"}
    assert await world.secret("db") is None


@pytest.mark.parametrize("owner", [None, "another", "not the controller"])
async def test_a_secret_with_a_copied_label_is_no_orphan(world: World, owner: str | None) -> None:
    """The label says which ExternalSecret made a Secret, and anybody can copy it: only the controller is proof."""
    await world.create(external_secret(), external_secret("another"))
    await world.step()
    await put_secret(world.cluster, "copy", own="kept")
    labels = {MANAGED: "true", CREATED_BY: hash_owner(ObjectKey(NAMESPACE, "db"))}
    named = "db" if owner == "not the controller" else "another"
    uid = (await world.get(named)).metadata.uid
    reference = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": named, "uid": uid}
    owners = [] if owner is None else [reference | {"controller": owner == "another"}]
    await world.patch(SECRET, "copy", {"metadata": {"labels": labels, "ownerReferences": owners}})

    await world.patch(ExternalSecret.KIND, "db", {"spec": {"target": {"name": "db2"}}})
    await world.step()

    assert await world.data("copy") == {"own": "kept"}
    assert await world.secret("db") is None


async def told(world: World, name: str = "db") -> dict[str, str]:
    """The messages of the conditions beside Ready, by type."""
    return {c.type: c.message for c in (await world.get(name)).status.conditions if c.type != "Ready"}


async def refreshed(world: World, *names: str) -> None:
    await world.clock.sleep(3600)
    for name in names:
        await world.step(name)


@pytest.mark.parametrize("policy", ["Owner", "Orphan"])
async def test_keys_that_a_takeover_costs_are_told_once(world: World, policy: str) -> None:
    await put_secret(world.cluster, "db", own="goes", password="other", same="v1")
    same = [{"secretKey": name, "remoteRef": {"key": "db"}} for name in ("password", "same")]
    await world.create(external_secret(data=same, target={"creationPolicy": policy}))

    await world.step()
    message = (await told(world))["TookOver"]
    await refreshed(world, "db")
    await world.patch(SECRET, "db", {"data": {"more": "aGFja2Vk"}})
    await refreshed(world, "db")
    provider(world).fails = ProviderUnavailable("memory: HTTP 503")
    await refreshed(world, "db")
    provider(world).fails = None
    await refreshed(world, "db")

    assert message.endswith("was removed or replaced: own, password")
    assert await told(world) == {"TookOver": message}
    warnings = [notice for notice in world.notices if notice.type == "Warning"]
    assert [(notice.reason, notice.message) for notice in warnings] == [("KeysReplaced", message)]


async def test_the_cost_of_a_takeover_is_forgotten_with_the_next_edit(world: World) -> None:
    await put_secret(world.cluster, "db", own="goes")
    await world.create(external_secret())
    await world.step()

    await world.patch(ExternalSecret.KIND, "db", {"metadata": {"labels": {"seen": "yes"}}})
    await world.step()

    assert await told(world) == {}


@pytest.mark.parametrize("target", [{}, {"creationPolicy": "Orphan"}, {"creationPolicy": "CreateOrMerge"}])
async def test_a_takeover_that_costs_nothing_is_not_told(world: World, target: dict[str, Any]) -> None:
    kept = {"own": "kept"} if target.get("creationPolicy") == "CreateOrMerge" else {}
    await put_secret(world.cluster, "db", password="v1", **kept)
    await world.create(external_secret(target=target))

    await world.step()

    assert await told(world) == {}
    assert [notice.type for notice in world.notices] == ["Normal"]


async def test_two_orphans_on_one_secret_are_told_once_each_until_one_is_gone(world: World) -> None:
    target = {"name": "shared", "creationPolicy": "Orphan"}
    other = [{"secretKey": "a", "remoteRef": {"key": "json", "property": "a"}}]
    await world.create(external_secret("one", target=target), external_secret("two", target=target, data=other))

    for _ in range(3):
        await refreshed(world, "one", "two")
    await refreshed(world, "one", "one")

    assert await told(world, "one") == {
        "Contested": "Secret 'shared' is also written by ExternalSecret 'two', and each takes the other's keys away"
    }
    assert set(await told(world, "two")) == {"Contested"}
    warnings = [notice.reason for notice in world.notices if notice.type == "Warning"]
    assert warnings == ["SharedTarget", "SharedTarget"]
    await world.patch(ExternalSecret.KIND, "two", {"spec": {"target": {"name": "own"}}})
    await refreshed(world, "one", "two")
    assert (await told(world, "one"), await told(world, "two")) == ({}, {})


async def test_labels_and_annotations_are_copied_and_removed_again(world: World) -> None:
    manifest = external_secret()
    manifest["metadata"] |= {"labels": {"team": "a"}, "annotations": {"note": "x"}}
    await world.create(manifest)
    await world.step()
    await world.patch(SECRET, "db", {"metadata": {"labels": {"foreign": "stays"}}})

    await world.patch(ExternalSecret.KIND, "db", {"metadata": {"labels": {"team": None}}})
    await world.step()

    secret = await world.secret()
    assert secret is not None
    assert secret["metadata"]["annotations"]["note"] == "x"
    assert "team" not in secret["metadata"]["labels"]
    assert secret["metadata"]["labels"]["foreign"] == "stays"


async def test_a_missing_store_is_named_and_waited_for(world: World) -> None:
    await world.create(external_secret(secretStoreRef={"name": "nope"}))

    result = await world.step()

    assert is_stalled(result)
    assert 'could not get SecretStore "nope"' in (await world.ready())[2]


async def test_a_store_that_is_not_ready_is_not_asked(world: World) -> None:
    await world.create(external_secret())
    provider(world).fails = AccessDenied("memory: wrong password")
    await world.step_store()

    await world.step()

    assert (await world.ready())[2] == 'could not get secret data from provider: SecretStore "fake" is not ready'
    assert provider(world).reads == 0


async def test_stores_of_other_namespaces_are_out_of_reach(world: World) -> None:
    elsewhere = fake("theirs", db="stolen")
    elsewhere["metadata"]["namespace"] = "other"
    await world.cluster.create(elsewhere, field_manager="tests")
    await world.create(external_secret(secretStoreRef={"name": "theirs"}))

    result = await world.step()

    assert is_stalled(result)
    assert await world.secret() is None


async def test_a_secret_that_cannot_be_made_right_is_not_made(world: World) -> None:
    """A template that is ignored would replace a good Secret with another."""
    await put_secret(world.cluster, "db", templated="kept")
    await world.create(external_secret(target={"template": {"data": {"x": "{{ .password }}"}}}))

    result = await world.step()

    assert is_stalled(result)
    assert await world.data() == {"templated": "kept"}
    assert "spec.target.template" in (await world.ready())[2]


async def test_a_provider_that_is_down_leaves_the_secret_and_is_asked_again(world: World) -> None:
    await world.create(external_secret())
    await world.step()
    provider(world).fails = ProviderUnavailable("memory: HTTP 503", retry_after=7)

    await world.clock.sleep(3600)
    result = await world.step()

    assert getattr(result, "retry_after", None) == 7
    assert (await world.ready())[:2] == ("False", "SecretSyncedError")
    assert await world.data() == {"password": "v1"}
    provider(world).fails = None
    await world.step()
    assert (await world.ready())[0] == "True"


async def test_a_hanging_provider_hangs_nothing_else(world: World) -> None:
    await world.create(
        external_secret(),
        external_secret("other", data=[{"secretKey": "a", "remoteRef": {"key": "json", "property": "a"}}]),
    )
    provider(world).hangs.add("db")

    stuck = asyncio.create_task(world.step())
    await asyncio.wait_for(world.step("other"), 5)
    stuck.cancel()

    assert await world.data("other") == {"a": "1"}
    assert await world.secret() is None


async def test_a_write_that_lost_a_race_is_planned_again(world: World) -> None:
    await put_secret(world.cluster, "db", own="kept")
    await world.create(external_secret(target={"creationPolicy": "Merge"}))

    async def meanwhile() -> None:
        await world.patch(SECRET, "db", {"data": {"late": "bGF0ZQ=="}})

    provider(world).before_read = meanwhile
    await world.step()

    assert await world.data() == {"own": "kept", "late": "late", "password": "v1"}


async def make_anew(world: World) -> None:
    await world.cluster.delete(ObjectRef(SECRET, ObjectKey(NAMESPACE, "db")))
    await put_secret(world.cluster, "db", own="kept")


async def hand_over(world: World) -> None:
    """Somebody else's from now on, and the same object."""
    other = await put_secret(world.cluster, "owner", of="it")
    owner = {"apiVersion": "v1", "kind": "Secret", "name": "owner", "uid": other["metadata"]["uid"], "controller": True}
    patch = {"metadata": {"ownerReferences": [owner]}, "data": {"password": None, "own": "a2VwdA=="}}
    await world.patch(SECRET, "db", patch)


class Meanwhile:
    """The cluster, where something happens once: right before a Secret is deleted, or right after some were listed."""

    def __init__(self, inner: LocalCluster, moment: str, deed: Callable[[], Awaitable[None]]) -> None:
        self._inner, self._deeds = inner, {moment: deed}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def delete(self, ref: ObjectRef, **options: Any) -> None:
        await self._happens("delete")
        await self._inner.delete(ref, **options)

    async def list(self, query: Query, *args: Any, **options: Any) -> Any:
        page = await self._inner.list(query, *args, **options)
        await self._happens("list")
        return page

    async def _happens(self, moment: str) -> None:
        if (deed := self._deeds.pop(moment, None)) is not None:
            await deed()


@pytest.mark.parametrize("deed", [make_anew, hand_over])
@pytest.mark.parametrize("cause", ["gone", "finalized", "renamed"])
async def test_a_secret_that_became_anothers_after_it_was_read_is_not_deleted(
    world: World, cause: str, deed: Callable[[World], Awaitable[None]]
) -> None:
    await world.create(external_secret(target={"name": "db", "deletionPolicy": "Delete"}))
    await world.step()
    meanwhile: Any = Meanwhile(world.cluster, "delete", lambda: deed(world))
    world.secrets = replace(world.secrets, cluster=meanwhile)

    if cause == "gone":
        provider(world).remove("db")
        await world.clock.sleep(3600)
        await world.step()
    elif cause == "renamed":
        await world.patch(ExternalSecret.KIND, "db", {"spec": {"target": {"name": "db2"}}})
        await world.step()
    else:
        with pytest.raises(GitOpsError):
            await world.secrets.finalize(await world.get())
        await world.secrets.finalize(await world.get())

    assert await world.data() == {"own": "kept"}


async def test_a_secret_that_the_next_one_took_already_is_not_given_up_again(world: World) -> None:
    await world.create(external_secret())
    await world.step()
    await world.create(external_secret("next", target={"name": "db"}))
    await world.patch(ExternalSecret.KIND, "db", {"spec": {"target": {"name": "db2"}}})
    owner = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "next", "controller": True}
    owner["uid"] = (await world.get("next")).metadata.uid
    taken = {"ownerReferences": [owner], "labels": {CREATED_BY: hash_owner(ObjectKey(NAMESPACE, "next"))}}
    meanwhile: Any = Meanwhile(world.cluster, "list", lambda: world.patch(SECRET, "db", {"metadata": taken}))
    world.secrets = replace(world.secrets, cluster=meanwhile)

    await world.step()

    assert await world.data("db2") == {"password": "v1"}
    secret = await world.secret()
    assert secret is not None
    assert secret["metadata"]["labels"][CREATED_BY] == hash_owner(ObjectKey(NAMESPACE, "next"))


async def test_deleting_takes_the_secret_along_only_if_it_is_ours(world: World) -> None:
    await world.create(external_secret(target={"deletionPolicy": "Delete"}))
    await world.step()

    await world.secrets.finalize(await world.get())

    assert await world.secret() is None


async def test_nothing_is_remembered_of_what_was_deleted(world: World) -> None:
    await world.create(external_secret("zebra"))
    await world.step("zebra")
    assert remembering(world.secrets, "zebra")

    await world.secrets.finalize(await world.get("zebra"))

    assert remembering(world.secrets, "zebra") == []


@pytest.mark.parametrize(("policy", "reads"), [("CreatedOnce", 1), ("OnChange", 2), ("Periodic", 3)])
async def test_refresh_policies(world: World, policy: str, reads: int) -> None:
    await world.create(external_secret(refreshPolicy=policy))
    await world.step()

    await world.clock.sleep(7200)
    await world.step()
    await world.patch(ExternalSecret.KIND, "db", {"metadata": {"labels": {"touched": "yes"}}})
    await world.step()

    assert provider(world).reads == reads


async def test_an_interval_of_zero_syncs_once_and_still_repairs(world: World) -> None:
    await world.create(external_secret(refreshInterval="0"))
    result = await world.step()
    assert isinstance(result, Outcome)
    assert result.requeue_after is None

    await world.clock.sleep(timedelta(days=9).total_seconds())
    await world.step()
    assert provider(world).reads == 1
    await world.patch(SECRET, "db", {"data": {"password": "aGFja2Vk"}})
    await world.step()

    assert await world.data() == {"password": "v1"}


async def test_a_store_says_whether_it_can_be_used(world: World) -> None:
    async def condition() -> tuple[str, str, str]:
        manifest = await world.cluster.get(ObjectRef(SecretStore.KIND, ObjectKey(NAMESPACE, "fake")))
        assert manifest is not None
        (ready,) = manifest["status"]["conditions"]
        return ready["status"], ready["reason"], ready["message"]

    assert await condition() == ("True", "Valid", "store validated")
    provider(world).fails = AccessDenied("memory: wrong password")

    result = await world.step_store()

    assert isinstance(result, GitOpsError)
    assert await condition() == ("False", "ValidationFailed", "unable to validate store: memory: wrong password")


def test_the_secret_kind_is_the_core_one() -> None:
    assert Kind("", "v1", "Secret") == SECRET


# find


def fakes(**payloads: str) -> dict[str, Any]:
    """A change of the store: what it has now."""
    data = [{"key": key.replace("__", "/"), "value": value} for key, value in payloads.items()]
    return {"spec": {"provider": {"fake": {"data": data}}}}


@pytest.fixture
async def finding(local_cluster: LocalCluster) -> World:
    """A ready store `fake` that has what its spec says."""
    await prepare(local_cluster)
    world = World(local_cluster, {"fake": FakeFactory()})
    await world.create({**fake(), **fakes(shop__db="v1", shop__web="d2Vi", other="o", json='{"shop_db":"json"}')})
    return world


async def change(world: World, **payloads: str) -> None:
    await world.patch(SecretStore.KIND, "fake", fakes(**payloads))
    await world.step_store()
    await world.step()


async def test_what_is_found_becomes_keys_that_come_and_go_with_it(finding: World) -> None:
    find = {"name": {"regexp": "^shop/"}}
    await finding.create(external_secret(data=[], dataFrom=[{"find": find}], target={"deletionPolicy": "Delete"}))

    await finding.step()
    assert await finding.data() == {"shop_db": "v1", "shop_web": "d2Vi"}
    await change(finding, shop__db="v2", shop__new="n", other="o")
    assert await finding.data() == {"shop_db": "v2", "shop_new": "n"}
    await change(finding, other="o")

    assert await finding.secret() is None
    assert await finding.ready() == ("True", "SecretDeleted", "secret deleted due to DeletionPolicy=Delete")
    assert [notice.reason for notice in finding.notices] == ["Created", "Updated", "Deleted"]


async def test_with_retain_a_secret_outlives_what_was_found(finding: World) -> None:
    await finding.create(external_secret(data=[], dataFrom=[{"find": {"path": "shop"}}]))
    await finding.step()
    before = await finding.data()

    await change(finding, other="o")

    assert await finding.data() == before == {"shop_db": "v1", "shop_web": "d2Vi"}
    assert await finding.ready() == ("True", "SecretSynced", "secret retained due to DeletionPolicy=Retain")


async def test_of_equal_keys_the_later_entry_wins_whether_it_finds_or_names(finding: World) -> None:
    find, extract = {"find": {"path": "shop"}}, {"extract": {"key": "json"}}
    named = [{"secretKey": "shop_web", "remoteRef": {"key": "other"}}]
    await finding.create(
        external_secret("first", data=[], dataFrom=[find, extract]),
        external_secret("last", data=named, dataFrom=[extract, find]),
    )

    for name in ("first", "last"):
        await finding.step(name)

    assert await finding.data("first") == {"shop_db": "json", "shop_web": "d2Vi"}
    assert await finding.data("last") == {"shop_db": "v1", "shop_web": "o"}


async def test_found_names_are_converted_and_found_values_decoded(finding: World) -> None:
    find = {"path": "shop", "conversionStrategy": "Unicode", "decodingStrategy": "Auto"}
    await finding.create(external_secret(data=[], dataFrom=[{"find": find}]))

    await finding.step()

    assert await finding.data() == {"shop_U002f_db": "v1", "shop_U002f_web": "web"}


@pytest.mark.parametrize(
    ("find", "payloads", "stalls", "message"),
    [
        ({"name": {"regexp": "("}}, {"a": "1"}, True, "name.regexp: error parsing regexp: missing closing ): `(`"),
        ({"tags": {"team": "a"}}, {"a": "1"}, True, "fake store 'fake': its entries have no tags to find them by"),
        (
            {},
            {"a__b": "1", "a_b": "2"},
            False,
            "fake store 'fake': two keys become 'a_b': choose conversionStrategy Unicode, or rename one",
        ),
        ({}, {"ü": "1"}, False, "fake store 'fake': the key 'ü' has other characters than"),
        ({"decodingStrategy": "Base64"}, {"a": "marked-4711"}, False, "fake store 'fake': 'a': not base64"),
        (
            {"path": "shop"},
            {f"shop__{number}": "1" for number in range(1001)},
            False,
            "fake store 'fake': more than 1000 matches below 'shop': narrow path or name.regexp",
        ),
        (
            {},
            {f"k{number}": "x" * 1_000_000 for number in range(5)},
            False,
            "fake store 'fake': more than 4194304 bytes of values below '/': narrow path or name.regexp",
        ),
    ],
    ids=["pattern", "tags", "collision", "character", "encoding", "matches", "bytes"],
)
async def test_what_cannot_be_found_says_where_and_why_and_changes_nothing(
    finding: World, find: dict[str, Any], payloads: dict[str, str], stalls: bool, message: str
) -> None:
    await finding.create(external_secret(data=[], dataFrom=[{"find": {"path": "shop"}}]))
    await finding.step()
    before = await finding.secret()
    await finding.patch(ExternalSecret.KIND, "db", {"spec": {"dataFrom": [{"extract": {"key": "o"}}, {"find": find}]}})
    await finding.patch(SecretStore.KIND, "fake", fakes(o="{}", **payloads))
    await finding.step_store()

    result = await finding.step()

    assert is_stalled(result) == stalls
    assert str(result).startswith(f"error processing spec.dataFrom[1].find, err: {message}")
    assert "4711" not in str(result)
    assert await finding.secret() == before


async def test_a_provider_that_cannot_list_is_named_and_nothing_is_made(world: World) -> None:
    await world.create(external_secret(data=[], dataFrom=[{"find": {"path": "shop"}}]))

    result = await world.step()

    assert is_stalled(result)
    assert str(result) == (
        "error processing spec.dataFrom[0].find, err: memory: this provider cannot list what it has; "
        "name its keys one by one"
    )
    assert await world.secret() is None


async def test_an_entry_that_both_finds_and_extracts_is_refused(world: World) -> None:
    await world.create(external_secret(data=[], dataFrom=[{"extract": {"key": "json"}, "find": {}}]))

    result = await world.step()

    assert is_stalled(result)
    assert str(result) == "spec.dataFrom[0] has both extract and find: exactly one is needed"
