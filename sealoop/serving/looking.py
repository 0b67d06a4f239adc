"""What the reconcilers would see and decide, with nothing written: the platform of the commands that only look.

Objects are read from the API server as they are asked for. Writes are refused by the same fence that keeps a process
from writing that does not lead.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry

from gitops_core.adapters.kubernetes import KubernetesClusters
from gitops_core.errors import StalledError
from gitops_core.meta import Resource
from gitops_core.ports import Cluster
from gitops_core.runtime.authority.fencing import FencedCluster, FencedClusters, FencedGit
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.runtime.loop.statuses import StatusWriter
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.policy import Policy
from gitops_core.runtime.reconciling import Platform
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.runtime.watching.informers import Informers
from gitops_core.runtime.watching.objects import WatchedObjects
from sealoop.serving.service import open_git_mirrors, open_ports
from sealoop.wiring import Ports


class Looked(StalledError):
    """A command that only looks tried to write: a bug."""


class Closed:
    """The fence of who may not write."""

    def check(self) -> None:
        raise Looked("this command only looks: nothing is written")


class Silent:
    """Implements gitops_core.ports.Events: nobody is told of a look."""

    def emit(
        self,
        about: Resource,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        metadata: Mapping[str, str],
    ) -> None:
        return


@asynccontextmanager
async def open_platform(cluster: Cluster, policy: Policy) -> AsyncIterator[tuple[Platform, Ports]]:
    """Yield a platform that writes nothing, and the ports beside it; what they remember is gone at the end."""
    clock, chance, metrics = SystemClock(), SystemChance(), Metrics(CollectorRegistry())
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sealoop-look-")))
        git = open_git_mirrors(folder, policy)
        stack.push_async_callback(git.close)
        ports = await open_ports(folder, clock, stack, policy=policy)
        fenced, informers = FencedCluster(cluster, Closed()), Informers(cluster, clock, chance, metrics)
        platform = Platform(
            fenced,
            FencedClusters(KubernetesClusters(cluster, IN_PLACE), Closed()),
            FencedGit(git, Closed()),
            clock,
            chance,
            Silent(),
            StatusWriter(fenced, informers.show_written),
            WatchedObjects(informers, cluster),
            metrics,
            policy=policy,
        )
        yield platform, ports
