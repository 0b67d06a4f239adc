"""Tokens to nodes.

    if PIPELINE ... else if PIPELINE ... else ... end     with, range likewise; break, continue in a range
    $x := PIPELINE      $x = PIPELINE      COMMAND | COMMAND      OPERAND OPERAND ...      (PIPELINE).Field

Variables are known from their declaration to the end of the block that declares them; functions must exist.

Source: Go, text/template/parse/parse.go.
"""

from __future__ import annotations

import ast
from collections.abc import Collection

from gitops_core.gotemplate import lexer, nodes
from gitops_core.gotemplate.errors import TemplateError

DEEPEST = 60
"""Blocks and parentheses inside each other; deeper ones could exhaust the interpreter's stack."""

_KEYWORDS = frozenset({"if", "else", "end", "with", "range", "break", "continue", "define", "template", "block"})
_WORDS = {"true": True, "false": False, "nil": None}


def parse(template: str, functions: Collection[str]) -> nodes.Block:
    """Raises TemplateError."""
    return _Parser(template, functions).template()


class _Parser:
    def __init__(self, template: str, functions: Collection[str]) -> None:
        self._items = list(lexer.lex(template))
        self._position = 0
        self._functions = functions
        self._variables = ["$"]
        self._depth = 0
        self._ranges = 0
        self._tokens: tuple[lexer.Token, ...] = ()
        self._at = 0

    # blocks

    def template(self) -> nodes.Block:
        block, closing = self._block()
        if closing is not None:
            raise self._error(f"unexpected {{{{{closing}}}}}")
        return block

    def _block(self) -> tuple[nodes.Block, str | None]:
        """Nodes up to `end` or `else`, and which of them; None at the end of the template."""
        found: list[nodes.Node] = []
        while self._position < len(self._items):
            item = self._items[self._position]
            self._position += 1
            if isinstance(item, lexer.Text):
                found.append(nodes.Text(item.text))
                continue
            self._tokens, self._at = item.tokens, 0
            word = self._next_word()
            if word in ("end", "else"):
                if word == "end":
                    self._expect_end("end")
                return tuple(found), word
            found.append(self._node(word))
        return tuple(found), None

    def _next_word(self) -> str:
        token = self._tokens[self._at]
        if token.kind == "word" and token.text in _KEYWORDS:
            self._at += 1
            return token.text
        return ""

    def _node(self, word: str) -> nodes.Node:
        match word:
            case "":
                pipeline = self._pipeline("end", may_declare=True)
                return nodes.Print(pipeline)
            case "if" | "with" | "range":
                return self._control(word)
            case "break" | "continue":
                if not self._ranges:
                    raise self._error(f"{{{{{word}}}}} outside {{{{range}}}}")
                self._expect_end(word)
                return nodes.Break() if word == "break" else nodes.Continue()
        raise self._error(f"{{{{{word}}}}} is not supported")

    def _control(self, word: str) -> nodes.If | nodes.With | nodes.Range:
        self._enter()
        known = len(self._variables)
        pipeline = self._pipeline("end", may_declare=True, in_range=word == "range")
        self._ranges += word == "range"
        then, closing = self._block()
        self._ranges -= word == "range"
        otherwise: nodes.Block = ()
        if closing == "else":
            otherwise, closing = self._otherwise(word)
        if closing != "end":
            raise self._error(f"unexpected EOF: {{{{{word}}}}} has no {{{{end}}}}")
        del self._variables[known:]
        self._depth -= 1
        match word:
            case "if":
                return nodes.If(pipeline, then, otherwise)
            case "with":
                return nodes.With(pipeline, then, otherwise)
        return nodes.Range(pipeline, then, otherwise)

    def _otherwise(self, word: str) -> tuple[nodes.Block, str | None]:
        following = self._next_word()
        if following and following == word and word in ("if", "with"):
            return (self._control(word),), "end"  # `else if` shares the outer end
        self._expect_end("else")
        return self._block()

    def _expect_end(self, where: str) -> None:
        token = self._tokens[self._at]
        if token.kind != "end":
            raise self._error(f"unexpected {token.text!r} in {where}")

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error(f"nested deeper than {DEEPEST}")

    # pipelines

    def _pipeline(self, closing: str, *, may_declare: bool = False, in_range: bool = False) -> nodes.Pipeline:
        line = self._tokens[self._at].line
        variables, declares = self._declaration(in_range) if may_declare else ((), False)
        commands = [self._command()]
        while self._peek("symbol", "|"):
            self._at += 1
            commands.append(self._command())
        token = self._tokens[self._at]
        if (token.kind == "end") != (closing == "end") or (closing == ")" and token.text != ")"):
            raise self._error(f"unexpected {token.text!r} in pipeline")
        for command in commands[1:]:
            if not isinstance(command.operands[0], nodes.Function | nodes.Chain):
                raise self._error("non executable command in pipeline")
        if declares:
            self._variables += variables
        return nodes.Pipeline(tuple(commands), line, variables, declares)

    def _declaration(self, in_range: bool) -> tuple[tuple[str, ...], bool]:
        kinds = [token.kind for token in self._tokens[self._at : self._at + 4]]
        texts = [token.text for token in self._tokens[self._at : self._at + 4]]
        names: tuple[str, ...]
        if in_range and kinds[:3:2] == ["variable", "variable"] and texts[1] == "," and texts[3:] in ([":="], ["="]):
            names, operator, size = (texts[0], texts[2]), texts[3], 4
        elif kinds[:1] == ["variable"] and texts[1:2] in ([":="], ["="]):
            names, operator, size = (texts[0],), texts[1], 2
        else:
            return (), False
        if operator == "=":
            for name in names:
                self._known(name)
        self._at += size
        return names, operator == ":="

    def _command(self) -> nodes.Command:
        line = self._tokens[self._at].line
        operands: list[nodes.Operand] = []
        while True:
            operand = self._operand()
            if operand is None:
                break
            operands.append(operand)
            token = self._tokens[self._at]
            if not (token.spaced or token.kind == "end" or token.text in ("|", ")")):
                raise self._error(f"unexpected {token.text!r} in operand")
        if not operands:
            raise self._error("missing value for command")
        return nodes.Command(tuple(operands), line)

    def _operand(self) -> nodes.Operand | None:
        base = self._term()
        if base is None:
            return None
        fields: list[str] = []
        while (token := self._tokens[self._at]).kind == "field" and not token.spaced:
            fields.append(token.text[1:])
            self._at += 1
        if not fields:
            return base
        if isinstance(base, nodes.Constant):
            raise self._error("unexpected '.' after a constant")
        if isinstance(base, nodes.Chain):
            return nodes.Chain(base.base, (*base.fields, *fields))
        return nodes.Chain(base, tuple(fields))

    def _term(self) -> nodes.Operand | None:
        token = self._tokens[self._at]
        match token.kind:
            case "end":
                return None
            case "symbol" if token.text == "(":
                return self._parenthesis()
            case "symbol" if token.text in ("|", ")"):
                return None
            case "symbol":
                raise self._error(f"unexpected {token.text!r} in operand")
        self._at += 1
        match token.kind:
            case "dot":
                return nodes.Dot()
            case "field":
                return nodes.Chain(nodes.Dot(), (token.text[1:],))
            case "variable":
                self._known(token.text)
                return nodes.Variable(token.text)
            case "word":
                return self._word(token.text)
        return nodes.Constant(self._constant(token))

    def _parenthesis(self) -> nodes.Pipeline:
        self._enter()
        self._at += 1
        inner = self._pipeline(")")
        self._at += 1
        self._depth -= 1
        return inner

    def _word(self, word: str) -> nodes.Operand:
        if word in _WORDS:
            return nodes.Constant(_WORDS[word])
        if word not in self._functions:
            raise self._error(f'function "{word}" not defined')
        return nodes.Function(word)

    def _constant(self, token: lexer.Token) -> int | float | str:
        text = token.text
        try:
            if token.kind == "string":
                return text[1:-1].replace("\r", "") if text[0] == "`" else str(ast.literal_eval(text))
            if text[0] == "'":
                return ord(str(ast.literal_eval(text)))
            if text.lstrip("+-")[:1] == "0" and text.lstrip("+-").isdigit():
                return int(text, 8)
            return int(text, 0) if not set(text.lower()) & set(".e") or "0x" in text.lower() else float(text)
        except (ValueError, SyntaxError, TypeError):
            raise self._error(f"bad constant: {text}") from None

    def _known(self, name: str) -> None:
        if name not in self._variables:
            raise self._error(f'undefined variable "{name}"')

    def _peek(self, kind: str, text: str) -> bool:
        token = self._tokens[self._at]
        return token.kind == kind and token.text == text

    def _error(self, message: str) -> TemplateError:
        token = self._tokens[min(self._at, len(self._tokens) - 1)] if self._tokens else None
        line = token.line if token else 1
        return TemplateError(f"template:{line}: {message}", line)
