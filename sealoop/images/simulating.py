"""`sealoop images simulate`: what a policy would have chosen over the history of its repository's tags.

The history is the service's own (--state-dir) or, without it, what the cluster remembers: when each tag was first seen.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from gitops_core.meta import ObjectKey, write_timestamp
from gitops_core.ports import Cluster
from image_updater.adapters.catalog import read_history
from image_updater.api import ImagePolicy
from image_updater.domain.guards.replays import Step, replay
from image_updater.domain.guards.vouching import make_catalog_name
from image_updater.domain.tags.history import TagEvent
from image_updater.errors import RepositoryNotReady
from sealoop.images.looking import open_look


@dataclass(frozen=True)
class Played:
    """The decisions that differ from the ones before, and how many events they come from."""

    policy: ObjectKey
    image: str
    events: int
    steps: tuple[Step, ...]


async def simulate(
    cluster: Cluster, key: ObjectKey, instead: ImagePolicy | None, state_dir: Path | None, since: datetime | None
) -> Played:
    """
    Args:
        instead: decide as this policy's spec says, in the place of the cluster's own.

    Raises:
        GitOpsError: there is no such policy, or its repository's tags are not known.
    """
    async with open_look(cluster) as look:
        policy = instead if instead is not None else await look.get_policy(key)
        wanted, repository, _ = await look.list_repository(policy)
        name = make_catalog_name(wanted, str(repository))
        events = await look.ports.catalog.list_events(name)
        if state_dir is not None:
            events = await asyncio.to_thread(read_history, state_dir / "tags.db", name)
        if not events:
            where = f"in {state_dir}" if state_dir is not None else "in the cluster"
            raise RepositoryNotReady(f"no history of {repository} {where}: it was never listed there")
        events = tuple(event if since is None else _postpone(event, since) for event in events)
        request, _ = await look.policies.explain(policy)
        now = look.platform.clock.now()
        steps = tuple(replay(replace(request, facts={}), events, now))
        return Played(policy.key, wanted.spec.image, len(events), steps)


def place_at(policy: ImagePolicy, key: ObjectKey) -> ImagePolicy:
    """Return the policy as if it were the cluster's of that name; its labels are its own."""
    metadata = msgspec.structs.replace(policy.metadata, namespace=key.namespace, name=key.name)
    return msgspec.structs.replace(policy, metadata=metadata)


def _postpone(event: TagEvent, since: datetime) -> TagEvent:
    return event if event.at >= since else event._replace(at=since)


def show(played: Played, output: str) -> None:
    if output == "json":
        plain: dict[str, Any] = {"policy": str(played.policy), "image": played.image, "events": played.events}
        plain["steps"] = [
            {
                "at": write_timestamp(step.at),
                "tag": step.tag,
                "cause": step.cause,
                "passed": [str(v) for v in step.passed],
            }
            for step in played.steps
        ]
        click.echo(msgspec.json.format(msgspec.json.encode(plain), indent=2).decode())
        return
    click.echo(f"ImagePolicy {played.policy}  {played.image}  {played.events} events")
    for step in played.steps:
        passed = "".join(f"; {verdict}" for verdict in step.passed[:2])
        click.echo(f"  {write_timestamp(step.at)}  {step.tag or 'nothing: ' + step.cause}{passed}")
