"""A push of ours wakes the sources of that repository at once: nobody waits for an interval."""

from __future__ import annotations

import contextlib

from gitops_core.api import GitRepository
from gitops_core.errors import ClusterError
from gitops_core.runtime.loop.conditions import REQUESTED_AT
from gitops_core.runtime.reconciling import Platform
from image_updater.domain.guards.vouching import is_same_repository
from image_updater.reconcilers.sources import tracks

FIELD_MANAGER = "image-automation-controller"
MOST_WOKEN = 100


async def wake_sources(platform: Platform, url: str, branch: str, commit: str) -> None:
    """Ask every GitRepository that looks at `branch` to look now, unless it knows `commit` already.

    The commit is the token, so that each is asked once for each commit. Who cannot be asked looks at its interval.
    """
    woken = 0
    for repository in await platform.objects.list(GitRepository):
        seen = repository.status.artifact.revision if repository.status.artifact else ""
        if (
            not is_same_repository(repository.spec.url, url)
            or not tracks(repository, branch)
            or repository.spec.suspend
            or seen.endswith(commit)
            or repository.metadata.annotations.get(REQUESTED_AT) == commit
        ):
            continue
        patch = {"metadata": {"annotations": {REQUESTED_AT: commit}}}
        with contextlib.suppress(ClusterError):
            await platform.cluster.patch(repository.ref, patch, field_manager=FIELD_MANAGER)
        woken += 1
        if woken >= MOST_WOKEN:
            return
