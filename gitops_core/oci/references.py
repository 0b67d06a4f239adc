"""Names of images, as go-containerregistry reads them.

    alpine                       index.docker.io/library/alpine
    ghcr.io/org/app              ghcr.io/org/app
    localhost:5000/app:1.0       localhost:5000/app, tag 1.0
    app@sha256:<64 hex>          index.docker.io/library/app, digest sha256:<64 hex>

The first part is a registry when it holds a dot or a colon.

Source: https://github.com/google/go-containerregistry, pkg/name.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from gitops_core.errors import ImageInvalid

DOCKER_HUB = "index.docker.io"

_AUTHORITY = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[0-9A-Za-z._~!$&'()*+,;=-]+)(?::[0-9]*)?")
_PATH = re.compile(r"[a-z0-9_./-]{2,255}")
_TAG = re.compile(r"[A-Za-z0-9_.-]{1,128}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_LOCAL_HOST = re.compile(r"localhost|127\.0\.0\.1|\[::1\]|.*\.localhost")
_PRIVATE = tuple(ipaddress.ip_network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


@dataclass(frozen=True)
class Repository:
    """A repository of one registry, canonical: Docker Hub's defaults are filled in.

    Attributes:
        registry: host, with its port if it has one.
        path: `library/alpine`.
        insecure: to be asked over plain HTTP.
    """

    registry: str
    path: str
    insecure: bool = False

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"

    @property
    def schemes(self) -> tuple[str, ...]:
        """The URL schemes to try, in order: plain HTTP only where it was asked for, or close by."""
        if self.insecure:
            return ("http",)
        return ("https", "http") if _is_near(self.registry) else ("https",)


@dataclass(frozen=True)
class Image:
    """One image: `reference` is a tag or a digest."""

    repository: Repository
    reference: str

    def __str__(self) -> str:
        return f"{self.repository}{'@' if ':' in self.reference else ':'}{self.reference}"


def is_tag(text: str) -> bool:
    """Tell whether a text can be a tag: no other one becomes a part of a request."""
    return _TAG.fullmatch(text) is not None


def parse_image(text: str, *, insecure: bool = False) -> Image:
    """Parse the image that a Pod's container would pull; without tag or digest, its tag is latest.

    >>> str(parse_image("localhost:5000/app/web"))
    'localhost:5000/app/web:latest'

    Raises:
        ImageInvalid.
    """
    base, at, digest = text.partition("@")
    if at:
        if not DIGEST.fullmatch(digest):
            raise _make_unreadable(text)
        base = _split_tag(base)[0]
        return Image(_parse_repository(base, text, insecure), digest)
    base, tag = _split_tag(base)
    if tag and not _TAG.fullmatch(tag):
        raise _make_unreadable(text)
    return Image(_parse_repository(base, text, insecure), tag or "latest")


def _split_tag(text: str) -> tuple[str, str]:
    base, colon, last = text.rpartition(":")
    return (base, last) if colon and "/" not in last else (text, "")


def _parse_repository(base: str, text: str, insecure: bool) -> Repository:
    first, slash, rest = base.partition("/")
    registry, path = (first, rest) if slash and ("." in first or ":" in first) else ("", base)
    if registry in ("", "docker.io"):
        registry = DOCKER_HUB
    if not _PATH.fullmatch(path) or not _AUTHORITY.fullmatch(registry):
        raise _make_unreadable(text)
    if registry == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return Repository(registry, path, insecure)


def _make_unreadable(text: str) -> ImageInvalid:
    return ImageInvalid(f"could not parse reference: {text}")


def _is_near(registry: str) -> bool:
    host = registry if registry.endswith("]") else registry.rpartition(":")[0] or registry
    if _LOCAL_HOST.fullmatch(host):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in block for block in _PRIVATE)
