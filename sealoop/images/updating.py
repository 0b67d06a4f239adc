"""`sealoop images update --once`: the whole job of image_updater, once, wherever a write token may live for a minute.

    objects (from manifests, or read from a cluster) ──► an embedded cluster in memory ──► list, choose, plan, push

The reconcilers are those of the service, so is everything they decide. In a CI job the token comes from the environment
and no token that may write needs to live in the cluster; there, the same ImageUpdateAutomations are suspended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
from prometheus_client import CollectorRegistry

from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.local import LocalCluster
from gitops_core.api import GitRepository
from gitops_core.errors import GitOpsError, KindUnknown
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Resource
from gitops_core.ports import Cluster, Query
from gitops_core.runtime import process
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.runtime.conditions import REQUESTED_AT
from gitops_core.runtime.credentials import SECRET
from gitops_core.runtime.informers import listed, listed_manifests
from gitops_core.runtime.metrics import Metrics
from gitops_core.schema import crd
from image_updater.api import KINDS, ImagePolicy, ImageRepository, ImageUpdateAutomation, UpdateGuard
from image_updater.reconcilers.access import SERVICE_ACCOUNT
from image_updater.reconcilers.checkpoints import CONFIG_MAP, checkpoint_of
from image_updater.reconcilers.pullrequests import SECRET as PULL_REQUEST_SECRET
from image_updater.reconcilers.sources import WRITE_SECRET as WRITE_ANNOTATION
from sealoop.applying import prepare
from sealoop.clusters import Connection, opened
from sealoop.kinds import NAMESPACE
from sealoop.service import opened_ports
from sealoop.wiring import image_controllers

FIELD_MANAGER = "sealoop"
WRITE_SECRET = "sealoop-write-once"  # noqa: S105  # its name
LOOK = 0.05
SERVED: tuple[type[Resource], ...] = (GitRepository, *KINDS)


@dataclass(frozen=True)
class Once:
    """What to do.

    Attributes:
        manifests: the objects; empty to read them from the cluster of `connection`.
        namespace: only its automations; "" for all.
        token: what may push, with its user name; "" for what the objects' own Secrets say.
        docker_config: credentials for registries whose Secret is not among the objects; None for anonymous.
        timeout: seconds for everything.
    """

    manifests: Sequence[Manifest]
    connection: Connection
    namespace: str
    username: str
    token: str
    docker_config: bytes | None
    timeout: float


@dataclass(frozen=True)
class Result:
    """What became of one object: `commit` is the one that this run pushed, "" for none."""

    kind: str
    key: ObjectKey
    ok: bool
    message: str
    commit: str = ""


async def update_once(once: Once) -> tuple[Result, ...]:
    """Run until every automation has had its turn after every policy has chosen.

    Raises:
        GitOpsError, ClickException: the objects cannot be read, or there is no automation among them.
    """
    clock, chance = SystemClock(), SystemChance()
    found = _ours(once.manifests) if once.manifests else await _read(once)
    with contextlib.closing(LocalCluster.open(None, clock, chance)) as cluster:
        await prepare(cluster, map(crd, SERVED), [*_namespaces(found), *_bare(found)])
        await _statuses(cluster, found)
        await _lend(cluster, once)
        before = await listed(cluster, ImageUpdateAutomation, once.namespace)
        if not before:
            where = f" in namespace {once.namespace}" if once.namespace else ""
            raise click.ClickException(f"there is no ImageUpdateAutomation{where}: nothing to update")
        async with _working(cluster) as broken:
            try:
                async with asyncio.timeout(once.timeout):
                    await _settled(cluster, broken)
            except TimeoutError:
                click.echo(f"not done within {once.timeout:g}s", err=True)
        return await _results(cluster, before)


@contextlib.asynccontextmanager
async def _working(cluster: LocalCluster) -> AsyncIterator[asyncio.Task[None]]:
    """The image controllers at work on the cluster; yields their task, which ends early only when it breaks."""
    clock, chance, stop = SystemClock(), SystemChance(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sealoop-once-")))
        git = GitMirrors(folder / "git", allow_file=True)
        stack.push_async_callback(git.close)
        ports = await opened_ports(folder, clock, stack)
        work = process.run(
            cluster=cluster,
            git=git,
            clock=clock,
            chance=chance,
            # no UpdateGuard: it looks at workloads, which are not here
            assemble=lambda platform: [c for c in image_controllers(platform, ports) if c.kind is not UpdateGuard],
            settings=process.Settings(grace=1.0),
            stop=stop,
            metrics=Metrics(CollectorRegistry()),
            health=process.Health(),
        )
        task = asyncio.create_task(work)
        try:
            yield task
        finally:
            stop.set()
            await task


async def _read(once: Once) -> list[Manifest]:
    """The objects of the cluster that the job needs, and the Secrets and checkpoints that they name."""
    async with opened(once.connection) as (cluster, _):
        found: list[Manifest] = []
        for kind in SERVED:
            namespace = "" if kind is GitRepository else once.namespace
            with contextlib.suppress(KindUnknown):  # who has no UpdateGuards has not installed them
                found += await listed_manifests(cluster, Query(kind.KIND, namespace=namespace))
        named = {ref for manifest in found for ref in named_by(manifest)}
        named |= {ObjectRef(NAMESPACE, ObjectKey("", ref.key.namespace)) for ref in map(ObjectRef.of, found)}
        for ref in sorted(named):
            try:
                manifest = await cluster.get(ref)
            except GitOpsError as error:
                click.echo(f"without {ref}: {error}", err=True)
                continue
            if manifest is not None:
                found.append(manifest)
        return found


def named_by(manifest: Manifest) -> Iterable[ObjectRef]:
    """The Secrets, ServiceAccounts and checkpoints that an object names.

    >>> spec = {"secretRef": {"name": "pull"}}
    >>> manifest = {"kind": "GitRepository", "metadata": {"name": "a", "namespace": "shop"}, "spec": spec}
    >>> [str(ref) for ref in named_by(manifest)]
    ['Secret/shop/pull']
    >>> annotations = {"sealoop.dev/write-secret": "push", "sealoop.dev/pull-request-secret": "api"}
    >>> metadata = {"name": "a", "namespace": "shop", "annotations": annotations}
    >>> [str(ref) for ref in named_by({"kind": "ImageUpdateAutomation", "metadata": metadata})]
    ['Secret/shop/push', 'Secret/shop/api']
    """
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    namespace = metadata.get("namespace", "")
    places: tuple[Any, ...] = (
        *(spec.get(name) for name in ("secretRef", "certSecretRef", "proxySecretRef")),
        ((spec.get("git") or {}).get("commit", {}).get("signingKey") or {}).get("secretRef"),
        (spec.get("verify") or {}).get("secretRef"),
    )
    names = [place["name"] for place in places if isinstance(place, Mapping) and "name" in place]
    annotations = metadata.get("annotations") or {}
    names += filter(None, map(annotations.get, (WRITE_ANNOTATION, PULL_REQUEST_SECRET)))
    yield from (ObjectRef(SECRET, ObjectKey(namespace, name)) for name in names)
    if manifest["kind"] == ImageRepository.KIND.kind:
        yield ObjectRef(CONFIG_MAP, checkpoint_of(ObjectKey(namespace, metadata["name"])))
        if account := spec.get("serviceAccountName"):
            yield ObjectRef(SERVICE_ACCOUNT, ObjectKey(namespace, account))


def _ours(manifests: Iterable[Manifest]) -> list[Manifest]:
    """What the job needs of a folder that also holds Kustomizations and workloads."""
    groups = {kind.KIND.group for kind in SERVED}
    kinds = {kind.KIND.kind for kind in SERVED}
    needed = {NAMESPACE.kind, SECRET.kind, SERVICE_ACCOUNT.kind, CONFIG_MAP.kind}
    return [
        manifest
        for manifest in manifests
        if ((kind := Kind.of_manifest(manifest)).group in groups and kind.kind in kinds)
        or (not kind.group and kind.kind in needed)
    ]


def _namespaces(manifests: Sequence[Manifest]) -> list[Manifest]:
    """The namespaces of the objects, as far as they are not among them."""
    present = {ref.key.name for ref in map(ObjectRef.of, manifests) if ref.kind == NAMESPACE}
    wanted = {manifest["metadata"].get("namespace", "") for manifest in manifests} - present - {"", "default"}
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in sorted(wanted)]


def _bare(manifests: Iterable[Manifest]) -> list[Manifest]:
    """The objects as somebody would write them; automations are not suspended here."""
    bare: list[Manifest] = []
    for manifest in manifests:
        metadata = manifest["metadata"]
        kept = {name: metadata[name] for name in ("name", "namespace", "labels", "annotations") if metadata.get(name)}
        plain = {name: value for name, value in manifest.items() if name != "status"} | {"metadata": kept}
        if manifest.get("kind") == ImageUpdateAutomation.KIND.kind:
            plain["spec"] = {**manifest.get("spec", {}), "suspend": False}
        bare.append(plain)
    return bare


async def _statuses(cluster: Cluster, manifests: Iterable[Manifest]) -> None:
    """What the objects' controllers remember: what was chosen, quarantined, set back."""
    ours = {kind.KIND for kind in SERVED}
    for manifest in manifests:
        if Kind.of_manifest(manifest) not in ours or not manifest.get("status"):
            continue
        left_out = ("conditions", "observedGeneration", "lastHandledReconcileAt")
        status = {name: value for name, value in manifest["status"].items() if name not in left_out}
        ref = ObjectRef.of(manifest)
        if not ref.key.namespace:
            ref = ref._replace(key=ObjectKey("default", ref.key.name))
        await cluster.patch(ref, {"status": status}, field_manager=FIELD_MANAGER, subresource="status")


async def _lend(cluster: Cluster, once: Once) -> None:
    """Give the objects the credentials that were handed to this run."""
    for automation in await listed(cluster, ImageUpdateAutomation):
        if once.token:
            data = {"username": once.username, "password": once.token}
            await _add_secret(cluster, ObjectKey(automation.metadata.namespace, WRITE_SECRET), "Opaque", data)
            patch = {"metadata": {"annotations": {WRITE_ANNOTATION: WRITE_SECRET}}}
            await cluster.patch(automation.ref, patch, field_manager=FIELD_MANAGER)
    for repository in await listed(cluster, ImageRepository):
        if once.docker_config is None or repository.spec.secret_ref is None:
            continue
        key = ObjectKey(repository.metadata.namespace, repository.spec.secret_ref.name)
        if await cluster.get(ObjectRef(SECRET, key)) is None:
            data = {".dockerconfigjson": once.docker_config.decode()}
            await _add_secret(cluster, key, "kubernetes.io/dockerconfigjson", data)


async def _add_secret(cluster: Cluster, key: ObjectKey, type_: str, data: Mapping[str, str]) -> None:
    metadata = {"name": key.name, "namespace": key.namespace}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type_, "stringData": dict(data)}
    await cluster.apply(manifest, field_manager=FIELD_MANAGER, force=True)


async def _settled(cluster: Cluster, working: asyncio.Task[None]) -> None:
    """Wait until repositories, then policies, then automations have looked, each after the ones before."""
    kinds: tuple[type[Resource], ...] = (ImageRepository, ImagePolicy, ImageUpdateAutomation)
    for number, kind in enumerate(kinds):
        token = f"once-{number}"
        for item in await listed(cluster, kind):
            patch = {"metadata": {"annotations": {REQUESTED_AT: token}}}
            await cluster.patch(item.ref, patch, field_manager=FIELD_MANAGER)
        while not all(_is_done(item, token) for item in await listed(cluster, kind)):
            if working.done():
                return
            await asyncio.sleep(LOOK)


def _is_done(item: Resource, token: str) -> bool:
    status: Any = item.status
    if getattr(item.spec, "suspend", False):
        return True
    answered = any(c.type in ("Ready", "Stalled") and c.status != "Unknown" for c in status.conditions)
    return answered and status.last_handled_reconcile_at == token


async def _results(cluster: Cluster, before: Sequence[ImageUpdateAutomation]) -> tuple[Result, ...]:
    pushed = {item.key: item.status.last_push_commit for item in before}
    results = []
    for kind in (ImageRepository, ImagePolicy, ImageUpdateAutomation):
        for item in await listed(cluster, kind):
            ready = item.status.ready
            message = ready.message if ready is not None else "it was not looked at"
            commit = getattr(item.status, "last_push_commit", "")
            new = commit if commit != pushed.get(item.key, "") else ""
            results.append(Result(kind.KIND.kind, item.key, item.status.is_ready, message, new))
    return tuple(results)


def docker_config(path: Path | None) -> bytes | None:
    """What `docker login` has stored, from `path` or where docker keeps it; None when there is nothing.

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
        plain = [msgspec.to_builtins({**vars(r), "key": str(r.key)}) for r in results]
        click.echo(msgspec.json.format(msgspec.json.encode(plain), indent=2).decode())
    else:
        for result in results:
            state = f"pushed {result.commit[:7]}" if result.commit else "ok" if result.ok else "failed"
            click.echo(f"{result.kind.lower()}/{result.key.name}\t{state}\t{result.message}")
    return sum(not result.ok for result in results)
