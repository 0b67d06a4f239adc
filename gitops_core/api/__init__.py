"""What users write to apply Git to a cluster: GitRepository and Kustomization, with all of Flux's fields."""

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

KINDS = (GitRepository, Kustomization)

__all__ = [
    "KINDS",
    "Artifact",
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
    "LocalReference",
    "Patch",
    "Selector",
    "Snapshot",
    "SourceReference",
]
