"""Git remotes of every kind on loopback: plain folders, http open and guarded, https, ssh, and servers that misbehave.

A repository is written by git itself (fast-import), never by the code under test.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

import asyncssh

from gitops_core.meta import Sensitive
from gitops_core.ports import GitAccess
from sealoop.embedded.githttp import GitServer, create_repository, make_basic, make_bearer
from tests.servers.certificates import Authority
from tests.servers.programs import ProgramMissing

USER, PASSWORD, TOKEN = "bob", "pass word/+:%", "token-0123456789"
_ENVIRONMENT = {"HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "LC_ALL": "C"}


async def git(*arguments: str, stdin: bytes = b"") -> bytes:
    """Run git and return what it prints. Raises RuntimeError: it failed."""
    pipe = asyncio.subprocess.PIPE
    environment = {**_ENVIRONMENT, "PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(
        "git", *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environment
    )
    stdout, stderr = await process.communicate(stdin)
    if process.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {stderr.decode()}")
    return stdout


READ_ONLY = "read-only"  # a file in a repository whose ssh server says this to who would push


@dataclass(frozen=True)
class BareRepository:
    """A repository on the other side: what others do to it, and what it holds."""

    directory: Path

    async def git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        return await git(f"--git-dir={self.directory}", *arguments, stdin=stdin)

    async def commit(
        self,
        files: Mapping[str, bytes | None],
        *,
        branch: str = "main",
        modes: Mapping[str, str] | None = None,
        message: str = "A change",
        when: datetime = datetime(2026, 1, 1, tzinfo=UTC),
    ) -> str:
        """Commit `files` on top of a branch, as somebody; None removes one, a submodule (160000) holds an id."""
        ref, said = f"refs/heads/{branch}", message.encode()
        who = f"Somebody <somebody@example.com> {int(when.timestamp())} +0000"
        stream = bytearray(f"commit {ref}\ncommitter {who}\n".encode())
        stream += b"data %d\n%s\n" % (len(said), said)
        if await self.git("for-each-ref", ref):
            stream += b"from %s^0\n" % ref.encode()
        for path, content in files.items():
            if content is None:
                stream += b'D "%s"\n' % path.encode()
                continue
            mode = (modes or {}).get(path, "100644").encode()
            if mode == b"160000":
                stream += b'M 160000 %s "%s"\n' % (content, path.encode())
                continue
            stream += b'M %s inline "%s"\ndata %d\n%s\n' % (mode, os.fsencode(path), len(content), content)
        await self.git("fast-import", "--quiet", "--force", stdin=bytes(stream))
        return (await self.git("rev-parse", ref)).decode().strip()

    async def tag(self, name: str, commit: str, *, annotated: bool = False) -> None:
        who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
        await git(*who, f"--git-dir={self.directory}", "tag", *(("-m", name) if annotated else ()), name, commit)

    async def set_branch(self, branch: str, commit: str) -> None:
        await self.git("update-ref", f"refs/heads/{branch}", commit)

    async def refuse(self, reason: str) -> None:
        """Let a hook decline every push from now on."""
        hook = self.directory / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho '{reason}' >&2\nexit 1\n")
        hook.chmod(0o755)

    async def take_options(self) -> None:
        """Take push options from now on, and let a hook write them down."""
        await self.git("config", "receive.advertisePushOptions", "true")
        hook = self.directory / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        write = 'eval "echo \\"\\$GIT_PUSH_OPTION_$n\\""; n=$((n+1))'
        hook.write_text(f"#!/bin/sh\nn=0; while [ $n -lt $GIT_PUSH_OPTION_COUNT ]; do {write}; done > options\n")
        hook.chmod(0o755)

    async def refuse_pushes(self) -> None:
        """Be read-only for whoever comes: over http as git http-backend says it, over ssh as GitHub does."""
        await self.git("config", "http.receivepack", "false")
        (self.directory / READ_ONLY).write_text(
            "ERROR: The key you are authenticating with has been marked as read only.\n"
        )

    async def told(self) -> tuple[str, ...]:
        """Return the options of the last push."""
        return tuple((self.directory / "options").read_text().splitlines())

    async def raw(self, commit: str) -> bytes:
        return await self.git("cat-file", "commit", commit)

    async def log(self, branch: str = "main") -> tuple[str, ...]:
        """Return the commits of a branch, newest first."""
        return tuple((await self.git("rev-list", "--first-parent", f"refs/heads/{branch}")).decode().split())

    async def files(self, commit: str) -> dict[str, tuple[str, bytes]]:
        """Return mode and contents by path."""
        listing = (await self.git("ls-tree", "-r", "-z", commit)).decode().split("\0")
        files = {}
        for line in filter(None, listing):
            about, _, path = line.partition("\t")
            mode, type_, oid = about.split()
            files[path] = (mode, await self.git("cat-file", type_, oid))
        return files


@dataclass(frozen=True)
class GitPlace:
    """Where repositories are made, and how they are reached from outside.

    Attributes:
        root: the folder of the bare repositories.
        url: what the name of a repository is added to.
    """

    root: Path
    url: str
    access: GitAccess = field(default_factory=GitAccess)

    async def repository(self, name: str = "apps.git", files: Mapping[str, bytes] | None = None) -> BareRepository:
        directory = self.root / name
        await create_repository(directory, {})
        repository = BareRepository(directory)
        if files:
            await repository.commit(files)
        return repository


@asynccontextmanager
async def file_place(folder: Path) -> AsyncIterator[GitPlace]:
    yield GitPlace(folder, f"file://{folder}")


@asynccontextmanager
async def http_place(folder: Path) -> AsyncIterator[GitPlace]:
    async with GitServer(folder) as server:
        yield GitPlace(folder, server.url)


@asynccontextmanager
async def basic_place(folder: Path) -> AsyncIterator[GitPlace]:
    async with GitServer(folder, authorization={"apps.git": make_basic(USER, PASSWORD)}) as server:
        yield GitPlace(folder, server.url, GitAccess(username=USER, password=Sensitive(PASSWORD)))


@asynccontextmanager
async def bearer_place(folder: Path) -> AsyncIterator[GitPlace]:
    async with GitServer(folder, authorization={"apps.git": make_bearer(TOKEN)}) as server:
        yield GitPlace(folder, server.url, GitAccess(bearer_token=Sensitive(TOKEN)))


@asynccontextmanager
async def https_place(folder: Path) -> AsyncIterator[GitPlace]:
    """Serve with a certificate of an authority of our own, and basic authentication."""
    authority = Authority.make(folder / "authority")
    pair = authority.server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    async with GitServer(folder, authorization={"apps.git": make_basic(USER, PASSWORD)}, tls=context) as server:
        ca = authority.certificate.read_bytes()
        yield GitPlace(folder, server.url, GitAccess(username=USER, password=Sensitive(PASSWORD), ca=ca))


@asynccontextmanager
async def mutual_place(folder: Path) -> AsyncIterator[GitPlace]:
    """Serve over https that asks for a client certificate."""
    authority = Authority.make(folder / "authority")
    pair, client = authority.server(), authority.client("bob")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    async with GitServer(folder, tls=context) as server:
        access = GitAccess(
            ca=authority.certificate.read_bytes(),
            client_certificate=client.certificate.read_bytes(),
            client_key=Sensitive(client.key.read_bytes()),
        )
        yield GitPlace(folder, server.url, access)


@asynccontextmanager
async def ssh_place(folder: Path) -> AsyncIterator[GitPlace]:
    """Run an ssh server with git-upload-pack and git-receive-pack for one key, which has a passphrase."""
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        raise ProgramMissing("the tests need the programs ssh and ssh-keygen (Debian: openssh-client)")
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    identity = folder / "identity"
    await _keygen(identity, PASSWORD)
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=str(identity.with_suffix(".pub")),
        process_factory=_serve_ssh,
        encoding=None,
    )
    port = server.get_port()
    try:
        yield GitPlace(
            folder,
            f"ssh://git@127.0.0.1:{port}{folder}",
            GitAccess(
                identity=Sensitive(identity.read_bytes()),
                passphrase=Sensitive(PASSWORD),
                known_hosts=f"[127.0.0.1]:{port} ".encode() + host_key.export_public_key(),
            ),
        )
    finally:
        server.close()
        await server.wait_closed()


async def _keygen(path: Path, passphrase: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", str(path)),
        *("-a", "1"),  # a passphrase that is read in a hundredth of the usual time: every connection reads it
    )
    if await process.wait():
        raise RuntimeError("ssh-keygen failed")


def _read_refusal(repository: Path) -> bytes:
    said = repository / READ_ONLY
    return said.read_bytes() if said.exists() else b""


async def _serve_ssh(session: asyncssh.SSHServerProcess[bytes]) -> None:
    service, _, quoted = (session.command or "").partition(" ")
    if service not in ("git-upload-pack", "git-receive-pack"):
        session.exit(127)
        return
    pipe = asyncio.subprocess.PIPE
    environment = {**_ENVIRONMENT, "PATH": os.environ["PATH"], "GIT_PROTOCOL": session.env.get("GIT_PROTOCOL", "")}
    if service == "git-receive-pack" and (refusal := _read_refusal(Path(quoted.strip("'")))):
        session.stderr.write(refusal)
        session.exit(1)
        return
    process = await asyncio.create_subprocess_exec(
        "git", service.removeprefix("git-"), quoted.strip("'"), stdin=pipe, stdout=pipe, stderr=pipe, env=environment
    )
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise RuntimeError("git has no pipes")
    asking = asyncio.create_task(_pump(session.stdin, process.stdin))
    await asyncio.gather(_pump(process.stdout, session.stdout), _pump(process.stderr, session.stderr))
    session.exit(await process.wait())
    asking.cancel()


class _Source(Protocol):
    async def read(self, n: int, /) -> bytes: ...


class _Sink(Protocol):
    def write(self, data: bytes, /) -> None: ...
    async def drain(self) -> None: ...


async def _pump(source: _Source, sink: _Sink) -> None:
    with contextlib.suppress(ConnectionError, BrokenPipeError):  # it has heard enough
        while chunk := await source.read(1 << 16):
            sink.write(chunk)
            await sink.drain()
        if isinstance(sink, asyncio.StreamWriter):
            sink.close()


PLACES: dict[str, Callable[[Path], contextlib.AbstractAsyncContextManager[GitPlace]]] = {
    "file": file_place,
    "http": http_place,
    "http-basic": basic_place,
    "http-bearer": bearer_place,
    "https": https_place,
    "https-client-certificate": mutual_place,
    "ssh": ssh_place,
}

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the request, and never answer."""
    await reader.read()


def answer_with(status: str, body: bytes, content_type: str = "text/html", *, headers: str = "") -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{headers}"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return answer


@asynccontextmanager
async def bad_server(answer: Answer) -> AsyncIterator[str]:
    """Yield the URL of a server that says to every connection what `answer` says."""
    answering: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(cast("asyncio.Task[None]", asyncio.current_task()))
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await answer(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)
        await server.wait_closed()


@asynccontextmanager
async def breaking_proxy(target: str, after: int) -> AsyncIterator[str]:
    """Yield the URL of a proxy to `target` that breaks each connection after so many bytes of answers: half a pack."""
    host, _, port = target.removeprefix("http://").partition(":")

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        asking = asyncio.create_task(_copy(reader, there_writer))
        try:
            left = after
            while left and (chunk := await there_reader.read(left)):
                writer.write(chunk)
                left -= len(chunk)
            await writer.drain()
        finally:
            asking.cancel()
            there_writer.transport.abort()
            await asyncio.gather(asking, there_writer.wait_closed(), return_exceptions=True)

    async with bad_server(pass_on) as url:
        yield url


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)
