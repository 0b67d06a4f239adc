"""The same encrypted text in two places: what opens in the one opens in the other, whatever the object is called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gitops_core.domain.lint.findings import Finding
from gitops_core.domain.lint.objects import Document
from gitops_core.domain.render.encrypted import Block

MOST_NAMED = 5


@dataclass(frozen=True)
class Seal:
    """What SOPS encrypted together, for comparing it with others.

    Attributes:
        line: where it begins.
        names: of some of its objects.
        mac: a digest of it; every encryption makes another one.
        is_allowed: somebody wants the copy.
    """

    path: str
    line: int
    names: tuple[str, ...]
    mac: bytes
    is_allowed: bool = False

    @classmethod
    def of(cls, path: str, line: int, block: Block, names: Sequence[str], *, is_allowed: bool = False) -> Seal:
        mac = hashlib.sha256(block.mac.encode("utf-8", "replace")).digest()[:16]
        return cls(path, line, tuple(names[:MOST_NAMED]), mac, is_allowed)


def find_copies(seals: Iterable[Seal]) -> Iterator[Finding]:
    """Find what has one mac in two files; the first of them, by path, is taken for the original."""
    owners: dict[bytes, Seal] = {}
    for one in sorted(seals, key=lambda seal: (seal.path, seal.line)):
        owner = owners.setdefault(one.mac, one)
        if owner is not one and not one.is_allowed:
            yield _make_finding(one.path, one.line, one.names, owner.names, f"{owner.path}:{owner.line}")


def find_copies_within(path: str, documents: Iterable[Document]) -> Iterator[Finding]:
    """Find documents of one file that hold the same values; they have one block, as others of a file have."""
    owners: dict[tuple[Block, str], Document] = {}
    for one in documents:
        owner = next((owners[one.block, leaf] for leaf in one.leaves if (one.block, leaf) in owners), None)
        if owner is not None and not one.is_allowed:
            yield _make_finding(path, one.line, one.names, owner.names, f"line {owner.line}")
        for leaf in one.leaves:
            owners.setdefault((one.block, leaf), one)


def _make_finding(path: str, line: int, names: Sequence[str], owners: Sequence[str], where: str) -> Finding:
    own, others = ", ".join(names[:MOST_NAMED]), ", ".join(owners[:MOST_NAMED])
    if names and owners and names != owners:
        return Finding(path, line, "error", "copied", f"{own} holds what was encrypted for {others} in {where}")
    return Finding(path, line, "warning", "copied", f"{own or 'it'} stands in {where} too: one of them is enough")
