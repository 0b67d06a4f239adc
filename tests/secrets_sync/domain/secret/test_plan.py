"""Laws of the plan, for any ExternalSecret, values and live Secret; carried out on the embedded cluster."""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_core.adapters.local import LocalCluster
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectMeta, ObjectRef, Sensitive
from gitops_core.runtime.clock import SystemClock
from secrets_sync.api import ExternalSecret, ExternalSecretSpec, Target
from secrets_sync.domain.provider.reading import Absent, NoneFound, Reading
from secrets_sync.domain.secret.hashing import name_field_manager
from secrets_sync.domain.secret.live import CREATED_BY, DATA_HASH, MANAGED, SECRET, LiveSecret
from secrets_sync.domain.secret.plan import Create, Delete, Keep, Plan, Refuse, Update, get_target, plan_target, release
from secrets_sync.domain.secret.rendering import render
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


def plan_of(wanted: ExternalSecret, reading: Reading, live: LiveSecret | None, yields: str = "") -> Plan:
    return plan_target(wanted, reading, render(wanted, reading), live, yields)


async def carry_out(cluster: LocalCluster, plan: Plan, live: LiveSecret | None) -> None:
    manager = name_field_manager("db")
    match plan:
        case Create(manifest=manifest):
            await cluster.create(manifest, field_manager=manager)
        case Update(manifest=manifest):
            await cluster.replace(manifest, field_manager=manager)
        case Delete():
            assert live is not None
            await cluster.delete(live.ref)
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
            before = await live_secret(cluster)
            await carry_out(cluster, plan_of(wanted, reading, before), before)
            after = await live_secret(cluster)
            again = plan_of(wanted, reading, after)
            assert isinstance(again, Keep | Refuse)
            policy = target.creation_policy
            if isinstance(again, Keep) and again == Keep() and after is not None and values and policy != "None":
                assert after.is_as_written
                assert target.immutable or values.items() <= {k: v.reveal_text() for k, v in after.data.items()}.items()
        cluster.close()

    asyncio.run(history())


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(["x", "y"]), st.just("foreign")), st.lists(st.tuples(texts, labels), max_size=4))
def test_foreign_keys_survive_every_merge(foreign: dict[str, str], steps: list[Any]) -> None:
    async def history() -> None:
        cluster, uid = await fresh(foreign)
        for values, labels_ in steps:
            wanted = wanted_with(Target(creation_policy="Merge", deletion_policy="Merge"), labels_, uid=uid)
            before = await live_secret(cluster)
            await carry_out(cluster, plan_of(wanted, read(values), before), before)
            after = await live_secret(cluster)
            assert after is not None
            assert {key: value.reveal_text() for key, value in after.data.items()} == foreign | values
        cluster.close()

    asyncio.run(history())


@given(targets, texts, gone, labels)
def test_nothing_of_another_external_secret_is_touched(
    target: Target, values: Any, missing: int, labels_: dict[str, str]
) -> None:
    theirs = plan_of(wanted_with(Target(), {}, "other"), read({"k": "v"}), None)
    assert isinstance(theirs, Create)

    plan = plan_of(wanted_with(target, labels_), read(values, missing), LiveSecret.of(with_name(theirs.manifest)))

    assert isinstance(plan, Refuse | Keep)


nothing = st.sampled_from([Absent("memory", "k", "", "removed"), NoneFound("memory", "all")])


@given(targets, texts, st.lists(nothing | texts, max_size=3))
def test_a_secret_is_deleted_only_when_the_provider_says_of_every_entry_that_there_is_nothing(
    target: Target, held: dict[str, str], entries: list[dict[str, str] | Absent | NoneFound]
) -> None:
    ours = plan_of(wanted_with(Target(), {}), read(held or {"k": "v"}), None)
    assert isinstance(ours, Create)
    answers = ({key: Sensitive(text) for key, text in e.items()} if isinstance(e, dict) else e for e in entries)

    plan = plan_of(wanted_with(target, {}), Reading(tuple(answers)), LiveSecret.of(with_name(ours.manifest)))

    all_gone = bool(entries) and not any(isinstance(entry, dict) for entry in entries)
    policies = (target.deletion_policy, target.creation_policy)
    assert isinstance(plan, Delete) == (all_gone and policies == ("Delete", "Owner"))


def with_name(manifest: Manifest) -> dict[str, Any]:
    metadata = {**manifest["metadata"], "name": "db", "uid": "u", "resourceVersion": "1"}
    return {**manifest, "metadata": metadata}


@given(targets, st.dictionaries(keys, st.just("marked-4711"), min_size=1))
def test_a_plan_shows_no_value(target: Target, values: dict[str, str]) -> None:
    live = LiveSecret.of({"metadata": {"name": "db", "namespace": NAMESPACE}, "data": {"old": "bWFya2VkLTQ3MTE="}})

    for plan in (plan_of(wanted_with(target, {}), read(values), at) for at in (None, live)):
        assert "marked-4711" not in f"{plan!r} {live!r}"
        assert "bWFya2Vk" not in f"{plan!r} {live!r}"


OURS = hashlib.sha3_224(b"shop/db").hexdigest()
V1 = hashlib.sha3_224(b"map[password:[118 49]]").hexdigest()
OWNER = {
    "apiVersion": "external-secrets.io/v1",
    "kind": "ExternalSecret",
    "name": "db",
    "uid": "uid-db",
    "controller": True,
    "blockOwnerDeletion": True,
}
OTHER = {**OWNER, "name": "other", "uid": "uid-other"}
DEPLOYER = {**OWNER, "apiVersion": "example.org/v1", "kind": "Deployer", "name": "ci", "uid": "uid-ci"}
PASSWORD = {"password": "v1"}
MANAGER = "externalsecrets.external-secrets.io/db"


def stored(
    data: dict[str, str], *, owners: Any = (OWNER,), wrote: tuple[str, ...] = (), immutable: bool = False, **more: Any
) -> LiveSecret:
    """A Secret `db` with these base64 values, of which our field manager wrote some."""
    fields: dict[str, Any] = {"f:data": {f"f:{key}": {} for key in wrote if key in data}} | {
        "f:metadata": {f"f:{place}": {f"f:{key}": {} for key in wrote if key in more.get(place, ())} for place in more}
    }
    metadata = {
        "name": "db",
        "namespace": NAMESPACE,
        "uid": "uid-secret",
        "resourceVersion": "7",
        "ownerReferences": list(owners),
        "managedFields": [{"manager": MANAGER, "operation": "Update", "fieldsV1": fields}] if wrote else [],
        **more,
    }
    manifest = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}
    return LiveSecret.of(manifest | ({"immutable": True} if immutable else {}))


def planned(policy: Any, live: LiveSecret | None, values: dict[str, str] = PASSWORD, **target: Any) -> Plan:
    return plan_of(wanted_with(Target(creation_policy=policy, **target), {"team": "a"}), read(values, 1), live)


def updated(plan: Plan) -> dict[str, Any]:
    assert isinstance(plan, Update), plan
    assert list(plan.keys) == sorted(plan.manifest["data"])
    return dict(plan.manifest)


def test_an_owner_makes_the_whole_secret_and_is_its_controller() -> None:
    plan = planned("Owner", None)

    assert isinstance(plan, Create)
    assert plan.keys == ("password",)
    assert plan.manifest == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "db",
            "namespace": "shop",
            "labels": {"team": "a", MANAGED: "true", CREATED_BY: OURS},
            "annotations": {DATA_HASH: V1},
            "ownerReferences": [OWNER],
        },
        "type": "Opaque",
        "data": {"password": "djE="},
    }


@pytest.mark.parametrize("policy", ["Orphan", "CreateOrMerge"])
def test_a_policy_without_ownership_leaves_neither_owner_nor_creator_on_its_secret(policy: str) -> None:
    plan = planned(policy, None, immutable=True)

    assert isinstance(plan, Create)
    assert plan.manifest["immutable"] is True
    assert plan.manifest["metadata"]["labels"] == {"team": "a", MANAGED: "true"}
    assert plan.manifest["metadata"]["ownerReferences"] == []


def test_the_secret_has_the_name_that_the_target_gives_it() -> None:
    plan = planned("Owner", None, name="renamed")

    assert isinstance(plan, Create)
    assert plan.manifest["metadata"]["name"] == "renamed"
    secret = Kind("", "v1", "Secret")
    assert get_target(wanted_with(Target(name="renamed"), {})) == ObjectRef(secret, ObjectKey("shop", "renamed"))
    assert get_target(wanted_with(Target(), {})) == ObjectRef(secret, ObjectKey("shop", "db"))


def test_a_secret_that_the_policy_does_not_create_is_not_made() -> None:
    assert planned("Merge", None) == Keep(
        "SecretMissing", "secret will not be created due to CreationPolicy=Merge", bound=False
    )
    assert planned("None", None) == planned("None", stored({})) == Keep(bound=False)


def test_the_deletion_policy_decides_when_all_keys_are_gone() -> None:
    live = stored({"password": "djE="})
    deleted = Keep("SecretDeleted", "secret deleted due to DeletionPolicy=Delete", bound=False)
    nobodys, anothers = stored({}, owners=()), stored({}, owners=(OTHER,))

    assert planned("Owner", live, {}) == Keep(message="secret retained due to DeletionPolicy=Retain")
    assert planned("Owner", live, {}, deletion_policy="Delete") == Delete()
    assert planned("Owner", None, {}, deletion_policy="Delete") == deleted
    assert planned("Owner", nobodys, {}, deletion_policy="Delete") == deleted
    assert planned("Owner", anothers, {}, deletion_policy="Delete") == Refuse(
        "target is owned by another ExternalSecret",
        "unable to mutate secret db: secret is owned by another ExternalSecret: other",
    )
    assert planned("Merge", live, {}, deletion_policy="Delete") == Refuse(
        "could not delete secret", "unable to delete secret db: creationPolicy=Merge is not Owner"
    )


@pytest.mark.parametrize(
    "other", [(), (Absent("memory", "k", "", "removed"),), ({},)], ids=["alone", "absent", "empty"]
)
def test_where_nothing_is_found_and_nothing_else_is_there_the_secret_goes(other: tuple[Any, ...]) -> None:
    wanted = wanted_with(Target(deletion_policy="Delete"), {})

    plan = plan_of(wanted, Reading((NoneFound("memory", "all"), *other)), stored({"password": "djE="}))

    assert isinstance(plan, Keep if other == ({},) else Delete)


def test_values_that_are_there_and_hold_nothing_delete_nothing() -> None:
    wanted = wanted_with(Target(deletion_policy="Delete"), {})

    plan = plan_of(wanted, Reading(({},)), stored({"password": "djE="}))

    told = "secret retained: the provider has the secrets, but they hold no values"
    assert plan == Keep(message=told)


@pytest.mark.parametrize("policy", ["Owner", "Orphan", "Merge", "CreateOrMerge"])
def test_a_secret_of_another_external_secret_is_refused_in_the_originals_words(policy: str) -> None:
    detail = "unable to mutate secret db: secret is owned by another ExternalSecret: other"

    assert planned(policy, stored({}, owners=(OTHER,))) == Refuse("target is owned by another ExternalSecret", detail)


def test_a_secret_that_another_controller_owns_is_not_taken_over_and_may_be_written_into() -> None:
    live = stored({}, owners=(DEPLOYER,))

    assert planned("Owner", live) == Refuse(
        "failed to take ownership of target secret", f"{live.ref} is controlled by Deployer 'ci'"
    )
    assert updated(planned("Merge", live))["metadata"]["ownerReferences"] == [DEPLOYER]


@pytest.mark.parametrize(
    "owner",
    [
        {**OWNER, "apiVersion": "external-secrets.io/v1beta1"},
        {**OWNER, "uid": "uid-of-an-earlier-one"},
    ],
)
def test_a_secret_of_this_name_in_another_version_or_life_is_taken_over(owner: Any) -> None:
    assert updated(planned("Owner", stored({}, owners=(owner,))))["metadata"]["ownerReferences"] == [OWNER]


@pytest.mark.parametrize(
    "stranger",
    [{**OWNER, "apiVersion": "example.org/v1"}, {**OWNER, "apiVersion": ""}, {**OWNER, "name": "other"}],
    ids=["group", "nothing", "name"],
)
def test_a_controller_of_the_same_kind_is_another_one_by_its_group_or_name(stranger: Any) -> None:
    plan = planned("Owner", stored({}, owners=(stranger,)))

    assert isinstance(plan, Refuse)
    assert plan.message == "target is owned by another ExternalSecret"


def test_an_owner_that_controls_nothing_stays_beside_us() -> None:
    beside = {key: value for key, value in DEPLOYER.items() if key != "controller"}

    manifest = updated(planned("Owner", stored({}, owners=(beside,))))

    assert manifest["metadata"]["ownerReferences"] == [beside, OWNER]


def test_a_former_owner_takes_its_marks_away_and_leaves_those_of_others() -> None:
    ours = stored({}, labels={CREATED_BY: OURS, "tier": "x"})
    theirs = stored({}, labels={CREATED_BY: "f00d"}, owners=())

    freed = updated(planned("Orphan", ours))["metadata"]

    assert (freed["ownerReferences"], freed["labels"]) == ([], {"tier": "x", "team": "a", MANAGED: "true"})
    assert updated(planned("Orphan", theirs))["metadata"]["labels"][CREATED_BY] == "f00d"


@pytest.mark.parametrize(
    ("policy", "data"),
    [
        ("Owner", {"password": "djE="}),
        ("Orphan", {"password": "djE="}),
        ("Merge", {"foreign": "eA==", "password": "djE="}),
        ("CreateOrMerge", {"foreign": "eA==", "password": "djE="}),
    ],
)
def test_a_merge_keeps_the_keys_of_others_and_drops_ours_that_went(policy: str, data: dict[str, str]) -> None:
    live = stored({"foreign": "eA==", "former": "eA==", "password": "eA=="}, wrote=("former", "password"), owners=())

    assert updated(planned(policy, live))["data"] == data


def test_labels_and_annotations_of_others_stay_and_ours_that_went_go() -> None:
    about = {"former": "1", "foreign": "1"}
    live = stored({}, wrote=("former",), labels=dict(about), annotations=dict(about))

    metadata = updated(planned("Owner", live))["metadata"]

    assert metadata["labels"] == {"foreign": "1", "team": "a", MANAGED: "true", CREATED_BY: OURS}
    assert metadata["annotations"] == {"foreign": "1", DATA_HASH: V1}
    assert (metadata["name"], metadata["uid"], metadata["resourceVersion"]) == ("db", "uid-secret", "7")
    assert "managedFields" not in metadata


def test_an_update_says_which_keys_of_others_it_takes_away() -> None:
    foreign = stored({"same": "djE=", "password": "eA==", "gone": "eA=="}, owners=())
    values = {"password": "v1", "same": "v1"}

    plan = planned("Owner", foreign, values)

    assert isinstance(plan, Update)
    assert plan.keys == ("password", "same")
    assert plan.lost == ("gone", "password")
    for policy, live in (
        ("Merge", foreign),
        ("CreateOrMerge", foreign),
        ("Owner", stored({"gone": "eA=="})),
        ("Orphan", stored({"gone": "eA==", "password": "eA=="}, owners=(), wrote=("password",))),
    ):
        after = planned(policy, live, values)
        assert isinstance(after, Update)
        assert after.lost == (), policy


def in_order(**more: Any) -> dict[str, Any]:
    """The metadata of a Secret that is as it is wanted, but for `more`."""
    labels_ = {"team": "a", MANAGED: "true", CREATED_BY: OURS}
    return {"labels": labels_, "annotations": {DATA_HASH: V1}, **more}


@pytest.mark.parametrize(
    ("live", "is_kept"),
    [
        (stored({"password": "djE="}, **in_order()), True),
        (
            stored({"password": "djE="}, **in_order(ownerReferences=[OWNER, {"kind": "A", "uid": "a", "x": False}])),
            True,
        ),
        (stored({"password": "eA=="}, **in_order()), False),
        (stored({"password": "djE="}, **in_order(labels={MANAGED: "true", CREATED_BY: OURS})), False),
        (stored({"password": "djE="}, **in_order(annotations={})), False),
        (stored({"password": "djE="}, owners=(), **in_order()), False),
        (stored({"password": "djE="}, owners=({**OWNER, "uid": "earlier"},), **in_order()), False),
    ],
    ids=["as-it-is-wanted", "in-another-order", "data", "label", "annotation", "owner", "uid"],
)
def test_only_what_differs_is_written(live: LiveSecret, is_kept: bool) -> None:
    assert isinstance(planned("Owner", live), Keep) == is_kept
    assert not is_kept or planned("Owner", live) == Keep("SecretSynced", "secret synced", bound=True)


def test_a_secret_that_is_to_be_immutable_becomes_so_and_keeps_its_data() -> None:
    live = stored({"password": "djE="}, **in_order())
    frozen = stored({"password": "djE="}, immutable=True, **in_order())

    assert updated(planned("Owner", live, immutable=True))["immutable"] is True
    assert planned("Owner", live) == Keep()
    assert "immutable" not in updated(planned("Owner", live, {"password": "v2"}))
    assert planned("Owner", frozen, immutable=True) == planned("Owner", frozen) == Keep()
    newer = planned("Owner", frozen, {"password": "v2"}, immutable=True)
    assert newer == Keep()


def test_a_secret_that_somebody_else_made_immutable_is_refused_when_its_data_differs() -> None:
    live = stored({"password": "eA=="}, immutable=True, **in_order())

    plan = planned("Owner", live)

    assert plan == Refuse(
        "could not update secret, target is immutable", f"{live.ref} is immutable: delete it, or let it be", True
    )
    relabelled = stored({"password": "djE="}, immutable=True, **in_order(labels={}))
    assert updated(planned("Owner", relabelled))["data"] == {"password": "djE="}


def test_a_secret_that_another_gives_up_is_taken_over() -> None:
    wanted, live = wanted_with(Target(), {}), stored({}, owners=(OTHER,))

    assert updated(plan_of(wanted, read(PASSWORD), live, "uid-other"))["metadata"]["ownerReferences"] == [OWNER]
    assert isinstance(plan_of(wanted, read(PASSWORD), live, "uid-third"), Refuse)


def test_a_released_secret_is_the_same_without_our_marks() -> None:
    beside = {**DEPLOYER, "controller": False}
    live = stored({"password": "djE="}, owners=(OWNER, beside), labels={CREATED_BY: OURS, MANAGED: "true"})

    freed = release(wanted_with(Target(), {}), live)

    metadata = {**live.metadata, "ownerReferences": [beside], "labels": {MANAGED: "true"}}
    assert freed == {**live.manifest, "metadata": metadata}
