"""The loop bodies, one class a kind."""

from secrets_sync.reconcilers.externalsecrets import ExternalSecretReconciler
from secrets_sync.reconcilers.secretstores import SecretStoreReconciler

__all__ = ["ExternalSecretReconciler", "SecretStoreReconciler"]
