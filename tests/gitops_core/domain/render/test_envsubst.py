"""What a text with variables may cost: a small text and a large value are little to write and much to compute."""

from __future__ import annotations

import pytest

from gitops_core.domain.render.envsubst import MAX_DEPTH, MAX_OUTPUT, Budget, SubstitutionInvalid, substitute

LARGE = "a" * 500_000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${a##*a*a*a*a*a*a*a*a*a*a*b}", "takes too much work"),
        ("${a%%*a*a*a*a*a*a*a*a*a*a*b}", "takes too much work"),
        ("${a##*[" + "x" * 200 + "]}", "takes too much work"),
        ("${a//a/${a}}", f"more than {MAX_OUTPUT} bytes"),
        ("${a/a/${a}}" * 200, f"more than {MAX_OUTPUT} bytes"),
        ("${a}" * 1000, f"more than {MAX_OUTPUT} bytes"),
        ("${a:-" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} substitutions within each other"),
    ],
)
def test_a_text_that_costs_too_much_is_refused_before_it_does(text: str, why: str) -> None:
    with pytest.raises(SubstitutionInvalid, match=why):
        substitute(text, {"a": LARGE})


def test_texts_that_share_a_budget_cost_together_what_one_may() -> None:
    budget = Budget(output=10)

    assert substitute("${a}", {"a": "12345678"}, budget=budget) == "12345678"
    with pytest.raises(SubstitutionInvalid):
        substitute("${a}", {"a": "12345678"}, budget=budget)
