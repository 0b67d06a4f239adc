"""`sealoop pull artifact`: the files of an artifact's first layer, into a folder; read as strictly as a source's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click

from gitops_core.adapters.oci import OciRegistry, RegistryArtifacts
from gitops_core.domain.sources.archives import Unpacking
from gitops_core.errors import ImageUnreadable
from gitops_core.oci.references import Image
from gitops_core.ports import OciArtifact
from gitops_core.runtime.policy import DEFAULT_POLICY
from sealoop.artifacts.pushing import REVISION, SOURCE
from sealoop.artifacts.reaching import Provider, Reaching, make_access, parse_url, reaching_options
from sealoop.objects.commands import run
from sealoop.terminals import make_visible

SECONDS = 600.0


@click.command(
    epilog="""\b
Example:
  sealoop pull artifact oci://ghcr.io/org/app:v1 --output ./app"""
)
@click.argument("url")
@click.option("-o", "--output", "folder", required=True, metavar="FOLDER", help="The folder to write to.")
@reaching_options
def artifact(url: str, folder: str, creds: str, provider: Provider, insecure_registry: bool) -> None:
    """Pull an artifact's files into a folder, which need not be there."""
    run(_pull(parse_url(url), Path(folder), Reaching(creds, provider, insecure_registry)))


async def _pull(image: Image, folder: Path, reaching: Reaching) -> int:
    access, unpacking = await make_access(image, reaching), Unpacking()

    async def take(part: bytes) -> None:
        unpacking.feed(part)

    async with OciRegistry(environment=os.environ) as registry:
        artifacts = RegistryArtifacts(registry)
        is_tag = ":" not in image.reference
        repository, digest = image.repository, image.reference
        if is_tag:
            digest = await artifacts.resolve_digest(repository, image.reference, access)
        found = await artifacts.read_artifact(repository, digest, access)
        if not found.layers:
            raise ImageUnreadable(f"no layers found in artifact {repository}@{digest}")
        limit = DEFAULT_POLICY.artifact_size
        await artifacts.stream_layer(repository, found.layers[0], take, access, limit=limit, seconds=SECONDS)
        await artifacts.close()
    write_files(folder, unpacking.finish())
    _tell(found, digest, folder)
    return 0


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files below `folder`; never through a link that is there. Raises ClickException."""
    try:
        root = folder.resolve()
        for path, content in files.items():
            place = root / os.fsdecode(path.encode("utf-8", "surrogateescape"))
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_symlink() or place.parent.resolve() != place.parent:
                raise click.ClickException(f"{place} is, or is behind, a symbolic link: remove it first")
            place.write_bytes(content)
    except OSError as error:
        raise click.ClickException(f"{error.filename} cannot be written: {error.strerror}") from None


def _tell(found: OciArtifact, digest: str, folder: Path) -> None:
    for name, key in (("source", SOURCE), ("revision", REVISION)):
        if text := found.annotations.get(key):
            click.echo(f"{name} {make_visible(text)}")
    click.echo(f"digest {digest}")
    click.echo(f"artifact content extracted to {folder}")
