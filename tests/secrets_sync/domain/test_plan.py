"""Laws of the plan, for any ExternalSecret, values and live Secret; carried out on the embedded cluster."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_core.adapters.local import LocalCluster
from gitops_core.meta import Manifest, ObjectKey, ObjectMeta, ObjectRef, Sensitive
from gitops_core.runtime.clock import SystemClock
from secrets_sync.api import ExternalSecret, ExternalSecretSpec, Target
from secrets_sync.domain.hashing import field_manager
from secrets_sync.domain.live import SECRET, LiveSecret
from secrets_sync.domain.plan import Create, Delete, Keep, Plan, Refuse, Update, plan_target
from secrets_sync.domain.reading import Absent, Reading
from tests.secrets_sync.world import NAMESPACE, external_secret, prepare, put_secret

keys = st.sampled_from(["a", "b", "c"])
texts = st.dictionaries(keys, st.sampled_from(["1", "2", ""]), max_size=3)
labels = st.dictionaries(st.sampled_from(["team", "tier"]), st.sampled_from(["x", "y"]), max_size=2)
targets = st.builds(
    Target,
    creation_policy=st.sampled_from(["Owner", "Orphan", "Merge", "CreateOrMerge", "None"]),
    deletion_policy=st.sampled_from(["Retain", "Delete", "Merge"]),
    immutable=st.booleans(),
)
gone = st.integers(0, 2)
step = st.tuples(targets, texts, gone, labels)


def wanted_with(target: Target, labels_: dict[str, str], name: str = "db", uid: str = "") -> ExternalSecret:
    metadata = ObjectMeta(name=name, namespace=NAMESPACE, uid=uid or f"uid-{name}", labels=labels_)
    return ExternalSecret(metadata=metadata, spec=ExternalSecretSpec(target=target))


def read(values: dict[str, str], gone: int = 0) -> Reading:
    """One entry that has these values, and so many that are absent."""
    answers = [{key: Sensitive(value) for key, value in values.items()}] if values else []
    return Reading((*answers, *[Absent("memory", f"k{i}", "", "removed") for i in range(gone)]))


async def carry_out(cluster: LocalCluster, plan: Plan) -> None:
    manager = field_manager("db")
    match plan:
        case Create(manifest=manifest):
            await cluster.create(manifest, field_manager=manager)
        case Update(manifest=manifest):
            await cluster.replace(manifest, field_manager=manager)
        case Delete(ref=ref, uid=uid, resource_version=version):
            await cluster.delete(ref, uid=uid, resource_version=version)
        case Keep() | Refuse():
            pass


async def live_secret(cluster: LocalCluster) -> LiveSecret | None:
    manifest = await cluster.get(ObjectRef(SECRET, ObjectKey(NAMESPACE, "db")))
    return None if manifest is None else LiveSecret.of(manifest)


async def fresh(foreign: dict[str, str] | None) -> tuple[LocalCluster, str]:
    """A cluster with an ExternalSecret, whose uid it answers: a Secret whose owner is not there is garbage."""
    cluster = LocalCluster.open(None, SystemClock(), random.Random(1))
    await prepare(cluster)
    owner = await cluster.create(external_secret(), field_manager="tests")
    if foreign is not None:
        await put_secret(cluster, "db", **foreign)
    return cluster, owner["metadata"]["uid"]


@settings(max_examples=30, deadline=None)
@given(st.none() | texts, st.lists(step, min_size=1, max_size=4))
def test_a_plan_carried_out_leaves_nothing_to_do(foreign: dict[str, str] | None, steps: list[Any]) -> None:
    async def history() -> None:
        cluster, uid = await fresh(foreign)
        for target, values, missing, labels_ in steps:
            wanted, reading = wanted_with(target, labels_, uid=uid), read(values, missing)
            await carry_out(cluster, plan_target(wanted, reading, await live_secret(cluster)))
            after = await live_secret(cluster)
            again = plan_target(wanted, reading, after)
            assert isinstance(again, Keep | Refuse)
            policy = target.creation_policy
            if isinstance(again, Keep) and again == Keep() and after is not None and values and policy != "None":
                assert after.is_as_written
                assert target.immutable or values.items() <= {k: v.text() for k, v in after.data.items()}.items()
        cluster.close()

    asyncio.run(history())


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(["x", "y"]), st.just("foreign")), st.lists(st.tuples(texts, labels), max_size=4))
def test_foreign_keys_survive_every_merge(foreign: dict[str, str], steps: list[Any]) -> None:
    async def history() -> None:
        cluster, uid = await fresh(foreign)
        for values, labels_ in steps:
            wanted = wanted_with(Target(creation_policy="Merge", deletion_policy="Merge"), labels_, uid=uid)
            await carry_out(cluster, plan_target(wanted, read(values), await live_secret(cluster)))
            after = await live_secret(cluster)
            assert after is not None
            assert {key: value.text() for key, value in after.data.items()} == foreign | values
        cluster.close()

    asyncio.run(history())


@given(targets, texts, gone, labels)
def test_nothing_of_another_external_secret_is_touched(
    target: Target, values: Any, missing: int, labels_: dict[str, str]
) -> None:
    theirs = plan_target(wanted_with(Target(), {}, "other"), read({"k": "v"}), None)
    assert isinstance(theirs, Create)

    plan = plan_target(wanted_with(target, labels_), read(values, missing), LiveSecret.of(with_name(theirs.manifest)))

    assert isinstance(plan, Refuse | Keep)


@given(targets, texts, st.lists(st.none() | texts, max_size=3))
def test_a_secret_is_deleted_only_when_the_provider_says_of_every_entry_that_it_is_absent(
    target: Target, held: dict[str, str], entries: list[dict[str, str] | None]
) -> None:
    ours = plan_target(wanted_with(Target(), {}), read(held or {"k": "v"}), None)
    assert isinstance(ours, Create)
    absent = Absent("memory", "k", "", "removed")
    answers = (absent if e is None else {key: Sensitive(text) for key, text in e.items()} for e in entries)

    plan = plan_target(wanted_with(target, {}), Reading(tuple(answers)), LiveSecret.of(with_name(ours.manifest)))

    all_gone = bool(entries) and all(entry is None for entry in entries)
    policies = (target.deletion_policy, target.creation_policy)
    assert isinstance(plan, Delete) == (all_gone and policies == ("Delete", "Owner"))


def with_name(manifest: Manifest) -> dict[str, Any]:
    metadata = {**manifest["metadata"], "name": "db", "uid": "u", "resourceVersion": "1"}
    return {**manifest, "metadata": metadata}


@given(targets, st.dictionaries(keys, st.just("marked-4711"), min_size=1))
def test_a_plan_shows_no_value(target: Target, values: dict[str, str]) -> None:
    live = LiveSecret.of({"metadata": {"name": "db", "namespace": NAMESPACE}, "data": {"old": "bWFya2VkLTQ3MTE="}})

    for plan in (plan_target(wanted_with(target, {}), read(values), at) for at in (None, live)):
        assert "marked-4711" not in f"{plan!r} {live!r}"
        assert "bWFya2Vk" not in f"{plan!r} {live!r}"
