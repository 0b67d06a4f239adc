"""What becomes of a Kustomization, seen from outside: commits go in, objects, statuses and events come out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import yaml

from gitops_core.api import Kustomization
from gitops_core.errors import Forbidden
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from tests.gitops_core.reconcilers.world import (
    CONFIG_MAP,
    DEPLOYMENT,
    World,
    condition,
    config_map,
    inventory,
    syncing,
)
from tests.simulation.loop import in_virtual_time, virtually

APP = {"apps/one.yaml": config_map("one"), "apps/two.yaml": config_map("two")}
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "registry.example.com/web:1"}]}
"""
ROLLED_OUT = {
    "observedGeneration": 1,
    "replicas": 1,
    "updatedReplicas": 1,
    "readyReplicas": 1,
    "availableReplicas": 1,
    "conditions": [
        {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
    ],
}


async def _tell_status_of_web(world: World, status: Mapping[str, object]) -> None:
    web = ObjectRef(DEPLOYMENT, ObjectKey("default", "web"))
    await world.local.patch(web, {"status": status}, field_manager="kubelet", subresource="status")


@in_virtual_time
async def test_a_folder_is_applied_and_told_of() -> None:
    world = World()
    commit = await world.begin(APP)
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)

        live = await world.kustomization("apps")
        revision = f"main@sha1:{commit}"
        assert condition(live, "Ready") == ("True", "ReconciliationSucceeded", f"Applied revision: {revision}")
        assert condition(live, "Reconciling") == ("", "", "")
        assert inventory(live) == ["default_one__ConfigMap", "default_two__ConfigMap"]
        assert live["status"]["lastAppliedRevision"] == live["status"]["lastAttemptedRevision"] == revision
        assert live["status"]["observedGeneration"] == 1
        assert live["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
        created = "ConfigMap/default/one created\nConfigMap/default/two created"
        assert ("Normal", "Progressing", created) in await world.events("apps")


@in_virtual_time
async def test_an_unchanged_revision_that_is_asked_again_costs_one_request_an_object() -> None:
    async with syncing(APP) as world:
        before, versions = len(world.cluster.requests), await _versions(world, "one", "two")

        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(5)

        requests = world.cluster.since(before)
        expected = [("get", "ConfigMap/one", False), ("get", "ConfigMap/two", False)]
        assert requests == [*expected, ("patch", "Kustomization/apps", False)]
        assert await _versions(world, "one", "two") == versions
        live = await world.kustomization("apps")
        assert live["status"]["history"][0]["totalReconciliations"] == 2
        assert live["status"]["lastHandledReconcileAt"] == "again"


@in_virtual_time
async def test_a_new_kustomization_stays_within_its_request_budget() -> None:
    world = World()
    await world.begin({f"apps/{name}.yaml": config_map(name) for name in ("a", "b", "c", "d")})
    async with world.running():
        await asyncio.sleep(5)
        before = len(world.cluster.requests)

        await world.sync("apps", "./apps", namePrefix="x-")
        await asyncio.sleep(10)

        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert len(world.cluster.since(before)) <= 13
        before = len(world.cluster.requests)
        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(10)
        assert len(world.cluster.since(before)) <= 5


@in_virtual_time
async def test_an_object_that_git_drops_is_pruned() -> None:
    async with syncing(APP) as world:
        await world.commit_and_sync({"apps/two.yaml": None})

        assert await world.live(CONFIG_MAP, "two") is None
        assert await world.live(CONFIG_MAP, "one") is not None
        assert inventory(await world.kustomization("apps")) == ["default_one__ConfigMap"]
        assert ("Normal", "Progressing", "ConfigMap/default/two deleted") in await world.events("apps")


@in_virtual_time
async def test_without_prune_a_dropped_object_is_forgotten_and_left() -> None:
    async with syncing(APP, prune=False) as world:
        await world.commit_and_sync({"apps/two.yaml": None})

        assert await world.live(CONFIG_MAP, "two") is not None
        assert inventory(await world.kustomization("apps")) == ["default_one__ConfigMap"]


@in_virtual_time
async def test_an_object_that_another_kustomization_took_over_is_not_pruned() -> None:
    async with syncing(APP) as world:
        labels = {"kustomize.toolkit.fluxcd.io/name": "other"}
        two = ObjectRef(CONFIG_MAP, ObjectKey("default", "two"))
        await world.local.patch(two, {"metadata": {"labels": labels}}, field_manager="kustomize-controller")

        await world.commit_and_sync({"apps/two.yaml": None})

        assert await world.live(CONFIG_MAP, "two") is not None


@in_virtual_time
async def test_prune_disabled_keeps_an_object() -> None:
    kept = config_map("two", annotations={"kustomize.toolkit.fluxcd.io/prune": "Disabled"})
    async with syncing(APP | {"apps/two.yaml": kept}) as world:
        await world.commit_and_sync({"apps/two.yaml": None})

        assert await world.live(CONFIG_MAP, "two") is not None


@in_virtual_time
async def test_drift_is_healed() -> None:
    async with syncing(APP) as world:
        one = ObjectRef(CONFIG_MAP, ObjectKey("default", "one"))
        await world.local.patch(one, {"data": {"a": "by hand"}}, field_manager="somebody")
        await world.delete(CONFIG_MAP, "two")

        await world.request(Kustomization, "apps", "heal")
        await asyncio.sleep(5)

        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"a": "1"}
        assert await world.live(CONFIG_MAP, "two") is not None
        healed = "ConfigMap/default/one configured\nConfigMap/default/two created"
        assert ("Normal", "Progressing", healed) in await world.events("apps")


@in_virtual_time
async def test_objects_that_kubectl_applied_before_are_taken_over() -> None:
    """A field that only kubectl's manifest had goes away; one that a controller owns stays."""

    world = World()
    await world.begin(APP)
    base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "default"}}
    await world.local.apply({**base, "data": {"a": "0", "old": "x"}}, field_manager="kubectl")
    await world.local.apply({**base, "data": {"theirs": "y"}}, field_manager="some-controller")
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)

        live = await world.live(CONFIG_MAP, "one")
        assert live["data"] == {"a": "1", "theirs": "y"}
        managers = {entry["manager"] for entry in live["metadata"]["managedFields"]}
        assert managers == {"kustomize-controller", "some-controller"}


@in_virtual_time
async def test_a_password_that_git_withdraws_leaves_the_secret() -> None:
    def secret(strings: str) -> str:
        return f"apiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\nstringData: {{{strings}}}\n"

    async with syncing({"apps/login.yaml": secret("user: a, password: b")}) as world:
        await world.commit_and_sync({"apps/login.yaml": secret("user: a")})

        live = await world.live(Kind("", "v1", "Secret"), "login")
        assert live["data"] == {"user": "YQ=="}


@in_virtual_time
async def test_a_manifest_as_a_cluster_shows_it_may_stand_in_git() -> None:
    """An export with uid, resourceVersion, status and kubectl's own annotation is applied, and applied once."""

    world = World()
    await world.begin({})
    note = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "x"}
    about = {"name": "web", "namespace": "default", "annotations": note}
    web = {**yaml.safe_load(WEB), "metadata": about}
    await world.local.create(web, field_manager="kubectl-create")
    status = {"status": {"replicas": 1}}
    ref = ObjectRef(DEPLOYMENT, ObjectKey("default", "web"))
    await world.local.patch(ref, status, field_manager="kubelet", subresource="status")
    exported = await world.live(DEPLOYMENT, "web")
    await world.commit({"apps/web.yaml": yaml.safe_dump(exported)})
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        first = await world.live(DEPLOYMENT, "web")
        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert (first["spec"], first["status"]) == (exported["spec"], exported["status"])
        assert first["metadata"]["annotations"] == {"kept": "x"}

        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(5)

        assert (await world.live(DEPLOYMENT, "web"))["metadata"]["resourceVersion"] == (
            first["metadata"]["resourceVersion"]
        )


@in_virtual_time
async def test_a_kustomization_that_another_one_applies_keeps_its_finalizer() -> None:
    """Else it would be deleted without what it made."""
    child = """
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: child, namespace: default}
spec: {interval: 1h, prune: true, path: ./apps, sourceRef: {kind: GitRepository, name: r}, targetNamespace: default}
"""

    world = World()
    await world.begin(APP | {"top/child.yaml": child})
    await world.sync("parent", "./top", interval="1m", targetNamespace=None)
    async with world.running():
        await asyncio.sleep(200)

        assert (await world.kustomization("child"))["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
        await world.commit({"top/child.yaml": None, "top/other.yaml": config_map("other", namespace="default")})
        await asyncio.sleep(200)

        assert await world.kustomization("child") is None
        assert await world.live(CONFIG_MAP, "one") is None


@in_virtual_time
async def test_a_refused_object_stops_everything_before_the_first_write() -> None:
    bad = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two, labels: {x: 'not a label!'}}\n"
    worse = "apiVersion: v1\nkind: Secret\nmetadata: {name: three, labels: {x: 'nor this!'}}\n"
    async with syncing({"apps/one.yaml": config_map("one"), "apps/two.yaml": bad, "apps/three.yaml": worse}) as world:
        live = await world.kustomization("apps")
        status, reason, message = condition(live, "Ready")
        assert (status, reason) == ("False", "ReconciliationFailed")
        assert "ConfigMap/default/two dry-run failed (Invalid): " in message
        assert "Secret/default/three dry-run failed (Invalid): " in message
        assert condition(live, "Reconciling")[1:] == (
            "ProgressingWithRetry",
            f"Detecting drift for revision {live['status']['lastAttemptedRevision']} with a timeout of 9m30s",
        )
        assert await world.live(CONFIG_MAP, "one") is None
        assert inventory(live) == []
        assert live["status"].get("observedGeneration") != 1
        assert [h["lastReconciledStatus"] for h in live["status"]["history"]] == ["ReconciliationFailed"]


@in_virtual_time
async def test_a_partial_failure_keeps_track_of_what_was_made() -> None:
    async with syncing({"apps/one.yaml": config_map("one")}, retryInterval="30s") as world:
        world.cluster.refusals["ConfigMap/three"] = Forbidden("three is forbidden")

        await world.commit({"apps/two.yaml": config_map("two"), "apps/three.yaml": config_map("three")})
        await asyncio.sleep(70)

        live = await world.kustomization("apps")
        assert condition(live, "Ready")[:2] == ("False", "ReconciliationFailed")
        assert "ConfigMap/default/three apply failed (Forbidden): three is forbidden" in condition(live, "Ready")[2]
        assert {"default_one__ConfigMap", "default_two__ConfigMap"} <= set(inventory(live))
        world.cluster.refusals.clear()
        await world.commit_and_sync({"apps/two.yaml": None, "apps/three.yaml": None})
        assert await world.live(CONFIG_MAP, "two") is None
        assert inventory(await world.kustomization("apps")) == ["default_one__ConfigMap"]


@in_virtual_time
async def test_the_inventory_is_stored_before_the_first_write() -> None:
    async with syncing(APP) as world:
        writes = [r for r in world.cluster.requests if r[0] in ("apply", "patch") and not r[2]]
        of_objects = [index for index, r in enumerate(writes) if r[1].startswith("ConfigMap/")]
        of_status = [index for index, r in enumerate(writes) if r[1] == "Kustomization/apps"]
        assert any(of_status[0] < index < of_objects[0] for index in of_status[1:])  # the first is the finalizer


@in_virtual_time
async def test_an_object_that_cannot_be_deleted_stays_in_the_inventory() -> None:
    async with syncing(APP, retryInterval="30s") as world:
        world.cluster.refusals["ConfigMap/two"] = Forbidden("two must stay")

        await world.commit({"apps/two.yaml": None})
        await asyncio.sleep(70)

        live = await world.kustomization("apps")
        expected = "ConfigMap/default/two delete failed (Forbidden): two must stay"
        assert condition(live, "Ready") == ("False", "PruneFailed", expected)
        assert inventory(live) == ["default_one__ConfigMap", "default_two__ConfigMap"]
        world.cluster.refusals.clear()
        await asyncio.sleep(60)
        assert await world.live(CONFIG_MAP, "two") is None


@in_virtual_time
async def test_an_object_deleted_beside_one_that_could_not_be_leaves_the_inventory() -> None:
    async with syncing({**APP, "apps/three.yaml": config_map("three")}, retryInterval="10m") as world:
        world.cluster.refusals["ConfigMap/two"] = Forbidden("two must stay")

        await world.commit({"apps/two.yaml": None, "apps/three.yaml": None})
        await asyncio.sleep(70)

        live = await world.kustomization("apps")
        assert condition(live, "Ready")[1] == "PruneFailed"
        assert await world.live(CONFIG_MAP, "three") is None
        assert inventory(live) == ["default_one__ConfigMap", "default_two__ConfigMap"]


@in_virtual_time
async def test_after_a_refused_apply_all_is_tried_out_again_before_anything_is_written() -> None:
    """What is written without a trial is only what this process has applied as a whole."""

    async with syncing(APP, interval="1m", retryInterval="30s") as world:
        world.cluster.refusals["ConfigMap/two"] = Forbidden("two is full")
        for name in ("one", "two"):
            by_hand = {"data": {"a": "by hand"}}
            ref = ObjectRef(CONFIG_MAP, ObjectKey("default", name))
            await world.local.patch(ref, by_hand, field_manager="somebody")
        await world.request(Kustomization, "apps", "now")
        await asyncio.sleep(5)
        assert condition(await world.kustomization("apps"), "Ready")[1] == "ReconciliationFailed"
        moment = len(world.cluster.requests)

        await asyncio.sleep(40)

        applied = [(name, tried) for _, name, tried in world.cluster.since(moment, "apply")]
        assert sorted(applied[: len(APP)]) == [("ConfigMap/one", True), ("ConfigMap/two", True)]


@in_virtual_time
async def test_after_a_refused_commit_is_taken_back_objects_are_read_and_not_tried_out() -> None:
    """Nothing was written since: what was applied before is applied still."""

    async with syncing(APP, interval="10m", retryInterval="10m") as world:
        bad = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two, labels: {x: 'not a label!'}}\n"
        await world.commit({"apps/two.yaml": bad})
        await asyncio.sleep(70)
        assert condition(await world.kustomization("apps"), "Ready")[1] == "ReconciliationFailed"
        moment = len(world.cluster.requests)

        back = await world.commit(APP)
        await asyncio.sleep(70)

        live = await world.kustomization("apps")
        assert condition(live, "Ready")[0] == "True"
        assert live["status"]["lastAppliedRevision"].endswith(back)
        assert not [name for _, name, tried in world.cluster.since(moment, "apply") if tried]


@in_virtual_time
async def test_bad_files_are_all_named_with_their_lines() -> None:
    async with syncing({"apps/x.yaml": "a: b\nc:\n - d\n e: f\n", "apps/y.yaml": "kind: ConfigMap\n"}) as world:
        status, reason, message = condition(await world.kustomization("apps"), "Ready")
        assert (status, reason) == ("False", "BuildFailed")
        assert "from apps/x.yaml: line 4: did not find expected '-' indicator" in message
        assert "; apps/y.yaml: line 1: an object lacks apiVersion and metadata.name" in message


@in_virtual_time
async def test_a_folder_that_cannot_be_built_is_named() -> None:
    world = World()
    overlay = "resources: [one.yaml]\n"
    await world.begin({"apps/README.md": "soon", "web/kustomization.yaml": overlay, "bad/kustomization.yaml": "a: ["})
    for name in ("apps", "web", "bad"):
        await world.sync(name, f"./{name}")
    async with world.running():
        await asyncio.sleep(5)
        messages = {n: condition(await world.kustomization(n), "Ready")[2] for n in ("apps", "web", "bad")}

    assert messages["apps"] == "apps holds no manifests"
    assert messages["web"].startswith("web/kustomization.yaml: resources[0]: web/one.yaml is not in the repository")
    assert messages["bad"].startswith("failed to decode bad/kustomization.yaml: line 2: ")


@in_virtual_time
async def test_a_missing_path_an_unknown_kind_and_a_missing_source_are_told() -> None:
    world = World()
    await world.begin({"apps/w.yaml": "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\n"})
    await world.sync("nopath", "./nope")
    await world.sync("unknown", "./apps")
    await world.sync("lost", "./apps", sourceRef={"kind": "GitRepository", "name": "elsewhere", "namespace": "far"})
    async with world.running():
        await asyncio.sleep(5)

        status, reason, message = condition(await world.kustomization("nopath"), "Ready")
        assert (status, reason) == ("False", "ArtifactFailed")
        assert message.startswith("kustomization path not found: nope")
        status, reason, message = condition(await world.kustomization("unknown"), "Ready")
        assert (status, reason) == ("False", "ReconciliationFailed")
        assert message == 'Widget/default/w dry-run failed: no matches for kind "Widget" in version "example.org/v1"'
        status, reason, message = condition(await world.kustomization("lost"), "Ready")
        assert (status, reason) == ("False", "ArtifactFailed")
        assert message == 'gitrepositories.source.toolkit.fluxcd.io "elsewhere" not found in far'


@in_virtual_time
async def test_a_cluster_scoped_object_that_is_written_for_two_namespaces_is_refused() -> None:
    """Else one of the two would win in silence."""

    def role(namespace: str, rules: str) -> str:
        head = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n"
        return f"{head}metadata: {{name: reader, namespace: {namespace}}}\nrules: {rules}\n"

    other = config_map("c", namespace="default")
    files = {"apps/a.yaml": role("a", "[]"), "apps/b.yaml": role("b", "[]"), "apps/c.yaml": other}
    async with syncing(files, targetNamespace=None) as world:
        said = condition(await world.kustomization("apps"), "Ready")
        assert said[:2] == ("False", "ReconciliationFailed")
        why = "its kind has no namespaces, whatever metadata.namespace says"
        assert said[2] == f"ClusterRole/reader is there more than once: {why}"
        assert await world.live(CONFIG_MAP, "c") is None


@in_virtual_time
async def test_a_definition_and_its_objects_come_in_one_commit() -> None:
    world = World()
    crd = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
"""
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: lab}\n"
    widget = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w, namespace: lab}\n"
    await world.begin({"apps/a.yaml": widget, "apps/b.yaml": namespace, "apps/c.yaml": crd})
    await world.sync("apps", "./apps", targetNamespace=None)
    async with world.running():
        await asyncio.sleep(10)

        live = await world.kustomization("apps")
        assert condition(live, "Ready")[0] == "True"
        assert await world.live(Kind("example.org", "v1", "Widget"), "w", "lab") is not None
        assert inventory(live) == [
            "_widgets.example.org_apiextensions.k8s.io_CustomResourceDefinition",
            "_lab__Namespace",
            "lab_w_example.org_Widget",
        ]


@in_virtual_time
async def test_health_is_waited_for_without_looking_again_and_again() -> None:
    async with syncing({"apps/web.yaml": WEB}, wait=True) as world:
        await asyncio.sleep(15)

        live = await world.kustomization("apps")
        revision = live["status"]["lastAttemptedRevision"]
        message = f"Running health checks for revision {revision} with a timeout of 9m30s"
        assert condition(live, "Ready") == ("Unknown", "Progressing", "Reconciliation in progress")
        assert condition(live, "Healthy") == ("Unknown", "Progressing", message)
        assert condition(live, "Reconciling") == ("True", "Progressing", message)
        before = len(world.cluster.requests)
        await asyncio.sleep(40)
        assert not world.cluster.since(before, "apply", "get", "patch")

        await _tell_status_of_web(world, ROLLED_OUT)
        await asyncio.sleep(5)

        live = await world.kustomization("apps")
        assert condition(live, "Ready")[:2] == ("True", "ReconciliationSucceeded")
        assert condition(live, "Healthy")[:2] == ("True", "Succeeded")
        assert condition(live, "Healthy")[2].startswith("Health check passed in 1m")
        assert not world.cluster.since(before, "apply")


@in_virtual_time
async def test_health_that_does_not_come_is_a_failure_when_the_time_is_up() -> None:
    async with syncing({"apps/web.yaml": WEB}, wait=True, timeout="10s") as world:
        await asyncio.sleep(35)

        live = await world.kustomization("apps")
        waited = "timeout waiting for: [Deployment/default/web status: 'InProgress']"
        assert condition(live, "Healthy") == ("False", "HealthCheckFailed", waited)
        status, reason, message = condition(live, "Ready")
        assert (status, reason) == ("False", "HealthCheckFailed")
        assert message.startswith("health check failed after 3")
        assert message.endswith(waited)
        assert inventory(live) == ["default_web_apps_Deployment"]
        assert live["status"]["history"][0]["lastReconciledStatus"] == "HealthCheckFailed"
        assert "lastAppliedRevision" not in live["status"]


@in_virtual_time
async def test_a_failure_of_health_says_what_keeps_the_pods() -> None:
    async with syncing({"apps/web.yaml": WEB}, wait=True, timeout="10s") as world:
        labels = (await world.live(DEPLOYMENT, "web"))["spec"]["selector"]["matchLabels"]
        for name, mark in (("web-7d9f", labels), ("other", {"app": "other"})):
            spec = {"containers": [{"name": "main", "image": "web:1"}]}
            metadata = {"name": name, "namespace": "default", "labels": mark}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
            await world.local.create(pod, field_manager="test")
            state = {"waiting": {"reason": f"ImagePullBackOff-{name}", "message": "manifest unknown"}}
            status = {"containerStatuses": [{"name": "main", "ready": False, "state": state}]}
            ref = ObjectRef(Kind("", "v1", "Pod"), ObjectKey("default", name))
            await world.local.patch(ref, {"status": status}, field_manager="test", subresource="status")
        await asyncio.sleep(35)

        _, reason, message = condition(await world.kustomization("apps"), "Ready")

    assert reason == "HealthCheckFailed"
    assert (
        "[Deployment/default/web status: 'InProgress': container main of Pod web-7d9f: ImagePullBackOff-web-7d9f for "
        in message
    )
    assert message.endswith(": manifest unknown]")


@in_virtual_time
async def test_an_object_that_failed_for_good_is_not_waited_for() -> None:
    check = {"kind": "Deployment", "name": "web", "namespace": "default"}
    async with syncing({"apps/web.yaml": WEB}, healthChecks=[check]) as world:
        stuck = {"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}
        await _tell_status_of_web(world, stuck)
        await asyncio.sleep(5)

        _, reason, message = condition(await world.kustomization("apps"), "Ready")
        assert reason == "HealthCheckFailed"
        assert message.endswith("failed early due to stalled resources: [Deployment/default/web status: 'Failed']")


@in_virtual_time
async def test_a_dependency_comes_first_and_its_readiness_wakes() -> None:
    world = World()
    await world.begin({"base/web.yaml": WEB, "apps/one.yaml": config_map("one")})
    await world.sync("base", "./base", wait=True)
    await world.sync("apps", "./apps", dependsOn=[{"name": "base"}], interval="1h")
    async with world.running():
        await asyncio.sleep(20)

        live = await world.kustomization("apps")
        expected = ("False", "DependencyNotReady", "dependency 'default/base' is not ready")
        assert condition(live, "Ready") == expected
        assert condition(live, "Reconciling") == ("", "", "")
        assert await world.live(CONFIG_MAP, "one") is None

        await _tell_status_of_web(world, ROLLED_OUT)
        await asyncio.sleep(5)

        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert await world.live(CONFIG_MAP, "one") is not None


@in_virtual_time
async def test_dependencies_in_a_circle_are_named_until_one_of_them_is_mended() -> None:
    world = World()
    await world.begin(APP)
    for name, needed in (("a", "b"), ("b", "c"), ("c", "a")):
        await world.sync(name, "./apps", namePrefix=f"{name}-", interval="1h", dependsOn=[{"name": needed}])
    async with world.running():
        await asyncio.sleep(20)

        for name, circle in (("a", "a -> b -> c -> a"), ("b", "b -> c -> a -> b"), ("c", "c -> a -> b -> c")):
            live = await world.kustomization(name)
            status, reason, message = condition(live, "Ready")
            assert (status, reason) == ("False", "DependencyCycle")
            assert message.endswith(circle)
            assert condition(live, "Stalled")[0] == "True"

        await world.sync("c", "./apps", namePrefix="c-", interval="1h", dependsOn=[])
        await asyncio.sleep(20)

        states = {name: condition(await world.kustomization(name), "Ready")[0] for name in "abc"}
        assert states == dict.fromkeys("abc", "True")


@in_virtual_time
async def test_a_dependent_of_an_edited_kustomization_waits_until_that_was_applied() -> None:
    world = World()
    await world.begin({"base/web.yaml": WEB, "apps/one.yaml": config_map("one"), "ok/ok.yaml": config_map("ok")})
    await world.sync("base", "./ok", interval="1h")
    await world.sync("apps", "./apps", dependsOn=[{"name": "base"}], interval="1h")
    async with world.running():
        await asyncio.sleep(20)
        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"

        await world.sync("base", "./base", interval="1h", wait=True)
        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(20)

        expected = ("False", "DependencyNotReady", "dependency 'default/base' is not ready")
        assert condition(await world.kustomization("apps"), "Ready") == expected


def _job(spec: str) -> str:
    template = "{spec: {restartPolicy: Never, containers: [{name: j, image: j}]}}"
    return f"apiVersion: batch/v1\nkind: Job\nmetadata: {{name: j}}\nspec: {{{spec}template: {template}}}\n"


def _absent_job(spec: str) -> str:
    """The Ready status after a Job that was waited for is gone."""

    async def main() -> str:
        world = World()
        await world.begin({"apps/job.yaml": _job(spec)})
        await world.sync("apps", "./apps", wait=True, interval="1h")
        async with world.running():
            await asyncio.sleep(10)
            assert condition(await world.kustomization("apps"), "Ready")[0] == "Unknown"
            await world.delete(Kind("batch", "v1", "Job"), "j")
            await asyncio.sleep(20)
            return condition(await world.kustomization("apps"), "Ready")[0]

    return virtually(main())


def test_a_job_that_its_time_to_live_removed_is_done() -> None:
    assert _absent_job("ttlSecondsAfterFinished: 10, ") == "True"
    assert _absent_job("") == "Unknown"


@in_virtual_time
async def test_a_suspended_one_is_left_alone_and_deleted_without_pruning() -> None:
    async with syncing(APP) as world:
        await world.sync("apps", "./apps", suspend=True)
        await world.commit({"apps/one.yaml": config_map("one", "2")})
        await asyncio.sleep(120)

        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"a": "1"}
        await world.delete(Kustomization.KIND, "apps")
        await asyncio.sleep(5)
        assert await world.kustomization("apps") is None
        assert await world.live(CONFIG_MAP, "one") is not None


def _deletion(policy: str, prune: bool) -> bool:
    """Whether the objects are still there after their Kustomization was deleted."""

    async def main() -> bool:
        world = World()
        await world.begin(APP)
        await world.sync("apps", "./apps", prune=prune, deletionPolicy=policy)
        async with world.running():
            await asyncio.sleep(5)
            await world.delete(Kustomization.KIND, "apps")
            await asyncio.sleep(10)
            assert await world.kustomization("apps") is None
            return await world.live(CONFIG_MAP, "one") is not None

    return virtually(main())


def test_deletion_policies() -> None:
    assert not _deletion("MirrorPrune", prune=True)
    assert _deletion("MirrorPrune", prune=False)
    assert not _deletion("Delete", prune=False)
    assert not _deletion("WaitForTermination", prune=False)
    assert _deletion("Orphan", prune=True)


@in_virtual_time
async def test_fields_that_would_change_the_meaning_stop_everything() -> None:
    async with syncing(APP, sourceRef={"kind": "ExternalArtifact", "name": "r"}) as world:
        live = await world.kustomization("apps")
        assert condition(live, "Stalled")[:2] == ("True", "FieldsNotSupported")
        assert condition(live, "Unsupported")[0] == "True"
        assert await world.live(CONFIG_MAP, "one") is None


@in_virtual_time
async def test_a_component_may_lie_beside_the_folder() -> None:
    """Paths in spec.components begin at spec.path."""
    component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -seen\n"
    files = {"apps/one.yaml": config_map("one"), "shared/kustomization.yaml": component}
    async with syncing(files, components=["../shared"]) as world:
        assert await world.live(CONFIG_MAP, "one-seen") is not None


@in_virtual_time
async def test_an_overlay_prefixes_labels_and_places_everything() -> None:
    world = World()
    base = "resources: [web.yaml]\n"
    top = "resources: [../base]\n"
    await world.begin({"base/kustomization.yaml": base, "base/web.yaml": WEB, "prod/kustomization.yaml": top})
    await world.local.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}, field_manager="test"
    )
    common = {"labels": {"team": "a"}, "annotations": {"note": "b"}}
    images = [{"name": "registry.example.com/web", "newTag": "2"}]
    await world.sync("prod", "./prod", targetNamespace="shop", namePrefix="p-", commonMetadata=common, images=images)
    async with world.running():
        await asyncio.sleep(5)

        live = await world.live(DEPLOYMENT, "p-web", "shop")
        assert live["metadata"]["labels"]["team"] == "a"
        assert live["metadata"]["annotations"]["note"] == "b"
        assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example.com/web:2"


@in_virtual_time
async def test_a_commit_elsewhere_changes_nothing_but_the_revision() -> None:
    """What a Kustomization does not read is not rendered again: the tree of its folder is the same."""

    async with syncing(APP) as world:
        commit = await world.commit({"README.md": "hello"})
        before = len(world.cluster.requests)
        await asyncio.sleep(90)

        live = await world.kustomization("apps")
        assert live["status"]["lastAppliedRevision"] == f"main@sha1:{commit}"
        assert not [r for r in world.cluster.since(before, "apply") if r[2]]  # no dry-run: the rendering is known


@in_virtual_time
async def test_a_process_that_begins_anew_finds_everything_as_it_is() -> None:
    async with syncing(APP) as world:
        versions = await _versions(world, "one", "two")

    await world.commit({"apps/two.yaml": None})
    async with world.running():
        await asyncio.sleep(90)

    assert await _versions(world, "one") == versions[:1]
    assert await world.live(CONFIG_MAP, "two") is None


async def _versions(world: World, *names: str) -> list[str]:
    return [(await world.live(CONFIG_MAP, name))["metadata"]["resourceVersion"] for name in names]


@in_virtual_time
async def test_links_that_stay_inside_the_repository_are_followed_and_others_named() -> None:
    world = World()
    built, evil = "resources: [one.yaml]\nnameSuffix: -built\n", "resources: [out.yaml]\n"
    await world.begin({f"{name}/{name}.yaml": config_map(name) for name in ("one", "two", "three")})
    await world.commit({"built/kustomization.yaml": built, "evil/kustomization.yaml": evil})
    links = {"plain/x.yaml": "../two/two.yaml", "built/one.yaml": "../one/one.yaml", "current": "three"}
    out = {"evil/out.yaml": "../../etc/passwd"}
    texts = {path: target.encode() for path, target in {**links, **out}.items()}
    await world.repository.commit(texts, modes=dict.fromkeys(texts, "120000"))
    for folder in ("plain", "built", "current", "evil"):
        await world.sync(folder, f"./{folder}")
    async with world.running():
        await asyncio.sleep(15)

        for folder, name in (("plain", "two"), ("built", "one-built"), ("current", "three")):
            live = await world.kustomization(folder)
            assert inventory(live) == [f"default_{name}__ConfigMap"], condition(live, "Ready")
        _, reason, message = condition(await world.kustomization("evil"), "Ready")
        assert reason == "BuildFailed"
        assert "evil/out.yaml is a symbolic link to ../../etc/passwd" in message
