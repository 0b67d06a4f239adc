"""A LabelSelector as kubectl writes it: `app=web,tier in (a,b),!legacy`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gitops_core.api import LabelSelector
from image_updater.errors import SelectorInvalid

_KEY = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")


def write_selector(selector: LabelSelector | None) -> str:
    """Return the selector's text; "" selects everything.

    >>> write_selector(LabelSelector(match_labels={"app": "web"}))
    'app=web'

    Raises:
        SelectorInvalid.
    """
    if selector is None:
        return ""
    parts = [f"{_check_key(key)}={_check_value(key, value)}" for key, value in sorted(selector.match_labels.items())]
    for requirement in selector.match_expressions:
        key, values = (
            _check_key(requirement.key),
            sorted(_check_value(requirement.key, value) for value in requirement.values),
        )
        match requirement.operator, bool(values):
            case ("In" | "NotIn") as operator, True:
                parts.append(f"{key} {operator.lower()} ({','.join(values)})")
            case "Exists", False:
                parts.append(key)
            case "DoesNotExist", False:
                parts.append(f"!{key}")
            case operator, _:
                raise SelectorInvalid(f"policySelector: operator {operator!r} of label {key!r} does not fit its values")
    return ",".join(parts)


def _check_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise SelectorInvalid(f"policySelector: {key!r} is not a label")
    return key


def _check_value(key: str, value: str) -> str:
    if not _VALUE.fullmatch(value):
        raise SelectorInvalid(f"policySelector: {value!r} cannot be the value of label {key!r}")
    return value


def selects(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """Tell whether an object with these labels is selected; a missing selector selects everything.

    >>> selects(LabelSelector(match_labels={"app": "web"}), {"app": "web", "tier": "1"}), selects(None, {})
    (True, True)

    Raises:
        SelectorInvalid.
    """
    write_selector(selector)  # says what is wrong with it
    if selector is None:
        return True
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    return all(_meets(labels, item.key, item.operator, item.values) for item in selector.match_expressions)


def _meets(labels: Mapping[str, str], key: str, operator: str, values: Iterable[str]) -> bool:
    match operator:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels
