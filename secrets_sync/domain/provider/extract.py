"""From a provider's payload to values: properties, maps, decoding.

    payload            provider   a property is looked up as              numbers of a map
    names and values   vault      a literal name, else a GJSON path       plain (1000, not 1e3)
    one value          fake       a GJSON path                            as written (1e3)

null is the empty value everywhere. Keys of a map are converted, checked and decoded in that order.
Source: External Secrets, providers/v1/{vault,fake} and pkg/controllers/externalsecret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitops_core.meta import Sensitive
from secrets_sync.api import RemoteRef
from secrets_sync.domain import gjson
from secrets_sync.domain.gjson import tokens
from secrets_sync.domain.provider import gojson, keys
from secrets_sync.domain.provider.decoding import Strategy, decode
from secrets_sync.domain.provider.payload import Payload
from secrets_sync.errors import PropertyNotFound, PropertyTooCostly, ValueUnusable


def weigh_extraction(payload: Payload, ref: RemoteRef) -> int:
    """Weigh how much work the two below are: a path's parts may each look at the whole payload."""
    return len(payload.value.reveal()) * (1 + len(ref.property)) // 2 + len(ref.property)


def extract_value(payload: Payload, ref: RemoteRef, where: str) -> Sensitive:
    """Extract the value of one `data` entry.

    Raises:
        PropertyNotFound: the payload has none.
        PropertyTooCostly: the property's path is not followed to its end.
        ValueUnusable: it cannot be decoded.
    """
    return _decode(_pick(payload, ref, where), ref.decoding_strategy, f"{where}: key {ref.key!r}")


def extract_map(payload: Payload, ref: RemoteRef, where: str) -> dict[str, Sensitive]:
    """Extract the keys and values of one `dataFrom.extract` entry.

    Raises:
        PropertyNotFound, PropertyTooCostly: as above.
        ValueUnusable: no JSON object, colliding or impossible keys, values that cannot be decoded.
    """
    place = f"{where}: key {ref.key!r}"
    picked = _pick(payload, ref, where)
    try:
        entries = _scan_entries(picked) if payload.members is None else _decode_entries(picked)
        entries = keys.check(keys.convert(entries, ref.conversion_strategy))
    except ValueError as error:
        raise ValueUnusable(f"{place}: {error}") from None  # the cause could quote the payload
    return {key: _decode(value, ref.decoding_strategy, f"{place}, {key!r}") for key, value in entries.items()}


def encode_members(data: Mapping[str, Any]) -> dict[str, Sensitive]:
    """Encode the values of a decoded JSON object as External Secrets does: numbers by their digits."""
    return {name: _make_sensitive(_spell(value)) for name, value in data.items()}


def _pick(payload: Payload, ref: RemoteRef, where: str) -> Sensitive:
    if not ref.property:
        return payload.value
    if payload.members is not None and ref.property in payload.members:
        return payload.members[ref.property]
    try:
        found = gjson.get(_decode_text(payload.value), ref.property)
    except gjson.TooMuchWork as error:
        raise PropertyTooCostly(where, ref.key, ref.property, str(error)) from None
    if found.exists:
        return _make_sensitive(found.text())
    raise PropertyNotFound(where, ref.key, ref.property)


def _spell(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return str(value)
    return gojson.encode(value)


def _scan_entries(value: Sensitive) -> Mapping[str, Sensitive]:
    text = _decode_text(value)
    if not _parse_object(text):
        return {}
    begin = text.index("{") + 1
    return {tokens.string_of(key): _make_sensitive(_spell_raw(value)) for key, value in tokens.members(text, begin)}


def _decode_entries(value: Sensitive) -> Mapping[str, Sensitive]:
    return {key: _make_sensitive(_spell_plainly(value)) for key, value in _parse_object(_decode_text(value)).items()}


def _parse_object(text: str) -> dict[str, Any]:
    try:
        members = gojson.decode(text)
    except ValueError:
        raise ValueError("not JSON, so there are no keys to extract") from None
    if members is None:
        return {}
    if not isinstance(members, dict):
        raise ValueError("not a JSON object, so there are no keys to extract")  # noqa: TRY004  a value, not an argument
    return members


def _spell_plainly(value: Any) -> str:
    """Spell a value as `_spell` does, but numbers without an exponent, whole ones with all of their digits."""
    return tokens.Value(tokens.Type.NUMBER, str(value)).text() if isinstance(value, gojson.Number) else _spell(value)


def _spell_raw(value: tokens.Value) -> str:
    return value.string if value.type is tokens.Type.STRING else "" if value.type is tokens.Type.NULL else value.raw


def _decode(value: Sensitive, strategy: Strategy, place: str) -> Sensitive:
    try:
        return decode(value, strategy)
    except ValueError as error:
        raise ValueUnusable(f"{place}: {error}") from None


def _decode_text(payload: Sensitive) -> str:
    # surrogateescape: what is not UTF-8 comes through a path unharmed
    return payload.reveal().decode(errors="surrogateescape")


def _make_sensitive(text: str) -> Sensitive:
    return Sensitive(text.encode(errors="surrogateescape"))
