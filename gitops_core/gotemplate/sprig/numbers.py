"""sprig's arithmetic: whatever is given is first made an int64 or a float64, and what is no number is 0.

Source: Masterminds/sprig v3.3, numeric.go; spf13/cast v1.7; shopspring/decimal v1.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal

from gitops_core.gotemplate.constants import decimal_or_zero, parse_float, parse_integer
from gitops_core.gotemplate.errors import CallError
from gitops_core.gotemplate.functions import Function
from gitops_core.gotemplate.printing import text_of
from gitops_core.gotemplate.values import MOST_ELEMENTS, GoList, Int64, Value

_EXACT = Context(prec=3000)


def to_int(value: Value) -> int:
    """Convert like cast.ToInt64."""
    if isinstance(value, float):
        fits = value == value and abs(value) < 2**63
        return int(value) if fits else -(2**63)  # what an amd64 processor makes of it
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return parse_integer(_without_zero_decimals(value)) or 0
    return 0


def _without_zero_decimals(text: str) -> str:
    whole, point, zeros = text.rpartition(".")
    return whole if point and zeros and not zeros.strip("0") else text


def to_float(value: Value) -> float:
    """Convert like cast.ToFloat64."""
    if isinstance(value, int | float):
        return float(value)
    return parse_float(value) or 0.0 if isinstance(value, str) else 0.0


def add(*values: Value) -> Int64:
    return Int64(sum(to_int(value) for value in values))


def multiply(first: Value, *others: Value) -> Int64:
    product = Int64(to_int(first))
    for other in others:
        product = Int64(product * to_int(other))
    return product


def divide(left: Value, right: Value) -> Int64:
    return Int64(_quotient(to_int(left), to_int(right)))


def remainder(left: Value, right: Value) -> Int64:
    a, b = to_int(left), to_int(right)
    return Int64(a - b * _quotient(a, b))


def _quotient(a: int, b: int) -> int:
    if b == 0:
        raise CallError("runtime error: integer divide by zero")
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def until_step(start: int, stop: int, step: int) -> GoList:
    if (step >= 0) if stop < start else (step <= 0):
        return GoList([], "int")
    numbers = range(start, stop, step)
    if abs((stop - start) // step) >= MOST_ELEMENTS:
        raise CallError(f"more than {MOST_ELEMENTS} elements")
    return GoList(numbers, "int")


def sequence(*numbers: int) -> str:
    match numbers:
        case (end,):
            start, step = 1, -1 if end < 1 else 1
            increment = step
        case (start, end):
            step = increment = -1 if end < start else 1
        case (start, step, end):
            increment = -1 if end < start else 1
            if end < start and step > 0:
                return ""
        case _:
            return ""
    return " ".join(map(str, until_step(start, end + increment, step)))


def round_to(value: Value, places: int, on: float = 0.5, *rest: float) -> float:
    number = to_float(value)
    try:
        power = math.pow(10, places)
    except OverflowError:
        power = math.inf
    digit = power * number
    if not math.isfinite(digit):
        return digit / power if power else math.nan
    share = math.modf(digit)[0]
    rounded = math.ceil(digit) if share >= on else math.floor(digit)
    if power == 0:
        return math.nan if rounded == 0 else math.copysign(math.inf, rounded)
    return math.copysign(float(rounded), digit) / power if rounded == 0 else rounded / power


def _whole(value: Value, rounding: Callable[[float], int]) -> float:
    number = to_float(value)
    if not math.isfinite(number):
        return number
    return math.copysign(float(rounding(number)), number) if -1 < number < 1 else float(rounding(number))


def to_decimal(value: Value) -> Int64:
    """Read the text as an octal number."""
    text = text_of(value)
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not digits or set(digits) - set("01234567") or len(digits) > 22:
        return Int64(0)
    number = int(digits, 8) * (-1 if text[0] == "-" else 1)
    return Int64(number if -(2**63) <= number < 2**63 else 0)


def _decimals(first: Value, others: Sequence[Value], combine: Callable[[Decimal, Decimal], Decimal]) -> float:
    total = _decimal(first)
    for other in others:
        total = combine(total, _decimal(other))
    try:
        return float(total) + 0.0  # there is no negative zero in decimal
    except OverflowError:
        return math.inf if total > 0 else -math.inf


def _decimal(value: Value) -> Decimal:
    number = to_float(value)
    if not math.isfinite(number):
        shown = "NaN" if number != number else "+Inf" if number > 0 else "-Inf"
        raise CallError(f"Cannot create a Decimal from {shown}")
    return Decimal(repr(number))


def _divide(a: Decimal, b: Decimal) -> Decimal:
    if not b:
        raise CallError("decimal division by 0")
    return _EXACT.divide(a, b).quantize(Decimal(1).scaleb(-16), rounding=ROUND_HALF_UP, context=_EXACT)


def _extreme(choose: Callable[..., float], values: Sequence[float]) -> float:
    return math.nan if any(value != value for value in values) else choose(values)


NUMBERS: Mapping[str, Function] = {
    "atoi": Function("string", decimal_or_zero),
    "int64": Function("any", lambda value: Int64(to_int(value))),
    "int": Function("any", to_int),
    "float64": Function("any", to_float),
    "seq": Function("...int", sequence),
    "toDecimal": Function("any", to_decimal),
    "until": Function("int", lambda count: until_step(0, count, -1 if count < 0 else 1)),
    "untilStep": Function("int, int, int", until_step),
    "add1": Function("any", lambda value: add(value, 1)),
    "add": Function("...any", add),
    "sub": Function("any, any", lambda left, right: Int64(to_int(left) - to_int(right))),
    "div": Function("any, any", divide),
    "mod": Function("any, any", remainder),
    "mul": Function("any, ...any", multiply),
    "add1f": Function("any", lambda value: _decimals(value, (1,), _EXACT.add)),
    "addf": Function("...any", lambda *values: _decimals(0.0, values, _EXACT.add)),
    "subf": Function("any, ...any", lambda first, *others: _decimals(first, others, _EXACT.subtract)),
    "divf": Function("any, ...any", lambda first, *others: _decimals(first, others, _divide)),
    "mulf": Function("any, ...any", lambda first, *others: _decimals(first, others, _EXACT.multiply)),
    "biggest": Function("any, ...any", lambda *values: Int64(max(map(to_int, values)))),
    "max": Function("any, ...any", lambda *values: Int64(max(map(to_int, values)))),
    "min": Function("any, ...any", lambda *values: Int64(min(map(to_int, values)))),
    "maxf": Function("any, ...any", lambda *values: _extreme(max, [to_float(value) for value in values])),
    "minf": Function("any, ...any", lambda *values: _extreme(min, [to_float(value) for value in values])),
    "ceil": Function("any", lambda value: _whole(value, math.ceil)),
    "floor": Function("any", lambda value: _whole(value, math.floor)),
    "round": Function("any, int, ...float64", round_to),
}
