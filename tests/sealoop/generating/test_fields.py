"""`sealoop fields`: the tables on the pages of the kinds say what the classes say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from click.testing import CliRunner, Result

from gitops_core.api.fields import Duration, LocalReference
from gitops_core.meta import Wire
from gitops_core.schema import UNSUPPORTED, only
from sealoop.generating.fields import Field, list_spec_fields, write_page
from sealoop.generating.tables import begin, end
from sealoop.main import main
from sealoop.wiring import KINDS


def called(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["fields", *map(str, words)])


def pages(folder: Path) -> None:
    for kind in KINDS:
        (folder / write_page(kind)).write_text(f"# Page\n{begin('fields')}\nold\n{end('fields')}\nafter\n")


class Inner(Wire):
    """One of them.

    And more.
    """

    long_name: str
    hidden: Annotated[str, UNSUPPORTED] = ""


class Spec(Wire):
    every: Duration | None = None
    kind: Annotated[Literal["A", "B"], only("A")] = "A"
    many: tuple[Inner, ...] = ()
    later: Annotated[LocalReference | None, UNSUPPORTED] = None
    labels: dict[str, str] = {}
    wait: bool = False


def test_each_field_has_a_row_and_what_nothing_acts_on_is_marked_and_not_opened() -> None:
    assert list(list_spec_fields(Spec)) == [
        Field("every", "duration", "", ""),
        Field("kind", "`A`, `B`", "`A`", "only `A` is acted on yet"),
        Field("many", "list of object", "", "One of them."),
        Field("many[].longName", "string", "required", ""),
        Field("many[].hidden", "string", "", "**not acted on yet**"),
        Field("later", "object", "", "**not acted on yet**"),
        Field("labels", "map of string", "", ""),
        Field("wait", "boolean", "`false`", ""),
    ]


def test_a_check_names_what_is_stale_and_writes_nothing(tmp_path: Path) -> None:
    pages(tmp_path)

    checked, untouched = called(tmp_path, "--check"), (tmp_path / "receiver.md").read_text()
    written = called(tmp_path)

    assert checked.exit_code == 1
    assert f"updateguard.md out of date; run `sealoop fields {tmp_path}`" in checked.output
    assert untouched == f"# Page\n{begin('fields')}\nold\n{end('fields')}\nafter\n"
    assert written.output == f"{tmp_path}: {len(KINDS)} pages, {len(KINDS)} changed\n"
    assert (tmp_path / "receiver.md").read_text().endswith(f"|\n{end('fields')}\nafter\n")
    assert called(tmp_path, "--check").exit_code == 0
    assert called(tmp_path).output == f"{tmp_path}: {len(KINDS)} pages, 0 changed\n"


def test_a_kind_without_a_page_is_one_sentence(tmp_path: Path) -> None:
    refused = called(tmp_path)

    assert refused.exit_code == 1
    assert refused.output.startswith(f"Error: {tmp_path / 'gitrepository.md'}: no lines ")
