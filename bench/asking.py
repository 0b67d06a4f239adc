"""Kustomizations of one path, each with a name prefix: created at once, then asked again with nothing changed.

Timed from the first create until all are Ready. What one build for all prefixes saves (domain/render/sharing.py) is
seen beside a folder with `sortOptions`, built once a prefix, and folders without prefixes, which are not built.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from bench.crowd import (
    APP,
    Round,
    Spent,
    create_crowd,
    create_source,
    make_kustomizations,
    make_row,
    name_folder,
    wait_until_all,
    write_app,
)
from bench.stage import KUSTOMIZATIONS, Stage, at_once, handled, make_request, stage
from bench.table import Row
from sealoop.embedded.githttp import create_repository

ROUNDS = 3
ONE_BUILD_EACH = "resources: [app.yaml]\nsortOptions: {order: fifo}\n"
SHARING = {"one build for all prefixes": "./app", "a build for each prefix": "./each", "no prefixes": ""}


async def measure_created(folder: Path, count: int) -> list[Row]:
    created: list[Spent] = []
    asked: list[Spent] = []
    for number in range(ROUNDS):
        async with stage(folder / str(number)) as at:
            created.append(await create_all(at, count, "./app"))
            await asyncio.sleep(2)  # what the creation left to do (events, watches) is not the next round's
            asked += [await asyncio.to_thread(ask_all, at, count) for _ in range(ROUNDS)]
    return [
        make_row(f"{count:,} created at once, until all are Ready", created, count),
        make_row(f"{count:,} asked again, nothing changed", asked, count),
    ]


async def measure_sharing(folder: Path, count: int) -> list[Row]:
    rounds: dict[str, list[Spent]] = {label: [] for label in SHARING}
    for number in range(2):
        for label, path in SHARING.items():
            async with stage(folder / f"{number} {label}") as at:
                rounds[label].append(await create_all(at, count, path))
    return [make_row(label, spent, count) for label, spent in rounds.items()]


async def create_all(at: Stage, count: int, path: str) -> Spent:
    files = {"app/app.yaml": APP, "each/app.yaml": APP, "each/kustomization.yaml": ONE_BUILD_EACH}
    files |= {f"{name_folder(number)}/app.yaml": write_app(number) for number in range(0 if path else count)}
    await create_repository(at.remote, {name: text.encode() for name, text in files.items()})
    await asyncio.to_thread(create_source, at)
    this = Round(at)
    await asyncio.to_thread(create_crowd, at, make_kustomizations(count, path))
    return this.end()


def ask_all(at: Stage, count: int) -> Spent:
    token = at.make_token()
    this = Round(at)
    at_once(at.plane, "PATCH", [(f"{KUSTOMIZATIONS}/k{number}", make_request(token)) for number in range(count)])
    wait_until_all(at, lambda one: handled(one) == token, count)
    spent = this.end()
    time.sleep(1)
    return spent
