"""`sealoop secrets lint` on checkouts that somebody made for the harm of it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys

import pytest

from gitops_core.domain.lint.checkout import MAX_FILE, lint_file
from gitops_core.domain.lint.context import Context
from gitops_core.domain.lint.findings import MOST_ALLOWED, MOST_OF_A_RULE
from sealoop.secrets.looking import look
from tests.sealoop.secrets.conftest import Checkout
from tests.sealoop.secrets.test_lint import called, kustomization, linted, secret
from tests.servers.programs import ROOT

IDENTITY = "AGE-SECRET-KEY-1" + "Q" * 58
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"kind: Secret\n{BOMB}", ":7"),
        (f"kind: Secret\na: {'[' * 100_000}", ":2"),
        ('{"kind": "Secret", "a": ' + '{"a": ' * 100_000, ":1"),
        (f"kind: Secret\na: [{'x,' * 210_000}]", ":2"),
        ("kind: Secret\na: &a [*a]\n", ":2"),
        ("kind: Secret\na: \udcff\n", ""),
        ("kind: Secret\na: 'hunter2\n", ":3"),
    ],
    ids=["bomb", "deep", "deep JSON", "values", "circle", "no UTF-8", "no YAML"],
)
def test_a_file_that_cannot_be_read_as_yaml_is_told_and_quoted_nowhere(
    checkout: Checkout, text: str, line: str
) -> None:
    (checkout.folder / "a.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    (checkout.folder / "b.yaml").write_text(secret())

    assert linted() == ["error b.yaml:7 plain-secret", f"warning a.yaml{line} unparsed"]
    assert "hunter2\n" not in called().output


def test_pipes_devices_and_loops_of_links_are_passed_over(checkout: Checkout) -> None:
    os.mkfifo(checkout.folder / "pipe.yaml")
    (checkout.folder / "zero.yaml").symlink_to("/dev/zero")
    (checkout.folder / "loop").symlink_to(".")
    checkout.write({"a.yaml": secret()})

    assert linted() == ["error a.yaml:7 plain-secret"]


def test_of_a_huge_file_only_the_beginning_is_searched(checkout: Checkout) -> None:
    with (checkout.folder / "big.yaml").open("wb") as file:
        file.write(f"{IDENTITY}\n{'x' * 10_000}\n{secret()}".encode())
        file.truncate(1 << 40)  # of holes
    (checkout.folder / "image.bin").write_bytes(b"\0")
    os.truncate(checkout.folder / "image.bin", 1 << 40)

    assert linted() == ["error big.yaml:1 private-key", "warning big.yaml too-large"]


def test_names_that_are_no_text_or_steer_a_terminal_are_shown_harmlessly(checkout: Checkout) -> None:
    for name in (b"bad\xff.yaml", b"a\x1b[2J.yaml", b"-o.yaml", b"new\nline.yaml"):
        with open(os.path.join(os.fsencode(checkout.folder), name), "w") as file:
            file.write(secret())

    shown = called()

    assert len(shown.stdout.splitlines()) == 4
    assert "\x1b" not in shown.stdout
    assert called("-o", "json").exit_code == 1


def test_a_file_that_may_not_be_read_is_an_error(checkout: Checkout) -> None:
    checkout.write({"a.yaml": secret(), ".sops.yaml": "creation_rules: []\n"})
    for name in ("a.yaml", ".sops.yaml"):
        (checkout.folder / name).chmod(0)
    without_rights = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    command = [*without_rights, sys.executable, "-m", "sealoop", "secrets", "lint"]

    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})

    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"error: {name}: it cannot be read: permission denied [unreadable]" for name in (".sops.yaml", "a.yaml")
    ]


def test_when_the_time_is_over_it_says_what_is_left(checkout: Checkout) -> None:
    checkout.write({f"{number}.yaml": secret() for number in range(3)})

    found = look((".",), (), timeout=-1.0)

    assert (found.files, found.findings) == (0, ())
    assert found.cause.startswith(f"only 0 of 3 files of {checkout.folder} were looked at")


def test_ten_thousand_of_everything_are_a_few_findings(checkout: Checkout) -> None:
    lines = 10_000
    texts = {
        "keys.txt": f"{IDENTITY}\n" * lines,
        "headers.txt": "-----BEGIN PRIVATE KEY-----\n" * lines,
        "encoded.txt": base64.b64encode(IDENTITY.encode()).decode() * lines,
        "allow.yaml": "# sealoop:allow plain-secret\n" * lines + "a: b\n",
        "secrets.yaml": "---\n".join(secret(str(number)) for number in range(2000)),
        "kustomization.yaml": kustomization("secretGenerator:\n" + "- files: [keys.txt]\n" * 2000),
    }

    for name, text in texts.items():
        report = lint_file(name, text.encode(), Context())
        assert len(report.findings) <= MOST_OF_A_RULE
        assert len(report.allowances) <= MOST_ALLOWED

    checkout.write(texts)
    assert len(linted()) <= MOST_ALLOWED + MOST_OF_A_RULE * len(texts)


def test_a_file_of_the_largest_size_is_looked_at_whole() -> None:
    data = b"a: b\n" * (MAX_FILE // 5) + f"{IDENTITY}\n".encode()

    assert [one.rule for one in lint_file("a.txt", data[-MAX_FILE:], Context()).findings] == ["private-key"]
    assert [one.rule for one in lint_file("a.txt", data + b"x", Context()).findings] == ["private-key", "too-large"]
