"""The table of all that is measured. No series is per object: ten thousand objects cost as much as ten.

    retries = Series(Counter, "sealoop_retries_total", "Attempts after a failure.", "kind")    a line here
    platform.metrics.retries.labels("ExternalSecret").inc()                                    a call where it happens

`gotk_reconcile_duration_seconds` is Flux's metric by kind; what Flux tells object by object in
gotk_reconcile_condition is here one count by kind and state, `sealoop_objects`.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

M = TypeVar("M", bound=MetricWrapperBase)

_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


class Series(Generic[M]):
    """One line of the table; read on a Metrics, it is that one's collector."""

    def __init__(self, type_: type[M], name: str, help_: str, *labels: str, **options: Any) -> None:
        self.name, self.help, self.labels = name, help_, labels
        self._type, self._options = type_, options

    def __get__(self, metrics: Metrics, _: type[Metrics]) -> M:
        found: M = metrics.collectors[self.name]
        return found

    def begin(self, registry: CollectorRegistry) -> M:
        """Register a collector of it, which begins with nothing."""
        return self._type(self.name, self.help, self.labels, registry=registry, **self._options)


class Metrics:
    """All series, in the registry of whoever serves them."""

    duration = Series(
        Histogram, "gotk_reconcile_duration_seconds", "Seconds a reconciliation took.", "kind", buckets=_BUCKETS
    )
    results = Series(
        Counter,
        "sealoop_reconcile_total",
        "Reconciliations by result: the reason of the failure, or Succeeded.",
        "kind",
        "result",
    )
    objects = Series(Gauge, "sealoop_objects", "Objects by the status of their condition.", "kind", "ready")
    depth = Series(Gauge, "sealoop_queue_depth", "Objects waiting for a worker.", "kind")
    informer_objects = Series(Gauge, "sealoop_informer_objects", "Objects held.", "kind")
    informer_synced = Series(
        Gauge,
        "sealoop_informer_synced",
        "1 while what is held is trusted: the list was read, and after a takeover nothing older is missing.",
        "kind",
    )
    informer_unreadable = Series(Gauge, "sealoop_informer_unreadable", "Objects that could not be decoded.", "kind")
    api_errors = Series(
        Counter,
        "sealoop_api_errors_total",
        "Failed reads of lists and watches, failed writes of statuses and events.",
        "kind",
        "reason",
    )
    events_dropped = Series(Counter, "sealoop_events_dropped_total", "Events not recorded.", "reason")
    pushes = Series(
        Counter,
        "sealoop_git_pushes_total",
        "Pushes of image updates by result: Succeeded, Conflict (it is planned again), or the reason of the failure.",
        "result",
    )
    git_read_only = Series(
        Counter,
        "sealoop_git_read_only_total",
        "Reconciliations of GitRepositories by whether their credential is read-only: True, False, Unknown.",
        "read_only",
    )
    builds = Series(Counter, "sealoop_builds_total", "Folders read or built; what did not change is not built again.")
    decryptions = Series(Counter, "sealoop_decryptions_total", "Runs of sops; what did not change is not opened again.")
    leading = Series(Gauge, "sealoop_leader", "1 while this process leads.")
    compute_seconds = Series(Counter, "sealoop_compute_seconds_total", "CPU seconds of work beside the loop.")
    compute_waiting = Series(Gauge, "sealoop_compute_waiting", "Pieces of such work that wait.")
    compute_ended = Series(
        Counter, "sealoop_compute_ended_total", "Pieces of work that were ended: TooCostly, or given up."
    )
    loop_pause = Series(
        Gauge,
        "sealoop_loop_pause_seconds",
        "Longest time that the event loop did nothing else, within the last one to two minutes.",
    )

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.collectors: dict[str, Any] = {series.name: series.begin(registry) for series in TABLE}


TABLE: tuple[Series[Any], ...] = tuple(line for line in vars(Metrics).values() if isinstance(line, Series))
"""Every line, in the order in which the documentation lists them."""
