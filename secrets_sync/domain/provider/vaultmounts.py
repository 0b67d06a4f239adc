"""Whether Vault's "not found" means that a key is gone, or that it was asked at the wrong place.

    answer to the key                                          what it says
    404, no errors                                             no such key, if this is the place
    404, data.data null, metadata with a deletion              the version is deleted, if this is the place
    404, warnings                                              this engine has no such path: another version
    404, errors                                                nobody answers here
    404, anything else                                         this is not Vault

A key-value engine of version 1 answers "no such key" to every path of version 2, and one of either version to paths
that are a level off. So the server is asked which engine is mounted there: whoever may read a key may ask that.

    GET sys/internal/ui/mounts/secret/data/db   {"data": {"path": "secret/", "type": "kv", "options": {"version": "2"}}}

Source: github.com/openbao/openbao, builtin/logical/kv and vault/logical_system.go (pathInternalUIMountRead).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Engine = Literal["v1", "v2"]


@dataclass(frozen=True)
class Place:
    """Where a store says that keys are.

    Attributes:
        mount: as in spec.provider.vault.path.
        path: what was asked.
        tree: the part of an engine of version 2 that `path` is in.
    """

    mount: str | None
    engine: Engine
    path: str
    tree: Literal["data", "metadata"] = "data"


def describe_denial(body: Any, engine: Engine) -> str:
    """Describe what a 404 says of the key. Raises ValueError: it does not speak of the key."""
    if not isinstance(body, dict):
        raise ValueError("HTTP 404 that is not Vault's")  # noqa: TRY004  an answer, not an argument
    if body.get("warnings"):
        raise ValueError("the engine there has no such path: it is of the other version, or the path is a level off")
    if body.get("errors"):
        raise ValueError("no secrets engine answers there")
    if body.get("errors") == []:  # the engine has no such key
        return "HTTP 404"
    data = body.get("data")
    metadata = data.get("metadata") if isinstance(data, dict) and data.get("data") is None else None
    if engine == "v2" and isinstance(metadata, dict):  # it has the key, but this version no more
        if metadata.get("destroyed") is True:
            return "the version is destroyed"
        if metadata.get("deletion_time"):
            return "the version is deleted"
    raise ValueError("HTTP 404 that is not a key-value engine's")


def describe_mount(body: Any, place: Place) -> str:
    """Describe the engine that is mounted where `place` was asked, given what Vault says about it.

    Raises:
        ValueError: it is not the engine that the store means, or it is no engine.
    """
    data = body.get("data") if isinstance(body, dict) else None
    path = data.get("path") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(path, str) or not path:
        raise ValueError("the server does not say which secrets engine is there")
    if data.get("type") not in ("kv", "generic"):
        raise ValueError(f"the engine at {path!r} is no key-value engine")
    options = data.get("options")
    engine = f"v{(options.get('version') if isinstance(options, dict) else '') or '1'}"  # version 1 need not say so
    if engine != place.engine:
        raise ValueError(f"the engine at {path!r} is of version {engine}, and the store says {place.engine}")
    if place.mount is not None and path.strip("/") != place.mount.strip("/"):
        raise ValueError(f"the engine is at {path!r}, and the store says {place.mount!r}")
    below = f"{path}{place.tree}/" if engine == "v2" else path
    if not place.path.startswith(below):
        raise ValueError(f"the engine is at {path!r}, and it was asked at {place.path!r}")
    return f"the engine at {path!r} of version {engine}"
