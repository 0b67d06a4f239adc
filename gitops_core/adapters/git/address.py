"""Repository URLs: which are taken, what of them may be shown, and which refs may be asked for.

    https://git.example.com/team/apps.git     http, https, ssh; file where the operator allows it
    ssh://git@git.example.com:2222/apps.git   the user belongs to an ssh address, a password to none

Everything here ends up among a command's arguments, so nothing may look like an option, hold a control character or
name another transport (`ext::`, `fd::`).

Source: git-scm.com/docs/git-check-ref-format; Flux, GitRepository.spec.url.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from gitops_core.errors import RefNotFound, StalledError
from gitops_core.meta import Sensitive


@dataclass(frozen=True)
class Address:
    """A repository's place, without a credential: safe to show, to log and to pass as an argument.

    Attributes:
        username, password: what the URL held of a credential, taken out of `url` (http and https only).
    """

    url: str
    scheme: str
    host: str
    username: str = ""
    password: Sensitive | None = None

    @property
    def place(self) -> str:
        """Return what hangs as one: the server behind a host and a port; all files of this machine."""
        return f"{self.host}:{self.port}" if self.host else "the file system"

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or {"http": 80, "https": 443, "ssh": 22}.get(self.scheme, 0)

    @property
    def is_http(self) -> bool:
        return self.scheme in ("http", "https")

    def __str__(self) -> str:
        return self.url


def parse_address(url: str, *, allow_file: bool) -> Address:
    """Parse a repository's URL. Raises StalledError, without any password: the URL is not one that is taken."""
    parts = _split(url)
    if parts.scheme == "file" and not allow_file:
        raise StalledError("file:// repositories are not allowed here: use http, https or ssh", reason="URLInvalid")
    if parts.scheme not in ("http", "https", "ssh", "file"):
        raise StalledError("a repository URL begins with http://, https:// or ssh://", reason="URLInvalid")
    host, user = parts.hostname or "", unquote(parts.username or "")
    if host.startswith("-") or user.startswith("-") or (parts.scheme == "file") == bool(host) or len(parts.path) < 2:
        raise StalledError(f"not a repository URL: {_mask(parts)}", reason="URLInvalid")
    if parts.scheme == "ssh" and parts.password is not None:
        raise StalledError(f"an ssh URL cannot hold a password: {_mask(parts)}", reason="URLInvalid")
    if parts.scheme in ("http", "https"):
        password = Sensitive(unquote(parts.password)) if parts.password else None
        return Address(_mask(parts), parts.scheme, host, user, password)
    return Address(parts.geturl(), parts.scheme, host)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # parsed on access: a port that is no number raises here
    except ValueError:
        raise StalledError("not a repository URL: it cannot be parsed", reason="URLInvalid") from None
    raw = r"[\x00-\x1f\x7f]" if parts.scheme == "file" else r"[\x00-\x20\x7f\\]"
    if re.search(raw, url) or re.search(r"[\x00-\x1f\x7f]", unquote(f"{parts.hostname}{parts.path}{parts.query}")):
        raise StalledError("a repository URL holds no spaces, backslashes or control characters", reason="URLInvalid")
    return parts


def _mask(parts: SplitResult) -> str:
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def write_full_ref(name: str, kind: str = "") -> str:
    """Write `refs/KIND/NAME`, or NAME itself when `kind` is "". Raises RefNotFound: no ref can have such a name."""
    ref = f"refs/{kind}/{name}" if kind else name
    forbidden = re.search(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|\.$|/$|^[-./]", name)
    if forbidden or not name or not (ref.startswith("refs/") or ref == "HEAD"):
        raise RefNotFound(f"{name!r} is not the name of a ref")
    return ref


def check_commit_id(commit: str) -> str:
    """Check that `commit` is a whole commit id, and return it. Raises RefNotFound."""
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit):
        raise RefNotFound(f"{commit!r} is not a commit id of 40 hex digits")
    return commit
