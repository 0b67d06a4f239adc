"""What the runtime measures. No series is per object: ten thousand objects cost as much as ten.

`gotk_reconcile_duration_seconds` is Flux's metric by kind; what Flux tells object by object in
gotk_reconcile_condition is here one count by kind and state, `sealoop_objects`.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


class Metrics:
    """All series of the runtime, in the registry of whoever serves them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.duration = Histogram(
            "gotk_reconcile_duration_seconds",
            "Seconds a reconciliation took.",
            ["kind"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.results = Counter(
            "sealoop_reconcile_total",
            "Reconciliations by result: the reason of the failure, or Succeeded.",
            ["kind", "result"],
            registry=registry,
        )
        self.objects = Gauge(
            "sealoop_objects", "Objects by the status of their condition.", ["kind", "ready"], registry=registry
        )
        self.depth = Gauge("sealoop_queue_depth", "Objects waiting for a worker.", ["kind"], registry=registry)
        self.informer_objects = Gauge("sealoop_informer_objects", "Objects held.", ["kind"], registry=registry)
        self.informer_synced = Gauge(
            "sealoop_informer_synced", "1 when the list was read.", ["kind"], registry=registry
        )
        self.informer_unreadable = Gauge(
            "sealoop_informer_unreadable", "Objects that could not be decoded.", ["kind"], registry=registry
        )
        self.api_errors = Counter(
            "sealoop_api_errors_total",
            "Failed reads of lists and watches, failed writes of statuses and events.",
            ["kind", "reason"],
            registry=registry,
        )
        self.events_dropped = Counter(
            "sealoop_events_dropped_total", "Events not recorded.", ["reason"], registry=registry
        )
        self.leading = Gauge("sealoop_leader", "1 while this process leads.", registry=registry)
        self.compute_seconds = Counter(
            "sealoop_compute_seconds_total", "CPU seconds of work beside the loop.", registry=registry
        )
        self.compute_waiting = Gauge("sealoop_compute_waiting", "Pieces of such work that wait.", registry=registry)
        self.compute_ended = Counter(
            "sealoop_compute_ended_total", "Pieces of work that were ended: TooCostly, or given up.", registry=registry
        )
        self.loop_pause = Gauge(
            "sealoop_loop_pause_seconds",
            "Longest time that the event loop did nothing else, within the last one to two minutes.",
            registry=registry,
        )
