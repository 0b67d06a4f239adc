"""The repository that an ImageRepository names."""

from __future__ import annotations

from gitops_core.errors import ImageInvalid
from gitops_core.oci.references import Repository, parse_image


def parse_repository(text: str, *, insecure: bool = False) -> Repository:
    """Parse an ImageRepository's spec.image: a repository without scheme and tag.

    >>> str(parse_repository("alpine"))
    'index.docker.io/library/alpine'

    Raises:
        ImageInvalid: in the original's words.
    """
    scheme, separator, _ = text.partition("://")
    if separator:
        raise ImageInvalid(f".spec.image value should not start with URL scheme; remove '{scheme}://'")
    image = parse_image(text, insecure=insecure)
    rest = text.removeprefix(image.repository.registry)
    if ":" in rest:
        raise ImageInvalid(f".spec.image value should not contain a tag; remove ':{rest.split(':')[1]}'")
    return image.repository
