"""Tokens and their lives, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from multidict import CIMultiDict

from gitops_core.adapters.oci.answers import Answer
from gitops_core.adapters.oci.challenges import Challenge
from gitops_core.adapters.oci.tokens import MOST_REMEMBERED, Tokens
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import OPEN, Credentials, RegistryAccess
from gitops_core.oci.references import Repository
from tests.simulation.loop import in_virtual_time

CHALLENGE = Challenge("bearer", "https://ghcr.io/token?account=x", "ghcr.io")
REPOSITORY = Repository("ghcr.io", "org/app")


class TokenServer:
    """Gives t1, t2, ...

    Attributes:
        asked: method, URL, Authorization and form of every request.
    """

    def __init__(self, said: str = "") -> None:
        self.said = said
        self.asked: list[tuple[str, str, str, Mapping[str, str] | None]] = []

    async def ask(
        self, method: str, url: str, access: RegistryAccess, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> Answer:
        self.asked.append((method, url, headers.get("Authorization", ""), form))
        await asyncio.sleep(0.1)
        body = f'{{"token": "t{len(self.asked)}"{self.said}}}'
        return Answer(method, url, 200, CIMultiDict[str](), body.encode())


@pytest.mark.parametrize(
    ("said", "used"),
    [
        (', "expires_in": 300', 240),
        ("", 48),  # a minute, says the specification
        (', "expires_in": 0', 8),
        (', "expires_in": 99999999', 2880),
    ],
)
@in_virtual_time
async def test_a_token_is_used_for_four_fifths_of_its_life(said: str, used: float) -> None:
    server = TokenServer(said)
    tokens = Tokens(server.ask)

    async def proof() -> str:
        return await tokens.get_proof(CHALLENGE, REPOSITORY, OPEN, over_http=False)

    assert await proof() == "Bearer t1"
    await asyncio.sleep(used - 0.2)
    assert await proof() == "Bearer t1"
    await asyncio.sleep(0.3)
    assert await asyncio.gather(*(proof() for _ in range(10))) == ["Bearer t2"] * 10


@in_virtual_time
async def test_a_refused_token_is_replaced_once_however_many_had_it() -> None:
    server = TokenServer()
    tokens = Tokens(server.ask)
    for refused in ("Bearer t1", "Bearer t1", "Bearer t1"):
        await asyncio.gather(
            *(tokens.get_proof(CHALLENGE, REPOSITORY, OPEN, over_http=False, refused=refused) for _ in range(5))
        )

    assert len(server.asked) == 2  # t1, and t2 in its place


@in_virtual_time
async def test_each_repository_and_identity_has_a_token_of_its_own() -> None:
    server = TokenServer()
    tokens = Tokens(server.ask)
    bob = RegistryAccess(Credentials("bob", Sensitive("pw")))
    proofs = [
        await tokens.get_proof(CHALLENGE, repository, access, over_http=False)
        for repository in (REPOSITORY, Repository("ghcr.io", "org/other"))
        for access in (OPEN, bob, OPEN)
    ]

    assert proofs == ["Bearer t1", "Bearer t2", "Bearer t1", "Bearer t3", "Bearer t4", "Bearer t3"]
    assert server.asked[1][:3] == (
        "GET",
        "https://ghcr.io/token?account=x&service=ghcr.io&scope=repository%3Aorg%2Fapp%3Apull",
        "Basic Ym9iOnB3",
    )


@in_virtual_time
async def test_tokens_are_remembered_by_their_size_the_last_used_ones_first() -> None:
    long = "x" * (MOST_REMEMBERED // 4)

    server = TokenServer(f', "ignored": "", "access_token": "", "token": "{long}"')
    tokens = Tokens(server.ask)
    asked = []
    for name in "abcadb":  # three fit
        await tokens.get_proof(CHALLENGE, Repository("ghcr.io", name), OPEN, over_http=False)
        asked.append(len(server.asked))
    assert asked == [1, 2, 3, 3, 4, 5]


@in_virtual_time
async def test_a_refresh_token_is_posted_and_never_part_of_a_url() -> None:
    server = TokenServer()
    access = RegistryAccess(Credentials(identity_token=Sensitive("refresh")))

    await Tokens(server.ask).get_proof(CHALLENGE, REPOSITORY, access, over_http=False)

    ((method, url, _, form),) = server.asked
    assert (method, url) == ("POST", "https://ghcr.io/token")
    assert form is not None
    assert form["grant_type"] == "refresh_token"
    assert form["refresh_token"] == "refresh"
