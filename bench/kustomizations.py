"""100 Kustomizations of one path, each with a name prefix of its own, on a real kube-apiserver.

The path holds a Deployment with 0 replicas, a ServiceAccount, a Service and an Ingress. Timed from the first create
until all are Ready; then all are asked to reconcile again, with nothing changed. Requests are counted in the API
server's audit log, those of the service only.

kustomizations.sharing asks what one build for all prefixes saves (domain/render/sharing.py), each case on an API server
of its own, twice: the folder as above; the folder with `sortOptions`, which is built once a prefix; and a hundred
folders without prefixes, which are not built at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from bench.table import Row, usage_of
from tests.servers.controlplane import ControlPlane, start_control_plane
from tests.servers.programs import answers, free_port, running

T = TypeVar("T")

COUNT = 100
PATH = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/default/kustomizations"
SOURCES = "/apis/source.toolkit.fluxcd.io/v1/namespaces/default/gitrepositories"

APP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: default}
spec:
  replicas: 0
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      serviceAccountName: app
      containers: [{name: app, image: "registry.example.com/app:1.0.0"}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: app, namespace: default}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: default}
spec: {selector: {app: app}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: app, namespace: default}
spec: {defaultBackend: {service: {name: app, port: {number: 80}}}}
"""


ONE_BUILD_EACH = "resources: [app.yaml]\nsortOptions: {order: fifo}\n"
FILES = {"app/app.yaml": APP, "each/app.yaml": APP, "each/kustomization.yaml": ONE_BUILD_EACH} | {
    f"own/{number}/app.yaml": APP.replace("name: app,", f"name: k{number}-app,") for number in range(COUNT)
}
HEADER: Row = ("", ("seconds", "requests each", "CPU s", "peak MiB"))
CREATED = "created at once, until all are Ready"
SHARING = {"one build for all prefixes": "./app", "a build for each prefix": "./each", "no prefixes": "./own"}


def rows(group: str = "") -> Iterator[Row]:
    yield HEADER
    if group != "sharing":
        yield from in_a_folder(measure)
        return
    for label, path in 2 * tuple(SHARING.items()):
        yield in_a_folder(partial(created, path=path, label=label))


def in_a_folder(work: Callable[[ControlPlane, str, int], T]) -> T:
    """Do `work` with an API server, the address of the repositories, and the process id of the service."""
    with tempfile.TemporaryDirectory(prefix="sealoop-bench-") as name:
        return asyncio.run(around(Path(name), work))


async def around(folder: Path, work: Callable[[ControlPlane, str, int], T]) -> T:
    from sealoop.embedded.githttp import GitServer

    plane = start_control_plane(folder)
    try:
        plane.install_crds()
        make_repository(folder / "git" / "app.git", folder / "work", FILES)
        async with GitServer(folder / "git") as git:
            with service(plane, folder) as pid:
                return await asyncio.to_thread(work, plane, git.url, pid)
    finally:
        plane.stop()


def created(plane: ControlPlane, git: str, pid: int, *, path: str, label: str) -> Row:
    """Create the repository, then all Kustomizations at once."""
    source = {"url": f"{git}/app.git", "interval": "10m", "ref": {"branch": "main"}}
    create(
        plane,
        PATH.replace("kustomize", "source", 1).replace("kustomizations", "gitrepositories"),
        "GitRepository",
        "app",
        source,
    )
    wait_until(
        lambda: ready(
            plane.expect("GET", PATH.replace("kustomize", "source", 1).replace("kustomizations", "gitrepositories/app"))
        )
    )
    mark, before, started = plane.mark(), usage_of(pid), time.monotonic()
    at_once(plane, "POST", [(PATH, manifest) for manifest in kustomizations(path)])
    wait_until(lambda: all(map(ready, plane.expect("GET", PATH)["items"])), pause=0.2)
    return row(label, plane, mark, started, before.cpu, pid)


def measure(plane: ControlPlane, git: str, pid: int) -> list[Row]:
    table = [created(plane, git, pid, path="./app", label=CREATED)]
    time.sleep(2)  # what the first round left to do (events, watches) is not the second round's
    for _ in range(3):
        token = str(time.time_ns())
        mark, before, started = plane.mark(), usage_of(pid), time.monotonic()
        patch = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}}
        at_once(plane, "PATCH", [(f"{PATH}/k{number}", patch) for number in range(COUNT)])
        wait_until(lambda: all(handled(k) == token for k in plane.expect("GET", PATH)["items"]), pause=0.2)  # noqa: B023
        table.append(row("asked again, nothing changed", plane, mark, started, before.cpu, pid))
        time.sleep(1)
    return table


def at_once(plane: ControlPlane, method: str, requests: list[tuple[str, dict[str, Any]]]) -> None:
    """Send all requests over four connections. Raises RuntimeError: one was refused."""
    content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
    headers = {"Authorization": f"Bearer {plane.token}", "Content-Type": content_type}
    context = ssl.create_default_context(cafile=str(plane.ca))

    def some(part: list[tuple[str, dict[str, Any]]]) -> None:
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


def kustomizations(path: str) -> list[dict[str, Any]]:
    """Return them: each with a prefix, or a folder below ./own, which is one without."""
    spec = {"interval": "1h", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "app"}}
    return [
        {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": {"name": f"k{number}"},
            "spec": spec
            | ({"path": f"{path}/{number}"} if path == "./own" else {"path": path, "namePrefix": f"k{number}-"}),
        }
        for number in range(COUNT)
    ]


def row(label: str, plane: ControlPlane, mark: int, started: float, cpu: float, pid: int) -> Row:
    seconds, used = time.monotonic() - started, usage_of(pid)
    requests = plane.requests(agent="sealoop", since=mark)
    kinds = Counter(f"{r.verb} {r.resource}" for r in requests)
    print("   ", ", ".join(f"{what} {count}" for what, count in kinds.most_common(12)), file=sys.stderr)
    return label, (f"{seconds:.2f}", f"{len(requests) / COUNT:.1f}", f"{used.cpu - cpu:.2f}", f"{used.peak_rss:.0f}")


def create(plane: ControlPlane, path: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    group = path.split("/")[2]
    plane.expect("POST", path, {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})


def ready(manifest: dict[str, Any]) -> bool:
    conditions = (manifest.get("status") or {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def handled(manifest: dict[str, Any]) -> str:
    return str((manifest.get("status") or {}).get("lastHandledReconcileAt", ""))


def wait_until(claim: Any, timeout: float = 120.0, pause: float = 0.01) -> None:
    deadline = time.monotonic() + timeout
    while not claim():
        if time.monotonic() > deadline:
            raise TimeoutError("the benchmark's state was not reached; is the service's log clean?")
        time.sleep(pause)


def make_repository(remote: Path, work: Path, files: dict[str, str]) -> None:
    """A bare repository with one commit of `files` on branch main."""
    for name, text in files.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.com", "-c", "init.defaultBranch=main"]
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["commit", "-q", "-m", "first"],
        ["clone", "-q", "--bare", ".", remote],
    ):
        subprocess.run([*git, *command], cwd=work, check=True)
    subprocess.run(["git", "-C", remote, "config", "http.receivepack", "true"], check=True)


@contextlib.contextmanager
def service(plane: ControlPlane, folder: Path) -> Iterator[int]:
    """`sealoop run` on that control plane; yields its process id."""
    port = free_port()
    command: list[str | Path] = [
        *(Path(sys.executable), "-m", "sealoop", "run", "--kubeconfig", plane.kubeconfig),
        *("--state-dir", folder / "state", "--listen", f"127.0.0.1:{port}"),
        *("--lease-namespace", "default", "--log-level", "warning", "--hooks", ""),
    ]
    with running(command, folder=folder, ready=lambda: answers(f"http://127.0.0.1:{port}/readyz")) as process:
        yield process.pid
