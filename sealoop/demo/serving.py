"""`sealoop demo --servers`: what the loop needs around the cluster, for a person who does the rest by hand.

    git/            bare repositories below it are served at http://127.0.0.1:8300/NAME.git, open to everybody
    registry        127.0.0.1:8301, with quickstart/web:1.0.0 in it
    secret store    http://127.0.0.1:8302, Vault's API; token `quickstart`, key quickstart/database

Everything but the repositories is forgotten at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import click

from sealoop.demo.world import IMAGE, SECRET, strip_scheme
from sealoop.embedded.githttp import GitServer
from sealoop.embedded.registry import RegistryServer
from sealoop.embedded.vault import EmbeddedVault

TOKEN = "quickstart"  # noqa: S105  # of a store on loopback that holds nothing of worth


class PortTaken(Exception):
    """Something else listens where a server is to be."""


async def serve(folder: Path, port: int) -> None:
    """Serve the repositories of `folder` on `port`, the others on the two above it, until SIGINT or SIGTERM.

    Raises:
        PortTaken.
    """
    stopped = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stopped.set)
    async with contextlib.AsyncExitStack() as stack:
        registry, vault = RegistryServer(port + 1), EmbeddedVault(port=port + 2, token=TOKEN)
        git = GitServer(folder, port=port)
        try:
            for server in (git, registry, vault):
                await stack.enter_async_context(server)
        except OSError as error:
            raise PortTaken(f"{error.strerror or error}: stop what is there, or say --port") from None
        registry.add(IMAGE, "1.0.0")
        vault.put(SECRET, {"username": "web", "password": "first"})
        click.echo(f"Git remote    {git.url}/NAME.git is {folder}/NAME.git")
        click.echo(f"registry      {registry.host} has {IMAGE}:1.0.0")
        click.echo(f"secret store  {strip_scheme(vault.url)} has {SECRET}; its token is {TOKEN}")
        click.echo("Ctrl-C ends them")
        await stopped.wait()
