"""What a package gives to the runtime, and what it gets.

A reconciler turns one object into an `Outcome`; a `Controller` says how the runtime feeds it; a `Component` is a whole
package's face. That is all the dependency injection there is: constructors take ports, sealoop/wiring.py makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from gitops_core.meta import Condition, ObjectKey, ObjectRef, Resource, Wire, parse_duration
from gitops_core.ports import (
    Chance,
    Clock,
    Cluster,
    Clusters,
    Compute,
    Events,
    Git,
    Objects,
    PartialObject,
    Query,
    Statuses,
)
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.permissions import Permission
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.sharing.computing import IN_PLACE

R = TypeVar("R", bound=Resource)
R_contra = TypeVar("R_contra", bound=Resource, contravariant=True)


class Notice(NamedTuple):
    """A Kubernetes Event to record about the reconciled object."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    metadata: Mapping[str, str] = {}


@dataclass(frozen=True)
class Outcome:
    """What a reconciliation that did not fail came to.

    Attributes:
        status: the object's whole new status; the runtime fills in conditions, observedGeneration and
            lastHandledReconcileAt, and writes only what differs.
        message: of the Ready condition.
        requeue_after: seconds until the next look, which the runtime shortens or lengthens by the interval's jitter;
            None to wait for a change.
        reason: of the Ready condition.
        ready: "True", or "Unknown" while something that takes time (a rollout) is waited for; then Reconciling=True.
        conditions: the kind's own conditions (Healthy, ArtifactInStorage, ...), complete; those of the types Ready and
            Reconciling replace reason and message of what the runtime would write.
        changed: whether the world was changed.
        watch: objects whose change wakes this object, beside those it references. What the reconciler itself wrote
            through the platform's cluster does not wake it.
        seen: those of them that were there when they were read: if one went before it was watched, that wakes, too.
        notices: events to record.
    """

    status: Wire
    message: str
    requeue_after: float | None
    reason: str = "Succeeded"
    ready: Literal["True", "Unknown"] = "True"
    conditions: tuple[Condition, ...] = ()
    changed: bool = False
    watch: frozenset[ObjectRef] = frozenset()
    seen: frozenset[ObjectRef] = frozenset()
    notices: tuple[Notice, ...] = ()


class Reconciler(Protocol[R_contra]):
    async def reconcile(self, wanted: R_contra) -> Outcome:
        """Bring the world to what `wanted` says. Level-based: called again at any time, with nothing changed.

        Raises TransientError or StalledError; anything else is a bug. Cancelled when the process stops.
        """
        ...

    async def finalize(self, wanted: R_contra) -> None:
        """Clean up after an object that is being deleted; then the runtime removes the kind's finalizer."""
        ...


class Teller(Protocol):
    """How a family of kinds tells its results in statuses."""

    def make_status(
        self, result: Outcome | Exception, wanted: Resource, now: datetime, unsupported: Sequence[str]
    ) -> Wire:
        """Make the whole status to store for `wanted`; of the same result the same, but for what says when.

        Args:
            unsupported: paths of the set fields that we do not act on.
        """
        ...

    def is_settled(self, live: Resource) -> bool:
        """Tell whether all that people asked of an object was done when its status was last written."""
        ...

    def tell_state(self, live: Resource) -> str:
        """Tell how the object is, in one of few words, for metrics."""
        ...

    def name_failure_event(self, reason: str) -> str:
        """Name the reason of the Event of a failure with this reason."""
        ...


def is_any_change(old: Any, new: Any) -> bool:
    return True


@dataclass(frozen=True)
class Watch:
    """Another kind whose changes wake the objects that reference the changed one.

    Attributes:
        query: which objects.
        type_: one of our kinds' classes; by default metadata only, whatever the query says.
        changed: (old or None, new or None) -> does this change concern those who reference it? Same-kind objects in,
            called on additions (old None) and deletions (new None) too.
    """

    query: Query
    type_: type[Any] = PartialObject
    changed: Callable[[Any, Any], bool] = is_any_change


def find_interval(wanted: Resource) -> float | None:
    """Return `spec.interval` in seconds; None where the kind has none, or it is no duration."""
    text = getattr(wanted.spec, "interval", None)
    try:
        return parse_duration(text) if text else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Controller(Generic[R]):
    """How the runtime feeds one reconciler.

    Attributes:
        references: every object that an object names: its source, its dependencies, its store, the Secret it makes.
            The name "*" stands for all objects of that kind in that namespace, which may be "*" as well.
        watches: the kinds among the references whose changes wake.
        concurrency: how many objects of this kind are reconciled at the same time; one at a time for each object. Many,
            because some wait for a peer that hangs; of one namespace never all (see sharing/shares.py).
        significant: (old, new) -> does this change of the object itself need a reconciliation? None for the default:
            its generation, its deletion, or its reconcile request changed.
        observed_labels: label selector of the objects that `Outcome.watch` names: only these are watched.
        acts_on: the values of fields that are acted on, by path, where a table says it and not the marker in `api`.
        find_interval: the seconds between two looks that an object asks for; one that fails waits no longer.
    """

    kind: type[R]
    reconciler: Reconciler[R]
    teller: Teller
    references: Callable[[R], Iterable[ObjectRef]] = lambda _: ()
    watches: tuple[Watch, ...] = ()
    concurrency: int = 64
    significant: Callable[[R, R], bool] | None = None
    observed_labels: str = ""
    acts_on: Mapping[str, Collection[object]] = field(default_factory=dict)
    find_interval: Callable[[R], float | None] = find_interval


@dataclass(frozen=True)
class Platform:
    """The shared ports: what every package's reconcilers are made of.

    `cluster` and those of `clusters` write only while this process leads, and `git` pushes only then.
    """

    cluster: Cluster
    clusters: Clusters
    git: Git
    clock: Clock
    chance: Chance
    events: Events
    statuses: Statuses
    objects: Objects
    metrics: Metrics
    compute: Compute = IN_PLACE
    policy: Policy = DEFAULT_POLICY


@dataclass(frozen=True)
class Component:
    """A package's face. Its component module also has `make_controllers(platform, <its own ports>)`, and `make_routes`
    if it answers HTTP requests.

    Attributes:
        permissions: what the package needs beside what the runtime does with its kinds.
        applies: what users' folders may hold, and what is done with it on their behalf.
    """

    name: str
    kinds: tuple[type[Resource], ...]
    permissions: tuple[Permission, ...] = ()
    applies: tuple[Permission, ...] = ()


def make_refs(namespace: str, kind: type[Resource], *objects: str) -> tuple[ObjectRef, ...]:
    """Make references to objects of one of our kinds, by name."""
    return tuple(ObjectRef(kind.KIND, ObjectKey(namespace, name)) for name in objects)
