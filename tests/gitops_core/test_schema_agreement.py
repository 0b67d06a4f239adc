"""The schema functions and a real kube-apiserver do the same to random objects: both store them, or both refuse."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from http.client import HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitops_core.meta import Resource
from gitops_core.schema import FieldFault, default, prune, validate
from tests.gitops_core.random_objects import SCHEMAS, SENT
from tests.servers.controlplane import ControlPlane

WIDGET: dict[str, Any] = {
    "type": "object",
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "maxLength": 5, "minLength": 2, "pattern": "^[a-z]+$"},
                "count": {"type": "integer", "minimum": 1, "maximum": 10, "format": "int32"},
                "big": {"type": "integer", "format": "int64"},
                "ratio": {"type": "number", "minimum": 0.5},
                "when": {"type": "string", "format": "date-time"},
                "data": {"type": "string", "format": "byte"},
                "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
                "tags": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 2,
                    "items": {"type": "string", "enum": ["a", "b"]},
                },
                "maybe": {"type": "string", "nullable": True},
                "given": {"type": "string", "nullable": True, "default": "x"},
                "labels": {
                    "type": "object",
                    "maxProperties": 2,
                    "additionalProperties": {"type": "string", "maxLength": 3},
                },
                "free": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": True,
                    "properties": {"known": {"type": "integer"}},
                },
                "any": {"x-kubernetes-preserve-unknown-fields": True},
                "nested": {
                    "type": "object",
                    "default": {},
                    "properties": {
                        "mode": {"type": "string", "default": "on"},
                        "n": {
                            "type": "array",
                            "items": {"type": "object", "properties": {"x": {"type": "integer", "default": 3}}},
                        },
                    },
                },
                "limits": {
                    "type": "object",
                    "properties": {"lo": {"type": "integer"}, "hi": {"type": "integer"}},
                    "x-kubernetes-validations": [
                        {"rule": "!has(self.lo) || !has(self.hi) || self.lo <= self.hi", "message": "lo over hi"},
                        {"rule": "self == oldSelf", "message": "immutable"},
                    ],
                },
                "flag": {"type": "boolean"},
                "both": {
                    "type": "object",
                    "properties": {"lo": {"type": "integer"}, "hi": {"type": "integer"}},
                    "x-kubernetes-validations": [
                        {"rule": "self.lo <= self.hi"},
                        {
                            "rule": "self.hi / self.lo > 0",
                            "message": "uneven",
                            "fieldPath": ".hi",
                            "reason": "FieldValueForbidden",
                        },
                        {"rule": "true", "messageExpression": "'x'"},
                        {"rule": "self.lo != 1", "messageExpression": "self.lo == 1 ? 'one' : 'other'"},
                    ],
                },
                "pair": {
                    "type": "object",
                    "minProperties": 2,
                    "maxProperties": 2,
                    "required": ["hi"],
                    "properties": {"hi": {"type": "integer"}, "lo": {"type": "integer"}, "x": {"type": "integer"}},
                },
                "short": {"type": "string", "x-kubernetes-validations": [{"rule": "self.size() < 4"}]},
                "items": {
                    "type": "array",
                    "maxItems": 5,
                    "items": {
                        "type": "object",
                        "properties": {"k": {"type": "string", "maxLength": 3}},
                        "x-kubernetes-validations": [{"rule": "has(self.k)"}],
                    },
                },
            },
        },
    },
}

GOOD_WIDGET: Mapping[str, Any] = {
    "name": "abc",
    "count": 3,
    "big": 5,
    "ratio": 1.5,
    "when": "2020-01-01T00:00:00Z",
    "data": "YQ==",
    "port": 80,
    "tags": ["a"],
    "labels": {"a": "b"},
    "flag": True,
    "maybe": None,
    "limits": {"lo": 1, "hi": 2},
    "short": "abc",
    "items": [{"k": "a"}],
    "free": {"z": None},
    "any": [1, None],
}

ODD: tuple[Any, ...] = (
    *(None, 0, 1, 3, 11, -1, 2**31, 2**40, 1.0, 1.5, 0.1, "", "a", "abc", "abcdef", "é", "UP", "a\nb", 'q"q', True),
    *([], [None], ["a"], ["a", "c", 1], ["a", "b", "a"], {}, {"x": None}, {"known": "s"}, {"known": None, "u": 1}),
    *(
        {"a": "abcd", "b": None, "c": 1},
        {"lo": 3, "hi": 1},
        {"lo": "x"},
        {"lo": "x", "hi": 1, "x": 1},
        [{}],
        [{"k": "abcd"}, {}],
    ),
    *({"mode": None, "n": [{"x": None}, {}, None]}, "2020-01-01", "2020-01-01t00:00:00+01:00", "YQ", "Y\nQ==", "80"),
)

WIDGETS = st.builds(
    lambda kept, odd: {key: GOOD_WIDGET[key] for key in kept} | odd,
    st.sets(st.sampled_from(sorted(GOOD_WIDGET))),
    st.dictionaries(
        st.sampled_from([*sorted(WIDGET["properties"]["spec"]["properties"]), "unknown"]),
        st.sampled_from(ODD),
        max_size=3,
    ),
)

COMPARED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Api:
    """One connection to the real API server."""

    def __init__(self, plane: ControlPlane) -> None:
        context = ssl.create_default_context(cafile=str(plane.ca))
        self.connection = HTTPSConnection(urlsplit(plane.url).netloc, timeout=30, context=context)
        self.headers = {"Authorization": f"Bearer {plane.token}", "Content-Type": "application/json"}

    def stored_or_refused(self, method: str, path: str, manifest: Any) -> tuple[Any, set[FieldFault]]:
        """The spec that the API server would store, or None and why it would not."""
        self.connection.request(method, path, json.dumps(manifest), self.headers)
        response = self.connection.getresponse()
        answer = json.loads(response.read())
        if response.status < 300:
            return answer.get("spec"), set()
        assert response.status == 422, answer
        return None, {FieldFault(c["field"], c["reason"], c["message"]) for c in answer["details"]["causes"]}


def ours(schema: Mapping[str, Any], manifest: Any, old: Any = None) -> tuple[Any, set[FieldFault]]:
    stored = prune(schema, default(schema, manifest))
    faults = validate(schema, stored, old)
    return (None, set(faults)) if faults else (stored.get("spec"), set())


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> Iterator[Api]:
    control_plane.install_crds()
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.schema.test"},
        "spec": {
            "group": "schema.test",
            "scope": "Namespaced",
            "names": {"kind": "Widget", "listKind": "WidgetList", "plural": "widgets", "singular": "widget"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": WIDGET}}],
        },
    }
    control_plane.apply(definition, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.schema.test")
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/widgets.schema.test")
    api = Api(control_plane)
    yield api
    api.connection.close()


def widget(spec: Any) -> dict[str, Any]:
    return {"apiVersion": "schema.test/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec}


@COMPARED
@given(sent=SENT)
def test_the_real_api_server_does_the_same_to_our_kinds(sent: tuple[type[Resource], Any], api: Api) -> None:
    cls, manifest = sent
    manifest = {key: manifest[key] for key in ("apiVersion", "kind", "spec") if key in manifest}
    manifest["metadata"] = {"name": "x"}  # a status sent with a new object is ignored
    path = f"/apis/{cls.KIND.api_version}/namespaces/default/{cls.PLURAL}?dryRun=All"

    assert ours(SCHEMAS[cls], manifest) == api.stored_or_refused("POST", path, manifest)


@pytest.mark.parametrize("field", WIDGET["properties"]["spec"]["properties"])
def test_the_real_api_server_does_the_same_to_each_odd_value(field: str, api: Api) -> None:
    path = "/apis/schema.test/v1/namespaces/default/widgets?dryRun=All"
    for odd in ODD:
        sent = widget({"name": "abc", field: odd})

        assert ours(WIDGET, sent) == api.stored_or_refused("POST", path, sent), sent


@COMPARED
@given(spec=WIDGETS)
def test_the_real_api_server_does_the_same_with_several_odd_values(spec: Any, api: Api) -> None:
    path = "/apis/schema.test/v1/namespaces/default/widgets?dryRun=All"

    assert ours(WIDGET, widget(spec)) == api.stored_or_refused("POST", path, widget(spec))


@pytest.fixture(scope="module")
def stored_widget(api: Api, control_plane: ControlPlane) -> Any:
    return control_plane.expect("POST", "/apis/schema.test/v1/namespaces/default/widgets", widget(GOOD_WIDGET))


@COMPARED
@given(spec=WIDGETS)
def test_the_real_api_server_does_the_same_to_a_change(spec: Any, api: Api, stored_widget: Any) -> None:
    """Transition rules apply, and what did not change is not held against the object."""
    path = "/apis/schema.test/v1/namespaces/default/widgets/w?dryRun=All"
    changed = {**stored_widget, "spec": spec}

    assert ours(WIDGET, changed, stored_widget) == api.stored_or_refused("PUT", path, changed)
