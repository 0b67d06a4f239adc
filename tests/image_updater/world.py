"""A world under test: the image controllers in the real runtime on the embedded cluster, with Git and registries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from gitops_core.adapters.kubernetes import KubernetesClusters
from gitops_core.adapters.local import LocalCluster
from gitops_core.api import GitRepository
from gitops_core.domain.health.kstatus import judge_health
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Resource
from gitops_core.ports import Clock, Git, Query
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.process import Health, Settings, run
from gitops_core.runtime.reconciling import Controller, Platform
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.schema import make_crd
from image_updater.adapters.catalog import SqliteCatalog
from image_updater.api import KINDS, ImagePolicy, ImageRepository, ImageUpdateAutomation
from image_updater.component import make_controllers
from image_updater.ports import ImageReader, Registry
from tests.simulation.fakes.forge import FakeForges
from tests.simulation.fakes.git import FakeGit, FakeRepository
from tests.simulation.fakes.registry import FakeRegistry
from tests.simulation.loop import SeededChance, VirtualClock

URL = "https://git.example.com/fleet.git"
HOST = "registry.example.com"
IMAGE = f"{HOST}/apps/app"
EVENT = Kind("", "v1", "Event")


class World:
    """One process, or several, that update images.

    Attributes:
        git: holds one repository, at URL, unless the process is given another Git.
        fakes: the registry, unless a process is given another one.
        forges: where pull requests are opened.
        catalog, metrics, controllers: of the process that began last.
    """

    catalog: SqliteCatalog
    metrics: Metrics
    controllers: tuple[Controller[Any], ...]

    def __init__(self, clock: Clock | None = None, git: Git | None = None) -> None:
        self.clock = clock or VirtualClock()
        self.real_git = git
        self.cluster = LocalCluster.open(None, self.clock, SeededChance(1))
        self.git = FakeGit()
        self.fakes = FakeRegistry()
        self.forges = FakeForges()
        self.git.repositories[URL] = FakeRepository()

    @property
    def repository(self) -> FakeRepository:
        return self.git.repositories[URL]

    @asynccontextmanager
    async def running(
        self,
        registry: Registry | None = None,
        *,
        reader: ImageReader | None = None,
        catalog: SqliteCatalog | None = None,
        last: bool = True,
        kinds: Sequence[type[Resource]] = (GitRepository, *KINDS),
        operator: Policy = DEFAULT_POLICY,
    ) -> AsyncIterator[None]:
        """The CRDs installed and a process at work, as long as the block lasts.

        Args:
            catalog: what the process has on its disk, which outlives it; None for a new one.
            last: the cluster ends with it.
            kinds: those that are installed.
        """
        for kind in kinds:
            await self.cluster.apply(make_crd(kind), field_manager="test")
        self.metrics = Metrics(CollectorRegistry())
        stop, own = asyncio.Event(), SqliteCatalog.open(None)
        self.catalog = catalog or own

        def assembled(platform: Platform) -> tuple[Controller[Any], ...]:
            self.controllers = make_controllers(
                platform,
                registry or self.fakes,
                self.catalog,
                health=judge_health,
                reader=reader or self.fakes,
                forges=self.forges,
            )
            return self.controllers

        process = asyncio.create_task(
            run(
                cluster=self.cluster,
                clusters=KubernetesClusters(self.cluster, IN_PLACE),
                git=self.real_git or self.git,
                clock=self.clock,
                chance=SeededChance(2),
                assemble=assembled,
                settings=Settings(),
                stop=stop,
                metrics=self.metrics,
                health=Health(),
                policy=operator,
            )
        )
        try:
            yield
        finally:
            stop.set()
            await process
            own.close()
            if last:
                self.cluster.close()

    async def put(self, kind: type[Resource], name: str, *, namespace: str = "default", **spec: Any) -> None:
        manifest = {
            "apiVersion": kind.KIND.api_version,
            "kind": kind.KIND.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        await self.cluster.apply(manifest, field_manager="test", force=True)

    async def namespace(self, name: str, labels: Mapping[str, str]) -> None:
        metadata = {"name": name, "labels": dict(labels)}
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        await self.cluster.apply(manifest, field_manager="test")

    async def get(self, kind: type[Resource], name: str, namespace: str = "default") -> Any:
        return await self.cluster.get(ObjectRef(kind.KIND, ObjectKey(namespace, name)))

    async def until(
        self, kind: type[Resource], name: str, holds: Callable[[Any], bool], namespace: str = "default"
    ) -> Any:
        """The object as soon as `holds` of it, within ten minutes of the world's time."""
        deadline = self.clock.monotonic() + 600
        while True:
            found = await self.get(kind, name, namespace)
            if found is not None and holds(found):
                return found
            assert self.clock.monotonic() < deadline, f"{name} does not come to that: {found}"
            await self.clock.sleep(0.05)

    async def events(self, kind: str) -> list[str]:
        """The messages of the events about objects of that kind, in no order."""
        await self.clock.sleep(5)
        page = await self.cluster.list(Query(EVENT), dict[str, Any])
        items = [item for item in page.items if isinstance(item, dict)]
        return [str(item["message"]) for item in items if item["involvedObject"]["kind"] == kind]

    async def head(self, branch: str = "main") -> dict[str, str]:
        """The text files of a branch's newest commit."""
        newest = (await self.repository.log(branch))[0]
        return {path: body.decode() for path, (_, body) in (await self.repository.files(newest)).items()}

    # the usual objects

    async def scanned(self, *tags: str, name: str = "app", image: str = IMAGE, **spec: Any) -> None:
        for tag in tags:
            self.fakes.push(image, tag)
        await self.put(ImageRepository, name, **{"image": image, "interval": "1m", **spec})

    async def request_scan(self, name: str) -> None:
        patch = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}}
        ref = ObjectRef(ImageRepository.KIND, ObjectKey("default", name))
        await self.cluster.patch(ref, patch, field_manager="test")

    async def policy(self, name: str = "app", range_: str = ">=1.0", **spec: Any) -> None:
        await self.put(
            ImagePolicy,
            name,
            **{"imageRepositoryRef": {"name": name}, "policy": {"semver": {"range": range_}}, **spec},
        )

    async def source(self, name: str = "fleet", **spec: Any) -> None:
        await self.put(GitRepository, name, **{"url": URL, "interval": "10m", "ref": {"branch": "main"}, **spec})

    async def automation(
        self,
        name: str = "fleet",
        *,
        commit: Mapping[str, Any] = {},
        git: Mapping[str, Any] = {},
        **spec: Any,
    ) -> None:
        author = {"author": {"email": "bot@example.com"}}
        await self.put(
            ImageUpdateAutomation,
            name,
            **{
                "sourceRef": {"kind": "GitRepository", "name": "fleet"},
                "interval": "5m",
                "git": {"commit": {**author, **commit}, **git},
                **spec,
            },
        )


def conditions(manifest: Manifest | None) -> list[dict[str, str]]:
    """Type, status, reason and message of the conditions, by type."""
    found = ((manifest or {}).get("status") or {}).get("conditions", ())
    return sorted(
        ({key: c[key] for key in ("type", "status", "reason", "message")} for c in found), key=lambda c: c["type"]
    )


def is_ready(manifest: Any) -> bool:
    status = manifest.get("status") or {}
    current = status.get("observedGeneration") == manifest["metadata"]["generation"]
    return current and any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))


def has_failed(manifest: Any) -> bool:
    return any(
        c["type"] == "Ready" and c["status"] == "False" for c in (manifest.get("status") or {}).get("conditions", ())
    )


def image_line(tag: str, policy: str = "default:app") -> str:
    return f'image: {IMAGE}:{tag} # {{"$imagepolicy": "{policy}"}}\n'
