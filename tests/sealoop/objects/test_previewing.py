"""`sealoop plan` with a checkout on a disk."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from sealoop.main import main
from sealoop.objects.previewing import preview, read_checkout
from tests.gitops_core.reconcilers.world import World, config_map
from tests.simulation.loop import in_virtual_time

FILES = {"apps/a.yaml": config_map("a", "1"), "apps/b.yaml": config_map("b", "1")}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


async def begin() -> World:
    world = World()
    await world.begin(FILES)
    await world.sync("apps", "./apps")
    return world


CHANGED = {"apps/a.yaml": config_map("a", "2"), "apps/d.yaml": config_map("d", "1"), ".git/config": "secret: yes\n"}


@in_virtual_time
async def test_a_plan_is_printed_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        changes = await preview(world.local, ["ks/apps"], None, str(write(tmp_path, CHANGED)), "default", "text")

    assert changes == 3
    assert capsys.readouterr().out.splitlines() == [
        "~ ConfigMap/default/a configured",
        "    data.a: 1 -> 2",
        "+ ConfigMap/default/d created",
        "- ConfigMap/default/b deleted",
        "Plan: 1 to create, 1 to change, 1 to delete, 0 unchanged.",
    ]


@in_virtual_time
async def test_a_plan_is_printed_for_machines_and_for_a_pull_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = await begin()
    hostile = {**FILES, "apps/a.yaml": config_map("a", "```x")}
    async with world.running():
        await asyncio.sleep(5)
        folder = str(write(tmp_path, hostile))
        await preview(world.local, ["ks/apps"], None, folder, "default", "json")
        told = json.loads(capsys.readouterr().out)
        await preview(world.local, ["ks/apps"], None, folder, "default", "markdown")
        markdown = capsys.readouterr().out

    assert told[0] == {
        "object": "ConfigMap/default/a",
        "change": "configured",
        "fields": [{"path": "data.a", "old": "1", "new": "```x", "by": ""}],
    }
    assert markdown.splitlines()[:3] == ["### Kustomization/default/apps", "", "Plan: 1 to change, 1 unchanged."]
    assert markdown.count("```") == 2


@in_virtual_time
async def test_a_kustomization_of_a_file_is_planned_with_the_inventory_of_the_live_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = await begin()
    spec: dict[str, Any] = {"interval": "1m", "prune": True, "path": "./apps", "targetNamespace": "default"}
    spec["sourceRef"] = {"kind": "GitRepository", "name": "r"}
    about = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "apps"}}
    async with world.running():
        await asyncio.sleep(5)
        write(tmp_path, {"apps/a.yaml": FILES["apps/a.yaml"], "ks.yaml": yaml.safe_dump({**about, "spec": spec})})
        known = await preview(world.local, [], str(tmp_path / "ks.yaml"), str(tmp_path), "default", "text")
        other = {**about, "metadata": {"name": "new"}}
        (tmp_path / "ks.yaml").write_text(yaml.safe_dump({**other, "spec": spec | {"namePrefix": "n-"}}))
        new = await preview(world.local, [], str(tmp_path / "ks.yaml"), str(tmp_path), "default", "text")
        (tmp_path / "ks.yaml").write_text(yaml.safe_dump({**about, "spec": {"interval": 1}}))
        with pytest.raises(click.ClickException, match=r"ks.yaml: .*\$.spec.interval"):
            await preview(world.local, [], str(tmp_path / "ks.yaml"), str(tmp_path), "default", "text")

    assert (known, new) == (1, 1)
    told = capsys.readouterr().out
    assert "- ConfigMap/default/b deleted" in told
    assert "+ ConfigMap/default/n-a created" in told


def test_a_checkout_is_read_without_links_and_what_git_keeps(tmp_path: Path) -> None:
    write(tmp_path, {"a/b.yaml": "x", ".git/config": "y", "c.yaml": "z"})
    (tmp_path / "link.yaml").symlink_to("/etc/passwd")
    (tmp_path / "folder").symlink_to("/etc")

    assert dict(read_checkout(tmp_path)) == {"a/b.yaml": b"x", "c.yaml": b"z"}
    with pytest.raises(click.ClickException, match="is no folder: --checkout DIR"):
        read_checkout(tmp_path / "none")


@pytest.mark.parametrize("words", [[], ["ks/a", "-f", "x.yaml"], ["ks", "a", "b"]])
def test_words_that_name_no_one_kustomization_are_refused(words: list[str]) -> None:
    done = CliRunner().invoke(main, ["plan", *words])

    assert done.exit_code == 2
    assert "say which Kustomization: ks/NAME, or -f FILE" in done.output
