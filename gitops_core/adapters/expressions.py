"""Implements Expressions: CEL of whoever may write a Kustomization, evaluated where it can harm nobody.

cel-cpp bounds how often an expression iterates and not how much memory it takes, and it cannot be interrupted. So the
questions of one look are answered by a process of their own, which lives for a moment, has little memory and time, and
can open nothing and reach nothing (sandbox.py). Answers are kept by what was asked.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import msgspec

from gitops_core.adapters.sandbox import Confinement, Limits, OutOfTime, Sandboxed, TooMuchOutput
from gitops_core.decoding import make_decoder
from gitops_core.domain.health.expressions import Evaluation, Question
from gitops_core.errors import TransientError
from gitops_core.ports import Compute
from gitops_core.recent import Recent
from gitops_core.runtime.sharing.computing import IN_PLACE, estimate_weight, get_namespace_at_work
from gitops_core.runtime.sharing.slots import Slots

KEPT_ANSWERS = 4 * 2**20
ANSWER_WEIGHT = 200
LONGEST = 16_384
"""Characters of an expression."""
LARGEST = 4 * 2**20
"""Bytes of what is asked at once, with the variables that an expression names."""
LIMITS = Limits(seconds=5.0, memory=256 * 2**20, output=2**20)
HOW_TO_GET = "expressions cannot be evaluated here: pip install 'sealoop[cel]'"
MUTED = "***"
TOO_MUCH = f"evaluating takes more than {LIMITS.seconds:g} s or {LIMITS.memory >> 20} MiB"
_HARMLESS = ("No matching overloads found", "type conversion error")
_QUOTED = re.compile(r"(?P<quote>[\"']).*?(?P=quote)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PACKAGE = "cel_expr_python"
_PYTHON = os.path.realpath(sys.executable)
_PROGRAM = Path(__file__).with_name("celprogram.py")


class EvaluatorUnavailable(TransientError):
    """The evaluator is not installed, or does not run on this machine."""

    reason = "EvaluatorUnavailable"


class _Answer(msgspec.Struct):
    value: bool | None = None
    invalid: str = ""
    failed: str = ""


_answers = make_decoder(list[_Answer])


class SandboxedExpressions:
    """Implements Expressions."""

    def __init__(
        self,
        *,
        at_once: int = 2,
        limits: Limits = LIMITS,
        confinement: Confinement | None = None,
        compute: Compute = IN_PLACE,
    ) -> None:
        """
        Args:
            at_once: how many processes run at the same time, shared by namespace.
            limits: what one of them may take.
            compute: where large objects are written for it.
        """
        self._limits = limits
        self._confinement = confinement or Confinement.of_this_machine()
        self._compute = compute
        self._slots = Slots(at_once, "evaluations of CEL")
        self._kept: Recent[bytes, Evaluation] = Recent(KEPT_ANSWERS)

    async def evaluate(self, questions: Sequence[Question]) -> tuple[Evaluation, ...]:
        weight = estimate_weight(question.data for question in questions if question.data is not None)
        written = await self._compute.run(weight, _write, questions)
        found = {one.key: kept for one in written if (kept := self._kept.get(one.key)) is not None}
        missing = {one.key: one for one in written if one.key not in found}
        is_any_long = any(len(one.question.expression) > LONGEST for one in missing.values())
        for batch in _divide(list(missing.values())):
            answers = [_refuse(one, is_any_long) for one in batch]
            if any(answer is None for answer in answers):
                asked = await self._ask([one.question for one in batch], b"[" + b",".join(o.text for o in batch) + b"]")
                answers = list(asked) or [None] * len(batch)
            for one, answer in zip(batch, answers, strict=True):
                found[one.key] = answer or Evaluation(failed=TOO_MUCH)
                if answer is not None:  # what took too much may not do so on a machine that is less busy
                    self._kept.put(one.key, answer, ANSWER_WEIGHT + len(answer.invalid) + len(answer.failed))
        return tuple(found[one.key] for one in written)

    async def _ask(self, questions: Sequence[Question], text: bytes) -> list[Evaluation]:
        """Ask the program; returns nothing when it needed too much."""
        package = _find_package()
        program = Sandboxed(
            (_PYTHON, "-I", "-S", str(_PROGRAM), package, str(self._limits.memory), str(int(self._limits.seconds) + 1)),
            {},
            {"PATH": ""},
            self._limits,
            self._confinement,
            readable=(sys.base_prefix, package, str(_PROGRAM)),
            read=text,
        )
        async with self._slots.taken(get_namespace_at_work()):
            try:
                finished = await program.run_beside()
            except OSError as error:
                raise EvaluatorUnavailable(f"cannot run the evaluator of expressions: {error.strerror}") from None
            except (OutOfTime, TooMuchOutput):
                return []
        if finished.status == 0:
            answers = _answers.decode(finished.output)
            return [
                Evaluation(answer.value, _shorten(answer.invalid), _mute(_shorten(answer.failed), question.expression))
                for question, answer in zip(questions, answers, strict=True)
            ]
        if finished.status < 0 or b"MemoryError" in finished.messages or b"bad_alloc" in finished.messages:
            return []
        last = finished.messages.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise EvaluatorUnavailable(f"the evaluator of expressions does not run here: {' '.join(last)[:200]}")


class _Written(NamedTuple):
    """A question as it is asked, and what its answer is kept by."""

    question: Question
    text: bytes
    key: bytes


def _write(questions: Sequence[Question]) -> list[_Written]:
    found = []
    for question in map(_narrow, questions):
        text = msgspec.json.encode(question._asdict(), order="sorted")
        found.append(_Written(question, text, hashlib.blake2b(text, digest_size=16).digest()))
    return found


def _narrow(question: Question) -> Question:
    """Leave out the variables that do not stand in the expression: nothing depends on them."""
    if question.data is None or len(question.expression) > LONGEST:
        return question
    names = set(_NAME.findall(question.expression))
    return question._replace(data={name: value for name, value in question.data.items() if name in names})


def _divide(questions: Sequence[_Written]) -> Iterator[Sequence[_Written]]:
    """Divide into what may be asked at once; what is refused stands alone."""
    batch: list[_Written] = []
    size = 0
    for one in questions:
        if batch and size + len(one.text) > LARGEST:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one.text)
    if batch:
        yield batch


def _refuse(one: _Written, is_any_long: bool) -> Evaluation | None:
    """Refuse what is too long to be asked, and what is asked with it; None for others."""
    if len(one.question.expression) > LONGEST:
        return Evaluation(invalid=f"it is longer than {LONGEST} characters")
    if is_any_long:
        return Evaluation(failed="not asked")
    if len(one.text) > LARGEST:
        return Evaluation(failed=f"the object is larger than {LARGEST >> 20} MiB")
    return None


def _shorten(text: str) -> str:
    """Return a message of cel-cpp on one line, without its codes."""
    line = re.sub(r"\s*\|[^|]*\|\s*\.*\^.*$", "", " ".join(text.split())).strip()
    line = re.sub(r"^(?:[A-Z_]+: )?(?:ERROR: )?", "", re.sub(r"\s*\[[A-Z_]+\]$", "", line))
    return line[:300]


def _mute(text: str, expression: str) -> str:
    """Mute what cel-cpp quotes, unless it stands in the expression: it may be a value of a Secret, or made of one."""
    head, colon, tail = text.partition(":")
    if head.strip() in _HARMLESS or not colon:
        return _QUOTED.sub(lambda quoted: quoted[0] if quoted[0][1:-1] in expression else MUTED, text)
    is_known = tail.strip(" \"'") in expression
    return text if is_known else f"{head.strip()}: {MUTED}"


def _find_package() -> str:
    spec = find_spec(_PACKAGE)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    if not places:
        raise EvaluatorUnavailable(HOW_TO_GET)
    return places[0]
