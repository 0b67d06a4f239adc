"""What a submodule's remote is shown: the source's own credentials on its host, port and protocol, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from aiohttp import web

from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.local import LocalCluster
from gitops_core.api import GitRepository, GitRepositorySpec, GitRepositoryStatus
from gitops_core.api.fields import LocalReference
from gitops_core.errors import GitError
from gitops_core.meta import ObjectMeta
from gitops_core.ports import GitRef, Objects
from gitops_core.reconcilers import GitSource
from gitops_core.runtime.sharing.computing import IN_PLACE
from sealoop.embedded.githttp import GitServer, create_repository, make_basic
from tests.local import local_cluster as local_cluster
from tests.servers.git import PASSWORD, USER, BareRepository

MAIN = GitRef(branch="main")


class Listening(GitServer):
    """Writes down what each request says to prove who asks."""

    def __init__(self, root: Path, authorization: dict[str, str]) -> None:
        super().__init__(root, authorization=authorization)
        self.heard: list[tuple[str, str]] = []

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.heard.append((request.path.split("/")[1], request.headers.get("Authorization", "")))
        return await super()._serve(request)


async def add_submodule(repository: BareRepository, url: str, commit: str) -> str:
    text = f'[submodule "lib"]\n\tpath = lib\n\turl = {url}\n'.encode()
    return await repository.commit({".gitmodules": text, "lib": commit.encode()}, modes={"lib": "160000"})


@pytest.mark.parametrize("written", ["../lib.git", "{own}/lib.git", "{other}/lib.git", "{own_as_user}/lib.git"])
async def test_credentials_never_go_to_another_host(written: str, tmp_path: Path, local_cluster: LocalCluster) -> None:
    login = make_basic(USER, PASSWORD)
    (tmp_path / "own").mkdir()
    (tmp_path / "other").mkdir()
    for folder in ("own", "other"):
        await create_repository(tmp_path / folder / "lib.git", {})
    await create_repository(tmp_path / "own" / "fleet.git", {"a": b"1"})
    lib = BareRepository(tmp_path / "own" / "lib.git")
    commit = await lib.commit({"b": b"2"})
    await BareRepository(tmp_path / "other" / "lib.git").git("fetch", "-q", str(lib.directory), "main:main")
    secret = {"username": USER, "password": PASSWORD}
    metadata = {"name": "git", "namespace": "default"}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": secret}
    await local_cluster.apply(manifest, field_manager="test")
    mirrors = GitMirrors(tmp_path / "state")
    async with (
        Listening(tmp_path / "own", {"fleet.git": login, "lib.git": login}) as own,
        Listening(tmp_path / "other", {}) as other,
    ):
        places = {"own": own.url, "other": other.url, "own_as_user": own.url.replace("//", "//who@")}
        fleet = BareRepository(tmp_path / "own" / "fleet.git")
        tip = await add_submodule(fleet, written.format(**places), commit)
        source = GitRepository(
            metadata=ObjectMeta(name="r", namespace="default"),
            spec=GitRepositorySpec(
                url=f"{own.url}/fleet.git",
                interval="1m",
                secret_ref=LocalReference(name="git"),
                recurse_submodules=True,
            ),
            status=GitRepositoryStatus(observed_recurse_submodules=True),
        )

        tree = await GitSource(local_cluster, mirrors, cast(Objects, None), IN_PLACE).read_tree(source, f"sha1:{tip}")

        assert (tree["a"], tree["lib/b"]) == (b"1", b"2")
        assert {header for _, header in own.heard} == {login}
        assert {header for _, header in other.heard} <= {""}
        assert bool(other.heard) == ("other" in written)
        locked = f"{own.url}/lib.git"
        with pytest.raises(GitError):  # what came with these credentials is not shown without them
            await mirrors.get_remote(locked).fetch_tree(await mirrors.get_remote(locked).resolve(MAIN))
    await mirrors.close()
