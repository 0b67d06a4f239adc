"""Two small kinds for the runtime's tests: a Widget names a Gadget, in Flux's style and in External Secrets'."""

from __future__ import annotations

from typing import Annotated, ClassVar

from gitops_core.meta import ConditionStyle, Kind, Resource, Status, Wire
from gitops_core.schema import UNSUPPORTED


class WidgetSpec(Wire):
    size: int = 0
    gadget: str = ""
    suspend: bool = False
    color: Annotated[str, UNSUPPORTED] = ""


class WidgetStatus(Status):
    size: int | None = None
    parts: dict[str, str] = {}


class Widget(Resource):
    """A thing that runtime tests reconcile."""

    KIND: ClassVar[Kind] = Kind("test.sealoop.dev", "v1", "Widget")
    PLURAL: ClassVar[str] = "widgets"
    FINALIZER: ClassVar[str] = "test.sealoop.dev/finalizer"
    CONDITIONS: ClassVar[ConditionStyle] = ConditionStyle(own=("Healthy",))

    spec: WidgetSpec = WidgetSpec()
    status: WidgetStatus | None = None


class Gadget(Resource):
    """A thing that Widgets name."""

    KIND: ClassVar[Kind] = Kind("test.sealoop.dev", "v1", "Gadget")
    PLURAL: ClassVar[str] = "gadgets"

    spec: WidgetSpec = WidgetSpec()
    status: WidgetStatus | None = None


class Plain(Resource):
    """A kind with a Ready condition and nothing else."""

    KIND: ClassVar[Kind] = Kind("test.sealoop.dev", "v1", "Plain")
    PLURAL: ClassVar[str] = "plains"
    CONDITIONS: ClassVar[ConditionStyle] = ConditionStyle(
        progress=False, failure="SyncedError", failure_event="UpdateFailed"
    )

    spec: WidgetSpec = WidgetSpec()
    status: WidgetStatus | None = None
