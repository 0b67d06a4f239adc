"""What an apply makes of each object is known before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_core.adapters.local import LocalCluster
from gitops_core.domain.sync.owners import make_kustomization_ownership
from gitops_core.domain.sync.plan import SyncPlan, plan_sync
from gitops_core.domain.sync.predictions import Predictions
from gitops_core.meta import Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Query
from gitops_core.reconcilers.applying import Applier
from tests.gitops_core.reconcilers.world import CONFIG_MAP, Counted
from tests.simulation.loop import SeededChance, VirtualClock, in_virtual_time

OURS = make_kustomization_ownership(ObjectKey("default", "apps"))
SSA = "kustomize.toolkit.fluxcd.io/ssa"


def config_map(name: str, data: Mapping[str, str], namespace: str = "default", **annotations: str) -> Manifest:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "annotations": annotations}
    return OURS.add_mark({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def namespace(name: str) -> Manifest:
    return OURS.add_mark({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def substance(live: Manifest) -> Any:
    """The object without what says when and in which order it was written."""
    entries = live["metadata"].get("managedFields", ())
    owned = [
        (entry["manager"], entry["operation"], entry["fieldsV1"]) for entry in entries if entry["manager"] != "sealoop"
    ]
    hidden = ("uid", "resourceVersion", "creationTimestamp", "managedFields")
    return {**live, "metadata": {name: value for name, value in live["metadata"].items() if name not in hidden}}, owned


class Place:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.local = LocalCluster.open(None, self.clock, SeededChance(1))
        self.cluster = Counted(self.local)
        self.applier = Applier(self.cluster, self.clock, OURS)

    async def predict(self, wanted: Iterable[Manifest]) -> tuple[SyncPlan, Predictions]:
        plan = plan_sync(wanted, (), OURS, prune=True)
        lives = await self.applier.read_lives(action.ref for action in plan.actions)
        return plan, await self.applier.try_out(plan, lives)

    async def sync(self, wanted: Iterable[Manifest]) -> None:
        await self.applier.apply((await self.predict(wanted))[1].values())

    async def version(self) -> str:
        return (await self.local.list(Query(CONFIG_MAP), dict)).resource_version

    async def patch(self, name: str, patch: Any, manager: str = "kubectl-edit") -> None:
        ref = ObjectRef.of(config_map(name, {}))
        await self.local.patch(ref, patch, field_manager=manager)


async def prepared() -> Place:
    """A cluster in which one object each is as it should be, drifted, excluded by hand, kubectl's, somebody else's."""
    place = Place()
    await place.sync(config_map(name, {"a": "1"}) for name in ("same", "drifted", "dropped", "excluded", "noted"))
    await place.patch("drifted", {"data": {"a": "by hand"}})
    await place.patch("excluded", {"metadata": {"annotations": {SSA: "Ignore"}}, "data": {"a": "by hand"}})
    await place.patch("noted", {"data": {"old": "x"}})
    for name, manager in (("kubectls", "kubectl"), ("theirs", "other"), ("once", "other")):
        await place.local.apply(config_map(name, {"a": "1", "old": "x"}), field_manager=manager)
    return place


WANTED = (
    config_map("same", {"a": "1"}),
    config_map("drifted", {"a": "1"}),
    config_map("dropped", {}),
    config_map("excluded", {"a": "1"}),
    config_map("noted", {"a": "1"}),
    config_map("kubectls", {"a": "1"}),
    config_map("theirs", {"a": "2"}),
    config_map("once", {"a": "2"}, **{SSA: "IfNotPresent"}),
    config_map("new", {"a": "1"}),
    namespace("team"),
    config_map("inside", {"a": "1"}, "team"),
)
CHANGES = {
    "same": "unchanged",
    "drifted": "configured",
    "dropped": "configured",
    "excluded": "skipped",
    "noted": "configured",
    "kubectls": "configured",
    "theirs": "configured",
    "once": "skipped",
    "new": "created",
    "team": "created",
    "inside": "created",
}


@in_virtual_time
async def test_the_changes_of_a_plan_are_known_without_a_write() -> None:
    place = await prepared()
    moment, before = len(place.cluster.requests), await place.version()

    _, predictions = await place.predict(WANTED)

    assert {ref.key.name: one.change for ref, one in predictions.items()} == CHANGES
    assert {(method, tried) for method, _, tried in place.cluster.since(moment)} == {("get", False), ("apply", True)}
    assert await place.version() == before
    lives = await place.applier.read_lives(predictions)
    assert {ref: one.live for ref, one in predictions.items()} == lives


@in_virtual_time
async def test_after_the_apply_the_objects_are_as_predicted() -> None:
    place = await prepared()
    plan, predictions = await place.predict(WANTED)
    moment = len(place.cluster.requests)

    applied = [
        one
        for stage in plan.stages
        for one in await place.applier.apply(predictions[action.ref] for action in stage.actions)
    ]

    assert {one.ref.key.name: one.change for one in applied} == CHANGES
    written = {name.partition("/")[2] for _, name, _ in place.cluster.since(moment, "apply", "create", "patch")}
    assert written == {name for name, change in CHANGES.items() if change in ("created", "configured")}
    lives = await place.applier.read_lives(predictions)
    for ref, one in predictions.items():
        live = lives[ref]
        if ref.key.name == "inside":  # its Namespace came with it: it could not be tried
            assert one.predicted is None
        elif ref.key.name in ("noted", "kubectls"):  # the apply itself leaves kubectl's field, taking over does not
            assert live is not None
            assert one.predicted is not None
            assert (one.predicted["data"], live["data"]) == ({"a": "1", "old": "x"}, {"a": "1"})
        else:
            assert live is not None
            assert one.predicted is not None
            assert substance(one.predicted) == substance(live)


@in_virtual_time
async def test_a_trial_without_a_reading_tells_only_what_is_created_or_skipped() -> None:
    place = await prepared()
    plan = plan_sync(WANTED[:-2], (), OURS, prune=True)

    predictions = await place.applier.try_out(plan)

    changes = {ref.key.name: one.change for ref, one in predictions.items()}
    assert changes == {name: None for name in CHANGES if name not in ("team", "inside")} | {
        "once": "skipped",
        "new": "created",
    }


data = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"))
managers = st.sampled_from(["kustomize-controller", "other"])


@settings(max_examples=40, deadline=None)
@given(data, st.none() | st.tuples(data, managers), st.lists(data, max_size=2))
@in_virtual_time
async def test_an_apply_does_what_was_predicted_whatever_was_there(
    wanted: dict[str, str], before: tuple[dict[str, str], str] | None, by_hand: list[dict[str, str]]
) -> None:
    place = Place()
    if before is not None:
        await place.local.apply(config_map("x", before[0]), field_manager=before[1])
        for changes in by_hand:
            await place.patch("x", {"data": changes}, manager="somebody")
    ((ref, one),) = (await place.predict([config_map("x", wanted)]))[1].items()
    version = await place.version()

    (applied,) = await place.applier.apply([one])

    assert applied.change == one.change
    assert (await place.version() == version) == (one.change == "unchanged")
    live = await place.local.get(ref)
    assert live is not None
    assert one.predicted is not None
    assert substance(live) == substance(one.predicted)
    assert one.predicted.get("data", {}).items() >= wanted.items()
