"""The law of ownerships: an object of one never counts as another's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gitops_core.domain.sync.creators import is_adopted, make_blank, may_be_deleted
from gitops_core.domain.sync.owners import OWNER_NAME, make_kustomization_ownership
from gitops_core.domain.sync.ownership import Ownership, add_metadata
from gitops_core.domain.sync.plan import plan_sync
from gitops_core.domain.sync.takeover import make_takeover_patch
from gitops_core.meta import Manifest, ObjectKey
from tests.gitops_core.domain.sync.owners import application, release

Kind = Callable[[ObjectKey], Ownership]
KINDS: tuple[Kind, ...] = (make_kustomization_ownership, release, application)
keys = st.builds(ObjectKey, st.sampled_from(["a", "b", "a.b"]), st.sampled_from(["x", "a", "x-a"]))
owners = st.tuples(st.sampled_from(KINDS), keys)


def config_map(*entries: Manifest, **metadata: Any) -> Manifest:
    about = {"name": "c", "namespace": "a", "resourceVersion": "1", "managedFields": list(entries), **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about}


def entry(manager: str, operation: str, **fields: Any) -> Manifest:
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields}


@given(owners, owners)
def test_what_one_owner_applied_no_other_owns_or_prunes(
    first: tuple[Kind, ObjectKey], second: tuple[Kind, ObjectKey]
) -> None:
    (kind, key), (other_kind, other_key) = first, second
    one, other = kind(key), other_kind(other_key)
    live = one.add_mark(config_map(labels={"app": "c"}))

    assert (one.owns(live), one.may_prune(live), one.is_watched(live)) == (True, True, True)
    assert (other.owns(live), other.may_prune(live)) == (first == second, first == second)
    assert other.is_watched(live) == (kind is other_kind)


@given(owners, owners, st.sampled_from(["Apply", "Update"]))
def test_what_one_owner_manages_is_not_taken_over_by_an_owner_of_another_kind(
    first: tuple[Kind, ObjectKey], second: tuple[Kind, ObjectKey], operation: str
) -> None:
    (kind, key), (other_kind, other_key) = first, second
    assume(kind is not other_kind)
    one, other = kind(key), other_kind(other_key)
    theirs = entry(one.manager, operation, **{"f:data": {"f:a": {}}})
    own = entry(other.manager, "Apply", **{"f:data": {"f:b": {}}})

    assert make_takeover_patch(config_map(theirs, own), other) == []
    kubectls = entry("kubectl", "Update", **{"f:data": {"f:c": {}}})
    _, managers = make_takeover_patch(config_map(theirs, own, kubectls), other)
    assert managers["value"] == [theirs, {**own, "fieldsV1": {"f:data": {"f:b": {}, "f:c": {}}}}]


@given(owners, owners)
def test_a_namespace_that_one_owner_made_no_other_deletes(
    first: tuple[Kind, ObjectKey], second: tuple[Kind, ObjectKey]
) -> None:
    one, other = first[0](first[1]), second[0](second[1])
    made = make_blank({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}, one)
    annotations: Manifest = {".": {}, **{f"f:{name}": {} for name in made["metadata"]["annotations"]}}
    proof = entry("sealoop", "Update", **{"f:metadata": {"f:annotations": annotations}})
    live = one.add_mark({**made, "metadata": {**made["metadata"], "managedFields": [proof]}})

    assert (may_be_deleted(live, other), is_adopted(live, other)) == (first == second, first != second)


@pytest.mark.parametrize(
    ("name", "value"),
    [("kustomize.toolkit.fluxcd.io/prune", "disabled"), ("helm.sh/resource-policy", "keep")],
)
def test_a_directive_is_for_the_kind_of_owner_that_knows_it(name: str, value: str) -> None:
    key = ObjectKey("a", "x")
    kept = []
    for kind in KINDS:
        owner = kind(key)
        live = add_metadata(owner.add_mark(config_map()), {}, {name: value})
        kept += [] if owner.may_prune(live) else [kind]
    assert kept == [make_kustomization_ownership if "kustomize" in name else release]


@given(keys, st.sampled_from(["reconcile", "ssa"]))
def test_a_directive_of_one_kind_excludes_nothing_from_the_plan_of_another(key: ObjectKey, name: str) -> None:
    value = "disabled" if name == "reconcile" else "Ignore"
    wanted = config_map(annotations={f"kustomize.toolkit.fluxcd.io/{name}": value})

    assert plan_sync([wanted], (), make_kustomization_ownership(key), prune=True).actions == ()
    (action,) = plan_sync([wanted], (), release(key), prune=True).actions
    assert action.manifest == wanted


@given(keys)
def test_all_kustomizations_are_watched_by_one_selector(key: ObjectKey) -> None:
    assert make_kustomization_ownership(key).selector == OWNER_NAME
