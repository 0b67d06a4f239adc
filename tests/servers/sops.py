"""Encrypts with the real sops program, for throw-away keys."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.servers.programs import clean_environment, program

SECRET_FIELDS = ("--encrypted-regex", "^(data|stringData)$")


@dataclass(frozen=True)
class AgeKey:
    """A key of age: who has the identity can open what is encrypted for the recipient."""

    identity: str
    recipient: str

    @classmethod
    def make(cls) -> AgeKey:
        done = subprocess.run([program("age-keygen")], check=True, capture_output=True, text=True)
        lines = done.stdout.splitlines()
        recipient = next(line.rpartition(" ")[2] for line in lines if line.startswith("# public key"))
        return cls(next(line for line in lines if line.startswith("AGE-SECRET-KEY-")), recipient)


def encrypt(
    folder: Path,
    text: str | bytes,
    *arguments: str,
    age: AgeKey | None = None,
    format_: str = "yaml",
    environment: Mapping[str, str] | None = None,
    config: str = "",
) -> bytes:
    """Encrypt `text`.

    Args:
        arguments: further ones of `sops encrypt`.
        config: a .sops.yaml.
        format_: what it is; also what it is when it is encrypted, but for "binary".
    """
    data = text.encode() if isinstance(text, str) else text
    output = "json" if format_ == "binary" else format_
    types = ["--input-type", format_, "--output-type", output, "--filename-override", f"file.{format_}"]
    recipients = ["--age", age.recipient] if age else []
    (folder / ".sops.yaml").write_text(config)
    told = ["--config", str(folder / ".sops.yaml")] if config else []
    done = subprocess.run(
        [program("sops"), "--disable-version-check", *told, "encrypt", *types, *recipients, *arguments],
        check=False,
        input=data,
        capture_output=True,
        cwd=folder,
        env=clean_environment(folder, **(environment or {})),
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
