"""The kinds of sources that a Kustomization may name: which files each of their objects holds now.

    sourceRef.kind ──► SourceKind ──► the artifact that the source's status tells ──► a folder of its files

A revision is text, which only the kind that wrote it can read: a commit's for Git, a digest's for an image, the number
of a chart. Files that come from no commit are kept by `Git.get_trees`, so that a folder is a Tree wherever it is from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from gitops_core.api import Kustomization
from gitops_core.api.fields import Artifact
from gitops_core.domain.sources.ignore import IgnoreRules
from gitops_core.domain.sync.dependencies import get_source_name
from gitops_core.errors import TransientError
from gitops_core.meta import ObjectRef, Resource, Tree
from gitops_core.ports import Objects
from gitops_core.runtime.policy import Policy

R = TypeVar("R", bound=Resource)

NAMED_BY = "spec.sourceRef.kind"
"""The field of a Kustomization that names a kind."""


class SourceKind(Protocol[R]):
    """One kind of source. All but `read_tree` reads what the object says and nothing else."""

    @property
    def type_(self) -> type[R]: ...

    def find_artifact(self, source: R) -> Artifact | None:
        """Find what was fetched last, None while nothing was: a new one wakes those that name the source."""
        ...

    def get_origin(self, source: R) -> str:
        """Return what the files depend on beside the revision: where they are from, or their digest."""
        ...

    def get_ignore(self, source: R) -> str | IgnoreRules | None:
        """Return the patterns of files that do not count; None for Flux's own.

        EVERY_FILE where those that do not count were never kept.
        """
        ...

    async def read_tree(self, source: R, revision: str, path: str = "") -> Tree:
        """Read the folder `path` of the files at `revision`, which is the artifact's; "" is all of them.

        Raises:
            PathNotFound: there is no such folder.
            GitError: and any other TransientError, when the files cannot be had now.
        """
        ...


SourceKinds = Mapping[str, SourceKind[Any]]
"""The kinds of sources by the name that `spec.sourceRef.kind` gives them."""


class SourceUnready(TransientError):
    """There is no such source, or it has fetched nothing yet; its change wakes who names it."""

    reason = "ArtifactFailed"


async def get_fetched(
    wanted: Kustomization, kinds: SourceKinds, objects: Objects, policy: Policy
) -> tuple[Resource, Artifact]:
    """Get the source that a Kustomization names, and what that fetched last. Raises SourceUnready, ReferenceRefused."""
    name, key = get_source_name(wanted)
    kind = kinds[name]
    policy.check_reference(wanted.ref, ObjectRef(kind.type_.KIND, key))
    source = await objects.get(kind.type_, key)
    if source is None:
        resource = f"{kind.type_.PLURAL}.{kind.type_.KIND.group}"
        raise SourceUnready(f'{resource} "{key.name}" not found in {key.namespace}')
    artifact = kind.find_artifact(source)
    if artifact is None:
        raise SourceUnready(f"source artifact not found: {source.ref} has fetched nothing yet")
    return source, artifact
