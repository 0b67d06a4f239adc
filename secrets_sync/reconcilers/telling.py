"""What users are told of an ExternalSecret: conditions, events, the status, in the original's sentences."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

import msgspec

from gitops_core.errors import GitOpsError, StalledError
from gitops_core.meta import Condition
from gitops_core.runtime.reconciling import Notice, Outcome
from secrets_sync.api import ExternalSecret, ExternalSecretStatus
from secrets_sync.api.externalsecret import CONTESTED, TOOK_OVER, Binding
from secrets_sync.domain.provider.reading import Absent, Reading
from secrets_sync.domain.provider.reads import ReadPlan
from secrets_sync.domain.secret.plan import DELETED, Delete, Keep, Plan, Refuse, Update, get_target
from secrets_sync.domain.secret.refresh import find_next_look, is_edited, write_version
from secrets_sync.errors import SecretNotFound, TargetImmutable, TargetTaken

E_ = TypeVar("E_", bound=GitOpsError)

NO_DATA = "could not get secret data from provider"
NO_UPDATE = "could not update secret"
NO_CLEARING = "could not delete orphaned secrets"


def tell_undisturbed(wanted: ExternalSecret, now: datetime) -> Outcome:
    """Return the outcome when nothing was to do: the conditions stay as they are."""
    ready = next(c for c in wanted.status.conditions if c.type == "Ready")
    delay = find_next_look(wanted, wanted.status.refresh_time, now)
    return Outcome(wanted.status, ready.message, delay, reason=ready.reason, conditions=_list_own_conditions(wanted))


def tell_synced(
    wanted: ExternalSecret, plan: Plan, started: datetime, others: tuple[str, ...], notices: tuple[Notice, ...]
) -> Outcome:
    """Return the outcome of a refresh.

    Args:
        others: the names of the ExternalSecrets that write the same Secret.
        notices: what is told beside what the conditions say.
    """
    kept = plan if isinstance(plan, Keep) else DELETED if isinstance(plan, Delete) else Keep()
    status = ExternalSecretStatus(
        conditions=wanted.status.conditions,
        refresh_time=started,
        synced_resource_version=write_version(wanted),
        binding=_make_binding(wanted, kept.bound),
    )
    conditions = _make_conditions(wanted, plan, others)
    return Outcome(
        status,
        kept.message,
        find_next_look(wanted, started, started),
        reason=kept.reason,
        conditions=conditions,
        changed=not isinstance(plan, Keep),
        notices=(*notices, *_make_warnings(wanted, conditions)),
    )


def tell_missing(wanted: ExternalSecret, reads: ReadPlan, reading: Reading) -> tuple[Notice, ...]:
    """Return what is told of entries that are absent. Raises SecretNotFound: the deletionPolicy is Retain."""
    notices = []
    for entry, answer in zip(reads.entries, reading.answers, strict=True):
        if not isinstance(answer, Absent):
            continue
        if wanted.spec.target.deletion_policy == "Retain":
            raise entry.locate(SecretNotFound(str(answer)))
        message = f"secret does not exist at provider using {entry.label}"
        notices.append(Notice("Normal", "MissingProviderSecret", message))
    return tuple(notices)


def tell_failed(error: E_, wanted: ExternalSecret, sentence: str) -> E_:
    """Return `error`, which also says what the Ready condition is: the original's sentence, then the detail."""
    detail = str(error)
    condition = Condition(type="Ready", status="False", reason="SecretSyncedError", message=f"{sentence}: {detail}")
    status = wanted.status
    if status.binding is None:
        status = msgspec.structs.replace(status, binding=Binding())
    error.carry(status, condition, *_list_own_conditions(wanted))
    return error


def tell_refused(plan: Refuse, wanted: ExternalSecret) -> StalledError:
    """Return the error that says that nothing may be written."""
    refusal: StalledError = TargetImmutable(plan.detail) if plan.immutable else TargetTaken(plan.detail)
    failed = tell_failed(refusal, wanted, plan.message)
    if failed.status is not None:
        failed.status = msgspec.structs.replace(failed.status, binding=_make_binding(wanted, bound=True))
    return failed


def _list_own_conditions(wanted: ExternalSecret, *types: str) -> tuple[Condition, ...]:
    """List the conditions of our own that stand, of these types or of all."""
    return tuple(c for c in wanted.status.conditions if c.type in (types or ExternalSecret.OWN_CONDITIONS))


def _make_conditions(wanted: ExternalSecret, plan: Plan, others: tuple[str, ...]) -> tuple[Condition, ...]:
    """Make conditions of what a user must know of the Secret although all went well."""
    name = get_target(wanted).key.name
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
    return () if is_edited(wanted) else _list_own_conditions(wanted, TOOK_OVER)


def _make_warnings(wanted: ExternalSecret, conditions: tuple[Condition, ...]) -> tuple[Notice, ...]:
    """Make a warning for each condition that was not there before."""
    known = {(condition.type, condition.message) for condition in _list_own_conditions(wanted)}
    return tuple(Notice("Warning", c.reason, c.message) for c in conditions if (c.type, c.message) not in known)


def _make_binding(wanted: ExternalSecret, bound: bool) -> Binding:
    return Binding(name=get_target(wanted).key.name) if bound else Binding()
