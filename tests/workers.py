"""Which tests run side by side. A file is a piece of work for one worker; files that share a server are one piece.

    SHARED   a real control plane takes seconds to start and a core to run: at most two of them, whatever the workers
    SLOW     what takes longest begins first, so that no worker is alone with it at the end

There is one worker more than there are cores: much of what tests do is to wait for programs and intervals.

Everything else a test needs is its worker's own: ports (programs.free_port), folders (tmp_path), the servers that are
cheap. `make test ARGS="-n 0"` runs all in one process, in this order.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer

SHARED = {
    "workloads": (
        "tests/conformance/",
        "tests/contracts/test_cluster_garbage.py",
        "tests/journeys/",
        "tests/servers/test_controlplane.py",
    ),
    "control-plane": (
        "tests/contracts/test_account_tokens.py",
        "tests/contracts/test_cluster",
        "tests/gitops_core/adapters/test_kubernetes_",
        "tests/gitops_core/reconcilers/test_bucket_identities.py",
        "tests/gitops_core/reconcilers/test_on_kubernetes.py",
        "tests/gitops_core/reconcilers/test_remote_clusters.py",
        "tests/gitops_core/runtime/test_real_cluster.py",
        "tests/gitops_core/test_schema_agreement.py",
        "tests/golden/test_crd_objects.py",
        "tests/golden/test_kustomizations_real.py",
        "tests/sealoop/test_objects",
    ),
}
"""The files of each piece, by how their paths begin; a file is of the first that names it."""

SLOW = ("tests/simulation/", "tests/docs/", "tests/contracts/test_git.py", "tests/sealoop/test_demo.py")


def piece_of(nodeid: str) -> str:
    """
    >>> piece_of("tests/journeys/test_tag_to_pods.py::test_tag_becomes_commit_becomes_pods")
    'workloads'
    >>> piece_of("tests/contracts/test_cluster_watching.py::test_label_selectors[real-app]")
    'control-plane'
    >>> piece_of("tests/image_updater/domain/tags/test_semver.py::test_order")
    'tests/image_updater/domain/tags/test_semver.py'
    """
    file = nodeid.partition("::")[0]
    return next((name for name, begins in SHARED.items() if file.startswith(begins)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return (os.cpu_count() or 1) + 1


class Pieces(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives a worker the next piece when it is nearly done with its last."""

    def _split_scope(self, nodeid: str) -> str:
        return piece_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Pieces:
    config.option.loadscopereorder = False  # not the most tests first: the order below is that of the time they take
    return Pieces(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest pieces first; within a piece all stays as it was."""
    pieces = [*SHARED, *dict.fromkeys(piece_of(item.nodeid) for item in items if item.nodeid.startswith(SLOW))]
    items.sort(key=lambda item: _rank(pieces, piece_of(item.nodeid)))


def _rank(pieces: Sequence[str], piece: str) -> int:
    return pieces.index(piece) if piece in pieces else len(pieces)
