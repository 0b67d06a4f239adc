"""Flags are read as kubectl reads them."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sealoop.flags import normalize
from sealoop.main import main
from sealoop.objects.commands import delete, get

GET, DELETE = get.params, delete.params


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["ks", "-o=name"], ["ks", "-o", "name"]),
        (["ks", "-oname"], ["ks", "-o", "name"]),
        (["ks", "-o", "=name"], ["ks", "-o", "=name"]),
        (["ks", "-n=shop"], ["ks", "-n", "shop"]),
        (["ks", "-l=app=web"], ["ks", "-l", "app=web"]),
        (["ks", "-l="], ["ks", "-l", ""]),
        (["ks", "-lapp=web"], ["ks", "-l", "app=web"]),
        (["ks", "-l", "-o=name"], ["ks", "-l", "-o=name"]),
        (["ks", "--selector", "-o=name"], ["ks", "--selector", "-o=name"]),
        (["ks", "--selector=-o=name"], ["ks", "--selector=-o=name"]),
        (["ks", "-Awo=name"], ["ks", "-A", "-w", "-o", "name"]),
        (["ks", "-A=true", "-w=false"], ["ks", "-A"]),
        (["ks", "--watch=true", "--all-namespaces=F"], ["ks", "--watch"]),
        (["ks", "--", "-o=name"], ["ks", "--", "-o=name"]),
        (["ks", "-"], ["ks", "-"]),
        (["ks", "-x=1", "--what=ever", "-A=maybe"], ["ks", "-x=1", "--what=ever", "-A", "-=maybe"]),
        (["ks", "-o"], ["ks", "-o"]),
    ],
)
def test_a_flag_is_rewritten_to_what_click_takes(given: list[str], read: list[str]) -> None:
    assert normalize(given, GET) == read


def test_an_optional_value_is_only_taken_behind_its_equals_sign() -> None:
    assert normalize(["cm/a", "--dry-run", "-n=x"], DELETE) == ["cm/a", "--dry-run", "-n", "x"]


def test_a_switch_with_a_word_for_no_says_it() -> None:
    switch = click.Option(["--wait/--no-wait"], default=True)

    assert normalize(["--wait=false", "--no-wait=false", "--wait=true"], [switch]) == ["--no-wait", "--wait", "--wait"]


def test_the_program_takes_flags_as_kubectl_does(tmp_path: Path) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"app": "web"}}}
    file, state = tmp_path / "a.json", str(tmp_path / "state")
    file.write_text(json.dumps(manifest))
    runner = CliRunner()

    applied = runner.invoke(main, ["-n=default", "apply", "--local", state, f"-f={file}"])
    named = [
        runner.invoke(main, ["get", "cm", "--local", state, *flags]).stdout
        for flags in (["-o=name"], ["-l=app=web", "-Ao=name"], ["-l=", "-oname", "-w=false"], ["-l=app=db", "-o=name"])
    ]

    assert applied.exit_code == 0, applied.output
    assert [output.split() for output in named] == [["configmap/a"], ["configmap/a"], ["configmap/a"], []]
