"""An object as our apply left it, in a few bytes: how what is still so is told from what somebody changed."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from gitops_core.domain.objects.fieldmanagers import list_entries
from gitops_core.meta import Manifest


class Imprint(NamedTuple):
    """`state` covers all of an object but its status and what every write changes."""

    uid: str
    resource_version: str
    state: bytes


def make_imprint(live: Manifest) -> Imprint:
    metadata = live["metadata"]
    entries = [
        {name: value for name, value in entry.items() if name != "time"}
        for entry in list_entries(live)
        if not entry.get("subresource")
    ]
    rest = {name: value for name, value in metadata.items() if name not in ("resourceVersion", "managedFields")}
    state = {**live, "metadata": rest, "status": None, "managedFields": entries}
    digest = hashlib.sha256(msgspec.json.encode(state, order="deterministic")).digest()
    return Imprint(metadata.get("uid", ""), get_version(live), digest)


def find_settled_imprint(live: Manifest, known: Imprint | None) -> Imprint | None:
    """Find the imprint of `live` if it is as `known` says: its version first, the rest takes longer to compare."""
    if known is None or live["metadata"].get("uid") != known.uid:
        return None
    imprint = known if get_version(live) == known.resource_version else make_imprint(live)
    return imprint if imprint.state == known.state else None


def get_version(live: Manifest) -> str:
    return str(live["metadata"].get("resourceVersion", ""))
