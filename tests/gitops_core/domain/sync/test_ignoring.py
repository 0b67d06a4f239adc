"""Fields that are left to others: what is applied in their place."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.api.kustomization import IgnoreRule, Selector
from gitops_core.domain.sync.ignoring import IgnoreInvalid, IgnoreRules, leave_alone

NAMES = st.sampled_from(["a", "b", "c/d", "e~f"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, 3),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=3)
POINTERS = st.lists(st.lists(NAMES | st.sampled_from(["0", "1"]), min_size=1, max_size=3).map(tuple), max_size=3)


def list_places(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = [list_places(item, (*path, str(name))) for name, item in items]
    return {path: value} | {place: item for places in inner for place, item in places.items()}


@given(OBJECTS, OBJECTS, POINTERS)
def test_what_is_applied_says_of_an_ignored_field_what_is_there_or_nothing(
    wanted: dict[str, Any], live: dict[str, Any], pointers: list[tuple[str, ...]]
) -> None:
    whole = [pointer for pointer in pointers if not any(p != pointer and p == pointer[: len(p)] for p in pointers)]
    ordered = IgnoreRules(((lambda _: True, tuple(whole)),)).list_pointers({})

    applied = list_places(leave_alone(wanted, live, ordered, "us"))

    there, asked = list_places(live), list_places(wanted)
    maps = [pointer for pointer in whole if not any(part.isdigit() for part in pointer)]
    for pointer in maps:
        assert pointer not in applied or applied[pointer] == there[pointer]
    for place, value in asked.items():
        near = [
            p for p in whole if p[: len(place)] == place or place[: len(p)] == p or p[: len(place) - 1] == place[:-1]
        ]
        if not near and not any(isinstance(asked.get(place[:end]), list) for end in range(len(place))):
            assert applied[place] == value


@given(OBJECTS, POINTERS)
def test_an_object_that_is_not_there_is_made_with_all_its_fields(
    wanted: dict[str, Any], pointers: list[tuple[str, ...]]
) -> None:
    assert leave_alone(wanted, None, pointers, "us") == wanted


def test_items_that_are_not_there_are_left_out_without_moving_each_other() -> None:
    rules = IgnoreRules.parse([IgnoreRule(paths=("/spec/list/0", "/spec/list/1", "/spec/list/10"))])
    wanted = {**web(), "spec": {"list": [*range(12)]}}

    applied = leave_alone(wanted, {"spec": {"list": []}}, rules.list_pointers(wanted), "us")

    assert applied["spec"] == {"list": [*range(2, 10), 11]}


def live_with(manager: str, operation: str) -> dict[str, Any]:
    fields: Any = {"f:spec": {"f:replicas": {}, "f:list": {'k:{"name":"x"}': {"f:v": {}}}}}
    entry = {"manager": manager, "operation": operation, "fieldsV1": fields}
    return {"metadata": {"managedFields": [entry]}, "spec": {"replicas": 4, "list": [{"name": "x", "v": 2}]}}


@pytest.mark.parametrize(
    ("manager", "operation", "applied"),
    [
        ("autoscaler", "Apply", {"list": [{"name": "x"}]}),
        ("autoscaler", "Update", {"replicas": 4, "list": [{"name": "x", "v": 2}]}),
        ("us", "Apply", {"replicas": 4, "list": [{"name": "x", "v": 2}]}),
    ],
)
def test_a_field_that_another_applies_is_not_applied_by_us(manager: str, operation: str, applied: Any) -> None:
    wanted = {"spec": {"replicas": 1, "list": [{"name": "x", "v": 1}]}}
    pointers = [("spec", "replicas"), ("spec", "list", "0", "v")]

    assert leave_alone(wanted, live_with(manager, operation), pointers, "us") == {"spec": applied}


def applied_by(**managers: Any) -> dict[str, Any]:
    entries = [{"manager": name, "operation": "Apply", "fieldsV1": fields} for name, fields in managers.items()]
    return {"metadata": {"managedFields": entries}}


PORT = 'k:{"port":80,"protocol":"TCP"}'


@pytest.mark.parametrize(
    ("wanted", "live", "pointer", "applied"),
    [
        # a sidecar stands before it
        (
            [{"name": "app", "image": "app:1"}],
            [{"name": "sidecar", "image": "sidecar:1"}, {"name": "app", "image": "app:9"}],
            ("0", "image"),
            [{"name": "app", "image": "app:9"}],
        ),
        # it is new
        (
            [{"name": "app", "image": "app:1"}, {"name": "new", "image": "new:1"}],
            [{"name": "app", "image": "app:9"}, {"name": "sidecar", "image": "sidecar:1"}],
            ("1", "image"),
            [{"name": "app", "image": "app:1"}, {"name": "new", "image": "new:1"}],
        ),
        # its key says which it is
        ([{"name": "app"}], [{"name": "sidecar"}, {"name": "app"}], ("0", "name"), [{"name": "app"}]),
        # the protocol is TCP
        (
            [{"port": 80, "nodePort": 1}],
            [{"port": 79, "protocol": "TCP", "nodePort": 2}, {"port": 80, "protocol": "TCP", "nodePort": 3}],
            ("0", "nodePort"),
            [{"port": 80, "nodePort": 3}],
        ),
        # another port is another item
        (
            [{"name": "http", "port": 81, "nodePort": 1}],
            [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 2}],
            ("0", "nodePort"),
            [{"name": "http", "port": 81, "nodePort": 1}],
        ),
    ],
)
def test_an_item_of_a_list_is_the_one_with_its_key(wanted: Any, live: Any, pointer: Any, applied: Any) -> None:
    found = leave_alone({"spec": {"list": wanted}}, {"spec": {"list": live}}, [("spec", "list", *pointer)], "us")

    assert found == {"spec": {"list": applied}}


@pytest.mark.parametrize(
    ("theirs", "applied"),
    [
        ({"f:data": {"f:x": {}}}, {"a": "1", "b": "1"}),
        ({"f:data": {"f:a": {}, "f:x": {}}}, {"b": "1"}),
        ({"f:data": {"f:a": {}, "f:b": {}}}, None),
        ({"f:other": {}}, {"a": "1", "b": "1", "x": "2"}),
    ],
)
def test_what_we_alone_apply_of_an_ignored_field_stays_ours(theirs: Any, applied: Any) -> None:
    """What an apply says no more, the API server removes."""
    live = {**applied_by(us={"f:data": {"f:a": {}, "f:b": {}}}, them=theirs), "data": {"a": "1", "b": "1", "x": "2"}}

    found = leave_alone({"data": {"a": "9", "b": "9"}}, live, [("data",)], "us")

    assert found.get("data") == applied


def test_the_rest_of_a_list_that_others_apply_too_keeps_its_keys() -> None:
    ours: Any = {"f:list": {PORT: {".": {}, "f:port": {}, "f:nodePort": {}}}}
    theirs: Any = {"f:list": {PORT: {".": {}, "f:port": {}, "f:name": {}}}}
    items = [{"port": 80, "protocol": "TCP", "name": "http", "nodePort": 2}]

    found = leave_alone(
        {"list": [{"port": 80, "nodePort": 1}]}, {**applied_by(us=ours, them=theirs), "list": items}, [("list",)], "us"
    )

    assert found == {"list": [{"port": 80, "protocol": "TCP", "name": "http", "nodePort": 2}]}


def web(kind: str = "Deployment", **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web", "namespace": "shop", **metadata}}


@pytest.mark.parametrize(
    ("target", "is_meant"),
    [
        (None, True),
        (Selector(kind="Deployment"), True),
        (Selector(kind="Deploy"), False),
        (Selector(kind="Deploy.*", group="apps", version="v1", namespace="shop", name="we."), True),
        (Selector(name="api|web"), True),
        (Selector(label_selector="app=web,tier!=db"), True),
        (Selector(label_selector="app=api"), False),
        (Selector(annotation_selector="note"), False),
    ],
)
def test_a_target_selects_by_whole_names_and_labels(target: Selector | None, is_meant: bool) -> None:
    rules = IgnoreRules.parse([IgnoreRule(paths=("/spec/replicas",), target=target)])

    assert bool(rules.list_pointers(web(labels={"app": "web"}))) == is_meant


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        (IgnoreRule(paths=("/spec/a", "spec/replicas")), "spec.ignore[0].paths[1]: 'spec/replicas' is no JSON pointer"),
        (IgnoreRule(paths=("/",)), "spec.ignore[0].paths[0]: '/' is no JSON pointer"),
        (IgnoreRule(paths=("/metadata",)), "spec.ignore[0].paths[0]: /metadata says which object it is"),
        (IgnoreRule(paths=("/kind",)), "spec.ignore[0].paths[0]: /kind says which object it is"),
        (IgnoreRule(paths=("/a",), target=Selector(name="(")), "spec.ignore[0].target: "),
        (IgnoreRule(paths=("/a",), target=Selector(label_selector="a in")), "spec.ignore[0].target: "),
    ],
)
def test_a_rule_that_cannot_be_read_is_named(rule: IgnoreRule, place: str) -> None:
    with pytest.raises(IgnoreInvalid) as raised:
        IgnoreRules.parse([rule])

    assert str(raised.value).startswith(place)


def test_a_pattern_that_would_take_for_ever_takes_a_moment() -> None:
    rules = IgnoreRules.parse([IgnoreRule(paths=("/a",), target=Selector(name="(a*)*b"))])

    assert rules.list_pointers(web(name="a" * 250)) == ()


def test_many_fields_of_a_long_list_take_a_moment() -> None:
    names = [f"n{number}" for number in range(5_000)]
    wanted = {"spec": {"list": [{"name": name, "v": 1} for name in names]}}
    live = {"spec": {"list": [{"name": name, "v": 2} for name in reversed(names)]}}
    began = time.process_time()

    applied = leave_alone(wanted, live, [("spec", "list", str(n), "v") for n in reversed(range(5_000))], "us")

    assert applied == {"spec": {"list": [{"name": name, "v": 2} for name in names]}}
    assert time.process_time() - began < 5
    assert wanted["spec"]["list"][0] == {"name": "n0", "v": 1}
