"""The service: opens what the settings name, hands it to the packages, and runs until it is asked to stop.

SIGTERM or SIGINT once: finish what is under way (within the grace period), give the lease up, end with 0. A second
signal ends the process at once, which loses nothing: it is what a crash would do.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry

from gitops_core.adapters.clouds.identities import SdkClouds
from gitops_core.adapters.expressions import SandboxedExpressions
from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.git.reading import Limits as GitLimits
from gitops_core.adapters.kubernetes import KubernetesClusters
from gitops_core.adapters.kustomize import Kustomize
from gitops_core.adapters.local import workloads
from gitops_core.adapters.oci import OciRegistry, RegistryArtifacts, SdkLogins
from gitops_core.adapters.s3 import S3Buckets
from gitops_core.adapters.sandbox import Confinement, remove_stale_folders
from gitops_core.adapters.sandbox import Limits as BuildLimits
from gitops_core.adapters.sops import Sops
from gitops_core.meta import Manifest
from gitops_core.ports import Clock, Cluster, Compute
from gitops_core.runtime import process
from gitops_core.runtime.authority.leading import LeaseSettings
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.process import Health
from gitops_core.runtime.pulse import watch_loop
from gitops_core.runtime.sharing.computing import IN_PLACE, Threads
from gitops_core.schema import cel, make_crd
from image_updater.adapters.catalog import SqliteCatalog
from image_updater.adapters.forges import HttpForges
from image_updater.adapters.images import RegistryImages
from image_updater.adapters.inspecting import RegistryReader
from sealoop.clusters import opened
from sealoop.objects.applying import prepare
from sealoop.serving.endpoints import serving
from sealoop.serving.hooks import receiving
from sealoop.serving.missing import tell_what_is_missing
from sealoop.serving.settings import Settings
from sealoop.wiring import KINDS, Ports, make_controllers, make_routes
from secrets_sync.adapters import make_provider_factories

log = logging.getLogger("sealoop")

SWITCH = 0.001
"""Seconds that the event loop waits at most for each thread that computes; Python's own 5 ms add up."""


async def serve(settings: Settings, manifests: Sequence[Manifest]) -> None:
    """Run until SIGTERM or SIGINT.

    Args:
        manifests: what to apply first, on an embedded cluster.

    Raises:
        GitOpsError, ClickException: something that is needed from the start is not there.
    """
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)  # a crash in native code says where
    stop = make_stop_event()
    async with contextlib.AsyncExitStack() as stack:
        cluster, _ = await stack.enter_async_context(opened(settings.connection, make=True))
        log.info("started", extra={"version": version("sealoop"), **settings.list_fields()})
        await reconcile(cluster, settings, manifests, stop, stack)
    log.info("stopped")


def make_stop_event() -> asyncio.Event:
    """Make an event that the first SIGTERM or SIGINT sets; the second does what it does to any process."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def note_signal(number: signal.Signals) -> None:
        log.info("stopping", extra={"signal": number.name})
        stop.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, note_signal, number)
    return stop


async def reconcile(
    cluster: Cluster,
    settings: Settings,
    manifests: Sequence[Manifest],
    stop: asyncio.Event,
    stack: contextlib.AsyncExitStack,
) -> None:
    """Open the packages' adapters (closed with `stack`), then run everything until `stop` is set."""
    clock, chance, policy = SystemClock(), SystemChance(), settings.policy
    metrics, health = Metrics(CollectorRegistry()), Health()
    sys.setswitchinterval(SWITCH)
    compute = stack.enter_context(contextlib.closing(Threads(metrics)))
    stack.push_async_callback(end, asyncio.create_task(watch_loop(metrics)))
    if settings.listen:
        await stack.enter_async_context(serving(settings.listen, metrics.registry, health))
    if settings.hooks:
        await stack.enter_async_context(
            receiving(settings.hooks, make_routes(cluster, clock, compute, policy), clock, policy)
        )
    git = open_git_mirrors(settings.state_dir, policy)
    stack.push_async_callback(git.close)
    prepare_for_builds()
    ports = await open_ports(settings.state_dir, clock, stack, compute, policy, metrics)
    if settings.connection.local is not None:
        if not cel.is_installed():
            log.warning(cel.UNCHECKED)
        await prepare(cluster, map(make_crd, KINDS), manifests)
        beside = asyncio.create_task(workloads.run(cluster, RegistryImages(ports.registry), clock))
        beside.add_done_callback(lambda _: stop.set())  # it never ends by itself: a bug must not go unnoticed
    else:
        namespace = settings.lease_namespace if settings.leader_election else ""
        beside = asyncio.create_task(tell_what_is_missing(cluster, [kind.KIND for kind in KINDS], namespace))
    stack.push_async_callback(end, beside)
    lease = LeaseSettings(settings.lease_namespace, settings.shard.lease, settings.identity)
    await process.run(
        cluster=cluster,
        clusters=KubernetesClusters(cluster, compute),
        git=git,
        clock=clock,
        chance=chance,
        assemble=lambda platform: make_controllers(platform, ports),
        settings=process.Settings(
            lease=lease if settings.leader_election else None,
            instance=settings.identity,
            namespace=settings.shard.namespace,
            labels=settings.shard.labels,
            grace=settings.grace_period,
        ),
        stop=stop,
        metrics=metrics,
        health=health,
        compute=compute,
        policy=policy,
    )


def open_git_mirrors(state_dir: Path, policy: Policy) -> GitMirrors:
    """Open Git as far as `policy` allows it; the caller closes it. What it remembers may be lost."""
    limits = GitLimits(files=policy.git_files, file_bytes=policy.git_file_size)
    return GitMirrors(state_dir / "git", allow_file=policy.file_remotes, limits=limits)


async def open_ports(
    state_dir: Path,
    clock: Clock,
    stack: contextlib.AsyncExitStack,
    compute: Compute = IN_PLACE,
    policy: Policy = DEFAULT_POLICY,
    metrics: Metrics | None = None,
) -> Ports:
    """Open the packages' own adapters, closed with `stack`. What they remember in `state_dir` may be lost.

    Args:
        metrics: where what they do is counted; None where nobody reads it.
    """
    metrics = metrics or Metrics(CollectorRegistry())
    registry = await stack.enter_async_context(OciRegistry(environment=os.environ, compute=compute))
    catalog = stack.enter_context(contextlib.closing(SqliteCatalog.open(state_dir / "tags.db")))
    providers = make_provider_factories(clock, compute)
    for provider in providers.values():
        stack.push_async_callback(provider.close)
    reader = RegistryReader(registry)
    stack.push_async_callback(reader.close)
    artifacts = RegistryArtifacts(registry)
    stack.push_async_callback(artifacts.close)
    buckets = await stack.enter_async_context(S3Buckets(os.environ, compute))
    clouds = SdkClouds(os.environ)
    stack.push_async_callback(clouds.close)
    logins = SdkLogins(clouds)
    stack.push_async_callback(logins.close)
    forges = await stack.enter_async_context(HttpForges(os.environ))
    limits = BuildLimits(policy.build_seconds, policy.build_memory, policy.build_output)
    return Ports(
        renderer=Kustomize(limits=limits, builds=policy.builds, compute=compute, count=metrics.builds.inc),
        decryptor=Sops(vault_addresses=policy.sops_vaults, count=metrics.decryptions.inc),
        expressions=SandboxedExpressions(compute=compute),
        registry=registry,
        reader=reader,
        catalog=catalog,
        providers=providers,
        logins=logins,
        forges=forges,
        artifacts=artifacts,
        buckets=buckets,
        clouds=clouds,
    )


def prepare_for_builds() -> None:
    """Say what keeps builds from all but their own files, and remove what a killed service left of its builds."""
    by = Confinement.of_this_machine()
    log.log(logging.INFO if by.is_complete else logging.WARNING, "builds are confined", extra={"by": by.described})
    remove_stale_folders()


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
