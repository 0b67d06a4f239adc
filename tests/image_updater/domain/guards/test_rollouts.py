"""What is proven, what is quarantined, and what must never be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gitops_core.meta import Kind, ObjectKey, ObjectRef
from image_updater.api import ImageRef, Pin, Rollback, UpdateGuardSpec, UpdateGuardStatus
from image_updater.domain.guards.rollouts import Applied, Followed, Observation, observe
from image_updater.domain.guards.workloads import RunningImage, State, Workload
from image_updater.domain.tags.policies import SemVerPolicy

IMAGE = "ghcr.io/org/app"
START = datetime(2026, 1, 1, tzinfo=UTC)
GUARD = UpdateGuardSpec(rollback=Rollback(within="1h"))
EMPTY = UpdateGuardStatus()


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def chosen(tag: str, digest: str = "") -> Followed:
    return Followed("app", IMAGE, ImageRef(name=IMAGE, tag=tag, digest=digest), SemVerPolicy("*"))


def running(tag: str, state: State, name: str = "web", digest: str = "") -> Applied:
    ref = ObjectRef(Kind("apps", "v1", "Deployment"), ObjectKey("shop", name))
    return Applied(
        Workload(ref, (RunningImage(IMAGE, tag, digest),), state, "why"), f"main@sha1:{tag}", frozenset({"app"})
    )


def look(
    status: UpdateGuardStatus, tag: str, workloads: Sequence[Applied], minutes: float, spec: UpdateGuardSpec = GUARD
) -> Observation:
    return observe(spec, status, [chosen(tag)], workloads, at(minutes))


def proven(tag: str = "1.0.0") -> UpdateGuardStatus:
    return look(EMPTY, tag, [running(tag, "Healthy")], 0).status


def test_an_image_that_runs_healthy_is_proven() -> None:
    status = proven()

    assert [(entry.tag, entry.since, entry.until) for entry in status.proven] == [("1.0.0", at(0), None)]


def test_a_bump_that_fails_is_quarantined_with_what_was_proven_before() -> None:
    underway = look(proven(), "1.1.0", [running("1.1.0", "Progressing")], 1)

    seen = look(underway.status, "1.1.0", [running("1.1.0", "Failed")], 2)

    assert underway.waiting
    assert underway.taken_back == ()
    (entry,) = seen.taken_back
    assert (entry.tag, entry.previous_tag, entry.revision) == ("1.1.0", "1.0.0", "main@sha1:1.1.0")
    assert entry.reason == "Deployment/shop/web: why"
    assert seen.status.quarantine == (entry,)


def test_nothing_is_said_before_the_bump_is_applied() -> None:
    seen = look(proven(), "1.1.0", [running("1.0.0", "Healthy")], 1)

    assert seen.taken_back == ()
    assert seen.status.proven == proven().proven


def test_a_failure_that_was_there_before_is_not_blamed_on_the_bump() -> None:
    broken = look(proven(), "1.0.0", [running("1.0.0", "Failed")], 30).status
    underway = look(broken, "1.1.0", [running("1.1.0", "Progressing")], 31).status

    seen = look(underway, "1.1.0", [running("1.1.0", "Failed")], 32)

    assert seen.taken_back == ()
    assert "nothing that ran before it was healthy" in seen.troubles[0]


def test_a_failure_long_after_the_bump_is_not_blamed_on_it() -> None:
    healthy = look(proven(), "1.1.0", [running("1.1.0", "Healthy")], 1).status

    seen = look(healthy, "1.1.0", [running("1.1.0", "Failed")], 62)

    assert seen.taken_back == ()
    assert "too long after" in seen.troubles[0]


def test_a_failure_soon_after_it_was_healthy_is_blamed_on_the_bump() -> None:
    healthy = look(proven(), "1.1.0", [running("1.1.0", "Healthy")], 1).status

    seen = look(healthy, "1.1.0", [running("1.1.0", "Failed")], 20)

    assert [entry.previous_tag for entry in seen.taken_back] == ["1.0.0"]


def test_a_tag_is_taken_back_when_one_of_two_workloads_fails() -> None:
    applied = [running("1.1.0", "Healthy"), running("1.1.0", "Failed", "worker")]

    assert look(proven(), "1.1.0", applied, 1).taken_back


def test_without_rollback_a_failure_is_only_told() -> None:
    spec = UpdateGuardSpec()
    status = look(EMPTY, "1.0.0", [running("1.0.0", "Healthy")], 0, spec).status

    seen = look(status, "1.1.0", [running("1.1.0", "Failed")], 1, spec)

    assert seen.taken_back == ()
    assert seen.troubles == ("app 1.1.0 fails: Deployment/shop/web: why",)


def test_an_image_that_was_taken_back_proves_itself_again() -> None:
    failed = look(proven(), "1.1.0", [running("1.1.0", "Failed")], 1).status

    back = look(failed, "1.0.0", [running("1.0.0", "Healthy")], 2).status

    assert [(e.tag, e.since, e.until) for e in back.proven] == [("1.0.0", at(0), at(1)), ("1.0.0", at(2), None)]
    assert [entry.tag for entry in back.quarantine] == ["1.1.0"]


def test_a_pin_lets_a_quarantined_tag_out() -> None:
    failed = look(proven(), "1.1.0", [running("1.1.0", "Failed")], 1).status
    pinned = UpdateGuardSpec(rollback=Rollback(), pins=(Pin(tag="1.1.0", policy="app"),))

    assert look(failed, "1.1.0", [running("1.1.0", "Progressing")], 2, pinned).status.quarantine == ()


def test_a_pinned_tag_that_fails_is_told_and_stays() -> None:
    pinned = UpdateGuardSpec(rollback=Rollback(), pins=(Pin(tag="1.1.0", policy="app"),))

    seen = look(proven(), "1.1.0", [running("1.1.0", "Failed")], 1, pinned)

    assert seen.taken_back == seen.status.quarantine == ()
    assert "app 1.1.0 fails, and is pinned: " in seen.troubles[0]
    assert look(seen.status, "1.1.0", [running("1.1.0", "Failed")], 2, pinned).status == seen.status


def test_another_digest_is_another_image() -> None:
    followed = [chosen("1.1.0", "sha256:new")]

    seen = observe(GUARD, proven(), followed, [running("1.1.0", "Failed", digest="sha256:old")], at(1))

    assert seen.taken_back == ()


def test_another_image_under_the_same_tag_proves_nothing() -> None:
    followed = [chosen("1.1.0", "sha256:new")]

    old = observe(GUARD, proven(), followed, [running("1.1.0", "Healthy", digest="sha256:old")], at(1))
    new = observe(GUARD, old.status, followed, [running("1.1.0", "Healthy", digest="sha256:new")], at(2))

    assert [entry.tag for entry in old.status.proven] == ["1.0.0"]
    assert [entry.tag for entry in new.status.proven] == ["1.0.0", "1.1.0"]


def test_a_digest_that_becomes_known_is_no_other_image() -> None:
    followed = [chosen("1.0.0", "sha256:a")]

    seen = observe(GUARD, proven(), followed, [running("1.0.0", "Healthy")], at(5))

    assert [(entry.tag, entry.since, entry.until) for entry in seen.status.proven] == [("1.0.0", at(0), None)]
    assert [rollout.digest for rollout in seen.status.rollouts] == ["sha256:a"]


def test_the_same_tag_with_another_digest_may_fail_on_its_own() -> None:
    bad = [running("1.1.0", "Failed")]
    first = observe(GUARD, proven(), [chosen("1.1.0", "sha256:a")], bad, at(1)).status
    back = look(first, "1.0.0", [running("1.0.0", "Healthy")], 2).status

    seen = observe(GUARD, back, [chosen("1.1.0", "sha256:b")], bad, at(3))

    assert [(entry.digest, entry.previous_tag) for entry in seen.taken_back] == [("sha256:b", "1.0.0")]


STATES = st.sampled_from(["Healthy", "Progressing", "Failed"])
STEPS = st.lists(st.tuples(st.sampled_from(["1", "2", "3"]), st.sampled_from(["1", "2", "3"]), STATES), max_size=12)


@given(STEPS)
def test_only_what_was_healthy_is_gone_back_to(steps: list[tuple[str, str, State]]) -> None:
    status, healthy = EMPTY, set[str]()
    for number, (latest, deployed, state) in enumerate(steps):
        seen = look(status, latest, [running(deployed, state)], number)
        assert all(entry.previous_tag in healthy for entry in seen.taken_back)
        assert all(entry.tag == latest == deployed and state == "Failed" for entry in seen.taken_back)
        assert len([entry for entry in seen.status.proven if entry.until is None]) <= 1
        if state == "Healthy" and latest == deployed:
            healthy.add(deployed)
        status = seen.status


@given(STEPS)
def test_looking_again_at_the_same_world_changes_nothing(steps: list[tuple[str, str, State]]) -> None:
    status = EMPTY
    for number, (latest, deployed, state) in enumerate(steps):
        status = look(status, latest, [running(deployed, state)], number).status
        again = look(status, latest, [running(deployed, state)], number + 0.5)
        assert again.status == status
        assert again.taken_back == ()


def test_a_policy_that_goes_and_comes_back_is_not_forgiven() -> None:
    failed = look(proven(), "1.1.0", [running("1.1.0", "Failed")], 1).status
    healthy = look(failed, "1.0.0", [running("1.0.0", "Healthy")], 2).status

    away = observe(GUARD, healthy, [], [], at(3)).status
    back = look(away, "1.0.0", [running("1.0.0", "Healthy")], 4).status

    assert away.quarantine == back.quarantine == failed.quarantine != ()
    assert away.rollouts == ()
    assert [entry.until for entry in away.proven if entry.until is None] == []  # nobody watches it
    assert observe(GUARD, away, [], [], at(9)).status == away


# without a break


def stage(status: UpdateGuardStatus, latest: str, runs: dict[str, State], minutes: float) -> UpdateGuardStatus:
    """After a look at workloads that run these tags, with the digest of each."""
    applied = [running(tag, state, tag, f"sha256:{tag}") for tag, state in runs.items()]
    return observe(GUARD, status, [chosen(latest, f"sha256:{latest}")], applied, at(minutes)).status


def told(status: UpdateGuardStatus) -> list[tuple[str, float, bool, str]]:
    """Tag, minutes since it is Healthy without a break, whether it still runs, and why it ended."""
    return [
        (e.tag, (e.since - START).total_seconds() / 60, e.until is None and e.down is None, e.ended)
        for e in status.proven
    ]


def test_time_that_a_workload_is_not_ready_does_not_count() -> None:
    healthy = stage(EMPTY, "1.0.0", {"1.0.0": "Healthy"}, 0)

    down = stage(healthy, "1.0.0", {"1.0.0": "Progressing"}, 10)
    still = stage(down, "1.0.0", {"1.0.0": "Progressing"}, 20)
    again = stage(still, "1.0.0", {"1.0.0": "Healthy"}, 30)

    assert told(down) == told(still) == [("1.0.0", 0, False, "")]
    assert told(again) == [("1.0.0", 30, True, "")]


def test_an_image_that_failed_is_deleted_or_set_back_is_no_longer_proven() -> None:
    healthy = stage(EMPTY, "1.0.0", {"1.0.0": "Healthy"}, 0)

    failed = stage(healthy, "1.0.0", {"1.0.0": "Failed"}, 10)
    deleted = stage(healthy, "1.0.0", {}, 10)
    set_back = stage(healthy, "1.0.0", {"0.9.0": "Healthy"}, 10)
    ranged_back = stage(healthy, "0.9.0", {"0.9.0": "Healthy"}, 10)

    assert told(failed) == [("1.0.0", 0, False, "failed")]
    assert told(deleted) == [("1.0.0", 0, False, "gone")]
    assert told(set_back) == [("1.0.0", 0, False, "set back")]
    assert told(ranged_back) == [("1.0.0", 0, False, "set back"), ("0.9.0", 10, True, "")]


def test_an_image_that_fails_while_the_next_bump_waits_is_no_longer_proven() -> None:
    healthy = stage(EMPTY, "1.0.0", {"1.0.0": "Healthy"}, 0)

    waiting = stage(healthy, "1.1.0", {"1.0.0": "Healthy"}, 10)
    failed = stage(waiting, "1.1.0", {"1.0.0": "Failed"}, 20)

    assert told(waiting) == [("1.0.0", 0, True, "")]
    assert told(failed) == [("1.0.0", 0, False, "failed")]


def test_a_replaced_image_keeps_the_time_that_it_was_healthy() -> None:
    healthy = stage(EMPTY, "1.0.0", {"1.0.0": "Healthy"}, 0)

    replaced = stage(healthy, "1.1.0", {"1.1.0": "Progressing"}, 60)

    assert [(e.until, e.down, e.ended) for e in replaced.proven] == [(at(60), None, "")]


def test_a_policy_that_is_no_longer_followed_goes_on_proving_nothing() -> None:
    left = observe(GUARD, stage(EMPTY, "1.0.0", {"1.0.0": "Healthy"}, 0), [], [], at(10)).status

    assert told(left) == [("1.0.0", 0, False, "gone")]


# a tag and its digest are one value


def test_a_tag_that_moved_and_fails_is_taken_back_to_its_former_digest() -> None:
    old = running("1.0.0", "Healthy", digest="sha256:a")
    new = running("1.0.0", "Failed", digest="sha256:b")
    healthy = observe(GUARD, EMPTY, [chosen("1.0.0", "sha256:a")], [old], at(0)).status

    seen = observe(GUARD, healthy, [chosen("1.0.0", "sha256:b")], [new], at(10))

    (entry,) = seen.taken_back
    assert (entry.tag, entry.digest) == ("1.0.0", "sha256:b")
    assert (entry.previous_tag, entry.previous_digest) == ("1.0.0", "sha256:a")
    assert seen.troubles == ()


def test_a_tag_that_moves_under_what_runs_proves_no_image() -> None:
    healthy = observe(GUARD, EMPTY, [chosen("1.0.0", "sha256:a")], [running("1.0.0", "Healthy")], at(0)).status

    moved = observe(GUARD, healthy, [chosen("1.0.0", "sha256:b")], [running("1.0.0", "Healthy")], at(10)).status
    later = observe(GUARD, moved, [chosen("1.0.0", "sha256:b")], [running("1.0.0", "Healthy")], at(20)).status

    assert [e.digest for e in healthy.proven] == ["sha256:a"]
    assert later == moved
    assert [(e.digest, e.until is None) for e in moved.proven] == [("sha256:a", False), ("", True)]


def test_a_workload_that_others_update_says_nothing_of_a_policy() -> None:
    theirs = running("1.0.0", "Healthy")._replace(policies=frozenset({"other"}))

    assert observe(GUARD, EMPTY, [chosen("1.0.0")], [theirs], at(0)).status.proven == ()
