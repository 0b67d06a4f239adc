"""Random histories of writes by several field managers, and what is compared after each of them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gitops_core.errors import ApplyConflict, ClusterError, Invalid
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Cluster
from tests.contracts.schemas import NAMES, Schema, Values

MANAGERS = ("ann", "bob", "kubectl")

_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string", "enum": ["1", "2", "3"]}}


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
    text: str = ""
    """The object's JSON: 2.0 is not 2, though they are equal."""


async def carry_out(cluster: Cluster, step: Step) -> Outcome:
    try:
        object_ = comparable(await _write(cluster, step))
        return Outcome(object=object_, text=json.dumps(object_, sort_keys=True))
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

    def __init__(self, seed: int, namespace: str, schemas: Mapping[Kind, Schema], odd: float = 0.02) -> None:
        """
        Args:
            schemas: of whole objects, without what all objects have.
            odd: see Values.
        """
        self._random = random.Random(seed)
        self._values = Values(self._random, odd)
        self._schemas = schemas
        self._refs = [ObjectRef(kind, ObjectKey(namespace, "one")) for kind in schemas]

    def step(self) -> Step:
        chance, ref = self._random, self._random.choice(self._refs)
        manager = chance.choice(MANAGERS)
        with_status = "status" in self._schemas[ref.kind]["properties"]
        verb = chance.choices(
            ("create", "apply", "patch", "json", "replace", "status", "finalizers", "delete"),
            (2, 12, 5, 2, 4, 3 if with_status else 0, 1, 1),
        )[0]
        dry_run = chance.random() < 0.1
        match verb:
            case "create" | "apply":
                force = chance.random() < 0.4
                return Step(verb, ref, manager, self._fetch_manifest(ref), force=force, dry_run=dry_run)
            case "patch" | "replace":
                return Step(verb, ref, manager, self._change(ref), dry_run=dry_run)
            case "json":
                return Step("patch", ref, manager, self._operations(ref), dry_run=dry_run)
            case "status":
                body = self._change(ref)
                body["status"] = self._values.of(self._schemas[ref.kind]["properties"]["status"])
                return Step(chance.choice(("patch", "replace")), ref, manager, body, subresource="status")
            case "finalizers":
                finalizers = chance.choice((["example.com/a"], ["example.com/b", "example.com/a"], None))
                return Step("patch", ref, manager, {"metadata": {"finalizers": finalizers}})
            case _:
                return Step("delete", ref, manager, dry_run=dry_run)

    def _fetch_manifest(self, ref: ObjectRef) -> dict[str, Any]:
        return {
            "apiVersion": ref.kind.api_version,
            "kind": ref.kind.kind,
            **self._content(ref),
            "metadata": {"name": ref.key.name, "namespace": ref.key.namespace, **self._get_labels()},
        }

    def _get_labels(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, share in (("labels", 0.5), ("annotations", 0.3)):
            if self._random.random() < share:
                found[name] = self._values.of(_TEXTS)
        return found

    def _content(self, ref: ObjectRef) -> dict[str, Any]:
        """What the fields of the kind itself hold: often all, seldom a status, which is written in its own way."""
        content = {}
        for name, schema in self._schemas[ref.kind]["properties"].items():
            if self._random.random() < (0.1 if name == "status" else 0.8):
                content[name] = self._values.of(schema)
        return content

    def _change(self, ref: ObjectRef) -> dict[str, Any]:
        """A merge patch: like a manifest, with some nulls."""
        content = {"metadata": self._get_labels(), **self._content(ref)}
        for name, schema in self._schemas[ref.kind]["properties"].items():
            inner, within = content.get(name), sorted(schema.get("properties", NAMES))
            if isinstance(inner, dict):
                dropped = dict.fromkeys(self._random.sample(within, self._random.randint(0, min(2, len(within)))))
                if dropped.keys() != inner.keys() | dropped.keys() or not schema.get("minProperties"):
                    inner |= dropped
            elif self._random.random() < 0.1:
                content[name] = None
        return content

    def _operations(self, ref: ObjectRef) -> list[dict[str, Any]]:
        chance, properties = self._random, self._schemas[ref.kind]["properties"]
        name = chance.choice([name for name in properties if name != "status"])
        schema = properties[name]
        path = [name]
        if inner := schema.get("properties") or dict.fromkeys(NAMES, schema.get("additionalProperties") or {}):
            path.append(chance.choice(sorted(inner)))
            schema = inner[path[-1]]
        operation = chance.choice(("add", "replace", "remove", "test"))
        value = {} if operation == "remove" else {"value": self._values.of(schema)}
        return [{"op": operation, "path": "/" + "/".join(path), **value}]
