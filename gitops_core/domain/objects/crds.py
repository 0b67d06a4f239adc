"""What a CustomResourceDefinition says once its kinds are served."""

from __future__ import annotations

import re
from typing import Any

from gitops_core.meta import Manifest


def establish(crd: Manifest, now: str) -> dict[str, Any]:
    """Return `crd` with names completed, and the status of one that is served: names accepted, established.

    Args:
        now: the time, for conditions that are new.
    """
    names = {**crd["spec"]["names"]}
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", names["kind"] + "List")
    spec = {**crd["spec"], "names": names}
    spec.setdefault("conversion", {"strategy": "None"})
    status = crd.get("status") or {}
    stored = [version["name"] for version in spec["versions"] if version.get("storage")]
    seen = [version for version in status.get("storedVersions") or () if version not in stored]
    said = {condition["type"] for condition in status.get("conditions") or ()}
    conditions = [*(status.get("conditions") or ())]
    for type_, reason, message in (
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ):
        if type_ not in said:
            conditions.append(
                {"lastTransitionTime": now, "message": message, "reason": reason, "status": "True", "type": type_}
            )
    accepted = {"acceptedNames": names, "conditions": conditions, "storedVersions": [*seen, *stored]}
    return {**crd, "spec": spec, "status": accepted}


def rank_version(version: str) -> tuple[Any, ...]:
    """Return a sort key: the version that a client should prefer comes first.

    >>> sorted(["v1", "v2", "v1beta2", "v10", "v3alpha1", "foo", "v1beta1"], key=rank_version)
    ['v10', 'v2', 'v1', 'v1beta2', 'v1beta1', 'v3alpha1', 'foo']

    Source: kubernetes.io, Versions in CustomResourceDefinitions.
    """
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return 3, version
    maturity = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return maturity, -int(match[1]), -int(match[3] or 0)
