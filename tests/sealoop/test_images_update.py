"""`sealoop images update --once`: the whole job from a CI job, with a token that the cluster never sees."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sealoop.embedded.githttp import GitServer, basic, create_repository
from sealoop.embedded.registry import RegistryServer
from tests.journeys.surroundings import flux
from tests.servers.git import BareRepository
from tests.servers.programs import clean_environment

TOKEN = "short lived"


@dataclass(frozen=True)
class Job:
    """A CI job: manifests in a folder, a Git remote behind a password, a registry."""

    folder: Path
    repository: BareRepository
    git: GitServer
    registry: RegistryServer

    def write(self, *objects: dict[str, Any]) -> None:
        placed = [{**each, "metadata": {"namespace": "shop", **each["metadata"]}} for each in objects]
        (self.folder / "objects.yaml").write_text("\n---\n".join(map(json.dumps, placed)))

    async def run(self, *options: str, token: str = TOKEN) -> tuple[int, str, str]:
        """Exit code, output, complaints."""
        command = [sys.executable, "-m", "sealoop", "images", "update", "--once", *options]
        environment = clean_environment(self.folder, SEALOOP_GIT_TOKEN=token)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
        output, complaints = await process.communicate()
        return process.returncode or 0, output.decode(), complaints.decode()


@pytest.fixture
async def job(tmp_path: Path) -> AsyncIterator[Job]:
    directory = tmp_path / "git" / "app.git"
    await create_repository(directory, {"README.md": b"the fleet\n"})
    async with (
        GitServer(directory.parent, authorization={"app.git": basic("git", TOKEN)}) as git,
        RegistryServer() as registry,
    ):
        yield Job(tmp_path, BareRepository(directory), git, registry)


def objects(job: Job, **automation: Any) -> list[dict[str, Any]]:
    author = {"name": "ci", "email": "ci@example.com"}
    return [
        flux("source", "GitRepository", "app", url=f"{job.git.url}/app.git", interval="5m", ref={"branch": "main"}),
        flux("image", "ImageRepository", "web", image=f"{job.registry.host}/web", interval="5m", insecure=True),
        flux("image", "ImagePolicy", "web", imageRepositoryRef={"name": "web"}, policy={"semver": {"range": ">=1"}}),
        flux(
            "image",
            "ImageUpdateAutomation",
            "web",
            sourceRef={"kind": "GitRepository", "name": "app"},
            interval="5m",
            git={"commit": {"author": author}},
            **automation,
        ),
    ]


async def test_one_round_pushes_and_another_has_nothing_to_do(job: Job) -> None:
    marked = b'image: HOST/web:1.0.0 # {"$imagepolicy": "shop:web"}\n'.replace(b"HOST", job.registry.host.encode())
    await job.repository.commit({"web.yaml": marked})
    job.registry.add("web", "1.0.0")
    job.registry.add("web", "1.2.0")
    synced = {"sourceRef": {"kind": "GitRepository", "name": "app"}, "interval": "1m", "prune": True}
    job.write(*objects(job, suspend=True), flux("kustomize", "Kustomization", "app", **synced))

    code, output, complaints = await job.run("-f", str(job.folder / "objects.yaml"), "-o", "json")

    assert code == 0, complaints
    assert await job.repository.git("show", "main:web.yaml") == marked.replace(b"1.0.0", b"1.2.0")
    pushed = {entry["kind"]: entry["commit"] for entry in json.loads(output)}["ImageUpdateAutomation"]
    assert pushed == (await job.repository.git("rev-parse", "main")).decode().strip()
    assert TOKEN not in output + complaints

    code, output, _ = await job.run("-f", str(job.folder / "objects.yaml"))

    assert code == 0
    assert "repository up-to-date" in output
    assert (await job.repository.git("rev-parse", "main")).decode().strip() == pushed


async def test_a_wrong_token_is_told_and_fails(job: Job) -> None:
    job.registry.add("web", "1.0.0")
    job.write(*objects(job))

    code, output, complaints = await job.run("-f", str(job.folder / "objects.yaml"), token="no longer good")

    assert code == 1
    assert "imageupdateautomation/web\tfailed" in output
    assert "no longer good" not in output + complaints


async def test_without_an_automation_there_is_nothing_to_do(job: Job) -> None:
    job.write(*objects(job)[:3])

    code, _, complaints = await job.run("-f", str(job.folder / "objects.yaml"))

    assert code == 1
    assert complaints == "Error: there is no ImageUpdateAutomation: nothing to update\n"
