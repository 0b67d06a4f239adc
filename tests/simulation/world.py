"""The world around a simulated process: what others do to Git, registry, secret store and cluster, and what they hold.

One application is under way: a Deployment with a marked image, some ConfigMaps, and a Secret of two values that belong
together (`user-7` and `password-7`). In some worlds a guard watches over its bumps, and in some of these a second
image moves together with the first. The world outlives the processes that work on it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from functools import cache
from typing import Any

from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import NotFound
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Resource
from gitops_core.ports import Clock, Query
from gitops_core.schema import make_crd
from image_updater.adapters.catalog import SqliteCatalog
from sealoop.wiring import KINDS
from tests.simulation.fakes.git import FakeGit, FakeRepository
from tests.simulation.fakes.provider import MemoryFactory
from tests.simulation.fakes.registry import FakeRegistry
from tests.simulation.files import IMAGE, OTHER_IMAGE, config_map, deployment
from tests.simulation.loop import SeededChance
from tests.simulation.mortal import Liar, Life
from tests.simulation.records import Chronicle, RecordedCluster, RecordedRegistry, StartingImages
from tests.simulation.safety import Safety

URL = "http://git.example.com/app.git"
DEPLOYMENT, CONFIG_MAP, SECRET = Kind("apps", "v1", "Deployment"), Kind("", "v1", "ConfigMap"), Kind("", "v1", "Secret")
IMAGE_GROUP = "image.toolkit.fluxcd.io/v1"
IMAGE_POLICY = Kind("image.toolkit.fluxcd.io", "v1", "ImagePolicy")
KUSTOMIZATION = Kind("kustomize.toolkit.fluxcd.io", "v1", "Kustomization")


class World:
    """Everything that is not the process.

    Attributes:
        rotation: the number in both values of the secret; 0 when it is gone from the store.
        safety: the guard and what people do about it; None where there is none.
        disks: the tag catalogs that processes left behind, by whose disk it is.
    """

    def __init__(self, seed: int, clock: Clock, safety: Safety | None = None) -> None:
        self.random = random.Random(seed)
        self.clock = clock
        self.git = FakeGit()
        self.registry = FakeRegistry()
        self.store = MemoryFactory()
        self.chronicle = Chronicle(clock)
        self.cluster = RecordedCluster(LocalCluster.open(None, clock, SeededChance(seed)), self.chronicle)
        self.git.fault = self._arrived
        self.safety = safety
        self.disks: dict[str, SqliteCatalog] = {}
        self.rotation = 0
        self.numbers = self.pushes = 0

    @property
    def repository(self) -> FakeRepository:
        return self.git.repositories.setdefault(URL, FakeRepository())

    @property
    def policies(self) -> tuple[str, ...]:
        """Those of the application, the first of which is in every world."""
        return ("web", "api") if self.safety is not None and self.safety.demands.group else ("web",)

    @property
    def images(self) -> tuple[str, ...]:
        """Return the images that the policies choose tags of, in their order."""
        return (IMAGE, OTHER_IMAGE)[: len(self.policies)]

    def registry_of(self, life: Life) -> RecordedRegistry:
        """Return the registry that a process asks."""
        return RecordedRegistry(Liar(self.registry, life.chance, life.troubled), self.chronicle, life)

    @property
    def starting(self) -> StartingImages:
        """Return what Pods ask."""
        return StartingImages(self.chronicle)

    async def begin(self) -> None:
        """Put the application into Git, its images into the registry, its secret into the store, its objects live."""
        files = {f"app/{policy}.yaml": deployment("1.0.0", policy) for policy in self.policies}
        await self.commit({**files, "app/one.yaml": config_map("one", 1)})
        for image in self.images:
            self.push(image, "1.0.0")
        await self.rotate()
        for kind in KINDS:
            await self.cluster.create(_definition(kind), field_manager="world")
        for manifest in self.bootstrap():
            await self.cluster.apply(manifest, field_manager="world")

    def bootstrap(self) -> tuple[Manifest, ...]:
        """Return the objects of ours that the application is run with."""
        found = [*bootstrap()]
        for policy, image in zip(self.policies, self.images, strict=True):
            found += [_ours(IMAGE_GROUP, "ImageRepository", policy, {"image": image, "interval": "30s"})]
            found += [self.policy(policy)]
        return (*found, self.safety.manifest()) if self.safety is not None else tuple(found)

    def policy(self, name: str) -> Manifest:
        spec = {"imageRepositoryRef": {"name": name}, "policy": {"semver": {"range": ">=1.0.0"}}}
        if self.safety is not None and self.safety.demands.kept:
            spec |= {"digestReflectionPolicy": "IfNotPresent"}
        elif self.safety is not None and self.safety.demands.digests:
            spec |= {"digestReflectionPolicy": "Always", "interval": "30s"}
        manifest = _ours(IMAGE_GROUP, "ImagePolicy", name, spec)
        if self.safety is not None:
            manifest["metadata"]["labels"] = {"guarded": "yes"}
        return manifest

    # Git and the registry, with a record of what happened when

    async def commit(self, files: Mapping[str, bytes | None], message: str = "A change") -> None:
        oid = await self.repository.commit(files, message=message)
        self.chronicle.commits[oid] = self.clock.monotonic()

    async def _arrived(self, deed: str, moment: str) -> None:
        if (deed, moment) == ("push", "after"):
            tip = self.repository.refs["refs/heads/main"]
            if tip not in self.chronicle.commits:
                self.chronicle.arrive(tip)

    def push(self, image: str, tag: str, digest: str = "") -> str:
        """Push another image under that tag, or the one with this digest again; return its digest."""
        self.pushes += 1
        found = self.registry.push(image, tag, content=f"push {self.pushes}", digest=digest)
        self.chronicle.name(image, tag, found)
        return found

    def remove(self, image: str, tag: str) -> str:
        """Remove a tag, and return the digest that it named."""
        digest = self.chronicle.named[image, tag][-1].digest
        self.registry.remove(image, tag)
        self.chronicle.name(image, tag, "")
        return digest

    def tags(self, image: str) -> list[str]:
        """Return the versions that there are now, without pre-releases and what is older than 1.0.0."""
        named = self.chronicle.named
        return [t for (i, t), names in named.items() if i == image and t.startswith("1.") and names[-1].digest]

    # What people do

    async def push_tag(self) -> None:
        self.numbers += 1
        minor = self.random.choice([self.numbers, self.random.randrange(1, 60)])
        self.push(self.random.choice(self.images), f"1.{minor}.{self.numbers}")

    async def push_other_tag(self) -> None:
        self.push(IMAGE, self.random.choice(["latest", "0.9.0", "2.0.0-rc.1", "main-3f2a1c"]))

    async def rotate(self) -> None:
        self.rotation += 1
        values = {"user": f"user-{self.rotation}", "password": f"password-{self.rotation}"}
        self.store.provider.put("app", json.dumps(values))

    async def commit_elsewhere(self) -> None:
        self.numbers += 1
        await self.commit({"README.md": f"{self.numbers}\n".encode()})

    async def commit_config(self) -> None:
        self.numbers += 1
        name = self.random.choice(["one", "two", "three"])
        await self.commit({f"app/{name}.yaml": config_map(name, self.numbers)})

    async def remove_config(self) -> None:
        files = await self.repository.files((await self.repository.log())[0])
        if gone := [path for path in ("app/two.yaml", "app/three.yaml") if path in files]:
            await self.commit({self.random.choice(gone): None})

    async def revert_bump(self) -> None:
        """Put the first tag back, by hand."""
        await self.commit({"app/web.yaml": deployment("1.0.0")}, "Back to 1.0.0")

    async def edit_live(self) -> None:
        """Edit a live object: a ConfigMap that Git holds, or the Secret."""
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
        """Return the files of the newest commit on main."""
        files = await self.repository.files((await self.repository.log())[0])
        return {path: body for path, (_, body) in files.items()}

    async def live(self, kind: Kind) -> list[dict[str, Any]]:
        page = await self.cluster.list(Query(kind), dict[str, Any], limit=100000)
        return [item for item in page.items if isinstance(item, dict)]

    async def object(self, kind: Kind, name: str) -> Any:
        return await self.cluster.get(ObjectRef(kind, ObjectKey("default", name))) or {}


@cache
def _definition(kind: type[Resource]) -> Manifest:
    return make_crd(kind)


def _ours(group: str, kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec}


def bootstrap() -> tuple[Manifest, ...]:
    """Return the objects of ours that every application is run with, without its images' own."""
    flux = "toolkit.fluxcd.io/v1"
    source = {"kind": "GitRepository", "name": "app"}
    values = [{"secretKey": key, "remoteRef": {"key": "app", "property": key}} for key in ("user", "password")]
    return (
        _ours(f"source.{flux}", "GitRepository", "app", {"url": URL, "interval": "30s", "ref": {"branch": "main"}}),
        _ours(
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
        _ours(
            IMAGE_GROUP,
            "ImageUpdateAutomation",
            "web",
            {
                "sourceRef": source,
                "interval": "1m",
                "git": {"commit": {"author": {"name": "bot", "email": "bot@example.com"}}},
                "update": {"path": "./app", "strategy": "Setters"},
            },
        ),
        _ours("external-secrets.io/v1", "SecretStore", "store", {"provider": {"fake": {"data": []}}}),
        _ours(
            "external-secrets.io/v1",
            "ExternalSecret",
            "app",
            {"refreshInterval": "30s", "secretStoreRef": {"kind": "SecretStore", "name": "store"}, "data": values},
        ),
    )
