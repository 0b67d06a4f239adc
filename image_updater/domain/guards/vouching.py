"""Who may vouch for what: the five places where somebody's word could be taken for somebody else's.

labels        what runs here, and how it fares           the inventory of who applied it, and the labels: who may
                                                         write one of them writes nothing of what others have
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
    """Tell whether a Kustomization of the automation's namespace, or its GitRepository's, applies what it writes.

    A folder of the same repository that overlaps is to say so. A tenant elsewhere must not be able to fail a bump here.

    Args:
        url: of the Kustomization's GitRepository, "" when it has none.
    """
    automation, source = written
    is_near = kustomization.metadata.namespace in (automation.metadata.namespace, source.metadata.namespace)
    is_same = bool(url) and is_same_repository(url, source.spec.url)
    is_here = kustomization.spec.kube_config is None  # the workloads of another cluster are not looked at
    return is_here and is_near and is_same and overlap(kustomization.spec.path, automation.spec.update.path)


def overlap(one: str, other: str) -> bool:
    """Tell whether one of two folders of a repository lies in the other.

    >>> overlap("./apps/prod", "apps"), overlap("", "apps"), overlap("apps-2", "apps")
    (True, True, False)
    """
    parts = [[part for part in path.split("/") if part not in ("", ".")] for path in (one, other)]
    shorter = min(map(len, parts))
    return parts[0][:shorter] == parts[1][:shorter]


def make_labels(prefix: str, owner: ObjectKey) -> dict[str, str]:
    """Return the labels that an owner's objects carry."""
    return {f"{prefix}/name": owner.name, f"{prefix}/namespace": owner.namespace}


def is_labelled(manifest: Manifest, prefix: str, owner: ObjectKey) -> bool:
    """Tell whether an object carries the labels of the owner, whose inventory alone anybody may have written."""
    labels = (manifest.get("metadata") or {}).get("labels") or {}
    return make_labels(prefix, owner).items() <= labels.items()


def is_in_inventory(ref: ObjectRef, inventory: Collection[str]) -> bool:
    """Tell whether an inventory holds a workload, which makes it its owner's, whatever the labels say.

    Args:
        inventory: ids as Flux writes them: `namespace_name_group_kind`.
    """
    return f"{ref.key.namespace}_{ref.key.name}_{ref.kind.group}_{ref.kind.kind}" in inventory


def is_of_release(ref: ObjectRef, release: Manifest) -> bool:
    """Tell whether a workload is a HelmRelease's: it is in its inventory or, without one, where it installs to."""
    inventory = _get_at(release, "status", "inventory")
    if isinstance(inventory, dict):
        entries = inventory.get("entries") or ()
        return is_in_inventory(ref, frozenset(str(entry.get("id", "")) for entry in entries if isinstance(entry, dict)))
    namespace = _get_at(release, "spec", "targetNamespace") or _get_at(release, "metadata", "namespace")
    return bool(ref.key.namespace == namespace)


# checkpoints


def is_checkpoint(manifest: Manifest, wanted: ImageRepository) -> bool:
    """Tell whether a ConfigMap is an ImageRepository's checkpoint: it says so, is owned by it, and holds no more."""
    metadata = manifest.get("metadata") or {}
    owners = metadata.get("ownerReferences") or ()
    is_owned = any((o.get("kind"), o.get("name")) == (wanted.KIND.kind, wanted.metadata.name) for o in owners)
    is_marked = MANAGED_BY.items() <= (metadata.get("labels") or {}).items() and IMAGE in _get_annotations(manifest)
    is_alone = not manifest.get("data") and (manifest.get("binaryData") or {}).keys() <= {TAGS}
    return metadata.get("namespace") == wanted.metadata.namespace and is_owned and is_marked and is_alone


def is_of_image(checkpoint: Manifest, name: str) -> bool:
    """Tell whether the ages in a checkpoint are those of the image that it names, reached in the same way.

    Args:
        name: what the catalog calls it.
    """
    return _get_annotations(checkpoint).get(IMAGE) == get_image(name)


# branches


def is_recorded(commit: str, content: Pushing | None, statuses: Iterable[ImageUpdateAutomationStatus]) -> bool:
    """Tell whether a commit is ours: a status names its id, or what was about to be pushed. An author proves nothing.

    Args:
        content: the commit's only parent and its tree; None when it has several parents or none.
    """
    return any(
        status.last_push_commit == commit or (content is not None and status.pushing == content) for status in statuses
    )


def find_holder(tip: str, wanted: ImageUpdateAutomation, others: Iterable[ImageUpdateAutomation]) -> ObjectKey | None:
    """Return who pushed the tip of a branch that two cannot share, and so holds it, in the same namespace; or None.

    Args:
        tip: the commit that the branch is at.
    """
    if not tip or wanted.status.last_push_commit == tip:
        return None
    claims = (other for other in others if other.metadata.namespace == wanted.metadata.namespace)
    return next((other.key for other in claims if other.status.last_push_commit == tip), None)


# webhooks


def may_ask(asked: Collection[Push]) -> bool:
    """Tell whether the registry may be asked for one more pushed tag: each is asked for once, and only so many.

    Args:
        asked: the pushes since the last listing that it was asked about.
    """
    return len(asked) < MOST_ASKED


def is_same_repository(one: str, other: str) -> bool:
    """Tell whether two URLs name one repository, as far as their text tells.

    >>> is_same_repository("https://git.example.com/apps.git", "https://git.example.com/apps/")
    True
    """
    return _strip(one) == _strip(other)


# the catalog


def make_catalog_name(wanted: ImageRepository, canonical: str) -> str:
    """Return the name in the catalog: a namespace's own, and another one for plain HTTP or a proxy.

    Anybody may answer there. What others list with the same credentials would be the same: that may be taken over,
    listing by listing.
    """
    ways = (" over http" if wanted.spec.insecure else "", " by proxy" if wanted.spec.proxy_secret_ref else "")
    return f"{canonical}{''.join(ways)} for {wanted.metadata.namespace}"


def get_image(name: str) -> str:
    """Return the image in a catalog's name, without its namespace.

    >>> get_image("ghcr.io/org/app over http for shop")
    'ghcr.io/org/app over http'
    """
    return name.rpartition(" for ")[0]


def _get_annotations(manifest: Manifest) -> dict[str, Any]:
    return (manifest.get("metadata") or {}).get("annotations") or {}


def _strip(url: str) -> str:
    return url.rstrip("/").removesuffix(".git")


def _get_at(manifest: Manifest, *path: str) -> Any:
    found: Any = manifest
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found
