"""Completeness: what the packages say they have is wired, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from gitops_core.adapters.expressions import SandboxedExpressions
from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.kubernetes import KubernetesClusters
from gitops_core.adapters.kustomize import Kustomize
from gitops_core.adapters.local import LocalCluster
from gitops_core.adapters.oci import OciRegistry
from gitops_core.adapters.sops import Sops
from gitops_core.meta import Resource
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.runtime.loop.events import EventRecorder
from gitops_core.runtime.loop.statuses import StatusWriter
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.reconciling import Controller, Platform
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.runtime.watching.informers import Informers
from gitops_core.runtime.watching.objects import WatchedObjects
from gitops_core.schema import make_crd
from gitops_core.schema.structural import join_markers
from image_updater.adapters.catalog import SqliteCatalog
from image_updater.adapters.inspecting import RegistryReader
from sealoop.wiring import COMPONENTS, KINDS, Ports, make_controllers
from secrets_sync.adapters import make_provider_factories
from secrets_sync.api import SecretStoreProvider


@pytest.fixture
async def wired(tmp_path: Path, local_cluster: LocalCluster) -> tuple[Controller[Any], ...]:
    """The controllers as the service makes them, on an embedded cluster."""
    clock, chance, metrics = SystemClock(), SystemChance(), Metrics(CollectorRegistry())
    informers = Informers(local_cluster, clock, chance, metrics)
    platform = Platform(
        cluster=local_cluster,
        clusters=KubernetesClusters(local_cluster, IN_PLACE),
        git=GitMirrors(tmp_path / "git", allow_file=True),
        clock=clock,
        chance=chance,
        events=EventRecorder(local_cluster, clock, chance, metrics, "tests"),
        statuses=StatusWriter(local_cluster, informers.show_written),
        objects=WatchedObjects(informers, local_cluster),
        metrics=metrics,
    )
    async with OciRegistry() as registry:
        with closing(SqliteCatalog.open(tmp_path / "tags.db")) as catalog:
            reader, providers = RegistryReader(registry), make_provider_factories(clock)
            return make_controllers(
                platform, Ports(Kustomize(), Sops(), SandboxedExpressions(), registry, reader, catalog, providers)
            )


def test_every_kind_is_reconciled_by_exactly_one_controller(wired: tuple[Controller[Any], ...]) -> None:
    reconciled = Counter(controller.kind for controller in wired)

    assert reconciled == Counter(KINDS)
    assert set(reconciled.values()) == {1}


def test_no_two_kinds_share_a_name() -> None:
    for name_of in (lambda k: k.KIND, lambda k: (k.KIND.group, k.PLURAL)):
        assert len({name_of(kind) for kind in KINDS}) == len(KINDS)
    short = Counter(name for kind in KINDS for name in {kind.PLURAL, kind.KIND.kind.lower(), *kind.SHORT_NAMES})
    assert [name for name, times in short.items() if times > 1] == []


def test_every_component_has_a_name_and_kinds() -> None:
    assert [component.name for component in COMPONENTS] == ["gitops", "secrets", "images"]
    assert all(component.kinds for component in COMPONENTS)


async def test_every_watched_kind_is_served(wired: tuple[Controller[Any], ...], local_cluster: LocalCluster) -> None:
    for kind in KINDS:
        await local_cluster.apply(make_crd(kind), field_manager="tests")

    watched = {watch.query.kind for controller in wired for watch in controller.watches}

    assert watched
    for each in watched:
        assert (await local_cluster.find_api_resource(each)).kind == each


def supported(cls: type[msgspec.Struct]) -> set[str]:
    """The JSON names of the fields that something acts on."""
    fields = msgspec.structs.fields(cls)
    return {field.encode_name for field in fields if join_markers(field.type).get("supported") is None}


def test_every_provider_that_is_acted_on_has_a_factory_and_no_other_has() -> None:
    assert set(make_provider_factories(SystemClock())) == supported(SecretStoreProvider)


def marked(type_: Any, path: str, seen: tuple[type, ...] = ()) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """(path, supported values) of each field below that is not, or not wholly, acted on."""
    cls = struct_in(type_)
    if cls is None or cls in seen:
        return
    for field in msgspec.structs.fields(cls):
        inner = f"{path}.{field.encode_name}"
        values = join_markers(field.type).get("supported")
        if values is not None:
            yield inner, values
        yield from marked(field.type, inner, (*seen, cls))


def struct_in(type_: Any) -> type[msgspec.Struct] | None:
    """The struct that a field's type is, or is a list, map or option of."""
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return type_
    inner = (struct_in(argument) for argument in getattr(type_, "__args__", ()))
    return next((found for found in inner if found is not None), None)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.KIND.kind))
def test_a_field_marked_unsupported_is_in_the_crd(kind: type[Resource]) -> None:
    (version,) = (v for v in make_crd(kind)["spec"]["versions"] if v["name"] == kind.KIND.version)
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec = next(field.type for field in msgspec.structs.fields(kind) if field.name == "spec")

    for path, values in marked(spec, "spec"):
        found = at(schema, path.split(".")[1:])
        assert found is not None, f"{path} is marked as unsupported and is no field of {kind.KIND.kind}"
        assert set(values) <= set(found.get("enum", values)), f"{path} cannot have the values {values}"


def at(schema: dict[str, Any], steps: list[str]) -> dict[str, Any] | None:
    for step in steps:
        while "items" in schema or isinstance(schema.get("additionalProperties"), dict):
            schema = schema.get("items") or schema["additionalProperties"]
        if step not in schema.get("properties", {}):
            return None
        schema = schema["properties"][step]
    return schema


def test_markers_are_found_at_any_depth() -> None:
    by_kind = {kind.KIND.kind: dict(marked(kind, "")) for kind in KINDS}

    assert by_kind["OCIRepository"][".spec.verify.trustedRootSecretRef"] == ()
    assert by_kind["Kustomization"][".spec.sourceRef.kind"] == ("GitRepository", "OCIRepository", "Bucket")
    assert by_kind["ExternalSecret"][".spec.dataFrom.rewrite"] == ()
    assert by_kind["ExternalSecret"][".spec.dataFrom.find.nullBytePolicy"] == ("Ignore",)
