"""Random objects of every kind, made from the API classes themselves; whole, and damaged as users damage them."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

import gitops_core.api
import image_updater.api
import secrets_sync.api
from gitops_core.meta import Resource
from gitops_core.schema import make_manifest, make_object_schema

KINDS: tuple[type[Resource], ...] = (*gitops_core.api.KINDS, *image_updater.api.KINDS, *secrets_sync.api.KINDS)
SCHEMAS = {cls: make_object_schema(cls) for cls in KINDS}

# objects of our own classes, from the classes themselves

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x17F), max_size=8)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(0, 2**31 - 1),
    bool: st.booleans(),
    bytes: st.binary(max_size=4),
    Any: st.none() | st.integers(-9, 9) | TEXT,
    datetime: st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 zoned
}


def values(t: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, within its constraints."""
    origin, args = get_origin(t), get_args(t)
    if origin is Annotated:
        return constrained(args[0], t.__metadata__)
    if origin in (Union, types.UnionType):
        return st.one_of(*(st.none() if a is types.NoneType else values(a) for a in args))
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(values(args[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(TEXT, values(args[1]), max_size=2)
    if t in SCALARS:
        return SCALARS[t]
    return structs(t)


def constrained(t: Any, metas: tuple[msgspec.Meta, ...]) -> st.SearchStrategy[Any]:
    if t is int:
        lowest = max((int(meta.ge) for meta in metas if meta.ge is not None), default=0)
        highest = min((int(meta.le) for meta in metas if meta.le is not None), default=2**31 - 1)
        return st.integers(lowest, highest)
    shortest = max((meta.min_length or 0 for meta in metas), default=0)
    longest = min((meta.max_length or 10**6 for meta in metas), default=10**6)
    pattern = next((meta.pattern for meta in metas if meta.pattern), None)
    strategy = matching(pattern) if pattern else None
    if strategy is None and t is str:
        strategy = st.text(TEXT_ALPHABET, min_size=shortest, max_size=min(longest, shortest + 5))
    strategy = values(t) if strategy is None else strategy
    if shortest == 0 and longest == 10**6:
        return strategy
    return strategy.filter(lambda value: shortest <= len(value) <= longest)


TEXT_ALPHABET = st.characters(min_codepoint=97, max_codepoint=122)


@cache
def matching(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern, alphabet=st.characters(codec="ascii")).filter(lambda text: "\n" not in text)


@cache
def structs(cls: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    fields = msgspec.structs.fields(cls)
    required = {f.name: values(f.type) for f in fields if f.required}
    optional = {f.name: values(f.type) for f in fields if not f.required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: cls(**given))


RESOURCES: st.SearchStrategy[Resource] = st.one_of(*(structs(cls) for cls in KINDS))

# objects as users send them, whole and damaged

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 99) | st.sampled_from(["", "a", "10m", "é", "Always", "x y"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "key", "z"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn, manifests: st.SearchStrategy[Any]) -> Any:
    """A manifest in whose spec some values were replaced, dropped or added."""
    manifest = json.loads(json.dumps(draw(manifests)))
    for _ in range(draw(st.integers(0, 3))):
        places = list(containers(manifest.get("spec")))
        if not places:
            break
        place = draw(st.sampled_from(places))
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from([*keys, "unknownField"] if isinstance(place, dict) else keys))
        if isinstance(place, dict) and key in place and draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(JSON)
    return manifest


def containers(value: Any) -> Iterator[Any]:
    """`value` and everything in it that has items of its own."""
    if isinstance(value, dict) or (isinstance(value, list) and value):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from containers(item)


SENT = st.one_of(*(st.tuples(st.just(cls), damaged(structs(cls).map(make_manifest))) for cls in KINDS))
