"""From the folder of a source to the objects that a Kustomization wants, with nothing encrypted left in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

import msgspec

from gitops_core.api import Kustomization
from gitops_core.domain.render.encrypted import DECRYPT, Payload, find_payloads, list_encrypted, set_payloads
from gitops_core.domain.render.sopskeys import SopsKeys
from gitops_core.domain.render.written import Written, estimate_reading, read_written, write_manifests
from gitops_core.errors import DecryptionFailed, ManifestInvalid
from gitops_core.meta import Manifest, ObjectKey, ObjectRef, Tree
from gitops_core.ports import Compute, Overlay, Renderer
from gitops_core.recent import Recent
from gitops_core.reconcilers.decrypting import MAC, Decrypter, Opened, Plaintext, Scan, check_size
from gitops_core.reconcilers.planning import make_overlay
from gitops_core.runtime.sharing.computing import IN_PLACE, estimate_weight

KEPT_BUILDS = 64 * 2**20
ENTRY_WEIGHT = 512
MOST_NAMED = 20
NO_DECRYPTION = "configuring decryption is required for it to be reconciled (spec.decryption)"


@dataclass(frozen=True)
class Built:
    """Attributes:
    digest: of the objects or, where something of them was decrypted, of what they were built from: it is stored, and
        nobody shall find out by it what a short secret is.
    left: why the objects cannot be applied: some carry what SOPS encrypted; "" where none does.
    plaintext: what was decrypted.
    scan: what is known of the files; None where nobody asked.
    """

    objects: Sequence[Manifest]
    digest: str
    left: str = ""
    plaintext: Plaintext = field(default_factory=Plaintext)
    scan: Scan | None = None


@dataclass
class Builder:
    renderer: Renderer
    decrypter: Decrypter
    compute: Compute = IN_PLACE
    _kept: Recent[ObjectKey, tuple[object, Written]] = field(default_factory=lambda: Recent(KEPT_BUILDS))
    """Builds of decrypted trees, each for its Kustomization."""

    async def build(
        self, wanted: Kustomization, tree: Tree, path: str, keys: SopsKeys | None, *, is_scanned: bool = False
    ) -> Built:
        """Build the folder `path` of `tree`.

        Args:
            keys: None where nothing is to be decrypted.
            is_scanned: the scan is wanted though nothing is to be decrypted.

        Raises:
            ManifestInvalid: it cannot be built or decrypted; the message quotes nothing encrypted.
            TransientError: it cannot be built now.
        """
        overlay, scan, plaintext = make_overlay(wanted), None, Plaintext()
        checks_mac = wanted.metadata.annotations.get(MAC, "").strip() != "warn"
        if keys is not None or is_scanned:
            scan = await self.decrypter.scan(tree, overlay, path)
        if keys is not None and scan is not None:
            tree, plaintext = await self.decrypter.open_files(tree, scan, keys, check_mac=checks_mac)
        try:
            built = await self._render(wanted, tree, overlay, path)
            objects, opened = await self._open_payloads(built, keys, checks_mac)
        except ManifestInvalid as error:
            if not plaintext.opened:
                raise
            raise type(error)(plaintext.mute(str(error)), reason=error.reason) from None
        plaintext = Plaintext((*plaintext.opened, *opened), plaintext.altered)
        left = await self.compute.run(estimate_weight(objects), _explain_encrypted, objects, keys)
        if plaintext.opened and scan is not None:
            return Built(objects, _digest_sources(scan, overlay), left, plaintext, scan)
        digest = await self.compute.run(estimate_weight(objects), hash_items, objects)
        return Built(objects, f"sha256:{digest}", left, plaintext, scan)

    async def _render(self, wanted: Kustomization, tree: Tree, overlay: Overlay, path: str) -> Sequence[Manifest]:
        if not tree.is_private:
            return await self.renderer.render(tree, overlay, path)
        asked = (wanted.metadata.uid, tree.oid, path, overlay)
        kept = self._kept.get(wanted.key)
        if kept is not None and kept[0] == asked:
            return await self.compute.run(estimate_reading(kept[1]), read_written, kept[1])
        built = await self.renderer.render(tree, overlay, path)
        written = await self.compute.run(estimate_weight(built), write_manifests, built)
        self._kept.put(wanted.key, (asked, written), ENTRY_WEIGHT + sum(map(len, written)))
        return built

    def forget(self, wanted: Kustomization) -> None:
        self._kept.drop(wanted.key)

    async def _open_payloads(
        self, built: Sequence[Manifest], keys: SopsKeys | None, checks_mac: bool
    ) -> tuple[Sequence[Manifest], tuple[Opened, ...]]:
        """Open the values of Secrets that are files which SOPS encrypted."""
        if keys is None:
            return built, ()
        found = await self.compute.run(estimate_weight(built), _find_all_payloads, built)
        opened: list[tuple[int, Payload, Opened]] = []
        size = 0
        for number, payload in found:
            name = f"{payload.key} of {ObjectRef.of(built[number])}"
            try:
                one = await self.decrypter.open_text(payload.key, payload.text, keys, check_mac=checks_mac)
            except DecryptionFailed as error:
                raise type(error)(f"{name}: {error}") from None
            opened.append((number, payload, one))
            size += one.size
            check_size(size)
        return await self.compute.run(estimate_weight(built), _fill, built, opened), tuple(one for _, _, one in opened)


def _find_all_payloads(built: Sequence[Manifest]) -> list[tuple[int, Payload]]:
    """Find the values of Secrets that are encrypted files, with the number of each Secret."""
    secrets = (number for number, one in enumerate(built) if one["kind"] == "Secret")
    return [(number, payload) for number in secrets for payload in find_payloads(built[number])]


def _fill(built: Sequence[Manifest], opened: Iterable[tuple[int, Payload, Opened]]) -> Sequence[Manifest]:
    """Put what was opened in its place. Raises DecryptionFailed: stringData cannot hold it."""
    objects = list(built)
    for number, values in groupby(opened, key=itemgetter(0)):
        found = [(payload, one.text.reveal()) for _, payload, one in values]
        try:
            objects[number] = set_payloads(built[number], found)
        except ValueError:
            ref = ObjectRef.of(built[number])
            raise DecryptionFailed(f"a value of {ref} is no text when decrypted: put it into data") from None
    return objects


def _explain_encrypted(objects: Iterable[Manifest], keys: SopsKeys | None) -> str:
    """Explain which objects carry what SOPS encrypted, and so cannot be applied; "" when none does."""
    left = [name for manifest in objects for name in list_encrypted(manifest)]
    if not left:
        return ""
    named = ", ".join(left[:MOST_NAMED]) + (f" and {len(left) - MOST_NAMED} more" if left[MOST_NAMED:] else "")
    verb = "is" if len(left) == 1 else "are"
    hint = NO_DECRYPTION if keys is None else "only whole files, and values of Secrets, are decrypted"
    return f"{named} {verb} SOPS encrypted, {hint}; what shall stay so says {DECRYPT}: disabled"


def _digest_sources(scan: Scan, overlay: Overlay) -> str:
    affixes = (overlay.namespace, overlay.name_prefix, overlay.name_suffix)
    fields = msgspec.json.encode((scan.digest, affixes, overlay.fields, overlay.optional_components))
    return f"sha256:{hashlib.sha256(fields).hexdigest()}"


def hash_items(items: Iterable[object]) -> str:
    """Hash a JSON array of `items`, written one by one: the writing of a whole array lets no other thread in."""
    digest = hashlib.sha256(b"[")
    for number, item in enumerate(items):
        digest.update(b"," * bool(number) + msgspec.json.encode(item, order="deterministic"))
    digest.update(b"]")
    return digest.hexdigest()
