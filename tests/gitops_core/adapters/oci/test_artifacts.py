"""An artifact that is no image, pulled from a real registry through the kernel's door alone."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator

import pytest

from gitops_core.adapters.oci import OciRegistry
from gitops_core.errors import ImageUnknown, ImageUnreadable, RegistryDenied, RegistryUnavailable
from gitops_core.oci.credentials import OPEN, RegistryAccess, choose_credentials, parse_entries
from gitops_core.oci.references import parse_image
from tests.servers.registry import PASSWORD, USER, RealRegistry

CONFIG = "application/vnd.cncf.flux.config.v1+json"
CONTENT = "application/vnd.cncf.flux.content.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
FILE = b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: shop}\n"


@pytest.fixture
async def client() -> AsyncIterator[OciRegistry]:
    async with OciRegistry() as client:
        yield client


@pytest.fixture(params=["open_registry", "password_registry", "token_registry"])
def registry(request: pytest.FixtureRequest) -> RealRegistry:
    found: RealRegistry = request.getfixturevalue(request.param)
    return found


def layer() -> bytes:
    """A gzipped tar of one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("shop.yaml")
        entry.size = len(FILE)
        archive.addfile(entry, io.BytesIO(FILE))
    return gzip.compress(packed.getvalue(), mtime=0)


def push(registry: RealRegistry, path: str) -> str:
    """Push what `flux push artifact` makes, as tag 6.1.0; returns its digest."""
    with registry.pusher(path) as pusher:
        config, content = pusher.blob(b"{}", CONFIG), pusher.blob(layer(), CONTENT)
        body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [content]}
        return str(pusher.manifest("6.1.0", body)["digest"])


def access_to(registry: RealRegistry, image: str) -> RegistryAccess:
    """Whatever a docker configuration says of it, as a Secret holds one."""
    if not registry.guarded:
        return OPEN
    config = {"auths": {registry.host: {"username": USER, "password": PASSWORD}}}
    entries = parse_entries(json.dumps(config).encode())
    return RegistryAccess(choose_credentials([entries], parse_image(image).repository))


async def test_an_artifact_s_manifest_and_layer_are_pulled_by_tag(client: OciRegistry, registry: RealRegistry) -> None:
    pushed = push(registry, "artifacts/by-tag")
    wanted = parse_image(f"{registry.host}/artifacts/by-tag:6.1.0", insecure=True)
    access = access_to(registry, str(wanted))

    manifest = await client.fetch_manifest(wanted.repository, wanted.reference, access)
    content = await client.fetch_blob(
        wanted.repository, json.loads(manifest.body)["layers"][0]["digest"], access, limit=len(layer())
    )

    assert (manifest.digest, manifest.media_type) == (pushed, MANIFEST)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        file = archive.extractfile("shop.yaml")
        assert file is not None
        assert file.read() == FILE


async def test_an_artifact_is_pulled_by_the_digest_of_its_manifest(client: OciRegistry, registry: RealRegistry) -> None:
    pushed = push(registry, "artifacts/by-digest")
    wanted = parse_image(f"{registry.host}/artifacts/by-digest@{pushed}", insecure=True)

    manifest = await client.fetch_manifest(wanted.repository, wanted.reference, access_to(registry, str(wanted)))

    assert manifest.digest == pushed == f"sha256:{hashlib.sha256(manifest.body).hexdigest()}"


async def test_a_layer_of_more_bytes_than_the_limit_is_refused(
    client: OciRegistry, open_registry: RealRegistry
) -> None:
    push(open_registry, "artifacts/large")
    repository = parse_image(f"{open_registry.host}/artifacts/large", insecure=True).repository
    digest = f"sha256:{hashlib.sha256(layer()).hexdigest()}"

    with pytest.raises(RegistryUnavailable, match="longer than"):
        await client.fetch_blob(repository, digest, limit=len(layer()) - 1)


async def test_a_blob_that_is_not_there_is_unknown(client: OciRegistry, open_registry: RealRegistry) -> None:
    push(open_registry, "artifacts/missing")
    repository = parse_image(f"{open_registry.host}/artifacts/missing", insecure=True).repository

    with pytest.raises(ImageUnknown):
        await client.fetch_blob(repository, f"sha256:{'0' * 64}", limit=100)


@pytest.mark.parametrize("digest", ["sha256:0", "sha256:../../../secret/manifests/1.0", "latest", ""])
async def test_a_digest_that_is_none_is_not_asked_for(
    client: OciRegistry, open_registry: RealRegistry, digest: str
) -> None:
    repository = parse_image(f"{open_registry.host}/artifacts/odd", insecure=True).repository

    with pytest.raises(ImageUnreadable, match="is not named by a digest"):
        await client.fetch_blob(repository, digest, limit=100)


async def test_an_artifact_behind_a_password_is_denied_to_anybody(
    client: OciRegistry, password_registry: RealRegistry
) -> None:
    push(password_registry, "artifacts/closed")
    wanted = parse_image(f"{password_registry.host}/artifacts/closed:6.1.0", insecure=True)
    wrong = RegistryAccess(
        choose_credentials(
            [
                parse_entries(
                    json.dumps({"auths": {password_registry.host: {"username": USER, "password": "no"}}}).encode()
                )
            ],
            wanted.repository,
        )
    )

    for access in (OPEN, wrong):
        with pytest.raises(RegistryDenied):
            await client.fetch_manifest(wanted.repository, wanted.reference, access)


def test_the_door_opens_without_image_updater() -> None:
    program = (
        "import sys\nimport gitops_core.adapters.oci, gitops_core.oci.credentials, gitops_core.oci.references\n"
        "print([name for name in sys.modules if name.startswith('image_updater')])\n"
    )

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed == "[]\n"
