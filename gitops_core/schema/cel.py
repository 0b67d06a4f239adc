"""CEL rules of a schema (`x-kubernetes-validations`), evaluated as the API server does.

`self` is the value that the rule stands at, `oldSelf` the value it replaces; a rule that names `oldSelf` is skipped
where there was none. Programs are compiled once. The evaluator is an extra (docs/decisions/0008-cel-as-an-extra.md),
and is loaded when the first rule is met: most commands never need it.

Source: kubernetes.io, Custom Resources, validation rules.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol

UNCHECKED = "rules of CRDs (x-kubernetes-validations) are not checked here: pip install 'sealoop[cel]'"
"""What a person is told where objects are taken although the evaluator is not installed."""


class Program(Protocol):
    def eval(self, *, data: dict[str, Any]) -> Any: ...


class RuleInvalid(ValueError):
    """A rule of a CRD that does not compile."""


class Unevaluable(ValueError):
    """A rule without an answer for this value: a missing field, a division by zero. The message is the API server's."""


@cache
def is_installed() -> bool:
    """Tell whether rules can be evaluated at all."""
    return find_spec("cel_expr_python") is not None


def evaluate(expression: str, value: Any, old: Any = None) -> Any:
    """Evaluate an expression to a plain value.

    Raises:
        RuleInvalid: the expression is not CEL, or calls a function that is not there.
        Unevaluable: it has no value here.
    """
    result = _compile(expression).eval(data={"self": value, "oldSelf": old})
    if result.type().name() == "ERROR":
        raise Unevaluable(_translate(str(result.value())))
    return result.plain_value()


def _translate(complaint: str) -> str:
    """Translate a message of cel-cpp into the words of cel-go, the API server's evaluator.

    >>> _translate('NOT_FOUND: Key not found in map : "hi"')
    'no such key: hi'
    """
    text = re.sub(r"^[A-Z_]+: ", "", complaint)
    text = re.sub(r'^Key not found in map : "(.*)"$', r"no such key: \1", text)
    return "division by zero" if text == "divide by zero" else text


def compares(rule: str) -> bool:
    """Tell whether this is a transition rule, which compares the old value with the new.

    >>> compares("self == oldSelf"), compares("self.note == 'oldSelf'")
    (True, False)
    """
    return re.search(r"\boldSelf\b", re.sub(r"'[^']*'|\"[^\"]*\"", "", rule)) is not None


@cache
def _compile(rule: str) -> Program:
    try:
        return _make_environment().compile(rule)  # type: ignore[no-any-return]
    except RuntimeError as error:
        raise RuleInvalid(f"rule {rule!r}: {error}") from error


@cache
def _make_environment() -> Any:
    from cel_expr_python import cel  # 14 MiB that most processes never need
    from cel_expr_python.ext import ext_optional, ext_strings

    return cel.NewEnv(
        variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN},
        extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional()],
    )
