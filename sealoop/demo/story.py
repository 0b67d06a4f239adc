"""The demo's steps, told as they happen.

Each step is a sentence and a claim about the live cluster; it is done when the claim holds, and its time is counted
from the moment that set it going (the pushed tag, the rotated secret).
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import click

from gitops_core.api import GitRepository, Kustomization
from gitops_core.meta import Kind, Manifest
from image_updater.api import ImagePolicy, ImageRepository, ImageUpdateAutomation
from sealoop.demo.observing import Observer
from sealoop.demo.world import IMAGE, SECRET, World
from secrets_sync.api import ExternalSecret

DEPLOYMENT, SECRET_KIND = Kind("apps", "v1", "Deployment"), Kind("", "v1", "Secret")
OURS = (GitRepository, Kustomization, ImageRepository, ImagePolicy, ImageUpdateAutomation, ExternalSecret)
WATCHED = (*(kind.KIND for kind in OURS), DEPLOYMENT, SECRET_KIND)


class StepFailed(Exception):
    """A step did not happen in time."""


@dataclass
class Clockwork:
    """Tells steps and how long they took."""

    observer: Observer
    process: asyncio.subprocess.Process
    world: World
    patience: float
    """Seconds that a step may take."""
    took: list[tuple[str, float]] = field(default_factory=list)
    started: float = 0.0

    def begin(self, what: str) -> None:
        click.secho(f"\n{what}", bold=True)
        self.started = time.monotonic()

    async def step(self, name: str, claim: Callable[[], object], told: Callable[[], str]) -> None:
        """Wait for `claim`, then say `told` and the seconds since `begin`.

        Raises:
            StepFailed: it did not come to be in time, or the service ended.
        """
        died = asyncio.create_task(self.process.wait())
        waiting = asyncio.create_task(self.observer.wait_until(claim, self.patience))
        await asyncio.wait({died, waiting}, return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        if not waiting.done() or waiting.exception() is not None:
            waiting.cancel()
            ended = (
                f"the service ended with code {self.process.returncode}" if self.process.returncode is not None else ""
            )
            why = ended or f"not within {self.patience:.0f} s"
            raise StepFailed(f"{name}: {why}; see {self.world.folder / 'sealoop.log'}{self.list_troubles()}")
        seconds = time.monotonic() - self.started
        self.took.append((name, seconds))
        click.echo(f"  {click.style(f'{seconds:6.2f} s', fg='green')}  {name:<18} {told()}")

    def list_troubles(self) -> str:
        """Return the messages of the objects that are not ready."""
        lines = [
            f"\n  {manifest.get('kind', '')} {manifest['metadata']['name']}: {condition['message']}"
            for manifest in self.observer.objects.values()
            for condition in (manifest.get("status") or {}).get("conditions", ())
            if condition["type"] == "Ready" and condition["status"] != "True"
        ]
        return "".join(sorted(lines))


async def tell(world: World, patience: float) -> None:
    """Run the whole story in `world`. Raises StepFailed."""
    click.echo("Git remote, registry and secret store on " + ", ".join(world.addresses.values()))
    click.echo(f"Everything is in {world.folder}")
    observer = Observer(world.cluster)
    try:
        async with observer.watch(WATCHED), world.run_service() as process:
            told = Clockwork(observer, process, world, patience)
            await start(told)
            await push_new_tag(told, "1.1.0")
            await rotate_secret(told)
            write_summary(told)
    except BaseExceptionGroup as group:
        raise _unwrap(group) from None


def _unwrap(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error that a task group wrapped."""
    first = group.exceptions[0]
    return _unwrap(first) if isinstance(first, BaseExceptionGroup) else first


async def start(told: Clockwork) -> None:
    see = told.observer
    told.begin("The service starts on an empty cluster")
    await told.step(
        "source fetched",
        lambda: get_revision(see.get(GitRepository.KIND, "quickstart")),
        lambda: get_revision(see.get(GitRepository.KIND, "quickstart")),
    )
    await told.step(
        "secret made",
        lambda: see.get(SECRET_KIND, "web-database"),
        lambda: f"Secret web-database with {', '.join(sorted(see.get(SECRET_KIND, 'web-database')['data']))}",
    )
    await told.step(
        "everything ready",
        lambda: (
            is_ready(see.get(Kustomization.KIND, "quickstart")) and is_rolled_out(see.get(DEPLOYMENT, "web"), "1.0.0")
        ),
        lambda: f"Deployment web runs {get_image(see.get(DEPLOYMENT, 'web'))}",
    )


async def push_new_tag(told: Clockwork, tag: str) -> None:
    see, world = told.observer, told.world

    def get_deployed() -> Manifest:
        return cast(Manifest, see.get(DEPLOYMENT, "web"))

    def get_pushed() -> str:
        return str((see.get(ImageUpdateAutomation.KIND, "web").get("status") or {}).get("lastPushCommit", ""))

    before = get_pushed()
    told.begin(f"Somebody pushes {IMAGE}:{tag} to the registry")
    world.registry.add(IMAGE, tag)
    await told.step(
        "tag seen",
        lambda: tag in list_newest_tags(see.get(ImageRepository.KIND, "web")),
        lambda: "newest tags: " + ", ".join(list_newest_tags(see.get(ImageRepository.KIND, "web"))),
    )
    await told.step(
        "policy decided",
        lambda: get_chosen_tag(see.get(ImagePolicy.KIND, "web")) == tag,
        lambda: f"{get_chosen_tag(see.get(ImagePolicy.KIND, 'web'))} is the newest in >=1.0.0",
    )
    await told.step("commit pushed", lambda: get_pushed() not in ("", before), lambda: get_pushed()[:7])
    show_diff(world.show_commit(get_pushed()))
    await told.step(
        "objects applied",
        lambda: get_image(get_deployed()).endswith(f":{tag}"),
        lambda: f"Deployment web wants {get_image(get_deployed())}",
    )
    await told.step(
        "rolled out",
        lambda: (
            is_rolled_out(get_deployed(), tag) and is_applied(see.get(Kustomization.KIND, "quickstart"), get_pushed())
        ),
        lambda: f"{get_deployed()['status']['readyReplicas']} of {get_deployed()['spec']['replicas']} Pods ready",
    )


async def rotate_secret(told: Clockwork) -> None:
    see = told.observer
    fresh = secrets.token_urlsafe(12)
    told.begin("Somebody rotates the database password in the secret store")
    told.world.vault.put(SECRET, {"username": "web", "password": fresh})
    await told.step(
        "secret updated",
        lambda: base64.b64decode(see.get(SECRET_KIND, "web-database")["data"]["PASSWORD"]).decode() == fresh,
        lambda: "Secret web-database holds the new password",
    )


def write_summary(told: Clockwork) -> None:
    click.secho("\nDone.", bold=True, fg="green")
    local = f"--local {told.world.folder / 'cluster'}"
    click.echo(f"""
Look around:
  sealoop get all {local}
  sealoop get pods,deployments,secrets {local}
  sealoop tree ks {local}
  git -C {told.world.folder / "git" / "quickstart.git"} log --stat
  less {told.world.folder / "sealoop.log"}""")


def show_diff(text: str) -> None:
    colours = {"+": "green", "-": "red"}
    for line in text.splitlines():
        if line.startswith(("+++", "---", "diff", "index")) or not line:
            continue
        click.secho(f"            {line}", fg=colours.get(line[0]))


def get_revision(source: Manifest) -> str:
    return str(((source.get("status") or {}).get("artifact") or {}).get("revision", ""))


def list_newest_tags(repository: Manifest) -> list[str]:
    return list(((repository.get("status") or {}).get("lastScanResult") or {}).get("latestTags", ()))


def get_chosen_tag(policy: Manifest) -> str:
    return str(((policy.get("status") or {}).get("latestRef") or {}).get("tag", ""))


def is_ready(manifest: Manifest) -> bool:
    conditions = (manifest.get("status") or {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def is_applied(kustomization: Manifest, commit: str) -> bool:
    return is_ready(kustomization) and str(kustomization["status"].get("lastAppliedRevision", "")).endswith(commit)


def get_image(deployment: Manifest) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"]) if deployment else ""


def is_rolled_out(deployment: Manifest, tag: str) -> bool:
    """Tell whether every replica runs the template whose image has `tag`."""
    if not get_image(deployment).endswith(f":{tag}"):
        return False
    status, wanted = deployment.get("status") or {}, deployment["spec"]["replicas"]
    current = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return bool(current) and status.get("updatedReplicas") == wanted == status.get("readyReplicas") == status.get(
        "replicas"
    )
