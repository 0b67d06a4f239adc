"""Symbolic links of a repository, followed as far as they stay in it: paths -> the regular files that they lead to.

    files  base/a.yaml                  links  prod/a.yaml -> ../base/a.yaml    prod/a.yaml  is base/a.yaml
                                               dev -> base                      dev/a.yaml   is base/a.yaml
                                               evil -> /etc, up -> ../x         are not there

Nothing is followed on a disk: links are texts in Git, and only what Git holds can be found.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

MAX_HOPS = 40  # as on Linux
MAX_PATHS = 50_000  # that links to folders add


def follow_links(files: Iterable[str], links: Mapping[str, str]) -> dict[str, str]:
    """Follow links: the paths that are there because of them, each with the file it stands for; folders count deeply.

    >>> follow_links(["base/a.yaml"], {"dev": "base", "one.yaml": "dev/a.yaml", "out": "../x", "round": "round"})
    {'dev/a.yaml': 'base/a.yaml', 'one.yaml': 'base/a.yaml'}
    """
    if not links:
        return {}
    ordered, named = sorted(files), sorted(links)
    known = frozenset(ordered)
    found: dict[str, str] = {}
    for link in named:
        target = resolve_path(link, links)
        if target is None or link in known:  # it leads nowhere, or a file stands there
            continue
        if target in known:  # a link to a file
            found[link] = target
            continue
        below = f"{target}/" if target else ""
        inner = {path: path for path in _list_below(below, ordered)}
        inner |= {path: to for path in _list_below(below, named) if (to := resolve_path(path, links)) in known and to}
        if len(found) + len(inner) <= MAX_PATHS:
            found |= {f"{link}/{path.removeprefix(below)}": to for path, to in inner.items()}
    return found


def resolve_path(path: str, links: Mapping[str, str]) -> str | None:
    """Resolve `path` to where it leads in the repository ("" for its root), or None: out of it, or round and round."""
    done: list[str] = []
    rest = path.split("/")[::-1]
    hops = 0
    while rest:
        part = rest.pop()
        if part in ("", "."):  # it stays where it is
            continue
        if part == "..":  # a step up, if not out of the repository
            if not done:
                return None
            done.pop()
            continue
        done.append(part)
        target = links.get("/".join(done))
        if target is not None:  # a link: its target takes its place
            hops += 1
            if hops > MAX_HOPS or target.startswith("/"):
                return None
            done.pop()
            rest += target.split("/")[::-1]
    return "/".join(done)


def _list_below(prefix: str, ordered: list[str]) -> Iterator[str]:
    for index in range(bisect_left(ordered, prefix), len(ordered)):
        if not ordered[index].startswith(prefix):
            return
        yield ordered[index]
