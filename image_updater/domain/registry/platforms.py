"""Whether an image runs where it has to.

A wanted platform is what a node is; an image offers it when containerd would run one of the image's platforms there:

    wanted            offered by
    linux/amd64       linux/amd64, linux/x86_64
    linux/amd64/v3    linux/amd64, linux/amd64/v2, linux/amd64/v3
    linux/arm64       linux/arm64, linux/arm64/v8, linux/aarch64
    linux/arm64/v9    linux/arm64/v8 ... v8.5, linux/arm64/v9
    linux/arm/v7      linux/arm, linux/arm/v5, linux/arm/v6, linux/arm/v7

Unlike containerd's default, another architecture never counts (386 for amd64, arm for arm64): many arm64 nodes cannot
run 32-bit programs, and who asks for amd64 in a guard does not mean 386. Versions of Windows are not compared.

Source: github.com/containerd/platforms, compare.go (platformVector) and database.go (normalizeArch).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from image_updater.errors import GuardInvalid

_PLATFORM = re.compile(r"[a-z0-9_-]+/[a-z0-9_-]+(?:/[a-z0-9_.-]+)?")
_LEVEL = re.compile(r"v?(\d{1,3})(?:\.(\d{1,3}))?")
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386"}
_OLD_ARM = {"armhf": "v7", "armel": "v6"}
_DEFAULT_VARIANTS = {"amd64": "v1", "arm64": "v8", "arm": "v7"}


class Platform(NamedTuple):
    """Normalised: `variant` is never left out where an architecture has a default one.

    >>> str(parse_platform("linux/aarch64")), str(parse_platform("Linux/arm"))
    ('linux/arm64/v8', 'linux/arm/v7')
    """

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, self))


def parse_platform(text: str) -> Platform:
    """Return the platform that `os/architecture[/variant]` names.

    Raises:
        GuardInvalid.
    """
    lower = text.strip().lower()
    if not _PLATFORM.fullmatch(lower):
        raise GuardInvalid(f"platform {text!r} is not os/architecture[/variant], such as linux/arm64")
    os, architecture, *rest = lower.split("/")
    variant = rest[0] if rest else ""
    if architecture in _OLD_ARM:
        architecture, variant = "arm", _OLD_ARM[architecture]
    architecture = _ARCHITECTURES.get(architecture, architecture)
    if architecture in _DEFAULT_VARIANTS:
        variant = variant or _DEFAULT_VARIANTS[architecture]
        variant = f"v{variant}" if variant[0].isdigit() else variant
    return Platform("darwin" if os == "macos" else os, architecture, variant)


def find_missing(available: Iterable[str], wanted: Iterable[str]) -> tuple[str, ...]:
    """Return the texts of `wanted` that no platform of the image offers, in their order.

    Raises:
        GuardInvalid.
    """
    have = tuple(_parse_readable(available))
    nodes = [(text, parse_platform(text)) for text in wanted]
    return tuple(text for text, node in nodes if not any(_can_run(platform, node) for platform in have))


def _parse_readable(texts: Iterable[str]) -> Iterable[Platform]:
    for text in texts:
        try:
            yield parse_platform(text)
        except GuardInvalid:
            continue


def _can_run(image: Platform, node: Platform) -> bool:
    if (image.os, image.architecture) != (node.os, node.architecture):
        return False
    have, most = _rank(image), _rank(node)
    if have is None or most is None:
        return image.variant == node.variant
    if have[0] == most[0] or node.architecture != "arm64":
        return have <= most
    return (have[0], most[0]) == (8, 9) and have[1] <= most[1] + 5  # v9.0 contains v8.5, v9.1 contains v8.6, ...


def _rank(platform: Platform) -> tuple[int, int] | None:
    """Return the variant as numbers that can be compared; None for a variant that only equals itself."""
    match = _LEVEL.fullmatch(platform.variant) if platform.architecture in _DEFAULT_VARIANTS else None
    return (int(match[1]), int(match[2] or 0)) if match else None
