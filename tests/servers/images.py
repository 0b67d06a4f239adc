"""Images with platforms, labels and signatures, pushed by the registry API as build tools push them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import requests

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"

Descriptor = dict[str, Any]


class Pusher:
    """Pushes to one repository of an open registry."""

    def __init__(self, host: str, repository: str) -> None:
        self._find_url = f"http://{host}/v2/{repository}"
        self.session = requests.Session()
        self.session.trust_env = False

    def __enter__(self) -> Pusher:
        return self

    def __exit__(self, *exception: object) -> None:
        self.session.close()

    def blob(self, content: bytes, media_type: str, **more: object) -> Descriptor:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        upload = self.session.post(f"{self._find_url}/blobs/uploads/", timeout=10)
        upload.raise_for_status()
        location = upload.headers["Location"]
        if location.startswith("/"):
            location = f"{self._find_url.partition('/v2/')[0]}{location}"
        url = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        self.session.put(url, data=content, timeout=10).raise_for_status()
        return {"mediaType": media_type, "digest": digest, "size": len(content), **more}

    def manifest(self, reference: str, body: Mapping[str, Any], **more: object) -> Descriptor:
        """Push it under a tag, or under its digest when `reference` is ""."""
        content = json.dumps(body).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        url = f"{self._find_url}/manifests/{reference or digest}"
        put = self.session.put(url, data=content, headers={"Content-Type": body["mediaType"]}, timeout=10)
        put.raise_for_status()
        return {"mediaType": body["mediaType"], "digest": digest, "size": len(content), **more}

    def image(
        self, reference: str, platform: str = "linux/amd64", labels: Mapping[str, str] | None = None, **more: object
    ) -> Descriptor:
        """Push an image of one platform, without layers. `more` is beside its media type and layers."""
        described = {**_platform(platform), "config": {"Labels": dict(labels or {})}, "created": "2026-03-04T05:06:07Z"}
        config = self.blob(json.dumps(described).encode(), CONFIG)
        return self.manifest(
            reference, {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [], **more}
        )

    def index(self, tag: str, entries: Iterable[Descriptor], **more: object) -> Descriptor:
        return self.manifest(tag, {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries), **more})

    def images(self, tag: str, platforms: Mapping[str, Mapping[str, str]]) -> str:
        """Push what `docker buildx` makes: an index of platforms with their labels, and an attestation beside each."""
        entries = []
        for platform, labels in platforms.items():
            image = self.image("", platform, labels)
            entries.append({**image, "platform": _platform(platform)})
        for image in tuple(entries):
            notes = {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": image["digest"],
            }
            attestation = self.image("", "unknown/unknown")
            entries.append({**attestation, "platform": _platform("unknown/unknown"), "annotations": notes})
        return str(self.index(tag, entries)["digest"])

    def sign_by_tag(self, digest: str, signatures: Iterable[tuple[bytes, bytes]]) -> None:
        """Push what `cosign sign` of version 2 does with all signatures of an image: (payload, signature)."""
        layers = [
            self.blob(
                payload,
                SIMPLE_SIGNING,
                annotations={"dev.cosignproject.cosign/signature": base64.b64encode(signature).decode()},
            )
            for payload, signature in signatures
        ]
        config = self.blob(b"{}", CONFIG)
        body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        self.manifest(f"{digest.replace(':', '-')}.sig", body)

    def bundle(self, digest: str, statement: bytes, signature: bytes, predicate: str = SIGN_PREDICATE) -> Descriptor:
        """Push what `cosign sign` of version 3 does; a registry without referrers needs `refer`, too."""
        envelope = {
            "payload": base64.b64encode(statement).decode(),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": base64.b64encode(signature).decode()}],
        }
        layer = self.blob(json.dumps({"mediaType": BUNDLE, "dsseEnvelope": envelope}).encode(), BUNDLE)
        notes = {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": predicate}
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": BUNDLE,
            "config": self.blob(b"{}", EMPTY),
            "layers": [layer],
            "subject": {"mediaType": MANIFEST, "digest": digest, "size": 1},
            "annotations": notes,
        }
        return {**self.manifest("", manifest), "artifactType": BUNDLE, "annotations": notes}

    def refer(self, digest: str, referrers: Iterable[Descriptor]) -> None:
        """Say what refers to `digest` by the tag that stands in for the referrers API."""
        self.index(digest.replace(":", "-"), referrers)


def _platform(text: str) -> dict[str, str]:
    os, architecture, *variant = text.split("/")
    return {"os": os, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
