"""The face of secrets_sync: SecretStores are validated, ExternalSecrets become Secrets.

Secret (credentials) ── wakes ──> SecretStore ── Ready or edited: wakes ──> ExternalSecret ── makes ──> Secret
                                                                                  └──── edited by hand: wakes ─┘
"""

from __future__ import annotations

from typing import Any

from gitops_core.ports import Query
from gitops_core.runtime.loop.tellers import ExternalSecrets
from gitops_core.runtime.permissions import READ, Permission
from gitops_core.runtime.reconciling import Component, Controller, Platform, Watch
from secrets_sync.api import ExternalSecret, SecretStore
from secrets_sync.domain.secret.live import MANAGED, SECRET
from secrets_sync.domain.secret.references import CONFIG_MAP, list_credentials, list_references
from secrets_sync.domain.secret.refresh import find_interval
from secrets_sync.ports import ProviderFactories
from secrets_sync.reconcilers import ExternalSecretReconciler, SecretStoreReconciler
from secrets_sync.runtime.reads import Reads

AT_ONCE = 128
"""Objects of a kind that are looked at together: most of them wait for a server, some for one that hangs."""
TELLS_STORES, TELLS_SECRETS = ExternalSecrets(), ExternalSecrets(failure="SecretSyncedError", event="UpdateFailed")

PERMISSIONS = (
    Permission("", "secrets", READ, "credentials of SecretStores, and what ExternalSecrets wrote"),
    Permission("", "secrets", ("create", "update", "delete"), "what ExternalSecrets write"),
    Permission("", "configmaps", READ, "certificates of SecretStores"),
    Permission(
        ExternalSecret.KIND.group,
        f"{ExternalSecret.PLURAL}/finalizers",
        ("update",),
        "being the owner of a Secret, where the API server asks for it (OwnerReferencesPermissionEnforcement)",
    ),
)

component = Component(name="secrets", kinds=(SecretStore, ExternalSecret), permissions=PERMISSIONS)


def make_controllers(platform: Platform, factories: ProviderFactories) -> tuple[Controller[Any], ...]:
    """Return the controllers of this package. The caller closes the factories when the process ends."""
    stores = Controller(
        SecretStore,
        SecretStoreReconciler(platform.cluster, factories),
        TELLS_STORES,
        references=list_credentials,
        watches=(Watch(Query(SECRET)), Watch(Query(CONFIG_MAP))),
        concurrency=AT_ONCE,
        significant=_asks_again,
    )
    secrets = Controller(
        ExternalSecret,
        ExternalSecretReconciler(
            platform.cluster, platform.objects, platform.clock, factories, Reads(), platform.compute
        ),
        TELLS_SECRETS,
        references=list_references,
        watches=(
            Watch(Query(SecretStore.KIND), SecretStore, _may_help),
            Watch(Query(SECRET, labels=f"{MANAGED}=true")),
        ),
        concurrency=AT_ONCE,
        significant=_asks_again,
        find_interval=find_interval,
    )
    return stores, secrets


def _asks_again(old: Any, new: Any) -> bool:
    """Tell whether more than the status changed: labels and annotations are part of what was synced."""
    before, after = old.metadata, new.metadata
    return (before.generation, before.labels, before.annotations, before.deletion_timestamp) != (
        after.generation,
        after.labels,
        after.annotations,
        after.deletion_timestamp,
    )


def _may_help(old: SecretStore | None, new: SecretStore | None) -> bool:
    """Tell whether a store's change may help a Secret: one that fails disturbs nobody whose Secret is in order."""
    if old is None or new is None:
        return new is not None
    return old.metadata.generation != new.metadata.generation or (new.status.is_ready and not old.status.is_ready)
