"""The loop that brings a branch to what the policies chose: one commit, by one writer.

    resolve the branch · nothing new? done · read the marked files · plan · push
        the branch moved meanwhile: begin again at once, on what is there now

Nothing is merged. A branch that is read is only ever added to. Another push branch is made anew from what is read, as
one commit on top of it: what somebody else put there is never given up for that. Ours is what we recorded: the id of
what was pushed, and before a push its parent and tree, for a process that dies between the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gitops_core.errors import GitAccessDenied, GitError, PushConflict, PushDenied, RefNotFound, SigningFailed
from gitops_core.meta import ObjectKey, ObjectRef, Revision, Sensitive, parse_duration
from gitops_core.ports import Commit, CommitInfo, GitRef, Signature, Signer
from gitops_core.runtime.reconciling import Platform
from gitops_core.runtime.remotes.credentials import SECRET, decode_data
from gitops_core.runtime.sharing.computing import READING
from image_updater.api import ImageUpdateAutomation, ImageUpdateAutomationStatus, Pushing, SigningKey
from image_updater.domain.files.messages import write_message
from image_updater.domain.files.targets import DeclaredTarget
from image_updater.domain.forges.pullrequests import Version
from image_updater.domain.guards.gates import Gatekeeper
from image_updater.domain.guards.vouching import is_recorded
from image_updater.errors import BranchTaken
from image_updater.reconcilers.planning import Planned, Together, plan_together
from image_updater.reconcilers.sources import Source
from image_updater.reconcilers.wishes import Wish, is_settled, read_statuses, read_wishes

TRIES = 20
SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.2
"""Seconds between two tries, before the draw. The quick ones win against writers who commit now and then."""


@dataclass(frozen=True)
class Job:
    """What to bring to which branch.

    Attributes:
        refused: what people do not want to be proposed again.
        settled: the targets that the last run planned with; None: it is planned in any case.
    """

    wanted: ImageUpdateAutomation
    source: Source
    refused: frozenset[Version] = frozenset()
    settled: tuple[DeclaredTarget, ...] | None = None


@dataclass(frozen=True)
class Run:
    """What one run came to.

    Attributes:
        wish: what was wanted.
        observed: the revision that was read, or the pushed one where the same branch is read and pushed.
        together: None when nothing had to be read.
        pushed: the commit that was made, if one was, and its message.
        standing: the tip of another push branch that says it all.
    """

    wish: Wish
    observed: Revision
    together: Together | None = None
    pushed: Revision | None = None
    message: str = ""
    standing: Revision | None = None

    @property
    def planned(self) -> Planned | None:
        return self.together.own if self.together is not None else None


@dataclass
class Writer:
    """Does one job; to be run by one task for each repository and branch.

    Attributes:
        announced: what was about to be pushed at last, as the status says since.
    """

    platform: Platform
    job: Job
    announced: Pushing | None = None

    async def run(self) -> Run:
        """Plan, commit and push. Raises GitError, UpdateFailed, BranchTaken, TemplateFieldRemoved, GitOperationFailed,
        SigningFailed.
        """
        source, last, pushes = self.job.source, "", self.platform.metrics.pushes
        for number in range(TRIES):
            base = await source.remote.resolve(source.ref)
            tip = await self._find_tip(base)
            own, *others = await read_wishes(self.platform, self.job.wanted, source, tip, self.job.refused)
            if self.job.settled is not None and is_settled(own, self.job.settled, source, base, tip):
                return Run(own, base, standing=tip if source.switches else None)
            together = await plan_together(self.platform, source.remote, base, (own, *others))
            if not together.plan.edits:
                return Run(own, base, together)
            commit = await self._commit(base, together)
            if tip is not None and source.switches and await self._is_pushed(commit, tip, (own, *others)):
                return Run(own, base, together, standing=tip)
            try:
                pushed = await self._push(commit, tip, (own, *others))
            except PushConflict as conflict:
                pushes.labels("Conflict").inc()
                last = str(conflict)
            except GitError as error:
                pushes.labels(error.reason).inc()
                raise
            else:
                pushes.labels("Succeeded").inc()
                return Run(own, base if source.switches else pushed, together, pushed, commit.message)
            pause = min(LONGEST_PAUSE, SHORTEST_PAUSE * 1.5**number)
            await self.platform.clock.sleep(pause * self.platform.chance.random())
        why = f"; at last: {last}" if source.refspec else ""
        raise PushConflict(
            f"branch '{source.push_branch}' of {source.url} moved {TRIES} times while we tried to push{why}"
        )

    async def _find_tip(self, base: Revision) -> Revision | None:
        """Return the tip of the push branch, or None when it is still to be made."""
        source = self.job.source
        if not source.switches:
            return base
        try:
            return await source.remote.resolve(GitRef(branch=source.push_branch))
        except RefNotFound:
            return None

    # the commit

    async def _commit(self, base: Revision, together: Together) -> Commit:
        spec = self.job.source.git.commit
        message = await self.platform.compute.run(READING, self._write_message, together)
        author = Signature(spec.author.name, spec.author.email, self.platform.clock.now().replace(microsecond=0))
        signer = await self._make_signer(spec.signing_key) if spec.signing_key is not None else None
        return Commit(base.commit, together.plan.edits, message, author, author, signer)

    def _write_message(self, together: Together) -> str:
        spec, changes = self.job.source.git.commit, together.plan.changes
        back, values = self._explain_taken_back(together), spec.message_template_values
        return write_message(spec.message_template, self.job.wanted.key, changes, values, back)

    def _explain_taken_back(self, together: Together) -> tuple[str, ...]:
        """Say why images are taken back, each once."""
        keeper = Gatekeeper(together.own.wish.gates, self.platform.clock.now())
        found = {}
        for change in together.plan.changes:
            entry = keeper.find_taken_back(change)
            if entry is not None:
                found[entry.policy, entry.tag] = f"Takes back {entry.tag} of {entry.policy}: {entry.reason}"
        return tuple(found.values())

    async def _make_signer(self, key: SigningKey) -> Signer:
        """Return what signs with the key of the Secret. Raises SigningFailed, ClusterError."""
        where = ObjectKey(self.job.wanted.metadata.namespace, key.secret_ref.name)
        manifest = await self.platform.cluster.get(ObjectRef(SECRET, where))
        if manifest is None:
            raise SigningFailed(f"signing key: failed to get secret '{where}': not found")
        try:
            values = {name: Sensitive(value) for name, value in decode_data(manifest).items()}
        except ValueError:
            raise SigningFailed(f"signing key: secret '{where}' holds data that is not base64") from None
        return await self.platform.git.load_signer(key.type, values, f"signing key: secret '{where}'")

    async def _is_pushed(self, commit: Commit, tip: Revision, wishes: tuple[Wish, ...]) -> bool:
        """Tell whether the push branch has the very content of `commit` already.

        Raises:
            BranchTaken: somebody else committed there.
        """
        source = self.job.source
        if tip.commit == commit.parent:
            return False
        info = await source.remote.describe(tip)
        tree = await source.remote.preview(commit)
        # who lost the status finds that there is just what would be pushed: nothing of anybody's can be lost
        is_there = _is_same(info, commit, tree)
        if not is_there and not await self._is_ours(info, wishes):
            raise BranchTaken(
                f"branch '{source.push_branch}' of {source.url} is at commit {tip.commit[:7]} by "
                f"{info.author.email!r}, which is not ours: it is left as it is; merge it, or delete the branch",
                retry_after=parse_duration(self.job.wanted.spec.interval),
            )
        return is_there or (info.parents == (commit.parent,) and info.tree == tree)

    async def _is_ours(self, info: CommitInfo, wishes: tuple[Wish, ...]) -> bool:
        """Tell whether one of the automations that share the branch recorded it, as the watches or the cluster know."""
        automations = [wish.automation for wish in wishes]
        content = _read_content(info)
        return is_recorded(info.commit, content, (a.status for a in automations)) or is_recorded(
            info.commit, content, await read_statuses(self.platform, automations)
        )

    # the push

    async def _push(self, commit: Commit, tip: Revision | None, wishes: tuple[Wish, ...]) -> Revision:
        """Push a commit. Raises PushConflict: it has to be planned again."""
        source = self.job.source
        expected = tip.commit if tip is not None else ""
        statuses: tuple[ImageUpdateAutomationStatus, ...] = ()
        if source.switches or source.refspec:  # the next push is to give this commit up
            statuses = await read_statuses(self.platform, (wish.automation for wish in wishes))
            await self._announce(Pushing(parent=commit.parent, tree=await source.remote.preview(commit)))
        try:
            return await source.remote.push(
                commit,
                source.push_branch,
                expected=expected,
                refspec=source.refspec,
                options=source.options,
                ours=lambda info: is_recorded(info.commit, _read_content(info), statuses),
            )
        except (PushConflict, PushDenied, GitAccessDenied, SigningFailed):
            raise
        except GitError as error:
            return await self._find_lost(commit, expected, error)

    async def _announce(self, pushing: Pushing) -> None:
        """Record what is about to be pushed, for a process that dies before it can say that it was."""
        wanted = self.job.wanted
        await self.platform.statuses.write(wanted, msgspec.structs.replace(wanted.status, pushing=pushing))
        self.announced = pushing

    async def _find_lost(self, commit: Commit, expected: str, error: GitError) -> Revision:
        """Look whether the remote took the commit although its answer was lost."""
        source = self.job.source
        try:
            tip = await source.remote.resolve(GitRef(branch=source.push_branch))
            if tip.commit == expected:
                raise error
            info = await source.remote.describe(tip)
        except GitError:
            raise error from None
        if _is_same(info, commit, await source.remote.preview(commit)) and info.author == commit.author:
            return tip
        raise PushConflict(str(error))


def _is_same(info: CommitInfo, commit: Commit, tree: str) -> bool:
    """Tell whether a commit is what making `commit` at its time gives: one that somebody amended is not."""
    theirs = info.parents, info.tree, info.message.rstrip(), info.author.name, info.author.email
    ours = (commit.parent,), tree, commit.message.rstrip(), commit.author.name, commit.author.email
    return theirs == ours and info.author == info.committer


def _read_content(info: CommitInfo) -> Pushing | None:
    """Return the parent and the tree of a commit; None where it was amended since, or has not one parent."""
    if len(info.parents) != 1 or info.author != info.committer:
        return None
    return Pushing(parent=info.parents[0], tree=info.tree)
