"""Where an automation reads and where it pushes.

spec.git.checkout.ref, else the GitRepository's ref   what is read
spec.git.push.branch, else the branch that is read    what is pushed: another one is rebuilt from what is read
annotation sealoop.dev/write-secret                   who pushes: a Secret of the automation's namespace in the
                                                      place of the GitRepository's, whose token may be read-only
"""

from __future__ import annotations

from dataclasses import dataclass

from gitops_core.api import GitReference, GitRepository
from gitops_core.meta import ObjectKey, ObjectRef, parse_duration
from gitops_core.ports import NO_CLOUDS, Clouds, GitAccess, GitRef, GitRemote
from gitops_core.runtime.reconciling import Platform
from gitops_core.runtime.remotes.credentials import read_repository_access
from image_updater.api import GitSpec, ImageUpdateAutomation
from image_updater.errors import SourceInvalid, SourceMissing

WRITE_SECRET = "sealoop.dev/write-secret"  # noqa: S105  # the name of an annotation


@dataclass(frozen=True)
class Route:
    """What an automation reads and pushes, before anybody is asked for a credential."""

    repository: GitRepository
    git: GitSpec
    ref: GitRef
    push_branch: str

    @property
    def url(self) -> str:
        return self.repository.spec.url

    @property
    def switches(self) -> bool:
        """Tell whether commits go to another branch than the one that is read."""
        return self.push_branch != self.ref.branch or not self.ref.is_branch

    @property
    def refspec(self) -> str:
        return self.git.push.refspec if self.git.push is not None else ""

    @property
    def options(self) -> dict[str, str]:
        return self.git.push.options if self.git.push is not None else {}


@dataclass(frozen=True)
class Source(Route):
    """The same, with the remote."""

    remote: GitRemote
    access: GitAccess


def get_source_key(automation: ImageUpdateAutomation) -> ObjectKey:
    reference = automation.spec.source_ref
    return ObjectKey(reference.namespace or automation.metadata.namespace, reference.name)


async def find_source(platform: Platform, wanted: ImageUpdateAutomation) -> GitRepository:
    """Return the GitRepository that an automation names. Raises SourceMissing, ReferenceRefused."""
    key = get_source_key(wanted)
    platform.policy.check_reference(wanted.ref, ObjectRef(GitRepository.KIND, key))
    repository = await platform.objects.get(GitRepository, key)
    if repository is None:
        group = GitRepository.KIND.group
        raise SourceMissing(f'failed to get source: gitrepositories.{group} "{key.name}" not found')
    return repository


async def find_route(platform: Platform, wanted: ImageUpdateAutomation) -> Route:
    """Return where the automation reads and pushes. Raises SourceInvalid, SourceMissing, ReferenceRefused."""
    git = wanted.spec.git
    if git is None:
        raise SourceInvalid("source kind 'GitRepository' necessitates field .spec.git: invalid source configuration")
    repository = await find_source(platform, wanted)
    ref = make_git_ref(git.checkout.ref if git.checkout is not None else repository.spec.ref)
    branch = (git.push.branch if git.push is not None else "") or ref.branch
    if not branch:
        raise SourceInvalid(
            "push spec not provided, and cannot be inferred from .spec.git.checkout.ref or "
            "GitRepository .spec.ref: invalid source configuration"
        )
    return Route(repository, git, ref, branch)


async def open_source(platform: Platform, wanted: ImageUpdateAutomation, clouds: Clouds = NO_CLOUDS) -> Source:
    """Open what is read and pushed to. Raises SourceInvalid, SourceMissing, GitAccessDenied, ClusterError."""
    route = await find_route(platform, wanted)
    spec = route.repository.spec
    own = wanted.metadata.annotations.get(WRITE_SECRET, "")
    secret = ObjectKey(wanted.metadata.namespace, own) if own else None
    access = await read_repository_access(
        platform.cluster, route.repository, secret, clouds, platform.policy.default_service_account
    )
    remote = platform.git.get_remote(spec.url, access, timeout=parse_duration(spec.timeout))
    return Source(route.repository, route.git, route.ref, route.push_branch, remote, access)


def make_git_ref(reference: GitReference | None) -> GitRef:
    if reference is None:
        return GitRef()
    return GitRef(
        branch=reference.branch,
        tag=reference.tag,
        semver=reference.semver,
        name=reference.name,
        commit=reference.commit,
    )


def tracks(repository: GitRepository, branch: str) -> bool:
    """Tell whether a GitRepository looks at that branch itself."""
    ref = repository.spec.ref
    if ref is None:
        return branch == "master"
    if ref.commit or ref.tag or ref.semver:
        return ref.name == f"refs/heads/{branch}" and not ref.commit
    return ref.name == f"refs/heads/{branch}" if ref.name else (ref.branch or "master") == branch
