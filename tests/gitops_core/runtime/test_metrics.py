"""What is measured is what the documentation lists, and nothing is measured object by object."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from gitops_core.runtime.metrics import TABLE, Metrics

OPERATIONS = (Path(__file__).parents[3] / "docs/operations.md").read_text()


def test_the_documentation_lists_the_series_of_the_table() -> None:
    listed = re.findall(r"^\| `((?:gotk|sealoop)_\w+)(?:\{([\w,]+)\})?` \| (.*) \|$", OPERATIONS, re.MULTILINE)

    assert listed == [(line.name, ",".join(line.labels), line.help) for line in TABLE]


def test_a_process_serves_every_series_of_the_table_under_its_name() -> None:
    metrics = Metrics(CollectorRegistry())

    served = generate_latest(metrics.registry).decode()

    for line in TABLE:
        assert f"# HELP {line.name} {line.help}" in served, line.name


def test_no_series_is_per_object() -> None:
    assert {label for line in TABLE for label in line.labels} == {"kind", "read_only", "ready", "reason", "result"}


def test_two_registries_count_apart() -> None:
    one, other = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())

    one.leading.set(1)

    assert one.registry.get_sample_value("sealoop_leader") == 1
    assert other.registry.get_sample_value("sealoop_leader") == 0
