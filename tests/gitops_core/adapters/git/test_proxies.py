"""Repositories behind the proxy that an object names: every kind of both, and what a proxy cannot do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.git.tunnel import write_address
from gitops_core.errors import GitAccessDenied, GitError, StalledError
from gitops_core.meta import Sensitive
from gitops_core.ports import GitAccess, GitRef
from tests.contracts.test_git import change
from tests.gitops_core.adapters.git.test_transports import watch_processes
from tests.servers.certificates import Authority
from tests.servers.git import PLACES, bad_server, hang
from tests.servers.proxy import Proxy, SocksProxy, forward_proxy, socks_proxy

MAIN = GitRef(branch="main")
ACCOUNT = "pu", "p@ss word/:%"
LOGIN = f"{ACCOUNT[0]}:{quote(ACCOUNT[1], safe='')}@"


@pytest.fixture
async def mirrors(tmp_path: Path) -> AsyncIterator[GitMirrors]:
    mirrors = GitMirrors(tmp_path / "state", allow_file=True)
    yield mirrors
    await mirrors.close()


@asynccontextmanager
async def running(scheme: str, folder: Path, account: str = "") -> AsyncIterator[tuple[Proxy | SocksProxy, bytes]]:
    """Run a proxy of that kind; yield it, and whom to trust for its certificate."""
    if scheme == "socks5":
        async with socks_proxy(account) as socks:
            yield socks, b""
        return
    authority = Authority.make(folder / "proxy")
    async with forward_proxy(account, authority.server() if scheme == "https" else None) as proxy:
        yield proxy, authority.certificate.read_bytes() if scheme == "https" else b""


@pytest.mark.parametrize("account", ["", ":".join(ACCOUNT)], ids=["open", "guarded"])
@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        *(("http", kind) for kind in ("http", "http-basic", "https", "https-client-certificate", "ssh")),
        *(("socks5", kind) for kind in ("http", "https", "ssh")),
        *(("https", kind) for kind in ("http", "https")),
    ],
)
async def test_a_change_travels_both_ways(
    scheme: str, kind: str, account: str, tmp_path: Path, mirrors: GitMirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")  # what the operator leaves out of other proxies
    async with PLACES[kind](tmp_path) as place, running(scheme, tmp_path, account) as (proxy, ca):
        repository = await place.repository(files={"a": b"1"})
        address = Sensitive(f"{scheme}://{LOGIN if account else ''}{proxy.host}")
        access = replace(place.access, proxy=address, ca=(place.access.ca or b"") + ca or None)
        remote = mirrors.get_remote(f"{place.url}/apps.git", access)

        first = await remote.resolve(MAIN)
        assert dict(await remote.fetch_tree(first)) == {"a": b"1"}
        pushed = await remote.push(change(first.commit, {"a": b"2"}), "main")

        assert await repository.log() == (pushed.commit, first.commit)
        assert len(proxy.targets) >= 3
        assert proxy.refused == 0


@pytest.mark.parametrize(("scheme", "kind"), [("http", "http"), ("socks5", "http"), ("http", "ssh"), ("socks5", "ssh")])
async def test_a_proxy_that_refuses_us_is_told_without_its_password(
    scheme: str, kind: str, tmp_path: Path, mirrors: GitMirrors
) -> None:
    async with PLACES[kind](tmp_path) as place, running(scheme, tmp_path, "other:secret") as (proxy, _):
        await place.repository(files={"a": b"1"})
        access = replace(place.access, proxy=Sensitive(f"{scheme}://{LOGIN}{proxy.host}"))

        with pytest.raises(GitError) as caught:
            await mirrors.get_remote(f"{place.url}/apps.git", access).resolve(MAIN)

        assert caught.value.reason == "GitOperationFailed"
        assert not [secret for secret in (ACCOUNT[1], quote(ACCOUNT[1], safe="")) if secret in str(caught.value)]
        assert proxy.targets == []
        assert proxy.refused


@pytest.mark.parametrize("kind", ["http", "ssh"])
async def test_no_login_of_a_proxy_is_among_arguments_or_on_the_disk(kind: str, tmp_path: Path) -> None:
    mirrors = GitMirrors(tmp_path / "state")
    served, seen = tmp_path / "served", tmp_path / "seen"
    served.mkdir()
    async with PLACES[kind](served) as place, running("socks5", tmp_path, ":".join(ACCOUNT)) as (proxy, _):
        await place.repository(files={"a": b"1"})
        access = replace(place.access, proxy=Sensitive(f"socks5://{LOGIN}{proxy.host}"))
        remote = mirrors.get_remote(f"{place.url}/apps.git", access)
        watching = asyncio.create_task(watch_processes(seen))

        await remote.fetch_tree(await remote.resolve(MAIN))
        watching.cancel()
        await mirrors.close()

    assert b"git" in seen.read_bytes()
    kept = [path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()]
    for place_seen in (seen.read_bytes(), repr(remote).encode(), *kept):
        assert not [secret for secret in (ACCOUNT[1], quote(ACCOUNT[1], safe="")) if secret.encode() in place_seen]


async def test_a_proxy_that_hangs_keeps_nobody_waiting_who_does_not_name_it(tmp_path: Path) -> None:
    mirrors = GitMirrors(tmp_path / "state")
    served = tmp_path / "served"
    served.mkdir()
    async with PLACES["http"](served) as place:
        repository = await place.repository(files={"a": b"1"})
        url = f"{place.url}/apps.git"
        remote = mirrors.get_remote(url)
        revision = await remote.resolve(MAIN)
        async with bad_server(hang) as hanging:
            through = mirrors.get_remote(url, GitAccess(proxy=Sensitive(hanging)), timeout=3600)
            deeds = (lambda: through.resolve(MAIN), lambda: through.fetch_tree(revision))
            waiting = [asyncio.create_task(deed()) for deed in deeds for _ in range(20)]
            await asyncio.sleep(0)

            assert dict(await remote.fetch_tree(revision)) == {"a": b"1"}
            await repository.commit({"a": b"2"})
            assert dict(await remote.fetch_tree(await remote.resolve(MAIN))) == {"a": b"2"}

            assert not all(task.done() for task in waiting)
        await asyncio.gather(*waiting, return_exceptions=True)
        await mirrors.close()


async def test_a_proxy_gives_no_right_to_what_others_fetched(tmp_path: Path, mirrors: GitMirrors) -> None:
    async with PLACES["http-basic"](tmp_path) as place, forward_proxy() as proxy:
        await place.repository(files={"a": b"secret plans"})
        friend = mirrors.get_remote(f"{place.url}/apps.git", place.access)
        revision = await friend.resolve(MAIN)
        await friend.fetch_tree(revision)

        stranger = mirrors.get_remote(f"{place.url}/apps.git", GitAccess(proxy=Sensitive(f"http://{proxy.host}")))
        with pytest.raises(GitAccessDenied):
            await stranger.fetch_tree(revision)


async def test_who_is_let_in_by_a_proxy_of_his_own_is_not_let_in_by_the_remote(
    tmp_path: Path, mirrors: GitMirrors
) -> None:
    """A tenant's proxy may answer for any host, and say yes to anybody."""
    (tmp_path / "rogue").mkdir()
    async with PLACES["http-basic"](tmp_path) as place, PLACES["http"](tmp_path / "rogue") as rogue:
        await place.repository(files={"a": b"secret plans"})
        await rogue.repository(files={"a": b"anything"})
        url = f"{place.url}/apps.git"
        friend = mirrors.get_remote(url, place.access)
        revision = await friend.resolve(MAIN)
        await friend.fetch_tree(revision)

        async def lead_astray(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await tunnel(reader, writer, rogue.url, place.url)

        async with bad_server(lead_astray) as proxy:
            led = mirrors.get_remote(url, GitAccess(proxy=Sensitive(proxy)))
            assert dict(await led.fetch_tree(await led.resolve(MAIN))) == {"a": b"anything"}

        with pytest.raises(GitAccessDenied):
            await mirrors.get_remote(url).fetch_tree(revision)


async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: str, instead_of: str) -> None:
    """Take one request to `instead_of`, and have `to` answer it."""
    head = await reader.readuntil(b"\r\n\r\n")
    host, _, port = to.removeprefix("http://").partition(":")
    there, away = await asyncio.open_connection(host, int(port))
    head = head.replace(instead_of.encode(), b"", 1).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    away.write(head)

    async def ask() -> None:
        while chunk := await reader.read(1 << 16):
            away.write(chunk)

    asking = asyncio.create_task(ask())
    try:
        while chunk := await there.read(1 << 16):
            writer.write(chunk)
        await writer.drain()
    finally:
        asking.cancel()
        away.transport.abort()
        await asyncio.gather(asking, away.wait_closed(), return_exceptions=True)


async def test_a_proxy_that_repeats_what_it_heard_is_not_quoted(mirrors: GitMirrors) -> None:
    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        sent = next(line.split()[-1] for line in head.splitlines() if line.startswith("Proxy-Authorization"))
        said = f"{sent} {ACCOUNT[1]} {quote(ACCOUNT[1], safe='')} may not do this"
        headers = f"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: {len(said)}\r\n"
        writer.write(f"{headers}Connection: close\r\n\r\n{said}".encode())
        await writer.drain()
        writer.close()

    async with bad_server(repeat) as url:
        access = GitAccess(proxy=Sensitive(url.replace("http://", f"http://{LOGIN}")))
        with pytest.raises(GitError) as caught:
            await mirrors.get_remote("http://git.example.com/apps.git", access).resolve(MAIN)

    assert "*** *** *** may not do this" in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "http://u:a%0ab@proxy:80",
        "http://a%3Ab:c@proxy:80",
        "http://-oProxyCommand=x:80",
        "http://$(touch x):80",
        "http://a b:80",
        "http://",
        "socks5://;id",
    ],
)
def test_an_address_that_is_none_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(GitAccessDenied) as caught:  # an edit of the Secret heals it
        GitMirrors(tmp_path).get_remote("https://git.example.com/a", GitAccess(proxy=Sensitive(address)))

    assert "proxy" in str(caught.value)
    assert address not in str(caught.value)


async def test_a_host_with_words_for_a_shell_is_no_command_of_the_tunnel(tmp_path: Path, mirrors: GitMirrors) -> None:
    """The URL is the tenant's; ssh would hand `%h` to a shell."""
    async with PLACES["ssh"](tmp_path) as place, socks_proxy() as proxy:
        access = replace(place.access, proxy=Sensitive(f"socks5://{proxy.host}"))
        for host in ("$(touch${IFS}evil)", "`touch${IFS}evil`", "a;touch${IFS}evil", "a'&touch${IFS}evil'"):
            with pytest.raises((GitError, StalledError)):
                await mirrors.get_remote(f"ssh://git@{host}/apps.git", access, timeout=20).resolve(MAIN)

    assert find_evil(tmp_path) == []


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("git.example.com", b"\x03\x0fgit.example.com"),
        ("10.0.0.1", b"\x01\x0a\x00\x00\x01"),
        ("fd00::1", b"\x04\xfd" + bytes(14) + b"\x01"),
    ],
)
def test_an_address_is_written_as_socks_5_has_it(host: str, written: bytes) -> None:
    assert write_address(host) == written


def find_evil(folder: Path) -> list[Path]:
    return [*Path().glob("evil*"), *folder.rglob("evil*")]
