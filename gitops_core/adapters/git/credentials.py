"""How a command proves who we are: from a GitAccess to the environment of one git process.

    basic, bearer    http.extraHeader by GIT_CONFIG_* variables; the remote is asked once, not first refused
    own CA           the system's certificates and these; client certificate and key likewise
    ssh              identity and known_hosts as anonymous memory, a passphrase by SSH_ASKPASS

The environment of a process can be read by its own user alone. Nothing is written into a mirror's configuration or to a
disk, nothing stands among the arguments. A header is never sent along a redirect to another place; a remote that moved
within its host is followed with a credential helper, which answers for that host only.

Credentials over plain http are sent unless the operator forbids it: Flux sends them, and the manifests that users have
rely on it inside clusters.

Source: git-scm.com/docs/git-config (http.*, credential.*), git-scm.com/docs/gitcredentials, ssh_config(5).
"""

from __future__ import annotations

import base64
import functools
import os
import secrets
import shlex
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from gitops_core.adapters.git.address import Address
from gitops_core.adapters.git.commands import expose
from gitops_core.adapters.git.proxies import Proxy, go_by_http, go_by_ssh, parse_proxy
from gitops_core.errors import GitAccessDenied, StalledError
from gitops_core.meta import Sensitive
from gitops_core.ports import GitAccess, GitHubApp

_SYSTEM_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_SSH_OPTIONS = (
    "BatchMode=no",  # batch mode would not ask for the passphrase; every other question is switched off below
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "PreferredAuthentications=publickey",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "NumberOfPasswordPrompts=1",
    "ControlMaster=no",
    "ControlPath=none",
    "ForwardAgent=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "ServerAliveInterval=15",
    "LogLevel=ERROR",
)
_HELPER = (
    """!f() { test "$1" = get && printf 'username=%s\\npassword=%s\\n' "$SEALOOP_USERNAME" "$SEALOOP_PASSWORD"; }; f"""
)
_ASKPASS = """#!/bin/sh\nprintf '%s\\n' "$SEALOOP_PASSPHRASE"\n"""
_KEY = secrets.token_bytes(32)


class Child(NamedTuple):
    """What one git process gets beside the hardened defaults."""

    config: dict[str, str]
    environment: dict[str, str]


@dataclass(frozen=True)
class Identity:
    """Who asks one address, and how.

    Attributes:
        askpass: where the program that answers ssh's question for a passphrase is kept; it holds no secret.
    """

    address: Address
    access: GitAccess
    askpass: Path
    proxy: Proxy | None = None

    @contextmanager
    def child(self, *, redirects: bool = False) -> Iterator[Child]:
        """Prepare one command: what it is given exists while the block runs.

        Args:
            redirects: follow the remote to its new place, which costs one more request. Never done with a bearer
                token: git would send it wherever the redirect leads.
        """
        with ExitStack() as stack:
            child = Child({f"protocol.{self.address.scheme}.allow": "always"}, {})
            if self.address.is_http:
                _prove_by_http(
                    self.access, self.address, redirects and self.follows_redirects, child.config, child.environment
                )
                _trust(self.access, child.config, stack)
                if self.proxy is not None:
                    go_by_http(self.proxy, child.config, child.environment)
            elif self.address.scheme == "ssh":
                options: tuple[str, ...] = ()
                if self.proxy is not None:
                    options = (go_by_ssh(self.proxy, self.address.host, self.address.port, child.environment),)
                _prove_by_ssh(self.access, self.askpass, options, child.environment, stack)
            yield child

    def with_token(self, username: str, token: Sensitive) -> Identity:
        """Return the same identity as it is shown with a token that was given to its App."""
        return replace(self, access=replace(self.access, username=username, password=token, app=None))

    @property
    def way(self) -> str:
        """Return what somebody named who thereby decides how and when the remote is reached; "" for nothing.

        Such a mirror is not everybody's: what comes, or hangs, by the way of one is not to concern the others.
        """
        ways = [f"{self.proxy.scheme}://{self.proxy.place}"] if self.proxy is not None else []
        if self.access.app is not None and self.access.app.api != GitHubApp.api:
            ways.append(self.access.app.api)
        return " ".join(ways)

    @property
    def place(self) -> str:
        """Return what hangs as one: a proxy, whatever is behind it, or the server."""
        return self.proxy.place if self.proxy is not None else self.address.place

    @property
    def follows_redirects(self) -> bool:
        return self.address.is_http and self.access.bearer_token is None

    @functools.cached_property
    def fingerprint(self) -> bytes:
        """Equal for the same credentials at the same address, in this process only."""
        digest = blake2b(key=_KEY)
        for part in (self.address.url.encode(), self.access.username.encode(), *self._list_secrets()):
            digest.update(blake2b(part, key=_KEY).digest())
        return digest.digest()

    def _list_secrets(self) -> Iterator[bytes]:
        access = self.access
        keys = (access.client_key, access.identity, access.passphrase, access.proxy)
        for value in (access.password, access.bearer_token, *keys):
            yield b"" if value is None else b"=" + value.reveal()
        yield access.client_certificate or b""
        if (app := access.app) is not None:
            yield repr((app.app_id, app.installation_id, app.owner, app.api)).encode()
            yield app.key.reveal()

    def mute(self, text: str) -> str:
        """Remove every secret of ours from `text`: a remote's answer may repeat what it was sent."""
        for value in (self.access.password, self.access.bearer_token, self.access.passphrase):
            if value and (secret := value.reveal().decode("utf-8", "replace").strip()):  # a token is sent like that
                text = text.replace(secret, "***")
        if self.access.password is not None:
            text = text.replace(_make_basic(self.access), "***")
        return self.proxy.mute(text) if self.proxy is not None else text


def identify(address: Address, access: GitAccess, askpass: Path, *, plain_http: bool) -> Identity:
    """Return the identity to show at an address.

    Raises:
        StalledError: the address and what is named for it do not fit together.
        GitAccessDenied: a Secret holds what cannot be shown, until somebody edits it, which nobody may tell us.
    """
    # what the Secret leaves out may be in the URL
    if address.username or address.password:
        access = replace(
            access, username=access.username or address.username, password=access.password or address.password
        )
    if address.scheme == "ssh" and not (access.identity and access.known_hosts):
        raise StalledError(
            f"{address}: ssh needs an identity and known_hosts in the Secret", reason="AuthenticationFailed"
        )
    proves = access.password or access.bearer_token or access.app
    is_plain = address.scheme == "http" or (access.app is not None and not access.app.api.startswith("https://"))
    if access.app is not None and not address.is_http:
        raise StalledError(
            f"{address}: a GitHub App's token is for https alone: name an https URL",
            reason="InvalidProviderConfiguration",
        )
    if is_plain and proves and not plain_http:
        raise StalledError(f"{address}: credentials are not sent over plain http here: use https", reason="URLInvalid")
    # what would end the line that git is answered with, or a header
    for value in (access.password, access.bearer_token):
        if value and any(byte in value.reveal() for byte in b"\r\n\0"):
            raise GitAccessDenied(f"{address}: the password or token holds a line break")
    if "\n" in access.username or ":" in access.username or "\0" in access.username:
        raise GitAccessDenied(f"{address}: the username holds a colon or a line break")
    proxy = parse_proxy(access.proxy) if access.proxy is not None else None
    return Identity(address, access, askpass, proxy)


def _make_basic(access: GitAccess) -> str:
    password = access.password.reveal() if access.password else b""
    return base64.b64encode(access.username.encode() + b":" + password).decode()


def _prove_by_http(
    access: GitAccess, address: Address, redirects: bool, config: dict[str, str], environment: dict[str, str]
) -> None:
    if access.bearer_token:
        config["http.extraHeader"] = f"Authorization: Bearer {access.bearer_token.reveal_text().strip()}"
    elif (access.username or access.password) and not redirects:
        config["http.extraHeader"] = f"Authorization: Basic {_make_basic(access)}"
    elif access.username or access.password:
        parts = urlsplit(address.url)
        config[f"credential.{parts.scheme}://{parts.netloc}.helper"] = _HELPER
        environment["SEALOOP_USERNAME"] = access.username
        environment["SEALOOP_PASSWORD"] = access.password.reveal_text() if access.password else ""
    if redirects:
        config["http.followRedirects"] = "initial"


def _trust(access: GitAccess, config: dict[str, str], stack: ExitStack) -> None:
    if access.ca:
        (config["http.sslCAInfo"],) = stack.enter_context(expose(_find_system_certificates() + b"\n" + access.ca))
    elif "SSL_CERT_FILE" in os.environ:  # what the rest of this process trusts; git does not look at it
        config["http.sslCAInfo"] = os.environ["SSL_CERT_FILE"]
    if access.client_certificate and access.client_key:
        config["http.sslCert"], config["http.sslKey"] = stack.enter_context(
            expose(access.client_certificate, access.client_key.reveal())
        )


@functools.cache
def _find_system_certificates() -> bytes:
    ours = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or ""
    found = next((path for path in (ours, *_SYSTEM_CERTIFICATES) if path and os.path.isfile(path)), None)
    return Path(found).read_bytes() if found else b""


def _prove_by_ssh(
    access: GitAccess, askpass: Path, more: tuple[str, ...], environment: dict[str, str], stack: ExitStack
) -> None:
    key = access.identity.reveal() if access.identity else b""
    key = key.rstrip() + b"\n"  # OpenSSH does not read a key whose last line has no end
    identity, hosts = stack.enter_context(expose(key, access.known_hosts or b""))
    options = (*_SSH_OPTIONS, f"IdentityFile={identity}", f"UserKnownHostsFile={hosts}", *more)
    words = ("ssh", "-F", "/dev/null", *(word for option in options for word in ("-o", option)))
    environment["GIT_SSH_COMMAND"] = shlex.join(words)
    environment["GIT_SSH_VARIANT"] = "ssh"
    environment["SSH_ASKPASS_REQUIRE"] = "force"  # never a terminal
    environment["SSH_ASKPASS"] = "/bin/false"
    if access.passphrase:
        _write_askpass(askpass)
        environment["SSH_ASKPASS"] = str(askpass)
        environment["SEALOOP_PASSPHRASE"] = access.passphrase.reveal_text()


def _write_askpass(path: Path) -> None:
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(_ASKPASS)
    fresh.chmod(0o700)
    fresh.replace(path)
