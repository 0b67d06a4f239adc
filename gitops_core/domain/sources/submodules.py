"""Where a repository's submodules are, as its `.gitmodules` says it, and whether our credentials may go there.

    [submodule "lib"]
        path = vendor/lib
        url = ../lib.git                  below the repository's own URL, on its host
        url = https://other.example.com/lib.git
        url = git@example.com:team/lib.git   as ssh://git@example.com/team/lib.git

No other key counts, `update` least of all. What is no such URL (a path, an option, file:, ext::) is refused.

Source: git-scm.com/docs/gitmodules, git-scm.com/docs/git-config (syntax), git-scm.com/docs/git-submodule (relative).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

FILE = ".gitmodules"
MOST_BYTES = 1 << 20

_SECTION = re.compile(r'\[\s*submodule\s+"((?:[^"\\\n]|\\.)*)"\s*\]\s*(.*)', re.IGNORECASE)
_SETTING = re.compile(r"([A-Za-z][A-Za-z0-9-]*)\s*=\s*(.*)")
_VALUE = re.compile(r'"((?:[^"\\]|\\.)*)"|\\(.)|([^"\\#;]+)|[#;].*', re.DOTALL)
_SCP = re.compile(r"(?:([A-Za-z0-9_.][A-Za-z0-9_.-]*)@)([A-Za-z0-9_.][A-Za-z0-9_.-]*):(?!//)(.+)")
_ESCAPES = {"n": "\n", "t": "\t", "b": "\b"}
_PORTS = {"http": 80, "https": 443, "ssh": 22}


class SubmoduleInvalid(ValueError):
    """Where a submodule is cannot be told, or may not be; the message says the cause."""


def parse_urls(text: str) -> dict[str, str]:
    """Parse the URLs of submodules by their paths, as they are written; of several the last one counts."""
    settings: dict[str, dict[str, str]] = {}
    section: dict[str, str] | None = None
    for line in _join_lines(text):
        rest = line.strip()
        if rest.startswith("["):
            found = _SECTION.match(rest)
            section, rest = (settings.setdefault(found[1], {}), found[2]) if found else (None, "")
        if section is not None and (setting := _SETTING.match(rest)) is not None:
            section[setting[1].lower()] = _read_value(setting[2])
    return {one["path"].strip("/"): one["url"] for one in settings.values() if one.get("path") and one.get("url")}


def resolve_url(url: str, parent: str) -> str:
    """Resolve a submodule's URL against that of the repository that names it. Raises SubmoduleInvalid."""
    if url.startswith(("./", "../")):
        return _resolve_relative(url, parent)
    if (scp := _SCP.fullmatch(url)) is not None:
        return f"ssh://{scp[1]}@{scp[2]}/{scp[3].lstrip('/')}"
    if not re.match(r"(?:https?|ssh)://", url):
        raise SubmoduleInvalid("its URL begins with none of http://, https://, ssh://, ./ and ../")
    return url


def is_same_place(one: str, other: str) -> bool:
    """Tell whether two URLs lead to one server by one protocol: what proves us to one does so to the other.

    >>> is_same_place("https://a.example/x", "https://A.example:443/y"), is_same_place("https://a/x", "http://a/x")
    (True, False)
    """
    try:
        first, second = ((p.scheme, p.hostname, p.port or _PORTS.get(p.scheme)) for p in map(urlsplit, (one, other)))
    except ValueError:  # a port that is no number
        return False
    return first == second


def _resolve_relative(url: str, parent: str) -> str:
    parts = urlsplit(parent)
    path = parts.path.strip("/").split("/")
    for part in url.split("/"):
        if part == "..":
            if not path:
                raise SubmoduleInvalid("its URL leads above the root of the server")
            path.pop()
        elif part not in ("", "."):
            path.append(part)
    return parts._replace(path="/" + "/".join(path), query="", fragment="").geturl()


def _join_lines(text: str) -> Iterator[str]:
    """Yield lines, those that end in a backslash joined with the next one."""
    held = ""
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.endswith("\\") and not line.endswith("\\\\"):
            held += line[:-1]
            continue
        yield held + line
        held = ""
    yield held


def _read_value(text: str) -> str:
    """Read a value: quotes and escapes undone, the comment behind it left out."""
    said = ""
    for quoted, escaped, plain in _VALUE.findall(text):
        said += re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), quoted)
        said += _ESCAPES.get(escaped, escaped) + plain
    return said.strip()


def list_urls(files: Mapping[str, bytes]) -> dict[str, str]:
    """List the URLs in the `.gitmodules` of a repository's files. Raises SubmoduleInvalid: it is too long."""
    content = files.get(FILE, b"")
    if len(content) > MOST_BYTES:
        raise SubmoduleInvalid(f"{FILE} is longer than {MOST_BYTES} bytes")
    return parse_urls(content.decode("utf-8", "surrogateescape"))
