"""Which set but unsupported fields stop a reconciliation.

Every such field is told in the condition Unsupported. Those without which we would do something else than what was
asked (another cluster, other rights, other files) stop the object too: nothing is done rather than the wrong thing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gitops_core.errors import StalledError
from gitops_core.meta import Resource
from gitops_core.schema import unsupported


def refuse_unsupported(
    wanted: Resource, harmless: Collection[str], acts_on: Mapping[str, Collection[object]] = {}
) -> None:
    """Raises StalledError: a field is set that we do not act on and cannot do without.

    Args:
        harmless: paths of fields whose absence only leaves a convenience out.
        acts_on: as the Controller's.
    """
    paths = [path for path in unsupported(wanted.spec, acts_on) if path not in harmless]
    if paths:
        message = f"{wanted.ref} sets what is not supported yet, nothing was done: remove {', '.join(paths)}"
        raise StalledError(message, reason="FieldsNotSupported").told("None", {})  # the runtime's Event says it
