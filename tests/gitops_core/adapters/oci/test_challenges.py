"""Headers that a registry sends, whatever is in them."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.adapters.oci.challenges import parse_challenges
from gitops_core.adapters.oci.links import find_next_query

HOSTILE = st.text(
    st.sampled_from(list('<>;,="/\\?#@:. relnxtBasicbearer%25')) | st.characters(max_codepoint=255), max_size=60
)


@given(st.lists(HOSTILE, max_size=3))
def test_any_challenge_is_read_or_ignored(headers: list[str]) -> None:
    found = parse_challenges(headers)

    assert all(challenge.scheme in ("basic", "bearer") for challenge in found)
    assert [c.scheme for c in found] == sorted((c.scheme for c in found), reverse=True)


@pytest.mark.parametrize(
    "header", ["Basic", "basic ", "Negotiate, Basic", 'Bearer realm="", Basic', "Basic, X-Bearer a=b"]
)
def test_a_password_is_asked_for_without_parameters(header: str) -> None:
    assert [challenge.scheme for challenge in parse_challenges([header])] == ["basic"]


@pytest.mark.parametrize("header", ["Bearer", 'Bearer error="invalid_token"', 'X-Bearer realm="https://auth.example"'])
def test_a_token_server_that_is_not_named_is_no_challenge(header: str) -> None:
    assert parse_challenges([header, 'Digest realm="Basic", nonce=Bearer']) == ()


@pytest.mark.parametrize("piece", ["a=", 'a="', "a=b,", "a ", 'a="\\"', "=", "Bearer ", ", "])
def test_a_long_header_takes_no_long_time(piece: str) -> None:
    header = "Bearer " + piece * (100_000 // len(piece))
    began = time.process_time()

    parse_challenges([header])
    with contextlib.suppress(ValueError):
        find_next_query([f"</x>;{header}"])

    assert time.process_time() - began < 1


def test_a_challenge_that_never_ends_costs_little() -> None:
    header = f'Basic realm="{"r" * 4096}'
    began = time.thread_time()

    assert {challenge.realm for challenge in parse_challenges([header] * 40)} == {""}

    assert time.thread_time() - began < 1.0  # ten times that when every letter is tried as a beginning
