"""`${variable}` in texts, with bash's operators as Flux reads them.

    ${a}  $${a}                  the value / the text ${a}; $a is a text
    ${#a}                        its length in bytes
    ${a:-w} ${a:=w} ${a=w}       the value, or w where it is empty; `:?` and `:+` do the same
    ${a:1} ${a:1:2}              bytes from there on / as many of them; negative offsets count from the end
    ${a^} ${a^^} ${a,} ${a,,}    first letter or all of them in upper or lower case
    ${a#p} ${a##p} ${a%p} ${a%%p}        without the shortest or longest beginning or end that matches p
    ${a/t/w} ${a//t/w} ${a/#t/w} ${a/%t/w}   the text t replaced by w: once, everywhere, at the beginning, at the end

In words and patterns may stand another ${...}. A variable that is not set is an error, but where a word stands in.

Source: fluxcd/pkg, envsubst v1.7.0, with tests/golden/test_envsubst.py. `${a:1:-1}` panics there and is an error here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from gitops_core.gotemplate.sprig.cases import lower, upper

MAX_DEPTH = 50
"""Of ${...} within ${...}."""
MOST_DIGITS = 400
"""Of an offset; one of more is none."""
MAX_WORK = 10_000_000
"""Steps of matching patterns: bytes of values, times the length of the pattern."""
MAX_OUTPUT = 64 * 1024 * 1024
"""Bytes that values may become, all together."""


class SubstitutionInvalid(ValueError):
    """The text is none that can be substituted; the message quotes names of variables, never a value."""


@dataclass(frozen=True)
class _Call:
    """`${name operator arguments}`; the operator "" is the plain value."""

    name: str
    operator: str = ""
    arguments: tuple[str | _Call, ...] = ()


@dataclass
class Budget:
    """What the texts that are substituted with it may cost together."""

    work: int = MAX_WORK
    output: int = MAX_OUTPUT

    def spend(self, steps: int) -> None:
        """Count steps before they are taken. Raises SubstitutionInvalid."""
        self.work -= steps
        if self.work < 0:
            raise SubstitutionInvalid("matching its patterns takes too much work")

    def produce(self, size: int) -> None:
        """Count bytes before they are made. Raises SubstitutionInvalid."""
        self.output -= size
        if self.output < 0:
            raise SubstitutionInvalid(f"the values of its variables become more than {MAX_OUTPUT} bytes")


def substitute(text: str, variables: Mapping[str, str], *, strict: bool = True, budget: Budget | None = None) -> str:
    """Return `text` with the values of its variables.

    >>> substitute("${host%%.*}:${port:-80} costs $$5", {"host": "db.example"})
    'db:80 costs $5'

    Args:
        strict: a variable that is not set is an error; else it is empty.
        budget: that other texts share; by default one of its own.

    Raises:
        SubstitutionInvalid: what is wrong, also where a character would be cut in two.
    """
    budget, parts = budget or Budget(), tuple(_Reader(text).read_all())
    try:
        return b"".join(_evaluate(part, variables, strict, budget) for part in parts).decode()
    except UnicodeDecodeError:
        raise SubstitutionInvalid("an offset or a pattern cuts a character in two") from None


def find_names(text: str) -> frozenset[str]:
    """Find the variables that `text` names. Raises SubstitutionInvalid."""
    found: set[str] = set()
    pending = list(_Reader(text).read_all())
    while pending:
        part = pending.pop()
        if isinstance(part, _Call):
            found.add(part.name)
            pending += part.arguments
    return frozenset(found)


# reading


@dataclass
class _Reader:
    """Reads texts and calls out of a text, from left to right."""

    text: str
    at: int = 0
    depth: int = field(default=0)

    def read_all(self) -> Iterator[str | _Call]:
        while self.at < len(self.text):
            if self._is_call():
                yield self._read_call()
            else:
                yield self._read_text(lambda character: True, escapes="$")

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _is_call(self) -> bool:
        return self.text.startswith("${", self.at)

    def _read_text(self, accepts: Callable[[str], bool], escapes: str = "") -> str:
        """Read up to a call, or a character that is not accepted; of `$$`, `\\/` and `\\\\` the second one is text."""
        found = []
        while self.at < len(self.text) and not self._is_call():
            character, following = self.text[self.at], self.text[self.at + 1 : self.at + 2]
            is_escape = character in escapes and following in (("$",) if character == "$" else ("/", "\\"))
            if is_escape:
                self.at += 1
                character = following
            elif not accepts(character):
                break
            found.append(character)
            self.at += 1
        return "".join(found)

    def _take(self, *operators: str) -> str:
        """Take the first of `operators` that stands here; "" for none."""
        found = next((one for one in operators if self.text.startswith(one, self.at)), "")
        self.at += len(found)
        return found

    def _read_call(self) -> _Call:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise SubstitutionInvalid(f"more than {MAX_DEPTH} substitutions within each other")
        self.at += len("${")
        call = self._read_rest()
        self.depth -= 1
        return call

    def _read_rest(self) -> _Call:
        if self._take("#"):
            if not (name := self._read_name()):
                raise SubstitutionInvalid("bad substitution")
            return self._close(_Call(name, "length"))
        if not (name := self._read_name()):
            raise SubstitutionInvalid("unable to parse variable name")
        match self._peek():
            case "=":
                self.at += 1
                return self._read_default(name)
            case ":" if self.text[self.at + 1 : self.at + 2] in ("=", "-", "?", "+"):
                self.at += 2
                return self._read_default(name)
            case ":":
                return self._read_substring(name)
            case "," | "^":
                return self._close(_Call(name, self._read_case()))
            case "/":
                return self._read_replacement(name)
            case "#" | "%":
                operator = self._take("##", "#", "%%", "%")
                return self._close(_Call(name, operator, (self._read_argument(_is_inside),)))
            case "}":
                return self._close(_Call(name))
        raise SubstitutionInvalid("missing closing brace")

    def _read_name(self) -> str:
        begin = self.at
        while (character := self._peek()) and (character.isalpha() or character.isdecimal() or character == "_"):
            self.at += 1
        return self.text[begin : self.at]

    def _read_case(self) -> str:
        begin = self.at
        while self.at < begin + 2 and self._peek() in (",", "^"):
            self.at += 1
        return self.text[begin : self.at]

    def _read_default(self, name: str) -> _Call:
        arguments: list[str | _Call] = []
        while self._peek() != "}":
            arguments.append(self._read_argument(_is_inside))
        return self._close(_Call(name, ":-", tuple(arguments)))

    def _read_substring(self, name: str) -> _Call:
        self.at += 1
        if not self._peek().isascii() or not self._peek():
            raise SubstitutionInvalid("bad substitution")
        offset = self._read_argument(lambda character: character not in ":}")
        if not self._take(":"):
            return self._close(_Call(name, ":", (offset,)))
        while self._take(":"):
            pass
        return self._close(_Call(name, ":", (offset, self._read_argument(_is_inside))))

    def _read_replacement(self, name: str) -> _Call:
        operator = self._take("//", "/#", "/%", "/")
        wanted = self._read_argument(lambda character: character != "/", escapes="$\\")
        if not self._take("/"):
            raise SubstitutionInvalid("bad substitution")
        while self._take("/"):
            pass
        if self._peek() == "}":
            return self._close(_Call(name, operator, (wanted,)))
        return self._close(_Call(name, operator, (wanted, self._read_argument(_is_inside, escapes="$\\"))))

    def _read_argument(self, accepts: Callable[[str], bool], escapes: str = "") -> str | _Call:
        """Read one text or one call."""
        if self._is_call():
            return self._read_call()
        begin = self.at
        text = self._read_text(accepts, escapes)
        if self.at == begin:
            raise SubstitutionInvalid("unable to parse substitution within function")
        return text

    def _close(self, call: _Call) -> _Call:
        if not self._take("}"):
            raise SubstitutionInvalid("bad substitution")
        return call


def _is_inside(character: str) -> bool:
    return character != "}"


# values


def _evaluate(part: str | _Call, variables: Mapping[str, str], strict: bool, budget: Budget) -> bytes:
    if isinstance(part, str):
        return part.encode(errors="surrogatepass")
    arguments = [_evaluate(one, variables, strict, budget) for one in part.arguments]
    if strict and part.name not in variables and part.operator != ":-":
        raise SubstitutionInvalid(f'variable not set (strict mode): "{part.name}"')
    value = variables.get(part.name, "").encode(errors="surrogatepass")
    budget.produce(len(value))
    match part.operator, arguments:
        case "", _:
            return value
        case "length", _:
            return str(len(value)).encode()
        case ":-", _:
            return value or b"".join(arguments)
        case ":", [offset, *length]:
            return _cut(value, offset, *length)
        case ("#" | "##" | "%" | "%%") as operator, [pattern]:
            return _trim(value, operator, pattern, budget)
        case ("/" | "//" | "/#" | "/%") as operator, [wanted, *word]:
            budget.produce(value.count(wanted) * len(b"".join(word)))
            return _replace(value, operator, wanted, *word)
        case operator, _:
            return _change_case(value, operator)


def _cut(value: bytes, offset: bytes, length: bytes | None = None) -> bytes:
    """Cut as many bytes out of `value` as are asked for; all of it where a number is none, as bash does."""
    begin, size = _parse_number(offset), _parse_number(length) if length is not None else len(value)
    if begin is None or size is None:
        return value
    begin = max(0, len(value) + begin) if begin < 0 else begin
    if begin + size >= len(value):
        return value[begin:]
    if size < 0:
        raise SubstitutionInvalid("a length is negative")
    return value[begin : begin + size]


def _parse_number(text: bytes) -> int | None:
    """Parse a number as Go's strconv.Atoi does."""
    digits = text[1:] if text[:1] in (b"-", b"+") else text
    if not digits.isdigit() or len(digits) > MOST_DIGITS:
        return None
    return int(text) if -(2**63) <= int(text) < 2**63 else None


def _change_case(value: bytes, operator: str) -> bytes:
    text = value.decode(errors="surrogatepass")
    match operator:
        case "^^":
            text = upper(text)
        case ",,":
            text = lower(text)
        case "^":
            text = upper(text[:1]) + text[1:]
        case ",":
            text = lower(text[:1]) + text[1:]
    return text.encode(errors="surrogatepass")


def _replace(value: bytes, operator: str, wanted: bytes, word: bytes | None = None) -> bytes:
    match operator:
        case "/":
            return value.replace(wanted, word or b"", 1)
        case "//":
            return value.replace(wanted, word or b"")
        case "/#" if word is not None and value.startswith(wanted):
            return word + value[len(wanted) :]
        case "/%" if word is not None and value.endswith(wanted):
            return value[: len(value) - len(wanted)] + word
    return value


def _trim(value: bytes, operator: str, pattern: bytes, budget: Budget) -> bytes:
    """Trim what matches at one end. At the end of the text both are read backwards, as the original does it."""
    if operator.startswith("%"):
        return _reverse(_trim(_reverse(value), "#" * len(operator), _reverse(pattern), budget))
    tokens = _read_pattern(pattern.decode(errors="surrogatepass"))
    if tokens is None:
        return value
    budget.spend(len(value) * len(pattern))
    sizes = tuple(_match_beginnings(value, tokens))
    return value[(max if operator == "##" else min)(sizes) :] if sizes else value


def _reverse(value: bytes) -> bytes:
    return value.decode(errors="replace")[::-1].encode()


# patterns

Token = bytes | Callable[[str], bool] | None
"""A byte that must stand there; what tells whether a character may; None for `*`, any bytes."""


def _read_pattern(pattern: str) -> list[Token] | None:
    """Read a pattern of Go's path.Match, whose `*` takes `/` too; None for one that is none and never matches."""
    tokens: list[Token] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        match character:
            case "*":
                tokens.append(None)
            case "?":
                tokens.append(lambda _: True)
            case "[":
                found = _read_class(pattern, at)
                if found is None:
                    return None
                accepts, at = found
                tokens.append(accepts)
            case "\\":
                if at == len(pattern):
                    return None
                tokens += _spell(pattern[at])
                at += 1
            case _:
                tokens += _spell(character)
    return tokens


def _spell(character: str) -> list[Token]:
    return [bytes([byte]) for byte in character.encode(errors="surrogatepass")]


def _read_class(pattern: str, at: int) -> tuple[Callable[[str], bool], int] | None:
    is_negated = pattern.startswith("^", at)
    at += is_negated
    ranges: list[tuple[str, str]] = []
    while not (pattern.startswith("]", at) and ranges):
        if (low := _read_bound(pattern, at)) is None:
            return None
        at = low[1]
        high = low
        if pattern.startswith("-", at):
            found = _read_bound(pattern, at + 1)
            if found is None:
                return None
            high = found
            at = high[1]
        ranges.append((low[0], high[0]))
    return (lambda character: any(a <= character <= b for a, b in ranges) != is_negated), at + 1


def _read_bound(pattern: str, at: int) -> tuple[str, int] | None:
    if at >= len(pattern) or pattern[at] in "-]":
        return None
    at += pattern[at] == "\\"
    # a class must be closed behind it
    return (pattern[at], at + 1) if at + 1 < len(pattern) else None


def _match_beginnings(value: bytes, tokens: list[Token]) -> Iterator[int]:
    """Yield the sizes (of a byte and more) of the beginnings of `value` that match, also of those within a character.

    There, what is left of the character counts as so many characters that are none.
    """
    reached = [0] * (len(value) + 1)
    reached[0] = _skip_stars(1, tokens)
    last = 1 << len(tokens)
    for at in range(len(value)):
        if reached[at]:
            _step(value, at, len(value), reached, tokens)
    for size in range(1, len(value) + 1):
        begin = size
        while begin < len(value) and begin > 0 and value[begin] & 0xC0 == 0x80:
            begin -= 1
        if begin == size:
            is_matched = reached[size] & last
        else:
            partial = [0] * (size + 1)
            partial[begin] = reached[begin]
            for at in range(begin, size):
                _step(value, at, size, partial, tokens)
            is_matched = partial[size] & last
        if is_matched:
            yield size


def _step(value: bytes, at: int, end: int, reached: list[int], tokens: list[Token]) -> None:
    """Note what is reached behind the byte, or the character, at `at`."""
    character, width = _decode(value, at, end)
    for index, token in enumerate(tokens):
        if not reached[at] >> index & 1:
            continue
        if token is None:
            reached[at + 1] |= 1 << index
        elif isinstance(token, bytes):
            if value[at : at + 1] == token:
                reached[at + 1] |= 1 << index + 1
        elif token(character):
            reached[at + width] |= 1 << index + 1
    for place in {at + 1, at + width}:
        reached[place] = _skip_stars(reached[place], tokens)


def _skip_stars(states: int, tokens: list[Token]) -> int:
    """Add what is reached by `*` that takes nothing."""
    for index, token in enumerate(tokens):
        if token is None and states >> index & 1:
            states |= 1 << index + 1
    return states


def _decode(value: bytes, at: int, end: int) -> tuple[str, int]:
    """Decode a character as Go's utf8.DecodeRune does: what is none is U+FFFD, one byte wide."""
    first = value[at]
    width = 1 if first < 0x80 else 2 if first >> 5 == 0b110 else 3 if first >> 4 == 0b1110 else 4
    try:
        if at + width <= end:
            return value[at : at + width].decode(), width
    except UnicodeDecodeError:
        pass
    return "\N{REPLACEMENT CHARACTER}", 1
