"""The command line: every command is there, helps, and answers at once."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sealoop.main import COMMANDS, main

HEAVY = {"aiohttp", "asyncio", "kubernetes", "msgspec", "yaml", "prometheus_client", "gitops_core", "secrets_sync"}


def called(*words: str) -> Result:
    return CliRunner().invoke(main, words, prog_name="sealoop")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_imported_and_helps(name: str) -> None:
    shown = called(name, "--help")

    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith(f"Usage: sealoop {name} ")
    assert called(name, "-h").output == shown.output


@pytest.mark.parametrize("name", ["apply", "get", "delete", "run", "crds"])
def test_help_shows_examples(name: str) -> None:
    assert f"Examples:\n    sealoop {name}" in called(name, "--help").output


def test_help_names_every_command() -> None:
    shown = called("--help").output

    for name, (_, about) in COMMANDS.items():
        assert f"  {name}" in shown
        assert about in shown


def test_the_version_is_that_of_the_package() -> None:
    assert called("--version").output == f"sealoop, version {version('sealoop')}\n"


@pytest.mark.parametrize(
    ("word", "advice"), [("gte", "Did you mean 'get'?"), ("frobnicate", "There is run, demo, apply")]
)
def test_an_unknown_command_is_answered_with_those_that_there_are(word: str, advice: str) -> None:
    shown = called(word)

    assert shown.exit_code == 2
    assert f"No such command '{word}'. {advice}" in shown.output


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "Usage: sealoop"),
        (("get",), "Missing argument"),
        (("get", "ks", "-o", "table"), "'table' is not one of"),
        (("apply",), "say what to apply: -f FILE"),
        (("apply", "-f", "x", "--dry-run=client"), "'client' is not one of"),
        (("delete",), "say what to delete"),
        (("delete", "ks"), "say which ks to delete"),
        (("delete", "ks", "a", "--all"), "the objects are named"),
        (("delete", "ks", "-l", "a=b", "--all"), "leave one out"),
        (("delete", "-f", "x", "--all"), "leave out -l and --all"),
        (("delete", "ks/a", "-f", "x"), "say what to delete"),
        (("delete", "ks/a", "--timeout", "soon"), "'soon' is not a duration like 30s"),
        (("delete", "ks/a", "--timeout", "-3s"), "must not be negative"),
        (("run", "-f", "x"), "-f goes with --local"),
        (("run", "--grace-period", "-1"), "--grace-period"),
        (("run", "--log-level", "loud"), "'loud' is not one of"),
        (("--local", "x", "--context", "y", "run"), "neither --kubeconfig nor --context"),
        (("-n",), "Usage: sealoop"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(words: tuple[str, ...], complaint: str) -> None:
    shown = called(*words)

    assert shown.exit_code == 2
    assert complaint in shown.output


@pytest.mark.parametrize("words", [("--help",), ("get", "--help"), ("run", "--help"), ("crds", "--help"), ("gte",)])
def test_help_and_mistakes_import_nothing_heavy(words: tuple[str, ...]) -> None:
    program = "import sys; from sealoop.main import main; main(standalone_mode=False)"
    script = f"import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {program}"

    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
    )

    imported = set(done.stderr.splitlines()[-1].split())
    assert "sealoop.main" in imported
    assert not imported & HEAVY
