"""Whether what a GitRepository logs in with could push: it is asked, and told by the condition ReadOnlyCredential.

True       the remote takes no push        False    it would take one        Unknown    it does not say

What runs in a cluster reads Git. A credential that could write it makes of whoever breaks into the cluster somebody who
writes what every cluster applies.

Source: OpenGitOps, "pulled automatically".
"""

from __future__ import annotations

from dataclasses import dataclass

from gitops_core.api import GitRepository
from gitops_core.errors import SourceFailed
from gitops_core.meta import Condition, ObjectKey, Revision
from gitops_core.ports import GitRemote, WriteAccess
from gitops_core.reconcilers.telling import READ_ONLY
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.policy import Policy


class WritableCredential(SourceFailed):
    """The remote takes pushes, and --require-read-only-git was asked for. Mended there as often as here."""

    reason = "WritableCredential"
    condition = READ_ONLY


@dataclass(frozen=True)
class ReadOnly:
    policy: Policy
    metrics: Metrics

    async def check(self, wanted: GitRepository, remote: GitRemote, revision: Revision) -> Condition:
        """Ask the remote, unless it was asked lately, and return what there is to tell.

        Raises:
            WritableCredential
        """
        access = await remote.find_write_access(revision)
        told = _tell(_name_credential(wanted), access)
        self.metrics.git_read_only.labels(told.status).inc()
        if access.granted and not self.policy.writable_git:
            raise WritableCredential(f"--require-read-only-git: {told.message}")
        return told


def _tell(how: str, access: WriteAccess) -> Condition:
    if access.granted is None:
        message = f"the remote does not tell whether it takes pushes {how}: {access.why}"
        return Condition(type=READ_ONLY, status="Unknown", reason="NotTold", message=message)
    if not access.granted:
        message = f"the remote takes no pushes {how}"
        return Condition(type=READ_ONLY, status="True", reason="ReadOnly", message=message)
    message = f"the remote takes pushes {how}: {_CURE[how == WITHOUT]}"
    return Condition(type=READ_ONLY, status="False", reason=WritableCredential.reason, message=message)


WITHOUT = "without credentials"
_CURE = ("give one that can only read", "have it refuse them")


def _name_credential(wanted: GitRepository) -> str:
    if (named := wanted.spec.secret_ref) is not None:
        return f"with the credentials of Secret {ObjectKey(wanted.metadata.namespace, named.name)}"
    before, at, _ = wanted.spec.url.partition("://")[2].partition("/")[0].rpartition("@")
    return "with the credentials in its URL" if at and ":" in before else WITHOUT
