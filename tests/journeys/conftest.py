"""Fixtures of the journeys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sealoop.embedded.githttp import GitServer, create_repository, make_basic
from tests.journeys.surroundings import Surroundings
from tests.servers.controlplane import ControlPlane
from tests.servers.git import BareRepository

USER, PASSWORD = "bot", "correct horse"


@pytest.fixture
def around(workloads: ControlPlane, tmp_path: Path) -> Surroundings:
    workloads.install_crds()
    return Surroundings(workloads, workloads.namespace("journey"), tmp_path)


@pytest.fixture
async def remote(around: Surroundings) -> AsyncIterator[tuple[BareRepository, str]]:
    """A repository behind a password, and its URL; its Secret is `git`."""
    directory = around.folder / "git" / "app.git"
    await create_repository(directory, {"README.md": b"the application\n"})
    async with GitServer(directory.parent, authorization={"app.git": make_basic(USER, PASSWORD)}) as server:
        metadata = {"name": "git"}
        data = {"username": USER, "password": PASSWORD}
        around.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
        yield BareRepository(directory), f"{server.url}/app.git"
