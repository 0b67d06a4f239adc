"""Ways to a registry: authorities and certificates of one's own, and proxies. Against the real registry."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gitops_core.adapters.oci import OciRegistry
from gitops_core.adapters.oci.transport import Limits
from gitops_core.errors import CredentialsInvalid, RegistryDenied, RegistryUnavailable
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import Credentials, RegistryAccess
from gitops_core.oci.references import Repository
from sealoop.embedded.registry import Account, RegistryServer
from tests.servers.certificates import Authority
from tests.servers.programs import free_port
from tests.servers.proxy import forward_proxy, socks_proxy
from tests.servers.registry import TlsRegistry


@pytest.fixture
async def registry() -> AsyncIterator[OciRegistry]:
    async with OciRegistry(Limits(read=5.0, total=10.0)) as client:
        yield client


async def test_an_own_authority_is_trusted(registry: OciRegistry, tls_registry: TlsRegistry) -> None:
    tls_registry.registry.push("apps/tls", "1.0.0")

    tags = await registry.list_tags(Repository(tls_registry.host, "apps/tls"), RegistryAccess(ca=tls_registry.ca))

    assert tags == ("1.0.0",)


async def test_a_certificate_that_is_not_trusted_ends_it_and_nothing_is_said_in_the_clear(
    registry: OciRegistry, tls_registry: TlsRegistry, tmp_path: Path
) -> None:
    other = Authority.make(tmp_path).certificate.read_bytes()

    for access in (RegistryAccess(), RegistryAccess(ca=other)):
        with pytest.raises(RegistryUnavailable) as caught:
            await registry.list_tags(Repository(tls_registry.host, "apps/tls"), access)

        where = f"GET https://{tls_registry.host}/v2/apps/tls/tags/list?n=1000"
        assert str(caught.value) == f"{where}: the registry's certificate is not trusted"


async def test_an_own_authority_is_trusted_beside_the_systems(
    tls_registry: TlsRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's authority is the registry's; the own one is somebody else's."""
    (tmp_path / "system.pem").write_bytes(tls_registry.ca)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    tls_registry.registry.push("apps/tls", "1.0.0")
    own = Authority.make(tmp_path / "own").certificate.read_bytes()

    async with OciRegistry() as registry:
        assert await registry.list_tags(Repository(tls_registry.host, "apps/tls"), RegistryAccess(ca=own))


async def test_a_client_certificate_opens_a_registry_that_wants_one(
    registry: OciRegistry, mutual_registry: TlsRegistry
) -> None:
    mutual_registry.registry.push("apps/mutual", "1.0.0")
    repository = Repository(mutual_registry.host, "apps/mutual")
    pair = mutual_registry.client
    nobody = RegistryAccess(ca=mutual_registry.ca)
    somebody = replace(
        nobody, client_certificate=pair.certificate.read_bytes(), client_key=Sensitive(pair.key.read_bytes())
    )

    assert await registry.list_tags(repository, somebody) == ("1.0.0",)
    with pytest.raises(RegistryUnavailable, match=rf"^GET https://{mutual_registry.host}/v2/apps/mutual/"):
        await registry.list_tags(repository, nobody)
    assert await registry.list_tags(repository, somebody) == ("1.0.0",)


async def test_a_client_key_is_left_nowhere(
    registry: OciRegistry, mutual_registry: TlsRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    pair = mutual_registry.client
    access = RegistryAccess(
        ca=mutual_registry.ca,
        client_certificate=pair.certificate.read_bytes(),
        client_key=Sensitive(pair.key.read_bytes()),
    )
    mutual_registry.registry.push("apps/mutual", "1.0.0")

    await registry.list_tags(Repository(mutual_registry.host, "apps/mutual"), access)
    gc.collect()

    assert not [target for target in _descriptors() if "client-certificate" in target]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("broken", ["ca", "certificate", "key", "other key", "encrypted key"])
async def test_a_text_that_is_not_a_certificate_is_named_and_not_quoted(
    registry: OciRegistry, mutual_registry: TlsRegistry, tmp_path: Path, broken: str
) -> None:
    pair = mutual_registry.client
    other = Authority.make(tmp_path).client("other").key.read_bytes()
    encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"
    key = {"key": b"hunter2", "other key": other, "encrypted key": encrypted}.get(broken, pair.key.read_bytes())
    access = RegistryAccess(
        ca=b"-----BEGIN CERTIFICATE-----\nhunter2" if broken == "ca" else None,
        client_certificate=b"hunter2" if broken == "certificate" else pair.certificate.read_bytes(),
        client_key=Sensitive(key),
    )

    with pytest.raises(
        CredentialsInvalid, match="failed to configure authentication options: failed to parse"
    ) as caught:
        await registry.list_tags(Repository(mutual_registry.host, "apps/mutual"), access)

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_sessions_that_nobody_uses_are_closed_and_others_are_not(tls_registry: TlsRegistry) -> None:
    tls_registry.registry.push("apps/tls", "1.0.0")
    repository = Repository(tls_registry.host, "apps/tls")
    ways = [RegistryAccess(ca=tls_registry.ca + b"\n" * number) for number in range(8)]
    async with OciRegistry(Limits(sessions=2)) as registry:
        before = _sockets()

        for _ in range(2):
            answers = await asyncio.gather(*(registry.list_tags(repository, way) for way in ways))
            assert set(answers) == {("1.0.0",)}
        for way in ways[:3]:
            await registry.list_tags(repository, way)

        assert _sockets() - before <= 3


# Proxies


async def test_plain_requests_run_through_the_proxy(registry: OciRegistry) -> None:
    account = Account("bob", "hunter2", "bearer")
    async with RegistryServer(account=account) as server, forward_proxy("carol:pass%word") as proxy:
        server.add("apps/app", "1.0.0")
        access = RegistryAccess(
            Credentials("bob", Sensitive("hunter2")), proxy=Sensitive(f"http://carol:pass%25word@{proxy.host}")
        )

        assert await registry.list_tags(Repository(server.host, "apps/app", insecure=True), access) == ("1.0.0",)
        assert await registry.resolve_digest(Repository(server.host, "apps/app", insecure=True), "1.0.0", access)

        assert [line.split()[1].partition("?")[0] for line in proxy.targets] == [
            f"http://{server.host}/v2/apps/app/tags/list",
            f"http://{server.host}/token",
            f"http://{server.host}/v2/apps/app/tags/list",
            f"http://{server.host}/v2/apps/app/manifests/1.0.0",
        ]
        assert proxy.refused == 0


async def test_tls_runs_through_the_proxy_and_shows_its_certificate_to_the_registry(
    registry: OciRegistry, mutual_registry: TlsRegistry
) -> None:
    mutual_registry.registry.push("apps/mutual", "1.0.0")
    pair = mutual_registry.client
    async with forward_proxy("carol:secret") as proxy:
        access = RegistryAccess(
            ca=mutual_registry.ca,
            client_certificate=pair.certificate.read_bytes(),
            client_key=Sensitive(pair.key.read_bytes()),
            proxy=Sensitive(f"http://carol:secret@{proxy.host}"),
        )

        assert await registry.list_tags(Repository(mutual_registry.host, "apps/mutual"), access) == ("1.0.0",)

        assert proxy.targets == [f"CONNECT {mutual_registry.host} HTTP/1.1"]


async def test_a_proxy_may_speak_tls_itself(registry: OciRegistry, tls_registry: TlsRegistry, tmp_path: Path) -> None:
    tls_registry.registry.push("apps/tls", "1.0.0")
    authority = Authority.make(tmp_path, "proxy authority")
    async with forward_proxy("carol:secret", authority.server()) as proxy:
        both = tls_registry.ca + authority.certificate.read_bytes()
        access = RegistryAccess(ca=both, proxy=Sensitive(f"https://carol:secret@{proxy.host}"))

        assert await registry.list_tags(Repository(tls_registry.host, "apps/tls"), access) == ("1.0.0",)

        assert proxy.targets == [f"CONNECT {tls_registry.host} HTTP/1.1"]


async def test_a_socks_proxy_looks_the_name_up_and_tls_is_the_registry_s(
    registry: OciRegistry, tls_registry: TlsRegistry
) -> None:
    tls_registry.registry.push("apps/tls", "1.0.0")
    async with socks_proxy("carol:se cret") as proxy:
        access = RegistryAccess(ca=tls_registry.ca, proxy=Sensitive(f"socks5://carol:se%20cret@{proxy.host}"))
        repository = Repository(tls_registry.host.replace("127.0.0.1", "localhost"), "apps/tls")

        assert await registry.list_tags(repository, access) == ("1.0.0",)

        assert set(proxy.targets) == {repository.registry}
        untrusted = RegistryAccess(proxy=access.proxy)
        with pytest.raises(RegistryUnavailable, match=r"the registry's certificate is not trusted$"):
            await registry.list_tags(repository, untrusted)


async def test_a_socks_proxy_that_refuses_or_is_not_there_is_named_without_its_password(registry: OciRegistry) -> None:
    repository, port = Repository("registry.example.com", "apps/app"), free_port()
    async with socks_proxy("carol:secret") as proxy:
        access = RegistryAccess(proxy=Sensitive(f"socks5://carol:hunter2@{proxy.host}"))
        with pytest.raises(RegistryUnavailable, match=f"the proxy {proxy.host} does not connect: ") as refused:
            await registry.list_tags(repository, access)
        assert (proxy.targets, proxy.refused) == ([], 1)
    access = RegistryAccess(proxy=Sensitive(f"socks5://carol:hunter2@127.0.0.1:{port}"))
    with pytest.raises(RegistryUnavailable, match=f"the proxy 127.0.0.1:{port} cannot be reached$") as missing:
        await registry.list_tags(repository, access)
    assert "hunter2" not in f"{refused.value} {missing.value}"


async def test_connections_by_one_socks_proxy_are_nobody_else_s(registry: OciRegistry) -> None:
    async with socks_proxy("a:a") as one, socks_proxy("b:b") as two, RegistryServer() as server:
        server.add("apps/app", "1.0.0")
        repository = Repository(server.host, "apps/app", insecure=True)
        for proxy, account in ((one, "a:a"), (two, "b:b"), (one, "a:wrong")):
            access = RegistryAccess(proxy=Sensitive(f"socks5://{account}@{proxy.host}"))
            if account == "a:wrong":
                with pytest.raises(RegistryUnavailable):
                    await registry.list_tags(repository, access)
            else:
                assert await registry.list_tags(repository, access) == ("1.0.0",)
        assert (len(one.targets), len(two.targets), one.refused) == (1, 1, 1)


async def test_the_environments_proxy_counts_where_no_other_is_named() -> None:
    async with forward_proxy() as proxy, RegistryServer() as server:
        server.add("apps/app", "1.0.0")
        environment = {"HTTP_PROXY": proxy.host, "NO_PROXY": "elsewhere.example.com", "PATH": "/bin"}
        async with OciRegistry(environment=environment) as registry:
            await registry.list_tags(Repository(server.host, "apps/app", insecure=True))

            assert proxy.targets == []  # what is on this machine is not asked through a proxy

            with pytest.raises(RegistryUnavailable):
                await registry.list_tags(Repository("registry.invalid:80", "apps/app", insecure=True))
            asked = {line.partition("?")[0] for line in proxy.targets}
            assert asked == {"GET http://registry.invalid/v2/apps/app/tags/list"}


async def test_an_environments_proxy_that_we_cannot_speak_to_is_said() -> None:
    async with OciRegistry(environment={"all_proxy": "socks5://u:hunter2@proxy:1080"}) as registry:
        with pytest.raises(RegistryUnavailable, match=r"the environment names a proxy that is not http: 'socks5'$"):
            await registry.list_tags(Repository("registry.example.com", "apps/app"))


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_refuses_is_named_without_its_password(registry: OciRegistry, scheme: str) -> None:
    async with forward_proxy("carol:secret") as proxy:
        access = RegistryAccess(proxy=Sensitive(f"http://carol:hunter2@{proxy.host}"))
        repository = Repository("registry.example.com", "apps/app", insecure=scheme == "http")

        with pytest.raises((RegistryDenied, RegistryUnavailable)) as caught:
            await registry.list_tags(repository, access)

    said = str(caught.value)
    assert said.startswith(f"GET {scheme}://registry.example.com/v2/apps/app/tags/list?n=1000: the proxy ")
    assert "hunter2" not in said
    assert "407" in said or "wants a user name and a password" in said


async def test_a_proxy_that_is_not_there_is_named(registry: OciRegistry) -> None:
    port = free_port()
    access = RegistryAccess(proxy=Sensitive(f"http://carol:hunter2@127.0.0.1:{port}"))

    with pytest.raises(RegistryUnavailable) as caught:
        await registry.list_tags(Repository("registry.example.com", "apps/app"), access)

    assert str(caught.value).endswith(f": the proxy 127.0.0.1:{port} cannot be reached: connection refused")


def _sockets() -> int:
    return len([target for target in _descriptors() if target.startswith("socket:")])


def _descriptors() -> list[str]:
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return [os.readlink(link) for link in links if os.path.islink(link)]
