"""`sealoop crds`: the CustomResourceDefinitions of all kinds, from the classes that describe them."""

from __future__ import annotations

from pathlib import Path

import click

from gitops_core.schema import crds as generated
from sealoop.wiring import KINDS


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("deploy/crds"))
@click.option("--check", is_flag=True, help="Write nothing; fail when a file is not what would be written.")
def crds(folder: Path, check: bool) -> None:
    """Write the CustomResourceDefinitions into FOLDER (default: deploy/crds)."""
    wanted = generated(KINDS)
    present = {path.name: path.read_text() for path in folder.glob("*.yaml")}
    stale = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if check:
        if stale:
            raise click.ClickException(f"{folder}: {', '.join(stale)} out of date; run `make generate`")
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        if name in wanted:
            (folder / name).write_text(wanted[name])
        else:
            (folder / name).unlink()
    click.echo(f"{folder}: {len(wanted)} CRDs, {len(stale)} changed")
