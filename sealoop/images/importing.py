"""`sealoop images import --path CHECKOUT`: imported targets turned into markers, file by file, where that can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from gitops_core.decoding import convert
from gitops_core.meta import Manifest
from image_updater.api import Target, UpdateGuard
from image_updater.domain.files.markers import Unparsable
from image_updater.domain.files.marking import add_markers
from image_updater.domain.files.targets import DeclaredTarget
from sealoop.images.editing import find_files, replace_file


def mark(objects: Sequence[Manifest], checkout: Path) -> list[Manifest]:
    """Mark the targets' values in the checkout's files, print what was done; return the objects without these targets.

    Raises:
        ClickException: a file cannot be read or written.
    """
    try:
        return [_mark(each, checkout) if each["kind"] == UpdateGuard.KIND.kind else each for each in objects]
    except OSError as error:
        raise click.ClickException(f"{error.filename or checkout}: {error.strerror or error}") from None


def _mark(guard: Manifest, checkout: Path) -> Manifest:
    """Return the guard with the targets that are still needed."""
    namespace = str(guard["metadata"]["namespace"])
    by_file: dict[str, list[tuple[Mapping[str, Any], DeclaredTarget]]] = {}
    for plain in guard["spec"]["targets"]:
        target = DeclaredTarget(namespace, convert(plain, Target))
        by_file.setdefault(target.target.file, []).append((plain, target))
    kept: list[Mapping[str, Any]] = []
    for name, together in by_file.items():
        targets = [target for _, target in together]
        try:
            content = _read_content(checkout, name, targets)
            after = add_markers(name, content, targets)
        except Unparsable as error:
            click.echo(f"{name}: a target is kept: {error}", err=True)
            kept += [plain for plain, _ in together]
            continue
        replace_file(checkout / name, content, after)
        click.echo(f"{name}: marked", err=True)
    return {**guard, "spec": {**guard["spec"], "targets": kept}}


def _read_content(checkout: Path, name: str, targets: Sequence[DeclaredTarget]) -> bytes:
    """Read a file. Raises Unparsable: there is no such file."""
    content = find_files(checkout, targets).get(name)
    if content is None:
        raise Unparsable("there is no such file in the checkout")
    return content
