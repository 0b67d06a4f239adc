"""A process that writes to an embedded cluster until it is killed: what it acknowledged, one line each, on stdout.

python -m tests.gitops_core.adapters.local.writer DIRECTORY SEED
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from gitops_core.adapters.local import LocalCluster
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.runtime.clock import SystemClock

CONFIG_MAP = Kind("", "v1", "ConfigMap")


async def main(directory: Path, seed: int) -> None:
    chance = random.Random(seed)
    cluster = LocalCluster.open(directory, SystemClock(), chance, shared=True)
    number = 0
    while True:
        number += 1
        name = f"w{seed}-{chance.randrange(5)}"
        ref = ObjectRef(CONFIG_MAP, ObjectKey("default", name))
        data = {"first": str(number), "second": str(number), "padding": "x" * chance.randrange(20_000)}
        manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default"},
            "data": data,
        }
        if chance.random() < 0.2 and await cluster.get(ref) is not None:
            await cluster.delete(ref)
            print(f"{name} gone", flush=True)  # noqa: T201 - this is its answer
        else:
            await cluster.apply(manifest, field_manager="writer", force=True)
            print(f"{name} {number}", flush=True)  # noqa: T201 - this is its answer


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
