"""Writing statuses: only what differs, only to the object that was meant, nothing when nothing differs.

A status goes out as a merge patch, on the status subresource where the kind has one. It names the object's uid, so that
an object deleted and made anew meanwhile does not inherit the status of its predecessor; and since it names only fields
that we know, a newer peer's fields stay.

Source: RFC 7396 (merge patch).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec

from gitops_core.meta import Condition, Resource, Status, Wire, write_timestamp
from gitops_core.ports import Cluster
from gitops_core.runtime.loop.conditions import cut_message
from gitops_core.schema import read_manifest

R = TypeVar("R", bound=Resource)

RUNTIME_FIELDS = frozenset({"conditions", "observedGeneration", "lastHandledReconcileAt"})


def make_status_patch(old: Wire | None, new: Wire, *, leaving: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Make the merge patch that turns `old` into `new`; empty when they are equal.

    Args:
        leaving: wire names of top-level fields that are not touched.
    """
    before = {k: v for k, v in _make_plain(old).items() if k not in leaving}
    after = {k: v for k, v in _make_plain(new).items() if k not in leaving}
    return make_merge_patch(before, after)


def make_merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Make the merge patch that turns `old` into `new`.

    >>> make_merge_patch({"a": 1, "b": {"c": 1, "d": 2}, "e": 0}, {"a": 1, "b": {"c": 3, "d": 2}})
    {'b': {'c': 3}, 'e': None}
    """
    patch: dict[str, Any] = {}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := make_merge_patch(before, value):
                patch[name] = inner
        elif name not in old or before != value:
            patch[name] = value
    patch.update({name: None for name in old if name not in new})
    return patch


def _make_plain(status: Wire | None) -> dict[str, Any]:
    if status is None:
        return {}
    plain: dict[str, Any] = _drop_nulls(msgspec.to_builtins(status))
    if isinstance(status, Status):
        plain["conditions"] = [write_condition(condition) for condition in status.conditions]
    return plain


def _drop_nulls(value: Any, depth: int = 0) -> Any:
    """Drop nulls from `value` and cut its parts' texts; what stands at the top may echo the spec and stays whole."""
    if isinstance(value, dict):
        return {name: _drop_nulls(inner, depth + 1) for name, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_drop_nulls(inner, depth) for inner in value]
    return cut_message(value) if depth > 1 and isinstance(value, str) else value


def write_condition(condition: Condition) -> dict[str, Any]:
    """Write `condition` as JSON: no nulls, for the API server refuses them where the schema names a type."""
    manifest: dict[str, Any] = {"type": condition.type, "status": condition.status}
    manifest |= {"reason": condition.reason, "message": condition.message}
    if isinstance(condition.last_transition_time, datetime):
        manifest["lastTransitionTime"] = write_timestamp(condition.last_transition_time)
    if condition.observed_generation is not None:
        manifest["observedGeneration"] = condition.observed_generation
    return manifest


@dataclass(frozen=True)
class StatusWriter:
    """Implements gitops_core.ports.Statuses.

    Attributes:
        written: told every object as it was stored, so that the next look does not begin from an older one.
    """

    cluster: Cluster
    written: Callable[[Resource], None]

    async def write(self, resource: R, status: Wire) -> R:
        return await self._send(resource, make_status_patch(resource.status, status, leaving=RUNTIME_FIELDS))

    async def write_whole(self, resource: R, status: Wire) -> R:
        """Write a status as write() does, with the runtime's own fields."""
        return await self._send(resource, make_status_patch(resource.status, status))

    async def _send(self, resource: R, patch: Mapping[str, Any]) -> R:
        if not patch:
            return resource
        body = {"metadata": {"uid": resource.metadata.uid}, "status": patch}
        subresource: Literal["", "status"] = "status" if resource.STATUS_SUBRESOURCE else ""
        stored = await self.cluster.patch(
            resource.ref, body, field_manager=resource.get_field_manager(), subresource=subresource
        )
        fresh = read_manifest(type(resource), stored)
        self.written(fresh)
        return fresh
