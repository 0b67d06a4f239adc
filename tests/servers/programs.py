"""Start real programs on loopback, wait until they are ready, and never leave one behind.

A program is found in KUBEBUILDER_ASSETS, in .tools/bin (what `make tools` builds), beside the Python in use, on PATH.
It runs in a session of its own, with a clean environment and its output in a file. It dies with the test process, also
when that one is killed: a launcher asks the kernel for SIGKILL at its parent's death, then becomes the program.
"""

from __future__ import annotations

import http.client
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]

# Argument 1 is the process id of the parent: it may have died before the kernel was asked. 1 is PR_SET_PDEATHSIG.
_LAUNCHER = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the test process is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""

# Below the ports that the kernel gives to outgoing connections: one of those cannot take it before the server does.
_PORTS = range(20000, 32768)
_given: list[socket.socket] = []
"""The UDP ports of the same numbers, held while this process lives: no test process gives away what another gave."""


PATIENCE = 180.0
"""Seconds until a program that does not get ready is given up: a machine may be busy with something else."""


class ProgramMissing(FileNotFoundError):
    """A program is not on this machine. The message says how to get it."""


class ProgramFailed(Exception):
    """A program ended, or was not ready in time. The message ends with the last lines of its log."""


def program(name: str) -> Path:
    """Find a program. Raises ProgramMissing."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    folders = [Path(assets)] if assets else []
    for folder in [*folders, ROOT / ".tools" / "bin", Path(sys.executable).parent]:
        if os.access(folder / name, os.X_OK) and (folder / name).is_file():
            return folder / name
    if found := shutil.which(name):
        return Path(found)
    raise ProgramMissing(f"the tests need the program {name!r}: `make tools` builds it into .tools/bin")


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that nobody listens on and that no test process of this machine gave away."""
    while True:
        port = random.choice(_PORTS)
        mark = socket.socket(type=socket.SOCK_DGRAM)
        with socket.socket() as probe:
            try:
                mark.bind(("127.0.0.1", port))
                probe.bind(("127.0.0.1", port))
            except OSError:
                mark.close()
                continue
        _given.append(mark)
        return port


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Return what a program may know of this machine: where programs are. No KUBECONFIG, proxy, token or real HOME."""
    path = os.pathsep.join([str(ROOT / ".tools" / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "NO_PROXY": "*", "no_proxy": "*", **more}


@dataclass
class Running:
    """A started program."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    _killed: bool = False

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def has_failed(self) -> bool:
        """Tell whether it ended though nobody stopped it."""
        return self.process.poll() is not None and not self._killed

    def wait_until(self, ready: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Ask `ready` every 30 ms. Raises ProgramFailed: the program ended, or `timeout` seconds went by."""
        deadline = time.monotonic() + timeout
        while not ready():
            if self.process.poll() is not None:
                raise ProgramFailed(f"{self.name} ended with code {self.process.returncode}:\n{self.last_lines()}")
            if time.monotonic() > deadline:
                raise ProgramFailed(f"{self.name} was not ready after {timeout:.0f} s:\n{self.last_lines()}")
            time.sleep(0.03)

    def last_lines(self, count: int = 25) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def stop(self, grace: float = 5.0) -> None:
        """Ask it to end, then kill it and every process it started. Again is allowed."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        self._signal(signal.SIGKILL)
        self.process.wait()

    def kill(self) -> None:
        """Send SIGKILL, as a power cut: nothing is finished or flushed."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._killed:
            return  # its process id may be another's by now
        self._killed = number == signal.SIGKILL
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def start(
    command: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    name: str = "",
) -> Running:
    """Start `command`; its first word is a path, or the name of a program.

    Args:
        folder: working directory and HOME; the output goes to `<folder>/<name>.log`, appended.
        environment: the whole environment; None for a clean one.
        name: what to call it, if not by its file's name.
    """
    executable = Path(command[0]) if os.sep in str(command[0]) else program(str(command[0]))
    name = name or executable.name
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(executable), *map(str, command[1:])],
            cwd=folder,
            env=clean_environment(folder) if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Running(name, process, log)


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    folder: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    name: str = "",
    timeout: float = PATIENCE,
) -> Iterator[Running]:
    """Run a program for the length of a `with` block: started, ready, and stopped afterwards."""
    started = start(command, folder=folder, environment=environment, name=name)
    try:
        started.wait_until(ready, timeout)
        yield started
    finally:
        started.stop()


def listens(port: int) -> bool:
    """Tell whether something accepts connections on 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str, *, ca: Path | None = None, headers: Mapping[str, str] | None = None, status: int = 200) -> bool:
    """Tell whether GET `url` is answered with `status`. Knows no proxy."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        connection = http.client.HTTPSConnection(parts.netloc, timeout=2, context=context)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=2)
    try:
        connection.request(
            "GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", headers=dict(headers or {})
        )
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return response.status == status
    finally:
        connection.close()
