"""Whether an ExternalSecret can be acted on."""

from __future__ import annotations

from gitops_core.schema import list_unsupported
from secrets_sync.api import ExternalSecret
from secrets_sync.domain.secret.refresh import parse_interval
from secrets_sync.errors import NotSupported


def refuse_unsupported(wanted: ExternalSecret) -> None:
    """Raise NotSupported. Such a field decides what the Secret holds: one made without it could replace a good one."""
    paths = [path for path in list_unsupported(wanted.spec) if not path.startswith("spec.syncWindows")]
    if paths:
        raise NotSupported(f"{', '.join(paths)} is not supported, so the Secret cannot be made")
    for i, source in enumerate(wanted.spec.data_from):
        if source.extract is not None and source.find is not None:
            raise NotSupported(f"spec.dataFrom[{i}] has both extract and find: exactly one is needed")
    try:
        parse_interval(wanted)
    except ValueError as error:
        raise NotSupported(f"spec.refreshInterval: {error}") from error
