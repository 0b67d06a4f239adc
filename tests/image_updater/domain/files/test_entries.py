"""A document read by its entries is the document read as a whole, whatever stands in column 0."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from image_updater.domain.files.entries import runs_of, walk_document
from image_updater.domain.files.markers import SCREEN, Unparsable
from image_updater.domain.files.walks import Walked, count_events, walk

MARK = '# {"$imagepolicy": "shop:app:tag"}'
PIECES = (
    *(
        "kind: Pod\n",
        "metadata:\n",
        "  name: x\n",
        "metadata: {name: y,\n",
        "namespace: z}\n",
        '"kind": q\n',
        "kind : r\n",
    ),
    *(
        "a: 1.0 MARK\n",
        "b: x\n",
        "b:\n",
        "- 1.0 MARK\n",
        "  - '1.0' MARK\n",
        "- kind: s\n",
        "  c: 1.0 MARK\n",
        "k: MARK\n",
    ),
    *(
        "MARK\n",
        "# x\n",
        "\n",
        " ",
        "\t",
        "d: |\n",
        "d: >2-\n",
        "e: 1.0 MARK\n  f: 2\n",
        "   text\n",
        "text\n",
        "g: [x,\n",
    ),
    *(
        "h: {y: 1.0, MARK\n",
        "i: ]\n",
        "]\n",
        "}\n",
        "j: 1, MARK\n",
        'l: "x\n',
        'm: "\n',
        'n: z"\n',
        "'\n",
        "o: '\n",
        "p: it's\n",
    ),
    *(
        "? 1.0 MARK\n",
        ": '1\n  .0' MARK\n",
        "q: &x 1.0 MARK\n",
        "r: *x\n",
        "*x : s\n",
        "s: &y\n",
        "t: !!str\n",
        "!!str kind: u\n",
    ),
    *(
        "---\n",
        "--- # x\n",
        "--- |\n",
        "--- &z\n",
        "...\n",
        "%YAML 1.1\n",
        "# \r",
        "u: v\r",
        "w: \u2028",
        "\x85",
        "\ufeff",
        "kind:\tt\n",
    ),
    *(
        "<<: *x\n",
        "items:\n",
        "- metadata: {name: v}\n",
        "apiVersion: v1\n",
        "kind: List\n",
        "`",
        "@",
        "x:y\n",
        "metadata",
    ),
)


def outcome(text: str, by: Callable[[str, list[int], int, int], Walked]) -> Walked | str:
    tokens = [match.start() for match in re.finditer(re.escape(SCREEN), text)]
    try:
        return by(text, tokens, 7, 3)
    except Unparsable as error:
        return str(error)


def check(text: str) -> None:
    by_entries, whole = outcome(text, walk_document), outcome(text, walk)
    if isinstance(whole, Walked):
        assert whole.events == count_events(text)
        whole = whole._replace(digest=b"")
    if isinstance(by_entries, Walked):
        by_entries = by_entries._replace(digest=b"")
    assert by_entries == whole


@given(st.lists(st.sampled_from(PIECES), min_size=3, max_size=10), st.sampled_from(["\n", "\r\n"]))
@example(["b: x\n", 'l: "x\n', "a: 1.0 MARK\n", 'm: "\n'], "\n")
@example(["b: x\n", "g: [x,\n", "j: 1, MARK\n", "i: ]\n"], "\n")
@example(["d: |\n", "a: 1.0 MARK\n", "b: x\n"], "\n")
@settings(deadline=None, max_examples=600)
def test_a_document_read_by_entries_is_the_document(pieces: list[str], end: str) -> None:
    check("".join(pieces).replace("MARK", MARK).replace("\n", end))


@given(
    st.text(alphabet="ab: \n-#[]{}\"'|>?&*!%.", max_size=40), st.text(alphabet="ab: \n-#[]{}\"'|>?&*!%.", max_size=40)
)
@settings(deadline=None, max_examples=200)
def test_any_text_around_a_marker_is_read_as_a_whole_is(above: str, below: str) -> None:
    check(f"k: v\n{above}\na: 1.0 {MARK}\nb: c\n{below}\nd: e\n")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "---\n", "--- # x\n# y\n\n"])
def test_entries_without_markers_are_not_followed(start: str, end: str) -> None:
    text = f"{start}a: b\nkind: Pod\nmetadata:\n  name: x\nc: |\n  d\ne: 1.0 {MARK}\nf: [g, h]\n".replace("\n", end)

    runs = runs_of(text, [text.index(SCREEN)])

    said = [text[run.start : run.end].removeprefix(start.replace("\n", end))[0] for run in runs if not run.followed]
    assert said == (["c", "f"] if start else ["a", "c", "f"])
    assert "".join(text[run.start : run.end] for run in runs) == text
    check(text)
