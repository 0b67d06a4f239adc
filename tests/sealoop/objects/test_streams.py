"""Manifests of the command line are read as kubectl reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.render.manifests import Malformed
from sealoop.main import main
from sealoop.objects.streams import decode

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)


def read(text: str) -> list[tuple[int, Any]]:
    return list(decode(text.encode()))


@given(st.lists(OBJECTS, min_size=1, max_size=4), st.booleans(), st.sampled_from(["", "\n", " \r\n\t"]))
def test_objects_of_json_are_read_as_they_were_written(found: list[Any], ascii_only: bool, between: str) -> None:
    text = between.join(json.dumps(each, ensure_ascii=ascii_only) for each in found)

    assert [value for _, value in read(text)] == found


def test_documents_are_named_by_the_line_they_begin_at() -> None:
    assert read('\n{"a":\n 1}\n\n{"b": 2}{"c": 3}') == [(2, {"a": 1}), (5, {"b": 2}), (5, {"c": 3})]


def test_a_text_that_begins_with_a_brace_and_is_not_json_may_be_yaml() -> None:
    assert read("{a: 1, b: [x, y]}\n---\nc: 2") == [(1, {"a": 1, "b": ["x", "y"]}), (3, {"c": 2})]


def test_half_a_surrogate_pair_is_read_as_go_reads_it() -> None:
    assert read('{"a\\udc00": ["\\ud800", "\\ud83d\\ude00"]}') == [(1, {"a\ufffd": ["\ufffd", "😀"]})]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1}\n{"b": 1,\n"b": 2}', "mapping key 'b' already defined"),
        ('{"a": NaN}', "NaN is no number that JSON can say"),
        ('{"a": -1e999}', "-1e999 is no number that JSON can say"),
        ('{"a": ' + "9" * 5000 + "}", r"99999999999999999999\.\.\. is no number that JSON can say"),
        ('{"a": ' * 201 + "1" + "}" * 201, "nested more than 200 deep"),
        ('{"a": ' * 100_000 + "1" + "}" * 100_000, "nested more than 200 deep"),
    ],
)
def test_json_that_cannot_be_taken_is_refused(text: str, problem: str) -> None:
    with pytest.raises(Malformed, match=problem):
        read(text)


def test_an_emoji_in_json_is_applied(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    maps = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": n}, "data": {"face": "😀"}} for n in "ab"]

    applied = CliRunner().invoke(
        main, ["apply", "--local", state, "-f", "-"], input="".join(json.dumps(each) for each in maps)
    )
    shown = CliRunner().invoke(main, ["get", "cm", "b", "-o=json", "--local", state])

    assert applied.exit_code == 0, applied.output
    assert json.loads(shown.output)["data"] == {"face": "😀"}


@pytest.mark.parametrize("text", ["", "\n---\n# nothing\n", "{}", '{"apiVersion": "v1", "kind": "List", "items": []}'])
def test_a_stream_without_objects_is_an_error(tmp_path: Path, text: str) -> None:
    applied = CliRunner().invoke(main, ["apply", "--local", str(tmp_path / "state"), "-f", "-"], input=text)

    assert (applied.exit_code, applied.stderr) == (1, "Error: no objects in standard input\n")


@pytest.mark.parametrize(
    "metadata",
    [{"name": "a\x1b[2Jb"}, {"name": "a", "namespace": "b\x1b[2J"}, {"name": "a", "labels": {"\x1b[2J": "b"}}],
)
def test_a_manifests_text_does_not_steer_the_terminal(tmp_path: Path, metadata: dict[str, Any]) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    stream = json.dumps(manifest) * 2 + json.dumps({"apiVersion": "v1", "kind": "Thing\x1b[2J", "metadata": metadata})

    refused = CliRunner().invoke(main, ["apply", "--local", str(tmp_path / "state"), "-f", "-"], input=stream)
    once = stream[len(json.dumps(manifest)) :]
    applied = CliRunner().invoke(main, ["apply", "--local", str(tmp_path / "state"), "-f", "-"], input=once)

    assert (refused.exit_code, applied.exit_code) == (1, 1)
    assert "already defined" in refused.stderr
    assert "[2J" in applied.stderr
    assert "\x1b" not in refused.output + applied.output
