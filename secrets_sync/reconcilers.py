"""The loop bodies of SecretStore and ExternalSecret.

An ExternalSecret reads its store, its Secret and, when it must, the provider; `plan_target` decides; then one write.
Whatever it reads or writes lies in its own namespace: the cluster handle knows no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import msgspec

from gitops_core.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    GitOpsError,
    Invalid,
    NotFound,
    NotLeader,
    StalledError,
    TransientError,
)
from gitops_core.meta import Condition, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import Clock, Cluster, Compute, Objects, PartialObject, Query
from gitops_core.runtime.bounded import NamespaceBound
from gitops_core.runtime.computing import IN_PLACE
from gitops_core.runtime.reconciling import Notice, Outcome
from gitops_core.schema import unsupported
from secrets_sync.api import ExternalSecret, ExternalSecretStatus, RemoteRef, SecretStore
from secrets_sync.api.externalsecret import Binding
from secrets_sync.domain.extract import map_of, value_of, weight_of
from secrets_sync.domain.hashing import created_by, field_manager, synced_version
from secrets_sync.domain.live import CREATED_BY, SECRET, LiveSecret
from secrets_sync.domain.plan import (
    DELETED,
    Create,
    Delete,
    Keep,
    Plan,
    Refuse,
    Update,
    is_ours,
    plan_target,
    target_of,
)
from secrets_sync.domain.refresh import interval_of, is_due, next_look
from secrets_sync.errors import (
    NotSupported,
    SecretNotFound,
    StoreInvalid,
    StoreNotReady,
    TargetImmutable,
    TargetTaken,
    WriteFailed,
)
from secrets_sync.ports import ProviderFactories, SecretProvider

E_ = TypeVar("E_", bound=GitOpsError)

NO_DATA = "could not get secret data from provider"
NO_UPDATE = "could not update secret"
VALIDATION_INTERVAL = 300.0
"""Seconds between two validations of a store."""
WRITE_ATTEMPTS = 3
"""How often a write is planned anew, at once, because somebody else wrote the Secret since it was read."""


@dataclass(frozen=True)
class SecretStoreReconciler:
    """Implements gitops_core.runtime.Reconciler for SecretStore: says whether the store can be used."""

    cluster: Cluster
    factories: ProviderFactories

    async def reconcile(self, wanted: SecretStore) -> Outcome:
        try:
            provider = await open_store(wanted, self.cluster, self.factories)
        except StoreInvalid as error:
            raise _with_reason(error, wanted, "InvalidProviderConfig", f"unable to create client: {error}") from error
        try:
            await provider.validate()
        except StoreInvalid as error:
            raise _with_reason(error, wanted, "InvalidProviderConfig", f"unable to validate store: {error}") from error
        except TransientError as error:
            raise _with_reason(error, wanted, "ValidationFailed", f"unable to validate store: {error}") from error
        status = msgspec.structs.replace(wanted.status, capabilities=provider.capabilities)
        return Outcome(status, "store validated", VALIDATION_INTERVAL, reason="Valid")

    async def finalize(self, wanted: SecretStore) -> None:
        return None


async def open_store(store: SecretStore, cluster: Cluster, factories: ProviderFactories) -> SecretProvider:
    """A provider for `store`. Raises StoreInvalid: none or several are set, or one that this version does not have."""
    settings = store.spec.provider
    named = [name for name in settings.__struct_fields__ if getattr(settings, name) is not None]
    if len(named) != 1:
        raise StoreInvalid(f"spec.provider names {len(named)} providers: exactly one is needed")
    if named[0] not in factories:
        raise StoreInvalid(f"spec.provider.{named[0]} is not supported")
    return await factories[named[0]].open(store, NamespaceBound(cluster, store.metadata.namespace))


def _with_reason(error: E_, wanted: SecretStore, reason: str, message: str) -> E_:
    error.carrying(wanted.status, Condition(type="Ready", status="False", reason=reason, message=message))
    return error


@dataclass(frozen=True)
class _Read:
    """What the provider had: the values, and the entries that it had nothing for."""

    values: Mapping[str, Sensitive]
    notices: tuple[Notice, ...]


@dataclass(frozen=True)
class ExternalSecretReconciler:
    """Implements gitops_core.runtime.Reconciler for ExternalSecret.

    `_synced` remembers which settings of its store each one was last synced with, so that an edit of the store counts
    as a change. It may be lost: then the next refresh finds the difference.
    """

    cluster: Cluster
    objects: Objects
    clock: Clock
    factories: ProviderFactories
    compute: Compute = IN_PLACE
    _synced: dict[ObjectKey, str] = field(default_factory=dict)

    async def reconcile(self, wanted: ExternalSecret) -> Outcome:
        started = self.clock.now().replace(microsecond=0)
        cluster = NamespaceBound(self.cluster, wanted.metadata.namespace)
        live = await _live_secret(wanted, cluster)
        try:
            store = await self._store(wanted)
            if not await self._must_read(wanted, store, live):
                return _undisturbed(wanted, started)
            store = _usable(store, wanted)
            read = await self._read(wanted, store)
        except NotLeader:
            raise
        except GitOpsError as error:
            raise _failed(error, wanted, NO_DATA) from error
        plan, notices = await self._carry_out(wanted, read.values, live, cluster)
        self._synced[wanted.key] = _identity(store)
        return _synced_outcome(wanted, plan, started, (*read.notices, *notices))

    async def finalize(self, wanted: ExternalSecret) -> None:
        """Deletes the Secret if the deletionPolicy says so; otherwise garbage collection takes what is controlled."""
        self._synced.pop(wanted.key, None)
        if wanted.spec.target.deletion_policy != "Delete":
            return
        cluster = NamespaceBound(self.cluster, wanted.metadata.namespace)
        live = await _live_secret(wanted, cluster)
        if live is not None and is_ours(wanted, live):
            await _delete(cluster, live)

    # reading

    async def _store(self, wanted: ExternalSecret) -> SecretStore | None:
        _refuse_unsupported(wanted)
        reference = wanted.spec.secret_store_ref
        return await self.objects.get(
            SecretStore, ObjectKey(wanted.metadata.namespace, reference.name if reference else "")
        )

    async def _must_read(self, wanted: ExternalSecret, store: SecretStore | None, live: LiveSecret | None) -> bool:
        known = self._synced.get(wanted.key)
        if store is not None and known is not None and known != _identity(store):
            return True
        if not _was_ready(wanted) or is_due(wanted, self.clock.now()):
            return True
        return not await self.compute.run(_size(live), _is_in_order, wanted, live)

    async def _read(self, wanted: ExternalSecret, store: SecretStore) -> _Read:
        """Every read of the provider: each distinct key and version once, dataFrom before data, later ones win."""
        provider = await open_store(store, self.cluster, self.factories)
        payloads: dict[tuple[str, str], Sensitive] = {}
        values: dict[str, Sensitive] = {}
        notices: list[Notice] = []
        for i, source in enumerate(wanted.spec.data_from):
            if source.extract is None:
                continue
            path = f"spec.dataFrom[{i}]"
            try:
                payload = await _fetched(provider, source.extract, payloads)
                weight = weight_of(payload, source.extract)
                values |= await self.compute.run(weight, map_of, payload, source.extract, provider.rule, provider.where)
            except GitOpsError as error:
                notices.append(_absent(error, wanted, f"{path}.extract", path))
        for i, entry in enumerate(wanted.spec.data):
            ref, path = entry.remote_ref, f"spec.data[{i}] (key: {entry.remote_ref.key})"
            try:
                payload = await _fetched(provider, ref, payloads)
                weight = weight_of(payload, ref)
                values[entry.secret_key] = await self.compute.run(
                    weight, value_of, payload, ref, provider.rule, provider.where
                )
            except GitOpsError as error:
                notices.append(_absent(error, wanted, path, f"spec.data[{i}] (key={ref.key})"))
        return _Read(values, tuple(notices))

    # writing

    async def _carry_out(
        self, wanted: ExternalSecret, values: Mapping[str, Sensitive], live: LiveSecret | None, cluster: Cluster
    ) -> tuple[Plan, tuple[Notice, ...]]:
        notices: tuple[Notice, ...] = ()
        if wanted.spec.target.creation_policy == "Owner" and values and _moved(wanted):
            notices = await _delete_orphans(wanted, cluster)
        for attempt in range(WRITE_ATTEMPTS):
            weight = sum(len(value.reveal()) for value in values.values()) + _size(live)
            plan = await self.compute.run(weight, plan_target, wanted, values, live)
            if isinstance(plan, Refuse):
                raise _refused(plan, wanted)
            try:
                return plan, notices + await _write(plan, wanted, cluster, live)
            except (Conflict, AlreadyExists, NotFound) as error:
                if attempt == WRITE_ATTEMPTS - 1:
                    failure = WriteFailed("somebody else keeps writing the Secret", retry_after=1.0)
                    raise _failed(failure, wanted, NO_UPDATE) from error
                live = await _live_secret(wanted, cluster)
            except NotLeader:
                raise
            except ClusterError as error:
                raise _failed(_mute(error), wanted, NO_UPDATE) from None  # the cause could quote the values
        raise AssertionError("unreachable")


def _refuse_unsupported(wanted: ExternalSecret) -> None:
    """Raises NotSupported. Such a field decides what the Secret holds: one made without it could replace a good one."""
    paths = [path for path in unsupported(wanted.spec) if not path.startswith("spec.syncWindows")]
    if paths:
        raise NotSupported(f"{', '.join(paths)} is not supported, so the Secret cannot be made")
    try:
        interval_of(wanted)
    except ValueError as error:
        raise NotSupported(f"spec.refreshInterval: {error}") from error


def _usable(store: SecretStore | None, wanted: ExternalSecret) -> SecretStore:
    """Raises StoreNotReady: there is none, or it was not validated."""
    reference = wanted.spec.secret_store_ref
    if reference is None or not reference.name:
        raise StoreNotReady("spec.secretStoreRef names no store")
    name = reference.name
    if store is None:
        raise StoreNotReady(f'could not get SecretStore "{name}", SecretStore.external-secrets.io "{name}" not found')
    if not store.status.is_ready:
        failure = StoreNotReady(f'SecretStore "{name}" is not ready')
        # one that nobody has looked at yet is no trouble to tell of: it will be validated in a moment
        raise failure if store.status.conditions else failure.told("None", {})
    return store


def _identity(store: SecretStore) -> str:
    return f"{store.metadata.uid}/{store.metadata.generation}"


def _was_ready(wanted: ExternalSecret) -> bool:
    return wanted.status.is_ready


def _is_in_order(wanted: ExternalSecret, live: LiveSecret | None) -> bool:
    """Whether the Secret is what the last refresh left; one that we would not make or mend is always in order."""
    policy = wanted.spec.target.creation_policy
    if policy in ("Orphan", "None") or (policy == "Merge" and live is None):
        return True
    return live is not None and live.is_as_written


def _size(live: LiveSecret | None) -> int:
    return sum(len(value.reveal()) for value in live.data.values()) if live is not None else 0


def _moved(wanted: ExternalSecret) -> bool:
    """Whether this spec was not synced yet: only then can the Secret have had another name before."""
    return wanted.status.synced_resource_version != synced_version(wanted.metadata)


async def _live_secret(wanted: ExternalSecret, cluster: Cluster) -> LiveSecret | None:
    manifest = await cluster.get(target_of(wanted))
    return None if manifest is None else LiveSecret.of(manifest)


async def _fetched(provider: SecretProvider, ref: RemoteRef, payloads: dict[tuple[str, str], Sensitive]) -> Sensitive:
    known = (ref.key, ref.version)
    if known not in payloads:
        payloads[known] = await provider.fetch(ref.key, ref.version)
    return payloads[known]


def _absent(error: GitOpsError, wanted: ExternalSecret, path: str, short: str) -> Notice:
    """The notice for a secret that the provider does not have, if that is no failure; raises otherwise."""
    if isinstance(error, SecretNotFound) and wanted.spec.target.deletion_policy != "Retain":
        return Notice("Normal", "MissingProviderSecret", f"secret does not exist at provider using {short}")
    raise _located(error, f"error processing {path}, err: {error}") from error


def _located(error: GitOpsError, message: str) -> GitOpsError:
    """The same kind of failure, which also says which entry it was."""
    if isinstance(error, StalledError):
        return StalledError(message, reason=error.reason)
    return TransientError(message, reason=error.reason, retry_after=getattr(error, "retry_after", None))


async def _write(plan: Plan, wanted: ExternalSecret, cluster: Cluster, live: LiveSecret | None) -> tuple[Notice, ...]:
    manager = field_manager(wanted.metadata.name)
    match plan:
        case Create(manifest=manifest):
            await cluster.create(manifest, field_manager=manager)
            return (Notice("Normal", "Created", "secret created"),)
        case Update(manifest=manifest):
            await cluster.replace(manifest, field_manager=manager)
            return (Notice("Normal", "Updated", "secret updated"),)
        case Delete() if live is not None:
            await _delete(cluster, live)
            return (Notice("Normal", "Deleted", DELETED.message),)
    return ()


async def _delete(cluster: Cluster, live: LiveSecret) -> None:
    uid, version = str(live.metadata.get("uid", "")), str(live.metadata.get("resourceVersion", ""))
    try:
        await cluster.delete(live.ref, uid=uid, resource_version=version)
    except NotFound:
        return


async def _delete_orphans(wanted: ExternalSecret, cluster: Cluster) -> tuple[Notice, ...]:
    """Delete what this ExternalSecret made under another name."""
    selector = f"{CREATED_BY}={created_by(wanted.key)}"
    query = Query(SECRET, wanted.metadata.namespace, labels=selector, metadata_only=True)
    page = await cluster.list(query, PartialObject)
    notices = []
    for orphan in page.items:
        if not isinstance(orphan, PartialObject) or orphan.metadata.name == target_of(wanted).key.name:
            continue
        if not any(owner.uid == wanted.metadata.uid for owner in orphan.metadata.owner_references):
            continue  # a copied label makes no owner
        ref = ObjectRef(SECRET, ObjectKey(wanted.metadata.namespace, orphan.metadata.name))
        try:
            await cluster.delete(ref, uid=orphan.metadata.uid)
        except NotFound:
            continue
        except ClusterError as error:
            raise _failed(error, wanted, "could not delete orphaned secrets") from error
        notices.append(Notice("Normal", "Deleted", "secret deleted because it was orphaned"))
    return tuple(notices)


# what it came to


def _undisturbed(wanted: ExternalSecret, now: datetime) -> Outcome:
    """Nothing was to do: the conditions stay as they are."""
    ready = next(c for c in wanted.status.conditions if c.type == "Ready")
    delay = next_look(wanted, wanted.status.refresh_time, now)
    return Outcome(wanted.status, ready.message, delay, reason=ready.reason)


def _synced_outcome(wanted: ExternalSecret, plan: Plan, started: datetime, notices: tuple[Notice, ...]) -> Outcome:
    kept = plan if isinstance(plan, Keep) else DELETED if isinstance(plan, Delete) else Keep()
    status = ExternalSecretStatus(
        conditions=wanted.status.conditions,
        refresh_time=started,
        synced_resource_version=synced_version(wanted.metadata),
        binding=_binding(wanted, kept.bound),
    )
    return Outcome(
        status,
        kept.message,
        next_look(wanted, started, started),
        reason=kept.reason,
        changed=not isinstance(plan, Keep),
        notices=notices,
    )


def _binding(wanted: ExternalSecret, bound: bool) -> Binding:
    return Binding(name=target_of(wanted).key.name) if bound else Binding()


def _failed(error: E_, wanted: ExternalSecret, sentence: str) -> E_:
    """`error`, which also says what the Ready condition is: the original's sentence, then the detail."""
    detail = str(error)
    condition = Condition(type="Ready", status="False", reason="SecretSyncedError", message=f"{sentence}: {detail}")
    status = wanted.status
    if status.binding is None:
        status = msgspec.structs.replace(status, binding=Binding())
    error.carrying(status, condition)
    return error


def _refused(plan: Refuse, wanted: ExternalSecret) -> StalledError:
    refusal: StalledError = TargetImmutable(plan.detail) if plan.immutable else TargetTaken(plan.detail)
    failed = _failed(refusal, wanted, plan.message)
    if failed.status is not None:
        failed.status = msgspec.structs.replace(failed.status, binding=_binding(wanted, bound=True))
    return failed


def _mute(error: ClusterError) -> TransientError:
    """A refusal of the API server without the part that could quote the Secret."""
    if isinstance(error, Invalid):
        faults = ", ".join(f"{fault.field} ({fault.reason})" for fault in error.faults)
        return WriteFailed(f"the API server refuses the Secret: {faults or 'it is invalid'}")
    retry_after = error.retry_after
    return WriteFailed(f"the API server did not take the Secret: {error.reason}", retry_after=retry_after)
