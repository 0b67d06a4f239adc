"""Laws of what is applied: what only a cluster writes is left out, what a cluster shows changes nothing."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.sync.normalization import normalize
from tests.servers.certificates import Authority

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

words = st.text("abcxyz", min_size=1, max_size=5)
scalars = st.none() | st.booleans() | st.integers(-9, 9) | words
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3))
kinds = st.sampled_from(
    [
        ("v1", "ConfigMap"),
        ("v1", "Pod"),
        ("v1", "Secret"),
        ("v1", "Service"),
        ("apps/v1", "Deployment"),
        ("batch/v1", "CronJob"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
        ("example.org/v1", "Widget"),
    ]
)
FIELDS = ("spec", "data", "stringData", "template", "containers", "ports", "protocol", "webhooks", "clientConfig")
fields = st.dictionaries(st.sampled_from(FIELDS) | words, trees, max_size=4)


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, Any]:
    api_version, kind = draw(kinds)
    metadata = {"name": draw(words)} | draw(
        st.fixed_dictionaries({}, optional={"labels": trees, "annotations": trees, "finalizers": trees})
    )
    return {**draw(fields), "apiVersion": api_version, "kind": kind, "metadata": metadata}


@given(manifests())
def test_a_normalized_manifest_stays_as_it_is(manifest: dict[str, Any]) -> None:
    once = normalize(manifest)

    assert normalize(once) == once
    assert (once["apiVersion"], once["kind"]) == (manifest["apiVersion"], manifest["kind"])
    assert once["metadata"]["name"] == manifest["metadata"]["name"]


@given(manifests(), trees)
def test_fields_that_only_a_cluster_writes_are_ignored(manifest: dict[str, Any], status: Any) -> None:
    system = {
        "uid": "1",
        "resourceVersion": "7",
        "generation": 3,
        "creationTimestamp": None,
        "managedFields": [],
        "selfLink": "/",
        "deletionTimestamp": "2026-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 0,
    }
    shown = {**manifest, "metadata": {**manifest["metadata"], **system}, "status": status}

    assert normalize(shown) == normalize(manifest)


@given(manifests())
def test_a_manifest_itself_is_left_as_it_was(manifest: dict[str, Any]) -> None:
    before = repr(manifest)

    normalize(manifest)

    assert repr(manifest) == before


def secret(**parts: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, **parts}


def test_strings_of_a_secret_become_data_and_win() -> None:
    assert normalize(secret(stringData={"a": "x", "b": ""}, data={"a": "b2xk", "c": "Yw=="})) == secret(
        data={"a": "eA==", "b": "", "c": "Yw=="}
    )
    assert normalize(secret(stringData={}, data={"c": "Yw=="})) == secret(data={"c": "Yw=="})
    custom = {**secret(stringData={"a": "x"}), "apiVersion": "example.org/v1"}
    assert normalize(custom) == custom


def test_a_secret_of_a_wrong_shape_is_left_for_the_api_server_to_refuse() -> None:
    for wrong in (secret(stringData={"a": 1}), secret(stringData=["a"]), secret(stringData={"a": "x"}, data="b")):
        assert normalize(wrong) == wrong


def test_ports_name_their_protocol() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    ports = [{"port": 53}, {"port": 53, "protocol": "UDP"}]
    assert normalize({**service, "spec": {"ports": ports}})["spec"]["ports"] == [
        {"port": 53, "protocol": "TCP"},
        {"port": 53, "protocol": "UDP"},
    ]
    pod = {"containers": [{"name": "c", "ports": [{"containerPort": 80}]}], "initContainers": [{"name": "i"}]}
    told = {"containers": [{"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}
    places: dict[tuple[str, str], Any] = {
        ("v1", "Pod"): lambda spec: spec,
        ("apps/v1", "StatefulSet"): lambda spec: {"template": {"spec": spec}},
        ("batch/v1", "CronJob"): lambda spec: {"jobTemplate": {"spec": {"template": {"spec": spec}}}},
        ("v1", "ReplicationController"): lambda spec: {"template": {"spec": spec}},
    }
    for (api_version, kind), place in places.items():
        manifest = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": place(pod)}
        assert normalize(manifest)["spec"] == place({**pod, **told})


def test_a_null_is_no_wish_in_a_kind_of_the_api_server_and_kept_in_others() -> None:
    spec = {"replicas": None, "template": {"spec": {"nodeSelector": None, "containers": [{"resources": None}]}}}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}, "spec": spec}
    assert normalize(deployment)["spec"] == {"template": {"spec": {"containers": [{}]}}}
    widget = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"a": None}}
    assert normalize(widget) == widget


def definition(bundle: str | None) -> dict[str, Any]:
    client = {"service": {"name": "w", "namespace": "n"}, "caBundle": bundle}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "c"},
        "spec": {"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": client}}},
    }


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    return base64.b64encode(Authority.make(tmp_path_factory.mktemp("ca")).certificate.read_bytes()).decode()


def test_a_bundle_without_a_certificate_is_a_placeholder(authority: str) -> None:
    def client_of(manifest: dict[str, Any]) -> Any:
        return normalize(manifest)["spec"]["conversion"]["webhook"]["clientConfig"]

    broken = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").decode()
    for placeholder in ("", None, "Cg==", "Cgo=", "invalid-cert-data", broken, base64.b64encode(b"\xff").decode()):
        assert "caBundle" not in client_of(definition(placeholder))
    assert client_of(definition(authority))["caBundle"] == authority
    commented = base64.b64encode("# Főtanúsítvány\n".encode() + base64.b64decode(authority)).decode()
    assert client_of(definition(commented))["caBundle"] == commented


@pytest.mark.parametrize("kind", ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"])
def test_webhooks_and_services_of_the_api_have_placeholders_too(kind: str, authority: str) -> None:
    def hooks(bundle: str | None) -> dict[str, Any]:
        client = {"url": "https://x", "caBundle": bundle}
        webhooks = [{"name": "a.b.c", "clientConfig": client}, {"name": "d.e.f"}]
        about = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "h"}}
        return {**about, "webhooks": webhooks}

    for placeholder in ("", None, "Cg=="):
        assert normalize(hooks(placeholder))["webhooks"][0]["clientConfig"] == {"url": "https://x"}
    assert normalize(hooks(authority)) == hooks(authority)
    service = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "a"}}
    for placeholder in ("", None, "Cg=="):
        assert normalize({**service, "spec": {"caBundle": placeholder, "group": "g"}})["spec"] == {"group": "g"}


def test_an_annotation_of_kubectl_is_not_applied() -> None:
    annotations = {LAST_APPLIED: "{}", "fluxcd.io/sync-checksum": "1", "note": "x"}
    labels = {"fluxcd.io/sync-gc-mark": "y", "app": "z"}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap"}

    shown = normalize({**manifest, "metadata": {"name": "c", "annotations": annotations, "labels": labels}})

    assert shown["metadata"] == {"name": "c", "annotations": {"note": "x"}, "labels": {"app": "z"}}
