"""Health as spec.healthCheckExprs of a Kustomization define it for a kind: CEL over the object's own fields.

    observedGeneration is not the generation    InProgress, and nothing is evaluated
    inProgress                                  InProgress
    failed                                      Failed
    current                                     Current
    none of them is true                        InProgress
    one has no value (a field is missing)       Unknown: waited for

Source: fluxcd/pkg, runtime/cel (status evaluator).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gitops_core.api.kustomization import HealthExpression, Kustomization
from gitops_core.domain.health.kstatus import Health, judge_generation
from gitops_core.errors import StalledError
from gitops_core.meta import Kind, Manifest, ObjectRef


class Question(NamedTuple):
    """A CEL expression, and what it is asked about.

    Attributes:
        names: of its variables; None for whatever names stand in it.
        data: the variables' values, as JSON has them; None asks only whether it compiles.
        checked: whether it must be known to be a bool before it is evaluated.
    """

    expression: str
    names: tuple[str, ...] | None = None
    data: Mapping[str, Any] | None = None
    checked: bool = False


class Evaluation(NamedTuple):
    """The answer: a value, or why there is none.

    Attributes:
        invalid: why it does not compile, for whatever data.
        failed: why it has no value for this data.
    """

    value: bool | None = None
    invalid: str = ""
    failed: str = ""


class ExpressionInvalid(StalledError):
    """An expression of a Kustomization does not compile: nobody knows what it means."""

    reason = "InvalidCELExpression"


@dataclass(frozen=True)
class Inquiry:
    """What is asked about one object, in the order of the states.

    Attributes:
        states: what each question's "yes" stands for.
    """

    ref: ObjectRef
    states: tuple[str, ...]
    questions: tuple[Question, ...]


def list_checks(wanted: Kustomization) -> Iterator[tuple[str, Question]]:
    """Yield what every expression has to be asked before anything is done, each with its place."""
    for number, one in enumerate(wanted.spec.health_check_exprs):
        for name, _, text in _list_expressions(one):
            yield f"spec.healthCheckExprs[{number}].{name}", Question(text)


def check(places: Sequence[str], answers: Sequence[Evaluation]) -> None:
    """Raise ExpressionInvalid for the first expression that does not compile."""
    for place, answer in zip(places, answers, strict=True):
        if answer.invalid:
            raise ExpressionInvalid(f"{place} is no valid CEL expression: {answer.invalid}")


def ask(wanted: Kustomization, lives: Mapping[ObjectRef, Manifest | None]) -> Iterator[Inquiry]:
    """Yield what to ask about those of the objects whose kind has expressions, and whose generation was seen.

    The group and the kind count, and not the version.
    """
    expressions = {
        (Kind.of(one.api_version, "").group, one.kind): one for one in reversed(wanted.spec.health_check_exprs)
    }
    for ref, live in lives.items():
        one = expressions.get((ref.kind.group, ref.kind.kind))
        if one is None or live is None or judge_generation(live) is not None:
            continue
        found = list(_list_expressions(one))
        questions = tuple(Question(text, data=live) for _, _, text in found)
        yield Inquiry(ref, tuple(state for _, state, _ in found), questions)


def judge(inquiry: Inquiry, answers: Sequence[Evaluation]) -> Health:
    """Judge the object by the answers, in the order of the questions."""
    for state, question, answer in zip(inquiry.states, inquiry.questions, answers, strict=True):
        if why := answer.invalid or answer.failed:
            return Health("Unknown", f"failed to evaluate the CEL expression '{question.expression}': {why}")
        if answer.value:
            return Health(state, f"healthCheckExprs say {state}")  # type: ignore[arg-type]
    return Health("InProgress", "no expression of healthCheckExprs is true")


def _list_expressions(one: HealthExpression) -> Iterator[tuple[str, str, str]]:
    """Yield the field, the state and the text of each expression that is set, in the order of evaluation."""
    if one.in_progress:
        yield "inProgress", "InProgress", one.in_progress
    if one.failed:
        yield "failed", "Failed", one.failed
    yield "current", "Current", one.current
