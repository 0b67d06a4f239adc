"""What automations hold back, and how they tell: guards, targets, people's reverts, files that cannot be read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gitops_core.meta import ObjectKey, ObjectRef, write_timestamp
from image_updater.api import ImagePolicy, ImageRef, ImageUpdateAutomation, UpdateGuard
from image_updater.domain.files.inventory import (
    Step,
    count_states,
    find_refused_values,
    find_set_back,
    find_settled_images,
    keep_set_back,
    mark_applied,
    report_unsettled,
    write_line,
)
from image_updater.domain.files.sightings import Sighting, State
from tests.image_updater.test_automation_branches import bumped
from tests.image_updater.test_automations import begun
from tests.image_updater.world import IMAGE, World, image_line, is_ready
from tests.simulation.loop import in_virtual_time, virtually


def is_held(manifest: Any) -> bool:
    return bool(manifest["status"].get("markers", {}).get("held"))


async def committed(world: World, line: str) -> float:
    """Seconds until the file says `line`."""
    before = world.clock.monotonic()
    while (await world.head())["app/web.yaml"] != line:
        assert world.clock.monotonic() < before + 7200
        await world.clock.sleep(0.1)
    return world.clock.monotonic() - before


@in_virtual_time
async def test_a_held_bump_is_told_and_made_when_the_hold_ends() -> None:
    world = World()
    async with world.running():
        until = world.clock.now() + timedelta(minutes=2)
        await world.put(UpdateGuard, "guard", holds=[{"until": write_timestamp(until), "reason": "demo day"}])
        held = await begun(world, interval="1h")
        head = await world.head()
        took = await committed(world, image_line("1.1.0"))
        done = await world.until(
            ImageUpdateAutomation, "fleet", lambda o: "app" in o["status"].get("observedPolicies", {})
        )

    assert head["app/web.yaml"] == image_line("1.0.0")
    assert is_ready(held)
    ready = next(condition for condition in held["status"]["conditions"] if condition["type"] == "Ready")
    assert ready["message"].startswith("repository up-to-date; 1 held: ")
    assert held["status"]["markers"] == {"held": 1}
    (report,) = held["status"]["unsettled"]
    assert (report["file"], report["line"], report["setter"]) == ("app/web.yaml", 1, "default:app")
    assert (report["current"], report["desired"]) == (f"{IMAGE}:1.0.0", f"{IMAGE}:1.1.0")
    assert report["cause"].endswith(": demo day")
    assert held["status"].get("observedPolicies", {}) == {}
    assert 60 < took < 180
    assert done["status"]["markers"] == {"applied": 1}
    assert "unsettled" not in done["status"]


@in_virtual_time
async def test_a_guard_that_lets_go_is_noticed_at_once() -> None:
    world = World()
    async with world.running():
        await world.put(UpdateGuard, "guard", holds=[{"reason": "demo day"}])
        await begun(world, interval="1h")
        await world.put(UpdateGuard, "guard", holds=[])
        result = await committed(world, image_line("1.1.0"))
    assert result < 5


@in_virtual_time
async def test_a_group_waits_for_a_member_that_chose_nothing_yet() -> None:
    world = World()
    async with world.running():
        await world.put(UpdateGuard, "guard", group={})
        await world.policy("other", range_=">=2.0", imageRepositoryRef={"name": "app"})
        held, head = await begun(world), await world.head()
        await bumped(world, "2.0.0")

    assert head["app/web.yaml"] == image_line("1.0.0")
    assert "default:other chose nothing" in held["status"]["unsettled"][0]["cause"]


@in_virtual_time
async def test_a_revert_during_a_hold_is_left_alone_when_the_hold_ends() -> None:
    world = World()
    async with world.running():
        await world.put(UpdateGuard, "guard")
        await begun(world)
        await world.put(UpdateGuard, "guard", holds=[{"reason": "demo day"}])
        await world.repository.commit({"app/web.yaml": image_line("1.0.0").encode()})
        await world.until(ImageUpdateAutomation, "fleet", is_held)
        await world.put(UpdateGuard, "guard", holds=[])
        await world.clock.sleep(30 * 60)
        head, automation = await world.head(), await world.get(ImageUpdateAutomation, "fleet")

    assert head["app/web.yaml"] == image_line("1.0.0")
    assert "somebody set it back" in automation["status"]["unsettled"][0]["cause"]


@in_virtual_time
async def test_a_persons_revert_is_a_pin_until_a_newer_tag() -> None:
    world = World()
    async with world.running():
        await world.put(UpdateGuard, "guard")
        await begun(world)
        await world.repository.commit({"app/web.yaml": image_line("1.0.0").encode()})
        held = await world.until(ImageUpdateAutomation, "fleet", is_held)
        await world.clock.sleep(30 * 60)
        kept = await world.head()
        still = await world.get(ImageUpdateAutomation, "fleet")
        newer = await bumped(world, "1.2.0")
        head = await world.head()

    assert held["status"]["reverted"] == [
        {"file": "app/web.yaml", "setter": "default:app", "refused": f"{IMAGE}:1.1.0"}
    ]
    assert kept["app/web.yaml"] == image_line("1.0.0")
    assert still["status"]["reverted"] == held["status"]["reverted"]
    assert "set it back" in still["status"]["unsettled"][0]["cause"]
    assert head["app/web.yaml"] == image_line("1.2.0")
    assert "reverted" not in newer["status"]


async def lose_status(world: World, observed: str) -> None:
    """The automation's status is the one from before its last run: it died between its push and its report."""
    status = {"observedSourceRevision": observed, "lastPushCommit": None, "observedPolicies": None, "markers": None}
    ref = ObjectRef(ImageUpdateAutomation.KIND, ObjectKey("default", "fleet"))
    await world.cluster.patch(ref, {"status": status}, field_manager="test", subresource="status")


def test_a_revert_of_a_bump_that_was_never_reported_is_a_pin_too() -> None:
    async def scenario(observed_something: bool, later: int) -> Any:
        world = World()
        async with world.running(last=False):
            await world.put(UpdateGuard, "guard")
            await begun(world)
        first = f"main@sha1:{(await world.repository.log())[-1]}"
        await lose_status(world, first if observed_something else "")
        await world.repository.commit({"README.md": b"between\n"})
        await world.repository.commit({"app/web.yaml": image_line("1.0.0").encode()})
        for number in range(later):
            await world.repository.commit({"README.md": f"{number}\n".encode()})
        async with world.running():
            held = await world.until(ImageUpdateAutomation, "fleet", is_held)
            return await world.head(), held

    for observed_something, later in ((True, 0), (True, 5), (False, 0)):
        head, held = virtually(scenario(observed_something, later))

        assert head["app/web.yaml"] == image_line("1.0.0")
        assert held["status"]["reverted"] == [
            {"file": "app/web.yaml", "setter": "default:app", "refused": f"{IMAGE}:1.1.0"}
        ]


@in_virtual_time
async def test_our_own_change_back_is_not_a_persons_refusal() -> None:
    world = World()
    async with world.running(last=False):
        await world.put(UpdateGuard, "guard", pins=[{"tag": "1.1.0"}])
        await begun(world)
        first = f"main@sha1:{(await world.repository.log())[-1]}"
        await world.put(UpdateGuard, "guard", pins=[{"tag": "1.0.0"}])
        await committed(world, image_line("1.0.0"))
    await lose_status(world, first)
    await world.repository.commit({"README.md": b"later\n"})
    await world.put(UpdateGuard, "guard", pins=[{"tag": "1.1.0"}])
    chosen = {"status": {"latestRef": {"name": IMAGE, "tag": "1.1.0"}}}
    ref = ObjectRef(ImagePolicy.KIND, ObjectKey("default", "app"))
    await world.cluster.patch(ref, chosen, field_manager="test", subresource="status")
    async with world.running():
        result = await committed(world, image_line("1.1.0"))
    assert result < 60


@in_virtual_time
async def test_without_a_guard_a_revert_is_undone_as_the_original_does() -> None:
    world = World()
    async with world.running():
        await begun(world)
        await world.repository.commit({"app/web.yaml": image_line("1.0.0").encode()})
        await world.clock.sleep(6 * 60)
        result = await world.head()
    assert result["app/web.yaml"] == image_line("1.1.0")


@in_virtual_time
async def test_a_new_place_with_an_old_value_is_no_revert() -> None:
    world = World()
    async with world.running():
        await world.put(UpdateGuard, "guard", allowDowngrade=True)
        await begun(world)
        line = image_line("1.0.0").encode()
        await world.repository.commit({"app/new.yaml": line, "app/web.yaml": line + image_line("1.1.0").encode()})
        await world.clock.sleep(6 * 60)
        head = await world.head()

    assert head["app/new.yaml"] == image_line("1.1.0")
    assert head["app/web.yaml"] == image_line("1.1.0") * 2


@in_virtual_time
async def test_files_that_carry_no_marker_follow_a_target() -> None:
    world = World()
    async with world.running():
        await world.repository.commit({"env/a.json": b'{"tag": "1.0.0"}\n', "env/b.json": b'{"tag": "1.0.0"}\n'})
        await begun(world)
        target = {"file": "env/a.json", "policy": "app", "path": "tag", "value": "tag"}
        await world.put(UpdateGuard, "guard", targets=[target])
        await world.until(ImageUpdateAutomation, "fleet", lambda o: o["status"]["markers"].get("applied") == 2)
        head = await world.head()

    assert (head["env/a.json"], head["env/b.json"]) == ('{"tag": "1.1.0"}\n', '{"tag": "1.0.0"}\n')


@in_virtual_time
async def test_a_file_that_cannot_be_read_is_reported_and_left_as_it_is() -> None:
    broken = b"image: " + image_line("1.0.0").encode("utf-16") + b'# {"$imagepolicy": "default:app"}\n'

    world = World()
    async with world.running():
        await world.repository.commit(
            {"latin.yaml": b'a: "\xe9" # {"$imagepolicy": "default:app"}\n', "x.yaml": broken}
        )
        manifest = await begun(world)
        files = await world.repository.files((await world.repository.log())[0])

    assert is_ready(manifest)
    assert manifest["status"]["markers"] == {"applied": 1, "unparsable": 2}
    assert [report["file"] for report in manifest["status"]["unsettled"]] == ["latin.yaml", "x.yaml"]
    assert files["x.yaml"][1] == broken


@in_virtual_time
async def test_a_quarantined_image_is_taken_back_although_everything_is_held() -> None:
    world = World()
    async with world.running():
        await begun(world)
        await world.put(UpdateGuard, "guard", holds=[{"reason": "weekend"}], rollback={})
        entry = {"policy": "app", "tag": "1.1.0", "since": write_timestamp(world.clock.now()), "reason": "fails"}
        entry["previousTag"] = "1.0.0"
        ref = ObjectRef(UpdateGuard.KIND, ObjectKey("default", "guard"))
        await world.cluster.patch(ref, {"status": {"quarantine": [entry]}}, field_manager="test", subresource="status")
        await world.until(ImagePolicy, "app", lambda o: o["status"]["latestRef"]["tag"] == "1.0.0")
        result = await committed(world, image_line("1.0.0"))
    assert result < 5


states: st.SearchStrategy[State] = st.sampled_from(
    ["applied", "pending", "held", "unmatched", "ambiguous", "unparsable"]
)
few = st.sampled_from(["a", "b"])
sightings = st.lists(
    st.builds(Sighting, few, st.integers(1, 9), few.map("n:{}".format), few, few, states, st.text(max_size=5)),
    max_size=8,
)


@given(sightings)
def test_nothing_is_passed_over(seen: list[Sighting]) -> None:
    counted = count_states(seen)

    total = sum(getattr(counted, name) for name in counted.__struct_fields__)
    assert total == len(seen)
    assert len(report_unsettled(seen, 20)) == min(20, total - counted.applied)
    assert count_states(mark_applied(seen)).pending == 0


@given(sightings)
def test_an_unchanged_value_was_not_set_back(seen: list[Sighting]) -> None:
    assert find_set_back(seen, seen) == ()
    assert all(
        entry in find_set_back(mark_applied(seen), seen) for entry in keep_set_back(find_set_back(seen, seen), seen)
    )


@given(sightings, sightings, st.lists(st.booleans(), min_size=1, max_size=4))
def test_a_value_set_back_on_the_way_is_refused_and_our_own_changes_refuse_nothing(
    before: list[Sighting], after: list[Sighting], ours: list[bool]
) -> None:
    way = [Step(tuple(after if number % 2 == 0 else before), is_ours) for number, is_ours in enumerate(ours)]
    by_people = [step._replace(is_ours=False) for step in way]
    by_us = [step._replace(is_ours=True) for step in way]

    assert find_refused_values((), before, by_us) == ()
    assert set(find_set_back(before, after)) <= set(find_refused_values((), before, by_people))
    assert set(find_refused_values((), before, way)) <= set(find_refused_values((), before, by_people))
    assert find_refused_values(
        find_set_back(before, after), after, [Step(tuple(after), is_ours) for is_ours in ours]
    ) == find_refused_values(find_set_back(before, after), after, ())


@given(sightings)
def test_a_policy_is_through_only_without_a_held_place(seen: list[Sighting]) -> None:
    images = {name: ImageRef(name=name, tag="2") for name in "ab"}
    former = {"a": ImageRef(name="a", tag="1"), "b": images["b"]}

    done = find_settled_images("n", images, former, seen)

    held = {s.setter for s in seen if s.state == "held"}
    assert {name for name, image in done.items() if image == images[name]} == {n for n in "ab" if f"n:{n}" not in held}
    assert done.get("a") == (former["a"] if "n:a" in held else images["a"])


@given(st.text(), st.integers(3, 50))
def test_the_shown_places_fit_into_a_status(text: str, longest: int) -> None:
    line = write_line(text, longest)

    assert len(line) <= longest
    assert line.isprintable()
    line.encode()
