"""The same random history on the embedded cluster and on a real API server ends in the same objects.

After every write the answers are compared: the object with its managedFields, or the refusal with its conflicts and
fields. In the end the watches are. Kinds are those of things.py, some built-in ones, and one with a random schema.
SEEDS=1000-1020 plays other histories than usual.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from typing import Any

import pytest

from gitops_core.adapters.kubernetes import KubernetesCluster
from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import Invalid
from gitops_core.meta import Kind
from gitops_core.ports import Cluster, Query, Unreadable
from tests.contracts.builtins import BUILTINS, CONFIG_MAP
from tests.contracts.conftest import install_things, named, new_namespace, until_served, watching
from tests.contracts.histories import Author, carry_out, comparable
from tests.contracts.schemas import Schema, Schemas
from tests.contracts.things import PLAIN, SCHEMA, THING, THING_V2, definition

KNOWN = {CONFIG_MAP: BUILTINS[CONFIG_MAP], THING: SCHEMA, PLAIN: SCHEMA, THING_V2: SCHEMA}
STEPS = 100
_FROM, _, _TO = os.environ.get("SEEDS", "0-3").partition("-")
SEEDS = range(int(_FROM), int(_TO or int(_FROM) + 1))


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_random_history_is_the_same_on_both(
    seed: int, local_cluster: LocalCluster, real_cluster: KubernetesCluster
) -> None:
    for cluster in (local_cluster, real_cluster):
        await install_things(cluster)

    await _same_history(seed, KNOWN, local_cluster, real_cluster)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_random_history_of_built_in_kinds_is_the_same_on_both(
    seed: int, local_cluster: LocalCluster, real_cluster: KubernetesCluster
) -> None:
    await _same_history(seed, BUILTINS, local_cluster, real_cluster)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_random_history_under_a_random_schema_is_the_same_on_both(
    seed: int, local_cluster: LocalCluster, real_cluster: KubernetesCluster
) -> None:
    kinds = await _random_kind(seed, local_cluster, real_cluster)

    await _same_history(seed, kinds, local_cluster, real_cluster)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_random_history_under_two_random_schemas_is_the_same_on_both(
    seed: int, local_cluster: LocalCluster, real_cluster: KubernetesCluster
) -> None:
    """v2 knows other fields than v1, which is stored, and has other types and defaults for them."""
    kinds = await _random_kind(seed, local_cluster, real_cluster, unlike=True)

    await _same_history(seed, kinds, local_cluster, real_cluster)


async def _same_history(seed: int, kinds: Mapping[Kind, Schema], *clusters: Cluster) -> None:
    namespace = await new_namespace(*clusters)
    begun = [[(await c.list(Query(kind, namespace), dict)).resource_version for kind in kinds] for c in clusters]

    author = Author(seed, namespace, kinds)
    for number in range(STEPS):
        step = author.step()
        ours, theirs = [await carry_out(cluster, step) for cluster in clusters]
        assert ours == theirs, f"seed {seed}, step {number}: {step}"

    for number, kind in enumerate(kinds):
        ours_seen, theirs_seen = [
            await _watched(cluster, kind, namespace, version[number])
            for cluster, version in zip(clusters, begun, strict=True)
        ]
        assert ours_seen == theirs_seen, f"seed {seed}: watch of {kind}"


async def _random_kind(seed: int, *clusters: Cluster, unlike: bool = False) -> Mapping[Kind, Schema]:
    """A kind in two versions, the first of the seed's that a real API server takes.

    Args:
        unlike: whether the versions have two schemas.
    """
    chance, name = random.Random(seed), f"{'Unlike' if unlike else 'Random'}{seed}"
    while True:
        schemas = Schemas(chance)
        schema: Schema = {"type": "object", "properties": {"spec": schemas.object(), "status": schemas.object(depth=1)}}
        second = _with_other_parts(schemas, schema) if unlike else schema
        crd = definition(name, schema, second)
        try:
            await clusters[-1].apply(crd, field_manager="tests", force=True)
        except Invalid:
            continue  # a default that is not valid itself
        for cluster in clusters[:-1]:
            await cluster.apply(crd, field_manager="tests", force=True)
        group = crd["spec"]["group"]
        kinds = {Kind(group, "v1", name): schema, Kind(group, "v2", name): second}
        for kind in kinds:
            for cluster in clusters:
                await until_served(cluster, kind)
        return kinds


def _with_other_parts(schemas: Schemas, schema: Schema) -> Schema:
    properties = {name: schemas.changed(part) for name, part in schema["properties"].items()}
    return {"type": "object", "properties": properties}


async def _watched(cluster: Cluster, kind: Kind, namespace: str, version: str) -> list[tuple[str, Any]]:
    """Every event of a kind since `version` that shows a change, up to an object that is made as a mark.

    A real API server also stores, and tells, a change of what it does not show: an empty map in metadata, a field that
    a version has pruned.
    """
    if await cluster.get(named(kind, namespace, "mark")) is None:
        await cluster.create(_mark(kind, namespace), field_manager="tests")
    seen: list[tuple[str, Any]] = []
    async with watching(cluster, Query(kind, namespace), version) as events:
        async for event in events:
            if event.object is None:
                continue
            assert not isinstance(event.object, Unreadable)
            name = event.object["metadata"]["name"]
            if name == "mark":
                break
            if name == "kube-root-ca.crt":
                continue  # a controller's, where controllers run
            told = event.type, comparable(event.object)
            if told not in seen[-1:]:
                seen.append(told)
    return seen


def _mark(kind: Kind, namespace: str) -> dict[str, Any]:
    about = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "mark", "namespace": namespace}}
    return {**about, "roleRef": {"kind": "Role", "name": "p"}} if kind.kind == "RoleBinding" else about
