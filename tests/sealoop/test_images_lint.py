"""`sealoop images lint`: what cannot work is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sealoop.main import main
from tests.journeys.surroundings import flux


def linted(folder: Path, *objects: dict[str, Any], files: dict[str, str] | None = None, more: str = "") -> Result:
    (folder / "objects.yaml").write_text("\n---\n".join(map(json.dumps, objects)))
    (folder / "fleet").mkdir()
    for name, text in (files or {}).items():
        (folder / "fleet" / name).write_text(text)
    words = ["images", "lint", "-f", str(folder / "objects.yaml"), str(folder / "fleet"), *more.split()]
    return CliRunner().invoke(main, words)


def repository(name: str = "web") -> dict[str, Any]:
    return flux("image", "ImageRepository", name, image="ghcr.io/o/web", interval="1m")


def policy(name: str = "web", **spec: Any) -> dict[str, Any]:
    wanted = {"imageRepositoryRef": {"name": "web"}, "policy": {"semver": {"range": ">=1"}}, **spec}
    return flux("image", "ImagePolicy", name, **wanted)


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ({"policy": {"semver": {"range": ">2 <1"}}}, "no version"),
        ({"policy": {"semver": {"range": "abc"}}}, "improper constraint"),
        ({"imageRepositoryRef": {"name": "nobody"}}, "there is no ImageRepository default/nobody"),
        ({"filterTags": {"pattern": "("}}, "missing closing )"),
        ({"filterTags": {"pattern": "^v", "extract": "$ts"}}, "no group 'ts'"),
        ({"policy": {"numerical": {"order": "up"}}}, "spec.policy.numerical.order"),
    ],
)
def test_a_policy_that_cannot_work_is_an_error(tmp_path: Path, spec: dict[str, Any], cause: str) -> None:
    shown = linted(tmp_path, repository(), policy(**spec))

    assert shown.exit_code == 1, shown.output
    assert "error: ImagePolicy default/web: " in shown.stdout
    assert cause in shown.stdout


def test_markers_that_lead_nowhere_are_errors(tmp_path: Path) -> None:
    files = {
        "a.yaml": 'image: x:1 # {"$imagepolicy": "default:nobody"}\n',
        "b.yaml": 'a: {b: x:1, c: y:1} # {"$imagepolicy": "default:web"}\nd: 1\n',
    }

    shown = linted(tmp_path, repository(), policy(), files=files)

    assert shown.exit_code == 1
    assert "error: a.yaml:1: the marker names ImagePolicy 'default:nobody', which there is not" in shown.stdout


def test_what_is_well_passes(tmp_path: Path) -> None:
    files = {"a.yaml": 'image: x:1 # {"$imagepolicy": "default:web"}\n'}

    shown = linted(tmp_path, repository(), policy(), files=files)

    assert (shown.exit_code, shown.stdout) == (0, "")
    assert shown.stderr == "2 objects, 1 places: 0 findings\n"


def test_findings_are_there_for_machines(tmp_path: Path) -> None:
    shown = linted(tmp_path, policy(), more="-o json")

    assert shown.exit_code == 1
    message = "there is no ImageRepository default/web"
    assert json.loads(shown.stdout) == [{"about": "ImagePolicy default/web", "severity": "error", "message": message}]


def test_of_what_is_elsewhere_nothing_is_missing(tmp_path: Path) -> None:
    shown = linted(tmp_path, policy(), more="--partial")

    assert shown.exit_code == 0, shown.output
