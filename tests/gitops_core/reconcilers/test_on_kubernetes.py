"""What the reconciler concludes from answers of the API server, on a real one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from gitops_core.adapters.kubernetes import KubernetesCluster
from gitops_core.domain.sync.imprints import Imprint
from gitops_core.domain.sync.owners import make_kustomization_ownership
from gitops_core.domain.sync.plan import plan_sync
from gitops_core.domain.sync.predictions import Applied
from gitops_core.domain.sync.progress import is_there
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.reconcilers.applying import Applier, SyncFailed
from gitops_core.runtime.clock import SystemClock
from tests.servers.controlplane import ControlPlane

OWNER = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "default"}
OWNERSHIP = make_kustomization_ownership(ObjectKey("default", "apps"))


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesCluster]:
    connected = await KubernetesCluster.from_environment(Path(control_plane.kubeconfig))
    yield connected
    await connected.close()


def config_map(name: str, **data: str) -> Manifest:
    metadata = {"name": name, "namespace": "default", "labels": OWNER}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def until_settled(applier: Applier, refs: Sequence[ObjectRef]) -> None:
    while True:
        lives = await applier.read_lives(refs)
        if all(is_there(live, applier.clock.now()) for live in lives.values()) and not await applier.find_unserved(
            lives
        ):
            return
        await asyncio.sleep(0.1)


async def synced(
    cluster: KubernetesCluster, *wanted: Manifest, known: Mapping[ObjectRef, Imprint] | None = None
) -> Sequence[Applied]:
    applier, plan = Applier(cluster, SystemClock(), OWNERSHIP), plan_sync(wanted, (), OWNERSHIP, prune=True)
    predictions = await (applier.try_out(plan) if known is None else applier.read(plan, known))
    applied: list[Applied] = []
    for stage in plan.stages:
        refs = [action.ref for action in stage.actions]
        applied += await applier.apply(predictions[ref] for ref in refs)
        await until_settled(applier, refs)
    return applied


async def test_changes_are_told_from_their_absence(cluster: KubernetesCluster) -> None:
    one, two = config_map("change-one", a="1"), config_map("change-two", a="1")

    assert [str(a) for a in await synced(cluster, one, two)] == [
        "ConfigMap/default/change-one created",
        "ConfigMap/default/change-two created",
    ]
    again = await synced(cluster, one, config_map("change-two", a="2"))
    assert [a.change for a in again] == ["unchanged", "configured"]


async def test_without_a_trial_a_change_by_hand_is_told_too(cluster: KubernetesCluster) -> None:
    wanted = config_map("hand-one", a="1")
    known = {applied.ref: applied.imprint for applied in await synced(cluster, wanted)}
    assert [a.change for a in await synced(cluster, wanted, known=known)] == ["unchanged"]

    await asyncio.sleep(1.1)  # managedFields keep whole seconds
    await cluster.patch(ObjectRef.of(wanted), {"data": {"a": "by hand"}}, field_manager="somebody")

    (healed,) = await synced(cluster, wanted, known=known)
    assert (healed.change, healed.live["data"]) == ("configured", {"a": "1"})


async def test_the_changes_are_predicted_without_a_write_and_the_apply_makes_what_was_predicted(
    cluster: KubernetesCluster,
) -> None:
    def substance(live: Manifest) -> Manifest:
        hidden = ("uid", "resourceVersion", "creationTimestamp", "managedFields")
        metadata = {name: value for name, value in live["metadata"].items() if name not in hidden}
        return {**live, "metadata": metadata, "status": None}

    def service(port: int) -> Manifest:
        about = {"name": "foreseen", "namespace": "default", "labels": OWNER}
        spec = {"selector": {"app": "foreseen"}, "ports": [{"port": port, "protocol": "TCP"}]}
        return {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": spec}

    await synced(cluster, config_map("foreseen-same", a="1"), config_map("foreseen-drifted", a="1"), service(80))
    drifted = ObjectRef.of(config_map("foreseen-drifted"))
    await cluster.patch(drifted, {"data": {"a": "by hand"}}, field_manager="somebody")
    wanted = [config_map(f"foreseen-{name}", a="1") for name in ("same", "drifted", "new")]
    applier, plan = (
        Applier(cluster, SystemClock(), OWNERSHIP),
        plan_sync([*wanted, service(81)], (), OWNERSHIP, prune=True),
    )
    refs = [action.ref for action in plan.actions]
    lives = await applier.read_lives(refs)

    predictions = await applier.try_out(plan, lives)

    changes = {one.ref.key.name: one.change for one in predictions.values()}
    assert changes == {
        "foreseen-same": "unchanged",
        "foreseen-drifted": "configured",
        "foreseen-new": "created",
        "foreseen": "configured",
    }
    assert await applier.read_lives(refs) == lives
    await asyncio.sleep(1.1)  # managedFields keep whole seconds
    for one in await applier.apply(predictions[ref] for ref in refs):
        predicted = predictions[one.ref].predicted
        assert one.change == predictions[one.ref].change
        assert predicted is not None
        assert substance(one.live) == substance(predicted)


async def test_an_object_that_kubectl_applied_is_taken_over(
    cluster: KubernetesCluster, control_plane: ControlPlane
) -> None:
    theirs = {**config_map("taken", a="0", old="x"), "metadata": {"name": "taken", "namespace": "default"}}
    control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(theirs))

    (taken,) = await synced(cluster, config_map("taken", a="1"))

    assert taken.live["data"] == {"a": "1"}
    assert [entry["manager"] for entry in taken.live["metadata"]["managedFields"]] == ["kustomize-controller"]
    assert "annotations" not in taken.live["metadata"]


async def test_every_refused_object_is_named_and_nothing_is_written(cluster: KubernetesCluster) -> None:
    ports = {"ports": [{"port": 99999999}]}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "bad", "namespace": "default"},
        "spec": ports,
    }
    homeless = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "homeless", "namespace": "nowhere"}}
    with pytest.raises(SyncFailed) as refused:
        await synced(cluster, config_map("fine", a="1"), service, homeless)

    causes = str(refused.value).splitlines()
    assert causes[0].startswith("Secret/nowhere/homeless dry-run failed (NotFound): ")
    assert causes[1].startswith('Service/default/bad dry-run failed (Invalid): Service "bad" is invalid: ')
    assert await cluster.get(ObjectRef(Kind("", "v1", "ConfigMap"), ObjectKey("default", "fine"))) is None


async def test_a_definition_its_namespace_and_its_object_at_once(cluster: KubernetesCluster) -> None:
    names = {"kind": "Gizmo", "plural": "gizmos", "singular": "gizmo", "listKind": "GizmoList"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gizmos.sync.example.org"},
        "spec": {"group": "sync.example.org", "names": names, "scope": "Namespaced", "versions": [version]},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gizmos"}}
    about = {"name": "g", "namespace": "gizmos", "labels": OWNER}
    gizmo = {"apiVersion": "sync.example.org/v1", "kind": "Gizmo", "metadata": about}

    applied = await synced(cluster, gizmo, namespace, definition)

    assert [a.change for a in applied] == ["created", "created", "created"]
    assert [a.ref.kind.kind for a in applied] == ["CustomResourceDefinition", "Namespace", "Gizmo"]


async def test_a_definition_of_ours_is_what_the_manifest_says_and_may_be_deleted(cluster: KubernetesCluster) -> None:
    def definition(*versions: str, **names: object) -> Manifest:
        schema = {"openAPIV3Schema": {"type": "object"}}
        served = [{"name": v, "served": True, "storage": v == versions[-1], "schema": schema} for v in versions]
        about = {"name": "sprockets.test.sealoop.dev", "labels": OWNER}
        called = {"kind": "Sprocket", "plural": "sprockets", "singular": "sprocket", "listKind": "SprocketList"}
        spec = {"group": "test.sealoop.dev", "scope": "Namespaced", "names": called | names, "versions": served}
        kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
        return {**kind, "metadata": about, "spec": spec}

    ref = ObjectRef.of(definition("v1"))
    (made,) = await synced(cluster, definition("v1", "v2", shortNames=["spr"]))
    assert (made.change, made.is_adopted) == ("created", False)

    await asyncio.sleep(1.1)  # managedFields keep whole seconds
    (changed,) = await synced(cluster, definition("v2"))
    assert (changed.change, changed.is_adopted) == ("configured", False)
    assert [version["name"] for version in changed.live["spec"]["versions"]] == ["v2"]
    assert "shortNames" not in changed.live["spec"]["names"]
    (same,) = await synced(cluster, definition("v2"))
    assert same.change == "unchanged"

    pruned = await Applier(cluster, SystemClock(), OWNERSHIP).prune([ref])
    assert (pruned.deleted, pruned.spared) == ((ref,), ())


async def test_a_definition_of_somebody_else_is_adopted_and_spared(cluster: KubernetesCluster) -> None:
    schema = {"openAPIV3Schema": {"type": "object"}}
    about = {"name": "levers.test.sealoop.dev"}
    theirs: Manifest = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": about,
        "spec": {
            "group": "test.sealoop.dev",
            "scope": "Namespaced",
            "names": {"kind": "Lever", "plural": "levers", "singular": "lever", "listKind": "LeverList"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    await cluster.create(theirs, field_manager="helm")

    (adopted,) = await synced(cluster, {**theirs, "metadata": {**about, "labels": OWNER}})
    pruned = await Applier(cluster, SystemClock(), OWNERSHIP).prune([adopted.ref])

    assert adopted.is_adopted
    assert (pruned.deleted, pruned.spared) == ((), (adopted.ref,))
    await cluster.delete(adopted.ref)
