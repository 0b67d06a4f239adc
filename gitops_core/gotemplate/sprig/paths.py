"""sprig's paths and URLs, as Go's path and net/url packages read and write them.

Source: Go, path/path.go, net/url/url.go; Masterminds/sprig v3.3, url.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote as percent_encoded
from urllib.parse import unquote_to_bytes

from gitops_core.gotemplate.constants import quote, to_bytes, to_text
from gitops_core.gotemplate.errors import CallError
from gitops_core.gotemplate.functions import Function
from gitops_core.gotemplate.values import Value, kind_of

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_BAD_ESCAPE = re.compile("%(?![0-9a-fA-F]{2}).{0,2}", re.DOTALL)
Fail = Callable[[str], CallError]


def clean(path: str) -> str:
    """Return the shortest name of the same place, by its text alone."""
    rooted = path.startswith("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", ".") and not (part == ".." and rooted):
            parts.append(part)
    return ("/" if rooted else "") + "/".join(parts) or "."


def base(path: str) -> str:
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


def directory(path: str) -> str:
    return clean(path[: path.rfind("/") + 1])


def extension(path: str) -> str:
    _, dot, end = path.rpartition("/")[2].rpartition(".")
    return dot + end if dot else ""


def parse_url(text: str) -> dict[str, Value]:
    """Split a URL into parts. Raises CallError."""

    def fail(why: str) -> CallError:
        return CallError(f"unable to parse url: parse {quote(text)}: {why}")

    if re.search("[\x00-\x1f\x7f]", text):
        raise fail("net/url: invalid control character in URL")
    whole, _, fragment = text.partition("#")
    match = _SCHEME.match(whole)
    if match is None and re.match(r":", whole):
        raise fail("missing protocol scheme")
    scheme, rest = (match[1].lower(), whole[match.end() :]) if match else ("", whole)
    rest, _, query = rest.partition("?")
    parts = {"scheme": scheme, "host": "", "hostname": "", "path": "", "query": query, "opaque": ""}
    parts |= {"fragment": _decode(fragment, fail), "userinfo": ""}
    if not rest.startswith("/") and scheme:
        return parts | {"opaque": rest}
    if not rest.startswith("/") and ":" in rest.partition("/")[0]:
        raise fail("first path segment in URL cannot contain colon")
    if (scheme or not rest.startswith("///")) and rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        user, at, host = authority.rpartition("@")
        parts |= _host(host, fail) | {"userinfo": _userinfo(user, fail) if at else ""}
    return parts | {"path": _decode(rest, fail)}


def _decode(text: str, fail: Fail) -> str:
    if wrong := _BAD_ESCAPE.search(text):
        raise fail(f"invalid URL escape {quote(wrong[0][:3])}")
    return to_text(unquote_to_bytes(text))


def _host(host: str, fail: Fail) -> dict[str, Value]:
    if " " in host or set(host) & set('"<>\\^`{|}'):
        wrong = next(character for character in host if character in ' "<>\\^`{|}')
        raise fail(f"invalid character {quote(wrong)} in host name")
    bracket = re.fullmatch(r"\[(.*)\](:[0-9]*)?", host)
    name, colon, port = host.rpartition(":") if not bracket else (host, "", "")
    if colon and not re.fullmatch("[0-9]*", port):
        raise fail(f"invalid port {quote(colon + port)} after host")
    shown = bracket[1] if bracket else name if colon else host
    return {"host": _decode(host, fail), "hostname": _decode(shown, fail)}


def _userinfo(user: str, fail: Fail) -> str:
    if re.search(r"[^A-Za-z0-9\-._:~!$&'()*+,;=%@]", user):
        raise fail("net/url: invalid userinfo")
    name, colon, password = user.partition(":")
    return _escape_user(_decode(name, fail)) + (colon + _escape_user(_decode(password, fail)) if colon else "")


def _escape_user(text: str) -> str:
    return percent_encoded(to_bytes(text), safe="-_.~$&+,;=")


def join_url(parts: Mapping[str, Value]) -> str:
    """Join `parse_url`'s parts to a URL; the ones that are missing are empty. Raises CallError."""
    for key, value in parts.items():
        if key in ("scheme", "host", "path", "query", "opaque", "fragment", "userinfo") and not isinstance(value, str):
            raise CallError(f"unable to parse {key} key, must be of type string, but {kind_of(value)} found")
    scheme, host, path, query, opaque, fragment, user = (
        parts.get(key, "") for key in ("scheme", "host", "path", "query", "opaque", "fragment", "userinfo")
    )
    written = f"{scheme}:" if scheme else ""
    if opaque:
        written += opaque
    else:
        user = parse_url(f"proto://{user}@host")["userinfo"] if user else ""
        if scheme or host or user:
            written += "//" if host or path.startswith("/") or user else ""
            written += f"{user}@" if user else ""
            written += percent_encoded(to_bytes(host), safe="-_.~!$&'()*+,;=:[]<>\"")
        escaped = "*" if path == "*" else percent_encoded(to_bytes(path), safe="-_.~$&+,/:;=@")
        if escaped and escaped[0] != "/" and host:
            written += "/"
        if not written and ":" in escaped.partition("/")[0]:
            written += "./"
        written += escaped
    written += f"?{query}" if query else ""
    return written + ("#" + percent_encoded(to_bytes(fragment), safe="-_.~!$&'()*+,/:;=?@") if fragment else "")


PATHS: Mapping[str, Function] = {
    **{name: Function("string", base) for name in ("base", "osBase")},
    **{name: Function("string", directory) for name in ("dir", "osDir")},
    **{name: Function("string", clean) for name in ("clean", "osClean")},
    **{name: Function("string", extension) for name in ("ext", "osExt")},
    **{name: Function("string", lambda path: path.startswith("/")) for name in ("isAbs", "osIsAbs")},
    "urlParse": Function("string", parse_url),
    "urlJoin": Function("map", join_url),
}
