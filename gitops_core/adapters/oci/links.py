"""Where a listing goes on, from the Link headers of a page.

    Link: </v2/app/tags/list?last=1.9&n=1000>; rel="next"

Only the query is taken: a registry behind a proxy, or below a path (Nexus, Artifactory), names paths and hosts that are
its own. A link that names no relation is the next page, as for go-containerregistry. What cannot be read is an error
and never the last page: the tags behind it would be gone.

Source: RFC 8288; go-containerregistry, pkg/v1/remote/list.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_SPACE = r"[ \t]*"
_TARGET = re.compile(r"[ \t,]*<([^<>]*)>")  # elements of a list may be empty
_PARAMETER = re.compile(
    rf'{_SPACE};{_SPACE}(?:([\w!#$&+.^`|~*-]+){_SPACE}(?:={_SPACE}("(?:[^"\\]|\\.)*"|[^\s;,"]*))?)?'
)
_END = re.compile(rf"{_SPACE}(,|$)")


def find_next_query(headers: Iterable[str]) -> str | None:
    """Return the query of the next page; None on the last one.

    >>> find_next_query(['<?page=1>; rel="first", </v2/a/tags/list?last=x&n=2>; rel="next"'])
    'last=x&n=2'

    Raises:
        ValueError: a header cannot be read, or the next page has no query.
    """
    for header in headers:
        for target, relations in _list_links(header):
            if relations is None or "next" in relations:
                query = target.partition("#")[0].partition("?")[2]
                if not query or not (query.isascii() and query.isprintable()) or " " in query:
                    raise ValueError("the link to the next page has no query that can be asked for")
                return query
    return None


def _list_links(header: str) -> Iterable[tuple[str, frozenset[str] | None]]:
    """Yield target and relation types (None: it names none) of each link. Raises ValueError."""
    place = 0
    while header[place:].strip(" \t,"):
        target = _TARGET.match(header, place)
        if target is None:
            raise ValueError("the Link header cannot be read")
        place, relations = target.end(), None
        while (parameter := _PARAMETER.match(header, place)) is not None:
            place = parameter.end()
            if (parameter[1] or "").lower() == "rel" and relations is None:  # of several, the first counts
                relations = _read_relations(parameter[2] or "")
        end = _END.match(header, place)
        if end is None:
            raise ValueError("the Link header cannot be read")
        place = end.end()
        yield target[1], relations or None


def _read_relations(value: str) -> frozenset[str]:
    """Return the relation types in a parameter; its quotes may be the wrong ones, and its characters escaped."""
    if value.startswith('"'):
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return frozenset(value.strip("'").lower().split())
