"""Manifests from where a person says: files, folders and standard input.

A folder stands for the manifests in it, with --recursive also for those below it, in path order: as with kubectl.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from gitops_core.domain.render.manifests import read_manifests
from gitops_core.errors import GitOpsError
from gitops_core.meta import Kind, Manifest
from sealoop.objects.kinds import CRD, NAMESPACE
from sealoop.objects.streams import decode
from sealoop.terminals import make_visible

ENDINGS = (".yaml", ".yml", ".json")
_KUSTOMIZE = "kustomize.config.k8s.io"
_FIRST = {NAMESPACE[::2]: 0, CRD[::2]: 1}


def collect_manifests(places: Sequence[str], *, recursive: bool = False) -> list[Manifest]:
    """Read the objects in `places`, in order.

    Raises:
        ClickException: a place cannot be read, or what is there are no manifests, or none at all.
    """
    files: dict[str, bytes] = {}
    for place in places:
        try:
            files.update(_read(place, recursive))
        except OSError as error:
            raise click.ClickException(f"{error.filename or place} cannot be read: {error.strerror}") from None
    try:
        found = list(read_manifests(files, decode))
    except GitOpsError as error:
        raise click.ClickException(make_visible(str(error))) from None
    if places and not found:
        raise click.ClickException(f"no objects in {', '.join(files)}")
    for manifest in found:
        if Kind.of_manifest(manifest).group == _KUSTOMIZE:
            raise click.ClickException(
                f"{manifest['metadata']['name']} is a build, not an object: kustomize build DIR | sealoop apply -f -"
            )
    return found


def _read(place: str, recursive: bool) -> Iterator[tuple[str, bytes]]:
    path = Path(place)
    if place == "-":
        yield "standard input", sys.stdin.buffer.read()
    elif path.is_dir():
        inside = path.rglob("*") if recursive else path.iterdir()
        chosen = sorted(p for p in inside if p.suffix in ENDINGS and p.is_file())
        if not chosen:
            below = "" if recursive else ", and nothing below it is read without --recursive"
            raise click.ClickException(f"no manifests ({', '.join(ENDINGS)}) in folder {place}{below}")
        yield from ((str(p), p.read_bytes()) for p in chosen)
    elif place.startswith(("http://", "https://")):
        raise click.ClickException(f"-f takes files, not addresses: curl -fsS {place} | sealoop apply -f -")
    else:
        yield place, path.read_bytes()


def sort(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Sort what others need first: Namespaces, then CustomResourceDefinitions, then the rest as it was written."""
    return sorted(manifests, key=lambda m: _FIRST.get(Kind.of_manifest(m)[::2], 2))
