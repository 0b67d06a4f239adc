"""`sealoop images lint`: what cannot work among image objects and marked files, told before anybody waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from gitops_core.meta import Manifest, Resource
from gitops_core.ports import Cluster
from gitops_core.runtime.watching.informers import list_objects
from gitops_core.schema import default, make_object_schema, read_manifest, validate
from image_updater.api import KINDS, ImagePolicy, ImageRef, ImageRepository, UpdateGuard
from image_updater.domain.files.doubts import find_near_misses
from image_updater.domain.files.markers import SCREEN, is_considered, mend
from image_updater.domain.files.plan import plan_commit, resolve_setters
from image_updater.domain.files.sightings import Sighting
from image_updater.domain.files.targets import DeclaredTarget
from image_updater.domain.lint import Finding, Given, lint
from sealoop.images.editing import find_files

R = TypeVar("R", bound=Resource)
ANY_IMAGE = ImageRef(name="registry.invalid/image", tag="0", digest="sha256:" + "0" * 64)


def collect_given(manifests: Iterable[Manifest], *, complete: bool) -> tuple[Given, tuple[Finding, ...]]:
    """Return the objects of our kinds among `manifests`, and findings for those that an API server would refuse."""
    kinds = {(kind.KIND.group, kind.KIND.kind): kind for kind in KINDS}
    objects: list[Resource] = []
    refused: list[Finding] = []
    for manifest in manifests:
        group = str(manifest.get("apiVersion", "")).partition("/")[0]
        kind = kinds.get((group, str(manifest.get("kind"))))
        if kind is None:
            continue
        placed = {**manifest, "metadata": {"namespace": "default", **manifest["metadata"]}}
        schema = make_object_schema(kind)
        filled = default(schema, placed)
        about = f"{kind.KIND.kind} {placed['metadata']['namespace']}/{placed['metadata']['name']}"
        if faults := validate(schema, filled):
            refused.append(Finding(about, "error", "; ".join(f"{fault.field}: {fault.message}" for fault in faults)))
            continue
        try:
            objects.append(read_manifest(kind, filled))
        except (msgspec.ValidationError, TypeError) as error:
            refused.append(Finding(about, "error", str(error)))
    return _make_given(objects, complete), tuple(refused)


async def read_given(cluster: Cluster, namespace: str) -> Given:
    """Read the objects that the cluster has; "" for all namespaces."""
    objects: list[Resource] = []
    for kind in (ImageRepository, ImagePolicy, UpdateGuard):
        objects += await list_objects(cluster, kind, namespace)
    return _make_given(objects, complete=not namespace)


def _make_given(objects: Sequence[Resource], complete: bool) -> Given:
    return Given(
        repositories=_select(ImageRepository, objects),
        policies=_select(ImagePolicy, objects),
        guards=_select(UpdateGuard, objects),
        complete=complete,
    )


def _select(kind: type[R], objects: Iterable[Resource]) -> tuple[R, ...]:
    return tuple(each for each in objects if isinstance(each, kind))


def add_places(folders: Sequence[Path], given: Given) -> Given:
    """Add to `given` the marked places of the folders' files, and those that the guards' targets lead to.

    Files are named by their path below their folder; where several folders are given, with the folder in front.

    Raises:
        ClickException: a file cannot be read.
    """
    targets = [
        DeclaredTarget(guard.metadata.namespace, target)
        for guard in given.guards
        if not guard.spec.suspend
        for target in guard.spec.targets
    ]
    values = {setter: value for policy in given.policies for setter, value in _list_values(policy).items()}
    places: list[Sighting] = []
    texts: dict[str, str] = {}
    missing: list[set[Sighting]] = []
    for folder in folders:
        try:
            files = find_files(folder, targets, screen=may_be_marked)
        except OSError as error:
            raise click.ClickException(f"{error.filename or folder}: {error.strerror or error}") from None
        seen = plan_commit(files, values, targets=targets).sightings
        # policies that are not given may exist: their places are looked at with any image
        if not given.complete:
            elsewhere = {base: "" for place in seen for base in _list_bases(place.setter) if base not in values}
            seen = plan_commit(files, values | _list_possible(elsewhere), targets=targets).sightings
        front = f"{folder}/" if len(folders) > 1 else ""
        names = {mend(name) for name in files}
        nowhere = {place for place in seen if place.line == 0 and place.file not in names}
        missing.append(nowhere)
        places += (place._replace(file=front + place.file) for place in seen if place not in nowhere)
        texts |= {
            front + mend(name): content.decode(errors="replace")
            for name, content in files.items()
            if is_considered(name)
        }
    everywhere = set.intersection(*missing) if missing else set()  # what is in one folder need not be in the others
    return replace(given, sightings=(*places, *everywhere), texts=texts)


def may_be_marked(name: str, content: bytes) -> bool:
    """Tell whether a file holds a marker, or what may have been meant as one."""
    if SCREEN.encode() in content:
        return True
    return is_considered(name) and any(find_near_misses(_decode(content)))


def _decode(content: bytes) -> str:
    return content.decode(errors="replace")


def _list_values(policy: ImagePolicy) -> dict[str, str]:
    """Return the values of its setters: what it chose, or what it might."""
    digest = "" if policy.spec.digest_reflection_policy == "Never" else ANY_IMAGE.digest
    image = policy.status.latest_ref or msgspec.structs.replace(ANY_IMAGE, digest=digest)
    return resolve_setters(policy.metadata.namespace, {policy.metadata.name: image})


def _list_possible(bases: Iterable[str]) -> dict[str, str]:
    """Return values that the setters of policies that are not given might set."""
    values: dict[str, str] = {}
    for base in bases:
        namespace, _, name = base.partition(":")
        values |= resolve_setters(namespace, {name: ANY_IMAGE})
    return values


def _list_bases(setter: str) -> Iterable[str]:
    """Yield the policies `namespace:name` that a place's setter names."""
    split = (each.split(":") for each in setter.split(", "))
    return [f"{parts[0]}:{parts[1]}" for parts in split if len(parts) > 1 and all(parts[:2])]


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
