"""Tokens to nodes. What Go refuses is refused in Go's words; templates nested too deeply are refused too.

    {{ define "x" }}...{{ end }} {{ block "y" . }}...{{ end }}   ->   trees by name: "t" (the text itself), "x", "y"

Source: Go, text/template/parse/parse.go.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NoReturn

from gitops_core.gotemplate import nodes
from gitops_core.gotemplate.constants import (
    INT64,
    parse_float,
    parse_integer,
    quote,
    unquote,
    unquote_character,
)
from gitops_core.gotemplate.errors import TemplateError
from gitops_core.gotemplate.lexer import Token, tokens_of

DEEPEST = 40
"""Blocks and parentheses within each other; Go allows 10,000 parentheses."""

_OPERANDS = frozenset(
    {"bool", "character", "complex", "dot", "field", "word", "number", "nil", "raw", "string", "variable", "open"}
)


def parse(text: str, functions: Collection[str], name: str) -> dict[str, nodes.Block]:
    """Parse a text into the block of each template that it defines, by name; the text itself is `name`.

    Raises:
        TemplateError.
    """
    parser = _Parser(text, functions, name)
    parser.whole(name)
    return parser.trees


@dataclass
class _Scope:
    """What is forgotten where a define or a block begins and ends."""

    variables: list[str] = field(default_factory=lambda: ["$"])
    ranges: int = 0
    action_line: int = 0


class _Parser:
    def __init__(self, text: str, functions: Collection[str], name: str) -> None:
        self._tokens = tokens_of(text)
        self._functions, self._name = functions, name
        self._at = self._read = self._depth = 0
        self._scope = _Scope()
        self.trees: dict[str, nodes.Block] = {}

    # trees

    def whole(self, name: str) -> None:
        root: list[nodes.Node] = []
        while self._peek().kind != "eof":
            if self._starts_definition():
                self._definition()
                continue
            node = self._text_or_action()
            if isinstance(node, nodes.End):
                self._fail(f"unexpected {node}")
            root.append(node)
        self._add(name, tuple(root))

    def _starts_definition(self) -> bool:
        if self._peek().kind != "left":
            return False
        start = self._at
        self._next()
        if self._next_solid().kind == "define":
            return True
        self._at = start
        return False

    def _definition(self) -> None:
        context = "define clause"
        token = self._next_solid()
        if token.kind not in ("string", "raw"):
            self._unexpected(token, context)
        name = self._unquoted(token)
        self._expect("right", context)
        self._add(name, self._inner_block(context))

    def _inner_block(self, context: str) -> nodes.Block:
        outer, self._scope = self._scope, _Scope()
        block, end = self._block()
        if end.word != "end":
            self._fail(f"unexpected {end} in {context}")
        self._scope = outer
        return block

    def _add(self, name: str, block: nodes.Block) -> None:
        before = self.trees.get(name)
        if before is None or _is_empty(before):
            self.trees[name] = block
        elif not _is_empty(block):
            self._fail(f"template: multiple definition of template {quote(name)}")

    def _block(self) -> tuple[nodes.Block, nodes.End]:
        """Parse nodes up to `end` or `else`; return them and that."""
        self._enter()
        found: list[nodes.Node] = []
        while self._peek_solid().kind != "eof":
            node = self._text_or_action()
            if isinstance(node, nodes.End):
                self._depth -= 1
                return tuple(found), node
            found.append(node)
        raise self._error("unexpected EOF")

    # actions

    def _text_or_action(self) -> nodes.Node | nodes.End:
        token = self._next_solid()
        if token.kind == "text":
            return nodes.Text(token.position, token.text)
        if token.kind != "left":
            self._unexpected(token, "input")
        self._scope.action_line = token.line
        node = self._action()
        self._scope.action_line = 0
        return node

    def _action(self) -> nodes.Node | nodes.End:
        token = self._next_solid()
        match token.kind:
            case "if" | "with" | "range":
                return self._branch(token.kind)
            case "break" | "continue":
                return self._leave(token)
            case "end":
                return nodes.End(self._expect("right", "end").position, "end")
            case "else":
                return self._else()
            case "template" | "block":
                return self._call(token.kind)
        self._back()
        position = self._peek().position
        return nodes.Action(position, self._pipeline("command", "right"))

    def _leave(self, token: Token) -> nodes.Node:
        following = self._next_solid()
        if following.kind != "right":
            self._unexpected(following, f"{{{{{token.kind}}}}}")
        if not self._scope.ranges:
            self._fail(f"{{{{{token.kind}}}}} outside {{{{range}}}}")
        return (nodes.Break if token.kind == "break" else nodes.Continue)(token.position)

    def _else(self) -> nodes.End:
        following = self._peek_solid()
        if following.kind in ("if", "with"):
            return nodes.End(following.position, f"else {following.kind}")
        return nodes.End(self._expect("right", "else").position, "else")

    def _branch(self, word: str) -> nodes.Branch:
        known = len(self._scope.variables)
        pipeline = self._pipeline(word, "right")
        self._scope.ranges += word == "range"
        then, end = self._block()
        self._scope.ranges -= word == "range"
        otherwise = None if end.word == "end" else self._otherwise(word)
        del self._scope.variables[known:]
        return nodes.Branch(pipeline.position, word, pipeline, then, otherwise)

    def _otherwise(self, word: str) -> nodes.Block:
        if word in ("if", "with") and self._peek().kind == word:
            self._next()
            self._enter()
            inner = self._branch(word)  # `else if` shares the outer end
            self._depth -= 1
            return (inner,)
        block, end = self._block()
        if end.word != "end":
            self._fail(f"expected end; found {end}")
        return block

    def _call(self, word: str) -> nodes.Call:
        context = f"{word} clause"
        token = self._next_solid()
        if token.kind not in ("string", "raw"):
            self._unexpected(token, context)
        name = self._unquoted(token)
        pipeline = None
        if word == "block" or self._peek_solid().kind != "right":
            pipeline = self._pipeline(context, "right")
        else:
            self._next_solid()
        if word == "block":
            self._add(name, self._inner_block(context))
        return nodes.Call(token.position, name, quote(name), pipeline)

    # pipelines

    def _pipeline(self, context: str, closing: str) -> nodes.Pipeline:
        position = self._peek_solid().position
        variables, declares = self._declarations(context)
        commands: list[nodes.Command] = []
        while True:
            token = self._next_solid()
            if token.kind == closing:
                break
            if token.kind not in _OPERANDS:
                self._unexpected(token, context)
            self._back()
            commands.append(self._command())
        if not commands:
            self._fail(f"missing value for {context}")
        for stage, command in enumerate(commands[1:], 2):
            if isinstance(command.operands[0], nodes.Bool | nodes.Dot | nodes.Nil | nodes.Number | nodes.String):
                self._fail(f"non executable command in pipeline stage {stage}")
        return nodes.Pipeline(position, tuple(commands), variables, declares)

    def _declarations(self, context: str) -> tuple[tuple[str, ...], bool]:
        names: list[str] = []
        while (token := self._peek_solid()).kind == "variable":
            start = self._at
            self._next_solid()
            following = self._peek_solid()
            if following.kind in ("assign", "declare"):
                self._next_solid()
                names.append(token.text)
                self._scope.variables.append(token.text)
                return tuple(names), following.kind == "declare"
            if not (following.kind == "char" and following.text == ","):
                self._at = start
                break
            self._next_solid()
            names.append(token.text)
            self._scope.variables.append(token.text)
            if context != "range" or len(names) > 1:
                self._fail(f"too many declarations in {context}")
            if self._peek_solid().kind not in ("variable", "right", "close"):
                self._fail("range can only initialize variables")
        return tuple(names), True

    def _command(self) -> nodes.Command:
        position = self._peek_solid().position
        operands: list[nodes.Operand] = []
        while True:
            self._peek_solid()
            operand = self._operand()
            if operand is not None:
                operands.append(operand)
            token = self._next()
            if token.kind == "space":
                continue
            if token.kind in ("right", "close"):
                self._back()
            elif token.kind != "pipe":
                self._unexpected(token, "operand")
            break
        if not operands:
            self._fail("empty command")
        return nodes.Command(position, tuple(operands))

    def _operand(self) -> nodes.Operand | None:
        node = self._term()
        if node is None or self._peek().kind != "field":
            return node
        position = self._peek().position
        names: list[str] = []
        while self._peek().kind == "field":
            names.append(self._next().text[1:])
        match node:
            case nodes.Field():
                return nodes.Field(position, (*node.names, *names))
            case nodes.Variable():
                return nodes.Variable(position, (*node.names, *names))
            case nodes.Identifier() | nodes.Pipeline() | nodes.Chain():
                return nodes.Chain(position, node, tuple(names))
        raise self._error(f"unexpected . after term {quote(str(node))}")

    def _term(self) -> nodes.Operand | None:
        token = self._next_solid()
        at = token.position
        match token.kind:
            case "word":
                if token.text not in self._functions:
                    self._fail(f"function {quote(token.text)} not defined")
                return nodes.Identifier(at, token.text)
            case "dot":
                return nodes.Dot(at)
            case "nil":
                return nodes.Nil(at)
            case "variable":
                if token.text not in self._scope.variables:
                    self._fail(f"undefined variable {quote(token.text)}")
                return nodes.Variable(at, (token.text,))
            case "field":
                return nodes.Field(at, (token.text[1:],))
            case "bool":
                return nodes.Bool(at, token.text == "true")
            case "character" | "complex" | "number":
                return self._number(token)
            case "open":
                return self._parenthesis()
            case "string" | "raw":
                return nodes.String(at, token.text, self._unquoted(token))
        self._back()
        return None

    def _parenthesis(self) -> nodes.Pipeline:
        self._enter()
        inner = self._pipeline("parenthesized pipeline", "close")
        self._depth -= 1
        return inner

    def _unquoted(self, token: Token) -> str:
        try:
            return unquote(token.text)
        except ValueError as error:
            self._fail(str(error))

    def _number(self, token: Token) -> nodes.Number:
        text, at = token.text, token.position
        if token.kind == "character":
            try:
                number = unquote_character(text)
            except ValueError as error:
                self._fail(str(error))
            return nodes.Number(at, text, number, number, float(number))
        if token.kind == "complex" or text.endswith("i"):
            return self._complex(token)
        unsigned, integer = parse_integer(text, signed=False), parse_integer(text)
        unsigned = 0 if integer == 0 else unsigned
        whole = integer if integer is not None else unsigned
        if whole is not None:
            return nodes.Number(at, text, integer, unsigned, float(whole))
        floating = parse_float(text)
        if floating is None:
            self._fail(f"illegal number syntax: {quote(text)}")
        if not set(text) & set(".eEpP"):
            self._fail(f"integer overflow: {quote(text)}")
        return nodes.Number(at, text, *_wholes(floating), floating)

    def _complex(self, token: Token) -> nodes.Number:
        pair = r"(.*[0-9.pP_a-fA-F])([+-][^+-]*(?:[eEpP][+-][0-9_]+)?)i"
        split = re.fullmatch(pair if token.kind == "complex" else "()(.*)i", token.text)
        real, imaginary = (parse_float(part or "0") for part in (split[1], split[2])) if split else (None, None)
        if real is None or imaginary is None:
            self._fail(f"illegal number syntax: {quote(token.text)}")
        value = complex(real, imaginary)
        if imaginary:
            return nodes.Number(token.position, token.text, None, None, None, value)
        return nodes.Number(token.position, token.text, *_wholes(real), real, value)

    # tokens

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _back(self) -> None:
        self._at -= 1

    def _peek(self) -> Token:
        last = len(self._tokens) - 1  # eof, or an error: both stay
        self._read = max(self._read, min(self._at, last))
        return self._tokens[min(self._at, last)]

    def _next_solid(self) -> Token:
        while (token := self._next()).kind == "space":
            pass
        return token

    def _peek_solid(self) -> Token:
        while self._peek().kind == "space":
            self._at += 1
        return self._peek()

    def _expect(self, kind: str, context: str) -> Token:
        token = self._next_solid()
        if token.kind != kind:
            self._unexpected(token, context)
        return token

    # errors

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail(f"nested deeper than {DEEPEST}")

    def _unexpected(self, token: Token, context: str) -> NoReturn:
        if token.kind != "error":
            self._fail(f"unexpected {token} in {context}")
        began = self._scope.action_line
        where = ""
        if began and began != token.line:
            where = f"{'' if token.text.endswith(' action') else ' in action'} started at {self._name}:{began}"
        self._fail(token.text + where)

    def _error(self, message: str) -> TemplateError:
        line = self._tokens[self._read].line
        return TemplateError(f"template: {self._name}:{line}: {message}", line)

    def _fail(self, message: str) -> NoReturn:
        raise self._error(message)


def _wholes(floating: float) -> tuple[int | None, int | None]:
    """Return the number as an integer and an unsigned one, where it is one."""
    whole = int(floating) if floating == floating and abs(floating) < 2 * INT64 and floating == int(floating) else None
    if whole is None:
        return None, None
    return (whole if -INT64 <= whole < INT64 else None), (whole if whole >= 0 else None)


def _is_empty(block: nodes.Block) -> bool:
    return all(isinstance(node, nodes.Text) and not node.text.strip() for node in block)
