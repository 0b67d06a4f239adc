"""Laws of reading: every marker is accounted for, templates keep their shape, and what was read is not read again."""

from __future__ import annotations

import gc
import re
import time
import tracemalloc
from collections.abc import Iterator, Mapping

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitops_core.recent import Recent
from image_updater.api import ImageRef
from image_updater.domain.files.helm import lines_in_blocks, mask
from image_updater.domain.files.markers import LARGEST, SCREEN, Unparsable
from image_updater.domain.files.plan import plan_commit, setters
from image_updater.domain.files.readings import ENTRY, Readings, blob_id, find_markers, read, remember, size_of
from image_updater.domain.files.walks import walk

slowly = settings(deadline=None, max_examples=60)  # a busy machine is no failure

VALUES = setters("shop", {"app": ImageRef(name="ghcr.io/org/app", tag="2.0.0")})
MARK = '# {"$imagepolicy": "shop:app:tag"}'
OTHER = '# {"$imagepolicy": "shop:web:tag"}'


def edited(text: str, path: str = "f.yaml") -> str:
    return plan_commit({path: text.encode()}, VALUES).edits.get(path, text.encode()).decode()


def told(content: str | bytes, path: str = "f.yaml") -> list[tuple[int, str, str]]:
    files = {path: content if isinstance(content, bytes) else content.encode()}
    plan = plan_commit(files, VALUES)
    assert not plan.edits
    return [(sighting.line, sighting.state, sighting.cause) for sighting in plan.sightings]


ABOVE = "the marker stands on a line of its own, as a comment above a value"
ALIAS = "the marker stands behind an alias"
EMPTY = "the marker stands behind no value, and nothing is inserted"
FLOW = "the marker stands behind a flow sequence or mapping"
HEADER = "the marker stands behind the header of a block scalar"
BLOCK = "the marker is inside a block scalar"
QUOTED = "the marker is inside a quoted text"
NOT_A_MARKER = "the comment is not one marker and nothing else"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a: 1.0 {MARK} {OTHER}\n", (1, "ambiguous", "two policies want this value")),
        (f"a: 1.0 {MARK} {MARK}\n", (1, "unparsable", NOT_A_MARKER)),
        (f"a: 1.0 {MARK} and more\n", (1, "unparsable", NOT_A_MARKER)),
        ('\na: 1.0 # {"$imagepolicy": "shop:app:tag"\n', (2, "unparsable", NOT_A_MARKER)),
        (f"{MARK}\na: 1.0\n", (1, "unmatched", ABOVE)),
        (f"a: 1.0\n{MARK}\n", (2, "unmatched", ABOVE)),
        (f"- 1.0\n# why\n{MARK}\n- 1.0\n", (3, "unmatched", ABOVE)),
        (f"a: {MARK}\n  1.0\n", (1, "unmatched", "the marker stands in front of the value")),
        (f"a: [ {MARK}\n  1.0]\n", (1, "unmatched", "the marker stands in front of the value")),
        (f"a: {MARK}\n", (1, "unmatched", EMPTY)),
        (f"b: 1\na: {{x: &y {MARK}\n}}\n", (2, "unmatched", EMPTY)),
        (f"- {MARK}\n- 1\n", (1, "unmatched", EMPTY)),
        (f"a: {{{{ .Values.tag }}}} {MARK}\n", (1, "unmatched", "the marker stands behind what a template writes")),
        (f"a: | {MARK}\n  1.0\n", (1, "unmatched", HEADER)),
        (f"a:\n  - b: !x >-2 {MARK}\n      1.0\n", (2, "unmatched", HEADER)),
        (f"a: [1.0, 2.0] {MARK}\n", (1, "unmatched", FLOW)),
        (f"a: {{b: 1.0}} {MARK}\n", (1, "unmatched", FLOW)),
        (f"a: [\n  {{b: 1.0}}, {MARK}\n]\n", (2, "unmatched", FLOW)),
        (f"a: |\n  x: 1.0 {MARK}\n", (2, "unmatched", BLOCK)),
        (f"kind: X\nspec: 1\ndata:\n  f: >\n    # y\n    x: [1] {MARK} {OTHER}\n", (6, "unmatched", BLOCK)),
        (f"a: 'x: 1.0 {MARK}'\n", (1, "unmatched", QUOTED)),
        (f"a: 'x\n  y: *z {MARK}\n  '\n", (2, "unmatched", QUOTED)),
        ('a: 1.0#{"$imagepolicy":"shop:app"}\n', (1, "unmatched", "the marker is part of the value")),
        (f"a: !!int 1 {MARK}\n", (1, "unmatched", "the marker stands behind no plain or quoted value")),
        (f"x: &x 1\na: *x {MARK}\n", (2, "unmatched", ALIAS)),
        (f"x: &x 1\na: [*x, {MARK}\n]\n", (2, "unmatched", ALIAS)),
        (f"x: &x 1\n'# a': *x {MARK}\n", (2, "unmatched", ALIAS)),
        (f"a: |\n  x: {MARK[2:]}\n", (2, "unmatched", BLOCK)),
        (f"a: {MARK[2:]}\n", (1, "unmatched", "the marker is not in a comment behind a value")),
        (
            'a: 1.0 # {"$imagepolicy": "other:app:tag"}\n',
            (1, "unmatched", "no policy of this namespace has "),
        ),
        ('a: 1.0 # {"$imagepolicy": "shop:app:tga"}\n', (1, "unmatched", "there is no 'tga' of an image")),
        ('a: 1.0 # {"$imagepolicy": "app"}\n', (1, "unmatched", "it is not of the form namespace:name")),
        (f'a: "{{{{ .Values.tag }}}}" {MARK}\n', (1, "held", "a template writes this value")),
        (f"a: {{{{ .Values.tag }}}} {MARK}\n{{{{- end }}}}", (1, "held", "a template writes this value")),
        (f"a: [\nb: 1.0 {MARK}\n", (2, "unparsable", "line 3: ")),
        (f"a: |\n  x: {{{{ y }}}}\n  b: 1 {MARK}\n{{{{\n", (3, "unparsable", "line ")),
        (b"a: \xff" + MARK.encode(), (0, "unparsable", "not UTF-8 text: byte 3")),
        (f"a: 1.0 {MARK}\n" + "x" * LARGEST, (0, "unparsable", "the file is larger than 8 MiB")),
        (f"a: 1.0 {MARK}\n" * 10_001, (0, "unparsable", "the file has more than 10000 markers")),
        ("[" * 100_000 + MARK, (1, "unparsable", "it is nested too deeply")),
        ("- " * 20_000 + f"\n {MARK}", (2, "unmatched", ABOVE)),
    ],
)
def test_a_stray_is_reported_with_its_line_and_cause(text: str | bytes, expected: tuple[int, str, str]) -> None:
    ((line, state, cause),) = told(text)

    assert (line, state) == expected[:2]
    assert cause.startswith(expected[2])


@pytest.mark.parametrize("text", ["a: 1.0 {}\n", "a: [1.0, {}\n]\n", "{}\n- 1.0\n", "a: 1.0 {}\rb: 1\n"])
def test_a_marker_that_names_two_setters_follows_the_last_and_is_told_once(text: str) -> None:
    twice = '# {"$imagepolicy": "shop:nobody", "x": "y", "$imagepolicy": "shop:app:tag"}'

    plan = plan_commit({"f.yaml": text.format(twice).encode()}, VALUES)

    assert [(s.state, s.setter, s.current) for s in plan.sightings] == [("pending", "shop:app:tag", "1.0")]


def test_a_second_comment_on_what_only_looks_like_the_line_is_told() -> None:
    text = f"a: 1.0 {MARK}\rb: 1.0 {MARK} {OTHER}\n"

    plan = plan_commit({"f.yaml": text.encode()}, VALUES)

    assert [(s.line, s.state) for s in plan.sightings] == [(1, "held"), (2, "ambiguous")]


@pytest.mark.parametrize(
    ("path", "state", "cause"),
    [
        ("a.json", "unparsable", "JSON carries no comments: declare a target in an UpdateGuard"),
        ("a.txt", "unmatched", "files of this name are not considered"),
        ("a.YAML", "unmatched", "files of this name are not considered"),
    ],
)
def test_a_marker_in_a_file_of_another_name_is_told(path: str, state: str, cause: str) -> None:
    assert told(f"\na: 1.0 {MARK}\n", path) == [(2, state, cause)]
    assert told("a: 1.0\n", path) == []


def test_a_broken_document_does_not_keep_the_others_from_their_edits() -> None:
    text = f"a: 1.0 {MARK}\n---\nb: [\n---\n\nc: 1.0 {MARK}\n---\nd: ]\ne: 1.0 {MARK}\n"

    plan = plan_commit({"f.yaml": text.encode()}, VALUES)

    assert plan.edits["f.yaml"].decode() == text.replace("a: 1.0", "a: 2.0.0").replace("c: 1.0", "c: 2.0.0")
    assert [(s.line, s.state) for s in plan.sightings] == [(1, "pending"), (6, "pending"), (9, "unparsable")]


HELM = """\
{{- if .Values.on }}
{{- /* a comment: " { */ -}}
kind: {{ .Values.kind | default "Deployment" }}
metadata:
  name: {{ include "x" . }}
  labels: {{- toYaml .Values.labels | nindent 4 }}
spec:
  {{ if eq .a `}}` }}replicas: 1{{ end }}
  image: "ghcr.io/{{ .Values.name }}"
  {{- with .Values.sidecar }}
  tag: 1.0 MARK
  {{- end }}
{{- end }}
"""
SPLIT = """\
a:
{{- if .x }}
  b: 1.0 MARK
{{- else }}
    c: '1.0' MARK
 - {{ end }}
  text: |
    d: 1.0 MARK
"""


def test_templates_are_edited_where_they_stand() -> None:
    text = HELM.replace("MARK", MARK)

    for end in ("\n", "\r\n"):
        assert edited(text.replace("\n", end)) == text.replace("tag: 1.0", "tag: 2.0.0").replace("\n", end)


def test_a_template_without_shape_is_read_line_by_line() -> None:
    plan = plan_commit({"f.yaml": SPLIT.replace("MARK", MARK).encode()}, VALUES)

    expected = SPLIT.replace("b: 1.0", "b: 2.0.0").replace("c: '1.0'", "c: '2.0.0'").replace("MARK", MARK)
    assert plan.edits["f.yaml"].decode() == expected
    assert [(s.line, s.state) for s in plan.sightings] == [(3, "pending"), (5, "pending"), (8, "unparsable")]


@slowly
@given(st.text(alphabet='{}-/*"`# \n\rax:', max_size=60))
def test_a_mask_keeps_every_character_in_its_place(text: str) -> None:
    masked = mask(text)

    assert len(masked) == len(text)
    assert [place for place, sign in enumerate(masked) if sign in "\r\n"] == [
        place for place, sign in enumerate(text) if sign in "\r\n"
    ]
    if "{{" not in text:
        assert re.sub("#", "", masked) == re.sub("#", "", text) or masked == text


PIECES = ("---\n", "---", "--- ", "...\n", "a: 1.0 " + MARK + "\n", "b: [x,\n", "]\n", "c: |\n", "  ---\n", "- x\n")


@slowly
@given(st.lists(st.sampled_from((*PIECES, 'd: "\n', '"\n', "'", "e: x\n", "\r\n", "# y\n", " ")), max_size=12))
@example(["---\n", "a: 1.0 " + MARK + "\n", "---"])
def test_documents_read_one_by_one_say_what_the_whole_says(pieces: list[str]) -> None:
    text = "".join(pieces)
    tokens = [match.start() for match in re.finditer(re.escape(SCREEN), text)]
    try:
        whole = walk(text, tokens).places
    except Unparsable:
        return

    assert find_markers(text).places == whole


@slowly
@given(st.lists(st.sampled_from((*PIECES, "e: x\n", "? [a]\n: b\n", "- - y\n", "&x z: *x\n")), max_size=10))
def test_any_text_without_intended_values_keeps_its_meaning(pieces: list[str]) -> None:
    text = "".join(pieces)
    plan = plan_commit({"f.yaml": text.encode()}, VALUES)
    after = plan.edits.get("f.yaml", text.encode()).decode()

    assert after.replace("2.0.0", "1.0") == text
    assert len(plan.sightings) == text.count(SCREEN)
    assert plan_commit({"f.yaml": after.encode()}, VALUES).edits == {}
    try:
        before = list(yaml.parse(text, Loader=yaml.CSafeLoader))
    except yaml.YAMLError:
        return
    for old, new in zip(before, yaml.parse(after, Loader=yaml.CSafeLoader), strict=True):
        was, now = getattr(old, "value", None), getattr(new, "value", None)
        assert type(old) is type(new)
        assert was == now or (was, now) == ("1.0", "2.0.0")


@slowly
@given(st.lists(st.sampled_from(PIECES), max_size=6), st.lists(st.sampled_from(PIECES), max_size=6))
def test_files_do_not_know_each_other(one: list[str], two: list[str]) -> None:
    files = {"a.yaml": "".join(one).encode(), "b.yaml": "".join(two).encode()}

    together = plan_commit(files, VALUES)

    alone = [plan_commit({path: content}, VALUES) for path, content in files.items()]
    assert together.edits == {**alone[0].edits, **alone[1].edits}
    assert together.sightings == (*alone[0].sightings, *alone[1].sightings)


class Counted(Mapping[str, bytes]):
    """Files that count how often their contents are asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.read: list[str] = []

    def __getitem__(self, path: str) -> bytes:
        self.read.append(path)
        return self.files[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


@pytest.mark.parametrize("like", ["", "0" * 64])
def test_a_file_that_was_read_or_written_is_not_read_again(like: str) -> None:
    readings: Readings = Recent(1 << 20)
    files = {f"{name}.yaml": f"a: 1.0 {MARK} {name}\nb: 1.0 {MARK}\n".encode() for name in "xyz"}
    edits = plan_commit(files, VALUES, readings=readings, blobs={p: blob_id(c, like) for p, c in files.items()}).edits
    files |= edits
    files["y.yaml"] += b"# somebody else was here\n"
    counted = Counted(files)

    again = plan_commit(counted, VALUES, readings=readings, blobs={p: blob_id(c, like) for p, c in files.items()})

    assert set(counted.read) == {"y.yaml"}
    assert again.edits == {}
    assert len(again.sightings) == 6


def test_readings_not_asked_for_the_longest_are_forgotten() -> None:
    files = {name: f"{name}: 1.0 {MARK}\n".encode() for name in "xyz"}
    found = {name: read("yaml", text) for name, text in files.items()}
    readings: Readings = Recent(2 * (ENTRY + size_of(found["x"])))

    for name in "xy":
        remember(readings, "yaml", name, found[name])
    readings.get(("yaml", "x"))
    remember(readings, "yaml", "z", found["z"])
    remember(readings, "yaml", "z", found["z"])

    assert [name for name in "xyz" if readings.get(("yaml", name)) is not None] == ["x", "z"]


def test_readings_are_bounded_by_what_they_take() -> None:
    """One file may hold thousands of markers."""
    most = 2**20
    readings: Readings = Recent(most)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()

    for number in range(40):
        lines = (f"k{line}: '{number}.{line}' {MARK.replace('app', f'app-{number}-{line}')}\n" for line in range(200))
        remember(readings, "yaml", f"{number:040}", read("yaml", "".join(lines).encode()))

    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert most / 4 < taken < most
    assert readings.get(("yaml", f"{39:040}")) is not None
    assert readings.get(("yaml", f"{0:040}")) is None


def test_a_reading_larger_than_all_that_may_be_kept_is_not_kept() -> None:
    readings: Readings = Recent(ENTRY)

    remember(readings, "yaml", "x", read("yaml", f"a: 1.0 {MARK}\n".encode()))

    assert readings.get(("yaml", "x")) is None


def test_a_blobs_name_is_gits() -> None:
    assert blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert blob_id(b"", "0" * 64) == "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813"


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["a:", "a: |", "- >-", "x", "", "# c"])), max_size=12))
def test_a_line_is_in_a_block_when_one_of_the_lines_it_is_below_begins_one(lines: list[tuple[int, str]]) -> None:
    text = "\n".join(" " * indent + word for indent, word in lines)
    found = lines_in_blocks(text)

    start = 0
    for number, line in enumerate(text.split("\n")):
        indent, inside = len(line) - len(line.lstrip(" ")), False
        for above in reversed(text.split("\n")[:number]):
            if above.strip() and len(above) - len(above.lstrip(" ")) < indent:
                indent = len(above) - len(above.lstrip(" "))
                inside = inside or above.endswith(("|", ">-"))
        assert (start in found) == (inside and bool(line.strip())), line
        start += len(line) + 1


@pytest.mark.parametrize(
    "text",
    [
        "{{ if x }}\na: [\n{{ end }}\n" + f"  tag: 1.0.0 {MARK}\n" * 9_000,
        "{{ if x }}\na: [\n{{ end }}\n" + "  tag: 1.0.0\n" * 100_000 + f"  tag: 1.0.0 {MARK}\n" * 2_000,
        "{{ a: [ # " + MARK * 9_000,
    ],
    ids=["markers", "lines", "one line"],
)
def test_a_template_that_cannot_be_read_takes_time_in_proportion_to_its_size(text: str) -> None:
    began = time.thread_time()

    find_markers(text)

    assert time.thread_time() - began < 10  # it was minutes
