"""Which set but unsupported fields stop a reconciliation.

Every such field is told in the condition Unsupported. Those without which we would do something else than what was
asked (another cluster, other rights, other files) stop the object too: nothing is done rather than the wrong thing.
"""

from __future__ import annotations

from collections.abc import Collection

from gitops_core.errors import StalledError
from gitops_core.meta import Resource
from gitops_core.schema import unsupported


def refuse_unsupported(wanted: Resource, harmless: Collection[str]) -> None:
    """Raises StalledError: a field is set that we do not act on and cannot do without.

    Args:
        harmless: paths of fields whose absence only leaves a convenience out.
    """
    paths = [path for path in unsupported(wanted.spec) if path not in harmless]
    if paths:
        message = f"{wanted.ref} sets what is not supported yet, nothing was done: remove {', '.join(paths)}"
        raise StalledError(message, reason="FieldsNotSupported").told("None", {})  # the runtime's Event says it
