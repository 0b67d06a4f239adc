"""What a benchmark of the whole service runs on: a real kube-apiserver, a Git server, a registry, and the service.

The service is `sealoop run` of this checkout in a process of its own; what it used is read from outside of it, and its
requests are counted in the API server's audit log.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import ssl
import statistics
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sealoop.embedded.githttp import GitServer
from sealoop.embedded.registry import RegistryServer
from tests.servers.controlplane import ControlPlane, start_control_plane
from tests.servers.git import git
from tests.servers.programs import ROOT, answers, clean_environment, free_port, running

KUSTOMIZATIONS = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/default/kustomizations"
SOURCES = "/apis/source.toolkit.fluxcd.io/v1/namespaces/default/gitrepositories"
Requests = list[tuple[str, dict[str, Any]]]


@dataclass
class Stage:
    """One group's control plane, Git server, registry and service.

    Attributes:
        pid: of the service.
        metrics: where it serves its metrics.
        hooks: where it takes webhooks.
    """

    plane: ControlPlane
    folder: Path
    git: GitServer
    registry: RegistryServer
    pid: int
    metrics: str
    hooks: str
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def remote(self) -> Path:
        return self.folder / "git" / "app.git"

    @property
    def url(self) -> str:
        return f"{self.git.url}/app.git"

    def make_token(self) -> str:
        return f"{next(self.numbers)}-{time.time_ns()}"

    def ask(self, path: str) -> str:
        """Ask an object to look now; the token that it will have handled then."""
        token = self.make_token()
        self.plane.expect("PATCH", path, make_request(token), content_type="application/merge-patch+json")
        return token

    def has_handled(self, path: str, token: str) -> bool:
        return handled(self.plane.expect("GET", path)) == token

    def count(self, series: str) -> int:
        """Return the number that a series of the service is at, 0 for one that it does not have yet."""
        with urllib.request.urlopen(f"{self.metrics}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        found = (line.rpartition(" ") for line in lines)
        return next((int(float(number)) for name, _, number in found if name == series), 0)

    async def clone(self) -> float:
        """Median seconds of three clones."""
        took = [await timed_clone(self.url, self.folder / f"clone-{next(self.numbers)}") for _ in range(3)]
        return statistics.median(took)


@contextlib.asynccontextmanager
async def stage(folder: Path, *, workloads: bool = False) -> AsyncIterator[Stage]:
    plane = start_control_plane(folder)
    try:
        await asyncio.to_thread(plane.install_crds)
        if workloads:
            await asyncio.to_thread(plane.start_workloads)
        async with RegistryServer() as registry, GitServer(folder / "git") as server:
            ports = free_port(), free_port()
            with service(plane, folder, *ports) as pid:
                metrics, hooks = (f"http://127.0.0.1:{port}" for port in ports)
                yield Stage(plane, folder, server, registry, pid, metrics, hooks)
    finally:
        plane.stop()


@contextlib.contextmanager
def service(plane: ControlPlane, folder: Path, listen: int, hooks: int) -> Iterator[int]:
    """Run the service on that control plane; yields its process id."""
    command: list[str | Path] = [
        *(Path(sys.executable), "-m", "sealoop", "run", "--kubeconfig", plane.kubeconfig),
        *("--state-dir", folder / "state", "--listen", f"127.0.0.1:{listen}", "--hooks", f"127.0.0.1:{hooks}"),
        *("--lease-namespace", "default", "--log-level", "warning"),
    ]
    environment = clean_environment(folder, PYTHONPATH=str(ROOT))
    is_ready = lambda: answers(f"http://127.0.0.1:{listen}/readyz")  # noqa: E731
    with running(command, folder=folder, environment=environment, ready=is_ready) as process:
        yield process.pid


def make_request(token: str) -> dict[str, Any]:
    """Make the merge patch that asks an object to look now."""
    return {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}}


def at_once(plane: ControlPlane, method: str, requests: Requests) -> None:
    """Send all requests over four connections. Raises RuntimeError: one was refused."""
    content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
    headers = {"Authorization": f"Bearer {plane.token}", "Content-Type": content_type}
    context = ssl.create_default_context(cafile=str(plane.ca))

    def some(part: Requests) -> None:
        connection = http.client.HTTPSConnection(urlsplit(plane.url).netloc, context=context)
        for path, body in part:
            connection.request(method, path, json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(some, [requests[start::4] for start in range(4)]))


def create(plane: ControlPlane, path: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    group = path.split("/")[2]
    plane.expect("POST", path, {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})


def ready(manifest: dict[str, Any]) -> bool:
    conditions = (manifest.get("status") or {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def handled(manifest: dict[str, Any]) -> str:
    return str((manifest.get("status") or {}).get("lastHandledReconcileAt", ""))


def wait_until(claim: Callable[[], Any], timeout: float = 120.0, pause: float = 0.01) -> None:
    deadline = time.monotonic() + timeout
    while not claim():
        if time.monotonic() > deadline:
            raise TimeoutError("the benchmark's state was not reached; is the service's log clean?")
        time.sleep(pause)


def commit_file(remote: Path, path: str, text: str, number: int) -> str:
    """Commit one file on branch main, in no time; returns the commit."""
    data = text.encode()
    stream = f"commit refs/heads/main\ncommitter S <s@example.com> {1767225600 + number} +0000\ndata 1\nx\n".encode()
    stream += f"from refs/heads/main^0\nM 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n\n"
    asyncio.run(git(f"--git-dir={remote}", "fast-import", "--quiet", stdin=stream))
    return tip(remote)


def tip(remote: Path) -> str:
    return (
        (remote / "refs" / "heads" / "main").read_text().strip()
    )  # what a push writes; git itself takes 5 ms to say it


async def timed_clone(url: str, target: Path) -> float:
    started = time.monotonic()
    await git("clone", "--quiet", "--bare", "--depth", "1", url, str(target))
    return time.monotonic() - started
