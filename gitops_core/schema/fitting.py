"""Whether a value fits a schema: what is wrong with it, in the API server's words and order. Pure functions.

Every check of a schema is made, also after a fault; a fault that two checks find is told once. Which alternative of an
`anyOf` or `oneOf` is told of when none fits depends on how many checks each was through, so these are counted. The cost
is one walk over the value for each place in the schema.

Source: k8s.io/kube-openapi, pkg/validation/validate; k8s.io/apiextensions-apiserver, pkg/apiserver/validation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gitops_core.schema import formats
from gitops_core.schema.correlation import ABSENT, find_old_item, find_old_property, is_unchanged

Schema = Mapping[str, Any]


class FieldFault(NamedTuple):
    """One cause of a refusal: the field's path as the API server spells it, the kind of fault, the sentence."""

    field: str
    reason: str
    message: str


@dataclass(slots=True)
class Findings:
    """What the checks of one value found, in order, and how many were made without a fault of the value's type."""

    faults: dict[FieldFault, None] = field(default_factory=dict)
    checks: int = 0

    def add(self, faults: Iterable[FieldFault]) -> None:
        self.faults.update(dict.fromkeys(faults))

    def merge(self, other: Findings) -> None:
        if other.faults:
            self.faults.update(other.faults)
        self.checks += other.checks


def find_faults(schema: Schema, value: Any, old: Any = ABSENT, path: str = "") -> Findings:
    """Find what is wrong with a value. What was accepted once and did not change stays, also under a stricter schema.

    Args:
        old: the value that it replaces; alternatives are asked about the new value alone.
    """
    found = _find(schema, value, old, path)
    if found.faults and old is not ABSENT and is_unchanged(schema, old, value):
        found.faults.clear()
    return found


def find_field(schema: Schema, key: str) -> Schema | None:
    """Return the schema of one field, or None for an unknown one."""
    known = schema.get("properties", {}).get(key)
    if known is None and isinstance(schema.get("additionalProperties"), Mapping):
        known = schema["additionalProperties"]
    return known  # type: ignore[no-any-return]


def join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def show(value: Any) -> str:
    """Write a value as the API server's refusals do."""
    match value:
        case str():
            return _quote(value)
        case float():
            return formats.write_number(value)
        case _:
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _find(schema: Schema, value: Any, old: Any, path: str) -> Findings:
    found = Findings(dict.fromkeys(_find_type_faults(schema, value, path)))
    is_wrong = bool(found.faults)
    if value is None:
        found.checks = 0 if is_wrong else 1
        found.add(_find_enum_faults(schema, value, path))
        return found
    if schema.get("type") or schema.get("format") or schema.get("x-kubernetes-int-or-string"):
        found.checks += 1 if is_wrong else 2
    found.checks += 2
    if not _ALTERNATIVES.isdisjoint(schema):
        _add_alternatives(found, schema, value, path)
    match value:
        case str():
            found.add(_find_string_faults(schema, value, path))
            found.checks += 1 + formats.is_known(_find_format(schema))
        case int() | float() if not isinstance(value, bool):
            found.add(_find_number_faults(schema, value, path))
            found.checks += 2
        case list():
            found.merge(_find_in_list(schema, value, old, path))
            found.checks += 2
    if "enum" in schema:
        found.add(_find_enum_faults(schema, value, path))
    if not isinstance(value, formats.SCALARS) and isinstance(value, Mapping):
        found.merge(_find_in_object(schema, value, old, path))
        found.checks += 1
    found.checks += 2
    return found


def _find_format(schema: Schema) -> str:
    """Return the format that is checked: one that the API server knows, of a type that has it."""
    named: str = schema.get("format", "")
    kind = "" if schema.get("x-kubernetes-int-or-string") else schema.get("type", "")
    return named if formats.belongs(named, kind) else ""


# alternatives


_ALTERNATIVES = frozenset({"anyOf", "oneOf", "allOf", "not"})


def _add_alternatives(found: Findings, schema: Schema, value: Any, path: str) -> None:
    if options := schema.get("anyOf"):
        _merge_any(found, options, value, path)
    if options := schema.get("oneOf"):
        _merge_one(found, options, value, path)
    if options := schema.get("allOf"):
        _merge_all(found, options, value, path)
    if (forbidden := schema.get("not")) is not None and not _find(forbidden, value, ABSENT, path).faults:
        found.add([_make_composite(path, "must not validate the schema (not)")])


def _merge_any(found: Findings, options: list[Schema], value: Any, path: str) -> None:
    best: Findings | None = None
    for option in options:
        tried = _find(option, value, ABSENT, path)
        if not tried.faults:
            found.merge(tried)
            return
        if best is None or tried.checks > best.checks:
            best = tried
    found.add([_make_composite(path, "must validate at least one schema (anyOf)")])
    if best is not None:
        found.merge(best)


def _merge_one(found: Findings, options: list[Schema], value: Any, path: str) -> None:
    tried = [_find(option, value, ABSENT, path) for option in options]
    fitting = [one for one in tried if not one.faults]
    if len(fitting) == 1:
        found.merge(fitting[0])
    elif fitting:
        text = f"must validate one and only one schema (oneOf). Found {len(fitting)} valid alternatives"
        found.add([_make_composite(path, text)])
    else:
        found.add([_make_composite(path, "must validate one and only one schema (oneOf). Found none valid")])
        found.merge(max(tried, key=lambda one: one.checks))


def _merge_all(found: Findings, options: list[Schema], value: Any, path: str) -> None:
    tried = [_find(option, value, ABSENT, path) for option in options]
    for one in tried:
        found.merge(one)
    if any(one.faults for one in tried):
        none = ". None validated" if all(one.faults for one in tried) else ""
        found.add([_make_composite(path, f"must validate all the schemas (allOf){none}")])


# parts


def _find_in_object(schema: Schema, value: Mapping[str, Any], old: Any, path: str) -> Findings:
    found = Findings()
    fewest, most = schema.get("minProperties", 0), schema.get("maxProperties")
    if len(value) < fewest:
        found.add([_make_invalid(path, len(value), f"should have at least {fewest} properties")])
    if most is not None and len(value) > most:
        found.add([_make_too_many(path, len(value), most)])
    for key, inner in value.items():
        known = find_field(schema, key)
        if known is not None:
            found.merge(find_faults(known, inner, find_old_property(old, key), join(path, key)))
    for key in schema.get("required", ()):
        if key not in value:
            found.add([FieldFault(join(path, key), "FieldValueRequired", "Required value")])
    return found


def _find_in_list(schema: Schema, value: list[Any], old: Any, path: str) -> Findings:
    found = Findings()
    items = schema.get("items")
    if items is not None:
        for index, item in enumerate(value):
            found.merge(find_faults(items, item, find_old_item(schema, old, item), f"{path}[{index}]"))
    fewest, most = schema.get("minItems", 0), schema.get("maxItems")
    if len(value) < fewest:
        found.add([_make_invalid(path, len(value), f"should have at least {fewest} items")])
    if most is not None and len(value) > most:
        found.add([_make_too_many(path, len(value), most)])
    return found


# single values


def _find_type_faults(schema: Schema, value: Any, path: str) -> Iterator[FieldFault]:
    wanted, found = schema.get("type", ""), formats.find_type(value)
    if value is None and schema.get("nullable"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        if not (found == "string" or formats.is_integer(value)):
            yield _make_type_fault(path, "integer,string", found)
        return
    if found == "null":
        fits = not wanted
    else:
        fits = wanted in ("", found) or ({wanted, found} == {"number", "integer"} and formats.fits_type(wanted, value))
    named = _find_format(schema)
    if named and wanted in ("", "string") and found in ("string", "array"):
        return  # the API server does not see that a list is no date-time
    if named and found not in ("null", "string", "array") and not (fits and wanted):
        yield _make_type_fault(path, named, formats.name_go_format(value))
    elif not fits:
        yield _make_type_fault(path, wanted, found)


def _make_type_fault(path: str, wanted: str, found: str) -> FieldFault:
    text = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
    return FieldFault(path or "<nil>", "FieldValueTypeInvalid", text)


def _find_string_faults(schema: Schema, value: str, path: str) -> Iterator[FieldFault]:
    longest, shortest, pattern = schema.get("maxLength"), schema.get("minLength", 0), schema.get("pattern")
    if longest is not None and len(value) > longest:
        text = f"Too long: may not be more than {longest} bytes"
        yield FieldFault(path, "FieldValueTooLong", text)
    elif len(value) < shortest:
        yield _make_invalid(path, value, f"should be at least {shortest} chars long")
    elif pattern is not None and not formats.matches(pattern, value):
        yield _make_invalid(path, value, f"should match '{pattern}'")
    named = _find_format(schema)
    if not formats.fits(named, value):
        text = f"Invalid value: {_quote(value)}: {path} in body must be of type {named}: {_quote(value)}"
        yield FieldFault(path, "FieldValueTypeInvalid", text)


def _find_number_faults(schema: Schema, value: float, path: str) -> Iterator[FieldFault]:
    yield from _find_range_faults(schema, value, "Checked", path)
    if (factor := schema.get("multipleOf")) is not None:
        out_of_range = tuple(_find_range_faults(schema, factor, "MultipleOf", path))
        yield from out_of_range
        number, factor = _convert_as_go(value, factor, native=not out_of_range)
        if factor <= 0:
            text = f"factor MultipleOf declared for {path} must be positive: {show(factor)}"
            yield FieldFault(path, "FieldValueInvalid", f"Invalid value: {show(factor)}: {text}")
        elif not formats.is_multiple(number, factor):
            yield _make_invalid(path, number, f"should be a multiple of {show(factor)}")
    for key, sign, words in (("minimum", 1, "greater"), ("maximum", -1, "less")):
        if (bound := schema.get(key)) is None:
            continue
        out_of_range = tuple(_find_range_faults(schema, bound, f"{key.capitalize()} boundary", path))
        yield from out_of_range
        number, bound = _convert_as_go(value, bound, native=not out_of_range)
        exclusive = schema.get(f"exclusive{key.capitalize()}", False)
        if sign * number < sign * bound or (exclusive and number == bound):
            yield _make_invalid(
                path, number, f"should be {words} than {'' if exclusive else 'or equal to '}{show(bound)}"
            )


def _convert_as_go(value: float, bound: float, *, native: bool) -> tuple[float, float]:
    """Cut the bound to its whole part beside an integer, if it has the range of the field's type; else give floats."""
    if native and formats.find_type(value) == "integer":
        return value, int(bound)
    return float(value), float(bound)


def _find_range_faults(schema: Schema, number: float, what: str, path: str) -> Iterator[FieldFault]:
    kind, named = "" if schema.get("x-kubernetes-int-or-string") else schema.get("type", ""), _find_format(schema)
    if not formats.fits_range(kind, named, number):
        wanted = f"with format {named}" if named else "(default format)"
        text = f'Invalid value: "": {what} value must be of type {kind} {wanted} in {path}'
        yield FieldFault("<nil>", "FieldValueInvalid", text)


def _find_enum_faults(schema: Schema, value: Any, path: str) -> Iterator[FieldFault]:
    allowed = schema.get("enum")
    if allowed is not None and not any(formats.is_same(value, choice) for choice in allowed):
        names = ", ".join(_quote(a) if isinstance(a, str) else json.dumps(a) for a in allowed)
        body = f"Unsupported value: {show(value)}: supported values: {names}"
        yield FieldFault(path, "FieldValueNotSupported", body)


# words


def _make_composite(path: str, complaint: str) -> FieldFault:
    return FieldFault("<nil>", "FieldValueInvalid", f'Invalid value: "": {_quote(path)} {complaint}')


def _make_invalid(path: str, value: Any, complaint: str) -> FieldFault:
    return FieldFault(path, "FieldValueInvalid", f"Invalid value: {show(value)}: {path} in body {complaint}")


def _make_too_many(path: str, found: int, most: int) -> FieldFault:
    items = "item" if most == 1 else "items"
    return FieldFault(path, "FieldValueTooMany", f"Too many: {found}: must have at most {most} {items}")


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
