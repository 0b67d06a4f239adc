"""A repository, an embedded cluster and the real runtime between them, in virtual time; every request is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from prometheus_client import CollectorRegistry

from gitops_core import component
from gitops_core.adapters.expressions import SandboxedExpressions
from gitops_core.adapters.kubernetes import KubernetesClusters
from gitops_core.adapters.kustomize import Kustomize
from gitops_core.adapters.local import LocalCluster
from gitops_core.adapters.sops import Sops
from gitops_core.api import KINDS, GitRepository, Kustomization
from gitops_core.errors import ClusterError
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Cluster, Decryptor, Git, Query
from gitops_core.reconcilers.sources import SourceKinds
from gitops_core.runtime.authority.forwarding import Forwarding, Request
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.process import Health, Settings, run
from gitops_core.runtime.reconciling import Controller, Platform
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.schema import make_crd
from tests.simulation.fakes.git import FakeGit, FakeRepository
from tests.simulation.loop import SeededChance, VirtualClock

DEFAULT_SETTINGS = Settings()
URL = "http://git.example.com/team/fleet.git"
CONFIG_MAP, DEPLOYMENT, EVENT = Kind("", "v1", "ConfigMap"), Kind("apps", "v1", "Deployment"), Kind("", "v1", "Event")


class Counted(Forwarding):
    """The cluster, and a diary of what was asked of it: (method, object, whether it was only tried).

    Attributes:
        refusals: an error to answer a real apply or delete of an object of that name with.
        trials: an error to answer a dry run with, by (method, object).
        conflicts: an error to answer a patch of an object of that name with.
        meanwhile: what somebody else does right before such a request, once, by (method, object).
        answers: what is made of the answer to such a request, by (method, object).
    """

    def __init__(self, inner: LocalCluster) -> None:
        super().__init__(inner)
        self.requests: list[tuple[str, str, bool]] = []
        self.refusals: dict[str, ClusterError] = {}
        self.trials: dict[tuple[str, str], ClusterError] = {}
        self.conflicts: dict[str, ClusterError] = {}
        self.meanwhile: dict[tuple[str, str], Callable[[], Awaitable[object]]] = {}
        self.answers: dict[tuple[str, str], Callable[[Any], Any]] = {}

    async def carry(self, request: Request, send: Callable[[], Awaitable[Any]]) -> Any:
        name, about = request.method, _name_of(request.about)
        self.requests.append((name, about, request.dry_run))
        if not request.dry_run and (deed := self.meanwhile.pop((name, about), None)) is not None:
            await deed()
        if request.dry_run and (name, about) in self.trials:
            raise self.trials[name, about]
        if name in ("apply", "delete") and not request.dry_run and about in self.refusals:
            raise self.refusals[about]
        if name == "patch" and about in self.conflicts:
            raise self.conflicts[about]
        answer = await send()
        is_changed = (name, about) in self.answers and not request.dry_run
        return self.answers[name, about](answer) if is_changed else answer

    def impersonate(self, user: str, groups: Iterable[str] = ()) -> Cluster:
        return self

    def connect_apart(self) -> Cluster:
        return self

    def since(self, moment: int, *methods: str) -> list[tuple[str, str, bool]]:
        return [request for request in self.requests[moment:] if not methods or request[0] in methods]


def _name_of(subject: Any) -> str:
    if isinstance(subject, ObjectRef):
        return f"{subject.kind.kind}/{subject.key.name}"
    if isinstance(subject, Query):
        return subject.kind.kind
    return f"{subject['kind']}/{(subject['metadata'].get('name') or '')}"


class World:
    """Attributes:
    controllers: of the process that began last.
    platform: likewise.
    sources: the table of what Kustomizations may name.
    """

    controllers: tuple[Controller[Any], ...]
    platform: Platform
    sources: Callable[[component.Sources], SourceKinds]

    def __init__(self, operator: Policy = DEFAULT_POLICY, settings: Settings = DEFAULT_SETTINGS) -> None:
        self.operator, self.settings = operator, settings
        self.clock = VirtualClock()
        self.local = LocalCluster.open(None, self.clock, SeededChance(1))
        self.cluster = Counted(self.local)
        self.git = FakeGit()
        self.metrics = Metrics(CollectorRegistry())
        self.sources = component.Sources.get_kinds
        self.renderer = Kustomize()
        self.decryptor: Decryptor = Sops()

    @property
    def repository(self) -> FakeRepository:
        return self.git.repositories.setdefault(URL, FakeRepository())

    async def begin(self, files: Mapping[str, str], *, message: str = "first") -> str:
        """The kinds, a source named `r` and its first commit."""
        for kind in KINDS:
            await self.local.create(make_crd(kind), field_manager="test")
        commit = await self.commit(files, message=message)
        await self.put(GitRepository, "r", interval="1m", url=URL, ref={"branch": "main"})
        return commit

    async def commit(self, files: Mapping[str, str | None], *, message: str = "change") -> str:
        contents = {path: None if text is None else text.encode() for path, text in files.items()}
        return await self.repository.commit(contents, message=message)

    async def commit_and_sync(self, files: Mapping[str, str | None]) -> str:
        """Commit, and wait until the source has fetched it and its Kustomizations have been reconciled."""
        commit = await self.commit(files)
        await asyncio.sleep(90)
        return commit

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        halt = asyncio.Event()
        task = asyncio.create_task(
            run(
                cluster=self.cluster,
                clusters=KubernetesClusters(self.cluster, IN_PLACE),
                git=cast(Git, self.git),
                clock=self.clock,
                chance=SeededChance(2),
                assemble=self._assembled,
                settings=self.settings,
                stop=halt,
                metrics=self.metrics,
                health=Health(),
                policy=self.operator,
            )
        )
        try:
            yield
        finally:
            halt.set()
            await task

    def _assembled(self, platform: Platform) -> tuple[Controller[Any], ...]:
        self.platform = platform
        self.controllers = component.make_controllers(
            platform, self.renderer, self.decryptor, SandboxedExpressions(), self.sources
        )
        return self.controllers

    async def put(self, kind: type[GitRepository | Kustomization], name: str, **spec: Any) -> Manifest:
        manifest = {
            "apiVersion": kind.KIND.api_version,
            "kind": kind.KIND.kind,
            "metadata": {"name": name, "namespace": "default"},
            "spec": spec,
        }
        return await self.local.apply(manifest, field_manager="test", force=True)

    async def sync(self, name: str, path: str, **spec: Any) -> Manifest:
        """A Kustomization of the source `r`; None leaves a default out."""
        defaults = {"interval": "10m", "prune": True, "targetNamespace": "default"}
        source = {"kind": "GitRepository", "name": "r"}
        complete = {**defaults, "path": path, "sourceRef": source, **spec}
        return await self.put(
            Kustomization, name, **{key: value for key, value in complete.items() if value is not None}
        )

    async def request(self, kind: type[GitRepository | Kustomization], name: str, token: str) -> None:
        patch = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}}
        await self.local.patch(ObjectRef(kind.KIND, ObjectKey("default", name)), patch, field_manager="test")

    async def delete(self, kind: Kind, name: str) -> None:
        await self.local.delete(ObjectRef(kind, ObjectKey("default", name)))

    async def live(self, kind: Kind, name: str, namespace: str = "default") -> Any:
        return await self.local.get(ObjectRef(kind, ObjectKey(namespace, name)))

    async def kustomization(self, name: str) -> Any:
        return await self.live(Kustomization.KIND, name)

    async def repository_object(self, name: str = "r") -> Any:
        return await self.live(GitRepository.KIND, name)

    async def events(self, name: str) -> list[tuple[str, str, str]]:
        """(type, reason, message) of the events about an object of that name, in order."""
        page = await self.local.list(Query(EVENT), dict)
        found = [item for item in page.items if isinstance(item, dict) and item["involvedObject"]["name"] == name]
        return [(item["type"], item["reason"], item["message"]) for item in found]


@asynccontextmanager
async def syncing(files: Mapping[str, str], **spec: Any) -> AsyncIterator[World]:
    """Run a process whose Kustomization `apps` applies the folder ./apps of `files`; its first sync is done."""
    world = World()
    await world.begin(files)
    await world.sync("apps", "./apps", **spec)
    async with world.running():
        await asyncio.sleep(5)
        yield world


def condition(manifest: Any, type_: str) -> tuple[str, str, str]:
    """Status, reason and message; empty strings when there is none."""
    found = (c for c in (manifest.get("status") or {}).get("conditions", ()) if c["type"] == type_)
    return next(((c["status"], c["reason"], c["message"]) for c in found), ("", "", ""))


def inventory(manifest: Any) -> list[str]:
    entries = ((manifest.get("status") or {}).get("inventory") or {}).get("entries", ())
    return [entry["id"] for entry in entries]


def config_map(name: str, value: str = "1", **metadata: Any) -> str:
    about = {"name": name, **metadata}
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {about}\ndata: {{a: '{value}'}}\n"
