"""ImageUpdateAutomation: what the policies chose, committed to Git wherever a file is marked for it.

sources.py         where it reads and pushes         wishes.py    what automations want of that branch
pullrequests.py    what is proposed there            planning.py  what a commit would change, and what is held back
writing.py         the loop: observe, plan, push     waking.py    the sources that have to look at a push of ours
"""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import msgspec

from gitops_core.errors import GitBusy, GitOpsError, Postponed, StalledError
from gitops_core.meta import ObjectKey, parse_duration
from gitops_core.ports import NO_CLOUDS, Clouds
from gitops_core.runtime.loop.refusing import refuse_unsupported
from gitops_core.runtime.reconciling import Notice, Outcome, Platform
from gitops_core.runtime.sharing.places import Line, PlacesTaken
from image_updater.api import ImageUpdateAutomation, ImageUpdateAutomationStatus
from image_updater.domain.files.inventory import (
    count_states,
    find_settled_images,
    mark_applied,
    report_unsettled,
)
from image_updater.domain.files.messages import write_push_notice
from image_updater.domain.files.targets import DeclaredTarget
from image_updater.reconcilers.notices import make_ready_notices
from image_updater.reconcilers.pullrequests import ANNOTATION, PullRequests, Review
from image_updater.reconcilers.sources import Source, get_source_key, open_source
from image_updater.reconcilers.waking import wake_sources
from image_updater.reconcilers.writing import Job, Run, Writer

__all__ = ["ImageUpdateAutomationReconciler", "get_source_key"]

UP_TO_DATE = "repository up-to-date"
SHORTEST_WAIT = 1.0
MOST_WAITING = 8
"""Automations that wait for their turn at one branch; more of them give their workers back meanwhile."""
PATIENCE, LONGEST_WAIT = 30.0, 300.0
"""Seconds that they wait where no turn ends, and in all."""


@dataclass(frozen=True)
class ImageUpdateAutomationReconciler:
    """Implements Reconciler for ImageUpdateAutomation.

    Attributes:
        proposals: None where no forge can be reached: who asks for a pull request is told.
    """

    platform: Platform
    proposals: PullRequests | None = None
    clouds: Clouds = NO_CLOUDS
    _lines: WeakValueDictionary[tuple[str, str], Line] = field(default_factory=WeakValueDictionary)
    _targets: dict[ObjectKey, tuple[DeclaredTarget, ...]] = field(default_factory=dict)
    """Those that the last run of an automation planned with; the status does not tell."""

    async def reconcile(self, wanted: ImageUpdateAutomation) -> Outcome:
        refuse_unsupported(wanted, harmless=())
        started = self.platform.clock.now().replace(microsecond=0)
        status = msgspec.structs.replace(wanted.status, last_automation_run_time=started)

        writer = None
        try:
            source = await open_source(self.platform, wanted, self.clouds)
            review = await self._look(wanted, source)
            writer = Writer(self.platform, self._make_job(wanted, source, review))
            run = await self._run(writer)
        except GitOpsError as error:
            raise error.carry(_keep_announced(status, writer)) from None
        status = _keep_announced(status, writer)
        self._targets[wanted.key] = run.wish.targets
        status = self._make_status(status, source, run)
        await self._wake(wanted, source, run)
        notices = self._make_notices(wanted, source, run, status)
        try:
            status = msgspec.structs.replace(status, pull_request=await self._settle(wanted, review, run))
        except GitOpsError as error:
            for notice in notices if run.pushed is not None else ():  # what was done is told, whatever came next
                self.platform.events.emit(wanted, notice.type, notice.reason, notice.message, notice.metadata)
            raise error.carry(status) from None
        interval = parse_duration(wanted.spec.interval)
        opens = run.planned.opens if run.planned is not None else None
        return Outcome(
            status=status,
            message=_write_message(status),
            requeue_after=interval if opens is None else min(interval, max(SHORTEST_WAIT, opens)),
            changed=run.pushed is not None,
            notices=notices,
        )

    async def finalize(self, wanted: ImageUpdateAutomation) -> None:
        """Forget the automation's targets. In Git nothing changes: commits stay."""
        self._targets.pop(wanted.key, None)

    async def _run(self, writer: Writer) -> Run:
        """Run one writer a branch at a time: our own automations need not race each other.

        Raises:
            Postponed: many wait for the branch already.
            GitBusy: the one whose turn it is gets no answer.
        """
        source = writer.job.source
        branch = (source.url, source.push_branch)
        line = self._lines.setdefault(branch, Line(source.url, 1, PATIENCE))
        if line.waiting >= MOST_WAITING:
            raise Postponed(f"many wait for branch '{source.push_branch}' of {source.url}")
        try:
            owner = await line.enter(LONGEST_WAIT)
        except PlacesTaken:
            raise GitBusy(
                f"another ImageUpdateAutomation waits for an answer about branch '{source.push_branch}' of {source.url}"
            ) from None
        is_done = None
        try:
            run = await writer.run()
            is_done = True
        finally:
            line.leave(owner, answered=is_done)
        return run

    def _make_job(self, wanted: ImageUpdateAutomation, source: Source, review: Review | None) -> Job:
        if review is not None:
            return Job(wanted, source, review.refused)
        return Job(wanted, source, settled=self._targets.get(wanted.key, ()))

    # pull requests

    async def _look(self, wanted: ImageUpdateAutomation, source: Source) -> Review | None:
        if self.proposals is not None:
            return await self.proposals.look(wanted, source)
        if ANNOTATION in wanted.metadata.annotations:
            raise StalledError(f"annotation {ANNOTATION}: pull requests cannot be made from here")
        return None

    async def _settle(self, wanted: ImageUpdateAutomation, review: Review | None, run: Run) -> str:
        """Settle the pull request that proposes what is on the branch by now; return its URL, or ""."""
        if self.proposals is None or review is None or run.together is None:
            return ""
        plan, images = run.together.placed, run.together.images
        return await self.proposals.settle(review, wanted.metadata.namespace, plan, images)

    # what is told

    def _make_status(
        self, status: ImageUpdateAutomationStatus, source: Source, run: Run
    ) -> ImageUpdateAutomationStatus:
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
        namespace, former = run.wish.automation.metadata.namespace, status.observed_policies
        return msgspec.structs.replace(
            status,
            observed_policies=find_settled_images(namespace, run.wish.images, former, sightings),
            markers=count_states(sightings),
            unsettled=report_unsettled(sightings, self.platform.policy.reported_places),
            reverted=run.planned.reverted,
        )

    def _make_notices(
        self, wanted: ImageUpdateAutomation, source: Source, run: Run, status: ImageUpdateAutomationStatus
    ) -> tuple[Notice, ...]:
        if run.pushed is None:
            return make_ready_notices(wanted, _write_message(status))
        text = write_push_notice(run.pushed.commit, source.push_branch, run.message, source.refspec)
        return (Notice("Normal", "Succeeded", text),)

    async def _wake(self, wanted: ImageUpdateAutomation, source: Source, run: Run) -> None:
        """Ask the sources of the branch to look, when we know a newer commit than they do."""
        if run.pushed is not None:
            await wake_sources(self.platform, wanted, source, run.pushed.commit)
        elif not source.switches:
            await wake_sources(self.platform, wanted, source, run.observed.commit)


def _write_message(status: ImageUpdateAutomationStatus) -> str:
    """Return the message of Ready: the original's words, followed by what is held back and why."""
    held = [place for place in status.unsettled if place.state == "held" and place.desired]
    if not held:
        return UP_TO_DATE
    first = held[0]
    return f"{UP_TO_DATE}; {len(held)} held: {first.file}:{first.line} {first.setter}: {first.cause}"


def _keep_announced(status: ImageUpdateAutomationStatus, writer: Writer | None) -> ImageUpdateAutomationStatus:
    if writer is None or writer.announced is None:
        return status
    return msgspec.structs.replace(status, pushing=writer.announced)
