"""Where a repository's forge has its API, from the URL that it is cloned by.

    https://github.com/org/app.git        https://api.github.com            org/app
    https://org.ghe.com/org/app           https://api.org.ghe.com           org/app
    https://ghes.example/org/app          https://ghes.example/api/v3       org/app
    ssh://git@gitlab.com/group/sub/app    https://gitlab.com/api/v4         group%2Fsub%2Fapp
    https://example.com/git/org/app.git   https://example.com/git/api/v1    org/app   (Gitea below a path)

An API base that is given wins; then a GitLab below a path works, too.

Source: each forge's documentation of its REST API.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from gitops_core.errors import StalledError
from image_updater.ports import ForgeAddress

PATHS = {"gitea": "/api/v1", "github": "/api/v3", "gitlab": "/api/v4"}

# Hosts that only answer ssh, and what the same forge is called otherwise.
_SSH_HOSTS = {"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com", "ssh.gitea.com": "gitea.com"}


class Place(NamedTuple):
    """The API's base URL without a slash at its end, and the repository's path: `org/app`."""

    api: str
    path: str


def find_place(address: ForgeAddress) -> Place:
    """Return the API and the repository there. Raises StalledError: the URL names no repository of such a forge."""
    try:
        return _find_place(address)
    except ValueError:  # a port that is none, half an IPv6 address
        raise StalledError(f"the URL of a {address.kind} that pull requests can be opened in cannot be read") from None


def _find_place(address: ForgeAddress) -> Place:
    """Return the API and the repository there. Raises StalledError, ValueError."""
    parts = urlsplit(address.url)
    segments = [unquote(segment) for segment in parts.path.split("/") if segment]
    if segments:
        segments[-1] = segments[-1].removesuffix(".git")
    trouble = f"{_mask(parts)} is no repository of a {address.kind} that pull requests can be opened in"
    if parts.scheme not in ("http", "https", "ssh") or not parts.hostname:
        raise StalledError(f"{trouble}: its URL is not one of http, https, ssh")
    if len(segments) < 2 or any(segment in ("", ".", "..") or "/" in segment for segment in segments):
        raise StalledError(f"{trouble}: its path has to be OWNER/NAME")
    if address.api:
        return _place_below(address, segments)
    if address.kind == "github" and len(segments) != 2:
        raise StalledError(f"{trouble}: its path has to be OWNER/NAME")
    before, own = ([], segments) if address.kind == "gitlab" else (segments[:-2], segments[-2:])
    return Place(_find_api(address.kind, parts, before), "/".join(own))


def _place_below(address: ForgeAddress, segments: list[str]) -> Place:
    """Return the place below a given API base: what its path and the clone URL's share is the installation's."""
    parts = urlsplit(address.api)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise StalledError(f"the API of {_mask(parts)} is not an http or https URL without user, query and fragment")
    if address.kind != "gitlab":
        return Place(address.api.rstrip("/"), "/".join(segments[-2:]))
    root = [segment for segment in parts.path.removesuffix("/").removesuffix(PATHS["gitlab"]).split("/") if segment]
    own = segments[len(root) :] if segments[: len(root)] == root else segments
    return Place(address.api.rstrip("/"), "/".join(own))


def _find_api(kind: str, parts: SplitResult, before: list[str]) -> str:
    host = parts.hostname or ""
    if parts.scheme == "ssh":
        host = _SSH_HOSTS.get(host, host)  # and whatever port ssh has, the API has its own
    if kind == "github" and (host == "github.com" or host.endswith(".ghe.com")):
        return f"https://api.{host}"
    name = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port and parts.scheme != "ssh" else ""
    scheme = "https" if parts.scheme == "ssh" else parts.scheme
    return f"{scheme}://{name}{port}{''.join(f'/{quote(segment)}' for segment in before)}{PATHS[kind]}"


def _mask(parts: SplitResult) -> str:
    """Write a URL without what may be a password."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
