"""Laws of the schema functions, and random objects on which they and a real kube-apiserver must agree."""

from __future__ import annotations

import json
import ssl
import types
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from http.client import HTTPSConnection
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gitops_core.api
import image_updater.api
import secrets_sync.api
from gitops_core.api import GitReference, GitRepository, GitRepositorySpec, KustomizationSpec, LocalReference
from gitops_core.api.kustomization import Decryption, Dependency, SourceReference
from gitops_core.meta import ObjectMeta, Resource, Wire
from gitops_core.schema import (
    SERVER_DEFAULT,
    UNSUPPORTED,
    FieldFault,
    crd,
    crds,
    default,
    from_manifest,
    object_schema,
    only,
    prune,
    to_manifest,
    unsupported,
    validate,
)
from gitops_core.schema.cel import RuleInvalid, compares, evaluate
from gitops_core.schema.structural import structural
from secrets_sync.api import DataEntry, ExternalSecretSpec, RemoteRef, StoreRef
from tests.servers.controlplane import ControlPlane

KINDS: tuple[type[Resource], ...] = (*gitops_core.api.KINDS, *image_updater.api.KINDS, *secrets_sync.api.KINDS)
SCHEMAS = {cls: object_schema(cls) for cls in KINDS}

# objects of our own classes, from the classes themselves

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x17F), max_size=8)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(0, 2**31 - 1),
    bool: st.booleans(),
    bytes: st.binary(max_size=4),
    Any: st.none() | st.integers(-9, 9) | TEXT,
    datetime: st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 zoned
}


def values(t: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, within its constraints."""
    origin, args = get_origin(t), get_args(t)
    if origin is Annotated:
        return constrained(args[0], t.__metadata__)
    if origin in (Union, types.UnionType):
        return st.one_of(*(st.none() if a is types.NoneType else values(a) for a in args))
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(values(args[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(TEXT, values(args[1]), max_size=2)
    if t in SCALARS:
        return SCALARS[t]
    return structs(t)


def constrained(t: Any, metas: tuple[msgspec.Meta, ...]) -> st.SearchStrategy[Any]:
    shortest = max((meta.min_length or 0 for meta in metas), default=0)
    longest = min((meta.max_length or 10**6 for meta in metas), default=10**6)
    pattern = next((meta.pattern for meta in metas if meta.pattern), None)
    strategy = matching(pattern) if pattern else None
    if strategy is None and t is str:
        strategy = st.text(TEXT_ALPHABET, min_size=shortest, max_size=min(longest, shortest + 5))
    strategy = values(t) if strategy is None else strategy
    if shortest == 0 and longest == 10**6:
        return strategy
    return strategy.filter(lambda value: shortest <= len(value) <= longest)


TEXT_ALPHABET = st.characters(min_codepoint=97, max_codepoint=122)


@cache
def matching(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern, alphabet=st.characters(codec="ascii")).filter(lambda text: "\n" not in text)


@cache
def structs(cls: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    fields = msgspec.structs.fields(cls)
    required = {f.name: values(f.type) for f in fields if f.required}
    optional = {f.name: values(f.type) for f in fields if not f.required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: cls(**given))


RESOURCES: st.SearchStrategy[Resource] = st.one_of(*(structs(cls) for cls in KINDS))

# objects as users send them, whole and damaged

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 99) | st.sampled_from(["", "a", "10m", "é", "Always", "x y"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "key", "z"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn, manifests: st.SearchStrategy[Any]) -> Any:
    """A manifest in whose spec some values were replaced, dropped or added."""
    manifest = json.loads(json.dumps(draw(manifests)))
    for _ in range(draw(st.integers(0, 3))):
        places = list(containers(manifest.get("spec")))
        if not places:
            break
        place = draw(st.sampled_from(places))
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from([*keys, "unknownField"] if isinstance(place, dict) else keys))
        if isinstance(place, dict) and key in place and draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(JSON)
    return manifest


def containers(value: Any) -> Iterator[Any]:
    """`value` and everything in it that has items of its own."""
    if isinstance(value, dict) or (isinstance(value, list) and value):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from containers(item)


SENT = st.one_of(*(st.tuples(st.just(cls), damaged(structs(cls).map(to_manifest))) for cls in KINDS))


# laws

QUICK = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(RESOURCES)
def test_an_object_survives_its_manifest(resource: Resource) -> None:
    manifest = msgspec.json.decode(msgspec.json.encode(to_manifest(resource)))

    assert from_manifest(type(resource), manifest) == resource
    assert (manifest["apiVersion"], manifest["kind"]) == (resource.KIND.api_version, resource.KIND.kind)


@QUICK
@given(SENT)
def test_defaulting_twice_is_defaulting_once(sent: tuple[type[Resource], Any]) -> None:
    cls, manifest = sent

    once = default(SCHEMAS[cls], manifest)

    assert default(SCHEMAS[cls], once) == once


@QUICK
@given(SENT)
def test_pruning_twice_is_pruning_once(sent: tuple[type[Resource], Any]) -> None:
    cls, manifest = sent

    once = prune(SCHEMAS[cls], manifest)

    assert prune(SCHEMAS[cls], once) == once


@QUICK
@given(SENT)
def test_what_is_stored_is_accepted_again(sent: tuple[type[Resource], Any]) -> None:
    """Reading an object and writing it back unchanged is never refused, and changes nothing."""
    cls, manifest = sent
    stored = prune(SCHEMAS[cls], default(SCHEMAS[cls], manifest))

    again = prune(SCHEMAS[cls], default(SCHEMAS[cls], stored))

    assert again == stored
    assert validate(SCHEMAS[cls], again, stored) == ()
    assert validate(SCHEMAS[cls], again) == validate(SCHEMAS[cls], stored)


@QUICK
@given(SENT)
def test_the_arguments_stay_as_they_are(sent: tuple[type[Resource], Any]) -> None:
    cls, manifest = sent
    schema, before = json.dumps(SCHEMAS[cls]), json.dumps(manifest)

    validate(SCHEMAS[cls], prune(SCHEMAS[cls], default(SCHEMAS[cls], manifest)))

    assert (json.dumps(SCHEMAS[cls]), json.dumps(manifest)) == (schema, before)


@QUICK
@given(RESOURCES)
def test_a_spec_that_fits_the_class_fits_the_crd(resource: Resource) -> None:
    """But for CEL rules and numbers of properties, which a class cannot express."""
    schema = without(SCHEMAS[type(resource)], "x-kubernetes-validations", "minProperties", "maxProperties")
    manifest = {"spec": to_manifest(resource).get("spec", {})}

    assert validate(schema, manifest) == ()


def without(schema: Any, *keys: str) -> Any:
    if not isinstance(schema, dict):
        return schema
    return {key: without(inner, *keys) for key, inner in schema.items() if key not in keys}


# agreement with the real API server


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


# single answers


class Gadget(Wire):
    """A gadget."""

    SCHEMA: ClassVar[Mapping[str, Any]] = {"maxProperties": 3}
    RULES: ClassVar[tuple[tuple[str, str], ...]] = (("has(self.mode)", "say how"),)

    size: Annotated[int, msgspec.Meta(ge=1, le=9)]
    mode: Annotated[Literal["z", "a"], SERVER_DEFAULT, only("z")] = "z"
    tags: Annotated[tuple[str, ...], msgspec.Meta(max_length=2), UNSUPPORTED] = ()
    extra: dict[str, Any] = {}
    either: int | str = 0


def test_a_struct_becomes_its_schema() -> None:
    assert structural(Gadget) == {
        "description": "A gadget.",
        "type": "object",
        "required": ["size"],
        "maxProperties": 3,
        "x-kubernetes-validations": [{"rule": "has(self.mode)", "message": "say how"}],
        "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 9},
            "mode": {"type": "string", "enum": ["z", "a"], "default": "z"},  # the order that the message shows
            "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
            "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "either": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
        },
    }


def test_a_union_of_objects_has_no_schema() -> None:
    with pytest.raises(TypeError, match="split them into optional fields"):
        structural(Gadget | LocalReference)


def test_only_set_fields_are_reported_as_unsupported() -> None:
    assert unsupported(Gadget(size=1)) == ()
    assert unsupported(Gadget(size=1, mode="a", tags=("x",))) == ("spec.mode", "spec.tags")


def test_unsupported_fields_are_named_with_their_place_in_order() -> None:
    spec = KustomizationSpec(
        interval="1m",
        prune=True,
        source_ref=SourceReference(kind="Bucket", name="b"),
        depends_on=(Dependency(name="a"), Dependency(name="b", ready_expr="true")),
        force=True,
        decryption=Decryption(provider="sops"),
    )

    assert unsupported(spec) == (
        "spec.sourceRef.kind",
        "spec.dependsOn[1].readyExpr",
        "spec.force",
        "spec.decryption",
    )


def test_what_is_acted_on_is_not_reported() -> None:
    git = GitRepositorySpec(url="https://x", interval="1m", ref=GitReference(tag="v1"), suspend=True, ignore="*.md")
    entry = DataEntry(secret_key="a", remote_ref=RemoteRef(key="k", property="p", decoding_strategy="Base64"))

    assert unsupported(git) == ()
    assert unsupported(ExternalSecretSpec(secret_store_ref=StoreRef(name="vault"), data=(entry,))) == ()
    assert unsupported(ExternalSecretSpec(secret_store_ref=StoreRef(name="vault", kind="ClusterSecretStore"))) == (
        "spec.secretStoreRef.kind",
    )


def test_a_manifest_has_no_defaults_and_no_nulls() -> None:
    source = GitRepository(
        metadata=ObjectMeta(name="app", namespace="shop"), spec=GitRepositorySpec(url="https://x", interval="1m")
    )

    assert to_manifest(source) == {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": "app", "namespace": "shop"},
        "spec": {"url": "https://x", "interval": "1m"},
    }


def test_a_crd_file_is_called_as_controller_gen_calls_it_and_is_the_same_every_time() -> None:
    ((name, text),) = crds([GitRepository]).items()

    assert name == "source.toolkit.fluxcd.io_gitrepositories.yaml"
    assert crds([GitRepository]) == {name: text}
    assert crd(GitRepository)["metadata"]["name"] == "gitrepositories.source.toolkit.fluxcd.io"


def test_a_rule_that_has_no_answer_is_a_fault_and_not_a_pass() -> None:
    schema = {"type": "object", "x-kubernetes-validations": [{"rule": "self.x > 5"}]}

    (fault,) = validate(schema, {"y": 1})

    assert fault.message == 'Invalid value: "object": no such key: x evaluating rule: self.x > 5'


def test_a_rule_that_is_not_cel_is_refused_by_name() -> None:
    with pytest.raises(RuleInvalid, match=r"self\.nope\("):
        evaluate("self.nope()", {})


def test_transition_rules_are_those_that_name_the_old_value() -> None:
    assert compares("!has(oldSelf.a) || self.a == oldSelf.a")
    assert not compares("self.a == 'oldSelf'")
