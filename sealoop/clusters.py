"""Which cluster a command talks to, and how it is opened.

--local DIR     the embedded cluster in DIR, shared with a `sealoop run` on the same DIR
(nothing)       the cluster that kubectl would talk to: KUBECONFIG, ~/.kube/config, or the Pod's own
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:  # --help and a typing mistake need not wait for it
    from gitops_core.ports import Cluster

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Connection:
    """What the options say; `local` excludes the others."""

    local: Path | None
    kubeconfig: Path | None
    context: str | None


class Opened(NamedTuple):
    """A cluster, and the namespace that its context names: that of objects of which nobody says where they are."""

    cluster: Cluster
    namespace: str


def connection_options(command: F) -> F:
    """Add --local, --kubeconfig and --context to a command, which gets them as one `connection` argument."""

    @functools.wraps(command)
    def gather(**options: Any) -> Any:
        connection = Connection(options.pop("local"), options.pop("kubeconfig"), options.pop("context"))
        if connection.local is not None and (connection.kubeconfig or connection.context):
            raise click.UsageError("--local is the embedded cluster: it goes with neither --kubeconfig nor --context")
        return command(connection=connection, **options)

    wrapped: Any = gather
    for option in (
        click.option("--context", metavar="NAME", help="Use this context of the kubeconfig."),
        click.option(
            "--kubeconfig",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Default: what kubectl finds ($KUBECONFIG, ~/.kube/config, in a Pod its service account).",
        ),
        click.option(
            "--local", type=click.Path(path_type=Path), metavar="DIR", help="Use the embedded cluster in DIR."
        ),
    ):
        wrapped = option(wrapped)
    result: F = wrapped
    return result


@asynccontextmanager
async def opened(connection: Connection, *, make: bool = False) -> AsyncIterator[Opened]:
    """Yield the cluster, closed at the end.

    Args:
        make: begin an embedded cluster where there is none.

    Raises:
        GitOpsError: there is no usable configuration; the message says what was looked at.
        ClickException: there is no embedded cluster, and none is to be made.
    """
    # Imported here: each costs a start-up time that commands which do not use it need not pay.
    if connection.local is not None:
        from gitops_core.adapters.local import LocalCluster
        from gitops_core.errors import ClusterUnavailable
        from gitops_core.runtime.clock import SystemChance, SystemClock

        if not make and not LocalCluster.lives_in(connection.local):
            raise click.ClickException(
                f"no embedded cluster in {connection.local}: `sealoop run --local {connection.local}` makes one"
            )
        try:
            local = LocalCluster.open(connection.local, SystemClock(), SystemChance(), shared=True)
        except ClusterUnavailable as error:
            raise ClusterUnavailable(f"{connection.local} cannot be used: {error}") from error
        try:
            yield Opened(local, "default")
        finally:
            local.close()
    else:
        from gitops_core.adapters.kubernetes import KubernetesCluster

        real = await KubernetesCluster.from_environment(connection.kubeconfig, connection.context)
        try:
            yield Opened(real, real.namespace or "default")
        finally:
            await real.close()
