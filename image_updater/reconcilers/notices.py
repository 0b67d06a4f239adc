"""When a success is an Event: the object becomes ready, or says something else than before.

Source: fluxcd/image-reflector-controller, notify(); fluxcd/image-automation-controller, notify().
"""

from __future__ import annotations

from gitops_core.meta import Resource
from gitops_core.runtime.loop.conditions import cut_message
from gitops_core.runtime.reconciling import Notice


def make_ready_notices(wanted: Resource, message: str) -> tuple[Notice, ...]:
    """Return the notice that `wanted` is ready now, unless it was ready before with the same message."""
    ready = wanted.status.ready
    if ready is not None and ready.status == "True" and ready.message == cut_message(message):
        return ()
    return (Notice("Normal", "Succeeded", message),)
