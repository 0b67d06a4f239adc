"""Flags as kubectl reads them, rewritten to how click does.

    -o=name -> -o name        one "=" behind a short flag is no part of its value
    -Ao=name -> -A -o name    short switches may stand together, a flag with a value behind them
    -w=false, --watch=false   a switch may say yes or no

What is no flag of the command is left for click to complain of.

Source: github.com/spf13/pflag, parseLongArg and parseSingleShortArg; strconv.ParseBool.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import click

_SAID = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True)
_SAID |= dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False)


def normalize(args: Sequence[str], params: Iterable[click.Parameter]) -> list[str]:
    """Write `args` as click takes them.

    >>> option, switch = click.Option(["-l", "--selector"]), click.Option(["-w", "--watch"], is_flag=True)
    >>> normalize(["ks", "-wl=app=web", "--watch=false", "-l=", "--", "-l=x"], [option, switch])
    ['ks', '-w', '-l', 'app=web', '-l', '', '--', '-l=x']
    """
    flags = {
        name: option
        for option in params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    found: list[str] = []
    waiting = iter(args)
    for arg in waiting:
        if arg == "--":
            found += [arg, *waiting]
        elif arg.startswith("--"):
            found += _read_long(arg, flags, waiting)
        elif arg.startswith("-"):
            found += _read_short(arg, flags, waiting)
        else:
            found.append(arg)
    return found


def _read_long(arg: str, flags: Mapping[str, click.Option], waiting: Iterator[str]) -> list[str]:
    name, equals, value = arg.partition("=")
    option = flags.get(name)
    if option is not None and option.is_flag and value in _SAID:
        return _write_switch(option, name, _SAID[value])
    if equals or option is None or option.is_flag or isinstance(option.flag_value, str):
        return [arg]
    return [arg, *_take_next(waiting)]


def _read_short(arg: str, flags: Mapping[str, click.Option], waiting: Iterator[str]) -> list[str]:
    found: list[str] = []
    letters = arg[1:]
    while letters:
        name, rest = f"-{letters[0]}", letters[1:]
        option = flags.get(name)
        if option is None:
            return [*found, f"-{letters}"]
        if not option.is_flag:
            return [*found, name, *([rest.removeprefix("=")] if rest else _take_next(waiting))]
        if rest.startswith("=") and rest[1:] in _SAID:
            return [*found, *_write_switch(option, name, _SAID[rest[1:]])]
        found.append(name)
        letters = rest
    return found or [arg]


def _take_next(waiting: Iterator[str]) -> list[str]:
    """Take the word that follows, whatever it looks like; none where there is none: click complains."""
    return [value for value in [next(waiting, None)] if value is not None]


def _write_switch(option: click.Option, name: str, says: bool) -> list[str]:
    """Return the words for a switch with yes or no; none where no is what it means anyway."""
    if says:
        return [name]
    others = option.opts if name in option.secondary_opts else option.secondary_opts
    return list(others[:1])
