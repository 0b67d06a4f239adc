"""What both clusters refuse of metadata, Secrets, ConfigMaps, Roles and RoleBindings, and how they keep a CRD's empty
defaults.
"""

from __future__ import annotations

from typing import Any

import pytest

from gitops_core.errors import BadRequest, Invalid, KindUnknown, NotFound
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import Cluster
from tests.contracts.conftest import named, until_served
from tests.contracts.things import GROUP, definition

RBAC = "rbac.authorization.k8s.io"


def secret(namespace: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}, **fields}


async def refused(cluster: Cluster, manifest: dict[str, Any]) -> set[str]:
    """The fields that a forced apply is refused for."""
    with pytest.raises(Invalid) as caught:
        await cluster.apply(manifest, field_manager="tests", force=True)
    return {fault.field for fault in caught.value.faults}


async def test_a_key_of_a_secret_must_be_a_file_name(cluster: Cluster, namespace: str) -> None:
    assert await refused(cluster, secret(namespace, stringData={"a b": "1", "..x": "2"})) == {"data[a b]", "data[..x]"}


async def test_a_tls_secret_needs_its_keys(cluster: Cluster, namespace: str) -> None:
    wanted = secret(namespace, type="kubernetes.io/tls", stringData={"tls.crt": "x"})

    assert await refused(cluster, wanted) == {"data[tls.key]"}


async def test_data_that_is_not_base64_is_a_bad_request(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(BadRequest):
        await cluster.create(secret(namespace, data={"a": "%"}), field_manager="tests")


async def test_an_immutable_secret_does_not_change(cluster: Cluster, namespace: str) -> None:
    await cluster.create(secret(namespace, immutable=True, stringData={"a": "1"}), field_manager="tests")

    assert await refused(cluster, secret(namespace, immutable=True, stringData={"a": "2"})) == {"data"}


async def test_a_role_binding_keeps_its_role(cluster: Cluster, namespace: str) -> None:
    about = {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": "b", "namespace": namespace}}
    await cluster.create({**about, "roleRef": {"kind": "Role", "name": "a", "apiGroup": RBAC}}, field_manager="tests")

    other = {**about, "roleRef": {"kind": "Role", "name": "b", "apiGroup": RBAC}}

    assert await refused(cluster, other) == {"roleRef"}


async def test_empty_defaults_and_whole_numbers_come_back_as_a_server_writes_them(
    cluster: Cluster, namespace: str
) -> None:
    properties = {
        "list": {"type": "array", "items": {"type": "string"}, "default": []},
        "map": {"type": "object", "properties": {"mode": {"type": "string", "default": "on"}}, "default": {}},
        "number": {"type": "number"},
    }
    spec = {"type": "object", "properties": properties}
    schema = {"type": "object", "properties": {"spec": spec, "status": {"type": "object"}}}
    await cluster.apply(definition("Blank", schema), field_manager="tests", force=True)
    kind = Kind(GROUP, "v1", "Blank")
    await until_served(cluster, kind)

    metadata = {"name": "b", "namespace": namespace}
    blank = {"apiVersion": kind.api_version, "kind": "Blank", "metadata": metadata, "spec": {"number": 2.0}}
    made = await cluster.create(blank, field_manager="tests")

    assert made["spec"] == {"list": [], "map": {"mode": "on"}, "number": 2}
    assert isinstance(made["spec"]["number"], int)


# metadata


OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "00000000-0000-4000-8000-000000000000"}
METADATA: dict[str, tuple[dict[str, Any], set[str]]] = {
    "an owner without a version": ({"ownerReferences": [{**OWNER, "apiVersion": ""}]}, {"ownerReferences.apiVersion"}),
    "an owner of no version": ({"ownerReferences": [{**OWNER, "apiVersion": "a/b/c"}]}, {"ownerReferences.apiVersion"}),
    "an owner without a uid": ({"ownerReferences": [{**OWNER, "uid": ""}]}, {"ownerReferences.uid"}),
    "an Event as owner": ({"ownerReferences": [{**OWNER, "kind": "Event"}]}, {"ownerReferences"}),
    "two controllers": (
        {"ownerReferences": [{**OWNER, "controller": True}, {**OWNER, "name": "p", "uid": "1", "controller": True}]},
        {"ownerReferences"},
    ),
    "a finalizer that is no name": ({"finalizers": ["example.com/a b"]}, {"finalizers"}),
    "a finalizer without a domain": ({"finalizers": ["mine"]}, {"finalizers[0]"}),
    "two rules for dependents": ({"finalizers": ["orphan", "foregroundDeletion"]}, {"finalizers"}),
    "large annotations": ({"annotations": {"a": "x" * 200_000, "b": "é" * 40_000}}, {"annotations"}),
    "a beginning that no name has": ({"generateName": "A"}, {"generateName"}),
}


@pytest.mark.parametrize("case", METADATA)
async def test_metadata_that_cannot_be_is_refused(cluster: Cluster, namespace: str, case: str) -> None:
    metadata, fields = METADATA[case]
    wanted = secret(namespace)
    wanted["metadata"] |= metadata

    assert await refused(cluster, wanted) == {f"metadata.{field}" for field in fields}


async def test_a_bad_finalizer_of_a_built_in_kind_is_also_refused_later(cluster: Cluster, namespace: str) -> None:
    await cluster.create(secret(namespace), field_manager="tests")

    finalizers = {"metadata": {"finalizers": ["mine"]}}

    with pytest.raises(Invalid) as caught:
        await cluster.patch(named(Kind("", "v1", "Secret"), namespace, "s"), finalizers, field_manager="tests")

    assert {fault.field for fault in caught.value.faults} == {"metadata.finalizers[0]"}


async def test_a_long_beginning_of_a_name_is_cut_off(cluster: Cluster, namespace: str) -> None:
    wanted = secret(namespace)
    wanted["metadata"] = {"namespace": namespace, "generateName": "x" * 60}

    made = await cluster.create(wanted, field_manager="tests")

    name = made["metadata"]["name"]
    assert len(name) == 63
    assert name.startswith("x" * 58)


async def test_a_missing_namespace_is_told_before_any_other_fault(cluster: Cluster) -> None:
    wanted = secret("nowhere", stringData={"a b": "1"})

    for write in (cluster.create, cluster.apply):
        with pytest.raises(NotFound, match="Namespace/nowhere"):
            await write(wanted, field_manager="tests")


async def test_a_kind_without_a_status_has_no_place_for_it(cluster: Cluster, namespace: str) -> None:
    await cluster.create(secret(namespace), field_manager="tests")
    ref = named(Kind("", "v1", "Secret"), namespace, "s")

    with pytest.raises(KindUnknown):
        await cluster.patch(ref, {"status": {}}, field_manager="tests", subresource="status")


# namespaces, roles


async def test_a_namespace_is_active_from_the_start(cluster: Cluster, namespace: str) -> None:
    found = await cluster.get(ObjectRef(Kind("", "v1", "Namespace"), ObjectKey("", namespace)))

    assert found is not None
    assert found["status"] == {"phase": "Active"}


async def test_the_name_of_a_namespace_is_one_label(cluster: Cluster) -> None:
    wanted = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a.b"}}

    assert await refused(cluster, wanted) == {"metadata.name"}


def role(namespace: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "r", "namespace": namespace}, **fields}


async def test_a_rule_of_a_role_says_what_it_is_about(cluster: Cluster, namespace: str) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods"]}, {"verbs": ["get"]}]
    rules.append({"verbs": ["get"], "nonResourceURLs": ["/healthz"]})
    fields = {"rules[0].verbs", "rules[1].apiGroups", "rules[1].resources", "rules[2].nonResourceURLs"}

    assert await refused(cluster, role(namespace, rules=rules)) == fields


@pytest.mark.parametrize("fields", [{}, {"rules": []}], ids=["none", "empty"])
async def test_a_role_without_rules_has_null_rules(cluster: Cluster, namespace: str, fields: dict[str, Any]) -> None:
    made = await cluster.apply(role(namespace, **fields), field_manager="tests")

    assert made["rules"] is None


async def test_a_role_binding_names_a_role_and_accounts_that_can_be(cluster: Cluster, namespace: str) -> None:
    about = {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": "b", "namespace": namespace}}
    reference = {"kind": "Role", "name": "a/b", "apiGroup": RBAC}
    subjects = [{"kind": "ServiceAccount", "name": "A", "namespace": namespace}, {"kind": "User", "name": "A"}]

    fields = {"roleRef.name", "subjects[0].name"}

    assert await refused(cluster, {**about, "roleRef": reference, "subjects": subjects}) == fields


async def test_bytes_may_be_written_as_numbers(cluster: Cluster, namespace: str) -> None:
    made = await cluster.create(secret(namespace, data={"a": [120, None]}), field_manager="tests")

    assert made["data"] == {"a": "eAA="}
