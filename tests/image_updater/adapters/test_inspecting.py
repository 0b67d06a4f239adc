"""Registries that lie, send too much or nonsense, and the referrers API, which the real registry here does not have."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from gitops_core.adapters.oci import OciRegistry
from gitops_core.adapters.oci.manifests import LONGEST_LABEL, MOST_LABELS
from gitops_core.errors import ImageUnknown, ImageUnreadable, RegistryDenied, RegistryUnavailable
from gitops_core.oci.cosign import SignedClaim
from gitops_core.oci.references import Repository
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.sharing.computing import Threads
from image_updater.adapters.inspecting import LARGEST_CONFIG, MOST_REMEMBERED, RegistryReader
from tests.stretches import LONGEST, Stretches

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"


@dataclass
class Shelf:
    """A registry that says whatever it is told to.

    Attributes:
        bodies: by the part of the path below the repository.
        types: media types that are not MANIFEST.
        claimed: digests that are claimed for a body, in the place of its own.
        statuses: of what fails.
        requests: method and path, in order.
    """

    repository: Repository = field(default_factory=lambda: Repository("", "shop/web"))
    bodies: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    claimed: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def blob(self, content: object) -> str:
        return self._put("blobs", content)

    def manifest(self, content: object, tag: str = "", media_type: str = MANIFEST) -> str:
        digest = self._put("manifests", content)
        for reference in filter(None, (digest, tag)):
            self.bodies[f"manifests/{reference}"] = self.bodies[f"manifests/{digest}"]
            self.types[f"manifests/{reference}"] = media_type
        return digest

    def image(self, config: object, tag: str = "1.0.0", **more: object) -> str:
        described = {"mediaType": CONFIG, "digest": self.blob(config), "size": 1}
        body = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": described, "layers": [], **more}
        return self.manifest(body, tag, DOCKER_MANIFEST)

    def _put(self, kind: str, content: object) -> str:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.bodies[f"{kind}/{digest}"] = body
        return digest

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/v2/shop/web/")
        self.requests.append(f"{request.method} {path}")
        if path in self.statuses:
            return web.Response(status=self.statuses[path])
        body = self.bodies.get(path)
        if body is None:
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no"}]}, status=404)
        headers = {"Content-Type": self.types.get(path, INDEX if path.startswith("referrers/") else MANIFEST)}
        if "manifests/" in path:
            headers["Docker-Content-Digest"] = self.claimed.get(path, f"sha256:{hashlib.sha256(body).hexdigest()}")
        return web.Response(body=body, headers=headers)


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    shelf = Shelf()
    application = web.Application()
    application.router.add_route("*", "/v2/{rest:.*}", shelf.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    shelf.repository = Repository(f"127.0.0.1:{runner.addresses[0][1]}", "shop/web", insecure=True)
    try:
        yield shelf
    finally:
        await runner.cleanup()


@pytest.fixture
async def reader() -> AsyncIterator[RegistryReader]:
    async with OciRegistry() as registry:
        reader = RegistryReader(registry)
        yield reader
        await reader.close()


async def test_dockers_own_types_are_read(shelf: Shelf, reader: RegistryReader) -> None:
    config = {"os": "linux", "architecture": "amd64", "created": "2026-01-02T03:04:05.123456789Z", "config": None}
    digest = shelf.image(config, tag="")
    entry = {"mediaType": DOCKER_MANIFEST, "digest": digest, "size": 1}
    entries = [{**entry, "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}}, entry]
    shelf.manifest({"schemaVersion": 2, "manifests": entries}, "1.0.0", DOCKER_INDEX)

    image = await reader.read_image(shelf.repository, "1.0.0")

    assert image.platforms == ("linux/arm/v7",)
    assert image.created == datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)
    assert image.labels == {}


async def test_annotations_win_over_labels(shelf: Shelf, reader: RegistryReader) -> None:
    labels = {"by": "config", "only": "config", "of": "config"}
    inner = shelf.image({"config": {"Labels": labels}}, tag="", annotations={"by": "manifest", "of": "manifest"})
    entry = {"digest": inner, "platform": {"os": "linux", "architecture": "amd64"}}
    shelf.manifest({"schemaVersion": 2, "manifests": [entry], "annotations": {"of": "index"}}, "1.0.0", INDEX)

    image = await reader.read_image(shelf.repository, "1.0.0")

    assert image.labels == {"by": "manifest", "only": "config", "of": "index"}


async def test_an_index_whose_only_entry_has_no_platform_has_its_configs(shelf: Shelf, reader: RegistryReader) -> None:
    inner = shelf.image({"os": "linux", "architecture": "riscv64"}, tag="")
    shelf.manifest({"schemaVersion": 2, "manifests": [{"digest": inner}]}, "1.0.0", INDEX)

    assert (await reader.read_image(shelf.repository, "1.0.0")).platforms == ("linux/riscv64",)


async def test_labels_are_bounded_and_the_standard_ones_stay(shelf: Shelf, reader: RegistryReader) -> None:
    labels = {f"label{number}": "x" for number in range(1000)}
    labels |= {"org.opencontainers.image.source": "https://git.example.com", "long": "x" * 5000}
    shelf.image({"config": {"Labels": labels}})

    image = await reader.read_image(shelf.repository, "1.0.0")

    assert len(image.labels) == 64
    assert image.labels["org.opencontainers.image.source"] == "https://git.example.com"
    assert "long" not in image.labels


async def test_an_artifact_that_is_not_an_image_has_no_platform(shelf: Shelf, reader: RegistryReader) -> None:
    chart = {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": shelf.blob({}), "size": 1}
    shelf.manifest({"schemaVersion": 2, "config": chart, "layers": [], "annotations": {"a": "b"}}, "1.0.0")

    image = await reader.read_image(shelf.repository, "1.0.0")

    assert (image.platforms, image.labels, image.created) == ((), {"a": "b"}, None)


async def test_an_image_is_read_once(shelf: Shelf, reader: RegistryReader) -> None:
    digest = shelf.image({"os": "linux", "architecture": "amd64"})

    for reference in ("1.0.0", "1.0.0", digest, "1.0.0"):
        await reader.read_image(shelf.repository, reference)

    assert [request.partition(" ")[0] for request in shelf.requests] == ["HEAD", "GET", "GET", "HEAD", "HEAD"]


async def test_images_are_remembered_by_their_size(shelf: Shelf, reader: RegistryReader) -> None:
    one = MOST_LABELS * 2 * LONGEST_LABEL  # what the labels of one take
    digests = [
        shelf.image({"os": "linux", "architecture": "amd64", "config": {"Labels": _long_labels(image)}})
        for image in range(MOST_REMEMBERED // one + 5)
    ]
    for digest in digests:
        await reader.read_image(shelf.repository, digest)
    shelf.requests.clear()

    await reader.read_image(shelf.repository, digests[-1])
    assert shelf.requests == []

    await reader.read_image(shelf.repository, digests[0])
    assert len(shelf.requests) == 2


async def test_another_body_than_asked_for_is_not_believed(shelf: Shelf, reader: RegistryReader) -> None:
    digest = shelf.image({"os": "linux", "architecture": "amd64"})
    other = shelf.image({"os": "linux", "architecture": "arm64"}, tag="")
    path = f"manifests/{digest}"
    shelf.bodies[path], shelf.claimed[path] = shelf.bodies[f"manifests/{other}"], digest
    shelf.claimed["manifests/1.0.0"] = digest

    for reference in ("1.0.0", digest):
        with pytest.raises(RegistryUnavailable, match=f"sent something else for .*{digest}: {other}"):
            await reader.read_image(shelf.repository, reference)


async def test_another_digest_than_asked_for_is_not_believed(shelf: Shelf, reader: RegistryReader) -> None:
    digest = shelf.image({"os": "linux", "architecture": "amd64"})
    shelf.claimed[f"manifests/{digest}"] = f"sha256:{'0' * 64}"

    with pytest.raises(RegistryUnavailable, match=f"answers 'sha256:0+' when asked for .*{digest}"):
        await reader.read_image(shelf.repository, digest)


async def test_another_config_than_named_is_not_believed(shelf: Shelf, reader: RegistryReader) -> None:
    shelf.image({"os": "linux", "architecture": "amd64"})
    ((path, _),) = ((path, body) for path, body in shelf.bodies.items() if path.startswith("blobs/"))
    shelf.bodies[path] = b"{}"

    with pytest.raises(RegistryUnavailable, match="sent something else"):
        await reader.read_image(shelf.repository, "1.0.0")


@pytest.mark.parametrize("digest", ["", "latest", "sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e"])
async def test_a_digest_that_is_none_is_not_used(shelf: Shelf, reader: RegistryReader, digest: str) -> None:
    made = shelf.image({})
    shelf.claimed["manifests/1.0.0"] = digest

    image = await reader.read_image(shelf.repository, "1.0.0")

    assert image.digest == made  # of the body itself


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ({"schemaVersion": 1, "name": "x", "fsLayers": []}, "obsolete format schema 1; push it again"),
        ({}, "is neither an image manifest nor an index"),
        ([], "is not what the image specification says"),
        (b"<html>", "is not what the image specification says"),
        (b'{"mediaType": "\xff"}', "is not what the image specification says"),
        (b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "is not what the image specification says"),
        ({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{"digest": "../secret"}]}, "is not named by a digest"),
        (
            {"schemaVersion": 2, "layers": [], "config": {"digest": "sha256:x?y", "mediaType": CONFIG}},
            "is not named by a digest",
        ),
    ],
)
async def test_an_image_that_cannot_be_read_is_remembered(
    shelf: Shelf, reader: RegistryReader, body: object, cause: str
) -> None:
    digest = shelf.manifest(body, "1.0.0")

    for _ in range(3):
        with pytest.raises(ImageUnreadable, match=cause):
            await reader.read_image(shelf.repository, digest)
    assert len(shelf.requests) == 1


async def test_a_config_that_is_too_large_is_refused(shelf: Shelf, reader: RegistryReader) -> None:
    shelf.image(b'{"config": null, "x": "' + b"x" * LARGEST_CONFIG + b'"}')

    with pytest.raises(RegistryUnavailable, match="longer than"):
        await reader.read_image(shelf.repository, "1.0.0")


async def test_a_config_that_is_gone_makes_the_image_unknown(shelf: Shelf, reader: RegistryReader) -> None:
    shelf.image({})
    for path in [path for path in shelf.bodies if path.startswith("blobs/")]:
        del shelf.bodies[path]

    with pytest.raises(ImageUnknown):
        await reader.read_image(shelf.repository, "1.0.0")


# signatures


def bundle(shelf: Shelf, statement: bytes, **more: object) -> dict[str, Any]:
    envelope = {
        "payload": base64.b64encode(statement).decode(),
        "payloadType": "application/vnd.in-toto+json",
        "signatures": [{"sig": "YWJj"}],
    }
    content = json.dumps({"dsseEnvelope": envelope}).encode()
    layer = {"mediaType": BUNDLE, "digest": shelf.blob(content), "size": len(content)}
    return {"mediaType": MANIFEST, "digest": shelf.manifest({"schemaVersion": 2, "layers": [layer]}), **more}


def simple(shelf: Shelf, payload: bytes) -> dict[str, Any]:
    notes = {"dev.cosignproject.cosign/signature": "ZGVm"}
    return {"mediaType": SIMPLE_SIGNING, "digest": shelf.blob(payload), "size": 1, "annotations": notes}


def refer(shelf: Shelf, digest: str, entries: list[dict[str, Any]]) -> None:
    shelf.bodies[f"referrers/{digest}"] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


async def test_signatures_are_found_among_the_referrers(shelf: Shelf, reader: RegistryReader) -> None:
    digest = shelf.image({})
    artifact = "application/vnd.dev.cosign.artifact.sig.v1+json"
    signature = shelf.manifest({"schemaVersion": 2, "layers": [simple(shelf, b"simple")]})
    entries = [
        {"digest": signature, "artifactType": artifact},
        bundle(shelf, b"one", artifactType=BUNDLE),
        bundle(shelf, b"two", artifactType="application/vnd.oci.empty.v1+json"),  # as ghcr.io lists them
        bundle(shelf, b"sbom", artifactType="application/spdx+json"),
        bundle(
            shelf,
            b"provenance",
            artifactType=BUNDLE,
            annotations={"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"},
        ),
        {"digest": f"sha256:{'0' * 64}", "artifactType": BUNDLE},
        {"digest": "nonsense", "artifactType": BUNDLE},
    ]
    refer(shelf, digest, entries)

    claims = await reader.list_claims(shelf.repository, digest)

    assert claims == (
        SignedClaim(b"simple", b"def"),
        SignedClaim(b"DSSEv1 28 application/vnd.in-toto+json 3 one", b"abc"),
        SignedClaim(b"DSSEv1 28 application/vnd.in-toto+json 3 two", b"abc"),
    )


@pytest.mark.parametrize("status", [400, 404, 405, 406, 501])
async def test_a_registry_without_referrers_has_a_tag_of_them(
    shelf: Shelf, reader: RegistryReader, status: int
) -> None:
    digest = shelf.image({})
    shelf.statuses[f"referrers/{digest}"] = status
    entries = [bundle(shelf, b"one", artifactType=BUNDLE)]
    shelf.manifest({"schemaVersion": 2, "manifests": entries}, digest.replace(":", "-"), INDEX)

    assert len(await reader.list_claims(shelf.repository, digest)) == 1


@pytest.mark.parametrize("place", ["referrers/{}", "manifests/{}.sig"])
async def test_a_registry_in_trouble_is_not_one_without_signatures(
    shelf: Shelf, reader: RegistryReader, place: str
) -> None:
    digest = shelf.image({})
    path = place.format(digest if place.startswith("referrers") else digest.replace(":", "-"))
    shelf.statuses[path] = 503

    with pytest.raises(RegistryUnavailable, match="503"):
        await reader.list_claims(shelf.repository, digest)

    del shelf.statuses[path]
    assert await reader.list_claims(shelf.repository, digest) == ()


async def test_signatures_are_bounded(shelf: Shelf, reader: RegistryReader) -> None:
    digest = shelf.image({})
    shelf.manifest(
        {"schemaVersion": 2, "layers": [simple(shelf, b"%d" % n) for n in range(200)]},
        f"{digest.replace(':', '-')}.sig",
    )
    refer(shelf, digest, [bundle(shelf, b"%d" % n, artifactType=BUNDLE) for n in range(100)])

    claims = await reader.list_claims(shelf.repository, digest)

    assert len(claims) == 30 + 20
    assert claims[29].payload == b"199"
    assert claims[-1].payload.endswith(b" 99")
    assert len(shelf.requests) == 1 + 30 + 1 + 2 * 20


async def test_a_layer_too_large_for_a_signature_is_passed_over(shelf: Shelf, reader: RegistryReader) -> None:
    digest = shelf.image({})
    packages = bundle(shelf, b"x" * 100_000, artifactType=BUNDLE)
    refer(shelf, digest, [packages, bundle(shelf, b"one", artifactType=BUNDLE)])

    assert [claim.payload[-3:] for claim in await reader.list_claims(shelf.repository, digest)] == [b"one"]


async def test_signatures_are_found_by_tag_where_referrers_must_not_be_listed(
    shelf: Shelf, reader: RegistryReader
) -> None:
    signed, unsigned = shelf.image({}), shelf.image({"os": "linux"}, tag="1.1.0")
    shelf.manifest({"schemaVersion": 2, "layers": [simple(shelf, b"simple")]}, f"{signed.replace(':', '-')}.sig")
    for digest in (signed, unsigned):
        shelf.statuses[f"referrers/{digest}"] = 403

    assert await reader.list_claims(shelf.repository, signed) == (SignedClaim(b"simple", b"def"),)
    with pytest.raises(RegistryDenied):
        await reader.list_claims(shelf.repository, unsigned)


async def test_signatures_are_asked_for_once_in_a_while(shelf: Shelf, reader: RegistryReader) -> None:
    digest = shelf.image({})

    assert [await reader.list_claims(shelf.repository, digest) for _ in range(3)] == [(), (), ()]
    assert len(shelf.requests) == 3


async def test_a_payload_that_is_not_what_it_is_named_is_not_believed(shelf: Shelf, reader: RegistryReader) -> None:
    digest = shelf.image({})
    layer = simple(shelf, b"payload")
    shelf.manifest({"schemaVersion": 2, "layers": [layer]}, f"{digest.replace(':', '-')}.sig")
    shelf.bodies[f"blobs/{layer['digest']}"] = b"another"

    with pytest.raises(RegistryUnavailable, match="sent something else"):
        await reader.list_claims(shelf.repository, digest)


def _long_labels(image: int) -> dict[str, str]:
    return {f"{image}-{number}-".ljust(LONGEST_LABEL, "x"): "y" * LONGEST_LABEL for number in range(MOST_LABELS)}


async def test_a_long_manifest_is_not_read_in_the_loop(shelf: Shelf) -> None:
    annotations = {f"{n}": "" for n in range(250_000)}
    digest = shelf.manifest({"schemaVersion": 2, "manifests": [], "annotations": annotations}, media_type=INDEX)
    stretches = Stretches()

    with closing(Threads(Metrics(CollectorRegistry()))) as compute:
        async with OciRegistry(compute=compute) as registry:
            reader = RegistryReader(registry)
            with stretches.measured():
                image = await reader.read_image(shelf.repository, digest)
            await reader.close()

    assert len(image.labels) == MOST_LABELS
    assert stretches.longest < LONGEST, stretches.where


async def test_of_an_endless_index_the_first_images_are_read(shelf: Shelf, reader: RegistryReader) -> None:
    first = {"digest": shelf.image({"os": "linux", "architecture": "arm64"}), "mediaType": DOCKER_MANIFEST}
    rest = {"digest": f"sha256:{'0' * 64}", "platform": {"os": "linux", "architecture": "s390x"}}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [first, *[rest] * 5000]}

    image = await reader.read_image(shelf.repository, shelf.manifest(index, media_type=INDEX))

    assert image.platforms == ("linux/arm64", "linux/s390x")
