"""Each invariant notices the world it forbids: a check that cannot fail would make every history hold."""

from __future__ import annotations

import base64
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import msgspec
import pytest

from gitops_core import ports as core_ports
from gitops_core.api.fields import NamespacedReference
from gitops_core.errors import Forbidden, NotLeader
from gitops_core.meta import ObjectKey, ObjectMeta, ObjectRef
from gitops_core.ports import Commit, GitRef, Signature
from gitops_core.runtime.authority.leading import LEASE
from gitops_core.runtime.authority.leave import behind
from image_updater import ports as image_ports
from image_updater.api import ImagePolicy, ImagePolicyStatus, ImageRef, UpdateGuard
from image_updater.api.images import ImagePolicySpec, PolicyChoice
from image_updater.domain.registry.references import parse_repository
from image_updater.domain.tags.checkpoint import encode
from image_updater.domain.tags.history import SeenTag
from secrets_sync import ports as secret_ports
from tests.simulation.bumps import BOT, Broken, may_stay_failing
from tests.simulation.fakes.git import SOMEBODY
from tests.simulation.files import IMAGE, deployment
from tests.simulation.history import History
from tests.simulation.invariants import Invariants
from tests.simulation.leases import RENEWED_FOR, TAKEOVER, Interval
from tests.simulation.loop import BEGINNING, VirtualClock, virtually
from tests.simulation.mortal import ACTING, HANDLES, LATE, READS, WRITES, Liar, Life, Mortal
from tests.simulation.records import GRACE, Named
from tests.simulation.safety import Demands, Safety
from tests.simulation.world import CONFIG_MAP, IMAGE_POLICY, SECRET, URL, World

POLICY = ImagePolicy(
    metadata=ObjectMeta(name="web", namespace="default"),
    spec=ImagePolicySpec(image_repository_ref=NamespacedReference(name="web"), policy=PolicyChoice()),
)


def in_a_world(work: Callable[[World, Invariants], Awaitable[None]], demands: Demands | None = None) -> None:
    async def played() -> None:
        world = World(1, VirtualClock(), Safety(demands) if demands is not None else None)
        await world.begin()
        await work(world, Invariants(world))
        world.cluster.close()

    virtually(played())


async def bump(world: World, body: bytes, path: str = "app/web.yaml") -> None:
    remote = world.git.get_remote(URL)
    tip = await remote.resolve(GitRef(branch="main"))
    bot = Signature("bot", BOT, SOMEBODY.when)
    await remote.push(Commit(tip.commit, {path: body}, "Bump", bot, bot), "main")


async def choose(world: World, tag: str, policy: str = "web", digest: str = "") -> None:
    latest = {"name": world.images[world.policies.index(policy)], "tag": tag}
    status = {"status": {"latestRef": {**latest, "digest": digest} if digest else latest}}
    ref = ObjectRef(IMAGE_POLICY, ObjectKey("default", policy))
    await world.cluster.patch(ref, status, field_manager="test", subresource="status")


async def quarantine(world: World, *entries: tuple[str, str]) -> None:
    """Put tags, or images by `tag@digest`, into quarantine, each given with what ran before it."""
    found = []
    for failed, before in entries:
        (tag, _, digest), (previous, _, previous_digest) = failed.partition("@"), before.partition("@")
        entry = {"policy": "web", "tag": tag, "previousTag": previous, "since": "2026-01-01T00:00:00Z"}
        digests = {"digest": digest, "previousDigest": previous_digest} if digest else {}
        found.append({**entry, **digests, "reason": "fails"})
    ref = ObjectRef(UpdateGuard.KIND, ObjectKey("default", "shop"))
    await world.cluster.patch(ref, {"status": {"quarantine": found}}, field_manager="test", subresource="status")


async def bumped(world: World, *tags: str) -> None:
    """Choose each tag in turn for the policy, and commit it."""
    for tag in tags:
        await choose(world, tag)
        await bump(world, deployment(tag))


def told(world: World, life: Life | None = None) -> Life:
    """Return a process that knows every guard of now."""
    life = life or Life(world.clock, random.Random(1))
    generation = world.chronicle.guards[-1].generation
    life.hear(UpdateGuard(metadata=ObjectMeta(name="shop", namespace="default", generation=generation)))
    world.chronicle.lives.append(life)
    return life


@contextmanager
def acting(life: Life) -> Iterator[None]:
    token = ACTING.set(life)
    yield
    ACTING.reset(token)


async def ask(world: World, life: Life, lie: str = "") -> str:
    """Return the digest that a process is told of the first tag; it may be told another tag's."""
    reference = lie or "1.0.0"
    digest = await world.registry.resolve_digest(parse_repository(IMAGE), reference)
    for answers in (life.answers, world.chronicle.answered):
        answers.setdefault((IMAGE, "1.0.0"), []).append(Named(world.clock.monotonic(), digest))
    return digest


def remember(world: World, digest: str, since: float = 0.0) -> None:
    """Let the checkpoint say so of the first tag."""
    moved = BEGINNING + timedelta(seconds=since) if since else None
    world.chronicle.see_checkpoint("sealoop-tags-web", encode([SeenTag("1.0.0", BEGINNING, digest, moved)]))


async def breaks(world: World, why: str) -> None:
    with pytest.raises(Broken, match=why):
        await Invariants(world).in_commits()


def test_an_object_missing_from_the_inventory_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        labels = {"kustomize.toolkit.fluxcd.io/name": "app", "kustomize.toolkit.fluxcd.io/namespace": "default"}
        metadata = {"name": "one", "namespace": "default", "labels": labels}
        manifest = {"apiVersion": CONFIG_MAP.api_version, "kind": "ConfigMap", "metadata": metadata}
        await world.cluster.create(manifest, field_manager="test")
        with pytest.raises(Broken, match="default_one__ConfigMap was made and is not in the inventory"):
            await invariants.after_write("create")

    in_a_world(work)


def test_a_half_written_secret_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        data = {"user": base64.b64encode(b"user-1").decode(), "password": base64.b64encode(b"password-2").decode()}
        metadata = {"name": "app", "namespace": "default"}
        manifest = {"apiVersion": SECRET.api_version, "kind": "Secret", "metadata": metadata, "data": data}
        await world.cluster.create(manifest, field_manager="test")
        with pytest.raises(Broken, match="half written"):
            await invariants.after_write("create")

    in_a_world(work)


def test_a_bump_to_a_tag_nobody_chose_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await bump(world, deployment("1.9.9"))
        with pytest.raises(Broken, match="never chose"):
            await invariants.in_commits()

    in_a_world(work)


def test_a_bump_that_changes_more_or_nothing_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await choose(world, "1.1.0")
        await invariants.after_write("patch")
        await bump(world, deployment("1.1.0"))
        assert await invariants.in_commits() == 1
        await bump(world, deployment("1.1.0") + b"# and more\n")
        with pytest.raises(Broken, match="committed twice"):
            await invariants.in_commits()

    in_a_world(work)


def test_a_downgrade_without_a_guard_is_noticed_unless_the_registry_lied() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await bumped(world, "1.1.0", "1.0.0")
        await breaks(world, "web went back to an older tag")
        world.chronicle.trouble("listings", 0.3)

        assert await invariants.in_commits() == 2

    in_a_world(work)


def test_a_bump_of_another_file_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await bump(world, b"mine", "app/one.yaml")
        with pytest.raises(Broken, match=r"changed \['app/one.yaml'\]"):
            await invariants.in_commits()

    in_a_world(work)


def test_a_world_that_has_not_come_to_rest_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await choose(world, "1.1.0")
        with pytest.raises(Broken, match=r"Git says 1\.0\.0, the policy 1\.1\.0"):
            await invariants.at_rest()

    in_a_world(work)


# With a guard


def test_a_choice_that_is_too_young_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await world.clock.sleep(44)
        await choose(world, "1.0.0")
        await breaks(world, r"web chose 1\.0\.0 at 44\.0, 44\.0s old: minAge 45s")

    in_a_world(work, Demands(min_age=45))


def test_a_choice_of_a_tag_that_moved_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        first = world.chronicle.named[IMAGE, "1.0.0"][0].digest
        world.chronicle.see_checkpoint("sealoop-tags-web", encode([SeenTag("1.0.0", BEGINNING, first)]))
        await world.clock.sleep(60)
        world.push(IMAGE, "1.0.0")
        with acting(life := Life(world.clock, random.Random(1))):
            await ask(world, life)
            await choose(world, "1.0.0")
        await breaks(world, r"0\.0s old")

    in_a_world(work, Demands(min_age=45))


def test_an_age_that_is_reset_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        for second in (3, 2, 5):
            await invariants.after_write("apply")
            seen = SeenTag("1.0.0", BEGINNING + timedelta(seconds=second))
            world.chronicle.see_checkpoint("sealoop-tags-web", encode([seen]))
        with pytest.raises(Broken, match=r"the age of 1\.0\.0 in sealoop-tags-web was reset by 3\.0s"):
            await invariants.after_write("apply")

    in_a_world(work, Demands())


def test_an_age_that_is_reset_is_noticed_although_the_tag_was_moved_before() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await world.clock.sleep(1)
        digest = world.push(IMAGE, "1.0.0")
        for second in (2, 5):
            moment = BEGINNING + timedelta(seconds=second)
            world.chronicle.see_checkpoint("sealoop-tags-web", encode([SeenTag("1.0.0", BEGINNING, digest, moment)]))
        with pytest.raises(Broken, match=r"the age of 1\.0\.0 in sealoop-tags-web was reset by 3\.0s"):
            await invariants.after_write("apply")

    in_a_world(work, Demands())


def test_a_tag_that_was_moved_is_young_again_also_when_no_checkpoint_knew_what_it_named() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        world.chronicle.see_checkpoint("sealoop-tags-web", encode([SeenTag("1.0.0", BEGINNING)]))
        await world.clock.sleep(60)
        digest, moment = world.push(IMAGE, "1.0.0"), BEGINNING + timedelta(seconds=61)
        world.chronicle.see_checkpoint("sealoop-tags-web", encode([SeenTag("1.0.0", BEGINNING, digest, moment)]))
        await invariants.after_write("apply")

    in_a_world(work, Demands())


@pytest.mark.parametrize("is_written_down", [True, False])
def test_a_move_that_another_process_wrote_down_is_as_old_as_that(is_written_down: bool) -> None:
    async def work(world: World, invariants: Invariants) -> None:
        with acting(life := Life(world.clock, random.Random(1))):
            remember(world, await ask(world, life))
            await world.clock.sleep(60)
            moved = world.push(IMAGE, "1.0.0")
            if is_written_down:
                remember(world, moved, since=60)
            await world.clock.sleep(60)
            await ask(world, life)
            await choose(world, "1.0.0")
        if is_written_down:
            assert await invariants.in_commits() == 0
        else:
            await breaks(world, r"0\.0s old")

    in_a_world(work, Demands(min_age=45))


def test_a_move_that_is_remembered_after_the_choice_only_is_no_fault() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await world.clock.sleep(60)
        second = world.push(IMAGE, "1.0.0")
        with acting(life := Life(world.clock, random.Random(1))):
            await ask(world, life)
            await choose(world, "1.0.0")
        await world.clock.sleep(60)
        third, moment = world.push(IMAGE, "1.0.0"), BEGINNING + timedelta(seconds=120)
        for known in (SeenTag("1.0.0", BEGINNING, second), SeenTag("1.0.0", BEGINNING, third, moment)):
            world.chronicle.see_checkpoint("sealoop-tags-web", encode([known]))

        assert await invariants.in_commits() == 0

    in_a_world(work, Demands(min_age=45))


@pytest.mark.parametrize("is_remembered", [True, False])
def test_a_choice_of_a_tag_that_was_said_to_name_another_image_meanwhile_is_noticed(is_remembered: bool) -> None:
    async def work(world: World, invariants: Invariants) -> None:
        world.push(IMAGE, "1.1.0")
        life = Life(world.clock, random.Random(1))
        remember(world, await ask(world, life))
        await world.clock.sleep(60)
        lie = await ask(world, life, lie="1.1.0")
        if is_remembered:
            remember(world, lie, since=60)
        await world.clock.sleep(10)
        await ask(world, life)
        await world.clock.sleep(20)
        with acting(life):
            await choose(world, "1.0.0")
        if is_remembered:
            await breaks(world, r"web chose 1\.0\.0 at 90\.0, 20\.0s old: minAge 45s")
        else:
            assert await invariants.in_commits() == 0

    in_a_world(work, Demands(min_age=45))


def test_a_tag_that_was_said_to_name_another_image_meanwhile_is_young_again() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        world.push(IMAGE, "1.1.0")
        life = Life(world.clock, random.Random(1))
        for second, lie in ((0, ""), (20, "1.1.0"), (40, "")):
            remember(world, digest := await ask(world, life, lie), since=second)
            await invariants.after_write("apply")
            await world.clock.sleep(20)
        remember(world, digest, since=55)
        with pytest.raises(Broken, match=r"the age of 1\.0\.0 in sealoop-tags-web was reset by 15\.0s"):
            await invariants.after_write("apply")

    in_a_world(work, Demands())


def test_a_digest_that_no_registry_told_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        other = world.push(IMAGE, "1.1.0")
        with acting(life := Life(world.clock, random.Random(1))):
            await choose(world, "1.0.0", digest=await ask(world, life))
            await invariants.after_write("patch")
            await choose(world, "1.0.0", digest=other)
        with pytest.raises(Broken, match=r"policy web chose 1\.0\.0@sha256:.* which nobody told it"):
            await invariants.after_write("patch")

    in_a_world(work, Demands(digests=True))


@pytest.mark.parametrize("is_told", [True, False])
def test_a_bump_to_what_the_policy_had_given_up_is_noticed(is_told: bool) -> None:
    async def work(world: World, invariants: Invariants) -> None:
        life = Life(world.clock, random.Random(1))
        for tag in ("1.1.0", "1.2.0") if is_told else ("1.1.0",):
            latest = ImageRef(name=IMAGE, tag=tag)
            life.hear(
                ImagePolicy(metadata=POLICY.metadata, spec=POLICY.spec, status=ImagePolicyStatus(latest_ref=latest))
            )
        await choose(world, "1.1.0")
        await choose(world, "1.2.0")
        await world.clock.sleep(GRACE + 1)
        with acting(life):
            await bump(world, deployment("1.1.0"))
        if is_told:
            await breaks(world, r"the policy had given it up for \['1\.2\.0'\]")
        else:
            assert await invariants.in_commits() == 1

    in_a_world(work)


def test_a_value_that_comes_back_into_the_secret_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        metadata = {"name": "app", "namespace": "default"}
        manifest = {"apiVersion": SECRET.api_version, "kind": "Secret", "metadata": metadata}
        for number in (1, 3, 2):
            await invariants.after_write("apply")
            data = {key: base64.b64encode(f"{key}-{number}".encode()).decode() for key in ("user", "password")}
            await world.cluster.apply({**manifest, "data": data}, field_manager="test")
        with pytest.raises(Broken, match="the Secret went back from rotation 3 to 2"):
            await invariants.after_write("apply")

    in_a_world(work)


@pytest.mark.parametrize("closing", [Safety.hold, Safety.freeze])
def test_a_bump_through_a_closed_gate_is_noticed(closing: Callable[[Safety, World], Awaitable[None]]) -> None:
    async def work(world: World, invariants: Invariants) -> None:
        assert world.safety is not None
        await closing(world.safety, world)
        told(world)
        await world.clock.sleep(GRACE + 1)
        await bumped(world, "1.1.0")
        await breaks(world, "the guard did not let it through")

    in_a_world(work, Demands())


def test_a_bump_by_who_was_not_told_of_the_hold_is_no_fault() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        assert world.safety is not None
        told(world)
        await world.safety.hold(world)
        await world.clock.sleep(GRACE + 1)
        await bumped(world, "1.1.0")

        assert await invariants.in_commits() == 1

    in_a_world(work, Demands())


def test_a_bump_outside_of_the_window_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await world.clock.sleep(30)
        await bumped(world, "1.1.0")
        assert await invariants.in_commits() == 1
        await world.clock.sleep(50)
        await bumped(world, "1.2.0")
        await breaks(world, "the guard did not let it through")

    in_a_world(work, Demands(windows=True))


def test_a_bump_that_nobody_approved_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        assert world.safety is not None
        await choose(world, "1.1.0")
        await world.safety.approve(world)
        await bump(world, deployment("1.1.0"))
        assert await invariants.in_commits() == 1
        await bumped(world, "1.2.0")
        await breaks(world, r"nobody said yes to web 1\.2\.0")

    in_a_world(work, Demands(approvals=True))


def test_a_bump_of_a_deleted_policy_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        assert world.safety is not None
        life = told(world)
        await choose(world, "1.1.0")
        await world.safety.delete_policy(world)
        life.hear(POLICY, gone=True)
        await world.clock.sleep(GRACE + 1)
        await bump(world, deployment("1.1.0"))
        await breaks(world, "policy web was deleted")

    in_a_world(work, Demands())


def test_a_downgrade_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await bumped(world, "1.1.0", "1.0.0")
        await breaks(world, "went back to an older tag, and nobody allowed it")

    in_a_world(work, Demands())


def test_a_downgrade_that_a_pin_asks_for_is_no_fault() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        assert world.safety is not None
        await world.safety.pin(world)  # there is only 1.0.0
        await bumped(world, "1.1.0", "1.0.0")

        assert await invariants.in_commits() == 2

    in_a_world(work, Demands())


def test_a_value_with_a_digest_means_that_image_whatever_its_tag_names_by_now() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        life = told(world)
        with acting(life):
            former = await ask(world, life)
            world.push(IMAGE, "1.0.0")
            now = await ask(world, life)
            await choose(world, "1.0.0")
            await choose(world, "1.0.0", digest=former)

        at = world.clock.monotonic()
        assert former != now
        assert world.chronicle.image_of("web", f"1.0.0@{former}", at) == f"1.0.0@{former}"
        assert world.chronicle.image_of("web", "1.0.0", at) == f"1.0.0@{now}"

    in_a_world(work, Demands(rollback=True))


def test_a_quarantined_image_that_is_committed_again_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await bumped(world, "1.1.0")
        await quarantine(world, ("1.1.0", "1.0.0"))
        await bumped(world, "1.0.0")
        assert await invariants.in_commits() == 2
        await world.clock.sleep(GRACE + 1)
        await bumped(world, "1.1.0")
        await breaks(world, r"web 1\.1\.0 was quarantined")

    in_a_world(work, Demands(rollback=True))


@pytest.mark.parametrize("failed", [True, False])
def test_an_image_of_a_moved_tag_goes_back_through_a_closed_window_only_when_it_failed(failed: bool) -> None:
    async def work(world: World, invariants: Invariants) -> None:
        life = told(world)
        with acting(life):
            former = await ask(world, life)
            world.push(IMAGE, "1.0.0")
            now = await ask(world, life)
        for digest in (former, now):
            await choose(world, "1.0.0", digest=digest)
            await bump(world, deployment(f"1.0.0@{digest}"))
        assert await invariants.in_commits() == 2
        if failed:
            await quarantine(world, (f"1.0.0@{now}", f"1.0.0@{former}"))
        await world.clock.sleep(80)
        await choose(world, "1.0.0", digest=former)
        await bump(world, deployment(f"1.0.0@{former}"))
        if failed:
            assert await invariants.in_commits() == 3
        else:
            await breaks(world, "the guard did not let it through")

    in_a_world(work, Demands(rollback=True, windows=True))


def test_an_image_taken_back_to_something_else_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await bumped(world, "1.1.0", "1.2.0")
        await quarantine(world, ("1.2.0", "1.1.0"))
        await bumped(world, "1.0.0")
        await breaks(world, r"taken back to 1\.0\.0, which did not run before it")

    in_a_world(work, Demands(rollback=True))


def test_an_image_taken_back_to_one_that_never_started_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        world.chronicle.bad.add(world.push(IMAGE, "1.1.0"))
        await bumped(world, "1.1.0", "1.2.0")
        await quarantine(world, ("1.2.0", "1.1.0"))
        await bumped(world, "1.1.0")
        await breaks(world, r"taken back to 1\.1\.0, which never started")

    in_a_world(work, Demands(rollback=True))


def test_a_quarantine_that_is_forgotten_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await quarantine(world, ("1.1.0", "1.0.0"))
        await invariants.after_write("patch")
        await quarantine(world)
        with pytest.raises(Broken, match=r"the quarantine of web 1\.1\.0 was forgotten"):
            await invariants.after_write("patch")

    in_a_world(work, Demands(rollback=True))


def test_a_revert_refuses_nothing_that_was_chosen_in_the_same_moment() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await bumped(world, "1.1.0")
        await choose(world, "1.0.0")
        await world.clock.sleep(GRACE + 1)
        await choose(world, "1.1.0")
        await world.revert_bump()  # to what the policy had chosen, as far as anybody could know
        await world.clock.sleep(1)
        await bump(world, deployment("1.1.0"))
        assert await invariants.in_commits() == 2

    in_a_world(work, Demands())


def test_a_revert_that_is_undone_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await bumped(world, "1.1.0")
        await world.revert_bump()
        await world.clock.sleep(1)
        await bumped(world, "1.2.0")
        assert await invariants.in_commits() == 2  # another tag may go out
        await world.clock.sleep(GRACE + 1)  # until everybody knows what was chosen
        await world.revert_bump()
        await bump(world, deployment("1.2.0"))
        await breaks(world, r"somebody had set web back from 1\.2\.0")

    in_a_world(work, Demands())


def test_a_group_that_is_torn_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await choose(world, "1.1.0", "api")
        await world.clock.sleep(GRACE + 1)
        await bumped(world, "1.1.0")
        await breaks(world, r"its group stayed behind: api says 1\.0\.0, not \['1\.1\.0'\]")

    in_a_world(work, Demands(group=True))


@pytest.mark.parametrize("is_told", [True, False])
def test_a_group_is_not_torn_by_a_member_that_came_back_and_was_not_heard_of(is_told: bool) -> None:
    async def work(world: World, invariants: Invariants) -> None:
        life, api = told(world), msgspec.structs.replace(POLICY, metadata=ObjectMeta(name="api", namespace="default"))
        life.hear(api, gone=True)
        if is_told:  # that it is back, and has chosen nothing yet
            life.hear(msgspec.structs.replace(api, metadata=ObjectMeta(name="api", namespace="default", generation=1)))
        await choose(world, "", "api")
        await world.clock.sleep(GRACE + 1)
        await bumped(world, "1.1.0")
        if is_told:
            await breaks(world, "its group stayed behind: api")
        else:
            assert await invariants.in_commits() == 1

    in_a_world(work, Demands(group=True))


def test_a_group_of_one_tag_that_has_two_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await choose(world, "1.0.0", "api")
        await bumped(world, "1.1.0")
        await breaks(world, "a group of one tag has")

    in_a_world(work, Demands(group=True, same_tag=True))


def test_a_policy_that_does_not_come_to_the_best_tag_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        world.push(IMAGE, "1.3.0")
        await bumped(world, "1.0.1")
        with pytest.raises(Broken, match=r"policy web chose 1\.0\.1, and 1\.3\.0 is the best tag"):
            await invariants.at_rest()

    in_a_world(work, Demands())


@pytest.mark.parametrize(
    ("demands", "made_up", "put_back", "may"),
    [
        (Demands(digests=True, kept=True), True, False, True),
        (Demands(digests=True, kept=True), False, False, False),
        (Demands(digests=True), True, False, False),  # it is looked up again
        (Demands(digests=True), True, True, True),  # who put it back meant it
        (Demands(digests=True), False, True, False),
        (Demands(digests=True, kept=True, rollback=True), True, True, False),  # it is taken back
    ],
)
def test_only_a_digest_that_was_made_up_and_is_kept_or_put_back_may_leave_the_application_failing(
    demands: Demands, made_up: bool, put_back: bool, may: bool
) -> None:
    async def work(world: World, invariants: Invariants) -> None:
        digest = "sha256:" + 64 * "0" if made_up else world.push(IMAGE, "1.1.0")
        await bump(world, deployment(f"1.1.0@{digest}"))
        if put_back:
            await bump(world, deployment("1.2.0"))
            await world.commit({"app/web.yaml": deployment(f"1.1.0@{digest}")}, "Revert web")
        assert await may_stay_failing(world, await world.head()) is may

    in_a_world(work, demands)


# More than peers that are away


async def lead(world: World, holder: str) -> None:
    metadata = {"name": "sealoop", "namespace": "default"}
    lease = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata}
    await world.cluster.create({**lease, "spec": {"holderIdentity": holder}}, field_manager="test")


def test_a_write_by_who_does_not_hold_the_lease_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await lead(world, "one_5f3a")
        for name in ("one", "two"):
            await invariants.after_write("patch")
            life = Life(world.clock, random.Random(1), on_send=partial(world.chronicle.sends, name))
            await Mortal(world.cluster, "cluster", life).get(ObjectRef(LEASE, ObjectKey("default", "sealoop")))
            patch = {"metadata": {"labels": {"by": name}}}
            ref = ObjectRef(IMAGE_POLICY, ObjectKey("default", "web"))
            await Mortal(world.cluster, "cluster", life).patch(ref, patch, field_manager=name)
        with pytest.raises(Broken, match="two began to patch, and one_5f3a held the lease"):
            await invariants.after_write("patch")

    in_a_world(work)


def test_a_write_by_whose_lease_has_run_out_is_noticed() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await lead(world, "one_5f3a")
        world.chronicle.sends("one", "patch")
        await world.clock.sleep(RENEWED_FOR - 1)
        world.chronicle.sends("one", "patch")
        await invariants.after_write("patch")
        await world.clock.sleep(1)
        world.chronicle.sends("one", "patch")
        with pytest.raises(Broken, match=r"one began to patch, and its lease was renewed 10\.0s before"):
            await invariants.after_write("patch")

    in_a_world(work)


def test_a_write_that_waited_until_its_lease_had_run_out_does_not_leave() -> None:
    class Lease:
        asked = 0

        def check(self) -> None:
            self.asked += 1
            if self.asked > 1:
                raise NotLeader("it ran out")

    async def work(world: World, invariants: Invariants) -> None:
        cluster = Mortal(world.cluster, "cluster", Life(world.clock, random.Random(1)))
        ref = ObjectRef(IMAGE_POLICY, ObjectKey("default", "web"))
        with behind(Lease()), pytest.raises(NotLeader):
            await cluster.patch(ref, {"metadata": {"labels": {"a": "b"}}}, field_manager="test")

        assert "labels" not in (await world.object(IMAGE_POLICY, "web"))["metadata"]

    in_a_world(work)


@pytest.mark.parametrize(
    ("disturbance", "is_noticed"),
    [
        (lambda world: None, True),
        (lambda world: world.chronicle.lives[0].end(), False),
        (lambda world: world.chronicle.trouble("cluster", 0.1), False),
        (lambda world: world.chronicle.trouble("lease", 1.0), False),
        (lambda world: world.chronicle.trouble("git", 1.0), True),
        (lambda world: world.chronicle.stalls.append(Interval(40.0, 41.0)), False),
    ],
    ids=["nothing", "death", "cluster", "lease", "git", "stall"],
)
def test_a_lease_that_nobody_takes_over_is_noticed(disturbance: Callable[[World], None], is_noticed: bool) -> None:
    async def work(world: World, invariants: Invariants) -> None:
        world.chronicle.lives.append(Life(world.clock, random.Random(1)))
        await world.clock.sleep(20)
        await lead(world, "one_5f3a")
        await world.clock.sleep(20)
        disturbance(world)
        await world.clock.sleep(TAKEOVER - 19)
        if is_noticed:
            with pytest.raises(Broken, match=r"nobody led from 20\.0 to 45\.4, although somebody lived"):
                invariants.in_terms()
        else:
            invariants.in_terms()

    in_a_world(work)


def test_a_world_that_nobody_mends_after_a_stall_or_a_death_is_noticed() -> None:
    async def played() -> None:
        history = History(1)
        await history.world.begin()
        with pytest.raises(Broken):
            await history._recover()
        history.world.cluster.close()

    virtually(played())


def test_the_lease_is_answered_late_and_nothing_else_is() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        await lead(world, "one_5f3a")
        cluster = Mortal(world.cluster, "cluster", Life(world.clock, random.Random(1), troubled={"lease": 1.0}))
        started = world.clock.monotonic()
        await cluster.get(ObjectRef(IMAGE_POLICY, ObjectKey("default", "web")))
        quick = world.clock.monotonic() - started
        await cluster.get(ObjectRef(LEASE, ObjectKey("default", "sealoop")))

        assert quick <= 1
        assert quick + 1 < world.clock.monotonic() - started <= 2 * LATE + 2

    in_a_world(work)


def test_writes_wait_before_they_leave_and_nothing_else_does() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        sent: list[float] = []
        life = Life(world.clock, random.Random(1), troubled={"queues": 1.0})
        life.on_send = lambda deed: sent.append(world.clock.monotonic())
        cluster, ref = Mortal(world.cluster, "cluster", life), ObjectRef(IMAGE_POLICY, ObjectKey("default", "web"))
        await cluster.get(ref)
        quick = world.clock.monotonic()
        await cluster.patch(ref, {"metadata": {"labels": {"a": "b"}}}, field_manager="test")

        assert quick <= 1
        assert quick + 1 < sent[0] <= quick + LATE + 1

    in_a_world(work)


def test_statuses_are_refused_and_other_writes_are_not() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        cluster = Mortal(world.cluster, "cluster", Life(world.clock, random.Random(1), troubled={"statuses": 1.0}))
        ref = ObjectRef(IMAGE_POLICY, ObjectKey("default", "web"))
        await cluster.patch(ref, {"metadata": {"labels": {"a": "b"}}}, field_manager="test")
        status = {"status": {"latestRef": {"name": IMAGE, "tag": "1.0.0"}}}
        with pytest.raises(Forbidden):
            await cluster.patch(ref, status, field_manager="test", subresource="status")

        assert (await world.object(IMAGE_POLICY, "web"))["metadata"]["labels"] == {"a": "b"}
        assert "latestRef" not in (await world.object(IMAGE_POLICY, "web")).get("status", {})

    in_a_world(work)


def test_a_registry_that_lies_leaves_tags_out_and_makes_none_up() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        for number in range(5):
            world.push(IMAGE, f"1.{number}.0")
        liar = Liar(world.registry, random.Random(1), trouble := {"listings": 0.0})
        repository = parse_repository(IMAGE)
        truth = await liar.list_tags(repository)
        trouble["listings"] = 1.0
        lies = {tuple(await liar.list_tags(repository)) for _ in range(20)}

        assert len(truth) == 5
        assert () in lies
        assert any(0 < len(lie) < 5 for lie in lies)
        assert all(set(lie) <= set(truth) for lie in lies)

    in_a_world(work)


def test_a_registry_that_lies_says_of_a_tag_what_it_was_or_another_is_or_nothing_is() -> None:
    async def work(world: World, invariants: Invariants) -> None:
        liar = Liar(world.registry, random.Random(1), trouble := {"digests": 0.0})
        repository, former = parse_repository(IMAGE), world.chronicle.named[IMAGE, "1.0.0"][0].digest
        other = world.push(IMAGE, "1.1.0")
        assert await liar.resolve_digest(repository, "1.0.0") == former
        assert await liar.resolve_digest(repository, "1.1.0") == other
        new, lies = world.push(IMAGE, "1.0.0"), set()
        assert await liar.resolve_digest(repository, "1.0.0") == new
        trouble["digests"] = 1.0
        for _ in range(20):
            world.push(IMAGE, "1.0.0", digest=former)
            lies.add(await liar.resolve_digest(repository, "1.0.0"))
            world.push(IMAGE, "1.0.0", digest=new)
            lies.add(await liar.resolve_digest(repository, "1.0.0"))

        assert {former, new, other} < lies
        assert any(not world.chronicle.there_is(IMAGE, lie) for lie in lies)

    in_a_world(work)


@pytest.mark.parametrize(("stall", "is_blamed"), [(0.0, True), (60.0, False)])
def test_nobody_is_blamed_for_what_he_had_no_time_to_hear(stall: float, is_blamed: bool) -> None:
    async def work(world: World, invariants: Invariants) -> None:
        assert world.safety is not None
        life = told(world)
        await world.safety.hold(world)
        told(world, life)
        start = world.clock.monotonic()
        await world.clock.sleep(60.0)
        world.chronicle.stalls.append(Interval(start, start + stall))
        await bumped(world, "1.1.0")
        if is_blamed:
            await breaks(world, "the guard did not let it through")
        else:
            assert await invariants.in_commits() == 1

    in_a_world(work, Demands())


def test_every_deed_that_the_faults_know_is_a_ports() -> None:
    protocols = [value for ports in (core_ports, image_ports, secret_ports) for value in vars(ports).values()]
    deeds = {name for one in protocols if getattr(one, "_is_protocol", False) for name in vars(one)}

    assert deeds >= READS | WRITES | HANDLES, "one that was renamed is no read any more, or no write"
