"""Where Vault's key-value engine lists a folder, and what it says is there.

    mount    version   path of a find     listed at               a secret there is called
    secret   v2        shop               secret/metadata/shop/   shop/db
    secret   v2        (none)             secret/metadata/        shop/db
    secret   v1        shop               secret/shop/            shop/db
    (none)   v2        secret/shop        secret/metadata/shop/   secret/shop/db
    (none)   v2        secret/data/shop   secret/metadata/shop/   secret/data/shop/db

    {"data": {"keys": ["db", "web/"]}}    a secret, and a folder: a name may be both

Unlike a key, a path does not repeat the mount.
Source: External Secrets, providers/v1/vault/client_get_all_secrets.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from secrets_sync.domain.provider.finding import Breadth, Named
from secrets_sync.domain.provider.payload import SecretRef
from secrets_sync.domain.provider.vaultpaths import check_parts, make_kv_path


@dataclass(frozen=True)
class Folder:
    """A folder of an engine.

    Attributes:
        path: what a find calls it, "" for the engine itself.
        mount, version: the store's.
        engine, below: where it is.
    """

    path: str
    mount: str | None
    version: Literal["v1", "v2"]
    engine: str
    below: str
    depth: int = 0

    @property
    def listing(self) -> str:
        """The path below /v1/ to list it at."""
        return self._join("metadata", "")

    def make_name(self, relative: str) -> str:
        """Make the name of what is called `relative` in it."""
        return f"{self.path}/{relative}" if self.path else relative

    def make_metadata_path(self, secret: Named) -> str:
        """Make the path below /v1/ of the metadata of a secret in it."""
        return self._join("metadata", secret.name.rpartition("/")[2])

    def make_key(self, relative: str) -> str:
        """Make the key that `make_kv_path` finds that secret by: its name, unless that is taken for another place."""
        name, place = self.make_name(relative), self._join("data", relative)
        try:
            return name if make_kv_path(self.mount, self.version, name) == place else place
        except ValueError:
            return name  # who reads it is told

    def open(self, relative: str) -> Folder:
        """Return a folder in it. Raises ValueError: its name climbs out."""
        check_parts(relative, "folder")
        below = f"{self.below}/{relative}" if self.below else relative
        return Folder(self.make_name(relative), self.mount, self.version, self.engine, below, self.depth + 1)

    def _join(self, tree: str, relative: str) -> str:
        parts = [self.engine, tree if self.version == "v2" else "", self.below]
        return "/".join([part for part in parts if part] + [relative])


def make_folder(mount: str | None, version: Literal["v1", "v2"], path: str) -> Folder:
    """Make the folder that a find calls `path`, "" for all. Raises ValueError: it is in no engine, or climbs out."""
    path = path.strip("/")
    check_parts(path, "path")
    if mount is not None:
        return Folder(path, mount, version, mount.strip("/"), path)
    engine, _, below = path.partition("/")
    if version == "v2" and "/data/" in f"{path}/":  # the path says data/ itself
        engine, _, below = f"{path}/".partition("/data/")
    if not engine:
        raise ValueError("the store names no engine, so path has to begin with one")
    return Folder(path, mount, version, engine, below.strip("/"))


@dataclass(frozen=True)
class Level:
    """What is in a folder, without what is in the folders there."""

    folder: Folder
    secrets: tuple[Named, ...] = ()
    folders: tuple[Folder, ...] = ()


def read_level(body: Any, folder: Folder, breadth: Breadth) -> Level:
    """Read the answer to a LIST, and count what it lists.

    Raises:
        ValueError: it is none, or a folder's name climbs out.
        FindTooWide.
    """
    data = body.get("data") if isinstance(body, dict) else None
    names = data.get("keys") if isinstance(data, dict) else None
    if not isinstance(names, list):
        raise ValueError("not what a key-value engine says")  # noqa: TRY004  an answer, not an argument
    secrets, folders = [], []
    for name in names:
        if not isinstance(name, str) or not name.strip("/") or "/" in name[:-1]:
            raise ValueError("not what a key-value engine says")
        if name.endswith("/"):
            folders.append(folder.open(name[:-1]))
            breadth.add_folder(folders[-1].depth)
        else:
            secrets.append(Named(folder.make_name(name), SecretRef(folder.make_key(name))))
            breadth.add(secrets[-1].name)
    return Level(folder, tuple(secrets), tuple(folders))
