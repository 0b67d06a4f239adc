"""Who may vouch for what: the five places where somebody's word could be taken for somebody else's.

labels        what runs here, and how it fares           the inventory of who applied it
checkpoints   since when a tag is what it is             the ConfigMap that we wrote in the same namespace
branches      which commits we may replace               our own record of what we pushed
webhooks      that a tag was pushed                      the registry, asked once
catalog       which tags a repository has                what this namespace's own objects listed
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from gitops_core.api import GitRepository, Kustomization
from gitops_core.meta import Manifest, ObjectKey, ObjectRef
from image_updater.api import ImageRepository, ImageUpdateAutomation, ImageUpdateAutomationStatus, Pushing
from image_updater.domain.registry.pushes import Push

MANAGED_BY = {"app.kubernetes.io/managed-by": "sealoop"}
IMAGE = "sealoop.dev/image"
TAGS = "tags"
MOST_ASKED = 50
"""Pushed tags of one repository that the registry is asked about between two listings."""


# labels


class Written(NamedTuple):
    """Where an automation writes: itself, and the GitRepository that it names."""

    automation: ImageUpdateAutomation
    source: GitRepository


def applies(kustomization: Kustomization, url: str, written: Written) -> bool:
    """A Kustomization applies what an automation writes when it says so from its namespace, or its GitRepository's.

    A folder of the same repository that overlaps is to say so. A tenant elsewhere must not be able to fail a bump here.

    Args:
        url: of the Kustomization's GitRepository, "" when it has none.
    """
    automation, source = written
    is_near = kustomization.metadata.namespace in (automation.metadata.namespace, source.metadata.namespace)
    is_same = bool(url) and same_repository(url, source.spec.url)
    return is_near and is_same and overlap(kustomization.spec.path, automation.spec.update.path)


def overlap(one: str, other: str) -> bool:
    """Whether one of two folders of a repository lies in the other.

    >>> overlap("./apps/prod", "apps"), overlap("", "apps"), overlap("apps-2", "apps")
    (True, True, False)
    """
    parts = [[part for part in path.split("/") if part not in ("", ".")] for path in (one, other)]
    shorter = min(map(len, parts))
    return parts[0][:shorter] == parts[1][:shorter]


def stands_in(ref: ObjectRef, inventory: Collection[str]) -> bool:
    """A workload is whose inventory it stands in, whatever its labels say.

    Args:
        inventory: ids as Flux writes them: `namespace_name_group_kind`.
    """
    return f"{ref.key.namespace}_{ref.key.name}_{ref.kind.group}_{ref.kind.kind}" in inventory


def is_of_release(ref: ObjectRef, release: Manifest) -> bool:
    """A workload is a HelmRelease's when it stands in its inventory or, without one, is where it installs to."""
    inventory = _at(release, "status", "inventory")
    if isinstance(inventory, dict):
        entries = inventory.get("entries") or ()
        return stands_in(ref, frozenset(str(entry.get("id", "")) for entry in entries if isinstance(entry, dict)))
    namespace = _at(release, "spec", "targetNamespace") or _at(release, "metadata", "namespace")
    return bool(ref.key.namespace == namespace)


# checkpoints


def is_checkpoint(manifest: Manifest, wanted: ImageRepository) -> bool:
    """A ConfigMap is an ImageRepository's checkpoint when it says so, that object owns it, and it holds no more."""
    metadata = manifest.get("metadata") or {}
    owners = metadata.get("ownerReferences") or ()
    is_owned = any((o.get("kind"), o.get("name")) == (wanted.KIND.kind, wanted.metadata.name) for o in owners)
    is_marked = MANAGED_BY.items() <= (metadata.get("labels") or {}).items() and IMAGE in _annotations(manifest)
    is_alone = not manifest.get("data") and (manifest.get("binaryData") or {}).keys() <= {TAGS}
    return metadata.get("namespace") == wanted.metadata.namespace and is_owned and is_marked and is_alone


def is_of_image(checkpoint: Manifest, name: str) -> bool:
    """The ages in a checkpoint are those of the image that it names, reached in the same way.

    Args:
        name: what the catalog calls it.
    """
    return _annotations(checkpoint).get(IMAGE) == image_of(name)


# branches


def is_recorded(commit: str, content: Pushing | None, statuses: Iterable[ImageUpdateAutomationStatus]) -> bool:
    """A commit is ours when a status says so: by its id, or by what was about to be pushed. An author proves nothing.

    Args:
        content: the commit's only parent and its tree; None when it has several parents or none.
    """
    return any(
        status.last_push_commit == commit or (content is not None and status.pushing == content) for status in statuses
    )


def holder(tip: str, wanted: ImageUpdateAutomation, others: Iterable[ImageUpdateAutomation]) -> ObjectKey | None:
    """Of two that cannot share a branch, the one that pushed its tip holds it: no name does, nor another namespace.

    Args:
        tip: the commit that the branch is at.
    """
    if not tip or wanted.status.last_push_commit == tip:
        return None
    claims = (other for other in others if other.metadata.namespace == wanted.metadata.namespace)
    return next((other.key for other in claims if other.status.last_push_commit == tip), None)


# webhooks


def may_ask(asked: Collection[Push]) -> bool:
    """A pushed tag is there when the registry names an image for it: it is asked once, and of so many only.

    Args:
        asked: the pushes since the last listing that it was asked about.
    """
    return len(asked) < MOST_ASKED


def same_repository(one: str, other: str) -> bool:
    """Whether two URLs name one repository, as far as their text tells.

    >>> same_repository("https://git.example.com/apps.git", "https://git.example.com/apps/")
    True
    """
    return _plain(one) == _plain(other)


# the catalog


def catalog_name(wanted: ImageRepository, canonical: str) -> str:
    """What a namespace lists counts in that namespace alone, and apart what came over plain HTTP or by a proxy.

    Anybody may answer there. What others list with the same credentials would be the same: that may be taken over,
    listing by listing.
    """
    ways = (" over http" if wanted.spec.insecure else "", " by proxy" if wanted.spec.proxy_secret_ref else "")
    return f"{canonical}{''.join(ways)} for {wanted.metadata.namespace}"


def image_of(name: str) -> str:
    """The name without its namespace.

    >>> image_of("ghcr.io/org/app over http for shop")
    'ghcr.io/org/app over http'
    """
    return name.rpartition(" for ")[0]


def _annotations(manifest: Manifest) -> dict[str, Any]:
    return (manifest.get("metadata") or {}).get("annotations") or {}


def _plain(url: str) -> str:
    return url.rstrip("/").removesuffix(".git")


def _at(manifest: Manifest, *path: str) -> Any:
    found: Any = manifest
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found
