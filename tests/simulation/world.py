"""The world around a simulated process: what others do to Git, registry, secret store and cluster, and what they hold.

One application is under way: a Deployment with a marked image, some ConfigMaps, and a Secret of two values that belong
together (`user-7` and `password-7`). The world outlives the processes that work on it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import NotFound
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Clock, Query
from gitops_core.schema import crd
from sealoop.wiring import KINDS
from tests.simulation.fakes.git import FakeGit, FakeRepository
from tests.simulation.fakes.provider import MemoryFactory
from tests.simulation.fakes.registry import FakeRegistry
from tests.simulation.loop import SeededChance

URL = "http://git.example.com/app.git"
IMAGE = "registry.example.com/team/web"
MARKER = '# {"$imagepolicy": "default:web"}'
DEPLOYMENT, CONFIG_MAP, SECRET = Kind("apps", "v1", "Deployment"), Kind("", "v1", "ConfigMap"), Kind("", "v1", "Secret")
IMAGE_POLICY = Kind("image.toolkit.fluxcd.io", "v1", "ImagePolicy")
KUSTOMIZATION = Kind("kustomize.toolkit.fluxcd.io", "v1", "Kustomization")


class World:
    """Everything that is not the process.

    Attributes:
        rotation: the number in both values of the secret; 0 when it is gone from the store.
    """

    def __init__(self, seed: int, clock: Clock) -> None:
        self.random = random.Random(seed)
        self.clock = clock
        self.git = FakeGit()
        self.registry = FakeRegistry()
        self.store = MemoryFactory()
        self.cluster = LocalCluster.open(None, clock, SeededChance(seed))
        self.rotation = 0
        self.numbers = 0

    @property
    def repository(self) -> FakeRepository:
        return self.git.repositories.setdefault(URL, FakeRepository())

    async def begin(self) -> None:
        """The application in Git, its image in the registry, its secret in the store, its objects in the cluster."""
        await self.repository.commit({"app/web.yaml": deployment("1.0.0"), "app/one.yaml": config_map("one", 1)})
        self.registry.push(IMAGE, "1.0.0")
        await self.rotate()
        for kind in KINDS:
            await self.cluster.apply(crd(kind), field_manager="world")
        for manifest in bootstrap():
            await self.cluster.apply(manifest, field_manager="world")

    # What people do

    async def push_tag(self) -> None:
        self.numbers += 1
        minor = self.random.choice([self.numbers, self.random.randrange(1, 60)])
        self.registry.push(IMAGE, f"1.{minor}.{self.numbers}")

    async def push_other_tag(self) -> None:
        self.registry.push(IMAGE, self.random.choice(["latest", "0.9.0", "2.0.0-rc.1", "main-3f2a1c"]))

    async def rotate(self) -> None:
        self.rotation += 1
        values = {"user": f"user-{self.rotation}", "password": f"password-{self.rotation}"}
        self.store.provider.put("app", json.dumps(values))

    async def commit_elsewhere(self) -> None:
        self.numbers += 1
        await self.repository.commit({"README.md": f"{self.numbers}\n".encode()})

    async def commit_config(self) -> None:
        self.numbers += 1
        name = self.random.choice(["one", "two", "three"])
        await self.repository.commit({f"app/{name}.yaml": config_map(name, self.numbers)})

    async def remove_config(self) -> None:
        files = await self.repository.files((await self.repository.log())[0])
        if gone := [path for path in ("app/two.yaml", "app/three.yaml") if path in files]:
            await self.repository.commit({self.random.choice(gone): None})

    async def revert_bump(self) -> None:
        """Somebody puts the first tag back, by hand."""
        await self.repository.commit({"app/web.yaml": deployment("1.0.0")}, message="Back to 1.0.0")

    async def edit_live(self) -> None:
        """Somebody edits a live object: a ConfigMap that Git holds, or the Secret."""
        ref, patch = self.random.choice(
            [
                (ObjectRef(CONFIG_MAP, ObjectKey("default", "one")), {"data": {"value": "by hand"}}),
                (ObjectRef(SECRET, ObjectKey("default", "app")), {"data": {"user": "YnkgaGFuZA=="}}),
            ]
        )
        try:
            await self.cluster.patch(ref, patch, field_manager="somebody")
        except NotFound:
            return

    async def delete_live(self) -> None:
        kind, name = self.random.choice([(CONFIG_MAP, "one"), (SECRET, "app"), (DEPLOYMENT, "web")])
        try:
            await self.cluster.delete(ObjectRef(kind, ObjectKey("default", name)))
        except NotFound:
            return

    DEEDS = (
        push_tag,
        push_tag,
        push_other_tag,
        rotate,
        commit_elsewhere,
        commit_config,
        remove_config,
        revert_bump,
        edit_live,
        delete_live,
    )

    # What is there

    async def head(self) -> Mapping[str, bytes]:
        """The files of the newest commit on main."""
        files = await self.repository.files((await self.repository.log())[0])
        return {path: body for path, (_, body) in files.items()}

    async def live(self, kind: Kind) -> list[dict[str, Any]]:
        page = await self.cluster.list(Query(kind), dict[str, Any], limit=100000)
        return [item for item in page.items if isinstance(item, dict)]

    async def object(self, kind: Kind, name: str) -> Any:
        return await self.cluster.get(ObjectRef(kind, ObjectKey("default", name))) or {}


def deployment(tag: str) -> bytes:
    return f"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: default
spec:
  replicas: 1
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
        - name: web
          image: {IMAGE}:{tag} {MARKER}
""".encode()


def config_map(name: str, value: int) -> bytes:
    metadata = f"{{name: {name}, namespace: default}}"
    return f'apiVersion: v1\nkind: ConfigMap\nmetadata: {metadata}\ndata: {{value: "{value}"}}\n'.encode()


def bootstrap() -> tuple[Manifest, ...]:
    """The objects of ours that the application is run with."""

    def ours(group: str, kind: str, name: str, spec: Mapping[str, Any]) -> Manifest:
        metadata = {"name": name, "namespace": "default"}
        return {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec}

    flux = "toolkit.fluxcd.io/v1"
    source = {"kind": "GitRepository", "name": "app"}
    values = [{"secretKey": key, "remoteRef": {"key": "app", "property": key}} for key in ("user", "password")]
    return (
        ours(f"source.{flux}", "GitRepository", "app", {"url": URL, "interval": "30s", "ref": {"branch": "main"}}),
        ours(
            f"kustomize.{flux}",
            "Kustomization",
            "app",
            {
                "sourceRef": source,
                "path": "./app",
                "interval": "2m",
                "retryInterval": "30s",
                "prune": True,
                "wait": True,
            },
        ),
        ours(f"image.{flux}", "ImageRepository", "web", {"image": IMAGE, "interval": "30s"}),
        ours(
            f"image.{flux}",
            "ImagePolicy",
            "web",
            {"imageRepositoryRef": {"name": "web"}, "policy": {"semver": {"range": ">=1.0.0"}}},
        ),
        ours(
            f"image.{flux}",
            "ImageUpdateAutomation",
            "web",
            {
                "sourceRef": source,
                "interval": "1m",
                "git": {"commit": {"author": {"name": "bot", "email": "bot@example.com"}}},
                "update": {"path": "./app", "strategy": "Setters"},
            },
        ),
        ours("external-secrets.io/v1", "SecretStore", "store", {"provider": {"fake": {"data": []}}}),
        ours(
            "external-secrets.io/v1",
            "ExternalSecret",
            "app",
            {"refreshInterval": "30s", "secretStoreRef": {"kind": "SecretStore", "name": "store"}, "data": values},
        ),
    )
