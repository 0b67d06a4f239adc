"""What CEL expressions of a Kustomization say: of the health of its objects, and of what it depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from gitops_core.api import Kustomization
from gitops_core.domain.health import expressions
from gitops_core.domain.health.expressions import Evaluation, Question
from gitops_core.domain.health.kstatus import Health
from gitops_core.domain.sync import dependencies
from gitops_core.domain.sync.progress import Lives
from gitops_core.errors import GitOpsError, Postponed, StalledError
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.ports import Expressions
from gitops_core.reconcilers.attempts import Attempt


@dataclass(frozen=True)
class Evaluator:
    port: Expressions

    async def check(self, attempt: Attempt) -> None:
        """Stall where a health expression does not compile: nothing is applied whose health nobody could tell."""
        found = list(expressions.list_checks(attempt.wanted))
        answers = await self._evaluate(attempt, [question for _, question in found])
        try:
            expressions.check([place for place, _ in found], answers)
        except StalledError as error:
            attempt.stall(error)

    async def explain_dependency(
        self, attempt: Attempt, key: ObjectKey, expression: str, dependency: Kustomization
    ) -> str:
        """Explain why its `readyExpr` does not call the dependency ready; "" when it does."""
        (answer,) = await self._evaluate(attempt, [dependencies.ask(attempt.wanted, expression, dependency)])
        try:
            return dependencies.explain_answer(key, expression, answer)
        except StalledError as error:
            attempt.stall(error)

    async def judge(self, attempt: Attempt, lives: Lives) -> Mapping[ObjectRef, Health]:
        """Judge the health of those whose kind has expressions."""
        inquiries = list(expressions.ask(attempt.wanted, lives))
        answers = iter(await self._evaluate(attempt, [one for inquiry in inquiries for one in inquiry.questions]))
        return {one.ref: expressions.judge(one, list(islice(answers, len(one.questions)))) for one in inquiries}

    async def _evaluate(self, attempt: Attempt, questions: Sequence[Question]) -> Sequence[Evaluation]:
        if not questions:
            return ()
        try:
            return await self.port.evaluate(questions)
        except Postponed:
            raise
        except GitOpsError as error:
            attempt.fail(error.reason, str(error))
