"""What is compared of a source with what was recorded of the original."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from gitops_core.meta import Resource
from gitops_core.schema import read_manifest
from tests.gitops_core.reconcilers.realworld import RealWorld


async def look(world: RealWorld, kind: type[Resource], live: Any, observed: Sequence[str]) -> dict[str, Any]:
    """Look at a source and at its files.

    Args:
        observed: fields of the status that say what was acted on.
    """
    seen = _pick(live["status"]["conditions"], live["status"], observed)
    if artifact := live["status"].get("artifact"):
        tree = await world.kinds[kind.KIND.kind].read_tree(read_manifest(kind, live), artifact["revision"])
        seen["files"] = {path: hashlib.sha256(tree[path]).hexdigest()[:16] for path in tree}
    return seen


def recorded(expected: Any, observed: Sequence[str], never_kept: str = "") -> dict[str, Any]:
    """Return the same of the recorded answer, without the file that we do not keep."""
    seen = _pick(expected["conditions"], expected["status"], observed)
    if expected["status"].get("artifact"):
        files = {path: told.split(" ")[0] for path, told in expected["files"].items() if not told.startswith("dir ")}
        seen["files"] = {path: digest for path, digest in files.items() if path != never_kept}
    return seen


def _pick(conditions: Any, status: Any, observed: Sequence[str]) -> dict[str, Any]:
    artifact = status.get("artifact", {})
    return {
        "conditions": {c["type"]: (c["status"], c["reason"]) for c in conditions},
        "revision": artifact.get("revision"),
        "metadata": artifact.get("metadata"),
        **{key: status[key] for key in observed if key in status},
    }
