"""Folders of two kinds of sources that differ in nothing but their kind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from gitops_core.api import Artifact, GitRepository, GitRepositorySpec
from gitops_core.meta import ObjectMeta, Resource, Tree
from gitops_core.reconcilers import Folders
from tests.gitops_core.reconcilers.boxes import Box
from tests.simulation.fakes.git import FakeTrees


@dataclass
class Still:
    """Implements SourceKind: the same files whatever is asked for.

    Attributes:
        asked: the paths, in order.
    """

    type_: type[Resource]
    files: Mapping[str, bytes]
    asked: list[str] = field(default_factory=list)

    def find_artifact(self, source: Resource) -> Artifact | None:
        return None

    def get_origin(self, source: Resource) -> str:
        return ""

    def get_ignore(self, source: Resource) -> str | None:
        return None

    async def read_tree(self, source: Resource, revision: str, path: str = "") -> Tree:
        self.asked.append(path)
        trees = FakeTrees("still")
        return await trees.get_tree(await trees.add(self.files), path)


async def test_sources_of_one_name_and_two_kinds_are_read_once_each_and_never_for_each_other() -> None:
    metadata = ObjectMeta(name="r", namespace="default", uid="the same")
    kinds = {
        "GitRepository": Still(GitRepository, {"app/a.yaml": b"of git"}),
        "ExternalArtifact": Still(Box, {"app/a.yaml": b"of the box"}),
    }
    git = GitRepository(metadata=metadata, spec=GitRepositorySpec(url="https://git.example.com/r", interval="1m"))
    sources: dict[bytes, Resource] = {b"of git": git, b"of the box": Box(metadata=metadata)}
    folders = Folders(kinds)

    for _ in range(3):
        for content, source in sources.items():
            folder = await folders.read_folder(source, "1", "./app")
            assert dict(folder.tree) == {"app/a.yaml": content}
            assert dict(await folders.read_files(source, "1")) == {"app/a.yaml": content}

    assert [kind.asked for kind in kinds.values()] == [["", "app"], ["", "app"]]


async def test_folders_of_one_revision_are_selected_from_one_reading() -> None:
    box = Box(metadata=ObjectMeta(name="r", namespace="default"))
    kind = Still(Box, {f"app{number}/a.yaml": b"%d" % number for number in range(20)})
    folders = Folders({"ExternalArtifact": kind})
    await folders.read_files(box, "1")

    found = await asyncio.gather(*(folders.read_folder(box, "1", f"app{number}") for number in range(20)))

    assert [dict(each.tree) for each in found] == [{f"app{n}/a.yaml": b"%d" % n} for n in range(20)]
    assert kind.asked.count("") == 1
