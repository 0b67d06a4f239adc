"""Laws of editing: only marked values change, whatever the file looks like."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from image_updater.api import ImageRef
from image_updater.domain.files.edits import Splice, read_by_comparing, read_by_counting, splice
from image_updater.domain.files.markers import Unparsable, setter_of
from image_updater.domain.files.plan import plan_commit, setters
from image_updater.domain.files.readings import Reading, find_markers
from image_updater.domain.files.scalars import reads_as_text, spell
from image_updater.domain.files.sightings import Sighting

slowly = settings(deadline=None, max_examples=60)  # a busy machine is no failure

NEW = ImageRef(name="ghcr.io/org/app", tag="2.0.0", digest="sha256:" + "a" * 64)
VALUES = setters("shop", {"app": NEW, "bare": ImageRef(name="bare", tag="7")})
MARK = '# {"$imagepolicy": "shop:app:tag"}'


def edited(text: str) -> str:
    return plan_commit({"f.yaml": text.encode()}, VALUES).edits.get("f.yaml", text.encode()).decode()


def with_edits(text: str, before: Reading, edits: dict[int, str]) -> str:
    places = (place for place in before.places if place.start in edits)
    return splice(text, (Splice(p.start, p.end, spell(edits[p.start], p.style)) for p in places))


def state(text: str) -> list[Sighting]:
    return list(plan_commit({"f.yaml": text.encode()}, VALUES).sightings)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"a: 1.0 {MARK}", f"a: 2.0.0 {MARK}"),
        (f"a: 1.0 {MARK}\r\nb: x\r\n", f"a: 2.0.0 {MARK}\r\nb: x\r\n"),
        (f"\ufeffa: 1.0 {MARK}\n", f"\ufeffa: 2.0.0 {MARK}\n"),
        (f"a: 1.0\t\t{MARK}\n", f"a: 2.0.0\t\t{MARK}\n"),
        (f'a: "1.0"   {MARK}\n', f'a: "2.0.0"   {MARK}\n'),
        (f"a: '1.0' {MARK}\n", f"a: '2.0.0' {MARK}\n"),
        (f"a: &x 1.0 {MARK}\nb: *x\n", f"a: &x 2.0.0 {MARK}\nb: *x\n"),
        (f"a: !!str 1.0 {MARK}\n", f"a: !!str 2.0.0 {MARK}\n"),
        (f"a: &x !!str\n  '1.0' {MARK}\n", f"a: &x !!str\n  '2.0.0' {MARK}\n"),
        (f"a: &x # why\n  1.0 {MARK}\n", f"a: &x # why\n  2.0.0 {MARK}\n"),
        (f"a: ! &x 1.0 {MARK}\n", f"a: ! &x 2.0.0 {MARK}\n"),
        (f"- 1.0 {MARK}\n- 1.0\n", f"- 2.0.0 {MARK}\n- 1.0\n"),
        (f"a:\n{MARK}\n- 1.0\n- 1.0\n", f"a:\n{MARK}\n- 2.0.0\n- 1.0\n"),
        (f"a:\r\n  - x # y\r\n  {MARK}\r\n  - '1.0'\r\n", f"a:\r\n  - x # y\r\n  {MARK}\r\n  - '2.0.0'\r\n"),
        (f"a:\n  - x\n{MARK}\n  - 1.0\n", f"a:\n  - x\n{MARK}\n  - 2.0.0\n"),
        (f"- - 1.0 {MARK}\n", f"- - 2.0.0 {MARK}\n"),
        (f"{{a: 0.9, b: 1.0, {MARK}\n c: 1}}\n", f"{{a: 0.9, b: 2.0.0, {MARK}\n c: 1}}\n"),
        (f"[0.9, 1.0 {MARK}\n]\n", f"[0.9, 2.0.0 {MARK}\n]\n"),
        (f"é😀: 1.0 {MARK}\n", f"é😀: 2.0.0 {MARK}\n"),
        (f"a: x\n  1.0 {MARK}\n", f"a: 2.0.0 {MARK}\n"),
        (f"a: 1.0 ### {MARK[2:]}\n", f"a: 2.0.0 ### {MARK[2:]}\n"),
        (f"a: 1.0 {MARK}\n---\na: 1.0 {MARK}\n...\n", f"a: 2.0.0 {MARK}\n---\na: 2.0.0 {MARK}\n...\n"),
        (f"%YAML 1.1\n---\na: 1.0 {MARK}\n", f"%YAML 1.1\n---\na: 2.0.0 {MARK}\n"),
        (
            'a: x # {"$imagepolicy": "shop:app"}',
            f"a: ghcr.io/org/app:2.0.0@{NEW.digest} " + '# {"$imagepolicy": "shop:app"}',
        ),
        ('a: x # {"$imagepolicy": "shop:app:name"}', 'a: ghcr.io/org/app # {"$imagepolicy": "shop:app:name"}'),
        ('a: x # {"$imagepolicy": "shop:app:digest"}', f"a: {NEW.digest} " + '# {"$imagepolicy": "shop:app:digest"}'),
        ('a: 6 # {"$imagepolicy": "shop:bare:tag"}', 'a: "7" # {"$imagepolicy": "shop:bare:tag"}'),
    ],
)
def test_the_marked_value_changes_and_nothing_else(before: str, after: str) -> None:
    assert edited(before) == after
    assert edited(after) == after


@pytest.mark.parametrize(
    "text",
    [
        f"{MARK}\na: 1.0\n",
        f"a: {MARK}\n  1.0\n",
        f"a: {MARK}\n",
        f"a: |\n  x 1.0 {MARK}\n",
        f"a: | {MARK}\n  1.0\n",
        f"a: '1.0 {MARK}'\n",
        f'a: "x\n  1.0 {MARK[2:-1]}"\n'.replace('"$imagepolicy": "shop:app:tag"', "$imagepolicy"),
        f"x: &x 1.0\na: *x {MARK}\n",
        f"a: {{b: 1.0}} {MARK}\n",
        f"a: [1.0] {MARK}\n",
        f"a: &x {MARK}\n",
        f"a:\n{MARK}\n- 1.0 # why\n",
        f"a:\n# why\n{MARK}\n- 1.0\n",
        f"a:\n{MARK}\n\n- 1.0\n",
        f"a:\n{MARK}\n- b: 1.0\n",
        f"? 1.0 {MARK}\n: x\n",
        f"a: !!float 1.0 {MARK}\n",
        f"a: 1.0 {MARK} and more\n",
        f"a: 1.0 {MARK} {MARK}\n",
        'a: 1.0 # {"$imagepolicy": "shop:app:tag", "n": 1}\n',
        'a: 1.0 # {"$imagepolicy": "shop:app:tag"\n',
        'a: 1.0 # {"$imagepolicy": "other:app:tag"}\n',
        'a: 1.0 # {"$imagepolicy": "shop:app:version"}\n',
        'a: sha256:1 # {"$imagepolicy": "shop:bare:digest"}\n',
    ],
)
def test_a_comment_that_is_not_a_marker_changes_nothing(text: str) -> None:
    assert edited(text) == text


def test_nothing_is_passed_over_in_silence() -> None:
    assert [s.state for s in state(f"a: 2.0.0 {MARK}\n")] == ["applied"]
    assert [s.state for s in state('a: 1 # {"$imagepolicy": "shop:nobody"}\n')] == ["unmatched"]
    assert [s.state for s in state('a: 1 # {"$imagepolicy": "shop:bare:digest"}\n')] == ["held"]
    assert [(s.line, s.state) for s in state(f"\na: 1 {MARK}\n")] == [(2, "pending")]
    assert [s.state for s in state(f"a: [1\nb: {MARK}\n")] == ["unparsable"]


def test_a_file_that_is_not_utf8_is_left_alone_and_reported() -> None:
    plan = plan_commit({"f.yaml": b"a: \xff1 " + MARK.encode(), "g.yaml": f"a: 1 {MARK}".encode()}, VALUES)

    assert list(plan.edits) == ["g.yaml"]
    assert [(s.file, s.state) for s in plan.sightings] == [("f.yaml", "unparsable"), ("g.yaml", "pending")]


def test_objects_are_named_also_in_lists_and_arrays() -> None:
    pod = f"apiVersion: v1\nkind: Pod\nspec: {{image: 1.0, {MARK}\n }}\nmetadata: {{name: one, namespace: shop}}\n"
    item = "".join(f"  {line}\n" for line in pod.splitlines())
    listed = f"apiVersion: v1\nkind: List\nitems:\n-{item[1:]}"
    array = f"-{item[1:]}"

    for text in (pod, listed, array):
        (marked,) = find_markers(text).places
        assert marked.object == ("v1", "Pod", "one", "shop")


@slowly
@given(st.text(alphabet='{}":# $imagepolicy\\n', max_size=60))
def test_any_comment_is_a_marker_or_not(comment: str) -> None:
    assert isinstance(setter_of(comment), str)


texts = st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=20)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), texts)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)


@st.composite
def files(draw: st.DrawFn) -> str:
    """YAML files with some marked lines between generated documents."""
    flow = draw(st.sampled_from([None, True, False]))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        tree = yaml.safe_dump(
            draw(trees), default_flow_style=flow, allow_unicode=draw(st.booleans()), explicit_start=True
        )
        quote = draw(st.sampled_from(["", '"', "'"]))
        gap = draw(st.sampled_from([" ", "\t", "   "]))
        parts += [tree.removesuffix("...\n"), f"---\nimage:{gap.replace(chr(9), ' ')}{quote}1.0.0{quote}{gap}{MARK}\n"]
    text = draw(st.sampled_from(["", "\ufeff"])) + "".join(parts)
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))
    return text.rstrip("\r\n") if draw(st.booleans()) else text


@slowly
@given(files())
def test_any_file_keeps_every_other_byte(text: str) -> None:
    after = edited(text)

    marked = text.split(MARK)
    assert after.split(MARK) == [
        piece[: piece.rindex("1.0.0")] + "2.0.0" + piece[piece.rindex("1.0.0") + 5 :] for piece in marked[:-1]
    ] + [marked[-1]]
    assert edited(after) == after


PIECES = (
    *("---\n", "...\n", "%YAML 1.1\n", "a: 1.0 MARK\n", "- 1.0 MARK\n", "  - '1.0' MARK\n", "b:\n", "  c: 1.0 MARK\n"),
    *(
        "[x,\n",
        "{y: 1.0, MARK\n",
        "1.0, MARK\n",
        "MARK\n",
        "]\n",
        "}\n",
        "? 1.0 MARK\n",
        ": '1\n  .0' MARK\n",
        '"\n',
        "'\n",
    ),
    *("d: |\n", "   e: 1.0 MARK\n", 'f: "#1.0" MARK\n', "g: &x !!str 1.0 MARK\n", "h: x\n 1.0 MARK\n", "\u2028", "\r"),
    *(
        'i: \'{"$imagepolicy": "shop:app"}\' MARK\n',
        "\t",
        "# x\n",
        "j: 1.0\tMARK MARK\n",
        "1.0 MARK\n",
        "*x ",
        '"1"MARK\n',
    ),
)
SET = st.sampled_from(
    ("2.0.0", "7", "on", "...", "-x", "a:b", "a/b:c@sha256:0", ":", "{x", "a,b", "x,", "*x", "%x", "@", "#")
)


@given(st.lists(st.sampled_from(PIECES), max_size=8), st.booleans(), st.lists(SET, min_size=1, max_size=3))
@settings(deadline=None, max_examples=400)
def test_counting_proves_the_same_as_comparing(pieces: list[str], crlf: bool, values: list[str]) -> None:
    text = "".join(pieces).replace("MARK", MARK).replace("\n", "\r\n" if crlf else "\n")
    before = find_markers(text)
    edits = {place.start: values[i % len(values)] for i, place in enumerate(before.places) if i % 3 != 2}
    result = with_edits(text, before, edits)

    after = read_by_counting(text, result, before, edits)

    if after is not None:
        assert after == read_by_comparing(text, result, before, edits)._replace(digests=()) == find_markers(result)


@pytest.mark.parametrize("text", ["a: 1.0 MARK\n", "a: {b: '1.0', MARK\n}\n", "- x: 1.0 MARK\r\n  y: [1.0 MARK\n  ]\n"])
def test_values_on_one_line_are_proven_by_counting(text: str) -> None:
    text = text.replace("MARK", MARK)
    before = find_markers(text)
    edits = {place.start: "ghcr.io/org/app:2.0.0" for place in before.places}
    result = with_edits(text, before, edits)

    assert edits
    assert read_by_counting(text, result, before, edits) == find_markers(result)
    assert read_by_counting(text, result + "x: y\n", before, edits) is None
    assert read_by_counting(text.replace("1.0", "1.1"), result, before, edits) is None
    assert read_by_counting(text.replace("shop:app", "shop:web"), result, before, edits) is None


@slowly
@given(st.text(alphabet=" \n\r\t:-#[]{},&*!|>'\"%@ab1é😀" + MARK, max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = find_markers(text).places
    except Unparsable:
        return
    for marked in found:
        assert text[marked.start : marked.end] != ""
        assert yaml.safe_load(text[marked.start : marked.end]) is not None or marked.style == ""


@slowly
@given(st.text(alphabet="0123456789abcdefnoxyET.+-_:~", min_size=1, max_size=10))
def test_a_spelled_value_reads_as_that_text(value: str) -> None:
    spelled = spell(value, "")

    assert yaml.load(f"a: {spelled}", Loader=yaml.CBaseLoader) == {"a": value}
    if spelled == value:
        assert reads_as_text(value)
