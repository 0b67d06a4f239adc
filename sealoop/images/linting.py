"""`sealoop images lint`: what cannot work among image objects and marked files, told before anybody waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from gitops_core.meta import Manifest, Resource
from gitops_core.ports import Cluster
from gitops_core.runtime.informers import listed
from gitops_core.schema import default, from_manifest, object_schema, validate
from image_updater.api import KINDS, ImagePolicy, ImageRef, ImageRepository, UpdateGuard
from image_updater.domain.lint import Finding, Given, lint
from image_updater.domain.plan import Sighting, plan_commit, setters
from image_updater.domain.targets import DeclaredTarget
from sealoop.images.editing import found_files

R = TypeVar("R", bound=Resource)
ANY_IMAGE = ImageRef(name="registry.invalid/image", tag="0", digest="sha256:" + "0" * 64)


def given_in(manifests: Iterable[Manifest], *, complete: bool) -> tuple[Given, tuple[Finding, ...]]:
    """The objects of our kinds among `manifests`, and what an API server would say of those that it refuses."""
    kinds = {(kind.KIND.group, kind.KIND.kind): kind for kind in KINDS}
    objects: list[Resource] = []
    refused: list[Finding] = []
    for manifest in manifests:
        group = str(manifest.get("apiVersion", "")).partition("/")[0]
        kind = kinds.get((group, str(manifest.get("kind"))))
        if kind is None:
            continue
        placed = {**manifest, "metadata": {"namespace": "default", **manifest["metadata"]}}
        schema = object_schema(kind)
        filled = default(schema, placed)
        about = f"{kind.KIND.kind} {placed['metadata']['namespace']}/{placed['metadata']['name']}"
        if faults := validate(schema, filled):
            refused.append(Finding(about, "error", "; ".join(f"{fault.field}: {fault.message}" for fault in faults)))
            continue
        try:
            objects.append(from_manifest(kind, filled))
        except (msgspec.ValidationError, TypeError) as error:
            refused.append(Finding(about, "error", str(error)))
    return _given(objects, complete), tuple(refused)


async def given_by(cluster: Cluster, namespace: str) -> Given:
    """The objects that the cluster has; "" for all namespaces."""
    objects: list[Resource] = []
    for kind in (ImageRepository, ImagePolicy, UpdateGuard):
        objects += await listed(cluster, kind, namespace)
    return _given(objects, complete=not namespace)


def _given(objects: Sequence[Resource], complete: bool) -> Given:
    return Given(
        repositories=_of(ImageRepository, objects),
        policies=_of(ImagePolicy, objects),
        guards=_of(UpdateGuard, objects),
        complete=complete,
    )


def _of(kind: type[R], objects: Iterable[Resource]) -> tuple[R, ...]:
    return tuple(each for each in objects if isinstance(each, kind))


def sightings_in(folders: Iterable[Path], given: Given) -> tuple[Sighting, ...]:
    """The marked places of the folders' files, and those that the guards' targets lead to. Raises ClickException."""
    values: dict[str, str] = {}
    for policy in given.policies:
        values |= setters(policy.metadata.namespace, {policy.metadata.name: ANY_IMAGE})
    targets = [DeclaredTarget(g.metadata.namespace, target) for g in given.guards for target in g.spec.targets]
    found: list[Sighting] = []
    for folder in folders:
        try:
            files = found_files(folder, targets)
        except OSError as error:
            raise click.ClickException(f"{error.filename or folder}: {error.strerror or error}") from None
        found += plan_commit(files, values, targets=targets).sightings
    return tuple(found)


def show(given: Given, refused: Sequence[Finding], output: str) -> int:
    """Print the findings, errors first; how many errors there are."""
    findings = (*refused, *lint(given, datetime.now(UTC)))
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode([each._asdict() for each in findings]), indent=2).decode())
    else:
        for each in findings:
            click.echo(f"{each.severity}: {each.about}: {each.message}")
        number = len(given.repositories) + len(given.policies) + len(given.guards)
        click.echo(f"{number} objects, {len(given.sightings)} places: {len(findings)} findings", err=True)
    return sum(each.severity == "error" for each in findings)
