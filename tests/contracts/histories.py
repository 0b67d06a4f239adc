"""Random histories of writes by several field managers, and what is compared after each of them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gitops_core.errors import ApplyConflict, ClusterError, Invalid
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Cluster

MANAGERS = ("ann", "bob", "kubectl")
CONFIG_MAP = Kind("", "v1", "ConfigMap")


@dataclass(frozen=True)
class Step:
    """One write. `body` is a manifest, a patch, or for `replace` a merge patch of what is read before."""

    verb: str
    ref: ObjectRef
    manager: str
    body: Any = None
    subresource: str = ""
    force: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a write came to, without what differs between any two clusters."""

    error: str = ""
    details: tuple[Any, ...] = ()
    object: Any = None


async def carry_out(cluster: Cluster, step: Step) -> Outcome:
    try:
        return Outcome(object=comparable(await _write(cluster, step)))
    except ApplyConflict as error:
        return Outcome("ApplyConflict", tuple(sorted(error.conflicts)))
    except Invalid as error:
        return Outcome("Invalid", tuple(sorted({(fault.field, fault.reason) for fault in error.faults})))
    except ClusterError as error:
        return Outcome(type(error).__name__)


async def _write(cluster: Cluster, step: Step) -> Manifest | None:
    by = step.manager
    match step.verb:
        case "create":
            return await cluster.create(step.body, field_manager=by, dry_run=step.dry_run)
        case "apply":
            return await cluster.apply(step.body, field_manager=by, force=step.force, dry_run=step.dry_run)
        case "patch":
            return await cluster.patch(
                step.ref, step.body, field_manager=by, subresource=step.subresource, dry_run=step.dry_run
            )
        case "replace":
            live = await cluster.get(step.ref)
            if live is None:
                return None
            return await cluster.replace(
                _merged(live, step.body), field_manager=by, subresource=step.subresource, dry_run=step.dry_run
            )
        case _:
            await cluster.delete(step.ref, dry_run=step.dry_run)
            return await cluster.get(step.ref)


def _merged(document: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(document) if isinstance(document, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


def comparable(manifest: Manifest | None) -> Any:
    """Without uid, times and resourceVersion; managedFields in an order that does not depend on the time."""
    if manifest is None:
        return None
    metadata = dict(manifest["metadata"])
    for name in ("uid", "creationTimestamp", "resourceVersion", "deletionTimestamp"):
        if name in metadata:
            metadata[name] = "..."
    entries = [{**entry, "time": "time" in entry} for entry in metadata.get("managedFields", ())]
    metadata["managedFields"] = sorted(entries, key=_entry)
    return {**manifest, "metadata": metadata}


def _entry(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return entry["operation"], entry["manager"], entry["apiVersion"], entry.get("subresource", "")


class Author:
    """Makes steps up, all from one seed."""

    def __init__(self, seed: int, namespace: str, kinds: tuple[Kind, ...]) -> None:
        self._random = random.Random(seed)
        self._refs = [ObjectRef(kind, ObjectKey(namespace, "one")) for kind in kinds]

    def step(self) -> Step:
        chance, ref = self._random, self._random.choice(self._refs)
        manager = chance.choice(MANAGERS)
        verb = chance.choices(
            ("create", "apply", "patch", "json", "replace", "status", "finalizers", "delete"),
            (2, 12, 5, 2, 4, 3 if ref.kind != CONFIG_MAP else 0, 1, 1),
        )[0]
        dry_run = chance.random() < 0.1
        match verb:
            case "create" | "apply":
                force = chance.random() < 0.4
                return Step(verb, ref, manager, self._manifest(ref), force=force, dry_run=dry_run)
            case "patch" | "replace":
                return Step(verb, ref, manager, self._change(ref), dry_run=dry_run)
            case "json":
                return Step("patch", ref, manager, self._operations(ref), dry_run=dry_run)
            case "status":
                status = {"phase": chance.choice("xyz"), "conditions": self._keyed("type", "status")}
                body = {**self._change(ref), "status": status}
                return Step(chance.choice(("patch", "replace")), ref, manager, body, subresource="status")
            case "finalizers":
                finalizers = chance.choice((["example.com/a"], ["example.com/b", "example.com/a"], None))
                return Step("patch", ref, manager, {"metadata": {"finalizers": finalizers}})
            case _:
                return Step("delete", ref, manager, dry_run=dry_run)

    def _manifest(self, ref: ObjectRef) -> dict[str, Any]:
        return {
            "apiVersion": ref.kind.api_version,
            "kind": ref.kind.kind,
            "metadata": {"name": ref.key.name, "namespace": ref.key.namespace, **self._labels()},
            **self._content(ref),
        }

    def _labels(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._random.random() < 0.5:
            found["labels"] = self._map()
        if self._random.random() < 0.3:
            found["annotations"] = self._map()
        return found

    def _content(self, ref: ObjectRef) -> dict[str, Any]:
        if ref.kind == CONFIG_MAP:
            return {"data": self._map()} if self._random.random() < 0.9 else {}
        content: dict[str, Any] = {"spec": self._spec()} if self._random.random() < 0.95 else {}
        if self._random.random() < 0.1:
            content["status"] = {"phase": "sent"}
        return content

    def _change(self, ref: ObjectRef) -> dict[str, Any]:
        """A merge patch: like a manifest, with some nulls."""
        content = {"metadata": self._labels(), **self._content(ref)}
        for part in ("spec", "data"):
            for name in self._random.sample(("text", "settings", "items", "tags", "nested", "a", "b"), 2):
                if isinstance(content.get(part), dict) and (part == "data") == (len(name) == 1):
                    content[part][name] = None
        return content

    def _operations(self, ref: ObjectRef) -> list[dict[str, Any]]:
        root = "/data" if ref.kind == CONFIG_MAP else "/spec"
        name = self._random.choice("abc") if ref.kind == CONFIG_MAP else self._random.choice(("text", "mode"))
        operation = self._random.choice(("add", "replace", "remove", "test"))
        value = self._random.choice(("1", "2", "fast"))
        return [{"op": operation, "path": f"{root}/{name}", **({} if operation == "remove" else {"value": value})}]

    def _spec(self) -> dict[str, Any]:
        chance = self._random
        makers: dict[str, Any] = {
            "text": lambda: chance.choice("pqr"),
            "count": lambda: chance.choice((0, 1, 2, 2, 10)),
            "mode": lambda: chance.choice(("slow", "fast", "fast", "odd")),
            "size": lambda: chance.choice((1, "1", "25%")),
            "maybe": lambda: chance.choice(("m", "n", None)),
            "nested": lambda: {name: chance.choice("12") for name in chance.sample("ab", chance.randint(0, 2))},
            "settings": self._map,
            "whole": self._map,
            "items": self._items,
            "ports": self._ports,
            "tags": lambda: chance.sample(("t1", "t2", "t3", "<t4>"), chance.randint(0, 3)),
            "steps": lambda: [chance.choice("xyz") for _ in range(chance.randint(0, 3))],
            "free": self._free,
        }
        return {name: makers[name]() for name in chance.sample(sorted(makers), chance.randint(0, 5))}

    def _map(self) -> dict[str, str]:
        names = self._random.sample("abc", self._random.randint(0, 3))
        return {name: self._random.choice("123") for name in names}

    def _keyed(self, key: str, value: str) -> list[dict[str, str]]:
        names = self._random.sample("klmn", self._random.randint(0, 3))
        return [{key: name, value: self._random.choice("123")} for name in names]

    def _items(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = [*self._keyed("name", "value")]
        for item in items:
            if self._random.random() < 0.3:
                item["options"] = self._map()
        if items and self._random.random() < 0.04:
            items.append(dict(items[0]))
        return items

    def _ports(self) -> list[dict[str, Any]]:
        found = []
        for port in self._random.sample((80, 81, 443), self._random.randint(0, 2)):
            extra = self._random.choice(({}, {"protocol": "UDP"}, {"protocol": "TCP"}, {"name": "web"}))
            found.append({"port": port, **extra})
        return found

    def _free(self) -> dict[str, Any]:
        values: list[Any] = [1, "1", True, None, [1, {"a": 1}], {"x": "1"}, {}, {"x": {"y": [2]}}, 1.5]
        return {name: self._random.choice(values) for name in self._random.sample("abc", self._random.randint(0, 3))}
