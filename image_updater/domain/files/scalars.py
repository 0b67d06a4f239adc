"""How one YAML value is spelled: which texts need quotes to stay text.

A tag such as 1.10, 20240101 or on would be read as a number or a boolean by a YAML 1.1 parser. Such a value is put in
double quotes unless it stands in quotes already, as kyaml does.

Source: sigs.k8s.io/kustomize kyaml/yaml/compatibility.go (IsValueNonString), gopkg.in/yaml.v2 resolve.go.
"""

from __future__ import annotations

import re
from math import isinf

_SPELLABLE = re.compile(r"[!-~]+")  # printable ASCII without the space
_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./@:+-]*")
_WORDS = frozenset(
    word
    for text in ("null", "y", "yes", "on", "true", "n", "no", "off", "false", ".nan", ".inf", "+.inf", "-.inf")
    for word in (text, text.capitalize(), text.upper())
) | {"~", "<<", ".NaN", ".Inf", "+.Inf", "-.Inf"}
_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|0[0-7]*|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][+-]?[0-9]+)?")


def reads_as_text(value: str) -> bool:
    """Whether `value`, without quotes, is a string to the YAML 1.1 parser of the original, for which dates are text.

    >>> [reads_as_text(v) for v in ("1.2.3", "1.10", "0o17", "1_000", "on", "2024-01-02", "v1")]
    [True, False, False, False, False, True, True]
    """
    number = "" if value.startswith("_") else value.replace("_", "")
    if value == "" or value in _WORDS or _INTEGER.fullmatch(number):
        return False
    return not _FLOAT.fullmatch(number) or isinf(float(number))


def can_spell(value: str) -> bool:
    """Whether `spell` takes it: no empty text, no space, no quote, no backslash. Every image reference is such."""
    return bool(_SPELLABLE.fullmatch(value)) and not set(value) & set("\"'\\")


def spell(value: str, style: str) -> str:
    """Spell `value` in the style that stands there, or in double quotes where the plain style would change its type.

    Args:
        style: the quote; "" for none.

    >>> spell("1.10", ""), spell("1.10", "'"), spell("v1", "")
    ('"1.10"', "'1.10'", 'v1')
    """
    if style == "" and not (_PLAIN.fullmatch(value) and not value.endswith(":") and reads_as_text(value)):
        style = '"'
    return f"{style}{value}{style}"
