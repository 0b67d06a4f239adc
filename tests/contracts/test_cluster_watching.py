"""What every Cluster does with many objects: lists, pages, selectors, watches. On both adapters."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gitops_core.errors import BadRequest, ClusterError, Expired
from gitops_core.meta import Kind, ObjectMeta, Wire
from gitops_core.ports import Cluster, PartialObject, Query, Unreadable, WatchEvent
from tests.contracts.conftest import named, watching
from tests.contracts.things import THING, WIDE

CONFIG_MAP = Kind("", "v1", "ConfigMap")


class Spec(Wire):
    text: str = ""
    count: int = 0


class Thing(Wire):
    """A Thing, as long as its spec.size is a number."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Spec = Spec()


class SizedSpec(Wire):
    size: int = 0


class SizedThing(Wire):
    metadata: ObjectMeta = ObjectMeta()
    spec: SizedSpec = SizedSpec()


def config_map(namespace: str, name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def thing(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": THING.api_version, "kind": THING.kind, "metadata": metadata, "spec": spec}


def is_known(manifest: dict[str, Any]) -> bool:
    """Not what a controller of the real cluster puts into every namespace."""
    return bool(manifest["metadata"]["name"] != "kube-root-ca.crt")


async def names(cluster: Cluster, query: Query) -> list[str]:
    page = await cluster.list(query, dict)
    found = [item["metadata"]["name"] for item in page.items if not isinstance(item, Unreadable)]
    return [name for name in found if name != "kube-root-ca.crt"]


async def take(events: Any, count: int) -> list[tuple[str, str]]:
    """The next events that are about an object: (type, name)."""
    seen: list[tuple[str, str]] = []
    async for event in events:
        if event.object is not None and is_known(event.object):
            seen.append((event.type, event.object["metadata"]["name"]))
            if len(seen) == count:
                break
    return seen


async def next_events(events: Any, count: int) -> list[WatchEvent[Any]]:
    """The next events that are about an object."""
    seen: list[WatchEvent[Any]] = []
    async for event in events:
        if event.object is not None:
            seen.append(event)
            if len(seen) == count:
                break
    return seen


# list


async def test_a_list_is_in_order_and_whole_objects(cluster: Cluster, namespace: str) -> None:
    for name in ("b", "a", "c"):
        await cluster.create(config_map(namespace, name, x="1"), field_manager="ann")

    page = await cluster.list(Query(CONFIG_MAP, namespace), dict)

    found = [item for item in page.items if not isinstance(item, Unreadable) and is_known(item)]
    assert [item["metadata"]["name"] for item in found] == ["a", "b", "c"]
    assert all(item["kind"] == "ConfigMap" and item["apiVersion"] == "v1" for item in found)
    assert found[0] == await cluster.get(named(CONFIG_MAP, namespace, "a"))


async def test_pages_follow_each_other_and_miss_nothing(cluster: Cluster, namespace: str) -> None:
    for number in range(7):
        await cluster.create(config_map(namespace, f"n{number}", {"page": "yes"}), field_manager="ann")
    query = Query(CONFIG_MAP, namespace, labels="page=yes")

    seen, versions, token = [], set(), ""
    while True:
        page = await cluster.list(query, dict, limit=3, continue_token=token)
        seen.append([item["metadata"]["name"] for item in page.items if not isinstance(item, Unreadable)])
        versions.add(page.resource_version)
        token = page.continue_token
        if not token:
            break

    assert seen == [["n0", "n1", "n2"], ["n3", "n4", "n5"], ["n6"]]
    assert len(versions) == 1


async def test_a_full_last_page_is_the_last(cluster: Cluster, namespace: str) -> None:
    for number in range(2):
        await cluster.create(config_map(namespace, f"n{number}", {"page": "yes"}), field_manager="ann")

    page = await cluster.list(Query(CONFIG_MAP, namespace, labels="page=yes"), dict, limit=2)

    assert (len(page.items), page.continue_token) == (2, "")


async def test_nonsense_for_a_continue_token_is_refused(cluster: Cluster, namespace: str) -> None:
    with pytest.raises((BadRequest, Expired)):
        await cluster.list(Query(CONFIG_MAP, namespace), dict, continue_token="nonsense")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app", ["web", "worker"]),
        ("!app", ["bare"]),
        ("app=web", ["web"]),
        ("app==web", ["web"]),
        ("app!=web", ["bare", "worker"]),
        ("app in (web, worker)", ["web", "worker"]),
        ("app notin (web)", ["bare", "worker"]),
        ("app,tier=db", ["worker"]),
        ("tier in (db,),app", ["web", "worker"]),
        ("example.com/x=1", ["bare"]),
        ("tier=", ["web"]),
        ("app = web , tier", ["web"]),
    ],
)
async def test_label_selectors(cluster: Cluster, namespace: str, selector: str, expected: list[str]) -> None:
    await cluster.create(config_map(namespace, "web", {"app": "web", "tier": ""}), field_manager="ann")
    await cluster.create(config_map(namespace, "worker", {"app": "worker", "tier": "db"}), field_manager="ann")
    await cluster.create(config_map(namespace, "bare", {"example.com/x": "1"}), field_manager="ann")

    assert await names(cluster, Query(CONFIG_MAP, namespace, labels=selector)) == expected


@pytest.mark.parametrize("selector", ["app in web", "=x", "a=b=c", "app in (", ",", "a b", "!a=b"])
async def test_selectors_that_are_none(cluster: Cluster, namespace: str, selector: str) -> None:
    with pytest.raises(BadRequest):
        await cluster.list(Query(CONFIG_MAP, namespace, labels=selector), dict)


async def test_a_query_of_one_name_finds_that_object_alone(cluster: Cluster, namespace: str) -> None:
    for name in ("a", "b"):
        await cluster.create(config_map(namespace, name), field_manager="ann")

    assert await names(cluster, Query(CONFIG_MAP, namespace, name="b")) == ["b"]


async def test_all_namespaces_can_be_asked_for(cluster: Cluster, namespace: str) -> None:
    await cluster.create(config_map(namespace, "a", {"only": namespace}), field_manager="ann")

    assert await names(cluster, Query(CONFIG_MAP, labels=f"only={namespace}")) == ["a"]


async def test_metadata_alone_can_be_asked_for(cluster: Cluster, namespace: str) -> None:
    await cluster.create(config_map(namespace, "a", {"x": "y"}, big="1"), field_manager="ann")
    query = Query(CONFIG_MAP, namespace, name="a", metadata_only=True)

    (bare,) = (await cluster.list(query, dict)).items
    (partial,) = (await cluster.list(query, PartialObject)).items

    assert not isinstance(bare, Unreadable)
    assert not isinstance(partial, Unreadable)
    assert bare.keys() == {"apiVersion", "kind", "metadata"}
    assert (partial.kind, partial.metadata.name, partial.metadata.labels) == ("ConfigMap", "a", {"x": "y"})


async def test_an_unreadable_object_hides_no_other(things: Cluster, namespace: str) -> None:
    await things.create(thing(namespace, "good", size=1), field_manager="ann")
    bad = await things.create(thing(namespace, "bad", size="25%"), field_manager="ann")

    page = await things.list(Query(THING, namespace), SizedThing)

    first, second = page.items
    assert isinstance(first, Unreadable)
    assert first.ref == named(THING, namespace, "bad")
    assert first.resource_version == bad["metadata"]["resourceVersion"]
    assert isinstance(second, SizedThing)
    assert second.spec.size == 1


# watch


async def test_a_watch_tells_every_change_in_order(cluster: Cluster, namespace: str) -> None:
    version = (await cluster.list(Query(CONFIG_MAP, namespace), dict)).resource_version
    async with watching(cluster, Query(CONFIG_MAP, namespace, name="a"), version) as events:
        reader = asyncio.create_task(take(events, 3))
        await cluster.create(config_map(namespace, "a", x="1"), field_manager="ann")
        await cluster.create(config_map(namespace, "other"), field_manager="ann")
        await cluster.patch(named(CONFIG_MAP, namespace, "a"), {"data": {"x": "2"}}, field_manager="ann")
        await cluster.delete(named(CONFIG_MAP, namespace, "a"))

        assert await reader == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_watch_begins_where_it_is_told(cluster: Cluster, namespace: str) -> None:
    first = await cluster.create(config_map(namespace, "a"), field_manager="ann")
    await cluster.create(config_map(namespace, "b"), field_manager="ann")
    ref = named(CONFIG_MAP, namespace, "a")
    await cluster.patch(ref, {"data": {"x": "1"}}, field_manager="ann")
    query = Query(CONFIG_MAP, namespace)

    async with watching(cluster, query, first["metadata"]["resourceVersion"]) as events:
        assert await take(events, 2) == [("ADDED", "b"), ("MODIFIED", "a")]


async def test_events_carry_their_version_and_deletions_the_last_state(cluster: Cluster, namespace: str) -> None:
    created = await cluster.create(config_map(namespace, "a", x="1"), field_manager="ann")
    version = created["metadata"]["resourceVersion"]
    await cluster.delete(named(CONFIG_MAP, namespace, "a"))

    async with watching(cluster, Query(CONFIG_MAP, namespace, name="a"), version) as events:
        async for event in events:
            if event.type == "DELETED":
                break

    assert event.object is not None
    assert not isinstance(event.object, Unreadable)
    assert event.object["data"] == {"x": "1"}
    assert event.resource_version == event.object["metadata"]["resourceVersion"]
    assert int(event.resource_version) > int(version)


async def test_labels_that_begin_or_cease_to_match_are_additions_and_deletions(
    cluster: Cluster, namespace: str
) -> None:
    created = await cluster.create(config_map(namespace, "a", {"on": "no"}, x="1"), field_manager="ann")
    ref = named(CONFIG_MAP, namespace, "a")
    for value in ("yes", "yes", "no", "no", "yes"):
        await cluster.patch(ref, {"metadata": {"labels": {"on": value}}}, field_manager="ann")
    await cluster.patch(ref, {"data": {"x": "2"}}, field_manager="ann")
    await cluster.delete(ref)

    query = Query(CONFIG_MAP, namespace, labels="on=yes")
    async with watching(cluster, query, created["metadata"]["resourceVersion"]) as events:
        seen = await next_events(events, 5)

    assert [event.type for event in seen] == ["ADDED", "DELETED", "ADDED", "MODIFIED", "DELETED"]
    objects: list[Any] = [event.object for event in seen]
    assert [found["metadata"]["labels"] for found in objects] == [{"on": "yes"}] * 5


async def test_a_watch_of_one_namespace_sees_no_other(cluster: Cluster, namespace: str) -> None:
    first = await cluster.create(config_map(namespace, "a"), field_manager="ann")
    await cluster.create(config_map("default", f"else-{namespace}"), field_manager="ann")
    await cluster.create(config_map(namespace, "b"), field_manager="ann")

    query = Query(CONFIG_MAP, namespace)
    async with watching(cluster, query, first["metadata"]["resourceVersion"]) as events:
        assert await take(events, 1) == [("ADDED", "b")]


async def test_watched_objects_are_decoded(things: Cluster, namespace: str) -> None:
    version = (await things.list(Query(THING, namespace), dict)).resource_version
    await things.create(thing(namespace, "a", text="x", count=2), field_manager="ann")
    await things.create(thing(namespace, "b", size="25%"), field_manager="ann")

    seen: list[Any] = []
    for type_ in (Thing, SizedThing, PartialObject):
        watch: Any = things.watch(Query(THING, namespace), type_, version)
        async with asyncio.timeout(60):
            seen += [event.object for event in await next_events(watch, 2)]
        await watch.aclose()

    assert seen[0].spec == Spec(text="x", count=2)
    assert isinstance(seen[3], Unreadable)
    assert seen[4].metadata.name == "a"


async def test_a_watch_of_metadata_carries_nothing_else(cluster: Cluster, namespace: str) -> None:
    version = (await cluster.list(Query(CONFIG_MAP, namespace), dict)).resource_version
    await cluster.create(config_map(namespace, "a", x="1"), field_manager="ann")

    query = Query(CONFIG_MAP, namespace, name="a", metadata_only=True)
    async with watching(cluster, query, version) as events:
        (event,) = await next_events(events, 1)

    found: Any = event.object
    assert found.keys() == {"apiVersion", "kind", "metadata"}
    assert found["kind"] == "ConfigMap"


async def test_a_short_watch_of_a_quiet_kind_says_how_far_it_is_before_it_ends(
    cluster: Cluster, namespace: str
) -> None:
    query = Query(CONFIG_MAP, namespace, name="nothing")
    before = await cluster.list(query, dict)
    other = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other", "namespace": namespace}}
    await cluster.create(other, field_manager="ann")  # of another kind: only a bookmark can tell of it
    now = await cluster.list(query, PartialObject, limit=1)

    said: list[int] = []
    async with asyncio.timeout(60):
        while not said or said[-1] < int(now.resource_version):  # a server may learn late itself how far it is
            said += [
                int(event.resource_version)
                async for event in cluster.watch(query, dict, before.resource_version, seconds=3)
                if event.type == "BOOKMARK"
            ]

    assert int(before.resource_version) < int(now.resource_version) <= said[-1]


async def test_a_version_that_is_none_is_refused(cluster: Cluster, namespace: str) -> None:
    watch: Any = cluster.watch(Query(CONFIG_MAP, namespace), dict, "nonsense")

    with pytest.raises(ClusterError):
        await anext(watch)
    await watch.aclose()


async def test_cluster_wide_kinds_are_watched_too(things: Cluster, namespace: str) -> None:
    version = (await things.list(Query(WIDE), dict)).resource_version
    manifest = {"apiVersion": WIDE.api_version, "kind": "Wide", "metadata": {"name": f"wide-{namespace}"}}
    await things.create(manifest, field_manager="ann")

    async with watching(things, Query(WIDE), version) as events:
        assert await take(events, 1) == [("ADDED", f"wide-{namespace}")]
