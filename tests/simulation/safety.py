"""What a history's guard demands, and the deeds that only matter where one does: holds, reverts, moved and bad tags.

A guard's demands are drawn once; holds, freezes, skips and pins come and go as people wish.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gitops_core.meta import Kind, ObjectKey, ObjectRef, write_timestamp
from image_updater.domain.guards.gates import APPROVE
from tests.simulation.files import value_in, with_value
from tests.simulation.leases import Interval
from tests.simulation.loop import BEGINNING

if TYPE_CHECKING:
    from tests.simulation.world import World

IMAGE_POLICY = Kind("image.toolkit.fluxcd.io", "v1", "ImagePolicy")
REFUSAL = "protected branch hook declined"


@dataclass(frozen=True)
class Demands:
    """What a guard demands of its policies all the time.

    `digests` and `kept` are the policies' own digestReflectionPolicy: whether there is one, and is not Always.
    `windows`: every other minute, from the first on.
    """

    min_age: int = 0
    rollback: bool = False
    group: bool = False
    same_tag: bool = False
    approvals: bool = False
    windows: bool = False
    max_shrink: int | None = None
    digests: bool = False
    kept: bool = False

    @classmethod
    def drawn(cls, chance: random.Random) -> Demands:
        """Draw some demands: under all at once, nothing would ever go out."""
        group = chance.random() < 0.3
        return cls(
            min_age=chance.choice([0, 20, 45, 90]),
            rollback=chance.random() < 0.4,
            group=group,
            same_tag=group and chance.random() < 0.3,
            approvals=chance.random() < 0.15,
            windows=chance.random() < 0.15,
            max_shrink=chance.choice([None, None, 30]),
            digests=chance.random() < 0.35,
        )

    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = {"policySelector": {"matchLabels": {"guarded": "yes"}}}
        if self.min_age:
            spec["minAge"] = f"{self.min_age}s"
        if self.rollback:
            spec["rollback"] = {"within": "1h", "pullErrors": "10s"}
        if self.group:
            spec["group"] = {"sameTag": self.same_tag}
        if self.approvals:
            spec["approvals"] = {"required": True}
        if self.windows:
            spec["windows"] = [{"schedule": "*/2 * * * *", "duration": "1m"}]
        if self.max_shrink is not None:
            spec["maxShrink"] = self.max_shrink
        return spec


@dataclass
class Safety:
    """A guard and what people do about it.

    Attributes:
        wishes: holds, freezes, skips and pins of now, as the guard's spec has them.
        removed: tags that are gone from the registry, and what they named.
    """

    demands: Demands
    wishes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    removed: dict[tuple[str, str], str] = field(default_factory=dict)
    is_final: bool = False

    def manifest(self) -> dict[str, Any]:
        return {
            "apiVersion": "sealoop.dev/v1alpha1",
            "kind": "UpdateGuard",
            "metadata": {"name": "shop", "namespace": "default"},
            "spec": {**self.demands.spec(), **self.wishes},
        }

    # What people ask of the guard

    async def hold(self, world: World) -> None:
        self.wishes = {**self.wishes, "holds": [{"reason": "an incident"}]}
        await self._put(world)

    async def freeze(self, world: World) -> None:
        start = BEGINNING + timedelta(seconds=int(world.clock.monotonic()))
        end = start + timedelta(seconds=world.random.randrange(20, 90))
        self.wishes = {**self.wishes, "freezes": [{"start": write_timestamp(start), "end": write_timestamp(end)}]}
        await self._put(world)

    async def skip(self, world: World) -> None:
        """Skip the newest tag: it shall not go out."""
        if tags := world.tags(world.random.choice(world.images)):
            skips = [*self.wishes.get("skips", ()), {"tag": max(tags, key=version)}]
            self.wishes = {**self.wishes, "skips": skips}
            await self._put(world)

    async def pin(self, world: World) -> None:
        """Pin one tag and no other, maybe an old one, maybe one that failed."""
        if tags := world.tags(world.images[0]):
            pin = {"policy": world.policies[0], "tag": world.random.choice(tags)}
            self.wishes = {**self.wishes, "pins": [pin]}
            await self._put(world)

    async def lift(self, world: World) -> None:
        self.wishes = {}
        await self._put(world)

    async def _put(self, world: World) -> None:
        await world.cluster.apply(self.manifest(), field_manager="world", force=True)

    async def approve(self, world: World) -> None:
        """Approve what each policy chose."""
        for policy in world.policies:
            ref = ObjectRef(IMAGE_POLICY, ObjectKey("default", policy))
            latest = ((await world.object(IMAGE_POLICY, policy)).get("status") or {}).get("latestRef") or {}
            if tag := latest.get("tag"):
                world.chronicle.approved.append((world.clock.monotonic(), policy, tag))
                await world.cluster.patch(ref, {"metadata": {"annotations": {APPROVE: tag}}}, field_manager="world")

    # What people do to the registry

    async def push_release(self, world: World) -> None:
        """Push the same tag for every image."""
        world.numbers += 1
        for image in world.images:
            world.push(image, f"1.{world.numbers}.{world.numbers}")

    async def push_bad_tag(self, world: World) -> None:
        if not self.demands.rollback:
            return await world.push_tag()
        world.numbers += 1
        digest = world.push(world.images[0], f"1.{world.numbers}.{world.numbers}")
        world.chronicle.bad.add(digest)
        return None

    async def move_tag(self, world: World) -> None:
        """Move a tag to another image; with a rollback in the guard, maybe one that does not start."""
        image = world.random.choice(world.images)
        digest = world.push(image, world.random.choice(world.tags(image) or ["1.0.0"]))
        if self.demands.rollback and world.random.random() < 0.3:
            world.chronicle.bad.add(digest)

    async def remove_tags(self, world: World) -> None:
        """Remove half of a repository's tags, or let the registry say so."""
        image = world.random.choice(world.images)
        tags = world.tags(image)
        for tag in world.random.sample(tags, len(tags) // 2):
            self.removed[image, tag] = world.remove(image, tag)

    async def restore_tags(self, world: World) -> None:
        for (image, tag), digest in self.removed.items():
            if tag not in world.tags(image):
                world.push(image, tag, digest)
        self.removed = {}

    # What people do to Git

    async def revert_line(self, world: World) -> None:
        """Put back what a marked line said before."""
        policy = world.random.choice(world.policies)
        path = f"app/{policy}.yaml"
        log = await world.repository.log()
        now = (await world.repository.files(log[0]))[path][1]
        for commit in log[1:20]:
            before = (await world.repository.files(commit))[path][1]
            if value_in(before) != value_in(now):
                await world.commit({path: with_value(now, value_in(before))}, f"Revert {policy}")
                return

    async def edit_around(self, world: World) -> None:
        """Edit a marked file elsewhere."""
        path = f"app/{world.random.choice(world.policies)}.yaml"
        now = (await world.head())[path]
        world.numbers += 1
        await world.commit({path: now + f"# {world.numbers}  \n".encode()}, "A remark")

    async def protect(self, world: World) -> None:
        await world.repository.refuse("" if world.repository.refusal else REFUSAL)

    # What people do to the policies

    async def delete_policy(self, world: World) -> None:
        """Delete a policy; who does it again while it is away brings it back."""
        policy = world.policies[0]
        if world.chronicle.is_gone(policy, world.clock.monotonic(), world.clock.monotonic()):
            await self._bring_back(world, policy)
            return
        world.chronicle.gone.setdefault(policy, []).append(Interval(world.clock.monotonic()))
        await world.cluster.delete(ObjectRef(IMAGE_POLICY, ObjectKey("default", policy)))

    async def _bring_back(self, world: World, policy: str) -> None:
        """Bring a policy back once it is really gone, its finalizer seen to; not at all after a minute."""
        for _ in range(60):
            if not await world.object(IMAGE_POLICY, policy):
                break
            await world.clock.sleep(1.0)
        else:
            return
        intervals = world.chronicle.gone[policy]
        intervals[-1] = Interval(intervals[-1].start, world.clock.monotonic())
        await world.cluster.apply(world.policy(policy), field_manager="world")

    # The end of all trouble

    async def make_peace(self, world: World) -> None:
        """Open every gate, put back what was taken away, and maybe push one more tag to converge on."""
        await self.lift(world)
        await self.restore_tags(world)
        await world.repository.refuse("")
        for policy in world.policies:
            if world.chronicle.is_gone(policy, world.clock.monotonic(), world.clock.monotonic()):
                await self._bring_back(world, policy)
        if self.demands.rollback or world.random.random() < 0.5:
            self.is_final = True
            for image in world.images:
                world.push(image, f"1.500.{world.numbers}")


DEEDS: tuple[Callable[[Safety, World], Awaitable[None]], ...] = (
    Safety.hold,
    Safety.freeze,
    Safety.skip,
    Safety.pin,
    Safety.lift,
    Safety.lift,
    Safety.approve,
    Safety.approve,
    Safety.push_release,
    Safety.push_bad_tag,
    Safety.push_bad_tag,
    Safety.move_tag,
    Safety.move_tag,
    Safety.remove_tags,
    Safety.restore_tags,
    Safety.revert_line,
    Safety.revert_line,
    Safety.edit_around,
    Safety.protect,
    Safety.delete_policy,
)


def version(tag: str) -> tuple[int, ...]:
    """Return what a tag `1.2.3` is compared by."""
    return tuple(map(int, tag.split(".")))


def allows(spec: Mapping[str, Any], at: float, grace: float) -> bool:
    """Tell whether a guard that says this lets bumps be made at `at`, give or take `grace` seconds."""
    if spec.get("holds"):
        return False
    moment = BEGINNING + timedelta(seconds=at)
    late = moment - timedelta(seconds=grace)
    for freeze in spec.get("freezes", ()):
        if freeze["start"] <= write_timestamp(late) and write_timestamp(moment) < freeze["end"]:
            return False
    return not spec.get("windows") or at % 120 < 60 + grace
