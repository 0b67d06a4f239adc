"""Laws of putting guards together, and of holding back what they do not let through."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_core.schema import read_manifest
from image_updater.api import (
    ImagePolicy,
    ImageRef,
    Reverted,
    UpdateGuard,
    UpdateWindow,
)
from image_updater.domain.files.sightings import Change, CommitPlan, Sighting
from image_updater.domain.guards.gates import (
    APPROVE,
    Gatekeeper,
    collect_groups,
    explain_group_holds,
    is_older,
    make_gates,
    regulate,
)
from image_updater.domain.guards.rules import Rules, collect_rules
from image_updater.domain.tags.policies import AlphabeticalPolicy, NumericalPolicy, SemVerPolicy

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=3)
SHUT = UpdateWindow(schedule="0 15 * * *", duration="1h")


def policy(name: str = "app", tag: str = "1.1.0", digest: str = "", **metadata: Any) -> ImagePolicy:
    return read_manifest(
        ImagePolicy,
        {
            "metadata": {"name": name, "namespace": "shop", **metadata},
            "spec": {"imageRepositoryRef": {"name": "app"}, "policy": {"semver": {"range": "*"}}},
            "status": {"latestRef": {"name": f"r.io/{name}", "tag": tag, "digest": digest}} if tag else {},
        },
    )


def guard(
    name: str = "guard", status: dict[str, Any] | None = None, namespace: str = "shop", **spec: Any
) -> UpdateGuard:
    manifest = {"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status or {}}
    return read_manifest(UpdateGuard, manifest)


def change(current: str, desired: str = "r.io/app:1.1.0", setter: str = "shop:app", file: str = "a.yaml") -> Change:
    return Change(file, setter, current, desired)


def hold(
    change: Change, *guards: UpdateGuard, of: ImagePolicy | None = None, reverted: tuple[Reverted, ...] = ()
) -> str:
    return Gatekeeper(make_gates([of or policy()], guards), NOW, reverted).hold(change)


durations = st.sampled_from([None, "0s", "1h", "24h", "99999999999h"])
some_guards = st.lists(
    st.builds(
        lambda number, age, platforms, shrink, down, suspend: guard(
            f"guard-{number}",
            platforms=platforms,
            allowDowngrade=down,
            suspend=suspend,
            **({"minAge": age} if age else {}),
            **({"maxShrink": shrink} if shrink is not None else {}),
        ),
        st.integers(0, 9),
        durations,
        st.lists(st.sampled_from(["linux/amd64", "linux/arm64"]), unique=True),
        st.sampled_from([None, 0, 20, 100]),
        st.booleans(),
        st.booleans(),
    ),
    max_size=3,
    unique_by=lambda each: each.metadata.name,
)


@settings(max_examples=50)
@given(some_guards, st.randoms(use_true_random=False))
def test_the_order_of_guards_is_irrelevant_and_each_one_only_adds(guards: list[UpdateGuard], random: Any) -> None:
    rules = collect_rules(policy(), guards)
    shuffled = list(guards)
    random.shuffle(shuffled)

    assert collect_rules(policy(), shuffled) == rules
    for one in guards:
        alone = collect_rules(policy(), [one])
        assert rules.min_age >= alone.min_age
        assert set(rules.platforms) >= set(alone.platforms)
        assert rules.allow_downgrade <= alone.allow_downgrade
        if alone.max_shrink is not None:
            assert rules.max_shrink is not None
            assert rules.max_shrink <= alone.max_shrink


def test_only_guards_that_select_the_policy_count() -> None:
    labelled = policy(labels={"tier": "1"})
    others = [
        guard("suspended", suspend=True, minAge="1h"),
        guard("elsewhere", namespace="other", minAge="1h"),
        guard("labels", policySelector={"matchLabels": {"tier": "2"}}, minAge="1h"),
    ]

    assert collect_rules(labelled, others) == Rules()
    assert collect_rules(labelled, [guard(policySelector={"matchLabels": {"tier": "1"}})]).guards == ("guard",)


def test_a_guard_that_cannot_be_read_is_a_fault_and_not_an_exception() -> None:
    bad = guard(
        minAge="1h",
        policySelector={"matchExpressions": [{"key": "a", "operator": "Near"}]},
    )
    worse = guard("worse", skips=[{"pattern": "("}], platforms=["amd64"])

    faults = collect_rules(policy(), [bad, worse]).faults

    assert [fault.partition(":")[0] for fault in faults] == [
        "UpdateGuard 'guard'",
        "UpdateGuard 'worse'",
        "UpdateGuard 'worse'",
    ]
    assert hold(change("r.io/app:1.0.0"), worse) == faults[1]


def test_without_guards_nothing_is_held() -> None:
    assert hold(change("r.io/app:9.9.9")) == ""
    assert hold(change("r.io/app:9.9.9"), guard(suspend=True)) == ""


def test_downgrades_are_held_unless_every_guard_allows_them() -> None:
    newer = change("r.io/app:1.2.0")

    assert hold(newer, guard()) == "1.1.0 is older than 1.2.0, and no guard allows a downgrade"
    assert hold(change("1.2.0", "1.1.0", "shop:app:tag"), guard()) != ""
    assert hold(newer, guard(allowDowngrade=True)) == ""
    assert hold(newer, guard(allowDowngrade=True), guard("other")) != ""
    for other in ("r.io/app:1.0.0", "r.io/app:latest", "r.io/app", "localhost:5000/app", "r.io/app@sha256:abc"):
        assert hold(change(other), guard()) == ""


def test_a_policy_compares_as_it_chooses() -> None:
    assert is_older("9", "10", NumericalPolicy(), None)
    assert is_older("10", "9", NumericalPolicy("desc"), None)
    assert is_older("10", "9", AlphabeticalPolicy(), None)
    assert is_older("9", "10", AlphabeticalPolicy("desc"), None)
    assert not is_older("1.0.0", "1.0.0", SemVerPolicy("*"), None)


def test_time_holds_a_bump_and_says_until_when() -> None:
    bump = change("r.io/app:1.0.0")
    frozen = guard("freeze", freezes=[{"end": LATER.isoformat(), "reason": "fair"}])

    assert hold(bump, guard(windows=[{"schedule": "0 15 * * *", "duration": "1h"}])) == (
        "no update window is open until 2026-03-10T15:00:00Z"
    )
    assert hold(bump, frozen) == "updates are frozen (fair) until 2026-03-10T15:00:00Z"
    assert hold(bump, guard(holds=[{"policy": "other"}])) == ""
    assert hold(bump, guard(holds=[{"until": NOW.isoformat()}])) == ""
    assert hold(bump, guard(holds=[{"until": LATER.isoformat(), "reason": "audit"}])) == (
        "updates are held until 2026-03-10T15:00:00Z: audit"
    )
    assert hold(bump, guard(windows=[{"schedule": "x", "duration": "1h"}])) == (
        "UpdateGuard 'guard': 'x' is not a cron expression of five fields"
    )
    keeper = Gatekeeper(make_gates([policy()], [frozen]), NOW)
    assert keeper.find_next_change() == LATER
    assert Gatekeeper(keeper.gates, LATER).hold(bump) == ""


def test_a_bump_waits_for_a_yes() -> None:
    bump, wanted = change("r.io/app:1.0.0"), guard(approvals={})

    assert hold(bump, wanted) == f"1.1.0 waits for approval: annotation {APPROVE}: 1.1.0 on the ImagePolicy"
    assert hold(bump, wanted, of=policy(annotations={APPROVE: "1.0.0"})) != ""
    assert hold(bump, wanted, of=policy(annotations={APPROVE: "1.1.0"})) == ""
    assert hold(bump, guard(approvals={"granted": [{"tag": "1.1.0", "policy": "other"}]})) != ""
    assert hold(bump, guard(approvals={"granted": [{"tag": "1.1.0"}]})) == ""
    exact = guard(approvals={"granted": [{"tag": "1.1.0", "digest": "sha256:a"}]})
    assert hold(bump, exact) != ""
    assert hold(bump, exact, of=policy(digest="sha256:a")) == ""
    assert hold(bump, guard(approvals={"required": False})) == ""


def test_a_value_that_a_person_set_back_stays_until_another_is_chosen() -> None:
    reverted = (Reverted(file="a.yaml", setter="shop:app", refused="r.io/app:1.1.0"),)
    bump = change("r.io/app:1.0.0")

    assert hold(bump, guard(), reverted=reverted).startswith("somebody set it back from r.io/app:1.1.0")
    assert hold(bump._replace(new="r.io/app:1.2.0"), guard(), reverted=reverted) == ""
    assert hold(bump._replace(file="b.yaml"), guard(), reverted=reverted) == ""
    assert hold(bump, guard(allowReverted=True), reverted=reverted) == ""
    assert hold(bump, reverted=reverted) == ""


def test_a_pin_asks_for_a_downgrade() -> None:
    back = change("r.io/app:1.2.0")

    assert hold(back, guard()) == "1.1.0 is older than 1.2.0, and no guard allows a downgrade"
    assert hold(back, guard(pins=[{"tag": "1.1.0"}])) == ""
    assert hold(back, guard(pins=[{"tag": "1.1.0", "until": NOW.isoformat()}])) != ""
    assert hold(back, guard(pins=[{"tag": "1.1.0", "policy": "other"}])) != ""
    assert hold(back, guard(pins=[{"tag": "1.1.0"}], holds=[{}])) == "updates are held"


def test_a_quarantined_image_is_taken_back_through_closed_gates() -> None:
    record = {"policy": "app", "tag": "1.2.0", "since": "2026-01-01T00:00:00Z", "reason": "it crashed"}
    shut = guard(status={"quarantine": [record]}, freezes=[{}], approvals={}, holds=[{}])

    assert hold(change("r.io/app:1.2.0"), shut) == ""
    assert hold(change("1.2.0", "1.1.0", "shop:app:tag"), shut) == ""
    assert hold(change("r.io/app:1.0.0"), shut) != ""


def test_an_image_that_never_ran_before_a_quarantined_one_is_no_way_back() -> None:
    """The policy chose it before it heard of the quarantine."""
    record = {"policy": "app", "tag": "1.2.0", "since": "2026-01-01T00:00:00Z", "reason": "it crashed"}
    known = {**record, "previousTag": "1.0.0", "previousDigest": "sha256:good"}
    open_, shut = guard(status={"quarantine": [known]}), guard(status={"quarantine": [known]}, holds=[{}])

    assert hold(change("r.io/app:1.2.0"), shut) == "1.1.0 is older than 1.2.0, and no guard allows a downgrade"
    assert hold(change("r.io/app:1.2.0"), open_) == "1.1.0 is older than 1.2.0, and no guard allows a downgrade"
    assert hold(change("r.io/app:1.2.0", "r.io/app:1.0.0"), shut, of=policy(tag="1.0.0")) == ""
    other = policy(tag="1.0.0", digest="sha256:other")
    assert hold(change("r.io/app:1.2.0", "r.io/app:1.0.0@sha256:other"), shut, of=other) != ""


def test_a_moved_tag_is_taken_back_by_its_digest_through_closed_gates() -> None:
    bad, good = f"sha256:{'b' * 64}", f"sha256:{'a' * 64}"
    record = {"policy": "app", "tag": "1.1.0", "digest": bad, "since": "2026-01-01T00:00:00Z", "reason": "it crashed"}
    shut, chosen = guard(status={"quarantine": [record]}, holds=[{}]), policy(tag="1.1.0", digest=good)

    assert hold(change(f"r.io/app:1.1.0@{bad}", f"r.io/app:1.1.0@{good}"), shut, of=chosen) == ""
    assert hold(change(bad, good, "shop:app:digest"), shut, of=chosen) == ""
    assert hold(change(f"r.io/app:1.1.0@sha256:{'c' * 64}", f"r.io/app:1.1.0@{good}"), shut, of=chosen) != ""


def test_a_tag_that_came_back_as_another_image_is_not_the_quarantined_one() -> None:
    record = {"policy": "app", "tag": "1.2.0", "digest": "sha256:bad", "since": "2026-01-01T00:00:00Z", "reason": "x"}
    shut, status = guard(status={"quarantine": [record]}, holds=[{}]), policy().status
    again = ImageRef(name="r.io/app", tag="1.2.0", digest="sha256:other")
    chosen = msgspec.structs.replace(policy(), status=msgspec.structs.replace(status, observed_previous_ref=again))

    assert hold(change("r.io/app:1.2.0"), shut) == ""
    assert hold(change("r.io/app:1.2.0"), shut, of=chosen).startswith("1.1.0 is older than 1.2.0")


def test_an_image_of_a_quarantined_tag_is_taken_back_only_if_it_is_that_image() -> None:
    record = {"policy": "app", "tag": "1.2.0", "since": "2026-01-01T00:00:00Z", "reason": "it crashed"}
    shut = guard(status={"quarantine": [{**record, "digest": "sha256:bad"}]}, holds=[{}])

    assert hold(change("r.io/app:1.2.0@sha256:bad"), shut) == ""
    assert hold(change("r.io/app:1.2.0"), shut) == ""  # it may be that one
    assert hold(change("r.io/app:1.2.0@sha256:good"), shut) != ""


def test_from_a_quarantined_image_to_a_newer_one_is_a_bump_like_any_other() -> None:
    record = {"policy": "app", "tag": "1.0.0", "since": "2026-01-01T00:00:00Z", "reason": "it crashed"}
    failed = {"quarantine": [record]}

    assert hold(change("r.io/app:1.0.0"), guard(status=failed)) == ""
    assert hold(change("r.io/app:1.0.0"), guard(status=failed, holds=[{}])) == "updates are held"
    assert hold(change("r.io/app:1.0.0"), guard(status=failed, approvals={})).startswith("1.1.0 waits for approval")


# groups


def world(*states: tuple[str, str, str]) -> Callable[[Callable[[Change], str]], CommitPlan]:
    """A planner of places: setter, current and desired tag."""

    def plan(hold: Callable[[Change], str]) -> CommitPlan:
        seen = []
        for number, (setter, current, desired) in enumerate(states):
            file = f"{number}.yaml"
            cause = hold(Change(file, setter, current, desired)) if current != desired else ""
            state = "applied" if current == desired else "held" if cause else "pending"
            seen.append(Sighting(file, 1, setter, current, desired, state, cause))  # type: ignore[arg-type]
        return CommitPlan({}, (), tuple(seen))

    return plan


def named(*names: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "n", "operator": "In", "values": list(names)}]}


places = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["1.0.0", "1.1.0", "1.2.0"])), min_size=1, max_size=8
)


@settings(max_examples=50)
@given(places, st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1.1.0", "1.0.0"]), min_size=4), st.booleans())
def test_a_group_moves_together_or_not_at_all(
    placed: list[tuple[str, str]], chosen: dict[str, str], same_tag: bool
) -> None:
    guards = [
        guard("one", group={"sameTag": same_tag}, policySelector=named("a", "b")),
        guard("two", group={}, policySelector=named("b", "c")),
        guard("all"),
    ]
    policies = [policy(name, tag, labels={"n": name}) for name, tag in chosen.items()]
    keeper = Gatekeeper(make_gates(policies, guards), NOW)
    plan = world(*((f"shop:{name}:tag", current, chosen[name]) for name, current in placed))

    settled = regulate(keeper, plan)

    moved = {s.setter.split(":")[1] for s in settled.sightings if s.state == "pending"}
    stuck = {s.setter.split(":")[1]: s.cause for s in settled.sightings if s.state == "held"}
    for group in ({"a", "b"}, {"b", "c"}):
        assert not (moved & group and stuck.keys() & group)
    if same_tag and chosen["a"] != chosen["b"]:
        assert not moved & {"a", "b"}
    assert all(stuck.values())


def test_the_cause_names_the_member_that_does_not_move() -> None:
    together = guard(group={})
    policies = [policy("app"), policy("web", "2.0.0")]
    keeper = Gatekeeper(make_gates(policies, [together]), NOW)
    plan = regulate(keeper, world(("shop:app:tag", "1.0.0", "1.1.0"), ("shop:web:tag", "3.0.0", "2.0.0")))

    assert [(s.state, s.cause) for s in plan.sightings] == [
        (
            "held",
            "group 'guard' moves together, and shop:web does not: "
            "2.0.0 is older than 3.0.0, and no guard allows a downgrade",
        ),
        ("held", "2.0.0 is older than 3.0.0, and no guard allows a downgrade"),
    ]


def test_a_group_of_one_tag_waits_until_all_chose_it() -> None:
    gates = make_gates([policy("app", "1.1.0"), policy("web", "1.0.0")], [guard(group={"sameTag": True})])

    held = explain_group_holds((), collect_groups(gates))

    cause = "group 'guard' moves to one tag, and its policies chose shop:app 1.1.0, shop:web 1.0.0"
    assert held == {"shop:app": cause, "shop:web": cause}


def test_thousands_of_places_behind_one_window_ask_its_schedule_once() -> None:
    rare = [{"schedule": f"0 0 29 2 {day}", "duration": "1h", "timeZone": "Europe/Berlin"} for day in range(7)]
    keeper = Gatekeeper(make_gates([policy()], [guard(windows=rare)]), NOW)
    began = time.thread_time()

    held = {keeper.hold(change("r.io/app:1.0.0", file=f"f{n}.yaml")) for n in range(20_000)}

    assert len(held) == 1
    assert "no update window" in held.pop()
    assert time.thread_time() - began < 10  # it was minutes
