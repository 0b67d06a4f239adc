"""A parsed template and data to text.

Dot is the data, or what `with` and `range` made it; `$` stays the data. Every step is counted, so that no template runs
for long or writes more than it may.

Source: Go, text/template/exec.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gitops_core.gotemplate import nodes
from gitops_core.gotemplate.errors import CallError, FieldMissing, TemplateError
from gitops_core.gotemplate.functions import BUILTINS, SHORT_CIRCUIT, Function
from gitops_core.gotemplate.parser import parse
from gitops_core.gotemplate.printing import text_of
from gitops_core.gotemplate.values import NO_VALUE, Struct, Value, is_true, sort_key, type_of

LENGTH_OF_STEP = 256
"""Characters that cost as much as a step."""


@dataclass(frozen=True)
class Limits:
    """How much a template may do: nodes evaluated, and characters in its output or in any one value."""

    steps: int = 200_000
    output: int = 1 << 20


class Template:
    """A template, parsed.

    Args:
        functions: further functions by name; they raise CallError.

    Raises:
        TemplateError.
    """

    def __init__(self, text: str, functions: Mapping[str, Function] | None = None, limits: Limits = Limits()) -> None:
        self._functions = {**BUILTINS, **(functions or {})}
        self._limits = limits
        self._block = parse(text, {*self._functions, *SHORT_CIRCUIT})

    def render(self, data: Value) -> str:
        """Raises TemplateError; its kind FieldMissing when a struct has no such field."""
        run = _Run(self._functions, self._limits, data)
        run.block(self._block, data)
        return "".join(run.output)


class _Leave(Exception):  # not an error: how break and continue leave a range's body
    def __init__(self, goes_on: bool) -> None:
        self.goes_on = goes_on


class _Run:
    def __init__(self, functions: Mapping[str, Function], limits: Limits, data: Value) -> None:
        self._functions, self._limits = functions, limits
        self._variables: list[tuple[str, Value]] = [("$", data)]
        self._steps = self._written = 0
        self._line = 1
        self.output: list[str] = []

    # nodes

    def block(self, block: nodes.Block, dot: Value) -> None:
        known = len(self._variables)
        for node in block:
            self._count()
            self._node(node, dot)
        del self._variables[known:]

    def _node(self, node: nodes.Node, dot: Value) -> None:
        match node:
            case nodes.Text(text=text):
                self._write(text)
            case nodes.Print(pipeline=pipeline):
                value = self._pipeline(pipeline, dot)
                if not pipeline.variables:
                    self._write("<no value>" if value is NO_VALUE or value is None else text_of(value))
            case nodes.If(condition=condition, then=then, otherwise=otherwise):
                self._branch(condition, then, otherwise, dot, moves_dot=False)
            case nodes.With(value=condition, then=then, otherwise=otherwise):
                self._branch(condition, then, otherwise, dot, moves_dot=True)
            case nodes.Range():
                self._range(node, dot)
            case nodes.Break() | nodes.Continue():
                raise _Leave(isinstance(node, nodes.Continue))

    def _branch(
        self, condition: nodes.Pipeline, then: nodes.Block, otherwise: nodes.Block, dot: Value, *, moves_dot: bool
    ) -> None:
        known = len(self._variables)
        value = self._pipeline(condition, dot)
        if is_true(value):
            self.block(then, value if moves_dot else dot)
        else:
            self.block(otherwise, dot)
        del self._variables[known:]

    def _range(self, node: nodes.Range, dot: Value) -> None:
        known = len(self._variables)
        over = node.over
        value = self._pipeline(nodes.Pipeline(over.commands, over.line), dot)
        pairs = list(self._pairs(value))
        for key, element in pairs:
            self._count()
            self._bind(over, key, element)
            try:
                self.block(node.body, element)
            except _Leave as leave:
                if not leave.goes_on:
                    break
            finally:
                del self._variables[known:]
        if not pairs:
            self.block(node.otherwise, dot)

    def _bind(self, over: nodes.Pipeline, key: Value, element: Value) -> None:
        values = (element,) if len(over.variables) == 1 else (key, element)
        for name, value in zip(over.variables, values, strict=False):
            self._set(name, value, declares=over.declares)

    def _pairs(self, value: Value) -> Iterable[tuple[Value, Value]]:
        match value:
            case Mapping():
                return [(key, value[key]) for key in sorted(value, key=sort_key)]
            case list() | tuple():
                return list(enumerate(value))
            case int() if not isinstance(value, bool):
                if value > self._limits.steps:
                    raise self._error(f"more than {self._limits.steps} steps")
                return [(number, number) for number in range(value)]
            case None:
                return []
            case _ if value is NO_VALUE:
                return []
        raise self._error(f"range can't iterate over {text_of(value):.60}")

    # pipelines

    def _pipeline(self, pipeline: nodes.Pipeline, dot: Value) -> Value:
        self._line = pipeline.line
        final: tuple[Value, ...] = ()
        value: Value = None
        for command in pipeline.commands:
            value = self._command(command, dot, final)
            final = (value,)
        for name in pipeline.variables:
            self._set(name, value, declares=pipeline.declares)
        return value

    def _set(self, name: str, value: Value, *, declares: bool) -> None:
        if declares:
            self._variables.append((name, value))
            return
        for position in reversed(range(len(self._variables))):
            if self._variables[position][0] == name:
                self._variables[position] = (name, value)
                return

    def _command(self, command: nodes.Command, dot: Value, final: tuple[Value, ...]) -> Value:
        self._count()
        self._line = command.line
        first, *rest = command.operands
        if isinstance(first, nodes.Function):
            return self._call(first.name, rest, dot, final)
        if rest or final:
            raise self._error("can't give argument to non-function")
        return self._operand(first, dot)

    def _operand(self, operand: nodes.Operand, dot: Value) -> Value:
        self._count()
        match operand:
            case nodes.Constant(value=value):
                return value
            case nodes.Dot():
                return dot
            case nodes.Variable(name=name):
                return next(value for known, value in reversed(self._variables) if known == name)
            case nodes.Function(name=name):
                return self._call(name, [], dot, ())
            case nodes.Pipeline():
                return self._pipeline(operand, dot)
            case nodes.Chain(base=base, fields=fields):
                value = self._operand(base, dot)
                for field in fields:
                    value = self._field(value, field)
                return value

    def _field(self, value: Value, name: str) -> Value:
        match value:
            case Struct(type_name=type_name):
                try:
                    return value.get(name)
                except KeyError:
                    message = self._located(f"can't evaluate field {name} in type {type_name}")
                    raise FieldMissing(message, self._line, name, type_name) from None
            case Mapping():
                return value.get(name, NO_VALUE)
            case None:
                raise self._error(f"nil pointer evaluating interface {{}}.{name}")
            case _ if value is NO_VALUE:
                raise self._error(f"nil pointer evaluating interface {{}}.{name}")
        raise self._error(f"can't evaluate field {name} in type {type_of(value)}")

    def _call(self, name: str, operands: Iterable[nodes.Operand], dot: Value, final: tuple[Value, ...]) -> Value:
        if name in SHORT_CIRCUIT:
            return self._short_circuit(name, operands, dot, final)
        arguments = [*(self._operand(operand, dot) for operand in operands), *final]
        try:
            value = self._functions[name](*arguments)
        except CallError as error:
            raise self._error(f"error calling {name}: {error}") from None
        except TypeError:
            raise self._error(f"wrong number or type of args for {name}: got {len(arguments)}") from None
        if isinstance(value, str):
            self._steps += len(value) // LENGTH_OF_STEP
            if len(value) > self._limits.output:
                raise self._error(f"more than {self._limits.output} characters")
        return value

    def _short_circuit(
        self, name: str, operands: Iterable[nodes.Operand], dot: Value, final: tuple[Value, ...]
    ) -> Value:
        value: Value = NO_VALUE
        for operand in operands:
            value = self._operand(operand, dot)
            if is_true(value) == (name == "or"):
                return value
        value = final[0] if final else value
        if value is NO_VALUE and not final:
            raise self._error(f"wrong number of args for {name}: want at least 1 got 0")
        return value

    # limits and errors

    def _count(self) -> None:
        self._steps += 1
        if self._steps > self._limits.steps:
            raise self._error(f"more than {self._limits.steps} steps")

    def _write(self, text: str) -> None:
        self._written += len(text)
        if self._written > self._limits.output:
            raise self._error(f"more than {self._limits.output} characters")
        self.output.append(text)

    def _located(self, message: str) -> str:
        return f"template:{self._line}: {message}"

    def _error(self, message: str) -> TemplateError:
        return TemplateError(self._located(message), self._line)
