"""The demo's surroundings: three servers on loopback, one folder.

sealoop-demo/
  manifests/      deploy/examples/quickstart with this run's addresses in it
  git/            the remote: quickstart.git, pushed from manifests/
  cluster/        the embedded cluster, and the process's own state
  sealoop.log     what the process logged
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Self

from gitops_core.adapters.local import LocalCluster
from gitops_core.meta import Manifest
from gitops_core.runtime.clock import SystemChance, SystemClock
from sealoop.embedded.githttp import GitServer, create_repository, make_basic
from sealoop.embedded.registry import RegistryServer
from sealoop.embedded.vault import EmbeddedVault

MARK = ".sealoop-demo"
"""A file that says: this folder was made by the demo, and may be made anew by it."""

WRITTEN = {"git": "127.0.0.1:8300", "registry": "127.0.0.1:8301", "vault": "127.0.0.1:8302"}
"""The addresses in deploy/examples/quickstart."""

IMAGE = "quickstart/web"
SECRET = "quickstart/database"  # noqa: S105  # a path, not a value


class FolderTaken(Exception):
    """The folder holds something that the demo did not make."""


@dataclass(frozen=True)
class World:
    folder: Path
    cluster: LocalCluster
    registry: RegistryServer
    vault: EmbeddedVault
    addresses: Mapping[str, str]

    @classmethod
    @contextlib.asynccontextmanager
    async def make(cls, folder: Path) -> AsyncIterator[Self]:
        """Yield the world: servers run, the repository is pushed, the cluster is empty but for the two credentials."""
        folder = clear(folder)
        password = secrets.token_urlsafe(16)
        async with contextlib.AsyncExitStack() as stack:
            git = await stack.enter_async_context(
                GitServer(
                    folder / "git",
                    authorization={"quickstart.git": make_basic("sealoop", password)},
                    port=find_port("git"),
                )
            )
            registry = await stack.enter_async_context(RegistryServer(find_port("registry")))
            vault = await stack.enter_async_context(EmbeddedVault(port=find_port("vault")))
            addresses = {
                "git": strip_scheme(git.url),
                "registry": strip_scheme(registry.url),
                "vault": strip_scheme(vault.url),
            }
            copy_manifests(manifests := folder / "manifests", addresses)
            registry.add(IMAGE, "1.0.0")
            registry.add(IMAGE, "0.9.0")
            registry.add(IMAGE, "latest")
            vault.put(SECRET, {"username": "web", "password": secrets.token_urlsafe(12)})
            files = {str(p.relative_to(manifests)): p.read_bytes() for p in manifests.rglob("*.yaml")}
            await create_repository(folder / "git" / "quickstart.git", files)
            cluster = LocalCluster.open(folder / "cluster", SystemClock(), SystemChance(), shared=True)
            stack.callback(cluster.close)
            for manifest in make_credentials(password, vault.token.reveal_text()):
                await cluster.create(manifest, field_manager="sealoop-demo")
            yield cls(folder, cluster, registry, vault, addresses)

    @contextlib.asynccontextmanager
    async def run_service(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run `sealoop run` on this world's cluster, asked to stop at the end."""
        command = ["run", "--local", str(self.folder / "cluster"), "-f", str(self.folder / "manifests" / "bootstrap")]
        with (self.folder / "sealoop.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sealoop", *command, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
            try:
                yield process
            finally:
                if process.returncode is None:
                    process.send_signal(signal.SIGTERM)
                    try:
                        await asyncio.wait_for(process.wait(), 20)
                    except TimeoutError:
                        process.kill()
                        await process.wait()

    def show_commit(self, commit: str) -> str:
        """Show the commit on the remote: message and diff."""
        command = ["git", "show", "--format=%an: %s", "--unified=0", commit, "--"]
        remote = self.folder / "git" / "quickstart.git"
        return subprocess.run(command, cwd=remote, check=True, capture_output=True, text=True).stdout  # noqa: S603


def clear(folder: Path) -> Path:
    """Empty the folder but for our mark; return it as an absolute path.

    Raises:
        FolderTaken: it has contents that are not ours.
    """
    if folder.exists():
        if any(folder.iterdir()) and not (folder / MARK).exists():
            raise FolderTaken(f"{folder} is not empty and was not made by the demo; name another with --dir")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).touch()
    return folder.absolute()


def find_port(server: str) -> int:
    """Return the port that the manifests say, or 0 (any free one) when something else has it."""
    port = int(WRITTEN[server].rpartition(":")[2])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def strip_scheme(url: str) -> str:
    return url.partition("://")[2]


def copy_manifests(target: Path, addresses: Mapping[str, str]) -> None:
    """Copy the quickstart's manifests, with the addresses that the servers really got."""
    with resources.as_file(resources.files("sealoop") / "quickstart") as packaged:
        beside = Path(__file__).parents[2] / "deploy" / "examples" / "quickstart"  # a source tree, not installed
        shutil.copytree(packaged if packaged.exists() else beside, target)
    for path in target.rglob("*.yaml"):
        text = path.read_text()
        for server, address in addresses.items():
            text = text.replace(WRITTEN[server], address)
        path.write_text(text)


def make_credentials(password: str, token: str) -> tuple[Manifest, ...]:
    """Make what is not in Git: the password of the remote and the token of the secret store."""

    def make_secret(name: str, **data: str) -> Manifest:
        metadata = {"name": name, "namespace": "default"}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": data}

    return (
        make_secret("git-credentials", username="sealoop", password=password),
        make_secret("vault-token", token=token),
    )
