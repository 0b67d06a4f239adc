"""How Go's fmt writes values: print, println and printf with every verb, flag, width and argument index.

    go_printf("%-5s|%+.2e|%#v", ["ab", 1.5, [1]])   ->   ab   |+1.50e+00|[]interface {}{1}

Source: Go, fmt/print.go and fmt/format.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gitops_core.gotemplate import numbers
from gitops_core.gotemplate.constants import can_backquote, is_print, quote, rune, to_bytes
from gitops_core.gotemplate.errors import CallError
from gitops_core.gotemplate.values import (
    LONGEST,
    NO_VALUE,
    Object,
    Struct,
    Uint8,
    Uint64,
    Value,
    Visits,
    is_list,
    is_nil_list,
    sorted_items,
    type_of,
)

WIDEST = 1_000_000
"""The widest padding that Go accepts."""
_NUMBER = re.compile("[0-9]*")
_INDEX = re.compile(r"\[([^\]]*)\]")


def text_of(value: Value) -> str:
    """Write a value like `%v`.

    >>> text_of({"b": [1, "x"], "a": None}), text_of(1e21), text_of(True)
    ('map[a:<nil> b:[1 x]]', '1e+21', 'true')
    """
    return value if isinstance(value, str) else go_print([value])


def go_print(values: Sequence[Value]) -> str:
    """Write like Go's Sprint: a space between two operands when neither is a string. Raises CallError: too long."""
    printer = _Printer()
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            printer.write(" ")
        printer.argument(value, "v")
    return printer.text()


def go_println(values: Sequence[Value]) -> str:
    printer = _Printer()
    for number, value in enumerate(values):
        printer.write(" " if number else "")
        printer.argument(value, "v")
    printer.write("\n")
    return printer.text()


def go_printf(template: str, values: Sequence[Value]) -> str:
    """Write like Go's Sprintf.

    >>> go_printf("%-5s|%03d|%q|%.2f|%d", ["ab", 7, "x", 1.005, "y"])
    'ab   |007|"x"|1.00|%!d(string=y)'
    """
    return _Formatter(template, values).run()


@dataclass
class _Flags:
    plus: bool = False
    minus: bool = False
    sharp: bool = False
    space: bool = False
    zero: bool = False
    plus_v: bool = False
    sharp_v: bool = False
    width: int | None = None
    precision: int | None = None


class _Printer:
    def __init__(self) -> None:
        self.flags = _Flags()
        self._pieces: list[str] = []
        self._size = 0
        self._visits = Visits()
        self._erring = False

    def write(self, text: str) -> None:
        self._size += len(text)
        if self._size > LONGEST:
            raise CallError(f"more than {LONGEST} characters")
        self._pieces.append(text)

    def text(self) -> str:
        return "".join(self._pieces)

    # values

    def argument(self, value: Value, verb: str) -> None:
        if value is None or value is NO_VALUE:
            if verb in "Tv":
                self._pad("<nil>")
            else:
                self._bad(verb, value)
        elif verb == "T":
            self._pad(self._cut(type_of(value)))
        elif verb == "p":
            self._pointer(value, verb)
        else:
            self.value(value, verb, 0)

    def value(self, value: Value, verb: str, depth: int) -> None:
        self._visits.enter(depth)
        if verb == "w":
            self._bad(verb, value)
            return
        match value:
            case None:
                self.write("interface {}(nil)" if self.flags.sharp_v else "<nil>")
            case _ if value is NO_VALUE:
                self.write("<nil>")
            case str():
                self._string(value, verb)
            case bool():
                self._pad("true" if value else "false") if verb in "tv" else self._bad(verb, value)
            case int():
                self._integer(value, verb)
            case float():
                self._float(value, verb)
            case complex():
                self._complex(value, verb)
            case Object(text=text):
                self._object(value.type_name, (), text, verb, depth)
            case Struct(fields=fields):
                self._object(value.type_name, fields, value.methods.get("String"), verb, depth)
            case Mapping():
                self._map(value, verb, depth)
            case _ if is_list(value):
                self._list(value, verb, depth)
            case _:
                self.write(str(value))

    def _object(
        self, type_name: str, fields: Sequence[tuple[str, Value]], text: str | None, verb: str, depth: int
    ) -> None:
        """Write a struct; for the verbs of texts, one with a String method as that says."""
        if text is not None and not self._erring and verb in "vsxXq" and not self.flags.sharp_v:
            self._string(text, verb)
        else:
            self._struct(type_name, fields, verb, depth)

    def _struct(self, type_name: str, fields: Sequence[tuple[str, Value]], verb: str, depth: int) -> None:
        named = self.flags.plus_v or self.flags.sharp_v
        self.write((type_name if self.flags.sharp_v else "") + "{")
        for number, (name, inner) in enumerate(fields):
            self.write(self._comma() if number else "")
            if named:
                shown = name or type_of(inner).rpartition(".")[2]
                self.write(f"{shown}:")
            self.value(inner, verb, depth + 1)
        self.write("}")

    def _map(self, value: Mapping[Value, Value], verb: str, depth: int) -> None:
        sharp = self.flags.sharp_v
        self.write(type_of(value) + "{" if sharp else "map[")
        for number, (key, inner) in enumerate(sorted_items(value)):
            self.write(self._comma() if number else "")
            self.value(key, verb, depth + 1)
            self.write(":")
            self.value(inner, verb, depth + 1)
        self.write("}" if sharp else "]")

    def _list(self, value: Sequence[Value], verb: str, depth: int) -> None:
        sharp = self.flags.sharp_v
        if sharp and is_nil_list(value):
            self.write(f"{type_of(value)}(nil)")
            return
        self.write(type_of(value) + "{" if sharp else "[")
        for number, inner in enumerate(value):
            self.write(self._comma() if number else "")
            self.value(inner, verb, depth + 1)
        self.write("}" if sharp else "]")

    def _comma(self) -> str:
        return ", " if self.flags.sharp_v else " "

    def _pointer(self, value: Value, verb: str) -> None:
        if is_list(value) or isinstance(value, Mapping):
            self.write("0x0")  # Go prints an address
        else:
            self._bad(verb, value)

    def _bad(self, verb: str, value: Value) -> None:
        self._erring = True
        self.write(f"%!{verb}(")
        if value is None or value is NO_VALUE:
            self.write("<nil>")
        else:
            self.write(f"{type_of(value)}=")
            self.value(value, "v", 0)
        self.write(")")
        self._erring = False

    # one kind each

    def _string(self, text: str, verb: str) -> None:
        match verb:
            case "v" if self.flags.sharp_v:
                self._quoted(text)
            case "v" | "s":
                self._pad(self._cut(text))
            case "q":
                self._quoted(text)
            case "x" | "X":
                self._hexadecimal(text, verb)
            case _:
                self._bad(verb, text)

    def _quoted(self, text: str) -> None:
        text = self._cut(text)
        if self.flags.sharp and can_backquote(text):
            self._pad(f"`{text}`")
        else:
            self._pad(quote(text, ascii_only=self.flags.plus))

    def _hexadecimal(self, text: str, verb: str) -> None:
        content = to_bytes(text)[: self.flags.precision]
        if not content:
            self._pad("")
            return
        prefix = f"0{verb}" if self.flags.sharp else ""
        digits = [f"{byte:02{verb}}" for byte in content]
        shown = " ".join(prefix + each for each in digits) if self.flags.space else prefix + "".join(digits)
        self._pad(shown)

    def _integer(self, number: int, verb: str) -> None:
        match verb:
            case "v" if self.flags.sharp_v and isinstance(number, Uint8 | Uint64):
                self.write(hex(number))
            case "v" | "d":
                self._digits(number, "d")
            case "b" | "o" | "O" | "x" | "X":
                self._digits(number, verb)
            case "c":
                self._pad(rune(number))
            case "q":
                self._pad(quote(rune(number), "'", ascii_only=self.flags.plus))
            case "U":
                self._unicode(number)
            case _:
                self._bad(verb, number)

    def _digits(self, number: int, verb: str) -> None:
        flags, negative = self.flags, number < 0
        digits = format(abs(number), verb.replace("O", "o"))
        if flags.precision is not None:
            if flags.precision == 0 and number == 0:
                self.write(" " * (flags.width or 0))
                return
            wanted = flags.precision
        else:
            signed = negative or flags.plus or flags.space
            wanted = flags.width - signed if flags.zero and not flags.minus and flags.width is not None else 0
        self._fits(wanted)
        digits = digits.rjust(wanted, "0")
        if flags.sharp and verb in "bxX":
            digits = f"0{verb}{digits}"
        elif flags.sharp and verb in "oO" and digits[0] != "0":
            digits = f"0{digits}"
        if verb == "O":
            digits = f"0o{digits}"
        sign = "-" if negative else "+" if flags.plus else " " if flags.space else ""
        self._pad(sign + digits, zero=False)

    def _unicode(self, number: int) -> None:
        digits = format(number % (1 << 64), "X").rjust(max(self.flags.precision or 0, 4), "0")
        shown = self.flags.sharp and 0 <= number <= 0x10FFFF and is_print(chr(number))
        self._pad(f"U+{digits}" + (f" '{chr(number)}'" if shown else ""), zero=False)

    def _float(self, number: float, verb: str) -> None:
        if verb not in "vbgGxXfFeE":
            self._bad(verb, number)
            return
        style = {"v": "g", "F": "f"}.get(verb, verb)
        default = 6 if style in "feE" else -1
        precision = default if self.flags.precision is None else self.flags.precision
        self._fits(precision)
        digits = numbers.float_text(abs(number), style, precision)
        sign = "-" if numbers.is_negative(number) else "+" if self.flags.plus else " " if self.flags.space else ""
        if digits in ("Inf", "NaN"):
            sign = ("+" if self.flags.plus else " " if self.flags.space else "") if digits == "NaN" else sign
            sign = "+" if digits == "Inf" and not sign else sign
            self._pad(sign + digits, zero=False)
            return
        if self.flags.sharp and verb != "b":
            digits = numbers.with_point(digits, style, precision)
        width = self.flags.width or 0
        if sign and self.flags.zero and not self.flags.minus and width > len(sign + digits):
            self._fits(width)
            self.write(sign + digits.rjust(width - 1, "0"))
        else:
            self._pad(sign + digits)

    def _complex(self, number: complex, verb: str) -> None:
        if verb not in "vbgGxXfFeE":
            self._bad(verb, number)
            return
        plus = self.flags.plus
        self.write("(")
        self._float(number.real, verb)
        self.flags.plus = True
        self._float(number.imag, verb)
        self.flags.plus = plus
        self.write("i)")

    # padding

    def _cut(self, text: str) -> str:
        return text if self.flags.precision is None else text[: self.flags.precision]

    def _fits(self, width: int) -> None:
        if self._size + width > LONGEST:
            raise CallError(f"more than {LONGEST} characters")

    def _pad(self, text: str, *, zero: bool = True) -> None:
        width = self.flags.width or 0
        if width > len(text):
            self._fits(width)
            fill = "0" if zero and self.flags.zero and not self.flags.minus else " "
            text = text.ljust(width, fill) if self.flags.minus else text.rjust(width, fill)
        self.write(text)


class _Formatter:
    """One run of printf over its template."""

    def __init__(self, template: str, values: Sequence[Value]) -> None:
        self._template, self._values = template, values
        self._at = self._used = 0
        self._reordered = self._after_index = False
        self._index_fits = True
        self._printer = _Printer()

    def run(self) -> str:
        template, printer = self._template, self._printer
        while (percent := template.find("%", self._at)) >= 0:
            printer.write(template[self._at : percent])
            self._at = percent + 1
            if not self._verb():
                self._at = len(template)
                break
        printer.write(template[self._at :])
        if not self._reordered and self._used < len(self._values):
            self._extra()
        return printer.text()

    def _verb(self) -> bool:
        """Write one verb; tell whether there was one."""
        self._printer.flags = flags = _Flags()
        self._index_fits, self._after_index = True, False
        self._read_flags(flags)
        self._index()
        self._width(flags)
        if self._template[self._at : self._at + 1] == "." and self._at + 1 < len(self._template):
            self._at += 1
            self._precision(flags)
        if not self._after_index:
            self._index()
        verb = self._template[self._at : self._at + 1]
        if not verb:
            self._printer.write("%!(NOVERB)")
            return False
        self._at += 1
        self._write(verb, flags)
        return True

    def _write(self, verb: str, flags: _Flags) -> None:
        if verb == "%":
            self._printer.write("%")
        elif not self._index_fits:
            self._printer.write(f"%!{verb}(BADINDEX)")
        elif self._used >= len(self._values):
            self._printer.write(f"%!{verb}(MISSING)")
        else:
            if verb in "vw":
                flags.sharp_v, flags.sharp = flags.sharp, False
                flags.plus_v, flags.plus = flags.plus, False
            self._used += 1
            self._printer.argument(self._values[self._used - 1], verb)

    def _read_flags(self, flags: _Flags) -> None:
        names = {"#": "sharp", "0": "zero", "+": "plus", "-": "minus", " ": "space"}
        while name := names.get(self._template[self._at : self._at + 1]):
            setattr(flags, name, True)
            self._at += 1

    def _index(self) -> None:
        self._after_index = False
        if self._template[self._at : self._at + 1] != "[":
            return
        self._reordered = True
        match = _INDEX.match(self._template, self._at)
        self._at = match.end() if match else self._at + 1
        self._after_index = match is not None
        number = int(match[1]) if match and re.fullmatch("[0-9]{1,7}", match[1]) else 0
        if 1 <= number <= len(self._values):
            self._used = number - 1
        else:
            self._index_fits = False
            self._after_index = number > 0

    def _width(self, flags: _Flags) -> None:
        if self._star():
            flags.width = self._from_argument("WIDTH")
            if flags.width is not None and flags.width < 0:
                flags.width, flags.minus, flags.zero = -flags.width, True, False
            return
        flags.width = self._number()
        if self._after_index and flags.width is not None:
            self._index_fits = False

    def _precision(self, flags: _Flags) -> None:
        if self._after_index:
            self._index_fits = False
        self._index()
        if self._star():
            given = self._from_argument("PREC", negative=False)
            flags.precision = given
            return
        number = self._number()
        flags.precision = 0 if number is None else number

    def _star(self) -> bool:
        if self._template[self._at : self._at + 1] != "*":
            return False
        self._at += 1
        self._after_index = False
        return True

    def _from_argument(self, what: str, *, negative: bool = True) -> int | None:
        given: Value = self._values[self._used] if self._used < len(self._values) else None
        self._used += self._used < len(self._values)
        fits = isinstance(given, int) and not isinstance(given, bool)
        if fits and (0 if not negative else -WIDEST) <= given <= WIDEST:
            return int(given)
        self._printer.write(f"%!(BAD{what})")
        return None

    def _number(self) -> int | None:
        match = _NUMBER.match(self._template, self._at)
        digits = match[0] if match else ""
        if not digits:
            return None
        if len(digits) > 7 or int(digits) > WIDEST:
            self._at = len(self._template)  # Go gives up on the whole rest
            return None
        self._at += len(digits)
        return int(digits)

    def _extra(self) -> None:
        printer = self._printer
        printer.flags = _Flags()
        printer.write("%!(EXTRA ")
        for number, value in enumerate(self._values[self._used :]):
            printer.write(", " if number else "")
            if value is None or value is NO_VALUE:
                printer.write("<nil>")
            else:
                printer.write(f"{type_of(value)}=")
                printer.argument(value, "v")
        printer.write(")")
