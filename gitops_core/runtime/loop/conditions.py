"""From results to conditions; a Teller (tellers.py) says which of them its family stores, and what else.

    result           Ready                    besides                                  observedGeneration
    Outcome          True / its reason        -                                        the object's generation
    Outcome Unknown  Unknown / Progressing    Reconciling=True / Progressing           as it was
    TransientError   False / its reason       Reconciling=True / ProgressingWithRetry  as it was
    StalledError     False / its reason       Stalled=True / its reason                the object's generation
    a bug            False / InternalError    Reconciling=True / ProgressingWithRetry  as it was

A bug's message is the exception's type and nothing else: nobody vouches for what its text quotes.
Every message is cut to MOST_MESSAGE bytes: the API server refuses a whole status for one that is too long.

Source: Flux, pkg/runtime/conditions and pkg/runtime/reconcile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from gitops_core.domain.objects.texts import shorten
from gitops_core.errors import GitOpsError, StalledError, TransientError
from gitops_core.meta import Condition, ConditionStatus, Resource, Status, Wire
from gitops_core.runtime.reconciling import Outcome

REQUESTED_AT = "reconcile.fluxcd.io/requestedAt"
UNSUPPORTED = "Unsupported"
MOST_MESSAGE = 4096
MOST_REPEATED = 256
"""Bytes of a message that is repeated in another one."""
_OURS = frozenset({"Ready", "Reconciling", "Stalled", UNSUPPORTED})


def cut_message(message: str) -> str:
    """Shorten `message` to what a condition shows of it."""
    return shorten(message, MOST_MESSAGE)


class Part(NamedTuple):
    type: str
    status: ConditionStatus
    reason: str
    message: str


def make_parts(result: Outcome | Exception) -> list[Part]:
    """Make the conditions that say what came of a reconciliation; the last one is Ready."""
    match result:
        case Outcome(ready="True", reason=reason, message=message):
            return [Part("Ready", "True", reason, message)]
        case Outcome(message=message):
            return [
                Part("Reconciling", "True", "Progressing", message),
                Part("Ready", "Unknown", "Progressing", "Reconciliation in progress"),
            ]
        case StalledError(reason=reason):
            return [Part("Stalled", "True", reason, str(result)), Part("Ready", "False", reason, str(result))]
        case GitOpsError(reason=reason):
            return [
                Part("Reconciling", "True", "ProgressingWithRetry", str(result)),
                Part("Ready", "False", reason, str(result)),
            ]
        case _:
            return [
                Part("Reconciling", "True", "ProgressingWithRetry", "see the controller's log"),
                Part("Ready", "False", "InternalError", type(result).__name__),
            ]


def make_conditions(
    main: Iterable[Part],
    result: Outcome | Exception,
    wanted: Resource,
    now: datetime,
    unsupported: Sequence[str],
    generation: int | None,
) -> tuple[Condition, ...]:
    """Make all conditions to store: ours, the kind's own, and a newer peer's, each dated by its last transition.

    Args:
        main: what is said of the result, as make_parts() has it.
        generation: that stands in ours; None for none.
    """
    previous = {c.type: c for c in get_status(wanted).conditions}
    stated = {condition.type: condition for condition in getattr(result, "conditions", ())}
    parts = [_restate(part, stated) for part in main if not _is_left_out(part, stated)]
    if unsupported:
        parts.append(Part(UNSUPPORTED, "True", "FieldsNotSupported", name_unsupported(unsupported)))
    complete = [
        Condition(type=p.type, status=p.status, reason=p.reason, message=p.message, observed_generation=generation)
        for p in parts
    ]
    complete += [_set_generation(c, generation) for type_, c in stated.items() if type_ not in _OURS]
    gone = () if _is_partial(result) else wanted.OWN_CONDITIONS
    complete += _list_kept(previous.values(), {c.type for c in complete} | _OURS, gone)
    return tuple(_date(condition, previous.get(condition.type), now) for condition in complete)


def name_unsupported(paths: Sequence[str]) -> str:
    """Name the set fields that are not acted on.

    >>> name_unsupported(["spec.verify", "spec.include"])
    'set but not acted on: spec.verify, spec.include'
    """
    return cut_message(f"set but not acted on: {', '.join(paths)}")


def make_status_refusal(result: Outcome | Exception, refusal: Exception) -> TransientError:
    """Make what to say, in a short status, of an object whose status the API server refuses."""
    match result:
        case Outcome(message=message):
            said = message
        case GitOpsError():
            said = str(result)
        case _:
            said = type(result).__name__
    cause = shorten(str(refusal), MOST_REPEATED)
    message = f"the status of this result cannot be stored: {shorten(said, MOST_REPEATED)}: {cause}"
    return TransientError(message, reason="StatusRefused", retry_after=getattr(result, "retry_after", None))


def _restate(part: Part, stated: dict[str, Condition]) -> Part:
    """Restate `part` with reason and message of the result's own condition of that type."""
    if (own := stated.get(part.type)) is None:
        return part
    return part._replace(reason=own.reason or part.reason, message=own.message)


def _is_left_out(part: Part, stated: dict[str, Condition]) -> bool:
    own = stated.get(part.type)
    return part.type == "Reconciling" and own is not None and own.status == "False"


def _list_kept(previous: Iterable[Condition], named: set[str], removed: Iterable[str]) -> list[Condition]:
    gone = named | set(removed)
    return [condition for condition in previous if condition.type not in gone]


def _set_generation(condition: Condition, generation: int | None) -> Condition:
    return msgspec.structs.replace(condition, observed_generation=generation)


def _date(condition: Condition, before: Condition | None, now: datetime) -> Condition:
    """Date `condition` by when its status last changed, in whole seconds as Kubernetes keeps times."""
    condition = msgspec.structs.replace(condition, message=cut_message(condition.message))
    if before is not None and before.status == condition.status and before.last_transition_time is not None:
        since = before.last_transition_time
    else:
        since = condition.last_transition_time or now.replace(microsecond=0)
    return msgspec.structs.replace(condition, last_transition_time=since)


def choose_base(result: Outcome | Exception, wanted: Resource) -> Status:
    """Choose the status that the result carries, or the stored one: without the conditions that follow from it."""
    carried = _find_carried(result)
    return carried if isinstance(carried, Status) else get_status(wanted)


def get_status(wanted: Resource) -> Status:
    return wanted.status if isinstance(wanted.status, Status) else Status()


def get_ready(live: Resource) -> str:
    """Return the status of the Ready condition, Unknown without one."""
    return ready.status if (ready := get_status(live).ready) is not None else "Unknown"


def is_final(result: Outcome | Exception) -> bool:
    """Tell whether nothing more is to be expected of this generation."""
    return isinstance(result, StalledError) or (isinstance(result, Outcome) and result.ready == "True")


def _find_carried(result: Outcome | Exception) -> Wire | None:
    return result.status if isinstance(result, Outcome | GitOpsError) else None


def _is_partial(result: Outcome | Exception) -> bool:
    """Tell whether the result says nothing about the kind's own conditions: a failure that carried no status."""
    return isinstance(result, Exception) and _find_carried(result) is None
