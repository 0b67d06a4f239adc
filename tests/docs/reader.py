"""A reader who follows a document: a folder, a shell, and what he left running."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.snippets import Snippet, shows
from tests.servers.programs import ROOT, clean_environment, free_port

PATIENCE = 180.0
"""Seconds until what a document shows must be there."""

_VARIABLES = """\
[ ! -e "$READER/variables" ] || . "$READER/variables"
"""
_WRAPPED = f"""\
cd "$(cat "$READER/place")"
{_VARIABLES}\
trap 'code=$?; pwd > "$READER/place"; declare -px | grep -v "^declare -x \\(READER\\|PWD\\|OLDPWD\\|SHLVL\\)=" \
  > "$READER/variables"; exit $code' EXIT
set -eo pipefail
"""

_CLONE = ("LICENSE", "README.md", "deploy", "gitops_core", "image_updater", "pyproject.toml", "sealoop", "secrets_sync")
"""What a clone of the repository has, as far as a reader uses it."""

_PERSON = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A Reader"), ("EMAIL", "reader@example.com"))
}


@dataclass
class Reader:
    """Follows one document in `folder`.

    Attributes:
        port: where the servers of `sealoop demo --servers` are, in the place of 8300, and above them ports of others.
        places: what stands for the places of the internet that the document names.
        installs: the document installs Sealoop; else the command is there from the beginning.
        printed: what the last block printed.
    """

    folder: Path
    port: int
    extra: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    installs: bool = False
    printed: str = ""
    _looking: Snippet | None = None
    _log: Path | None = None
    _services: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "reader").mkdir(parents=True)
        (self.folder / "work").mkdir()
        for name in _CLONE:
            (self.folder / "work" / name).symlink_to(ROOT / name)
        (self.folder / "packages").mkdir()
        for each in Path(sysconfig.get_path("purelib")).iterdir():
            if "sealoop" not in each.name:
                (self.folder / "packages" / each.name).symlink_to(each)
        (self.folder / "reader" / "place").write_text(f"{self.folder / 'work'}\n")

    def follow(self, snippet: Snippet) -> None:
        """Do what the block says. Raises AssertionError, with its place and what was printed."""
        text = self.adapted(snippet.text)
        if snippet.file:
            file = self._make_sort_key() / snippet.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        match snippet.language, snippet.mark:
            case "text", "output":
                self._compare(snippet, text)
            case "sh", "service":
                self._serve(snippet, text)
            case "sh", "look":
                self._looking, self._log = snippet, None
            case "sh", "run" | "cluster" | "fails" as how:
                self._looking, self._log = None, None
                code = self._run(text)
                assert (code != 0) == (how == "fails"), f"{snippet}: exit code {code}\n{self.printed}"

    def adapted(self, text: str) -> str:
        """The document's text with this run's ports and places in it."""
        for number, usual in enumerate((8300, 8301, 8302, 9292, 8080)):
            text = text.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{self.port + number}")
        for place, stand_in in self.places.items():
            text = text.replace(place, stand_in)
        hooks, listen = (f"127.0.0.1:{self.port + number}" for number in (3, 4))
        text = re.sub(r"(?m)^sealoop run(?= *$| +#)", f"sealoop run --hooks {hooks} --listen {listen}", text)
        text = text.replace(".venv/bin/python -m bench", f"{sys.executable} -m bench")
        return text.replace("sealoop demo --servers", f"sealoop demo --servers --port {self.port}")

    def stop(self) -> None:
        for service in reversed(self._services):
            if service.poll() is None:
                service.send_signal(signal.SIGINT)
        for service in self._services:
            service.wait(60)

    def _run(self, text: str) -> int:
        done = subprocess.run(
            ["bash", "-c", _WRAPPED + text],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            text=True,
            check=False,
        )
        self.printed = done.stdout
        return done.returncode

    def _serve(self, snippet: Snippet, text: str) -> None:
        self._looking, self._log = None, self.folder / "reader" / f"{snippet.line}.log"
        with self._log.open("wb") as log:
            command = ["bash", "-c", f"{_VARIABLES}exec {text.strip()}"]
            service = subprocess.Popen(
                command,
                cwd=self._make_sort_key(),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._services.append(service)

    def _compare(self, snippet: Snippet, expected: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not shows(self._read_seen(), expected):
            over = (self._looking is None and self._log is None) or time.monotonic() > deadline
            assert not over, f"{snippet} does not show in:\n{self.printed}{self.logs()}"
            time.sleep(0.5)

    def _read_seen(self) -> str:
        if self._looking is not None:
            self._run(self.adapted(self._looking.text))
        elif self._log is not None:
            self.printed = self._log.read_text()
        return self.printed

    def _make_sort_key(self) -> Path:
        """The folder that the reader's shell is in."""
        return Path((self.folder / "reader" / "place").read_text().strip())

    def logs(self) -> str:
        logs = sorted((self.folder / "reader").glob("*.log"))
        return "".join(f"\n{log.name}:\n{log.read_text()[-3000:]}" for log in logs)

    def _environment(self) -> dict[str, str]:
        reader, packages = str(self.folder / "reader"), str(self.folder / "packages")
        # pip finds what the package needs beside it, builds with what is there, and asks nobody
        pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
        python = packages if self.installs else str(ROOT)
        return clean_environment(self.folder, PYTHONPATH=python, READER=reader, **_PERSON, **pip, **self.extra)


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    while True:
        port = free_port()
        with contextlib.ExitStack() as stack:
            try:
                for number in range(count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port + number))
            except OSError:
                continue
            return port
