"""GitRepository: ask the remote once an interval where the reference points, and say what is there.

The status is what others act on: a new `artifact.revision` wakes every Kustomization that names the repository. No
archive is kept; the artifact's digest is that of the files' Git object ids and changes exactly when the files do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import msgspec

from gitops_core.api import Artifact, GitRepository, GitRepositoryStatus
from gitops_core.errors import GitError, GitOpsError, SourceFailed, StalledError
from gitops_core.meta import Condition, Revision, parse_duration
from gitops_core.ports import Clock, GitRef, GitRemote
from gitops_core.reconcilers.folders import Folders
from gitops_core.reconcilers.gitsources import (
    GitSource,
    IncludeCycle,
    IncludeUnavailable,
    make_digest,
)
from gitops_core.reconcilers.readonly import ReadOnly
from gitops_core.reconcilers.telling import VERIFIED, make_artifact, make_failure
from gitops_core.reconcilers.verifying import VerificationMisset, Verified, Verifier
from gitops_core.runtime.loop.refusing import refuse_unsupported
from gitops_core.runtime.reconciling import Notice, Outcome

GROUP = GitRepository.KIND.group
LONGEST_SUBJECT = 50


@dataclass(frozen=True)
class GitRepositoryReconciler:
    """Implements gitops_core.runtime.reconciling.Reconciler for GitRepository."""

    git: GitSource
    folders: Folders
    clock: Clock
    verifier: Verifier
    read_only: ReadOnly

    async def reconcile(self, wanted: GitRepository) -> Outcome:
        refuse_unsupported(wanted, ())
        try:
            remote = await self.git.open_remote(wanted)
            included = await self.git.find_includes(wanted)
            revision = await remote.resolve(_make_reference(wanted))
            verified = await self.verifier.verify(wanted, remote, revision)
            told = await self.read_only.check(wanted, remote, revision)
            known = wanted.status.artifact
            composed = _plan_composition(wanted, included)
            if known is not None and _is_current(wanted, composed, known, revision):
                return _report_stored(wanted, known, verified, told)
            planned = msgspec.structs.replace(wanted, status=composed)
            artifact = await self._make_artifact(planned, revision)
            notice = await self._make_notice(remote, revision, artifact)
        except SourceFailed as error:
            raise _carry(error, wanted, error.condition) from None
        except VerificationMisset as error:
            raise _carry(error, wanted, VERIFIED) from None
        except IncludeCycle as error:
            raise _carry(error, wanted, IncludeUnavailable.condition) from None
        except StalledError as error:
            stalled = StalledError(str(error), reason="URLInvalid" if error.reason == "Failed" else error.reason)
            raise _carry(stalled, wanted) from error
        except GitError as error:
            raise _carry(error, wanted) from None
        is_new = known is None or known.digest != artifact.digest or known.revision != artifact.revision
        return _report_stored(planned, artifact, verified, told, (notice,) if is_new else ())

    async def finalize(self, wanted: GitRepository) -> None:
        """Leave everything: nothing is kept that others do not share."""

    async def _make_artifact(self, wanted: GitRepository, revision: Revision) -> Artifact:
        files = await self.folders.read_files(wanted, str(revision))
        return make_artifact(wanted, f"{revision.commit}.tar.gz", str(revision), make_digest(files), self.clock)

    async def _make_notice(self, remote: GitRemote, revision: Revision, artifact: Artifact) -> Notice:
        subject = (await remote.describe(revision)).message.split("\n", 1)[0]
        if len(subject) > LONGEST_SUBJECT:
            subject = f"{subject[: LONGEST_SUBJECT - 3]}..."
        metadata = {f"{GROUP}/revision": artifact.revision, f"{GROUP}/digest": artifact.digest}
        return Notice("Normal", "NewArtifact", f"stored artifact for commit '{subject}'", metadata)


def _make_reference(wanted: GitRepository) -> GitRef:
    ref = wanted.spec.ref
    return GitRef() if ref is None else GitRef(ref.branch, ref.tag, ref.semver, ref.name, ref.commit)


def _plan_composition(wanted: GitRepository, included: tuple[Artifact, ...]) -> GitRepositoryStatus:
    """Plan what an artifact is made of beside its commit, as the status is to tell it."""
    spec = wanted.spec
    status: GitRepositoryStatus = msgspec.structs.replace(
        wanted.status,
        included_artifacts=included,
        observed_ignore=spec.ignore,
        observed_include=spec.include,
        observed_recurse_submodules=spec.recurse_submodules,
        observed_sparse_checkout=spec.sparse_checkout,
    )
    return status


def _is_current(wanted: GitRepository, composed: GitRepositoryStatus, known: Artifact, revision: Revision) -> bool:
    return known.revision == str(revision) and wanted.status == composed


def _report_stored(
    wanted: GitRepository,
    artifact: Artifact,
    verified: Verified | None,
    read_only: Condition,
    notices: tuple[Notice, ...] = (),
) -> Outcome:
    message = f"stored artifact for revision '{artifact.revision}'"
    conditions = [Condition(type="ArtifactInStorage", status="True", reason="Succeeded", message=message), read_only]
    is_changed = bool(notices)
    if verified is not None:
        conditions.append(Condition(type=VERIFIED, status="True", reason="Succeeded", message=verified.message))
        if verified.message not in [c.message for c in _list_kept(wanted, VERIFIED)]:
            notices = (Notice("Normal", "Succeeded", verified.message), *notices)
    status: GitRepositoryStatus = msgspec.structs.replace(
        wanted.status,
        artifact=artifact,
        source_verification_mode=verified.mode if verified is not None else None,
    )
    interval = parse_duration(wanted.spec.interval)
    return Outcome(status, message, interval, conditions=tuple(conditions), changed=is_changed, notices=notices)


E = TypeVar("E", bound=GitOpsError)


def _carry(error: E, wanted: GitRepository, type_: str = "FetchFailed") -> E:
    """Have a failure told by a condition of that type, and what is there kept."""
    kept = (name for name in ("ArtifactInStorage", VERIFIED) if name != type_)
    return error.carry(wanted.status, make_failure(type_, error), *_list_kept(wanted, *kept))


def _list_kept(wanted: GitRepository, *types: str) -> tuple[Condition, ...]:
    """List what was told of those types and holds on; it is asked anew whether something is not verified."""
    return tuple(c for c in wanted.status.conditions if c.type in types and c.status == "True")
