"""What a cluster lacks before the service can work on it, said in one line with the command that mends it.

The service does not end for it: as soon as the thing is there, work begins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from gitops_core.errors import ClusterError, Forbidden, KindUnknown
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import Cluster
from sealoop.objects.kinds import INSTALL, NAMESPACE

log = logging.getLogger("sealoop")

LOOK_AGAIN = 15.0
"""Seconds between two looks for what is missing."""


async def tell_what_is_missing(cluster: Cluster, kinds: Sequence[Kind], namespace: str) -> None:
    """Warn of kinds that are not installed, and of the Lease's namespace ("" for no Lease); say when all is there.

    Returns when nothing is missing (any more).
    """
    told: list[tuple[str, str]] = []
    while True:
        with suppress(ClusterError):  # nobody knows: the watches and the lease log what goes wrong
            lacks = [lack async for lack in find_missing(cluster, kinds, namespace)]
            for lack, remedy in lacks:
                if (lack, remedy) not in told:
                    log.warning("the cluster lacks something", extra={"lack": lack, "remedy": remedy})
            if not lacks:
                if told:
                    log.info("the cluster has all that is needed")
                return
            told = lacks
        await asyncio.sleep(LOOK_AGAIN)


async def find_missing(cluster: Cluster, kinds: Sequence[Kind], namespace: str) -> AsyncIterator[tuple[str, str]]:
    """Yield each thing that is not there, and the command that makes it. Raises ClusterError: nobody knows."""
    absent = [kind.kind for kind in kinds if not await _is_served(cluster, kind)]
    if absent:
        yield f"the kinds {', '.join(absent)}", INSTALL
    if namespace and not await _is_there(cluster, namespace):
        yield f"the namespace {namespace} for the lease", f"kubectl create namespace {namespace}"


async def _is_there(cluster: Cluster, namespace: str) -> bool:
    try:
        return await cluster.get(ObjectRef(NAMESPACE, ObjectKey("", namespace))) is not None
    except Forbidden:  # a service account need not be allowed to look; it lives in a namespace anyway
        return True


async def _is_served(cluster: Cluster, kind: Kind) -> bool:
    try:
        await cluster.find_api_resource(kind)
    except KindUnknown:
        return False
    return True
