"""Two small kinds for the runtime's tests: a Widget names a Gadget, in Flux's style and in External Secrets'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from gitops_core.meta import Kind, Resource, Status, Wire
from gitops_core.runtime.loop.tellers import FLUX, ExternalSecrets
from gitops_core.runtime.reconciling import Teller
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
    OWN_CONDITIONS: ClassVar[tuple[str, ...]] = ("Healthy",)

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

    spec: WidgetSpec = WidgetSpec()
    status: WidgetStatus | None = None


TELLERS: Mapping[type[Resource], Teller] = {
    Widget: FLUX,
    Plain: ExternalSecrets(failure="SyncedError", event="UpdateFailed"),
}
