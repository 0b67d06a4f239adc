"""Which objects take part in one round of image updates: those of a namespace, and whatever they name.

    automations, policies, repositories, guards ──► GitRepositories, ImageRepositories ──► Secrets, ServiceAccounts

No other object is read, so no other object's credential is in reach of the round.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from gitops_core.api import GitRepository
from gitops_core.errors import GitOpsError, KindUnknown
from gitops_core.meta import SERVICE_ACCOUNT, Kind, Manifest, ObjectKey, ObjectRef, Resource
from gitops_core.ports import Cluster, Query
from gitops_core.runtime.remotes.credentials import SECRET
from gitops_core.runtime.watching.informers import list_live_manifests
from image_updater.api import KINDS, ImagePolicy, ImageRepository, ImageUpdateAutomation
from image_updater.reconcilers.checkpoints import CONFIG_MAP, make_checkpoint_key
from image_updater.reconcilers.pullrequests import SECRET as PULL_REQUEST_SECRET
from image_updater.reconcilers.sources import WRITE_SECRET
from sealoop.objects.kinds import NAMESPACE

SERVED: tuple[type[Resource], ...] = (GitRepository, *KINDS)

Find = Callable[[ObjectRef], Awaitable[Manifest | None]]


async def select(manifests: Iterable[Manifest], namespace: str) -> list[Manifest]:
    """Select what takes part of manifests in files.

    Args:
        namespace: whose; "" for all. It is also the namespace of manifests that name none (else `default`).
    """
    known = {_identify(placed): placed for placed in (_put(each, namespace or "default") for each in manifests)}
    served = {kind.KIND[::2] for kind in SERVED}
    roots = [
        manifest
        for (kind, key), manifest in known.items()
        if kind in served and (not namespace or (key.namespace == namespace and kind != GitRepository.KIND[::2]))
    ]

    async def find(ref: ObjectRef) -> Manifest | None:
        return known.get((ref.kind[::2], ref.key))

    return await _add_named(roots, find)


async def select_in_cluster(cluster: Cluster, namespace: str) -> list[Manifest]:
    """Select what takes part of a cluster's objects; what is named and cannot be read is reported."""
    roots: list[Manifest] = []
    for kind in KINDS:
        with contextlib.suppress(KindUnknown):  # who has no UpdateGuards has not installed them
            roots += await list_live_manifests(cluster, Query(kind.KIND, namespace=namespace))

    async def find(ref: ObjectRef) -> Manifest | None:
        try:
            return await cluster.get(ref)
        except GitOpsError as error:
            click.echo(f"without {ref}: {error}", err=True)
            return None

    return await _add_named(roots, find)


async def _add_named(roots: Sequence[Manifest], find: Find) -> list[Manifest]:
    """Return the roots with what they name, and what that names."""
    found, asked, fresh = list(roots), {_identify(each) for each in roots}, list(roots)
    while fresh:
        named = {(ref.kind[::2], ref.key): ref for manifest in fresh for ref in list_named(manifest)}
        missing = sorted(ref for place, ref in named.items() if place not in asked)
        asked |= named.keys()
        fresh = [manifest for manifest in [await find(ref) for ref in missing] if manifest is not None]
        found += fresh
    return found


def list_named(manifest: Manifest) -> Iterable[ObjectRef]:
    """Yield what an object needs of others: its namespace, sources, Secrets, ServiceAccount and checkpoint.

    >>> spec = {"secretRef": {"name": "pull"}}
    >>> manifest = {"kind": "GitRepository", "metadata": {"name": "a", "namespace": "shop"}, "spec": spec}
    >>> [str(ref) for ref in list_named(manifest)]
    ['Namespace/shop', 'Secret/shop/pull']
    >>> annotations = {"sealoop.dev/write-secret": "push", "sealoop.dev/pull-request-secret": "api"}
    >>> metadata = {"name": "a", "namespace": "shop", "annotations": annotations}
    >>> [str(ref) for ref in list_named({"kind": "ImageUpdateAutomation", "metadata": metadata})]
    ['Namespace/shop', 'Secret/shop/push', 'Secret/shop/api']
    """
    kind, metadata, spec = manifest["kind"], manifest["metadata"], manifest.get("spec") or {}
    namespace = metadata.get("namespace", "")
    if namespace:
        yield ObjectRef(NAMESPACE, ObjectKey("", namespace))
    if kind == SERVICE_ACCOUNT.kind:
        yield from _list_secrets(namespace, manifest.get("imagePullSecrets") or ())
    if kind not in {served.KIND.kind for served in SERVED}:
        return
    yield from _follow(spec.get("sourceRef"), GitRepository.KIND, namespace, kind == ImageUpdateAutomation.KIND.kind)
    yield from _follow(spec.get("imageRepositoryRef"), ImageRepository.KIND, namespace, kind == ImagePolicy.KIND.kind)
    yield from _list_secrets(
        namespace,
        (
            *(spec.get(name) for name in ("secretRef", "certSecretRef", "proxySecretRef")),
            ((spec.get("git") or {}).get("commit", {}).get("signingKey") or {}).get("secretRef"),
            (spec.get("verify") or {}).get("secretRef"),
        ),
    )
    annotations = metadata.get("annotations") or {}
    names = filter(None, map(annotations.get, (WRITE_SECRET, PULL_REQUEST_SECRET)))
    yield from (ObjectRef(SECRET, ObjectKey(namespace, name)) for name in names)
    if kind == ImageRepository.KIND.kind:
        yield ObjectRef(CONFIG_MAP, make_checkpoint_key(ObjectKey(namespace, metadata["name"])))
        if account := spec.get("serviceAccountName"):
            yield ObjectRef(SERVICE_ACCOUNT, ObjectKey(namespace, account))


def _follow(reference: Any, kind: Kind, namespace: str, counts: bool) -> Iterable[ObjectRef]:
    if counts and isinstance(reference, Mapping) and "name" in reference:
        yield ObjectRef(kind, ObjectKey(reference.get("namespace") or namespace, reference["name"]))


def _list_secrets(namespace: str, references: Iterable[Any]) -> Iterable[ObjectRef]:
    named = (each for each in references if isinstance(each, Mapping) and "name" in each)
    yield from (ObjectRef(SECRET, ObjectKey(namespace, each["name"])) for each in named)


def _put(manifest: Manifest, namespace: str) -> Manifest:
    """Return the manifest in a namespace."""
    if Kind.of_manifest(manifest) == NAMESPACE or manifest["metadata"].get("namespace"):
        return manifest
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


def _identify(manifest: Manifest) -> tuple[tuple[str, ...], ObjectKey]:
    """Return group and kind, whatever the version, and key."""
    ref = ObjectRef.of(manifest)
    return ref.kind[::2], ref.key
