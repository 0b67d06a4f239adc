"""What cannot work is told, what can work is not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gitops_core.schema import read_manifest
from image_updater.api import ImagePolicy, ImageRepository, UpdateGuard
from image_updater.domain.files.sightings import Sighting
from image_updater.domain.lint import Given, lint

NOW = datetime(2026, 3, 10, tzinfo=UTC)


def repository(**spec: Any) -> ImageRepository:
    status = {"lastScanResult": {"tagCount": 2, "latestTags": ["v2.0.0", "1.0.0"]}}
    manifest = {
        "metadata": {"name": "app", "namespace": "shop"},
        "spec": {"image": "r.io/app", "interval": "1m", **spec},
    }
    return read_manifest(ImageRepository, {**manifest, "status": status})


def policy(name: str = "app", **spec: Any) -> ImagePolicy:
    wanted = {"imageRepositoryRef": {"name": "app"}, "policy": {"semver": {"range": "^1"}}, **spec}
    return read_manifest(ImagePolicy, {"metadata": {"name": name, "namespace": "shop"}, "spec": wanted})


def guard(**spec: Any) -> UpdateGuard:
    return read_manifest(UpdateGuard, {"metadata": {"name": "guard", "namespace": "shop"}, "spec": spec})


def sighting(setter: str, state: Any = "applied", cause: str = "") -> Sighting:
    return Sighting("web.yaml", 3, setter, "1" if setter.count(":") > 1 else "r.io/app:1", "1", state, cause)


def found(given: Given) -> list[str]:
    return [f"{each.severity}: {each.about}: {each.message}" for each in lint(given, NOW)]


def test_a_working_set_up_has_no_findings() -> None:
    guards = (guard(minAge="1h", windows=[{"schedule": "0 22 * * *", "duration": "4h"}], pins=[{"tag": "1.0.0"}]),)

    assert found(Given((repository(),), (policy(),), guards, (sighting("shop:app:tag"),))) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"policy": {"semver": {"range": ">2 <1"}}}, "error: {}: no version satisfies the range '>2 <1'"),
        (
            {"policy": {"semver": {"range": "^1 || >2 <1"}}},
            "warning: {}: no version satisfies '>2 <1' of the range '^1 || >2 <1'",
        ),
        ({"policy": {"semver": {"range": "x.y"}}}, 'error: {}: invalid policy: improper constraint: "x.y"'),
        (
            {"filterTags": {"pattern": "("}},
            "error: {}: spec.filterTags.pattern: error parsing regexp: missing closing ): `(`",
        ),
        (
            {"filterTags": {"pattern": "(?P<ts>.*)", "extract": "$ts-$time"}},
            "error: {}: spec.filterTags.extract: the pattern has no group 'time'",
        ),
        (
            {"policy": {"numerical": {}}},
            "warning: {}: numerical without spec.filterTags fails on tags such as 'v2.0.0'",
        ),
        ({"imageRepositoryRef": {"name": "gone"}}, "error: {}: there is no ImageRepository shop/gone"),
    ],
)
def test_a_policy_that_cannot_work(spec: dict[str, Any], message: str) -> None:
    assert found(Given((repository(),), (policy(**spec),))) == [message.format("ImagePolicy shop/app")]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"windows": [{"schedule": "x", "duration": "1h"}]},
            "spec.windows[0]: 'x' is not a cron expression of five fields",
        ),
        (
            {"windows": [{"schedule": "0 0 * * *", "duration": "1h", "timeZone": "X"}]},
            "spec.windows[0]: there is no time zone 'X'",
        ),
        (
            {"pins": [{"tag": "1", "policy": "no"}]},
            "spec.pins[0] names ImagePolicy 'no', which the guard does not select",
        ),
        ({"promotion": {"policyRef": {"name": "no"}}}, "spec.promotion.policyRef: there is no ImagePolicy shop/no"),
        (
            {"platforms": ["arm"]},
            "spec.platforms[0]: platform 'arm' is not os/architecture[/variant], such as linux/arm64",
        ),
        (
            {"pins": [{"tag": "1"}, {"tag": "2"}]},
            "spec.pins pins all policies to several tags: there is no tag that is all of them",
        ),
    ],
)
def test_a_guard_that_cannot_work(spec: dict[str, Any], message: str) -> None:
    assert found(Given((repository(),), (policy(),), (guard(**spec),))) == [f"error: UpdateGuard shop/guard: {message}"]


def test_policies_that_wait_for_each_other() -> None:
    circle = guard(promotion={"policyRef": {"name": "app"}})

    assert found(Given((repository(),), (policy(),), (circle,))) == [
        "error: ImagePolicy shop/app: waits for its own promotion: the guards' spec.promotion go round in a circle"
    ]


def test_places_that_cannot_follow_are_told_in_the_plans_words() -> None:
    places = (
        sighting("shop:app:tga", "unmatched", "there is no 'tga' of an image"),
        sighting("", "ambiguous", "two policies want this line"),
        sighting("", "unparsable", "not YAML"),
        sighting("shop:app", "unmatched", "no file of this folder has such a name")._replace(file="*.env", line=0),
        sighting("shop:app:digest", "held", "the policy has no such value: a value is never emptied")._replace(
            current=""
        ),
        sighting("shop:app:tag", "pending"),
    )

    assert found(Given((repository(),), (policy(),), (), places)) == [
        "error: *.env: unmatched: shop:app: no file of this folder has such a name",
        "error: web.yaml:3: ambiguous: two policies want this line",
        "error: web.yaml:3: unmatched: shop:app:tga: there is no 'tga' of an image",
        "error: web.yaml:3: unparsable: not YAML",
        "warning: web.yaml:3: held: shop:app:digest: the policy has no such value: a value is never emptied",
    ]


def test_a_value_that_a_marker_would_take_more_of_than_is_meant_is_a_warning() -> None:
    mark = '# {"$imagepolicy": "shop:app"}'
    texts = {"web.yaml": f"a: 1\nb: 2\ntag: 'main' {mark}\nd: 3 # {{$imagePolicy: shop:app}}"}
    place = sighting("shop:app", "pending")._replace(current="main")

    assert found(Given((repository(),), (policy(),), (), (place,), texts=texts)) == [
        "warning: web.yaml:3: shop:app: only a tag, 'main', stands here, and the whole image would be set: the marker"
        " lacks :tag",
        'warning: web.yaml:4: this comment is no marker, though it looks like one: {"$imagepolicy": "namespace:name"}',
    ]


def test_nothing_is_missing_where_not_everything_is_given() -> None:
    given = Given((), (policy(),), (guard(pins=[{"tag": "1", "policy": "x"}]),), (sighting("shop:x"),), complete=False)

    assert found(given) == []
