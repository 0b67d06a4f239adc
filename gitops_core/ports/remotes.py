"""All that sources of Kustomizations are fetched from, beside Git."""

from __future__ import annotations

from dataclasses import dataclass, field

from gitops_core.ports.buckets import Buckets, NoBuckets
from gitops_core.ports.clouds import Clouds, NoClouds
from gitops_core.ports.registries import Artifacts, CloudLogins, NoArtifacts, NoCloudLogins


@dataclass(frozen=True)
class Remotes:
    """Where files may come from beside Git."""

    artifacts: Artifacts = field(default_factory=NoArtifacts)
    logins: CloudLogins = field(default_factory=NoCloudLogins)
    buckets: Buckets = field(default_factory=NoBuckets)
    clouds: Clouds = field(default_factory=NoClouds)
