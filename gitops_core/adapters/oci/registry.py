"""Asks registries, by the distribution API over HTTP, and believes what is what its digest says.

    GET  /v2/<path>/tags/list?n=1000     all pages, by Link; pages with an ETag are asked for again on condition;
                                         without n where the registry gives fewer at once
    HEAD /v2/<path>/manifests/<tag>      Docker-Content-Digest
    GET  /v2/<path>/manifests/<tag or digest>, /v2/<path>/blobs/<digest>

A listing ends: pages, tags and bytes are bounded, and so is the time of each request. Who asks for what is being asked
already gets the same answer.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from itertools import chain
from typing import NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

from gitops_core.adapters.oci.answers import Answer
from gitops_core.adapters.oci.links import find_next_query
from gitops_core.adapters.oci.pages import Page, RememberedPages, read_tags
from gitops_core.adapters.oci.transport import JSON, Limits, Take, Transport
from gitops_core.errors import ImageUnknown, ImageUnreadable, RegistryUnavailable, RepositoryUnknown
from gitops_core.oci.credentials import OPEN, RegistryAccess
from gitops_core.oci.references import DIGEST, Repository
from gitops_core.ports import Compute
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.runtime.sharing.flights import Flights

PAGE = 1000
FIRST = f"n={PAGE}"
TOO_MANY = frozenset({400})
"""What a registry answers whose pages hold fewer: distribution's PAGINATION_NUMBER_INVALID."""
BYTES_OF_WEIGHT = 8
"""Bytes of JSON that C decodes while Python looks at one character."""
MOST_TAGS = 1_000_000
MOST_PAGES = 20_000
LARGEST_PAGE = 32 << 20
LARGEST_MANIFEST = 4 << 20
MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
LIMITS = Limits()
NO_HEAD = frozenset({400, 403, 405, 501})
"""What is answered to a method that is not wanted."""
MOST_EMPTY = 100
"""Pages without a tag in a row, each of which says that there are more."""
ABSENT, ACCEPTED = frozenset({404}), frozenset({201, 202, 204})
UPLOAD_SECONDS = 600.0
_LISTING = {"Accept": JSON}


class FetchedManifest(NamedTuple):
    """A manifest or an index as it was sent. Nobody decoded it.

    Attributes:
        digest: of its bytes; "" for a list of referrers, which nobody names.
        media_type: what the registry calls it, "" for nothing.
    """

    digest: str
    media_type: str
    body: bytes


class OciRegistry:
    """The registries, inside `async with`.

    Args:
        environment: whose HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY count where an access names no proxy.
    """

    def __init__(
        self, limits: Limits = LIMITS, environment: Mapping[str, str] = {}, compute: Compute = IN_PLACE
    ) -> None:
        self._limits, self._environment, self.compute = limits, environment, compute
        self._open: Transport | None = None
        self._pages = RememberedPages()
        self._listings: Flights[tuple[str, ...]] = Flights()
        self._digests: Flights[str] = Flights()

    async def __aenter__(self) -> Self:
        self._open = Transport(self._limits, self._environment)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._listings.close()
        await self._digests.close()
        await self._transport.close()
        self._open = None

    @property
    def _transport(self) -> Transport:
        if self._open is None:
            raise RuntimeError("use the registry client inside `async with`")
        return self._open

    async def list_tags(self, repository: Repository, access: RegistryAccess = OPEN) -> tuple[str, ...]:
        return await self._listings.join((repository, access), lambda: self._list(repository, access))

    async def resolve_digest(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> str:
        asked = (repository, reference, access)
        return await self._digests.join(asked, lambda: self._look_up(repository, reference, access))

    async def fetch_manifest(
        self, repository: Repository, reference: str, access: RegistryAccess = OPEN, *, limit: int = LARGEST_MANIFEST
    ) -> FetchedManifest:
        """Return the manifest that a tag or a digest names; by a digest, it is what the digest says.

        Raises:
            RegistryUnavailable: also for a body of more than `limit` bytes, and for another one than was asked for.
            ImageUnknown.
            ImageUnreadable: `reference` has a colon and is no digest.
        """
        where = f"{repository}@{reference}"
        if ":" in reference:
            _check_digest(reference, where)
        answer = await self._get(repository, f"manifests/{quote(reference, safe=':')}", access, limit)
        digest, said = reference, answer.headers.get("Docker-Content-Digest", reference)
        if ":" not in reference:
            digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        else:
            _check_body(answer.body, digest, where)
            if said != digest and said.partition(":")[0] == digest.partition(":")[0]:
                raise RegistryUnavailable(f"registry {repository.registry} answers {said!r} when asked for {where}")
        return FetchedManifest(digest, _get_media_type(answer), answer.body)

    async def fetch_blob(
        self, repository: Repository, digest: str, access: RegistryAccess = OPEN, *, limit: int
    ) -> bytes:
        """Return the layer or configuration that a manifest names; it is what its digest says.

        Raises:
            RegistryUnavailable: also for more than `limit` bytes, and for other ones than were asked for.
            ImageUnknown: the repository has no such blob.
            ImageUnreadable: `digest` is none.
        """
        where = f"{repository}@{digest}"
        _check_digest(digest, where)
        try:
            answer = await self._get(repository, f"blobs/{digest}", access, limit)
        except RepositoryUnknown as error:
            raise ImageUnknown(str(error)) from None
        await self.compute.run(len(answer.body) // BYTES_OF_WEIGHT, _check_body, answer.body, digest, where)
        return answer.body

    async def stream_blob(
        self,
        repository: Repository,
        digest: str,
        take: Take,
        access: RegistryAccess = OPEN,
        *,
        limit: int,
        seconds: float,
    ) -> None:
        """Give a blob to `take` in parts, as it comes: it is what its digest says when this returns, and not before.

        Raises:
            RegistryUnavailable: also for more than `limit` bytes, and for other ones than were asked for.
            ImageUnknown, ImageUnreadable; what `take` raises.
        """
        where = f"{repository}@{digest}"
        _check_digest(digest, where)
        hashed = hashlib.new(digest.partition(":")[0])

        async def hash_and_take(part: bytes) -> None:
            hashed.update(part)
            await take(part)

        try:
            await self._get(repository, f"blobs/{digest}", access, limit, take=hash_and_take, seconds=seconds)
        except RepositoryUnknown as error:
            raise ImageUnknown(str(error)) from None
        _check_hash(hashed.hexdigest(), digest, where)

    async def fetch_referrers(
        self, repository: Repository, digest: str, access: RegistryAccess = OPEN, *, limit: int = LARGEST_MANIFEST
    ) -> FetchedManifest:
        """Return the index of the manifests that refer to `digest`.

        Raises:
            RegistryUnavailable: also for a body of more than `limit` bytes.
            RepositoryUnknown: also where a registry is older than this question.
        """
        answer = await self._get(repository, f"referrers/{digest}", access, limit)
        return FetchedManifest("", _get_media_type(answer), answer.body)

    async def push_blob(self, repository: Repository, content: bytes, access: RegistryAccess = OPEN) -> str:
        """Have the repository hold `content`, and return its digest. Raises RegistryError."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        path = f"/v2/{repository.path}/blobs"
        there = await self._transport.ask("HEAD", repository, f"{path}/{digest}", access, {}, 0, ABSENT)
        if there.status == HTTPStatus.OK:
            return digest
        begun = await self._transport.ask("POST", repository, f"{path}/uploads/", access, {}, LARGEST_PAGE, ACCEPTED)
        # as with pages: a registry behind a proxy names a host that is its own
        place = urlsplit(begun.headers.get("Location", ""))
        if begun.status != HTTPStatus.ACCEPTED or not place.path.startswith("/"):
            raise RegistryUnavailable(f"{begun.request}: the registry does not say where to upload to")
        query = "&".join(filter(None, (place.query, urlencode({"digest": digest}))))
        headers = {"Content-Type": "application/octet-stream"}
        await self._put(repository, f"{place.path}?{query}", access, headers, content)
        return digest

    async def push_manifest(
        self, repository: Repository, reference: str, media_type: str, content: bytes, access: RegistryAccess = OPEN
    ) -> None:
        """Have `reference`, a tag or its digest, name this manifest. Raises RegistryError."""
        path = f"/v2/{repository.path}/manifests/{quote(reference, safe=':')}"
        await self._put(repository, path, access, {"Content-Type": media_type}, content)

    async def _put(
        self, repository: Repository, path: str, access: RegistryAccess, headers: Mapping[str, str], content: bytes
    ) -> None:
        await self._transport.ask(
            "PUT", repository, path, access, headers, LARGEST_PAGE, ACCEPTED, content=content, seconds=UPLOAD_SECONDS
        )

    async def _get(
        self,
        repository: Repository,
        path: str,
        access: RegistryAccess,
        limit: int,
        *,
        take: Take | None = None,
        seconds: float | None = None,
    ) -> Answer:
        headers = {"Accept": "*/*" if path.startswith("blobs/") else MANIFESTS}
        url = f"/v2/{repository.path}/{path}"
        return await self._transport.ask("GET", repository, url, access, headers, limit, take=take, seconds=seconds)

    async def _list(self, repository: Repository, access: RegistryAccess) -> tuple[str, ...]:
        query: str | None = FIRST
        pages: dict[str, list[str]] = {}
        firsts: set[str] = set()
        count = empty = 0
        while query is not None:
            answer = await self._fetch_page(repository, query, access)
            if answer.status == HTTPStatus.BAD_REQUEST:
                query = ""
                continue
            pages[query] = tags = await self._read_tags(answer)
            query, count, empty = _find_next_query(answer), count + len(tags), 0 if tags else empty + 1
            is_old = bool(tags) and tags[0] in firsts
            if query is not None and (query in pages or is_old or empty > MOST_EMPTY):
                raise RegistryUnavailable(f"{answer.request}: pages go round without new tags")
            if query is None and len(tags) == PAGE and not is_old:
                query = urlencode({"last": tags[-1], "n": PAGE})  # full: it may not have said that it goes on
            firsts.update(tags[:1])
            if count > MOST_TAGS:
                raise RegistryUnavailable(f"{answer.request}: more than {MOST_TAGS} tags")
            if len(pages) > MOST_PAGES:
                raise RegistryUnavailable(f"{answer.request}: more than {MOST_PAGES} pages")
        return await self.compute.run(count, lambda: tuple(dict.fromkeys(chain.from_iterable(pages.values()))))

    async def _fetch_page(self, repository: Repository, query: str, access: RegistryAccess) -> Answer:
        """Return one page, as it is now; its body is the remembered one where the registry says that this is still
        right.

        The first one may be refused, status 400: that many tags are more than the registry gives at once.
        """
        path = f"/v2/{repository.path}/tags/list?{query}".removesuffix("?")
        key, refusal = (repository, access, path), TOO_MANY if query == FIRST else frozenset[int]()
        remembered = self._pages.get(key)
        headers = {**_LISTING, "If-None-Match": remembered.etag} if remembered is not None else _LISTING
        answer = await self._transport.ask("GET", repository, path, access, headers, LARGEST_PAGE, refusal)
        if answer.status in refusal:
            return answer
        if remembered is not None and answer.status == HTTPStatus.NOT_MODIFIED:
            kept = answer.headers.copy()
            kept.setdefault("Link", remembered.link)
            return answer._replace(headers=kept, body=remembered.body)
        if etag := answer.headers.get("ETag", ""):
            tags = await self._read_tags(answer)
            self._pages.put(key, Page(etag, answer.body, ", ".join(answer.headers.getall("Link", [])), len(tags)))
        elif remembered is not None:
            self._pages.forget(key)
        return answer

    async def _read_tags(self, answer: Answer) -> list[str]:
        return await self.compute.run(len(answer.body) // BYTES_OF_WEIGHT, _parse_tags, answer)

    async def _look_up(self, repository: Repository, reference: str, access: RegistryAccess) -> str:
        path, headers = f"/v2/{repository.path}/manifests/{quote(reference, safe=':')}", {"Accept": MANIFESTS}
        answer = await self._transport.ask("HEAD", repository, path, access, headers, LARGEST_MANIFEST, NO_HEAD)
        digest = answer.headers.get("Docker-Content-Digest", "")
        if answer.status == HTTPStatus.OK and DIGEST.fullmatch(digest):
            return digest
        # the header is optional for a registry, and some, or what is before them, take no HEAD
        answer = await self._transport.ask("GET", repository, path, access, headers, LARGEST_MANIFEST)
        return f"sha256:{hashlib.sha256(answer.body).hexdigest()}"


def _get_media_type(answer: Answer) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip()


def _check_digest(digest: str, where: str) -> None:
    """Raise ImageUnreadable unless `digest`, which a manifest may name, can become a part of a URL."""
    if not DIGEST.fullmatch(digest):
        raise ImageUnreadable(f"{where[:200]!r} is not named by a digest")


def _check_body(body: bytes, digest: str, where: str) -> None:
    """Raise RegistryUnavailable unless `body` is what was asked for."""
    _check_hash(hashlib.new(digest.partition(":")[0], body).hexdigest(), digest, where)


def _check_hash(found: str, digest: str, where: str) -> None:
    algorithm, _, wanted = digest.partition(":")
    if found != wanted:
        raise RegistryUnavailable(f"the registry sent something else for {where}: {algorithm}:{found}")


def _parse_tags(answer: Answer) -> list[str]:
    try:
        return read_tags(answer.body)
    except ValueError as error:
        raise RegistryUnavailable(f"{answer.request}: {error}") from None


def _find_next_query(answer: Answer) -> str | None:
    try:
        return find_next_query(answer.headers.getall("Link", []))
    except ValueError as error:
        raise RegistryUnavailable(f"{answer.request}: {error}") from None
