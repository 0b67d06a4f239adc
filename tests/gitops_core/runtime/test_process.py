"""What the runtime does for every kind, seen from outside: objects go in, statuses and events come out."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections import Counter
from typing import Any

from gitops_core.errors import Forbidden, StalledError, TransientError
from gitops_core.meta import Condition, Kind, ObjectKey, ObjectRef
from gitops_core.ports import Query
from gitops_core.runtime.authority.fencing import FencedCluster
from gitops_core.runtime.authority.forwarding import Request
from gitops_core.runtime.authority.leave import Open
from gitops_core.runtime.loop.controlling import ControllerLoop
from gitops_core.runtime.reconciling import Notice, Outcome, Platform, Watch, make_refs
from tests.gitops_core.runtime.kinds import Gadget, Plain, Widget, WidgetStatus
from tests.gitops_core.runtime.world import Send, World, condition, controller, manifest, outcome, ref
from tests.simulation.loop import in_virtual_time

_CONFIGMAP = Kind("", "v1", "ConfigMap")
_CRD = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
_T = "2026-01-01T00:00:00Z"


class Diary:
    """A script that records every look and answers as told."""

    def __init__(self, answer: Any = outcome) -> None:
        self.looks: list[tuple[str, float]] = []
        self.finalized: list[str] = []
        self.answer = answer

    async def __call__(self, wanted: Any, platform: Platform) -> Outcome:
        self.looks.append((wanted.key.name, round(platform.clock.monotonic(), 2)))
        result = self.answer(wanted)
        if asyncio.iscoroutine(result):
            result = await result
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[no-any-return]

    async def finalize(self, wanted: Any, platform: Platform) -> None:
        self.finalized.append(wanted.key.name)

    def of(self, name: str) -> list[float]:
        return [moment for looked, moment in self.looks if looked == name]


@in_virtual_time
async def test_an_object_is_reconciled_and_its_status_written() -> None:
    world, diary = World(), Diary()
    await world.install()
    await world.put(Widget, "a", size=3)
    async with world.process(controller(diary)):
        await asyncio.sleep(1)

        live = await world.get(Widget, "a")

    assert live["status"]["size"] == 3
    assert live["status"]["observedGeneration"] == 1
    assert condition(live, "Ready") | {"lastTransitionTime": ""} == {
        "type": "Ready",
        "status": "True",
        "reason": "Succeeded",
        "message": "size 3",
        "lastTransitionTime": "",
        "observedGeneration": 1,
    }
    assert live["metadata"]["finalizers"] == [Widget.FINALIZER]
    assert diary.of("a") != []
    assert len(diary.of("a")) == 1, "our own writes must not wake us"


@in_virtual_time
async def test_an_unchanged_object_is_looked_at_every_interval_and_never_written() -> None:
    world, diary = World(), Diary(lambda wanted: outcome(wanted, 60.0))
    await world.install()
    await world.put(Widget, "a", size=3)
    async with world.process(controller(diary)):
        await asyncio.sleep(1)
        before = await world.get(Widget, "a")
        await asyncio.sleep(300)
        after = await world.get(Widget, "a")

    gaps = [b - a for a, b in zip(diary.of("a"), diary.of("a")[1:], strict=False)]
    assert len(gaps) in (4, 5)
    assert all(57 <= gap <= 63 for gap in gaps)
    assert len(set(gaps)) > 1, "intervals are jittered"
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


@in_virtual_time
async def test_edits_and_requests_wake_and_labels_do_not() -> None:
    world, diary = World(), Diary()
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(10)
        await world.put(Widget, "a", size=2)
        await asyncio.sleep(10)
        await world.annotate(Widget, "a", other_thing="x")
        await asyncio.sleep(5)
        await world.annotate(Widget, "a", **{"reconcile.fluxcd.io_requestedAt": "now"})
        await asyncio.sleep(10)
        live = await world.get(Widget, "a")

    assert [round(moment, -1) for moment in diary.of("a")] == [0.0, 10.0, 20.0]
    assert live["status"]["lastHandledReconcileAt"] == "now"
    assert live["status"]["observedGeneration"] == 2
    assert live["status"]["size"] == 2


@in_virtual_time
async def test_failures_back_off_and_success_forgets_them() -> None:
    failing = True
    world = World()
    diary = Diary(lambda wanted: TransientError("the registry is away", reason="Away") if failing else outcome(wanted))
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(100)
        failed = await world.get(Widget, "a")
        failing = False
        await asyncio.sleep(1000)
        healed = await world.get(Widget, "a")

    gaps = [b - a for a, b in zip(diary.of("a"), diary.of("a")[1:], strict=False)]
    assert 0.37 <= gaps[0] <= 0.76
    assert all(0.37 * 2**n <= gap <= 0.76 * 2**n for n, gap in enumerate(gaps))
    assert condition(failed, "Ready")["reason"] == "Away"
    assert condition(failed, "Reconciling")["reason"] == "ProgressingWithRetry"
    assert failed["status"].get("observedGeneration", -1) == -1
    assert condition(healed, "Ready")["status"] == "True"
    assert condition(healed, "Reconciling") == {}


@in_virtual_time
async def test_a_stalled_object_waits_for_an_edit() -> None:
    world = World()
    diary = Diary(lambda w: StalledError("size 0 is no size", reason="InvalidSize") if not w.spec.size else outcome(w))
    await world.install()
    await world.put(Widget, "a", size=0)
    async with world.process(controller(diary)):
        await asyncio.sleep(5000)
        stalled = await world.get(Widget, "a")
        looks = len(diary.looks)
        await world.put(Widget, "a", size=1)
        await asyncio.sleep(1)
        healed = await world.get(Widget, "a")

    assert looks == 1
    assert condition(stalled, "Stalled")["reason"] == "InvalidSize"
    assert stalled["status"]["observedGeneration"] == 1
    assert condition(healed, "Stalled") == {}
    assert condition(healed, "Ready")["status"] == "True"


@in_virtual_time
async def test_a_bug_is_one_objects_failure_and_its_text_stays_in_the_log(caplog: Any) -> None:
    world = World()
    diary = Diary(lambda wanted: KeyError("hunter2") if wanted.key.name == "bad" else outcome(wanted))
    await world.install()
    await world.put(Widget, "bad", size=1)
    await world.put(Widget, "good", size=1)
    async with world.process(controller(diary, concurrency=1)):
        await asyncio.sleep(60)
        bad, good = await world.get(Widget, "bad"), await world.get(Widget, "good")
        events = await world.events()

    assert condition(bad, "Ready")["reason"] == "InternalError"
    assert "hunter2" not in str(bad) + str(events)
    assert "hunter2" in caplog.text
    assert condition(good, "Ready")["status"] == "True"
    assert len(diary.of("bad")) > 3


@in_virtual_time
async def test_an_identical_failure_is_logged_at_growing_distances_and_its_end_once(caplog: Any) -> None:
    caplog.set_level("INFO")
    world, failing = World(), True
    diary = Diary(
        lambda wanted: (
            TransientError("the registry is away", reason="Away", retry_after=1.0) if failing else outcome(wanted, 1.0)
        )
    )
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(1000)
        failures = len(diary.looks)
        failing = False
        await asyncio.sleep(100)
        failing = True
        await asyncio.sleep(1.5)

    told = [record for record in caplog.records if record.levelname == "WARNING"]
    recovered = [record for record in caplog.records if record.getMessage() == "recovered"]
    assert failures > 900
    gaps = [b.times - a.times for a, b in itertools.pairwise(told[:-1])]
    assert all(0.9 * 60 * 2**n <= gap <= 60 * 2**n + 2 for n, gap in enumerate(gaps)), "a failure a second"
    assert len(gaps) == 4
    assert told[-2].times > 800
    assert told[-1].times == 1
    assert [record.failures for record in recovered] == [failures]


@in_virtual_time
async def test_another_failure_is_told_at_once(caplog: Any) -> None:
    world = World()
    attempts = itertools.count()
    diary = Diary(lambda wanted: TransientError(f"attempt {next(attempts) // 10}", retry_after=1.0))
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(29.5)

    told = {record.cause for record in caplog.records if record.levelname == "WARNING"}
    assert told == {"attempt 0", "attempt 1", "attempt 2"}


@in_virtual_time
async def test_an_interval_of_nothing_is_no_loop() -> None:
    world, diary = World(), Diary(lambda wanted: outcome(wanted, 0.0))
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(60)

    assert 50 <= len(diary.looks) <= 61


@in_virtual_time
async def test_a_reconciler_that_cancels_itself_keeps_its_worker() -> None:
    async def leak(wanted: Widget) -> Outcome:
        if wanted.key.name == "bad":
            raise asyncio.CancelledError
        return outcome(wanted)

    world, diary = World(), Diary(leak)
    await world.install()
    await world.put(Widget, "bad", size=1)
    await world.put(Widget, "good", size=1)
    async with world.process(controller(diary, concurrency=1)):
        await asyncio.sleep(60)
        bad, good = await world.get(Widget, "bad"), await world.get(Widget, "good")

    assert condition(bad, "Ready")["reason"] == "InternalError"
    assert condition(good, "Ready")["status"] == "True"


@in_virtual_time
async def test_a_field_that_nothing_acts_on_is_told() -> None:
    world, diary = World(), Diary(lambda wanted: outcome(wanted, 10.0))
    await world.install()
    await world.put(Widget, "a", size=1, color="red")
    async with world.process(controller(diary)):
        await asyncio.sleep(60)
        told, first = await world.get(Widget, "a"), await world.events()
        await world.put(Widget, "a", size=1)
        await asyncio.sleep(60)
        untold, second = await world.get(Widget, "a"), await world.events()

    unsupported = condition(told, "Unsupported")
    assert (unsupported["status"], unsupported["reason"]) == ("True", "FieldsNotSupported")
    assert "spec.color" in unsupported["message"]
    assert condition(told, "Ready")["status"] == "True"
    assert condition(untold, "Unsupported") == {}
    assert [(e["reason"], e["count"]) for e in first] == [("FieldsNotSupported", 1)]
    assert first == second


@in_virtual_time
async def test_metrics_count_objects_not_each_object() -> None:
    world = World()
    diary = Diary(lambda w: StalledError("no", reason="InvalidSize") if w.key.name == "bad" else outcome(w))
    await world.install()
    for name in ("a", "b", "bad"):
        await world.put(Widget, name, size=1)
    async with world.process(controller(diary)) as process:
        await asyncio.sleep(5)
        await world.local.delete(ref(Widget, "b"))
        await asyncio.sleep(5)
        registry = process.metrics.registry

        def value(name: str, **labels: str) -> float | None:
            return registry.get_sample_value(name, {"kind": "Widget"} | labels)

        assert value("sealoop_objects", ready="True") == 1
        assert value("sealoop_objects", ready="False") == 1
        assert value("sealoop_reconcile_total", result="InvalidSize") == 1
        assert value("sealoop_reconcile_total", result="Succeeded") == 2
        assert value("gotk_reconcile_duration_seconds_count") == 3
        assert value("sealoop_informer_objects") == 2
        assert value("sealoop_queue_depth") == 0
        assert registry.get_sample_value("sealoop_leader") == 1


@in_virtual_time
async def test_a_reconciliation_that_hangs_is_given_up_and_frees_its_worker() -> None:
    world = World()
    diary = Diary(lambda wanted: asyncio.sleep(1e9) if wanted.key.name == "hangs" else outcome(wanted))
    await world.install()
    await world.put(Widget, "hangs", size=1)
    async with world.process(controller(diary, concurrency=1), reconcile_timeout=100.0):
        await asyncio.sleep(1)
        await world.put(Widget, "waits", size=1)
        await asyncio.sleep(150)
        hangs, waits = await world.get(Widget, "hangs"), await world.get(Widget, "waits")

    assert condition(hangs, "Ready")["reason"] == "TimedOut"
    assert condition(waits, "Ready")["status"] == "True"


@in_virtual_time
async def test_a_namespace_whose_every_object_hangs_stops_no_other_and_a_few_that_hang_stop_nobody() -> None:
    world = World()
    diary = Diary(lambda wanted: asyncio.sleep(1e9) if wanted.key.name.startswith("hangs") else outcome(wanted))
    await world.install()
    for number in range(40):
        await world.put(Widget, f"hangs-{number}", size=1)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}
    await world.local.apply(namespace, field_manager="test")
    async with world.process(controller(diary)):
        await asyncio.sleep(1)
        await world.put(Widget, "waits", size=1)
        await asyncio.sleep(1)
        beside = await world.get(Widget, "waits")
        for number in range(40, 200):
            await world.put(Widget, f"hangs-{number}", size=1)
        await asyncio.sleep(1)
        theirs = manifest(Widget, "waits", size=1)
        theirs["metadata"]["namespace"] = "other"
        await world.local.apply(theirs, field_manager="test")
        await asyncio.sleep(1)
        elsewhere = await world.local.get(ObjectRef(Widget.KIND, ObjectKey("other", "waits")))

    assert condition(beside, "Ready")["status"] == "True"
    assert elsewhere is not None
    assert condition(elsewhere, "Ready")["status"] == "True"


@in_virtual_time
async def test_a_suspended_object_rests_but_is_cleaned_up_after() -> None:
    world, diary = World(), Diary()
    await world.install()
    await world.put(Widget, "a", size=1, suspend=True)
    async with world.process(controller(diary)):
        await asyncio.sleep(10)
        assert diary.looks == []
        await world.local.delete(ref(Widget, "a"))
        await asyncio.sleep(10)

        assert diary.finalized == ["a"]
        assert await world.get(Widget, "a") is None


@in_virtual_time
async def test_finalizing_is_tried_until_it_succeeds() -> None:
    world, diary = World(), Diary()
    attempts = 0

    class Stubborn(Diary):
        async def finalize(self, wanted: Any, platform: Platform) -> None:
            nonlocal attempts
            attempts += 1
            if attempts < 4:
                raise TransientError("the cluster is away", reason="PruneFailed")

    diary = Stubborn()
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(1)
        await world.local.delete(ref(Widget, "a"))
        await asyncio.sleep(0.1)
        dying = await world.get(Widget, "a")
        await asyncio.sleep(30)
        gone = await world.get(Widget, "a")

    assert condition(dying, "Ready")["reason"] == "PruneFailed"
    assert gone is None
    assert attempts == 4


@in_virtual_time
async def test_a_change_wakes_exactly_those_that_name_the_object() -> None:
    world, widgets, gadgets = World(), Diary(), Diary()
    await world.install()
    for name in ("g1", "g2"):
        await world.put(Gadget, name, size=1)
    await world.put(Widget, "one", gadget="g1")
    await world.put(Widget, "two", gadget="g2")
    await world.put(Widget, "all", gadget="*")

    def resized(old: Gadget | None, new: Gadget | None) -> bool:
        sizes = [x.status.size if x and x.status else None for x in (old, new)]
        return sizes[0] != sizes[1]

    watching = controller(
        widgets,
        references=lambda w: make_refs("shop", Gadget, w.spec.gadget),
        watches=(Watch(Query(Gadget.KIND), Gadget, resized),),
    )
    async with world.process(watching, controller(gadgets, Gadget)):
        await asyncio.sleep(10)
        widgets.looks.clear()
        await world.put(Gadget, "g1", size=7)
        await asyncio.sleep(10)
        named = sorted(name for name, _ in widgets.looks)
        widgets.looks.clear()
        await world.annotate(Gadget, "g1", touched="yes")
        await asyncio.sleep(10)
        touched = list(widgets.looks)
        await world.local.delete(ref(Gadget, "g2"))
        await asyncio.sleep(10)
        deleted = sorted(name for name, _ in widgets.looks)

    assert named == ["all", "one"]
    assert touched == []
    assert deleted == ["all", "two"]


@in_virtual_time
async def test_objects_that_an_outcome_names_wake_it_and_are_watched_only_then() -> None:
    """A rollout: the Deployment's changes wake until nobody waits for it any more."""

    world = World()

    async def script(wanted: Widget) -> Outcome:
        live = await world.get(Gadget, "part")
        if live is None or live["spec"].get("size") != 5:
            return outcome(wanted, 600.0, ready="Unknown", watch=frozenset({ref(Gadget, "part")}))
        return outcome(wanted)

    diary = Diary(script)
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(10)
        waiting = await world.get(Widget, "a")
        assert world.cluster.requests["list Gadget"] == 1
        await world.put(Gadget, "part", size=1)
        await asyncio.sleep(10)
        await world.put(Gadget, "part", size=5)
        await asyncio.sleep(10)
        done = await world.get(Widget, "a")
        looks = len(diary.looks)
        await asyncio.sleep(120)
        await world.put(Gadget, "part", size=6)
        await asyncio.sleep(10)

    assert condition(waiting, "Ready")["status"] == "Unknown"
    assert condition(waiting, "Reconciling")["reason"] == "Progressing"
    assert condition(done, "Ready")["status"] == "True"
    assert looks == 3
    assert len(diary.looks) == looks, "nobody names it any more"


@in_virtual_time
async def test_an_object_that_nobody_waits_for_is_not_watched_however_busy_the_others_are() -> None:
    world = World()

    async def script(wanted: Widget) -> Outcome:
        waits = wanted.key.name == "a" and wanted.spec.size == 1
        return outcome(wanted, 5.0, watch=frozenset({ref(Gadget, "part")}) if waits else frozenset())

    await world.install()
    for name in ("a", "b", "c"):
        await world.put(Widget, name, size=1)
    async with world.process(controller(Diary(script))):
        await asyncio.sleep(20)
        assert world.cluster.watching["Gadget"] == 1
        await world.put(Widget, "a", size=2)
        await asyncio.sleep(30)
        assert world.cluster.watching["Gadget"] == 1, "the next wave may come soon"
        await asyncio.sleep(60)
        assert world.cluster.watching["Gadget"] == 0


@in_virtual_time
async def test_an_object_that_is_waited_for_again_stays_watched() -> None:
    world = World()

    async def script(wanted: Widget) -> Outcome:
        waits = wanted.spec.size % 2 == 1
        return outcome(wanted, None, watch=frozenset({ref(Gadget, "part")}) if waits else frozenset())

    diary = Diary(script)
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(20)
        for size in (2, 3):
            await world.put(Widget, "a", size=size)
            await asyncio.sleep(30)
        await asyncio.sleep(120)
        looks = len(diary.looks)
        await world.put(Gadget, "part", size=1)
        await asyncio.sleep(1)

    assert world.cluster.requests["list Gadget"] == 1
    assert len(diary.looks) == looks + 1


@in_virtual_time
async def test_objects_that_are_gone_leave_nothing_behind() -> None:
    world = World()

    async def script(wanted: Gadget, platform: Platform) -> Outcome:
        metadata = {"name": wanted.key.name, "namespace": "shop"}
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        await platform.cluster.apply(made, field_manager="m", force=True)
        await platform.clock.sleep(wanted.spec.size)
        if wanted.spec.size == 2:
            raise TransientError("away")
        named = ObjectRef(Kind("", "v1", "ConfigMap"), wanted.key)
        return outcome(wanted, 3600.0, watch=frozenset({named}))

    async def refuse_some(request: Request, send: Send) -> Any:
        about = request.about
        if isinstance(about, ObjectRef) and about.kind == Gadget.KIND and int(about.key.name[1:]) % 6 == 3:
            raise Forbidden("not this status")
        return await send()

    await world.install()
    world.cluster.override["patch"] = refuse_some
    all_alike = controller(script, Gadget, references=lambda gadget: make_refs("shop", Widget, gadget.key.name))
    async with world.process(all_alike):
        for number in range(30):
            await world.put(Gadget, f"n{number}", size=number % 6)
            await asyncio.sleep(3.5)
            await world.local.delete(ref(Gadget, f"n{number}"))
        await asyncio.sleep(200)
        loops = [each for each in gc.get_objects() if type(each) is ControllerLoop]
        (loop,) = (each for each in loops if each._around.clock is world.clock)
        held = {name: len(value) for name, value in vars(loop).items() if isinstance(value, dict)}

        assert len(loop._around.timers) == 0
        assert loop._index.kinds == frozenset()
        assert world.cluster.watching == Counter({"Gadget": 1})

    assert len(held) >= 6
    assert {name: count for name, count in held.items() if count} == {}


@in_virtual_time
async def test_a_write_of_a_reconciliation_wakes_others_and_not_itself() -> None:
    world = World()

    async def write(wanted: Widget, platform: Platform) -> Outcome:
        looks.append(wanted.key.name)
        if wanted.key.name == "maker":
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made", "namespace": "shop"}}
            await platform.cluster.apply(
                made | {"data": {"size": str(wanted.spec.size)}}, field_manager="m", force=True
            )
        return outcome(wanted)

    looks: list[str] = []
    configmap = ObjectRef(_CONFIGMAP, ObjectKey("shop", "made"))
    await world.install()
    await world.put(Widget, "maker", size=1)
    await world.put(Widget, "reader", size=1)
    watching = controller(write, references=lambda _: [configmap], watches=(Watch(Query(_CONFIGMAP)),))
    async with world.process(watching):
        await asyncio.sleep(10)
        looks.clear()
        await world.put(Widget, "maker", size=2)
        await asyncio.sleep(10)
        ours = sorted(looks)
        looks.clear()
        await world.local.patch(configmap, {"data": {"size": "9"}}, field_manager="somebody")
        await asyncio.sleep(10)
        theirs = sorted(looks)

    assert ours == ["maker", "reader"]
    assert theirs == ["maker", "reader", "reader"], "the change, and its correction"


@in_virtual_time
async def test_a_write_to_another_cluster_explains_no_change_of_ours() -> None:
    """Objects of two clusters have the same names, and each cluster counts for itself."""

    world, far = World(), World()
    written = ObjectRef(_CONFIGMAP, ObjectKey("shop", "a"))
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}}

    async def there(wanted: Widget) -> Outcome:
        await FencedCluster(far.local, Open(), "far").apply(manifest, field_manager="us")
        return outcome(wanted, watch=frozenset({written}))

    diary = Diary(there)
    await world.install()
    await far.install()
    for size in range(100):  # its versions are far higher than ours
        await far.put(Widget, "x", size=size)
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(5)
        first = len(diary.looks)
        await world.local.apply(manifest, field_manager="somebody")
        await asyncio.sleep(5)

    assert (first, len(diary.looks)) == (1, 2)


@in_virtual_time
async def test_an_object_that_changes_during_its_reconciliation_is_reconciled_again() -> None:
    async def slow(wanted: Widget) -> Outcome:
        await asyncio.sleep(10)
        return outcome(wanted)

    world, diary = World(), Diary(slow)
    await world.install()
    await world.put(Gadget, "g", size=1)
    await world.put(Widget, "named", gadget="g")
    await world.put(Widget, "edited", size=1)
    watching = controller(
        diary,
        references=lambda w: make_refs("shop", Gadget, w.spec.gadget),
        watches=(Watch(Query(Gadget.KIND), Gadget),),
    )
    async with world.process(watching):
        await asyncio.sleep(5)
        await world.put(Gadget, "g", size=2)
        await world.put(Widget, "edited", size=2)
        await asyncio.sleep(100)
        live = await world.get(Widget, "edited")

    assert len(diary.of("named")) == 2
    assert len(diary.of("edited")) == 2
    assert live["status"]["size"] == 2


@in_virtual_time
async def test_statuses_keep_what_a_newer_peer_wrote() -> None:
    world, diary = World(), Diary(lambda w: outcome(w, conditions=(Condition(type="Healthy", status="True"),)))
    await world.install()
    await world.put(Widget, "a", size=1)
    foreign = {"type": "FromTheFuture", "status": "True", "reason": "Why", "message": "", "lastTransitionTime": _T}
    status = {"status": {"conditions": [foreign]}}
    await world.local.patch(ref(Widget, "a"), status, field_manager="newer", subresource="status")
    async with world.process(controller(diary)):
        await asyncio.sleep(10)
        healthy = await world.get(Widget, "a")
        diary.answer = outcome
        await world.put(Widget, "a", size=2)
        await asyncio.sleep(10)
        plain = await world.get(Widget, "a")

    assert [c["type"] for c in healthy["status"]["conditions"]] == ["Ready", "Healthy", "FromTheFuture"]
    assert [c["type"] for c in plain["status"]["conditions"]] == ["Ready", "FromTheFuture"]
    assert condition(plain, "FromTheFuture")["lastTransitionTime"] == _T


@in_virtual_time
async def test_a_status_written_midway_is_seen_and_survives() -> None:
    """An inventory is stored before the first write it speaks of."""

    world = World()

    async def script(wanted: Widget, platform: Platform) -> Outcome:
        parts = {"one": "1"} if wanted.spec.size == 1 else {"two": "2"}
        stored = await platform.statuses.write(wanted, WidgetStatus(size=9, parts=parts))
        seen.append((stored.status, await world.get(Widget, "a")))
        return Outcome(WidgetStatus(size=wanted.spec.size, parts=parts), "done", None)

    seen: list[Any] = []
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(script)):
        await asyncio.sleep(1)
        await world.put(Widget, "a", size=2)
        await asyncio.sleep(1)
        live = await world.get(Widget, "a")

    assert [status.size for status, _ in seen] == [9, 9]
    assert [manifest["status"]["size"] for _, manifest in seen] == [9, 9]
    assert live["status"]["size"] == 2
    assert live["status"]["parts"] == {"two": "2"}
    assert len(seen) == 2


@in_virtual_time
async def test_a_plain_kind_has_a_ready_condition_and_its_own_reason_for_failures() -> None:
    said = Condition(type="Ready", status="False", message="could not get secret data from provider")
    error = TransientError("the key 'nope' does not exist").carry(WidgetStatus(), said)
    world, diary = World(), Diary(lambda _: error)
    await world.install()
    await world.put(Plain, "a", size=1)
    await world.annotate(Plain, "a", **{"reconcile.fluxcd.io_requestedAt": "now"})
    async with world.process(controller(diary, Plain)):
        await asyncio.sleep(1)
        live = await world.get(Plain, "a")
        events = await world.events()

    (ready,) = live["status"]["conditions"]
    assert ready | {"lastTransitionTime": ""} == {
        "type": "Ready",
        "status": "False",
        "reason": "SyncedError",
        "message": "could not get secret data from provider",
        "lastTransitionTime": "",
    }
    assert "lastHandledReconcileAt" not in live["status"]
    assert [(e["reason"], e["message"]) for e in events] == [("UpdateFailed", "the key 'nope' does not exist")]


@in_virtual_time
async def test_events_are_counted_not_repeated() -> None:
    world, diary = World(), Diary(lambda _: TransientError("away", reason="Away", retry_after=100.0))
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(1050)
        events = await world.events()

    (event,) = events
    assert event["involvedObject"]["uid"] == (await world.get(Widget, "a"))["metadata"]["uid"]
    assert event["type"] == "Warning"
    assert 6 <= event["count"] <= len(diary.looks)
    assert world.cluster.requests["patch Event"] <= 6


@in_virtual_time
async def test_notices_become_events_with_their_metadata() -> None:
    notice = Notice("Normal", "Progressing", "ConfigMap/shop/a created", {"example.dev/revision": "main"})
    world, diary = World(), Diary(lambda w: outcome(w, notices=(notice,)))
    await world.install()
    await world.put(Widget, "a", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(1)
        (event,) = await world.events()

    assert event["metadata"]["annotations"] == {"example.dev/revision": "main"}
    assert (event["reason"], event["message"]) == ("Progressing", "ConfigMap/shop/a created")
    assert event["source"] == {"component": "sealoop"}


@in_virtual_time
async def test_an_unreadable_object_hides_no_other(caplog: Any) -> None:
    world, diary = World(), Diary()
    await world.install()
    crd_ref = ObjectRef(_CRD, ObjectKey("", "widgets.test.sealoop.dev"))
    loose = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    patch = [{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec", "value": loose}]
    await world.local.patch(crd_ref, patch, field_manager="test")
    await world.put(Widget, "bad", size="large")
    await world.put(Widget, "good", size=1)
    async with world.process(controller(diary)):
        await asyncio.sleep(1)
        await world.put(Widget, "good", size=2)
        await asyncio.sleep(1)
        before = {name for name, _ in diary.looks}
        await world.put(Widget, "bad", size=3)
        await asyncio.sleep(1)

    assert before == {"good"}
    assert {name for name, _ in diary.looks} == {"good", "bad"}
    assert caplog.text.count("cannot read an object") == 1
