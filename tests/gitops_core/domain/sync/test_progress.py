"""Laws of how far a sync has come: what a stage awaits, and when the next one begins."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from gitops_core.api import Kustomization
from gitops_core.domain.sync import stages
from gitops_core.domain.sync.imprints import make_imprint
from gitops_core.domain.sync.owners import make_kustomization_ownership
from gitops_core.domain.sync.plan import plan_sync
from gitops_core.domain.sync.predictions import Applied, Change, Prediction
from gitops_core.domain.sync.progress import Identity, Progress, Verdict, judge, plan_next_look
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.schema import read_manifest
from tests.gitops_core.domain.sync.test_sync import inventories, manifest
from tests.simulation.loop import BEGINNING

OURS = make_kustomization_ownership(ObjectKey("default", "apps"))
DEFINITION, JOB = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition"), Kind("batch", "v1", "Job")
CRD = ObjectRef(DEFINITION, ObjectKey("", "widgets.example.org"))
TEAM = ObjectRef(Kind("", "v1", "Namespace"), ObjectKey("", "team"))
WEB = ObjectRef(JOB, ObjectKey("default", "web"))
WIDGET = Kind("example.org", "v1", "Widget")


def live(ref: ObjectRef, *conditions: tuple[str, str], **fields: Any) -> Manifest:
    status = {"conditions": [{"type": name, "status": value} for name, value in conditions]}
    return {**manifest(ref), "status": status, **fields}


ESTABLISHED = live(CRD, ("Established", "True"))
REFUSED = live(CRD, ("NamesAccepted", "False"))
ENDING = live(TEAM, metadata={"name": "team", "deletionTimestamp": "2026-01-01T00:00:00Z"})


def progress(*wanted: Manifest, number: int = 0, target: str = "") -> Progress:
    plan = plan_sync(wanted, (), OURS, prune=True)
    predictions = {action.ref: Prediction(action) for action in plan.actions}
    begun = Progress(Identity(target, "u", 1, "r", ""), plan, "d", "f", 0.0, predictions)
    while begun.number < number:
        begun = begun.advance()
    return begun.begin_waiting([action.ref for action in begun.stage.actions], 0.0)


def applied(ref: ObjectRef, change: Change) -> Applied:
    return Applied(ref, manifest(ref), change, make_imprint(manifest(ref)))


@given(inventories)
def test_the_stages_of_a_plan_apply_everything_once_and_the_last_one_alone_awaits_health(
    wanted: list[ObjectRef],
) -> None:
    plan = plan_sync(map(manifest, wanted), (), OURS, prune=True)

    assert [action.ref for action in plan.actions] == list(stages.sort_for_applying(wanted))
    assert [stage.awaits for stage in plan.stages] == ["served"] * (len(plan.stages) - 1) + ["healthy"]
    assert all(stage.actions for stage in plan.stages) or not wanted


@given(inventories)
def test_a_sync_goes_through_all_stages_and_ends_with_the_last(wanted: list[ObjectRef]) -> None:
    begun, seen = progress(*map(manifest, wanted)), []
    while True:
        seen.append(begun.stage)
        if begun.is_last:
            break
        begun = begun.advance()
        assert begun.awaited is None
    assert tuple(seen) == begun.plan.stages


def test_before_the_last_stage_what_failed_is_not_waited_for_and_what_is_gone_is_applied_again() -> None:
    begun = progress(manifest(CRD), manifest(TEAM), manifest(WEB))

    assert judge(begun, {CRD: ESTABLISHED, TEAM: manifest(TEAM)}, {}, BEGINNING) == Verdict({}, {}, (), ())
    assert judge(begun, {CRD: REFUSED, TEAM: manifest(TEAM)}, {}, BEGINNING) == Verdict({}, {}, (), ())
    ending = judge(begun, {CRD: ESTABLISHED, TEAM: ENDING}, {}, BEGINNING)
    assert (list(ending.waiting), ending.failed, ending.gone) == ([TEAM], {}, ())
    assert judge(begun, {CRD: ESTABLISHED, TEAM: None}, {}, BEGINNING).gone == (TEAM,)
    again = begun.repeat_stage([TEAM])
    assert (again.awaited, again.number) == (None, 0)
    assert {ref: one.change for ref, one in again.predictions.items()} == {CRD: None, TEAM: "created", WEB: None}


def test_a_definition_is_waited_for_until_its_kinds_are_served_and_polled_where_nothing_tells_when() -> None:
    begun = progress(manifest(CRD), manifest(WEB))

    soon = judge(begun, {CRD: ESTABLISHED}, {CRD: WIDGET}, BEGINNING)
    assert {ref: state.message for ref, state in soon.waiting.items()} == {CRD: f"{WIDGET} is not served yet"}
    assert soon.unserved == (CRD,)
    never = judge(begun, {CRD: REFUSED}, {CRD: WIDGET}, BEGINNING)
    assert (list(never.waiting), never.unserved) == ([CRD], ())


def test_health_waits_for_what_is_not_ready_fails_by_what_failed_and_forgives_an_expired_job() -> None:
    kept, expiring = manifest(WEB), {**manifest(WEB), "spec": {"ttlSecondsAfterFinished": 60}}
    failed = live(WEB, ("Failed", "True"))

    verdict = judge(progress(kept), {WEB: failed}, {}, BEGINNING)
    assert (list(verdict.waiting), list(verdict.failed)) == ([WEB], [WEB])
    assert list(judge(progress(kept), {WEB: None}, {}, BEGINNING).waiting) == [WEB]
    assert judge(progress(expiring), {WEB: None}, {}, BEGINNING).waiting == {}


def test_the_next_look_is_soon_for_what_no_watch_tells_and_never_after_the_time_is_up() -> None:
    spec = {"interval": "10m", "timeout": "1m", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "r"}}
    about = {"name": "apps", "namespace": "default"}
    kind = {"apiVersion": Kustomization.KIND.api_version, "kind": Kustomization.KIND.kind}
    wanted = read_manifest(Kustomization, {**kind, "metadata": about, "spec": spec})
    begun = progress(manifest(CRD), manifest(WEB))
    marked, bare = OURS.add_mark(ENDING), ENDING
    waiting = judge(begun, {CRD: ENDING}, {}, BEGINNING)
    unserved = judge(begun, {CRD: ESTABLISHED}, {CRD: WIDGET}, BEGINNING)

    looks = [
        plan_next_look(begun, wanted, verdict, {CRD: found}, OURS, now)
        for verdict, found, now in (
            (waiting, marked, 10.0),
            (waiting, bare, 10.0),
            (waiting, None, 57.0),
            (unserved, marked, 10.0),
            (waiting, marked, 70.0),
        )
    ]
    assert looks == [50.0, 5.0, 3.0, 0.5, 0.0]
    elsewhere = progress(manifest(CRD), manifest(WEB), target="t")  # no watch of ours tells of another cluster
    assert plan_next_look(elsewhere, wanted, waiting, {CRD: marked}, OURS, 10.0) == 5.0


def test_a_change_in_any_stage_is_remembered_after_the_objects_are_forgotten() -> None:
    begun = progress(manifest(CRD), manifest(WEB))

    same = begun.add_applied([applied(CRD, "unchanged"), applied(WEB, "skipped")])
    changed = begun.add_applied([applied(CRD, "created")]).add_applied([applied(WEB, "unchanged")])

    assert ([one.ref for one in changed.applied], same.changed) == ([CRD, WEB], False)
    assert (changed.drop_objects().changed, changed.drop_objects().done) == (True, {})
