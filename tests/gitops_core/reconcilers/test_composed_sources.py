"""sparseCheckout, include and recurseSubmodules of a GitRepository, seen from outside."""

from __future__ import annotations

import asyncio
from typing import Any

from gitops_core.api import GitRepository, Kustomization
from gitops_core.meta import ObjectKey, ObjectRef
from tests.gitops_core.reconcilers.world import CONFIG_MAP, URL, World, condition, config_map
from tests.simulation.fakes.git import FakeRepository
from tests.simulation.loop import in_virtual_time

LIB = "http://git.example.com/team/lib.git"


async def put(world: World, name: str, url: str = URL, **spec: Any) -> None:
    await world.put(GitRepository, name, interval="1m", url=url, ref={"branch": "main"}, **spec)


def revision(live: Any) -> str:
    return str(live["status"].get("artifact", {}).get("revision", ""))


def digest(live: Any) -> str:
    return str(live["status"]["artifact"]["digest"])


async def data(world: World, name: str) -> Any:
    live = await world.live(CONFIG_MAP, name)
    return live["data"]["a"] if live is not None else None


@in_virtual_time
async def test_an_include_is_applied_at_its_place_and_followed() -> None:
    world = World()
    await world.begin({"apps/kustomization.yaml": "resources: [web.yaml, shared]", "apps/web.yaml": config_map("web")})
    lib = world.git.repositories[LIB] = FakeRepository()
    shared = {"base/kustomization.yaml": b"resources: [b.yaml]", "base/b.yaml": config_map("shared").encode()}
    await lib.commit({**shared, "other.txt": b""})
    await put(world, "r", include=[{"repository": {"name": "lib"}, "fromPath": "base", "toPath": "apps/shared"}])
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        live = await world.repository_object()
        assert condition(live, "Ready")[:2] == ("False", "NotFound")
        assert condition(live, "IncludeUnavailable")[:2] == ("True", "NotFound")
        assert "artifact" not in live["status"]

        await put(world, "lib", LIB)
        await asyncio.sleep(5)  # woken, long before the interval is over
        live = await world.repository_object()
        assert condition(live, "Ready")[0] == "True"
        assert condition(live, "IncludeUnavailable") == ("", "", "")
        assert live["status"]["includedArtifacts"][0]["revision"] == revision(await world.repository_object("lib"))
        assert await data(world, "shared") == "1"
        before = digest(live)

        await lib.commit({"base/b.yaml": config_map("shared", "2").encode()})
        await asyncio.sleep(90)
        live = await world.repository_object()
        assert digest(live) != before
        assert await data(world, "shared") == "2"

        await lib.commit({"other.txt": b"not included"})
        await asyncio.sleep(90)
        quiet = len(world.cluster.requests)
        await asyncio.sleep(300)
        assert world.cluster.since(quiet) == []


@in_virtual_time
async def test_an_include_without_a_place_or_a_folder_is_told_and_what_was_there_stays() -> None:
    world = World()
    await world.begin({"apps/a.yaml": config_map("a")})
    lib = world.git.repositories[LIB] = FakeRepository()
    await lib.commit({"base/b.yaml": config_map("b").encode()})
    await put(world, "lib", LIB)
    async with world.running():
        await asyncio.sleep(5)
        first = revision(await world.repository_object())
        assert first
        name = {"repository": {"name": "lib"}}
        for wrong in (
            [{**name, "toPath": "apps"}],
            [{**name, "toPath": "apps/a.yaml/x"}],
            [{**name, "toPath": "../"}],
            [{**name, "fromPath": "nope"}],
            [{**name, "toPath": "x"}, {**name, "toPath": "./x/"}],
            [{**name, "toPath": "x"}, {**name, "toPath": "x/base/b.yaml"}],
            [{**name, "toPath": f"{number}"} for number in range(101)],
        ):
            await put(world, "r", include=wrong)
            await asyncio.sleep(5)
            live = await world.repository_object()
            assert condition(live, "Ready")[:2] == ("False", "CopyFailure"), wrong
            assert condition(live, "StorageOperationFailed")[:2] == ("True", "CopyFailure")
            assert revision(live) == first
            assert "observedInclude" not in live["status"]
        await put(world, "r", include=[{**name, "toPath": "../../../../etc"}])
        await asyncio.sleep(5)
        live = await world.repository_object()
        assert condition(live, "Ready")[0] == "True"
        assert condition(live, "StorageOperationFailed") == ("", "", "")
        await world.sync("etc", "./etc/base")
        await asyncio.sleep(5)
        assert await data(world, "b") == "1"


@in_virtual_time
async def test_what_includes_itself_is_stopped_and_goes_on_when_the_circle_is_broken() -> None:
    world = World()
    await world.begin({"a.yaml": config_map("a")})
    for name in ("one", "two", "three"):
        await put(world, name)
    async with world.running():
        await asyncio.sleep(5)
        await put(world, "r", include=[{"repository": {"name": "r"}}])
        for name, other in (("one", "two"), ("two", "three"), ("three", "one")):
            await put(world, name, include=[{"repository": {"name": other}}])
        await asyncio.sleep(600)

        stopped = [condition(await world.repository_object(name), "Ready")[1] for name in ("r", "one", "two", "three")]
        assert stopped[0] == "IncludeCycle"
        assert "IncludeCycle" in stopped[1:]
        quiet = len(world.cluster.since(0, "patch"))
        await asyncio.sleep(600)
        assert len(world.cluster.since(0, "patch")) == quiet  # nothing grows

        await put(world, "three")
        await asyncio.sleep(90)
        for name in ("one", "two", "three"):
            assert condition(await world.repository_object(name), "Ready")[0] == "True"


@in_virtual_time
async def test_a_sparse_checkout_has_its_folders_and_does_not_move_for_others() -> None:
    world = World()
    files = {"apps/a.yaml": config_map("a"), "infra/b.yaml": config_map("b"), "apps-old/c.yaml": config_map("c")}
    await world.begin(files)
    await put(world, "r", sparseCheckout=["./apps"])
    await world.sync("all", "./")
    async with world.running():
        await asyncio.sleep(5)
        live = await world.repository_object()
        assert live["status"]["observedSparseCheckout"] == ["./apps"]
        assert [await data(world, name) for name in ("a", "b", "c")] == ["1", None, None]
        before = digest(live)

        await world.commit({"infra/b.yaml": config_map("b", "2")})
        await asyncio.sleep(90)
        live = await world.repository_object()
        assert digest(live) == before

        for wrong in ("nope", "../apps", "apps/a"):
            await put(world, "r", sparseCheckout=["apps", wrong])
            await asyncio.sleep(5)
            live = await world.repository_object()
            assert condition(live, "Ready")[:2] == ("False", "GitOperationFailed")
            assert f"sparse checkout dir '{wrong}' does not exist in repository" in condition(live, "Ready")[2]
            assert digest(live) == before
        await put(world, "r")
        await asyncio.sleep(5)
        assert [await data(world, name) for name in ("a", "b", "c")] == ["1", "2", "1"]


@in_virtual_time
async def test_submodules_are_files_as_others_when_they_are_asked_for() -> None:
    world = World()
    lib, deep = world.git.repositories[LIB], world.git.repositories["http://git.example.com/deep.git"] = (
        FakeRepository(),
        FakeRepository(),
    )
    inner = await deep.commit({"d.yaml": config_map("deep").encode()})
    modules = b'[submodule "deep"]\n\tpath = deep\n\turl = ../../deep.git\n'
    made = {"b.yaml": config_map("lib").encode(), ".gitmodules": modules, "deep": inner.encode()}
    commit = await lib.commit(made, modes={"deep": "160000"})
    await world.begin({"apps/a.yaml": config_map("a")})
    text = b'[submodule "lib"]\n\tpath = apps/lib\n\turl = ../lib.git\n\tupdate = !touch evil\n'
    added = {".gitmodules": text, "apps/lib": commit.encode()}
    await world.repository.commit(added, modes={"apps/lib": "160000"})
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        assert [await data(world, name) for name in ("a", "lib", "deep")] == ["1", None, None]

        await put(world, "r", recurseSubmodules=True)
        await asyncio.sleep(5)
        live = await world.repository_object()
        assert condition(live, "Ready")[0] == "True"
        assert live["status"]["observedRecurseSubmodules"] is True
        assert [await data(world, name) for name in ("a", "lib", "deep")] == ["1", "1", "1"]

        await world.request(Kustomization, "apps", "again")
        await world.request(GitRepository, "r", "again")
        await asyncio.sleep(5)
        assert digest(await world.repository_object()) == digest(live)


@in_virtual_time
async def test_submodules_that_cannot_be_followed_are_told_and_nothing_is_lost() -> None:
    world = World()
    await world.begin({"apps/a.yaml": config_map("a")})
    own = world.repository
    async with world.running():
        await asyncio.sleep(5)
        before = revision(await world.repository_object())
        for number, (url, cause) in enumerate(
            (
                ("ext::sh -c touch% evil", "begins with none of"),
                ("--upload-pack=touch evil", "begins with none of"),
                ("file:///etc", "begins with none of"),
                ("../../../../x.git", "above the root"),
                ("ssh://git@other.example.com/x.git", ""),
                ("./fleet.git", ""),
            )
        ):
            text = f'[submodule "x"]\n\tpath = x/{number}\n\turl = {url}\n'.encode()
            added = {".gitmodules": text, f"x/{number}": b"1" * 40}
            await own.commit(added, modes={f"x/{number}": "160000"})
            await put(world, "r", recurseSubmodules=True)
            await world.request(GitRepository, "r", url)
            await asyncio.sleep(5)
            live = await world.repository_object()
            assert condition(live, "Ready")[:2] == ("False", "GitOperationFailed"), url
            assert f"submodule 'x/{number}' of http://git.example.com/team/fleet.git: " in condition(live, "Ready")[2]
            assert cause in condition(live, "Ready")[2]
            assert revision(live) == before


@in_virtual_time
async def test_submodules_in_one_another_and_many_of_them_have_an_end() -> None:
    world = World()
    await world.begin({"apps/a.yaml": config_map("a")})
    texts = "".join(f'[submodule "{n}"]\n\tpath = m/{n}\n\turl = ../lib.git\n' for n in range(101)).encode()
    lib = world.git.repositories[LIB] = FakeRepository()
    commit = await lib.commit({"b.yaml": b""})
    files = {f"m/{n}": commit.encode() for n in range(101)}
    await world.repository.commit({".gitmodules": texts, **files}, modes=dict.fromkeys(files, "160000"))
    await put(world, "r", recurseSubmodules=True)
    for number in range(11):
        nested = f'[submodule "n"]\n\tpath = n/{number}\n\turl = ../lib.git\n'.encode()
        added = {".gitmodules": nested, f"n/{number}": commit.encode()}
        commit = await lib.commit(added, modes={f"n/{number}": "160000"})
    await put(world, "nested", LIB, recurseSubmodules=True)
    async with world.running():
        await asyncio.sleep(5)
        for name in ("r", "nested"):
            message = condition(await world.repository_object(name), "Ready")[2]
            assert "more than 100 submodules, or 10 levels of them" in message, message


@in_virtual_time
async def test_files_of_an_include_that_became_others_are_not_applied_as_the_recorded_artifact() -> None:
    world = World()
    await world.begin({"apps/a.yaml": config_map("a")})
    lib = world.git.repositories[LIB] = FakeRepository()
    await lib.commit({"b.yaml": config_map("b").encode(), "c.yaml": config_map("c").encode()})
    await put(world, "lib", LIB)
    include = [{"repository": {"name": "lib"}, "toPath": "apps/lib"}]
    async with world.running():
        await put(world, "r", include=include)
        await asyncio.sleep(5)
        assert condition(await world.repository_object(), "Ready")[0] == "True"
    await put(world, "r", include=include, suspend=True)
    await put(world, "lib", LIB, ignore="c.yaml")
    await world.sync("apps", "./apps")

    async with world.running():
        await asyncio.sleep(20)
        assert (
            "the files of include 'lib' are others by now" in condition(await world.kustomization("apps"), "Ready")[2]
        )
        assert await data(world, "b") is None

        await put(world, "r", include=include)
        await asyncio.sleep(60)
        assert [await data(world, name) for name in ("a", "b", "c")] == ["1", "1", None]


@in_virtual_time
async def test_what_flux_included_before_the_take_over_is_read_as_it_was_recorded() -> None:
    world = World()
    commit = await world.begin({"apps/a.yaml": config_map("a")})
    lib = world.git.repositories[LIB] = FakeRepository()
    other = await lib.commit({"b.yaml": config_map("b").encode()})
    include = [{"repository": {"name": "lib"}, "toPath": "apps/lib"}]
    await put(world, "lib", LIB)
    await put(world, "r", include=include)
    for name, revision_, more in (("lib", other, {}), ("r", commit, {"observedInclude": include})):
        artifact = {
            "path": f"gitrepository/default/{name}/{revision_}.tar.gz",
            "url": f"http://source-controller.flux-system.svc.cluster.local./gitrepository/default/{name}.tar.gz",
            "revision": f"main@sha1:{revision_}",
            "digest": "sha256:" + "0" * 64,
            "lastUpdateTime": "2026-01-01T00:00:00Z",
        }
        status: dict[str, Any] = {"artifact": artifact, "observedGeneration": 2, **more}
        if more:
            status["includedArtifacts"] = [{**artifact, "revision": f"main@sha1:{other}"}]
        ref = ObjectRef(GitRepository.KIND, ObjectKey("default", name))
        await world.local.patch(ref, {"status": status}, field_manager="flux", subresource="status")
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(30)
        assert condition(await world.repository_object(), "Ready")[0] == "True"
        assert [await data(world, name) for name in ("a", "b")] == ["1", "1"]
