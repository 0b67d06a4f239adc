"""Whose an object is, and what is respected on it whoever owns it.

Every owner has an Ownership, and no two have the same: its mark differs from that of every other owner of its kind in a
value, from those of other kinds in every name; owners of another kind have another manager too. So nothing is watched,
taken over or deleted on behalf of an owner that did not apply it.

What people ask for on an object, as annotation or label, are directives. One that we applied ourselves ends with the
manifest that names it; one that somebody else owns holds until he takes it away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitops_core.domain.objects import fieldmanagers
from gitops_core.meta import Manifest

Settings = tuple[tuple[str, str], ...]
"""(name of an annotation or label, value): one of them is enough, whatever the case of its value."""


@dataclass(frozen=True)
class Directives:
    """Attributes:
    excluded: neither applied nor pruned.
    create_only: created, and never changed.
    shared: other managers keep their fields.
    kept: never pruned.
    forced: deleted and made anew where fields of it cannot be changed.
    others: names that are read elsewhere, and are not taken from who set them either.
    """

    excluded: Settings = ()
    create_only: Settings = ()
    shared: Settings = ()
    kept: Settings = ()
    forced: Settings = ()
    others: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        settings = (*self.excluded, *self.create_only, *self.shared, *self.kept, *self.forced)
        return frozenset(name for name, _ in settings) | frozenset(self.others)


@dataclass(frozen=True)
class Ownership:
    """Attributes:
    manager: field manager that applies the owner's objects.
    mark: labels that all of them carry; the first says of what kind the owner is, whatever its value.
    creator: how the owner is called on what others' objects go with (creators.py).
    """

    manager: str
    mark: Mapping[str, str]
    creator: str
    directives: Directives

    def add_mark(self, manifest: Manifest) -> Manifest:
        return add_metadata(manifest, self.mark, {})

    def owns(self, manifest: Manifest) -> bool:
        labels = _get_labels(manifest)
        return all(labels.get(name) == value for name, value in self.mark.items())

    @property
    def selector(self) -> str:
        """Label selector of what any owner of this kind has: of that, changes are watched."""
        return next(iter(self.mark))

    def is_watched(self, manifest: Manifest) -> bool:
        return self.selector in _get_labels(manifest)

    def is_excluded(self, manifest: Manifest) -> bool:
        return _says(manifest, self.directives.excluded)

    def is_create_only(self, manifest: Manifest) -> bool:
        return _says(manifest, self.directives.create_only)

    def is_shared(self, manifest: Manifest) -> bool:
        return _says(manifest, self.directives.shared)

    def is_left_alone(self, wanted: Manifest, live: Manifest) -> bool:
        """Return whether an object that exists is not to be applied, by its manifest or by others' directives."""
        if self.is_excluded(live) or self.is_create_only(wanted):
            return True
        return self._asks(live, self.directives.create_only)

    def is_forced(self, wanted: Manifest, live: Manifest) -> bool:
        """Return whether the manifest, or somebody else in the cluster, asks for the object to be made anew where it
        cannot be changed.
        """
        return _says(wanted, self.directives.forced) or self._asks(live, self.directives.forced)

    def is_kept(self, wanted: Manifest, live: Manifest) -> bool:
        """Return whether the manifest or the object says that it is never pruned."""
        return _says(wanted, self.directives.kept) or _says(live, self.directives.kept)

    def is_others(self, wanted: Manifest, live: Manifest) -> bool:
        """Return whether the object carries another mark than the manifest."""
        ours, theirs = _get_labels(wanted), _get_labels(live)
        return any(name in theirs and theirs[name] != ours.get(name) for name in self.mark)

    def _asks(self, live: Manifest, settings: Settings) -> bool:
        """Return whether somebody else asks for it: what we applied ourselves ends with the manifest."""
        foreign = (
            (name, value) for name, value in settings if not fieldmanagers.applies_metadata(live, name, self.manager)
        )
        return _says(live, tuple(foreign))

    def may_hide_directives(self, wanted: Manifest) -> bool:
        """Return whether applying the manifest would replace a directive by which others have the object left alone."""
        metadata = wanted.get("metadata") or {}
        places = [metadata.get(place) or {} for place in ("annotations", "labels")]
        settings = (*self.directives.excluded, *self.directives.create_only)
        return any(name in place for name, _ in settings for place in places)

    def may_prune(self, live: Manifest) -> bool:
        """Return whether `live` may be deleted for the owner: it must be its own, and nobody asked to keep it."""
        return self.owns(live) and not _says(live, self.directives.kept) and not self.is_excluded(live)


def add_metadata(manifest: Manifest, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Manifest:
    """Add these labels and annotations, which win, to `manifest`; without any, the maps are left as they are."""
    metadata = dict(manifest.get("metadata") or {})
    if labels:
        metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    if annotations:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **annotations}
    return {**manifest, "metadata": metadata}


def _get_labels(manifest: Manifest) -> Mapping[str, str]:
    return (manifest.get("metadata") or {}).get("labels") or {}


def _says(manifest: Manifest, settings: Settings) -> bool:
    metadata = manifest.get("metadata") or {}
    found = (
        ((metadata.get(place) or {}).get(name), value)
        for name, value in settings
        for place in ("annotations", "labels")
    )
    return any(isinstance(text, str) and text.lower() == value.lower() for text, value in found)
