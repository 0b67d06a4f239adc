"""Signatures made by Sigstore's own Go library: tests/golden/data/cosign-signatures.jsonl, written by tools/cosign."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from gitops_core.oci.cosign import SignedClaim, is_verified, parse_keys, read_bundle

LINES = (Path(__file__).parent / "data/cosign-signatures.jsonl").read_text().splitlines()
CASES = [json.loads(line) for line in LINES]
EVERY_KEY = pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))


def others(case: dict[str, str]) -> dict[str, bytes]:
    """Everybody else's keys."""
    return {f"{c['name']}.pub": c["publicKey"].encode() for c in CASES if c["publicKey"] != case["publicKey"]}


@EVERY_KEY
def test_a_signature_of_cosign_counts_for_its_key_alone(case: dict[str, str]) -> None:
    claim = SignedClaim(case["payload"].encode(), base64.b64decode(case["signature"]))
    keys = parse_keys({"cosign.pub": case["publicKey"].encode()})

    assert is_verified(claim, case["digest"], keys)
    assert not is_verified(claim, case["digest"], parse_keys(others(case)))
    assert not is_verified(claim, "sha256:" + 64 * "0", keys)


@EVERY_KEY
def test_a_bundle_of_cosign_3_counts_for_its_key_alone(case: dict[str, str]) -> None:
    bundle = json.dumps({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": {}})
    whole = bundle[:-1] + f', "dsseEnvelope": {case["envelope"]}}}'
    keys = parse_keys({"cosign.pub": case["publicKey"].encode()})

    (claim,) = read_bundle(whole.encode())

    assert is_verified(claim, case["digest"], keys)
    assert not is_verified(claim, case["digest"], parse_keys(others(case)))
    assert not is_verified(claim, "sha256:" + 64 * "0", keys)
