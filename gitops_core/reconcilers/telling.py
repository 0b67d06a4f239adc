"""What sources say of themselves: what they fetched, what failed, and what is still true beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gitops_core.api import Artifact
from gitops_core.errors import GitOpsError, SourceFailed, VerificationFailed
from gitops_core.meta import Condition, ConditionStatus, Kind, ObjectMeta, Resource, Status
from gitops_core.ports import Clock
from gitops_core.runtime.reconciling import Notice

SERVED = "http://artifacts.sealoop.invalid"
"""Where artifacts of ours would be: nothing is served, as our Kustomizations read the kept trees."""
LATEST = "latest.tar.gz"
VERIFIED, READ_ONLY = VerificationFailed.condition, "ReadOnlyCredential"
WELL = (VERIFIED, READ_ONLY)


def find_condition(status: Status, type_: str) -> Condition | None:
    return next((condition for condition in status.conditions if condition.type == type_), None)


def write_path(kind: Kind, metadata: ObjectMeta, file: str) -> str:
    """Write where an artifact would be: `ocirepository/NAMESPACE/NAME/FILE`."""
    return f"{kind.kind.lower()}/{metadata.namespace}/{metadata.name}/{file}"


def make_artifact(source: Resource, file: str, revision: str, digest: str, clock: Clock) -> Artifact:
    """Make what the status tells of files that were fetched now. `file` is the name that an archive of them had."""
    path = write_path(source.KIND, source.metadata, file)
    now = clock.now().replace(microsecond=0)
    return Artifact(path=path, url=f"{SERVED}/{path}", revision=revision, digest=digest, last_update_time=now)


def is_ours(artifact: Artifact) -> bool:
    """Tell whether an artifact is a tree of ours: another controller's is a tarball that we do not have."""
    return artifact.url.startswith(f"{SERVED}/")


def list_failure(
    error: SourceFailed, status: Status, known: Artifact | None, revision: str, where: str
) -> tuple[Condition, ...]:
    """List what a failure says, and what of the stored artifact is still true.

    Args:
        revision: what is there now, "" when that is not known.
        where: it is.
    """
    return (make_failure(error.condition, error), *_list_kept(status, known, revision, where))


def make_failure(type_: str, error: GitOpsError) -> Condition:
    """Make the condition that says so: one that names what is wrong is True, one that names what is well is False."""
    status: ConditionStatus = "False" if type_ in WELL else "True"
    return Condition(type=type_, status=status, reason=error.reason, message=str(error))


def _list_kept(status: Status, known: Artifact | None, revision: str, where: str) -> Iterator[Condition]:
    if (stored := find_condition(status, "ArtifactInStorage")) is not None:
        yield stored
    if known is None:
        return
    if revision and known.revision != revision:
        message = f"new revision '{revision}' for '{where}'"
        yield Condition(type="ArtifactOutdated", status="True", reason="NewRevision", message=message)
    elif not revision and (outdated := find_condition(status, "ArtifactOutdated")) is not None:
        yield outdated


def list_notices(
    status: Status, known: Artifact | None, artifact: Artifact, text: str, group: str
) -> tuple[Notice, ...]:
    """List what is told: other files, or that a failure is over."""
    is_new = known is None or known.digest != artifact.digest
    failed = any(find_condition(status, type_) is not None for type_ in ("FetchFailed", "StorageOperationFailed"))
    if not is_new and not failed:
        return ()
    metadata: Mapping[str, str] = {f"{group}/revision": artifact.revision, f"{group}/digest": artifact.digest}
    return (Notice("Normal", "NewArtifact" if is_new else "Succeeded", text, metadata),)
