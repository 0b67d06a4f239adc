"""A reader who follows a document: a folder, a shell, and what he left running."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.snippets import Snippet, shows
from tests.servers.programs import ROOT, clean_environment

PATIENCE = 90.0
"""Seconds until what a document shows must be there."""

_WRAPPED = """\
cd "$(cat "$READER/place")"
[ ! -e "$READER/variables" ] || . "$READER/variables"
trap 'code=$?; pwd > "$READER/place"; declare -px | grep -v "^declare -x \\(READER\\|PWD\\|OLDPWD\\|SHLVL\\)=" \
  > "$READER/variables"; exit $code' EXIT
set -eo pipefail
"""


_PERSON = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "A Reader"), ("EMAIL", "reader@example.com"))
}


@dataclass
class Reader:
    """Follows one document in `folder`.

    Attributes:
        port: where the servers of `sealoop demo --servers` are, in the place of 8300.
        printed: what the last block printed.
    """

    folder: Path
    port: int
    extra: Mapping[str, str] = field(default_factory=dict)
    printed: str = ""
    _looking: Snippet | None = None
    _log: Path | None = None
    _services: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "reader").mkdir(parents=True)
        (self.folder / "work").mkdir()
        (self.folder / "work" / "deploy").symlink_to(ROOT / "deploy")
        (self.folder / "reader" / "place").write_text(f"{self.folder / 'work'}\n")

    def follow(self, snippet: Snippet) -> None:
        """Do what the block says. Raises AssertionError, with its place and what was printed."""
        text = self.adapted(snippet.text)
        if snippet.file:
            place = self.folder / "work" / snippet.file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
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
        """The document's text with this run's ports in it."""
        for number in range(3):
            text = text.replace(f"127.0.0.1:{8300 + number}", f"127.0.0.1:{self.port + number}")
        return text.replace("sealoop demo --servers", f"sealoop demo --servers --port {self.port}")

    def stop(self) -> None:
        for service in reversed(self._services):
            if service.poll() is None:
                service.send_signal(signal.SIGINT)
        for service in self._services:
            service.wait(20)

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
        place = (self.folder / "reader" / "place").read_text().strip()
        with self._log.open("wb") as log:
            command = ["bash", "-c", f"exec {text.strip()}"]
            service = subprocess.Popen(
                command, cwd=place, env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._services.append(service)

    def _compare(self, snippet: Snippet, expected: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not shows(self._seen(), expected):
            over = (self._looking is None and self._log is None) or time.monotonic() > deadline
            assert not over, f"{snippet} does not show in:\n{self.printed}{self.logs()}"
            time.sleep(0.5)

    def _seen(self) -> str:
        if self._looking is not None:
            self._run(self.adapted(self._looking.text))
        elif self._log is not None:
            self.printed = self._log.read_text()
        return self.printed

    def logs(self) -> str:
        logs = sorted((self.folder / "reader").glob("*.log"))
        return "".join(f"\n{log.name}:\n{log.read_text()[-3000:]}" for log in logs)

    def _environment(self) -> dict[str, str]:
        reader = str(self.folder / "reader")
        return clean_environment(self.folder, PYTHONPATH=str(ROOT), READER=reader, **_PERSON, **self.extra)


def free_ports() -> int:
    """The first of three ports in a row that nobody listens on."""
    while True:
        with socket.socket() as first, socket.socket() as second, socket.socket() as third:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
                third.bind(("127.0.0.1", port + 2))
            except OSError:
                continue
            return port
