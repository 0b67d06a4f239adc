"""What differs between two objects, field by field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.sync.differences import LONGEST, list_differences

NAMES = st.sampled_from(["a", "b", "name"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["x", "y"]),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.fixed_dictionaries({"spec": VALUES})


@given(OBJECTS)
def test_an_object_does_not_differ_from_itself(one: dict[str, Any]) -> None:
    assert list_differences(one, one) == ()


@given(OBJECTS, OBJECTS)
def test_two_objects_that_are_not_the_same_differ_and_the_other_way_round(one: Any, other: Any) -> None:
    there, back = list_differences(one, other), list_differences(other, one)

    assert [(one.path, one.new, one.old) for one in there] == [each[:3] for each in back]
    assert bool(there) == (repr(one) != repr(other)) or not there


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"a": 1}, {"a": True}, ["spec.a: 1 -> true"]),
        ({"a": "1"}, {"a": 1}, ["spec.a: 1 -> 1"]),
        (
            {"l": [{"name": "x", "i": 1}, {"name": "y"}]},
            {"l": [{"name": "y"}, {"name": "x", "i": 2}]},
            ["spec.l[x].i: 1 -> 2"],
        ),
        ({"l": [{"name": "x"}]}, {"l": [{"name": "x"}, {"name": "x"}]}, ['spec.l[1]: + {"name": "x"}']),
        ({"l": [1, 2]}, {"l": [1]}, ["spec.l[1]: - 2"]),
        ({"a": None}, {}, ["spec.a: - null"]),
    ],
)
def test_fields_are_told_by_their_place_and_items_by_their_names(old: Any, new: Any, told: list[str]) -> None:
    assert [str(one) for one in list_differences({"spec": old}, {"spec": new})] == told


def test_what_the_api_server_keeps_is_no_difference() -> None:
    kept = {"resourceVersion": "1", "generation": 1, "uid": "u", "managedFields": [{}], "creationTimestamp": "t"}

    assert list_differences({"metadata": kept, "status": {"a": 1}}, {"metadata": {"labels": {}}}) != ()
    assert list_differences({"metadata": kept, "status": {"a": 1}}, {"metadata": {}}) == ()


def test_a_long_value_is_cut_and_a_secret_value_is_not_told() -> None:
    (long,) = list_differences({"data": {"a": "x" * 500}}, {"data": {"a": "y"}})
    muted = list_differences(
        {"kind": "Secret", "data": {"a": "x"}}, {"kind": "Secret", "data": {"a": "y"}, "type": "z"}
    )

    assert long.old is not None
    assert len(long.old) == LONGEST
    assert [str(one) for one in muted] == ["data.a: *** -> ***", "type: + z"]


def test_kubectls_copy_of_a_secret_is_not_told_either() -> None:
    name = "kubectl.kubernetes.io/last-applied-configuration"
    old, new = ({"kind": "Secret", "metadata": {"annotations": {name: text, "a": "b"}}} for text in ("one", "other"))
    bare = {"kind": "Secret", "metadata": {}}

    assert [str(one) for one in list_differences(old, new)] == [f"metadata.annotations.{name}: *** -> ***"]
    assert [str(one) for one in list_differences(old, bare)] == ["metadata.annotations: - ***"]


def test_of_long_values_it_is_told_where_they_differ() -> None:
    old, new = ("x" * 300 + "level: " + level + "y" * 300 for level in ("info", "debug"))

    (long,) = list_differences({"data": {"a": old}}, {"data": {"a": new}})

    assert str(long).startswith("data.a: ...xxxxxxxxxxxxxlevel: infoyyy")
    assert " -> ...xxxxxxxxxxxxxlevel: debugyyy" in str(long)
    assert [len(side or "") for side in long[1:3]] == [LONGEST, LONGEST]


def test_a_value_is_muted_before_it_is_cut() -> None:
    secret = "hunter2hunter2"

    (one,) = list_differences({"a": "-" * 110 + secret}, {"a": "b"}, mute=lambda text: text.replace(secret, "***"))

    assert one.old == "-" * 110 + "***"


def test_a_name_is_muted_too() -> None:
    (one,) = list_differences({"data": {}}, {"data": {"hunter2": 1}}, mute=lambda text: text.replace("hunter2", "***"))

    assert str(one) == "data.***: + 1"


def test_two_fields_that_are_written_alike_are_both_told() -> None:
    found = list_differences({"a.b": 1, "a": {"b": 1}}, {"a.b": 2, "a": {}})

    assert sorted(map(str, found)) == ["a.b: - 1", "a.b: 1 -> 2"]


def entry(manager: str, fields: dict[str, Any], time: str = "2026-01-01T00:00:00Z", **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields, **more}


CONTAINER: dict[str, Any] = {"f:spec": {"f:containers": {'k:{"name":"main"}': {".": {}, "f:image": {}}}}}


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([entry("kubectl-edit", {"f:spec": {"f:replicas": {}}})], ["spec.replicas: 5 -> 1 (set by kubectl-edit)"]),
        ([entry("us", {"f:spec": {"f:replicas": {}}}), entry("you", {"f:spec": {"f:replicas": {}}})], None),
        ([entry("kubelet", {"f:spec": {"f:replicas": {}}}, subresource="status")], None),
        ([entry("you", {"f:spec": {"f:paused": {}}})], None),
        ([entry("you", {"x": 1})], None),
        (["you", {"manager": ["you"], "fieldsV1": [1], "time": 5}, {}], None),
        (
            [entry("first", {"f:spec": {}}), entry("last", {"f:spec": {}}, "2026-01-02T00:00:00Z")],
            ["spec.replicas: 5 -> 1 (set by last)"],
        ),
    ],
)
def test_who_set_the_old_value_is_told_unless_that_was_us(entries: Any, told: list[str] | None) -> None:
    live = {"metadata": {"managedFields": entries}, "spec": {"replicas": 5}}

    found = list_differences(live, {"spec": {"replicas": 1}}, "us")

    assert [str(one) for one in found] == (told or ["spec.replicas: 5 -> 1"])


def test_nobody_set_what_is_not_there() -> None:
    live = {"metadata": {"managedFields": [entry("you", {"f:spec": {".": {}, "f:list": {}}})]}, "spec": {"list": []}}

    found = list_differences(live, {"spec": {"list": [1], "replicas": 1}}, "us")

    assert [str(one) for one in found] == ["spec.list[0]: + 1", "spec.replicas: + 1"]


def test_who_set_an_item_of_a_list_is_found_by_its_key_or_with_all_of_the_list() -> None:
    owned = {"metadata": {"managedFields": [entry("set-image", CONTAINER)]}}
    whole = {"metadata": {"managedFields": [entry("set-args", {"f:spec": {"f:args": {}}})]}}
    old, new = ({"spec": {"containers": [{"name": "main", "image": tag}], "args": [tag]}} for tag in "ab")

    assert [one.by for one in list_differences(owned | old, new, "us")] == ["", "set-image"]
    assert [one.by for one in list_differences(whole | old, new, "us")] == ["set-args", ""]
