"""ImageUpdateAutomation: what the policies chose, committed to Git wherever a file is marked for it.

sources.py    where it reads and pushes        planning.py   what a commit would change, and what is held back
writing.py    the loop: observe, plan, push    waking.py     the sources that have to look at a push of ours
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import msgspec

from gitops_core.errors import GitBusy, GitOpsError, Postponed, StalledError
from gitops_core.meta import ObjectKey, Revision, seconds
from gitops_core.runtime.places import Line, PlacesTaken
from gitops_core.runtime.reconciling import Notice, Outcome, Platform
from gitops_core.runtime.refusing import refuse_unsupported
from gitops_core.schema import from_manifest
from image_updater.api import ImageRef, ImageUpdateAutomation, ImageUpdateAutomationStatus, Pushing
from image_updater.domain.files.inventory import (
    MOST_REPORTED,
    counts,
    find_settled_images,
    mark_applied,
    report_unsettled,
)
from image_updater.domain.files.messages import push_notice
from image_updater.domain.files.plan import Spot
from image_updater.domain.files.targets import DeclaredTarget
from image_updater.domain.forges.pullrequests import PullRequest
from image_updater.domain.guards.vouching import holder, same_repository
from image_updater.errors import BranchTaken, SelectorInvalid, SourceInvalid, SourceMissing
from image_updater.reconcilers.notices import ready_notices
from image_updater.reconcilers.planning import Part, read_part, with_refusals
from image_updater.reconcilers.pullrequests import ANNOTATION, PullRequests, Review, refusals
from image_updater.reconcilers.sources import Place, Source, open_source, place_of, source_key
from image_updater.reconcilers.waking import wake_sources
from image_updater.reconcilers.writing import Job, Run, Writer

__all__ = ["ImageUpdateAutomationReconciler", "source_key"]

UP_TO_DATE = "repository up-to-date"
SHORTEST_WAIT = 1.0
MOST_WAITING = 8
"""Automations that wait for their turn at one branch; more of them give their workers back meanwhile."""
PATIENCE, LONGEST_WAIT = 30.0, 300.0
"""Seconds that they wait where no turn ends, and in all."""


@dataclass(frozen=True)
class Asked:
    """The pull requests of an automation that asks for one, as they were before anything was planned."""

    review: Review
    found: tuple[PullRequest, ...]


@dataclass(frozen=True)
class ImageUpdateAutomationReconciler:
    """Implements Reconciler for ImageUpdateAutomation.

    Attributes:
        proposals: None where no forge can be reached: who asks for a pull request is told.
        most_reported: how many places that are not applied a status names.
    """

    platform: Platform
    proposals: PullRequests | None = None
    most_reported: int = MOST_REPORTED
    _lines: WeakValueDictionary[tuple[str, str], Line] = field(default_factory=WeakValueDictionary)
    _targets: dict[ObjectKey, tuple[DeclaredTarget, ...]] = field(default_factory=dict)
    """Those that the last run of an automation planned with; the status does not tell."""

    async def reconcile(self, wanted: ImageUpdateAutomation) -> Outcome:
        refuse_unsupported(wanted, harmless=())
        started = self.platform.clock.now().replace(microsecond=0)
        status = msgspec.structs.replace(wanted.status, last_automation_run_time=started)

        async def announce(pushing: Pushing) -> None:
            nonlocal status
            await self.platform.statuses.write(wanted, msgspec.structs.replace(wanted.status, pushing=pushing))
            status = msgspec.structs.replace(status, pushing=pushing)

        try:
            source = await open_source(self.platform, wanted)
            asked = await self._asked(wanted, source)
            run = await self._run(source, self._job(wanted, source, asked, announce))
        except GitOpsError as error:
            raise error.carrying(status) from None
        self._targets[wanted.key] = run.part.targets
        status = self._status(status, source, run)
        await self._wake(source, run)
        notices = self._notices(wanted, source, run, status)
        try:
            status = msgspec.structs.replace(status, pull_request=await self._settle(wanted, asked, run))
        except GitOpsError as error:
            for notice in notices if run.pushed is not None else ():  # what was done is told, whatever came next
                self.platform.events.emit(wanted, notice.type, notice.reason, notice.message, notice.metadata)
            raise error.carrying(status) from None
        interval = seconds(wanted.spec.interval)
        opens = run.planned.opens if run.planned is not None else None
        return Outcome(
            status=status,
            message=_message(status),
            requeue_after=interval if opens is None else min(interval, max(SHORTEST_WAIT, opens)),
            changed=run.pushed is not None,
            notices=notices,
        )

    async def finalize(self, wanted: ImageUpdateAutomation) -> None:
        """Nothing in Git: commits stay."""
        self._targets.pop(wanted.key, None)

    async def _run(self, source: Source, job: Job) -> Run:
        """One writer a branch at a time: our own automations need not race each other.

        Raises:
            Postponed: many wait for the branch already.
            GitBusy: the one whose turn it is gets no answer.
        """
        branch = (source.url, source.push_branch)
        line = self._lines.setdefault(branch, Line(source.url, 1, PATIENCE))
        if line.waiting >= MOST_WAITING:
            raise Postponed(f"many wait for branch '{source.push_branch}' of {source.url}")
        try:
            await line.enter(LONGEST_WAIT)
        except PlacesTaken:
            raise GitBusy(
                f"another ImageUpdateAutomation waits for an answer about branch '{source.push_branch}' of {source.url}"
            ) from None
        is_done = None
        try:
            run = await Writer(self.platform, job).run()
            is_done = True
        finally:
            line.leave(answered=is_done)
        return run

    # what is wanted of the branch

    def _job(
        self,
        wanted: ImageUpdateAutomation,
        source: Source,
        asked: Asked | None,
        announce: Callable[[Pushing], Awaitable[None]],
    ) -> Job:
        async def parts(tip: Revision | None) -> tuple[Part, ...]:
            found = (await read_part(self.platform, wanted), *await self._sharers(wanted, source, tip))
            if asked is None:
                return found
            refused = self._refused(wanted, asked, found)
            return tuple(with_refusals(part, refused) for part in found)

        def is_settled(part: Part, base: Revision, tip: Revision | None) -> bool:
            return asked is None and self._is_settled(part, source, base, tip)

        return Job(wanted, source, parts, is_settled, announce, self._statuses)

    async def _statuses(self, automations: Iterable[ImageUpdateAutomation]) -> tuple[ImageUpdateAutomationStatus, ...]:
        """As they are stored now: the watches may not know yet what another one pushed."""
        found = [await self.platform.cluster.get(automation.ref) for automation in automations]
        return tuple(from_manifest(ImageUpdateAutomation, m).status for m in found if m is not None)

    async def _sharers(self, wanted: ImageUpdateAutomation, source: Source, tip: Revision | None) -> tuple[Part, ...]:
        """What other automations want of a branch that is made anew.

        Raises:
            BranchTaken: one that cannot share it holds it.
        """
        parts, rivals = [], []
        for other in await self.platform.objects.list(ImageUpdateAutomation):
            if other.key == wanted.key or other.spec.suspend or other.metadata.deletion_timestamp is not None:
                continue
            try:
                place = await place_of(self.platform.objects, other)
            except (SourceInvalid, SourceMissing):
                continue  # it says so itself
            if not same_repository(place.url, source.url) or place.push_branch != source.push_branch:
                continue
            if _share(wanted, source, other, place):
                try:
                    parts.append(await read_part(self.platform, other))
                except SelectorInvalid:
                    continue
            elif source.switches or place.switches:
                rivals.append(other)
        if (key := holder(tip.commit if tip is not None else "", wanted, rivals)) is not None:
            raise BranchTaken(
                f"branch '{source.push_branch}' of {source.url} is written by ImageUpdateAutomation '{key}' from"
                " another base: give each of them a push branch of its own",
                retry_after=seconds(wanted.spec.interval),
            )
        return tuple(parts)

    def _is_settled(self, part: Part, source: Source, base: Revision, tip: Revision | None) -> bool:
        """Whether the last run saw just this and left nothing to do: then nothing is read."""
        wanted = part.automation
        status = wanted.status
        if source.switches and (tip is None or tip.commit != status.last_push_commit):
            return False
        return (
            status.observed_generation == wanted.metadata.generation
            and status.observed_source_revision == str(base)
            and status.observed_policies == part.images
            and self._targets.get(wanted.key, ()) == part.targets
        )

    # pull requests

    async def _asked(self, wanted: ImageUpdateAutomation, source: Source) -> Asked | None:
        if self.proposals is None:
            if ANNOTATION in wanted.metadata.annotations:
                raise StalledError(f"annotation {ANNOTATION}: pull requests cannot be made from here")
            return None
        ref = source.ref
        base = "" if ref.name or ref.tag or ref.commit else ref.branch
        review = await self.proposals.review(wanted, source.url, source.access, source.push_branch, base)
        return Asked(review, await self.proposals.look(review)) if review is not None else None

    def _refused(self, wanted: ImageUpdateAutomation, asked: Asked, parts: tuple[Part, ...]) -> Callable[[Spot], str]:
        images: dict[str, ImageRef] = {}
        for part in parts:
            images |= part.images
        return refusals(asked.review, asked.found, wanted.metadata.namespace, images)

    async def _settle(self, wanted: ImageUpdateAutomation, asked: Asked | None, run: Run) -> str:
        """The URL of the pull request that proposes what is on the branch by now, or ""."""
        if self.proposals is None or asked is None or run.together is None:
            return ""
        plan, images = run.together.placed, run.together.images
        return await self.proposals.settle(asked.review, asked.found, wanted.metadata.namespace, plan, images)

    # what is told

    def _status(self, status: ImageUpdateAutomationStatus, source: Source, run: Run) -> ImageUpdateAutomationStatus:
        status = msgspec.structs.replace(status, observed_source_revision=str(run.observed))
        if run.pushed is not None:
            now = self.platform.clock.now().replace(microsecond=0)
            status = msgspec.structs.replace(
                status, last_push_commit=run.pushed.commit, last_push_time=now, pushing=None
            )
        elif run.standing is not None:
            status = msgspec.structs.replace(status, last_push_commit=run.standing.commit, pushing=None)
        if run.planned is None:
            return status
        sightings = run.planned.plan.sightings
        if run.pushed is not None and not source.switches:
            sightings = mark_applied(sightings)
        namespace, former = run.part.automation.metadata.namespace, status.observed_policies
        return msgspec.structs.replace(
            status,
            observed_policies=find_settled_images(namespace, run.part.images, former, sightings),
            markers=counts(sightings),
            unsettled=report_unsettled(sightings, self.most_reported),
            reverted=run.planned.reverted,
        )

    def _notices(
        self, wanted: ImageUpdateAutomation, source: Source, run: Run, status: ImageUpdateAutomationStatus
    ) -> tuple[Notice, ...]:
        if run.pushed is None:
            return ready_notices(wanted, _message(status))
        text = push_notice(run.pushed.commit, source.push_branch, run.message, source.refspec)
        return (Notice("Normal", "Succeeded", text),)

    async def _wake(self, source: Source, run: Run) -> None:
        """Ask the sources of the branch to look, when we know a newer commit than they do."""
        if run.pushed is not None:
            await wake_sources(self.platform, source.url, source.push_branch, run.pushed.commit)
        elif not source.switches:
            await wake_sources(self.platform, source.url, source.push_branch, run.observed.commit)


def _message(status: ImageUpdateAutomationStatus) -> str:
    """What Ready says: the original's words, and behind them what is held back and why."""
    held = [place for place in status.unsettled if place.state == "held" and place.desired]
    if not held:
        return UP_TO_DATE
    first = held[0]
    return f"{UP_TO_DATE}; {len(held)} held: {first.file}:{first.line} {first.setter}: {first.cause}"


def _share(wanted: ImageUpdateAutomation, source: Source, other: ImageUpdateAutomation, place: Place) -> bool:
    """Whether two automations make the same branch anew from the same base, with the same rights."""
    same_source = place.repository.key == source.repository.key and place.ref == source.ref
    return source.switches and same_source and other.metadata.namespace == wanted.metadata.namespace
