"""Laws of what a sync decides: inventories, stages, plans, labels."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.sync import inventory, stages
from gitops_core.domain.sync import plan as plans
from gitops_core.domain.sync import takeover as takeovers
from gitops_core.domain.sync.owners import make_kustomization_ownership
from gitops_core.domain.sync.ownership import add_metadata
from gitops_core.domain.sync.prunelimit import LIMIT, PruneGuarded, PruneLimit, list_confirmations
from gitops_core.errors import StalledError
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef

KINDS = (
    Kind("", "v1", "ConfigMap"),
    Kind("", "v1", "Namespace"),
    Kind("apps", "v1", "Deployment"),
    Kind("rbac.authorization.k8s.io", "v1", "ClusterRole"),
    Kind("storage.k8s.io", "v1", "StorageClass"),
    Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
    Kind("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration"),
    Kind("example.org", "v1beta1", "Widget"),
)
names = st.from_regex(r"\A[a-z0-9]([-a-z0-9.:]{0,8}[a-z0-9])?\Z")
refs = st.builds(ObjectRef, st.sampled_from(KINDS), st.builds(ObjectKey, st.sampled_from(["", "shop", "a-b"]), names))
inventories = st.lists(refs, max_size=8, unique=True)
OWNER = ObjectKey("default", "apps")
OURS = make_kustomization_ownership(OWNER)
LABEL = "kustomize.toolkit.fluxcd.io"
plan_sync = functools.partial(plans.plan_sync, ownership=OURS)
takeover_patch = functools.partial(takeovers.make_takeover_patch, ownership=OURS)


def manifest(ref: ObjectRef, **annotations: str) -> Manifest:
    metadata: dict[str, Any] = {"name": ref.key.name, "annotations": annotations}
    if ref.key.namespace:
        metadata["namespace"] = ref.key.namespace
    return {"apiVersion": ref.kind.api_version, "kind": ref.kind.kind, "metadata": metadata}


@given(refs)
def test_an_inventory_id_names_its_object(ref: ObjectRef) -> None:
    assert inventory.parse_id(inventory.format_id(ref), ref.kind.version) == ref


@given(inventories, inventories)
def test_a_union_forgets_nothing_and_a_difference_is_what_the_union_adds(
    old: list[ObjectRef], new: list[ObjectRef]
) -> None:
    union, gone = inventory.merge(new, old), inventory.subtract(old, new)

    assert {ref.identity for ref in union} == {ref.identity for ref in [*old, *new]}
    assert union == (*inventory.merge(new, ()), *gone)
    assert not inventory.subtract(new, union)


def test_a_name_with_two_underscores_is_not_another_object_when_it_is_read_again() -> None:
    """Both are written `__`: the id of `a__b` reads as `a:b`."""
    role = ObjectRef(Kind("rbac.authorization.k8s.io", "v1", "ClusterRole"), ObjectKey("", "a__b"))
    known = inventory.parse_id(inventory.format_id(role), "v1")

    plan = plan_sync([manifest(role)], [known], prune=True, limit=PruneLimit(0, None))

    assert (plan.prune, plan.tracked) == ((), (role,))


@given(inventories)
def test_stages_partition_and_keep_the_order(wanted: list[ObjectRef]) -> None:
    staged = stages.plan_stages(wanted)
    flat = [ref for stage in staged for ref in stage]

    assert sorted(flat) == sorted(wanted)
    assert all(staged)
    numbers = [[stages.get_stage_number(ref.kind) for ref in stage] for stage in staged]
    assert all(len(set(of_stage)) == 1 for of_stage in numbers)
    assert [of_stage[0] for of_stage in numbers] == sorted({number for of_stage in numbers for number in of_stage})
    assert all(list(stage) == sorted(stage, key=stages.rank_object) for stage in staged)


@given(inventories)
def test_pruning_goes_the_other_way_round(gone: list[ObjectRef]) -> None:
    assert stages.sort_for_pruning(gone) == tuple(reversed(stages.sort_for_applying(gone)))


@given(inventories)
def test_objects_that_others_need_are_deleted_last_and_definitions_last_of_all(gone: list[ObjectRef]) -> None:
    parts = stages.plan_prune_stages(gone)
    flat = [ref for part in parts for ref in part]
    place = {ref: number for number, part in enumerate(parts) for ref in part}

    assert sorted(flat) == sorted(gone)
    assert all(parts)
    for one in gone:
        for other in gone:
            if stages.get_stage_number(one.kind) > stages.get_stage_number(other.kind):
                assert place[one] < place[other]
            if other.kind.kind == "CustomResourceDefinition" != one.kind.kind:
                assert place[one] < place[other]


@given(inventories, inventories)
def test_a_plan_applies_what_is_wanted_and_prunes_what_was_ours(old: list[ObjectRef], new: list[ObjectRef]) -> None:
    plan = plan_sync(map(manifest, new), old, prune=True, confirmed=True)

    assert {action.ref for action in plan.actions} == set(new)
    assert all(action.manifest == manifest(action.ref) for action in plan.actions)
    assert set(plan.prune) == set(inventory.subtract(old, new))
    assert set(plan.inventory) == set(new)
    tracked = {ref.identity for ref in plan.tracked}
    assert tracked == {ref.identity for ref in [*old, *new]}


@given(inventories, inventories)
def test_a_plan_carried_out_leaves_nothing_to_prune(old: list[ObjectRef], new: list[ObjectRef]) -> None:
    first = plan_sync(map(manifest, new), old, prune=True, confirmed=True)
    second = plan_sync(map(manifest, new), first.inventory, prune=True)

    assert second.prune == ()
    assert second.stages == first.stages
    assert second.inventory == first.inventory == second.tracked


@given(inventories, inventories)
def test_without_prune_nothing_is_deleted(old: list[ObjectRef], new: list[ObjectRef]) -> None:
    assert plan_sync(map(manifest, new), old, prune=False).prune == ()


def config_maps(count: int) -> list[ObjectRef]:
    return [ObjectRef(KINDS[0], ObjectKey("shop", f"c{number}")) for number in range(count)]


@given(inventories.filter(bool), st.sampled_from([PruneLimit(), PruneLimit(None, None), PruneLimit(1000, None)]))
def test_nothing_wanted_and_something_known_is_refused_whatever_the_limit(
    known: list[ObjectRef], limit: PruneLimit
) -> None:
    with pytest.raises(PruneGuarded, match="the build holds no objects"):
        plan_sync([], known, prune=True, limit=limit)


@given(inventories)
def test_an_empty_build_is_fine_where_nothing_is_deleted_or_a_person_said_so(known: list[ObjectRef]) -> None:
    assert plan_sync([], (), prune=True).prune == ()
    assert plan_sync([], known, prune=False).prune == ()
    assert set(plan_sync([], known, prune=True, confirmed=True).prune) == set(inventory.merge(known, ()))


@given(st.integers(1, 40), st.data())
def test_a_plan_deletes_more_than_the_limit_only_when_that_is_confirmed(known: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, known))
    count, percent = data.draw(st.integers(0, 40)), data.draw(st.integers(0, 100))
    refs, gone = config_maps(known), known - kept
    wanted = [manifest(ref) for ref in refs[:kept]]
    too_many = gone > count and gone / known > percent / 100

    if too_many:
        with pytest.raises(PruneGuarded, match=f"{gone} of {known} applied objects"):
            plan_sync(wanted, refs, prune=True, limit=PruneLimit(count, percent))
    else:
        assert len(plan_sync(wanted, refs, prune=True, limit=PruneLimit(count, percent)).prune) == gone
    assert len(plan_sync(wanted, refs, prune=True, limit=PruneLimit(count, percent), confirmed=True).prune) == gone
    assert plan_sync(wanted, refs, prune=False, limit=PruneLimit(count, percent)).prune == ()


@pytest.mark.parametrize(
    ("known", "gone", "allowed"),
    [(2, 1, True), (12, 10, True), (20, 11, False), (22, 11, True), (100, 40, True), (100, 60, False)],
)
def test_by_default_more_than_ten_and_more_than_half_is_too_many(known: int, gone: int, allowed: bool) -> None:
    refs = config_maps(known)
    wanted = [manifest(ref) for ref in refs[gone:]]

    if allowed:
        assert len(plan_sync(wanted, refs, prune=True).prune) == gone
    else:
        with pytest.raises(PruneGuarded, match="more than 10 and more than 50%"):
            plan_sync(wanted, refs, prune=True)


def test_objects_that_come_in_another_version_are_not_counted_as_deleted() -> None:
    known = [ObjectRef(Kind("example.org", "v1alpha1", "Widget"), ObjectKey("shop", f"w{n}")) for n in range(20)]
    wanted = [manifest(ObjectRef(Kind("example.org", "v1", "Widget"), ref.key)) for ref in known]

    assert plan_sync(wanted, known, prune=True, limit=PruneLimit(0, None)).prune == ()


def test_limits_are_read_from_the_annotation() -> None:
    read = {
        "5": PruneLimit(5, None),
        "30%": PruneLimit(None, 30),
        "5, 30%": PruneLimit(5, 30),
        "0": PruneLimit(0, None),
        "100%": PruneLimit(None, 100),
    }
    for text, limit in read.items():
        assert PruneLimit.of({LIMIT: text}) == limit
    assert PruneLimit.of({LIMIT: "None"}) == PruneLimit(None, None)
    for text in ("", "many", "5%,3", "-1", "101%", "5,", "5,30", "1e3"):
        with pytest.raises(StalledError, match="prune-limit") as refused:
            PruneLimit.of({LIMIT: text})
        assert refused.value.reason == "InvalidPruneLimit"
        assert str(refused.value).endswith(': write "10", "50%", "10,50%" or "none"')


@pytest.mark.parametrize(
    ("text", "known", "gone", "told"),
    [
        ("5", 100, 5, ""),
        ("5", 100, 6, "more than 5"),
        ("50%", 4, 2, ""),
        ("50%", 4, 3, "more than 50%"),
        ("100%", 4, 3, ""),
        ("5,50%", 100, 6, ""),
        ("5,50%", 10, 6, "more than 5 and more than 50%"),
        ("none", 100, 99, ""),
    ],
)
def test_a_prune_that_the_annotation_does_not_limit_is_not_limited(text: str, known: int, gone: int, told: str) -> None:
    refs, limit = config_maps(known), PruneLimit.of({LIMIT: text})
    wanted = [manifest(ref) for ref in refs[gone:]]

    if told:
        with pytest.raises(PruneGuarded, match=f"^{gone} of {known} applied objects would be deleted, {told}: "):
            plan_sync(wanted, refs, prune=True, limit=limit)
    else:
        assert len(plan_sync(wanted, refs, prune=True, limit=limit).prune) == gone


@pytest.mark.parametrize(("gone", "more"), [(2, ""), (5, ""), (6, " and 1 more"), (9, " and 4 more")])
def test_a_refusal_names_five_objects_and_counts_the_others(gone: int, more: str) -> None:
    refs = config_maps(gone)
    named = ", ".join(f"ConfigMap/shop/c{number}" for number in range(min(gone, 5)))

    with pytest.raises(PruneGuarded) as refused:
        plan_sync([], refs, prune=True)

    told = f"the build holds no objects, and would delete all {gone} that were applied"
    assert str(refused.value) == f"{told}: {named}{more}"


@pytest.mark.parametrize(
    ("mark", "create_only", "take_over"),
    [("Override", False, True), ("IfNotPresent", True, True), ("Merge", False, False)],
)
def test_a_mark_in_the_manifest_says_how_it_is_applied(mark: str, create_only: bool, take_over: bool) -> None:
    ref = config_maps(1)[0]

    (plain,) = plan_sync([manifest(ref)], (), prune=True).actions
    (marked,) = plan_sync([manifest(ref, **{f"{LABEL}/ssa": mark})], (), prune=True).actions

    assert (plain.create_only, plain.take_over) == (False, True)
    assert (marked.create_only, marked.take_over) == (create_only, take_over)


def test_a_confirmation_is_for_one_revision() -> None:
    commit, other = "a" * 40, "b" * 40
    revision = f"main@sha1:{commit}"

    assert list_confirmations(revision, {f"main@sha1:{other}"}, 7) == (revision, commit, f"sha1:{commit}")
    assert list_confirmations(revision, (), 7) == (revision, commit, f"sha1:{commit}")


def test_at_a_revision_that_was_applied_a_generation_of_the_spec_is_confirmed() -> None:
    commit = "a" * 40
    revision = f"main@sha1:{commit}"

    assert list_confirmations(revision, {revision}, 7) == (f"{revision}#7", f"{commit}#7", f"sha1:{commit}#7")


@pytest.mark.parametrize(
    ("revision", "names"),
    [
        (f"v1@sha256:{'c' * 64}", {f"v1@sha256:{'c' * 64}", "c" * 64, f"sha256:{'c' * 64}"}),
        (f"sha512:{'c' * 128}", {"c" * 128, f"sha512:{'c' * 128}"}),
        ("6.5.3+build.1", {"6.5.3+build.1"}),
        ("a:b", {"a:b"}),
        ("v1@", {"v1@"}),
        ("v1@sha256:", {"v1@sha256:"}),
    ],
)
def test_a_revision_of_any_source_is_confirmed_by_itself_or_its_whole_checksum(revision: str, names: set[str]) -> None:
    assert set(list_confirmations(revision, (), 7)) == names


@given(refs, st.sampled_from(["disabled", "Disabled", "DISABLED"]))
def test_an_object_that_is_not_to_be_reconciled_stays_in_the_inventory(ref: ObjectRef, value: str) -> None:
    plan = plan_sync([manifest(ref, **{f"{LABEL}/reconcile": value})], [ref], prune=True)

    assert plan.actions == ()
    assert plan.prune == ()
    assert plan.inventory == plan.excluded == (ref,)


def test_only_what_carries_our_labels_may_be_pruned() -> None:
    live = OURS.add_mark(manifest(ObjectRef(KINDS[0], OWNER)))

    assert OURS.may_prune(live)
    assert not make_kustomization_ownership(ObjectKey("default", "other")).may_prune(live)
    assert not make_kustomization_ownership(ObjectKey("other", "apps")).may_prune(live)
    for key, value in (("prune", "disabled"), ("reconcile", "Disabled"), ("ssa", "ignore")):
        assert not OURS.may_prune(add_metadata(live, {}, {f"{LABEL}/{key}": value}))
        assert not OURS.may_prune(add_metadata(live, {f"{LABEL}/{key}": value}, {}))


def entry(manager: str, operation: str, **fields: Any) -> dict[str, Any]:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


def live_object(*entries: Manifest, **annotations: str) -> Manifest:
    about = {"name": "x", "resourceVersion": "7", "managedFields": list(entries), "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about}


def test_kubectls_fields_become_ours() -> None:
    ours = entry("kustomize-controller", "Apply", **{"f:data": {"f:a": {}}})
    theirs = entry("kubectl", "Apply", **{"f:data": {"f:old": {}}})
    other = entry("some-controller", "Update", **{"f:data": {"f:b": {}}})

    last = "kubectl.kubernetes.io/last-applied-configuration"
    patch = takeover_patch(live_object(theirs, ours, other, **{last: "{}"}))

    assert patch == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {
            "op": "replace",
            "path": "/metadata/managedFields",
            "value": [{**ours, "fieldsV1": {"f:data": {"f:a": {}, "f:old": {}}}}, other],
        },
        {"op": "remove", "path": "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"},
    ]


def test_a_mark_that_kubectl_set_stays_kubectls_and_the_rest_becomes_ours() -> None:
    mark, note = f"f:{LABEL}/prune", "f:note"
    ours = entry("kustomize-controller", "Apply", **{"f:data": {"f:a": {}}})
    theirs = entry("kubectl-annotate", "Update", **{"f:metadata": {"f:annotations": {".": {}, mark: {}, note: {}}}})

    _, managers = takeover_patch(live_object(theirs, ours))
    kept, grown = managers["value"]

    assert kept == {**theirs, "fieldsV1": {"f:metadata": {"f:annotations": {mark: {}}}}}
    assert grown["fieldsV1"] == {"f:data": {"f:a": {}}, "f:metadata": {"f:annotations": {".": {}, note: {}}}}
    assert takeover_patch(live_object(kept, grown)) == []


def test_an_object_of_ours_alone_is_left_as_it_is() -> None:
    assert takeover_patch(live_object(entry("kustomize-controller", "Apply"), entry("kubelet", "Update"))) == []
    scaled = {**entry("kubectl", "Update"), "subresource": "scale"}
    assert takeover_patch(live_object(entry("kustomize-controller", "Apply"), scaled)) == []
