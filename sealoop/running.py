"""`sealoop run`: opens what the settings name, hands it to the packages, and runs until it is asked to stop.

SIGTERM or SIGINT once: finish what is under way (within the grace period), give the lease up, end with 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import click
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.kustomize import Kustomize
from gitops_core.adapters.local import workloads
from gitops_core.errors import GitOpsError
from gitops_core.ports import Cluster
from gitops_core.runtime import process
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.runtime.leading import LeaseSettings
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.process import Health
from gitops_core.schema import crd
from image_updater.adapters.catalog import SqliteCatalog
from image_updater.adapters.images import RegistryImages
from image_updater.adapters.oci import OciRegistry
from sealoop.clusters import Connection, connection_options, opened
from sealoop.logs import configure
from sealoop.objects import FIELD_MANAGER, in_namespace, manifests_in
from sealoop.settings import LogStyle, Settings, default_identity, default_state_dir
from sealoop.wiring import KINDS, Ports, controllers
from secrets_sync.adapters import provider_factories

log = logging.getLogger("sealoop")


@click.command()
@connection_options
@click.option("-f", "--filename", "files", multiple=True, help="With --local: apply these manifests first.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Mirrors and tag catalog; may be lost without harm.")
@click.option(
    "--listen", metavar="HOST:PORT", help="/metrics, /healthz, /readyz. Default: none with --local, else :8080."
)
@click.option("--leader-election/--no-leader-election", default=True, show_default=True)
@click.option("--lease-namespace", default="sealoop-system", show_default=True, envvar="POD_NAMESPACE")
@click.option("--grace-period", default=10.0, show_default=True, help="Seconds to finish what is under way.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def run(
    connection: Connection,
    files: tuple[str, ...],
    state_dir: Path | None,
    listen: str | None,
    leader_election: bool,
    lease_namespace: str,
    grace_period: float,
    log_format: LogStyle,
    log_level: str,
) -> None:
    """Run the service: watch, reconcile, sync, bump."""
    if files and connection.local is None:
        raise click.UsageError("-f goes with --local; for a real cluster say `sealoop apply -f` or kubectl apply")
    configure(log_format, log_level)
    state = (state_dir or default_state_dir(connection.local)).absolute()
    settings = Settings(
        connection=connection,
        files=files,
        state_dir=state,
        listen=listen if listen is not None else ("" if connection.local else ":8080"),
        leader_election=leader_election and connection.local is None,
        lease_namespace=lease_namespace,
        identity=f"{default_identity()}-{hashlib.sha256(str(state).encode()).hexdigest()[:8]}",
        grace_period=grace_period,
    )
    try:
        asyncio.run(serve(settings))
    except GitOpsError as error:
        raise click.ClickException(str(error)) from error


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        GitOpsError: something that is needed from the start is not there.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with only_process_in(settings.state_dir):
        async with opened(settings.connection) as cluster, contextlib.AsyncExitStack() as stack:
            await reconcile(cluster, settings, stop, stack)
    log.info("stopped")


async def reconcile(
    cluster: Cluster, settings: Settings, stop: asyncio.Event, stack: contextlib.AsyncExitStack
) -> None:
    """Open the packages' adapters (closed with `stack`), then run everything until `stop` is set."""
    clock, chance = SystemClock(), SystemChance()
    metrics, health = Metrics(CollectorRegistry()), Health()
    git = GitMirrors(settings.state_dir / "git", allow_file=settings.connection.local is not None)
    stack.push_async_callback(git.close)
    registry = await stack.enter_async_context(OciRegistry())
    catalog = stack.enter_context(contextlib.closing(SqliteCatalog.open(settings.state_dir / "tags.db")))
    providers = provider_factories(clock)
    for provider in providers.values():
        stack.push_async_callback(provider.close)
    ports = Ports(renderer=Kustomize(), registry=registry, catalog=catalog, providers=providers)
    if settings.listen:
        await stack.enter_async_context(serving(settings.listen, metrics, health))
    if settings.connection.local is not None:
        await prepare(cluster, settings.files)
        stack.push_async_callback(ended, asyncio.create_task(workloads.run(cluster, RegistryImages(registry), clock)))
    lease = LeaseSettings(settings.lease_namespace, "sealoop", settings.identity)
    await process.run(
        cluster=cluster,
        git=git,
        clock=clock,
        chance=chance,
        assemble=lambda platform: controllers(platform, ports),
        settings=process.Settings(
            lease=lease if settings.leader_election else None,
            instance=settings.identity,
            grace=settings.grace_period,
        ),
        stop=stop,
        metrics=metrics,
        health=health,
    )


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def prepare(cluster: Cluster, files: Sequence[str]) -> None:
    """What an embedded cluster needs before the service can work on it: our kinds, then the operator's manifests."""
    for kind in KINDS:
        await cluster.apply(crd(kind), field_manager=FIELD_MANAGER, force=True)
    for manifest in manifests_in(files):
        placed, _ = await in_namespace(cluster, manifest, "default")
        await cluster.apply(placed, field_manager=FIELD_MANAGER, force=True)


@contextlib.asynccontextmanager
async def serving(listen: str, metrics: Metrics, health: Health) -> AsyncIterator[None]:
    """/metrics for Prometheus, /healthz and /readyz for the kubelet.

    Raises:
        ClickException: the address cannot be had.
    """

    async def show(request: web.Request) -> web.Response:
        body = await asyncio.to_thread(generate_latest, metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def alive(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(request: web.Request) -> web.Response:
        return web.Response(text="ok\n") if health.is_ready else web.Response(status=503, text="not synced yet\n")

    application = web.Application()
    application.add_routes([web.get("/metrics", show), web.get("/healthz", alive), web.get("/readyz", ready)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    host, _, port = listen.rpartition(":")
    try:
        await web.TCPSite(runner, host or None, int(port)).start()
        yield
    except (OSError, ValueError) as error:
        raise click.ClickException(f"cannot listen on {listen!r}: {error}; name another with --listen") from error
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def only_process_in(folder: Path) -> Iterator[None]:
    """Holds the state directory: two processes on one would share mirrors and, on an embedded cluster, work.

    Raises:
        ClickException: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # given back by the kernel, also after kill -9
        except BlockingIOError:
            raise click.ClickException(f"another sealoop works on {folder}; name another with --state-dir") from None
        yield
