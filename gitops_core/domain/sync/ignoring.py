"""Fields of applied objects that are left as they are in the cluster: spec.ignore of a Kustomization.

    the object is not there                      all of the manifest is applied
    another manager applies all of it            the manifest that is applied does not say it
    others apply some of it                      the manifest that is applied says of what is there what they do not
    else                                         the manifest that is applied says what is there
    it is in an item of a list that is not there the item is applied with all that the manifest says

A pointer counts for what the manifest says: what it does not say is nobody's business already.

Source: fluxcd/pkg, ssa (drift ignore rules); RFC 6901, JSON pointers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import re2

from gitops_core.api.kustomization import IgnoreRule, Selector
from gitops_core.domain.objects.fieldmanagers import list_entries
from gitops_core.domain.objects.fieldsets import (
    NOTHING,
    FieldSet,
    write_key_element,
    write_value_element,
)
from gitops_core.domain.objects.selectors import parse_selector, selects
from gitops_core.errors import StalledError
from gitops_core.meta import Kind, Manifest

Pointer = tuple[str, ...]
_ABSENT = object()
_IDENTITY = (("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace"))
_NUMBER = re.compile("0|[1-9][0-9]{0,8}")


class IgnoreInvalid(StalledError):
    """A rule of spec.ignore that cannot be read: nothing is applied, as nobody knows what is to be left alone."""

    reason = "IgnoreInvalid"


@dataclass(frozen=True)
class IgnoreRules:
    """What is to be ignored on which objects."""

    rules: tuple[tuple[Callable[[Manifest], bool], tuple[Pointer, ...]], ...] = ()

    @classmethod
    def parse(cls, rules: Sequence[IgnoreRule]) -> IgnoreRules:
        """Raises IgnoreInvalid: names the place."""
        return cls(
            tuple(
                (
                    _parse_target(rule.target, f"spec.ignore[{number}].target"),
                    tuple(
                        _parse_pointer(path, f"spec.ignore[{number}].paths[{index}]")
                        for index, path in enumerate(rule.paths)
                    ),
                )
                for number, rule in enumerate(rules)
            )
        )

    def list_pointers(self, manifest: Manifest) -> tuple[Pointer, ...]:
        """List what is to be ignored on one object, the deepest and last first: taking one away moves no other."""
        found = {pointer for is_meant, pointers in self.rules if is_meant(manifest) for pointer in pointers}
        return tuple(sorted(found, key=_order, reverse=True))


def leave_alone(manifest: Manifest, live: Manifest | None, pointers: Sequence[Pointer], manager: str) -> Manifest:
    """Return the manifest to apply in the place of `manifest`.

    >>> wanted = {"spec": {"replicas": 1, "paused": True}}
    >>> leave_alone(wanted, {"spec": {"replicas": 4}}, [("spec", "replicas"), ("spec", "paused")], "us")
    {'spec': {'replicas': 4}}

    Args:
        manager: who applies it.
    """
    if live is None or not pointers:
        return manifest
    ours, theirs = _list_applied(live, manager)
    fitted, items = _Copy(manifest), _Items()
    for pointer in pointers:
        if (
            _find(fitted.root, pointer) is not _ABSENT
            and (place := _locate(manifest, live, pointer, items)) is not None
        ):
            fitted.put(pointer, _choose(live, place, ours, theirs))
    return fitted.root


def add_version(manifest: Manifest, version: str) -> Manifest:
    """Return the manifest for an apply that is refused where the object has another version by now."""
    return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": version}}


def _list_applied(live: Manifest, manager: str) -> tuple[FieldSet, FieldSet]:
    """List what `manager` applies, and what others apply."""
    ours = theirs = NOTHING
    for entry in list_entries(live):
        if entry.get("operation") == "Apply":
            fields = FieldSet.from_fields(entry.get("fieldsV1") or {})
            ours, theirs = (ours | fields, theirs) if entry.get("manager") == manager else (ours, theirs | fields)
    return ours, theirs


class _Items:
    """Finds items of lists in the cluster: by their keys if they have any, else by their places."""

    def __init__(self) -> None:
        self._numbers: dict[int, dict[str, set[int]]] = {}

    def find(self, wanted: Any, live: Any, index: int) -> int | None:
        if not isinstance(live, list):
            return None if live is _ABSENT else index
        if not (elements := _list_key_elements(wanted)):
            return index if index < len(live) else None
        numbers = self._list_numbers(live)
        found = set.intersection(*(numbers.get(element, set()) for element in elements))
        return index if index in found else min(found, default=None)

    def _list_numbers(self, live: list[Any]) -> dict[str, set[int]]:
        """List where the items of each key element stand."""
        if (numbers := self._numbers.get(id(live))) is None:
            numbers = self._numbers[id(live)] = {}
            for number, item in enumerate(live):
                for element in _list_key_elements(item):
                    numbers.setdefault(element, set()).add(number)
        return numbers


def _locate(wanted: Any, live: Any, pointer: Pointer, items: _Items) -> Pointer | None:
    """Locate in `live` what a pointer into `wanted` means; None where there is nothing to be left alone.

    An item of a list is the one with the same key, wherever it stands. One that is not there is made with all its
    fields, and its key says which one it is.
    """
    place: list[str] = []
    keys: frozenset[str] = frozenset()
    for position, part in enumerate(pointer):
        is_last = position + 1 == len(pointer)
        here = part
        if isinstance(wanted, list):
            wanted = wanted[int(part)]
            index = items.find(wanted, live, int(part))
            if index is None and not is_last:
                return None
            here, keys = str(len(live) if index is None else index), _list_keys(wanted)
        else:
            if is_last and part in keys:
                return None
            wanted, keys = wanted[part], frozenset()
        place.append(here)
        live = _find(live, (here,))
    return tuple(place)


def _choose(live: Manifest, place: Pointer, ours: FieldSet, theirs: FieldSet) -> Any:
    """Choose what to apply at a place: what is there, without what others apply; nothing if they apply all of it."""
    found = _find(live, place)
    if found is _ABSENT or not (applied := _select(theirs, live, place)):
        return found
    rest = _select(ours, live, place) - applied
    return next((_keep(found, rest.get_subset(element)) for element in rest.children), found) if rest else _ABSENT


def _select(fields: FieldSet, live: Any, place: Pointer) -> FieldSet:
    """Select of `fields` what is named by the place, as one element, and what is below it."""
    value, last = live, NOTHING
    for part in place:
        value = value[int(part)] if isinstance(value, list) else value[part]
        element = next((one for one in spell_member(part, value) if fields.get_subset(one) or (one,) in fields), None)
        if element is None:
            return NOTHING
        below = fields.get_subset(element)
        last, fields = FieldSet(fields.members & {element}, {element: below} if below else {}), below
    return last


def _keep(value: Any, fields: FieldSet) -> Any:
    """Keep of a value what is in `fields`, and the keys of its items."""
    if not fields:
        return value
    if isinstance(value, Mapping):
        keys = _list_keys(value)
        return {
            name: _keep(inner, fields.get_subset(f"f:{name}"))
            for name, inner in value.items()
            if fields.get_subset(f"f:{name}") or (f"f:{name}",) in fields or name in keys
        }
    if isinstance(value, list):
        kept = []
        for number, item in enumerate(value):
            spelled = spell_member(str(number), item)
            element = next((one for one in spelled if fields.get_subset(one) or (one,) in fields), None)
            if element is not None:
                kept.append(_keep(item, fields.get_subset(element)))
        return kept
    return value


def spell_member(part: str, value: Any) -> list[str]:
    """Return how managedFields may call a member of an object or a list."""
    if isinstance(value, Mapping | list):
        return [f"f:{part}", *_list_key_elements(value), f"i:{part}"]
    return [f"f:{part}", write_value_element(value), f"i:{part}"]


_KEYS = (
    ("name",),
    ("key",),
    ("port", "protocol"),
    ("containerPort", "protocol"),
    ("ip",),
    ("type",),
    ("uid",),
    ("mountPath",),
    ("devicePath",),
    ("topologyKey", "whenUnsatisfiable"),
)
_DEFAULTS = {"protocol": "TCP"}


def _list_key_elements(value: Any) -> list[str]:
    if not isinstance(value, Mapping):
        return []
    whole = _DEFAULTS | dict(value)
    return [write_key_element({name: whole[name] for name in names}) for names in _list_key_names(value)]


def _list_keys(value: Any) -> frozenset[str]:
    return frozenset(name for names in _list_key_names(value) for name in names)


def _list_key_names(value: Any) -> list[tuple[str, ...]]:
    if not isinstance(value, Mapping):
        return []
    whole = _DEFAULTS | dict(value)
    found = [names for names in _KEYS if names[0] in value and all(name in whole for name in names)]
    return [names for names in found if not any(isinstance(whole[name], dict | list) for name in names)]


def _find(value: Any, pointer: Pointer) -> Any:
    for part in pointer:
        if isinstance(value, Mapping):
            value = value.get(part, _ABSENT)
        elif isinstance(value, list) and _NUMBER.fullmatch(part) and int(part) < len(value):
            value = value[int(part)]
        else:
            return _ABSENT
    return value


class _Copy:
    """A copy of an object that is written to: only what is written is copied, and once."""

    def __init__(self, manifest: Manifest) -> None:
        self.root: dict[str, Any] = dict(manifest)
        self._own: dict[int, Any] = {}

    def put(self, pointer: Pointer, new: Any) -> None:
        """Put `new` at a place that is there, or take away what is."""
        *above, last = pointer
        holder: Any = self.root
        for part in above:
            holder = self._open(holder, int(part) if isinstance(holder, list) else part)
        place: Any = int(last) if isinstance(holder, list) else last
        if new is _ABSENT:
            del holder[place]
        else:
            holder[place] = new

    def _open(self, holder: Any, place: Any) -> Any:
        inner = holder[place]
        if id(inner) not in self._own:
            inner = holder[place] = list(inner) if isinstance(inner, list) else dict(inner)
            self._own[id(inner)] = inner
        return inner


def _order(pointer: Pointer) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if _NUMBER.fullmatch(part) else (-1, part) for part in pointer)


def _parse_pointer(text: str, place: str) -> Pointer:
    if not text.startswith("/") or text == "/":
        raise IgnoreInvalid(f"{place}: {text!r} is no JSON pointer to a field: write it as /spec/replicas")
    pointer = tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])
    if any(pointer == name[: len(pointer)] for name in _IDENTITY):
        raise IgnoreInvalid(f"{place}: {text} says which object it is, and cannot be ignored")
    return pointer


def _parse_target(target: Selector | None, place: str) -> Callable[[Manifest], bool]:
    if target is None:
        return lambda manifest: True
    try:
        texts = {
            name: re2.compile(f"^(?:{pattern})$")
            for name in ("group", "version", "kind", "namespace", "name")
            if (pattern := getattr(target, name))
        }
        labels, annotations = parse_selector(target.label_selector), parse_selector(target.annotation_selector)
    except (ValueError, re2.error) as error:
        raise IgnoreInvalid(f"{place}: {error}") from None

    def is_meant(manifest: Manifest) -> bool:
        kind, metadata = Kind.of_manifest(manifest), manifest.get("metadata") or {}
        about = {**kind._asdict(), "namespace": metadata.get("namespace") or "", "name": metadata.get("name") or ""}
        return (
            all(pattern.search(about[name]) for name, pattern in texts.items())
            and selects(labels, metadata.get("labels") or {})
            and selects(annotations, metadata.get("annotations") or {})
        )

    return is_meant
