"""Kubeconfigs mean to us what they mean to kubectl; a real API server takes every way of proving who we are."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitops_core.adapters.kubernetes import ConfigurationError, KubernetesCluster
from gitops_core.adapters.kubernetes.kubeconfig import (
    ClientCertificate,
    Endpoint,
    StaticLogin,
    find_endpoint,
    find_own_endpoint,
    read_tenants_endpoint,
)
from gitops_core.errors import ClusterUnavailable, Forbidden
from gitops_core.meta import Kind, Sensitive
from tests.servers import programs
from tests.servers.controlplane import ControlPlane

SELF = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}

PLUGIN = """
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
calls = folder / "calls"
asked = calls.read_text() if calls.exists() else ""
calls.write_text(asked + os.environ["KUBERNETES_EXEC_INFO"] + "\\n")
answers = json.loads((folder / "answers").read_text())
answer = answers[min(len(asked.splitlines()), len(answers) - 1)]
if isinstance(answer, int):
    sys.exit(answer)
print(answer if isinstance(answer, str) else json.dumps(
    {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": answer}))
"""


async def whoami(kubeconfig: Path, environment: Mapping[str, str] | None = None) -> str:
    cluster = await KubernetesCluster.from_environment(kubeconfig, environment=environment or {})
    return await _name(cluster)


async def _name(cluster: KubernetesCluster) -> str:
    try:
        review = await cluster.create(SELF, field_manager="tests")
        name = review["status"]["userInfo"]["username"]
        assert isinstance(name, str)
        return name
    finally:
        await cluster.close()


# Who we are


async def test_a_token_is_taken(control_plane: ControlPlane) -> None:
    assert await whoami(control_plane.kubeconfig) == "admin"


async def test_a_client_certificate_in_files_is_taken(control_plane: ControlPlane) -> None:
    assert await whoami(control_plane.user("files")) == "files"


async def test_a_client_certificate_in_the_kubeconfig_is_taken(control_plane: ControlPlane) -> None:
    pair = control_plane.authority.client("inline")
    data = {
        "client-certificate-data": base64.b64encode(pair.certificate.read_bytes()).decode(),
        "client-key-data": base64.b64encode(pair.key.read_bytes()).decode(),
    }

    assert await whoami(control_plane.write_kubeconfig("inline", data)) == "inline"


async def test_a_token_file_is_read_again_when_its_token_is_refused(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("stale")
    endpoint = find_endpoint(control_plane.write_kubeconfig("file", {"tokenFile": str(file)}), None, {})
    cluster = KubernetesCluster(endpoint)
    try:
        with pytest.raises(Forbidden, match="does not accept our credentials"):
            await cluster.find_api_resource(Kind("", "v1", "Secret"))
        file.write_text(f"{control_plane.token}\n")

        assert (await cluster.find_api_resource(Kind("", "v1", "Secret"))).plural == "secrets"
    finally:
        await cluster.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfehunter2", "does not hold one line of ASCII text"),
        ("hünter2".encode(), "does not hold one line of ASCII text"),
        (b"hunter2\nX-Evil: 1", "does not hold one line of ASCII text"),
        (b"hunter2\0\0", "does not hold one line of ASCII text"),
    ],
)
async def test_a_token_file_without_a_token_is_said_and_read_again(
    control_plane: ControlPlane, tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    endpoint = find_endpoint(control_plane.write_kubeconfig("file", {"tokenFile": str(file)}), None, {})
    cluster = KubernetesCluster(endpoint)
    try:
        with pytest.raises(ClusterUnavailable, match=said) as raised:
            await cluster.find_api_resource(Kind("", "v1", "Secret"))
        assert "nter2" not in str(raised.value)
        file.write_text(control_plane.token)

        assert (await cluster.find_api_resource(Kind("", "v1", "Secret"))).plural == "secrets"
    finally:
        await cluster.close()


def test_a_namespace_file_that_is_no_text_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("token")
    (tmp_path / "namespace").write_bytes(b"shop\xff")
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}

    assert find_own_endpoint(environment, tmp_path).namespace == "shop\ufffd"


async def test_a_pod_is_its_service_account(control_plane: ControlPlane, tmp_path: Path) -> None:
    namespace = control_plane.namespace()
    (tmp_path / "token").write_text(control_plane.service_account(namespace, "app"))
    (tmp_path / "ca.crt").write_bytes(control_plane.ca.read_bytes())
    (tmp_path / "namespace").write_text(namespace)
    port = control_plane.url.rpartition(":")[2]
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": port}

    endpoint = find_own_endpoint(environment, tmp_path)

    assert endpoint.namespace == namespace
    assert await _name(KubernetesCluster(endpoint)) == f"system:serviceaccount:{namespace}:app"


async def test_the_kubeconfig_may_ask_to_be_somebody_else(control_plane: ControlPlane) -> None:
    user = {"token": control_plane.token, "as": "jane", "as-groups": ["shop", "readers"]}

    assert await whoami(control_plane.write_kubeconfig("as", user)) == "jane"


# The way there


def _pointed(plane: ControlPlane, name: str, **cluster: Any) -> Path:
    """The admin's kubeconfig with other settings of its cluster."""
    config = json.loads(plane.kubeconfig.read_text())
    config["clusters"][0]["cluster"].update(cluster)
    return _write(plane.folder / f"{name}.kubeconfig", config)


async def test_the_servers_name_is_checked_as_the_kubeconfig_says(control_plane: ControlPlane) -> None:
    fitting = _pointed(control_plane, "fitting", **{"tls-server-name": "kubernetes.default.svc"})
    other = _pointed(control_plane, "other", **{"tls-server-name": "elsewhere.example"})

    assert await whoami(fitting) == "admin"
    with pytest.raises(ClusterUnavailable, match=r"not trusted: .*elsewhere.example"):
        await whoami(other)


async def test_an_unverified_server_is_taken_only_when_the_kubeconfig_says_so(control_plane: ControlPlane) -> None:
    strange = _write(control_plane.folder / "strange.crt", control_plane.authority.client("x").certificate.read_text())
    mistrusted = {"certificate-authority": str(strange)}

    with pytest.raises(ClusterUnavailable, match="certificate that is not trusted"):
        await whoami(_pointed(control_plane, "mistrusted", **mistrusted))
    skipped = _pointed(control_plane, "skipped", **mistrusted, **{"insecure-skip-tls-verify": True})
    assert await whoami(skipped) == "admin"


async def test_a_proxy_is_gone_through(control_plane: ControlPlane) -> None:
    tunnels: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tunnels.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        upstream, back = await asyncio.open_connection("127.0.0.1", int(control_plane.url.rpartition(":")[2]))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_pour(reader, back), _pour(upstream, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        assert await whoami(_pointed(control_plane, "proxied", **{"proxy-url": url})) == "admin"

    assert tunnels[0] == f"CONNECT {control_plane.url.removeprefix('https://')} HTTP/1.1".encode()


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while part := await source.read(65536):
            target.write(part)
            await target.drain()
    target.close()


# Tenants


def _tenants(user: Mapping[str, Any], cluster: Mapping[str, Any] = {}) -> dict[str, Any]:
    return {
        "current-context": "there",
        "clusters": [{"name": "far", "cluster": {"server": "https://far.example:6443", **cluster}}],
        "users": [{"name": "them", "user": dict(user)}, {"name": "unused", "user": {"tokenFile": "/etc/token"}}],
        "contexts": [{"name": "there", "context": {"cluster": "far", "user": "them"}}],
    }


def _endpoint_of(config: Any) -> Endpoint:
    return read_tenants_endpoint(json.dumps(config).encode(), "the kubeconfig in Secret/shop/far", {})


def test_a_tenants_kubeconfig_that_holds_all_it_needs_is_taken() -> None:
    data = base64.b64encode(b"PEM").decode()
    user = {"token": "t0ken", "client-certificate-data": data, "client-key-data": data}

    endpoint = _endpoint_of(_tenants(user, {"certificate-authority-data": data, "tls-server-name": "x"}))

    assert endpoint == Endpoint(
        "https://far.example:6443",
        StaticLogin(Sensitive("Bearer t0ken"), ClientCertificate(b"PEM", Sensitive(b"PEM"))),
        ca=b"PEM",
        server_name="x",
    )


@pytest.mark.parametrize(
    ("user", "cluster", "what"),
    [
        ({"exec": {"command": "sh"}}, {}, "'them' has an exec plugin"),
        ({"exec": {"command": "./sh", "interactiveMode": "Always"}, "token": "t"}, {}, "'them' has an exec plugin"),
        ({"auth-provider": {"name": "gcp"}}, {}, "'them' of the kubeconfig has an auth-provider"),
        ({"tokenFile": "secret"}, {}, "'them' names a file: tokenFile"),
        ({"tokenFile": "secret", "token": "t"}, {}, "'them' names a file: tokenFile"),
        ({"client-certificate": "secret", "client-key-data": "eA=="}, {}, "names a file: client-certificate"),
        ({"client-certificate-data": "eA==", "client-key": "secret"}, {}, "names a file: client-key"),
        ({"token": "t"}, {"certificate-authority": "secret"}, "'far' names a file: certificate-authority"),
        ({"token": "t", "as": "jane\r\nX-Evil: 1"}, {}, "wants to be somebody whose name is none"),
        ({"token": "t"}, {"server": "unix:///run/api.sock"}, "not an http or https URL"),
        ({"token": "t"}, {"proxy-url": "file:///etc/passwd"}, "not an http or https URL"),
    ],
)
@pytest.mark.parametrize("is_absolute", [True, False])
def test_a_tenants_kubeconfig_reads_and_runs_nothing_of_this_machine(
    user: dict[str, Any], cluster: dict[str, Any], what: str, is_absolute: bool, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("hunter2")
    place = f"{tmp_path}/" if is_absolute else "../" * 40 + f"{tmp_path}/".lstrip("/")
    user, cluster = (
        {k: v.replace("secret", f"{place}secret") if isinstance(v, str) else v for k, v in each.items()}
        for each in (user, cluster)
    )

    with pytest.raises(ConfigurationError, match=re.escape(what)) as caught:
        _endpoint_of(_tenants(user, cluster))

    assert "hunter2" not in str(caught.value)


def test_a_file_that_a_tenants_kubeconfig_names_beside_the_data_is_not_looked_at() -> None:
    """kubectl takes the data then."""
    user = {"token": "t"}
    cluster = {"certificate-authority": "/dev/stdin", "certificate-authority-data": base64.b64encode(b"PEM").decode()}

    assert _endpoint_of(_tenants(user, cluster)).ca == b"PEM"


def test_a_tenants_kubeconfig_cannot_switch_off_that_the_server_proves_itself() -> None:
    assert _endpoint_of(_tenants({"token": "t"}, {"insecure-skip-tls-verify": True})).verify


@pytest.mark.parametrize("ca", [b"\xff\xfe", b"-----BEGIN CERTIFICATE-----", b"\0", b"x"])
async def test_an_authority_that_is_none_is_one_sentence(ca: bytes) -> None:
    endpoint = _endpoint_of(_tenants({"token": "t"}, {"certificate-authority-data": base64.b64encode(ca).decode()}))
    cluster = KubernetesCluster(endpoint)

    with pytest.raises(
        ConfigurationError, match=r"^the certificate authority of https://far\.example:6443 is not PEM$"
    ):
        await cluster.list_api_resources()
    await cluster.close()


def test_extra_fields_of_who_one_wants_to_be_stay_in_their_header() -> None:
    user = {"token": "t", "as": "jane", "as-user-extra": {"example.com/a: b\r\nX-Evil": ["1"]}}

    assert _endpoint_of(_tenants(user)).impersonate == (
        ("Impersonate-User", "jane"),
        ("Impersonate-Extra-example.com%2Fa%3A%20b%0D%0AX-Evil", "1"),
    )


_BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


_NONE = {
    "deep sequences": "[" * 500_000,
    "deep mappings": "{a: " * 100_000,
    "aliases of aliases": _BOMB,
    "a value in itself": "a: &a [*a]",
    "no integer": "!!int ''",
    "no boolean": "!!bool x",
    "no time": "!!timestamp x",
    "no number": "!!float x",
    "no date": "2026-99-99",
    "a long number": "1" * 5000,
    "a program": "!!python/object/apply:os.system [id]",
    "a key that is a list": "? [a]\n: b",
    "a character that is none": "\0",
    "too much": "x" * (2 << 20),
    "a list": "[]",
    "another shape": "clusters: 1",
}


@pytest.mark.parametrize("case", _NONE)
def test_whatever_a_tenants_kubeconfig_is_the_failure_is_one_sentence(case: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^the kubeconfig in Secret/shop/far is [^\n]*$"):
        read_tenants_endpoint(_NONE[case].encode(), "the kubeconfig in Secret/shop/far", {})


# Plugins


@pytest.fixture
def plugin(control_plane: ControlPlane, tmp_path: Path) -> Any:
    """Makes a kubeconfig whose plugin gives these answers in turn: a status, text to print, or an exit code."""

    def make(*answers: Any, **more: Any) -> Path:
        (tmp_path / "answers").write_text(json.dumps(answers))
        command = {"command": sys.executable, "args": ["-c", PLUGIN, str(tmp_path)]}
        spec = {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", **command, **more}
        return control_plane.write_kubeconfig("plugin", {"exec": spec})

    return make


def calls(tmp_path: Path) -> list[Any]:
    return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]


async def test_a_plugins_token_is_taken_and_kept(control_plane: ControlPlane, plugin: Any, tmp_path: Path) -> None:
    cluster = await KubernetesCluster.from_environment(plugin({"token": control_plane.token}), environment={})
    await cluster.list_api_resources()

    assert await _name(cluster) == "admin"
    assert [call["spec"] for call in calls(tmp_path)] == [{"interactive": False}]


async def test_a_plugin_is_asked_again_when_its_token_is_refused(
    control_plane: ControlPlane, plugin: Any, tmp_path: Path
) -> None:
    assert await whoami(plugin({"token": "revoked"}, {"token": control_plane.token})) == "admin"
    assert len(calls(tmp_path)) == 2


async def test_all_who_wait_for_a_plugin_that_fails_hear_of_one_failure(
    control_plane: ControlPlane, plugin: Any, tmp_path: Path
) -> None:
    cluster = await KubernetesCluster.from_environment(plugin(3, {"token": control_plane.token}), environment={})

    found = await asyncio.gather(*(cluster.list_api_resources() for _ in range(5)), return_exceptions=True)

    assert {type(error) for error in found} == {ClusterUnavailable}
    assert len(calls(tmp_path)) == 1
    assert await _name(cluster) == "admin"


async def test_a_plugin_is_asked_again_before_its_token_expires(
    control_plane: ControlPlane, plugin: Any, tmp_path: Path
) -> None:
    soon = {"token": control_plane.token, "expirationTimestamp": "2020-01-01T00:00:00Z"}
    cluster = await KubernetesCluster.from_environment(plugin(soon), environment={})
    await cluster.find_api_resource(Kind("", "v1", "Secret"))

    assert await _name(cluster) == "admin"
    assert len(calls(tmp_path)) == 3  # two discoveries and a request


async def test_a_plugins_certificate_is_taken(control_plane: ControlPlane, plugin: Any) -> None:
    pair = control_plane.authority.client("from-plugin")
    status = {"clientCertificateData": pair.certificate.read_text(), "clientKeyData": pair.key.read_text()}

    assert await whoami(plugin(status)) == "from-plugin"


async def test_a_plugin_learns_about_the_cluster_when_it_asks(
    control_plane: ControlPlane, plugin: Any, tmp_path: Path
) -> None:
    await whoami(plugin({"token": control_plane.token}, provideClusterInfo=True))

    told = calls(tmp_path)[0]["spec"]["cluster"]
    assert told["server"] == control_plane.url
    assert base64.b64decode(told["certificate-authority-data"]) == control_plane.ca.read_bytes()


@pytest.mark.parametrize(
    ("answer", "error", "sentence"),
    [
        (3, ClusterUnavailable, "failed with exit code 3"),
        ("token: hunter2", ClusterUnavailable, "did not print an ExecCredential"),
        ('{"kind": "ExecCredential", "apiVersion": "other/v1"}', ConfigurationError, "does not speak client.auth"),
        ({}, Forbidden, "printed neither a token nor a client certificate"),
        ({"token": "hunter2\nX-Evil: 1"}, ConfigurationError, "a character that a header cannot carry"),
    ],
)
async def test_a_plugin_that_fails_is_one_sentence(
    plugin: Any, answer: Any, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence) as caught:
        await whoami(plugin(answer))

    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_a_missing_plugin_says_how_to_get_it(plugin: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"'no-such-login' .* cannot be started .*: install cloud-login"):
        await whoami(plugin(command="no-such-login", installHint="install cloud-login"))


# Files


def _config(name: str, server: str, **user: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": "cluster", "cluster": {"server": server}}, {"name": name, "cluster": {"server": server}}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": name, "context": {"cluster": "cluster", "user": "user", "namespace": name}}],
    }


def _write(path: Path, config: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


@pytest.mark.parametrize("context", [None, "a", "b"])
@pytest.mark.parametrize("order", [("a", "b"), ("b", "a"), ("missing", "a", "b")])
def test_several_files_are_merged_as_kubectl_merges_them(
    tmp_path: Path, order: tuple[str, ...], context: str | None
) -> None:
    _write(tmp_path / "a", _config("a", "https://a.example:1", token="token-a"))
    _write(tmp_path / "b", _config("b", "https://b.example:2", token="token-b"))
    listed = ":".join(str(tmp_path / name) for name in order)
    command = [str(programs.program("kubectl")), "config", "view", "--raw", "--minify", "-o", "json"]
    shown = subprocess.run(
        [*command, *([f"--context={context}"] if context else [])],
        env=programs.clean_environment(tmp_path, KUBECONFIG=listed),
        capture_output=True,
        check=True,
    )
    theirs = json.loads(shown.stdout)

    ours = find_endpoint(None, context, {"KUBECONFIG": listed})

    assert ours.server == theirs["clusters"][0]["cluster"]["server"]
    assert ours.namespace == theirs["contexts"][0]["context"]["namespace"]
    assert isinstance(ours.login, StaticLogin)
    assert ours.login.authorization is not None
    assert ours.login.authorization.reveal_text() == f"Bearer {theirs['users'][0]['user']['token']}"


def test_paths_are_relative_to_their_file(tmp_path: Path) -> None:
    config = _config("a", "https://a.example")
    config["clusters"][0]["cluster"]["certificate-authority"] = "pki/ca.crt"
    _write(tmp_path / "home" / ".kube" / "config", config)
    _write(tmp_path / "home" / ".kube" / "pki" / "ca.crt", "the authority")

    assert find_endpoint(None, None, {"HOME": str(tmp_path / "home")}).ca == b"the authority"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", r"is not YAML \(line \d\)"),
        ("[]", "is not one: Expected `object`, got `array`"),
        (
            _config("a", "https://a.example", token=1234),
            r"Expected `str \| null`, got `int` - at `\$.users\[0\].user.token`",
        ),
        (_config("a", "https://a.example", exec="login"), "Expected `object"),
        ("", "has no current-context"),
        ({**_config("a", "https://a.example"), "current-context": "z"}, "has no context 'z'; there is a"),
        (_config("a", "ftp://a.example"), "is not an http or https URL"),
        (_config("a", "https://a.example", **{"auth-provider": {"name": "gcp"}}), "use an exec plugin"),
        (_config("a", "https://a.example", **{"client-certificate-data": "hunter2!"}), "is not base64"),
        (_config("a", "https://a.example", **{"client-key-data": "aHVudGVyMg=="}), "needs both"),
        (_config("a", "https://a.example", exec={"command": "x", "interactiveMode": "Always"}), "ask questions"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_one_sentence(tmp_path: Path, content: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        find_endpoint(_write(tmp_path / "config", content), None, {})

    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["a", "https://a.example:x", "https://[a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(section=st.sampled_from(["cluster", "user", "context"]), data=st.data())
def test_whatever_stands_in_a_kubeconfig_it_is_used_or_refused(
    tmp_path: Path, section: str, data: st.DataObject
) -> None:
    config = _config("a", "https://a.example")
    fields = {
        "cluster": ["server", "certificate-authority-data", "insecure-skip-tls-verify", "proxy-url", "extensions"],
        "user": ["token", "tokenFile", "exec", "as", "as-groups", "as-user-extra", "username", "client-key-data"],
        "context": ["cluster", "user", "namespace"],
    }
    target = data.draw(st.sampled_from([config, config[f"{section}s"][0], config[f"{section}s"][0][section]]))
    field = data.draw(st.sampled_from([*target, *fields[section]]))
    target[field] = data.draw(VALUES | st.builds(lambda v: {"command": v, "args": v, "env": v}, VALUES))
    file = _write(tmp_path / "config", config)

    with suppress(ConfigurationError):
        endpoint = find_endpoint(file, None, {"HTTPS_PROXY": "http://proxy:3128"})
        assert urlsplit(endpoint.server).hostname
        assert KubernetesCluster(endpoint).namespace == endpoint.namespace


def test_no_kubeconfig_at_all_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"no kubeconfig at {tmp_path}/.kube/config, and this is not a Pod"):
        find_endpoint(None, None, {"HOME": str(tmp_path)})
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        find_endpoint(tmp_path / "named", None, {"HOME": str(tmp_path)})
