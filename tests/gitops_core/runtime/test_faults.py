"""When the world breaks: watches, the API server, the lease, the process itself."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any

import pytest

from gitops_core.api import GitRepository
from gitops_core.api.gitrepository import GitRepositoryStatus
from gitops_core.errors import ClusterUnavailable, Forbidden, Invalid, NotLeader, TransientError
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import Query
from gitops_core.runtime.authority.forwarding import Forwarding, Request
from gitops_core.runtime.authority.leading import LEASE, Leadership
from gitops_core.runtime.authority.leave import check_again
from gitops_core.runtime.reconciling import Controller, Outcome, Platform, Watch, make_refs
from gitops_core.runtime.retry import LAST_CLUSTER_RETRY
from tests.gitops_core.runtime.kinds import Gadget, Widget, WidgetStatus
from tests.gitops_core.runtime.test_process import Diary
from tests.gitops_core.runtime.world import Flaky, Send, World, condition, controller, kind_of, lease, outcome, ref
from tests.simulation.loop import SeededChance, in_virtual_time

_CONFIGMAP = Kind("", "v1", "ConfigMap")
_DEFINITION = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
_LEASE = ObjectRef(LEASE, ObjectKey("shop", "sealoop"))


async def _write_map(wanted: Widget, platform: Platform) -> Outcome:
    metadata = {"name": wanted.key.name, "namespace": "shop"}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"s": str(wanted.spec.size)}}
    await platform.cluster.apply(manifest, field_manager="m", force=True)
    return outcome(wanted)


@in_virtual_time
async def test_a_broken_watch_loses_nothing() -> None:
    world, diary = World(), Diary()
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        for size in range(2, 12):
            await asyncio.sleep(10)
            world.cluster.cut_watches()
            await world.put(Widget, "a", size=size)
        await asyncio.sleep(60)
        live = await world.get(Widget, "a")

    assert live["status"]["size"] == 11
    assert world.cluster.requests["list Widget"] == 1
    begun = world.cluster.watched_from
    assert len(begun) == 11
    assert all(a < b for a, b in itertools.pairwise(begun)), "a watch goes on where it broke"


@in_virtual_time
async def test_a_forgotten_version_means_list_again_and_wakes_only_what_changed() -> None:
    world, diary = World(), Diary()
    await world.install()
    for name in "abc":
        await world.put(Widget, name, size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(10)
        diary.looks.clear()
        world.cluster.expire = True
        world.cluster.cut_watches()
        await world.put(Widget, "a", size=2)
        await world.local.delete(ref(Widget, "b"))
        await world.put(Widget, "d", size=4)
        await asyncio.sleep(60)

    assert world.cluster.requests["list Widget"] == 2
    assert {name for name, _ in diary.looks} == {"a", "d"}
    assert diary.finalized == ["b"]


@in_virtual_time
async def test_a_watch_that_is_turned_away_comes_back_when_the_api_server_says() -> None:
    world, diary = World(), Diary()

    async def busy(request: Request, send: Send) -> Any:
        if kind_of(request) == "Widget":
            asked.append(world.clock.monotonic())
            if len(asked) < 4:
                raise ClusterUnavailable("too many requests", retry_after=20.0)
        return await send()

    asked: list[float] = []
    world.cluster.override["list"] = busy
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(100)

    assert [round(later - sooner, 1) for sooner, later in itertools.pairwise(asked)] == [20.0] * 3
    assert diary.of("a")


@in_virtual_time
async def test_the_api_server_may_be_away_for_an_hour() -> None:
    world, diary = World(), Diary(lambda wanted: outcome(wanted, 30.0))
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(10)
        world.cluster.down = True
        world.cluster.cut_watches()
        await world.put(Widget, "a", size=2)
        await asyncio.sleep(3600)
        attempts = world.cluster.requests["watch Widget"]
        world.cluster.down = False
        await asyncio.sleep(70)
        live = await world.get(Widget, "a")

    assert live["status"]["size"] == 2
    assert attempts < 300, "reconnecting backs off"


@in_virtual_time
async def test_a_status_that_could_not_be_written_is_written_later() -> None:
    world = World()

    async def script(wanted: Widget, platform: Platform) -> Outcome:
        world.cluster.down = len(looks) < 2
        looks.append(platform.clock.monotonic())
        return outcome(wanted, None)

    looks: list[float] = []
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(script)):
        await asyncio.sleep(60)
        live = await world.get(Widget, "a")

    assert live["status"]["size"] == 1
    assert len(looks) == 3


@in_virtual_time
async def test_a_failure_that_has_much_to_say_is_stored_and_retried_no_sooner_than_it_asks() -> None:
    world = World()

    async def script(wanted: GitRepository, platform: Platform) -> Outcome:
        looks.append(platform.clock.monotonic())
        if wanted.spec.url.endswith("bad"):
            raise TransientError("apps/web: " + "field is immutable, " * 5000, reason="Broken", retry_after=120.0)
        return Outcome(GitRepositoryStatus(), "stored", 3600.0)

    looks: list[float] = []
    await world.install(GitRepository)
    await world.put(GitRepository, "a", url="https://git.example/good", interval="1h")
    async with world.process(controller(script, GitRepository)):
        await asyncio.sleep(10)
        assert condition(await world.get(GitRepository, "a"), "Ready")["status"] == "True"
        await world.put(GitRepository, "a", url="https://git.example/bad", interval="1h")
        await asyncio.sleep(600)
        ready = condition(await world.get(GitRepository, "a"), "Ready")

    assert (ready["status"], ready["reason"]) == ("False", "Broken")
    assert ready["message"].startswith("apps/web: field is immutable")
    assert ready["message"].endswith("bytes left out)")
    assert len(looks) <= 1 + 5


@pytest.mark.parametrize("fails", [True, False])
@in_virtual_time
async def test_a_status_that_the_api_server_refuses_is_replaced_by_a_short_one(fails: bool) -> None:
    world = World()

    async def script(wanted: Widget, platform: Platform) -> Outcome:
        looks.append(platform.clock.monotonic())
        if wanted.spec.size == 2 and fails:
            raise TransientError("no size fits", reason="Sizeless", retry_after=300.0).carry(WidgetStatus(size=2))
        return outcome(wanted, None)

    class Picky(Forwarding):
        async def patch(self, ref: ObjectRef, patch: Any, **options: Any) -> Any:
            if (patch.get("status") or {}).get("size") == 2:
                raise Invalid(ref, "Widget/shop/a: status.size: Invalid value: 2: too large: " + "x" * 9000)
            return await super().patch(ref, patch, **options)

    looks: list[float] = []
    world.cluster = Flaky(Picky(world.local))
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(script)):
        await asyncio.sleep(10)
        assert condition(await world.get(Widget, "a"), "Ready")["status"] == "True"
        looks.clear()
        await world.put(Widget, "a", size=2)
        await asyncio.sleep(600)
        live = await world.get(Widget, "a")
        await world.put(Widget, "a", size=3)
        await asyncio.sleep(10)
        healed = await world.get(Widget, "a")

    said = "no size fits" if fails else "size 2"
    ready = condition(live, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "StatusRefused")
    assert ready["message"].startswith(f"the status of this result cannot be stored: {said}: Widget/shop/a: status.s")
    assert len(ready["message"]) < 1000
    assert live["status"]["size"] == 1
    assert live["status"]["observedGeneration"] == 1
    assert len(looks) <= (1 + 2 if fails else 1 + 11)
    assert condition(healed, "Ready")["message"] == "size 3"


@in_virtual_time
async def test_a_kind_that_is_not_installed_stops_no_other() -> None:
    world, widgets, gadgets = World(), Diary(), Diary()
    await world.install(Widget)
    await world.put(Widget, "a", gadget="g")
    watching = controller(
        widgets,
        references=lambda w: make_refs("shop", Gadget, w.spec.gadget),
        watches=(Watch(Query(Gadget.KIND), Gadget),),
    )
    async with world.process(watching, controller(gadgets, Gadget)) as process:
        await asyncio.sleep(5)
        assert widgets.of("a")
        assert not process.health.synced
        assert process.health.is_ready
        assert process.health.told == "ok; not installed: Gadget"
        await world.install(Gadget)
        await world.put(Gadget, "g", size=1)
        await asyncio.sleep(60)

        assert gadgets.of("g")
        assert len(widgets.of("a")) > 1
        assert process.health.synced
        assert process.health.told == "ok"


@in_virtual_time
async def test_a_leader_that_has_not_read_a_kind_is_not_ready_and_says_which() -> None:
    world = World()

    async def hangs(request: Request, send: Send) -> Any:
        if kind_of(request) == "Gadget":
            await asyncio.sleep(100)
        return await send()

    world.cluster.override["list"] = hangs
    await world.install(Widget, Gadget)
    async with world.process(controller(Diary()), controller(Diary(), Gadget)) as process:
        await asyncio.sleep(5)
        before = process.health.is_ready, process.health.told
        await asyncio.sleep(100)
        after = process.health.is_ready, process.health.told

    assert before == (False, "not ready; not read yet: Gadget")
    assert after == (True, "ok")


@in_virtual_time
async def test_a_leader_of_no_kind_at_all_is_not_ready() -> None:
    world = World()
    async with world.process(controller(Diary()), controller(Diary(), Gadget)) as process:
        await asyncio.sleep(5)

        assert not process.health.is_ready
        assert process.health.told == "not ready; not installed: Gadget, Widget"


@in_virtual_time
async def test_a_kind_that_is_taken_away_and_comes_back_is_told() -> None:
    world, diary = World(), Diary()
    await world.install(Widget, Gadget)
    async with world.process(controller(diary), controller(Diary(), Gadget)) as process:
        await asyncio.sleep(5)
        name = f"{Gadget.PLURAL}.{Gadget.KIND.group}"
        await world.local.delete(ObjectRef(_DEFINITION, ObjectKey("", name)))
        await asyncio.sleep(60)
        away = process.health.told
        await world.install(Gadget)
        await asyncio.sleep(120)

        assert away == "ok; not installed: Gadget"
        assert process.health.told == "ok"


# stopping


@in_virtual_time
async def test_a_stop_lets_what_is_under_way_end_within_the_grace_period() -> None:
    world = World()

    async def script(wanted: Widget, platform: Platform) -> Outcome:
        began.append(wanted.key.name)
        await platform.clock.sleep(5.0 if wanted.key.name == "short" else 1e9)
        return outcome(wanted)

    began: list[str] = []
    await world.install()
    for name in ("long", "short"):
        await world.put(Widget, name, size=1)
    async with world.process(controller(script, concurrency=2)) as process:
        await asyncio.sleep(1)
        await world.put(Widget, "late", size=1)
        await asyncio.sleep(0.1)
        before = world.clock.monotonic()
        await process.stop()
        took = world.clock.monotonic() - before

    assert 9.9 <= took <= 12.1
    assert sorted(began) == ["long", "short"]
    assert (await world.get(Widget, "short"))["status"]["size"] == 1
    assert condition(await world.get(Widget, "long"), "Ready") == {}


@in_virtual_time
async def test_nothing_is_left_running_after_a_stop() -> None:
    world, diary = World(), Diary()
    await world.install()
    await world.put(Widget, "a", size=1)
    tasks = len(asyncio.all_tasks())
    async with world.process(controller(diary), lease=lease("one")):
        await asyncio.sleep(30)
    await asyncio.sleep(0)

    assert len(asyncio.all_tasks()) == tasks


# leading


@in_virtual_time
async def test_the_second_of_two_processes_takes_over_when_the_leader_is_killed() -> None:
    world, first, second = World(), Diary(), Diary()
    await world.install()
    await world.put(Widget, "a", size=1)
    one = world.process(controller(first), lease=lease("one"))
    two = world.process(controller(second), lease=lease("two"))
    async with one as leader:
        await asyncio.sleep(1)
        async with two as standby:
            await asyncio.sleep(60)
            assert (first.looks != [], second.looks) == (True, [])
            assert (leader.health.leading, standby.health.leading, standby.health.is_ready) == (True, False, True)
            killed = world.clock.monotonic()
            await leader.kill()
            leader.task = asyncio.create_task(asyncio.sleep(0))
            await asyncio.sleep(30)

            assert 13.0 <= second.looks[0][1] - killed <= 20.0
            live = await world.local.get(_LEASE)

    assert live is not None
    assert live["spec"]["holderIdentity"].startswith("two_")
    assert live["spec"]["leaseTransitions"] == 1


@in_virtual_time
async def test_of_two_processes_with_one_name_one_leads() -> None:
    world, first, second = World(), Diary(), Diary()
    await world.install()
    await world.put(Widget, "a", size=1)
    one = world.process(controller(first), lease=lease("same"))
    two = world.process(controller(second), lease=lease("same"))
    async with one as a, two as b:
        for _ in range(120):
            await asyncio.sleep(1)
            assert [a.health.leading, b.health.leading].count(True) == 1
        live = await world.local.get(_LEASE)

    assert live is not None
    assert live["spec"]["leaseTransitions"] == 0


@in_virtual_time
async def test_a_leader_that_stops_hands_over_at_once() -> None:
    world, first, second = World(), Diary(), Diary()
    await world.install()
    await world.put(Widget, "a", size=1)
    one = world.process(controller(first), lease=lease("one"))
    two = world.process(controller(second), lease=lease("two"))
    async with one as leader:
        await asyncio.sleep(1)
        async with two:
            await asyncio.sleep(10)
            stopped = world.clock.monotonic()
            await leader.stop()
            await asyncio.sleep(10)

    assert second.looks[0][1] - stopped <= 3.0


@in_virtual_time
async def test_a_lease_stolen_between_plan_and_write_stops_the_write() -> None:
    world = World()

    async def script(wanted: Widget, platform: Platform) -> Outcome:
        planned.append(wanted.spec.size)
        await platform.clock.sleep(30.0)
        return await _write_map(wanted, platform)

    planned: list[int] = []
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(script), lease=lease("one")):
        await asyncio.sleep(5)
        stolen = {"spec": {"holderIdentity": "thief", "renewTime": "2026-01-01T01:00:00.000000Z"}}
        await world.local.patch(_LEASE, stolen, field_manager="thief")
        await asyncio.sleep(14)
        assert planned == [1]
        assert await world.local.get(ObjectRef(_CONFIGMAP, ObjectKey("shop", "a"))) is None
        await asyncio.sleep(40)  # the thief never renews: ours again
        assert planned == [1, 1]
        assert await world.local.get(ObjectRef(_CONFIGMAP, ObjectKey("shop", "a"))) is not None


@in_virtual_time
async def test_a_leader_that_leads_again_remembers_nothing_of_its_last_term() -> None:
    world = World()

    def remembering(platform: Platform) -> Controller[Any]:
        looks: list[int] = []

        async def script(wanted: Widget, platform: Platform) -> Outcome:
            looks.append(wanted.spec.size)
            remembered.append(tuple(looks))
            return outcome(wanted)

        return controller(script)(platform)

    remembered: list[tuple[int, ...]] = []
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(remembering, lease=lease("one")):
        await asyncio.sleep(5)
        stolen = {"spec": {"holderIdentity": "thief", "renewTime": "2026-01-01T01:00:00.000000Z"}}
        await world.local.patch(_LEASE, stolen, field_manager="thief")
        await asyncio.sleep(60)  # the thief never renews: ours again

    assert remembered == [(1,), (1,)]


@in_virtual_time
async def test_writes_that_the_api_server_keeps_waiting_do_not_cost_the_lease() -> None:
    world = World()
    world.cluster.connect_apart = lambda: world.local  # type: ignore[assignment,return-value,method-assign]
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(_write_map), lease=lease("one")) as process:
        await asyncio.sleep(1)
        world.cluster.delay = 3600.0
        await world.put(Widget, "a", size=2)
        for _ in range(300):
            await asyncio.sleep(0.5)
            assert process.health.leading

        world.cluster.delay = 0.0


@in_virtual_time
async def test_a_leader_whose_machine_sleeps_in_the_middle_of_a_look_sends_nothing_anywhere() -> None:
    """No handle of the platform is between a reconciler and a forge: the adapter finds the fence in the task."""

    world = World()

    async def script(wanted: Widget, platform: Platform) -> Outcome:
        check_again()
        asyncio.get_running_loop().jump(10.5)  # type: ignore[attr-defined]
        try:
            check_again()
        except NotLeader:
            refused.append(wanted.key.name)
        return outcome(wanted)

    refused: list[str] = []
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(script), lease=lease("one")):
        await asyncio.sleep(1)

    assert refused == ["a"]


@in_virtual_time
async def test_a_leader_that_cannot_renew_stops_writing_before_another_may_begin() -> None:
    world = World()
    await world.install()
    mine, other = (
        Leadership(lease(name), world.cluster if name == "one" else world.local, world.clock, SeededChance(3))
        for name in ("one", "two")
    )
    await mine.acquire()
    keeping = asyncio.create_task(mine.keep())
    taking = asyncio.create_task(other.acquire())
    await asyncio.sleep(20)
    mine.check()
    world.cluster.down = True
    lost_at = taken_at = 0.0
    while not taken_at:
        await asyncio.sleep(0.1)
        both = mine.is_certain and other.is_certain
        assert not both, "two leaders"
        lost_at = lost_at or (0.0 if mine.is_certain else world.clock.monotonic())
        taken_at = world.clock.monotonic() if taking.done() else 0.0
    await keeping

    assert 8.0 <= lost_at - 20 <= 10.2
    assert 3.0 <= taken_at - lost_at <= 9.0
    with pytest.raises(NotLeader, match=r"^one_.* no longer leads"):
        mine.check()


@in_virtual_time
async def test_a_leader_whose_machine_slept_does_not_write() -> None:
    """The clock has moved on and nothing ran meanwhile: the check before the write is all there is."""

    world = World()
    await world.install()
    mine = Leadership(lease("one"), world.local, world.clock, SeededChance(3))
    await mine.acquire()
    mine.check()

    asyncio.get_running_loop().jump(10.5)  # type: ignore[attr-defined]

    with pytest.raises(NotLeader):
        mine.check()


@in_virtual_time
async def test_the_lease_reads_as_client_go_writes_it() -> None:
    world = World()
    await world.install()
    mine = Leadership(lease("one"), world.local, world.clock, SeededChance(3))
    await mine.acquire()
    live: Any = await world.local.get(_LEASE)

    assert live["spec"] == {
        "holderIdentity": live["spec"]["holderIdentity"],
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 0,
    }
    assert re.fullmatch("one_[0-9a-f-]{36}", live["spec"]["holderIdentity"])
    await mine.release()
    left: Any = await world.local.get(_LEASE)
    assert (left["spec"]["holderIdentity"], left["spec"]["leaseDurationSeconds"]) == ("", 1)


@in_virtual_time
async def test_an_object_made_anew_does_not_inherit_its_predecessors_status() -> None:
    world = World()

    async def script(wanted: Gadget, platform: Platform) -> Outcome:
        if wanted.spec.size == 2:
            await release.wait()
            return outcome(wanted, None)
        await world.local.delete(ref(Gadget, "a"))
        await world.put(Gadget, "a", size=2)
        return outcome(wanted, None)

    release = asyncio.Event()

    await world.install()
    await world.put(Gadget, "a", size=1)
    async with world.process(controller(script, Gadget)):
        await asyncio.sleep(5)
        undecided = await world.get(Gadget, "a")
        release.set()
        await asyncio.sleep(5)
        live = await world.get(Gadget, "a")

    assert undecided["spec"]["size"] == 2
    assert not undecided.get("status")  # nobody has looked at it yet to the end
    assert live["status"]["size"] == 2
    assert condition(live, "Ready")["message"] == "size 2"


@in_virtual_time
async def test_work_goes_on_every_minute_while_its_statuses_are_refused() -> None:
    world = World()
    looks: list[float] = []

    async def script(wanted: Gadget, platform: Platform) -> Outcome:
        looks.append(platform.clock.monotonic())
        return outcome(wanted, 30.0)

    async def refuse(request: Request, send: Send) -> Any:
        raise Forbidden("no statuses")

    await world.install()
    world.cluster.override["patch"] = refuse
    async with world.process(controller(script, Gadget)):
        await world.put(Gadget, "a")
        await asyncio.sleep(3600)

    waits = [after - before for before, after in itertools.pairwise(looks)]
    assert max(waits) <= LAST_CLUSTER_RETRY + 1
    assert len(waits) < 150  # and it is no loop
