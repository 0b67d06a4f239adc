"""Go's text/template: users' templates give the same bytes as with the controllers they know.

    lexer -> parser (nodes) -> evaluator, with functions, sprig and Go's fmt (printing)

    >>> Template("{{ range $k, $v := .m }}{{ $k }}={{ $v }} {{ end }}").render({"m": {"b": 2, "a": 1}})
    'a=1 b=2 '

Data are None, bool, int, float, str, lists, dicts (Go maps: ranged over by key, a missing key is `<no value>`),
`Struct` (a missing field is an error) and the narrower `GoList` and `GoMap`. A template that comes from a stranger
ends: steps, nesting and output are limited.

Source: https://pkg.go.dev/text/template.
"""

from gitops_core.gotemplate.errors import CallError, FieldMissing, TemplateError
from gitops_core.gotemplate.evaluator import Limits, Template
from gitops_core.gotemplate.functions import Function
from gitops_core.gotemplate.values import GoList, GoMap, Struct

__all__ = ["CallError", "FieldMissing", "Function", "GoList", "GoMap", "Limits", "Struct", "Template", "TemplateError"]
