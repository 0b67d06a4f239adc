"""Runs git: one hardened environment, one place where processes begin and end.

No prompt, no hook, no configuration but ours, one transport allowed, no credential among the arguments, a time-out on
every command that ends its whole process group, and a limit on what is read from it.

Source: git-scm.com/docs/git (environment variables) and git-scm.com/docs/git-config.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from gitops_core.errors import GitBusy, GitError
from gitops_core.runtime.authority.leave import check_again
from gitops_core.runtime.sharing.places import Places, PlacesTaken

MOST_OUTPUT = 64 << 20  # ls-remote of a million refs
MOST_COMPLAINT = 64 << 10
KILL_GRACE = 5.0
PIECE = 256 << 10

# The operator's proxies are the one part of our own environment that a remote needs.
_PASSED_ON = ("PATH", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

_ENVIRONMENT = {
    "LC_ALL": "C",
    "HOME": "/nonexistent",
    "XDG_CONFIG_HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
}

_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.askPass": "",
    "core.fsync": "none",  # a mirror may be lost; what a power failure leaves of it is found damaged and made anew
    "credential.helper": "",
    "protocol.allow": "never",
    "protocol.version": "2",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "fetch.writeCommitGraph": "false",
    "repack.writeBitmaps": "false",
    "pack.window": "2",  # what a file was before lies next to it: of a thousand edits, most are found, in half the time
    "http.followRedirects": "false",
    "transfer.fsckObjects": "true",
    # harmless faults that old, honest histories hold; the servers everybody uses accept them too
    "fetch.fsck.zeroPaddedFilemode": "ignore",
    "fetch.fsck.badTimezone": "ignore",
    "fetch.fsck.missingSpaceBeforeDate": "ignore",
}


class Result(NamedTuple):
    code: int
    stdout: bytes
    stderr: str


@dataclass(frozen=True)
class GitCommands:
    """Starts git commands, a limited number at a time.

    Attributes:
        program: the git command, an absolute path or a name on PATH.
    """

    program: str = "git"
    places: Places = field(default_factory=Places)

    async def run(
        self,
        *arguments: str,
        timeout: float,  # noqa: ASYNC109  # of the command: it is killed, not only abandoned
        stdin: bytes = b"",
        config: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        about: str = "",
        host: str = "",
        writes: bool = False,
    ) -> Result:
        """Run a command and return what it printed, whatever its exit code.

        Args:
            timeout: seconds; it may wait for its place as long again.
            config: Git configuration, passed by the environment: a command line is for everybody to read.
            about: the repository's address, for the message.
            host: which remote it talks to; "" when it talks to none.
            writes: whether it changes that remote, for which leave is asked once it has its place.

        Raises:
            NotLeader: it was to write, and somebody else leads by now.
            GitError: it took longer, printed more than it may, cannot be started, or would wait for a host that
                answers nobody.
        """
        what = f"git {_find_verb(arguments)}{about and f' of {about}'}"
        try:
            async with self.places.taken(host, timeout):
                if writes:
                    check_again()
                process = await self._start(arguments, {**make_environment(config or {}), **(environment or {})})
                try:
                    async with asyncio.timeout(timeout):
                        return await _converse(process, stdin)
                finally:
                    await _end(process)
        except PlacesTaken as error:
            raise GitBusy(str(error)) from None
        except TimeoutError:
            raise GitError(f"{what} took longer than {timeout:g} s") from None
        except OverflowError:
            raise GitError(f"{what} printed more than {MOST_OUTPUT >> 20} MiB") from None

    async def _start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                self.program,
                *arguments,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=environment,
                start_new_session=True,  # a group of its own: remote helpers and ssh die with it
            )
        )
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # asyncio would kill the command alone, and wait for as long as a child of it holds a pipe
            with contextlib.suppress(OSError):
                await _end(await asyncio.shield(starting))
            raise
        except FileNotFoundError:
            raise GitError("the git command is missing: install git (Debian: apt-get install git)") from None
        except OSError as error:
            raise GitError(f"the git command cannot be started: {error.strerror}") from error


def make_environment(config: Mapping[str, str]) -> dict[str, str]:
    """Make the whole environment of a git process: nothing else is inherited."""
    settings = {**_CONFIG, **config}
    names = [name for name in os.environ if name.upper() in _PASSED_ON]
    environment = {**_ENVIRONMENT, **{name: os.environ[name] for name in names}, "GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment


def _find_verb(arguments: Sequence[str]) -> str:
    return next((word for word in arguments if not word.startswith("-")), "")


async def _converse(process: asyncio.subprocess.Process, stdin: bytes) -> Result:
    out, err, _ = await asyncio.gather(
        _read(cast(asyncio.StreamReader, process.stdout), MOST_OUTPUT, strict=True),
        _read(cast(asyncio.StreamReader, process.stderr), MOST_COMPLAINT, strict=False),
        _feed(cast(asyncio.StreamWriter, process.stdin), stdin),
    )
    return Result(await process.wait(), out, err.decode("utf-8", "replace"))


async def _feed(stream: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its exit code tells why
        for start in range(0, len(data), PIECE):  # of all at once a copy is made, which would hold up the loop
            stream.write(memoryview(data)[start : start + PIECE])
            await stream.drain()
    stream.close()


async def _read(stream: asyncio.StreamReader, most: int, *, strict: bool) -> bytes:
    held = bytearray()
    while chunk := await stream.read(1 << 16):
        if strict and len(held) + len(chunk) > most:
            raise OverflowError
        held += chunk[: most - len(held)]
    return bytes(held)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a command that has not ended, with its whole group, and take its exit code."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_GRACE):
            # waiting ends with the last of its group: when all pipes are closed, for which they must be read
            await asyncio.gather(process.wait(), _drain(cast(asyncio.StreamReader, process.stdout)))


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(1 << 16):
        pass


@contextmanager
def expose(*contents: bytes) -> Iterator[tuple[str, ...]]:
    """Yield paths under which child processes of the same user can read `contents` while the block runs.

    They are anonymous memory, mode 0600: nothing reaches a disk, and nothing is left when this process is killed. A
    path through /proc/PID/fd is used because ssh closes every descriptor that it inherits.
    """
    descriptors = []
    try:
        for content in contents:
            descriptor = os.memfd_create("sealoop")
            descriptors.append(descriptor)
            os.fchmod(descriptor, 0o600)  # ssh refuses a key that others could read
            os.write(descriptor, content)
        yield tuple(f"/proc/{os.getpid()}/fd/{descriptor}" for descriptor in descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
