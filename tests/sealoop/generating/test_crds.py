"""`sealoop crds`: what is in deploy/crds is what the classes say."""

from __future__ import annotations

from pathlib import Path

import yaml
from click.testing import CliRunner, Result

from gitops_core.schema import write_crds
from sealoop.main import main
from sealoop.wiring import KINDS

DEPLOYED = Path(__file__).parents[3] / "deploy" / "crds"


def called(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["crds", *map(str, words)])


def test_the_generated_files_are_up_to_date() -> None:
    assert {path.name: path.read_text() for path in DEPLOYED.iterdir()} == write_crds(KINDS)
    assert called(DEPLOYED, "--check").exit_code == 0


def test_a_folder_is_brought_up_to_date_and_nothing_of_others_is_touched(tmp_path: Path) -> None:
    gone = tmp_path / f"{KINDS[0].KIND.group}_gone.yaml"
    others = tmp_path / "values.yaml"
    gone.write_text("kind: Gone")
    others.write_text("mine: true")

    first, again = called(tmp_path), called(tmp_path)

    assert first.output == f"{tmp_path}: {len(KINDS)} CRDs, {len(KINDS) + 1} changed\n"
    assert again.output == f"{tmp_path}: {len(KINDS)} CRDs, 0 changed\n"
    assert {path.name for path in tmp_path.iterdir()} == {*write_crds(KINDS), "values.yaml"}
    assert others.read_text() == "mine: true"


def test_a_check_names_what_is_stale_and_writes_nothing(tmp_path: Path) -> None:
    called(tmp_path)
    stale = sorted(tmp_path.iterdir())[2]
    stale.write_text("kind: Old")

    checked = called(tmp_path, "--check")

    assert checked.exit_code == 1
    assert f"{stale.name} out of date; run `sealoop crds {tmp_path}`" in checked.output
    assert stale.read_text() == "kind: Old"


def test_they_can_be_printed_for_kubectl() -> None:
    printed = list(yaml.safe_load_all(called("-").output))

    assert [crd["spec"]["names"]["kind"] for crd in printed] == [kind.KIND.kind for kind in KINDS]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    refused = called(tmp_path / "file" / "below")

    assert refused.exit_code == 1
    assert refused.output.startswith("Error: ")
    assert "Not a directory" in refused.output
