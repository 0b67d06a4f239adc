"""Laws of the schema functions, and single answers of theirs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from gitops_core.api import GitReference, GitRepository, GitRepositorySpec, LocalReference
from gitops_core.meta import ObjectMeta, Resource, Wire
from gitops_core.schema import (
    SERVER_DEFAULT,
    UNSUPPORTED,
    default,
    list_unsupported,
    make_crd,
    make_manifest,
    only,
    prune,
    read_manifest,
    validate,
    write_crds,
)
from gitops_core.schema.cel import RuleInvalid, compares, evaluate
from gitops_core.schema.structural import make_schema
from secrets_sync.api import DataEntry, ExternalSecretSpec, RemoteRef, StoreRef
from tests.gitops_core.random_objects import RESOURCES, SCHEMAS, SENT

QUICK = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(RESOURCES)
def test_an_object_survives_its_manifest(resource: Resource) -> None:
    manifest = msgspec.json.decode(msgspec.json.encode(make_manifest(resource)))

    assert read_manifest(type(resource), manifest) == resource
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


def _strict(schema: Any) -> Any:
    """A schema that preserves no unknown fields."""
    match schema:
        case dict():
            names = schema.keys() - {"x-kubernetes-preserve-unknown-fields"}
            return {name: _strict(schema[name]) for name in names}
        case _:
            return schema


@QUICK
@given(SENT)
def test_a_stored_object_is_accepted_again(sent: tuple[type[Resource], Any]) -> None:
    """Reading an object and writing it back unchanged is never refused, and changes nothing.

    Around a field that its schema does not know nothing is called unchanged: a rule that the object broke before is
    broken still.
    """
    cls, manifest = sent
    stored = prune(SCHEMAS[cls], default(SCHEMAS[cls], manifest))

    again = prune(SCHEMAS[cls], default(SCHEMAS[cls], stored))

    assert again == stored
    if prune(_strict(SCHEMAS[cls]), stored) == stored:
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
    manifest = {"spec": make_manifest(resource).get("spec", {})}

    assert validate(schema, manifest) == ()


def without(schema: Any, *keys: str) -> Any:
    if not isinstance(schema, dict):
        return schema
    return {key: without(inner, *keys) for key, inner in schema.items() if key not in keys}


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
    assert make_schema(Gadget) == {
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
        make_schema(Gadget | LocalReference)


def test_only_set_fields_are_reported_as_unsupported() -> None:
    assert list_unsupported(Gadget(size=1)) == ()
    assert list_unsupported(Gadget(size=1, mode="a", tags=("x",))) == ("spec.mode", "spec.tags")


class Place(Wire):
    kind: Annotated[Literal["here", "there"], only("here")]


class Part(Wire):
    name: str
    ready_when: Annotated[str, UNSUPPORTED] = ""


class Machine(Wire):
    kept_at: Place
    parts: tuple[Part, ...] = ()
    strict: Annotated[bool, UNSUPPORTED] = False


def test_unsupported_fields_are_named_with_their_place_in_order() -> None:
    spec = Machine(kept_at=Place(kind="there"), parts=(Part(name="a"), Part(name="b", ready_when="true")), strict=True)

    assert list_unsupported(spec) == ("spec.keptAt.kind", "spec.parts[1].readyWhen", "spec.strict")


def test_a_table_says_in_the_place_of_a_marker_which_values_are_acted_on() -> None:
    table = {"spec.keptAt.kind": {"there": "a place"}}

    assert list_unsupported(Machine(kept_at=Place(kind="there"), strict=True), table) == ("spec.strict",)
    assert list_unsupported(Machine(kept_at=Place(kind="here"), strict=True), table) == (
        "spec.keptAt.kind",
        "spec.strict",
    )
    assert list_unsupported(Machine(kept_at=Place(kind="here"), strict=True)) == ("spec.strict",)


def test_fields_that_are_acted_on_are_not_reported_as_unsupported() -> None:
    git = GitRepositorySpec(url="https://x", interval="1m", ref=GitReference(tag="v1"), suspend=True, ignore="*.md")
    entry = DataEntry(secret_key="a", remote_ref=RemoteRef(key="k", property="p", decoding_strategy="Base64"))

    assert list_unsupported(git) == ()
    assert list_unsupported(ExternalSecretSpec(secret_store_ref=StoreRef(name="vault"), data=(entry,))) == ()
    assert list_unsupported(ExternalSecretSpec(secret_store_ref=StoreRef(name="vault", kind="ClusterSecretStore"))) == (
        "spec.secretStoreRef.kind",
    )


def test_a_manifest_has_no_defaults_and_no_nulls() -> None:
    source = GitRepository(
        metadata=ObjectMeta(name="app", namespace="shop"), spec=GitRepositorySpec(url="https://x", interval="1m")
    )

    assert make_manifest(source) == {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": "app", "namespace": "shop"},
        "spec": {"url": "https://x", "interval": "1m"},
    }


def test_a_crd_file_is_called_as_controller_gen_calls_it_and_is_the_same_every_time() -> None:
    ((name, text),) = write_crds([GitRepository]).items()

    assert name == "source.toolkit.fluxcd.io_gitrepositories.yaml"
    assert write_crds([GitRepository]) == {name: text}
    assert make_crd(GitRepository)["metadata"]["name"] == "gitrepositories.source.toolkit.fluxcd.io"


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
