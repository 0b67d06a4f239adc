"""How Go writes floating point numbers.

    float_text(1e6, "g", -1) = "1e+06"    float_text(1.5, "x", -1) = "0x1.8p+00"

Precision -1 stands for as many digits as are needed to read the same number again.

Source: Go, strconv/ftoa.go.
"""

from __future__ import annotations

import math
from decimal import Decimal

from gitops_core.gotemplate.constants import bits_of


def is_negative(number: float) -> bool:
    return math.copysign(1.0, number) < 0


def float_text(number: float, style: str, precision: int = -1) -> str:
    """Write a number without its sign, in the style of the verb: e E f g G x X b."""
    if number != number or number == math.inf:
        return "NaN" if number != number else "Inf"
    match style:
        case "b":
            return _binary(number)
        case "x" | "X":
            text = _hexadecimal(number, precision)
            return text.upper() if style == "X" else text
        case "f":
            return _plain(Decimal(repr(number))) if precision < 0 else f"{number:.{precision}f}"
        case "e" | "E":
            text = _scientific(number) if precision < 0 else f"{number:.{precision}e}"
            return text.upper() if style == "E" else text
    text = _shortest(number) if precision < 0 else _general(number, precision)
    return text.upper() if style == "G" else text


def json_float(number: float) -> str:
    """Write a number as Go's encoding/json does: 1e+21 has an exponent, 1e20 has none."""
    size = abs(number)
    if size and (size < 1e-6 or size >= 1e21):
        text = _scientific(size)
        text = text[:-2] + text[-1] if text[-4:-1] == "e-0" else text
    else:
        text = _plain(Decimal(repr(size)))
    return ("-" if is_negative(number) else "") + text


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scientific(number: float) -> str:
    _, digits, exponent = Decimal(repr(number)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0") or "0"
    power = (len(digits) + int(exponent) - 1) if number else 0
    fraction = f".{text[1:]}" if len(text) > 1 else ""
    return f"{text[0]}{fraction}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _shortest(number: float) -> str:
    exponent = Decimal(repr(number)).adjusted() if number else 0
    return _scientific(number) if exponent < -4 or exponent >= 6 else _plain(Decimal(repr(number)))


def _general(number: float, precision: int) -> str:
    digits = precision or 1
    scientific = f"{number:.{digits - 1}e}"
    mantissa, _, power = scientific.partition("e")
    significant = mantissa.replace(".", "").rstrip("0") or "0"
    exponent = int(power)
    threshold = digits
    if threshold > len(significant) >= exponent + 1:
        threshold = len(significant)
    if exponent < -4 or exponent >= threshold:
        fraction = f".{significant[1:]}" if len(significant) > 1 else ""
        return f"{significant[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    return _plain(Decimal(significant).scaleb(exponent - len(significant) + 1))


def _binary(number: float) -> str:
    bits = bits_of(number)
    exponent, mantissa = bits >> 52 & 0x7FF, bits & ((1 << 52) - 1)
    mantissa, power = (mantissa | 1 << 52, exponent - 1075) if exponent else (mantissa, -1074)
    return f"{mantissa}p{power:+d}"


def _hexadecimal(number: float, precision: int) -> str:
    if number == 0:
        return "0x0" + ("." + "0" * precision if precision > 0 else "") + "p+00"
    mantissa, power = math.frexp(number)
    whole, power = int(mantissa * (1 << 53)), power - 1  # 53 bits, the first one set
    if 0 <= precision < 13:
        shift = 52 - 4 * precision
        rest, half = whole & ((1 << shift) - 1), 1 << (shift - 1)
        whole >>= shift
        whole += rest > half or (rest == half and whole & 1)
        if whole >> (4 * precision + 1):
            whole, power = whole >> 1, power + 1
        whole <<= shift
    digits = format(whole & ((1 << 52) - 1), "013x")
    digits = digits.rstrip("0") if precision < 0 else digits.ljust(precision, "0")[:precision]
    return f"0x1{'.' + digits if digits else ''}p{'-' if power < 0 else '+'}{abs(power):02d}"


def with_point(digits: str, style: str, precision: int) -> str:
    """Apply the sharp flag: a decimal point always, and the zeros that %g leaves out."""
    wanted = (6 if precision == -1 else precision) if style in "gGx" else 0
    marks = "pP" if style in "xX" else "eEpP"
    cut = next((at for at, character in enumerate(digits) if character in marks), len(digits))
    head, tail = digits[:cut], digits[cut:]
    seen = False
    for character in head:
        seen = seen or character not in "0."
        wanted -= seen and character != "."
    if "." not in head:
        wanted -= head == "0"
        head += "."
    return head + "0" * max(wanted, 0) + tail
