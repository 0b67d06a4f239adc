"""`sealoop crds`: the CustomResourceDefinitions of all kinds, from the classes that describe them.

A folder is brought up to date: a file of a kind that is gone is removed, and no file is touched that is not one of a
group of ours (`GROUP_PLURAL.yaml`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import click


@click.command(
    epilog="""\b
Examples:
  sealoop crds - | kubectl apply --server-side -f -
  sealoop crds deploy/crds --check"""
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, allow_dash=True), default="deploy/crds")
@click.option("--check", is_flag=True, help="Write nothing; fail when a file is not what would be written.")
def crds(folder: Path, check: bool) -> None:
    """Write the CustomResourceDefinitions into FOLDER (default: deploy/crds), or print them (FOLDER is -)."""
    from gitops_core.schema import write_crds as generated
    from sealoop.wiring import KINDS

    wanted = generated(KINDS)
    if str(folder) == "-":
        click.echo("".join(wanted.values()), nl=False)
        return
    with _explain(folder):
        present = list_present(folder, {kind.KIND.group for kind in KINDS})
        stale = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
        if not check:
            write(folder, wanted, stale)
            click.echo(f"{folder}: {len(wanted)} CRDs, {len(stale)} changed")
    if check and stale:
        raise click.ClickException(f"{folder}: {', '.join(stale)} out of date; run `sealoop crds {folder}`")


def list_present(folder: Path, groups: set[str]) -> dict[str, str]:
    """Return the files of CRDs of `groups`, by name; none when there is no folder."""
    files = (path for path in folder.glob("*.yaml") if path.name.partition("_")[0] in groups)
    return {path.name: path.read_text(encoding="utf-8") for path in files}


def write(folder: Path, wanted: Mapping[str, str], stale: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        if name in wanted:
            (folder / name).write_text(wanted[name], encoding="utf-8")
        else:
            (folder / name).unlink()


@contextlib.contextmanager
def _explain(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"{error.filename or folder}: {error.strerror}") from None
