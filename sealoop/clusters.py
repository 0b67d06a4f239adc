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
from typing import Any, TypeVar

import click

from gitops_core.ports import Cluster

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Connection:
    """What the options say. `local` wins over the others."""

    local: Path | None
    kubeconfig: Path | None
    context: str | None


def connection_options(command: F) -> F:
    """Adds --local, --kubeconfig and --context to a command, which gets them as one `connection` argument."""

    @functools.wraps(command)
    def gather(**options: Any) -> Any:
        connection = Connection(options.pop("local"), options.pop("kubeconfig"), options.pop("context"))
        return command(connection=connection, **options)

    wrapped: Any = gather
    for option in (
        click.option("--context", metavar="NAME", help="The context of the kubeconfig to use."),
        click.option(
            "--kubeconfig", type=click.Path(path_type=Path), help="As kubectl's; default: as kubectl finds it."
        ),
        click.option(
            "--local", type=click.Path(path_type=Path), metavar="DIR", help="Use the embedded cluster in DIR."
        ),
    ):
        wrapped = option(wrapped)
    result: F = wrapped
    return result


@asynccontextmanager
async def opened(connection: Connection) -> AsyncIterator[Cluster]:
    """The cluster, closed at the end.

    Raises:
        GitOpsError: there is no usable configuration; the message says what was looked at.
    """
    # Imported here: each costs a start-up time that commands which do not use it need not pay.
    if connection.local is not None:
        from gitops_core.adapters.local import LocalCluster
        from gitops_core.runtime.clock import SystemChance, SystemClock

        local = LocalCluster.open(connection.local, SystemClock(), SystemChance(), shared=True)
        try:
            yield local
        finally:
            local.close()
    else:
        from gitops_core.adapters.kubernetes import KubernetesCluster

        real = await KubernetesCluster.from_environment(connection.kubeconfig, connection.context)
        try:
            yield real
        finally:
            await real.close()
