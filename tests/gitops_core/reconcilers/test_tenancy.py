"""What an operator keeps Kustomizations and Receivers from (--no-cross-namespace-refs)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gitops_core.api import Kustomization, Receiver
from gitops_core.errors import Forbidden
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import Query
from gitops_core.reconcilers import KustomizationReconciler
from gitops_core.runtime.authority.bounded import OutsideNamespace
from gitops_core.runtime.authority.forwarding import Request
from gitops_core.runtime.policy import Policy
from gitops_core.runtime.sharing.computing import on_account_of
from tests.gitops_core.reconcilers.world import CONFIG_MAP, Counted, World, condition, config_map
from tests.simulation.loop import in_virtual_time

KEY = ObjectKey("other", "gold")
WHY = "--no-cross-namespace-refs keeps objects from naming those of other namespaces"


async def _put(world: World, kind: type[Any], name: str, namespace: str, **spec: Any) -> None:
    metadata = {"name": name, "namespace": namespace}
    manifest = {"apiVersion": kind.KIND.api_version, "kind": kind.KIND.kind, "metadata": metadata, "spec": spec}
    await world.local.apply(manifest, field_manager="test", force=True)


@in_virtual_time
async def test_a_kustomization_of_another_namespace_than_its_source_is_refused_where_the_operator_says_so() -> None:
    world = World(Policy(cross_namespace_references=False))
    await world.begin({"apps/a.yaml": config_map("a")})
    await world.local.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}, field_manager="t"
    )
    source = {"kind": "GitRepository", "name": "r", "namespace": "default"}
    common = {"interval": "10m", "prune": True, "path": "./apps", "targetNamespace": "default", "sourceRef": source}
    await _put(world, Kustomization, "theirs", "other", **common)
    await _put(world, Kustomization, "ours", "default", **common)

    async with world.running():
        await asyncio.sleep(5)
        theirs, ours = await world.live(Kustomization.KIND, "theirs", "other"), await world.kustomization("ours")

    message = f"Kustomization/other/theirs may not name GitRepository/default/r: {WHY}"
    assert condition(theirs, "Ready") == ("False", "AccessDenied", message)
    assert condition(theirs, "Stalled")[0] == "True"
    assert condition(ours, "Ready")[0] == "True"


@pytest.mark.parametrize("expression", ["", "dep.spec.postBuild.substitute['password'].startsWith('h')"])
@in_virtual_time
async def test_only_whether_a_dependency_of_another_namespace_is_ready_is_told(expression: str) -> None:
    world = World(Policy(cross_namespace_references=False))
    await world.begin({"apps/a.yaml": config_map("a")})
    await world.local.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}, field_manager="t"
    )
    common = {"interval": "10m", "prune": True, "path": "./apps", "sourceRef": {"kind": "GitRepository", "name": "r"}}
    secret = {"substitute": {"password": "hunter2"}}
    await _put(world, Kustomization, "theirs", "other", **common, postBuild=secret)
    depends = [{"name": "theirs", "namespace": "other", **({"readyExpr": expression} if expression else {})}]
    await _put(world, Kustomization, "ours", "default", **common, dependsOn=depends)

    async with world.running():
        await asyncio.sleep(5)
        status, reason, message = condition(await world.kustomization("ours"), "Ready")

    if expression:
        told = f"Kustomization/default/ours may not name Kustomization/other/theirs: {WHY}"
        assert (status, reason, message) == ("False", "AccessDenied", told)
    else:
        assert (status, reason, message) == ("False", "DependencyNotReady", "dependency 'other/theirs' is not ready")


@in_virtual_time
async def test_a_receiver_that_would_wake_another_namespace_is_refused_where_the_operator_says_so() -> None:
    world = World(Policy(cross_namespace_references=False))
    await world.begin({"apps/a.yaml": config_map("a")})
    resources = [{"kind": "GitRepository", "name": "r", "namespace": "other"}]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "default"}}
    await world.local.create({**secret, "stringData": {"token": "t"}}, field_manager="test")
    spec = {"type": "generic", "secretRef": {"name": "token"}, "resources": resources}
    await _put(world, Receiver, "hook", "default", **spec)

    async with world.running():
        await asyncio.sleep(5)
        live = await world.local.get(ObjectRef(Receiver.KIND, ObjectKey("default", "hook")))

    message = f"Receiver/default/hook may not name GitRepository/other/r: {WHY}"
    assert condition(live, "Ready") == ("False", "AccessDenied", message)
    assert (live or {})["status"].get("webhookPath", "") == ""


@pytest.mark.parametrize("operator", [Policy(), Policy(cross_namespace_references=False)], ids=["allowed", "forbidden"])
@in_virtual_time
async def test_reconcilers_are_given_a_cluster_that_reaches_no_secrets_of_other_namespaces(operator: Policy) -> None:
    """Whatever one of them may take for a reference: nothing is to be right in twenty places."""
    world = World(operator)
    await world.begin({"apps/a.yaml": config_map("a")})
    await world.local.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}, field_manager="t"
    )
    for kind in ("Secret", "ConfigMap", "ServiceAccount"):
        metadata = {"name": "gold", "namespace": "other"}
        await world.local.create({"apiVersion": "v1", "kind": kind, "metadata": metadata}, field_manager="t")
    refused = []

    async with world.running():
        await asyncio.sleep(5)
        reconcilers = [each.reconciler for each in world.controllers]
        (found,) = (each for each in reconcilers if isinstance(each, KustomizationReconciler))
        for kind in ("Secret", "ConfigMap", "ServiceAccount"):
            with on_account_of(ObjectRef(Kustomization.KIND, ObjectKey("default", "apps"))):
                try:
                    assert await found.platform.cluster.get(ObjectRef(Kind("", "v1", kind), KEY)) is not None
                except OutsideNamespace:
                    refused.append(kind)

    assert refused == ([] if operator.cross_namespace_references else ["Secret", "ConfigMap", "ServiceAccount"])


ODD = ["../x", ".", "a%2fb", "a:b", "system:admin", "A", "deployer ", " deployer", "deployer\n", "x" * 10_000]


@pytest.mark.parametrize("name", ODD, ids=[repr(name[:20]) for name in ODD])
@in_virtual_time
async def test_what_no_service_account_is_called_is_refused_before_anybody_is_asked_as_it(name: str) -> None:
    world = World()
    await world.begin({"apps/a.yaml": config_map("a")})
    await world.sync("apps", "./apps", serviceAccountName=name)

    async with world.running():
        await asyncio.sleep(5)
        live = await world.kustomization("apps")
        asked = [request for request in world.cluster.requests if request[1] == "ConfigMap/a"]

    status, reason, message = condition(live, "Ready")
    assert (status, reason, condition(live, "Stalled")[0]) == ("False", "InvalidServiceAccount", "True")
    assert message.startswith(f"spec.serviceAccountName is {name[:40]!r}"[:40])
    assert message.endswith(", as which no ServiceAccount can be called")
    assert len(message) < 400
    assert asked == []


ELSEWHERE = {"kubeConfig": {"secretRef": {"name": "elsewhere"}}}


@pytest.mark.parametrize("spec", [{}, ELSEWHERE], ids=["our own cluster", "a kubeconfig"])
@pytest.mark.parametrize("name", ["../x", "a%2fb", "A"])
@in_virtual_time
async def test_a_kustomization_whose_account_cannot_be_is_deleted_and_leaves_what_it_says_it_made(
    name: str, spec: dict[str, Any]
) -> None:
    world = World()
    await world.begin({"apps/a.yaml": config_map("a")})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "elsewhere", "namespace": "default"}}
    await world.local.create({**secret, "stringData": {"value": "{}"}}, field_manager="test")
    await world.sync("apps", "./apps", serviceAccountName=name, **spec)

    async with world.running():
        await asyncio.sleep(5)
        ref = ObjectRef(Kustomization.KIND, ObjectKey("default", "apps"))
        forged = {"status": {"inventory": {"entries": [{"id": "default_a__ConfigMap", "v": "v1"}]}}}
        await world.local.patch(ref, forged, field_manager="tenant", subresource="status")
        await world.delete(Kustomization.KIND, "apps")
        await asyncio.sleep(60)
        left, told = await world.kustomization("apps"), await world.events("apps")

    assert left is None
    assert [(type_, reason) for type_, reason, text in told if "are left" in text] == [("Warning", "PruneFailed")]


@pytest.mark.parametrize("account", [{}, {"serviceAccountName": "gone"}], ids=["no account", "an account that is gone"])
@pytest.mark.parametrize(
    "odd",
    ["nonsense", "default_../x__ConfigMap", "default_..__ConfigMap", "a/b_x__ConfigMap", "default_x__", "x" * 9000],
)
@in_virtual_time
async def test_what_is_no_id_in_an_inventory_keeps_no_deletion_waiting(odd: str, account: dict[str, Any]) -> None:
    world = World()
    await world.begin({"apps/a.yaml": config_map("a")})
    await world.sync("apps", "./apps", **account)
    async with world.running():
        await asyncio.sleep(5)
        ref = ObjectRef(Kustomization.KIND, ObjectKey("default", "apps"))
        entries = [{"id": odd, "v": "v1"}, {"id": "default_a__ConfigMap", "v": "v1"}]
        forged = {"status": {"inventory": {"entries": entries}}}
        await world.local.patch(ref, forged, field_manager="tenant", subresource="status")
        await world.delete(Kustomization.KIND, "apps")
        await asyncio.sleep(60)
        left, told = await world.kustomization("apps"), await world.events("apps")

    assert left is None
    assert (await world.live(CONFIG_MAP, "a") is None) == (not account)
    (about,) = [text for type_, reason, text in told if (type_, reason) == ("Warning", "PruneFailed") and "id" in text]
    assert about.startswith(f"an entry of the inventory is left: not an inventory id: '{odd[:100]}")
    assert len(about) < 400


@pytest.mark.parametrize("is_there", [False, True])
@in_virtual_time
async def test_a_deletion_reads_its_kubeconfig_once(is_there: bool) -> None:
    world = World()
    await world.begin({"apps/a.yaml": config_map("a")})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "elsewhere", "namespace": "default"}}
    if is_there:
        await world.local.create({**secret, "stringData": {"value": "{}"}}, field_manager="test")
    await world.sync("apps", "./apps", retryInterval="1h", **ELSEWHERE)

    async with world.running():
        await asyncio.sleep(5)
        ref = ObjectRef(Kustomization.KIND, ObjectKey("default", "apps"))
        forged = {"status": {"inventory": {"entries": [{"id": "default_a__ConfigMap", "v": "v1"}]}}}
        await world.local.patch(ref, forged, field_manager="tenant", subresource="status")
        begin = len(world.cluster.requests)
        await world.delete(Kustomization.KIND, "apps")
        await asyncio.sleep(5)
        asked = [name for _, name, _ in world.cluster.since(begin, "get")]
        left, told = await world.kustomization("apps"), await world.events("apps")

    assert asked.count("Secret/elsewhere") == 1
    assert (left is None) == (not is_there)
    why = "the kubeconfig in Secret/default/elsewhere (value or value.yaml) is not there"
    left_behind = [text for _, _, text in told if "are left" in text]
    assert left_behind == [f"the objects of the inventory are left: {why}"] * (not is_there)


@pytest.mark.parametrize("described", [None, {"serviceAccountName": "gone"}, {"serviceAccountName": ""}])
@in_virtual_time
async def test_no_deletion_waits_for_a_cluster_that_nothing_describes_any_more(
    described: dict[str, str] | None,
) -> None:
    """What can be mended (a ConfigMap without an account) is waited for."""
    world = World()
    await world.begin({"apps/a.yaml": config_map("a")})
    if described is not None:
        data = {"provider": "generic", "address": "https://far.example", **described}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "far", "namespace": "default"}}
        await world.local.create({**manifest, "data": data}, field_manager="test")
    await world.sync("apps", "./apps", retryInterval="1h", kubeConfig={"configMapRef": {"name": "far"}})

    async with world.running():
        await asyncio.sleep(5)
        ref = ObjectRef(Kustomization.KIND, ObjectKey("default", "apps"))
        forged = {"status": {"inventory": {"entries": [{"id": "default_a__ConfigMap", "v": "v1"}]}}}
        await world.local.patch(ref, forged, field_manager="tenant", subresource="status")
        await world.delete(Kustomization.KIND, "apps")
        await asyncio.sleep(5)
        left, told = await world.kustomization("apps"), await world.events("apps")

    is_lost = described is None or described["serviceAccountName"] == "gone"
    why = "it is not there" if described is None else "ServiceAccount/default/gone not found"
    about = f"the cluster that ConfigMap/default/far describes cannot be used: {why}"
    assert (left is None) == is_lost
    left_behind = [text for _, _, text in told if "are left" in text]
    assert left_behind == [f"the objects of the inventory are left: {about}"] * is_lost


JOB = Kind("batch", "v1", "Job")
ONCE = """
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: once, image: "once:1"}]}
"""


class Narrow(Counted):
    """The cluster to who may not list Jobs, as the service without the rights of what it applies."""

    async def carry(self, request: Request, send: Callable[[], Awaitable[Any]]) -> Any:
        if request.method == "list" and isinstance(request.about, Query) and request.about.kind == JOB:
            raise Forbidden("jobs.batch is forbidden")
        return await super().carry(request, send)


@in_virtual_time
async def test_a_rollout_that_the_service_may_not_watch_is_seen_to_end_within_seconds() -> None:
    world = World()
    world.cluster = Narrow(world.local)
    await world.begin({"apps/once.yaml": ONCE})
    await world.sync("apps", "./apps", interval="1h", timeout="10m", wait=True, serviceAccountName="deployer")

    async with world.running():
        await asyncio.sleep(60)
        waiting = condition(await world.kustomization("apps"), "Ready")
        done = {"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1}
        ref = ObjectRef(JOB, ObjectKey("default", "once"))
        await world.local.patch(ref, {"status": done}, field_manager="somebody", subresource="status")
        await asyncio.sleep(10)
        ready = condition(await world.kustomization("apps"), "Ready")

    assert waiting[0] == "Unknown"
    assert ready[0] == "True"
