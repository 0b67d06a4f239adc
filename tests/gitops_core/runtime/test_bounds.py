"""Handles that refuse: another namespace's objects, and writes of a process that does not lead."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from gitops_core.errors import NotLeader
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import Cluster, Commit, Query, Signature
from gitops_core.runtime.authority.bounded import AccountBound, NamespaceBound, OutsideNamespace
from gitops_core.runtime.authority.fencing import FencedCluster, FencedGit, FencedRemote
from gitops_core.runtime.sharing.computing import on_account_of
from tests.gitops_core.runtime.world import NoGit, World
from tests.simulation.loop import in_virtual_time

SECRET = Kind("", "v1", "Secret")
REQUESTS: dict[str, Callable[[Cluster, str], Awaitable[Any]]] = {
    "get": lambda c, ns: c.get(_ref(ns)),
    "list": lambda c, ns: c.list(Query(SECRET, namespace=ns), dict),
    "watch": lambda c, ns: anext(c.watch(Query(SECRET, namespace=ns), dict, "0")),
    "create": lambda c, ns: c.create(_secret(ns), field_manager="m"),
    "replace": lambda c, ns: c.replace(_secret(ns), field_manager="m"),
    "apply": lambda c, ns: c.apply(_secret(ns), field_manager="m"),
    "patch": lambda c, ns: c.patch(_ref(ns), {"data": {}}, field_manager="m"),
    "delete": lambda c, ns: c.delete(_ref(ns)),
    "request_token": lambda c, ns: c.request_token(ObjectKey(ns, "s")),
}
WRITES = ("create", "replace", "apply", "patch", "delete")


def _ref(namespace: str) -> ObjectRef:
    return ObjectRef(SECRET, ObjectKey(namespace, "s"))


def _secret(namespace: str) -> dict[str, Any]:
    metadata = {"name": "s"} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}


class Closed:
    def check(self) -> None:
        raise NotLeader("no longer")


def test_every_method_of_the_port_is_tried_here() -> None:
    methods = {n for n, _ in inspect.getmembers(Cluster, inspect.isfunction) if not n.startswith("_")}

    assert methods - {"find_api_resource", "list_api_resources", "impersonate", "connect_apart"} == set(REQUESTS)


@pytest.mark.parametrize("method", REQUESTS)
@pytest.mark.parametrize("namespace", ["other", ""])
@in_virtual_time
async def test_a_bound_handle_reaches_no_other_namespace(method: str, namespace: str) -> None:
    world = World()
    bound = NamespaceBound(world.local, "shop")
    for handle in (bound, bound.impersonate("system:serviceaccount:other:x"), bound.connect_apart()):
        with pytest.raises(OutsideNamespace, match="namespace 'shop'"):
            await REQUESTS[method](handle, namespace)


@in_virtual_time
async def test_a_bound_handle_works_in_its_namespace() -> None:
    world = World()
    await world.install()
    bound = NamespaceBound(world.local, "shop")

    await bound.apply(_secret("shop"), field_manager="m")

    assert await bound.get(_ref("shop")) is not None
    assert len((await bound.list(Query(SECRET, namespace="shop"), dict)).items) == 1


OBJECT = ObjectRef(Kind("source.toolkit.fluxcd.io", "v1", "GitRepository"), ObjectKey("shop", "app"))


@pytest.mark.parametrize("method", REQUESTS)
@pytest.mark.parametrize("namespace", ["other", ""])
@in_virtual_time
async def test_on_account_of_an_object_no_secret_of_another_namespace_is_reached(method: str, namespace: str) -> None:
    world = World()
    bound = AccountBound(world.local)
    for handle in (bound, bound.impersonate("system:serviceaccount:other:x"), bound.connect_apart()):
        with on_account_of(OBJECT), pytest.raises(OutsideNamespace, match="outside namespace 'shop'"):
            await REQUESTS[method](handle, namespace)


@in_virtual_time
async def test_on_account_of_an_object_all_else_is_reached_and_on_nobodys_secrets_too() -> None:
    world = World()
    await world.install()
    bound = AccountBound(world.local)
    elsewhere = ObjectRef(Kind("apps", "v1", "Deployment"), ObjectKey("other", "web"))

    await bound.apply(_secret("shop"), field_manager="m")
    with on_account_of(OBJECT):
        assert await bound.get(_ref("shop")) is not None
        assert await bound.get(elsewhere) is None

    assert await bound.get(_ref("other")) is None


@pytest.mark.parametrize("method", WRITES)
@in_virtual_time
async def test_a_process_that_does_not_lead_writes_nothing(method: str) -> None:
    world = World()
    await world.install()
    fenced = FencedCluster(world.local, Closed())
    before = (await world.local.list(Query(SECRET), dict)).resource_version
    for handle in (fenced, fenced.impersonate("system:serviceaccount:shop:x"), fenced.connect_apart()):
        with pytest.raises(NotLeader):
            await REQUESTS[method](handle, "shop")

    assert (await world.local.list(Query(SECRET), dict)).resource_version == before


@in_virtual_time
async def test_a_process_that_does_not_lead_pushes_nothing() -> None:
    class Silent:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} reached the remote")

    who = Signature("a", "a@b", datetime(2026, 1, 1, tzinfo=UTC))
    remote = FencedRemote(Silent(), Closed())
    with pytest.raises(NotLeader):
        await remote.push(Commit("0" * 40, {}, "m", who, who), "main")
    with pytest.raises(NotImplementedError):
        FencedGit(NoGit(), Closed()).get_remote("https://example.dev/r.git")
