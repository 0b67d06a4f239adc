"""The process that bench.idle measures: the runtime on the real adapter, with a reconciler that finds nothing to do.

python -m bench.idle_child URL COUNT     prints one JSON object: a value by label
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from bench.table import usage_of
from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.kubernetes import KubernetesCluster, KubernetesClusters
from gitops_core.api import Kustomization
from gitops_core.meta import Kind, ObjectKey, ObjectRef, Sensitive
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.runtime.loop.tellers import FLUX
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.process import Health, Settings, run
from gitops_core.runtime.reconciling import Controller, Outcome, Platform
from gitops_core.runtime.sharing.computing import IN_PLACE

INTERVAL = 600.0
IDLE_SECONDS = 60.0


class Nothing:
    """A reconciler that is content with what it sees."""

    def __init__(self) -> None:
        self.looks = 0

    async def reconcile(self, wanted: Kustomization) -> Outcome:
        self.looks += 1
        (ready,) = wanted.status.conditions
        return Outcome(wanted.status, ready.message, INTERVAL, reason=ready.reason)

    async def finalize(self, wanted: Kustomization) -> None: ...


def references(wanted: Kustomization) -> tuple[ObjectRef, ...]:
    source = wanted.spec.source_ref
    key = ObjectKey(wanted.metadata.namespace, source.name)
    return (ObjectRef(Kind("source.toolkit.fluxcd.io", "v1", source.kind), key),)


async def measure(url: str, count: int, state: Path) -> dict[str, str]:
    reconciler = Nothing()

    def assemble(_: Platform) -> list[Controller[Any]]:
        return [Controller(Kustomization, reconciler, FLUX, references=references)]

    cluster = KubernetesCluster.connect(url, ca=None, token=Sensitive("bench"))
    stop, health = asyncio.Event(), Health()
    began = time.process_time()
    running = asyncio.create_task(
        run(
            cluster=cluster,
            clusters=KubernetesClusters(cluster, IN_PLACE),
            git=GitMirrors(state),
            clock=SystemClock(),
            chance=SystemChance(),
            assemble=assemble,
            settings=Settings(),
            stop=stop,
            metrics=Metrics(CollectorRegistry()),
            health=health,
        )
    )
    while not health.synced:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    synced = time.process_time()
    while reconciler.looks < count:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    looked = time.process_time()
    await asyncio.sleep(IDLE_SECONDS)
    quiet = (time.process_time() - looked) * 60 / IDLE_SECONDS
    tasks = len(asyncio.all_tasks())
    stop.set()
    await running
    await cluster.close()
    return {
        "CPU to sync: request, decode, index (target 1 s)": f"{synced - began:.2f} s",
        "CPU to look at each once": f"{looked - synced:.2f} s",
        "CPU a minute, nothing due (target 0.6 s)": f"{quiet:.2f} s",
        "CPU a minute, each due every 10 min (target 0.6 s)": f"{quiet + (looked - synced) * 60 / INTERVAL:.2f} s",
        "peak RSS (target 100 MiB)": f"{usage_of(os.getpid()).peak_rss:.0f} MiB",
        "asyncio tasks": f"{tasks}",
    }


def main() -> None:
    url, count = sys.argv[1:]
    with tempfile.TemporaryDirectory() as state:
        print(json.dumps(asyncio.run(measure(url, int(count), Path(state)))))


if __name__ == "__main__":
    main()
