"""Where the API server is and who we are, read as kubectl reads it.

    --kubeconfig FILE            that file alone
    KUBECONFIG=a:b:c             merged: of each named entry, and of current-context, the first one counts
    ~/.kube/config               without KUBECONFIG
    a Pod's service account      without any of these files

Relative paths in a file are relative to that file's folder.

A tenant's kubeconfig is a text from a Secret. It reads no file of ours, runs no program of ours, and cannot switch off
that the server proves who it is (as Flux without --insecure-kubeconfig-exec and --insecure-kubeconfig-tls).

Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec
import yaml

from gitops_core.adapters.http import find_proxy
from gitops_core.decoding import convert
from gitops_core.domain.render.expansion import check_expansion
from gitops_core.domain.render.manifests import Malformed
from gitops_core.errors import ClusterError, ClusterUnavailable
from gitops_core.meta import Sensitive

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LARGEST_FILE = 8 * 1024 * 1024
LARGEST_OF_TENANTS = 1024 * 1024
"""Bytes; no Secret holds more."""

_IN_HEADER_NAMES = "!#$&'*+-.^_`|~"  # what client-go does not escape

_TOKEN = re.compile(rb"[!-~]+")

# The C loader reads a kubeconfig of many clusters ten times faster; a wheel without it has the other one.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ConfigurationError(ClusterError):
    """The kubeconfig cannot be used. The message names the file or the entry, never a credential."""

    reason = "KubeconfigInvalid"


class ClientCertificate(NamedTuple):
    """PEM: a certificate chain and its private key."""

    chain: bytes
    key: Sensitive


@dataclass(frozen=True)
class StaticLogin:
    """Nothing to renew: an Authorization header, a certificate, both or neither."""

    authorization: Sensitive | None = None
    certificate: ClientCertificate | None = None


@dataclass(frozen=True)
class TokenFileLogin:
    """A bearer token in a file that somebody else keeps fresh."""

    file: Path
    certificate: ClientCertificate | None = None


@dataclass(frozen=True)
class PluginLogin:
    """A program that prints credentials.

    Attributes:
        environment: the plugin's whole environment, without KUBERNETES_EXEC_INFO.
        cluster: what the plugin is told about the cluster, or None to tell nothing.
    """

    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    api_version: str
    install_hint: str
    cluster: Mapping[str, Any] | None


@dataclass(frozen=True)
class TokenLogin:
    """Bearer tokens, each asked for when a request needs it: another one than that which was refused."""

    get_token: Callable[[Sensitive | None], Awaitable[Sensitive]]


Login = StaticLogin | TokenFileLogin | PluginLogin | TokenLogin


@dataclass(frozen=True)
class Endpoint:
    """One API server and the way in.

    Attributes:
        ca: PEM to trust instead of the system's authorities; None for the system's.
        verify: False only where the kubeconfig says insecure-skip-tls-verify.
        server_name: the name expected in the server's certificate, if not the URL's host.
        impersonate: headers that the kubeconfig's `as` entries stand for.
        namespace: of the context; commands use it, reconcilers never.
    """

    server: str
    login: Login
    ca: bytes | None = None
    verify: bool = True
    server_name: str | None = None
    proxy: str | None = None
    compress: bool = True
    impersonate: tuple[tuple[str, str], ...] = ()
    namespace: str = "default"


class _Exec(msgspec.Struct, rename="camel"):
    command: str | None = None
    args: list[str] | None = None
    env: list[dict[str, str]] | None = None
    api_version: str | None = None
    install_hint: str | None = None
    interactive_mode: str | None = None
    provide_cluster_info: bool | None = None


class _User(msgspec.Struct, rename="kebab"):
    exec: _Exec | None = None
    token: str | None = None
    token_file: str | None = msgspec.field(name="tokenFile", default=None)
    username: str | None = None
    password: str | None = None
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    as_: str | None = msgspec.field(name="as", default=None)
    as_uid: str | None = None
    as_groups: list[str] | None = None
    as_user_extra: dict[str, list[str]] | None = None


class _Extension(msgspec.Struct):
    name: str = ""


class _Cluster(msgspec.Struct, rename="kebab"):
    server: str | None = None
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    insecure_skip_tls_verify: bool | None = None
    tls_server_name: str | None = None
    proxy_url: str | None = None
    disable_compression: bool | None = None
    extensions: list[_Extension] | None = None


class _Context(msgspec.Struct):
    cluster: str | None = None
    user: str | None = None
    namespace: str | None = None


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: _Cluster | None = None


class _NamedContext(msgspec.Struct):
    name: str
    context: _Context | None = None


class _NamedUser(msgspec.Struct):
    name: str
    user: _User | None = None


class _Shape(msgspec.Struct, rename="kebab"):
    """What a file has to look like, as far as we read it: kubectl refuses other shapes too."""

    current_context: str | None = None
    clusters: list[_NamedCluster] | None = None
    contexts: list[_NamedContext] | None = None
    users: list[_NamedUser] | None = None


def find_endpoint(path: Path | None, context: str | None, environment: Mapping[str, str]) -> Endpoint:
    """Return the API server that kubectl would talk to. Raises ConfigurationError.

    Args:
        path: a kubeconfig to use alone, which has to exist.
        context: its context to use, None for its current one.
    """
    files = [path] if path is not None else _list_files(environment)
    configs = [(file, _read(file)) for file in files if path is not None or file.exists()]
    if not configs and context is None and environment.get("KUBERNETES_SERVICE_HOST"):
        return find_own_endpoint(environment)
    if not configs:
        looked = ", ".join(map(str, files))
        raise ConfigurationError(f"no cluster to talk to: no kubeconfig at {looked}, and this is not a Pod")
    return _make_endpoint(_merge(configs), context, environment)


def read_tenants_endpoint(text: bytes, name: str, environment: Mapping[str, str]) -> Endpoint:
    """Return the API server of a tenant's kubeconfig, of its current context. Raises ConfigurationError.

    Args:
        name: what errors call it.
        environment: where our proxies are looked up.
    """
    if len(text) > LARGEST_OF_TENANTS:
        raise ConfigurationError(f"{name} is larger than {LARGEST_OF_TENANTS} bytes")
    try:
        check_expansion(text)
    except Malformed as error:
        raise ConfigurationError(f"{name} is not YAML, or nested or repeated too much (line {error.line})") from None
    config = _merge([(None, _parse(text, name))])
    try:
        return replace(_make_endpoint(config, None, environment), verify=True)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name} cannot be used: {error}") from None


def find_own_endpoint(environment: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> Endpoint:
    """Find the API server of the Pod we run in, as the Pod's service account. Raises ConfigurationError."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (folder / "token").exists():
        raise ConfigurationError(
            f"this is not a Pod with a service account: no KUBERNETES_SERVICE_HOST or {folder}/token"
        )
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    namespace = folder / "namespace"
    return Endpoint(
        server=server,
        login=TokenFileLogin(folder / "token"),
        ca=(folder / "ca.crt").read_bytes() if (folder / "ca.crt").exists() else None,
        proxy=find_proxy(server, environment),
        namespace=namespace.read_text(errors="replace").strip() if namespace.exists() else "default",
    )


def _list_files(environment: Mapping[str, str]) -> list[Path]:
    if listed := [Path(entry) for entry in environment.get("KUBECONFIG", "").split(os.pathsep) if entry]:
        return listed
    home = environment.get("HOME")
    return [(Path(home) if home else Path.home()) / ".kube" / "config"]


def _read(file: Path) -> Mapping[str, Any]:
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise ConfigurationError(f"kubeconfig {file} is larger than {LARGEST_FILE} bytes")
        text = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"kubeconfig {file} cannot be read: {error.strerror}") from error
    return _parse(text, f"kubeconfig {file}")


def _parse(text: bytes, name: str) -> Mapping[str, Any]:
    try:
        config = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as error:  # the others of `!!int ""` and the like
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise ConfigurationError(f"{name} is not YAML{line}") from None  # the cause quotes the file
    if config is None:
        return {}
    try:
        convert(config, _Shape)
    except msgspec.ValidationError as error:  # its words name types and places, never values
        raise ConfigurationError(f"{name} is not one: {error}") from None
    checked: Mapping[str, Any] = config
    return checked


class _Entry(NamedTuple):
    """A cluster, user or context, and the folder that its relative paths start from; None where it may name no file."""

    name: str
    content: Mapping[str, Any]
    folder: Path | None

    def get_text(self, field: str) -> str:
        value = self.content.get(field)
        return "" if value is None else str(value)

    def read_data(self, field: str) -> bytes | None:
        """Return the bytes of `<field>-data`, or of the file that `<field>` names; None without both."""
        if encoded := self.get_text(f"{field}-data"):
            try:
                return base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                raise ConfigurationError(f"{field}-data of kubeconfig entry {self.name!r} is not base64") from None
        if not (file := self.find_file(field)):
            return None
        try:
            return file.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{field} {file} cannot be read: {error.strerror}") from error

    def find_file(self, field: str) -> Path | None:
        """Return the file that the field names. Raises ConfigurationError: it may name none."""
        if not (named := self.get_text(field)):
            return None
        return self._own(f"names a file: {field}") / named

    def find_program(self, command: str) -> str:
        """Return the program of an exec plugin. Raises ConfigurationError: it may run none."""
        folder = self._own("has an exec plugin")
        return str(folder / command) if "/" in command else command

    def _own(self, what: str) -> Path:
        if self.folder is None:
            raise ConfigurationError(
                f"kubeconfig entry {self.name!r} {what}; one that comes from a Secret has to hold all that it needs"
            )
        return self.folder


class _Config(NamedTuple):
    current: str
    entries: Mapping[tuple[str, str], _Entry]

    def get_entry(self, kind: str, name: str) -> _Entry:
        if (kind, name) not in self.entries:
            known = ", ".join(sorted(n for k, n in self.entries if k == kind)) or "none"
            raise ConfigurationError(f"the kubeconfig has no {kind} {name!r}; there is {known}")
        return self.entries[kind, name]


def _merge(configs: Sequence[tuple[Path | None, Mapping[str, Any]]]) -> _Config:
    """Merge all files: the first to name an entry, or a current context, wins."""
    current = ""
    entries: dict[tuple[str, str], _Entry] = {}
    for file, config in configs:
        current = current or str(config.get("current-context") or "")
        for kind in ("cluster", "context", "user"):
            for item in config.get(f"{kind}s") or ():
                name, content = str(item.get("name", "")), item.get(kind) or {}
                entries.setdefault((kind, name), _Entry(name, content, file and file.absolute().parent))
    return _Config(current, entries)


def _make_endpoint(config: _Config, context: str | None, environment: Mapping[str, str]) -> Endpoint:
    name = context or config.current
    if not name:
        raise ConfigurationError("the kubeconfig has no current-context: choose one with --context")
    chosen = config.get_entry("context", name)
    cluster = config.get_entry("cluster", chosen.get_text("cluster"))
    user = config.get_entry("user", chosen.get_text("user")) if chosen.get_text("user") else _Entry("", {}, Path())
    server = cluster.get_text("server").rstrip("/")
    if not _is_web_address(server):
        raise ConfigurationError(f"the server of cluster {cluster.name!r} is not an http or https URL")
    proxy = cluster.get_text("proxy-url") or find_proxy(server, environment)
    if proxy and not _is_web_address(proxy):
        raise ConfigurationError(f"the proxy of cluster {cluster.name!r} is not an http or https URL")
    return Endpoint(
        server=server,
        login=_read_login(user, cluster, environment),
        ca=cluster.read_data("certificate-authority"),
        verify=not cluster.content.get("insecure-skip-tls-verify"),
        server_name=cluster.get_text("tls-server-name") or None,
        proxy=proxy,
        compress=not cluster.content.get("disable-compression"),
        impersonate=_read_impersonation(user),
        namespace=chosen.get_text("namespace") or "default",
    )


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False


def _read_login(user: _Entry, cluster: _Entry, environment: Mapping[str, str]) -> Login:
    if user.content.get("exec"):
        return _read_plugin(user, cluster, environment)
    if user.content.get("auth-provider"):
        raise ConfigurationError(
            f"user {user.name!r} of the kubeconfig has an auth-provider, which Kubernetes gave up: use an exec plugin"
        )
    chain, key = user.read_data("client-certificate"), user.read_data("client-key")
    if (chain is None) != (key is None):
        raise ConfigurationError(f"user {user.name!r} of the kubeconfig needs both client-certificate and client-key")
    certificate = ClientCertificate(chain, Sensitive(key)) if chain is not None and key is not None else None
    if file := user.find_file("tokenFile"):
        return TokenFileLogin(file, certificate)
    if token := user.get_text("token"):
        return StaticLogin(Sensitive(f"Bearer {token}"), certificate)
    if name := user.get_text("username"):
        pair = base64.b64encode(f"{name}:{user.get_text('password')}".encode()).decode()
        return StaticLogin(Sensitive(f"Basic {pair}"), certificate)
    return StaticLogin(None, certificate)


def _read_plugin(user: _Entry, cluster: _Entry, environment: Mapping[str, str]) -> PluginLogin:
    """Read the exec entry. A command with a slash is relative to the kubeconfig, one without is looked up on PATH."""
    spec = user.content["exec"]
    command = user.find_program(str(spec.get("command") or ""))
    if not command:
        raise ConfigurationError(f"the exec plugin of user {user.name!r} has no command")
    if spec.get("interactiveMode") == "Always":
        raise ConfigurationError(
            f"the exec plugin of user {user.name!r} wants to ask questions: interactiveMode Always"
        )
    own = {item["name"]: item.get("value", "") for item in spec.get("env") or () if item.get("name")}
    return PluginLogin(
        command=command,
        arguments=tuple(str(argument) for argument in spec.get("args") or ()),
        environment={**environment, **own},
        api_version=str(spec.get("apiVersion") or "client.authentication.k8s.io/v1"),
        install_hint=str(spec.get("installHint") or "").strip(),
        cluster=_make_cluster_info(cluster) if spec.get("provideClusterInfo") else None,
    )


def _make_cluster_info(cluster: _Entry) -> Mapping[str, Any]:
    """Return what a plugin with provideClusterInfo gets. Source: client.authentication.k8s.io/v1, ExecCredential."""
    authority = cluster.read_data("certificate-authority")
    extensions = {item.get("name"): item.get("extension") for item in cluster.content.get("extensions") or ()}
    told = {
        "server": cluster.get_text("server"),
        "tls-server-name": cluster.get_text("tls-server-name"),
        "insecure-skip-tls-verify": bool(cluster.content.get("insecure-skip-tls-verify")),
        "certificate-authority-data": base64.b64encode(authority).decode() if authority else "",
        "proxy-url": cluster.get_text("proxy-url"),
        "config": extensions.get("client.authentication.k8s.io/exec"),
    }
    return {field: value for field, value in told.items() if value}


def _read_impersonation(user: _Entry) -> tuple[tuple[str, str], ...]:
    headers = [("Impersonate-User", user.get_text("as"))] if user.get_text("as") else []
    if uid := user.get_text("as-uid"):
        headers.append(("Impersonate-Uid", uid))
    headers += [("Impersonate-Group", str(group)) for group in user.content.get("as-groups") or ()]
    for key, values in (user.content.get("as-user-extra") or {}).items():
        headers += [(f"Impersonate-Extra-{quote(str(key), safe=_IN_HEADER_NAMES)}", str(value)) for value in values]
    if not all(value.isprintable() for _, value in headers):  # a line feed would begin another header
        raise ConfigurationError(f"user {user.name!r} of the kubeconfig wants to be somebody whose name is none")
    return tuple(headers)


def read_token(file: Path) -> Sensitive:
    """Read the bearer token in a file, as an Authorization header. Raises ClusterUnavailable: it may come back."""
    try:
        token = file.read_bytes().strip()
    except OSError as error:
        raise ClusterUnavailable(f"the token file {file} cannot be read: {error.strerror}") from error
    if not token:
        raise ClusterUnavailable(f"the token file {file} is empty")
    if not _TOKEN.fullmatch(token):
        raise ClusterUnavailable(f"the token file {file} does not hold one line of ASCII text: write the token anew")
    return Sensitive(b"Bearer " + token)
