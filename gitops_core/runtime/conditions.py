"""The one translator from results to conditions.

    result           Ready                    besides                                  observedGeneration
    Outcome          True / its reason        -                                        the object's generation
    Outcome Unknown  Unknown / Progressing    Reconciling=True / Progressing           as it was
    TransientError   False / its reason       Reconciling=True / ProgressingWithRetry  as it was
    StalledError     False / its reason       Stalled=True / its reason                the object's generation
    a bug            False / InternalError    Reconciling=True / ProgressingWithRetry  as it was

A bug's message is the exception's type and nothing else: nobody vouches for what its text quotes.
Every message is cut to MOST_MESSAGE bytes: the API server refuses a whole status for one that is too long.
The generation advances only when the object is ready or stalled: that is how `kubectl wait` and kstatus tell a result
of this generation from an older one.

Source: Flux, pkg/runtime/conditions and pkg/runtime/reconcile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from gitops_core.domain.objects.texts import shortened
from gitops_core.errors import GitOpsError, StalledError, TransientError
from gitops_core.meta import Condition, ConditionStatus, ConditionStyle, Resource, Status
from gitops_core.runtime.reconciling import Outcome

REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"
UNSUPPORTED = "Unsupported"
MOST_MESSAGE = 4096
MOST_REPEATED = 256
"""Bytes of a message that is repeated in another one."""


def told(message: str) -> str:
    """`message` as a condition shows it."""
    return shortened(message, MOST_MESSAGE)


class _Part(NamedTuple):
    type: str
    status: ConditionStatus
    reason: str
    message: str


def status_after(result: Outcome | Exception, wanted: Resource, now: datetime, unsupported: Sequence[str]) -> Status:
    """The whole status to store for `wanted`.

    Args:
        unsupported: paths of the set fields that we do not act on.
    """
    style, previous = wanted.CONDITIONS, _status_of(wanted)
    base = _stored_status(result) or previous
    changes: dict[str, object] = {"conditions": conditions_after(result, wanted, now, unsupported)}
    changes["observed_generation"] = previous.observed_generation
    changes["last_handled_reconcile_at"] = previous.last_handled_reconcile_at
    if style.progress:
        if _is_final(result):
            changes["observed_generation"] = wanted.metadata.generation
        if token := wanted.metadata.annotations.get(REQUESTED_AT):
            changes["last_handled_reconcile_at"] = token
    return msgspec.structs.replace(base, **changes)


def conditions_after(
    result: Outcome | Exception, wanted: Resource, now: datetime, unsupported: Sequence[str]
) -> tuple[Condition, ...]:
    """All conditions to store: ours, the kind's own, and those of a newer peer, each dated by its last transition."""
    style, previous = wanted.CONDITIONS, {c.type: c for c in _status_of(wanted).conditions}
    generation = wanted.metadata.generation if style.progress else None
    parts = _main_parts(result, style)
    stated = {condition.type: condition for condition in getattr(result, "conditions", ())}
    main = [_restated(part, stated) for part in parts if not _left_out(part, stated)]
    if unsupported:
        main.append(_Part(UNSUPPORTED, "True", "FieldsNotSupported", unsupported_message(unsupported)))
    complete = [
        Condition(type=p.type, status=p.status, reason=p.reason, message=p.message, observed_generation=generation)
        for p in main
    ]
    ours = {style.type, "Ready", "Reconciling", "Stalled", UNSUPPORTED}
    complete += [_with_generation(c, generation) for type_, c in stated.items() if type_ not in ours]
    complete += _kept(previous.values(), {c.type for c in complete} | ours, () if _is_partial(result) else style.own)
    return tuple(_dated(condition, previous.get(condition.type), now) for condition in complete)


def unsupported_message(paths: Sequence[str]) -> str:
    """
    >>> unsupported_message(["spec.verify", "spec.include"])
    'set but not acted on: spec.verify, spec.include'
    """
    return told(f"set but not acted on: {', '.join(paths)}")


def refused_status(result: Outcome | Exception, refusal: Exception) -> TransientError:
    """What to say, in a short status, of an object whose status the API server refuses."""
    match result:
        case Outcome(message=message):
            said = message
        case GitOpsError():
            said = str(result)
        case _:
            said = type(result).__name__
    cause = shortened(str(refusal), MOST_REPEATED)
    message = f"the status of this result cannot be stored: {shortened(said, MOST_REPEATED)}: {cause}"
    return TransientError(message, reason="StatusRefused", retry_after=getattr(result, "retry_after", None))


def _main_parts(result: Outcome | Exception, style: ConditionStyle) -> list[_Part]:
    match result:
        case Outcome(ready="True", reason=reason, message=message):
            parts = [_Part(style.type, "True", reason, message)]
        case Outcome(message=message):
            parts = [
                _Part("Reconciling", "True", "Progressing", message),
                _Part(style.type, "Unknown", "Progressing", "Reconciliation in progress"),
            ]
        case StalledError(reason=reason):
            parts = [
                _Part("Stalled", "True", reason, str(result)),
                _Part(style.type, "False", style.failure or reason, str(result)),
            ]
        case GitOpsError(reason=reason):
            parts = [
                _Part("Reconciling", "True", "ProgressingWithRetry", str(result)),
                _Part(style.type, "False", style.failure or reason, str(result)),
            ]
        case _:
            parts = [
                _Part("Reconciling", "True", "ProgressingWithRetry", "see the controller's log"),
                _Part(style.type, "False", style.failure or "InternalError", type(result).__name__),
            ]
    return parts if style.progress else parts[-1:]


def _restated(part: _Part, stated: dict[str, Condition]) -> _Part:
    """`part` with reason and message of the result's own condition of that type."""
    if (own := stated.get(part.type)) is None:
        return part
    return part._replace(reason=own.reason or part.reason, message=own.message)


def _left_out(part: _Part, stated: dict[str, Condition]) -> bool:
    own = stated.get(part.type)
    return part.type == "Reconciling" and own is not None and own.status == "False"


def _kept(previous: Iterable[Condition], named: set[str], removed: Iterable[str]) -> list[Condition]:
    gone = named | set(removed)
    return [condition for condition in previous if condition.type not in gone]


def _with_generation(condition: Condition, generation: int | None) -> Condition:
    return msgspec.structs.replace(condition, observed_generation=generation)


def _dated(condition: Condition, before: Condition | None, now: datetime) -> Condition:
    """`condition` with the time when its status last changed, in whole seconds as Kubernetes keeps times."""
    condition = msgspec.structs.replace(condition, message=told(condition.message))
    if before is not None and before.status == condition.status and before.last_transition_time is not None:
        since = before.last_transition_time
    else:
        since = condition.last_transition_time or now.replace(microsecond=0)
    return msgspec.structs.replace(condition, last_transition_time=since)


def _stored_status(result: Outcome | Exception) -> Status | None:
    return result.status if isinstance(result, Outcome | GitOpsError) else None


def _status_of(wanted: Resource) -> Status:
    return wanted.status if isinstance(wanted.status, Status) else Status()


def _is_final(result: Outcome | Exception) -> bool:
    return isinstance(result, StalledError) or (isinstance(result, Outcome) and result.ready == "True")


def _is_partial(result: Outcome | Exception) -> bool:
    """Whether the result says nothing about the kind's own conditions: a failure that carried no status."""
    return isinstance(result, Exception) and _stored_status(result) is None
