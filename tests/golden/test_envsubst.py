"""`${variable}` means what it means to Flux: recorded answers of its substitution library.

Cases: tests/golden/data/envsubst.jsonl, of fluxcd/pkg/envsubst v1.7.0.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from gitops_core.domain.render.envsubst import SubstitutionInvalid, substitute

CASES: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parent / "data" / "envsubst.jsonl").read_text().splitlines()
]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_text_is_substituted_as_flux_does_it(case: dict[str, Any]) -> None:
    def answer() -> str:
        return substitute(case["template"], case["vars"], strict=case.get("strict", False))

    if "output" in case:
        assert answer() == case["output"]
    elif "output_b64" in case:  # no UTF-8: the original fails when it reads its own output as YAML
        with pytest.raises(UnicodeDecodeError):
            base64.b64decode(case["output_b64"]).decode()
        with pytest.raises(SubstitutionInvalid, match="cuts a character in two"):
            answer()
    else:
        with pytest.raises(SubstitutionInvalid) as refused:
            answer()
        if not case.get("panic"):
            assert str(refused.value) == case["error"]
