"""A process with the real runtime, real registries and mirrors on a disk, on an embedded cluster, in real time."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from gitops_core import component
from gitops_core.adapters.clouds.identities import SdkClouds
from gitops_core.adapters.expressions import SandboxedExpressions
from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.kubernetes import KubernetesClusters
from gitops_core.adapters.kustomize import Kustomize
from gitops_core.adapters.local import LocalCluster
from gitops_core.adapters.oci import OciRegistry, RegistryArtifacts, SdkLogins
from gitops_core.adapters.s3 import S3Buckets
from gitops_core.adapters.sops import Sops
from gitops_core.api import KINDS
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Resource
from gitops_core.ports import Git, Query, Remotes
from gitops_core.reconcilers.sources import SourceKinds
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.process import Health, Settings, run
from gitops_core.runtime.reconciling import Controller, Platform
from gitops_core.runtime.sharing.computing import Threads
from gitops_core.schema import make_crd

SECONDS = 60.0
EVENT = Kind("", "v1", "Event")


@dataclass
class RealWorld:
    """Attributes:
    kinds: the table of sources of the process that runs.
    """

    local: LocalCluster
    git: Git
    remotes: Remotes
    policy: Policy = DEFAULT_POLICY
    kinds: SourceKinds = field(default_factory=dict)

    async def put(self, manifest: Mapping[str, Any]) -> Manifest:
        metadata = {"namespace": "default", **manifest["metadata"]}
        complete = {**manifest, "metadata": metadata}
        if "stringData" in complete:
            complete["data"] = {key: _encode(text) for key, text in complete.pop("stringData").items()}
        return await self.local.apply(complete, field_manager="test", force=True)

    async def make(self, kind: type[Resource], name: str, **spec: Any) -> Manifest:
        return await self.put(
            {
                "apiVersion": kind.KIND.api_version,
                "kind": kind.KIND.kind,
                "metadata": {"name": name},
                "spec": spec,
            }
        )

    async def secret(self, name: str, values: Mapping[str, str], type_: str = "Opaque") -> None:
        await self.put(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": type_, "stringData": values}
        )

    async def live(self, kind: Kind, name: str) -> Any:
        return await self.local.get(ObjectRef(kind, ObjectKey("default", name)))

    async def patch(self, kind: Kind, name: str, patch: Mapping[str, Any]) -> None:
        await self.local.patch(ObjectRef(kind, ObjectKey("default", name)), patch, field_manager="test")

    async def request(self, kind: Kind, name: str, token: str) -> Any:
        """Ask for a reconciliation, and return the object when there is a result of it."""
        await self.patch(kind, name, {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}})
        return await self.until(
            kind, name, lambda live: is_answered(live) and live["status"].get("lastHandledReconcileAt") == token
        )

    async def until(self, kind: Kind, name: str, holds: Callable[[Any], bool]) -> Any:
        """Return the object as soon as that holds of it."""
        live, until = await self.live(kind, name), time.monotonic() + SECONDS
        while live is None or not holds(live):
            assert time.monotonic() < until, f"this never came: {live}"
            await asyncio.sleep(0.02)
            live = await self.live(kind, name)
        return live

    async def answered(self, kind: Kind, name: str) -> Any:
        """Return the object when its generation has a result, good or bad."""
        return await self.until(kind, name, is_answered)

    async def events(self, name: str) -> list[tuple[str, str, str]]:
        page = await self.local.list(Query(EVENT), dict)
        found = [item for item in page.items if isinstance(item, dict) and item["involvedObject"]["name"] == name]
        return [(item["type"], item["reason"], item["message"]) for item in found]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run a process; it ends with the block."""
        halt, metrics = asyncio.Event(), Metrics(CollectorRegistry())
        compute = Threads(metrics)
        task = asyncio.create_task(
            run(
                cluster=self.local,
                clusters=KubernetesClusters(self.local, compute),
                git=self.git,
                clock=SystemClock(),
                chance=SystemChance(),
                assemble=self._assemble,
                settings=Settings(),
                stop=halt,
                metrics=metrics,
                health=Health(),
                compute=compute,
                policy=self.policy,
            )
        )
        try:
            yield
        finally:
            halt.set()
            await task
            compute.close()

    def _assemble(self, platform: Platform) -> tuple[Controller[Any], ...]:
        def choose(own: component.Sources) -> SourceKinds:
            self.kinds = own.get_kinds()
            return self.kinds

        renderer = Kustomize(compute=platform.compute)
        return component.make_controllers(platform, renderer, Sops(), SandboxedExpressions(), choose, self.remotes)


@asynccontextmanager
async def real_world(state: Path, policy: Policy = DEFAULT_POLICY) -> AsyncIterator[RealWorld]:
    """Yield a world with our kinds, in which nothing runs yet."""
    local = LocalCluster.open(None, SystemClock(), SystemChance())
    for kind in KINDS:
        await local.create(make_crd(kind), field_manager="test")
    git, clouds = GitMirrors(state), SdkClouds(os.environ)
    logins = SdkLogins(clouds)
    async with OciRegistry() as registry, S3Buckets() as buckets:
        artifacts = RegistryArtifacts(registry)
        yield RealWorld(local, git, Remotes(artifacts, logins, buckets, clouds), policy)
        await artifacts.close()
    await logins.close()
    await clouds.close()
    await git.close()
    local.close()


def is_answered(live: Any) -> bool:
    told = condition(live, "Ready")
    return told["status"] in ("True", "False") and told["observedGeneration"] == live["metadata"]["generation"]


def condition(live: Any, type_: str) -> Any:
    none = {"status": "", "reason": "", "message": "", "observedGeneration": 0}
    return next((c for c in live.get("status", {}).get("conditions", []) if c["type"] == type_), none)


def ready(live: Any) -> tuple[str, str]:
    told = condition(live, "Ready")
    return told["status"], told["reason"]


def _encode(text: str) -> str:

    return base64.b64encode(text.encode()).decode()
