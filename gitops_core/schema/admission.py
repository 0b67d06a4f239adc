"""What the API server does with a custom object under its schema: defaults, prunes, validates. Pure functions.

    stored = prune(schema, default(schema, sent)); faults = validate(schema, stored, old)

Nulls: a null where the schema allows none is as good as missing in an object, and an error in a list. Validation goes
on after a fault and collects all of them, but CEL rules are left out once an object is structurally wrong.

Source: k8s.io/apiextensions-apiserver, pkg/apiserver/schema (defaulting, pruning, cel) and pkg/apiserver/validation;
k8s.io/kube-openapi, pkg/validation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gitops_core.schema import cel, formats
from gitops_core.schema.correlation import ABSENT, find_old_item, find_old_property, is_unchanged

Schema = Mapping[str, Any]

_META = ("apiVersion", "kind", "metadata")
_BLOCKING = frozenset(
    {"FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"}
)


class FieldFault(NamedTuple):
    """One cause of a refusal: the field's path as the API server spells it, the kind of fault, the sentence."""

    field: str
    reason: str
    message: str


_REASONS = {
    "FieldValueInvalid": "Invalid value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
}
_WITHOUT_VALUE = frozenset({"FieldValueForbidden", "FieldValueRequired"})

UNCHECKED = FieldFault(
    "<nil>",
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)


def default(schema: Schema, value: Any, *, keep_nulls: bool = False) -> Any:
    """Copy `value` with the schema's defaults where a field is missing or null, and without other nulls.

    Args:
        keep_nulls: as after a server-side apply, whose result the API server defaults but does not read anew.
    """
    return _default(schema, value if keep_nulls else remove_stray_nulls(schema, value))


def prune(schema: Schema, value: Any, *, root: bool = True) -> Any:
    """Copy `value` without the fields that the schema does not know.

    Args:
        root: whether `value` is a whole object, whose apiVersion, kind and metadata stay.
    """
    return _prune(schema, value, keep=_META if root else (), preserves=False)


def _prune(schema: Schema, value: Any, *, keep: Sequence[str], preserves: bool) -> Any:
    preserves = preserves or schema.get("x-kubernetes-preserve-unknown-fields", False)
    if isinstance(value, list):
        return [_prune(schema.get("items") or {}, item, keep=(), preserves=preserves) for item in value]
    if not isinstance(value, Mapping):
        return value
    if schema.get("x-kubernetes-embedded-resource"):
        keep = _META
    pruned = {}
    for key, inner in value.items():
        known = _find_field(schema, key)
        if key in keep:
            pruned[key] = inner
        elif known is not None:
            pruned[key] = _prune(known, inner, keep=(), preserves=False)
        elif preserves:
            pruned[key] = inner
    return pruned


def validate(
    schema: Schema, value: Any, old: Any = None, besides: Iterable[FieldFault] = (), *, field: str = ""
) -> tuple[FieldFault, ...]:
    """Return the faults of an object, defaulted and pruned; () when it may be stored.

    Without the extra `cel` no rule is checked: who takes objects says so (cel.UNCHECKED).

    Args:
        old: the stored object that it replaces: what did not change since is not held against it.
        besides: what is wrong with it apart from its schema.
        field: the only one of its fields that is looked at, but for rules: `status`, when its subresource is written.
    """
    before = ABSENT if old is None else old
    shape = {"properties": {n: s for n, s in schema.get("properties", {}).items() if n == field}} if field else schema
    faults = (*_validate(shape, value, before, ""), *besides)
    if any(fault.reason in _BLOCKING for fault in faults):
        return (*faults, UNCHECKED) if _has_rules(schema) else faults
    return (*faults, *_rules(schema, value, before, "")) if cel.is_installed() else faults


def write_refusal(kind: str, group: str, name: str, faults: tuple[FieldFault, ...]) -> str:
    """Write the message of the API server's 422."""
    texts = [f"{fault.field}: {fault.message}" for fault in faults]
    return f'{kind}.{group} "{name}" is invalid: ' + (texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")


# defaults


def _default(schema: Schema, value: Any) -> Any:
    if isinstance(value, list):
        items = schema.get("items", {})
        return [_default(items, _replace(items, item)) for item in value]
    if not isinstance(value, Mapping):
        return value
    filled = dict(value)
    for key, known in schema.get("properties", {}).items():
        if known.get("default") is not None and (key not in filled or _is_stray_null(known, filled[key])):
            filled[key] = known["default"]
    return {key: _default_field(schema, key, inner) for key, inner in filled.items()}


def _default_field(schema: Schema, key: str, value: Any) -> Any:
    known = schema.get("properties", {}).get(key)
    if known is not None:
        return _default(known, value)
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        return _default(additional, _replace(additional, value))
    return value


def _replace(schema: Schema, value: Any) -> Any:
    return schema.get("default") if _is_stray_null(schema, value) else value


def remove_stray_nulls(schema: Schema, value: Any) -> Any:
    """Copy an object without the nulls of fields that may not be null and have no default."""
    if isinstance(value, list):
        items = schema.get("items", {})
        return [remove_stray_nulls(items, item) for item in value]
    if not isinstance(value, Mapping):
        return value
    kept = {}
    for key, inner in value.items():
        known = _find_field(schema, key)
        if known is None:
            kept[key] = inner
        elif not _is_stray_null(known, inner) or known.get("default") is not None:
            kept[key] = remove_stray_nulls(known, inner)
    return kept


def _is_stray_null(schema: Schema, value: Any) -> bool:
    return value is None and not schema.get("nullable")


def _find_field(schema: Schema, key: str) -> Schema | None:
    """Return the schema of one field, or None for an unknown one."""
    known = schema.get("properties", {}).get(key)
    if known is None and isinstance(schema.get("additionalProperties"), Mapping):
        known = schema["additionalProperties"]
    return known  # type: ignore[no-any-return]


# validation


def _validate(schema: Schema, value: Any, old: Any, path: str) -> Iterator[FieldFault]:
    if old is not ABSENT and is_unchanged(schema, old, value):
        return  # what was accepted once and did not change stays, also under a stricter schema
    wrong_type = tuple(_type_faults(schema, value, path))
    yield from wrong_type
    match value:
        case Mapping() if not wrong_type:
            yield from _validate_object(schema, value, old, path)
        case str() if not wrong_type:
            yield from _validate_string(schema, value, path)
        case list() if not wrong_type:
            yield from _validate_list(schema, value, old, path)
        case int() | float() if not isinstance(value, bool):
            yield from _validate_number(schema, value, path)
    allowed = schema.get("enum")
    if allowed is not None and not any(formats.is_same(value, choice) for choice in allowed):
        names = ", ".join(_quote(a) if isinstance(a, str) else json.dumps(a) for a in allowed)
        body = f"Unsupported value: {_show(value)}: supported values: {names}"
        yield FieldFault(path, "FieldValueNotSupported", body)


def _type_faults(schema: Schema, value: Any, path: str) -> Iterator[FieldFault]:
    wanted, found = schema.get("type", ""), formats.type_of(value)
    if value is None and schema.get("nullable"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        if not (found == "string" or formats.is_integer(value)):
            yield _make_type_fault(path, "integer,string", found)
            if "anyOf" in schema and value is not None:
                text = f'Invalid value: "": "{path}" must validate at least one schema (anyOf)'
                yield FieldFault("<nil>", "FieldValueInvalid", text)
                yield from _validate({"type": "integer"}, value, ABSENT, path)
        return
    if found == "null":
        fits = not wanted
    else:
        fits = wanted in ("", found) or ({wanted, found} == {"number", "integer"} and formats.fits_type(wanted, value))
    named = schema.get("format", "")
    if fits or (named and wanted == "string" and found == "array"):
        return  # the API server does not see that a list is no date-time
    if named and found not in ("null", "string", "array"):
        yield _make_type_fault(path, named, formats.go_format(value))
    else:
        yield _make_type_fault(path, wanted, found)


def _make_type_fault(path: str, wanted: str, found: str) -> FieldFault:
    text = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
    return FieldFault(path or "<nil>", "FieldValueTypeInvalid", text)


def _validate_object(schema: Schema, value: Mapping[str, Any], old: Any, path: str) -> Iterator[FieldFault]:
    fewest, most = schema.get("minProperties", 0), schema.get("maxProperties")
    if len(value) < fewest:
        yield _make_invalid(path, len(value), f"should have at least {fewest} properties")
    if most is not None and len(value) > most:
        yield _make_too_many(path, len(value), most)
    for key, inner in value.items():
        known = _find_field(schema, key)
        if known is not None:
            yield from _validate(known, inner, find_old_property(old, key), _join(path, key))
    for key in schema.get("required", ()):
        if key not in value:
            yield FieldFault(_join(path, key), "FieldValueRequired", "Required value")


def _validate_list(schema: Schema, value: list[Any], old: Any, path: str) -> Iterator[FieldFault]:
    for index, item in enumerate(value):
        yield from _validate(schema.get("items", {}), item, find_old_item(schema, old, item), f"{path}[{index}]")
    fewest, most = schema.get("minItems", 0), schema.get("maxItems")
    if len(value) < fewest:
        yield _make_invalid(path, len(value), f"should have at least {fewest} items")
    if most is not None and len(value) > most:
        yield _make_too_many(path, len(value), most)


def _validate_string(schema: Schema, value: str, path: str) -> Iterator[FieldFault]:
    longest, shortest, pattern = schema.get("maxLength"), schema.get("minLength", 0), schema.get("pattern")
    if longest is not None and len(value) > longest:
        text = f"Too long: may not be more than {longest} bytes"
        yield FieldFault(path, "FieldValueTooLong", text)
    elif len(value) < shortest:
        yield _make_invalid(path, value, f"should be at least {shortest} chars long")
    elif pattern is not None and not formats.matches(pattern, value):
        yield _make_invalid(path, value, f"should match '{pattern}'")
    named = schema.get("format", "")
    if not formats.fits(named, value):
        text = f"Invalid value: {_quote(value)}: {path} in body must be of type {named}: {_quote(value)}"
        yield FieldFault(path, "FieldValueTypeInvalid", text)


def _validate_number(schema: Schema, value: float, path: str) -> Iterator[FieldFault]:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    if isinstance(value, int):  # Go compares an integer with the bound's whole part
        lowest, highest = (bound if bound is None else int(bound) for bound in (lowest, highest))
    if lowest is not None and value < lowest:
        yield _make_invalid(path, value, f"should be greater than or equal to {lowest}")
    if highest is not None and value > highest:
        yield _make_invalid(path, value, f"should be less than or equal to {highest}")
    named = schema.get("format", "")
    if schema.get("type") == "integer" and not formats.fits_integer(named, value):
        wanted = f"with format {named}" if named else "(default format)"
        text = f'Invalid value: "": Checked value must be of type integer {wanted} in {path}'
        yield FieldFault("<nil>", "FieldValueInvalid", text)


def _make_invalid(path: str, value: Any, complaint: str) -> FieldFault:
    return FieldFault(path, "FieldValueInvalid", f"Invalid value: {_show(value)}: {path} in body {complaint}")


def _make_too_many(path: str, found: int, most: int) -> FieldFault:
    items = "item" if most == 1 else "items"
    return FieldFault(path, "FieldValueTooMany", f"Too many: {found}: must have at most {most} {items}")


def _show(value: Any) -> str:
    return _quote(value) if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


# rules


def _has_rules(schema: Schema) -> bool:
    return bool(schema.get("x-kubernetes-validations")) or any(_has_rules(inner) for inner in _parts(schema))


def _parts(schema: Schema) -> Iterator[Schema]:
    yield from schema.get("properties", {}).values()
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            yield schema[key]


def _rules(schema: Schema, value: Any, old: Any, path: str, *, same: bool = False) -> Iterator[FieldFault]:
    """
    Args:
        same: whether the nearest value around this one that has an old value is unchanged.
    """
    if value is None:
        return
    if old is not ABSENT:
        same = is_unchanged(schema, old, value)
    for rule in schema.get("x-kubernetes-validations", ()):
        yield from _check(rule, value, old, path, same=same)
    match value:
        case Mapping():
            for key, inner in value.items():
                known = _find_field(schema, key)
                if known is not None:
                    yield from _rules(known, inner, find_old_property(old, key), _join(path, key), same=same)
        case list():
            for index, item in enumerate(value):
                before = find_old_item(schema, old, item)
                yield from _rules(schema.get("items", {}), item, before, f"{path}[{index}]", same=same)


def _check(rule: Mapping[str, Any], value: Any, old: Any, path: str, *, same: bool) -> Iterator[FieldFault]:
    transition = cel.compares(rule["rule"])
    if (old is ABSENT) if transition else same:
        return
    previous = None if old is ABSENT else old
    try:
        if cel.evaluate(rule["rule"], value, previous) is True:
            return
    except cel.Unevaluable as error:
        text = f'"{formats.type_of(value)}": {error} evaluating rule: {rule.get("message") or rule["rule"]}'
        yield FieldFault(path or "<nil>", "FieldValueInvalid", f"Invalid value: {text}")
        return
    reason = rule.get("reason", "FieldValueInvalid")
    shown = "" if isinstance(value, Mapping | list) or reason in _WITHOUT_VALUE else f"{_show(value)}: "
    where = f"{path}{rule.get('fieldPath', '')}".removeprefix(".")
    yield FieldFault(where or "<nil>", reason, f"{_REASONS[reason]}: {shown}{_write_message(rule, value, previous)}")


def _write_message(rule: Mapping[str, Any], value: Any, old: Any) -> str:
    """Say why a rule does not hold. A message expression that fails, or is empty, counts for nothing."""
    plain: str = rule.get("message") or f"failed rule: {rule['rule']}"
    if "messageExpression" not in rule:
        return plain
    try:
        made = cel.evaluate(rule["messageExpression"], value, old)
    except cel.Unevaluable:
        return plain
    return made if isinstance(made, str) and made.strip() and "\n" not in made else plain
