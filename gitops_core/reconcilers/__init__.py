"""The loop bodies of gitops_core: one class a kind; what Receivers receive is in webhooks."""

from gitops_core.reconcilers.buckets import BucketReconciler, BucketSource
from gitops_core.reconcilers.folders import Folders
from gitops_core.reconcilers.gitrepositories import GitRepositoryReconciler
from gitops_core.reconcilers.gitsources import GitSource
from gitops_core.reconcilers.kustomizations import KustomizationReconciler
from gitops_core.reconcilers.ocirepositories import OCIRepositoryReconciler
from gitops_core.reconcilers.ocisources import OciSource
from gitops_core.reconcilers.receivers import ReceiverReconciler
from gitops_core.reconcilers.webhooks import Webhooks

__all__ = [
    "BucketReconciler",
    "BucketSource",
    "Folders",
    "GitRepositoryReconciler",
    "GitSource",
    "KustomizationReconciler",
    "OCIRepositoryReconciler",
    "OciSource",
    "ReceiverReconciler",
    "Webhooks",
]
