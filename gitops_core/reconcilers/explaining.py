"""What keeps workloads from becoming healthy: their Pods are asked, once it is clear that they do not."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime

from gitops_core.domain.health.causes import find_cause, find_selector
from gitops_core.domain.sync.progress import Lives
from gitops_core.errors import ClusterError
from gitops_core.meta import Kind, ObjectRef
from gitops_core.ports import Cluster, Query

POD = Kind("", "v1", "Pod")
MOST_EXPLAINED, MOST_PODS = 3, 50
"""Of the workloads that are not healthy, and of the Pods of one."""
SECONDS = 10.0


async def find_causes(cluster: Cluster, lives: Lives, now: datetime) -> dict[ObjectRef, str]:
    """Find what keeps workloads from becoming healthy, by their Pods; nothing where we may not look at these."""
    found: dict[ObjectRef, str] = {}
    selectors = {ref: find_selector(live) for ref, live in lives.items() if live is not None}
    for ref, selector in [(ref, selector) for ref, selector in selectors.items() if selector][:MOST_EXPLAINED]:
        with suppress(ClusterError, TimeoutError):
            async with asyncio.timeout(SECONDS):
                page = await cluster.list(Query(POD, ref.key.namespace, selector), dict, limit=MOST_PODS)
            pods = [pod for pod in page.items if isinstance(pod, dict)]
            if cause := find_cause(pods, now):
                found[ref] = cause
    return found
