"""The Authorization header that a registry wants: what it asked for, and the tokens that a token server gave for it.

A token is asked for once by repository and credentials, however many requests want it, and used until four fifths of
its life are over. The scope that the registry named comes first, as some token servers read no other, and pull behind
it. A token server of another owner than the registry's is asked as anybody may: without credentials.

Source: https://distribution.github.io/distribution/spec/auth/token/ and /oauth/; go-containerregistry,
pkg/v1/remote/transport/bearer.go (scopes).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit, urlunsplit

import aiohttp
import msgspec

from gitops_core.adapters.oci.answers import Answer, make_failure
from gitops_core.adapters.oci.challenges import Challenge, belongs, may_be_asked
from gitops_core.decoding import decode_json
from gitops_core.errors import RegistryDenied, RegistryUnavailable
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import Credentials, RegistryAccess
from gitops_core.oci.references import Repository
from gitops_core.recent import Recent
from gitops_core.runtime.sharing.flights import Flights

MOST_REMEMBERED = 8 << 20
"""Bytes of all tokens, and as many of all scopes."""
MOST_SCOPES = 5
SHORTEST_LIFE, LONGEST_LIFE = 10.0, 3600.0
USED = 0.8
"""The share of a token's life that it is used for."""

_OVERHEAD = 1000
"""Bytes that a token takes beside its value and its scopes, roughly: what it is for, and places in dicts."""
Ask = Callable[[str, str, RegistryAccess, Mapping[str, str], Mapping[str, str] | None], Awaitable[Answer]]
"""(method, url, access, headers, form) -> the answer, whatever its status. Raises RegistryUnavailable."""


class _Token(NamedTuple):
    value: Sensitive
    ends: float
    scopes: tuple[str, ...]

    @property
    def header(self) -> str:
        return f"Bearer {self.value.reveal_text()}"


class _Wanted(NamedTuple):
    """What a token is for."""

    realm: str
    service: str
    path: str
    access: RegistryAccess


class _TokenAnswer(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None


class Tokens:
    """Proofs for registries.

    Args:
        ask: one request to a token server.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._tokens: Recent[_Wanted, _Token] = Recent(MOST_REMEMBERED)
        self._scopes: Recent[_Wanted, tuple[str, ...]] = Recent(MOST_REMEMBERED)
        self._flights: Flights[_Token] = Flights()

    async def close(self) -> None:
        await self._flights.close()

    async def get_proof(
        self,
        challenge: Challenge | None,
        repository: Repository,
        access: RegistryAccess,
        *,
        over_http: bool,
        refused: str = "",
    ) -> str:
        """Return the Authorization header, "" for none.

        Args:
            challenge: what the registry wants; None when that is not known.
            over_http: the registry is asked without TLS.
            refused: the header that the registry did not take: a token like that is not used again.

        Raises:
            RegistryDenied, RegistryUnavailable: by the token server.
        """
        if access.credentials.bearer_token is not None:
            return f"Bearer {access.credentials.bearer_token.reveal_text()}"
        if challenge is None:
            return ""
        if challenge.scheme == "basic":
            return _make_basic(access.credentials)
        if not may_be_asked(challenge.realm, repository.registry, over_http=over_http):
            raise RegistryDenied(
                f"{repository.registry} names a token server that is not asked anything: it has to be a host's name,"
                " with https, without a user"
            )
        if not belongs(challenge.realm, repository.registry, over_http=over_http):
            access = RegistryAccess(ca=access.ca, proxy=access.proxy, unverified=access.unverified)
        wanted = _Wanted(challenge.realm, challenge.service, repository.path, access)
        scopes = self._get_scopes(wanted, challenge.scope)
        token = self._tokens.get(wanted)
        if token is None or token.ends < _now() or token.scopes != scopes or token.header == refused:
            token = await self._flights.join((wanted, scopes), lambda: self._fetch(wanted, scopes))
        return token.header

    def _get_scopes(self, wanted: _Wanted, asked: str) -> tuple[str, ...]:
        """Return the scopes to ask a token for: all that the registry wanted so far, the latest first."""
        scopes = self._scopes.get(wanted) or (f"repository:{wanted.path}:pull",)
        if asked and asked not in scopes:
            scopes = (asked, *scopes)[:MOST_SCOPES]
            self._scopes.put(wanted, scopes, _OVERHEAD + sum(map(len, scopes)))
        return scopes

    async def _fetch(self, wanted: _Wanted, scopes: tuple[str, ...]) -> _Token:
        answer = await self._request(wanted, scopes)
        if answer.status != HTTPStatus.OK:
            error = make_failure(answer, wanted.access)
            # a token server that is not there says nothing about the repository
            raise RegistryUnavailable(str(error)) if answer.status == HTTPStatus.NOT_FOUND else error
        where = urlsplit(wanted.realm).netloc
        try:
            said = decode_json(answer.body, _TokenAnswer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise RegistryUnavailable(f"the token server {where} answered with something else than a token") from None
        value = said.token or said.access_token
        if not value or not value.isascii() or not value.isprintable():
            raise RegistryUnavailable(f"the token server {where} gave no token")
        life = 60.0 if said.expires_in is None else said.expires_in
        token = _Token(Sensitive(value), _now() + USED * min(max(life, SHORTEST_LIFE), LONGEST_LIFE), scopes)
        self._tokens.put(wanted, token, _OVERHEAD + len(value) + sum(map(len, scopes)))
        return token

    async def _request(self, wanted: _Wanted, scopes: tuple[str, ...]) -> Answer:
        parts, credentials = urlsplit(wanted.realm), wanted.access.credentials
        if credentials.identity_token is not None:
            form = {
                "service": wanted.service,
                "scope": " ".join(scopes),
                "grant_type": "refresh_token",
                "client_id": "sealoop",
                "refresh_token": credentials.identity_token.reveal_text(),
            }
            return await self._ask("POST", urlunsplit(parts._replace(query="", fragment="")), wanted.access, {}, form)
        service = [("service", wanted.service)] if wanted.service else []
        query = "&".join(filter(None, (parts.query, urlencode([*service, *(("scope", each) for each in scopes)]))))
        proof = _make_basic(credentials)
        headers = {"Authorization": proof} if proof else {}
        return await self._ask(
            "GET", urlunsplit(parts._replace(query=query, fragment="")), wanted.access, headers, None
        )


def _make_basic(credentials: Credentials) -> str:
    if not credentials.username and credentials.password is None:
        return ""
    password = credentials.password.reveal_text() if credentials.password is not None else ""
    return aiohttp.encode_basic_auth(credentials.username, password)


def _now() -> float:
    return asyncio.get_running_loop().time()
