"""Label selectors as kubectl writes them: `app=web,tier!=db,env in (a, b),env notin (c),managed,!legacy`.

All requirements must hold. `!=` and `notin` also hold for objects without the label.

Source: k8s.io/apimachinery, package labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

Operator = Literal["in", "notin", "exists", "missing"]

_REQUIREMENT = re.compile(
    r"""\s*(?:
      !\s*(?P<missing>[^\s=!,()<>]+)
    | (?P<key>[^\s=!,()<>]+)\s*(?:
        (?P<sets>\b(?:in|notin))\s*\((?P<values>[^()]*)\)
      | (?P<operator>==|=|!=|<|>)\s*(?P<value>[^\s=!,()<>]*)
      )?
    )\s*(?:,|$)""",
    re.VERBOSE,
)


class Requirement(NamedTuple):
    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "in":
                return labels.get(self.key) in self.values
            case "notin":
                return self.key not in labels or labels[self.key] not in self.values
            case "exists":
                return self.key in labels
            case _:
                return self.key not in labels


Selector = tuple[Requirement, ...]


def parse_selector(text: str) -> Selector:
    """
    >>> parse_selector("app=web")
    (Requirement(key='app', operator='in', values=frozenset({'web'})),)

    Raises:
        ValueError: not a selector.
    """
    requirements: list[Requirement] = []
    position = 0
    while position < len(text.rstrip()):
        match = _REQUIREMENT.match(text, position)
        if match is None or match.end() == position:
            raise ValueError(f"unable to parse requirement: {text[position:]!r}")
        requirements.append(_parse_requirement(match))
        position = match.end()
    if text.rstrip().endswith(","):
        raise ValueError(f"unable to parse requirement: {text!r} ends with a comma")
    return tuple(requirements)


def _parse_requirement(match: re.Match[str]) -> Requirement:
    if match["missing"]:
        return Requirement(match["missing"], "missing")
    if match["sets"]:
        values = frozenset(value.strip() for value in match["values"].split(","))
        return Requirement(match["key"], "in" if match["sets"] == "in" else "notin", values)
    if match["operator"] in ("<", ">"):
        raise ValueError(f"labels are not compared by size here: {match[0]!r}")
    if match["operator"]:
        return Requirement(match["key"], "notin" if match["operator"] == "!=" else "in", frozenset({match["value"]}))
    return Requirement(match["key"], "exists")


def write_selector(selector: Selector) -> str:
    """Write a selector, the same way whatever the order of its requirements and values.

    >>> write_selector(parse_selector("tier in (b , a), app==web,app = web"))
    'app=web,tier in (a,b)'
    """
    return ",".join(sorted({_write_requirement(requirement) for requirement in selector}))


def _write_requirement(requirement: Requirement) -> str:
    key, operator, values = requirement
    match operator:
        case "exists":
            return key
        case "missing":
            return f"!{key}"
        case _ if len(values) == 1:
            return f"{key}{'=' if operator == 'in' else '!='}{min(values)}"
        case _:
            return f"{key} {operator} ({','.join(sorted(values))})"


def selects(selector: Selector, labels: Mapping[str, str]) -> bool:
    return all(requirement.matches(labels) for requirement in selector)
