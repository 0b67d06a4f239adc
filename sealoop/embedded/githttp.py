"""A Git remote over HTTP: `git http-backend` behind aiohttp, for the demo and the tests.

    http://127.0.0.1:PORT/apps.git   the bare repository ROOT/apps.git, to fetch and to push

Requests and answers are streamed, so a push of any size takes no memory. Server-side hooks and settings of the
repositories hold.

Source: git-scm.com/docs/git-http-backend, RFC 3875 (CGI).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import os
import signal
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from aiohttp import web

_ENVIRONMENT = {
    "LC_ALL": "C",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_HTTP_EXPORT_ALL": "1",
    "REMOTE_USER": "sealoop",  # pushes are taken from users, unless the repository sets http.receivepack
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",  # the folder may belong to who started the demo as another user
    "GIT_CONFIG_VALUE_0": "*",
}
_CHUNK = 1 << 16


def make_basic(username: str, password: str) -> str:
    """Make the Authorization header of a user and a password."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def make_bearer(token: str) -> str:
    return f"Bearer {token}"


async def create_repository(directory: Path, files: Mapping[str, bytes], branch: str = "main") -> None:
    """Create a bare repository whose first commit holds `files`; without files it stays empty.

    Raises:
        RuntimeError: git failed.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    await _run_git("init", "--quiet", "--bare", "--template=", f"--initial-branch={branch}", str(directory))
    if not files:
        return
    stream = bytearray(b"commit refs/heads/%s\n" % branch.encode())
    stream += b"committer Sealoop <sealoop@localhost> now\ndata 13\nFirst commit\n\n"
    for path, content in files.items():
        quoted = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        stream += b'M 100644 inline "%s"\ndata %d\n%s\n' % (quoted.encode(), len(content), content)
    await _run_git(f"--git-dir={directory}", "fast-import", "--quiet", "--date-format=now", stdin=bytes(stream))


async def _run_git(*arguments: str, stdin: bytes = b"") -> None:
    pipe = asyncio.subprocess.PIPE
    environment = {**_ENVIRONMENT, "PATH": os.environ.get("PATH", "")}
    process = await asyncio.create_subprocess_exec("git", *arguments, stdin=pipe, stderr=pipe, env=environment)
    _, stderr = await process.communicate(stdin)
    if process.returncode:
        raise RuntimeError(f"git {arguments[0]} failed: {stderr.decode(errors='replace').strip()}")


class GitServer:
    """Serves the bare repositories below one folder on a loopback port.

    Args:
        root: the folder.
        authorization: the Authorization header to ask for, by repository; those without one are open.
        tls: makes it https.
        port: 0 for any free one.
    """

    def __init__(
        self,
        root: Path,
        *,
        authorization: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self._root = root.absolute()
        self._authorization = dict(authorization or {})
        self._tls = tls
        self._port = port
        self._runner: web.AppRunner | None = None
        self.requests: list[tuple[str, str]] = []
        """Method and path with query of every request, in order."""

    @property
    def url(self) -> str:
        """Return the address: repository NAME is at `{url}/NAME`, once started."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    async def start(self) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        # a client may send its request compressed; git http-backend wants it as it was sent
        self._runner = web.AppRunner(application, auto_decompress=False, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        self._port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        wanted = self._authorization.get(_find_repository(request.path))
        if wanted and not hmac.compare_digest(wanted, request.headers.get("Authorization", "")):
            scheme = wanted.partition(" ")[0]
            return web.Response(status=401, headers={"WWW-Authenticate": f'{scheme} realm="sealoop"'})
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "git", "http-backend", stdin=pipe, stdout=pipe, env=_run_cgi(request, self._root)
        )
        feeding = asyncio.create_task(_feed(request, process))
        try:
            return await _answer(request, process)
        finally:
            feeding.cancel()
            if process.returncode is None:
                _kill(process.pid)
            await _drain(process)
            await process.wait()


def _kill(pid: int) -> None:
    # not Process.kill(): it polls first, and then the exit code is lost for the watcher that waits for it
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Take what nobody reads any more: a process whose pipe is not read to its end is never seen to end."""
    while process.stdout is not None and await process.stdout.read(_CHUNK):
        pass


def _find_repository(path: str) -> str:
    for service in ("/info/refs", "/git-upload-pack", "/git-receive-pack"):
        path = path.removesuffix(service)
    return path.strip("/")


def _run_cgi(request: web.Request, root: Path) -> dict[str, str]:
    headers = request.headers
    environment = {
        **_ENVIRONMENT,
        "PATH": os.environ.get("PATH", ""),
        "GIT_PROJECT_ROOT": str(root),
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query_string,
        "REQUEST_METHOD": request.method,
        "REMOTE_ADDR": request.remote or "",
        "CONTENT_TYPE": headers.get("Content-Type", ""),
        "GIT_PROTOCOL": headers.get("Git-Protocol", ""),
        "HTTP_CONTENT_ENCODING": headers.get("Content-Encoding", ""),
    }
    if request.content_length is not None:
        environment["CONTENT_LENGTH"] = str(request.content_length)
    return environment


async def _feed(request: web.Request, process: asyncio.subprocess.Process) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has heard enough
        async for chunk in request.content.iter_chunked(_CHUNK):
            process.stdin.write(chunk)
            await process.stdin.drain()
    process.stdin.close()


async def _answer(request: web.Request, process: asyncio.subprocess.Process) -> web.StreamResponse:
    if process.stdout is None:
        raise web.HTTPInternalServerError
    response = web.StreamResponse()
    while line := (await process.stdout.readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() == "status":
            response.set_status(int(value.split()[0]))
        else:
            response.headers[name] = value.strip()
    with contextlib.suppress(ConnectionResetError):  # the client went away
        await response.prepare(request)
        while chunk := await process.stdout.read(_CHUNK):
            await response.write(chunk)
        await response.write_eof()
    return response
