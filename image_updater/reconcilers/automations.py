"""ImageUpdateAutomation: what the policies chose, committed to Git wherever a file is marked for it.

    resolve the branch · nothing new? done · read the marked files · plan · push
        the branch moved meanwhile: begin again at once, on what is there now

Nothing is merged and nothing is forced: planning is cheap, so whoever lost the race plans again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from gitops_core.api import GitRepository
from gitops_core.errors import (
    ClusterError,
    GitAccessDenied,
    GitError,
    GitOpsError,
    PathNotFound,
    PushConflict,
    PushDenied,
    RefNotFound,
)
from gitops_core.meta import ObjectKey, Revision, seconds
from gitops_core.ports import Commit, GitRef, GitRemote, Query, Signature
from gitops_core.runtime.credentials import git_access
from gitops_core.runtime.reconciling import Notice, Outcome, Platform
from gitops_core.runtime.refusing import refuse_unsupported
from image_updater.api import GitSpec, ImagePolicy, ImageRef, ImageUpdateAutomation, ImageUpdateAutomationStatus
from image_updater.domain.markers import SCREEN, is_considered
from image_updater.domain.messages import commit_message, push_notice
from image_updater.domain.plan import CommitPlan, plan_commit, setters
from image_updater.domain.scans import REQUESTED_AT
from image_updater.domain.selectors import selector_text
from image_updater.errors import SourceInvalid, SourceMissing, UpdateFailed
from image_updater.reconcilers.notices import ready_notices

FIELD_MANAGER = "image-automation-controller"
TRIES = 10
LONGEST_PAUSE = 1.0
"""Seconds between two tries, before the draw."""


@dataclass(frozen=True)
class Source:
    """Where an automation reads and where it pushes.

    Attributes:
        tracked: whether the GitRepository itself looks at the push branch.
    """

    repository: GitRepository
    remote: GitRemote
    git: GitSpec
    ref: GitRef
    push_branch: str

    @property
    def switches(self) -> bool:
        """Whether commits go to another branch than the one that is read."""
        return self.push_branch != self.ref.branch or bool(self.ref.name or self.ref.tag or self.ref.commit)

    @property
    def tracked(self) -> bool:
        ref = self.repository.spec.ref
        if ref is None:
            return self.push_branch == "master"
        return self.push_branch == ref.branch and not (ref.name or ref.tag or ref.semver or ref.commit)


@dataclass(frozen=True)
class Run:
    """What one run came to.

    Attributes:
        observed: the revision that says the same as the policies now.
        pushed: the commit that was made, if one was, and its message.
    """

    observed: Revision
    pushed: Revision | None = None
    message: str = ""


@dataclass(frozen=True)
class ImageUpdateAutomationReconciler:
    """Implements Reconciler for ImageUpdateAutomation."""

    platform: Platform
    _writers: dict[tuple[str, str], asyncio.Lock] = field(default_factory=dict)

    async def reconcile(self, wanted: ImageUpdateAutomation) -> Outcome:
        refuse_unsupported(wanted, harmless=())
        started = self.platform.clock.now().replace(microsecond=0)
        status = msgspec.structs.replace(wanted.status, last_automation_run_time=started)
        try:
            policies = await self._policies(wanted)
            source = await self._source(wanted)
            # one writer a branch: our own automations need not race each other
            async with self._writers.setdefault((source.repository.spec.url, source.push_branch), asyncio.Lock()):
                run = await self._run(wanted, source, policies)
        except GitOpsError as error:
            raise error.carrying(status) from None
        await self._wake(source, run)
        return self._outcome(wanted, status, source, policies, run)

    async def finalize(self, wanted: ImageUpdateAutomation) -> None:
        """Nothing: commits stay."""

    def _outcome(
        self,
        wanted: ImageUpdateAutomation,
        status: ImageUpdateAutomationStatus,
        source: Source,
        policies: Mapping[str, ImageRef],
        run: Run,
    ) -> Outcome:
        status = msgspec.structs.replace(
            status, observed_policies=dict(policies), observed_source_revision=str(run.observed)
        )
        message = "repository up-to-date"
        notices = ready_notices(wanted, message)
        if run.pushed is not None:
            now = self.platform.clock.now().replace(microsecond=0)
            status = msgspec.structs.replace(status, last_push_commit=run.pushed.commit, last_push_time=now)
            text = push_notice(run.pushed.commit, source.push_branch, run.message)
            notices = (Notice("Normal", "Succeeded", text),)
        return Outcome(
            status=status,
            message=message,
            requeue_after=seconds(wanted.spec.interval),
            changed=run.pushed is not None,
            notices=notices,
        )

    # what is read before anything is decided

    async def _policies(self, wanted: ImageUpdateAutomation) -> dict[str, ImageRef]:
        """The images that the namespace's selected policies chose, by policy name; also of policies not Ready now."""
        labels = selector_text(wanted.spec.policy_selector)
        query = Query(ImagePolicy.KIND, namespace=wanted.metadata.namespace, labels=labels)
        found: dict[str, ImageRef] = {}
        token = ""
        while True:
            page = await self.platform.cluster.list(query, ImagePolicy, continue_token=token)
            for policy in page.items:
                if isinstance(policy, ImagePolicy) and policy.status.latest_ref is not None:
                    found[policy.metadata.name] = policy.status.latest_ref
            token = page.continue_token
            if not token:
                return dict(sorted(found.items()))

    async def _source(self, wanted: ImageUpdateAutomation) -> Source:
        git = wanted.spec.git
        if git is None:
            raise SourceInvalid(
                "source kind 'GitRepository' necessitates field .spec.git: invalid source configuration"
            )
        key = source_key(wanted)
        repository = await self.platform.objects.get(GitRepository, key)
        if repository is None:
            group = GitRepository.KIND.group
            raise SourceMissing(f'failed to get source: gitrepositories.{group} "{key.name}" not found')
        reference = git.checkout.ref if git.checkout is not None else repository.spec.ref
        ref = (
            GitRef()
            if reference is None
            else GitRef(
                branch=reference.branch,
                tag=reference.tag,
                semver=reference.semver,
                name=reference.name,
                commit=reference.commit,
            )
        )
        branch = (git.push.branch if git.push is not None else "") or ref.branch
        if not branch:
            raise SourceInvalid(
                "push spec not provided, and cannot be inferred from .spec.git.checkout.ref or "
                "GitRepository .spec.ref: invalid source configuration"
            )
        secret = repository.spec.secret_ref.name if repository.spec.secret_ref else ""
        access = await git_access(self.platform.cluster, key.namespace, secret, repository.spec.url)
        remote = self.platform.git.remote(repository.spec.url, access, timeout=seconds(repository.spec.timeout))
        return Source(repository, remote, git, ref, branch)

    # the loop

    async def _run(self, wanted: ImageUpdateAutomation, source: Source, policies: Mapping[str, ImageRef]) -> Run:
        for number in range(TRIES):
            base = await source.remote.resolve(source.ref)
            tip = await self._tip(source, base)
            if self._is_settled(wanted, source, policies, base, tip):
                return Run(base)
            parent = tip or base
            plan = await self._plan(wanted, source.remote, parent, policies)
            if not plan.edits:
                return Run(base)
            commit = self._commit(wanted, source, parent, plan)
            pushed = await self._push(source, commit)
            if pushed is not None:
                return Run(base if source.switches else pushed, pushed, commit.message)
            pause = min(LONGEST_PAUSE, 0.05 * 2**number)
            await self.platform.clock.sleep(pause * self.platform.chance.random())
        raise PushConflict(
            f"branch '{source.push_branch}' of {source.repository.spec.url} moved {TRIES} times while we tried to push"
        )

    async def _tip(self, source: Source, base: Revision) -> Revision | None:
        """Where the push branch is, or None when it is still to be made from the base."""
        if not source.switches:
            return base
        try:
            return await source.remote.resolve(GitRef(branch=source.push_branch))
        except RefNotFound:
            return None

    def _is_settled(
        self,
        wanted: ImageUpdateAutomation,
        source: Source,
        policies: Mapping[str, ImageRef],
        base: Revision,
        tip: Revision | None,
    ) -> bool:
        """Whether the last run saw just this and left nothing to do: then nothing is read."""
        status = wanted.status
        if source.switches and (tip is None or tip.commit != status.last_push_commit):
            return False
        return (
            status.observed_generation == wanted.metadata.generation
            and status.observed_source_revision == str(base)
            and status.observed_policies == policies
        )

    async def _plan(
        self, wanted: ImageUpdateAutomation, remote: GitRemote, parent: Revision, policies: Mapping[str, ImageRef]
    ) -> CommitPlan:
        folder = wanted.spec.update.path
        try:
            paths = await remote.search(parent, SCREEN, folder)
            tree = await remote.tree(parent, folder)
        except PathNotFound as error:
            raise UpdateFailed(str(error)) from None
        files = {path: tree[path] for path in paths if is_considered(path)}
        return plan_commit(files, setters(wanted.metadata.namespace, policies))

    def _commit(self, wanted: ImageUpdateAutomation, source: Source, parent: Revision, plan: CommitPlan) -> Commit:
        spec = source.git.commit
        message = commit_message(spec.message_template, wanted.key, plan.changes, spec.message_template_values)
        author = Signature(spec.author.name, spec.author.email, self.platform.clock.now().replace(microsecond=0))
        folder = "/".join(part for part in wanted.spec.update.path.split("/") if part not in ("", "."))
        edits = {f"{folder}/{path}" if folder else path: content for path, content in plan.edits.items()}
        return Commit(parent.commit, edits, message, author, author)

    async def _push(self, source: Source, commit: Commit) -> Revision | None:
        """The pushed commit, or None when it has to be planned again."""
        try:
            return await source.remote.push(commit, source.push_branch)
        except PushConflict:
            return None
        except (PushDenied, GitAccessDenied):
            raise
        except GitError as error:
            return await self._after_lost_answer(source, commit, error)

    async def _after_lost_answer(self, source: Source, commit: Commit, error: GitError) -> Revision | None:
        """The remote may have taken the commit although its answer was lost: look."""
        try:
            tip = await source.remote.resolve(GitRef(branch=source.push_branch))
            if tip.commit == commit.parent:
                raise error
            info = await source.remote.describe(tip)
        except GitError:
            raise error from None
        ours = info.author == commit.author and info.message.rstrip() == commit.message.rstrip()
        return tip if ours else None

    async def _wake(self, source: Source, run: Run) -> None:
        """Ask the GitRepository to look now, when we know a newer commit than it does: nobody waits for an interval.

        The commit is the token, so it is asked once for each.
        """
        repository = source.repository
        newest = run.pushed or run.observed
        seen = repository.status.artifact.revision if repository.status.artifact else ""
        asked = repository.metadata.annotations.get(REQUESTED_AT)
        if not source.tracked or seen.endswith(newest.commit) or asked == newest.commit:
            return
        patch = {"metadata": {"annotations": {REQUESTED_AT: newest.commit}}}
        with contextlib.suppress(ClusterError):  # the push is done; the GitRepository will look at its interval
            await self.platform.cluster.patch(repository.ref, patch, field_manager=FIELD_MANAGER)


def source_key(automation: ImageUpdateAutomation) -> ObjectKey:
    reference = automation.spec.source_ref
    return ObjectKey(reference.namespace or automation.metadata.namespace, reference.name)
