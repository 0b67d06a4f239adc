"""A third family of kinds, in Argo CD's form: conditions without a status, and a status that is no subresource.

Source: argoproj/argo-cd, pkg/apis/application/v1alpha1 (ApplicationStatus) and manifests/crds/application-crd.yaml.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, cast

from gitops_core.errors import StalledError
from gitops_core.meta import Kind, Resource, Wire
from gitops_core.ports import Query
from gitops_core.runtime.authority.forwarding import Request
from gitops_core.runtime.reconciling import Outcome, Platform, Watch
from gitops_core.schema import UNSUPPORTED
from tests.gitops_core.runtime.kinds import Widget
from tests.gitops_core.runtime.world import Send, World, controller, outcome, ref
from tests.simulation.loop import in_virtual_time


class Said(Wire):
    type: str
    message: str
    last_transition_time: datetime | None = None


class Sync(Wire):
    status: str
    compared_to: int = 0


class Health(Wire):
    status: str
    message: str = ""


class RolloutStatus(Wire):
    sync: Sync | None = None
    health: Health | None = None
    conditions: tuple[Said, ...] = ()
    reconciled_at: datetime | None = None
    size: int = 0


class RolloutSpec(Wire):
    size: int = 0
    color: Annotated[str, UNSUPPORTED] = ""


class Rollout(Resource):
    """A thing that tells of itself as an Application does."""

    KIND: ClassVar[Kind] = Kind("test.sealoop.dev", "v1alpha1", "Rollout")
    PLURAL: ClassVar[str] = "rollouts"
    STATUS_SUBRESOURCE: ClassVar[bool] = False
    FINALIZER: ClassVar[str] = "test.sealoop.dev/finalizer"

    spec: RolloutSpec = RolloutSpec()
    status: RolloutStatus = RolloutStatus()


class Argo:
    """Implements Teller."""

    def make_status(
        self, result: Outcome | Exception, wanted: Resource, now: datetime, unsupported: Sequence[str]
    ) -> RolloutStatus:
        assert isinstance(wanted, Rollout)
        said = [("Unsupported", f"set but not acted on: {', '.join(unsupported)}")] if unsupported else []
        if isinstance(result, Outcome):
            health = "Healthy" if result.ready == "True" else "Progressing"
            sync, size = "Synced", cast(RolloutStatus, result.status).size
        else:
            sync, health, size = "Unknown", "Missing", wanted.status.size
            said.append(("InvalidSpecError" if isinstance(result, StalledError) else "ComparisonError", str(result)))
        at = now.replace(microsecond=0)
        since = {(known.type, known.message): known.last_transition_time for known in wanted.status.conditions}
        return RolloutStatus(
            sync=Sync(status=sync, compared_to=wanted.spec.size),
            health=Health(status=health),
            conditions=tuple(
                Said(
                    type=type_,
                    message=text,
                    last_transition_time=since.get((type_, text)) or now.replace(microsecond=0),
                )
                for type_, text in said
            ),
            reconciled_at=at,
            size=size,
        )

    def is_settled(self, live: Resource) -> bool:
        assert isinstance(live, Rollout)
        return live.status.sync == Sync(status="Synced", compared_to=live.spec.size)

    def tell_state(self, live: Resource) -> str:
        assert isinstance(live, Rollout)
        return live.status.health.status if live.status.health is not None else "Unknown"

    def name_failure_event(self, reason: str) -> str:
        return reason


class Looks(list[int]):
    """A script that records which size it was asked for, and answers as told."""

    def __init__(self, answer: Exception | None = None, after: float | None = None) -> None:
        super().__init__()
        self.answer, self.pause = answer, after

    async def __call__(self, wanted: Rollout, platform: Platform) -> Outcome:
        self.append(wanted.spec.size)
        if self.answer is not None:
            raise self.answer
        return Outcome(RolloutStatus(size=wanted.spec.size), "done", self.pause)


@in_virtual_time
async def test_an_object_without_a_status_subresource_is_told_of_and_does_not_wake_itself() -> None:
    world, looks = World(), Looks()
    await world.install(Rollout)
    await world.put(Rollout, "a", size=3)
    async with world.process(controller(looks, Rollout, teller=Argo())) as process:
        await asyncio.sleep(60)
        first = await world.get(Rollout, "a")
        await world.put(Rollout, "a", size=4)
        await asyncio.sleep(60)
        second = await world.get(Rollout, "a")
        labels = {"kind": "Rollout", "ready": "Healthy"}
        counted = process.metrics.registry.get_sample_value("sealoop_objects", labels)

    assert looks == [3, 4]
    assert first["status"]["sync"] == {"status": "Synced", "comparedTo": 3}
    assert first["status"]["health"] == {"status": "Healthy"}
    assert "conditions" not in first["status"]
    assert first["metadata"]["generation"] == 2  # the status counts in it
    assert second["status"]["size"] == 4
    assert counted == 1


@in_virtual_time
async def test_an_object_whose_every_status_has_a_new_time_is_looked_at_once_an_interval() -> None:
    world, looks = World(), Looks(after=10.0)
    await world.install(Rollout)
    await world.put(Rollout, "a", size=3)
    async with world.process(controller(looks, Rollout, teller=Argo())):
        await asyncio.sleep(5)
        first = await world.get(Rollout, "a")
        await asyncio.sleep(50)
        last = await world.get(Rollout, "a")

    assert first["status"]["reconciledAt"] < last["status"]["reconciledAt"]
    assert 4 <= len(looks) <= 6


@in_virtual_time
async def test_an_edit_that_our_status_overtakes_is_not_taken_for_our_own() -> None:
    world, looks = World(), Looks()
    await world.install(Rollout)
    await world.put(Rollout, "a", size=3)

    async def edited_first(request: Request, send: Send) -> Any:
        if len(looks) == 1:
            await world.put(Rollout, "a", size=4)
        return await send()

    world.cluster.override["patch"] = edited_first
    async with world.process(controller(looks, Rollout, teller=Argo())):
        await asyncio.sleep(60)
        live = await world.get(Rollout, "a")

    assert looks == [3, 4]
    assert live["status"]["sync"] == {"status": "Synced", "comparedTo": 4}


@in_virtual_time
async def test_failures_and_unsupported_fields_are_conditions_without_a_status() -> None:
    world, looks = World(), Looks(StalledError("no such size", reason="Sizeless"))
    await world.install(Rollout)
    await world.put(Rollout, "a", size=3, color="red")
    async with world.process(controller(looks, Rollout, teller=Argo())):
        await asyncio.sleep(60)
        live, events = await world.get(Rollout, "a"), await world.events()

    said = [(each["type"], each["message"]) for each in live["status"]["conditions"]]
    assert said == [
        ("Unsupported", "set but not acted on: spec.color"),
        ("InvalidSpecError", "no such size"),
    ]
    assert all(set(each) == {"type", "message", "lastTransitionTime"} for each in live["status"]["conditions"])
    assert sorted((e["reason"], e["count"]) for e in events) == [("FieldsNotSupported", 1), ("Sizeless", 1)]
    assert looks == [3]


@in_virtual_time
async def test_a_new_leader_begins_with_those_that_are_not_settled() -> None:
    world, looks = World(), Looks()
    await world.install(Rollout)
    for size in (1, 2, 3):
        await world.put(Rollout, f"r{size}", size=size)
    async with world.process(controller(looks, Rollout, teller=Argo())):
        await asyncio.sleep(60)
    await world.put(Rollout, "r3", size=30)
    looks.clear()
    async with world.process(controller(looks, Rollout, teller=Argo(), concurrency=1)):
        await asyncio.sleep(60)

    assert looks == [30, 1, 2]


@in_virtual_time
async def test_its_status_wakes_those_that_watch_it() -> None:
    world, looks, watching = World(), Looks(), list[str]()
    await world.install(Rollout, Widget)
    await world.put(Rollout, "a", size=3)
    await world.put(Widget, "w", size=1)

    async def note(wanted: Widget, platform: Platform) -> Outcome:
        seen = await platform.objects.get(Rollout, ref(Rollout, "a").key)
        watching.append(Argo().tell_state(seen) if seen is not None else "none")
        return outcome(wanted)

    watch = Watch(Query(Rollout.KIND), Rollout)
    widgets = controller(note, references=lambda _: (ref(Rollout, "a"),), watches=(watch,))
    async with world.process(controller(looks, Rollout, teller=Argo()), widgets):
        await asyncio.sleep(60)

    assert watching[-1] == "Healthy"
    assert looks == [3]
