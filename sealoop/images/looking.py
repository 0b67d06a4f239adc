"""What the reconcilers would see and decide, with nothing written: the platform of the commands that only look.

Objects are read from the API server as they are asked for. Writes are refused by the same fence that keeps a process
from writing that does not lead.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry

from gitops_core.adapters.kubernetes import KubernetesClusters
from gitops_core.errors import RegistryError, StalledError
from gitops_core.meta import ObjectKey, Resource
from gitops_core.oci.references import Repository
from gitops_core.ports import Cluster
from gitops_core.runtime.authority.fencing import FencedCluster, FencedClusters, FencedGit
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.runtime.loop.statuses import StatusWriter
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.policy import Policy
from gitops_core.runtime.reconciling import Platform
from gitops_core.runtime.remotes.registries import read_registry_access
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.runtime.watching.informers import Informers
from gitops_core.runtime.watching.objects import WatchedObjects
from image_updater.api import ImagePolicy, ImageRepository
from image_updater.domain.guards.vouching import make_catalog_name
from image_updater.domain.registry.references import parse_repository
from image_updater.domain.tags.choices import get_repository_key
from image_updater.domain.tags.listings import Listings
from image_updater.errors import RepositoryNotReady
from image_updater.reconcilers import ImagePolicyReconciler
from image_updater.reconcilers.checkpoints import Checkpoints
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


@dataclass(frozen=True)
class Look:
    """Everything that a command may ask."""

    platform: Platform
    ports: Ports

    @property
    def policies(self) -> ImagePolicyReconciler:
        platform, ports = self.platform, self.ports
        return ImagePolicyReconciler(
            platform.cluster,
            platform.clock,
            platform.objects,
            ports.catalog,
            ports.registry,
            ports.reader,
            Listings(),
            ports.logins,
        )

    async def get_policy(self, key: ObjectKey) -> ImagePolicy:
        """Return the ImagePolicy. Raises RepositoryNotReady."""
        found = await self.platform.objects.get(ImagePolicy, key)
        if found is None:
            raise RepositoryNotReady(f"there is no ImagePolicy '{key}'")
        return found

    async def list_repository(self, policy: ImagePolicy) -> tuple[ImageRepository, Repository, str]:
        """List the policy's repository into the catalog, with the ages that the cluster remembers, and a note.

        The registry is asked once. When it does not answer, the tags that the cluster remembers have to do; the note
        says so.

        Raises:
            RepositoryNotReady: there is no ImageRepository, or its tags are not known at all.
        """
        key = get_repository_key(policy)
        wanted = await self.platform.objects.get(ImageRepository, key)
        if wanted is None:
            raise RepositoryNotReady(f"there is no ImageRepository '{key}', which ImagePolicy '{policy.key}' names")
        repository = parse_repository(wanted.spec.image, insecure=wanted.spec.insecure)
        name, now, note, trouble = make_catalog_name(wanted, str(repository)), self.platform.clock.now(), "", ""
        cluster, catalog = self.platform.cluster, self.ports.catalog
        checkpoints = Checkpoints(cluster, self.platform.objects, self.platform.clock, catalog)
        tags: tuple[str, ...] = ()
        try:
            access = await read_registry_access(cluster, wanted, repository, self.ports.logins)
            tags = await self.ports.registry.list_tags(repository, access)
        except RegistryError as error:
            trouble = f"the registry does not list {repository} ({error})"
            note = f"{trouble}: the tags are those that the cluster remembers"
        await checkpoints.recall(wanted, name, tags)
        if note:
            tags = tuple(event.tag for event in await catalog.list_events(name))
            if not tags:
                raise RepositoryNotReady(f"{trouble}, and the cluster remembers no tags of it")
        await catalog.store(name, tags, now)
        return wanted, repository, note


@asynccontextmanager
async def open_look(cluster: Cluster) -> AsyncIterator[Look]:
    """Yield a Look, whose memory is gone at the end."""
    clock, chance, metrics = SystemClock(), SystemChance(), Metrics(CollectorRegistry())
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sealoop-look-")))
        git = open_git_mirrors(folder, Policy(file_remotes=True))
        stack.push_async_callback(git.close)
        ports = await open_ports(folder, clock, stack)
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
        )
        yield Look(platform, ports)
