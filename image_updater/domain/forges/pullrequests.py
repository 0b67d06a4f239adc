"""What to do about the pull request of one branch, and what people said by closing those before it.

    open                     -> updated when what is proposed is another thing by now
    none is open             -> opened
    open, nothing to propose -> closed by us, which its body says: "superseded"
    closed by a person       -> "not this version"

What a pull request of ours proposes is written into the last line of its body, which no page shows:

    <!-- sealoop: {"versions": {"default:app": ["1.2.0"]}, "digest": "3f9c...", "complete": true} -->

People may edit a body, so it is read with care: what cannot be read says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from gitops_core.decoding import decode_json
from image_updater.api import ImageRef
from image_updater.domain.files.sightings import Change

BEGIN, END = "<!-- sealoop: ", " -->"
LONGEST_TRAILER = 30_000
"""Characters; what would not fit is left out."""


NOTHING_LEFT = "Nothing is left to propose: the files say what the policies chose."


class PullRequest(NamedTuple):
    """A pull request (GitLab: merge request). `state` merged or closed says how it ended."""

    number: int
    url: str
    head: str
    base: str
    title: str
    body: str
    state: Literal["open", "merged", "closed"]


class Version(NamedTuple):
    """What one policy proposed; `setter` is `namespace:policy`, without a part, `digest` "" where none was chosen."""

    setter: str
    tag: str
    digest: str = ""


class Trailer(msgspec.Struct, frozen=True):
    """What the body of a pull request of ours says for machines.

    Attributes:
        versions: tag, and digest if there is one, by setter.
        digest: of everything that the text was made of, but for the images' labels.
        complete: whether every image's labels could be read for the text.
        superseded: we closed it ourselves.
    """

    versions: dict[str, tuple[str, ...]] = {}
    digest: str = ""
    complete: bool = True
    superseded: bool = False


class Proposal(NamedTuple):
    title: str
    body: str


@dataclass(frozen=True)
class Open:
    proposal: Proposal


@dataclass(frozen=True)
class Update:
    number: int
    url: str
    proposal: Proposal


@dataclass(frozen=True)
class Close:
    """To be closed with `comment`; its body becomes `proposal`'s first, so that nobody takes it for a person's no."""

    number: int
    proposal: Proposal
    comment: str


@dataclass(frozen=True)
class Nothing:
    """`url` is the open pull request's, "" when there is none."""

    url: str = ""


Step = Open | Update | Close | Nothing


def plan_pull_request(found: Sequence[PullRequest], wanted: Proposal | None, why: str = NOTHING_LEFT) -> Step:
    """Plan the step from the open pull requests of a branch and base to what is `wanted`; None: nothing to propose.

    An open one that a person made from our branch is described by us as well, but never closed.

    Args:
        found: those of the branch and base, newest first.
        why: there is nothing to propose; it becomes a comment.
    """
    open_ = next((each for each in found if each.state == "open"), None)
    if wanted is None:
        if open_ is None or read_trailer(open_.body) is None:
            return Nothing(open_.url if open_ is not None else "")
        return Close(open_.number, _write_superseded(open_), why)
    if open_ is None:
        return Open(wanted)
    if is_same(open_, wanted):
        return Nothing(open_.url)
    return Update(open_.number, open_.url, wanted)


def plan_outdated(found: Iterable[PullRequest], base: str, url: str) -> tuple[Close, ...]:
    """Plan to close our pull requests into another base than `base`, in favour of the one at `url`."""
    return tuple(
        Close(each.number, _write_superseded(each), f"Superseded by {url}.")
        for each in found
        if each.state == "open" and each.base != base and read_trailer(each.body) is not None
    )


def find_current(found: Iterable[PullRequest], digest: str) -> str:
    """Return the URL of the open pull request whose text has this digest and is complete; "" when there is none."""
    for each in found:
        trailer = read_trailer(each.body) if each.state == "open" else None
        if trailer is not None and trailer.complete and trailer.digest == digest:
            return each.url
    return ""


def is_same(live: PullRequest, wanted: Proposal) -> bool:
    """Tell whether the text is there already; forges change line ends and the spaces around a text."""
    return (live.title.strip(), _split_lines(live.body)) == (wanted.title.strip(), _split_lines(wanted.body))


def find_refused_versions(found: Iterable[PullRequest], base: str) -> frozenset[Version]:
    """Return the versions that people refuse on `base`: those of our pull requests that they closed without merging."""
    versions: set[Version] = set()
    for each in found:
        trailer = read_trailer(each.body) if each.state == "closed" and each.base == base else None
        if trailer is not None and not trailer.superseded:
            versions.update(Version(setter, *version) for setter, version in trailer.versions.items())
    return frozenset(versions)


def hold_refused(namespace: str, images: Mapping[str, ImageRef], no: frozenset[Version]) -> Callable[[Change], str]:
    """Return, for `plan_commit`, why a value must not become what the policies of a namespace chose, by name.

    A version that was refused without a digest is refused whatever its digest is.
    """
    held = {
        f"{namespace}:{policy}": f"a pull request with {image.tag} was closed: reopen it, or choose another version"
        for policy, image in images.items()
        for setter in [f"{namespace}:{policy}"]
        if no & {Version(setter, image.tag), Version(setter, image.tag, image.digest)}
    }
    return lambda change: held.get(get_policy(change.setter), "")


def get_policy(setter: str) -> str:
    """Return the `namespace:policy` of a setter.

    >>> get_policy("default:app:tag")
    'default:app'
    """
    return ":".join(setter.split(":")[:2])


# the trailer


def write_trailer(trailer: Trailer) -> str:
    """Write the trailer as one line. Versions that would make it too long are left out, the last ones by name first."""
    versions = dict(sorted(trailer.versions.items()))
    text = _encode(msgspec.structs.replace(trailer, versions=versions))
    while len(text) > LONGEST_TRAILER and versions:
        versions = dict(list(versions.items())[: len(versions) * 3 // 4])
        text = _encode(msgspec.structs.replace(trailer, versions=versions))
    return f"{BEGIN}{text}{END}"


def read_trailer(body: str) -> Trailer | None:
    """Read the last trailer of a body; None when none can be read, which means that the pull request is not ours.

    >>> read_trailer("words " + write_trailer(Trailer({"default:app": ("1.2.0",)}))).versions
    {'default:app': ('1.2.0',)}
    """
    begin = body.rfind(BEGIN)
    end = body.find(END, begin)
    if begin < 0 or end < 0 or end - begin > 2 * LONGEST_TRAILER:
        return None
    try:
        trailer = decode_json(body[begin + len(BEGIN) : end].encode(), Trailer)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return trailer if all(1 <= len(version) <= 2 for version in trailer.versions.values()) else None


def compute_digest(*parts: object) -> str:
    """Return the digest of all that a text is made of. The parts' repr is their value."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _write_superseded(live: PullRequest) -> Proposal:
    trailer = read_trailer(live.body) or Trailer()
    before = live.body[: live.body.rfind(BEGIN)]
    return Proposal(live.title, before + write_trailer(msgspec.structs.replace(trailer, superseded=True)))


def _encode(trailer: Trailer) -> str:
    text = msgspec.json.encode(trailer).decode()
    for character in "<>&":  # none of these stands outside of strings: nothing in it can end the comment
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _split_lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]
