"""How Go's fmt writes values: print, println and printf.

Source: https://pkg.go.dev/fmt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from gitops_core.gotemplate.errors import CallError
from gitops_core.gotemplate.values import Struct, Value, sort_key, type_of

_VERB = re.compile(r"%([-+# 0]*)([0-9]+)?(?:\.([0-9]+)?)?(.)", re.DOTALL)
WIDEST = 10_000
"""Characters that a verb may pad to."""


def text_of(value: Value) -> str:
    """`%v`.

    >>> text_of({"b": [1, "x"], "a": None}), text_of(1e21), text_of(True)
    ('map[a:<nil> b:[1 x]]', '1e+21', 'true')
    """
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case float():
            return _float(value)
        case str():
            return value
        case Struct(fields=fields):
            return "{" + " ".join(text_of(inner) for _, inner in fields) + "}"
        case Mapping():
            return "map[" + " ".join(f"{text_of(k)}:{text_of(value[k])}" for k in sorted(value, key=sort_key)) + "]"
        case list() | tuple():
            return "[" + " ".join(text_of(inner) for inner in value) + "]"
    return str(value)


def _float(number: float) -> str:
    if number != number or number in (float("inf"), float("-inf")):
        return "NaN" if number != number else ("+Inf" if number > 0 else "-Inf")
    digits = repr(number)
    exponent = Decimal(digits).adjusted()
    if number and (exponent < -4 or exponent >= 21):
        mantissa = format(Decimal(digits), "e").partition("e")[0]
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    text = format(Decimal(digits), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def go_print(values: Sequence[Value]) -> str:
    """Go's Sprint: a space between two operands when neither is a string."""
    pieces: list[str] = []
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            pieces.append(" ")
        pieces.append(text_of(value))
    return "".join(pieces)


def go_println(values: Sequence[Value]) -> str:
    return " ".join(text_of(value) for value in values) + "\n"


def go_printf(template: str, values: Sequence[Value]) -> str:
    """Go's Sprintf, for the flags, widths and verbs v s q d t x X f e g c T and %%.

    >>> go_printf("%-5s|%03d|%q|%.2f", ["ab", 7, "x", 1.005])
    'ab   |007|"x"|1.00'
    """
    used = 0
    pieces: list[str] = []
    position = 0
    for match in _VERB.finditer(template):
        pieces.append(template[position : match.start()])
        position = match.end()
        if match[4] == "%":
            pieces.append("%")
        elif used >= len(values):
            pieces.append(f"%!{match[4]}(MISSING)")
        else:
            pieces.append(_formatted(match, values[used]))
            used += 1
    rest = template[position:]
    pieces.append(rest if not rest.endswith("%") else rest[:-1] + "%!(NOVERB)")
    if used < len(values):
        extra = ", ".join(f"{type_of(v)}={text_of(v)}" for v in values[used:])
        pieces.append(f"%!(EXTRA {extra})")
    return "".join(pieces)


def _formatted(match: re.Match[str], value: Value) -> str:
    flags, width, verb = match[1], int(match[2] or 0), match[4]
    precision = int(match[3] or 0) if "." in match[0] else None
    if width > WIDEST or (precision or 0) > WIDEST:
        raise CallError(f"printf pads to more than {WIDEST} characters")
    text = _verb(verb, flags, precision, value)
    if text is None:
        return f"%!{verb}({type_of(value)}={text_of(value)})"
    if len(text) >= width:
        return text
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and (verb in "dxXfeg" or isinstance(value, int | float)):
        sign = text[:1] if text[:1] in "+-" else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)


def _verb(verb: str, flags: str, precision: int | None, value: Value) -> str | None:
    """The value in one verb's form, or None when the verb does not fit it."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    match verb:
        case "v":
            return text_of(value)
        case "T":
            return type_of(value)
        case "s" if isinstance(value, str):
            return value if precision is None else value[:precision]
        case "s" if isinstance(value, list | tuple | Mapping | Struct):
            return text_of(value)
        case "q" if isinstance(value, str):
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\x7f")
        case "t" if isinstance(value, bool):
            return text_of(value)
        case "d" if is_integer:
            return _signed(flags, value, str(abs(value)))
        case "x" | "X" if is_integer:
            return _signed(flags, value, ("0x" if "#" in flags else "") + format(abs(value), verb))
        case "x" | "X" if isinstance(value, str):
            text = value.encode().hex()
            return text.upper() if verb == "X" else text
        case "c" if is_integer and 0 <= value <= 0x10FFFF:
            return chr(value)
        case "f" | "e" | "g" if isinstance(value, float):
            text = _float(abs(value)) if verb == "g" and precision is None else _decimal(verb, abs(value), precision)
            return _signed(flags, value, text)
    return None


def _decimal(verb: str, value: float, precision: int | None) -> str:
    return format(value, f".{6 if precision is None else precision}{verb}")


def _signed(flags: str, value: float, digits: str) -> str:
    sign = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
    return sign + digits
