"""The embedded cluster as a fixture: in memory, fresh for each test."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from gitops_core.adapters.local import LocalCluster
from gitops_core.runtime.clock import SystemClock


@pytest.fixture
def local_cluster() -> Iterator[LocalCluster]:
    cluster = LocalCluster.open(None, SystemClock(), random.Random(1))
    yield cluster
    cluster.close()
