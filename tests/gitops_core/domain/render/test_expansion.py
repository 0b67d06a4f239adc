"""YAML is refused for what it comes to, before anything comes of it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.render.expansion import check_expansion
from gitops_core.domain.render.manifests import MAX_DEPTH, MAX_NODES, Malformed


def bomb(widths: list[int]) -> str:
    lines = ["a0: &a0 x"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n, width in enumerate(widths, 1)]
    return "\n".join(lines)


@given(st.lists(st.integers(1, 12), max_size=8))
def test_aliases_count_for_what_they_stand_for(widths: list[int]) -> None:
    aliased, size = 0, 1
    for width in widths:
        aliased, size = aliased + width * size, 1 + width * size

    if aliased <= MAX_NODES:
        check_expansion(bomb(widths).encode())
    else:
        with pytest.raises(
            Malformed, match=f"more than {MAX_NODES} values, or as much text, when aliases are written out"
        ):
            check_expansion(bomb(widths).encode())


@pytest.mark.parametrize(
    "text",
    [
        "&a [*a]",
        "&a {b: *a}",
        "a: &a\n- b: {c: *a}\n",
        "x: &a 1\ny: &a [*a]\n",
        "--- 1\n--- &a {<<: *a}\n",
        "&a {? *a : 1}",
    ],
)
def test_a_value_that_contains_itself_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="a value contains itself"):
        check_expansion(text.encode())


@pytest.mark.parametrize(
    "text", ["", "# x\n", "a: &a [1]\nb: [*a, *a]\n", "&a [&a 1, *a]", "- *unknown\n", "--- &a 1\n--- *a\n"]
)
def test_a_text_that_does_not_expand_is_taken(text: str) -> None:
    check_expansion(text.encode())


@pytest.mark.parametrize("kind", ["[]", "{}", "- ", " "])
def test_a_value_may_be_nested_so_deep_and_no_deeper(kind: str) -> None:
    def nested(deep: int) -> bytes:
        match kind:
            case "[]":
                return ("[" * deep + "]" * deep).encode()
            case "{}":
                return ("{a: " * deep + "1" + "}" * deep).encode()
            case "- ":
                return ("- " * deep + "1").encode()
        return "\n".join(" " * level + "a:" for level in range(deep)).encode()

    check_expansion(nested(MAX_DEPTH))
    with pytest.raises(Malformed, match=f"nested more than {MAX_DEPTH} deep"):
        check_expansion(nested(MAX_DEPTH + 1))


def test_a_long_text_counts_as_what_it_takes() -> None:
    text = f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]\n"

    with pytest.raises(Malformed, match="when aliases are written out") as refused:
        check_expansion(text.encode())

    assert refused.value.line == 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_no_encoding_hides_an_alias(encoding: str) -> None:
    with pytest.raises(Malformed, match="a value contains itself"):
        check_expansion("&a [*a]".encode(encoding))


@given(st.binary(max_size=200))
def test_whatever_it_is_it_is_taken_or_refused(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        check_expansion(data)
