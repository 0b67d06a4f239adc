"""Who made a Namespace or a definition, and that nobody else deletes it."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_core.domain.sync.creators import holds_others, is_adopted, make_blank, may_be_deleted
from gitops_core.domain.sync.owners import make_kustomization_ownership
from gitops_core.meta import Kind, Manifest, ObjectKey

OWNER = make_kustomization_ownership(ObjectKey("flux-system", "apps"))
MARK = "sealoop.dev/created-by"
OURS = {"manager": "sealoop", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1"}
MARKED: dict[str, Any] = {"f:metadata": {"f:annotations": {".": {}, f"f:{MARK}": {}}}}


def namespace(
    owner: str | None = "flux-system/apps", entries: Any = ({**OURS, "fieldsV1": MARKED},), **metadata: Any
) -> Manifest:
    annotations = None if owner is None else {MARK: owner}
    about = {"name": "shop", "annotations": annotations, "managedFields": list(entries), **metadata}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": about}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind("", "v1", "Namespace"), True),
        (Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition"), True),
        (Kind("apiextensions.k8s.io", "v1beta1", "CustomResourceDefinition"), True),
        (Kind("", "v1", "ConfigMap"), False),
        (Kind("example.org", "v1", "Namespace"), False),
        (Kind("example.org", "v1", "CustomResourceDefinition"), False),
    ],
)
def test_other_objects_go_with_namespaces_and_definitions_alone(kind: Kind, expected: bool) -> None:
    assert holds_others(kind) == expected


def test_a_namespace_is_made_with_nothing_but_its_name_and_who_made_it() -> None:
    wanted = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"team": "a"}, "annotations": {"note": "x"}},
        "spec": {"finalizers": ["kubernetes"]},
    }

    assert make_blank(wanted, OWNER) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "annotations": {MARK: "flux-system/apps"}},
    }


def test_a_definition_is_made_with_what_can_never_change_and_serves_nothing_yet() -> None:
    names = {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList", "shortNames": ["w"]}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}
    versions = [
        {"name": "v1alpha1", "served": True, "storage": False, "schema": schema},
        {"name": "v1", "served": True, "storage": True, "schema": schema},
    ]
    wanted = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org", "labels": {"team": "a"}},
        "spec": {"group": "example.org", "scope": "Namespaced", "names": names, "versions": versions},
    }

    made = make_blank(wanted, OWNER)

    assert made["metadata"] == {"name": "widgets.example.org", "annotations": {MARK: "flux-system/apps"}}
    assert (made["apiVersion"], made["kind"]) == ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    assert made["spec"] == {
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets"},
        "versions": [
            {"name": "v1", "served": False, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    }


@pytest.mark.parametrize(
    "live",
    [
        namespace(owner="flux-system/other"),
        namespace(owner=None),
        namespace(owner=None, annotations={}),
        namespace(entries=()),
        namespace(entries=[{**OURS, "manager": "kubectl", "fieldsV1": MARKED}]),
        namespace(entries=[{**OURS, "operation": "Apply", "fieldsV1": MARKED}]),
        namespace(entries=[{**OURS, "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, "f:note": {}}}}}]),
        namespace(
            entries=[
                {**OURS, "fieldsV1": {"f:metadata": {"f:labels": {}}}},
                {**OURS, "manager": "kubectl", "fieldsV1": MARKED},
            ]
        ),
    ],
    ids=["another-made-it", "unmarked", "no-mark", "copied", "in-git", "applied", "other-annotation", "two-managers"],
)
def test_a_namespace_is_deleted_by_who_is_proven_to_have_made_it_and_no_other(live: Manifest) -> None:
    others = {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {}}}}

    assert may_be_deleted(namespace(), OWNER)
    assert may_be_deleted(namespace(entries=[others, {**OURS, "fieldsV1": MARKED}]), OWNER)
    assert not may_be_deleted(live, OWNER)


def test_an_object_that_takes_no_others_along_is_deleted_whoever_made_it() -> None:
    assert may_be_deleted({**namespace(owner=None, entries=()), "kind": "ConfigMap"}, OWNER)


def test_adopted_is_what_was_there_before_and_was_not_applied_by_the_same_one() -> None:
    foreign = namespace(owner=None, entries=())
    other = make_kustomization_ownership(ObjectKey("a", "other"))

    assert is_adopted(foreign, OWNER)
    assert is_adopted({**foreign, "metadata": {**foreign["metadata"], "labels": {"team": "a"}}}, OWNER)
    assert is_adopted(namespace(owner="flux-system/other", labels=other.mark), OWNER)
    assert not is_adopted(None, OWNER)
    assert not is_adopted(namespace(), OWNER)
    assert not is_adopted({**foreign, "metadata": {**foreign["metadata"], "labels": OWNER.mark}}, OWNER)
    assert not is_adopted({**foreign, "kind": "ConfigMap"}, OWNER)
