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
    assert shown.stdout == (
        "error: a.yaml:1: unmatched: default:nobody: no policy of this namespace has this name and chose an image\n"
        "error: b.yaml:1: unmatched: default:web: the marker stands behind a flow sequence or mapping: give the value a"
        " line of its own\n"
    )


def test_targets_that_lead_nowhere_are_errors(tmp_path: Path) -> None:
    targets = [
        {"file": "gone.yaml", "policy": "web", "path": "tag", "value": "tag"},
        {"file": "a.yaml", "policy": "web", "path": "gone", "value": "tag"},
    ]
    guard = flux("sealoop.dev", "UpdateGuard", "g", targets=targets) | {"apiVersion": "sealoop.dev/v1alpha1"}
    off = {"suspend": True, "targets": [{**targets[0], "file": "off.yaml"}]}
    other = {**guard, "metadata": {**guard["metadata"], "name": "off"}, "spec": off}

    shown = linted(tmp_path, repository(), policy(), guard, other, files={"a.yaml": "tag: 1"})

    assert shown.exit_code == 1
    assert shown.stdout == (
        "error: a.yaml: unparsable: default:web:tag: there is no 'gone', and nothing is inserted\n"
        "error: gone.yaml: unmatched: default:web:tag: no file of this folder has such a name\n"
    )


def test_a_policy_in_one_of_several_folders_is_not_missing_in_the_others(tmp_path: Path) -> None:
    target = {"file": "values.yaml", "policy": "web", "path": "tag", "value": "tag"}
    guard = flux("sealoop.dev", "UpdateGuard", "g", targets=[target]) | {"apiVersion": "sealoop.dev/v1alpha1"}
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.yaml").write_text('image: x:1 # {"$imagepolicy": "default:no"}\n')

    shown = linted(tmp_path, repository(), policy(), guard, files={"values.yaml": "tag: 1"}, more=str(other))

    cause = "no policy of this namespace has this name and chose an image"
    assert shown.stdout == f"error: {other}/a.yaml:1: unmatched: default:no: {cause}\n"


def test_a_probable_mistake_is_a_warning(tmp_path: Path) -> None:
    files = {
        "a.yaml": 'newTag: 1.0.0 # {"$imagepolicy": "default:web"}\n',
        "b.yaml": 'args:\n- IMAGE=x:1 # {"$imagepolicy": "default:web"}\n',
        "c.yaml": 'image: x:1 # {"$imagePolicy": "default:web"}\n',
        "d.txt": 'image: x:1 # {"$imagePolicy": "default:web"}\n',
    }

    shown = linted(tmp_path, repository(), policy(), files=files)

    assert shown.exit_code == 0, shown.output
    assert [line.partition(": ")[2][:8] for line in shown.stdout.splitlines()] == ["a.yaml:1", "b.yaml:2", "c.yaml:1"]
    assert shown.stdout.count("warning: ") == 3


def test_a_policy_that_reflects_no_digest_holds_digests(tmp_path: Path) -> None:
    files = {"a.yaml": 'digest: sha256:0 # {"$imagepolicy": "default:web:digest"}\n'}

    shown = linted(tmp_path, repository(), policy(digestReflectionPolicy="Never"), files=files)

    cause = "held: default:web:digest: the policy has no such value: a value is never emptied"
    assert (shown.exit_code, shown.stdout) == (0, f"warning: a.yaml:1: {cause}\n")


def test_a_good_folder_passes(tmp_path: Path) -> None:
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
    files = {
        "a.yaml": 'image: x:1 # {"$imagepolicy": "default:elsewhere"}\ntag: x # {"$imagepolicy": "default:any:tga"}',
        "b.yaml": '- |\n  image: x:1 # {"$imagepolicy": "default:elsewhere"}\n',
    }

    shown = linted(tmp_path, policy(), files=files, more="--partial")

    assert shown.exit_code == 1, shown.output
    assert shown.stdout.splitlines() == [
        "error: a.yaml:2: unmatched: default:any:tga: there is no 'tga' of an image: there are tag, name and digest",
        "error: b.yaml:2: unmatched: default:elsewhere: the marker is inside a block scalar, where a comment is text",
    ]
