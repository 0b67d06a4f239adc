"""Puts the three packages together: the one place that knows them all.

ports (adapters, or a test's fakes)  ->  controllers of every package  ->  the runtime
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gitops_core import component as gitops
from gitops_core.domain.health.kstatus import judge_health
from gitops_core.meta import Resource
from gitops_core.ports import (
    Artifacts,
    Buckets,
    Clock,
    CloudLogins,
    Clouds,
    Cluster,
    Compute,
    Decryptor,
    Expressions,
    NoArtifacts,
    NoBuckets,
    NoCloudLogins,
    NoClouds,
    Remotes,
    Renderer,
)
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.reconciling import Component, Controller, Platform
from gitops_core.runtime.routes import Route
from image_updater import component as images
from image_updater.ports import Forges, ImageReader, Registry, TagCatalog
from image_updater.reconcilers.pushes import Pushes
from secrets_sync import component as secrets
from secrets_sync.ports import ProviderFactories

COMPONENTS: tuple[Component, ...] = (gitops.component, secrets.component, images.component)
KINDS: tuple[type[Resource], ...] = tuple(kind for component in COMPONENTS for kind in component.kinds)


@dataclass(frozen=True)
class Ports:
    """What the packages need of the world beside the runtime's Platform.

    Attributes:
        forges: None where none can be reached; who asks for a pull request is told.
    """

    renderer: Renderer
    decryptor: Decryptor
    expressions: Expressions
    registry: Registry
    reader: ImageReader
    catalog: TagCatalog
    providers: ProviderFactories
    logins: CloudLogins = field(default_factory=NoCloudLogins)
    forges: Forges | None = None
    artifacts: Artifacts = field(default_factory=NoArtifacts)
    buckets: Buckets = field(default_factory=NoBuckets)
    clouds: Clouds = field(default_factory=NoClouds)


def make_routes(cluster: Cluster, clock: Clock, compute: Compute, policy: Policy = DEFAULT_POLICY) -> tuple[Route, ...]:
    """Return every HTTP route; `cluster` asks nobody who leads, for any replica is called."""
    return gitops.make_routes(cluster, clock, compute, Pushes(cluster, clock), policy)


def make_controllers(platform: Platform, ports: Ports) -> tuple[Controller[Any], ...]:
    """Make one controller for each kind that is reconciled."""
    return (
        *gitops.make_controllers(
            platform,
            ports.renderer,
            ports.decryptor,
            ports.expressions,
            remotes=Remotes(ports.artifacts, ports.logins, ports.buckets, ports.clouds),
        ),
        *secrets.make_controllers(platform, ports.providers),
        *make_image_controllers(platform, ports),
    )


def make_image_controllers(platform: Platform, ports: Ports) -> tuple[Controller[Any], ...]:
    """Make the controllers of image_updater alone, for a run that does nothing else."""
    return images.make_controllers(
        platform,
        ports.registry,
        ports.catalog,
        health=judge_health,
        reader=ports.reader,
        logins=ports.logins,
        forges=ports.forges,
        clouds=ports.clouds,
    )
