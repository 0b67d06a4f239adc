"""A new tag in a registry becomes a commit in Git, and the commit becomes running Pods."""

from __future__ import annotations

import asyncio
import subprocess

from tests.journeys.surroundings import Surroundings, deployment, flux
from tests.servers.git import BareRepository
from tests.servers.registry import RealRegistry


async def test_tag_becomes_commit_becomes_pods(
    around: Surroundings, remote: tuple[BareRepository, str], open_registry: RealRegistry
) -> None:
    repository, url = remote
    image = f"{open_registry.host}/{around.namespace}/web"
    marker = f'{{"$imagepolicy": "{around.namespace}:web"}}'
    await asyncio.to_thread(open_registry.push, f"{around.namespace}/web", "1.0.0")
    await repository.commit({"app/web.yaml": deployment(f"{image}:1.0.0", marker=marker, replicas=2)})
    source = {"kind": "GitRepository", "name": "app"}
    around.apply(
        flux(
            "source", "GitRepository", "app", url=url, interval="5m", ref={"branch": "main"}, secretRef={"name": "git"}
        ),
        flux(
            "kustomize",
            "Kustomization",
            "app",
            sourceRef=source,
            path="./app",
            targetNamespace=around.namespace,
            interval="5m",
            prune=True,
            wait=True,
        ),
        flux("image", "ImageRepository", "web", image=image, interval="1s", insecure=True),
        flux(
            "image", "ImagePolicy", "web", imageRepositoryRef={"name": "web"}, policy={"semver": {"range": ">=1.0.0"}}
        ),
        flux(
            "image",
            "ImageUpdateAutomation",
            "web",
            sourceRef=source,
            interval="5m",
            git={"commit": {"author": {"name": "bot", "email": "bot@example.com"}}},
            update={"path": "./app", "strategy": "Setters"},
        ),
    )

    def images() -> list[str]:
        pods = around.get("pods").get("items", [])
        running = [
            pod
            for pod in pods
            if pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
        ]
        return [pod["spec"]["containers"][0]["image"] for pod in running]

    def head() -> str:
        command = ["git", f"--git-dir={repository.directory}", "rev-parse", "main"]
        return subprocess.check_output(command, text=True).strip()

    def story() -> None:
        with around.serving():
            around.until(lambda: images() == [f"{image}:1.0.0"] * 2, "Pods of 1.0.0 run")

            open_registry.push(f"{around.namespace}/web", "1.1.0")
            open_registry.push(f"{around.namespace}/web", "latest")

            around.until(lambda: images() == [f"{image}:1.1.0"] * 2, "Pods of 1.1.0 run")
            around.until(
                lambda: around.condition("kustomization/app")["message"].endswith(head()), "the rollout is seen"
            )
            assert around.ready("kustomization/app")

    await asyncio.to_thread(story)

    assert await repository.git("show", "main:app/web.yaml") == deployment(f"{image}:1.1.0", marker=marker, replicas=2)
    authors = (await repository.git("log", "--format=%ae", "main")).decode().split()
    assert authors.count("bot@example.com") == 1
    status = around.get("kustomization/app")["status"]
    assert status["lastAppliedRevision"] == f"main@sha1:{head()}"
