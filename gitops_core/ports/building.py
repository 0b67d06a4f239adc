"""From files to objects: builds, decryption, expressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gitops_core.domain.health.expressions import Evaluation, Question
from gitops_core.domain.render.encrypted import Block, Format
from gitops_core.domain.render.sopskeys import SopsKeys
from gitops_core.meta import (
    Manifest,
    Tree,
)


@dataclass(frozen=True)
class Overlay:
    """What a Kustomization's spec adds to the folder it names, in kustomize's own words (kustomization.yaml fields)."""

    namespace: str = ""
    name_prefix: str = ""
    name_suffix: str = ""
    fields: tuple[tuple[str, Any], ...] = ()
    """Further kustomization.yaml fields, e.g. ("images", [...]), ("patches", [...]), ("components", [...])."""
    optional_components: tuple[str, ...] = ()
    """Components that are left out where the folder is not there; they come after the others."""


class Renderer(Protocol):
    async def render(self, tree: Tree, overlay: Overlay, path: str = "") -> tuple[Manifest, ...]:
        """Build folder `path` of `tree`, with `overlay` applied; return the objects in the order of the build.

        A folder without a kustomization file stands for all manifests below it. Bases may lie outside `path` but not
        outside `tree`.

        Raises:
            ManifestInvalid: names every file that is at fault.
        """
        ...

    async def find_files(self, tree: Tree, overlay: Overlay, path: str = "") -> UsedFiles:
        """Find the files of `tree` that a build of the folder reads. Raises ManifestInvalid."""
        ...


@dataclass(frozen=True)
class UsedFiles:
    """What a build reads, by their paths in the tree.

    Attributes:
        paths: all of them.
        shown: of these, what is put into objects that are no Secrets as it is: generators make ConfigMaps of it.
        stored: of these, what secretGenerators put into Secrets.
        literals: a secretGenerator also holds values itself.
    """

    paths: tuple[str, ...]
    shown: frozenset[str] = frozenset()
    stored: frozenset[str] = frozenset()
    literals: bool = False


class Decryptor(Protocol):
    async def decrypt(
        self, text: bytes, format_: Format, block: Block, keys: SopsKeys, *, check_mac: bool = True
    ) -> bytes:
        """Decrypt what SOPS encrypted, and verify its mac; return it in the same format.

        Args:
            text: a whole file, or what of one was encrypted together (domain/render/encrypted.take_apart).
            check_mac: False takes it also when it was changed since.

        Raises:
            MacMismatch, DecryptionFailed: a sentence that goes on from the file's name, without anything of its inside.
            TransientError: nothing can be decrypted here.
        """
        ...


class Expressions(Protocol):
    async def evaluate(self, questions: Sequence[Question]) -> tuple[Evaluation, ...]:
        """Evaluate CEL expressions that strangers wrote, with bounded time and memory; the answers in their order.

        Raises:
            TransientError: none can be evaluated here.
        """
        ...
