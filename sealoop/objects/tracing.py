"""What `sealoop tree` and `trace` do: from a Kustomization down to Pods, and from any object up to its commit.

Only looked at, never written; what may not be looked at is said in its line, and the rest is shown.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import click

from gitops_core.api import Kustomization
from gitops_core.domain.health.causes import find_cause, find_selector
from gitops_core.domain.health.kstatus import judge_health
from gitops_core.domain.sync.inventory import spell_literally
from gitops_core.domain.sync.owners import OWNER_NAME, OWNER_NAMESPACE
from gitops_core.errors import ClusterError, Forbidden, KindUnknown, NotFound
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Cluster, Query
from sealoop.objects.kinds import find_asked, parse_ref
from sealoop.objects.reading import SOURCES, find_condition, find_source, is_elsewhere, list_inventory
from sealoop.objects.showing import list_all
from sealoop.terminals import make_visible

AT_ONCE = 8
DEEPEST = 8
"""Kustomizations within each other; deeper ones are named and not opened."""
POD = Kind("", "v1", "Pod")
EVENT = Kind("", "v1", "Event")


@dataclass
class Node:
    """An object, how it is, and what it made.

    Attributes:
        health: kstatus' word, or why nobody can say.
    """

    name: str
    health: str
    message: str = ""
    children: list[Node] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        about = {"object": self.name, "health": self.health, "message": self.message}
        return about | {"children": [child.as_json() for child in self.children]}


async def show_trees(cluster: Cluster, words: Sequence[str], namespace: str, *, as_json: bool) -> int:
    """Print a tree for each Kustomization that is named; returns how many there are not."""
    trees: list[Node] = []
    missing = 0
    for asked in await find_asked(cluster, words):
        if (asked.served.kind.group, asked.served.kind.kind) != (Kustomization.KIND.group, Kustomization.KIND.kind):
            raise click.UsageError(f"a tree begins at a Kustomization, and not at a {asked.served.kind.kind}")
        names = asked.names or await _list_names(cluster, asked.served.kind, namespace)
        for name in names:
            ref = parse_ref(asked.served, namespace, name)
            try:
                trees.append(await _grow(cluster, ref, asyncio.Semaphore(AT_ONCE), frozenset()))
            except NotFound as error:
                missing += 1
                click.echo(f"Error: {error}", err=True)
    if as_json:
        click.echo(json.dumps([tree.as_json() for tree in trees], indent=2))
    for number, tree in enumerate(() if as_json else trees):
        if number:
            click.echo()
        for line in draw(tree):
            click.echo(line)
    return missing


async def _list_names(cluster: Cluster, kind: Kind, namespace: str) -> list[str]:
    found, _ = await list_all(cluster, Query(kind, namespace))
    return sorted(manifest["metadata"]["name"] for manifest in found)


def draw(tree: Node) -> Iterator[str]:
    """Draw a tree, a line for each object.

    >>> tree = Node("Kustomization/shop/app", "Current", children=[Node("ConfigMap/shop/a", "Current")])
    >>> print(*draw(tree), sep="\\n")
    Kustomization/shop/app  Current
    └── ConfigMap/shop/a  Current
    """
    yield _write(tree)
    for number, child in enumerate(tree.children):
        is_last = number + 1 == len(tree.children)
        first, *rest = draw(child)
        yield f"{'└── ' if is_last else '├── '}{first}"
        yield from (f"{'    ' if is_last else '│   '}{line}" for line in rest)


def _write(node: Node) -> str:
    return make_visible(f"{node.name}  {node.health}" + (f": {node.message}" if node.message else ""))


async def _grow(cluster: Cluster, ref: ObjectRef, slots: asyncio.Semaphore, above: frozenset[ObjectKey]) -> Node:
    """Grow the tree of a Kustomization. Raises NotFound."""
    live = await cluster.get(ref)
    if live is None:
        raise NotFound(ref)
    node = _judge(ref, live)
    if is_elsewhere(live):
        node.message = "; ".join(filter(None, (node.message, "its objects are in another cluster (spec.kubeConfig)")))
        return node
    within = above | {ref.key}

    async def grow_one(one: ObjectRef) -> Node:
        if one.kind.kind == ref.kind.kind and one.kind.group == ref.kind.group:
            if one.key in within or len(within) >= DEEPEST:
                return Node(str(one), "", "shown above" if one.key in within else "not opened: too deep")
            try:
                return await _grow(cluster, one, slots, within)
            except NotFound:
                return Node(str(one), "NotFound")
        async with slots:
            return await _look(cluster, one)

    node.children = list(await asyncio.gather(*map(grow_one, list_inventory(live))))
    return node


async def _look(cluster: Cluster, ref: ObjectRef) -> Node:
    """Look at an object, and at the Pods of a workload."""
    try:
        live = await cluster.get(ref) or await cluster.get(spell_literally(ref))
    except KindUnknown:
        return Node(str(ref), "NotFound", "the cluster does not serve its kind")
    except ClusterError as error:
        return Node(str(ref), "Unknown", str(error))
    node = _judge(ref, live)
    if live is not None and (selector := find_selector(live)):
        try:
            pods, _ = await list_all(cluster, Query(POD, ref.key.namespace, selector))
        except ClusterError as error:
            pods, node.message = [], str(error)
        node.children = [_judge_pod(pod) for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))]
    return node


def _judge(ref: ObjectRef, live: Manifest | None) -> Node:
    health = judge_health(live, datetime.now(UTC))
    return Node(str(ref), health.status, "" if health.status in ("Current", "NotFound") else health.message)


def _judge_pod(pod: Manifest) -> Node:
    now = datetime.now(UTC)
    health, cause = judge_health({"apiVersion": "v1", "kind": "Pod", **pod}, now), find_cause([pod], now)
    cause = cause.replace(f" of Pod {pod['metadata']['name']}", "")
    return Node(f"Pod/{pod['metadata']['name']}", health.status, cause)


async def show_traces(cluster: Cluster, words: Sequence[str], namespace: str, *, as_json: bool) -> int:
    """Print for each object where it comes from; returns how many come from nowhere, or are not there."""
    found: list[Mapping[str, Any]] = []
    missing = 0
    for asked in await find_asked(cluster, words):
        for name in asked.names:
            ref = parse_ref(asked.served, namespace, name)
            try:
                found.append(await _trace(cluster, ref))
            except (click.ClickException, NotFound, Forbidden) as error:
                missing += 1
                click.echo(f"Error: {make_visible(str(error))}", err=True)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return missing
    for number, trace in enumerate(found):
        if number:
            click.echo()
        width = max(map(len, trace)) + 2
        for title, text in trace.items():
            click.echo(make_visible(f"{title + ':':{width}}{text}"))
    return missing


async def _trace(cluster: Cluster, ref: ObjectRef) -> Mapping[str, str]:
    """Trace an object to its source: title -> text, in the order to show. Raises NotFound, ClickException."""
    live = await cluster.get(ref)
    if live is None:
        raise NotFound(ref)
    labels = live["metadata"].get("labels") or {}
    if OWNER_NAME not in labels or OWNER_NAMESPACE not in labels:
        raise click.ClickException(f"{ref} was not applied by a Kustomization: it has not the labels of one")
    owner = ObjectRef(Kustomization.KIND, ObjectKey(labels[OWNER_NAMESPACE], labels[OWNER_NAME]))
    health = judge_health(live, datetime.now(UTC))
    traced = {
        "Object": str(ref),
        "Health": _join(health.status, health.message if health.status != "Current" else ""),
        "Applied by": str(owner),
    }
    kustomization = await cluster.get(owner)
    if kustomization is None:
        raise click.ClickException(f"{ref} was applied by {owner}, which is not there any more")
    spec, status = kustomization["spec"], kustomization.get("status") or {}
    if ref.identity not in {one.identity for one in list_inventory(kustomization)}:
        traced["Applied by"] += ", which does not know it: the labels may be anybody's"
    traced["Ready"] = _tell_ready(kustomization)
    traced["Path"] = spec.get("path") or "./"
    traced["Applied"] = status.get("lastAppliedRevision", "nothing yet")
    return {**traced, **await _trace_source(cluster, owner, spec["sourceRef"], status.get("lastAppliedRevision", ""))}


async def _trace_source(
    cluster: Cluster, owner: ObjectRef, named: Mapping[str, Any], revision: str
) -> Mapping[str, str]:
    ref = await find_source(cluster, named, owner.key.namespace)
    if ref is None:
        return {"Source": f"{named['kind']}/{named['name']}, which the cluster does not serve"}
    live = await cluster.get(ref)
    if live is None:
        return {"Source": f"{ref}, which is not there"}
    traced = {"Source": str(ref), "URL": str(live["spec"].get("url") or live["spec"].get("endpoint") or "")}
    traced["Source ready"] = _tell_ready(live)
    traced["Fetched"] = ((live.get("status") or {}).get("artifact") or {}).get("revision", "nothing yet")
    if told := await _find_news(cluster, ref, revision):
        traced["Commit"] = told
    return traced


async def _find_news(cluster: Cluster, source: ObjectRef, revision: str) -> str:
    """Find what an Event of the source says of a revision: its commit's subject. Events are kept for an hour or so."""
    try:
        events, _ = await list_all(cluster, Query(EVENT, source.key.namespace))
    except ClusterError:
        return ""
    for event in events:
        about = event.get("involvedObject") or {}
        said = (event["metadata"].get("annotations") or {}).get(f"{SOURCES}/revision")
        if (about.get("kind"), about.get("name"), said) == (source.kind.kind, source.key.name, revision) and revision:
            return str(event.get("message", "")).removeprefix("stored artifact for commit ").strip("'")
    return ""


def _tell_ready(live: Manifest) -> str:
    ready = find_condition(live, "Ready")
    return _join(str(ready.get("status", "Unknown")), str(ready.get("message", "")))


def _join(word: str, message: str) -> str:
    return f"{word}: {message}" if message else word
