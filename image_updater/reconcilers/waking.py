"""A push of ours wakes the sources of that repository and branch at once: nobody waits for an interval.

its namespace, and that of its source   always, and first
others                                  where objects may name those of other namespaces, and no proxy could have
                                        made the commit up
"""

from __future__ import annotations

import contextlib

from gitops_core.api import GitRepository
from gitops_core.errors import ClusterError
from gitops_core.runtime.loop.conditions import REQUESTED_AT
from gitops_core.runtime.reconciling import Platform
from image_updater.api import ImageUpdateAutomation
from image_updater.domain.guards.vouching import is_same_repository
from image_updater.reconcilers.sources import Route, tracks

FIELD_MANAGER = "image-automation-controller"
MOST_WOKEN = 100


async def wake_sources(platform: Platform, by: ImageUpdateAutomation, source: Route, commit: str) -> None:
    """Ask every GitRepository that looks at the branch that is pushed to look now, unless it knows `commit` already.

    The commit is the token, so that each is asked once for each commit. Who cannot be asked looks at its interval.

    Args:
        source: where the commit is.
    """
    near = {by.metadata.namespace, source.repository.metadata.namespace}
    is_believed = source.repository.spec.proxy_secret_ref is None and platform.policy.cross_namespace_references
    woken = 0
    everyone = await platform.objects.list(GitRepository)
    for repository in sorted(everyone, key=lambda one: (one.metadata.namespace not in near, one.key)):
        seen = repository.status.artifact.revision if repository.status.artifact else ""
        if (
            not (is_believed or repository.metadata.namespace in near)
            or not is_same_repository(repository.spec.url, source.url)
            or not tracks(repository, source.push_branch)
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
