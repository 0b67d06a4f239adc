"""A tag whose Pods cannot start is taken back in Git with no hand on it, and the next good tag goes out."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import Any

from tests.journeys.surroundings import Surroundings, deployment, flux
from tests.servers.git import BareRepository
from tests.servers.registry import RealRegistry

PROGRESS_DEADLINE = 8


async def test_a_tag_whose_pods_cannot_start_is_taken_back(
    around: Surroundings, remote: tuple[BareRepository, str], open_registry: RealRegistry
) -> None:
    repository, url = remote
    name = f"{around.namespace}/web"
    image = f"{open_registry.host}/{name}"
    marker = f'{{"$imagepolicy": "{around.namespace}:web"}}'
    manifest = deployment("IMAGE", marker=marker).replace(
        b"  replicas: 1", f"  progressDeadlineSeconds: {PROGRESS_DEADLINE}\n  replicas: 1".encode()
    )
    other = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: beside}\ndata: {kept: 'yes'}\n"
    await asyncio.to_thread(open_registry.push, name, "1.0.0")
    await repository.commit(
        {"app/web.yaml": manifest.replace(b"IMAGE", f"{image}:1.0.0".encode()), "app/beside.yaml": other}
    )
    around.apply(*_objects(around, url, image))

    def images() -> set[str]:
        pods = around.get("pods").get("items", [])
        alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
        return {pod["spec"]["containers"][0]["image"] for pod in alive if pod["status"].get("phase") == "Running"}

    def wanted_image() -> str:
        return str(around.get("deployment/web")["spec"]["template"]["spec"]["containers"][0]["image"])

    def in_git() -> str:
        command = ["git", f"--git-dir={repository.directory}", "show", "main:app/web.yaml"]
        return subprocess.check_output(command, text=True)

    def story() -> None:
        with around.serving():
            around.until(lambda: images() == {f"{image}:1.0.0"}, "Pods of 1.0.0 run")
            around.until(lambda: _proven(around) == ["1.0.0"], "1.0.0 is proven")

            open_registry.push(name, "1.1.0-broken")
            around.until(lambda: "1.1.0-broken" in in_git(), "the bad tag is committed")
            around.until(lambda: wanted_image() == f"{image}:1.1.0-broken", "the bad tag is applied")
            around.until(lambda: f"{image}:1.0.0" in in_git(), "the bad tag is taken back")
            around.until(lambda: wanted_image() == f"{image}:1.0.0", "the way back is applied")
            around.until(lambda: images() == {f"{image}:1.0.0"}, "Pods of 1.0.0 run again")

            open_registry.push(name, "1.1.1")
            around.until(lambda: images() == {f"{image}:1.1.1"}, "the next good tag goes out")
            around.until(lambda: _proven(around)[-1:] == ["1.1.1"], "1.1.1 is proven")

    await asyncio.to_thread(story)

    (entry,) = around.get("updateguard/web")["status"]["quarantine"]
    assert (entry["tag"], entry["previousTag"]) == ("1.1.0-broken", "1.0.0")
    log = (await repository.git("log", "--format=%H %s", "--reverse", "main", "--", "app/web.yaml")).decode()
    assert len(log.splitlines()) == 4, log  # ours: the first, the bad one, the way back, the good one
    changed = (await repository.git("diff", "--numstat", "main~1", "main")).decode()
    assert changed.split() == ["1", "1", "app/web.yaml"]
    first = manifest.replace(b"IMAGE", f"{image}:1.0.0".encode())
    assert await repository.git("show", "main~1:app/web.yaml") == first
    events = around.plane.kubectl("get", "events", "-n", around.namespace, "-o", "json")
    told = [e for e in json.loads(events)["items"] if e["reason"] == "TakenBack"]
    assert len(told) == 1
    assert "1.1.0-broken fails and is quarantined; 1.0.0 is committed again" in told[0]["message"]


def _proven(around: Surroundings) -> list[str]:
    status = around.get("updateguard/web").get("status") or {}
    return [entry["tag"] for entry in status.get("proven", ()) if not entry.get("until")]


def _objects(around: Surroundings, url: str, image: str) -> list[dict[str, Any]]:
    source = {"kind": "GitRepository", "name": "app"}
    kustomization = {
        "sourceRef": source,
        "path": "./app",
        "targetNamespace": around.namespace,
        "interval": "5m",
        "prune": True,
    }
    git = {"commit": {"author": {"name": "bot", "email": "bot@example.com"}}}
    return [
        flux(
            "source", "GitRepository", "app", url=url, interval="5m", ref={"branch": "main"}, secretRef={"name": "git"}
        ),
        flux("kustomize", "Kustomization", "app", **kustomization),
        flux("image", "ImageRepository", "web", image=image, interval="1s", insecure=True),
        flux("image", "ImagePolicy", "web", imageRepositoryRef={"name": "web"}, policy={"semver": {"range": ">=1-0"}}),
        flux("image", "ImageUpdateAutomation", "web", sourceRef=source, interval="5m", git=git, update={"path": "app"}),
        {
            "apiVersion": "sealoop.dev/v1alpha1",
            "kind": "UpdateGuard",
            "metadata": {"name": "web"},
            "spec": {"rollback": {"within": "10m", "pullErrors": "1m"}},
        },
    ]
