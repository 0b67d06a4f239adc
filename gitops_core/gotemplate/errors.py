"""What is wrong with a template. Messages are Go's, with the place: `template: NAME:LINE:COLUMN: executing ...`."""

from __future__ import annotations


class TemplateError(ValueError):
    """The template cannot be parsed or executed.

    Attributes:
        line: counted from 1.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class FieldMissing(TemplateError):
    """A struct has no such field.

    Attributes:
        type_name: Go's name of the struct's type.
    """

    def __init__(self, message: str, line: int, field: str, type_name: str) -> None:
        super().__init__(message, line)
        self.field, self.type_name = field, type_name


class CallError(Exception):
    """A function cannot do what it is asked to; the evaluator adds where."""
