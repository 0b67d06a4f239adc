"""Two teams share a cluster: what a folder holds is applied with the rights of its team's service account."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.journeys.surroundings import Surroundings, config_map, flux
from tests.servers.git import BareRepository

Remote = tuple[BareRepository, str]


def sync(around: Surroundings, name: str, **spec: Any) -> None:
    source = {"kind": "GitRepository", "name": "app"}
    defaults = {"sourceRef": source, "path": f"./{name}", "interval": "1h", "retryInterval": "1s", "prune": True}
    around.apply(flux("kustomize", "Kustomization", name, **{"targetNamespace": around.namespace, **defaults, **spec}))


async def test_a_folder_is_applied_with_the_rights_of_its_service_account(around: Surroundings, remote: Remote) -> None:
    repository, url = remote
    folders = ("mine", "theirs", "nameless")
    await repository.commit({f"{name}/a.yaml": config_map(name, at="1") for name in folders})
    plane, user = around.plane, f"system:serviceaccount:{around.namespace}"

    def forbids(name: str, who: str) -> bool:
        message = around.condition(f"kustomization/{name}")["message"]
        ref, why = f"ConfigMap/{other if name == 'theirs' else around.namespace}/{name}", f'User "{user}:{who}" cannot '
        return message.startswith(f"{ref} dry-run failed (Forbidden)") and why in message

    def story() -> None:
        spec = {"url": url, "interval": "1s", "ref": {"branch": "main"}, "secretRef": {"name": "git"}}
        around.apply(flux("source", "GitRepository", "app", **spec))
        plane.service_account(around.namespace, "deployer")
        rights = ["get", "create", "patch", "delete"]
        plane.grant(f"{user}:deployer", rights, ["configmaps"], namespace=around.namespace)
        sync(around, "mine", serviceAccountName="deployer")
        sync(around, "theirs", serviceAccountName="deployer", targetNamespace=other)
        sync(around, "nameless")
        service = around.service("service", "--default-service-account", "visitor")
        try:
            around.until(lambda: around.ready("kustomization/mine"), "the team's own folder is applied")
            around.until(lambda: forbids("theirs", "deployer"), "another team's namespace is closed")
            around.until(lambda: forbids("nameless", "visitor"), "who names no account has the default's rights")
            assert around.get("configmap/mine")["data"] == {"at": "1"}
            assert plane.get("configmap/theirs", other) is None
            assert around.get("configmap/nameless") == {}

            second = asyncio.run(repository.commit({"mine/a.yaml": None, "mine/b.yaml": config_map("b", at="2")}))
            around.until(
                lambda: around.get("kustomization/mine")["status"]["lastAppliedRevision"].endswith(second), "pruned"
            )
            assert (around.get("configmap/mine"), around.get("configmap/b")["data"]) == ({}, {"at": "2"})

            plane.kubectl("delete", "serviceaccount/deployer", "-n", around.namespace)
            plane.kubectl("delete", "kustomization/mine", "-n", around.namespace, "--timeout=60s")
            left = [event for event in around.told() if event["reason"] == "PruneFailed"]
        finally:
            service.stop(60)
        account = f"ServiceAccount/{around.namespace}/deployer"
        assert [(event["type"], event["involvedObject"]["name"]) for event in left] == [("Warning", "mine")]
        assert left[0]["message"] == f"the objects of the inventory are left: {account}, which applied them, is gone"
        assert around.get("configmap/b")["data"] == {"at": "2"}

    other = plane.namespace("other")
    await asyncio.to_thread(story)
