"""What an apply makes of each object, known before anything is written.

The same answer feeds the apply, whoever shows a plan, and whoever compares a cluster with Git:

    change        live                      predicted
    created       None                      as it will be; None: its kind or namespace comes with the same plan
    configured    as it is                  as it will be, before kubectl's fields are taken over
    unchanged     as it is                  the same
    skipped       as it is                  the same
    replaced      as it is                  None: it is deleted, and made anew
    None          as it is; None: not read  as it will be; None: not tried

None as a change says that only the apply tells: an object that is there was tried and not read, or read and not tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from gitops_core.domain.objects.fieldmanagers import is_by, list_entries
from gitops_core.domain.sync.creators import note_creator
from gitops_core.domain.sync.imprints import Imprint, find_settled_imprint, get_version, make_imprint
from gitops_core.domain.sync.ownership import Ownership
from gitops_core.domain.sync.plan import Action
from gitops_core.domain.sync.takeover import make_takeover_patch
from gitops_core.meta import Manifest, ObjectRef

Change = Literal["created", "configured", "unchanged", "skipped", "replaced"]
CHANGES = ("created", "configured")


@dataclass(frozen=True)
class Prediction:
    """Attributes:
    imprint: of the object, where that was as our last apply left it.
    """

    action: Action
    change: Change | None = None
    live: Manifest | None = None
    predicted: Manifest | None = None
    imprint: Imprint | None = None

    @property
    def ref(self) -> ObjectRef:
        return self.action.ref

    @property
    def is_open(self) -> bool:
        """Tell whether nothing is known of the object: it is read before it is applied."""
        return self.change is None and self.live is None and self.predicted is None

    def reopen(self) -> Prediction:
        """Return the same after a while, in which what need not be applied may have changed: it is read again then."""
        return Prediction(self.action, imprint=self.imprint) if self.change in ("unchanged", "skipped") else self

    @property
    def base(self) -> Manifest | None:
        """Return what the apply starts from, if known: a trial's answer has the versions of the live object."""
        if self.change in ("created", "replaced"):
            return None
        return self.live if self.predicted is None else _drop_times(self.live or self.predicted)


Predictions = Mapping[ObjectRef, Prediction]


class Applied(NamedTuple):
    """One object after its apply: as the API server returned it, and what that changed.

    `is_adopted` says that it is a Namespace or definition of somebody else, which we apply from now on.
    """

    ref: ObjectRef
    live: Manifest
    change: Change
    imprint: Imprint
    is_adopted: bool = False

    def __str__(self) -> str:
        return f"{self.ref} {self.change}"


def predict_from_reading(
    action: Action, live: Manifest | None, known: Imprint | None, ownership: Ownership
) -> Prediction:
    """Predict from what is there alone; `known` is the imprint of our last apply of the same manifest."""
    if live is None:
        return Prediction(action, "created")
    if ownership.is_left_alone(action.manifest, live):
        return Prediction(action, "skipped", live, live)
    if (imprint := find_settled_imprint(live, known)) is not None:
        return Prediction(action, "unchanged", live, live, imprint)
    return Prediction(action, None, live)


def predict_from_trial(action: Action, answer: Manifest, live: Manifest | None, ownership: Ownership) -> Prediction:
    """Predict from the answer of a dry-run, and from the object where it was read."""
    if not get_version(answer):
        return Prediction(action, "created", None, note_creator(answer, ownership))
    if live is None:
        return Prediction(action, None, None, answer)
    is_same = make_imprint(live).state == make_imprint(answer).state
    is_taken = action.take_over and bool(make_takeover_patch(answer, ownership))
    return Prediction(action, "unchanged" if is_same and not is_taken else "configured", live, answer)


def judge_change(old: Manifest | None, live: Manifest, manager: str) -> Change:
    """Judge what an apply by `manager` did.

    One that changes nothing leaves the object's resourceVersion as it was, or at least the time of the manager's entry
    in its managedFields.
    """
    if old is None or old["metadata"].get("uid") != live["metadata"].get("uid"):
        return "created"
    is_same_apply = _get_apply_time(old, manager) == _get_apply_time(live, manager) != ""
    return "unchanged" if get_version(old) == get_version(live) or is_same_apply else "configured"


def _get_apply_time(live: Manifest, manager: str) -> str:
    return next((entry.get("time", "") for entry in list_entries(live) if is_by(entry, manager, "Apply")), "")


def _drop_times(answer: Manifest) -> Manifest:
    """Drop the times from the managedFields of a trial's answer: ours is not that of the last apply."""
    entries = [{name: value for name, value in entry.items() if name != "time"} for entry in list_entries(answer)]
    return {**answer, "metadata": {**answer["metadata"], "managedFields": entries}}
