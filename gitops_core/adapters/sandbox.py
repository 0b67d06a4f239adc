"""Runs a program on files that strangers wrote: it can open nothing else, reach nothing, and has limits.

    files, network, processes   taken by the kernel before the program starts (landlock.py); without Landlock, and as
                                root, the program runs as another user; else as we do, which `described` says
    memory, processor, files    resource limits; RLIMIT_DATA, because a Go program reserves addresses without end
    time, output                counted by us; what is left of the program is killed

The files are written into a private folder in memory, which goes when the program ends, however it ends. What a service
that was killed could not remove, the next one does: a folder is locked for as long as somebody uses it, and the kernel
forgets the locks of the dead. Where no file system is in memory, files that are nobody's business are not written.

A program that is not linked statically may also read and run what is in /bin, /usr and /lib: its own libraries.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import resource
import selectors
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Self

from gitops_core.adapters import landlock

NOBODY = 65534
MEMORY = "/dev/shm"  # noqa: S108  # mkdtemp makes a folder of our own in it
PREFIX = "sealoop-build-"
MEMORY_KINDS = ("tmpfs", "ramfs")
NO_MEMORY = f"{MEMORY} is no file system in memory that can be written: what is decrypted is not written to a disk"
SYSTEM = ("/bin", "/usr", "/lib", "/lib64", "/etc/ld.so.cache")


class OutOfTime(Exception):
    """The program did not end in time."""


class TooMuchOutput(Exception):
    """The program printed more than it may."""


class Stopped(Exception):
    """Somebody called `stop`."""


@dataclass(frozen=True)
class Limits:
    """In seconds and bytes. Threads count as processes do, and with those of the same user."""

    seconds: float = 60.0
    memory: int = 2**30
    output: int = 64 * 2**20
    messages: int = 2**16
    threads: int = 4096
    descriptors: int = 256


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Confinement:
    """Attributes:
    landlock: the kernel's version of it, 0 for none.
    has_filters: whether system calls can be filtered.
    user: whom to run as, None for ourselves.
    """

    landlock: int
    has_filters: bool
    user: int | None

    @classmethod
    def of_this_machine(cls) -> Self:
        version = landlock.read_abi()
        return cls(version, landlock.has_filters(), NOBODY if version == 0 and os.geteuid() == 0 else None)

    @property
    def is_complete(self) -> bool:
        """Tell whether a program can open nothing but its folder, and no connection."""
        return self.landlock > 0 and self.has_filters

    @property
    def described(self) -> str:
        calls = "no sockets and no other processes" if self.has_filters else "sockets are not refused"
        if self.landlock:
            return f"Landlock (version {self.landlock}): no files but its own; {calls}"
        if self.user is not None:
            return f"no Landlock in this kernel: another user ({self.user}), who reads what all may; {calls}"
        return f"no Landlock in this kernel, and not root: may read what the service may; {calls}"


@dataclass(frozen=True)
class Finished:
    """Attributes:
    status: the exit status; negative for the signal that ended the program.
    messages: what it said, with paths as seen from its folder.
    """

    status: int
    output: bytes
    messages: bytes


@dataclass
class Sandboxed:
    """One run of a program.

    Attributes:
        command: begins with the absolute path of the program, which starts in the folder of its files.
        files: what it may read, by path.
        readable: further files and folders that it may read and run.
        read: what it reads from its standard input: it stands in no folder, and goes with the program.
        may_connect: it may ask servers on the network.
        is_secret: its files must never stand on a disk.
    """

    command: Sequence[str]
    files: Mapping[str, bytes]
    environment: Mapping[str, str]
    limits: Limits
    confinement: Confinement
    readable: Sequence[str] = ()
    read: bytes = b""
    may_connect: bool = False
    is_secret: bool = False
    _process: subprocess.Popen[bytes] | None = None
    _is_stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> Finished:
        """Wait for the program's end.

        Raises:
            OSError, SubprocessError: it cannot be started, or its files cannot be written.
            OutOfTime, TooMuchOutput, Stopped: it was killed.
        """
        memory = _find_memory()
        if memory is None and self.is_secret and self.files:
            raise OSError(errno.ENODEV, NO_MEMORY)
        with _make_folder(memory) as folder:
            _write(folder, self.files, self.confinement.user)
            finished = self._run(folder)
        told = finished.messages.replace(f"{folder}/".encode(), b"").replace(folder.encode(), b".")
        return Finished(finished.status, finished.output, told)

    async def run_beside(self) -> Finished:
        """Run it beside the event loop. Whoever is cancelled has it stopped; its folder is gone when this ends.

        Raises:
            As run() does.
        """
        running = asyncio.get_running_loop().run_in_executor(None, self.run)
        try:
            return await asyncio.shield(running)
        finally:
            self.stop()
            with contextlib.suppress(Exception):
                await asyncio.shield(running)

    def _run(self, folder: str) -> Finished:
        deadline = time.monotonic() + self.limits.seconds
        outcome: list[Exception] = []
        thread = threading.Thread(target=self._start, args=(folder, outcome), name="sandbox")
        thread.start()
        thread.join()
        process = self._process
        if process is None:
            raise outcome[0] if outcome else Stopped
        try:
            if self.confinement.user is None:  # the limits of another user's process are not ours to set
                _limit(process.pid, self.limits)
            output, messages = self._read(process, deadline)
        finally:
            with self._lock:
                self._kill(process)
                process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        if self._is_stopped:
            raise Stopped
        return Finished(process.returncode, output, messages)

    def stop(self) -> None:
        """Kill the program, from any thread; if it has not started, it will not."""
        with self._lock:
            self._is_stopped = True
            if self._process is not None:
                self._kill(self._process)

    def _start(self, folder: str, outcome: list[Exception]) -> None:
        """Restrict the thread, which is good for nothing afterwards, and start the program."""
        confinement, user = self.confinement, self.confinement.user
        try:
            with _open_input(self.read) as source, self._lock:  # before the restriction: it is outside
                if self._is_stopped:
                    return
                if confinement.landlock:
                    own = (self.command[0], *self.readable, *_list_system(self.command[0]))
                    landlock.restrict_files((folder,), own, confinement.landlock, may_connect=self.may_connect)
                if confinement.has_filters:
                    landlock.restrict_calls(may_fork=user is not None, may_connect=self.may_connect)
                self._process = subprocess.Popen(  # noqa: S603  # this is the place that makes it safe
                    self.command,
                    stdin=source,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd=folder,
                    env={**self.environment, "HOME": folder, "TMPDIR": folder},
                    process_group=0,
                    user=user,
                    group=user,
                    extra_groups=None if user is None else (),
                )
        except (OSError, subprocess.SubprocessError) as error:
            outcome.append(error)

    def _read(self, process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
        """Read what the program prints until it ends; what its own children print later is not waited for."""
        bounds = {process.stdout: self.limits.output, process.stderr: self.limits.messages}
        read = {stream: bytearray() for stream in bounds}
        ended = os.pidfd_open(process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(ended, selectors.EVENT_READ, None)
                for stream in bounds:
                    selector.register(stream, selectors.EVENT_READ, stream)  # type: ignore[arg-type]  # PIPE: there
                while selector.get_map():
                    ready = selector.select(max(deadline - time.monotonic(), 0))
                    if not ready:
                        raise OutOfTime
                    for key, _ in ready:
                        chunk = os.read(key.fd, 2**16) if key.data is not None else b""
                        if not chunk:
                            selector.unregister(key.fileobj)
                        if key.data is None:
                            self._kill(process)  # children that it left would keep its pipes open
                            continue
                        read[key.data] += chunk
                        if len(read[key.data]) > bounds[key.data]:
                            raise TooMuchOutput
        finally:
            os.close(ended)
        return bytes(read[process.stdout]), bytes(read[process.stderr])

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        if process.returncode is None:  # afterwards the number may be another group's
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _open_input(text: bytes) -> IO[bytes]:
    """Open what is in memory, and in no folder, and cannot be written any more."""
    if not text:
        return open(os.devnull, "rb")
    source = os.fdopen(os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "w+b")
    source.write(text)
    source.seek(0)
    fcntl.fcntl(source, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return source


def remove_stale_folders() -> None:
    """Remove what was left behind by services that were killed."""
    for place in {_find_memory(), tempfile.gettempdir()} - {None}:
        for path in Path(str(place)).glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError), _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB):  # used, or not ours
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _make_folder(place: str | None) -> Iterator[str]:
    """Make a private folder, which is locked and there while the block runs."""
    while True:
        folder = os.path.realpath(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place))
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):  # a service that just began took it for one that was left
                stack.enter_context(_locked(folder, fcntl.LOCK_EX))
            if os.path.isdir(folder):
                yield folder
                return


@contextlib.contextmanager
def _locked(path: str | Path, how: int) -> Iterator[None]:
    """Hold a folder's lock while the block runs. Raises OSError: it is gone, or BlockingIOError: somebody has it."""
    place = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(place, how)
        yield
    finally:
        os.close(place)


def _find_memory() -> str | None:
    return MEMORY if os.access(MEMORY, os.W_OK) and _is_in_memory(MEMORY) else None


@cache
def _is_in_memory(place: str) -> bool:
    """Tell whether the file system of a folder is one that no disk holds, as far as the kernel says."""
    real, found = os.path.realpath(place), ("", "")
    with contextlib.suppress(OSError), open("/proc/self/mounts") as mounts:
        for line in mounts:
            _, point, kind, *_ = line.split()
            if f"{real}/".startswith(f"{point.rstrip('/')}/") and len(point) >= len(found[0]):
                found = point, kind
    return found[1] in MEMORY_KINDS


def _write(folder: str, files: Mapping[str, bytes], user: int | None) -> None:
    written: dict[int, Path] = {}
    for name, data in files.items():
        target = Path(folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if id(data) in written:  # the same contents take their room once
            target.hardlink_to(written[id(data)])
        else:
            target.write_bytes(data)
            written[id(data)] = target
    if user is not None:
        for path in (Path(folder), *Path(folder).rglob("*")):
            os.chown(path, user, user)


def _limit(process: int, limits: Limits) -> None:
    """Set the limits of a process that has only just begun; what it makes later inherits them."""
    seconds = int(limits.seconds) + 1
    wanted = {
        resource.RLIMIT_DATA: limits.memory,
        resource.RLIMIT_CPU: 2 * seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: limits.descriptors,
        resource.RLIMIT_NPROC: limits.threads,
    }
    with contextlib.suppress(ProcessLookupError):
        for kind, value in wanted.items():
            _, hard = resource.prlimit(process, kind)
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.prlimit(process, kind, (bound, bound))


def _list_system(program: str) -> tuple[str, ...]:
    """Return what the program needs besides itself: the system's libraries and programs, unless it is linked
    statically.
    """
    return () if _is_static(program) else tuple(path for path in SYSTEM if os.path.exists(path))


def _is_static(program: str) -> bool:
    """Tell whether the file is an ELF program (64 bits, little-endian) that names no interpreter."""
    with open(program, "rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
            return False
        (start,), (size, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
        file.seek(start)
        table = file.read(size * count)
    return not any(struct.unpack_from("<I", table, at)[0] == 3 for at in range(0, len(table), max(size, 1)))
