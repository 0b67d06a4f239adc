"""Reads what a plan needs and makes it: which files are marked, and what people set back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gitops_core.errors import PathNotFound, RefNotFound
from gitops_core.meta import ObjectKey, Revision, Tree
from gitops_core.ports import CommitInfo, GitRemote
from gitops_core.runtime.reconciling import Platform
from gitops_core.runtime.sharing.computing import READING
from image_updater.api import ImageRef, ImageUpdateAutomation, Reverted
from image_updater.domain.files.inventory import Step, find_refused_values, keep_set_back
from image_updater.domain.files.markers import SCREEN
from image_updater.domain.files.places import parse_setter
from image_updater.domain.files.plan import plan_commit
from image_updater.domain.files.sightings import Change, CommitPlan, Sighting
from image_updater.domain.files.targets import select_targeted
from image_updater.domain.forges.pullrequests import hold_refused
from image_updater.domain.guards.gates import Gatekeeper, regulate
from image_updater.errors import UpdateFailed
from image_updater.reconcilers.wishes import Wish

InFile = TypeVar("InFile", Change, Sighting)

MOST_READ = 30
"""Commits between two runs of which each is looked at for what people set back; every one may cost a fetch."""


@dataclass(frozen=True)
class Planned:
    """The plan of one wish. Its edits hold the paths below the repository's root, everything else below the folder."""

    wish: Wish
    plan: CommitPlan
    edits: Mapping[str, bytes]
    reverted: tuple[Reverted, ...] = ()
    opens: float | None = None
    """Seconds until something that is held may be let go by itself."""


@dataclass(frozen=True)
class Together:
    """What all wishes of a branch come to; `own` is of the automation that runs. The plan's edits are Planned.edits.

    Attributes:
        placed: the plan with every file by its path below the repository's root.
    """

    own: Planned
    plan: CommitPlan
    placed: CommitPlan
    images: Mapping[str, ImageRef]


async def plan_together(platform: Platform, remote: GitRemote, base: Revision, wishes: Sequence[Wish]) -> Together:
    """Plan all wishes on one commit, the first wish being that of the automation that runs.

    They are made in the order of the automations' names, so that it does not matter which of them runs.

    Raises:
        UpdateFailed: its folder is missing; that of another automation is left to itself.
    """
    own, planned, edits = wishes[0], dict[ObjectKey, Planned](), dict[str, bytes]()
    for wish in sorted(wishes, key=lambda wish: wish.automation.key):
        try:
            made = await plan_wish(platform, remote, base, wish, edits)
        # another automation's trouble is reported by itself, and must not keep this one from its commit
        except UpdateFailed:
            if wish is own:
                raise
            continue
        planned[wish.automation.key] = made
        edits |= made.edits
    plans = [made.plan for made in planned.values()]
    changes = tuple(change for plan in plans for change in plan.changes)
    sightings = tuple(sighting for plan in plans for sighting in plan.sightings)
    images = {name: image for made in planned.values() for name, image in made.wish.images.items()}
    placed = CommitPlan(
        edits,
        tuple(_move_below(made, change) for made in planned.values() for change in made.plan.changes),
        tuple(_move_below(made, sighting) for made in planned.values() for sighting in made.plan.sightings),
    )
    return Together(planned[own.automation.key], CommitPlan(edits, changes, sightings), placed, images)


async def plan_wish(
    platform: Platform, remote: GitRemote, base: Revision, wish: Wish, edited: Mapping[str, bytes]
) -> Planned:
    """Plan one wish on `base`, some of whose files have been edited already (by path below the root)."""
    files = await _read_files(platform, remote, base, wish, edited)
    now = platform.clock.now()
    known, run = wish.automation.status.reverted, platform.compute.run
    plan = await run(READING, _plan, wish, files, Gatekeeper(wish.gates, now, known))
    fresh = await _find_reverted(platform, remote, base, wish, plan)
    if fresh != known:
        known = fresh
        plan = await run(READING, _plan, wish, files, Gatekeeper(wish.gates, now, known))
    held = any(sighting.state == "held" for sighting in plan.sightings)
    opens = await run(READING, Gatekeeper(wish.gates, now).find_next_change) if held else None
    return Planned(
        wish,
        plan,
        {_join(wish.folder, path): content for path, content in plan.edits.items()},
        keep_set_back(known, plan.sightings),
        None if opens is None else max(0.0, (opens - now).total_seconds()),
    )


@dataclass(frozen=True)
class _Files(Mapping[str, bytes]):
    """Some files of a tree, read when they are asked for; those edited already as they are by now.

    Attributes:
        blobs: Git's names for the contents: a file that was read before need not be read again.
    """

    tree: Tree
    paths: tuple[str, ...]
    edited: Mapping[str, bytes]
    blobs: Mapping[str, str]

    def __getitem__(self, path: str) -> bytes:
        return self.edited[path] if path in self.edited else self.tree[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


def _plan(wish: Wish, files: _Files, keeper: Gatekeeper) -> CommitPlan:
    values = wish.values
    refuse = hold_refused(wish.automation.metadata.namespace, wish.images, wish.refused)

    def make(hold: Callable[[Change], str]) -> CommitPlan:
        return plan_commit(
            files,
            values,
            hold=lambda change: hold(change) or refuse(change),
            targets=wish.targets,
            blobs=files.blobs,
        )

    return regulate(keeper, make)


async def _read_files(
    platform: Platform, remote: GitRemote, revision: Revision, wish: Wish, edited: Mapping[str, bytes]
) -> _Files:
    """Return the files below the wish's folder that hold a marker, or that a target names.

    Raises:
        UpdateFailed: there is no such folder.
    """
    folder = wish.automation.spec.update.path
    try:
        paths = await remote.search(revision, SCREEN, folder)
        tree = await remote.fetch_tree(revision, folder)
    except PathNotFound as error:
        raise UpdateFailed(str(error)) from None
    return await platform.compute.run(READING, _select_files, tree, paths, wish, edited)


def _select_files(tree: Tree, found: tuple[str, ...], wish: Wish, edited: Mapping[str, bytes]) -> _Files:
    named = select_targeted(tree, wish.targets) if wish.targets else ()
    paths = tuple(dict.fromkeys((*found, *named)))
    here = {path: edited[whole] for path in paths if (whole := _join(wish.folder, path)) in edited}
    blobs = {path: blob for path in paths if path not in here and (blob := tree.find_blob(path))}
    return _Files(tree, paths, here, blobs)


async def _find_reverted(
    platform: Platform, remote: GitRemote, base: Revision, wish: Wish, plan: CommitPlan
) -> tuple[Reverted, ...]:
    """Return the images that people set back since the last run; only files with something to change are read again.

    Also where the change is held for now: the next run begins where this one has read.
    """
    status = wish.automation.status
    guarded = {base for base, gate in wish.gates.items() if not gate.rules.allow_reverted}
    waiting = [sighting for sighting in plan.sightings if sighting.state in ("pending", "held") and sighting.desired]
    paths = {sighting.file for sighting in waiting if parse_setter(sighting.setter).base in guarded}
    last = status.observed_source_revision.rpartition(":")[2]
    if not paths or last == base.commit:
        return status.reverted
    states = []
    for commit, is_ours in await _list_way(remote, base, last, wish.automation):
        if commit == base.commit:
            found = tuple(sighting for sighting in plan.sightings if sighting.file in paths)
        else:
            found = await _read_sightings(platform, remote, Revision(base.name, commit), wish, paths)
        states.append(Step(tuple(s for s in found if parse_setter(s.setter).base in guarded), is_ours))
    return find_refused_values(status.reverted, states[0].sightings, states[1:]) if states else status.reverted


async def _list_way(
    remote: GitRemote, base: Revision, last: str, automation: ImageUpdateAutomation
) -> list[tuple[str, bool]]:
    """Return the commits from the last one known to have been observed up to `base`, and whether each is ours.

    What we pushed may not be among those observed: whoever pushed it may have died before its status was written. So
    what lies between is read one by one, MOST_READ at most; with more, or where the history was rewritten, there is
    one step. An automation that observed nothing yet begins with the first commit of ours.
    """
    way: list[tuple[str, bool]] = []
    commit = base.commit
    while commit and commit != last and len(way) < MOST_READ:
        try:
            info = await remote.describe(Revision(base.name, commit))
        except RefNotFound:
            break
        way.append((commit, _is_by(info, automation)))
        commit = last if last in info.parents else next(iter(info.parents), "")
    way.reverse()
    if not last:
        return way[next((number for number, (_, is_ours) in enumerate(way) if is_ours), len(way)) :]
    return [(last, False), *(way if commit == last else way[-1:])]


def _is_by(info: CommitInfo, automation: ImageUpdateAutomation) -> bool:
    """Tell whether the automation's author made the commit, and nobody amended it since."""
    author = automation.spec.git.commit.author if automation.spec.git is not None else None
    if author is None or info.author != info.committer:
        return False
    return (info.author.name, info.author.email) == (author.name, author.email)


async def _read_sightings(
    platform: Platform, remote: GitRemote, revision: Revision, wish: Wish, paths: Iterable[str]
) -> tuple[Sighting, ...]:
    """Return the sightings in some files at another commit; () when nobody knows them any more."""
    try:
        tree = await remote.fetch_tree(revision, wish.automation.spec.update.path)
    except (PathNotFound, RefNotFound):
        return ()
    return await platform.compute.run(READING, _find_sightings, tree, tuple(sorted(paths)), wish)


def _find_sightings(tree: Tree, paths: Iterable[str], wish: Wish) -> tuple[Sighting, ...]:
    there = tuple(path for path in paths if path in tree)
    blobs = {path: blob for path in there if (blob := tree.find_blob(path))}
    return plan_commit(_Files(tree, there, {}, blobs), wish.values, targets=wish.targets, blobs=blobs).sightings


def _move_below(made: Planned, item: InFile) -> InFile:
    return item._replace(file=_join(made.wish.folder, item.file))


def _join(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path
