"""sprig's regular expressions: `regexFind` fails on a wrong pattern as `mustRegexFind` does, with other words.

Source: Masterminds/sprig v3.3, regex.go; Go, regexp/regexp.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from gitops_core.gotemplate.constants import can_backquote, quote, to_bytes, to_text
from gitops_core.gotemplate.errors import CallError
from gitops_core.gotemplate.functions import Function
from gitops_core.gotemplate.regexps import (
    Match,
    Pattern,
    PatternInvalid,
    compile_pattern,
    expand,
    first_match,
    group_names,
    matches,
    parse_expansion,
)
from gitops_core.gotemplate.sprig.strings import check_length
from gitops_core.gotemplate.values import GoList, Value

_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")


def found(pattern: Pattern, text: str) -> bool:
    return first_match(pattern, to_bytes(text)) is not None


def find(pattern: Pattern, text: str) -> str:
    match = first_match(pattern, to_bytes(text))
    return to_text(match.group(0) or b"") if match else ""


def find_all(pattern: Pattern, text: str, most: int) -> GoList:
    values = [to_text(match.group(0) or b"") for match in _some(pattern, to_bytes(text), most)]
    return GoList(values, "string", is_nil=not values)


def _some(pattern: Pattern, text: bytes, most: int) -> list[Match]:
    chosen: list[Match] = []
    for match in matches(pattern, text) if most else ():
        chosen.append(match)
        if len(chosen) == most:
            break
    return chosen


def split(pattern: Pattern, text: str, most: int) -> GoList:
    content = to_bytes(text)
    if most == 0:
        return GoList((), "string", is_nil=True)
    if not content:
        return GoList([""], "string")
    parts: list[str] = []
    begin = end = 0
    for match in _some(pattern, content, most):
        if 0 < most == len(parts) + 1:
            break
        end = match.start()
        if match.end() != 0:
            parts.append(to_text(content[begin:end]))
        begin = match.end()
    if end != len(content):
        parts.append(to_text(content[begin:]))
    return GoList(parts, "string")


def replace_all(pattern: Pattern, text: str, replacement: str) -> str:
    expansion, names = parse_expansion(replacement), group_names(pattern)
    return _replace(pattern, text, lambda match: expand(expansion, match, pattern.groups, names))


def replace_literally(pattern: Pattern, text: str, replacement: str) -> str:
    literal = to_bytes(replacement)
    return _replace(pattern, text, lambda _: literal)


def _replace(pattern: Pattern, text: str, new: Callable[[Match], bytes]) -> str:
    content = to_bytes(text)
    pieces: list[bytes] = []
    last = size = 0
    for match in matches(pattern, content):
        pieces += [content[last : match.start()], new(match)]
        size += len(pieces[-1])
        check_length(size)
        last = match.end()
    return to_text(b"".join([*pieces, content[last:]]))


def _must(run: Callable[..., Value]) -> Callable[..., Value]:
    def call(pattern: str, *rest: Value) -> Value:
        try:
            compiled = compile_pattern(pattern)
        except PatternInvalid as error:
            raise CallError(str(error)) from None
        return run(compiled, *rest)

    return call


def _panics(run: Callable[..., Value]) -> Callable[..., Value]:
    def call(pattern: str, *rest: Value) -> Value:
        try:
            return _must(run)(pattern, *rest)
        except CallError as error:
            if not str(error).startswith("error parsing regexp"):
                raise
            shown = f"`{pattern}`" if can_backquote(pattern) else quote(pattern)
            raise CallError(f"regexp: Compile({shown}): {error}") from None

    return call


def _matches(pattern: str, text: str) -> bool:
    try:
        return found(compile_pattern(pattern), text)
    except PatternInvalid:
        return False


def _functions() -> dict[str, Function]:
    made = {
        "regexMatch": Function("string, string", _matches),
        "mustRegexMatch": Function("string, string", _must(found)),
        "regexQuoteMeta": Function("string", lambda text: _SPECIAL.sub(lambda match: "\\" + match[0], text)),
    }
    for name, takes, run in (
        ("FindAll", "string, string, int", find_all),
        ("Find", "string, string", find),
        ("ReplaceAll", "string, string, string", replace_all),
        ("ReplaceAllLiteral", "string, string, string", replace_literally),
        ("Split", "string, string, int", split),
    ):
        made[f"regex{name}"] = Function(takes, _panics(run))
        made[f"mustRegex{name}"] = Function(takes, _must(run))
    return made


REGEXES: Mapping[str, Function] = _functions()
