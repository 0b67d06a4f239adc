"""Kustomizations of a path each, all of one repository: what a commit to one of the paths costs the others.

In the steady state they come due one after the other, as they were created: 10,000 with an interval of ten minutes are
1,000 looks a minute. Fewer have a shorter interval, so that the looks are as many.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.crowd import (
    SOURCE,
    Round,
    Spent,
    create_crowd,
    create_source,
    find_image,
    make_kustomizations,
    make_row,
    name_folder,
    wait_until_all,
    write_app,
)
from bench.stage import Requests, Stage, commit_file, ready, stage, wait_until
from bench.table import Row
from sealoop.embedded.githttp import create_repository

ROUNDS = 5
BESIDE = {"kustomizations/status", "events", "leases"}
BUILDS = "sealoop_builds_total"
LOOKS = 'gotk_reconcile_duration_seconds_count{kind="Kustomization"}'
SECONDS_EACH = 0.06
"""Between two of them that are due: 600 s by 10,000."""
WINDOW = 120.0


async def create_paths(at: Stage, count: int) -> None:
    files = {f"{name_folder(number)}/app.yaml": write_app(number).encode() for number in range(count)}
    await create_repository(at.remote, files)
    await asyncio.to_thread(create_source, at)


async def measure_paths(folder: Path, count: int) -> list[Row]:
    async with stage(folder) as at:
        await create_paths(at, count)
        await asyncio.to_thread(create_crowd, at, make_kustomizations(count))
        await asyncio.sleep(2)  # what the creation left to do (events, watches) is not the next round's
        changes = [await asyncio.to_thread(change_one, at, count, number) for number in range(1, ROUNDS + 1)]
    return [
        make_row(f"one file of {count:,} paths changes: that path", [one.applied for one in changes], 1),
        make_row(
            f"one file of {count:,} paths changes: all have the revision",
            [one.everywhere for one in changes],
            count,
            f"{max(one.builds for one in changes)} builds, {max(one.status_writes for one in changes)} status writes"
            f" each at most, {max(one.other_writes for one in changes)} other writes",
        ),
    ]


async def measure_active(folder: Path, count: int) -> list[Row]:
    interval = count * SECONDS_EACH
    window = min(WINDOW, 4 * interval)
    async with stage(folder) as at:
        await create_paths(at, count)
        await asyncio.to_thread(create_evenly, at, make_kustomizations(count, interval=f"{interval:g}s"))
        steady, looks = await asyncio.to_thread(spend, at, window)
        changes = [await asyncio.to_thread(change_one, at, count, number) for number in range(1, ROUNDS + 1)]
    told = f"{steady.cpu / window:.0%} of a core, {looks / window:.1f} looks a second"
    return [
        make_row(f"{count:,} active, {window:g} s", [steady], count, told),
        make_row(f"{count:,} active, a commit to one of them", [one.applied for one in changes], 1),
        make_row("    until all have the revision", [one.everywhere for one in changes], count),
    ]


def create_evenly(at: Stage, requests: Requests) -> None:
    """Create one after the other, over the time of one interval, and wait until all are ready."""
    started = time.monotonic()
    for number, request in enumerate(requests):
        time.sleep(max(0.0, started + number * SECONDS_EACH - time.monotonic()))
        at.plane.expect("POST", *request)
    wait_until_all(at, ready, len(requests))


def spend(at: Stage, seconds: float) -> tuple[Spent, int]:
    """Wait, and return what was spent on how many looks."""
    this, before = Round(at), at.count(LOOKS)
    time.sleep(seconds)
    return this.end(), at.count(LOOKS) - before


@dataclass(frozen=True)
class Change:
    """What one commit to one path cost.

    Attributes:
        applied: until that path's object was changed.
        everywhere: until all Kustomizations told the new revision.
        builds: folders that were built anew.
        status_writes: of the Kustomization whose status was written most often, but for the one of that path.
        other_writes: all but those of statuses, events, leases, and the objects of that path.
    """

    applied: Spent
    everywhere: Spent
    builds: int
    status_writes: int
    other_writes: int


def change_one(at: Stage, count: int, number: int) -> Change:
    """Commit to one of the paths, another one each time, and ask the source to look."""
    place = number * 7919 % count
    builds = at.count(BUILDS)
    this = Round(at)
    commit = commit_file(at.remote, f"{name_folder(place)}/app.yaml", write_app(place, f"1.0.{number}"), number)
    at.ask(SOURCE)
    wait_until(lambda: find_image(at, f"k{place}-app").endswith(f":1.0.{number}"), timeout=600)
    applied = this.end()
    wait_until_all(at, lambda one: commit in one["status"].get("lastAppliedRevision", ""), count)
    everywhere = this.end()
    written = [one for one in everywhere.requests if one.verb in ("create", "patch", "update", "delete")]
    statuses = Counter(one.name for one in written if one.resource == "kustomizations/status")
    statuses.pop(f"k{place}", None)
    own = {f"k{place}", f"k{place}-app", "app"}
    others = [one for one in written if one.resource not in BESIDE and one.name not in own]
    time.sleep(1)
    return Change(applied, everywhere, at.count(BUILDS) - builds, max(statuses.values(), default=0), len(others))
