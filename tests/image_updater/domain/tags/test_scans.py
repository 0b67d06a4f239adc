from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from gitops_core.meta import ObjectMeta
from image_updater.api import ImageRepository, ImageRepositorySpec, ImageRepositoryStatus, ScanResult
from image_updater.domain.tags.scans import REQUESTED_AT, Scan, Wait, is_shared, plan_scan

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SCANNED = ImageRepository(
    spec=ImageRepositorySpec(image="ghcr.io/org/app", interval="10m"),
    status=ImageRepositoryStatus(
        canonical_image_name="ghcr.io/org/app",
        last_scan_result=ScanResult(tag_count=1, scan_time=NOW),
        observed_exclusion_list=(r"^.*\.sig$",),
    ),
)


def requested(when: str) -> ImageRepository:
    return msgspec.structs.replace(SCANNED, metadata=ObjectMeta(annotations={REQUESTED_AT: when}))


REQUESTED = requested("now")


def plan(wanted: ImageRepository, canonical: str = "ghcr.io/org/app", after: float = 60.0) -> Scan | Wait:
    return plan_scan(wanted, canonical, NOW + timedelta(seconds=after))


def with_exclusions(*patterns: str) -> ImageRepository:
    return msgspec.structs.replace(SCANNED, spec=msgspec.structs.replace(SCANNED.spec, exclusion_list=patterns))


@pytest.mark.parametrize(
    ("decided", "expected"),
    [
        (plan(msgspec.structs.replace(SCANNED, status=ImageRepositoryStatus())), Scan("first scan", 10.0)),
        (plan(REQUESTED), Scan("reconcile requested", since=NOW + timedelta(seconds=60))),
        (plan(requested(NOW.isoformat())), Scan("reconcile requested", since=NOW)),
        (plan(requested("2199-01-01T00:00:00Z")), Scan("reconcile requested", since=NOW + timedelta(seconds=60))),
        (plan(requested("2026-01-01T00:00:00")), Scan("reconcile requested", since=NOW + timedelta(seconds=60))),
        (plan(SCANNED, "ghcr.io/org/other"), Scan("new image name")),
        (plan(with_exclusions("^x")), Scan("updated exclusion list")),
        (plan(SCANNED), Wait(540.0)),
        (plan(SCANNED, after=599.5), Scan("triggered by interval", 540.0)),
        (plan(SCANNED, after=9999), Scan("triggered by interval", 540.0)),
        (plan(SCANNED, after=-9999), Wait(600.0)),
    ],
)
def test_a_repository_is_listed_for_its_reason_or_waits(decided: Scan | Wait, expected: Scan | Wait) -> None:
    assert decided == expected


@pytest.mark.parametrize(("age", "shared"), [(0, True), (539, True), (540, False), (-1, False)])
def test_a_listing_that_is_not_about_to_be_made_again_is_shared(age: float, shared: bool) -> None:
    scan = Scan("triggered by interval", 540.0)

    assert is_shared(scan, NOW - timedelta(seconds=age), NOW) is shared
    assert not is_shared(scan, None, NOW)
    assert not is_shared(Scan("reconcile requested"), NOW, NOW)
