"""Reads a checkout for `sealoop secrets lint`, file by file.

PATH  ->  its checkout, the nearest folder above with a .git, or PATH itself
      ->  its files: what Git has or would add; all of them where there is no Git
      ->  kustomizations and .sops.yaml of all of it, then the files that are asked for
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import BinaryIO

import click

from gitops_core.adapters.git.commands import GitCommands
from gitops_core.domain.lint.checkout import MAX_FILE, Report, conclude, lint_file
from gitops_core.domain.lint.context import Context, is_context
from gitops_core.domain.lint.findings import Finding
from gitops_core.domain.sources.ignore import parse_ignore_rules
from gitops_core.errors import GitError
from sealoop.checkouts import GIT, list_files, read_file

MAX_CONTEXT = 5 << 20
GIT_TIME = 60.0


@dataclass
class Found:
    """Attributes:
    notes: what a person should know of how it was looked for.
    files: how many were looked at.
    cause: why not all were; "" when all were.
    """

    findings: tuple[Finding, ...] = ()
    notes: list[str] = field(default_factory=list)
    files: int = 0
    cause: str = ""


def look_at_text(stream: BinaryIO) -> Found:
    """Look at manifests that come from elsewhere; no .sops.yaml is for them."""
    data, name = stream.read(MAX_FILE + 1), "stdin.yaml"
    findings = conclude([lint_file(name, data, Context())], Context())
    return Found(tuple(one._replace(path="-") for one in findings), files=1)


def look(paths: Sequence[str], excluded: Sequence[str], timeout: float) -> Found:
    """Look at files and folders. Raises ClickException, GitOpsError."""
    until, found = time.monotonic() + timeout, Found()
    checkouts: dict[str, list[str]] = {}
    for path in map(os.path.realpath, paths):
        if not os.path.isdir(path) and not os.path.isfile(path):
            raise click.UsageError(f"{path} is neither a folder nor a file")
        checkouts.setdefault(_find_top(path), []).append(path)
    findings: list[Finding] = []
    for top, asked in checkouts.items():
        findings += _Visit(top, asked, tuple(excluded), until, found).look()
    found.findings = tuple(sorted(findings, key=lambda one: (one.severity, one.path, one.line, one.rule)))
    if found.cause:
        found.cause += f" within {timeout:g}s: see --timeout"
    return found


def _find_top(path: str) -> str:
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    above = folder
    while not os.path.lexists(os.path.join(above, GIT)):
        if above == os.path.dirname(above):
            return folder
        above = os.path.dirname(above)
    return above


@dataclass
class _Visit:
    """One checkout.

    Attributes:
        asked: files and folders in it.
        until: when to end, by the monotonic clock.
        found: where notes go.
    """

    top: str
    asked: Sequence[str]
    excluded: tuple[str, ...]
    until: float
    found: Found

    def look(self) -> list[Finding]:
        paths = self._list_files()
        context = Context()
        known = set(paths)
        for path in filter(is_context, paths):
            self._add(path, context)
        for path in sorted(context.list_plugins() & known):
            self._add(path, context)
        wanted = self._select(paths, context)
        reports: list[Report] = []
        for number, path in enumerate(wanted):
            if time.monotonic() > self.until:
                self.found.cause = f"only {number} of {len(wanted)} files of {self.top} were looked at"
                break
            data, fault = self._read(path, MAX_FILE + 1)
            if fault:
                reports.append(Report((Finding(path, 0, "error", "unreadable", f"it cannot be read: {fault}"),)))
            elif data is not None:
                self.found.files += 1
                reports.append(lint_file(path, data, context))
        return [one._replace(path=self._show(one.path)) for one in conclude(reports, context)]

    def _list_files(self) -> list[str]:
        """List the files of the checkout that are not left out."""
        paths = self._ask_git() if os.path.lexists(os.path.join(self.top, GIT)) else None
        if paths is None:
            try:
                paths = list(list_files(self.top))
            except OSError as error:
                raise click.ClickException(f"{error.filename} cannot be read: {error.strerror}") from None
        named = (os.path.relpath(path, self.top) for path in self.asked if os.path.isfile(path))
        paths = list(dict.fromkeys((*paths, *named)))
        if not self.excluded:
            return paths
        rules = parse_ignore_rules({}, "\n".join(self.excluded))
        return [path for path in paths if rules.keeps(path)]

    def _ask_git(self) -> list[str] | None:
        """Ask Git what it has, and what it would add; None where it does not say."""
        command = ("-C", self.top, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        # a checkout is anybody's: nothing of its configuration is run, whoever owns it
        config = {"core.fsmonitor": "false", "safe.directory": "*"}
        try:
            answer = asyncio.run(GitCommands().run(*command, timeout=GIT_TIME, config=config))
            cause = answer.stderr.strip().splitlines()[-1:] if answer.code else []
        except GitError as error:
            answer, cause = None, [str(error)]
        if answer is None or answer.code:
            why = cause[0] if cause else "git failed"
            self.found.notes.append(f"all files of {self.top} are read, ignored ones too: {why}")
            return None
        return sorted({os.fsdecode(path) for path in answer.stdout.split(b"\0") if path and not path.endswith(b"/")})

    def _add(self, path: str, context: Context) -> None:
        data, _ = self._read(path, MAX_CONTEXT)
        if data is not None:
            context.add(path, data)

    def _select(self, paths: Iterable[str], context: Context) -> list[str]:
        """Select what is asked for, and what kustomizations among it use."""
        places = [os.path.relpath(path, self.top) for path in self.asked]
        if "." in places:
            return list(paths)
        paths = list(paths)
        wanted = {path for path in paths if any(path == place or path.startswith(f"{place}/") for place in places)}
        wanted |= {target for target, uses in context.uses.items() for use in uses if use.by in wanted} & set(paths)
        return [path for path in paths if path in wanted]

    def _read(self, path: str, limit: int) -> tuple[bytes | None, str]:
        """Read a file, or say why it cannot be; None for what is no file of the checkout."""
        folder = os.path.dirname(path)
        if folder and _is_linked(self.top, folder):
            return None, ""
        try:
            return read_file(os.path.join(self.top, path), limit), ""
        except FileNotFoundError:
            return None, ""  # deleted, and Git does not know yet
        except OSError as error:
            return None, (error.strerror or str(error)).lower()

    def _show(self, path: str) -> str:
        return os.path.relpath(os.path.join(self.top, path))


@cache
def _is_linked(top: str, folder: str) -> bool:
    """Tell whether a folder is not where its path says, but behind a link."""
    place = os.path.join(top, folder)
    return os.path.realpath(place) != place
