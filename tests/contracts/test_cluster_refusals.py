"""What both clusters refuse of Secrets, ConfigMaps and RoleBindings, and how they keep a CRD's empty defaults."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_core.errors import BadRequest, Invalid
from gitops_core.meta import Kind
from gitops_core.ports import Cluster
from tests.contracts.conftest import until_served
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
