"""Which set but unsupported fields stop a reconciliation.

Every such field is told in the condition Unsupported. Those without which we would do something else than what was
asked (another cluster, other rights, other files) stop the object too: nothing is done rather than the wrong thing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from gitops_core.errors import StalledError
from gitops_core.meta import Resource
from gitops_core.schema import find_unsupported


def refuse_unsupported(
    wanted: Resource, harmless: Collection[str] = (), acts_on: Mapping[str, Collection[object]] = {}
) -> None:
    """Raise StalledError if a field is set that we do not act on and cannot do without.

    Args:
        harmless: paths of fields whose absence only leaves a convenience out.
        acts_on: as the Controller's.
    """
    found = {path: values for path, values in find_unsupported(wanted.spec, "spec", acts_on) if path not in harmless}
    if found:
        removed = ", ".join(path for path, values in found.items() if not values)
        advice = [f"remove {removed}"] if removed else []
        advice += [f"set {path} to {_join_with_or(values)}" for path, values in found.items() if values]
        message = f"{wanted.ref} sets what is not supported yet, nothing was done: {', '.join(advice)}"
        raise StalledError(message, reason="FieldsNotSupported").record_as("None", {})  # the runtime's Event says it


def _join_with_or(values: Iterable[object]) -> str:
    """Join values by commas, the last one by "or".

    >>> _join_with_or(["generic", "github", "quay"])
    'generic, github or quay'
    """
    *others, last = map(str, values)
    return f"{', '.join(others)} or {last}" if others else last
