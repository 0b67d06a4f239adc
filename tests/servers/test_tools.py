"""Every real program that tests are promised is there and runs; sops and age open what they closed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.servers.programs import clean_environment, program

VERSIONS = {
    "age": ["--version"],
    "etcd": ["--version"],
    "flux": ["version", "--client"],
    "gitea": ["--version"],
    "helm": ["version"],
    "kube-apiserver": ["--version"],
    "kube-controller-manager": ["--version"],
    "kube-scheduler": ["--version"],
    "kubectl": ["version", "--client"],
    "kustomize": ["version"],
    "kwok": ["--version"],
    "registry": ["--version"],
    "bao": ["version"],
    "sops": ["--version", "--disable-version-check"],
}


def run(folder: Path, name: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [program(name), *arguments],
        cwd=folder, env=clean_environment(folder, **environment), text=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", VERSIONS)
def test_program_runs(name: str, tmp_path: Path) -> None:
    assert any(character.isdigit() for character in run(tmp_path, name, *VERSIONS[name]))


def test_sops_opens_with_an_age_key_what_it_closed(tmp_path: Path) -> None:
    run(tmp_path, "age-keygen", "-o", "key.txt")
    recipient = run(tmp_path, "age-keygen", "-y", "key.txt").strip()
    secret = tmp_path / "secret.yaml"
    secret.write_text("stringData:\n  password: hunter-2\n")

    closed = run(tmp_path, "sops", "--encrypt", "--age", recipient, "--encrypted-regex", "^stringData$", str(secret))
    secret.write_text(closed)
    opened = run(tmp_path, "sops", "--decrypt", str(secret), SOPS_AGE_KEY_FILE=os.fspath(tmp_path / "key.txt"))

    assert "hunter-2" not in closed
    assert opened.endswith("password: hunter-2\n")


def test_a_missing_program_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(FileNotFoundError, match="'no-such-program': `make tools` builds it"):
        program("no-such-program")
