"""The demo and its manifests are run, so they cannot rot; and so is the service under kill -9."""

from __future__ import annotations

import asyncio
import base64
import random
import socket
import subprocess
import sys
from pathlib import Path

from sealoop.demo.observing import Observer
from sealoop.demo.story import DEPLOYMENT, SECRET_KIND, WATCHED, get_image, is_rolled_out
from sealoop.demo.world import IMAGE, SECRET, World
from tests.servers.git import git
from tests.servers.programs import ROOT, clean_environment


def run_demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sealoop", "demo", "--dir", str(folder / "demo"), *options]
    return subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(folder, PYTHONPATH=str(ROOT)),
        text=True,
        capture_output=True,
        timeout=120,
    )


def test_the_demo_shows_the_loop_and_can_be_run_again(tmp_path: Path) -> None:
    first, second = run_demo(tmp_path), run_demo(tmp_path)

    assert first.returncode == 0, first.stdout + first.stderr
    assert second.returncode == 0, second.stdout + second.stderr
    assert "+          image: 127.0.0.1" in first.stdout
    for step in ("tag seen", "policy decided", "commit pushed", "objects applied", "rolled out", "secret updated"):
        assert step in first.stdout


def test_the_demo_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("ten years of work")

    done = run_demo(tmp_path)

    assert done.returncode == 1
    assert "is not empty and was not made by the demo" in done.stderr
    assert (tmp_path / "demo" / "thesis.txt").read_text() == "ten years of work"


def test_the_demo_fails_when_a_step_does_not_happen(tmp_path: Path) -> None:
    done = run_demo(tmp_path, "--patience", "0.01")

    assert done.returncode == 1
    assert "source fetched: not within" in done.stderr


def test_the_servers_alone_say_that_a_port_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        done = run_demo(tmp_path, "--servers", "--port", str(port))

    assert done.returncode == 1
    assert f"('127.0.0.1', {port})" in done.stderr
    assert "say --port" in done.stderr


async def test_nothing_is_lost_or_doubled_under_kill_9(tmp_path: Path) -> None:
    """Ten bumps and ten rotations while the service is killed at random moments."""
    chance = random.Random(20)
    tags = [f"1.{minor}.0" for minor in range(1, 11)]
    async with World.make(tmp_path / "world") as world:
        see = Observer(world.cluster)
        async with see.watch(WATCHED):
            for number, tag in enumerate(tags):
                world.registry.add(IMAGE, tag)
                world.vault.put(SECRET, {"username": f"user-{number}", "password": f"password-{number}"})
                async with world.run_service() as process:
                    await asyncio.sleep(0.8 + chance.random() * 2.5)
                    process.kill()
                    await process.wait()
            async with world.run_service():
                await see.wait_until(lambda: is_rolled_out(see.get(DEPLOYMENT, "web"), tags[-1]), 120)
                await see.wait_until(lambda: values(see) == {"USERNAME": "user-9", "PASSWORD": "password-9"}, 120)
        remote = world.folder / "git" / "quickstart.git"
        bumps = (
            await git(f"--git-dir={remote}", "log", "--reverse", "--format=", "-p", "--author=sealoop@example.com")
        ).decode()
        made = [line for line in bumps.splitlines() if line.startswith("+  ")]
        assert get_image(see.get(DEPLOYMENT, "web")).endswith(tags[-1])
    assert made == sorted(set(made), key=made.index)  # no tag twice
    assert "1.10.0" in made[-1]


def values(see: Observer) -> dict[str, str]:
    data = see.get(SECRET_KIND, "web-database").get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}
