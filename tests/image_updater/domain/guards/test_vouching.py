"""One test for each sentence of image_updater.domain.guards.vouching."""

from __future__ import annotations

import string
from typing import Any, TypeVar

import msgspec
import pytest

from gitops_core.api import GitRepository, Kustomization
from gitops_core.meta import Kind, ObjectKey, ObjectRef, Resource
from image_updater.api import ImageRepository, ImageUpdateAutomation, Pushing
from image_updater.domain.guards.vouching import (
    MOST_ASKED,
    Written,
    applies,
    find_holder,
    is_checkpoint,
    is_in_inventory,
    is_of_image,
    is_of_release,
    is_recorded,
    is_same_repository,
    make_catalog_name,
    may_ask,
)
from image_updater.domain.registry.pushes import read_pushes

DEPLOYMENT = Kind("apps", "v1", "Deployment")
IMAGE = "ghcr.io/org/app"
FLEET = "https://git.example.com/fleet"
WEB = ObjectRef(DEPLOYMENT, ObjectKey("shop", "web"))
RELEASE: dict[str, Any] = {"metadata": {"name": "web", "namespace": "shop"}}


R = TypeVar("R", bound=Resource)


def made(kind: type[R], name: str, namespace: str = "shop", **spec: Any) -> R:
    return msgspec.convert({"metadata": {"name": name, "namespace": namespace}, "spec": spec}, kind)


def repository(namespace: str = "shop", **spec: Any) -> ImageRepository:
    return made(ImageRepository, "app", namespace, **{"image": IMAGE, "interval": "1m", **spec})


def automation(name: str, namespace: str = "shop", pushed: str = "", path: str = "") -> ImageUpdateAutomation:
    spec = {"sourceRef": {"name": "fleet"}, "interval": "1m", "update": {"path": path}}
    found = made(ImageUpdateAutomation, name, namespace, **spec)
    return msgspec.structs.replace(found, status=msgspec.structs.replace(found.status, last_push_commit=pushed))


def test_a_workload_is_whose_inventory_it_stands_in() -> None:
    inventory = {"shop_web_apps_Deployment", "shop_web__Service"}

    assert is_in_inventory(WEB, inventory)
    assert not is_in_inventory(ObjectRef(DEPLOYMENT, ObjectKey("thief", "web")), inventory)
    assert not is_in_inventory(ObjectRef(Kind("apps", "v1", "StatefulSet"), WEB.key), inventory)
    assert not is_in_inventory(WEB, frozenset())


@pytest.mark.parametrize(
    ("more", "namespace", "expected"),
    [
        ({"status": {"inventory": {"entries": [{"id": "shop_web_apps_Deployment", "v": "v1"}]}}}, "shop", True),
        ({"status": {"inventory": {"entries": [{"id": "shop_api_apps_Deployment", "v": "v1"}]}}}, "shop", False),
        ({"status": {"inventory": {}}}, "shop", False),
        ({}, "shop", True),
        ({}, "thief", False),
        ({"spec": {"targetNamespace": "web"}}, "web", True),
        ({"spec": {"targetNamespace": "web"}}, "shop", False),
    ],
)
def test_a_workload_is_a_releases_by_its_inventory_or_its_namespace(
    more: dict[str, Any], namespace: str, expected: bool
) -> None:
    ref = ObjectRef(DEPLOYMENT, ObjectKey(namespace, "web"))

    assert is_of_release(ref, RELEASE | more) == expected


@pytest.mark.parametrize(
    ("namespace", "url", "path", "expected"),
    [
        ("shop", FLEET, "./app", True),
        ("sources", f"{FLEET}.git", "app/base", True),
        ("thief", FLEET, "./app", False),
        ("shop", "https://git.example.com/other", "./app", False),
        ("shop", "", "./app", False),
        ("shop", FLEET, "./app-2", False),
    ],
)
def test_a_kustomization_applies_what_is_written_near_it(namespace: str, url: str, path: str, expected: bool) -> None:
    source = made(GitRepository, "fleet", "sources", url=FLEET, interval="1m")
    spec = {"sourceRef": {"kind": "GitRepository", "name": "fleet"}, "path": path, "interval": "1m", "prune": True}
    kustomization = made(Kustomization, "app", namespace, **spec)

    assert applies(kustomization, url, Written(automation("a", path="./app"), source)) == expected


def checkpoint(**more: Any) -> dict[str, Any]:
    metadata = {
        "name": "sealoop-tags-app",
        "namespace": "shop",
        "labels": {"app.kubernetes.io/managed-by": "sealoop"},
        "annotations": {"sealoop.dev/image": IMAGE},
        "ownerReferences": [{"kind": "ImageRepository", "name": "app", "uid": "1"}],
    }
    return {"metadata": metadata | more.pop("metadata", {}), "binaryData": {"tags": "AA=="}, **more}


@pytest.mark.parametrize(
    "more",
    [
        {"metadata": {"namespace": "thief"}},
        {"metadata": {"labels": None}},
        {"metadata": {"annotations": {}}},
        {"metadata": {"ownerReferences": [{"kind": "ImageRepository", "name": "other"}]}},
        {"metadata": {"ownerReferences": []}},
        {"data": {"mine": "1"}},
        {"binaryData": {"tags": "AA==", "mine": "AA=="}},
    ],
)
def test_a_config_map_is_a_checkpoint_only_with_every_mark_and_nothing_else_in_it(more: dict[str, Any]) -> None:
    assert is_checkpoint(checkpoint(), repository())
    assert not is_checkpoint(checkpoint(**more), repository())


def test_the_ages_in_a_checkpoint_are_of_the_image_that_it_names() -> None:
    assert is_of_image(checkpoint(), make_catalog_name(repository(), IMAGE))
    assert not is_of_image(checkpoint(), make_catalog_name(repository(), f"{IMAGE}2"))
    assert not is_of_image(checkpoint(), make_catalog_name(repository(insecure=True), IMAGE))


def test_an_image_has_the_name_that_earlier_checkpoints_gave_it() -> None:
    wanted = repository(insecure=True, proxySecretRef={"name": "p"})
    written = checkpoint(metadata={"annotations": {"sealoop.dev/image": f"{IMAGE} over http by proxy"}})

    assert is_of_image(written, make_catalog_name(wanted, IMAGE))


def test_a_commit_is_ours_by_its_id_or_by_what_was_about_to_be_pushed() -> None:
    told = Pushing(parent="p", tree="t")
    pushing = msgspec.structs.replace(automation("a").status, pushing=told)
    pushed = automation("a", pushed="c1").status

    assert is_recorded("c1", None, [pushing, pushed])
    assert is_recorded("c2", told, [pushing, pushed])
    assert not is_recorded("c2", None, [pushing, pushed])
    assert not is_recorded("c2", Pushing(parent="p", tree="other"), [pushing, pushed])
    assert not is_recorded("c1", told, [])


def test_the_pusher_of_the_tip_holds_the_branch_within_its_namespace() -> None:
    ours = automation("z", pushed="c1")

    assert find_holder("c1", ours, [automation("a", pushed="c1"), automation("b", "thief", pushed="c1")]) is None
    assert find_holder("c2", ours, [automation("a"), automation("b", pushed="c2")]) == ObjectKey("shop", "b")
    assert find_holder("c2", ours, [automation("b", "thief", pushed="c2")]) is None
    assert find_holder("", ours, [automation("a")]) is None


def test_the_registry_is_asked_about_so_many_pushes_only() -> None:
    pushes = [read_pushes(f"2026-01-01T00:00:00.0000{number:02}Z=1.{number}.0")[0] for number in range(MOST_ASKED)]

    assert may_ask(frozenset(pushes[:-1]))
    assert not may_ask(frozenset(pushes))


def test_a_listing_counts_in_its_namespace_alone_and_each_way_apart() -> None:
    ways: list[dict[str, Any]] = [{}, {"insecure": True}, {"proxySecretRef": {"name": "p"}}]
    names = {make_catalog_name(repository(namespace, **way), IMAGE) for namespace in ("shop", "thief") for way in ways}

    assert len(names) == 6


@pytest.mark.parametrize("letter", string.ascii_letters + string.digits)
def test_repositories_are_two_when_one_letter_differs(letter: str) -> None:
    assert not is_same_repository(f"{FLEET}{letter}", FLEET)
    assert not is_same_repository(f"{FLEET}{letter}.git/", f"{FLEET}/")
