"""Whether an image can be pulled: what the embedded cluster's workloads ask before they become ready."""

from __future__ import annotations

from gitops_core.errors import ImageInvalid, ImageUnknown, RegistryDenied, RepositoryUnknown
from gitops_core.oci.references import parse_image
from image_updater.ports import Registry


class RegistryImages:
    """Implements gitops_core.ports.Images."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def exists(self, image: str) -> bool:
        """Tell whether the image can be resolved without credentials. Raises RegistryUnavailable."""
        try:
            found = parse_image(image)
            await self._registry.resolve_digest(found.repository, found.reference)
        except (ImageInvalid, ImageUnknown, RepositoryUnknown, RegistryDenied):
            return False
        return True
