"""Private keys are found wherever they begin."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.lint.privatekeys import find_private_keys

IDENTITY = b"AGE-SECRET-KEY-1" + b"Q" * 58
BODY = b"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg"
PEM = b"-----BEGIN EC PRIVATE KEY-----\n" + BODY + b"\n-----END EC PRIVATE KEY-----\n"
PGP = b"-----BEGIN PGP PRIVATE KEY BLOCK-----\nComment: ours\n\n" + BODY + b"\n-----END PGP PRIVATE KEY BLOCK-----\n"
KEYS = [
    IDENTITY,
    PEM,
    PGP,
    IDENTITY.replace(b"KEY-1", b"KEY-PQ-1"),
    PEM.replace(b"\n", b"\r\n"),
    PEM.replace(b"\n", b"\\n"),
]
NONE = b"-----BEGIN CERTIFICATE-----\n" + BODY + b"\n-----END CERTIFICATE-----\n"


@given(st.sampled_from(KEYS), st.binary(max_size=50), st.binary(max_size=50))
def test_a_key_is_found_in_its_line_whatever_stands_around_it(key: bytes, before: bytes, after: bytes) -> None:
    data = before + b"\n" + key + b"\n" + after

    assert before.count(b"\n") + 2 in [one.line for one in find_private_keys(data)]


@given(st.sampled_from(KEYS), st.binary(max_size=50), st.binary(max_size=50))
def test_a_key_is_found_in_base64_wherever_it_begins(key: bytes, before: bytes, after: bytes) -> None:
    data = b"a: b\nc: " + base64.b64encode(before + key + after) + b"\n"

    assert [one.line for one in find_private_keys(data)] == [2]


@given(st.sampled_from(KEYS), st.integers(4, 80))
def test_a_key_is_found_in_base64_that_is_broken_into_lines(key: bytes, width: int) -> None:
    encoded = base64.b64encode(b"#" + key)
    lines = [encoded[start : start + width] for start in range(0, len(encoded), width)]
    data = b"data:\n  key: |\n    " + b"\r\n    ".join(lines)

    found = [one.line for one in find_private_keys(data)]

    assert found
    assert 3 <= found[0] <= 2 + len(lines)


@given(st.text(max_size=80))
def test_what_holds_no_key_holds_none(text: str) -> None:
    assert list(find_private_keys(text.encode("utf-8", "replace") + NONE + base64.b64encode(NONE))) == []


@pytest.mark.parametrize(
    "text",
    [
        b"-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n" + BODY,
        b"AGE-SECRET-KEY-1...",
        b"AGE-SECRET-KEY-1" + b"x" * 58,
        b"begins with -----BEGIN PRIVATE KEY-----",
    ],
)
def test_an_example_is_no_key(text: bytes) -> None:
    assert list(find_private_keys(text)) == []


def test_a_key_with_a_passphrase_is_told_apart() -> None:
    locked = PEM.replace(b"-----\nMIG", b"-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIG", 1)
    named = PEM.replace(b"EC PRIVATE", b"ENCRYPTED PRIVATE")

    assert [one.is_locked for one in find_private_keys(locked + named + PEM)] == [True, True, False]
