"""Which ImageRepository a policy may choose from, asked anew each time: a status that says Ready proves nothing.

own namespace             always
another one's             where its accessFrom lets this namespace in, and the operator lets objects name others' at all
"""

from __future__ import annotations

from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.ports import Cluster, Objects
from gitops_core.runtime.policy import Policy
from image_updater.api import AccessFrom, ImagePolicy, ImageRepository
from image_updater.domain.tags.choices import get_repository_key
from image_updater.errors import AccessDenied, RepositoryNotReady

NAMESPACE = Kind("", "v1", "Namespace")
TROUBLE = "failed to get the referred ImageRepository"


async def find_repository(cluster: Cluster, objects: Objects, operator: Policy, policy: ImagePolicy) -> ImageRepository:
    """Return the ImageRepository that a policy names.

    Raises:
        RepositoryNotReady: there is none.
        AccessDenied: it does not let the policy's namespace in.
        ReferenceRefused, ClusterError.
    """
    key = get_repository_key(policy)
    operator.check_reference(policy.ref, ObjectRef(ImageRepository.KIND, key))
    repository = await objects.get(ImageRepository, key)
    if repository is None:
        kind = f"ImageRepository.{ImageRepository.KIND.group}"
        raise RepositoryNotReady(f'{TROUBLE}: referenced ImageRepository does not exist: {kind} "{key.name}" not found')
    if key.namespace != policy.metadata.namespace:
        await _check_access(cluster, repository, policy.metadata.namespace)
    return repository


async def _check_access(cluster: Cluster, repository: ImageRepository, namespace: str) -> None:
    trouble, access = f"{TROUBLE}: access denied: '{repository.key}' can't be accessed", repository.spec.access_from
    if access is None:
        raise AccessDenied(f"{trouble} due to missing ACL labels on 'accessFrom'")
    if not is_open(access, await read_labels(cluster, namespace)):
        raise AccessDenied(f"{trouble} due to ACL labels mismatch on namespace '{namespace}'")


async def read_labels(cluster: Cluster, namespace: str) -> dict[str, str]:
    manifest = await cluster.get(ObjectRef(NAMESPACE, ObjectKey("", namespace))) or {}
    return dict((manifest.get("metadata") or {}).get("labels") or {})


def is_open(access: AccessFrom, labels: dict[str, str]) -> bool:
    """Tell whether a namespace with these labels is let in."""
    return any(selector.match_labels.items() <= labels.items() for selector in access.namespace_selectors)
