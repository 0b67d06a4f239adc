"""sprig's lists and dicts, defaults and reflection. `keys` and `values` are in the order of the keys; Go's are in none.

Source: Masterminds/sprig v3.3, list.go, dict.go, defaults.go and reflect.go; dario.cat/mergo v1.0.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from gitops_core.gotemplate.constants import to_bytes
from gitops_core.gotemplate.errors import CallError
from gitops_core.gotemplate.functions import ZERO_TYPE, Function
from gitops_core.gotemplate.printing import text_of
from gitops_core.gotemplate.sprig.numbers import to_int
from gitops_core.gotemplate.sprig.strings import strings_of
from gitops_core.gotemplate.values import (
    MOST_ELEMENTS,
    GoList,
    GoMap,
    Object,
    Struct,
    Value,
    Visits,
    deep_equal,
    elements_type,
    is_list,
    kind_of,
    sorted_items,
    type_of,
)

NIL_POINTER = "runtime error: invalid memory address or nil pointer dereference"
_NIL_LIST = GoList((), is_nil=True)
Dict = dict[str, Value]


def is_empty(value: Value) -> bool:
    return not isinstance(value, Struct | Object) and not value


def default(fallback: Value, *given: Value) -> Value:
    return fallback if not given or is_empty(given[0]) else given[0]


def elements_of(value: Value, doing: str) -> list[Value]:
    """Return the elements of a list. Raises CallError for anything else: `Cannot push on type string`."""
    if value is None:
        raise CallError(NIL_POINTER)
    if not is_list(value):
        raise CallError(f"Cannot {doing} {kind_of(value)}")
    return list(value)


def _made(values: Iterable[Value]) -> list[Value]:
    made = list(values)
    if len(made) > MOST_ELEMENTS:
        raise CallError(f"more than {MOST_ELEMENTS} elements")
    return made


def first(value: Value) -> Value:
    return next(iter(elements_of(value, "find first on type")), None)


def last(value: Value) -> Value:
    return next(iter(elements_of(value, "find last on type")[-1:]), None)


def rest(value: Value) -> list[Value]:
    return elements_of(value, "find rest on type")[1:] if value is None or value or not is_list(value) else _NIL_LIST


def initial(value: Value) -> list[Value]:
    found = elements_of(value, "find initial on type")
    return found[:-1] if found else _NIL_LIST


def _contains(values: Iterable[Value], wanted: Value) -> bool:
    return any(deep_equal(wanted, value) for value in values)


def unique(value: Value) -> list[Value]:
    found: list[Value] = []
    simple: set[tuple[str, Value]] = set()
    visits = Visits()
    for element in elements_of(value, "find uniq on type"):
        if isinstance(element, str | int) or element is None:
            key = (type_of(element), element)
            if key not in simple:
                found.append(element)
            simple.add(key)
        elif not any(deep_equal(element, other, visits) for other in found):
            found.append(element)
    return found


def without(value: Value, *omitted: Value) -> list[Value]:
    return [each for each in elements_of(value, "find without on type") if not _contains(omitted, each)]


def has(wanted: Value, value: Value) -> bool:
    return value is not None and _contains(elements_of(value, "find has on type"), wanted)


def part(value: Value, *bounds: Value) -> Value:
    if value is None:
        raise CallError(NIL_POINTER)
    if not is_list(value):
        raise CallError(f"list should be type of slice or array but {kind_of(value)}")
    if not value:
        return None
    start = to_int(bounds[0]) if bounds else 0
    end = to_int(bounds[1]) if len(bounds) > 1 else len(value)
    if not 0 <= start <= end <= len(value):
        raise CallError("reflect.Value.Slice: slice index out of bounds")
    return GoList(value[start:end], elements_type(value))


def concatenate(*lists: Value) -> list[Value]:
    found: list[Value] = []
    for each in lists:
        if each is None:
            raise CallError(NIL_POINTER)
        if not is_list(each):
            raise CallError(f"Cannot concat type {kind_of(each)} as list")
        found = _made([*found, *each])
    return found or GoList((), is_nil=True)


def chunk(size: int, value: Value) -> GoList:
    values = elements_of(value, "chunk type")
    count = math.floor((len(values) - 1) / size) + 1 if size else -1
    if count < 0 or (count and size < 0):
        raise CallError("runtime error: makeslice: len out of range")
    return GoList((values[at * size : (at + 1) * size] for at in range(count)), "[]interface {}")


def sort_alpha(value: Value) -> GoList:
    return (
        GoList(sorted(strings_of(value), key=to_bytes), "string")
        if is_list(value)
        else GoList([text_of(value)], "string")
    )


def dictionary(*values: Value) -> Dict:
    pairs = [*values, ""] if len(values) % 2 else values
    return {text_of(key): value for key, value in zip(pairs[::2], pairs[1::2], strict=True)}


def put(mapping: Dict, key: str, value: Value) -> Dict:
    mapping[key] = value
    return mapping


def remove(mapping: Dict, key: str) -> Dict:
    mapping.pop(key, None)
    return mapping


def dig(*values: Value) -> Value:
    if len(values) < 3:
        raise CallError("dig needs at least three arguments")
    *keys, fallback, found = values
    if type_of(found) != "map[string]interface {}":
        raise CallError(_conversion(found, "map[string]interface {}"))
    for key in keys:
        if not isinstance(key, str):
            raise CallError(_conversion(key, "string"))
    for key in keys:
        if not isinstance(found, dict) or isinstance(found, GoMap):
            raise CallError(_conversion(found, "map[string]interface {}"))
        if key not in found:
            return fallback
        found = found[key]
    return found


def _conversion(value: Value, wanted: str) -> str:
    return f"interface conversion: interface {{}} is {type_of(value)}, not {wanted}"


def merge(target: Dict, *sources: Dict) -> Dict:
    """Merge maps into `target`: what it has stays; maps within maps are merged too."""
    for source in sources:
        _merge(target, source, overwrite=False, depth=0)
    return target


def merge_overwrite(target: Dict, *sources: Dict) -> Dict:
    for source in sources:
        _merge(target, source, overwrite=True, depth=0)
    return target


def _merge(target: Dict, source: Mapping[Value, Value], *, overwrite: bool, depth: int) -> None:
    if depth > 40:
        raise CallError("the values are nested deeper than 40")
    empty = not target  # mergo asks this for lists: only an empty map takes them over one that is there
    for key, value in sorted_items(source):
        known = target.get(key)
        if value is None or (isinstance(value, GoList) and value.is_nil):
            if overwrite:
                target[key] = value
            continue
        both_maps = isinstance(value, dict) and isinstance(known, dict)
        if both_maps and known:
            _merge(known, value, overwrite=overwrite, depth=depth + 1)
            continue
        if is_list(value) and not is_empty(known):
            target[key] = value if overwrite or empty else known
            continue
        if overwrite or key not in target or is_empty(known):
            target[key] = value


def deep_copy(value: Value, visits: Visits | None = None, depth: int = 0) -> Value:
    if value is None and not depth:
        raise CallError(ZERO_TYPE)
    visits = visits or Visits()
    visits.enter(depth)
    if isinstance(value, GoMap):
        copied = {key: deep_copy(inner, visits, depth + 1) for key, inner in value.items()}
        return GoMap(copied, value.type_name, value.zero)
    if isinstance(value, dict):
        return {key: deep_copy(inner, visits, depth + 1) for key, inner in value.items()}
    if is_list(value):
        nil = isinstance(value, GoList) and value.is_nil
        return GoList([deep_copy(inner, visits, depth + 1) for inner in value], elements_type(value), is_nil=nil)
    return value


def _type(value: Value) -> str:
    return "<nil>" if value is None else type_of(value)


def _pluck(key: str, *mappings: Dict) -> list[Value]:
    return [mapping[key] for mapping in mappings if key in mapping]


def _keys(*mappings: Dict) -> GoList:
    return GoList((key for mapping in mappings for key, _ in sorted_items(mapping)), "string")


def _pick(mapping: Dict, *keys: str) -> Dict:
    return {key: mapping[key] for key in keys if key in mapping}


def _omit(mapping: Dict, *keys: str) -> Dict:
    return {key: value for key, value in mapping.items() if key not in keys}


def _both(names: str, takes: str, run: Callable[..., Value]) -> dict[str, Function]:
    """Return a function under its name and under the one that says that it can fail."""
    made = Function(takes, run)
    return {name: made for each in names.split() for name in (each, f"must{each[0].upper()}{each[1:]}")}


COLLECTIONS: Mapping[str, Function] = {
    "default": Function("any, ...any", default),
    "empty": Function("any", is_empty),
    "coalesce": Function("...any", lambda *values: next((each for each in values if not is_empty(each)), None)),
    "all": Function("...any", lambda *values: not any(map(is_empty, values))),
    "any": Function("...any", lambda *values: not all(map(is_empty, values))),
    "ternary": Function("any, any, bool", lambda yes, no, which: yes if which else no),
    "typeOf": Function("any", _type),
    "typeIs": Function("string, any", lambda wanted, value: wanted == _type(value)),
    "typeIsLike": Function("string, any", lambda wanted, value: _type(value) in (wanted, f"*{wanted}")),
    "kindOf": Function("any", kind_of),
    "kindIs": Function("string, any", lambda wanted, value: wanted == kind_of(value)),
    "deepEqual": Function("any, any", deep_equal),
    "list": Function("...any", lambda *values: list(values)),
    "tuple": Function("...any", lambda *values: list(values)),
    "sortAlpha": Function("any", sort_alpha),
    **_both("append push", "any, any", lambda value, new: _made([*elements_of(value, "push on type"), new])),
    **_both("prepend", "any, any", lambda value, new: _made([new, *elements_of(value, "prepend on type")])),
    **_both("first", "any", first),
    **_both("rest", "any", rest),
    **_both("last", "any", last),
    **_both("initial", "any", initial),
    **_both("reverse", "any", lambda value: elements_of(value, "find reverse on type")[::-1]),
    **_both("uniq", "any", unique),
    **_both("without", "any, ...any", without),
    **_both("has", "any, any", has),
    **_both("slice", "any, ...any", part),
    **_both("chunk", "int, any", chunk),
    **_both("compact", "any", lambda value: [e for e in elements_of(value, "compact on type") if not is_empty(e)]),
    **_both("deepCopy", "any", deep_copy),
    **_both("merge", "map, ...map", merge),
    **_both("mergeOverwrite", "map, ...map", merge_overwrite),
    "concat": Function("...any", concatenate),
    "dict": Function("...any", dictionary),
    "get": Function("map, string", lambda mapping, key: mapping.get(key, "")),
    "set": Function("map, string, any", put),
    "unset": Function("map, string", remove),
    "hasKey": Function("map, string", lambda mapping, key: key in mapping),
    "pluck": Function("string, ...map", _pluck),
    "keys": Function("...map", _keys),
    "values": Function("map", lambda mapping: [value for _, value in sorted_items(mapping)]),
    "pick": Function("map, ...string", _pick),
    "omit": Function("map, ...string", _omit),
    "dig": Function("...any", dig),
}
