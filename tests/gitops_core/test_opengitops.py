"""The four principles of OpenGitOps (v1.0.0), each as what the service does and does not do."""

from __future__ import annotations

import asyncio
from typing import Any

from gitops_core.api import GitRepository
from gitops_core.errors import ClusterUnavailable
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import Query
from tests.gitops_core.reconcilers.world import CONFIG_MAP, EVENT, World, condition, config_map
from tests.simulation.loop import in_virtual_time

SECRET = Kind("", "v1", "Secret")
WRITES = ("apply", "create", "patch", "replace", "delete")


async def begin(**files: str) -> World:
    world = World()
    await world.begin(files or {"apps/a.yaml": config_map("a", "1"), "apps/b.yaml": config_map("b", "1")})
    await world.sync("apps", "./apps", interval="5m", retryInterval="30s")
    return world


async def value_of(world: World, name: str = "a") -> str | None:
    live = await world.live(CONFIG_MAP, name)
    return None if live is None else str(live["data"]["a"])


@in_virtual_time
async def test_declarative_what_git_declares_is_all_that_there_is_of_ours() -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        await world.commit_and_sync({"apps/a.yaml": config_map("a", "2"), "apps/b.yaml": None})
        page = await world.local.list(Query(CONFIG_MAP, labels="kustomize.toolkit.fluxcd.io/name=apps"), dict)

    found = {each["metadata"]["name"]: each["data"] for each in page.items if isinstance(each, dict)}
    assert found == {"a": {"a": "2"}}


@in_virtual_time
async def test_versioned_every_state_has_the_commit_that_it_comes_from() -> None:
    world = await begin()
    commits = [(await world.repository.log())[0]]
    async with world.running():
        await asyncio.sleep(5)
        seen = [(await world.kustomization("apps"))["status"]["lastAppliedRevision"]]
        for value in ("2", "3"):
            commits.append(await world.commit_and_sync({"apps/a.yaml": config_map("a", value)}))
            seen.append((await world.kustomization("apps"))["status"]["lastAppliedRevision"])
        page = await world.local.list(Query(EVENT), dict)

    assert seen == [f"main@sha1:{commit}" for commit in commits]
    about = [each for each in page.items if isinstance(each, dict) and each["involvedObject"]["name"] == "apps"]
    told = {each["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/revision"] for each in about}
    assert told == set(seen)


@in_virtual_time
async def test_versioned_a_commit_that_is_taken_back_is_another_state_and_none_is_kept_by_us() -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        await world.commit_and_sync({"apps/a.yaml": config_map("a", "2")})
        await world.commit_and_sync({"apps/a.yaml": config_map("a", "1")})

        assert await value_of(world) == "1"
        assert len((await world.kustomization("apps"))["status"]["history"]) == 2  # the first state came again


@in_virtual_time
async def test_pulled_a_commit_is_found_and_applied_and_nobody_has_to_say_so() -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        before = (await world.kustomization("apps"))["metadata"].get("annotations")
        await world.commit_and_sync({"apps/a.yaml": config_map("a", "2")})

        assert await value_of(world) == "2"
        assert (await world.kustomization("apps"))["metadata"].get("annotations") == before


@in_virtual_time
async def test_pulled_nothing_is_written_but_from_a_revision_that_was_fetched() -> None:
    """A value is numbered as its commit: at every write of it, the source must have stored that commit."""
    world = await begin(**{"apps/a.yaml": config_map("a", "0")})
    commits = [(await world.repository.log())[0]]
    wrong: list[Any] = []
    stored: list[str] = []

    async def note() -> None:
        live = await world.repository_object()
        stored.append(live["status"]["artifact"]["revision"].rpartition(":")[2])

    def check(answer: Any) -> Any:
        if commits.index(stored[-1]) != int(answer["data"]["a"]):
            wrong.append((stored[-1], answer["data"]))
        return answer

    world.cluster.answers["apply", "ConfigMap/a"] = check
    async with world.running():
        for number in range(6):
            world.cluster.meanwhile["apply", "ConfigMap/a"] = note
            if number:
                commits.append(await world.commit({"apps/a.yaml": config_map("a", str(number))}))
            await asyncio.sleep(70)

    assert wrong == []
    assert len(stored) == 6
    written = {name for method, name, trial in world.cluster.requests if method in WRITES and not trial}
    assert written <= {"ConfigMap/a", "Kustomization/apps", "GitRepository/r"} | {n for n in written if "Event/" in n}


@in_virtual_time
async def test_continuously_what_somebody_changes_or_deletes_is_as_git_says_again() -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        ref = ObjectRef(CONFIG_MAP, ObjectKey("default", "a"))
        await world.local.patch(ref, {"data": {"a": "9"}}, field_manager="somebody")
        await world.delete(CONFIG_MAP, "b")
        await asyncio.sleep(400)

        assert (await value_of(world), await value_of(world, "b")) == ("1", "1")


@in_virtual_time
async def test_continuously_it_goes_on_after_any_failure() -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        failures = ("bad manifest", "API server", "source")
        for number, failure in enumerate(failures, 2):
            if failure == "bad manifest":
                await world.commit_and_sync({"apps/x.yaml": "a: [\n"})
                assert condition(await world.kustomization("apps"), "Ready")[0] == "False"
                await world.commit({"apps/x.yaml": None})
            elif failure == "API server":
                world.cluster.refusals["ConfigMap/a"] = ClusterUnavailable("away")
            else:
                url = {"spec": {"url": "http://git.example.com/team/none.git"}}
                source = ObjectRef(GitRepository.KIND, ObjectKey("default", "r"))
                good = (await world.repository_object())["spec"]["url"]
                await world.local.patch(source, url, field_manager="somebody")
                await asyncio.sleep(60)
                assert condition(await world.repository_object(), "Ready")[0] == "False"
                await world.local.patch(source, {"spec": {"url": good}}, field_manager="somebody")
            await world.commit({"apps/a.yaml": config_map("a", str(number))})
            await asyncio.sleep(100)
            world.cluster.refusals.clear()
            await asyncio.sleep(300)

            assert await value_of(world) == str(number), failure
            assert condition(await world.kustomization("apps"), "Ready")[0] == "True", failure
