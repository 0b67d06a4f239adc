"""Who we say we are, kept fresh.

    StaticLogin      as it was read
    TokenFileLogin   read again every 10 s, because kubelets rotate it
    TokenLogin       whoever gives the tokens keeps them
    PluginLogin      asked once, again shortly before its answer expires, and again when the API server refuses it

A plugin's diagnostics go to our standard error, as kubectl does it; what it prints is read and never repeated.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import msgspec

from gitops_core.adapters.kubernetes.kubeconfig import (
    ClientCertificate,
    ConfigurationError,
    Login,
    PluginLogin,
    StaticLogin,
    TokenFileLogin,
    TokenLogin,
    read_token,
)
from gitops_core.decoding import decode_json
from gitops_core.errors import ClusterUnavailable, Forbidden
from gitops_core.meta import Sensitive
from gitops_core.runtime.sharing.flights import Flights

REREAD = 10.0
EARLY = timedelta(seconds=60)
PLUGIN_TIMEOUT = 60.0
LARGEST_ANSWER = 1024 * 1024


class Identity(NamedTuple):
    """What one request shows: the Authorization header's value, and the certificate of the connection."""

    authorization: Sensitive | None = None
    certificate: ClientCertificate | None = None


class Credentials(Protocol):
    async def get_identity(self) -> Identity:
        """Return the identity to show now. Raises ClusterUnavailable, Forbidden, ConfigurationError."""
        ...

    async def renew(self, refused: Identity) -> Identity | None:
        """Return a newer identity than the one that the API server has just refused, or None when there is none."""
        ...


def make_credentials(login: Login) -> Credentials:
    match login:
        case StaticLogin():
            return StaticCredentials(login)
        case TokenFileLogin():
            return TokenFileCredentials(login)
        case PluginLogin():
            return PluginCredentials(login)
        case TokenLogin():
            return TokenCredentials(login)


class StaticCredentials:
    def __init__(self, login: StaticLogin) -> None:
        self._identity = Identity(login.authorization, login.certificate)

    async def get_identity(self) -> Identity:
        return self._identity

    async def renew(self, refused: Identity) -> Identity | None:
        return None


class TokenFileCredentials:
    def __init__(self, login: TokenFileLogin) -> None:
        self._login = login
        self._identity: Identity | None = None
        self._until = 0.0

    async def get_identity(self) -> Identity:
        now = asyncio.get_running_loop().time()
        if self._identity is None or now >= self._until:
            self._identity = self._read()
            self._until = now + REREAD
        return self._identity

    async def renew(self, refused: Identity) -> Identity | None:
        self._identity = self._read()
        return self._identity if self._identity != refused else None

    def _read(self) -> Identity:
        return Identity(read_token(self._login.file), self._login.certificate)


class TokenCredentials:
    def __init__(self, login: TokenLogin) -> None:
        self._login = login
        self._shown: dict[Identity, Sensitive] = {}

    async def get_identity(self) -> Identity:
        return self._show(await self._login.get_token(None))

    async def renew(self, refused: Identity) -> Identity | None:
        fresh = self._show(await self._login.get_token(self._shown.get(refused)))
        return fresh if fresh != refused else None

    def _show(self, token: Sensitive) -> Identity:
        identity = Identity(Sensitive(b"Bearer " + token.reveal()))
        self._shown = {identity: token}
        return identity


class _Status(msgspec.Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    status: _Status | None = None


class PluginCredentials:
    """Runs the plugin, once however many requests wait for it."""

    def __init__(self, login: PluginLogin) -> None:
        self._login = login
        self._asking: Flights[Identity] = Flights()
        self._identity: Identity | None = None
        self._expires: datetime | None = None

    async def get_identity(self) -> Identity:
        return await self._get_fresh(None)

    async def renew(self, refused: Identity) -> Identity | None:
        fresh = await self._get_fresh(refused)
        return fresh if fresh != refused else None

    async def _get_fresh(self, refused: Identity | None) -> Identity:
        if self._identity is None or self._identity == refused or self._is_stale():
            return await self._asking.join("", self._ask_anew)
        return self._identity

    async def _ask_anew(self) -> Identity:
        status = await self._ask()
        self._identity, self._expires = _read_identity(status, self._login), status.expiration_timestamp
        return self._identity

    def _is_stale(self) -> bool:
        return self._expires is not None and datetime.now(UTC) > self._expires - EARLY

    async def _ask(self) -> _Status:
        plugin = self._login.command
        output = await _run(self._login)
        try:
            answer = decode_json(output, _ExecCredential)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise ClusterUnavailable(f"the credential plugin {plugin!r} did not print an ExecCredential") from None
        if answer.kind != "ExecCredential" or answer.api_version != self._login.api_version:
            raise ConfigurationError(
                f"the credential plugin {plugin!r} does not speak {self._login.api_version}, as the kubeconfig wants"
            )
        if answer.status is None:
            raise Forbidden(f"the credential plugin {plugin!r} printed no status")
        return answer.status


def _read_identity(status: _Status, login: PluginLogin) -> Identity:
    certificate = None
    if status.client_certificate_data and status.client_key_data:
        certificate = ClientCertificate(status.client_certificate_data.encode(), Sensitive(status.client_key_data))
    if not status.token and certificate is None:
        raise Forbidden(f"the credential plugin {login.command!r} printed neither a token nor a client certificate")
    return Identity(Sensitive(f"Bearer {status.token}") if status.token else None, certificate)


async def _run(login: PluginLogin) -> bytes:
    """Run the plugin and return what it prints. Raises ConfigurationError, ClusterUnavailable."""
    try:
        process = await asyncio.create_subprocess_exec(
            login.command,
            *login.arguments,
            env={**login.environment, "KUBERNETES_EXEC_INFO": _write_exec_info(login)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            limit=LARGEST_ANSWER,
        )
    except OSError as error:
        hint = f": {login.install_hint}" if login.install_hint else ""
        raise ConfigurationError(
            f"the credential plugin {login.command!r} of the kubeconfig cannot be started ({error.strerror}){hint}"
        ) from error
    try:
        async with asyncio.timeout(PLUGIN_TIMEOUT):
            output = await _limit(process)
            code = await process.wait()
    except TimeoutError:
        raise ClusterUnavailable(
            f"the credential plugin {login.command!r} printed nothing within {PLUGIN_TIMEOUT:.0f} s"
        ) from None
    finally:
        await _end(process)
    if code != 0:
        raise ClusterUnavailable(f"the credential plugin {login.command!r} failed with exit code {code}")
    return output


async def _limit(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None  # noqa: S101 - asked for above
    output = b""
    while part := await process.stdout.read(65536):
        output += part
        if len(output) > LARGEST_ANSWER:
            raise ClusterUnavailable(f"a credential plugin printed more than {LARGEST_ANSWER} bytes")
    return output


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


def _write_exec_info(login: PluginLogin) -> str:
    spec: Mapping[str, object] = {"interactive": False, **({"cluster": login.cluster} if login.cluster else {})}
    return json.dumps({"apiVersion": login.api_version, "kind": "ExecCredential", "spec": spec})
