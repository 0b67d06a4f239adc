"""Compare, merge and prune decoded JSON as its type says: keyed lists by key, sets by value, atomic things whole.

Values are what msgspec.json decodes: dict, list, str, int, float, bool, None. A field that is not there at all is
ABSENT, which is not null.

Source: structured-merge-diff, package typed. Every function here has its walker there, quirks included, because
managedFields must come out the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from gitops_core.domain.objects.fieldschemas import DEDUCED, Atom, ListType, MapType, Type, resolve
from gitops_core.domain.objects.fieldsets import FieldSet, Path, spell, write_key_element, write_value_element


class _Absent(Enum):
    ABSENT = 0

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent.ABSENT

Part = MapType | ListType | str | None
"""What a value is, of the things that its type allows; None for a type that allows nothing."""


class TypeFault(ValueError):
    """A value is not of its type. The message has one line a fault, each with the path."""


@dataclass(frozen=True)
class Comparison:
    """What changes from one object to another. No path is in two of them."""

    removed: FieldSet
    modified: FieldSet
    added: FieldSet

    def leave_out(self, ignored: FieldSet) -> Comparison:
        if not ignored:
            return self
        return Comparison(*(part.leave_out(ignored) for part in (self.removed, self.modified, self.added)))


def _fit(atom: Atom, value: Any) -> Atom:
    """Return the part of `atom` that `value` is; all of it for null, absent and unfitting values."""
    match value:
        case str() | int() | float() if atom.scalar is not None:
            return atom if atom.map is None and atom.list is None else Atom(scalar=atom.scalar)
        case list() if atom.list is not None:
            return atom if atom.map is None and atom.scalar is None else Atom(list=atom.list)
        case dict() if atom.map is not None:
            return atom if atom.scalar is None and atom.list is None else Atom(map=atom.map)
    return atom


def _find_part(atom: Atom) -> Part:
    return atom.map or atom.scalar or atom.list


def _find_parts(type_: Type, left: Any, right: Any) -> tuple[Part, ...]:
    """Return how to look at two values side by side: usually one way; two when they are of different sorts."""
    atom = resolve(type_)
    ours, theirs = _find_part(_fit(atom, left)), _find_part(_fit(atom, right))
    if right is ABSENT:
        return (ours,)
    if left is ABSENT or ours is theirs:
        return (theirs,)
    return (ours, theirs)


def _is_leaf(part: MapType | ListType, left: Any, right: Any) -> bool:
    """Tell whether a part is atomic, or empty on both sides: emptiness and null are then values of their own."""
    atomic = part.atomic if isinstance(part, MapType) else not part.associative
    return atomic or (not _get_container(part, left) and not _get_container(part, right))


def _get_container(part: MapType | ListType, value: Any) -> Any:
    """Return `value` if it is the container that `part` describes, else an empty one."""
    if isinstance(part, MapType):
        return value if isinstance(value, dict) else {}
    return value if isinstance(value, list) else []


def write_item_element(list_type: ListType, item: Any) -> str:
    """Return the path element of one item of a keyed list or set. Raises TypeFault."""
    if not list_type.keys:
        if isinstance(item, dict):
            raise TypeFault("associative list without keys has an element that's a map type")
        if isinstance(item, list):
            raise TypeFault("not supported: associative list with lists as elements")
        if item is None:
            raise TypeFault("associative list without keys has an element that's an explicit null")
        return write_value_element(item)
    if item is None:
        raise TypeFault("associative list with keys may not have a null element")
    if not isinstance(item, dict):
        raise TypeFault("associative list with keys may not have non-map elements")
    struct = resolve(list_type.element).map
    defaults = struct.defaults if struct is not None else {}
    keys = {name: item.get(name, defaults.get(name)) for name in list_type.keys if name in item or name in defaults}
    if not keys:
        names = " ".join(f'"{name}"' for name in list_type.keys)
        raise TypeFault(
            f"associative list with keys has an element that omits all key fields [{names}]"
            " (and doesn't have default values for any key fields)"
        )
    return write_key_element(keys)


def is_equal(left: Any, right: Any) -> bool:
    """Tell whether two values are equal as JSON, where true is not 1."""
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(is_equal(value, right[key]) for key, value in left.items())
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(is_equal, left, right))
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


# comparing


def compare(type_: Type, left: Any, right: Any) -> Comparison:
    """Compare `left` with `right`: what changes from one to the other."""
    removed: list[Path] = []
    modified: list[Path] = []
    added: list[Path] = []
    _compare(type_, left, right, (), (removed, modified, added))
    return Comparison(FieldSet.of(removed), FieldSet.of(modified), FieldSet.of(added))


_Changes = tuple[list[Path], list[Path], list[Path]]


def _compare(type_: Type, left: Any, right: Any, path: Path, changes: _Changes) -> None:
    removed, modified, added = changes
    for part in _find_parts(type_, left, right):
        if isinstance(part, str) or part is None or _is_leaf(part, left, right):
            if left is not ABSENT and right is not ABSENT and not is_equal(left, right):
                modified.append(path)
        elif isinstance(part, MapType):
            _compare_maps(part, _get_container(part, left), _get_container(part, right), path, changes)
        else:
            _compare_lists(part, _get_container(part, left), _get_container(part, right), path, changes)
    if left is ABSENT:
        added.append(path)
    elif right is ABSENT:
        removed.append(path)


def _compare_maps(
    part: MapType, left: Mapping[str, Any], right: Mapping[str, Any], path: Path, changes: _Changes
) -> None:
    for name in left.keys() | right.keys():
        ours, theirs = left.get(name, ABSENT), right.get(name, ABSENT)
        if ours is not theirs:
            _compare(part.find_type(name) or DEDUCED, ours, theirs, (*path, "f:" + name), changes)


def _compare_lists(part: ListType, left: Sequence[Any], right: Sequence[Any], path: Path, changes: _Changes) -> None:
    removed, modified, added = changes
    ours, theirs = _group(part, left), _group(part, right)
    for element in ours.keys() | theirs.keys():
        mine, yours, here = ours.get(element, []), theirs.get(element, []), (*path, element)
        if len(mine) > 1 and len(yours) > 1:
            if not is_equal(mine, yours):
                modified.append(here)
        elif len(mine) > 1:
            if yours:
                _compare(part.element, ABSENT, yours[0], here, changes)
            removed.append(here)
        elif len(yours) > 1:
            if mine:
                _compare(part.element, mine[0], ABSENT, here, changes)
            added.append(here)
        else:
            _compare(part.element, mine[0] if mine else ABSENT, yours[0] if yours else ABSENT, here, changes)


def _group(part: ListType, items: Sequence[Any]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for item in items:
        groups.setdefault(write_item_element(part, item), []).append(item)
    return groups


# merging


def merge(type_: Type, live: Any, config: Any) -> Any:
    """Merge everything that `config` says into `live`; nothing is removed.

    Items of a list that `config` changes stand in its order, with the others of `live` kept between them.
    """
    merged: Any = ABSENT
    for part in _find_parts(type_, live, config):
        if isinstance(part, str) or part is None or _is_leaf(part, live, config):
            merged = live if config is ABSENT else config
        elif isinstance(part, MapType):
            merged = _merge_maps(part, _get_container(part, live), _get_container(part, config))
        else:
            merged = _merge_lists(part, _get_container(part, live), _get_container(part, config))
    return merged


def _merge_maps(part: MapType, live: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    names = [*live, *(name for name in config if name not in live)]
    return {
        name: merge(part.find_type(name) or DEDUCED, live.get(name, ABSENT), config.get(name, ABSENT)) for name in names
    }


def _merge_lists(part: ListType, live: Sequence[Any], config: Sequence[Any]) -> list[Any]:
    left = [write_item_element(part, item) for item in live]
    right = [write_item_element(part, item) for item in config]
    wanted = dict(zip(right, config, strict=True))
    had: dict[str, Any] = {}
    for element, item in zip(left, live, strict=True):
        had[element] = None if element in had else item  # duplicates are not merged with the new item
    shared = iter([element for element in right if element in had])
    awaited = next(shared, None)
    merged: list[Any] = []
    done: set[str] = set()

    def take(element: str) -> None:
        done.add(element)
        merged.append(merge(part.element, had.get(element, ABSENT), wanted[element]))

    i = j = 0
    while i < len(left) or j < len(right):
        if i < len(left) and j < len(right):
            # both have it here
            if left[i] == right[j]:
                take(left[i])
                i, j, awaited = i + 1, j + 1, next(shared, None)
                continue
            # `config` has it in another place: it is taken there
            if left[i] in wanted and awaited is not None and awaited != left[i]:
                i += 1
                continue
        if i < len(left):
            # only `live` has it: it stays
            if left[i] not in wanted:
                merged.append(live[i])
                i += 1
                continue
            if left[i] in done:
                i += 1
        # next in the order of `config`
        if j < len(right):
            take(right[j])
            if awaited == right[j]:
                awaited = next(shared, None)
            j += 1
    return merged


# sets of fields


def collect_fields(type_: Type, value: Any) -> FieldSet:
    """Return every leaf and every item that `value` mentions: applying it makes one own them."""
    return FieldSet.of(_collect_fields(type_, value, ()))


def _collect_fields(type_: Type, value: Any, path: Path) -> Iterator[Path]:
    part = _find_part(_fit(resolve(type_), value))
    if isinstance(part, MapType) and not part.atomic:
        for name, inner in _get_container(part, value).items():
            here = (*path, "f:" + name)
            yield from _collect_fields(part.find_type(name) or DEDUCED, inner, here)
            if inner is None or inner == {} or name not in part.fields:
                yield here
    elif isinstance(part, ListType) and part.associative:
        for element, items in _group(part, _get_container(part, value)).items():
            if len(items) == 1:
                yield from _collect_fields(part.element, items[0], (*path, element))
            yield (*path, element)
    else:
        yield path


def add_named_fields(fields: FieldSet, type_: Type | None) -> FieldSet:
    """Return `fields` and every struct field on the way to them."""
    atom = resolve(type_) if type_ is not None else Atom()
    members = set(fields.members)
    children: dict[str, FieldSet] = {}
    for element, below in fields.children.items():
        inner: Type | None = None
        if element[0] == "f" and atom.map is not None:
            inner = atom.map.find_type(element[2:])
            if element[2:] in atom.map.fields:
                members.add(element)
        elif element[0] == "k" and atom.list is not None:
            inner = atom.list.element
        children[element] = add_named_fields(below, inner)
    return FieldSet(frozenset(members), children)


def remove(type_: Type, value: Any, fields: FieldSet) -> Any:
    """Return `value` without `fields`; what becomes empty becomes null."""
    part = _find_part(_fit(resolve(type_), value))
    if isinstance(part, MapType) and isinstance(value, dict):
        if part.atomic or not value:
            return None
        return _remove_from_map(part, value, fields) or None
    if isinstance(part, ListType) and isinstance(value, list):
        if not part.associative or not value:
            return None
        return _remove_from_list(part, value, fields) or None
    return value if isinstance(part, str) else None


def _remove_from_map(part: MapType, value: Mapping[str, Any], fields: FieldSet) -> dict[str, Any]:
    rest: dict[str, Any] = {}
    for name, inner in value.items():
        element = "f:" + name
        if element in fields.members:
            continue
        below = fields.get_subset(element)
        rest[name] = remove(part.find_type(name) or DEDUCED, inner, below) if below else inner
    return rest


def _remove_from_list(part: ListType, items: Sequence[Any], fields: FieldSet) -> list[Any]:
    rest: list[Any] = []
    for item in items:
        element = write_item_element(part, item)
        if element in fields.members:
            continue
        below = fields.get_subset(element)
        rest.append(remove(part.element, item, below) if below else item)
    return rest


def reconcile(fields: FieldSet, type_: Type) -> FieldSet:
    """Return `fields` as they read when a list or map became atomic since they were written: all of it is owned."""
    atomic = FieldSet.of(_find_turned_atomic(fields, type_, (), whole=False))
    return fields.leave_out(atomic) | atomic if atomic else fields


def _find_turned_atomic(fields: FieldSet | None, type_: Type, path: Path, *, whole: bool) -> Iterator[Path]:
    part = _find_part(resolve(type_))
    if isinstance(part, ListType):
        if not whole and not part.associative:
            yield path
            return
    elif isinstance(part, MapType):
        if part.element is not None and not part.fields and resolve(part.element).scalar == "untyped":
            return  # types deduced from their values have neither atomic nor granular marks
        if not whole and part.atomic:
            if fields:
                yield path
            return
    else:
        return
    for element in (fields.members | fields.children.keys()) if fields is not None else ():
        inner = part.find_type(element[2:]) if isinstance(part, MapType) else part.element
        if inner is not None and fields is not None:
            below = fields.children.get(element)
            member = element in fields.members and below is None
            yield from _find_turned_atomic(below, inner, (*path, element), whole=member)


# checking


def check(type_: Type, value: Any, *, duplicates: bool = False) -> None:
    """Raise TypeFault when a value is not of its type.

    Args:
        duplicates: whether sets and keyed lists may hold an item twice.
    """
    faults: list[str] = []
    _add_faults(faults, type_, value, "", duplicates)
    if len(faults) == 1:
        raise TypeFault(faults[0])
    if faults:
        raise TypeFault("\n".join(["errors:", *("  " + fault for fault in faults)]))


def _add_faults(faults: list[str], type_: Type, value: Any, path: str, duplicates: bool) -> None:
    if value is None:
        return
    part = _find_part(_fit(resolve(type_), value))
    if isinstance(part, MapType):
        if not isinstance(value, dict):
            faults.append(f"{path}: expected map, got &{{{_write_go(value)}}}")
            return
        for name, inner in value.items():
            inner_type = part.find_type(name)
            if inner_type is None:
                faults.append(f"{path}.{name}: field not declared in schema")
                return
            _add_faults(faults, inner_type, inner, f"{path}.{name}", duplicates)
    elif isinstance(part, ListType):
        if not isinstance(value, list):
            faults.append(f"{path}: expected list, got &{{{_write_go(value)}}}")
            return
        _add_list_faults(faults, part, value, path, duplicates)
    elif part is not None and (fault := _explain_scalar(part, value)):
        faults.append(f"{path}: {fault}")


def _add_list_faults(faults: list[str], part: ListType, items: Sequence[Any], path: str, duplicates: bool) -> None:
    seen: set[str] = set()
    for index, item in enumerate(items):
        here = f"[{index}]"
        if part.associative:
            try:
                element = write_item_element(part, item)
            except TypeFault as fault:
                faults.append(f"{path}: element {index}: {fault}")
                return
            here = spell((element,))
            if element in seen and not duplicates:
                faults.append(f"{path}: duplicate entries for key {here}")
            seen.add(element)
        _add_faults(faults, part.element, item, path + here, duplicates)


def _explain_scalar(scalar: str, value: Any) -> str:
    """Say what is wrong with a value that ought to be such a scalar; "" for nothing."""
    match scalar:
        case "numeric":
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                return f"expected numeric (int or float), got {_name_go_type(value)}"
        case "string":
            if not isinstance(value, str):
                return f"expected string, got &{{{_write_go(value)}}}"
        case "boolean":
            if not isinstance(value, bool):
                return f"expected boolean, got &{{{_write_go(value)}}}"
        case _:
            if isinstance(value, (dict, list)):
                return f"expected any scalar, got &{{{_write_go(value)}}}"
    return ""


def _write_go(value: Any) -> str:
    """Print `value` as Go's %v does."""
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "<nil>"
        case dict():
            return "map[" + " ".join(f"{key}:{_write_go(inner)}" for key, inner in sorted(value.items())) + "]"
        case list():
            return "[" + " ".join(map(_write_go, value)) + "]"
        case _:
            return str(value)


def _name_go_type(value: Any) -> str:
    names: dict[type, str] = {str: "string", bool: "bool", int: "int64", float: "float64", list: "[]interface {}"}
    return names.get(type(value), "map[string]interface {}")
