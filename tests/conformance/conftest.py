"""The stage, and one service for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.stage import Stage, stage
from tests.journeys.surroundings import Surroundings
from tests.servers.controlplane import ControlPlane
from tests.servers.registry import RealRegistry
from tests.servers.vault import VaultServer


@pytest.fixture(scope="package")
def served(
    workloads: ControlPlane,
    open_registry: RealRegistry,
    vault_server: VaultServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    """The stage with `sealoop run` on it."""
    workloads.install_crds()
    folder = tmp_path_factory.mktemp("conformance")
    with stage(workloads, folder, open_registry, vault_server) as made:
        home = Surroundings(workloads, workloads.namespace("service"), folder)
        with home.serving():
            yield made
