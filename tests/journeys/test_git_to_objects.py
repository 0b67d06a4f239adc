"""Git is the source of truth: what drifts is healed, what leaves Git is pruned; a killed leader is replaced."""

from __future__ import annotations

import asyncio

from tests.journeys.surroundings import Surroundings, config_map, flux
from tests.servers.git import BareRepository

Remote = tuple[BareRepository, str]


def sync(around: Surroundings, url: str, **more: object) -> None:
    around.apply(
        flux(
            "source", "GitRepository", "app", url=url, interval="1s", ref={"branch": "main"}, secretRef={"name": "git"}
        ),
        flux(
            "kustomize",
            "Kustomization",
            "app",
            sourceRef={"kind": "GitRepository", "name": "app"},
            path="./app",
            targetNamespace=around.namespace,
            interval="2s",
            retryInterval="1s",
            prune=True,
            **more,
        ),
    )


def applied(around: Surroundings) -> str:
    return str((around.get("kustomization/app").get("status") or {}).get("lastAppliedRevision", ""))


async def test_drift_is_healed_and_pruned_objects_are_gone(around: Surroundings, remote: Remote) -> None:
    repository, url = remote
    await repository.commit({"app/one.yaml": config_map("one", a="1"), "app/two.yaml": config_map("two", b="2")})
    sync(around, url)

    def story() -> None:
        with around.serving():
            around.until(lambda: around.ready("kustomization/app"), "the folder is applied")
            assert around.get("configmap/two")["data"] == {"b": "2"}

            around.plane.kubectl("patch", "configmap/one", "-n", around.namespace, "-p", '{"data": {"a": "drifted"}}')
            around.until(lambda: around.get("configmap/one")["data"] == {"a": "1"}, "the drift is healed")
            around.plane.kubectl("delete", "configmap/two", "-n", around.namespace)
            around.until(lambda: around.get("configmap/two"), "the deleted object is back")

            asyncio.run(repository.commit({"app/two.yaml": None}))
            around.until(lambda: not around.get("configmap/two"), "what left Git is pruned")
            around.plane.kubectl("delete", "kustomization/app", "-n", around.namespace, "--wait=true", "--timeout=55s")
            assert not around.get("configmap/one")

    await asyncio.to_thread(story)


async def test_a_killed_leader_is_replaced(around: Surroundings, remote: Remote) -> None:
    repository, url = remote
    first_commit = await repository.commit({"app/one.yaml": config_map("one", a="1")})
    sync(around, url)

    def story() -> None:
        leader = around.service("first")
        around.until(lambda: applied(around).endswith(first_commit), "the first process works")
        candidate = around.service("second")
        try:
            assert around.lease_holder().startswith("first")
            leader.kill()
            commit = asyncio.run(repository.commit({"app/one.yaml": config_map("one", a="2")}))
            around.until(lambda: applied(around).endswith(commit), "the second process takes over")
            assert around.lease_holder().startswith("second")
            assert around.get("configmap/one")["data"] == {"a": "2"}
        finally:
            candidate.stop(60)
        assert around.lease_holder() == ""  # given back at SIGTERM

    await asyncio.to_thread(story)
