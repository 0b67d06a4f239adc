"""When two Kustomizations apply one object, and how that is told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gitops_core.api import Artifact, Kustomization
from gitops_core.domain.sync.contests import find_shared, has_come_to_its_source, tell_shared
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.schema import read_manifest

FIRST, SECOND = "main@sha1:" + "a" * 40, "main@sha1:" + "b" * 40
CONFIG_MAP = Kind("", "v1", "ConfigMap")


def kustomization(name: str, *, status: dict[str, Any], **metadata: Any) -> Kustomization:
    manifest = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name, "namespace": "team", "generation": 2, **metadata},
        "spec": {"interval": "1m", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "r"}},
        "status": {"observedGeneration": 2, "lastAppliedRevision": FIRST, **status},
    }
    return read_manifest(Kustomization, manifest)


def holding(name: str, *ids: str) -> Kustomization:
    return kustomization(name, status={"inventory": {"entries": [{"id": each, "v": "v1"} for each in ids]}})


def artifact(revision: str) -> Artifact:
    found = datetime(2026, 1, 1, tzinfo=UTC)
    url, digest = "http://a.invalid/p", f"sha256:{'0' * 64}"
    return Artifact(path="p", url=url, revision=revision, digest=digest, last_update_time=found)


def config_maps(count: int) -> list[ObjectRef]:
    return [ObjectRef(CONFIG_MAP, ObjectKey("shop", f"c{number}")) for number in range(count)]


def test_shared_is_what_stands_in_the_others_inventory_in_whatever_version() -> None:
    web = ObjectRef(Kind("apps", "v1beta1", "Deployment"), ObjectKey("shop", "web"))
    one, two = config_maps(2)
    both = holding("both", "shop_web_apps_Deployment", "shop_c1__ConfigMap", "shop_x__ConfigMap")
    others = [both, holding("else", "shop_web__Deployment", "other_c1__ConfigMap"), kustomization("new", status={})]

    assert find_shared([one, two, web], others) == {ObjectKey("team", "both"): (web, two)}


@pytest.mark.parametrize(
    ("other", "revision", "expected"),
    [
        (kustomization("a", status={}), FIRST, True),
        (kustomization("a", status={}), SECOND, False),
        (kustomization("a", status={"observedGeneration": 1}), FIRST, False),
        (kustomization("a", status={}, deletionTimestamp="2026-01-01T00:00:00Z"), FIRST, False),
        (kustomization("a", status={"lastAppliedRevision": ""}), FIRST, False),
        (kustomization("a", status={}), None, False),
        (kustomization("a", status={"lastAppliedRevision": "6.5.3"}), "6.5.3", True),
        (kustomization("a", status={"lastAppliedRevision": "6.5.3"}), "6.5.30", False),
    ],
)
def test_another_kustomization_counts_once_it_has_applied_its_source_as_both_are_now(
    other: Kustomization, revision: str | None, expected: bool
) -> None:
    assert has_come_to_its_source(other, artifact(revision) if revision is not None else None) == expected


def test_without_its_source_it_does_not_count() -> None:
    assert not has_come_to_its_source(kustomization("a", status={}), None)


def test_all_that_is_shared_is_told_other_by_other() -> None:
    one, two = config_maps(2)
    a, b = ObjectKey("team", "a"), ObjectKey("team", "b")
    c0, c1 = "ConfigMap/shop/c0", "ConfigMap/shop/c1"

    assert tell_shared({b: [one], a: [one]}) == (
        f"{c0} is applied by Kustomization/team/a too; {c0} is applied by Kustomization/team/b too"
        ": take it out of all but one"
    )
    assert tell_shared({b: [one], a: [two]}) == (
        f"{c1} is applied by Kustomization/team/a too; {c0} is applied by Kustomization/team/b too"
        ": take them out of all but one"
    )
    assert tell_shared({a: [one, two]}) == (
        f"{c0}, {c1} are applied by Kustomization/team/a too: take them out of all but one"
    )


@pytest.mark.parametrize(("count", "more"), [(5, ""), (6, " and 1 more"), (12, " and 7 more")])
def test_five_shared_objects_are_named_and_the_others_counted(count: int, more: str) -> None:
    named = ", ".join(f"ConfigMap/shop/c{number}" for number in range(5))

    message = tell_shared({ObjectKey("team", "a"): config_maps(count)})

    assert message == f"{named}{more} are applied by Kustomization/team/a too: take them out of all but one"
