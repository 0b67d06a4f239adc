"""The parsed form of a template."""

from __future__ import annotations

from dataclasses import dataclass

from gitops_core.gotemplate.values import Value


@dataclass(frozen=True)
class Constant:
    value: Value


@dataclass(frozen=True)
class Dot:
    pass


@dataclass(frozen=True)
class Variable:
    """`$` is the data that the template was given."""

    name: str


@dataclass(frozen=True)
class Function:
    """A function's name in the place of an operand: called without arguments, or with those of its command."""

    name: str


@dataclass(frozen=True)
class Chain:
    """Fields of a value: `.a.b`, `$x.a`, `(index .m "k").a`."""

    base: Operand
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """An operand, or a function and its arguments."""

    operands: tuple[Operand, ...]
    line: int


@dataclass(frozen=True)
class Pipeline:
    """Commands, each given the result of the one before as its last argument.

    Attributes:
        variables: what the result is stored in; of a range, the key and the element.
        declares: the variables are new.
    """

    commands: tuple[Command, ...]
    line: int
    variables: tuple[str, ...] = ()
    declares: bool = False


Operand = Constant | Dot | Variable | Function | Chain | Pipeline


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Print:
    pipeline: Pipeline


@dataclass(frozen=True)
class If:
    condition: Pipeline
    then: Block
    otherwise: Block


@dataclass(frozen=True)
class With:
    value: Pipeline
    then: Block
    otherwise: Block


@dataclass(frozen=True)
class Range:
    over: Pipeline
    body: Block
    otherwise: Block


@dataclass(frozen=True)
class Break:
    pass


@dataclass(frozen=True)
class Continue:
    pass


Node = Text | Print | If | With | Range | Break | Continue
Block = tuple[Node, ...]
