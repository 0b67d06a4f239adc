"""What a parsed template is made of. The text of a node is how Go writes it in an error message.

    {{ if eq .a 1 }}x{{ end }}   ->   If(Pipeline(Command(Identifier, Field, Number)), (Text,), None)

Source: Go, text/template/parse/node.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

Constant = int | float | complex


@dataclass(frozen=True)
class Bool:
    position: int
    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


@dataclass(frozen=True)
class Number:
    """A numeric constant, in every type that can hold it without loss."""

    position: int
    text: str
    integer: int | None
    unsigned: int | None
    floating: float | None
    complex: complex | None = None

    @property
    def ideal(self) -> Constant | None:
        """The value where no type is wanted; None for an integer that is too large."""
        if self.complex is not None:
            return self.complex
        digits = set(self.text)
        is_integer = self.text[0] == "'" or (self.text[:2].lower() == "0x" and not digits & set("pP"))
        if self.floating is not None and not is_integer and digits & set(".eEpP"):
            return self.floating
        return self.integer

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class String:
    position: int
    quoted: str
    text: str

    def __str__(self) -> str:
        return self.quoted


@dataclass(frozen=True)
class Nil:
    position: int

    def __str__(self) -> str:
        return "nil"


@dataclass(frozen=True)
class Dot:
    position: int

    def __str__(self) -> str:
        return "."


@dataclass(frozen=True)
class Field:
    """`.a.b`: fields of dot."""

    position: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


@dataclass(frozen=True)
class Variable:
    """`$x.a.b`: the first name is the variable's."""

    position: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.names)


@dataclass(frozen=True)
class Identifier:
    """A function's name."""

    position: int
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Chain:
    """`(pipeline).a.b`."""

    position: int
    base: Operand
    names: tuple[str, ...]

    def __str__(self) -> str:
        base = f"({self.base})" if isinstance(self.base, Pipeline) else str(self.base)
        return base + "".join(f".{name}" for name in self.names)


@dataclass(frozen=True)
class Command:
    position: int
    operands: tuple[Operand, ...]

    def __str__(self) -> str:
        return " ".join(f"({each})" if isinstance(each, Pipeline) else str(each) for each in self.operands)


@dataclass(frozen=True)
class Pipeline:
    """Commands, each given the result of the one before as its last argument.

    Attributes:
        variables: set to the result; `:=` when `declares`, else `=`.
    """

    position: int
    commands: tuple[Command, ...]
    variables: tuple[str, ...] = ()
    declares: bool = False

    def __str__(self) -> str:
        sign = " := " if self.declares else " = "
        assigned = ", ".join(self.variables) + sign if self.variables else ""
        return assigned + " | ".join(map(str, self.commands))


Operand = Union[Bool, Number, String, Nil, Dot, Field, Variable, Identifier, Chain, Pipeline]  # noqa: UP007  # names below


@dataclass(frozen=True)
class Text:
    position: int
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Action:
    position: int
    pipeline: Pipeline

    def __str__(self) -> str:
        return f"{{{{{self.pipeline}}}}}"


@dataclass(frozen=True)
class Break:
    position: int

    def __str__(self) -> str:
        return "{{break}}"


@dataclass(frozen=True)
class Continue:
    position: int

    def __str__(self) -> str:
        return "{{continue}}"


@dataclass(frozen=True)
class Branch:
    """`if`, `with` or `range`: which one is `word`."""

    position: int
    word: str
    pipeline: Pipeline
    then: Block
    otherwise: Block | None

    def __str__(self) -> str:
        otherwise = "" if self.otherwise is None else "{{else}}" + "".join(map(str, self.otherwise))
        return f"{{{{{self.word} {self.pipeline}}}}}{''.join(map(str, self.then))}{otherwise}{{{{end}}}}"


@dataclass(frozen=True)
class Call:
    """`{{ template "name" pipeline }}`."""

    position: int
    name: str
    quoted: str
    pipeline: Pipeline | None

    def __str__(self) -> str:
        given = "" if self.pipeline is None else f" {self.pipeline}"
        return f"{{{{template {self.quoted}{given}}}}}"


@dataclass(frozen=True)
class End:
    """Where a block ends; `word` is what ends it: end, else, else if, else with."""

    position: int
    word: str

    def __str__(self) -> str:
        return "{{end}}" if self.word == "end" else "{{else}}"


Node = Text | Action | Break | Continue | Branch | Call
Block = tuple[Node, ...]
Place = Node | Operand | Command
"""What an error can point to."""
