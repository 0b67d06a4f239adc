"""Laws of deciding under guards: what must never be chosen is not, and every tag is accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.meta import ObjectKey
from image_updater.api import Pin, Proven, Quarantined, Skip
from image_updater.domain.guards.explaining import explain_tags
from image_updater.domain.guards.rules import Promotion, Rules
from image_updater.domain.guards.verdicts import MOST_LOOKED_AT, Chosen, Facts, Need, Nothing, Request, decide
from image_updater.domain.tags.filters import TagFilter
from image_updater.domain.tags.history import SeenTag
from image_updater.domain.tags.listings import Listing
from image_updater.domain.tags.policies import (
    AlphabeticalPolicy,
    NumericalPolicy,
    Policy,
    SemVerPolicy,
    make_sort_key,
    select_latest,
)
from image_updater.errors import NoTagQualifies

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
STAGE = ObjectKey("stage", "app")

TAGS = [f"1.{minor}.{patch}" for minor in range(4) for patch in range(2)] + ["2.0.0", "1.4.0-rc.1", "latest", "7", "12"]
DIGESTS = {tag: f"sha256:{tag}" for tag in TAGS}

tags = st.lists(st.sampled_from(TAGS), unique=True, max_size=10)
policies: st.SearchStrategy[Policy] = st.sampled_from(
    [SemVerPolicy("^1"), SemVerPolicy(">=1.0.0-0"), AlphabeticalPolicy(), AlphabeticalPolicy("desc"), NumericalPolicy()]
)
filters = st.sampled_from([None, TagFilter(r"^1\.([0-9]+)\.[0-9]+$", "$1"), TagFilter("^[0-9.]+$")])
ages = st.dictionaries(st.sampled_from(TAGS), st.integers(0, 48), max_size=len(TAGS))
a_tag = st.sampled_from(TAGS)
quarantines = st.lists(
    st.builds(
        lambda tag, digest, previous: Quarantined(
            policy="app",
            tag=tag,
            digest=f"sha256:{tag}" if digest else "",
            since=NOW,
            reason="it crashed",
            previous_tag=previous,
        ),
        a_tag,
        st.booleans(),
        st.one_of(st.just(""), a_tag),
    ),
    max_size=2,
).map(tuple)
rules = st.builds(
    Rules,
    guards=st.just(("guard",)),
    min_age=st.sampled_from([0.0, 86400.0]),
    platforms=st.sampled_from([(), ("linux/arm64",)]),
    verify=st.sampled_from([(), ("keys",)]),
    pins=st.one_of(st.just(()), st.tuples(st.builds(Pin, tag=a_tag))),
    skips=st.one_of(st.just(()), st.tuples(st.builds(Skip, tag=a_tag)), st.just((Skip(pattern=r"^1\.3"),))),
    promotions=st.sampled_from([(), (Promotion("guard", STAGE, 3600.0),)]),
    quarantine=quarantines,
)
KINDS: list[dict[str, Any]] = [{}, {}, {"digest": ""}, {"digest": "sha256:other"}, {"down": NOW}]
KINDS += [{"until": NOW, "ended": ended} for ended in ("", "failed", "gone", "set back")]
runs = st.sampled_from(
    [
        Proven(policy="app", tag=tag, since=NOW - hours * HOUR, **{"digest": DIGESTS.get(tag, ""), **kind})
        for tag in TAGS
        for hours in (0, 3)
        for kind in KINDS
    ]
)
proven = st.lists(runs, max_size=3).map(tuple)
requests = st.builds(
    lambda listed, ages, proven, **rest: Request(
        listing=Listing(listed, [r"^1\.2"]),
        now=NOW,
        seen={tag: SeenTag(tag, NOW - hours * HOUR) for tag, hours in ages.items()},
        proven={STAGE: proven},
        **rest,
    ),
    tags,
    ages,
    proven,
    policy=policies,
    tag_filter=filters,
    rules=rules,
    skip_unparsable=st.just(True),
    digest=st.booleans(),
)
a_platform = st.sampled_from([("linux/amd64",), ("linux/arm64",)])
a_signature = st.sampled_from(["", "not signed"])
worlds = st.fixed_dictionaries(
    {},
    optional={
        tag: st.builds(Facts, digest=st.just(digest), platforms=a_platform, unsigned=a_signature)
        for tag, digest in DIGESTS.items()
    },
)


def settled(request: Request, world: Mapping[str, Facts]) -> tuple[Chosen | Nothing, Request]:
    """The decision once `world` answered every question (what is not in it is good), and the last request."""
    for _ in range(200):
        found = decide(request)
        if not isinstance(found, Need):
            return found, request
        good = Facts(digest=DIGESTS.get(found.tag, ""), platforms=("linux/arm64",), unsigned="")
        truth, known = world.get(found.tag, good), request.facts.get(found.tag, Facts())
        answers: dict[str, dict[str, Any]] = {
            "digest": {"digest": truth.digest},
            "platforms": {"platforms": truth.platforms},
            "signature": {"unsigned": truth.unsigned},
        }
        asked = answers[found.what]
        assert replace(known, **asked) != known, "what was answered is asked again"
        request = replace(request, facts={**request.facts, found.tag: replace(known, **asked)})
    raise AssertionError("it never ends")


@given(requests, worlds)
def test_no_rule_forbids_the_tag_that_is_chosen(request: Request, world: Mapping[str, Facts]) -> None:
    found, asked = settled(request, world)

    rules = request.rules
    if not isinstance(found, Chosen):
        return
    if found.how == "taken back":
        assert any(
            (entry.previous_tag, entry.previous_digest) == (found.tag, found.digest) for entry in rules.quarantine
        )
        assert not any(e.tag == found.tag and e.digest in ("", found.digest) for e in rules.quarantine)
        return
    facts = asked.facts.get(found.tag, Facts())
    assert found.tag in request.listing.tags
    assert not found.tag.startswith("1.2")
    assert not any(skip.tag == found.tag for skip in rules.skips)
    assert all(pin.tag == found.tag for pin in rules.pins)
    assert not any(e.tag == found.tag and e.digest in ("", facts.digest) for e in rules.quarantine)
    if rules.min_age:
        assert NOW - request.seen[found.tag].since >= 24 * HOUR
    if rules.platforms:
        assert facts.platforms == ("linux/arm64",)
    if rules.verify:
        assert facts.unsigned == ""
    if rules.promotions:
        known = request.proven[STAGE]
        assert not isinstance(known, str)
        whole = [entry for entry in known if not entry.ended and entry.down is None and NOW - entry.since >= HOUR]
        assert any((entry.tag, entry.digest) == (found.tag, facts.digest) and facts.digest for entry in whole)
    if (request.digest or rules.watches_digests) and found.tag in DIGESTS:
        assert found.digest == DIGESTS[found.tag]


@given(requests, worlds)
def test_nothing_that_is_not_newer_than_a_quarantined_tag_goes_out_by_itself(
    request: Request, world: Mapping[str, Facts]
) -> None:
    found, _ = settled(replace(request, tag_filter=None), world)

    if isinstance(found, Chosen) and found.how == "chosen":
        mine = make_sort_key(found.tag, request.policy)
        for entry in request.rules.quarantine:
            floor = make_sort_key(entry.tag, request.policy)
            assert floor is None or mine is None or mine > floor or entry.tag == found.tag


@given(requests, worlds)
def test_every_tag_gets_one_verdict_and_they_agree_with_the_decision(
    request: Request, world: Mapping[str, Facts]
) -> None:
    found, asked = settled(request, world)

    said = explain_tags(asked)

    listed = list(request.listing.listed)
    beside = [found.tag] if isinstance(found, Chosen) and found.tag not in listed else []
    assert sorted(verdict.tag for verdict in said) == sorted([*beside, *listed])
    chosen = [verdict.tag for verdict in said if verdict.kind in ("chosen", "pinned", "taken back")]
    assert chosen == ([found.tag] if isinstance(found, Chosen) else [])
    assert all(verdict.text for verdict in said)
    assert {passed.tag: passed.kind for passed in found.passed}.items() <= {v.tag: v.kind for v in said}.items()


@given(requests, worlds, st.randoms(use_true_random=False))
def test_the_order_of_the_listing_is_irrelevant(request: Request, world: Mapping[str, Facts], random: Any) -> None:
    shuffled = list(request.listing.listed)
    random.shuffle(shuffled)

    again = replace(request, listing=Listing(shuffled, request.listing.exclusions))

    assert settled(again, world)[0] == settled(request, world)[0]


@given(tags, policies, filters)
def test_without_guards_it_is_the_policy_alone(listed: list[str], policy: Policy, tag_filter: TagFilter | None) -> None:
    found = decide(Request(policy, Listing(listed), NOW, tag_filter))

    try:
        expected: object = Chosen(select_latest(listed, policy, tag_filter), "", "chosen")
    except NoTagQualifies as error:
        expected = Nothing(str(error))
    assert found == expected


@given(requests, worlds, st.integers(0, 100))
def test_a_tag_chosen_by_age_stays_old_enough(request: Request, world: Mapping[str, Facts], hours: int) -> None:
    """Time makes tags eligible, never the reverse."""
    aged = replace(request, rules=Rules(guards=("guard",), min_age=86400.0))
    order = {tag: n for n, tag in enumerate(v.tag for v in explain_tags(replace(aged, rules=Rules())))}

    now, _ = settled(aged, {})
    later, _ = settled(replace(aged, now=NOW + hours * HOUR), {})

    if isinstance(now, Chosen):
        assert isinstance(later, Chosen)
        assert order[later.tag] <= order[now.tag]


def request_of(*listed: str, policy: Policy = SemVerPolicy("*"), **rules: Any) -> Request:  # noqa: B008  # a value
    return Request(policy, Listing(listed), NOW, rules=Rules(guards=("guard",), **rules))


def quarantined(tag: str, previous: str = "", digest: str = "") -> Quarantined:
    return Quarantined(policy="app", tag=tag, digest=digest, since=NOW, reason="it crashed", previous_tag=previous)


def told(request: Request) -> dict[str, str]:
    return {verdict.tag: verdict.text for verdict in explain_tags(request)}


def test_a_young_tag_is_passed_over_until_it_is_old_enough() -> None:
    seen = {
        "1.0.0": SeenTag("1.0.0", NOW - 30 * HOUR, "sha256:1"),
        "1.1.0": SeenTag("1.1.0", NOW - 2.5 * HOUR, "sha256:2"),
    }
    request = replace(request_of("1.0.0", "1.1.0", min_age=86400.0), seen=seen)

    found, _ = settled(request, {})

    assert isinstance(found, Chosen)
    assert found.tag == "1.0.0"
    assert list(map(str, found.passed)) == ["1.1.0 is too young (needs 24h, has 2h30m)"]
    assert found.again == NOW + 21.5 * HOUR


def test_a_young_tag_is_looked_up_once_so_that_it_cannot_be_moved_unseen() -> None:
    request = replace(request_of("1.1.0", min_age=86400.0), seen={"1.1.0": SeenTag("1.1.0", NOW)})

    assert decide(request) == Need("1.1.0", "digest")
    assert isinstance(decide(replace(request, facts={"1.1.0": Facts("sha256:2")})), Nothing)


def test_a_tag_that_names_another_image_is_young_again() -> None:
    seen = {tag: SeenTag(tag, NOW - 48 * HOUR, "sha256:old") for tag in ("1.0.0", "1.1.0")}
    request = replace(request_of("1.0.0", "1.1.0", min_age=86400.0), seen=seen)

    moved = replace(request, facts={"1.1.0": Facts("sha256:new", moved=True), "1.0.0": Facts("sha256:old")})

    found = decide(moved)
    assert isinstance(found, Chosen)
    assert found.tag == "1.0.0"
    assert found.passed[0].text == "is too young (needs 24h, has 0s)"


def test_a_quarantined_image_is_taken_back_even_to_a_tag_that_is_gone() -> None:
    found, asked = settled(request_of("1.1.0", "1.2.0", "1.3.0", quarantine=(quarantined("1.3.0", "1.0.0"),)), {})

    assert found == Chosen("1.0.0", "", "taken back", found.passed)
    assert told(asked) == {
        "1.0.0": "is taken back to: what came after it is quarantined",
        "1.3.0": "is quarantined: it crashed",
        "1.2.0": "is not newer than 1.3.0, which is quarantined",
        "1.1.0": "is not newer than 1.3.0, which is quarantined",
    }


def test_the_next_tag_goes_out_and_so_does_a_new_image_of_the_same_tag() -> None:
    entry = quarantined("1.2.0", "1.1.0", digest="sha256:bad")

    newer, _ = settled(request_of("1.1.0", "1.2.0", "1.3.0", quarantine=(entry,)), {})
    same, _ = settled(request_of("1.1.0", "1.2.0", quarantine=(entry,)), {})
    bad, _ = settled(request_of("1.1.0", "1.2.0", quarantine=(entry,)), {"1.2.0": Facts("sha256:bad")})

    assert [found.tag for found in (newer, same, bad) if isinstance(found, Chosen)] == ["1.3.0", "1.2.0", "1.1.0"]


def test_a_failed_image_of_a_tag_that_is_not_compared_is_not_taken_back_to() -> None:
    uncompared = quarantined("latest", "0.9.0")

    found, _ = settled(request_of("1.1.0", quarantine=(uncompared, quarantined("1.1.0", "latest"))), {})
    none, _ = settled(request_of("1.1.0", quarantine=(quarantined("latest"), quarantined("1.1.0", "latest"))), {})

    assert isinstance(found, Chosen)
    assert (found.tag, found.how) == ("0.9.0", "taken back")
    assert isinstance(none, Nothing)
    assert none.message == "1.1.0 is quarantined (it crashed), and no good image before it is known"


def test_an_image_that_failed_before_is_not_taken_back_to() -> None:
    chain = (quarantined("1.1.0", "1.0.0"), quarantined("1.2.0", "1.1.0"))
    circle = (quarantined("1.1.0", "1.2.0"), quarantined("1.2.0", "1.1.0"))

    found, _ = settled(request_of("1.1.0", "1.2.0", quarantine=chain), {})
    lost, _ = settled(request_of("1.1.0", "1.2.0", quarantine=circle), {})

    assert isinstance(found, Chosen)
    assert found.tag == "1.0.0"
    assert isinstance(lost, Nothing)
    assert lost.message == "1.2.0 is quarantined (it crashed), and no good image before it is known"


def test_a_person_may_pin_an_older_tag_than_the_quarantined_one() -> None:
    rules: dict[str, Any] = {"pins": (Pin(tag="1.0.0"),), "quarantine": (quarantined("1.2.0", "1.1.0"),)}

    found, asked = settled(request_of("1.0.0", "1.1.0", "1.2.0", **rules), {})

    assert isinstance(found, Chosen)
    assert (found.tag, found.how) == ("1.0.0", "pinned")
    assert told(asked)["1.1.0"] == "is not the pinned 1.0.0"


def test_two_pins_that_disagree_choose_nothing() -> None:
    found = decide(request_of("1.0.0", "1.1.0", pins=(Pin(tag="1.0.0"), Pin(tag="1.1.0"))))

    assert found == Nothing("pinned to 1.0.0 and to 1.1.0: there is no tag that is both")


def stage_ran(*tags: str, **proven: Proven) -> Request:
    """Production's request, which knows the digest of every tag; the records are by their names in order."""
    rules: dict[str, Any] = {"promotions": (Promotion("guard", STAGE, 3600.0),)}
    facts = {tag: Facts(digest=f"sha256:{tag}") for tag in tags}
    return replace(request_of(*tags, **rules), proven={STAGE: tuple(proven.values())}, facts=facts)


def ran(tag: str, hours: float, **more: Any) -> Proven:
    return Proven(policy="app", tag=tag, since=NOW - hours * HOUR, **{"digest": f"sha256:{tag}", **more})


def test_an_image_that_stage_has_proven_long_enough_is_promoted() -> None:
    request = stage_ran(
        "1.0.0",
        "1.1.0",
        "1.2.0",
        "1.3.0",
        first=ran("1.0.0", 9, until=NOW - 6 * HOUR),
        second=ran("1.1.0", 6, until=NOW - 5.5 * HOUR),
        third=ran("1.2.0", 0.5),
    )

    found = decide(request)

    assert isinstance(found, Chosen)
    assert (found.tag, found.again) == ("1.0.0", NOW + 0.5 * HOUR)
    assert told(request) == {
        "1.3.0": "is not promoted: ImagePolicy stage/app was not seen healthy with it",
        "1.2.0": "is not promoted: healthy with ImagePolicy stage/app for 30m, needs 1h",
        "1.1.0": "is not promoted: healthy with ImagePolicy stage/app for 30m, needs 1h",
        "1.0.0": "is chosen with digest sha256:1.0.0",
    }


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"down": NOW - 0.1 * HOUR}, "with ImagePolicy stage/app it is not healthy now"),
        ({"until": NOW, "ended": "failed"}, "with ImagePolicy stage/app it is failed"),
        ({"until": NOW, "ended": "gone"}, "with ImagePolicy stage/app it is gone"),
        ({"until": NOW, "ended": "set back"}, "with ImagePolicy stage/app it is set back"),
        ({"digest": "sha256:other"}, "ImagePolicy stage/app ran another image of that tag"),
        ({"digest": ""}, "ImagePolicy stage/app ran an image that is not known"),
    ],
)
def test_an_image_that_stage_does_not_run_well_or_never_ran_is_not_promoted(more: dict[str, Any], cause: str) -> None:
    request = stage_ran("1.0.0", first=ran("1.0.0", 9, **more))

    assert isinstance(decide(request), Nothing)
    assert told(request) == {"1.0.0": f"is not promoted: {cause}"}


def test_a_tag_that_came_back_as_another_image_is_not_taken_back_to() -> None:
    entry = msgspec.structs.replace(quarantined("1.1.0", "1.0.0", "sha256:bad"), previous_digest="sha256:good")
    request = request_of("1.0.0", "1.1.0", quarantine=(entry,))

    same, _ = settled(request, {"1.0.0": Facts("sha256:good"), "1.1.0": Facts("sha256:bad")})
    other, _ = settled(request, {"1.0.0": Facts("sha256:new"), "1.1.0": Facts("sha256:bad")})
    named, _ = settled(replace(request, digest=True), {"1.0.0": Facts("sha256:new"), "1.1.0": Facts("sha256:bad")})

    assert isinstance(same, Chosen)
    assert (same.tag, same.how) == ("1.0.0", "taken back")
    assert isinstance(other, Nothing)
    assert "tag 1.0.0 names another image than the one that ran before it (sha256:good)" in other.message
    assert isinstance(named, Chosen)
    assert (named.tag, named.digest) == ("1.0.0", "sha256:good")


def test_a_moved_tag_is_taken_back_by_its_digest() -> None:
    entry = msgspec.structs.replace(quarantined("1.1.0", "1.1.0", "sha256:bad"), previous_digest="sha256:good")
    request = replace(request_of("1.0.0", "1.1.0", quarantine=(entry,)), digest=True)

    found, _ = settled(request, {"1.1.0": Facts("sha256:bad")})

    assert isinstance(found, Chosen)
    assert (found.tag, found.digest, found.how) == ("1.1.0", "sha256:good", "taken back")


def test_a_registry_is_not_asked_about_every_tag() -> None:
    world = {f"1.0.{n}": Facts(f"sha256:{n}", unsigned="not signed") for n in range(500)}

    found, asked = settled(request_of(*world, verify=("keys",)), world)

    assert isinstance(found, Nothing)
    assert found.message.startswith(f"no candidate qualifies among the best {MOST_LOOKED_AT}: 1.0.499 is not signed")
    assert len(asked.facts) == MOST_LOOKED_AT


@pytest.mark.parametrize(
    ("policy", "tag_filter", "expected"),
    [
        (
            SemVerPolicy("^1"),
            None,
            {
                "1.0.0": "is lower than 1.3.0",
                "1.3.0": "is chosen",
                "1.4.0-rc.1": "is a prerelease, which range '^1' does not allow",
                "2.0.0": "is out of range '^1'",
                "latest": "is no version of three parts",
                "1.2.0": "is excluded by pattern '^1.2'",
            },
        ),
        (
            NumericalPolicy(),
            None,
            dict.fromkeys(("1.0.0", "1.3.0", "1.4.0-rc.1", "2.0.0", "latest"), "is no number")
            | {"1.2.0": "is excluded by pattern '^1.2'"},
        ),
        (
            NumericalPolicy(),
            TagFilter(r"^1\.([0-9]+)\.0$", "$1"),
            {
                "1.0.0": "is lower than 1.3.0",
                "1.3.0": "is chosen",
                "1.4.0-rc.1": r"does not match filterTags.pattern '^1\\.([0-9]+)\\.0$'",
                "2.0.0": r"does not match filterTags.pattern '^1\\.([0-9]+)\\.0$'",
                "latest": r"does not match filterTags.pattern '^1\\.([0-9]+)\\.0$'",
                "1.2.0": "is excluded by pattern '^1.2'",
            },
        ),
    ],
)
def test_each_tag_has_a_verdict_of_the_policy_alone(
    policy: Policy, tag_filter: TagFilter | None, expected: dict[str, str]
) -> None:
    listing = Listing(["1.0.0", "1.3.0", "1.2.0", "1.4.0-rc.1", "2.0.0", "latest"], ["^1.2"])

    assert told(Request(policy, listing, NOW, tag_filter)) == expected


def test_a_pin_is_chosen_beside_a_quarantine_whatever_the_policy_can_compare() -> None:
    """What an alphabetical policy compares is any text, also one that a pin does not have."""
    rules: dict[str, Any] = {"pins": (Pin(tag="a"),), "quarantine": (quarantined("c", "b"),)}
    request = replace(request_of("a", "b", "c", **rules), policy=AlphabeticalPolicy())

    found, asked = settled(request, {tag: Facts(f"sha256:{tag}") for tag in "abc"})

    assert isinstance(found, Chosen)
    assert (found.tag, found.how) == ("a", "pinned")
    assert [told(asked)[tag] for tag in "bc"] == ["is not the pinned a"] * 2


@pytest.mark.parametrize(("seconds", "expected"), [(0, "1.1.0"), (1, "1.0.0")])
def test_a_tag_is_old_enough_at_the_very_moment_it_has_the_age(seconds: int, expected: str) -> None:
    day, late = timedelta(days=1), timedelta(seconds=seconds)
    seen = {
        "1.0.0": SeenTag("1.0.0", NOW - 9 * day, "sha256:0"),
        "1.1.0": SeenTag("1.1.0", NOW - day + late, "sha256:1"),
    }
    request = replace(request_of("1.0.0", "1.1.0", min_age=day.total_seconds()), seen=seen)

    found, _ = settled(request, {"1.0.0": Facts("sha256:0"), "1.1.0": Facts("sha256:1")})

    assert isinstance(found, Chosen)
    assert (found.tag, found.again) == (expected, NOW + late if seconds else None)
