"""Where the recorded situations are played again: one real control plane, one `sealoop run`, many namespaces.

Git over HTTP, an open registry, one that misbehaves and OpenBao stand around it. Tests are plain functions: the servers
that need an event loop have one in a thread of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sealoop.embedded.githttp import GitServer, create_repository, make_basic
from tests.journeys.surroundings import Surroundings
from tests.servers.controlplane import ControlPlane
from tests.servers.git import BareRepository
from tests.servers.registry import RealRegistry, hostile_registry
from tests.servers.vault import VaultServer

USER, PASSWORD = "bot", "correct horse"
CREATOR = "python-requests"
"""The field manager under which the recorded objects were made."""

Result = TypeVar("Result")


class Loop:
    """An event loop in a thread; `run` waits for what a coroutine returns."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@dataclass(frozen=True)
class Repository:
    """A remote, and the URL it is served at."""

    loop: Loop
    remote: BareRepository
    url: str

    def commit(self, files: Mapping[str, bytes | None], message: str = "A change", branch: str = "main") -> str:
        return self.loop.run(self.remote.commit(files, message=message, branch=branch))

    def git(self, *arguments: str) -> str:
        return self.loop.run(self.remote.git(*arguments)).decode()


@dataclass(frozen=True)
class Stage:
    """Everything the service is given to work with."""

    plane: ControlPlane
    folder: Path
    loop: Loop
    git: GitServer
    registry: RealRegistry
    hostile: str
    hanging: str
    vault: VaultServer

    def repository(self, name: str, files: Mapping[str, bytes]) -> Repository:
        """A new remote with one commit. Those whose name begins with `locked-` ask for USER and PASSWORD."""
        directory = self.folder / "git" / f"{name}.git"
        self.loop.run(create_repository(directory, {}))
        repository = Repository(self.loop, BareRepository(directory), f"{self.git.url}/{name}.git")
        if files:
            repository.commit(files, "first")
        return repository

    def place(self, name: str) -> Surroundings:
        """A fresh namespace."""
        return Surroundings(self.plane, self.plane.namespace(name), self.folder)


@contextlib.contextmanager
def stage(plane: ControlPlane, folder: Path, registry: RealRegistry, vault: VaultServer) -> Iterator[Stage]:
    """The servers, without the service."""
    loop = Loop()
    (folder / "git").mkdir()
    locked = {f"locked-{number}.git": make_basic(USER, PASSWORD) for number in range(9)}
    server = GitServer(folder / "git", authorization=locked)
    hostile, hanging = hostile_registry(), hostile_registry()  # one that hangs keeps its own repositories waiting
    try:
        loop.run(server.start())
        one, other = (loop.run(each.__aenter__()) for each in (hostile, hanging))
        try:
            yield Stage(plane, folder, loop, server, registry, one, other, vault)
        finally:
            for each in (hostile, hanging):
                loop.run(each.__aexit__(None, None, None))
            loop.run(server.stop())
    finally:
        loop.close()


def create(place: Surroundings, *manifests: Mapping[str, Any], manager: str = CREATOR) -> None:
    """kubectl create: the fields are owned as those of the recorded objects are."""
    documents = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
    command = ("create", "-n", place.namespace, f"--field-manager={manager}", "-f", "-")
    place.plane.kubectl(*command, stdin=documents)


def live_objects(place: Surroundings, group_version: str, plural: str) -> list[dict[str, Any]]:
    """All objects of a kind, with the managedFields that kubectl does not show."""
    base = "/api" if "/" not in group_version else "/apis"
    listed = place.plane.expect("GET", f"{base}/{group_version}/namespaces/{place.namespace}/{plural}")
    kind = listed["kind"].removesuffix("List")
    return [{"apiVersion": group_version, "kind": kind, **item} for item in listed["items"]]
