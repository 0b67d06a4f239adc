"""`sealoop push artifact`: a folder becomes an artifact of one layer, as `flux push artifact` makes it.

    config   application/vnd.cncf.flux.config.v1+json
    layer    application/vnd.cncf.flux.content.v1.tar+gzip
    annotations  org.opencontainers.image.created, .source, .revision

Source: github.com/fluxcd/pkg, oci/push.go; github.com/fluxcd/flux2, cmd/flux/push_artifact.go.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import yaml

from gitops_core.adapters.oci import OciRegistry
from gitops_core.meta import write_timestamp
from gitops_core.oci.references import Image
from sealoop.artifacts.packing import LEFT_OUT, File, Packed, pack, read_files
from sealoop.artifacts.reaching import Provider, Reaching, make_access, parse_url, reaching_options
from sealoop.objects.commands import run

CONFIG = "application/vnd.cncf.flux.config.v1+json"
CONTENT = "application/vnd.cncf.flux.content.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SOURCE, REVISION, CREATED = (f"org.opencontainers.image.{name}" for name in ("source", "revision", "created"))
EPOCH = "1970-01-01T00:00:00Z"
STDIN = "manifests.yaml"
"""What the file is called that comes from standard input."""


@click.command(
    epilog="""\b
Examples:
  sealoop push artifact oci://ghcr.io/org/app:$(git rev-parse --short HEAD) --path ./deploy \\
    --source "$(git config --get remote.origin.url)" --revision "main@sha1:$(git rev-parse HEAD)"
  kustomize build . | sealoop push artifact oci://ghcr.io/org/app:v1 -f - --source ... --revision v1"""
)
@click.argument("url")
@click.option("-f", "--path", "path", required=True, metavar="PATH", help="A folder, a file, or - for standard input.")
@click.option("--source", required=True, metavar="URL", help="Where the files come from: the Git remote.")
@click.option("--revision", required=True, metavar="REVISION", help="Which: main@sha1:<commit>.")
@click.option("-a", "--annotations", multiple=True, metavar="KEY=VALUE", help="Say more of it; again for each.")
@click.option(
    "--ignore-paths",
    multiple=True,
    metavar="PATTERN",
    help="Leave these out. Default: pictures and archives.",
)
@click.option("--reproducible", is_flag=True, help="Say no time, so that the same files are the same artifact.")
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="Say what was pushed to a machine.")
@reaching_options
def artifact(
    url: str,
    path: str,
    source: str,
    revision: str,
    annotations: Sequence[str],
    ignore_paths: Sequence[str],
    reproducible: bool,
    output: str | None,
    creds: str,
    provider: Provider,
    insecure_registry: bool,
) -> None:
    """Push a folder or a file to a registry, for an OCIRepository."""
    image = parse_url(url)
    if ":" in image.reference:
        raise click.ClickException("an artifact is pushed under a tag: write oci://HOST/PATH:TAG")
    created = EPOCH if reproducible else write_timestamp(datetime.now(UTC))
    said = {CREATED: created, SOURCE: source, REVISION: revision} | _read_annotations(annotations)
    patterns = [part for given in ignore_paths for part in given.split(",")] or LEFT_OUT
    packed = pack(_read(path, patterns))
    run(_push(image, packed, said, Reaching(creds, provider, insecure_registry), output))


def make_manifest(packed: Packed, annotations: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Make the manifest of an artifact of one layer, and its configuration."""
    config = _encode(
        {
            "architecture": "",
            "config": {},
            "created": "0001-01-01T00:00:00Z",
            "history": [{"created": "0001-01-01T00:00:00Z"}],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [_name(packed.tar)]},
        }
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "size": len(config), "digest": _name(config)},
        "layers": [{"mediaType": CONTENT, "size": len(packed.layer), "digest": _name(packed.layer)}],
        "annotations": dict(annotations),
    }
    return _encode(manifest), config


async def _push(
    image: Image, packed: Packed, annotations: Mapping[str, str], reaching: Reaching, output: str | None
) -> int:
    access = await make_access(image, reaching)
    manifest, config = make_manifest(packed, annotations)
    async with OciRegistry(environment=os.environ) as registry:
        for content in (packed.layer, config):
            await registry.push_blob(image.repository, content, access)
        await registry.push_manifest(image.repository, image.reference, MANIFEST, manifest, access)
    _tell(image, _name(manifest), output)
    return 0


def _tell(image: Image, digest: str, output: str | None) -> None:
    where = f"{image.repository}@{digest}"
    told = {"url": f"oci://{where}", "repository": str(image.repository), "tag": image.reference, "digest": digest}
    match output:
        case "json":
            click.echo(json.dumps(told, indent=2))
        case "yaml":
            click.echo(yaml.safe_dump(told, sort_keys=True), nl=False)
        case _:
            click.echo(f"artifact successfully pushed to {where}")


def _read(path: str, patterns: Iterable[str]) -> Mapping[str, File]:
    if path == "-":
        return {STDIN: File(sys.stdin.buffer.read())}
    return read_files(Path(path), patterns)


def _read_annotations(given: Iterable[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    if wrong := [key for key, equals, _ in pairs if not equals or not key]:
        raise click.ClickException(f"invalid annotation {wrong[0]!r}, must be in the format key=value")
    return {key: value for key, _, value in pairs}


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _name(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
