"""What must hold of the commits that processes make and, at rest, of what the policies chose.

every bump      changes marked values, each to what its policy had chosen and not given up since, and no other byte; it
                changes something
without one     no downgrade, unless the registry has lied about what it has
with a guard    a choice is as old as minAge asks, by the registry's own record
                no bump while the guard says hold, freeze or a closed window, without a yes, of a deleted policy
                no downgrade without a pin; no quarantined image; what is taken back, to what ran well before
                what a person set back stays until the policy chooses another image
                the members of a group move in one commit
at rest         every policy chose the best tag that its guard lets through, and Git says so, but for what was set back

A process cannot act on what it was not told. So it is blamed only when every process that lives had been told GRACE
seconds before: that long a commit may take from the last look to its arrival.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.simulation.files import value_in, with_value
from tests.simulation.records import Chronicle, Quarantine
from tests.simulation.safety import allows, version
from tests.simulation.world import World

BOT = "bot@example.com"


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True)
class Step:
    """A commit, and what the marked lines say before and after it, by policy."""

    commit: str
    at: float
    is_bump: bool
    before: Mapping[str, str]
    after: Mapping[str, str]

    @property
    def changed(self) -> tuple[str, ...]:
        return tuple(policy for policy, value in self.after.items() if self.before[policy] != value)

    def __str__(self) -> str:
        what = ", ".join(f"{policy} {self.before[policy]} -> {self.after[policy]}" for policy in self.changed)
        return f"bump {self.commit[:7]} at {self.at:.1f} ({what})"


@dataclass
class Walk:
    """What is known on the way through the commits.

    Attributes:
        refused: what people set back while their policies chose it, by policy: the value, and when.
        set_back: what people set back last, by policy, whatever was chosen then; "" when a bump came after it.
        said: every value that each line ever had.
    """

    refused: dict[str, tuple[str, float]] = field(default_factory=dict)
    set_back: dict[str, str] = field(default_factory=dict)
    said: dict[str, set[str]] = field(default_factory=dict)


async def check_bumps(world: World) -> int:
    """Check every bump, and return how many there were. Raises Broken."""
    if world.safety is not None:
        _check_ages(world)
    walk, bumps = Walk(), 0
    for step, before, after in await _steps(world):
        for policy, value in step.before.items():
            walk.said.setdefault(policy, set()).add(value)
        if step.is_bump:
            bumps += 1
            _check_bytes(step, before, after)
            _check_chosen(world.chronicle, step)
            if world.safety is not None:
                _check_guarded(world, step, walk)
            elif not world.chronicle.troubles.get("listings"):
                _check_direction(step)
        _remember(world.chronicle, step, walk)
    return bumps


async def _steps(world: World) -> Sequence[tuple[Step, Mapping[str, bytes], Mapping[str, bytes]]]:
    """Return every commit but the first one, oldest first, with the files before and after it."""
    repository, found = world.repository, []
    for commit in reversed(await repository.log()):
        if not (parent := repository.parent_of(commit)):
            continue
        trees = [{path: body for path, (_, body) in (await repository.files(oid)).items()} for oid in (parent, commit)]
        before, after = ({p: value_in(tree[f"app/{p}.yaml"]) for p in world.policies} for tree in trees)
        is_bump = _author_of(repository.objects[commit].body) == BOT
        found.append((Step(commit, world.chronicle.commits[commit], is_bump, before, after), trees[0], trees[1]))
    return found


def _remember(chronicle: Chronicle, step: Step, walk: Walk) -> None:
    for policy in step.changed:
        walk.refused.pop(policy, None)
        walk.set_back[policy] = "" if step.is_bump else step.before[policy]
        if not step.is_bump and chronicle.chosen_at(policy, step.at) == step.before[policy]:
            walk.refused[policy] = step.before[policy], step.at


# every bump


def _check_bytes(step: Step, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    marked = {f"app/{policy}.yaml" for policy in step.after}
    if not marked.issuperset(changed):
        raise Broken(f"{step} changed {changed}")
    if not step.changed:
        raise Broken(f"{step} was committed twice: {dict(step.after)}")
    for policy in step.after:
        path = f"app/{policy}.yaml"
        if with_value(before[path], step.after[policy]) != after[path]:
            raise Broken(f"{step} changed more than the tag in {path}")


def _check_chosen(chronicle: Chronicle, step: Step) -> None:
    for policy in step.changed:
        if step.after[policy] not in {c.text for c in chronicle.choices.get(policy, []) if c.at <= step.at}:
            raise Broken(f"{step}: the policy never chose it")
        believed = chronicle.believed(step.commit, policy, step.at)
        if step.after[policy] not in believed:
            raise Broken(f"{step}: the policy had given it up for {sorted(believed)}")


def _check_direction(step: Step) -> None:
    """Check that the best tag only gets better where none is ever taken away."""
    for policy in step.changed:
        if version(step.after[policy]) < version(step.before[policy]):
            raise Broken(f"{step}: {policy} went back to an older tag")


# what a guard demands


def _check_ages(world: World) -> None:
    """Check that no policy chose what was younger than minAge, but to take something back."""
    assert world.safety is not None
    chronicle, needed = world.chronicle, world.safety.demands.min_age
    for policy, image in zip(world.policies, world.images, strict=True):
        former = {entry.previous_tag for entry in chronicle.quarantined if entry.policy == policy}
        for choice in chronicle.choices.get(policy, []):
            age = choice.at - chronicle.since(image, policy, choice)
            if choice.tag and age < needed and choice.tag not in former:
                raise Broken(f"policy {policy} chose {choice.tag} at {choice.at:.1f}, {age:.1f}s old: minAge {needed}s")


def _check_guarded(world: World, step: Step, walk: Walk) -> None:
    chronicle = world.chronicle
    taken_back = {policy for policy in step.changed if _check_image(chronicle, step, policy, walk)}
    for policy in step.changed:
        if policy not in taken_back:
            _check_gates(world, step, policy)
            _check_refusal(chronicle, step, policy, walk)
    if not taken_back.issuperset(step.changed):
        _check_group(world, step)


def _check_image(chronicle: Chronicle, step: Step, policy: str, walk: Walk) -> bool:
    """Check the image, and tell whether the bump takes a quarantined one back."""
    old, new = step.before[policy], step.after[policy]
    entries, is_pinned = chronicle.quarantine(step.at, policy), chronicle.was_pinned(policy, _tag(new), step.at)
    image = chronicle.image_of(policy, new, step.at)
    if any(entry.is_of(image) and entry.at <= chronicle.before(step.at) for entry in entries):
        raise Broken(f"{step}: {policy} {new} was quarantined")
    blamed = [entry for entry in entries if entry.is_of(old)]
    # of a tag that names another image now, what ran before may be taken back too
    is_same_tag_back = _tag(new) == _tag(old) and any(entry.leads_to(new) for entry in blamed)
    if version(_tag(new)) >= version(_tag(old)) and not is_same_tag_back:
        return False
    if is_pinned:
        return bool(blamed)
    if not blamed:
        raise Broken(f"{step}: {policy} went back to an older tag, and nobody allowed it")
    if not any(entry.leads_to(new) for entry in entries) or _tag(new) not in map(_tag, walk.said[policy]):
        raise Broken(f"{step}: {policy} was taken back to {new}, which did not run before it")
    if _is_bad(chronicle, new):
        raise Broken(f"{step}: {policy} was taken back to {new}, which never started")
    return True


def _check_gates(world: World, step: Step, policy: str) -> None:
    assert world.safety is not None
    chronicle, late = world.chronicle, world.chronicle.before(step.at)
    told = chronicle.told_at(step.commit, "UpdateGuard", "shop")
    specs = [guard.spec for guard in chronicle.guards if guard.generation >= told and guard.at <= step.at]
    if not any(allows(spec, step.at, step.at - late) for spec in specs):
        raise Broken(f"{step}: the guard did not let it through: {specs}")
    approved = {(each, tag) for at, each, tag in chronicle.approved if at <= step.at}
    if world.safety.demands.approvals and (policy, _tag(step.after[policy])) not in approved:
        raise Broken(f"{step}: nobody said yes to {policy} {step.after[policy]}")
    is_gone = any(gone.start <= late and step.at < gone.end for gone in chronicle.gone.get(policy, ()))
    if is_gone and chronicle.told_at(step.commit, "ImagePolicy", policy) == -1:
        raise Broken(f"{step}: policy {policy} was deleted")


def _check_refusal(chronicle: Chronicle, step: Step, policy: str, walk: Walk) -> None:
    value, since = walk.refused.get(policy, ("", 0.0))
    if chronicle.chosen_at(policy, chronicle.before(since)) != value:
        return  # chosen just then: who saw the revert first saw nobody refuse anything
    others = [c for c in chronicle.choices[policy] if since < c.at <= step.at and c.text != value]
    if step.after[policy] == value and not others:
        raise Broken(f"{step}: somebody had set {policy} back from {value} at {since:.1f}")


def _check_group(world: World, step: Step) -> None:
    assert world.safety is not None
    demands, chronicle = world.safety.demands, world.chronicle
    late = chronicle.before(step.at)
    if not demands.group:
        return
    gone = {each for each in step.after if chronicle.is_gone(each, late, step.at)}
    gone |= {each for each in step.after if chronicle.told_at(step.commit, "ImagePolicy", each) == -1}  # for who pushed
    members = {each: said for each, said in step.after.items() if each not in gone}
    for policy in members.keys() - set(step.changed):
        recent = {chronicle.chosen_at(policy, at) for at in (late, step.at)}
        recent |= {c.text for c in chronicle.choices.get(policy, []) if late <= c.at <= step.at}
        if step.after[policy] not in recent:
            raise Broken(f"{step}: its group stayed behind: {policy} says {step.after[policy]}, not {sorted(recent)}")
    if demands.same_tag and len({_tag(value) for value in members.values()}) > 1:
        raise Broken(f"{step}: a group of one tag has {members}")


def _tag(value: str) -> str:
    return value.partition("@")[0]


def _is_bad(chronicle: Chronicle, value: str) -> bool:
    """Tell whether whatever the value ever named does not start."""
    tag, _, digest = value.partition("@")
    digests = {digest} if digest else {n.digest for (_, t), names in chronicle.named.items() if t == tag for n in names}
    return chronicle.bad.issuperset(digests - {""})


# at rest


async def check_choices(world: World, head: Mapping[str, bytes]) -> None:
    """Check that each policy chose its best tag, and that Git says so or may differ. Raises Broken."""
    behind = []
    for policy in world.policies:
        chosen = world.chronicle.chosen_at(policy, world.clock.monotonic())
        best = _best(world, policy)
        if best and _tag(chosen) != best:
            raise Broken(f"policy {policy} chose {chosen or 'nothing'}, and {best} is the best tag")
        if chosen and value_in(head[f"app/{policy}.yaml"]) != chosen:
            behind.append(f"Git says {value_in(head[f'app/{policy}.yaml'])}, the policy {chosen}")
    if behind and not await _may_differ(world, head):
        raise Broken("; ".join(behind))


async def _may_differ(world: World, head: Mapping[str, bytes]) -> bool:
    """Tell whether a person's revert, a downgrade or the group keeps Git from what the policies chose."""
    if world.safety is None or world.safety.is_final:
        return False
    walk = await _walk(world)
    tags = set()
    for policy in world.policies:
        chosen = world.chronicle.chosen_at(policy, world.clock.monotonic())
        now = value_in(head[f"app/{policy}.yaml"])
        # chosen again since: whether it counts as refused depends on when the automation saw what the person did
        is_refused = walk.set_back.get(policy) == chosen
        if is_refused or (chosen and version(_tag(chosen)) < version(_tag(now))):
            return True
        tags.add(_tag(chosen))
    return world.safety.demands.same_tag and len(tags) > 1


async def _walk(world: World) -> Walk:
    walk = Walk()
    for step, _, _ in await _steps(world):
        _remember(world.chronicle, step, walk)
    return walk


def may_stay_undecided(world: World) -> frozenset[str]:
    """Return the policies that no tag is good enough for."""
    if world.safety is None:
        return frozenset()
    return frozenset(policy for policy in world.policies if not _best(world, policy))


async def may_stay_failing(world: World, head: Mapping[str, bytes]) -> bool:
    """Tell whether a digest that its registry made up stays, kept by a policy or put back by a person.

    Until a rollback or another person, no Pod starts then.
    """
    if world.safety is None or world.safety.demands.rollback:
        return False
    kept, walk = world.safety.demands.kept, await _walk(world)
    staying = [policy for policy in world.policies if kept or walk.set_back.get(policy)]
    written = {policy: value_in(head[f"app/{policy}.yaml"]).partition("@")[2] for policy in staying}
    images = dict(zip(world.policies, world.images, strict=True))
    return any(digest and not world.chronicle.there_is(images[policy], digest) for policy, digest in written.items())


def _best(world: World, policy: str) -> str:
    """Return the tag that a policy must have chosen by now; "" when none is good enough, or no guard says so."""
    if world.safety is None:
        return ""
    image = world.images[world.policies.index(policy)]
    entries = world.chronicle.quarantine(world.clock.monotonic(), policy)
    return max(_eligible(world, image, entries), key=version, default="")


def _eligible(world: World, image: str, entries: list[Quarantine]) -> Iterator[str]:
    for tag in world.tags(image):
        digest = world.chronicle.named[image, tag][-1].digest
        is_quarantined = any(entry.tag == tag and entry.digest in ("", digest) for entry in entries)
        is_below = any(entry.tag != tag and version(tag) <= version(entry.tag) for entry in entries)
        if not is_quarantined and not is_below:
            yield tag


def _author_of(commit: bytes) -> str:
    found = re.search(rb"^author .*<(.*)>", commit, re.MULTILINE)
    return found[1].decode() if found else ""
