"""Go's constants: quoted strings, characters and numbers, read and written.

    "a\\tb\\u00e9"   `raw`   'x'   0x_1F   1e3   0b11   2i

Strings are Python's, with a byte that is no UTF-8 as a lone surrogate (`surrogateescape`).

Source: Go, strconv/quote.go, strconv/atoi.go; https://go.dev/ref/spec#Integer_literals.
"""

from __future__ import annotations

import re
import struct
import unicodedata

INT64 = 1 << 63
_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}
_NAMES = {7: r"\a", 8: r"\b", 12: r"\f", 10: r"\n", 13: r"\r", 9: r"\t", 11: r"\v", 92: r"\\"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_DIGITS = {
    "x": re.compile(r"(?:_?[0-9a-fA-F])+"),
    "o": re.compile(r"(?:_?[0-7])+"),
    "b": re.compile(r"(?:_?[01])+"),
    "": re.compile(r"[0-9](?:_?[0-9])*"),
}
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEX_FLOAT = re.compile(r"[+-]?0[xX](?:[0-9a-fA-F]+(?:\.[0-9a-fA-F]*)?|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+")
_LONE = re.compile("[\udc80-\udcff]")
_SPECIAL = {"inf": "inf", "infinity": "inf", "nan": "nan"}


def to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def to_text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def whole(text: str) -> str:
    """Replace each byte that is not UTF-8, once halves of characters have become whole ones."""
    return _LONE.sub("\ufffd", to_text(to_bytes(text))) if _LONE.search(text) else text


def rune(number: int) -> str:
    """Return the character of a number, or U+FFFD where there is none."""
    return chr(number) if 0 <= number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "\ufffd"


def unquote(quoted: str) -> str:
    """Return the text of a string constant. Raises ValueError with Go's words."""
    mark, inner = quoted[0], quoted[1:-1]
    if mark == "`":
        return inner.replace("\r", "")
    return to_text(to_bytes(_unescape(inner, mark)))


def unquote_character(quoted: str) -> int:
    """Return the number of a character constant. Raises ValueError with Go's words."""
    inner = quoted[1:-1]
    if not inner:
        raise ValueError("invalid syntax")
    escape = _ESCAPE.match(inner) if inner[0] == "\\" else None
    size = escape.end() if escape else 1
    character = _unescape(inner[:size], "'", single=True)
    if len(inner) != size:
        raise ValueError(f"malformed character constant: {quoted}")
    return 0xFFFD if 0xDC80 <= ord(character) <= 0xDCFF and not escape else ord(character)


def _unescape(inner: str, mark: str, *, single: bool = False) -> str:
    pieces: list[str] = []
    position = 0
    while (at := inner.find("\\", position)) >= 0:
        pieces.append(inner[position:at])
        match = _ESCAPE.match(inner, at)
        if match is None:
            raise ValueError("invalid syntax")
        pieces.append(_one(match, mark, single))
        position = match.end()
    return "".join([*pieces, inner[position:]])


def _one(match: re.Match[str], mark: str, single: bool) -> str:
    byte, short, long, octal, letter = match.groups()
    if letter is not None:
        if letter not in _ESCAPES or (letter in "'\"" and letter != mark):
            raise ValueError("invalid syntax")
        return chr(_ESCAPES[letter])
    number = int(octal, 8) if octal else int(byte or short or long, 16)
    if octal or byte:
        if number > 255:
            raise ValueError("invalid syntax")
        return chr(number) if single or number < 128 else chr(0xDC00 + number)
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise ValueError("invalid syntax")
    return chr(number)


def is_print(character: str) -> bool:
    """Tell whether a character is printable to Go's strconv.IsPrint: letters, marks, numbers, punctuation, symbols,
    space.
    """
    return character == " " or unicodedata.category(character)[0] in "LMNPS"


def quote(text: str, mark: str = '"', *, ascii_only: bool = False) -> str:
    """Quote like Go's strconv.Quote, QuoteToASCII and QuoteRune.

    >>> print(quote('é"' + chr(0x1b)), quote("é", ascii_only=True), quote("'", "'"))
    "é\\"\\x1b" "\\u00e9" '\\''
    """
    if mark == '"' and text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return mark + "".join(_quote(character, mark, ascii_only) for character in text) + mark


def _quote(character: str, mark: str, ascii_only: bool) -> str:
    number = ord(character)
    if character == mark:
        return f"\\{mark}"
    if number in _NAMES:
        return _NAMES[number]
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    if (number < 0x80 or not ascii_only) and is_print(character):
        return character
    if number < 0x20 or number == 0x7F:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def can_backquote(text: str) -> bool:
    return not any(c in "`\x7f\ufeff" or 0xDC80 <= ord(c) <= 0xDCFF or (c < " " and c != "\t") for c in text)


def parse_integer(text: str, *, signed: bool = True) -> int | None:
    """Parse like Go's ParseInt and ParseUint with base 0 and 64 bits; None for what they refuse.

    >>> parse_integer("0x_1F"), parse_integer("017"), parse_integer("1_000"), parse_integer("08")
    (31, 15, 1000, None)
    """
    sign, digits = (text[:1], text[1:]) if text[:1] in ("+", "-") and signed else ("", text)
    kind = digits[1:2].lower() if digits[:1] == "0" and digits[1:2].lower() in ("x", "o", "b") else ""
    body = digits[2:] if kind else digits
    if not kind and len(digits) > 1 and digits[0] == "0":
        kind, body = "o", digits[1:]
    if not _DIGITS[kind].fullmatch(body):
        return None
    number = int(body.replace("_", ""), {"x": 16, "o": 8, "b": 2, "": 10}[kind]) if len(body) < 100 else 1 << 65
    number = -number if sign == "-" else number
    low, high = (-INT64, INT64) if signed else (0, 2 * INT64)
    return number if low <= number < high else None


def decimal_or_zero(text: str) -> int:
    """Return what Go's ParseInt with base 10 and 64 bits gives beside its error: 0, or the bound that is exceeded.

    >>> decimal_or_zero("-12"), decimal_or_zero("1x"), decimal_or_zero("9" * 5000)
    (-12, 0, 9223372036854775807)
    """
    if not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        return 0
    digits = text.lstrip("+-").lstrip("0")[:20] or "0"  # more of them are beyond the bounds, too
    return max(-INT64, min(INT64 - 1, -int(digits) if text[0] == "-" else int(digits)))


def parse_float(text: str) -> float | None:
    """Parse like Go's ParseFloat with 64 bits; None for what it refuses.

    >>> parse_float("1e3"), parse_float("0x1p4"), parse_float("Inf"), parse_float("1e999"), parse_float("1_0")
    (1000.0, 16.0, inf, None, 10.0)

    Source: Go, strconv/atof.go and atoi.go (underscoreOK).
    """
    if word := _SPECIAL.get(text.lstrip("+-").lower() if len(text.lstrip("+-")) >= len(text) - 1 else ""):
        return float(text[0] + word) if text[0] == "-" else float(word)
    plain = text.replace("_", "") if _underscores_fit(text) else text
    try:
        if _HEX_FLOAT.fullmatch(plain):
            return float.fromhex(plain)
        number = float(plain) if _FLOAT.fullmatch(plain) else None
    except OverflowError:
        return None
    return None if number in (float("inf"), float("-inf")) else number


def _underscores_fit(text: str) -> bool:
    """Tell whether each underscore stands between two digits, or between a hexadecimal prefix and a digit."""
    digit = "[0-9a-fA-F]" if re.match(r"[+-]?0[xX]", text) else "[0-9]"
    return not re.search(rf"(?<!{digit})(?<!0[xX])_|_(?!{digit})", text)


def bits_of(number: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", number))[0])
