"""What the image updater would see and decide, with nothing written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gitops_core.errors import RegistryError
from gitops_core.meta import ObjectKey
from gitops_core.oci.references import Repository
from gitops_core.ports import Cluster
from gitops_core.runtime.policy import Policy
from gitops_core.runtime.reconciling import Platform
from gitops_core.runtime.remotes.registries import read_registry_access
from image_updater.api import ImagePolicy, ImageRepository
from image_updater.domain.guards.vouching import make_catalog_name
from image_updater.domain.registry.references import parse_repository
from image_updater.domain.tags.choices import get_repository_key
from image_updater.domain.tags.listings import Listings
from image_updater.errors import RepositoryNotReady
from image_updater.reconcilers import ImagePolicyReconciler
from image_updater.reconcilers.checkpoints import Checkpoints
from sealoop.serving.looking import open_platform
from sealoop.wiring import Ports


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
            access = await read_registry_access(
                cluster,
                wanted,
                repository,
                self.ports.logins,
                default_account=self.platform.policy.default_service_account,
            )
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
    async with open_platform(cluster, Policy(file_remotes=True)) as (platform, ports):
        yield Look(platform, ports)
