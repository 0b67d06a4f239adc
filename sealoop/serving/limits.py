"""`--limit NAME=NUMBER`: the limits that an operator sets, by the names of the fields of Policy.

--limit build-memory=2Gi --limit git-files=500000
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping

from gitops_core.runtime.policy import GI, KI, MI, Policy

_NUMBER = re.compile(r"([1-9][0-9]{0,14})(Ki|Mi|Gi)?")
_FACTORS = {None: 1, "Ki": KI, "Mi": MI, "Gi": GI}


def list_limits(policy: Policy) -> Mapping[str, int]:
    """List the limits by the names that people write."""
    values = dataclasses.asdict(policy).items()
    return {name.replace("_", "-"): value for name, value in values if type(value) is int}


def apply_limits(policy: Policy, words: Iterable[str]) -> Policy:
    """Apply the limits that `words` name to `policy`; of one that is named twice, the last.

    >>> apply_limits(Policy(), ["build-memory=2Gi", "builds=4"]).build_memory
    2147483648

    Raises:
        ValueError: no such limit, or no number.
    """
    known, said = list_limits(policy), dict[str, int]()
    for word in words:
        name, _, text = word.partition("=")
        if name not in known:
            raise ValueError(f"there is no limit {name!r}, only {', '.join(known)}")
        if (number := _NUMBER.fullmatch(text)) is None:
            raise ValueError(f"{name} is a whole number above 0, also with Ki, Mi or Gi: {text!r} is none")
        said[name.replace("-", "_")] = int(number[1]) * _FACTORS[number[2]]
    return dataclasses.replace(policy, **said)  # type: ignore[arg-type]  # all but numbers is left as it was
