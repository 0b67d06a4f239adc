"""From a provider's payload to values: properties, maps, decoding.

    provider   a property is looked up as              numbers of a map
    vault      a literal key, else a GJSON path        plain (1000, not 1e3)
    fake       a GJSON path                            as written (1e3)

null is the empty value everywhere. Keys of a map are converted, checked and decoded in that order.
Source: External Secrets, providers/v1/{vault,fake} and pkg/controllers/externalsecret.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from gitops_core.meta import Sensitive
from secrets_sync.api import RemoteRef
from secrets_sync.domain import gjson, gojson, keys
from secrets_sync.domain.decoding import Strategy, decoded
from secrets_sync.domain.gjson import tokens
from secrets_sync.errors import PropertyNotFound, PropertyTooCostly, ValueUnusable


class PropertyRule(Enum):
    """How a provider reads a property."""

    LITERAL_FIRST = "a key of that very name, else a path"
    PATH = "a path"


def weight_of(payload: Sensitive, ref: RemoteRef) -> int:
    """About how much work `value_of` and `map_of` are: a path's parts may each look at the whole payload."""
    return len(payload.reveal()) * (1 + len(ref.property)) // 2 + len(ref.property)


def value_of(payload: Sensitive, ref: RemoteRef, rule: PropertyRule, where: str) -> Sensitive:
    """The value of one `data` entry.

    Raises:
        PropertyNotFound: the payload has none.
        PropertyTooCostly: the property's path is not followed to its end.
        ValueUnusable: it cannot be decoded.
    """
    picked = _picked(payload, ref, rule, where)
    return _decoded(picked, ref.decoding_strategy, f"{where}: key {ref.key!r}")


def map_of(payload: Sensitive, ref: RemoteRef, rule: PropertyRule, where: str) -> dict[str, Sensitive]:
    """The keys and values of one `dataFrom.extract` entry.

    Raises:
        PropertyNotFound, PropertyTooCostly: as above.
        ValueUnusable: no JSON object, colliding or impossible keys, values that cannot be decoded.
    """
    place = f"{where}: key {ref.key!r}"
    picked = _picked(payload, ref, rule, where)
    try:
        entries = _members(picked, rule)
        entries = keys.checked(keys.converted(entries, ref.conversion_strategy))
    except ValueError as error:
        raise ValueUnusable(f"{place}: {error}") from None  # the cause could quote the payload
    return {key: _decoded(value, ref.decoding_strategy, f"{place}, {key!r}") for key, value in entries.items()}


def _picked(payload: Sensitive, ref: RemoteRef, rule: PropertyRule, where: str) -> Sensitive:
    if not ref.property:
        return payload
    text = _text(payload)
    if rule is PropertyRule.LITERAL_FIRST and (literal := _literal(text, ref.property)) is not None:
        return literal
    try:
        found = gjson.get(text, ref.property)
    except gjson.TooMuchWork as error:
        raise PropertyTooCostly(where, ref.key, ref.property, str(error)) from None
    if found.exists:
        return _sensitive(found.text())
    raise PropertyNotFound(where, ref.key, ref.property)


def _literal(text: str, key: str) -> Sensitive | None:
    try:
        payload = gojson.decode(text)
    except ValueError:
        return None
    if isinstance(payload, dict) and key in payload:
        return _sensitive(_typed(payload[key]))
    return None


def _typed(value: Any) -> str:
    """A decoded value as External Secrets turns it into bytes: numbers by their digits."""
    match value:
        case None:
            return ""
        case str():
            return str(value)
    return gojson.encode(value)


def _members(payload: Sensitive, rule: PropertyRule) -> Mapping[str, Sensitive]:
    text = _text(payload)
    try:
        members = gojson.decode(text)
    except ValueError:
        raise ValueError("not JSON, so there are no keys to extract") from None
    if members is None:
        return {}
    if not isinstance(members, dict):
        raise ValueError("not a JSON object, so there are no keys to extract")  # noqa: TRY004  a value, not an argument
    if rule is PropertyRule.LITERAL_FIRST:
        return {key: _sensitive(_plain(value)) for key, value in members.items()}
    begin = text.index("{") + 1
    return {tokens.string_of(key): _sensitive(_raw(value)) for key, value in tokens.members(text, begin)}


def _plain(value: Any) -> str:
    """As `_typed`, but numbers without an exponent, whole ones with all of their digits."""
    return tokens.Value(tokens.Type.NUMBER, str(value)).text() if isinstance(value, gojson.Number) else _typed(value)


def _raw(value: tokens.Value) -> str:
    return value.string if value.type is tokens.Type.STRING else "" if value.type is tokens.Type.NULL else value.raw


def _decoded(value: Sensitive, strategy: Strategy, place: str) -> Sensitive:
    try:
        return decoded(value, strategy)
    except ValueError as error:
        raise ValueUnusable(f"{place}: {error}") from None


def _text(payload: Sensitive) -> str:
    # surrogateescape: what is not UTF-8 comes through a path unharmed
    return payload.reveal().decode(errors="surrogateescape")


def _sensitive(text: str) -> Sensitive:
    return Sensitive(text.encode(errors="surrogateescape"))
