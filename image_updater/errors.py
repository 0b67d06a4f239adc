"""What can go wrong between a registry's tag and a Git commit. Reasons and sentences are Flux's where Flux has them."""

from __future__ import annotations

from gitops_core.errors import StalledError, TransientError

# Registries


class CatalogUnavailable(TransientError):
    """The tag catalog cannot be written, or was found damaged and made anew."""

    reason = "ReadOperationFailed"


# Policies


class PolicyInvalid(StalledError):
    """A range, an order or a pattern that cannot be read."""

    reason = "InvalidPolicy"


class NoTagQualifies(TransientError):
    """No tag can be chosen now; another tag may change that."""

    reason = "Failure"


class ListShrank(TransientError):
    """So many tags vanished that the listing is not believed."""

    reason = "ListShrank"


class RepositoryNotReady(TransientError):
    """The ImageRepository is missing or has no tags yet."""

    reason = "DependencyNotReady"


class AccessDenied(TransientError):
    """The ImageRepository of another namespace is not open to this one."""

    reason = "AccessDenied"


# Updates


class SourceInvalid(StalledError):
    """The automation names no source that it could update."""

    reason = "InvalidSourceConfiguration"


class SourceMissing(TransientError):
    reason = "SourceManagerFailed"


class SelectorInvalid(StalledError):
    reason = "InvalidPolicySelector"


class TemplateFieldRemoved(StalledError):
    """The message template uses a field that this version of the API no longer has."""

    reason = "RemovedTemplateField"


class GitOperationFailed(TransientError):
    """A commit could not be made."""

    reason = "GitOperationFailed"


class BranchTaken(TransientError):
    """The branch that we would make anew holds somebody else's commit, or is another automation's."""

    reason = "GitOperationFailed"


class UpdateFailed(TransientError):
    """The files could not be updated."""

    reason = "UpdateFailed"


# Forges


class ForgeUnavailable(TransientError):
    """Network trouble, time-out, 429, 5xx, or an answer that is none."""

    reason = "PullRequestFailed"


class ForgeDenied(TransientError):
    """401, 403 or 404: the token is wrong or too weak, or there is no such repository."""

    reason = "PullRequestFailed"


# Guards


class GuardInvalid(StalledError):
    """An UpdateGuard that cannot be: a schedule, a time zone, a pattern or a key that cannot be read."""

    reason = "InvalidGuard"
