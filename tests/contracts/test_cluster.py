"""What every Cluster does with single objects: create, get, replace, patch, delete, apply. On both adapters."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_core.errors import (
    AlreadyExists,
    ApplyConflict,
    BadRequest,
    ClusterError,
    Conflict,
    FieldConflict,
    Invalid,
    KindUnknown,
    NotFound,
)
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Cluster
from tests.contracts.conftest import named
from tests.contracts.things import PLAIN, THING, THING_V2, WIDE

CONFIG_MAP = Kind("", "v1", "ConfigMap")
SECRET = Kind("", "v1", "Secret")
DEPLOYMENT = Kind("apps", "v1", "Deployment")


def config_map(namespace: str, name: str = "app", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data or {"a": "1"},
    }


def thing(namespace: str, spec: dict[str, Any], name: str = "app", kind: Kind = THING) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


def owners(manifest: Manifest) -> dict[tuple[str, str, str], Any]:
    """fieldsV1 by (manager, operation, subresource)."""
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in manifest["metadata"].get("managedFields", ())
    }


# create and get


async def test_a_created_object_is_there_as_it_was_answered(cluster: Cluster, namespace: str) -> None:
    created = await cluster.create(config_map(namespace, a="1"), field_manager="ann")

    assert created["data"] == {"a": "1"}
    assert {"uid", "resourceVersion", "creationTimestamp", "managedFields"} <= created["metadata"].keys()
    assert "generation" not in created["metadata"]
    assert await cluster.get(named(CONFIG_MAP, namespace, "app")) == created
    assert owners(created) == {("ann", "Update", ""): {"f:data": {".": {}, "f:a": {}}}}


async def test_getting_a_missing_object_gives_none(cluster: Cluster, namespace: str) -> None:
    assert await cluster.get(named(CONFIG_MAP, namespace, "absent")) is None
    assert await cluster.get(named(CONFIG_MAP, "absent", "absent")) is None


async def test_a_name_is_taken_once(cluster: Cluster, namespace: str) -> None:
    await cluster.create(config_map(namespace), field_manager="ann")

    with pytest.raises(AlreadyExists):
        await cluster.create(config_map(namespace), field_manager="ann")


async def test_names_are_generated(cluster: Cluster, namespace: str) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "app-", "namespace": namespace}}

    first = await cluster.create(manifest, field_manager="ann")
    second = await cluster.create(manifest, field_manager="ann")

    assert first["metadata"]["name"].startswith("app-")
    assert len(first["metadata"]["name"]) == len("app-") + 5
    assert first["metadata"]["name"] != second["metadata"]["name"]


async def test_an_unknown_kind_is_refused(cluster: Cluster, namespace: str) -> None:
    unknown = Kind("nowhere.example.com", "v1", "Nothing")

    with pytest.raises(KindUnknown):
        await cluster.get(named(unknown, namespace, "app"))
    with pytest.raises(KindUnknown):
        await cluster.find_api_resource(unknown)


async def test_a_namespace_must_exist(cluster: Cluster) -> None:
    with pytest.raises(NotFound, match="Namespace/absent"):
        await cluster.create(config_map("absent"), field_manager="ann")
    with pytest.raises(NotFound, match="Namespace/absent"):
        await cluster.apply(config_map("absent"), field_manager="ann")


@pytest.mark.parametrize("name", ["UPPER", "under_score", "-dash", "a" * 254])
async def test_names_follow_the_rules(cluster: Cluster, namespace: str, name: str) -> None:
    with pytest.raises(Invalid) as refused:
        await cluster.create(config_map(namespace, name), field_manager="ann")

    assert [(fault.field, fault.reason) for fault in refused.value.faults] == [("metadata.name", "FieldValueInvalid")]


@pytest.mark.parametrize(
    ("labels", "fields"),
    [({"a b": "x"}, 1), ({"ok": "not ok"}, 1), ({"UP.example/x": "y"}, 1), ({"ok": "x" * 64}, 1), ({"a/b/c": ""}, 1)],
)
async def test_labels_follow_the_rules(cluster: Cluster, namespace: str, labels: dict[str, str], fields: int) -> None:
    manifest = config_map(namespace)
    manifest["metadata"]["labels"] = labels

    with pytest.raises(Invalid) as refused:
        await cluster.create(manifest, field_manager="ann")

    assert [fault.field for fault in refused.value.faults] == ["metadata.labels"] * fields
    assert {fault.reason for fault in refused.value.faults} == {"FieldValueInvalid"}


async def test_a_creation_cannot_say_its_resource_version(cluster: Cluster, namespace: str) -> None:
    manifest = config_map(namespace)
    manifest["metadata"]["resourceVersion"] = "1"

    with pytest.raises(ClusterError, match="resourceVersion should not be set on objects to be created"):
        await cluster.create(manifest, field_manager="ann")


async def test_text_of_a_secret_becomes_data(cluster: Cluster, namespace: str) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "app", "namespace": namespace},
        "stringData": {"user": "admin"},
        "data": {"key": "eA=="},
    }

    created = await cluster.create(secret, field_manager="ann")
    applied = await cluster.apply({**secret, "stringData": {"user": "root"}}, field_manager="bob", force=True)

    assert created["data"] == {"user": "YWRtaW4=", "key": "eA=="}
    assert "stringData" not in created
    assert created["type"] == "Opaque"
    assert applied["data"] == {"user": "cm9vdA==", "key": "eA=="}
    assert owners(applied)["bob", "Apply", ""] == {"f:data": {"f:key": {}}, "f:stringData": {"f:user": {}}}


# replace


async def test_a_replacement_must_know_the_version(things: Cluster, namespace: str) -> None:
    created = await things.create(thing(namespace, {"text": "a"}), field_manager="ann")
    await things.replace({**created, "spec": {"text": "b"}}, field_manager="ann")

    with pytest.raises(Conflict):
        await things.replace({**created, "spec": {"text": "c"}}, field_manager="ann")
    with pytest.raises(Invalid):
        await things.replace(thing(namespace, {"text": "d"}), field_manager="ann")


async def test_a_replacement_of_another_object_is_refused(cluster: Cluster, namespace: str) -> None:
    await cluster.create(config_map(namespace), field_manager="ann")
    other = config_map(namespace, b="2")
    other["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000"

    with pytest.raises(Conflict):
        await cluster.replace(other, field_manager="ann")


async def test_replacing_a_missing_object_fails(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(NotFound):
        await cluster.replace(config_map(namespace), field_manager="ann")


async def test_a_replacement_without_a_change_changes_no_version(things: Cluster, namespace: str) -> None:
    created = await things.create(thing(namespace, {"text": "a"}), field_manager="ann")

    replaced = await things.replace(created, field_manager="bob")

    assert replaced == created


# generation and status


async def test_generation_counts_changes_of_the_spec(things: Cluster, namespace: str) -> None:
    ref = named(THING, namespace, "app")
    created = await things.create(thing(namespace, {"text": "a"}), field_manager="ann")
    labelled = await things.patch(ref, {"metadata": {"labels": {"x": "y"}}}, field_manager="ann")
    reported = await things.patch(ref, {"status": {"phase": "up"}}, field_manager="ann", subresource="status")
    changed = await things.patch(ref, {"spec": {"text": "b"}}, field_manager="ann")

    generations = [manifest["metadata"]["generation"] for manifest in (created, labelled, reported, changed)]
    assert generations == [1, 1, 1, 2]


async def test_the_spec_cannot_be_written_through_status_nor_status_through_the_object(
    things: Cluster, namespace: str
) -> None:
    ref = named(THING, namespace, "app")
    created = await things.create({**thing(namespace, {"text": "a"}), "status": {"phase": "no"}}, field_manager="ann")
    both = {"spec": {"text": "b"}, "status": {"phase": "up"}, "metadata": {"labels": {"x": "y"}}}

    by_status = await things.patch(ref, both, field_manager="bob", subresource="status")
    by_object = await things.patch(ref, {"status": {"phase": "down"}}, field_manager="bob")

    assert "status" not in created
    assert (by_status["spec"]["text"], by_status["status"]) == ("a", {"phase": "up"})
    assert "labels" not in by_status["metadata"]
    assert owners(by_status)["bob", "Update", "status"] == {"f:status": {".": {}, "f:phase": {}}}
    assert by_object == by_status


async def test_a_kind_without_status_subresource_stores_status_as_anything_else(
    things: Cluster, namespace: str
) -> None:
    manifest = {**thing(namespace, {}, kind=PLAIN), "status": {"phase": "up"}}

    created = await things.create(manifest, field_manager="ann")
    changed = await things.patch(named(PLAIN, namespace, "app"), {"status": {"phase": "down"}}, field_manager="ann")

    assert created["status"] == {"phase": "up"}
    assert changed["metadata"]["generation"] == 2
    with pytest.raises(NotFound):
        await things.patch(named(PLAIN, namespace, "app"), {}, field_manager="ann", subresource="status")


# patch


async def test_a_merge_patch_adds_changes_and_removes(cluster: Cluster, namespace: str) -> None:
    await cluster.create(config_map(namespace, a="1", b="2"), field_manager="ann")

    patched = await cluster.patch(
        named(CONFIG_MAP, namespace, "app"), {"data": {"a": None, "b": "3", "c": "4"}}, field_manager="bob"
    )

    assert patched["data"] == {"b": "3", "c": "4"}
    assert owners(patched) == {
        ("ann", "Update", ""): {"f:data": {}},
        ("bob", "Update", ""): {"f:data": {"f:b": {}, "f:c": {}}},
    }


async def test_a_json_patch_is_carried_out_in_order(cluster: Cluster, namespace: str) -> None:
    ref = named(CONFIG_MAP, namespace, "app")
    await cluster.create(config_map(namespace, a="1"), field_manager="ann")

    patched = await cluster.patch(
        ref,
        [
            {"op": "test", "path": "/data/a", "value": "1"},
            {"op": "add", "path": "/data/b", "value": "2"},
            {"op": "move", "from": "/data/a", "path": "/data/c"},
            {"op": "add", "path": "/metadata/labels", "value": {"example.com/x": "y"}},
            {"op": "replace", "path": "/metadata/labels/example.com~1x", "value": "z"},
        ],
        field_manager="ann",
    )

    assert patched["data"] == {"b": "2", "c": "1"}
    assert patched["metadata"]["labels"] == {"example.com/x": "z"}
    with pytest.raises(Invalid):
        await cluster.patch(ref, [{"op": "test", "path": "/data/c", "value": "other"}], field_manager="ann")
    with pytest.raises(Invalid):
        await cluster.patch(ref, [{"op": "remove", "path": "/data/absent"}], field_manager="ann")


async def test_a_patch_can_insist_on_a_version(cluster: Cluster, namespace: str) -> None:
    ref = named(CONFIG_MAP, namespace, "app")
    created = await cluster.create(config_map(namespace), field_manager="ann")
    version = created["metadata"]["resourceVersion"]
    await cluster.patch(ref, {"data": {"a": "2"}}, field_manager="ann")

    with pytest.raises(Conflict):
        await cluster.patch(ref, {"metadata": {"resourceVersion": version}, "data": {"a": "3"}}, field_manager="ann")


async def test_patching_a_missing_object_fails(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(NotFound):
        await cluster.patch(named(CONFIG_MAP, namespace, "absent"), {"data": {}}, field_manager="ann")


# apply


async def test_an_apply_creates_and_merges(cluster: Cluster, namespace: str) -> None:
    created = await cluster.apply(config_map(namespace, a="1"), field_manager="ann")
    merged = await cluster.apply(config_map(namespace, b="2"), field_manager="bob")

    assert created["data"] == {"a": "1"}
    assert merged["data"] == {"a": "1", "b": "2"}
    assert owners(merged) == {
        ("ann", "Apply", ""): {"f:data": {"f:a": {}}},
        ("bob", "Apply", ""): {"f:data": {"f:b": {}}},
    }


async def test_a_field_that_is_no_longer_applied_is_removed(cluster: Cluster, namespace: str) -> None:
    await cluster.apply(config_map(namespace, a="1", b="2"), field_manager="ann")
    await cluster.apply(config_map(namespace, b="2"), field_manager="bob")

    applied = await cluster.apply(config_map(namespace, c="3"), field_manager="ann")

    assert applied["data"] == {"b": "2", "c": "3"}


async def test_the_same_apply_again_is_no_write(cluster: Cluster, namespace: str) -> None:
    first = await cluster.apply(config_map(namespace, a="1"), field_manager="ann")

    assert await cluster.apply(config_map(namespace, a="1"), field_manager="ann") == first


async def test_fields_of_others_are_conflicts_unless_forced(cluster: Cluster, namespace: str) -> None:
    await cluster.apply(config_map(namespace, a="1", b="2"), field_manager="ann")

    with pytest.raises(ApplyConflict) as refused:
        await cluster.apply(config_map(namespace, a="x", b="y"), field_manager="bob")
    taken = await cluster.apply(config_map(namespace, a="x", b="2"), field_manager="bob", force=True)

    assert sorted(refused.value.conflicts) == [FieldConflict("ann", ".data.a"), FieldConflict("ann", ".data.b")]
    assert taken["data"] == {"a": "x", "b": "2"}
    assert owners(taken)["ann", "Apply", ""] == {"f:data": {"f:b": {}}}
    assert owners(taken)["bob", "Apply", ""] == {"f:data": {"f:a": {}, "f:b": {}}}


async def test_conflicts_name_items_by_their_keys(things: Cluster, namespace: str) -> None:
    spec = {
        "items": [{"name": "a b", "value": "1"}],
        "ports": [{"port": 80, "name": "web"}],
        "whole": {"x": "1"},
        "tags": ["t"],
    }
    await things.create(thing(namespace, spec), field_manager="ann")
    other = {
        "items": [{"name": "a b", "value": "2"}],
        "ports": [{"port": 80, "protocol": "TCP", "name": "other"}],
        "whole": {"x": "2"},
        "tags": ["t", "u"],
    }

    with pytest.raises(ApplyConflict) as refused:
        await things.apply(thing(namespace, other), field_manager="bob")

    assert sorted(refused.value.conflicts) == [
        FieldConflict("ann", '.spec.items[name="a b"].value'),
        FieldConflict("ann", '.spec.ports[port=80,protocol="TCP"].name'),
        FieldConflict("ann", ".spec.whole"),
    ]


async def test_items_of_keyed_lists_are_merged_by_key(things: Cluster, namespace: str) -> None:
    first = {"items": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}], "tags": ["x", "y"]}
    await things.apply(thing(namespace, first), field_manager="ann")
    second = {"items": [{"name": "c", "value": "3"}], "tags": ["z", "y"]}
    both = await things.apply(thing(namespace, second), field_manager="bob")
    without = await things.apply(thing(namespace, {"items": [{"name": "b", "value": "2"}]}), field_manager="ann")

    assert [item["name"] for item in both["spec"]["items"]] == ["a", "b", "c"]
    assert sorted(both["spec"]["tags"]) == ["x", "y", "z"]
    assert [item["name"] for item in without["spec"]["items"]] == ["b", "c"]
    assert sorted(without["spec"]["tags"]) == ["y", "z"]


async def test_an_update_of_untracked_fields_makes_an_owner(cluster: Cluster, namespace: str) -> None:
    created = await cluster.create(config_map(namespace, a="1"), field_manager="ann")
    metadata = {**created["metadata"], "managedFields": []}
    forgotten = await cluster.replace({**created, "metadata": metadata}, field_manager="ann")

    applied = await cluster.apply(config_map(namespace, b="2"), field_manager="bob")

    assert "managedFields" not in forgotten["metadata"]
    assert owners(applied) == {
        ("bob", "Apply", ""): {"f:data": {"f:b": {}}},
        ("before-first-apply", "Update", ""): {"f:data": {".": {}, "f:a": {}}},
    }


async def test_managed_fields_are_not_for_applying(cluster: Cluster, namespace: str) -> None:
    manifest = config_map(namespace)
    manifest["metadata"]["managedFields"] = []

    with pytest.raises(BadRequest):
        await cluster.apply(manifest, field_manager="ann")


async def test_unknown_fields_cannot_be_applied(things: Cluster, namespace: str) -> None:
    with pytest.raises(Invalid, match=r"\.spec\.unknown: field not declared in schema"):
        await things.apply(thing(namespace, {"unknown": 1}), field_manager="ann")


async def test_unknown_fields_are_dropped_by_other_writes(things: Cluster, namespace: str) -> None:
    created = await things.create(thing(namespace, {"text": "a", "unknown": 1}), field_manager="ann")

    assert created["spec"] == {"text": "a", "mode": "slow"}


async def test_custom_resources_are_defaulted_and_validated(things: Cluster, namespace: str) -> None:
    created = await things.apply(thing(namespace, {"ports": [{"port": 1}], "mode": None}), field_manager="ann")

    with pytest.raises(Invalid) as refused:
        await things.apply(thing(namespace, {"count": 10, "mode": "odd"}), field_manager="ann")

    assert created["spec"]["ports"] == [{"port": 1, "protocol": "TCP"}]
    assert created["spec"]["mode"] == "slow"
    assert sorted((fault.field, fault.reason) for fault in refused.value.faults) == [
        ("spec.count", "FieldValueInvalid"),
        ("spec.mode", "FieldValueNotSupported"),
    ]


async def test_an_apply_with_a_version_or_uid_insists_on_them(cluster: Cluster, namespace: str) -> None:
    created = await cluster.apply(config_map(namespace), field_manager="ann")
    metadata = {"name": "app", "namespace": namespace}

    unknown = "00000000-0000-4000-8000-000000000000"
    for precondition in ({"resourceVersion": "1"}, {"uid": unknown}):
        manifest = {**config_map(namespace, a="2"), "metadata": {**metadata, **precondition}}
        with pytest.raises((Conflict, Invalid)):
            await cluster.apply(manifest, field_manager="ann")
    absent = {**config_map(namespace), "metadata": {"name": "absent", "namespace": namespace, "uid": unknown}}
    with pytest.raises(Conflict):
        await cluster.apply(absent, field_manager="ann")

    assert await cluster.get(named(CONFIG_MAP, namespace, "app")) == created


async def test_objects_have_several_versions(things: Cluster, namespace: str) -> None:
    await things.apply(thing(namespace, {"text": "a"}), field_manager="ann")

    other = await things.apply(thing(namespace, {"text": "a", "count": 1}, kind=THING_V2), field_manager="ann")

    assert other["apiVersion"] == THING_V2.api_version
    live = await things.get(named(THING, namespace, "app"))
    assert live is not None
    assert live["apiVersion"] == THING.api_version
    assert live["spec"]["count"] == 1
    assert [entry["apiVersion"] for entry in live["metadata"]["managedFields"]] == [THING_V2.api_version]


async def test_built_in_workloads_have_the_owners_that_applied_them(cluster: Cluster, namespace: str) -> None:
    def deployment(image: str, **more: Any) -> dict[str, Any]:
        container = {"name": "web", "image": image, "ports": [{"containerPort": 80}], **more}
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template},
        }

    await cluster.apply(deployment("app:1", env=[{"name": "A", "value": "1"}]), field_manager="ann")
    sidecar = deployment("app:1")
    sidecar["spec"]["template"]["spec"]["containers"] = [{"name": "log", "image": "log:1"}]
    both = await cluster.apply(sidecar, field_manager="bob", force=True)
    with pytest.raises(ApplyConflict) as refused:
        await cluster.apply(deployment("app:2"), field_manager="bob")

    assert [c["name"] for c in both["spec"]["template"]["spec"]["containers"]] == ["web", "log"]
    port = 'k:{"containerPort":80,"protocol":"TCP"}'
    assert owners(both)["ann", "Apply", ""]["f:spec"]["f:template"]["f:spec"]["f:containers"] == {
        'k:{"name":"web"}': {
            ".": {},
            "f:name": {},
            "f:image": {},
            "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
            "f:ports": {port: {".": {}, "f:containerPort": {}}},
        }
    }
    assert refused.value.conflicts == (FieldConflict("ann", '.spec.template.spec.containers[name="web"].image'),)


async def test_a_patched_workload_is_owned_by_who_patched_it(cluster: Cluster, namespace: str) -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "app:1"}]}}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template},
    }
    ref = ObjectRef(DEPLOYMENT, ObjectKey(namespace, "web"))
    await cluster.apply(manifest, field_manager="ann")

    image = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "app:2"}
    patched = await cluster.patch(ref, [image], field_manager="bob")
    restored = await cluster.apply(manifest, field_manager="ann", force=True)

    containers: dict[str, Any] = {"f:containers": {'k:{"name":"web"}': {"f:image": {}}}}
    assert owners(patched)["bob", "Update", ""] == {"f:spec": {"f:template": {"f:spec": containers}}}
    assert ("bob", "Update", "") not in owners(restored)
    assert patched["metadata"]["generation"] == 2
    assert restored["metadata"]["generation"] == 3


# dry run


async def test_a_dry_run_answers_and_writes_nothing(cluster: Cluster, namespace: str) -> None:
    ref = named(CONFIG_MAP, namespace, "app")

    created = await cluster.create(config_map(namespace, a="1"), field_manager="ann", dry_run=True)
    assert created["data"] == {"a": "1"}
    assert await cluster.get(ref) is None

    live = await cluster.apply(config_map(namespace, a="1"), field_manager="ann")
    applied = await cluster.apply(config_map(namespace, a="2"), field_manager="ann", dry_run=True)
    patched = await cluster.patch(ref, {"data": {"a": "3"}}, field_manager="ann", dry_run=True)
    replaced = await cluster.replace({**live, "data": {"a": "4"}}, field_manager="ann", dry_run=True)
    await cluster.delete(ref, dry_run=True)

    assert [m["data"]["a"] for m in (applied, patched, replaced)] == ["2", "3", "4"]
    assert await cluster.get(ref) == live


async def test_a_dry_run_is_refused_as_the_real_thing(cluster: Cluster, namespace: str) -> None:
    await cluster.apply(config_map(namespace, a="1"), field_manager="ann")

    with pytest.raises(ApplyConflict):
        await cluster.apply(config_map(namespace, a="2"), field_manager="bob", dry_run=True)
    with pytest.raises(AlreadyExists):
        await cluster.create(config_map(namespace), field_manager="bob", dry_run=True)
    with pytest.raises(NotFound):
        await cluster.create(config_map("absent"), field_manager="bob", dry_run=True)


# delete


async def test_a_deleted_object_is_gone(cluster: Cluster, namespace: str) -> None:
    ref = named(CONFIG_MAP, namespace, "app")
    await cluster.create(config_map(namespace), field_manager="ann")

    await cluster.delete(ref)

    assert await cluster.get(ref) is None
    with pytest.raises(NotFound):
        await cluster.delete(ref)


async def test_a_deletion_can_insist_on_what_it_deletes(cluster: Cluster, namespace: str) -> None:
    ref = named(CONFIG_MAP, namespace, "app")
    created = await cluster.create(config_map(namespace), field_manager="ann")

    with pytest.raises(Conflict):
        await cluster.delete(ref, uid="00000000-0000-4000-8000-000000000000")
    with pytest.raises(Conflict):
        await cluster.delete(ref, resource_version="1")
    metadata = created["metadata"]
    await cluster.delete(ref, uid=metadata["uid"], resource_version=metadata["resourceVersion"])

    assert await cluster.get(ref) is None


async def test_finalizers_hold_an_object_until_the_last_is_gone(things: Cluster, namespace: str) -> None:
    ref = named(THING, namespace, "app")
    manifest = thing(namespace, {"text": "a"})
    manifest["metadata"]["finalizers"] = ["example.com/a", "example.com/b"]
    await things.create(manifest, field_manager="ann")

    await things.delete(ref)
    going = await things.get(ref)
    assert going is not None
    await things.delete(ref)
    assert await things.get(ref) == going
    with pytest.raises(Invalid):
        await things.patch(ref, {"metadata": {"finalizers": ["example.com/c"]}}, field_manager="ann")
    one = await things.patch(ref, {"metadata": {"finalizers": ["example.com/b"]}}, field_manager="ann")
    await things.patch(ref, {"metadata": {"finalizers": None}}, field_manager="ann")

    assert going["metadata"]["deletionTimestamp"]
    assert going["metadata"]["deletionGracePeriodSeconds"] == 0
    assert going["metadata"]["generation"] == 2
    assert one["metadata"]["deletionTimestamp"] == going["metadata"]["deletionTimestamp"]
    assert await things.get(ref) is None


async def test_cluster_wide_objects_have_no_namespace(things: Cluster) -> None:
    manifest = {"apiVersion": WIDE.api_version, "kind": "Wide", "metadata": {"name": "all"}, "spec": {"text": "a"}}

    created = await things.apply(manifest, field_manager="ann")
    await things.delete(ObjectRef(WIDE, ObjectKey("", "all")))

    assert "namespace" not in created["metadata"]
    assert (await things.find_api_resource(WIDE)).namespaced is False


async def test_a_namespaced_object_needs_one(cluster: Cluster) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}}

    with pytest.raises(BadRequest):
        await cluster.apply(manifest, field_manager="ann")


async def test_kinds_say_how_they_are_served(things: Cluster) -> None:
    config_maps, ours = await things.find_api_resource(CONFIG_MAP), await things.find_api_resource(THING)

    assert (config_maps.plural, config_maps.namespaced, config_maps.short_names) == ("configmaps", True, ("cm",))
    assert (ours.plural, ours.namespaced) == ("things", True)
    served = {resource.kind for resource in await things.list_api_resources()}
    assert {CONFIG_MAP, SECRET, DEPLOYMENT, THING_V2, PLAIN, WIDE} <= served
    assert THING not in served
