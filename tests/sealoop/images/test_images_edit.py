"""`sealoop images edit`: a folder's marked values set from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sealoop.main import main
from tests.servers.git import git
from tests.servers.programs import clean_environment

BEFORE = b'image: x/web:1.0 # {"$imagepolicy": "shop:web"}\r\ntag: 1.0 # {"$imagepolicy": "shop:web:tag"}'
AFTER = BEFORE.replace(b"x/web:1.0", b"x/web:1.10").replace(b"tag: 1.0", b'tag: "1.10"')
SET = ("--set", "shop:web=x/web:1.10")


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["images", "edit", *map(str, args)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fleet = tmp_path / "fleet"
    (fleet / "apps").mkdir(parents=True)
    (fleet / "apps" / "web.yaml").write_bytes(BEFORE)
    (fleet / "README.md").write_text("nothing here\n")
    return fleet


def test_marked_values_are_set_in_place_and_the_mode_stays(folder: Path) -> None:
    file = folder / "apps" / "web.yaml"
    file.chmod(0o640)

    result = run(*SET, folder)

    assert result.exit_code == 0
    assert file.read_bytes() == AFTER
    assert file.stat().st_mode & 0o777 == 0o640
    assert result.stderr == "2 values in 1 file set\n"
    assert sorted(path.name for path in file.parent.iterdir()) == ["web.yaml"]


async def test_a_dry_run_prints_what_git_can_apply(folder: Path, tmp_path: Path) -> None:
    result = run(*SET, "--dry-run", folder)

    assert result.exit_code == 3
    assert (folder / "apps" / "web.yaml").read_bytes() == BEFORE
    (tmp_path / "diff").write_bytes(result.stdout_bytes)
    await git("-C", str(folder), "apply", str(tmp_path / "diff"))
    assert (folder / "apps" / "web.yaml").read_bytes() == AFTER
    assert run(*SET, "--dry-run", folder).exit_code == 0


def test_the_inventory_as_json_names_every_place(folder: Path) -> None:
    (folder / "b.yaml").write_text('a: 1 # {"$imagepolicy": "shop:other"}\nb: [\n')
    (folder / "c.json").write_text('{"a": "# {\\"$imagepolicy\\""}')
    (folder / "d.yml").write_text('a: 1 # {"$imagepolicy": "shop:other"}\n')

    result = run(*SET, "-o", "json", folder)

    found = json.loads(result.stdout)
    assert [(change["file"], change["new"]) for change in found["changes"]] == [
        ("apps/web.yaml", "x/web:1.10"),
        ("apps/web.yaml", "1.10"),
    ]
    assert [(place["file"], place["line"], place["state"]) for place in found["inventory"]] == [
        ("apps/web.yaml", 1, "applied"),
        ("apps/web.yaml", 2, "applied"),
        ("b.yaml", 1, "unparsable"),
        ("d.yml", 1, "unmatched"),
    ]
    assert "d.yml:1: unmatched: shop:other: " in result.stderr


def test_links_and_gits_own_files_are_left_alone(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "x").mkdir(parents=True)
    (outside / "x" / "web.yaml").write_bytes(BEFORE)
    (folder / "linked").symlink_to(outside / "x")
    (folder / "web.yaml").symlink_to(outside / "x" / "web.yaml")
    (folder / ".git").mkdir()
    (folder / ".git" / "web.yaml").write_bytes(BEFORE)

    assert run(*SET, folder).exit_code == 0

    assert (folder / "apps" / "web.yaml").read_bytes() == AFTER
    assert (outside / "x" / "web.yaml").read_bytes() == BEFORE
    assert (folder / ".git" / "web.yaml").read_bytes() == BEFORE
    assert (folder / "web.yaml").is_symlink()


def test_targets_of_a_guard_are_set_too(folder: Path, tmp_path: Path) -> None:
    (folder / "values.json").write_text('{"tag": "1.0"}')
    guard = tmp_path / "guard.yaml"
    guard.write_text(
        "apiVersion: sealoop.dev/v1alpha1\nkind: UpdateGuard\nmetadata: {name: g, namespace: shop}\n"
        "spec: {targets: [{file: '*.json', policy: web, path: tag, value: tag}]}\n"
    )

    assert run(*SET, "--targets", guard, folder).exit_code == 0

    assert (folder / "values.json").read_text() == '{"tag": "1.10"}'


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "say what to set: --set NAMESPACE:NAME=IMAGE:TAG"),
        (("--set", "web=x:1"), "--set web=x:1 is not of the form NAMESPACE:NAME=IMAGE:TAG[@DIGEST]"),
        (("--set", "a:b=host:5000/org/x"), "--set a:b=host:5000/org/x names no tag: IMAGE:TAG"),
        (("--set", "a:b=X Y:1"), "--set a:b=X Y:1 is not of the form NAMESPACE:NAME=IMAGE:TAG[@DIGEST]"),
        (("--set", "a:b=x/y:1@sha256:0"), "--set a:b=x/y:1@sha256:0: "),
        ((*SET, "--set", "shop:web=x/web:2"), "--set shop:web is there twice with two images"),
        ((*SET, "-f", "/nowhere.yaml"), "/nowhere.yaml cannot be read: No such file or directory"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_told_in_a_sentence(
    folder: Path, args: tuple[str, ...], message: str
) -> None:
    result = run(*args, folder)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {message}")
    assert (folder / "apps" / "web.yaml").read_bytes() == BEFORE


def test_a_dry_run_that_would_change_something_ends_otherwise_than_a_mistyped_option(folder: Path) -> None:
    codes = [
        run(*SET, *options, folder).exit_code for options in (["--dry-run"], ["--dry-urn"], ["--dry-run", "-f", "/no"])
    ]

    assert codes == [3, 2, 1]
    assert run(*SET, folder).exit_code == 0
    assert run(*SET, "--dry-run", folder).exit_code == 0


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = run(*SET, tmp_path / "none")

    assert (result.exit_code, result.stderr) == (1, f"Error: {tmp_path}/none: no such file or directory\n")


def test_the_real_program_edits_one_file(folder: Path, tmp_path: Path) -> None:
    file = folder / "apps" / "web.yaml"
    command = [sys.executable, "-m", "sealoop", "images", "edit", *SET, str(file)]

    done = subprocess.run(command, env=clean_environment(tmp_path), capture_output=True, check=False, cwd=os.getcwd())

    assert (done.returncode, done.stderr) == (0, b"2 values in 1 file set\n")
    assert file.read_bytes() == AFTER
