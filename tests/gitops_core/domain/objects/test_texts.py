"""Texts fit what their reader takes, stay texts, and say what is missing."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.objects.texts import abridge, shorten

TEXTS = st.text(alphabet=st.one_of(st.sampled_from("aä€🦭\n"), st.characters()), max_size=600)
MOST = st.integers(min_value=64, max_value=1000)


@given(TEXTS, MOST)
def test_a_shortened_text_fits_and_says_how_much_is_left_out(text: str, most: int) -> None:
    short = shorten(text, most)

    content = text.encode("utf-8", "replace")
    assert len(short.encode()) <= most
    if len(content) <= most:
        assert short == content.decode()
    else:
        kept, left = re.fullmatch(r"(.*)\.\.\. \((\d+) bytes left out\)", short, re.DOTALL).groups()  # type: ignore[union-attr]
        assert content.startswith(kept.encode())
        assert len(kept.encode()) + int(left) == len(content)
        assert most - len(short.encode()) < 12, "no more is left out than has to be"


@given(TEXTS, MOST)
def test_an_abridged_text_keeps_its_beginning_and_its_end(text: str, most: int) -> None:
    short = abridge(text, most)

    content = text.encode("utf-8", "replace")
    assert len(short.encode()) <= most
    if len(content) <= most:
        assert short == content.decode()
    else:
        pattern = r"(.*) \.\.\. \((\d+) bytes left out\) \.\.\. (.*)"
        head, left, tail = re.fullmatch(pattern, short, re.DOTALL).groups()  # type: ignore[union-attr]
        assert content.startswith(head.encode())
        assert content.endswith(tail.encode())
        assert len(head.encode()) + int(left) + len(tail.encode()) == len(content)


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert shorten("file \udcff", 64) == "file ?"
