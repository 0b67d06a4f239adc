"""Keys of SOPS as people and strangers write them into a Secret."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping

import pytest

from gitops_core.domain.render.sopskeys import KeyInvalid, SopsKeys, parse_keys
from gitops_core.meta import Sensitive

IDENTITY = "AGE-SECRET-KEY-1" + "Q" * 58
POST_QUANTUM = "AGE-SECRET-KEY-PQ-1" + "Q" * 58
BEGIN, END = b"-----BEGIN PGP PRIVATE KEY BLOCK-----", b"-----END PGP PRIVATE KEY BLOCK-----"
LONGEST = 2.0
"""CPU seconds: a pattern that tries every way to read these would take years."""


@pytest.mark.parametrize(
    "data",
    [
        {"a.asc": BEGIN + b"\n" * 500_000},
        {"a.asc": BEGIN + b"\n" + b"a: b\n" * 100_000},
        {"a.asc": (BEGIN + b"\n") * 20_000},
        {"a.asc": BEGIN + b"\n" + b" \n" * 300_000 + b"=AAAA"},
        {"a.asc": BEGIN + b"\n\n" + b"=AAAA " * 100_000 + END},
        {"sops.aws-kms": b"- a\n" * 250_000},
        {"sops.gcp-kms": b"[" * 900_000},
    ],
    ids=["empty lines", "headers", "beginnings", "blanks", "checksums", "yaml", "json"],
)
def test_a_key_that_a_stranger_made_up_is_refused_at_once(data: Mapping[str, bytes]) -> None:
    began = time.thread_time()

    with pytest.raises(KeyInvalid):
        parse_keys(data)

    assert time.thread_time() - began < LONGEST


def _armor(key: bytes, *headers: bytes, line_end: bytes = b"\n") -> bytes:
    lines = [BEGIN, *headers, b"", *re.findall(b".{1,64}", base64.b64encode(key)), b"=AbC+", END, b""]
    return line_end.join(lines)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_every_armored_key_of_an_entry_counts_with_headers_or_without(line_end: bytes) -> None:
    first, second = bytes(range(256)), b"\x95\x03" * 100
    text = (
        _armor(first, b"Version: GnuPG v2", b"Comment: ours = theirs", line_end=line_end)
        + b"\n# and\n"
        + _armor(second)
    )

    assert parse_keys({"x.asc": text}).pgp.reveal() == first + second


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "holds no private key"),
        (BEGIN.replace(b"PRIVATE", b"PUBLIC"), "holds no private key"),
        (BEGIN + b"\n\nAAAA\n", "does not end"),
        (BEGIN + b"\n\nA*A\n" + END, "is damaged"),
    ],
)
def test_what_is_no_private_key_is_told_and_not_quoted(text: bytes, problem: str) -> None:
    with pytest.raises(KeyInvalid, match=problem):
        parse_keys({"x.asc": text})


def test_identities_with_comments_blank_lines_and_foreign_line_ends_are_read() -> None:
    lines = ["\ufeff# created: today", "# public key: age1x", "", f"  {IDENTITY}  ", POST_QUANTUM, ""]

    keys = parse_keys({"x.agekey": "\r\n".join(lines).encode()})

    assert keys.age.reveal_text().split() == [IDENTITY, POST_QUANTUM]


@pytest.mark.parametrize("text", ["AGE-PLUGIN-YUBIKEY-1QQQ", "-----BEGIN OPENSSH PRIVATE KEY-----", "age1qqq"])
def test_identities_that_need_a_program_or_are_none_are_refused(text: str) -> None:
    with pytest.raises(KeyInvalid, match="entry 1 is no identity of age"):
        parse_keys({"x.agekey": text.encode()})


METADATA = {"url": "http://169.254.169.254/computeMetadata/v1/x", "headers": {"Metadata-Flavor": "Google"}}


@pytest.mark.parametrize(
    "credentials",
    [
        {"type": "external_account", "token_url": "https://evil.example", "credential_source": METADATA},
        {"type": "external_account", "credential_source": {"file": "/proc/self/environ"}},
        {"type": "external_account", "credential_source": {"executable": {"command": "/bin/sh"}}},
        {"type": "impersonated_service_account", "source_credentials": {"type": "external_account"}},
        {"type": "external_account_authorized_user"},
        {},
        [],
        "/var/run/secrets/token",
    ],
)
def test_credentials_of_google_that_fetch_others_from_somewhere_are_refused(credentials: object) -> None:
    text = credentials if isinstance(credentials, str) else json.dumps(credentials)

    with pytest.raises(KeyInvalid, match="service_account or authorized_user"):
        parse_keys({"sops.gcp-kms": text.encode()})


def test_credentials_of_google_hold_what_was_checked_and_nothing_that_its_client_reads_otherwise() -> None:
    text = b'{"type": "external_account", "type": "service_account", "TYPE": "external_account", "client_email": "b"}'

    found = json.loads(parse_keys({"sops.gcp-kms": text}).environment["GOOGLE_CREDENTIALS"].reveal())

    assert found == {"type": "service_account", "client_email": "b"}


def test_the_fingerprint_of_a_large_keyring_is_computed_once() -> None:
    keys = SopsKeys(pgp=Sensitive(bytes(2**20)))
    began = time.thread_time()

    assert len({keys.fingerprint for _ in range(10_000)}) == 1

    assert time.thread_time() - began < LONGEST
