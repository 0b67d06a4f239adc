"""Opens what SOPS encrypted of the files that a Kustomization is built from.

    files of the build ──► which are encrypted? ──► each opened once ──► a tree of the Kustomization's own ──► build
                                                                                  what is encrypted still: refused

Files are opened before the build, as they are in Git, because a mac covers them as they are in Git. What is opened is
found again by its contents and the fingerprint of the keys: nobody gets it from here who could not open it. The build
of such a tree is kept for its Kustomization alone (building.py), and by nobody else.

Source: Flux, kustomize-controller, internal/decryptor; differences on purpose are listed in docs/compatibility.md.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import msgspec

from gitops_core.api import Kustomization
from gitops_core.domain.render.encrypted import Piece, begins_document, get_hint, list_forms, list_values, take_apart
from gitops_core.domain.render.muting import make_mute, mute_values
from gitops_core.domain.render.seals import Sealed, find_plain_secrets, find_sealed
from gitops_core.domain.render.sopskeys import KeyInvalid, SopsKeys, parse_keys
from gitops_core.errors import DecryptionFailed, MacMismatch, ManifestInvalid
from gitops_core.meta import ObjectKey, ObjectRef, Sensitive, Tree
from gitops_core.ports import Cluster, Compute, Decryptor, Overlay, Renderer, UsedFiles
from gitops_core.recent import Recent
from gitops_core.reconcilers.keyservices import KeyServices
from gitops_core.runtime.remotes.credentials import SECRET, read_secret
from gitops_core.runtime.sharing.computing import IN_PLACE, READING, on_account_of
from gitops_core.runtime.sharing.flights import Flights

KEPT_TEXTS = 64 * 2**20
KEPT_SCANS = 16 * 2**20
ENTRY_WEIGHT, TEXT_WEIGHT = 512, 64
AT_ONCE = 2
STRETCH = 100
"""Files, after which others have their turn although nothing is waited for."""
MAX_OPENED = 64 * 2**20
"""Bytes, of one Kustomization."""
NOT_YET = DecryptionFailed("it is not opened yet")
MAC = "sealoop.dev/sops-mac"
"""Annotation of a Kustomization: with `warn`, a file whose mac does not fit is told of and applied, else refused."""
WITHHELD = "the reason is withheld, because more was decrypted than can be looked for in it"

Key = tuple[object, ...]


@dataclass(frozen=True)
class Scan:
    """What a build reads, without any key.

    Attributes:
        sealed: what SOPS encrypted of it.
        plain: what of Secrets stands in it for everybody to read.
        digest: of all the files.
    """

    sealed: tuple[Sealed, ...] = ()
    plain: tuple[str, ...] = ()
    digest: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.path for one in self.sealed if one.is_opened))


@dataclass(frozen=True)
class Opened:
    """One file or value.

    Attributes:
        text: in the format that the file had.
        values: what of it was encrypted, for nobody to quote; with a byte of zero between them.
        is_altered: its mac does not fit.
    """

    text: Sensitive
    values: Sensitive
    is_altered: bool = False

    @property
    def size(self) -> int:
        return len(self.text.reveal())

    def list_values(self) -> Sequence[str]:
        return self.values.reveal_text().split("\0")


class Sealing(NamedTuple):
    text: bytes
    digest: bytes


class OpenedTree(Tree):
    """A tree with some of its files decrypted."""

    def __init__(self, tree: Tree, opened: Mapping[str, Opened], mark: str) -> None:
        self.oid = f"{tree.oid}-{mark}"
        self._tree, self._opened = tree, opened

    def __getitem__(self, path: str) -> bytes:
        found = self._opened.get(path)
        return self._tree[path] if found is None else found.text.reveal()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tree)

    def __len__(self) -> int:
        return len(self._tree)

    def __contains__(self, path: object) -> bool:
        return path in self._tree

    @property
    def is_private(self) -> bool:
        return True

    @property
    def links(self) -> Mapping[str, str]:
        return self._tree.links

    @property
    def submodules(self) -> Mapping[str, str]:
        return self._tree.submodules

    def explain_absence(self, path: str) -> str:
        return self._tree.explain_absence(path)


@dataclass(frozen=True)
class Plaintext:
    """What was decrypted for one build, for whoever has to keep quiet about it.

    Attributes:
        altered: names of files whose mac does not fit.
    """

    opened: tuple[Opened, ...] = ()
    altered: tuple[str, ...] = ()

    def mute(self, text: str) -> str:
        """Replace by *** what of it stands in `text`."""
        return mute_values(text, self._list_values(), WITHHELD) if self.opened else text

    def make_mute(self) -> Callable[[str], str]:
        """Make a function that mutes many texts."""
        return make_mute(self._list_values(), WITHHELD)

    def _list_values(self) -> Iterator[str]:
        return (value for one in self.opened for value in one.list_values())


def find_keys(wanted: Kustomization) -> ObjectKey | None:
    """Find the Secret with the keys that a Kustomization names."""
    decryption = wanted.spec.decryption
    if decryption is None or decryption.secret_ref is None:
        return None
    return ObjectKey(wanted.metadata.namespace, decryption.secret_ref.name)


@dataclass
class Decrypter:
    """Attributes:
    common_keys: the Secret with the age keys of those who name none.
    is_lent: who has no credentials for key services asks them as this process.
    services: where ServiceAccounts have roles.
    """

    cluster: Cluster
    renderer: Renderer
    decryptor: Decryptor
    compute: Compute = IN_PLACE
    common_keys: ObjectKey | None = None
    is_lent: bool = True
    services: KeyServices | None = None
    _scans: Recent[Key, Scan] = field(default_factory=lambda: Recent(KEPT_SCANS))
    _texts: Recent[Key, Opened] = field(default_factory=lambda: Recent(KEPT_TEXTS))
    _under_way: Flights[Opened] = field(default_factory=Flights)

    async def read_keys(self, wanted: Kustomization) -> SopsKeys | None:
        """Read the keys; None where nothing is to be decrypted.

        Raises:
            ManifestInvalid: there is no such Secret, or it holds a key that is none.
            ClusterError: it could not be read.
        """
        if wanted.spec.decryption is None:
            return None
        keys, account = await self._read_secret(wanted), wanted.spec.decryption.service_account_name
        if not account or self.services is None:
            return keys
        name, log_in = await self.services.find(ObjectKey(wanted.metadata.namespace, account))
        return replace(keys, is_ambient=False, account=name, log_in=log_in)

    async def _read_secret(self, wanted: Kustomization) -> SopsKeys:
        own = find_keys(wanted)
        key = own or self.common_keys
        if key is None:
            return SopsKeys(is_ambient=self.is_lent)
        try:
            with on_account_of(ObjectRef(SECRET, key)):  # the operator's own, in whatever namespace
                values = await read_secret(self.cluster, key)
            chosen = {name: value for name, value in values.items() if own or name.endswith(".agekey")}
            return parse_keys(chosen, is_ambient=self.is_lent)
        except KeyInvalid as error:
            raise ManifestInvalid(f"spec.decryption: Secret {key}: {error}") from None
        except ValueError as error:
            raise ManifestInvalid(f"spec.decryption: {error}") from None

    async def scan(self, tree: Tree, overlay: Overlay, path: str) -> Scan:
        """Find what is encrypted of the files that a build reads. Raises ManifestInvalid."""
        asked = (tree.oid, path, msgspec.json.encode((overlay.fields, overlay.optional_components)))
        if (known := self._scans.get(asked)) is None:
            used = await self.renderer.find_files(tree, overlay, path)
            known = await self.compute.run(READING, _scan, tree, used)
            weight = sum(_weigh(one) for one in known.sealed) + sum(map(len, known.plain))
            self._scans.put(asked, known, ENTRY_WEIGHT + weight)
        return known

    async def open_files(
        self, tree: Tree, scan: Scan, keys: SopsKeys, *, check_mac: bool = True
    ) -> tuple[Tree, Plaintext]:
        """Open what is encrypted. Returns `tree` where nothing is.

        Raises:
            DecryptionFailed: names every file that cannot be opened.
            TransientError: nothing can be opened here.
        """
        if not scan.paths:
            return tree, Plaintext()
        sealed = await self.compute.run(READING, _read_sealed, tree, scan.paths)
        results = await self._open_all(sealed, keys, check_mac)
        opened = {path: one for path, one in results.items() if isinstance(one, Opened)}
        faults = [type(one)(f"{path}: {one}") for path, one in results.items() if isinstance(one, DecryptionFailed)]
        if faults:
            kind = MacMismatch if all(isinstance(fault, MacMismatch) for fault in faults) else DecryptionFailed
            raise kind("; ".join(map(str, faults[:20])))
        mark = hashlib.sha256(f"{keys.fingerprint} {check_mac} {scan.paths}".encode()).hexdigest()[:16]
        altered = tuple(path for path, one in opened.items() if one.is_altered)
        return OpenedTree(tree, opened, mark), Plaintext(tuple(opened.values()), altered)

    async def _open_all(
        self, texts: Mapping[str, Sealing], keys: SopsKeys, check_mac: bool
    ) -> Mapping[str, Opened | DecryptionFailed]:
        """Open files, a few at a time: what waits for its turn all at once counts as many builds that wait."""
        results: dict[str, Opened | DecryptionFailed] = dict.fromkeys(texts, NOT_YET)
        waiting, size = iter(texts.items()), 0

        async def open_some() -> None:
            nonlocal size
            for number, (path, (text, digest)) in enumerate(waiting):
                if number % STRETCH == 0:
                    await asyncio.sleep(0)
                try:
                    results[path] = one = await self._open_once(path, text, digest, keys, check_mac)
                except DecryptionFailed as error:
                    results[path] = error
                else:
                    size += one.size
                    check_size(size)

        try:
            async with asyncio.TaskGroup() as group:  # when one cannot be opened now, none of the others is
                for _ in range(AT_ONCE):
                    group.create_task(open_some())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return results

    async def open_text(self, path: str, text: bytes, keys: SopsKeys, *, check_mac: bool = True) -> Opened:
        """Open what is encrypted of a file or value. Raises as `open_files` does, without a name."""
        return await self._open_once(path, text, hashlib.sha256(text).digest(), keys, check_mac)

    async def _open_once(self, path: str, text: bytes, digest: bytes, keys: SopsKeys, check_mac: bool) -> Opened:
        asked = (digest, get_hint(path), keys.fingerprint, check_mac)
        if (known := self._texts.get(asked)) is None:
            known = await self._under_way.join(asked, lambda: self._open(path, text, keys, check_mac))
            self._texts.put(asked, known, ENTRY_WEIGHT + known.size + len(known.values.reveal()))
        return known

    async def _open(self, path: str, text: bytes, keys: SopsKeys, check_mac: bool) -> Opened:
        pieces = await self.compute.run(READING, take_apart, text, path)
        texts: list[bytes] = []
        is_altered = False
        for piece in pieces:
            if piece.format is None or piece.block is None:
                texts.append(piece.text)
                continue
            try:
                plain = await self.decryptor.decrypt(piece.text, piece.format, piece.block, keys)
            except MacMismatch:
                if check_mac:
                    raise
                plain = await self.decryptor.decrypt(piece.text, piece.format, piece.block, keys, check_mac=False)
                is_altered = True
            texts.append(plain)
            check_size(sum(map(len, texts)))
        return await self.compute.run(READING, _put_together, pieces, texts, is_altered)


def check_size(size: int) -> None:
    """Raise ManifestInvalid where so much was opened for one Kustomization that there may be no room for others."""
    if size > MAX_OPENED:
        raise ManifestInvalid(f"what is decrypted is more than {MAX_OPENED >> 20} MiB: divide it among Kustomizations")


def _read_sealed(tree: Tree, paths: Iterable[str]) -> Mapping[str, Sealing]:
    found: dict[str, Sealing] = {}
    size = 0
    for path in paths:
        data = tree[path]
        found[path] = Sealing(data, hashlib.sha256(data).digest())
        size += len(data)
        check_size(size)
    return found


def _put_together(pieces: Sequence[Piece], texts: Sequence[bytes], is_altered: bool) -> Opened:
    values = (
        value
        for piece, text in zip(pieces, texts, strict=True)
        for value in (list_values(piece.text, text, piece.format) if piece.format is not None else ())
    )
    quoted = "\0".join(dict.fromkeys(form for value in values for form in list_forms(value))).encode("utf-8", "replace")
    return Opened(Sensitive(_join(texts)), Sensitive(quoted), is_altered)


def _weigh(one: Sealed) -> int:
    texts = (one.path, one.block.mac, one.block.modified, *one.names, *(name for _, name in one.block.recipients))
    return ENTRY_WEIGHT + sum(TEXT_WEIGHT + len(text) for text in texts)


def _scan(tree: Tree, used: UsedFiles) -> Scan:
    sealed: list[Sealed] = []
    plain: list[str] = []
    digest = hashlib.sha256()
    for path in used.paths:
        data = tree[path]
        found = tuple(find_sealed(path, data, is_shown=path in used.shown))
        sealed += found
        if path in used.stored:
            plain += () if found else (path,)
        elif path not in used.shown:
            plain += find_plain_secrets(path, data)
        digest.update(f"{path} {hashlib.sha256(data).hexdigest()}\n".encode("utf-8", "surrogateescape"))
    plain += ("literals of a secretGenerator",) if used.literals else ()
    return Scan(tuple(sealed), tuple(plain), digest.hexdigest())


def _join(texts: Sequence[bytes]) -> bytes:
    """Put documents one after the other."""
    first, *rest = texts
    joined = first
    for text in rest:
        end = b"" if joined.endswith(b"\n") or not joined else b"\n"
        joined += end + (text if begins_document(text) else b"---\n" + text)
    return joined
