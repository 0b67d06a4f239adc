"""Where submodules are: `.gitmodules` as git itself reads it, and URLs that are followed or refused."""

from __future__ import annotations

import subprocess

import pytest

from gitops_core.domain.sources.submodules import SubmoduleInvalid, is_same_place, list_urls, parse_urls, resolve_url

PARENT = "https://git.example.com/team/fleet.git"

TEXTS = [
    '[submodule "lib"]\n\tpath = vendor/lib\n\turl = ../lib.git\n',
    '[submodule "a"]\npath=a\nurl=./a.git\n[submodule "b"]\n  path = b # comment\n  url = https://x.example/b ; more\n',
    '[submodule "q"]\n\tpath = "with space"\n\turl = "https://x.example/a;b#c.git"\n',
    '[submodule "e"]\n\tpath = e\n\turl = "a\\"b\\\\c"\n',
    '[submodule "c"]\n\tpath = c\n\turl = https://x.example/\\\nlong.git\n',
    '[core]\n\turl = no\n[submodule "x"]\n\tPATH = x\n\tUrl = ../x.git\n\tupdate = !touch evil\n\tbranch = main\n',
    '[submodule "t"] path = t\n\turl = one\n\turl = two\n',
    '[submodule "r"]\r\n\tpath = r\r\n\turl = ../r.git\r\n',
    "",
]


@pytest.mark.parametrize("text", TEXTS)
def test_urls_are_what_git_reads(text: str) -> None:
    command = ["git", "config", "--file=-", "--null", "--get-regexp", r"^submodule\..*\.(path|url)$"]
    read = subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=False).stdout.decode()
    settings: dict[str, dict[str, str]] = {}
    for item in filter(None, read.split("\0")):
        key, _, value = item.partition("\n")
        name, _, setting = key.rpartition(".")
        settings.setdefault(name, {})[setting] = value

    assert parse_urls(text) == {s["path"]: s["url"] for s in settings.values() if "url" in s and "path" in s}


@pytest.mark.parametrize(
    ("written", "parent", "url"),
    [
        ("../lib.git", PARENT, "https://git.example.com/team/lib.git"),
        ("../../lib.git", PARENT, "https://git.example.com/lib.git"),
        ("./inner.git", PARENT, "https://git.example.com/team/fleet.git/inner.git"),
        ("../lib.git", f"{PARENT}/", "https://git.example.com/team/lib.git"),
        ("../lib.git", "ssh://git@git.example.com:2222/team/fleet.git", "ssh://git@git.example.com:2222/team/lib.git"),
        ("https://other.example.com/lib.git", PARENT, "https://other.example.com/lib.git"),
        ("git@other.example.com:team/lib.git", PARENT, "ssh://git@other.example.com/team/lib.git"),
        ("git@other.example.com:/srv/lib.git", PARENT, "ssh://git@other.example.com/srv/lib.git"),
    ],
)
def test_a_url_is_resolved_as_git_does_it(written: str, parent: str, url: str) -> None:
    assert resolve_url(written, parent) == url


@pytest.mark.parametrize(
    "written",
    [
        "--upload-pack=touch evil",
        "-u./evil",
        "ext::sh -c touch% evil",
        "file:///etc",
        "/etc",
        "fd::17",
        "git://git.example.com/lib.git",
        "ftp://git.example.com/lib",
        "../../../lib.git",
        "lib.git",
        "-oProxyCommand=x@y:z",
        "git@-oProxyCommand=x:y",
        "ssh:evil",
        "",
    ],
)
def test_what_is_no_url_of_a_remote_is_refused(written: str) -> None:
    with pytest.raises(SubmoduleInvalid) as refused:
        resolve_url(written, PARENT)

    assert "evil" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "is_same"),
    [
        ("https://git.example.com/other.git", True),
        ("https://GIT.example.com:443/other.git", True),
        ("https://u:p@git.example.com/other.git", True),
        ("http://git.example.com/other.git", False),
        ("https://git.example.com:8443/other.git", False),
        ("https://git.example.com.evil.example/other.git", False),
        ("https://git.example.com@evil.example/other.git", False),
        ("https://git.example.com:port/other.git", False),
        ("ssh://git@git.example.com/other.git", False),
    ],
)
def test_credentials_are_for_one_host_port_and_protocol(url: str, is_same: bool) -> None:
    assert is_same_place(url, PARENT) is is_same


def test_a_file_without_end_is_not_read() -> None:
    with pytest.raises(SubmoduleInvalid, match="longer than"):
        list_urls({".gitmodules": b"#" * (2 << 20)})
