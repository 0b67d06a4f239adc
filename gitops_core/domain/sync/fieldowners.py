"""Who set what of a live object, as its managedFields say: asked on the way down, from the object to one field.

    spec            kustomize-controller, kubectl-edit
    spec.replicas   kubectl-edit

What nobody owns is a default of the API server's, or was set before anybody kept account.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from gitops_core.domain.objects.fieldmanagers import Entry, list_entries
from gitops_core.domain.objects.fieldsets import NOTHING, FieldSet
from gitops_core.domain.sync.ignoring import spell_member
from gitops_core.meta import Manifest


@dataclass(frozen=True)
class FieldOwners:
    """Attributes:
    fields: (manager, what it owns below this place), the last that wrote first; None for all of it.
    """

    fields: tuple[tuple[str, FieldSet | None], ...] = ()

    @classmethod
    def of(cls, live: Manifest) -> Self:
        """Return who owns the fields of a whole object; those of subresources are not asked for.

        The object may be of a server that anybody runs: what is no entry owns nothing.
        """
        said: Iterable[object] = list_entries(live)
        entries = [entry for entry in said if isinstance(entry, Mapping) and not entry.get("subresource")]
        entries.sort(key=lambda entry: str(entry.get("time", "")), reverse=True)
        return cls(tuple((str(entry.get("manager", "")), _read_fields(entry)) for entry in entries))

    def get_below(self, part: str, value: Any) -> FieldOwners:
        """Return who owns what is below a member of an object, or an item of a list.

        Args:
            part: the member's name, or where the item stands.
        """
        if not self.fields:
            return self
        spelled = spell_member(part, value)
        found: list[tuple[str, FieldSet | None]] = []
        for manager, fields in self.fields:
            if fields is None:
                found.append((manager, None))
            elif below := next(filter(None, map(fields.get_subset, spelled)), None):
                found.append((manager, below))
            elif any((one,) in fields for one in spelled):
                found.append((manager, None))
        return FieldOwners(tuple(found))

    def find_other(self, ours: str) -> str:
        """Find who owns something here where `ours` does not; "" for nobody."""
        managers = [manager for manager, _ in self.fields]
        return "" if ours in managers else next(iter(managers), "")


def _read_fields(entry: Entry) -> FieldSet:
    fields = entry.get("fieldsV1")
    try:
        return FieldSet.from_fields(fields) if isinstance(fields, Mapping) else NOTHING
    except ValueError:
        return NOTHING
