"""The loop bodies, one class a kind."""

from image_updater.reconcilers.automations import ImageUpdateAutomationReconciler
from image_updater.reconcilers.guards import UpdateGuardReconciler
from image_updater.reconcilers.policies import ImagePolicyReconciler
from image_updater.reconcilers.repositories import ImageRepositoryReconciler

__all__ = [
    "ImagePolicyReconciler",
    "ImageRepositoryReconciler",
    "ImageUpdateAutomationReconciler",
    "UpdateGuardReconciler",
]
