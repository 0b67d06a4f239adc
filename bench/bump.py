"""From a new tag to the commit on the remote, by the whole service on a real kube-apiserver.

The repository has 20,000 files and 40 MiB, one of them with one marker; the mirror is warm. Each round pushes a tag and
asks the ImageRepository to look now, so that no polling interval is in the figure. `git clone --bare --depth 1` of the
same repository is the yardstick that is run beside it.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.kustomizations import SOURCES, create, ready, service, wait_until
from bench.table import Row, usage_of
from sealoop.embedded.githttp import GitServer, create_repository
from sealoop.embedded.registry import RegistryServer
from tests.servers.controlplane import ControlPlane, start_control_plane
from tests.servers.git import git

ROUNDS = 7
IMAGES = "/apis/image.toolkit.fluxcd.io/v1/namespaces/default"
MARKER = '{"$imagepolicy": "default:web"}'


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="sealoop-bench-") as name:
        yield from asyncio.run(measured(Path(name)))


async def measured(folder: Path) -> list[Row]:
    plane = start_control_plane(folder)
    try:
        await asyncio.to_thread(plane.install_crds)
        async with RegistryServer() as registry, GitServer(folder / "git") as server:
            registry.add("web", "1.0.0")
            remote = folder / "git" / "app.git"
            await create_repository(remote, files(f"{registry.host}/web:1.0.0"))
            with service(plane, folder) as pid:
                await asyncio.to_thread(set_up, plane, f"{server.url}/app.git", f"{registry.host}/web")
                return await rounds(plane, registry, remote, server.url, pid)
    finally:
        plane.stop()


def files(image: str) -> dict[str, bytes]:
    """20,000 files of 2 KiB in 200 folders, and the marked one."""
    text = "".join(f"key-{line}: value {line * 104729}\n" for line in range(85)).encode()
    found = {f"apps/{n // 100:03}/{n % 100:02}.yaml": b"number: %d\n%s" % (n, text) for n in range(20_000)}
    return found | {"apps/web.yaml": f"image: {image} # {MARKER}\n".encode()}


def set_up(plane: ControlPlane, url: str, image: str) -> None:
    create(plane, SOURCES, "GitRepository", "app", {"url": url, "interval": "1h", "ref": {"branch": "main"}})
    spec: dict[str, Any] = {"image": image, "interval": "1h", "insecure": True}
    create(plane, f"{IMAGES}/imagerepositories", "ImageRepository", "web", spec)
    spec = {"imageRepositoryRef": {"name": "web"}, "policy": {"semver": {"range": ">=1.0.0"}}}
    create(plane, f"{IMAGES}/imagepolicies", "ImagePolicy", "web", spec)
    spec = {
        "sourceRef": {"kind": "GitRepository", "name": "app"},
        "interval": "1h",
        "git": {"commit": {"author": {"email": "bot@example.com"}}},
        "update": {"path": "./apps", "strategy": "Setters"},
    }
    create(plane, f"{IMAGES}/imageupdateautomations", "ImageUpdateAutomation", "web", spec)
    wait_until(lambda: ready(plane.expect("GET", f"{IMAGES}/imageupdateautomations/web")))


async def rounds(plane: ControlPlane, registry: RegistryServer, remote: Path, url: str, pid: int) -> list[Row]:
    bumps, clones = [], []
    before = usage_of(pid)
    for number in range(1, ROUNDS + 1):
        registry.add("web", f"1.{number}.0")
        head = tip(remote)
        patch = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": str(number)}}}
        started = time.monotonic()
        await asyncio.to_thread(
            plane.expect, "PATCH", f"{IMAGES}/imagerepositories/web", patch, content_type="application/merge-patch+json"
        )
        await asyncio.to_thread(wait_until, lambda: tip(remote) != head)  # noqa: B023  # waited for in this round
        bumps.append(time.monotonic() - started)
        clones.append(await timed_clone(f"{url}/app.git", remote.parent / f"clone-{number}"))
    after = usage_of(pid)
    bump, clone = statistics.median(bumps), statistics.median(clones)
    return [
        ("", ("median", "slowest", "CPU s each", "peak MiB")),
        row("tag to commit on the remote", bumps, f"{(after.cpu - before.cpu) / ROUNDS:.2f}", f"{after.peak_rss:.0f}"),
        row("git clone --bare --depth 1, in the same run", clones, "", ""),
        ("ratio", (f"{bump / clone:.2f}",)),
    ]


def row(label: str, seconds: list[float], *more: str) -> Row:
    return label, (f"{statistics.median(seconds):.2f} s", f"{max(seconds):.2f} s", *more)


def tip(remote: Path) -> str:
    return (
        (remote / "refs" / "heads" / "main").read_text().strip()
    )  # what a push writes; git itself takes 5 ms to say it


async def timed_clone(url: str, target: Path) -> float:
    started = time.monotonic()
    await git("clone", "--quiet", "--bare", "--depth", "1", url, str(target))
    return time.monotonic() - started
