"""`sealoop reconcile`, `suspend` and `resume`, asked of the running service by its objects."""

from __future__ import annotations

import asyncio

import click
import pytest
from click.testing import CliRunner

from gitops_core.api import GitRepository, Kustomization
from sealoop.main import main
from sealoop.objects.asking import Asking, reconcile_all, resume_all, suspend_all
from tests.gitops_core.reconcilers.world import CONFIG_MAP, World, config_map
from tests.simulation.loop import in_virtual_time

NAME = "kustomization.kustomize.toolkit.fluxcd.io/apps"
HOW = Asking("default", timeout=60.0)


async def begin(**spec: object) -> World:
    world = World()
    await world.begin({"apps/a.yaml": config_map("a", "1")})
    await world.put(
        GitRepository, "r", interval="24h", url="http://git.example.com/team/fleet.git", ref={"branch": "main"}
    )
    await world.sync("apps", "./apps", interval="24h", **spec)
    return world


@in_virtual_time
async def test_a_reconciliation_is_asked_for_and_its_result_told(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        await world.delete(CONFIG_MAP, "a")

        failures = await reconcile_all(world.local, ["ks/apps"], HOW)

        assert failures == 0
        assert await world.live(CONFIG_MAP, "a") is not None
    told = capsys.readouterr()
    assert told.out.startswith(f"{NAME} reconciled: Applied revision: main@sha1:")
    assert told.err == ""


@in_virtual_time
async def test_a_new_commit_is_fetched_first_where_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        commit = await world.commit({"apps/a.yaml": config_map("a", "2")})
        await reconcile_all(world.local, ["ks/apps"], HOW)
        before = (await world.live(CONFIG_MAP, "a"))["data"]
        failures = await reconcile_all(world.local, ["ks/apps"], Asking("default", with_source=True, timeout=60.0))
        after = (await world.live(CONFIG_MAP, "a"))["data"]

    assert (failures, before, after) == (0, {"a": "1"}, {"a": "2"})
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines[0].startswith("gitrepository.source.toolkit.fluxcd.io/r reconciled: ")
    assert lines[1] == f"{NAME} reconciled: Applied revision: main@sha1:{commit}"


@in_virtual_time
async def test_a_result_that_is_not_good_is_the_commands_too(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        await world.commit({"apps/a.yaml": "a: [\n"})
        failures = await reconcile_all(
            world.local, ["ks/apps", "ks/none"], Asking("default", with_source=True, timeout=60)
        )

    told = capsys.readouterr()
    assert failures == 2
    assert "Error: Kustomization/default/apps: BuildFailed: " in told.err
    assert "Error: Kustomization/default/none not found" in told.err


@in_virtual_time
async def test_a_service_that_does_not_answer_is_not_waited_for_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()

    failures = await reconcile_all(world.local, ["ks/apps"], HOW)

    assert failures == 1
    assert "no answer within 60 s: does the service run" in capsys.readouterr().err


@in_virtual_time
async def test_a_suspended_object_is_left_alone_until_it_is_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        assert await suspend_all(world.local, ["ks"], Asking("default", everything=True)) == 0
        await world.commit_and_sync({"apps/a.yaml": config_map("a", "2")})
        refused = await reconcile_all(world.local, ["ks/apps"], HOW)
        still = (await world.live(CONFIG_MAP, "a"))["data"]
        await world.request(GitRepository, "r", "now")
        await asyncio.sleep(5)
        assert await resume_all(world.local, ["ks/apps"], HOW) == 0
        then = (await world.live(CONFIG_MAP, "a"))["data"]

    told = capsys.readouterr()
    assert (refused, still, then) == (1, {"a": "1"}, {"a": "2"})
    assert told.out.splitlines()[:2] == [f"{NAME} suspended", f"{NAME} resumed"]
    assert "is suspended: sealoop resume kustomizations apps" in told.err


@in_virtual_time
async def test_what_cannot_be_asked_is_named_and_the_others_are_asked(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        assert await reconcile_all(world.local, ["cm/a", "ks/apps"], HOW) == 1
        assert await suspend_all(world.local, ["receivers/x"], HOW) == 1
        assert await reconcile_all(world.local, ["gitrepo/r"], Asking("default", with_source=True, timeout=9)) == 1
        with pytest.raises(click.ClickException, match="no kind called 'nothing'"):
            await reconcile_all(world.local, ["nothing/x"], HOW)

    told = capsys.readouterr()
    assert f"{NAME} reconciled" in told.out
    assert (
        "ConfigMap/default/a is nothing that Sealoop reconciles: that is buckets, externalsecrets, gitrepo" in told.err
    )
    assert "Receiver/default/x not found" in told.err
    assert "GitRepository/default/r is made from no other object: leave out --with-source" in told.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["ks"], "say which: by name, or --all of them"),
        (["ks/a", "--all"], "the objects are named: leave out --all"),
        (["ks/a", "--timeout", "soon"], "'soon' is not a duration"),
        ([], "Missing argument"),
    ],
)
def test_words_that_make_no_sense_ask_nothing(words: list[str], why: str) -> None:
    done = CliRunner().invoke(main, ["reconcile", *words])

    assert done.exit_code == 2
    assert why in done.output


@in_virtual_time
async def test_an_object_that_goes_while_it_is_waited_for_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    asking = asyncio.create_task(reconcile_all(world.local, ["ks/apps"], Asking("default")))
    await asyncio.sleep(5)
    await world.delete(Kustomization.KIND, "apps")

    assert await asking == 1
    assert "Kustomization/default/apps not found" in capsys.readouterr().err
