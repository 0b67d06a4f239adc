"""What the API server does with a custom object under its schema: defaults, prunes, validates. Pure functions.

    stored = prune(schema, default(schema, sent)); faults = validate(schema, stored, old)

Nulls: a null where the schema allows none is as good as missing in an object, and an error in a list. Validation goes
on after a fault and collects all of them, but CEL rules are left out once an object is structurally wrong.

Source: k8s.io/apiextensions-apiserver, pkg/apiserver/schema (defaulting, pruning, cel) and pkg/apiserver/validation;
k8s.io/kube-openapi, pkg/validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gitops_core.schema import cel, formats
from gitops_core.schema.correlation import ABSENT, find_old_item, find_old_property, is_unchanged
from gitops_core.schema.fitting import FieldFault, find_faults, find_field, join, show

Schema = Mapping[str, Any]

_META = ("apiVersion", "kind", "metadata")
_BLOCKING = frozenset(
    {"FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"}
)
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
    if isinstance(value, formats.SCALARS):
        return value
    preserves = preserves or schema.get("x-kubernetes-preserve-unknown-fields", False)
    if isinstance(value, list):
        return [_prune(schema.get("items") or {}, item, keep=(), preserves=preserves) for item in value]
    if not isinstance(value, Mapping):
        return value
    if schema.get("x-kubernetes-embedded-resource"):
        keep = _META
    pruned = {}
    for key, inner in value.items():
        known = find_field(schema, key)
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
    faults = (*find_faults(shape, value, before).faults, *besides)
    if any(fault.reason in _BLOCKING for fault in faults):
        return (*faults, UNCHECKED) if _has_rules(schema) else faults
    return (*faults, *_check_rules(schema, value, before, "")) if cel.is_installed() else faults


def write_refusal(kind: str, group: str, name: str, faults: tuple[FieldFault, ...]) -> str:
    """Write the message of the API server's 422."""
    texts = [f"{fault.field}: {fault.message}" for fault in faults]
    return f'{kind}.{group} "{name}" is invalid: ' + (texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")


# defaults


def _default(schema: Schema, value: Any) -> Any:
    if isinstance(value, formats.SCALARS):
        return value
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
    if isinstance(value, formats.SCALARS):
        return value
    if isinstance(value, list):
        items = schema.get("items", {})
        return [remove_stray_nulls(items, item) for item in value]
    if not isinstance(value, Mapping):
        return value
    kept = {}
    for key, inner in value.items():
        known = find_field(schema, key)
        if known is None:
            kept[key] = inner
        elif not _is_stray_null(known, inner) or known.get("default") is not None:
            kept[key] = remove_stray_nulls(known, inner)
    return kept


def _is_stray_null(schema: Schema, value: Any) -> bool:
    return value is None and not schema.get("nullable")


# rules


def _has_rules(schema: Schema) -> bool:
    return bool(schema.get("x-kubernetes-validations")) or any(_has_rules(inner) for inner in _list_parts(schema))


def _list_parts(schema: Schema) -> Iterator[Schema]:
    yield from schema.get("properties", {}).values()
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            yield schema[key]


def _check_rules(schema: Schema, value: Any, old: Any, path: str, *, same: bool = False) -> Iterator[FieldFault]:
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
                known = find_field(schema, key)
                if known is not None:
                    yield from _check_rules(known, inner, find_old_property(old, key), join(path, key), same=same)
        case list():
            for index, item in enumerate(value):
                before = find_old_item(schema, old, item)
                yield from _check_rules(schema.get("items", {}), item, before, f"{path}[{index}]", same=same)


def _check(rule: Mapping[str, Any], value: Any, old: Any, path: str, *, same: bool) -> Iterator[FieldFault]:
    transition = cel.compares(rule["rule"])
    if (old is ABSENT) if transition else same:
        return
    previous = None if old is ABSENT else old
    try:
        if cel.evaluate(rule["rule"], value, previous) is True:
            return
    except cel.Unevaluable as error:
        text = f'"{formats.find_type(value)}": {error} evaluating rule: {rule.get("message") or rule["rule"]}'
        yield FieldFault(path or "<nil>", "FieldValueInvalid", f"Invalid value: {text}")
        return
    reason = rule.get("reason", "FieldValueInvalid")
    shown = "" if isinstance(value, Mapping | list) or reason in _WITHOUT_VALUE else f"{show(value)}: "
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
