"""What only a real API server has: rights, discovery, versions it forgot, and its own words for a refusal.

What every cluster does is in tests/contracts/test_cluster.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gitops_core.adapters.kubernetes import KubernetesCluster
from gitops_core.adapters.kubernetes.kubeconfig import find_endpoint
from gitops_core.errors import BadRequest, ClusterError, ClusterUnavailable, Expired, Forbidden, Invalid, KindUnknown
from gitops_core.meta import Kind, ObjectKey, ObjectMeta, ObjectRef, Resource, Sensitive, Wire
from gitops_core.ports import PartialObject, Query, Unreadable
from gitops_core.runtime.watching.informers import read_every_page
from tests.servers.controlplane import ControlPlane

CONFIG_MAP = Kind("", "v1", "ConfigMap")
SECRET = Kind("", "v1", "Secret")


@pytest.fixture
async def cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesCluster]:
    cluster = await KubernetesCluster.from_environment(control_plane.kubeconfig, environment={})
    yield cluster
    await cluster.close()


def config_map(namespace: str, name: str, **data: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def make_crd(plural: str, kind: str, version: str = "v1") -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.test.sealoop.dev"},
        "spec": {
            "group": "test.sealoop.dev",
            "names": {"plural": plural, "kind": kind, "shortNames": [plural[:3]], "categories": ["testing"]},
            "scope": "Namespaced",
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


async def until_served(cluster: KubernetesCluster, kind: Kind) -> str:
    """The plural, once the API server serves the kind."""
    async with asyncio.timeout(60):
        while True:
            try:
                return (await cluster.find_api_resource(kind)).plural
            except KindUnknown:
                await asyncio.sleep(0.1)


# Rights


async def test_an_impersonated_user_has_its_own_rights(control_plane: ControlPlane, cluster: KubernetesCluster) -> None:
    namespace = control_plane.namespace()
    account = f"system:serviceaccount:{namespace}:deployer"
    control_plane.grant(account, ["get", "patch", "create"], ["configmaps"], namespace=namespace)
    deployer = cluster.impersonate(account, ["system:serviceaccounts"])

    made = await deployer.apply(config_map(namespace, "allowed", x="1"), field_manager="tests")
    with pytest.raises(Forbidden, match=rf'User "{account}" cannot list resource "secrets" .* namespace "{namespace}"'):
        await deployer.list(Query(SECRET, namespace), dict)

    assert made["data"] == {"x": "1"}
    assert (await cluster.list(Query(SECRET, namespace), dict)).items == []


@pytest.mark.parametrize("user", ["", "jane\r\nImpersonate-Group: system:masters", "jane\n"])
async def test_no_header_is_smuggled_in_a_user(cluster: KubernetesCluster, user: str) -> None:
    with pytest.raises(BadRequest, match="nobody can be called"):
        cluster.impersonate(user)


async def test_a_wrong_token_is_forbidden_and_not_repeated(control_plane: ControlPlane) -> None:
    token = Sensitive("hunter2")
    cluster = KubernetesCluster.connect(control_plane.url, ca=control_plane.ca.read_bytes(), token=token)
    try:
        with pytest.raises(Forbidden, match="does not accept our credentials") as caught:
            await cluster.list_api_resources()
    finally:
        await cluster.close()
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_a_server_that_is_not_trusted_gets_no_token(control_plane: ControlPlane) -> None:
    other = KubernetesCluster.connect(control_plane.url, ca=None, token=Sensitive(control_plane.token))
    mark = control_plane.mark()
    try:
        with pytest.raises(ClusterUnavailable, match=r"has a certificate that is not trusted: .*"):
            await other.list_api_resources()
    finally:
        await other.close()
    assert control_plane.requests(agent="sealoop", since=mark) == []


# Names


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../../secrets/x", "a%2fb"])
async def test_a_name_is_never_another_path(cluster: KubernetesCluster, name: str) -> None:
    with pytest.raises(BadRequest, match="cannot be the name of an object"):
        await cluster.get(ObjectRef(CONFIG_MAP, ObjectKey("default", name)))
    with pytest.raises(BadRequest):
        await cluster.get(ObjectRef(CONFIG_MAP, ObjectKey(name, "x")))


async def test_names_with_colons_and_question_marks_stay_names(cluster: KubernetesCluster) -> None:
    role = Kind("rbac.authorization.k8s.io", "v1", "ClusterRole")

    found = await cluster.get(ObjectRef(role, ObjectKey("", "system:basic-user")))

    assert found is not None
    assert await cluster.get(ObjectRef(CONFIG_MAP, ObjectKey("default", "x?watch=true"))) is None


# Discovery


async def test_a_kind_is_known_as_soon_as_its_crd_is_installed(
    control_plane: ControlPlane, cluster: KubernetesCluster
) -> None:
    kind = Kind("test.sealoop.dev", "v1", "Gadget")
    with pytest.raises(KindUnknown, match=r'no matches for kind "Gadget" in version "test.sealoop.dev/v1"'):
        await cluster.find_api_resource(kind)

    await cluster.create(make_crd("gadgets", "Gadget"), field_manager="tests")

    assert await until_served(cluster, kind) == "gadgets"
    found = next(r for r in await cluster.list_api_resources() if r.kind == kind)
    assert (found.namespaced, found.short_names, found.categories) == (True, ("gad",), ("testing",))


async def test_a_kind_whose_crd_is_gone_is_unknown_again(cluster: KubernetesCluster) -> None:
    kind = Kind("test.sealoop.dev", "v1", "Gone")
    made = await cluster.create(make_crd("gones", "Gone"), field_manager="tests")
    await until_served(cluster, kind)

    await cluster.delete(ObjectRef.of(made))

    with pytest.raises(KindUnknown):  # noqa: PT012 - when exactly is the server's business
        async with asyncio.timeout(60):
            while True:
                await cluster.list(Query(kind), dict)
                await asyncio.sleep(0.1)
    with pytest.raises(KindUnknown):
        await cluster.find_api_resource(kind)


async def test_kinds_are_asked_for_once(control_plane: ControlPlane, cluster: KubernetesCluster) -> None:
    mark = control_plane.mark()

    await asyncio.gather(*(cluster.get(ObjectRef(SECRET, ObjectKey("default", f"s{n}"))) for n in range(5)))

    asked = [r.uri for r in control_plane.requests(agent="sealoop", since=mark)]
    assert asked.count("/api") == 1
    assert len(asked) == 6


# Reading


class WidgetSpec(Wire):
    size: int = 0


class Widget(Resource):
    KIND = Kind("test.sealoop.dev", "v1", "Widget")
    PLURAL = "widgets"

    metadata: ObjectMeta = ObjectMeta()
    spec: WidgetSpec = WidgetSpec()
    status: None = None


async def test_an_object_that_cannot_be_read_hides_no_other_of_its_list(
    control_plane: ControlPlane, cluster: KubernetesCluster
) -> None:
    namespace = control_plane.namespace()
    await cluster.create(make_crd("widgets", "Widget"), field_manager="tests")
    await until_served(cluster, Widget.KIND)
    for name, size in (("a", 1), ("b", "large"), ("c", 3)):
        widget = {"apiVersion": "test.sealoop.dev/v1", "kind": "Widget", "spec": {"size": size}}
        await cluster.create({**widget, "metadata": {"name": name, "namespace": namespace}}, field_manager="tests")

    page = await cluster.list(Query(Widget.KIND, namespace), Widget)

    first, second, third = page.items
    assert isinstance(first, Widget)
    assert isinstance(third, Widget)
    assert (first.spec.size, third.spec.size) == (1, 3)
    assert isinstance(second, Unreadable)
    assert second.ref == ObjectRef(Widget.KIND, ObjectKey(namespace, "b"))
    assert "spec.size" in second.cause

    with pytest.raises(Expired):  # its first version is older than what the server's watch cache began with
        async for _ in cluster.watch(Query(Widget.KIND, namespace), Widget, "1"):
            pass


async def test_a_watch_ends_when_its_time_is_over(control_plane: ControlPlane) -> None:
    endpoint = find_endpoint(control_plane.kubeconfig, None, {})
    cluster = KubernetesCluster(endpoint, watch_seconds=(1, 1))
    query = Query(CONFIG_MAP, control_plane.namespace(), name="a")
    try:
        page = await cluster.list(query, PartialObject)
        await cluster.create(config_map(query.namespace, "a"), field_manager="tests")
        async with asyncio.timeout(60):
            events = [event async for event in cluster.watch(query, PartialObject, page.resource_version)]
    finally:
        await cluster.close()

    assert [event.type for event in events if event.type != "BOOKMARK"] == ["ADDED"]


async def test_many_large_objects_of_one_namespace_are_listed(
    control_plane: ControlPlane, cluster: KubernetesCluster
) -> None:
    namespace = control_plane.namespace()
    for n in range(5):
        await cluster.create(config_map(namespace, f"large-{n}", x="x" * 900_000), field_manager="test")

    found = await read_every_page(cluster, Query(CONFIG_MAP, namespace), dict)

    large = [item for item in found if item["metadata"]["name"].startswith("large-")]
    assert [(item["metadata"]["name"], len(item["data"]["x"])) for item in large] == [
        (f"large-{n}", 900_000) for n in range(5)
    ]


async def test_metadata_only_brings_no_data(control_plane: ControlPlane, cluster: KubernetesCluster) -> None:
    namespace = control_plane.namespace()
    await cluster.create(config_map(namespace, "a", x="1"), field_manager="tests")

    page = await cluster.list(Query(CONFIG_MAP, namespace, name="a", metadata_only=True), dict)

    [item] = page.items
    assert isinstance(item, dict)
    assert set(item) == {"apiVersion", "kind", "metadata"}
    assert (item["apiVersion"], item["kind"]) == ("v1", "ConfigMap")


# Refusals


@pytest.mark.parametrize("field", ["data", "stringData"])
@pytest.mark.parametrize("value", [73489127, "hunter2 is not base64"])
async def test_a_secrets_value_is_not_in_the_refusal(
    control_plane: ControlPlane, cluster: KubernetesCluster, field: str, value: Any
) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson"}
    metadata = {"name": "secret", "namespace": control_plane.namespace()}
    manifest = {**secret, "metadata": metadata, field: {".dockerconfigjson": value}}

    for write in (cluster.apply, cluster.create):
        with pytest.raises((Invalid, BadRequest)) as caught:
            await write(manifest, field_manager="tests")
        said = f"{caught.value} {getattr(caught.value, 'faults', '')}"
        assert "73489127" not in said
        assert "hunter2" not in said


def denying(control_plane: ControlPlane, namespace: str) -> None:
    """A policy that refuses Secrets of the namespace that say `denied`, and repeats one's value."""
    base, name = "/apis/admissionregistration.k8s.io/v1", f"quote-{namespace}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"]}
    check = {
        "expression": "!('denied' in object.data)",
        "messageExpression": "'not ' + string(object.data.password)",
    }
    policy = {"matchConstraints": {"resourceRules": [rule]}, "validations": [check]}
    only = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": only}
    for kind, spec in (("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding)):
        manifest = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}}
        plural = "validatingadmissionpolicies" if kind == "ValidatingAdmissionPolicy" else f"{kind.lower()}s"
        control_plane.apply({**manifest, "spec": spec}, f"{base}/{plural}/{name}")


async def test_a_policy_that_repeats_a_secrets_value_is_named_without_its_words(
    control_plane: ControlPlane, cluster: KubernetesCluster
) -> None:
    namespace = control_plane.namespace()
    denying(control_plane, namespace)
    metadata = {"name": "secret", "namespace": namespace}
    data = {"denied": "", "password": "aHVudGVyMg=="}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}

    refusal = await refused(cluster, manifest)

    assert f"ValidatingAdmissionPolicy 'quote-{namespace}'" in str(refusal)
    said = f"{refusal} {refusal.faults}"
    assert "hunter2" not in said
    assert "aHVudGVyMg" not in said


async def refused(cluster: KubernetesCluster, manifest: dict[str, Any]) -> Invalid:
    """The refusal, once the API server has noticed the policy."""
    async with asyncio.timeout(60):
        while True:
            try:
                await cluster.apply(manifest, field_manager="tests", dry_run=True)
            except Invalid as error:
                return error
            await asyncio.sleep(0.1)


async def test_an_object_that_does_not_fit_the_schema_is_invalid(
    control_plane: ControlPlane, cluster: KubernetesCluster
) -> None:
    metadata = {"name": "web", "namespace": control_plane.namespace()}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}

    with pytest.raises(Invalid, match=r"spec\.replica: field not declared in schema"):
        await cluster.apply({**deployment, "spec": {"replica": 1}}, field_manager="tests")
    with pytest.raises(Invalid, match=r'Deployment\.apps "web" is invalid') as caught:
        await cluster.apply({**deployment, "spec": {"replicas": 1}}, field_manager="tests")

    assert ("spec.selector", "FieldValueRequired") in {(f.field, f.reason) for f in caught.value.faults}


async def test_a_server_that_is_gone_is_unavailable(control_plane: ControlPlane) -> None:
    cluster = KubernetesCluster.connect("https://127.0.0.1:1", ca=None, token=Sensitive("hunter2"))
    try:
        with pytest.raises(
            ClusterUnavailable, match=r"the API server https://127.0.0.1:1 cannot be reached: Connection refused"
        ):
            await cluster.list_api_resources()
    finally:
        await cluster.close()


async def test_two_ways_of_one_session_share_what_they_know(
    control_plane: ControlPlane, cluster: KubernetesCluster
) -> None:
    await cluster.find_api_resource(SECRET)
    mark = control_plane.mark()

    with pytest.raises(ClusterError):
        await cluster.impersonate("nobody").get(ObjectRef(SECRET, ObjectKey("default", "x")))

    asked = control_plane.requests(agent="sealoop", since=mark)
    assert [r.uri for r in asked] == ["/api/v1/namespaces/default/secrets/x"]
