"""A second kind of source, which only tests know: somebody writes its status, and its files are in a bare repository.

The name is one that the CRD of Kustomization lets through and that nothing of ours acts on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from gitops_core.api import Artifact
from gitops_core.api.fields import FluxStatus
from gitops_core.component import Sources
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Resource, Tree, Wire, write_timestamp
from gitops_core.ports import Git
from gitops_core.reconcilers.sources import SourceKinds
from gitops_core.schema import NOT_SEEN, make_crd
from tests.gitops_core.reconcilers.world import World


class BoxSpec(Wire):
    """Which of the files count."""

    ignore: str | None = None


class BoxStatus(FluxStatus):
    """What is in the box."""

    artifact: Artifact | None = None


class Box(Resource):
    """A box of files."""

    KIND: ClassVar[Kind] = Kind("source.toolkit.fluxcd.io", "v1", "ExternalArtifact")
    PLURAL: ClassVar[str] = "externalartifacts"

    spec: BoxSpec = BoxSpec()
    status: Annotated[BoxStatus, NOT_SEEN] = BoxStatus()


@dataclass(frozen=True)
class BoxSource:
    """Implements SourceKind: the artifact's digest is the id of the tree, which is kept by the box's name."""

    git: Git
    type_: ClassVar[type[Box]] = Box

    def find_artifact(self, source: Box) -> Artifact | None:
        return source.status.artifact

    def get_origin(self, source: Box) -> str:
        return source.status.artifact.digest if source.status.artifact else ""

    def get_ignore(self, source: Box) -> str | None:
        return source.spec.ignore

    async def read_tree(self, source: Box, revision: str, path: str = "") -> Tree:
        return await self.git.get_trees(str(source.ref)).get_tree(self.get_origin(source).removeprefix("sha256:"), path)


@dataclass(frozen=True)
class Boxes:
    """The boxes of a world: makes and fills them. `git` keeps their files."""

    world: World
    git: Git

    async def begin(self) -> None:
        """Have the kind, in the cluster and among those that Kustomizations may name."""
        await self.world.local.create(make_crd(Box), field_manager="test")
        self.world.sources = self.table

    def table(self, own: Sources) -> SourceKinds:
        return {**own.get_kinds(), Box.KIND.kind: BoxSource(self.git)}

    async def make(self, name: str, **spec: str) -> ObjectRef:
        ref = ObjectRef(Box.KIND, ObjectKey("default", name))
        metadata = {"name": name, "namespace": "default"}
        manifest: Manifest = {
            "apiVersion": ref.kind.api_version,
            "kind": ref.kind.kind,
            "metadata": metadata,
            "spec": spec,
        }
        await self.world.local.apply(manifest, field_manager="test")
        return ref

    async def fill(self, name: str, revision: str, files: Mapping[str, str]) -> None:
        """Put other files into the box."""
        ref = ObjectRef(Box.KIND, ObjectKey("default", name))
        oid = await self.git.get_trees(str(ref)).add({path: text.encode() for path, text in files.items()})
        artifact = {
            "path": name,
            "url": f"http://boxes.invalid/{name}",
            "revision": revision,
            "digest": f"sha256:{oid}",
            "lastUpdateTime": write_timestamp(self.world.clock.now()),
        }
        await self.world.local.patch(ref, {"status": {"artifact": artifact}}, field_manager="box", subresource="status")
