"""Every way to prove who we are, what is said when it does not work, and that no credential is seen anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.git.commands import GitCommands
from gitops_core.errors import GitAccessDenied, GitError, GitOpsError, PushDenied, RefNotFound, StalledError
from gitops_core.meta import Revision, Sensitive
from gitops_core.ports import GitAccess, GitRef
from sealoop.embedded.githttp import GitServer, create_repository, make_basic
from tests import processes
from tests.contracts.test_git import change
from tests.servers.git import (
    PASSWORD,
    PLACES,
    TOKEN,
    USER,
    BareRepository,
    answer_with,
    bad_server,
    breaking_proxy,
    hang,
)

MAIN = GitRef(branch="main")
SECRETS = (PASSWORD, TOKEN, make_basic(USER, PASSWORD).split()[1], "PRIVATE KEY")


@pytest.fixture
async def mirrors(tmp_path: Path) -> AsyncIterator[GitMirrors]:
    mirrors = GitMirrors(tmp_path / "state", allow_file=True)
    yield mirrors
    await mirrors.close()


@pytest.mark.parametrize("kind", ["http-basic", "http-bearer", "https", "https-client-certificate"])
async def test_a_change_travels_both_ways(kind: str, tmp_path: Path, mirrors: GitMirrors) -> None:
    async with PLACES[kind](tmp_path) as place:
        repository = await place.repository(files={"a": b"1"})
        remote = mirrors.get_remote(f"{place.url}/apps.git", place.access)

        first = await remote.resolve(MAIN)
        assert dict(await remote.fetch_tree(first)) == {"a": b"1"}
        pushed = await remote.push(change(first.commit, {"a": b"2"}), "main")

        assert await repository.log() == (pushed.commit, first.commit)


@pytest.mark.parametrize("kind", ["http-basic", "http-bearer", "https", "https-client-certificate", "ssh"])
async def test_a_wrong_credential_is_denied_and_not_repeated(kind: str, tmp_path: Path, mirrors: GitMirrors) -> None:
    wrong = "wr0ng-secret"
    async with PLACES[kind](tmp_path) as place:
        await place.repository(files={"a": b"1"})
        access = {
            "http-basic": replace(place.access, password=Sensitive(wrong)),
            "http-bearer": replace(place.access, bearer_token=Sensitive(wrong)),
            "https": replace(place.access, password=Sensitive(wrong)),
            "https-client-certificate": replace(place.access, client_certificate=None, client_key=None),
            "ssh": replace(place.access, passphrase=Sensitive(wrong)),
        }[kind]

        with pytest.raises(GitError) as caught:
            await mirrors.get_remote(f"{place.url}/apps.git", access).resolve(MAIN)

        assert place.url in str(caught.value)
        assert wrong not in str(caught.value)
        if kind != "https-client-certificate":  # TLS says it in the words of its library
            assert isinstance(caught.value, GitAccessDenied)


async def test_an_unknown_host_key_is_denied(tmp_path: Path, mirrors: GitMirrors) -> None:
    async with PLACES["ssh"](tmp_path) as place:
        await place.repository(files={"a": b"1"})
        strange = place.access.known_hosts or b""
        access = replace(place.access, known_hosts=strange.replace(b"127.0.0.1", b"127.0.0.2"))

        with pytest.raises(GitAccessDenied, match="Host key verification failed"):
            await mirrors.get_remote(f"{place.url}/apps.git", access).resolve(MAIN)


async def test_a_certificate_of_nobody_we_know_is_refused(tmp_path: Path, mirrors: GitMirrors) -> None:
    async with PLACES["https"](tmp_path) as place:
        await place.repository(files={"a": b"1"})

        with pytest.raises(GitError, match="certificate"):
            await mirrors.get_remote(f"{place.url}/apps.git", replace(place.access, ca=None)).resolve(MAIN)


async def test_an_identity_that_was_never_let_in_sees_no_commit_of_another(tmp_path: Path, mirrors: GitMirrors) -> None:
    async with PLACES["http-basic"](tmp_path) as place:
        await place.repository(files={"a": b"secret plans"})
        url = f"{place.url}/apps.git"
        friend = mirrors.get_remote(url, place.access)
        revision = await friend.resolve(MAIN)
        await friend.fetch_tree(revision)

        for access in (GitAccess(), replace(place.access, password=Sensitive("guess"))):
            stranger = mirrors.get_remote(url, access)
            for deed in (
                stranger.fetch_tree(revision),
                stranger.search(revision, "plans"),
                stranger.describe(revision),
            ):
                with pytest.raises(GitAccessDenied):
                    await deed


async def test_credentials_in_the_url_are_used_and_never_shown(tmp_path: Path, mirrors: GitMirrors) -> None:
    async with PLACES["http-basic"](tmp_path) as place:
        await place.repository(files={"a": b"1"})
        authority = place.url.removeprefix("http://")

        good = mirrors.get_remote(f"http://{USER}:pass%20word%2F%2B%3A%25@{authority}/apps.git")
        bad = mirrors.get_remote(f"http://{USER}:hunter2@{authority}/apps.git")

        assert (await good.resolve(MAIN)).name == "main"
        with pytest.raises(GitAccessDenied) as caught:
            await bad.resolve(MAIN)
        assert "hunter2" not in f"{caught.value} {bad!r}"


@pytest.mark.parametrize("kind", ["http-basic", "http-bearer", "ssh"])
async def test_no_credential_is_among_arguments_or_on_the_disk(kind: str, tmp_path: Path) -> None:
    """Every git process is started by a wrapper that writes down what anybody could read of it."""
    seen = tmp_path / "seen"
    wrapper = tmp_path / "git"
    wrapper.write_text(f'#!/bin/sh\ntr "\\0" " " < /proc/$$/cmdline >> {seen}\necho >> {seen}\nexec git "$@"\n')
    wrapper.chmod(0o755)
    mirrors = GitMirrors(tmp_path / "state", program=str(wrapper))
    served = tmp_path / "served"
    served.mkdir()
    async with PLACES[kind](served) as place:
        await place.repository(files={"a": b"1"})
        remote = mirrors.get_remote(f"{place.url}/apps.git", place.access)
        watching = asyncio.create_task(watch_processes(seen))

        first = await remote.resolve(MAIN)
        await remote.fetch_tree(first)
        await remote.push(change(first.commit, {"a": b"2"}), "main")
        watching.cancel()
        await mirrors.close()

    assert "ls-remote" in seen.read_text()
    kept = [path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()]
    for place_seen in (seen.read_bytes(), repr(remote).encode(), *kept):
        assert not [secret for secret in SECRETS if secret.encode() in place_seen]


async def watch_processes(seen: Path) -> None:
    """Again and again, write down the arguments of all processes: git starts helpers and ssh."""
    while True:
        _write_down_processes(seen)
        await asyncio.sleep(0.002)


def _write_down_processes(seen: Path) -> None:
    with seen.open("ab") as log:
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.getsid(int(directory.name)) != os.getsid(0):
                    log.write((directory / "cmdline").read_bytes().replace(b"\0", b" ") + b"\n")


async def test_the_mirrors_are_for_their_owner_only(tmp_path: Path, mirrors: GitMirrors) -> None:
    async with PLACES["file"](tmp_path) as place:
        await place.repository(files={"a": b"1"})
        remote = mirrors.get_remote(f"{place.url}/apps.git")
        await remote.fetch_tree(await remote.resolve(MAIN))

    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


async def test_a_moved_repository_is_followed_within_its_host_only(tmp_path: Path, mirrors: GitMirrors) -> None:
    """A renamed project answers with a redirect. The password goes along to the same host, and to no other."""
    heard: list[str] = []

    async def listen(request: web.Request) -> web.Response:
        heard.append(request.headers.get("Authorization", ""))
        return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})

    stranger = web.Application()
    stranger.router.add_route("*", "/{path:.*}", listen)
    runner = web.AppRunner(stranger)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    elsewhere = f"http://127.0.0.1:{runner.addresses[0][1]}"
    guard = {"new.git": make_basic(USER, PASSWORD)}
    await create_repository(tmp_path / "new.git", {"a": b"1"})
    moves = {"old.git": "", "gone.git": elsewhere}
    access = GitAccess(username=USER, password=Sensitive(PASSWORD))
    async with _Moving(tmp_path, authorization=guard, moves=moves) as server:
        moved = mirrors.get_remote(f"{server.url}/old.git", access)
        revision = await moved.resolve(MAIN)
        assert dict(await moved.fetch_tree(revision)) == {"a": b"1"}
        pushed = await moved.push(change(revision.commit, {"a": b"2"}), "main")

        with pytest.raises(GitError):
            await mirrors.get_remote(f"{server.url}/gone.git", access).resolve(MAIN)
        with pytest.raises(GitError, match="has moved"):
            await mirrors.get_remote(f"{server.url}/gone.git", GitAccess(bearer_token=Sensitive(TOKEN))).resolve(MAIN)

    assert await BareRepository(tmp_path / "new.git").log() == (pushed.commit, revision.commit)
    assert set(heard) <= {""}
    await runner.cleanup()


class _Moving(GitServer):
    """Redirects some repositories to new.git, here or elsewhere."""

    def __init__(self, root: Path, *, authorization: dict[str, str], moves: dict[str, str]) -> None:
        super().__init__(root, authorization=authorization)
        self._moves = moves

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        name = request.path.split("/")[1]
        if name in self._moves:
            target = f"{self._moves[name]}{request.path_qs.replace(name, 'new.git', 1)}"
            return web.Response(status=301, headers={"Location": target})
        return await super()._serve(request)


class _Old(GitServer):
    """Speaks the first protocol, in which only the tips of refs are handed out."""

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        headers = request.headers.copy()
        headers.pop("Git-Protocol", None)
        return await super()._serve(request.clone(headers=headers))


async def test_an_old_server_hands_out_old_commits_too(tmp_path: Path, mirrors: GitMirrors) -> None:
    await create_repository(tmp_path / "apps.git", {"a": b"1"})
    repository = BareRepository(tmp_path / "apps.git")
    async with _Old(tmp_path) as server:
        remote = mirrors.get_remote(f"{server.url}/apps.git")
        first = await remote.resolve(MAIN)
        await repository.commit({"a": b"2"})
        third = await repository.commit({"a": b"3"})

        assert dict(await remote.fetch_tree(first)) == {"a": b"1"}
        assert dict(await remote.fetch_tree(await remote.resolve(MAIN))) == {"a": b"3"}
        pushed = await remote.push(change(third, {"a": b"4"}), "main")
        with pytest.raises(RefNotFound):
            await remote.fetch_tree(Revision("main", "1" * 40))

    assert (await repository.log())[:2] == (pushed.commit, third)


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/x",
        "fd::7",
        "-oProxyCommand=x",
        "--upload-pack=sh",
        "/etc",
        "git@github.com:a/b.git",
        "git://example.com/a",
        "ftp://example.com/a",
        "ssh://-oProxyCommand=x/a",
        "ssh://-l@example.com/a",
        "http://example.com/a\nb",
        "http://example.com/a%0ab",
        "http://exa mple.com/a",
        "http:///a",
        "http://example.com",
        "http://example.com:port/a",
        "ssh://git:secret@example.com/a",
        "file:///etc",
        "file://example.com/a",
        "",
    ],
)
def test_a_url_that_is_not_one_of_ours_is_refused(url: str, tmp_path: Path) -> None:
    access = GitAccess(identity=Sensitive("key"), known_hosts=b"host")

    with pytest.raises(StalledError) as caught:
        GitMirrors(tmp_path).get_remote(url, access)

    assert "secret" not in str(caught.value)


def test_ssh_needs_known_hosts(tmp_path: Path) -> None:
    with pytest.raises(StalledError, match="known_hosts"):
        GitMirrors(tmp_path).get_remote("ssh://git@example.com/a", GitAccess(identity=Sensitive("key")))


def test_credentials_over_plain_http_can_be_forbidden(tmp_path: Path) -> None:
    strict = GitMirrors(tmp_path, plain_http_credentials=False)

    with pytest.raises(StalledError, match="plain http"):
        strict.get_remote("http://example.com/a", GitAccess(bearer_token=Sensitive("t")))
    strict.get_remote("http://example.com/a")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\0b"])
def test_a_token_cannot_smuggle_a_header(value: str, tmp_path: Path) -> None:
    for access in (GitAccess(bearer_token=Sensitive(value)), GitAccess(username="u", password=Sensitive(value))):
        with pytest.raises(GitAccessDenied, match="line break"):  # an edit of the Secret heals it
            GitMirrors(tmp_path).get_remote("https://example.com/a", access)


async def test_a_token_with_a_space_at_its_end_is_not_repeated_as_it_was_sent(mirrors: GitMirrors) -> None:
    async def repeats(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        sent = next(line for line in head.splitlines() if line.startswith("Authorization"))
        said = f"{sent!r} may not do this"
        headers = f"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: {len(said)}\r\n"
        writer.write(f"{headers}Connection: close\r\n\r\n{said}".encode())
        await writer.drain()
        writer.close()

    async with bad_server(repeats) as url:
        with pytest.raises(GitError) as caught:
            await mirrors.get_remote(f"{url}/apps.git", GitAccess(bearer_token=Sensitive("tok3n-4711 "))).resolve(MAIN)

    assert "may not do this" in str(caught.value)
    assert "tok3n-4711" not in str(caught.value)


async def test_a_remote_that_hangs_is_given_up(tmp_path: Path, mirrors: GitMirrors) -> None:
    async with bad_server(hang) as url:
        with pytest.raises(GitError, match=r"git ls-remote of http://127.* took longer than 0\.5 s"):
            await mirrors.get_remote(f"{url}/apps.git", timeout=0.5).resolve(MAIN)

        assert not _children_of_git(url)


async def test_a_remote_that_tells_too_much_is_stopped_at_once(tmp_path: Path) -> None:
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\nexec yes\n")
    program.chmod(0o755)
    commands = GitCommands(str(program))
    async with asyncio.timeout(120):  # reading so much takes half a second
        with pytest.raises(GitError, match="printed more than 64 MiB"):
            await commands.run("ls-remote", timeout=600)


async def test_a_host_that_hangs_delays_no_other(tmp_path: Path, mirrors: GitMirrors) -> None:
    async with bad_server(hang) as url, PLACES["http"](tmp_path) as place:
        await place.repository(files={"a": b"1"})
        silent = (mirrors.get_remote(f"{url}/{number}.git", timeout=200) for number in range(40))
        asking = [asyncio.create_task(remote.resolve(MAIN)) for remote in silent]
        while not _children_of_git(url):  # noqa: ASYNC110  # a process has no Event
            await asyncio.sleep(0.01)

        good = mirrors.get_remote(f"{place.url}/apps.git")
        revision = await good.resolve(MAIN)
        assert dict(await good.fetch_tree(revision)) == {"a": b"1"}

        assert [task for task in asking if task.done() and "took longer" in str(task.exception())] == []
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        assert not _children_of_git(url)


def _children_of_git(url: str) -> list[str]:
    """Processes that still talk to `url`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if url.encode() in path.read_bytes() and b"git" in path.read_bytes():
                found.append(str(path))
    return found


async def test_a_cancelled_call_leaves_no_process(tmp_path: Path, mirrors: GitMirrors) -> None:
    async with bad_server(hang) as url:
        asking = asyncio.create_task(mirrors.get_remote(f"{url}/apps.git").resolve(MAIN))
        while not _children_of_git(url):  # noqa: ASYNC110  # a process has no Event
            await asyncio.sleep(0.01)

        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

        assert not _children_of_git(url)


@pytest.mark.parametrize("turns", range(1, 9))
async def test_a_call_that_is_cancelled_while_its_command_begins_ends_and_leaves_no_process(
    tmp_path: Path, turns: int
) -> None:
    program, children = tmp_path / "git", tmp_path / "children"
    program.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! > {children}.new\nmv {children}.new {children}\nwait\n")
    program.chmod(0o755)
    asking = asyncio.create_task(GitCommands(str(program)).run("fetch", timeout=600))
    for _ in range(turns):
        await asyncio.sleep(0)
    if processes.children(str(program)):
        while not children.exists():
            time.sleep(0.01)  # noqa: ASYNC251  # nothing else may happen in the loop

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asking, 60)

    assert not children.exists() or not _is_running(children.read_text().strip())


def _is_running(pid: str) -> bool:
    """Tell whether a process runs; one that ended, and whose parent has not asked yet, has no command line."""
    with contextlib.suppress(OSError):
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    return False


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        ("500 Internal Server Error", b"<h1>oops</h1>", GitError),
        ("503 Service Unavailable", b"", GitError),
        ("200 OK", b"<html>\n<body>log in, please</body>\n</html>\n", GitError),
        ("404 Not Found", b"", GitError),
        ("401 Unauthorized", b"", GitAccessDenied),
        ("403 Forbidden", b"", GitAccessDenied),
    ],
)
async def test_a_bad_answer_is_an_error_of_git(
    status: str, body: bytes, error: type[GitOpsError], mirrors: GitMirrors
) -> None:
    headers = 'WWW-Authenticate: Basic realm="x"\r\n' if status.startswith("401") else ""
    async with bad_server(answer_with(status, body, headers=headers)) as url:
        with pytest.raises(error) as caught:
            await mirrors.get_remote(f"{url}/apps.git").resolve(MAIN)

    assert url in str(caught.value)
    assert type(caught.value) is error


async def test_a_server_that_is_away_is_an_error_of_git(mirrors: GitMirrors) -> None:
    with pytest.raises(GitError, match=r"127\.0\.0\.1"):
        await mirrors.get_remote("http://127.0.0.1:1/apps.git").resolve(MAIN)


async def test_half_a_pack_is_an_error_and_the_next_fetch_works(tmp_path: Path, mirrors: GitMirrors) -> None:
    async with PLACES["http"](tmp_path) as place:
        repository = await place.repository()
        commit = await repository.commit({"a": os.urandom(200_000)})
        async with breaking_proxy(place.url, 50_000) as url:
            broken = mirrors.get_remote(f"{url}/apps.git")
            revision = await broken.resolve(MAIN)

            with pytest.raises(GitError):
                await broken.fetch_tree(revision)
            with pytest.raises(GitError):
                await broken.fetch_tree(revision)

        whole = mirrors.get_remote(f"{place.url}/apps.git")
        assert len((await whole.fetch_tree(revision))["a"]) == 200_000
        assert revision.commit == commit


async def test_a_forbidden_push_is_denied(tmp_path: Path, mirrors: GitMirrors) -> None:
    async with PLACES["http"](tmp_path) as place:
        repository = await place.repository(files={"a": b"1"})
        await repository.git("config", "http.receivepack", "false")
        remote = mirrors.get_remote(f"{place.url}/apps.git")
        revision = await remote.resolve(MAIN)

        with pytest.raises(PushDenied):
            await remote.push(change(revision.commit, {"a": b"2"}), "main")
