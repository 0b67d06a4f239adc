"""Laws of server-side apply, of the sets of fields it counts with, and of the patches beside it.

That the results are the API server's own is what tests/contracts/test_cluster_generated.py shows.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.objects.fieldschemas import Atom, read_type
from gitops_core.domain.objects.fieldsets import NOTHING, FieldSet, spell
from gitops_core.domain.objects.patches import apply_json_patch, apply_merge_patch
from gitops_core.domain.objects.serversideapply import (
    MOST_UPDATERS,
    OwnedByOthers,
    Writer,
    apply,
    decode,
    encode,
    update,
)
from gitops_core.domain.objects.typedvalues import ABSENT, collect_fields, compare, is_equal, merge, remove

NOW = datetime(2026, 1, 1, tzinfo=UTC)

TEXT: dict[str, Any] = {"type": "string"}
MAP: dict[str, Any] = {"type": "object", "additionalProperties": TEXT}
ITEMS: dict[str, Any] = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {"type": "object", "properties": {"name": TEXT, "value": TEXT, "more": MAP}},
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "apiVersion": TEXT,
        "kind": TEXT,
        "metadata": {"type": "object", "properties": {"uid": TEXT, "labels": MAP}},
        "text": TEXT,
        "map": MAP,
        "whole": {**MAP, "x-kubernetes-map-type": "atomic"},
        "items": ITEMS,
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT},
        "steps": {"type": "array", "items": TEXT},
    },
}
TYPE: Atom = read_type(SCHEMA)
EMPTY: dict[str, Any] = {"apiVersion": "v1", "kind": "Thing", "metadata": {}}

texts = st.sampled_from(["a", "b", "c"])
# Never empty: an empty map or list is a value of its own, which is merged and owned as one, as the API server does.
maps = st.dictionaries(texts, texts, min_size=1, max_size=3)
items = st.lists(
    st.fixed_dictionaries({"name": texts}, optional={"value": texts, "more": maps}),
    min_size=1,
    max_size=3,
    unique_by=lambda item: str(item["name"]),
)
objects = st.fixed_dictionaries(
    {},
    optional={
        "text": texts,
        "map": maps,
        "whole": maps,
        "items": items,
        "tags": st.lists(texts, min_size=1, max_size=3, unique=True),
        "steps": st.lists(texts, min_size=1, max_size=3),
    },
)
elements = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"', "v:1"])
fieldsets = st.lists(st.lists(elements, min_size=1, max_size=3).map(tuple), max_size=6).map(FieldSet.of)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def writer(name: str) -> Writer:
    return Writer(name, "v1", {"v1": TYPE}.get, NOW)


def manifest(content: dict[str, Any]) -> dict[str, Any]:
    return {**EMPTY, **content}


def applied(live: dict[str, Any] | None, content: dict[str, Any], name: str, *, force: bool = True) -> dict[str, Any]:
    result = apply(live or EMPTY, manifest(content), writer(name), force=force, empty=EMPTY, complete=dict)
    return {**result, "metadata": {**result["metadata"], "uid": "1"}}


# sets of fields


@given(fieldsets)
def test_fields_are_written_and_read_again(fields: FieldSet) -> None:
    assert FieldSet.from_fields(json.loads(json.dumps(fields.write_fields()))) == fields


@given(fieldsets, fieldsets)
def test_sets_are_sets_of_paths(one: FieldSet, two: FieldSet) -> None:
    first, second = set(one), set(two)

    assert set(one | two) == first | second
    assert set(one & two) == first & second
    assert set(one - two) == first - second
    assert bool(one - two) == bool(first - second)
    assert all((path in one) == (path in first) for path in first | second)


@given(fieldsets, fieldsets)
def test_without_takes_what_is_below_too(one: FieldSet, two: FieldSet) -> None:
    rest = {p for p in one if not any(p[: len(q)] == q for q in two)}

    assert set(one.leave_out(two)) == rest


def test_paths_are_spelled_as_the_server_does() -> None:
    path = ("f:spec", 'k:{"port":80,"protocol":"TCP"}', 'v:"x"', "i:3")

    assert spell(path) == '.spec[port=80,protocol="TCP"][="x"][3]'


# comparing and merging


@given(objects)
def test_an_object_is_the_same_as_itself(one: dict[str, Any]) -> None:
    changes = compare(TYPE, one, one)

    assert not changes.added | changes.modified | changes.removed
    assert merge(TYPE, one, one) == one


@given(objects, objects)
def test_a_field_added_by_one_comparison_is_removed_by_the_reverse(one: dict[str, Any], two: dict[str, Any]) -> None:
    there, back = compare(TYPE, one, two), compare(TYPE, two, one)

    assert (there.added, there.removed, there.modified) == (back.removed, back.added, back.modified)


@given(objects, objects)
def test_a_merge_says_what_both_say_and_loses_nothing(live: dict[str, Any], config: dict[str, Any]) -> None:
    merged = merge(TYPE, live, config)

    assert not compare(TYPE, live, merged).removed
    assert is_equal(merge(TYPE, merged, config), merged)
    assert not collect_fields(TYPE, config) - collect_fields(TYPE, merged)
    assert merge(TYPE, ABSENT, config) == config


@given(objects)
def test_removing_everything_leaves_nothing(one: dict[str, Any]) -> None:
    assert not remove(TYPE, one, FieldSet.of(("f:" + name,) for name in one))
    assert is_equal(remove(TYPE, one, NOTHING) or {}, one)


# applies


@given(objects)
def test_the_same_apply_again_changes_nothing(content: dict[str, Any]) -> None:
    once = applied(None, content, "ann")

    assert applied(once, content, "ann") == once


@given(objects, objects)
def test_one_manager_alone_gets_what_it_applied_last(first: dict[str, Any], second: dict[str, Any]) -> None:
    both, fresh = applied(applied(None, first, "ann"), second, "ann"), applied(None, second, "ann")

    assert collect_fields(TYPE, {**both, **EMPTY}) == collect_fields(TYPE, {**fresh, **EMPTY})
    assert both["metadata"].get("managedFields") == fresh["metadata"].get("managedFields")


@given(objects, objects)
def test_a_forced_apply_wins(first: dict[str, Any], second: dict[str, Any]) -> None:
    result = applied(applied(None, first, "ann"), second, "bob")

    owned = decode(result["metadata"].get("managedFields", ()))
    mine = next((o.fields for manager, o in owned.items() if manager.name == "bob"), NOTHING)
    assert not compare(TYPE, result, merge(TYPE, result, manifest(second))).modified
    assert mine == collect_fields(TYPE, second)


@given(objects, objects)
def test_without_force_an_apply_takes_nothing_from_others(first: dict[str, Any], second: dict[str, Any]) -> None:
    live = applied(None, first, "ann")
    before = decode(live["metadata"].get("managedFields", ()))
    try:
        result = applied(live, second, "bob", force=False)
    except OwnedByOthers as refused:
        assert all(path in collect_fields(TYPE, first) for _, path in refused.conflicts)  # noqa: PT017 - may or may not
        return

    after = decode(result["metadata"].get("managedFields", ()))
    assert all(after[manager].fields == owned.fields for manager, owned in before.items())


@given(objects, objects, objects)
def test_fields_that_somebody_still_applies_stay(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    live = applied(applied(None, a, "ann"), b, "bob")
    kept = next(
        (o.fields for m, o in decode(live["metadata"].get("managedFields", ())).items() if m.name == "bob"), NOTHING
    )

    result = applied(live, c, "ann")

    assert not kept - collect_fields(TYPE, result)


@given(objects, st.lists(st.tuples(texts, objects), max_size=4))
def test_entries_are_written_and_read_again(first: dict[str, Any], more: list[tuple[str, dict[str, Any]]]) -> None:
    live = applied(None, first, "ann")
    for name, content in more:
        live = applied(live, content, name)

    entries = live["metadata"].get("managedFields", [])
    assert encode(decode(entries)) == entries


# updates


@given(objects, objects)
def test_an_update_owns_what_it_changes_and_nothing_twice(first: dict[str, Any], second: dict[str, Any]) -> None:
    live = update(EMPTY, manifest(first), writer("ann"), created=True)
    live["metadata"]["uid"] = "1"
    new = update(live, {**manifest(second), "metadata": live["metadata"]}, writer("bob"))

    owned = decode(new["metadata"].get("managedFields", ()))
    changes = compare(TYPE, {**live, "metadata": {}}, {**new, "metadata": {}})
    bob = next((o.fields for manager, o in owned.items() if manager.name == "bob"), NOTHING)
    ann = next((o.fields for manager, o in owned.items() if manager.name == "ann"), NOTHING)
    if not decode(live["metadata"].get("managedFields", ())):
        assert not owned  # nobody is recorded for an object that nobody is recorded for
        return
    assert bob == changes.added | changes.modified
    assert not bob & ann


def test_old_updaters_become_one() -> None:
    live = update(EMPTY, manifest({"map": {"start": "1"}}), writer("start"), created=True)
    live["metadata"]["uid"] = "1"
    for number in range(MOST_UPDATERS + 3):
        changed = {**live, "map": {**live["map"], f"n{number:02}": "1"}}
        live = update(live, changed, writer(f"m{number:02}"))

    entries = live["metadata"]["managedFields"]
    assert len(entries) == MOST_UPDATERS
    assert "ancient-changes" in {entry["manager"] for entry in entries}


@pytest.mark.parametrize("reset", [[], [{}]])
def test_owners_can_be_forgotten(reset: list[Any]) -> None:
    live = applied(None, {"text": "a"}, "ann")

    forgotten = update(live, {**live, "metadata": {"uid": "1", "managedFields": reset}}, writer("ann"))

    assert "managedFields" not in forgotten["metadata"]


# patches


def holds_null(value: Any) -> bool:
    """Whether a list in `value` holds a null: some of those are kept by the API server, and others dropped."""
    if isinstance(value, dict):
        return any(holds_null(item) for item in value.values())
    return isinstance(value, list) and "null" in json.dumps(value)


@given(documents, documents.filter(lambda patch: not holds_null(patch)))
def test_a_merge_patch_is_idempotent(document: Any, patch: Any) -> None:
    once = apply_merge_patch(document, patch)

    assert apply_merge_patch(once, patch) == once


@given(st.dictionaries(texts, documents, max_size=3), texts, documents)
def test_a_json_patch_can_test_and_remove_a_value_that_it_added(document: Any, name: str, value: Any) -> None:
    path = f"/{name}"
    added = apply_json_patch(
        document, [{"op": "add", "path": path, "value": value}, {"op": "test", "path": path, "value": value}]
    )
    removed = apply_json_patch(added, [{"op": "remove", "path": path}])

    assert added == {**document, name: value}
    assert removed == {key: inner for key, inner in document.items() if key != name}
