"""Where Vault's key-value engine keeps a key.

    mount    version   key                  API path
    secret   v2        shop/db              secret/data/shop/db
    secret   v2        secret/data/shop/db  secret/data/shop/db
    secret   v1        secret/shop/db       secret/shop/db
    (none)   v2        secret/shop/db       secret/data/shop/db
    (none)   v1        secret/shop/db       secret/shop/db

As in the original, a key that begins with the mount's own name is taken to repeat the mount.
Source: External Secrets, providers/v1/vault/client_get.go.
"""

from __future__ import annotations

from typing import Literal


def make_kv_path(mount: str | None, version: Literal["v1", "v2"], key: str) -> str:
    """Make the path below /v1/ to read `key` at. Raises ValueError: it names no secret or climbs out."""
    check_parts(key, "key")
    data = ["data"] if version == "v2" else []
    if mount is not None:  # the store names the engine: the key may begin with it, and with data/
        first, below = mount.strip("/"), key.removeprefix(f"{mount.strip('/')}/")
        if below != key and data:
            below = below.removeprefix("data/")
    else:  # the key's first part is the engine
        first, _, below = key.partition("/")
        if "/data/" in key:  # the key says data/ itself
            data = []
    if not below.strip("/"):
        raise ValueError(f"the key {key!r} names no secret")
    return "/".join([first, *data, below])


def check_parts(path: str, what: str) -> None:
    """Raise ValueError if a part of a path is no name, or climbs out."""
    if any(part in (".", "..") for part in path.split("/")) or any(ord(character) < 32 for character in path):
        raise ValueError(f"the {what} {path!r} has a part that is no name")
