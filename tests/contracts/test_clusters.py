"""Clusters that users name: each target has the rights of who it was opened as, and no other's connections."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gitops_core.adapters.kubernetes import KubernetesCluster, KubernetesClusters
from gitops_core.errors import Forbidden, NotLeader, StalledError
from gitops_core.meta import Kind, ObjectKey, Sensitive
from gitops_core.ports import Cluster, Query
from gitops_core.runtime.authority.fencing import FencedClusters
from gitops_core.runtime.sharing.computing import IN_PLACE
from tests.contracts.conftest import named, new_namespace
from tests.contracts.test_cluster_watching import config_map
from tests.servers.controlplane import ControlPlane

CONFIG_MAP, SECRET = Kind("", "v1", "ConfigMap"), Kind("", "v1", "Secret")
SELF = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}


def _kubeconfig(url: str, user: dict[str, Any], **cluster: Any) -> Sensitive:
    config = {
        "current-context": "there",
        "clusters": [{"name": "there", "cluster": {"server": url, **cluster}}],
        "users": [{"name": "them", "user": user}],
        "contexts": [{"name": "there", "context": {"cluster": "there", "user": "them"}}],
    }
    return Sensitive(json.dumps(config))


def _with_token(plane: ControlPlane, token: str) -> Sensitive:
    ca = base64.b64encode(plane.ca.read_bytes()).decode()
    return _kubeconfig(plane.url, {"token": token}, **{"certificate-authority-data": ca})


async def _who(cluster: Cluster) -> tuple[str, list[str]]:
    info = (await cluster.create(SELF, field_manager="tests"))["status"]["userInfo"]
    return info["username"], sorted(info["groups"])


@pytest.fixture
def clusters(real_cluster: KubernetesCluster) -> KubernetesClusters:
    return KubernetesClusters(real_cluster, IN_PLACE, {})


async def test_our_own_cluster_is_opened_as_ourselves(
    clusters: KubernetesClusters, real_cluster: KubernetesCluster
) -> None:
    async with clusters.open(None, None) as target:
        assert target.id == ""
        assert (await _who(target.cluster))[0] == "admin"
    assert (await _who(real_cluster))[0] == "admin", "it is not ours to close"


async def test_a_service_account_may_do_what_rbac_lets_it(
    clusters: KubernetesClusters, control_plane: ControlPlane, real_cluster: KubernetesCluster
) -> None:
    mine, other = await new_namespace(real_cluster), await new_namespace(real_cluster)
    user = f"system:serviceaccount:{mine}:deployer"
    control_plane.grant(user, ["create", "get", "patch"], ["configmaps"], namespace=mine)

    async with clusters.open(None, ObjectKey(mine, "deployer")) as target:
        await target.cluster.apply(config_map(mine, "a", x="1"), field_manager="deployer")
        with pytest.raises(Forbidden, match=f'"{user}" cannot'):
            await target.cluster.apply(config_map(other, "a", x="1"), field_manager="deployer")
        with pytest.raises(Forbidden):
            await target.cluster.list(Query(SECRET, mine), dict)
        name, groups = await _who(target.cluster)

    assert await real_cluster.get(named(CONFIG_MAP, mine, "a")) is not None
    assert await real_cluster.get(named(CONFIG_MAP, other, "a")) is None
    assert name == user
    assert groups == ["system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{mine}"]


async def test_a_kubeconfig_has_its_own_rights_and_needs_one_to_be_somebody_else(
    clusters: KubernetesClusters, control_plane: ControlPlane
) -> None:
    namespace = control_plane.namespace("tenants")
    token = control_plane.service_account(namespace, "tenant")
    account = ObjectKey(namespace, "deployer")

    async with clusters.open(_with_token(control_plane, token), None) as target:
        tenant = await _who(target.cluster)
    async with clusters.open(_with_token(control_plane, token), account) as target:
        with pytest.raises(Forbidden, match="cannot impersonate"):
            await _who(target.cluster)
    async with clusters.open(_with_token(control_plane, control_plane.token), account) as target:
        deployer = await _who(target.cluster)

    assert tenant[0] == f"system:serviceaccount:{namespace}:tenant"
    assert deployer[0] == f"system:serviceaccount:{namespace}:deployer"


async def test_targets_that_see_different_things_have_different_ids(clusters: KubernetesClusters) -> None:
    one, two = (_kubeconfig("https://far.example", {"token": token}) for token in ("a", "b"))
    ids: list[str] = []
    for kubeconfig in (one, two):
        for account in (None, ObjectKey("shop", "a"), ObjectKey("shop", "b")):
            async with clusters.open(kubeconfig, account) as first, clusters.open(kubeconfig, account) as second:
                assert first.id == second.id
                ids.append(first.id)
    async with clusters.open(None, ObjectKey("shop", "a")) as target:
        ids.append(target.id)

    assert len(set(ids)) == 7
    assert ids[-1] == "", "our own is watched as ourselves, whoever writes"


@pytest.mark.parametrize("user", [{"exec": {"command": "sh"}}, {"tokenFile": "/etc/hostname"}])
async def test_a_kubeconfig_that_cannot_be_used_waits_for_an_edit_and_is_named(
    clusters: KubernetesClusters, user: dict[str, Any]
) -> None:
    kubeconfig = _kubeconfig("https://far.example", user)

    with pytest.raises(StalledError, match=r"^Secret/shop/far cannot be used: kubeconfig entry 'them' \w+ a") as caught:
        async with clusters.open(kubeconfig, None, about="Secret/shop/far"):
            raise AssertionError("it was opened")

    assert caught.value.reason == "KubeconfigInvalid"


async def test_nobody_can_be_called_by_two_lines(clusters: KubernetesClusters) -> None:
    with pytest.raises(StalledError, match="nobody can be called"):
        async with clusters.open(None, ObjectKey("shop", "a\r\nImpersonate-Group: system:masters")):
            raise AssertionError("it was opened")


async def _closed(connections: set[Any]) -> None:
    while True:
        if all(connection.is_closing() for connection in connections):
            return
        await asyncio.sleep(0.01)


@asynccontextmanager
async def _counting() -> AsyncIterator[tuple[str, dict[str, set[Any]], set[Any]]]:
    """A server: its URL, the connections by the token that came over them, and those that are open."""
    seen: dict[str, set[Any]] = {}
    living: set[Any] = set()

    async def answer(request: web.Request) -> web.Response:
        seen.setdefault(request.headers["Authorization"], set()).add(request.transport)
        living.add(request.transport)
        if request.path == "/api/v1":
            kinds = [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True, "verbs": ["get"]}]
            return web.json_response({"kind": "APIResourceList", "groupVersion": "v1", "resources": kinds})
        return web.json_response({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}})

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", answer)
    async with TestServer(application) as server:
        yield str(server.make_url("")).rstrip("/"), seen, living


async def test_who_has_another_kubeconfig_has_other_connections_and_the_last_user_ends_them() -> None:
    async with _counting() as (url, seen, living):
        own = KubernetesCluster.connect(url, ca=None, token=Sensitive("own"))
        clusters = KubernetesClusters(own, IN_PLACE, {})
        one, two = (_kubeconfig(url, {"token": token}) for token in ("one", "two"))
        ref = named(CONFIG_MAP, "shop", "a")
        async with clusters.open(one, None) as a:
            async with clusters.open(two, None) as b, clusters.open(one, ObjectKey("shop", "x")) as again:
                for target in (a, b, again):
                    await target.cluster.get(ref)
            assert not any(connection.is_closing() for connection in seen["Bearer one"])
            await a.cluster.get(ref)
        await own.get(ref)
        async with asyncio.timeout(60):
            await _closed(seen["Bearer one"] | seen["Bearer two"])
        await own.close()

    assert {token: len(connections) for token, connections in seen.items()} == {
        "Bearer own": 1,
        "Bearer one": 1,
        "Bearer two": 1,
    }
    assert len(living) == 3, "no connection carried two tokens"


class _Leaving:
    """A fence that is open until it is not."""

    leads = True

    def check(self) -> None:
        if not self.leads:
            raise NotLeader("no longer")


async def test_who_does_not_lead_reads_other_clusters_and_writes_to_none(
    clusters: KubernetesClusters, control_plane: ControlPlane, real_cluster: KubernetesCluster
) -> None:
    namespace, fence = await new_namespace(real_cluster), _Leaving()
    fenced = FencedClusters(clusters, fence)
    kubeconfig = _with_token(control_plane, control_plane.token)

    async with fenced.open(kubeconfig, None) as there, fenced.open(None, ObjectKey(namespace, "x")) as here:
        await there.cluster.apply(config_map(namespace, "before"), field_manager="tests")
        fence.leads = False
        found = await there.cluster.get(named(CONFIG_MAP, namespace, "before"))
        for target in (there, here):
            for cluster in (target.cluster, target.cluster.connect_apart(), target.cluster.impersonate("admin")):
                with pytest.raises(NotLeader):
                    await cluster.apply(config_map(namespace, "after"), field_manager="tests")

    assert found is not None
    assert await real_cluster.get(named(CONFIG_MAP, namespace, "after")) is None
