"""Real keys of age, and files that the real sops encrypts with them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.programs import program


@dataclass(frozen=True)
class Keys:
    """Attributes:
    recipients: of two people.
    identity: of the first.
    """

    recipients: tuple[str, str]
    identity: str


@pytest.fixture(scope="session")
def keys() -> Keys:
    made = [subprocess.run([program("age-keygen")], capture_output=True, text=True, check=True).stdout for _ in "ab"]
    first, second = (found[0] for text in made if (found := re.findall(r"age1\w+", text)))
    return Keys((first, second), re.findall(r"AGE-SECRET-KEY-1\w+", made[0])[0])


@dataclass(frozen=True)
class Checkout:
    """A Git checkout, and what one does with it."""

    folder: Path
    keys: Keys

    def write(self, files: Mapping[str, str]) -> Checkout:
        for path, text in files.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_text(text)
        return self

    def encrypt(self, path: str, *options: str, for_whom: str = "") -> str:
        """Encrypt a file in place, for the first person unless it is said; returns its text."""
        chosen = options or ("--encrypted-regex", "^(data|stringData)$")
        command = [
            str(program("sops")),
            "--encrypt",
            "--in-place",
            "--age",
            for_whom or self.keys.recipients[0],
            *chosen,
            path,
        ]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)
        return self.read(path)

    def read(self, path: str) -> str:
        return (self.folder / path).read_text()

    def replace(self, path: str, old: str, new: str) -> None:
        text = self.read(path)
        assert old in text
        (self.folder / path).write_text(text.replace(old, new))

    def git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    made = Checkout(tmp_path / "fleet", keys)
    made.folder.mkdir()
    made.git("init", "-q")
    monkeypatch.chdir(made.folder)
    return made
