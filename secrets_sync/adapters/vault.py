"""The provider vault: the key-value engines of HashiCorp Vault and OpenBao, by hvac.

hvac blocks, so it runs in threads of its own, a few for each server; it is imported when the first such store is
opened. One login serves all stores of one identity, until its token is about to end or nobody needs it any more.
"""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlsplit

from gitops_core.adapters.http import Authorities
from gitops_core.meta import Sensitive
from gitops_core.ports import Clock, Cluster, Compute
from gitops_core.runtime.sharing.computing import IN_PLACE
from secrets_sync.adapters.credentials import read_certificates, read_credential
from secrets_sync.adapters.threads import Threads, turn
from secrets_sync.api import VaultAppRole, VaultProvider
from secrets_sync.domain.provider import gojson
from secrets_sync.domain.provider.extract import encode_members
from secrets_sync.domain.provider.finding import MAX_TAGGED, Breadth, Listing, Named, Search
from secrets_sync.domain.provider.openings import Opening, Reach
from secrets_sync.domain.provider.payload import Payload, SecretRef
from secrets_sync.domain.provider.reading import Absent
from secrets_sync.domain.provider.vaultfolders import Folder, Level, make_folder, read_level
from secrets_sync.domain.provider.vaultmounts import Place, describe_denial, describe_mount
from secrets_sync.domain.provider.vaultpaths import make_kv_path
from secrets_sync.errors import (
    AccessDenied,
    FindInvalid,
    NoAnswer,
    NotSupported,
    ProviderUnavailable,
    StoreInvalid,
    ValueUnusable,
)
from secrets_sync.ports import SecretProvider
from secrets_sync.runtime.connections import Connections, Digests

T = TypeVar("T")

PATH = "spec.provider.vault"
TIMEOUT = 15.0
"""Seconds that one request may take, from connecting to the last byte."""
EARLY = 0.25
"""The share of a token's life that is left when it is renewed."""
WORN = 300.0
"""Seconds after which a login that may not do something is replaced: a new one may have other policies."""
UNUSED = 900.0
"""Seconds after which a store that nobody opens counts as gone; stores are validated more often."""


@dataclass(frozen=True)
class Answer:
    """What Vault said: the status and the decoded body, numbers by their digits, and how many bytes that was."""

    status: int
    body: Any = field(repr=False)
    retry_after: float | None = None
    size: int = 0

    def get(self, *names: str) -> Any:
        """Return what is under these keys of nested objects, or None."""
        value = self.body
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value


@dataclass(frozen=True)
class _Raw:
    """An answer as it came."""

    status: int
    content: bytes = field(repr=False)
    retry_after: str | None


@dataclass
class Login:
    """A token, and since when we have it and when it ends by the monotonic clock.

    `ends` is None when it does not, or when it is not ours to renew.
    """

    token: Sensitive
    since: float = 0.0
    ends: float | None = None
    lease: float = 0.0
    renewable: bool = False


@dataclass(frozen=True)
class Token:
    """A token that somebody else got, and sees to."""

    token: Sensitive
    way: str = "token"

    @property
    def values(self) -> tuple[Sensitive, ...]:
        return (self.token,)


@dataclass(frozen=True)
class AppRole:
    """An AppRole to log in with."""

    path: str
    role: Sensitive
    secret: Sensitive

    @property
    def way(self) -> str:
        return f"AppRole at {self.path!r}"

    @property
    def values(self) -> tuple[Sensitive, ...]:
        return self.role, self.secret


Access = Token | AppRole
"""How to get in: `way` says how, and `values` as whom."""


@dataclass(frozen=True)
class Identity:
    """As whom we talk to which Vault: all that a login is good for, and all that decides on what it may read.

    Attributes:
        namespace: Vault's.
        ca: the certificates to trust.
        way: how to log in.
        credentials: digests of what we log in with.
    """

    server: str
    namespace: str
    ca: bytes = field(repr=False)
    way: str
    credentials: tuple[Sensitive, ...]


class Connection:
    """One Vault as one identity: the HTTP client and the login, shared by all reconciliations of all its stores."""

    def __init__(
        self,
        identity: Identity,
        trust: ssl.SSLContext,
        access: Access,
        clock: Clock,
        threads: Threads,
        timeout: float,
        compute: Compute,
    ) -> None:
        self.where = f"vault {identity.server}"
        self.identity, self.compute = identity, compute
        self._trust, self._access = trust, access
        self._clock, self._threads, self._timeout = clock, threads, timeout
        self._server = _name_server(identity.server)
        self._client: Any = None
        self._login: Login | None = None
        self._logging_in = threads.make_line(self._server)

    async def ask(self, path: str, **parameters: str) -> Answer:
        """GET a path below /v1/. A login by which Vault refuses it is replaced, once, if another could do better."""
        login = await self._get_login()
        answer = await self._request("get", path, login.token, params=parameters)
        if answer.status == 403 and isinstance(self._access, AppRole) and await self._is_worn(login):
            fresh = await self._get_login(instead_of=login)
            answer = await self._request("get", path, fresh.token, params=parameters)
        return answer

    async def close(self) -> None:
        """Give the login back."""
        login, self._login = self._login, None
        if login is not None and isinstance(self._access, AppRole):
            await self._revoke(login)
        if self._client is not None:
            self._client.close()

    async def _revoke(self, login: Login) -> None:
        """End the token of a login: it has a lease that would otherwise live on."""
        try:
            await self._request("post", "auth/token/revoke-self", login.token)
        except ProviderUnavailable:
            return  # it ends by itself

    async def _is_worn(self, login: Login) -> bool:
        """Tell whether another login could do better: this one is old, was replaced, or Vault forgot it."""
        if login is not self._login or self._clock.monotonic() - login.since >= WORN:
            return True
        return (await self._request("get", "auth/token/lookup-self", login.token)).status == 403

    async def _get_login(self, instead_of: Login | None = None) -> Login:
        async with turn(self._logging_in, self._server):
            before, self._login = self._login, await self._choose_login(instead_of)
            if before is not None and before is instead_of:
                await self._revoke(before)
            return self._login

    async def _choose_login(self, instead_of: Login | None) -> Login:
        now, login = self._clock.monotonic(), self._login
        if login is None or login is instead_of:
            return await self._log_in()
        if login.ends is None or login.ends - now > login.lease * EARLY:
            return login
        renewed = await self._renew(login) if login.renewable and login.ends > now else None
        return renewed or await self._log_in()

    async def _log_in(self) -> Login:
        role = self._access
        if isinstance(role, Token):
            return Login(role.token)
        body = {"role_id": role.role.reveal_text(), "secret_id": role.secret.reveal_text()}
        answer = await self._request("post", f"auth/{role.path.strip('/')}/login", None, json=body)
        if answer.status in (400, 401, 403):
            raise AccessDenied(f"{self.where}: the AppRole at {role.path!r} may not log in: wrong role id or secret id")
        return self._read_grant(answer, self._clock.monotonic())

    async def _renew(self, login: Login) -> Login | None:
        answer = await self._request("post", "auth/token/renew-self", login.token)
        return self._read_grant(answer, login.since) if answer.status == 200 else None

    def _read_grant(self, answer: Answer, since: float) -> Login:
        refuse_failure(self.where, answer)
        token, lease = answer.get("auth", "client_token"), _parse_number(answer.get("auth", "lease_duration"))
        if not isinstance(token, str):
            raise ProviderUnavailable(f"{self.where}: the answer to a login holds no token")
        ends = self._clock.monotonic() + lease if lease else None
        return Login(Sensitive(token), since, ends, lease, answer.get("auth", "renewable") is True)

    async def _request(self, method: str, path: str, token: Sensitive | None, **parameters: Any) -> Answer:
        call = self._request_in_thread
        raw = await self._threads.run(self._server, lambda: call(method, path, token, parameters), self._timeout)
        return await self.compute.run(len(raw.content), _parse_answer, raw)

    def _request_in_thread(self, method: str, path: str, token: Sensitive | None, parameters: Any) -> _Raw:
        import hvac.adapters
        import requests

        from secrets_sync.adapters.bounded_http import TooLarge, make_bounded_session

        # Never reads VAULT_TOKEN, ~/.vault-token, VAULT_CACERT: hvac.Client would, its adapter does not.
        adapter = hvac.adapters.RawAdapter(
            base_uri=self.identity.server,
            token=token.reveal_text() if token else "",
            session=self._get_session(make_bounded_session),
            namespace=self.identity.namespace or None,
            allow_redirects=False,
            verify=True,
        )
        try:
            response = adapter.request(method, f"/v1/{quote(path)}", raise_exception=False, **parameters)
        except TooLarge:
            raise ProviderUnavailable(f"{self.where}: the answer is too large") from None
        except requests.Timeout:
            raise NoAnswer(f"{self.where}: no answer in time") from None  # the cause could quote headers
        except (requests.RequestException, OSError) as error:
            raise ProviderUnavailable(f"{self.where}: {_explain(error)}") from None
        return _Raw(response.status_code, response.content, response.headers.get("Retry-After"))

    def _get_session(self, make: Callable[[ssl.SSLContext, float], T]) -> T:
        if self._client is None:
            self._client = make(self._trust, self._timeout)
        client: T = self._client
        return client


def _explain(error: Exception) -> str:
    import requests

    match error:
        case requests.exceptions.SSLError():
            return "the server's certificate is not trusted, or this is no TLS"
        case requests.ConnectionError():
            return "cannot connect"
    return f"{type(error).__name__}"


def _parse_answer(raw: _Raw) -> Answer:
    try:
        body = gojson.decode(raw.content.decode()) if raw.content else None
    except ValueError:
        body = None
    delay = float(after) if (after := raw.retry_after) and after.isascii() and after.isdigit() else None
    return Answer(raw.status, body, delay, len(raw.content))


def _parse_number(value: Any) -> float:
    return float(value) if isinstance(value, gojson.Number) else 0.0


def refuse_failure(where: str, answer: Answer) -> None:
    """Raise AccessDenied or ProviderUnavailable for every status but 200, 204 and 404."""
    match answer.status:
        case 200 | 204 | 404:
            return
        case 401 | 403:
            raise AccessDenied(f"{where}: the credentials are wrong or may not do this")
        case 301 | 302 | 307 | 308:
            raise ProviderUnavailable(f"{where}: redirects elsewhere; name the active server instead")
        case status:
            raise ProviderUnavailable(f"{where}: HTTP {status}", retry_after=answer.retry_after)


@dataclass(frozen=True)
class Vault:
    """Implements secrets_sync.ports.Finder: one key-value engine, by a connection that others use too."""

    connection: Connection = field(repr=False)
    mount: str | None
    engine: Literal["v1", "v2"]
    release: Callable[[], None] = field(repr=False)
    capabilities: str = "ReadWrite"

    @property
    def where(self) -> str:
        return self.connection.where

    @property
    def identity(self) -> Hashable:
        return self.connection.identity, self.mount, self.engine

    async def validate(self) -> None:
        answer = await self.connection.ask("auth/token/lookup-self")
        refuse_failure(self.where, answer)
        if answer.status != 200:
            raise ProviderUnavailable(f"{self.where}: this is no Vault API: HTTP {answer.status}")

    async def fetch(self, ref: SecretRef) -> Payload | Absent:
        try:
            path = make_kv_path(self.mount, self.engine, ref.key)
        except ValueError as error:
            raise ValueUnusable(f"{self.where}: {error}") from None
        answer = await self.connection.ask(path, **({"version": ref.version} if ref.version else {}))
        if answer.status == 403:
            raise AccessDenied(f"{self.where}: the token may not read key {ref.key!r}")
        refuse_failure(self.where, answer)
        if answer.status == 404:
            question = f"whether there is a key {ref.key!r}"
            denial = self._read_denial(answer, question)
            mount = await self._confirm_place(Place(self.mount, self.engine, path), question)
            return Absent(self.where, *ref, f"{denial}, said by {mount}")
        return await self.connection.compute.run(answer.size, self._parse_payload, answer, ref.key)

    def _parse_payload(self, answer: Answer, key: str) -> Payload:
        data = answer.get("data", "data") if self.engine == "v2" else answer.get("data")
        if not isinstance(data, dict):
            raise ProviderUnavailable(f"{self.where}: the answer for key {key!r} is not what a key-value engine says")
        version = answer.get("data", "metadata", "version") if self.engine == "v2" else None
        metadata = {"version": str(version)} if isinstance(version, gojson.Number) else {}
        return Payload(Sensitive(gojson.encode(data)), encode_members(data), metadata)

    async def list_names(self, search: Search) -> Listing | Absent:
        if search.has_tags and self.engine == "v1":
            raise NotSupported(f"{self.where}: secrets of an engine of version 1 have no tags to find them by")
        try:
            top = make_folder(self.mount, self.engine, search.path)
        except ValueError as error:
            raise FindInvalid(f"{self.where}: {error}") from None
        breadth = Breadth(self.where, top.path)
        level = await self._list(top, breadth)
        place = Place(self.mount, self.engine, top.listing, "metadata")
        mount = await self._confirm_place(place, _ask_what_is_in(top))
        if level is None:
            return Absent(self.where, f"{top.path}/", "", f"HTTP 404, said by {mount}")
        found = await self._walk(level, breadth)
        if search.has_tags:
            breadth.limit("names whose tags are to be read", len(found), MAX_TAGGED)
            tagged = [await self._read_tags(folder, secret) for folder, secret in found]
            return Listing(tuple(secret for secret in tagged if secret is not None), f"listed by {mount}")
        return Listing(tuple(secret for _, secret in found), f"listed by {mount}")

    async def _walk(self, level: Level, breadth: Breadth) -> list[tuple[Folder, Named]]:
        """List the secrets below a folder, each with the folder that it is in."""
        found = [(level.folder, secret) for secret in level.secrets]
        for folder in level.folders:
            inner = await self._list(folder, breadth)
            if inner is not None:
                found += await self._walk(inner, breadth)
        return found

    async def _list(self, folder: Folder, breadth: Breadth) -> Level | None:
        """List one folder; None if there is none."""
        answer = await self.connection.ask(folder.listing, list="true")
        if answer.status == 403:
            raise AccessDenied(f"{self.where}: the token may not list {folder.path or '/'!r}")
        refuse_failure(self.where, answer)
        if answer.status == 404:
            self._read_denial(answer, _ask_what_is_in(folder))
            return None
        try:
            return await self.connection.compute.run(answer.size, read_level, answer.body, folder, breadth)
        except ValueError as error:
            raise self._doubt(_ask_what_is_in(folder), error) from None

    async def _read_tags(self, folder: Folder, secret: Named) -> Named | None:
        """Return a secret with its custom metadata; None if it went since it was listed."""
        answer = await self.connection.ask(folder.make_metadata_path(secret))
        if answer.status == 403:
            raise AccessDenied(f"{self.where}: the token may not read the metadata of key {secret.name!r}")
        refuse_failure(self.where, answer)
        if answer.status == 404:
            self._read_denial(answer, f"whether there is a key {secret.name!r}")
            return None
        tags = answer.get("data", "custom_metadata") or {}
        if not isinstance(answer.get("data"), dict) or not isinstance(tags, dict):
            raise ProviderUnavailable(
                f"{self.where}: the metadata of key {secret.name!r} is not what a key-value engine says"
            )
        return secret._replace(tags={tag: value for tag, value in tags.items() if isinstance(value, str)})

    def _read_denial(self, answer: Answer, question: str) -> str:
        """Return what a 404 says of what was asked for. Raises ProviderUnavailable: it does not speak of that."""
        try:
            return describe_denial(answer.body, self.engine)
        except ValueError as error:
            raise self._doubt(question, error) from None

    async def _confirm_place(self, place: Place, question: str) -> str:
        """Return how Vault calls the engine that was asked. Raises ProviderUnavailable: it is not the store's."""
        about = await self.connection.ask(f"sys/internal/ui/mounts/{place.path}")
        try:
            return describe_mount(about.body if about.status == 200 else None, place)
        except ValueError as error:
            raise self._doubt(question, error) from None

    def _doubt(self, question: str, error: ValueError) -> ProviderUnavailable:
        return ProviderUnavailable(
            f"{self.where}: cannot tell {question}: {error}; check path, version and namespace of {PATH}"
        )

    async def aclose(self) -> None:
        self.release()


def _ask_what_is_in(folder: Folder) -> str:
    return f"what is below {folder.path or '/'!r}"


def _name_server(address: str) -> str:
    """Make the one name for all stores of one server, whose places they share."""
    parts = urlsplit(address)
    return f"vault {parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


class VaultFactory:
    """Implements secrets_sync.ports.ProviderFactory."""

    def __init__(
        self, clock: Clock, timeout: float = TIMEOUT, unused: float = UNUSED, compute: Compute = IN_PLACE
    ) -> None:
        self._clock, self._timeout, self._compute = clock, timeout, compute
        self._threads = Threads()
        self._imported = False
        self._authorities = Authorities()
        self._digests = Digests()
        self._connections: Connections[Connection] = Connections(Connection.close, unused)

    async def open(self, opening: Opening[VaultProvider], cluster: Cluster) -> SecretProvider:
        settings = opening.settings
        if urlsplit(settings.server).scheme not in ("http", "https"):
            raise StoreInvalid(f"{PATH}.server is no http or https URL")
        if not self._imported:
            await asyncio.to_thread(importlib.import_module, "hvac.adapters")  # takes longer than many a request
            self._imported = True
        access = await _read_access(opening, cluster)
        ca = settings.ca_bundle
        if not ca and settings.ca_provider is not None:
            ca = await read_certificates(cluster, opening.reach, f"{PATH}.caProvider", settings.ca_provider)
        try:
            trust = self._authorities.get_context(ca)
        except ValueError as error:
            raise StoreInvalid(f"vault {settings.server}: caBundle or caProvider: {error}") from None
        credentials = tuple(self._digests.make(value) for value in access.values)
        identity = Identity(settings.server, settings.namespace, ca, access.way, credentials)
        use = self._connections.use(
            (opening.kind, opening.key, opening.reach),
            identity,
            lambda: Connection(identity, trust, access, self._clock, self._threads, self._timeout, self._compute),
        )
        return Vault(use.connection, settings.path, settings.version, use.release)

    async def close(self) -> None:
        await self._connections.close()
        self._threads.close()


async def _read_access(opening: Opening[VaultProvider], cluster: Cluster) -> Access:
    auth, reach, field_ = opening.settings.auth, opening.reach, f"{PATH}.auth"
    if auth is not None and auth.token_secret_ref is not None:
        return Token(await read_credential(cluster, reach, f"{field_}.tokenSecretRef", auth.token_secret_ref))
    if auth is not None and auth.app_role is not None:
        role, secret = await _read_role(auth.app_role, cluster, reach, f"{field_}.appRole")
        return AppRole(auth.app_role.path, role, secret)
    raise StoreInvalid(f"{field_} names no way to log in that is supported: tokenSecretRef or appRole")


async def _read_role(role: VaultAppRole, cluster: Cluster, reach: Reach, field_: str) -> tuple[Sensitive, Sensitive]:
    secret = await read_credential(cluster, reach, f"{field_}.secretRef", role.secret_ref)
    if role.role_ref is not None:
        return await read_credential(cluster, reach, f"{field_}.roleRef", role.role_ref), secret
    if not role.role_id:
        raise StoreInvalid(f"{field_} has neither roleId nor roleRef")
    return Sensitive(role.role_id), secret
