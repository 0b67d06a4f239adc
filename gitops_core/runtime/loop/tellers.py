"""How the families of kinds tell their results; a Controller says to which its kind belongs.

    Flux               Ready, Reconciling, Stalled, observedGeneration (in each condition too), lastHandledReconcileAt
    External Secrets   Ready alone: their CRDs know nothing else

Source: Flux, pkg/runtime/conditions and pkg/runtime/reconcile; External Secrets, pkg/controllers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from gitops_core.meta import Resource, Status
from gitops_core.runtime.loop.conditions import (
    REQUESTED_AT,
    choose_base,
    get_ready,
    get_status,
    is_final,
    make_conditions,
    make_parts,
)
from gitops_core.runtime.reconciling import Outcome


@dataclass(frozen=True)
class Flux:
    """Implements Teller.

    The generation advances only when the object is ready or stalled: that is how `kubectl wait` and kstatus tell a
    result of this generation from an older one.
    """

    def make_status(
        self, result: Outcome | Exception, wanted: Resource, now: datetime, unsupported: Sequence[str]
    ) -> Status:
        metadata, previous = wanted.metadata, get_status(wanted)
        return msgspec.structs.replace(
            choose_base(result, wanted),
            conditions=make_conditions(make_parts(result), result, wanted, now, unsupported, metadata.generation),
            observed_generation=metadata.generation if is_final(result) else previous.observed_generation,
            last_handled_reconcile_at=metadata.annotations.get(REQUESTED_AT) or previous.last_handled_reconcile_at,
        )

    def is_settled(self, live: Resource) -> bool:
        status, metadata = get_status(live), live.metadata
        handled = metadata.annotations.get(REQUESTED_AT, "") in ("", status.last_handled_reconcile_at)
        return isinstance(live.status, Status) and handled and status.observed_generation == metadata.generation

    def tell_state(self, live: Resource) -> str:
        return get_ready(live)

    def name_failure_event(self, reason: str) -> str:
        return reason


@dataclass(frozen=True)
class ExternalSecrets:
    """Implements Teller.

    Attributes:
        failure: the reason that every failure has in the condition; "" for the error's own.
        event: the reason of every failure's Event; "" for the error's own.
    """

    failure: str = ""
    event: str = ""

    def make_status(
        self, result: Outcome | Exception, wanted: Resource, now: datetime, unsupported: Sequence[str]
    ) -> Status:
        ready, previous = make_parts(result)[-1], get_status(wanted)
        if self.failure and ready.status == "False":
            ready = ready._replace(reason=self.failure)
        return msgspec.structs.replace(
            choose_base(result, wanted),
            conditions=make_conditions([ready], result, wanted, now, unsupported, None),
            observed_generation=previous.observed_generation,
            last_handled_reconcile_at=previous.last_handled_reconcile_at,
        )

    def is_settled(self, live: Resource) -> bool:
        return get_ready(live) == "True"

    def tell_state(self, live: Resource) -> str:
        return get_ready(live)

    def name_failure_event(self, reason: str) -> str:
        return self.event or reason


FLUX = Flux()
