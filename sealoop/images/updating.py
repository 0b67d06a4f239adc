"""`sealoop images update --once`: the whole job of image_updater, once, wherever a write token may live for a minute.

    objects (from manifests, or read from a cluster) ──► an embedded cluster in memory ──► list, choose, plan, push

The reconcilers are those of the service, so is everything they decide. In a CI job the token comes from the environment
and no token that may write needs to live in the cluster; there, the same ImageUpdateAutomations are suspended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
from prometheus_client import CollectorRegistry

from gitops_core.adapters.kubernetes import KubernetesClusters
from gitops_core.adapters.local import LocalCluster
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Resource
from gitops_core.ports import Cluster
from gitops_core.runtime import process
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.runtime.loop.conditions import REQUESTED_AT
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.policy import Policy
from gitops_core.runtime.sharing.computing import Threads
from gitops_core.runtime.watching.informers import list_objects
from gitops_core.schema import make_crd
from image_updater.api import ImagePolicy, ImageRepository, ImageUpdateAutomation, MarkerReport, UpdateGuard
from image_updater.domain.files.inventory import describe_place, select_noteworthy
from sealoop.clusters import Connection, opened
from sealoop.images.lending import FIELD_MANAGER, Token, lend_logins, lend_token
from sealoop.images.selecting import SERVED, select, select_in_cluster
from sealoop.objects.applying import prepare, tell_of_unchecked_rules
from sealoop.objects.kinds import NAMESPACE
from sealoop.serving.service import open_git_mirrors, open_ports
from sealoop.terminals import make_visible
from sealoop.wiring import make_image_controllers

LOOK = 0.05


@dataclass(frozen=True)
class Once:
    """What to do.

    Attributes:
        manifests: the objects; empty to read them from the cluster of `connection`.
        namespace: only its automations; "" for all.
        token: what may push; None for what the objects' own Secrets say.
        docker_config: credentials for registries whose Secret is not among the objects; None for anonymous.
        timeout: seconds for everything.
    """

    manifests: Sequence[Manifest]
    connection: Connection
    namespace: str
    token: Token | None
    docker_config: bytes | None
    timeout: float


@dataclass(frozen=True)
class Result:
    """What became of one object.

    Attributes:
        commit: the one that this run pushed, "" for none.
        inventory: of an automation, the places that do not say what their policy chose.
    """

    kind: str
    key: ObjectKey
    ok: bool
    message: str
    commit: str = ""
    inventory: tuple[MarkerReport, ...] = ()


async def update_once(once: Once) -> tuple[Result, ...]:
    """Run until every automation has had its turn after every policy has chosen.

    Raises:
        GitOpsError, ClickException: the objects cannot be read, or there is no automation among them.
    """
    clock, chance = SystemClock(), SystemChance()
    found = await _find(once)
    with contextlib.closing(LocalCluster.open(None, clock, chance)) as cluster:
        await prepare(cluster, map(make_crd, SERVED), [*_make_namespaces(found), *_strip(found)])
        await _restore_statuses(cluster, found)
        before = await list_objects(cluster, ImageUpdateAutomation)
        if not before:
            where = f" in namespace {once.namespace}" if once.namespace else ""
            raise click.ClickException(f"there is no ImageUpdateAutomation{where}: nothing to update")
        if once.token is not None:
            await lend_token(cluster, once.token)
        if once.docker_config is not None:
            await lend_logins(cluster, once.docker_config, once.namespace)
        async with _work(cluster, allow_file=bool(once.manifests)) as broken:
            try:
                async with asyncio.timeout(once.timeout):
                    await _is_settled(cluster, broken)
            except TimeoutError:
                click.echo(f"not done within {once.timeout:g}s", err=True)
        return await _collect_results(cluster, before)


@contextlib.asynccontextmanager
async def _work(cluster: LocalCluster, *, allow_file: bool) -> AsyncIterator[asyncio.Task[None]]:
    """Run the image controllers on the cluster; yield their task, which ends early only when it breaks.

    Args:
        allow_file: read and write repositories of this machine: for who wrote the objects, not for a cluster's tenants.
    """
    clock, chance, stop = SystemClock(), SystemChance(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sealoop-once-")))
        metrics = Metrics(CollectorRegistry())
        compute = stack.enter_context(contextlib.closing(Threads(metrics)))
        policy = Policy(file_remotes=allow_file, reported_places=sys.maxsize)
        git = open_git_mirrors(folder, policy)
        stack.push_async_callback(git.close)
        ports = await open_ports(folder, clock, stack, compute, policy)
        work = process.run(
            cluster=cluster,
            clusters=KubernetesClusters(cluster, compute),
            git=git,
            clock=clock,
            chance=chance,
            # no UpdateGuard: it looks at workloads, which are not here
            assemble=lambda platform: [c for c in make_image_controllers(platform, ports) if c.kind is not UpdateGuard],
            settings=process.Settings(grace=1.0),
            stop=stop,
            metrics=metrics,
            health=process.Health(),
            compute=compute,
            policy=policy,
        )
        task = asyncio.create_task(work)
        try:
            yield task
        finally:
            stop.set()
            await task


async def _find(once: Once) -> list[Manifest]:
    if once.manifests:
        tell_of_unchecked_rules()
        return await select(once.manifests, once.namespace)
    async with opened(once.connection) as (cluster, _):
        return await select_in_cluster(cluster, once.namespace)


def _make_namespaces(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Make the namespaces of the objects, as far as they are not among them."""
    present = {ref.key.name for ref in map(ObjectRef.of, manifests) if ref.kind == NAMESPACE}
    wanted = {manifest["metadata"].get("namespace", "") for manifest in manifests} - present - {"", "default"}
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in sorted(wanted)]


def _strip(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Return the objects as somebody would write them; automations are not suspended here."""
    bare: list[Manifest] = []
    for manifest in manifests:
        metadata = manifest["metadata"]
        kept = {name: metadata[name] for name in ("name", "namespace", "labels", "annotations") if metadata.get(name)}
        plain = {name: value for name, value in manifest.items() if name != "status"} | {"metadata": kept}
        if manifest.get("kind") == ImageUpdateAutomation.KIND.kind:
            plain["spec"] = {**manifest.get("spec", {}), "suspend": False}
        bare.append(plain)
    return bare


async def _restore_statuses(cluster: Cluster, manifests: Iterable[Manifest]) -> None:
    """Restore what the objects' controllers remember: what was chosen, quarantined, set back."""
    ours = {kind.KIND for kind in SERVED}
    for manifest in manifests:
        if Kind.of_manifest(manifest) not in ours or not manifest.get("status"):
            continue
        # without lastScanResult: it would speak of a listing that is not in this catalog
        left_out = ("conditions", "observedGeneration", "lastHandledReconcileAt", "lastScanResult")
        status = {name: value for name, value in manifest["status"].items() if name not in left_out}
        ref = ObjectRef.of(manifest)
        await cluster.patch(ref, {"status": status}, field_manager=FIELD_MANAGER, subresource="status")


async def _is_settled(cluster: Cluster, working: asyncio.Task[None]) -> None:
    """Wait until repositories, then policies, then automations have looked, each after the ones before."""
    kinds: tuple[type[Resource], ...] = (ImageRepository, ImagePolicy, ImageUpdateAutomation)
    for number, kind in enumerate(kinds):
        token = f"once-{number}"
        for item in await list_objects(cluster, kind):
            patch = {"metadata": {"annotations": {REQUESTED_AT: token}}}
            await cluster.patch(item.ref, patch, field_manager=FIELD_MANAGER)
        while not all(_is_done(item, token) for item in await list_objects(cluster, kind)):
            if working.done():
                return
            await asyncio.sleep(LOOK)


def _is_done(item: Resource, token: str) -> bool:
    status: Any = item.status
    if getattr(item.spec, "suspend", False):
        return True
    answered = any(c.type in ("Ready", "Stalled") and c.status != "Unknown" for c in status.conditions)
    return answered and status.last_handled_reconcile_at == token


async def _collect_results(cluster: Cluster, before: Sequence[ImageUpdateAutomation]) -> tuple[Result, ...]:
    pushed = {item.key: item.status.last_push_commit for item in before}
    results = []
    for kind in (ImageRepository, ImagePolicy, ImageUpdateAutomation):
        for item in await list_objects(cluster, kind):
            ready = item.status.ready
            message = ready.message if ready is not None else "it was not looked at"
            commit = getattr(item.status, "last_push_commit", "")
            new = commit if commit != pushed.get(item.key, "") else ""
            places: tuple[MarkerReport, ...] = getattr(item.status, "unsettled", ())
            results.append(Result(kind.KIND.kind, item.key, item.status.is_ready, message, new, places))
    return tuple(results)


def read_docker_config(path: Path | None) -> bytes | None:
    """Read what `docker login` has stored, from `path` or where docker keeps it; None when there is nothing.

    Raises:
        ClickException: `path` was named and cannot be read.
    """
    usual = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        return (path or usual).read_bytes()
    except OSError as error:
        if path is not None:
            raise click.ClickException(f"{path} cannot be read: {error.strerror}") from None
        return None


def show(results: Sequence[Result], output: str) -> int:
    """Print what became of each object; how many failed."""
    if output == "json":
        plain = [
            {**vars(r), "key": str(r.key), "inventory": [msgspec.structs.asdict(place) for place in r.inventory]}
            for r in results
        ]
        click.echo(msgspec.json.format(msgspec.json.encode(plain), indent=2).decode())
    else:
        for result in results:
            state = f"pushed {result.commit[:7]}" if result.commit else "ok" if result.ok else "failed"
            click.echo(f"{result.kind.lower()}/{result.key.name}\t{state}\t{make_visible(result.message)}")
    for result in results:
        for place in select_noteworthy(result.inventory):
            click.echo(describe_place(place), err=True)
    return sum(not result.ok for result in results)
