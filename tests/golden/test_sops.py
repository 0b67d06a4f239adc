"""Encrypted files in lives of Kustomizations as Flux's controllers recorded them, with the sops program.

A case that ends otherwise here is in DIFFERENT, with all that differs; docs/compatibility.md says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from gitops_core.api import KINDS
from gitops_core.schema import make_crd
from tests.gitops_core.reconcilers.world import World
from tests.golden.kustomizations import Case, Player, list_subjects, make_policy, read_cases
from tests.simulation.loop import in_virtual_time

CASES = read_cases("sops.jsonl")
CHANGED_SINCE = ("s-key-deleted", "s-lastmodified-edited", "s-plain-part-edited", "s-tampered-mac")
"""Cases whose mac does not fit."""

_TOLD = {"[0] InsecureSecrets", "[0] events"}
_ENDS = {"Ready", "Reconciling", "events", "history", "inventory", "lastAppliedRevision", "observedGeneration"}


def _end_otherwise(case: str, kind: str, name: str, verb: str) -> set[str]:
    """List what differs where one of the two applies an object, and the other refuses it."""
    return {f"[0] {subject}" for subject in _ENDS} | {f"[0] {kind}/{case}/{name} {verb}"}


DIFFERENT: Mapping[str, set[str]] = {
    # a mac that does not fit, or is not there, is refused
    **{case: _end_otherwise(case, "Secret", "creds", "is not there") for case in CHANGED_SINCE},
    "s-plain-part-edited": _end_otherwise("s-plain-part-edited", "Secret", "renamed", "is not there"),
    "s-mac-removed": _end_otherwise("s-mac-removed", "Secret", "creds", "is not there"),
    "s-mac-removed-data": {"[0] Ready", "[0] events", "[0] history"},
    # what is encrypted is never applied as it is
    "s-no-decryption": _end_otherwise("s-no-decryption", "Secret", "creds", "is not there"),
    "s-no-decryption-configmap": _end_otherwise("s-no-decryption-configmap", "ConfigMap", "conf", "is not there"),
    "s-global-no-decryption": _end_otherwise("s-global-no-decryption", "Secret", "creds", "is not there"),
    "s-generator-no-decryption": _end_otherwise("s-generator-no-decryption", "Secret", "gen", "is not there"),
    "s-generator-configmap-file": _end_otherwise("s-generator-configmap-file", "ConfigMap", "gen", "is not there"),
    # a List, files that are encrypted as a whole, and patches on what is encrypted are as good as others
    "s-list-of-secrets": {f"[0] Secret/s-list-of-secrets/{name} .data.x" for name in "ab"},
    "s-whole-file-yaml": _end_otherwise("s-whole-file-yaml", "Secret", "creds", "is there"),
    "s-patch-on-encrypted-secret": _end_otherwise("s-patch-on-encrypted-secret", "Secret", "creds", "is there"),
    # the format of a file does not follow from the key under which it is stored
    "s-generator-file-key-changes-format": _end_otherwise(
        "s-generator-file-key-changes-format", "Secret", "gen", "is there"
    ),
    # the digest in the history is of the files, because one of what is inside would tell what a short secret is
    "s-key-rotated": {"[2] history"},
    # what is not encrypted beside what is, is told
    "s-multi-document-one-plain-file": _TOLD,
    "s-patch-file-encrypted": _TOLD,
    "s-patch-json6902-plain-path": _TOLD,
    "s-plain-beside": _TOLD,
    "s-sops-field-only": _TOLD,
    "s-sops-field-string": _TOLD,
    # an annotation of kustomize's own, left over in a build without resources
    "s-generator-env-no-extension": {"[0] Secret/s-generator-env-no-extension/gen .metadata.annotations"},
    "s-generator-file-app-env": {"[0] Secret/s-generator-file-app-env/gen-57t7gf24hg .metadata.annotations"},
    "s-generator-file-app-ini": {"[0] Secret/s-generator-file-app-ini/gen-mhh472c69f .metadata.annotations"},
    "s-generator-file-app-json": {"[0] Secret/s-generator-file-app-json/gen-gh9kht5h9g .metadata.annotations"},
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
@in_virtual_time
async def test_what_sops_encrypted_becomes_what_it_becomes_with_flux(case: Case) -> None:
    differences = await _play(case, {})

    assert list_subjects(differences) == DIFFERENT.get(case["name"], set()), "\n".join(differences)


@pytest.mark.parametrize("name", CHANGED_SINCE)
@in_virtual_time
async def test_a_mac_that_does_not_fit_is_told_and_applied_as_with_flux_where_a_person_wants_it(name: str) -> None:
    case = next(case for case in CASES if case["name"] == name)

    differences = await _play(case, {"sealoop.dev/sops-mac": "warn"})

    assert list_subjects(differences) == _TOLD, "\n".join(differences)
    assert any("the mac does not fit" in difference for difference in differences)


async def _play(case: Case, annotations: Mapping[str, Any]) -> list[str]:
    world = World(make_policy(case))
    for kind in KINDS:
        await world.local.create(make_crd(kind), field_manager="test")
    player = Player(case, world, world.local)
    await player.prepare()
    async with world.running():
        await player.begin(annotations)
        return await player.play()


def test_no_case_is_left_out() -> None:
    assert len(CASES) == 57
    assert DIFFERENT.keys() <= {case["name"] for case in CASES}
