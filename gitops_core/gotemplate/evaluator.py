"""A parsed template and data to text.

Dot is the data, or what `with` and `range` made it; `$` stays the data. Every step is counted, so that no template runs
for long or writes more than it may.

Source: Go, text/template/exec.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

from gitops_core.gotemplate import nodes
from gitops_core.gotemplate.constants import quote, to_bytes, whole
from gitops_core.gotemplate.errors import CallError, FieldMissing, TemplateError
from gitops_core.gotemplate.functions import BUILTINS, TYPE_NAMES, Function, fits
from gitops_core.gotemplate.parser import parse
from gitops_core.gotemplate.printing import text_of
from gitops_core.gotemplate.values import (
    INTERFACE,
    NO_VALUE,
    GoMap,
    Int64,
    Object,
    Struct,
    Value,
    elements_type,
    is_list,
    is_true,
    sorted_items,
    type_of,
)

LENGTH_OF_STEP = 256
"""Characters that cost as much as a step."""
ELEMENTS_OF_STEP = 16
DEEPEST = 60
"""Blocks, pipelines and templates within each other while a template runs; Go allows 100,000 templates."""

Missing = Literal["default", "zero", "error"]
_ABSENT = object()


@dataclass(frozen=True)
class Limits:
    """How much a template may do: nodes evaluated, and characters in its output or in any one value."""

    steps: int = 200_000
    output: int = 1 << 20


class Template:
    """A template, parsed.

    Args:
        functions: further functions by name, before those that every template has.
        name: what error messages call the template.
        missing: what a map's field is that is not there: nothing, the type's zero, or an error.

    Raises:
        TemplateError.
    """

    def __init__(
        self,
        text: str,
        functions: Mapping[str, Function] | None = None,
        limits: Limits = Limits(),
        *,
        name: str = "template",
        missing: Missing = "default",
    ) -> None:
        self._functions = {**BUILTINS, **(functions or {})}
        self._limits, self._missing, self._name = limits, missing, name
        self._text = text
        self._trees = parse(text, self._functions, name)

    def render(self, data: Value) -> str:
        """Render the template. Raises TemplateError; its kind FieldMissing when a struct has no such field."""
        run = _Run(self._functions, self._limits, data, _Source(self._name, self._text, self._trees), self._missing)
        try:
            run.block(self._trees[self._name], data)
        except RecursionError:
            raise TemplateError(f"template: {self._name}: nested too deeply", 1) from None
        return whole("".join(run.output))


@dataclass(frozen=True)
class _Source:
    name: str
    text: str
    trees: Mapping[str, nodes.Block]


@dataclass
class _Variable:
    name: str
    value: Value
    is_interface: bool = False


class _Leave(Exception):  # not an error: how break and continue leave a range's body
    def __init__(self, goes_on: bool) -> None:
        self.goes_on = goes_on


class _Run:
    def __init__(
        self,
        functions: Mapping[str, Function],
        limits: Limits,
        data: Value,
        source: _Source,
        missing: Missing,
    ) -> None:
        self._functions, self._limits, self._source, self._missing = functions, limits, source, missing
        self._variables = [_Variable("$", data)]
        self._template = source.name
        self._steps = self._written = self._depth = 0
        self._dot_is_interface = False  # Go says so in errors: "in type interface {}"
        self._node: nodes.Place = nodes.Text(0, "")
        self.output: list[str] = []

    # nodes

    def block(self, block: nodes.Block, dot: Value) -> None:
        self._enter()
        for node in block:
            self._count()
            self._walk(node, dot)
        self._depth -= 1

    def _walk(self, node: nodes.Node, dot: Value) -> None:
        self._node = node
        match node:
            case nodes.Text(text=text):
                self._write(text)
            case nodes.Action(pipeline=pipeline):
                value = self._pipeline(pipeline, dot)
                if not pipeline.variables:
                    self._node = node
                    self._write(self._printed(value))
            case nodes.Branch(word="range"):
                self._range(node, dot)
            case nodes.Branch():
                self._branch(node, dot)
            case nodes.Call():
                self._call_template(node, dot)
            case nodes.Break() | nodes.Continue():
                raise _Leave(isinstance(node, nodes.Continue))

    def _printed(self, value: Value) -> str:
        if isinstance(value, str):
            return value
        try:
            return "<no value>" if value is NO_VALUE or value is None else text_of(value)
        except CallError as error:
            self._fail(str(error))

    def _branch(self, node: nodes.Branch, dot: Value) -> None:
        known = len(self._variables)
        value = self._pipeline(node.pipeline, dot)
        if is_true(value) and node.word == "with":
            was, self._dot_is_interface = self._dot_is_interface, False
            self.block(node.then, value)
            self._dot_is_interface = was
        elif is_true(value):
            self.block(node.then, dot)
        elif node.otherwise is not None:
            self.block(node.otherwise, dot)
        del self._variables[known:]

    def _range(self, node: nodes.Branch, dot: Value) -> None:
        known = len(self._variables)
        value = self._pipeline(node.pipeline, dot)
        pairs = self._pairs(value, node)
        mark = len(self._variables)
        was, depth, template = self._dot_is_interface, self._depth, self._template
        inner = (is_list(value) or isinstance(value, Mapping)) and elements_type(value) == INTERFACE
        for key, element in pairs:
            self._count()
            self._bind(node.pipeline, key, element, inner)
            self._dot_is_interface = inner
            try:
                self.block(node.then, element)
            except _Leave as leave:
                self._depth, self._template = depth, template
                if not leave.goes_on:
                    break
            finally:
                del self._variables[mark:]
        self._dot_is_interface = was
        if not pairs and node.otherwise is not None:
            self.block(node.otherwise, dot)
        del self._variables[known:]

    def _bind(self, over: nodes.Pipeline, key: Value, element: Value, inner: bool) -> None:
        values = ((element, inner),) if len(over.variables) == 1 else ((key, False), (element, inner))
        for name, (value, is_interface) in zip(over.variables, values, strict=False):
            self._set(name, value, is_interface)

    def _pairs(self, value: Value, node: nodes.Branch) -> Sequence[tuple[Value, Value]]:
        match value:
            case Mapping():
                return sorted_items(value)
            case list() | tuple():
                return list(enumerate(value))
            case int() if not isinstance(value, bool):
                if len(node.pipeline.variables) > 1:
                    self._fail(f"can't use {value} to iterate over more than one variable")
                if value > self._limits.steps:
                    self._fail(f"more than {self._limits.steps} steps")
                kind = int if type(value) is int else type(value)
                return [(NO_VALUE, kind(number)) for number in range(value)]
        if value is None or value is NO_VALUE:
            return []
        raise self._error(f"range can't iterate over {self._printed(value)}")

    def _call_template(self, node: nodes.Call, dot: Value) -> None:
        block = self._source.trees.get(node.name)
        if block is None:
            self._fail(f"template {quote(node.name)} not defined")
        dot = NO_VALUE if node.pipeline is None else self._pipeline(node.pipeline, dot)
        saved = self._variables, self._template, self._dot_is_interface
        self._variables, self._template, self._dot_is_interface = [_Variable("$", dot)], node.name, False
        try:
            self.block(block, dot)
        finally:
            self._variables = saved[0]
        _, self._template, self._dot_is_interface = saved

    # pipelines

    def _pipeline(self, pipeline: nodes.Pipeline, dot: Value) -> Value:
        self._enter()
        self._node = pipeline
        value: Value = _ABSENT
        for command in pipeline.commands:
            value = self._command(command, dot, value)
            value = NO_VALUE if value is None else value
        for name in pipeline.variables:
            if pipeline.declares:
                self._variables.append(_Variable(name, value))
            else:
                self._set(name, value, False)
        self._depth -= 1
        return value

    def _set(self, name: str, value: Value, is_interface: bool) -> None:
        for variable in reversed(self._variables):
            if variable.name == name:
                variable.value, variable.is_interface = value, is_interface
                return

    def _command(self, command: nodes.Command, dot: Value, final: Value) -> Value:
        self._count()
        first = command.operands[0]
        arguments = command.operands[1:]
        if isinstance(first, nodes.Identifier):
            self._node = first
            return self._call(first.name, arguments, dot, final, command)
        if isinstance(first, nodes.Field | nodes.Chain) or (isinstance(first, nodes.Variable) and len(first.names) > 1):
            return self._operand(first, dot, arguments, final)
        if not isinstance(first, nodes.Pipeline):
            self._node = first
        if arguments or final is not _ABSENT:
            self._fail(f"can't give argument to non-function {first}")
        if isinstance(first, nodes.Nil):
            self._fail("nil is not a command")
        return self._operand(first, dot)

    def _operand(
        self, operand: nodes.Operand, dot: Value, arguments: Sequence[nodes.Operand] = (), final: Value = _ABSENT
    ) -> Value:
        self._count()
        if not isinstance(operand, nodes.Pipeline):
            self._node = operand
        match operand:
            case nodes.Field(names=names):
                return self._fields(
                    dot, names, self._dot_is_interface, operand, bool(arguments) or final is not _ABSENT
                )
            case nodes.Variable(names=names):
                variable = next(known for known in reversed(self._variables) if known.name == names[0])
                has_arguments = bool(arguments) or final is not _ABSENT
                return self._fields(variable.value, names[1:], variable.is_interface, operand, has_arguments)
            case nodes.Chain(base=base, names=names):
                if isinstance(base, nodes.Nil):
                    self._fail(f"indirection through explicit nil in {operand}")
                value = self._operand(base, dot)
                return self._fields(value, names, False, operand, bool(arguments) or final is not _ABSENT)
            case nodes.Dot():
                return dot
            case nodes.Identifier(name=name):
                return self._call(name, (), dot, _ABSENT, operand)
            case nodes.Pipeline():
                return self._pipeline(operand, dot)
            case nodes.Bool(value=value):
                return value
            case nodes.String(text=text):
                return text
            case nodes.Number():
                if operand.ideal is None:
                    self._fail(f"{operand} overflows int")
                return operand.ideal
        return None

    def _fields(
        self, value: Value, names: Sequence[str], is_interface: bool, node: nodes.Place, has_arguments: bool
    ) -> Value:
        for position, name in enumerate(names):
            last = position == len(names) - 1
            container = value
            value = self._field(value, name, is_interface, node, has_arguments and last)
            is_interface = not isinstance(container, Struct | Object) and elements_type(container) == INTERFACE
        return value

    def _field(self, value: Value, name: str, is_interface: bool, node: nodes.Place, has_arguments: bool) -> Value:
        if isinstance(value, Struct | Object):
            return self._member(value, name, is_interface, has_arguments)
        if isinstance(value, dict):
            return self._entry(value, name, has_arguments)
        if value is None:
            self._fail(f"nil pointer evaluating {INTERFACE}.{name}")
        if value is NO_VALUE:
            if self._missing == "error":
                self._fail(f"nil data; no entry for key {quote(name)}")
            return NO_VALUE
        raise self._error(f"can't evaluate field {name} in type {INTERFACE if is_interface else type_of(value)}")

    def _member(self, value: Struct | Object, name: str, is_interface: bool, has_arguments: bool) -> Value:
        try:
            member = value.get(name) if isinstance(value, Struct) else value.members[name]
        except KeyError:
            shown = INTERFACE if is_interface else value.type_name
            message = self._located(f"can't evaluate field {name} in type {shown}")
            raise FieldMissing(message, self._line(), name, value.type_name) from None
        if has_arguments:
            self._fail(f"{name} has arguments but cannot be invoked as function")
        return member

    def _entry(self, value: Mapping[Value, Value], name: str, has_arguments: bool) -> Value:
        if type(value) is GoMap and not value.type_name.startswith("map[string]"):
            self._fail(f"can't evaluate field {name} in type {value.type_name}")
        if has_arguments:
            self._fail(f"{name} is not a method but has arguments")
        if name in value:
            return value[name]
        if self._missing == "error":
            self._fail(f"map has no entry for key {quote(name)}")
        if self._missing == "zero":
            return value.zero if isinstance(value, GoMap) else None
        return NO_VALUE

    # calls

    def _call(
        self, name: str, arguments: Sequence[nodes.Operand], dot: Value, final: Value, node: nodes.Place
    ) -> Value:
        function = self._functions[name]
        self._check_number(name, function, len(arguments), final)
        if name in ("and", "or") and function is BUILTINS[name]:
            return self._short_circuit(name, arguments, dot, final)
        kinds = function.parameters
        values = [
            self._argument(argument, kinds[min(position, len(kinds) - 1)], dot)
            for position, argument in enumerate(arguments)
        ]
        if final is not _ABSENT:
            values.append(self._fitting(final, kinds[min(len(values), len(kinds) - 1)]))
        if name == "call" and function is BUILTINS[name]:
            self._node = node
            self._fail(f"error calling call: {self._callee(values, arguments, final)}")
        self._pay(values)
        try:
            value = function.run(*values)
        except CallError as error:
            self._node = node
            self._fail(f"error calling {name}: {error}")
        self._pay((value,))
        return value

    def _callee(self, values: Sequence[Value], arguments: Sequence[nodes.Operand], final: Value) -> str:
        """Say why it cannot be called: data hold no functions."""
        called = values[0]
        if called is None or called is NO_VALUE:
            return "call of nil"
        shown = str(arguments[0]) if arguments else (final if isinstance(final, str) else f"<{type_of(final)} Value>")
        return f"non-function {shown} of type {type_of(called)}"

    def _check_number(self, name: str, function: Function, given: int, final: Value) -> None:
        total = given + (final is not _ABSENT)
        fixed = len(function.parameters) - function.is_variadic
        if function.is_variadic and total < fixed:
            self._fail(f"wrong number of args for {name}: want at least {fixed} got {given}")
        if not function.is_variadic and total != fixed:
            self._fail(f"wrong number of args for {name}: want {fixed} got {total}")

    def _short_circuit(self, name: str, operands: Sequence[nodes.Operand], dot: Value, final: Value) -> Value:
        value: Value = NO_VALUE
        for operand in operands:
            value = self._argument(operand, "value", dot)
            if is_true(value) == (name == "or"):
                return value
        return value if final is _ABSENT else final

    def _argument(self, operand: nodes.Operand, kind: str, dot: Value) -> Value:
        """Return the operand's value, as the parameter's type wants it."""
        match operand:
            case nodes.Nil():
                self._node = operand
                if kind == "value":
                    return NO_VALUE
                if kind in ("any", "map"):
                    return None if kind == "any" else {}
                self._fail(f"cannot assign nil to {TYPE_NAMES.get(kind, kind)}")
            case nodes.Number() | nodes.Bool() | nodes.String():
                self._node = operand
                return self._constant(operand, kind)
        return self._fitting(self._operand(operand, dot), kind)

    def _constant(self, operand: nodes.Number | nodes.Bool | nodes.String, kind: str) -> Value:
        if kind in ("any", "value"):
            return self._operand(operand, None)
        value, wanted = {
            "bool": (getattr(operand, "value", None), "bool"),
            "string": (getattr(operand, "text", None) if isinstance(operand, nodes.String) else None, "string"),
            "int": (getattr(operand, "integer", None), "integer"),
            "int64": (getattr(operand, "integer", None), "integer"),
            "uint32": (getattr(operand, "unsigned", None), "unsigned integer"),
            "float64": (getattr(operand, "floating", None), "float"),
        }.get(kind, (None, ""))
        if not wanted:
            self._fail(f"can't handle {operand} for arg of type {TYPE_NAMES.get(kind, kind)}")
        if value is None:
            self._fail(f"expected {wanted}; found {operand}")
        return Int64(value) if kind == "int64" else value

    def _fitting(self, value: Value, kind: str) -> Value:
        if kind == "value":
            return value
        if value is NO_VALUE:
            if kind in ("any", "map"):
                return None if kind == "any" else {}
            self._fail(f"invalid value; expected {TYPE_NAMES.get(kind, kind)}")
        if kind == "any" or fits(value, kind):
            return value
        got = INTERFACE if value is None else type_of(value)
        raise self._error(f"wrong type for value; expected {TYPE_NAMES.get(kind, kind)}; got {got}")

    # limits and errors

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail(f"nested deeper than {DEEPEST}")

    def _count(self) -> None:
        self._steps += 1
        if self._steps > self._limits.steps:
            self._fail(f"more than {self._limits.steps} steps")

    def _pay(self, values: Sequence[Value]) -> None:
        """Count what a function is given and what it makes: both cost as much as they are long."""
        for value in values:
            if isinstance(value, str):
                self._steps += len(value) // LENGTH_OF_STEP
                if len(value) > self._limits.output:
                    self._fail(f"more than {self._limits.output} characters")
            elif isinstance(value, list | tuple | dict):
                self._steps += len(value) // ELEMENTS_OF_STEP

    def _write(self, text: str) -> None:
        self._written += len(text)
        if self._written > self._limits.output:
            self._fail(f"more than {self._limits.output} characters")
        self.output.append(text)

    def _line(self) -> int:
        return 1 + self._source.text.count("\n", 0, self._node.position)

    def _located(self, message: str) -> str:
        before = self._source.text[: self._node.position].rpartition("\n")[2]
        where = f"{self._source.name}:{self._line()}:{len(to_bytes(before))}"
        return whole(f"template: {where}: executing {quote(self._template)} at <{self._node}>: {message}")

    def _error(self, message: str) -> TemplateError:
        return TemplateError(self._located(message), self._line())

    def _fail(self, message: str) -> NoReturn:
        raise self._error(message)
