"""The two ways a reconciliation can fail, and what the runtime does about each.

    GitOpsError
    ├── TransientError            the world may heal: Ready=False, retry with backoff
    │   ├── ClusterError          what a Kubernetes API answered
    │   ├── GitError              what a Git remote answered
    │   ├── RegistryError         what an OCI registry answered
    │   ├── Postponed             nothing went wrong: others are before it
    │   │   └── Yielded           ... which have more to do
    │   └── ...
    └── StalledError              only an edit can help: Ready=False, Stalled=True, no retry

`reason` becomes the condition's reason, so it is CamelCase and stable: alerts match on it. The message is one
lower-case sentence that names the object, the cause and the place, never a secret's value. Any other exception is a
bug: reason `InternalError`, traceback in the log only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from gitops_core.schema import FieldFault as FieldFault  # of Invalid

if TYPE_CHECKING:
    from gitops_core.meta import Condition, ObjectRef, Wire


class GitOpsError(Exception):
    """Base of everything a reconciler may raise on purpose.

    Attributes:
        status: what to store beside the failure's conditions, or None to leave the other status fields as they are.
        conditions: the kind's own conditions to store beside Ready, Reconciling and Stalled. One that is of such a type
            itself replaces reason and message of what the runtime would write (the event keeps the error's); a
            Reconciling of status False leaves Reconciling out.
    """

    reason = "Failed"

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or type(self).reason
        self.status: Wire | None = None
        self.conditions: tuple[Condition, ...] = ()
        self.event: Literal["Warning", "Normal", "None"] = "Warning"
        self.event_metadata: Mapping[str, str] = {}

    def carry(self, status: Wire, *conditions: Condition) -> Self:
        """Carry what to store in the object's status, and return this error."""
        self.status, self.conditions = status, conditions
        return self

    def record_as(self, event: Literal["Warning", "Normal", "None"], metadata: Mapping[str, str]) -> Self:
        """Record this error by such an Event ("None" for what is merely waited for), and return it."""
        self.event, self.event_metadata = event, metadata
        return self


class TransientError(GitOpsError):
    """Time may heal it.

    Attributes:
        retry_after: seconds until the next attempt, where the peer or the object's spec says so; None for backoff.
    """

    def __init__(self, message: str, *, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class StalledError(GitOpsError):
    """Someone must edit the object, or something that it names."""


class Postponed(TransientError):
    """Its turn has not come yet: it is looked at again soon, nothing is told, and no attempt is counted."""

    reason = "Postponed"


class Yielded(Postponed):
    """It has less to do than others: it is looked at again as soon as those have had their turn."""


class NotLeader(TransientError):
    """This process lost the lease: whatever it was about to write, another one writes now."""

    reason = "NotLeader"


# what a Kubernetes API answers


class ClusterError(TransientError):
    """The API server refused or could not answer."""

    reason = "ClusterError"


class NotFound(ClusterError):
    reason = "NotFound"

    def __init__(self, ref: ObjectRef) -> None:
        super().__init__(f"{ref} not found")
        self.ref = ref


class AlreadyExists(ClusterError):
    reason = "AlreadyExists"

    def __init__(self, ref: ObjectRef) -> None:
        super().__init__(f"{ref} already exists")
        self.ref = ref


class Conflict(ClusterError):
    """Somebody else wrote the object since we read it (optimistic locking, or a uid that is another object's)."""

    reason = "Conflict"


class FieldConflict(NamedTuple):
    """One field that another manager owns, as the API server reports it."""

    manager: str
    field: str


class ApplyConflict(ClusterError):
    """A server-side apply without force met fields of other managers."""

    reason = "ApplyConflict"

    def __init__(self, ref: ObjectRef, conflicts: Iterable[FieldConflict]) -> None:
        self.ref, self.conflicts = ref, tuple(conflicts)
        fields = ", ".join(f"{c.field} ({c.manager})" for c in self.conflicts)
        super().__init__(f"{ref}: other field managers own {fields}")


class Invalid(ClusterError):
    """422: the object is not valid. `faults` are the causes, in the server's order."""

    reason = "Invalid"

    def __init__(self, ref: ObjectRef, message: str, faults: Iterable[FieldFault] = ()) -> None:
        super().__init__(message)
        self.ref, self.faults = ref, tuple(faults)


class BadRequest(ClusterError):
    """400: the API server could not read what we sent."""

    reason = "BadRequest"


class Forbidden(ClusterError):
    """401 or 403: the identity we use may not do this."""

    reason = "Forbidden"


class KindUnknown(ClusterError):
    """The API server serves no such kind: a CRD that is not installed (yet)."""

    reason = "KindUnknown"

    def __init__(self, api_version: str, kind: str) -> None:
        super().__init__(f'no matches for kind "{kind}" in version "{api_version}"')


class Expired(ClusterError):
    """410: the resourceVersion of a watch or of a list's page is too old; list again."""

    reason = "Expired"


class ClusterUnavailable(ClusterError):
    """Network trouble, 429 or 5xx; `retry_after` where the server said so."""

    reason = "ClusterUnavailable"


# what a Git remote answers


class GitError(TransientError):
    """A Git operation failed: network, server, time-out. The message never holds a credential."""

    reason = "GitOperationFailed"


class GitBusy(GitError):
    """Others wait for the remote already, and it answers nobody: who asked comes back in `retry_after` seconds."""

    def __init__(self, message: str, *, reason: str = "", retry_after: float = 10.0) -> None:
        super().__init__(message, reason=reason, retry_after=retry_after)


class GitAccessDenied(GitError):
    reason = "AuthenticationFailed"


class RefNotFound(GitError):
    """The remote has no such branch, tag or commit, or is empty."""


class TreeLost(GitError):
    """Files that were kept are not here any more: who needs them brings them again."""


class PathNotFound(TransientError):
    """A commit, or another artifact, has no such folder."""

    reason = "ArtifactFailed"


class PushConflict(GitError):
    """The branch moved since the parent was read, or somebody pushed at the same moment: observe and plan again."""


class PushDenied(GitError):
    """The remote refused the push for good: a protected branch, a hook, a missing right."""


class SigningFailed(GitError):
    """A commit cannot be signed with the key that was given: nothing is pushed unsigned."""


class SourceFailed(TransientError):
    """Why a source has no new artifact. What it had stays.

    Attributes:
        condition: the type of the condition that says so beside Ready.
    """

    condition = "FetchFailed"


class VerificationFailed(SourceFailed):
    """Nobody who should have signed what a source is made from did, or it cannot be told: there is no new artifact."""

    reason = "VerificationError"
    condition = "SourceVerified"


class StorageFailed(SourceFailed):
    """The files of an artifact cannot be kept here."""

    reason = "ArchiveOperationFailed"
    condition = "StorageOperationFailed"


class ManifestInvalid(TransientError):
    """The files of a folder are not manifests. The message names every bad file, in one error."""

    reason = "BuildFailed"


class DecryptionFailed(ManifestInvalid):
    """SOPS cannot open what it encrypted. The message quotes nothing of what is inside."""


class MacMismatch(DecryptionFailed):
    """A file is not as SOPS left it: its mac says so, or is not there."""


class RegistryError(TransientError):
    """A registry refused or could not answer. The message begins with the request, never with a credential."""

    reason = "ReadOperationFailed"


class RegistryUnavailable(RegistryError):
    """Network trouble, time-out, 429, 5xx, or an answer that is none; `retry_after` where the registry said so."""


class RegistryDenied(RegistryError):
    """401 or 403: the credentials are wrong, missing or too weak."""


class RepositoryUnknown(RegistryError):
    """404: the registry has no such repository."""


class ImageUnknown(RegistryError):
    """404: the repository has no such tag, manifest or blob."""


class ImageUnreadable(RegistryError):
    """What a tag names cannot be read as an image, now or later: another push must replace it."""


class BucketError(TransientError):
    """An object store refused or could not answer. The message never holds a credential."""

    reason = "BucketOperationFailed"


class BucketUnavailable(BucketError):
    """Network trouble, time-out, 5xx, or an answer that is none."""


class BucketDenied(BucketError):
    """401 or 403: the keys are wrong, missing or too weak."""


class BucketUnknown(BucketError):
    """404: there is no such bucket."""


class ObjectUnknown(BucketError):
    """404: the bucket has no such object (any more)."""


class ImageInvalid(StalledError):
    """What should name an image repository does not."""

    reason = "ImageURLInvalid"


class CredentialsInvalid(TransientError):
    """A Secret that should hold registry credentials is missing or does not."""

    reason = "AuthenticationFailed"


class PayloadInvalid(ValueError):
    """A webhook's body is not what such a sender sends; the message quotes nothing of it."""
