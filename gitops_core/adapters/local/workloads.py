"""The controllers and the kubelet of an embedded cluster, in one loop.

    await workloads.run(cluster, images, clock)     # until it is cancelled

What to do is decided in gitops_core.domain.objects.controllermanager; this module lists, asks for images, and writes.
It keeps no state: stopped anywhere and started again, it goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from gitops_core.domain.objects.controllermanager import (
    KINDS,
    Action,
    Create,
    Delete,
    Patch,
    World,
    is_waiting,
    list_wanted_images,
    plan_workloads,
)
from gitops_core.errors import AlreadyExists, ClusterError, Conflict, NotFound, TransientError
from gitops_core.meta import Kind
from gitops_core.ports import Clock, Cluster, Images, Query, Unreadable

FIELD_MANAGER = "sealoop-workloads"
RETRY_SECONDS = 2.0, 15.0
"""How long until an image that was not there is asked for again: at first, and at most."""

SETTLE_SECONDS = 0.02
"""Changes that come together are looked at together."""

log = logging.getLogger(__name__)


async def run(cluster: Cluster, images: Images, clock: Clock) -> None:
    """Run until cancelled."""
    changed = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for kind in KINDS:
            group.create_task(_notice(cluster, kind, changed, clock))
        retry, longest = RETRY_SECONDS
        while True:
            await clock.sleep(SETTLE_SECONDS)
            changed.clear()
            waiting = await _settle(cluster, images, clock)
            try:
                async with asyncio.timeout(retry if waiting else None):
                    await changed.wait()
                retry = RETRY_SECONDS[0]
            except TimeoutError:
                retry = min(2 * retry, longest)


async def _notice(cluster: Cluster, kind: Kind, changed: asyncio.Event, clock: Clock) -> None:
    """Set `changed` whenever an object of the kind changes."""
    while True:
        try:
            version = (await cluster.list(Query(kind), dict, limit=1)).resource_version
            changed.set()
            async for event in cluster.watch(Query(kind), dict, version):
                if event.object is not None:
                    changed.set()
        except ClusterError as error:
            log.warning("watch ended", extra={"kind": kind.kind, "error": str(error)})
        await clock.sleep(1.0)


async def _settle(cluster: Cluster, images: Images, clock: Clock) -> bool:
    """Do what is to be done now. Returns whether to look again soon, even when nothing changes."""
    try:
        world = World(await _list_everything(cluster))
        known = await _look_up(images, list_wanted_images(world))
        for action in plan_workloads(world, known, clock.now()):
            await _carry_out(cluster, action)
    except ClusterError as error:
        log.warning("workloads not settled", extra={"error": str(error)})
        return True
    return is_waiting(world)


async def _list_everything(cluster: Cluster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for kind in KINDS:
        token = ""
        while True:
            page = await cluster.list(Query(kind), dict, continue_token=token)
            found += [item for item in page.items if not isinstance(item, Unreadable)]
            token = page.continue_token
            if not token:
                break
    return found


async def _look_up(images: Images, wanted: Iterable[str]) -> dict[str, bool | None]:
    """Find out whether each image is there; None where nobody could tell."""

    async def look(image: str) -> bool | None:
        try:
            return await images.exists(image)
        except TransientError as error:
            log.warning("image not resolved", extra={"image": image, "error": str(error)})
            return None

    names = sorted(wanted)
    return dict(zip(names, await asyncio.gather(*map(look, names)), strict=True))


async def _carry_out(cluster: Cluster, action: Action) -> None:
    try:
        match action:
            case Create(manifest):
                await cluster.create(manifest, field_manager=FIELD_MANAGER)
            case Delete(ref, uid):
                await cluster.delete(ref, uid=uid)
            case Patch(ref, patch, subresource):
                await cluster.patch(ref, patch, field_manager=FIELD_MANAGER, subresource=subresource)
    except (NotFound, Conflict, AlreadyExists) as error:
        # somebody was faster: the change that tells so has woken us already
        log.info("workload changed meanwhile", extra={"error": str(error)})
