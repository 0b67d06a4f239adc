"""image_updater by the whole service on a real kube-apiserver: every row of the table in docs/benchmarks.md.

Each group of rows has a control plane and a service of its own, so that peak memory is that of the group. Rounds ask
objects to look now (`reconcile.fluxcd.io/requestedAt`), so that no polling interval is in a figure. What a machine can
do is measured beside it: `git clone --bare --depth 1` of the same repository, in the same run.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.stage import KUSTOMIZATIONS, SOURCES, Stage, at_once, commit_file, create, ready, stage, tip, wait_until
from bench.table import Row, usage_of
from image_updater.domain.tags.policies import SemVerPolicy, select_latest
from sealoop.embedded.githttp import create_repository
from tests.servers.programs import answers, free_port, running

IMAGES = "/apis/image.toolkit.fluxcd.io/v1/namespaces/default"
GUARDS = "/apis/sealoop.dev/v1alpha1/namespaces/default/updateguards"
MARKER = '{"$imagepolicy": "default:web"}'
ROUNDS = 5
WRITERS = 10
HEADER: Row = ("", ("median", "slowest", "CPU s each", "peak MiB", "requests", "x clone"))


def rows(only: str = "") -> Iterator[Row]:
    yield HEADER
    for group in (
        one_marker,
        many_markers,
        tag_lists,
        shared_listing,
        writers_small,
        writers_large,
        applied,
        taken_back,
    ):
        if only in ("", group.__name__):
            with tempfile.TemporaryDirectory(prefix="sealoop-bench-") as name:
                yield from asyncio.run(group(Path(name)))
    if only in ("", "policy"):
        yield policy()


def set_up(at: Stage, image: str, *, path: str = "./apps", automation_interval: str = "1h") -> None:
    """One repository, one policy, one automation; ready."""
    create(at.plane, SOURCES, "GitRepository", "app", {"url": at.url, "interval": "10m", "ref": {"branch": "main"}})
    create_image(at, "web", image)
    spec = {
        "sourceRef": {"kind": "GitRepository", "name": "app"},
        "interval": automation_interval,
        "git": {"commit": {"author": {"email": "bot@example.com"}}},
        "update": {"path": path, "strategy": "Setters"},
    }
    create(at.plane, f"{IMAGES}/imageupdateautomations", "ImageUpdateAutomation", "web", spec)
    wait_until(lambda: ready(at.plane.expect("GET", f"{IMAGES}/imageupdateautomations/web")))


def create_image(at: Stage, name: str, image: str, *, version: str = ">=1.0.0-0") -> None:
    spec: dict[str, Any] = {"image": image, "interval": "1h", "insecure": True}
    create(at.plane, f"{IMAGES}/imagerepositories", "ImageRepository", name, spec)
    spec = {"imageRepositoryRef": {"name": name}, "policy": {"semver": {"range": version}}}
    create(at.plane, f"{IMAGES}/imagepolicies", "ImagePolicy", name, spec)


# One automation on 20,000 files


def files(image: str) -> dict[str, bytes]:
    """20,000 files of 2 KiB in 200 folders, and the marked one."""
    text = "".join(f"key-{line}: value {line * 104729}\n" for line in range(85)).encode()
    found = {f"apps/{n // 100:03}/{n % 100:02}.yaml": b"number: %d\n%s" % (n, text) for n in range(20_000)}
    return found | {"apps/web.yaml": f"image: {image} # {MARKER}\n".encode()}


async def one_marker(folder: Path) -> list[Row]:
    async with stage(folder) as at:
        at.registry.add("web", "1.0.0")
        await create_repository(at.remote, files(f"{at.registry.host}/web:1.0.0"))
        await asyncio.to_thread(set_up, at, f"{at.registry.host}/web")
        clone = await at.clone()
        found = [await bumps(at, "tag to commit; 20,000 files, one marker", clone)]
        found.append(await elsewhere(at, clone))
        found.append(await nothing_new(at))
        return [*found, ("git clone --bare --depth 1 of it, in the same run", (f"{clone:.2f} s",))]


async def many_markers(folder: Path) -> list[Row]:
    async with stage(folder) as at:
        at.registry.add("web", "1.0.0")
        image = f"{at.registry.host}/web:1.0.0"
        found = files(image)
        marked = [path for path in sorted(found) if path != "apps/web.yaml"][::20][:999]
        line = f"image: {image} # {MARKER}\n".encode()
        await create_repository(at.remote, found | {path: found[path] + line for path in marked})
        await asyncio.to_thread(set_up, at, f"{at.registry.host}/web")
        return [await bumps(at, "the same with 1,000 markers in 1,000 files", await at.clone())]


async def bumps(at: Stage, label: str, clone: float) -> Row:
    took, before = [], usage_of(at.pid)
    for number in range(1, ROUNDS + 1):
        at.registry.add("web", f"1.{number}.0")
        head, started = tip(at.remote), time.monotonic()
        await asyncio.to_thread(at.ask, f"{IMAGES}/imagerepositories/web")
        await asyncio.to_thread(wait_until, lambda: tip(at.remote) != head)  # noqa: B023  # waited for in this round
        took.append(time.monotonic() - started)
        await asyncio.sleep(0.5)  # what the GitRepository does about it is not the next round's
    return line(label, took, at, before.cpu, clone=clone)


async def elsewhere(at: Stage, clone: float) -> Row:
    """Somebody else's commit: from the request to look until the automation has."""
    took, path, before = [], f"{IMAGES}/imageupdateautomations/web", usage_of(at.pid)
    for number in range(ROUNDS):
        await asyncio.to_thread(commit_file, at.remote, "apps/000/00.yaml", f"{number}\n", number)
        started = time.monotonic()
        token = await asyncio.to_thread(at.ask, path)
        await asyncio.to_thread(wait_until, lambda: at.has_handled(path, token))  # noqa: B023
        took.append(time.monotonic() - started)
        await asyncio.sleep(0.5)  # what the GitRepository does about it is not the next round's
    return line("somebody else's commit, nothing to bump", took, at, before.cpu, clone=clone)


async def nothing_new(at: Stage) -> Row:
    took, path, before = [], f"{IMAGES}/imageupdateautomations/web", usage_of(at.pid)
    await asyncio.sleep(1)
    mark = len(at.git.requests)
    for _ in range(ROUNDS):
        started = time.monotonic()
        token = await asyncio.to_thread(at.ask, path)
        await asyncio.to_thread(wait_until, lambda: at.has_handled(path, token))  # noqa: B023
        took.append(time.monotonic() - started)
    requests = len(at.git.requests) - mark  # an ls-remote is two: the capabilities, then the refs
    return line("nothing new on the remote", took, at, before.cpu, requests=f"{requests / ROUNDS:g} git http")


# Long lists of tags


@contextlib.contextmanager
def tag_server(folder: Path) -> Iterator[str]:
    port = free_port()
    command: list[str | Path] = [Path(sys.executable), Path(__file__).with_name("tagserver.py"), str(port)]
    host = f"127.0.0.1:{port}"
    with running(command, folder=folder, ready=lambda: answers(f"http://{host}/count"), name="tagserver"):
        yield host


def post(url: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url, method="POST")).close()


def pages_asked(host: str) -> int:
    with urllib.request.urlopen(f"http://{host}/count") as answer:
        return int(json.load(answer))


async def tag_lists(folder: Path) -> list[Row]:
    async with stage(folder) as at:
        with tag_server(folder) as host:
            return await asyncio.to_thread(list_rounds, at, host)


def list_rounds(at: Stage, host: str) -> list[Row]:
    post(f"http://{host}/tags/big?count=50000")
    create_image(at, "p0", f"{host}/big")
    wait_until(lambda: latest(at, "p0") == "1.49.999")
    took, asked, before = [], pages_asked(host), usage_of(at.pid)
    for number in range(1, ROUNDS + 1):
        post(f"http://{host}/tag/big?tag=2.{number}.0")
        started = time.monotonic()
        at.ask(f"{IMAGES}/imagerepositories/p0")
        wait_until(lambda: latest(at, "p0") == f"2.{number}.0")  # noqa: B023
        took.append(time.monotonic() - started)
    requests = (pages_asked(host) - asked) / ROUNDS
    found = [
        line("50,000 tags listed again, one new, decided", took, at, before.cpu, requests=f"{requests:g} registry")
    ]
    spec = {"imageRepositoryRef": {"name": "p0"}, "policy": {"semver": {"range": ">=1.0.0"}}}
    for number in range(1, 100):
        create(at.plane, f"{IMAGES}/imagepolicies", "ImagePolicy", f"p{number}", spec)
    wait_until(lambda: set(all_latest(at)) == {f"2.{ROUNDS}.0"})
    time.sleep(2)
    took, mark, before = [], at.plane.mark(), usage_of(at.pid)
    for number in range(1, ROUNDS + 1):
        post(f"http://{host}/tag/big?tag=3.{number}.0")
        started = time.monotonic()
        at.ask(f"{IMAGES}/imagerepositories/p0")
        wait_until(lambda: set(all_latest(at)) == {f"3.{number}.0"}, pause=0.05)  # noqa: B023
        took.append(time.monotonic() - started)
        time.sleep(1)
    requests = len(at.plane.requests(agent="sealoop", since=mark)) / ROUNDS
    found.append(line("100 policies on that list, one new tag", took, at, before.cpu, requests=f"{requests:g} API"))
    return found


def latest(at: Stage, name: str) -> str:
    status = at.plane.expect("GET", f"{IMAGES}/imagepolicies/{name}").get("status") or {}
    return str((status.get("latestRef") or {}).get("tag", ""))


def all_latest(at: Stage) -> list[str]:
    items = at.plane.expect("GET", f"{IMAGES}/imagepolicies")["items"]
    return [str(((item.get("status") or {}).get("latestRef") or {}).get("tag", "")) for item in items]


async def shared_listing(folder: Path) -> list[Row]:
    async with stage(folder) as at:
        with tag_server(folder) as host:
            return [await asyncio.to_thread(shared_rounds, at, host)]


def shared_rounds(at: Stage, host: str) -> Row:
    path = f"{IMAGES}/imagerepositories"
    post(f"http://{host}/tags/big?count=50000")
    spec = {"image": f"{host}/big", "interval": "10s", "insecure": True}
    kind = {"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageRepository", "spec": spec}
    at_once(at.plane, "POST", [(path, {**kind, "metadata": {"name": f"r{n}"}}) for n in range(100)])
    wait_until(lambda: all(map(ready, at.plane.expect("GET", path)["items"])), pause=0.2)
    time.sleep(15)  # those that began apart come together
    asked, before, cycles = pages_asked(host), usage_of(at.pid), 4
    started = time.monotonic()
    time.sleep(10 * cycles)
    requests = (pages_asked(host) - asked) / ((time.monotonic() - started) / 10)
    return line("100 ImageRepositories of one image, a cycle", [], at, before.cpu, cycles, f"{requests:g} registry")


# Ten writers on one branch


async def writers_small(folder: Path) -> list[Row]:
    return await writers(folder, 100, "ten writers beside us on 100 files, ten bumps")


async def writers_large(folder: Path) -> list[Row]:
    return await writers(folder, 20_000, "the same against 20,000 files")


async def writers(folder: Path, count: int, label: str) -> list[Row]:
    async with stage(folder) as at:
        at.registry.add("web", "1.0.0")
        found = files(f"{at.registry.host}/web:1.0.0")
        kept = dict(sorted(found.items())[: count - 1]) | {"apps/web.yaml": found["apps/web.yaml"]}
        await create_repository(at.remote, kept)
        await asyncio.to_thread(set_up, at, f"{at.registry.host}/web")
        stop, failures, first = threading.Event(), set[str](), tip(at.remote)
        crowd = ThreadPoolExecutor(WRITERS + 1)  # asyncio's own has fewer threads on two cores
        others = [crowd.submit(write, at, number, stop) for number in range(WRITERS)]
        others.append(crowd.submit(note_failures, at, stop, failures))
        await asyncio.to_thread(wait_until, lambda: commits_since(at, first) >= WRITERS)  # all are at work
        took, before, beside = [], usage_of(at.pid), commits_since(at, first)
        for number in range(1, 11):
            at.registry.add("web", f"1.{number}.0")
            started = time.monotonic()
            await asyncio.to_thread(at.ask, f"{IMAGES}/imagerepositories/web")
            await asyncio.to_thread(wait_until, lambda: f"web:1.{number}.0 " in marked(at))  # noqa: B023
            took.append(time.monotonic() - started)
            others_too = commits_since(at, first) + 2
            await asyncio.to_thread(wait_until, lambda: commits_since(at, first) >= others_too)  # noqa: B023
        beside = commits_since(at, first) - beside - len(took)
        stop.set()
        await asyncio.gather(*map(asyncio.wrap_future, others))
        crowd.shutdown()
        said = f"{len(failures)} failures shown, {beside} pushes beside" + "".join(f"; {f[:60]}" for f in failures)
        return [line(label, took, at, before.cpu, 10), (f"    {said}", ())]


def marked(at: Stage) -> str:
    command = ["git", f"--git-dir={at.remote}", "show", "main:apps/web.yaml"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def commits_since(at: Stage, commit: str) -> int:
    command = ["git", f"--git-dir={at.remote}", "rev-list", "--count", f"{commit}..main"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def write(at: Stage, number: int, stop: threading.Event) -> None:
    """Commit and push again and again over HTTP, as a person's git would."""
    work = at.folder / f"writer-{number}"
    run = ["git", "-C", str(work), "-c", f"user.name=w{number}", "-c", f"user.email=w{number}@example.com"]
    subprocess.run(["git", "clone", "-q", "--depth=1", "--no-checkout", at.url, str(work)], check=True)
    for turn in itertools.count():
        if stop.is_set():
            return
        subprocess.run([*run, "fetch", "-q", "--depth=1", "origin", "main"], check=False, capture_output=True)
        subprocess.run([*run, "read-tree", "FETCH_HEAD"], check=True)
        blob = subprocess.run([*run, "hash-object", "-w", "--stdin"], input=f"{turn}".encode(), capture_output=True)
        entry = f"100644,{blob.stdout.decode().strip()},people/w{number}.txt"
        subprocess.run([*run, "update-index", "--add", "--cacheinfo", entry], check=True)
        tree = subprocess.run([*run, "write-tree"], capture_output=True, text=True, check=True).stdout.strip()
        commit = subprocess.run(
            [*run, "commit-tree", tree, "-p", "FETCH_HEAD", "-m", "x"], capture_output=True, text=True, check=True
        ).stdout.strip()
        subprocess.run([*run, "push", "-q", "origin", f"{commit}:main"], capture_output=True, check=False)
        stop.wait(0.5)


def note_failures(at: Stage, stop: threading.Event, failures: set[str]) -> None:
    while not stop.wait(0.1):
        manifest = at.plane.expect("GET", f"{IMAGES}/imageupdateautomations/web")
        for condition in (manifest.get("status") or {}).get("conditions", []):
            if condition["type"] == "Ready" and condition["status"] == "False":
                failures.add(condition["message"])


# To the cluster and back

APP = """apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: default}}
spec:
  progressDeadlineSeconds: 8
  replicas: 1
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
        - name: web
          image: {image} # {marker}
"""


async def set_up_loop(at: Stage) -> None:
    at.registry.add("web", "1.0.0")
    image = f"{at.registry.host}/web"
    await create_repository(at.remote, {"apps/web.yaml": APP.format(image=f"{image}:1.0.0", marker=MARKER).encode()})
    await asyncio.to_thread(set_up, at, image)
    spec = {"interval": "10m", "path": "./apps", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "app"}}
    create(at.plane, KUSTOMIZATIONS, "Kustomization", "app", spec)
    await asyncio.to_thread(wait_until, lambda: live_image(at) == f"{image}:1.0.0")


def live_image(at: Stage) -> str:
    answer = at.plane.call("GET", "/apis/apps/v1/namespaces/default/deployments/web")
    if answer.status != 200:
        return ""
    return str(
        at.plane.expect("GET", "/apis/apps/v1/namespaces/default/deployments/web")["spec"]["template"]["spec"][
            "containers"
        ][0]["image"]
    )


async def applied(folder: Path) -> list[Row]:
    async with stage(folder) as at:
        await set_up_loop(at)
        took, before = [], usage_of(at.pid)
        for number in range(1, ROUNDS + 1):
            at.registry.add("web", f"1.{number}.0")
            started = time.monotonic()
            await asyncio.to_thread(at.ask, f"{IMAGES}/imagerepositories/web")
            wanted = f"{at.registry.host}/web:1.{number}.0"
            await asyncio.to_thread(wait_until, lambda: live_image(at) == wanted)  # noqa: B023
            took.append(time.monotonic() - started)
        return [line("tag to applied object; GitRepository interval 10 min", took, at, before.cpu)]


async def taken_back(folder: Path) -> list[Row]:
    async with stage(folder, workloads=True) as at:
        await set_up_loop(at)
        guard = {"metadata": {"name": "web"}, "spec": {"rollback": {"within": "10m", "pullErrors": "1m"}}}
        at.plane.expect("POST", GUARDS, {"apiVersion": "sealoop.dev/v1alpha1", "kind": "UpdateGuard", **guard})

        def proven(tag: str) -> bool:
            status = at.plane.expect("GET", f"{GUARDS}/web").get("status") or {}
            return any(e["tag"] == tag and not e.get("until") for e in status.get("proven", ()))

        took, before = [], usage_of(at.pid)
        for number in range(1, 4):
            good = f"1.{number - 1}.0" if number > 1 else "1.0.0"
            await asyncio.to_thread(wait_until, lambda: proven(good))  # noqa: B023
            at.registry.add("web", f"1.{number}.0-broken")
            took.append(await asyncio.to_thread(one_way_back, at, good))
            at.registry.add("web", f"1.{number}.0")
            await asyncio.to_thread(at.ask, f"{IMAGES}/imagerepositories/web")
        return [line("a tag whose Pods cannot start: commit to taken back", took, at, before.cpu, 3)]


def one_way_back(at: Stage, good: str) -> float:
    at.ask(f"{IMAGES}/imagerepositories/web")
    wait_until(lambda: "-broken " in marked(at))
    started = time.monotonic()
    wait_until(lambda: f"web:{good} " in marked(at), pause=0.05)
    return time.monotonic() - started


def policy() -> Row:
    tags = [f"{n // 10_000}.{n // 100 % 100}.{n % 100}{'-rc.1' if n % 7 == 0 else ''}" for n in range(100_000)]
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        select_latest(tags, SemVerPolicy(">=1.0.0"))
        took.append(time.process_time() - began)
    return "100,000 tags, semver policy (CPU)", (f"{statistics.median(took):.2f} s", f"{max(took):.2f} s")


def line(
    label: str,
    took: list[float],
    at: Stage,
    cpu_before: float,
    rounds: int = ROUNDS,
    requests: str = "",
    clone: float = 0.0,
) -> Row:
    used = usage_of(at.pid)
    times = (f"{statistics.median(took):.2f} s", f"{max(took):.2f} s") if took else ("", "")
    ratio = f"{statistics.median(took) / clone:.2f}" if clone else ""
    return label, (*times, f"{(used.cpu - cpu_before) / rounds:.2f}", f"{used.peak_rss:.0f}", requests, ratio)
