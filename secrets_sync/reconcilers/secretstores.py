"""The loop body of SecretStore: it says whether the store can be used."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from gitops_core.errors import GitOpsError, TransientError
from gitops_core.meta import Condition
from gitops_core.ports import Cluster
from gitops_core.runtime.reconciling import Outcome
from secrets_sync.api import SecretStore
from secrets_sync.errors import StoreInvalid
from secrets_sync.ports import ProviderFactories
from secrets_sync.reconcilers.stores import open_store

E_ = TypeVar("E_", bound=GitOpsError)

VALIDATION_INTERVAL = 300.0
"""Seconds between two validations of a store."""


@dataclass(frozen=True)
class SecretStoreReconciler:
    """Implements gitops_core.runtime.reconciling.Reconciler for SecretStore."""

    cluster: Cluster
    factories: ProviderFactories

    async def reconcile(self, wanted: SecretStore) -> Outcome:
        try:
            opened = await open_store(wanted, self.cluster, self.factories)
        except StoreInvalid as error:
            raise _attach_reason(error, wanted, "InvalidProviderConfig", f"unable to create client: {error}") from error
        async with aclosing(opened) as provider:
            try:
                await provider.validate()
            except StoreInvalid as error:
                message = f"unable to validate store: {error}"
                raise _attach_reason(error, wanted, "InvalidProviderConfig", message) from error
            except TransientError as error:
                raise _attach_reason(error, wanted, "ValidationFailed", f"unable to validate store: {error}") from error
        status = msgspec.structs.replace(wanted.status, capabilities=provider.capabilities)
        return Outcome(status, "store validated", VALIDATION_INTERVAL, reason="Valid")

    async def finalize(self, wanted: SecretStore) -> None:
        return None


def _attach_reason(error: E_, wanted: SecretStore, reason: str, message: str) -> E_:
    error.carry(wanted.status, Condition(type="Ready", status="False", reason=reason, message=message))
    return error
