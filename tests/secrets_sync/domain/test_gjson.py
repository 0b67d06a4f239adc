"""GJSON paths: examples from its documentation, and laws for any text and any path."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secrets_sync.domain import gjson
from secrets_sync.domain.gjson.paths import matches
from secrets_sync.domain.gjson.tokens import plain_number, quoted, string_of
from secrets_sync.domain.provider import gojson

PEOPLE = """{
  "name": {"first": "Tom", "last": "Anderson"},
  "age":37,
  "children": ["Sara","Alex","Jack"],
  "fav.movie": "Deer Hunter",
  "friends": [
    {"first": "Dale", "last": "Murphy", "age": 44, "nets": ["ig", "fb", "tw"]},
    {"first": "Roger", "last": "Craig", "age": 68, "nets": ["fb", "tw"]},
    {"first": "Jane", "last": "Murphy", "age": 47, "nets": ["ig", "tw"]}
  ]
}"""


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("name.last", "Anderson"),
        ("age", "37"),
        ("children", '["Sara","Alex","Jack"]'),
        ("children.#", "3"),
        ("children.1", "Alex"),
        ("child*.2", "Jack"),
        ("c?ildren.0", "Sara"),
        (r"fav\.movie", "Deer Hunter"),
        ("friends.#.first", '["Dale","Roger","Jane"]'),
        ("friends.1.last", "Craig"),
        ('friends.#(last=="Murphy").first', "Dale"),
        ('friends.#(last=="Murphy")#.first', '["Dale","Jane"]'),
        ("friends.#(age>45)#.last", '["Craig","Murphy"]'),
        ('friends.#(first%"D*").last', "Murphy"),
        ('friends.#(first!%"D*").last', "Craig"),
        ('friends.#(nets.#(=="fb"))#.first', '["Dale","Roger"]'),
        ("children|@reverse", '["Jack","Alex","Sara"]'),
        ("children|@reverse|0", "Jack"),
        ("friends.#.nets|@flatten", '["ig", "fb", "tw","fb", "tw","ig", "tw"]'),
        ("{name.first,age,friends.#}", '{"first":"Tom","age":37,"#":3}'.replace('"#"', '"_"')),
        ('{"n":age}', '{"n":37}'),
        ("[age,name.last]", '[37,"Anderson"]'),
        ("friends.#(first=~true)", None),
        ("name|@keys", '["first","last"]'),
        ("name.nope", None),
        ("", None),
    ],
)
def test_paths(path: str, text: str | None) -> None:
    found = gjson.get(PEOPLE, path)

    assert (found.text() if found.exists else None) == text


documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=4)
    ),
    max_leaves=12,
)
steps = st.sampled_from([*'abc0123#*?.|@{}[]()\\"=<>!%~:,', "@reverse", "@keys", "#(a=1)#", "ab", "@dig:a"])


@pytest.mark.parametrize(
    ("document", "path", "raw", "text"),
    [
        ('{"a":+1}', "a", "+1", "1"),
        ("+1.5", "@this", "+1.5", "1.5"),
        ("inf", "@this", "inf", "+Inf"),
        ("[Inf]", "@reverse|0", "Inf", "+Inf"),
        ('{"a":Infinity}', "a|@this", "Infinity", "+Inf"),
        ('{"a":i}', "a|@this", "i", "0"),
        ("I", "@this", "I", "0"),
        ("N", "@values", "[N]", "[N]"),
        ("NaN", "@this", "NaN", "NaN"),
        ("nan", "@keys", "[null]", "[null]"),
        ('{"a":-inf}', "a|@tostr", '"-inf"', "-inf"),
        ('{"a":1_0}', "a", "1_0", "10"),
        ('{"a":1__0}', "a", "1__0", "0"),
        ('{"a":0x1p4}', "a", "0x1p4", "16"),
        ('{"a":1e999}', "a", "1e999", "+Inf"),
        ("1", "!+1", "+1", "1"),
        ("1", "!inf", "inf", "+Inf"),
        ("1", "!NaN", "NaN", "NaN"),
        ("1", "!Null", "Null", "0"),
        ("1", "!+Inf.a|b", "+Inf.a|b", "0"),
        ("1", '!"x"|@this', '"x"', "x"),
        ("1", "!-1,2", "-1", "-1"),
        ("1", "!1]|@this", "1", "1"),
        ("1", "!i", None, ""),
        ("1", "!infinity", None, ""),
        ('{"a":1}', "[a,!+1,!inf]", "[1,+1,inf]", "[1,+1,inf]"),
        ("[1,2]", "#(>5).a|!true", None, ""),
        ("[1,2]", "#(>5)#.a|!true", "[]", "[]"),
        ("[1,2]", "#(>5)|!true", "true", "true"),
        ("[1,2]", "#(>5)#|!true", "true", "true"),
        ('[{"a":1}]', "#(a=1).a|!true", "true", "true"),
        ('[{"a":1}]', "#(a=1)#.a|0", "1", "1"),
        ('[{"a":1}]', "#(a=2)#.a|0", "[]", "[]"),
        ('[{"a":1}]', "#(a=2)#|#", "0", "0"),
        ('[{"a":1}]', "#(a=2)#.a|#", "[]", "[]"),
        ('[[{"a":1}]]', "#.#(a=1)#.a|0", "[1]", "[1]"),
        ("[[1]]", "#.#(>5).#|@tostr", "[]", "[]"),
        ("[]", '#.{"n":a}|0', "[]", "[]"),
        ("[]", "#.{n:a}|#", "0", "0"),
        ("[[1,2]]", "#.@this.#|0", "[]", "[]"),
        ('{"a":{},"b":[1]}', "*.0|@tostr", '"1"', "1"),
        ('{"a":{},"a":[1]}', "a.0|@this", "1", "1"),
        ('{"a":{},"b":{}}', "*.0|!1", "1", "1"),
    ],
)
def test_odd_numbers_literals_and_pipes_are_read_as_gjson_does(
    document: str, path: str, raw: str | None, text: str
) -> None:
    """The answers are those of tidwall/gjson 1.18; None for a value that does not exist."""
    found = gjson.get(document, path)

    assert (found.raw if found.exists else None, found.text()) == (raw, text)


@given(st.text(max_size=60), st.lists(steps, max_size=8).map("".join) | st.text(max_size=20))
def test_no_text_and_no_path_is_too_odd(text: str, path: str) -> None:
    gjson.get(text, path).text()


@given(documents, st.lists(steps, max_size=8).map("".join))
def test_every_result_of_json_is_json(document: Any, path: str) -> None:
    """Modifiers, quoted names and literals (``!0a``) are copied into the result as the path has them."""
    found = gjson.get(json.dumps(document), path)

    if found.exists and not set('@"!') & set(path):
        json.loads(found.raw)


@given(documents, st.data())
def test_plain_paths_agree_with_json(document: Any, data: st.DataObject) -> None:
    text, value = json.dumps(document, ensure_ascii=data.draw(st.booleans())), document
    path: list[str] = []
    while isinstance(value, dict | list) and value and (not path or data.draw(st.booleans())):
        key = data.draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        path.append(str(key))
        value = value[key]

    if path:
        assert json.loads(gjson.get(text, ".".join(path)).raw) == value


MANY = "[" + ",".join(["[]"] * 100_000) + "]"
DEEP = '{"a":' * 3000 + "1" + "}" * 3000


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (DEEP, "a." * 5000 + "a"),
        (DEEP, "@dig:a"),
        (DEEP, "@this|" * 5000 + "a"),
        (DEEP, "[" * 5000),
        (DEEP, "{a," * 3000),
        (DEEP, "#(" * 3000),
        (MANY, "[" + "#," * 100_000 + "#]"),
        (MANY, "@dig:#.#.#"),
        ('{"x":"' + "y" * 1000 + '"}', "@this" + '|{"a":@this,"b":@this}' * 40),
        ("{" + ",".join(f'"{i}":1' for i in range(50_000)) + "}", "*1" * 50_000),
    ],
    ids=range(10),
)
def test_no_path_costs_more_than_some_seconds(text: str, path: str) -> None:
    began = time.thread_time()

    with contextlib.suppress(gjson.TooMuchWork):
        gjson.get(text, path)

    assert time.thread_time() - began < 20


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"a":"' + '\\"' * 450_000 + '"}', "|".join(["@tostr"] * 50)),
        ("[" + "1," * 450_000 + "1]", "|".join(["@reverse"] * 50)),
        ("[" * 90 + "1," * 450_000 + "1" + "]" * 90, '@flatten:{"deep":true}|' + "|".join(["@flatten"] * 50)),
        ('{"' + "a" * 400_000 + '":1}', "*" + "a*" * 100 + "b"),
        ('[{"a":"' + "b" * 400_000 + '"}]', '#(a%"*' + "b*" * 100 + 'c")'),
        (DEEP, "a." * 5000 + "a"),
    ],
    ids=["tostr", "reverse", "flatten", "wildcard", "query", "depth"],
)
def test_a_path_not_followed_to_its_end_is_never_taken_for_absent(text: str, path: str) -> None:
    began = time.thread_time()

    with pytest.raises(gjson.TooMuchWork):
        gjson.get(text, path)

    assert time.thread_time() - began < 20


@given(st.text())
def test_a_text_that_is_quoted_and_read_again_is_the_same_text(text: str) -> None:
    assert string_of(quoted(text)) == json.loads(quoted(text)) == text
    assert not set("<>&\u2028\u2029") & set(quoted(text))


@given(st.text("ab*?\\", max_size=6), st.text("ab*?\\", max_size=6))
def test_a_star_matches_everything_and_text_matches_itself(text: str, pattern: str) -> None:
    assert matches(text, "*")
    assert matches(text, text.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?"))
    matches(text, pattern)


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not matches("a" * 5000, "*a" * 50 + "b")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_plain_numbers_have_no_exponent_and_lose_nothing(number: float) -> None:
    text = plain_number(number)

    assert "e" not in text
    assert float(text) == number


@given(documents)
def test_go_json_reads_back(document: Any) -> None:
    text = gojson.encode(gojson.decode(json.dumps(document)))

    assert json.loads(text) == document
    assert gojson.encode(gojson.decode(text)) == text


@pytest.mark.parametrize("depth", [150, 250, 900, 5000, 200_000])
def test_json_of_any_depth_is_read_or_refused(depth: int) -> None:
    text = '{"a":' * depth + "1" + "}" * depth

    try:
        assert gojson.encode(gojson.decode(text)) == text
    except ValueError:
        assert depth > gojson.MAX_DEPTH
