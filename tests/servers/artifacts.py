"""Pushes artifacts by the registry API, from a description: `{"layers": [{"mediaType": ..., "base64": ...}], ...}`.

A layer is `base64`, `text`, or `files` (packed as `flux push artifact` does); an `index` lists descriptions.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urljoin

import requests

CONFIG = "application/vnd.cncf.flux.config.v1+json"
CONTENT = "application/vnd.cncf.flux.content.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"

Description = Mapping[str, Any]


def pack(files: Mapping[str, str | bytes], links: Mapping[str, str] | None = None) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as archive:
        for path, content in files.items():
            encoded = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(path)
            entry.size = len(encoded)
            archive.addfile(entry, io.BytesIO(encoded))
        for path, target in (links or {}).items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return gzip.compress(body.getvalue(), mtime=0)


def describe(files: Mapping[str, str | bytes], **annotations: str) -> Description:
    """An artifact of one layer that holds `files`; `revision` and `source` are OCI's annotations of these names."""
    named = {f"org.opencontainers.image.{name}": text for name, text in annotations.items()}
    return {"layers": [layer(pack(files))], **({"annotations": named} if named else {})}


def layer(body: bytes, media_type: str = CONTENT) -> Description:
    return {"mediaType": media_type, "base64": base64.b64encode(body).decode()}


def name_by_digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


class Shelf:
    """One repository to push to."""

    def __init__(self, host: str, repository: str, auth: tuple[str, str] | None = None) -> None:
        self._url = f"http://{host}/v2/{repository}"
        self._session = requests.Session()
        self._session.trust_env, self._session.auth = False, auth

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *exception: object) -> None:
        self._session.close()

    def push(self, artifact: Description, *tags: str) -> str:
        """Push under every tag, or by digest alone; return the digest."""
        if "index" in artifact:
            media_type, manifest = INDEX, self._make_index(artifact)
        else:
            media_type, manifest = artifact.get("mediaType", MANIFEST), self._make_manifest(artifact)
        digest = name_by_digest(manifest)
        for reference in tags or (digest,):
            headers = {"Content-Type": media_type}
            put = self._session.put(f"{self._url}/manifests/{reference}", data=manifest, headers=headers, timeout=30)
            put.raise_for_status()
        return digest

    def delete(self, digest: str) -> None:
        self._session.delete(f"{self._url}/manifests/{digest}", timeout=30).raise_for_status()

    def _make_manifest(self, artifact: Description) -> bytes:
        config = artifact.get("config", {"mediaType": CONFIG, "text": "{}"})
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": artifact.get("mediaType", MANIFEST),
            "config": self._push_blob(config),
            "layers": [self._push_blob(each) for each in artifact["layers"]],
        }
        return _encode(manifest | {key: artifact[key] for key in ("annotations", "artifactType") if key in artifact})

    def _make_index(self, artifact: Description) -> bytes:
        entries = []
        for each in artifact["index"]:
            manifest = self._make_manifest(each)
            self.push(each)
            entry = {"mediaType": each.get("mediaType", MANIFEST), "size": len(manifest)}
            more = {"platform": each["platform"]} if "platform" in each else {}
            entries.append({**entry, "digest": name_by_digest(manifest), **more})
        index: dict[str, Any] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        return _encode(index | {key: artifact[key] for key in ("annotations",) if key in artifact})

    def _push_blob(self, described: Description) -> dict[str, Any]:
        body = base64.b64decode(described["base64"]) if "base64" in described else described["text"].encode()
        digest = name_by_digest(body)
        if self._session.head(f"{self._url}/blobs/{digest}", timeout=30).status_code != 200:
            upload = self._session.post(f"{self._url}/blobs/uploads/", timeout=30)
            upload.raise_for_status()
            location = urljoin(self._url, upload.headers["Location"])
            put = self._session.put(
                f"{location}{'&' if '?' in location else '?'}digest={digest}", data=body, timeout=60
            )
            put.raise_for_status()
        more = {"annotations": described["annotations"]} if "annotations" in described else {}
        return {"mediaType": described["mediaType"], "size": len(body), "digest": digest, **more}


def push(host: str, repository: str, artifact: Description, *tags: str, auth: tuple[str, str] | None = None) -> str:
    with Shelf(host, repository, auth) as shelf:
        return shelf.push(artifact, *tags)


def push_signatures(host: str, repository: str, digest: str, signed: Iterable[tuple[bytes, bytes]]) -> None:
    """Push what `cosign sign` of version 2 does, with all (payload, signature) of an artifact."""
    layers = [
        {
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "base64": base64.b64encode(payload).decode(),
            "annotations": {"dev.cosignproject.cosign/signature": base64.b64encode(signature).decode()},
        }
        for payload, signature in signed
    ]
    push(host, repository, {"layers": layers}, f"{digest.replace(':', '-')}.sig")


def _encode(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
