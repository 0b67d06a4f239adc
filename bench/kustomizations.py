"""gitops_core by the whole service on a real kube-apiserver: every row of the table in docs/benchmarks.md.

    kustomizations.created    100 and 1,000 of one path created at once, then asked again with nothing changed
    kustomizations.sharing    100 of them with a build for all, with one for each, and without any
    kustomizations.paths      300 of a path each: one file of one path changes
    kustomizations.active     10,000 of a path each, due every ten minutes: a steady state, and a commit to one
    kustomizations.sops       a folder of 100 encrypted files, beside the same folder in plain
    kustomizations.oci        an artifact is pushed and a Receiver told of it, ten times

`kustomizations.paths=30` measures as many as are said, to see it run. Each group has a control plane and a service of
its own, so that peak memory is that of the group.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from bench.artifacts import measure_pushes
from bench.asking import measure_created, measure_sharing
from bench.commits import measure_active, measure_paths
from bench.crowd import HEADER
from bench.secretfiles import measure_files
from bench.table import Row

Measure = Callable[[Path, int], Awaitable[list[Row]]]
GROUPS: dict[str, tuple[Measure, tuple[int, ...]]] = {
    "created": (measure_created, (100, 1000)),
    "sharing": (measure_sharing, (100,)),
    "paths": (measure_paths, (300,)),
    "active": (measure_active, (10_000,)),
    "sops": (measure_files, (100,)),
    "oci": (measure_pushes, (10,)),
}


def rows(group: str = "") -> Iterator[Row]:
    name, _, number = group.partition("=")
    yield HEADER
    for each in [name] if name else GROUPS:
        measure, counts = GROUPS[each]
        for count in (int(number),) if number else counts:
            yield from asyncio.run(in_a_folder(measure, count))


async def in_a_folder(measure: Measure, count: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="sealoop-bench-") as name:
        return await measure(Path(name), count)
