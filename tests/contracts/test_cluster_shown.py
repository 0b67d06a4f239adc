"""What a cluster shows can be put into Git: applying it again changes nothing, on both clusters."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pytest

from gitops_core.domain.sync.normalization import normalize
from gitops_core.domain.sync.owners import MANAGER
from gitops_core.meta import ObjectRef
from gitops_core.ports import Cluster
from tests.contracts.test_cluster_builtins import OBJECTS
from tests.contracts.things import THING

NAMES = [f"{manifest['kind']}" for manifest in OBJECTS]


def substance(live: Mapping[str, Any]) -> dict[str, Any]:
    """The object without what every write changes."""
    metadata = {k: v for k, v in live["metadata"].items() if k not in ("managedFields", "resourceVersion")}
    return {**live, "metadata": metadata}


async def applied(cluster: Cluster, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    return await cluster.apply(normalize(manifest), field_manager=MANAGER, force=True)


@pytest.mark.parametrize("manifest", OBJECTS, ids=NAMES)
async def test_applying_what_a_cluster_shows_changes_nothing(
    cluster: Cluster, namespace: str, manifest: dict[str, Any]
) -> None:
    made = normalize({**manifest, "metadata": {"name": "shown", "namespace": namespace}})  # with ports' protocols
    shown = await cluster.create(made, field_manager="somebody")

    after = await applied(cluster, shown)

    assert wanted(after) == wanted(shown)
    tries = 0
    while not await is_unwritten(cluster, shown):
        tries += 1
        assert tries < 50


def wanted(live: Mapping[str, Any]) -> dict[str, Any]:
    """The substance without what a controller of a real cluster may have written meanwhile."""
    metadata = {**live["metadata"], "annotations": {**(live["metadata"].get("annotations") or {})}}
    metadata["annotations"].pop("deployment.kubernetes.io/revision", None)
    return {**substance({**live, "metadata": metadata}), "status": None}


async def is_unwritten(cluster: Cluster, shown: Mapping[str, Any]) -> bool:
    """Whether another apply leaves the object's resourceVersion; a controller that writes just then says no, too."""
    before = await cluster.get(ObjectRef.of(shown))
    after = await applied(cluster, shown)
    return before is not None and before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


async def test_a_status_in_a_manifest_is_not_applied(things: Cluster, namespace: str) -> None:
    about = {"name": "t", "namespace": namespace}
    thing = {"apiVersion": THING.api_version, "kind": THING.kind, "metadata": about, "spec": {"text": "a"}}
    await things.create(thing, field_manager="somebody")
    await things.patch(
        ObjectRef.of(thing), {"status": {"phase": "Ready"}}, field_manager="controller", subresource="status"
    )

    shown = await things.get(ObjectRef.of(thing))
    assert shown is not None
    after = await applied(things, {**shown, "status": {"phase": "Broken", "unheard": "of"}})

    assert substance(after) == substance(shown)


async def test_a_key_that_leaves_the_strings_of_a_secret_leaves_the_secret(cluster: Cluster, namespace: str) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}}
    await applied(cluster, {**secret, "stringData": {"user": "a", "withdrawn": "b"}})

    after = await applied(cluster, {**secret, "stringData": {"user": "c"}})

    assert after["data"] == {"user": base64.b64encode(b"c").decode()}
