"""Lives of Kustomizations as Flux's controllers recorded them, on the embedded cluster in virtual time.

What needs a real API server (its validation, its RBAC, other clusters) is in test_kustomizations_real.py. A case that
ends otherwise here is in DIFFERENT, with all that differs; docs/compatibility.md says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from gitops_core.api import KINDS
from gitops_core.errors import Invalid
from gitops_core.schema import make_crd
from tests.gitops_core.reconcilers.world import World
from tests.golden.kustomizations import CASES, REAL, Player, list_subjects, make_policy
from tests.simulation.loop import in_virtual_time

_FAILED = {"Ready", "Reconciling", "events", "history", "lastAppliedRevision", "observedGeneration"}

DIFFERENT: Mapping[str, set[str]] = {
    # the label of the owner is not to be had
    "k-commonmetadata-owner-label": {
        "[0] ConfigMap/k-commonmetadata-owner-label/cfg .metadata.labels.kustomize.toolkit.fluxcd.io/name"
    },
    # nothing to apply is more often a mistake than a wish
    "k-empty-at-start": {f"[0] {name}" for name in _FAILED},
    # with one object refused, the forced one is left as it is
    "k-force-annotation-one-of-two": {"[1] Job/k-force-annotation-one-of-two/mig is there"},
    # whose fields are taken over is not a setting here
    "k-misc-override-manager-update": {
        "[1] ConfigMap/k-misc-override-manager-update/cfg .data.b",
        "[1] ConfigMap/k-misc-override-manager-update/cfg managers",
    },
    # a path that is a file is no path, as one that is not there
    "k-path-is-file": {"[0] Ready", "[0] lastAttemptedRevision", "[0] events"},
    # a Namespace of somebody else that is applied from now on is told
    "k-target-namespace-inside": {"[0] events"},
}


@pytest.mark.parametrize("case", [case for case in CASES if case["name"] not in REAL], ids=lambda case: case["name"])
@in_virtual_time
async def test_a_kustomization_lives_as_it_does_with_flux(case: Mapping[str, Any]) -> None:
    world = World(make_policy(case))
    for kind in KINDS:
        await world.local.create(make_crd(kind), field_manager="test")
    player = Player(case, world, world.local)
    await player.prepare()
    if "refused" in case:
        with pytest.raises(Invalid):
            await player.begin()
        return

    async with world.running():
        await player.begin()
        differences = await player.play()

    assert list_subjects(differences) == DIFFERENT.get(case["name"], set()), "\n".join(differences)


def test_no_case_is_left_out() -> None:
    names = {case["name"] for case in CASES}

    assert len(CASES) == 155
    assert DIFFERENT.keys() | REAL <= names
    assert not DIFFERENT.keys() & REAL
