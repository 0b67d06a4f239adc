"""Laws of what a sync decides: inventories, stages, plans, labels."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain import inventory, labels, stages
from gitops_core.domain.plan import plan_sync
from gitops_core.domain.takeover import takeover_patch
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
LABEL = "kustomize.toolkit.fluxcd.io"


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
    union, gone = inventory.union(new, old), inventory.difference(old, new)

    assert set(map(inventory.identity, union)) == set(map(inventory.identity, [*old, *new]))
    assert union == (*inventory.union(new, ()), *gone)
    assert not inventory.difference(new, union)


@given(inventories)
def test_stages_partition_and_keep_the_order(wanted: list[ObjectRef]) -> None:
    staged = stages.staged(wanted)
    flat = [ref for stage in staged for ref in stage]

    assert sorted(flat) == sorted(wanted)
    assert all(staged)
    numbers = [[stages.stage_of(ref.kind) for ref in stage] for stage in staged]
    assert all(len(set(of_stage)) == 1 for of_stage in numbers)
    assert [of_stage[0] for of_stage in numbers] == sorted({number for of_stage in numbers for number in of_stage})
    assert all(list(stage) == sorted(stage, key=stages.sort_key) for stage in staged)


@given(inventories)
def test_pruning_goes_the_other_way_round(gone: list[ObjectRef]) -> None:
    assert stages.prune_order(gone) == tuple(reversed(stages.in_order(gone)))


@given(inventories, inventories)
def test_a_plan_applies_what_is_wanted_and_prunes_what_was_ours(old: list[ObjectRef], new: list[ObjectRef]) -> None:
    plan = plan_sync(map(manifest, new), old, prune=True)

    assert {action.ref for action in plan.actions} == set(new)
    assert set(plan.prune) == set(inventory.difference(old, new))
    assert set(plan.inventory) == set(new)
    tracked = set(map(inventory.identity, plan.tracked))
    assert tracked == set(map(inventory.identity, [*old, *new]))


@given(inventories, inventories)
def test_a_plan_carried_out_leaves_nothing_to_prune(old: list[ObjectRef], new: list[ObjectRef]) -> None:
    first = plan_sync(map(manifest, new), old, prune=True)
    second = plan_sync(map(manifest, new), first.inventory, prune=True)

    assert second.prune == ()
    assert second.stages == first.stages
    assert second.inventory == first.inventory == second.tracked


@given(inventories, inventories)
def test_without_prune_nothing_is_deleted(old: list[ObjectRef], new: list[ObjectRef]) -> None:
    assert plan_sync(map(manifest, new), old, prune=False).prune == ()


@given(refs, st.sampled_from(["disabled", "Disabled", "DISABLED"]))
def test_an_object_that_is_not_to_be_reconciled_stays_in_the_inventory(ref: ObjectRef, value: str) -> None:
    plan = plan_sync([manifest(ref, **{f"{LABEL}/reconcile": value})], [ref], prune=True)

    assert plan.actions == ()
    assert plan.prune == ()
    assert plan.inventory == plan.excluded == (ref,)


def test_only_what_carries_our_labels_may_be_pruned() -> None:
    live = labels.with_metadata(manifest(ObjectRef(KINDS[0], OWNER)), labels.owner_labels(OWNER), {})

    assert labels.may_be_pruned(live, OWNER)
    assert not labels.may_be_pruned(live, ObjectKey("default", "other"))
    assert not labels.may_be_pruned(live, ObjectKey("other", "apps"))
    for key, value in (("prune", "disabled"), ("reconcile", "Disabled"), ("ssa", "ignore")):
        assert not labels.may_be_pruned(labels.with_metadata(live, {}, {f"{LABEL}/{key}": value}), OWNER)
        assert not labels.may_be_pruned(labels.with_metadata(live, {f"{LABEL}/{key}": value}, {}), OWNER)


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


def test_an_object_of_ours_alone_is_left_as_it_is() -> None:
    assert takeover_patch(live_object(entry("kustomize-controller", "Apply"), entry("kubelet", "Update"))) == []
    scaled = {**entry("kubectl", "Update"), "subresource": "scale"}
    assert takeover_patch(live_object(entry("kustomize-controller", "Apply"), scaled)) == []
