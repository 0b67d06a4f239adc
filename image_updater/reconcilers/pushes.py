"""Tell an ImageRepository what was pushed: an annotation, which its reconciler reads, whichever replica runs it.

No registry is asked. The annotation keeps the newest pushes, so that several at once are not lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from gitops_core.errors import Conflict, ImageInvalid, NotFound
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import Clock, Cluster
from image_updater.api import ImageRepository
from image_updater.domain.registry.pushes import PUSHED, Push, add_pushes
from image_updater.domain.registry.references import parse_repository
from image_updater.domain.registry.webhooks import PushedTag, parse_pushed_tags

ATTEMPTS = 5
MANAGER = "notification-controller"


@dataclass(frozen=True)
class Pushes:
    """Implements gitops_core.ports.Pushes: writes what webhooks told to ImageRepositories."""

    cluster: Cluster
    clock: Clock
    kind: ClassVar[Kind] = ImageRepository.KIND

    def read(self, type_: str, headers: Mapping[str, str], body: bytes) -> tuple[PushedTag, ...]:
        return parse_pushed_tags(type_, headers, body)

    async def tell(self, key: ObjectKey, pushed: Iterable[PushedTag]) -> bool:
        """Record pushed tags for an ImageRepository; return whether some of them are of its image.

        Raises:
            Conflict: it is being written all the time.
            ClusterError: it could not be read or written.
        """
        reported = tuple(pushed)
        for attempt in range(ATTEMPTS):
            manifest = await self.cluster.get(ObjectRef(ImageRepository.KIND, key))
            pushes = self._select(manifest, reported) if manifest is not None else ()
            if manifest is None or not pushes:
                return False
            metadata = manifest["metadata"]
            text = add_pushes((metadata.get("annotations") or {}).get(PUSHED, ""), pushes)
            patch = {"metadata": {"annotations": {PUSHED: text}, "resourceVersion": metadata["resourceVersion"]}}
            try:
                await self.cluster.patch(ObjectRef(ImageRepository.KIND, key), patch, field_manager=MANAGER)
            except NotFound:
                return False
            except Conflict:
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                return True
        return False

    def _select(self, manifest: object, reported: tuple[PushedTag, ...]) -> tuple[Push, ...]:
        spec = manifest.get("spec") if isinstance(manifest, dict) else None
        try:
            canonical = str(parse_repository((spec or {}).get("image", "")))
        except ImageInvalid:
            return ()
        now = self.clock.now()
        return tuple(Push(now, push.tag, push.digest) for push in reported if push.repository == canonical)
