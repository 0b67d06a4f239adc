"""What stands for the places of the internet that the documents name: a registry and a Git server, both with TLS.

    ghcr.io            has org/app:1.0.0 and 1.6.0, and no other image
    git.example.com    has fleet.git, which asks for the password that the document shows

Both have certificates of one authority, which the reader trusts.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sealoop.embedded.githttp import GitServer, create_repository, make_basic
from tests.servers.certificates import Authority
from tests.servers.registry import TlsRegistry

TOKEN = "..."
"""The password of the Git server, as the document writes it."""


def push_images(registry: TlsRegistry) -> None:
    for tag in ("1.0.0", "1.6.0"):
        registry.registry.push("org/app", tag)


@contextmanager
def git_server(folder: Path, files: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """HOST:PORT of a server whose fleet.git holds `files`, and the certificate of its authority."""
    authority = Authority.make(folder / "authority")
    keys = authority.server()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(keys.certificate, keys.key)
    root = folder / "served"
    server = GitServer(root, authorization={"fleet.git": make_basic("git", TOKEN)}, tls=tls)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> None:
        await create_repository(root / "fleet.git", {name: text.encode() for name, text in files.items()})
        await server.start()

    try:
        asyncio.run_coroutine_threadsafe(begin(), loop).result(60)
        yield server.url.removeprefix("https://"), authority.certificate
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
