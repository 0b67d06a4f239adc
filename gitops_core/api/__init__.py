"""What users write to apply Git to a cluster, and to be told of pushes: Flux's kinds with all of their fields."""

from gitops_core.api.bucket import Bucket, BucketSpec, BucketStatus
from gitops_core.api.fields import Artifact, GitReference, KindReference, LabelSelector, LocalReference
from gitops_core.api.gitrepository import GitInclude, GitRepository, GitRepositorySpec, GitRepositoryStatus
from gitops_core.api.kustomization import (
    CommonMetadata,
    Dependency,
    ImageOverride,
    Inventory,
    InventoryEntry,
    Kustomization,
    KustomizationSpec,
    KustomizationStatus,
    Patch,
    Selector,
    Snapshot,
    SourceReference,
)
from gitops_core.api.ocirepository import (
    LayerSelector,
    OciReference,
    OCIRepository,
    OCIRepositorySpec,
    OCIRepositoryStatus,
)
from gitops_core.api.receiver import Receiver, ReceiverResource, ReceiverSpec, ReceiverStatus

KINDS = (GitRepository, OCIRepository, Bucket, Kustomization, Receiver)

__all__ = [
    "KINDS",
    "Artifact",
    "Bucket",
    "BucketSpec",
    "BucketStatus",
    "CommonMetadata",
    "Dependency",
    "GitInclude",
    "GitReference",
    "GitRepository",
    "GitRepositorySpec",
    "GitRepositoryStatus",
    "ImageOverride",
    "Inventory",
    "InventoryEntry",
    "KindReference",
    "Kustomization",
    "KustomizationSpec",
    "KustomizationStatus",
    "LabelSelector",
    "LayerSelector",
    "LocalReference",
    "OCIRepository",
    "OCIRepositorySpec",
    "OCIRepositoryStatus",
    "OciReference",
    "Patch",
    "Receiver",
    "ReceiverResource",
    "ReceiverSpec",
    "ReceiverStatus",
    "Selector",
    "Snapshot",
    "SourceReference",
]
