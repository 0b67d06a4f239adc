"""The loop bodies of SecretStore and ExternalSecret.

An ExternalSecret reads its store, its Secret and, when it must, the provider; `plan_target` decides; then one write.
Whatever it reads or writes lies in its own namespace: the cluster handle knows no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import msgspec

from gitops_core.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    GitOpsError,
    NotFound,
    NotLeader,
    StalledError,
    TransientError,
)
from gitops_core.meta import Condition, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import Clock, Cluster, Compute, Objects, PartialObject, Query
from gitops_core.runtime.bounded import NamespaceBound
from gitops_core.runtime.computing import IN_PLACE
from gitops_core.runtime.informers import every_page
from gitops_core.runtime.reconciling import Notice, Outcome
from gitops_core.schema import unsupported
from secrets_sync.api import ExternalSecret, ExternalSecretStatus, RemoteRef, SecretStore
from secrets_sync.api.externalsecret import CONTESTED, TOOK_OVER, Binding
from secrets_sync.domain.extract import map_of, value_of, weight_of
from secrets_sync.domain.hashing import created_by, field_manager
from secrets_sync.domain.live import CREATED_BY, SECRET, LiveSecret, weight_of_manifest
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
    released,
    target_of,
)
from secrets_sync.domain.reading import Absent, Reading
from secrets_sync.domain.refresh import interval_of, is_due, next_look, version_of
from secrets_sync.domain.refusals import cause_of
from secrets_sync.domain.rivals import SHARING, rivals
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
            opened = await open_store(wanted, self.cluster, self.factories)
        except StoreInvalid as error:
            raise _with_reason(error, wanted, "InvalidProviderConfig", f"unable to create client: {error}") from error
        async with aclosing(opened) as provider:
            try:
                await provider.validate()
            except StoreInvalid as error:
                message = f"unable to validate store: {error}"
                raise _with_reason(error, wanted, "InvalidProviderConfig", message) from error
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
        live = await _live_secret(wanted, cluster, self.compute)
        try:
            store = await self._store(wanted)
            if not await self._must_read(wanted, store, live):
                return _undisturbed(wanted, started)
            store = _usable(store, wanted)
            reading = await self._read(wanted, store)
            missing = _missing(wanted, reading)
            others = await self._rivals(wanted)
        except NotLeader:
            raise
        except GitOpsError as error:
            raise _failed(error, wanted, NO_DATA) from error
        plan, notices = await self._carry_out(wanted, reading, live, cluster)
        self._synced[wanted.key] = _identity(store)
        conditions = _conditions(wanted, plan, others)
        notices = (*missing, *notices, *_told(wanted, conditions))
        return _synced_outcome(wanted, plan, started, conditions, notices)

    async def finalize(self, wanted: ExternalSecret) -> None:
        """Deletes the Secret if the deletionPolicy says so; otherwise garbage collection takes what is controlled."""
        self._synced.pop(wanted.key, None)
        if wanted.spec.target.deletion_policy != "Delete":
            return
        cluster = NamespaceBound(self.cluster, wanted.metadata.namespace)
        live = await _live_secret(wanted, cluster, self.compute)
        if live is None or not is_ours(wanted, live):
            return
        try:
            await _delete(cluster, live)
        except ClusterError as error:
            raise _mute(error, f"delete {live.ref}") from None

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
        return not await self.compute.run(_weight(live), _is_in_order, wanted, live)

    async def _rivals(self, wanted: ExternalSecret) -> tuple[str, ...]:
        if wanted.spec.target.creation_policy not in SHARING:
            return ()
        return rivals(wanted, await self.objects.list(ExternalSecret, wanted.metadata.namespace))

    async def _read(self, wanted: ExternalSecret, store: SecretStore) -> Reading:
        async with aclosing(await open_store(store, self.cluster, self.factories)) as provider:
            return await _reading(wanted, provider, self.compute)

    # writing

    async def _carry_out(
        self, wanted: ExternalSecret, reading: Reading, live: LiveSecret | None, cluster: Cluster
    ) -> tuple[Plan, tuple[Notice, ...]]:
        """What was done, and what is told of it. The Secret is there before one of an earlier name is deleted."""
        for attempt in range(WRITE_ATTEMPTS):
            yields = await self._yields(wanted, live, cluster)
            weight = reading.weight + _weight(live)
            plan = await self.compute.run(weight, plan_target, wanted, reading, live, yields)
            if isinstance(plan, Refuse):
                raise _refused(plan, wanted)
            try:
                notices = await _write(plan, wanted, cluster, live)
                break
            except (Conflict, AlreadyExists, NotFound) as error:
                if attempt == WRITE_ATTEMPTS - 1:
                    failure = WriteFailed("somebody else keeps writing the Secret", retry_after=1.0)
                    raise _failed(failure, wanted, NO_UPDATE) from error
                live = await _live_secret(wanted, cluster, self.compute)
            except NotLeader:
                raise
            except ClusterError as error:
                raise _failed(_mute(error, "take the Secret"), wanted, NO_UPDATE) from None
        if wanted.spec.target.creation_policy == "Owner" and (_moved(wanted) or isinstance(plan, Create)):
            everyone = await self.objects.list(ExternalSecret, wanted.metadata.namespace)
            notices += await _delete_orphans(wanted, plan, cluster, _targets(wanted, everyone))
        return plan, notices

    async def _yields(self, wanted: ExternalSecret, live: LiveSecret | None, cluster: Cluster) -> str:
        """The uid of the other ExternalSecret that controls the Secret and gives it up to `wanted`; "" for none.

        It does when it is to make another Secret, and waits for that in a circle that ends at `wanted`'s own.
        """
        if live is None or wanted.spec.target.creation_policy != "Owner" or is_ours(wanted, live):
            return ""
        everyone = {one.metadata.uid: one for one in await self.objects.list(ExternalSecret, wanted.metadata.namespace)}
        held: LiveSecret | None = live
        passed: list[str] = []
        while held is not None and held.controller is not None:
            uid = str(held.controller.get("uid"))
            if uid == wanted.metadata.uid:
                return passed[0]
            holder = everyone.get(uid)
            if holder is None or uid in passed or not _moves_away(holder, held):
                break
            passed.append(uid)
            held = await _live_secret(holder, cluster, self.compute)
        return ""


def _moves_away(holder: ExternalSecret, held: LiveSecret) -> bool:
    is_owner = holder.spec.target.creation_policy == "Owner" and holder.metadata.deletion_timestamp is None
    return is_owner and target_of(holder) != held.ref


def _targets(wanted: ExternalSecret, everyone: Iterable[ExternalSecret]) -> frozenset[str]:
    """The names of the Secrets that others are to own."""
    others = (one for one in everyone if one.key != wanted.key and one.metadata.deletion_timestamp is None)
    return frozenset(target_of(one).key.name for one in others if one.spec.target.creation_policy == "Owner")


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


def _weight(live: LiveSecret | None) -> int:
    return live.weight if live is not None else 0


def _moved(wanted: ExternalSecret) -> bool:
    """Whether this spec was not synced yet: only then can the Secret have had another name before."""
    return wanted.status.synced_resource_version != version_of(wanted)


async def _live_secret(wanted: ExternalSecret, cluster: Cluster, compute: Compute) -> LiveSecret | None:
    manifest = await cluster.get(target_of(wanted))
    return None if manifest is None else await compute.run(weight_of_manifest(manifest), LiveSecret.of, manifest)


@dataclass(frozen=True)
class _Entry:
    """An entry of spec.dataFrom or spec.data: what to read, and the key to keep it under (None: its own keys)."""

    path: str
    ref: RemoteRef
    secret_key: str | None = None

    def values_in(self, payload: Sensitive, provider: SecretProvider) -> Mapping[str, Sensitive]:
        if self.secret_key is None:
            return map_of(payload, self.ref, provider.rule, provider.where)
        return {self.secret_key: value_of(payload, self.ref, provider.rule, provider.where)}


def _entries(wanted: ExternalSecret) -> Iterator[_Entry]:
    for i, source in enumerate(wanted.spec.data_from):
        if source.extract is not None:
            yield _Entry(f"spec.dataFrom[{i}]", source.extract)
    for i, entry in enumerate(wanted.spec.data):
        yield _Entry(f"spec.data[{i}]", entry.remote_ref, entry.secret_key)


async def _reading(wanted: ExternalSecret, provider: SecretProvider, compute: Compute) -> Reading:
    """Every read of the provider: each distinct key and version once."""
    payloads: dict[tuple[str, str], Sensitive | Absent] = {}
    answers: list[Mapping[str, Sensitive] | Absent] = []
    for entry in _entries(wanted):
        known = (entry.ref.key, entry.ref.version)
        try:
            if known not in payloads:
                payloads[known] = await provider.fetch(*known)
            payload = payloads[known]
            if isinstance(payload, Absent):
                answers.append(payload)
            else:
                weight = weight_of(payload, entry.ref)
                answers.append(await compute.run(weight, entry.values_in, payload, provider))
        except GitOpsError as error:
            raise _located(error, entry) from error
    return Reading(tuple(answers))


def _missing(wanted: ExternalSecret, reading: Reading) -> tuple[Notice, ...]:
    """What is told of entries that are absent. Raises SecretNotFound: the deletionPolicy is Retain."""
    notices = []
    for entry, answer in zip(_entries(wanted), reading.answers, strict=True):
        if not isinstance(answer, Absent):
            continue
        if wanted.spec.target.deletion_policy == "Retain":
            raise _located(SecretNotFound(str(answer)), entry)
        short = entry.path if entry.secret_key is None else f"{entry.path} (key={entry.ref.key})"
        notices.append(Notice("Normal", "MissingProviderSecret", f"secret does not exist at provider using {short}"))
    return tuple(notices)


def _located(error: GitOpsError, entry: _Entry) -> GitOpsError:
    """The same kind of failure, which also says which entry it was."""
    place = f"{entry.path}.extract" if entry.secret_key is None else f"{entry.path} (key: {entry.ref.key})"
    message = f"error processing {place}, err: {error}"
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


async def _delete_orphans(
    wanted: ExternalSecret, plan: Plan, cluster: Cluster, awaited: frozenset[str]
) -> tuple[Notice, ...]:
    """Delete what this ExternalSecret made under another name, if the Secret is there in its place.

    Args:
        awaited: the names of Secrets that others are to own: those are left to them.
    """
    if not isinstance(plan, Create | Update) and plan != Keep():
        return ()
    selector = f"{CREATED_BY}={created_by(wanted.key)}"
    query = Query(SECRET, wanted.metadata.namespace, labels=selector, metadata_only=True)
    notices = []
    for orphan in await every_page(cluster, query, PartialObject):
        found = orphan.metadata
        if found.name == target_of(wanted).key.name:
            continue
        if not any(owner.controller and owner.uid == wanted.metadata.uid for owner in found.owner_references):
            continue  # a copied label makes no owner
        ref = ObjectRef(SECRET, ObjectKey(wanted.metadata.namespace, found.name))
        try:
            if found.name in awaited:
                await _release(wanted, cluster, ref)
                continue
            await cluster.delete(ref, uid=found.uid, resource_version=found.resource_version)
        except NotFound:
            continue
        except ClusterError as error:
            raise _failed(_mute(error, f"delete {ref}"), wanted, "could not delete orphaned secrets") from None
        notices.append(Notice("Normal", "Deleted", "secret deleted because it was orphaned"))
    return tuple(notices)


async def _release(wanted: ExternalSecret, cluster: Cluster, ref: ObjectRef) -> None:
    """Give up the Secret, if it still is `wanted`'s. Raises ClusterError."""
    manifest = await cluster.get(ref)
    if manifest is not None and is_ours(wanted, live := LiveSecret.of(manifest)):
        await cluster.replace(released(wanted, live), field_manager=field_manager(wanted.metadata.name))


# what it came to


def _undisturbed(wanted: ExternalSecret, now: datetime) -> Outcome:
    """Nothing was to do: the conditions stay as they are."""
    ready = next(c for c in wanted.status.conditions if c.type == "Ready")
    delay = next_look(wanted, wanted.status.refresh_time, now)
    return Outcome(wanted.status, ready.message, delay, reason=ready.reason, conditions=_standing(wanted))


def _standing(wanted: ExternalSecret, *types: str) -> tuple[Condition, ...]:
    """The conditions of our own that stand, of these types or of all."""
    return tuple(c for c in wanted.status.conditions if c.type in (types or ExternalSecret.CONDITIONS.own))


def _conditions(wanted: ExternalSecret, plan: Plan, others: tuple[str, ...]) -> tuple[Condition, ...]:
    """What a user must know of the Secret although all went well."""
    name = target_of(wanted).key.name
    if others:
        names = ", ".join(map(repr, others))
        message = f"Secret {name!r} is also written by ExternalSecret {names}, and each takes the other's keys away"
        return (Condition(type=CONTESTED, status="True", reason="SharedTarget", message=message),)
    if isinstance(plan, Update) and plan.lost:
        keys = ", ".join(plan.lost)
        message = (
            f"Secret {name!r} was there before, and of what others had put there this was removed or replaced: {keys}"
        )
        return (Condition(type=TOOK_OVER, status="True", reason="KeysReplaced", message=message),)
    return () if _moved(wanted) else _standing(wanted, TOOK_OVER)


def _told(wanted: ExternalSecret, conditions: tuple[Condition, ...]) -> tuple[Notice, ...]:
    """A warning for each condition that was not there before."""
    known = {(condition.type, condition.message) for condition in _standing(wanted)}
    return tuple(Notice("Warning", c.reason, c.message) for c in conditions if (c.type, c.message) not in known)


def _synced_outcome(
    wanted: ExternalSecret,
    plan: Plan,
    started: datetime,
    conditions: tuple[Condition, ...],
    notices: tuple[Notice, ...],
) -> Outcome:
    kept = plan if isinstance(plan, Keep) else DELETED if isinstance(plan, Delete) else Keep()
    status = ExternalSecretStatus(
        conditions=wanted.status.conditions,
        refresh_time=started,
        synced_resource_version=version_of(wanted),
        binding=_binding(wanted, kept.bound),
    )
    return Outcome(
        status,
        kept.message,
        next_look(wanted, started, started),
        reason=kept.reason,
        conditions=conditions,
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
    error.carrying(status, condition, *_standing(wanted))
    return error


def _refused(plan: Refuse, wanted: ExternalSecret) -> StalledError:
    refusal: StalledError = TargetImmutable(plan.detail) if plan.immutable else TargetTaken(plan.detail)
    failed = _failed(refusal, wanted, plan.message)
    if failed.status is not None:
        failed.status = msgspec.structs.replace(failed.status, binding=_binding(wanted, bound=True))
    return failed


def _mute(error: ClusterError, deed: str) -> WriteFailed:
    """A refusal of the API server without what could quote the Secret. Raise it from None."""
    return WriteFailed(f"the API server did not {deed}: {cause_of(error)}", retry_after=error.retry_after)
