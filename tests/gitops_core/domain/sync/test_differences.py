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

    assert [(path, new, old) for path, old, new in there] == [tuple(each) for each in back]
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
