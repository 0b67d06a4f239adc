"""Go's text/template, as far as we need it: users' templates give the same bytes as with the controllers they know.

    lexer -> parser (nodes) -> evaluator, with functions and Go's fmt (printing)

    >>> Template("{{ range $k, $v := .m }}{{ $k }}={{ $v }} {{ end }}").render({"m": {"b": 2, "a": 1}})
    'a=1 b=2 '

Data are None, bool, int, float, str, lists, dicts (Go maps: ranged over by key, a missing key is `<no value>`) and
`Struct` (a missing field is an error). A template that comes from a stranger ends: steps and output are limited.

Source: https://pkg.go.dev/text/template.
"""

from gitops_core.gotemplate.errors import FieldMissing, TemplateError
from gitops_core.gotemplate.evaluator import Limits, Template
from gitops_core.gotemplate.values import Struct

__all__ = ["FieldMissing", "Limits", "Struct", "Template", "TemplateError"]
