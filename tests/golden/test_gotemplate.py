"""Our templates against Go's: the answers of text/template with sprig's hermetic functions, recorded and asked anew.

tools/gotemplate/main.go answers; tools/gotemplate/vectors.py wrote data/gotemplate.jsonl with it.
"""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitops_core.gotemplate import GoList, GoMap, Struct, Template, TemplateError
from gitops_core.gotemplate.sprig import HERMETIC
from gitops_core.gotemplate.values import type_of

VECTORS = Path(__file__).parent / "data" / "gotemplate.jsonl"
PROGRAM = Path(__file__).resolve().parents[2] / ".tools" / "bin" / "gotemplate"
SAME_WORDS = 0.985
"""The share of errors whose message is Go's to the letter; the rest are errors too."""


def as_data(value: Any) -> Any:
    """The data as the Go program reads them: `$struct` and `$strings` stand for typed values."""
    if isinstance(value, list):
        return [as_data(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if "$struct" in value:
        fields = tuple((name, as_data(inner)) for name, inner in sorted(value["$struct"].items()))
        return Struct("struct { " + "; ".join(f"{name} {type_of(inner)}" for name, inner in fields) + " }", fields)
    if "$strings" in value:
        texts = value["$strings"]
        return GoMap(texts) if isinstance(texts, dict) else GoList(texts, "string")
    return {name: as_data(inner) for name, inner in value.items()}


def ours(asked: dict[str, Any], data: Any) -> dict[str, str]:
    functions = {} if asked.get("plain") else HERMETIC
    try:
        template = Template(asked["template"], functions, name="t", missing=asked.get("missing", "default"))
        return {"output": template.render(as_data(data))}
    except TemplateError as error:
        return {"error": str(error)}


@cache
def vectors() -> tuple[Any, list[dict[str, Any]]]:
    first, *rest = (json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines())
    return first["data"], rest


@cache
def answers() -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Each recorded answer of Go's, and ours."""
    data, recorded = vectors()
    return [(each, ours(each, data)) for each in recorded]


def test_every_output_is_go_s_to_the_byte() -> None:
    different = [
        (go["template"], go.get("output", go.get("error")), answer)
        for go, answer in answers()
        if answer.get("output") != go.get("output")
    ]

    assert len(answers()) > 6000
    assert different == []


def test_a_template_that_go_refuses_is_refused_nearly_always_in_its_words() -> None:
    refused = [(go["error"], answer.get("error")) for go, answer in answers() if "error" in go]

    assert all(answer is not None for _, answer in refused)
    assert sum(error == answer for error, answer in refused) >= SAME_WORDS * len(refused)


DATA = {"n": 3, "s": "a b", "l": [1, "x", None], "m": {"b": {"c": 1.5}, "a": True}, "t": {"$strings": {"k": "v"}}}
operands = st.sampled_from(
    [".", ".n", ".s", ".l", ".m", ".m.b.c", ".t.k", ".q", "$", "$.n", "1", '"x"', "1.5", "true", "nil"]
)
calls = st.recursive(
    operands,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["len", "print", "not", "toJson", "first", "upper", "kindOf"]), inner).map(" ".join),
        st.tuples(st.sampled_from(["eq", "lt", "index", "printf", "default", "add", "trunc"]), inner, inner).map(
            " ".join
        ),
        st.tuples(inner, st.sampled_from(["print", "html", "quote", "len"])).map(" | ".join),
        inner.map("({})".format),
    ),
    max_leaves=5,
)
marks = st.sampled_from([("{{ ", " }}"), ("{{- ", " -}}"), ("{{", "}}")])
actions = st.tuples(marks, calls).map(lambda parts: parts[0][0] + parts[1] + parts[0][1])
texts = st.sampled_from([" x ", "\n", "", "{", "é "])
templates = st.recursive(
    st.one_of(actions, texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.tuples(st.sampled_from(["if", "with", "range"]), calls, inner, inner).map(
            lambda parts: f"{{{{ {parts[0]} {parts[1]} }}}}{parts[2]}{{{{ else }}}}{parts[3]}{{{{ end }}}}"
        ),
        st.tuples(calls, inner).map(
            lambda parts: f"{{{{ range $k, $v := {parts[0]} }}}}{{{{ $k }}}}{parts[1]}{{{{ end }}}}"
        ),
        st.tuples(calls, inner).map(lambda parts: f"{{{{ block `b` {parts[0]} }}}}{parts[1]}{{{{ end }}}}"),
    ),
    max_leaves=6,
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(st.lists(templates, min_size=40, max_size=60))
def test_go_and_we_agree_on_any_template(asked: list[str]) -> None:
    assert PROGRAM.exists(), f"{PROGRAM} is missing: run `make tools`"
    lines = "".join(json.dumps({"template": text, "data": DATA}) + "\n" for text in asked)

    done = subprocess.run([PROGRAM], input=lines, capture_output=True, text=True, timeout=60, check=True)

    for text, line in zip(asked, done.stdout.splitlines(), strict=True):
        answer, go = ours({"template": text}, DATA), json.loads(line)
        assert answer.get("output") == go.get("output"), (text, answer, go)
