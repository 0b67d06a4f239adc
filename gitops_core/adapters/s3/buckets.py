"""Implements Buckets: S3's API by path, signed, with TLS sessions that nobody of another trust shares.

    HEAD /BUCKET/    GET /BUCKET/?list-type=2&prefix=&continuation-token=    GET /BUCKET/KEY

A listing ends: its objects, pages and bytes are bounded. No redirect is followed: a signature is for one host.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from gitops_core.adapters.http import BodyTooLarge, find_proxy, read_body
from gitops_core.adapters.oci import Sessions, explain_connection, find_http_proxy
from gitops_core.adapters.s3.answers import Listing, read_error, read_listing
from gitops_core.adapters.s3.signing import sign, write_path, write_query
from gitops_core.errors import BucketDenied, BucketUnavailable, BucketUnknown, ObjectUnknown
from gitops_core.ports import BucketPlace, Compute, StoredObject
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.runtime.sharing.places import Places, PlacesTaken

PER_HOST, TOTAL, READ, QUEUE, SESSIONS = 8, 60.0, 30.0, 10.0, 64
LARGEST_PAGE, LARGEST_ERROR = 8 << 20, 64 << 10
LONGEST_CAUSE = 300
MOST_EMPTY = 10
"""Pages without an object in a row, each of which says that there are more."""
BYTES_OF_WEIGHT = 4
DEFAULT_REGION = "us-east-1"


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes
    request: str


class S3Buckets:
    """The object stores, inside `async with`.

    Args:
        environment: whose HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY count where a place names no proxy.
    """

    def __init__(self, environment: Mapping[str, str] = {}, compute: Compute = IN_PLACE) -> None:
        self._environment, self._compute = environment, compute
        self._sessions = Sessions(TOTAL, READ, SESSIONS)
        self._places = Places(remote=None, per_host=PER_HOST, patience=QUEUE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._sessions.close()

    async def check(self, place: BucketPlace) -> None:
        answer = await self._ask("HEAD", place, "", "", 0)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise BucketUnknown(f"bucket '{place.name}' not found")
        self._check(answer)

    async def list_objects(self, place: BucketPlace, prefix: str, *, most: int) -> tuple[StoredObject, ...]:
        found: list[StoredObject] = []
        tokens: set[str] = set()
        token, empty = "", 0
        while True:
            page = await self._fetch_page(place, prefix, token)
            found += page.objects
            empty = 0 if page.objects else empty + 1
            if len(found) > most:
                raise BucketUnavailable(f"bucket '{place.name}' has more than {most} objects below {prefix[:100]!r}")
            if not page.token:
                return tuple(found)
            if page.token in tokens or empty > MOST_EMPTY:
                raise BucketUnavailable(f"the listing of bucket '{place.name}' goes round without new objects")
            tokens.add(token := page.token)

    async def fetch(self, place: BucketPlace, key: str, *, limit: int) -> tuple[bytes, str]:
        answer = await self._ask("GET", place, key, "", limit)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise ObjectUnknown(f"bucket '{place.name}' has no object {key[:200]!r}")
        self._check(answer)
        return answer.body, answer.headers.get("ETag", "").strip('"')

    async def _fetch_page(self, place: BucketPlace, prefix: str, token: str) -> Listing:
        pairs = [("list-type", "2"), ("prefix", prefix)]
        query = write_query([*pairs, *([("continuation-token", token)] if token else [])])
        answer = await self._ask("GET", place, "", query, LARGEST_PAGE)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise BucketUnknown(f"bucket '{place.name}' not found")
        self._check(answer)
        try:
            return await self._compute.run(len(answer.body) // BYTES_OF_WEIGHT, read_listing, answer.body)
        except ValueError as error:
            raise BucketUnavailable(f"{answer.request}: the answer is no page of a listing: {error}") from None

    def _check(self, answer: _Answer) -> None:
        """Raise BucketError unless the answer is one."""
        if answer.status == HTTPStatus.OK:
            return
        told = " ".join(read_error(answer.body).split())[:LONGEST_CAUSE]
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise BucketDenied(told or "Access Denied.")
        raise BucketUnavailable(f"{answer.request}: {answer.status} {told}".rstrip())

    async def _ask(self, method: str, place: BucketPlace, key: str, query: str, limit: int) -> _Answer:
        """Ask, and once more for the region that the store names where none was said. Raises BucketError."""
        answer = await self._send(method, place, place.region or DEFAULT_REGION, key, query, limit)
        region = answer.headers.get("x-amz-bucket-region", "")
        if answer.status == HTTPStatus.OK or place.region or region in ("", DEFAULT_REGION) or not region.isascii():
            return answer
        return await self._send(method, place, region, key, query, limit)

    async def _send(self, method: str, place: BucketPlace, region: str, key: str, query: str, limit: int) -> _Answer:
        path = write_path(place.name, key)
        url = f"{place.endpoint}{path}" + (f"?{query}" if query else "")
        host, request = urlsplit(place.endpoint).netloc, f"{method} {place.endpoint}{path}"
        headers = {"Host": host}
        if place.bearer_token is not None:
            headers["Authorization"] = f"Bearer {place.bearer_token.reveal_text()}"
        elif place.keys is not None:
            headers |= sign(method, host, path, query, datetime.now(UTC), region, place.keys)
        try:
            async with (
                self._places.taken(host, TOTAL),
                self._sessions.used(place.trust) as session,
                session.request(
                    method,
                    URL(url, encoded=True),
                    headers=headers,
                    allow_redirects=False,
                    proxy=self._find_proxy(place),
                ) as response,
            ):
                most = limit if response.status == HTTPStatus.OK else LARGEST_ERROR
                body = b"" if method == "HEAD" else await read_body(response, most)
                return _Answer(response.status, response.headers, body, request)
        except PlacesTaken as error:
            raise BucketUnavailable(f"{host} is busy or hangs: {error}") from None
        except BodyTooLarge as error:
            raise BucketUnavailable(f"{request}: {error}") from None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            cause = explain_connection(error, place.trust.proxy).replace("the registry", "the object store")
            raise BucketUnavailable(f"{request}: {cause}") from None

    def _find_proxy(self, place: BucketPlace) -> str | None:
        if place.trust.proxy is not None:
            return find_http_proxy(place.trust)
        return find_proxy(place.endpoint, self._environment)
