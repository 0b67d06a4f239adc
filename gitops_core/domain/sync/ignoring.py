"""Fields of applied objects that are left as they are in the cluster: spec.ignore of a Kustomization.

    the object is not there                      all of the manifest is applied
    another manager applies the field            the manifest that is applied does not say it
    else                                         the manifest that is applied says what is there

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
from gitops_core.domain.objects.fieldsets import FieldSet, write_key_element, write_value_element
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
    others = _list_applied_by_others(live, manager)
    fitted: Any = manifest
    for pointer in pointers:
        if _find(fitted, pointer) is _ABSENT:
            continue
        found = _find(live, pointer)
        is_theirs = found is _ABSENT or any(_covers(fields, live, pointer) for fields in others)
        fitted = _put(fitted, pointer, _ABSENT if is_theirs else found)
    return fitted  # type: ignore[no-any-return]


def _list_applied_by_others(live: Manifest, manager: str) -> list[FieldSet]:
    entries = (entry for entry in list_entries(live) if entry.get("operation") == "Apply")
    return [FieldSet.from_fields(entry.get("fieldsV1") or {}) for entry in entries if entry.get("manager") != manager]


def _covers(fields: FieldSet, live: Any, pointer: Pointer) -> bool:
    """Tell whether `fields` hold what the pointer names, or anything in it."""
    value = live
    for position, part in enumerate(pointer):
        is_last = position + 1 == len(pointer)
        value = value[int(part)] if isinstance(value, list) else value[part]
        element = next((one for one in _spell(part, value) if fields.get_subset(one) or (one,) in fields), None)
        if element is None:
            return False
        if is_last:
            return True
        fields = fields.get_subset(element)
        if not fields:
            return False
    return False


def _spell(part: str, value: Any) -> list[str]:
    """Return how managedFields may call a member of an object or a list."""
    return [f"f:{part}", *_list_key_elements(value), write_value_element(value), f"i:{part}"]


def _list_key_elements(value: Any) -> list[str]:
    if not isinstance(value, Mapping):
        return []
    names = [("name",), ("key",), ("port", "protocol"), ("containerPort", "protocol"), ("ip",), ("type",), ("uid",)]
    names += [("mountPath",), ("devicePath",), ("topologyKey", "whenUnsatisfiable")]
    return [write_key_element({n: value[n] for n in keys}) for keys in names if all(n in value for n in keys)]


def _find(value: Any, pointer: Pointer) -> Any:
    for part in pointer:
        if isinstance(value, Mapping):
            value = value.get(part, _ABSENT)
        elif isinstance(value, list) and _NUMBER.fullmatch(part) and int(part) < len(value):
            value = value[int(part)]
        else:
            return _ABSENT
    return value


def _put(value: Any, pointer: Pointer, new: Any) -> Any:
    """Return `value` with `new` at a place that is there, or without it."""
    first, *rest = pointer
    if isinstance(value, list):
        index = int(first)
        inner = new if not rest else _put(value[index], tuple(rest), new)
        return [*value[:index], *([] if inner is _ABSENT else [inner]), *value[index + 1 :]]
    inner = new if not rest else _put(value[first], tuple(rest), new)
    if inner is _ABSENT:
        return {name: item for name, item in value.items() if name != first}
    return {**value, first: inner}


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
