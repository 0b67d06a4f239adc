"""What an object looks like that was created without a status, where the CRD has a default for it."""

from __future__ import annotations

from gitops_core.api import GitRepository
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.ports import Cluster
from gitops_core.schema import make_crd
from tests.contracts.conftest import until_served


async def test_a_status_has_its_default_from_the_start(cluster: Cluster, namespace: str) -> None:
    await cluster.apply(make_crd(GitRepository), field_manager="test", force=True)
    await until_served(cluster, GitRepository.KIND)
    spec = {"url": "https://example.com/app.git", "interval": "1m"}
    metadata = {"name": "app", "namespace": namespace}
    manifest = {
        "apiVersion": GitRepository.KIND.api_version,
        "kind": "GitRepository",
        "metadata": metadata,
        "spec": spec,
    }

    created = await cluster.create({**manifest, "status": {"observedGeneration": 7}}, field_manager="test")

    assert created["status"] == {"observedGeneration": -1}
    found = await cluster.get(ObjectRef(GitRepository.KIND, ObjectKey(namespace, "app")))
    assert found is not None
    assert found["status"] == {"observedGeneration": -1}
