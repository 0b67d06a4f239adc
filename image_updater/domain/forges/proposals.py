"""The title and the body of a pull request: what changes, where, why, and where to read about it.

Labels of images are written by whoever built the image, so they are hostile: whatever comes from outside stands in a
code span, where no forge finds markup, mentions or references, and holds no character that could end the span or the
cell of the table around it. Only http and https URLs become links, and none that would leave a trace on somebody's
issue.

Source: github.com/opencontainers/image-spec/blob/main/annotations.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from image_updater.api import ImagePolicy, ImageRef
from image_updater.domain.files.sightings import CommitPlan
from image_updater.domain.forges.pullrequests import Proposal, Trailer, compute_digest, get_policy, write_trailer

LABEL = "org.opencontainers.image."
LONGEST_VALUE, LONGEST_URL, LONGEST_TITLE = 200, 500, 200
MOST_IMAGES, MOST_PLACES = 50, 100
SHORT_DIGEST = len("sha256:") + 12

# How each forge writes the address of a comparison.
_COMPARE = {
    "github.com": "{source}/compare/{old}...{new}",
    "gitlab.com": "{source}/-/compare/{old}...{new}",
    "codeberg.org": "{source}/compare/{old}...{new}",
    "gitea.com": "{source}/compare/{old}...{new}",
    "bitbucket.org": "{source}/branches/compare/{new}..{old}",
}
_REVISION = re.compile(r"[0-9A-Za-z](?:[._-]?[0-9A-Za-z]){0,99}")
_HOST = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z.-]{0,250}[0-9A-Za-z])?")
# An address of one of these is shown on the page that it leads to, as a reference from here.
_REFERENCES = re.compile(r"/(issues?|pulls?|merge_requests|discussions|work_items|epics|commits?)(/|$)", re.IGNORECASE)
_LOOKALIKES = str.maketrans({"`": "'", "|": "¦", "\\": "/"})


class Bump(NamedTuple):
    """One policy's image.

    Attributes:
        policy: `namespace:name`, as markers name it.
        rule: how it chose, from `write_rule`.
        labels: of the image, and `before` of the one that it replaces; {} where they are not known.
    """

    policy: str
    image: ImageRef
    rule: str = ""
    labels: Mapping[str, str] = {}
    before: Mapping[str, str] = {}


class _Row(NamedTuple):
    """One changed place."""

    file: str
    line: int
    setter: str
    old: str
    new: str


def write_rule(policy: ImagePolicy) -> str:
    """Write how a policy chooses: `semver ^1.0`, `alphabetical asc`."""
    choice, filter_ = policy.spec.policy, policy.spec.filter_tags
    if choice.semver is not None:
        rule = f"semver {choice.semver.range}"
    elif choice.alphabetical is not None:
        rule = f"alphabetical {choice.alphabetical.order}"
    else:
        rule = f"numerical {choice.numerical.order if choice.numerical is not None else 'asc'}"
    return f"{rule} of tags that match {filter_.pattern}" if filter_ is not None and filter_.pattern else rule


def compute_proposal_digest(plan: CommitPlan, bumps: Iterable[Bump]) -> str:
    """Return the digest of all that the text says but for the labels: the same digest, the same proposal."""
    return compute_digest(_list_rows(plan), [(bump.policy, str(bump.image), bump.rule) for bump in _sort(bumps)])


def list_changed_policies(plan: CommitPlan) -> tuple[str, ...]:
    """Return `namespace:name` of each policy that the plan changes something for, sorted."""
    return tuple(sorted({get_policy(change.setter) for change in plan.changes}))


def find_old_references(plan: CommitPlan, bumps: Iterable[Bump]) -> dict[str, str]:
    """Return, by policy, the tag or digest that its first changed place names, if it is of the same repository."""
    names = {bump.policy: bump.image.name for bump in bumps}
    found: dict[str, str] = {}
    for row in _list_rows(plan):
        policy, part = get_policy(row.setter), row.setter.removeprefix(get_policy(row.setter))
        if part in (":tag", ":digest"):
            reference = row.old
        else:
            text = row.old.removeprefix(names.get(policy, row.old))
            reference = (text.partition("@")[2] or text.removeprefix(":")) if text[:1] in (":", "@") else ""
        if reference:
            found.setdefault(policy, reference)
    return found


def write_proposal(plan: CommitPlan, bumps: Iterable[Bump], *, complete: bool = True) -> Proposal:
    """Write the title and the body that propose the plan's changes.

    Args:
        bumps: the image of each policy that the plan changes something for.
        complete: whether all labels are there.
    """
    bumps, rows = _sort(bumps), _list_rows(plan)
    versions = {bump.policy: (bump.image.tag, *([bump.image.digest] if bump.image.digest else [])) for bump in bumps}
    trailer = Trailer(versions=versions, digest=compute_proposal_digest(plan, bumps), complete=complete)
    parts = [
        "Newer images, as their policies choose them.",
        *_write_images_table(bumps, rows),
        *(_write_about(bump) for bump in bumps[:MOST_IMAGES]),
        *_write_places_table(rows),
        "To go without these versions, close this pull request: the next ones are proposed again. "
        "A closed one that is opened again counts as open.",
        write_trailer(trailer),
    ]
    return Proposal(_write_title(bumps), "\n\n".join(parts))


# parts of the text


def _write_title(bumps: Sequence[Bump]) -> str:
    if len(bumps) == 1:
        return _shorten(f"Update {keep_plain(bumps[0].image.name)} to {keep_plain(bumps[0].image.tag)}", LONGEST_TITLE)
    names = ", ".join(
        f"{keep_plain(bump.image.name).rpartition('/')[2]} {keep_plain(bump.image.tag)}" for bump in bumps
    )
    return _shorten(f"Update {len(bumps)} images: {names}", LONGEST_TITLE)


def _write_images_table(bumps: Sequence[Bump], rows: Sequence[_Row]) -> Iterable[str]:
    lines = [
        _write_line(
            write_code(bump.policy),
            write_code(bump.image.name),
            _write_olds(bump, rows),
            write_code(_get_tag(str(bump.image))),
        )
        for bump in bumps[:MOST_IMAGES]
    ]
    yield _write_table(("Policy", "Image", "From", "To"), lines)
    yield from _write_more(len(bumps) - MOST_IMAGES, "image")


def _write_places_table(rows: Sequence[_Row]) -> Iterable[str]:
    lines = [
        _write_line(
            write_code(row.file),
            str(row.line) if row.line else "",
            write_code(_shorten_digest(row.old)),
            write_code(_shorten_digest(row.new)),
        )
        for row in rows[:MOST_PLACES]
    ]
    yield _write_table(("File", "Line", "From", "To"), lines)
    yield from _write_more(len(rows) - MOST_PLACES, "place")


def _write_about(bump: Bump) -> str:
    lines = [f"### {write_code(bump.image.name)}", ""]
    rule = f": {write_code(bump.rule)}" if bump.rule else ""
    lines.append(f"- policy {write_code(bump.policy)}{rule} chose {write_code(bump.image.tag)}")
    facts = [
        f"{name} {write_code(bump.labels[LABEL + name])}"
        for name in ("version", "revision", "created")
        if write_code(bump.labels.get(LABEL + name, ""))
    ]
    if facts:
        lines.append(f"- {', '.join(facts)}")
    links = [link for name, address in _list_addresses(bump) if (link := _write_link(name, address))]
    if links:
        lines.append(f"- {' · '.join(links)}")
    return "\n".join(lines)


def _list_addresses(bump: Bump) -> Iterable[tuple[str, str]]:
    """Yield names of links with their addresses."""
    for name in ("source", "url", "documentation"):
        yield name, bump.labels.get(LABEL + name, "")
    yield "changes", make_compare_url(bump.before, bump.labels)


def make_compare_url(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return the page of a known forge that compares two images' revisions; "" where none is known.

    >>> labels = {LABEL + "source": "https://github.com/org/app.git", LABEL + "revision": "1f2e3d4"}
    >>> make_compare_url({**labels, LABEL + "revision": "0a1b2c3"}, labels)
    'https://github.com/org/app/compare/0a1b2c3...1f2e3d4'
    """
    source = _find_source(after)
    old, new = (labels.get(LABEL + "revision", "").strip() for labels in (before, after))
    host = urlsplit(source).hostname if source else None
    template = _COMPARE.get(host or "", "")
    if not template or _find_source(before) != source or old == new:
        return ""
    if not _REVISION.fullmatch(old) or not _REVISION.fullmatch(new):
        return ""
    return template.format(source=source, old=old, new=new)


def _find_source(labels: Mapping[str, str]) -> str:
    """Return the repository that the labels name as source, without what some builders add to it; "" without a URL."""
    address = make_safe_url(labels.get(LABEL + "source", ""))
    return address.partition("?")[0].partition("#")[0].rstrip("/").removesuffix(".git")


# what makes text from outside harmless


def write_code(text: str) -> str:
    """Write `text` as a code span of one line that fits into a table; "" for nothing."""
    text = text[: 10 * LONGEST_VALUE]  # more of it is not shown, however it is written
    shown = _shorten(" ".join(_make_printable(text).translate(_LOOKALIKES).split()), LONGEST_VALUE)
    shown = shown.replace("<!", "< !")  # what looks like our trailer is none
    return f"`{shown}`" if shown else ""


def keep_plain(text: str) -> str:
    """Keep only what names of images and tags are made of: letters, digits, `.`, `_`, `/`, `:`, `+` and `-`."""
    return re.sub(r"[^0-9A-Za-z._/:+-]+", "", text)


def make_safe_url(text: str) -> str:
    """Return an http or https URL that cannot end before its end, or "".

    >>> make_safe_url("https://example.com/a b)")
    ''
    >>> make_safe_url("https://example.com/a(b)|c")
    'https://example.com/a%28b%29%7Cc'
    >>> make_safe_url("javascript:alert(1)")
    ''
    """
    text = text.strip()
    if len(text) > LONGEST_URL or any(character.isspace() or not character.isprintable() for character in text):
        return ""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return ""
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or not _HOST.fullmatch(host):
        return ""
    rest = quote(parts.path, safe="/%:=+,;~.-_")
    for mark, part in (("?", parts.query), ("#", parts.fragment)):
        rest += f"{mark}{quote(part, safe='/%:=&+,;~.-_')}" if part else ""
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{rest}"


def _write_link(name: str, address: str) -> str:
    """Write a link; only its name where the address is not safe."""
    url = make_safe_url(address)
    if not url or _REFERENCES.search(urlsplit(url).path):
        return f"{name} {write_code(address)}" if write_code(address) else ""
    return f"[{name}]({url})"


def _make_printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


# rows and cells


def _sort(bumps: Iterable[Bump]) -> list[Bump]:
    return sorted(bumps, key=lambda bump: bump.policy)


def _list_rows(plan: CommitPlan) -> tuple[_Row, ...]:
    """Return every changed place, in the order of files and lines."""
    lines: dict[tuple[str, str, str, str], list[int]] = {}
    for seen in plan.sightings:
        if seen.state == "pending":
            lines.setdefault((seen.file, seen.setter, seen.current, seen.desired), []).append(seen.line)
    rows = []
    for change in plan.changes:
        known = lines.get((change.file, change.setter, change.old, change.new))
        rows.append(_Row(change.file, known.pop(0) if known else 0, change.setter, change.old, change.new))
    return tuple(sorted(rows))


def _write_olds(bump: Bump, rows: Sequence[_Row]) -> str:
    """Write the tags that a policy's places name now, each once."""
    olds = {
        _get_tag(row.old) if row.setter == bump.policy else _shorten_digest(row.old)
        for row in rows
        if row.setter in (bump.policy, f"{bump.policy}:tag", f"{bump.policy}:digest")
    }
    return ", ".join(filter(None, map(write_code, sorted(olds)[:3]))) + (", …" if len(olds) > 3 else "")


def _get_tag(image: str) -> str:
    """Tag and digest of an image's text, the digest shortened; the whole text where it has neither.

    >>> _get_tag("localhost:5000/app:1.2@sha256:0123456789abcdef0123")
    '1.2@sha256:0123456789ab…'
    """
    name, at, digest = image.partition("@")
    _, colon, tag = name[name.rfind("/") + 1 :].partition(":")
    return (tag if colon else name) + at + _shorten(digest, SHORT_DIGEST + 1)


def _shorten_digest(value: str) -> str:
    before, marker, digest = value.rpartition("sha256:")
    return before + _shorten(marker + digest, SHORT_DIGEST + 1) if marker else value


def _write_table(head: Sequence[str], lines: Sequence[str]) -> str:
    return "\n".join([_write_line(*head), _write_line(*("---" for _ in head)), *lines])


def _write_line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _write_more(count: int, noun: str) -> Iterable[str]:
    if count > 0:
        yield f"… and {count} more {noun}{'s' if count > 1 else ''}."
