"""What the operator decides: the command line and the environment, read once, as one value."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sealoop.clusters import Connection
from sealoop.serving.shards import Shard

if TYPE_CHECKING:  # --help need not wait for it
    from gitops_core.runtime.policy import Policy


@dataclass(frozen=True)
class Settings:
    """How one process runs.

    Attributes:
        files: manifests to apply to the embedded cluster at the start; `recursive`: with what is below folders.
        state_dir: where Git mirrors and the tag catalog live; it may be lost without harm.
        listen: HOST:PORT of /metrics, /healthz and /readyz; "" for none.
        hooks: HOST:PORT of /hook/, which webhooks are sent to; "" for none.
        shard: the objects to reconcile.
        policy: what its objects may ask for.
        leader_election: only one of several processes on one shard works at a time.
        lease_namespace: where the Lease lives.
        grace_period: seconds that running reconciliations have to finish when the process is asked to stop.
    """

    connection: Connection
    files: tuple[str, ...]
    recursive: bool
    state_dir: Path
    listen: str
    hooks: str
    shard: Shard
    policy: Policy
    leader_election: bool
    lease_namespace: str
    identity: str
    grace_period: float

    @property
    def exclusive(self) -> tuple[Path, ...]:
        """The folders that no other process may work on."""
        local = self.connection.local
        if local is None or local.absolute() == self.state_dir:
            return (self.state_dir,)
        return local, self.state_dir

    def list_fields(self) -> dict[str, Any]:
        """List the fields that the log has of them at the start."""
        local, context = self.connection.local, self.connection.context
        cluster = f"embedded in {local}" if local else f"context {context}" if context else "as kubectl"
        return {
            "cluster": cluster,
            "state": str(self.state_dir),
            "listen": self.listen or "none",
            "hooks": self.hooks or "none",
            "shard": str(self.shard),
        }


def get_default_state_dir(local: Path | None) -> Path:
    """Return a folder beside the embedded cluster, else where state is that may be lost (XDG_STATE_HOME).

    Raises:
        UsageError: there is no home directory, as in a container whose user has none.
    """
    if local is not None:
        return local / "state"
    if named := os.environ.get("XDG_STATE_HOME"):
        return Path(named) / "sealoop"
    try:
        return Path.home() / ".local" / "state" / "sealoop"
    except RuntimeError:
        raise click.UsageError("there is no home directory to keep state in: name a folder with --state-dir") from None


def get_default_listen(local: Path | None) -> str:
    """Return where to listen: in a cluster somebody asks for metrics and health; by hand nobody does."""
    return "" if local is not None else ":8080"


def get_default_hooks(local: Path | None, listen: str) -> str:
    """Return Flux's port in a cluster, where registries may call; "" in a process that listens nowhere else."""
    return "" if local is not None or not listen else ":9292"


def get_default_identity() -> str:
    """Return the Pod's name in a cluster, host and process elsewhere: what the Lease's holderIdentity shows."""
    return os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"


LogStyle = Literal["text", "json"]
