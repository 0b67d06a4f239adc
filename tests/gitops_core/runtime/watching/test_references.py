"""The reverse index says the same as looking through everything would."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.runtime.watching.references import ReferenceIndex

KEYS = st.builds(ObjectKey, st.sampled_from("ab"), st.sampled_from("xyz"))
REFS = st.builds(
    ObjectRef,
    st.sampled_from([Kind("", "v1", "Secret"), Kind("", "v1", "ConfigMap")]),
    st.builds(ObjectKey, st.sampled_from("ab"), st.sampled_from("pq*")),
)


@settings(max_examples=100)
@given(st.lists(st.tuples(KEYS, st.frozensets(REFS, max_size=4)), max_size=12), REFS)
def test_the_index_is_the_inverse_of_the_references(
    updates: list[tuple[ObjectKey, frozenset[ObjectRef]]], changed: ObjectRef
) -> None:
    index = ReferenceIndex()
    current: dict[ObjectKey, frozenset[ObjectRef]] = {}
    for key, references in updates:
        index.update(key, references)
        current[key] = references

    everything = ObjectRef(changed.kind, ObjectKey(changed.key.namespace, "*"))
    assert index.list_referrers(changed) == {k for k, refs in current.items() if changed in refs or everything in refs}
    assert index.kinds == {ref.kind for refs in current.values() for ref in refs}


def test_nothing_is_kept_of_keys_that_are_gone() -> None:
    index = ReferenceIndex()
    key, ref = ObjectKey("a", "x"), ObjectRef(Kind("", "v1", "Secret"), ObjectKey("a", "p"))
    index.update(key, [ref])

    index.update(key, [])

    assert not index.kinds
    assert not index.list_referrers(ref)
    assert not index._named
