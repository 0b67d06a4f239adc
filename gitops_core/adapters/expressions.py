"""Implements Expressions: CEL of whoever may write a Kustomization, evaluated where it can harm nobody.

cel-cpp bounds how often an expression iterates and not how much memory it takes, and it cannot be interrupted. So the
questions of one look are answered by a process of their own, which lives for a moment, has little memory and time, and
can open nothing and reach nothing (sandbox.py). Answers are kept by what was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from gitops_core.adapters.sandbox import Confinement, Limits, OutOfTime, Sandboxed, TooMuchOutput
from gitops_core.decoding import make_decoder
from gitops_core.domain.health.expressions import Evaluation, Question
from gitops_core.errors import TransientError
from gitops_core.recent import Recent
from gitops_core.runtime.sharing.computing import get_namespace_at_work
from gitops_core.runtime.sharing.slots import Slots

KEPT_ANSWERS = 4 * 2**20
ANSWER_WEIGHT = 200
LONGEST = 16_384
"""Characters of an expression."""
LARGEST = 4 * 2**20
"""Bytes of what is asked at once."""
LIMITS = Limits(seconds=5.0, memory=256 * 2**20, output=2**20)
HOW_TO_GET = "expressions cannot be evaluated here: pip install 'sealoop[cel]'"
TOO_MUCH = f"evaluating takes more than {LIMITS.seconds:g} s or {LIMITS.memory >> 20} MiB"
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

    def __init__(self, *, at_once: int = 2, limits: Limits = LIMITS, confinement: Confinement | None = None) -> None:
        """
        Args:
            at_once: how many processes run at the same time, shared by namespace.
            limits: what one of them may take.
        """
        self._limits = limits
        self._confinement = confinement or Confinement.of_this_machine()
        self._slots = Slots(at_once)
        self._kept: Recent[bytes, Evaluation] = Recent(KEPT_ANSWERS)

    async def evaluate(self, questions: Sequence[Question]) -> tuple[Evaluation, ...]:
        written = [msgspec.json.encode(question._asdict(), order="sorted") for question in questions]
        keys = [hashlib.blake2b(text, digest_size=16).digest() for text in written]
        found = {key: kept for key in keys if (kept := self._kept.get(key)) is not None}
        missing = {key: number for number, key in enumerate(keys) if key not in found}
        if missing:
            asked = [questions[number] for number in missing.values()]
            answers = _refuse(asked, sum(len(written[number]) for number in missing.values()))
            if answers is None:
                answers = await self._ask(b"[" + b",".join(written[number] for number in missing.values()) + b"]")
            for key, answer in zip(missing, answers or [Evaluation(failed=TOO_MUCH)] * len(missing), strict=True):
                found[key] = answer
                if answers:  # what took too much may not do so on a machine that is less busy
                    self._kept.put(key, answer, ANSWER_WEIGHT + len(answer.invalid) + len(answer.failed))
        return tuple(found[key] for key in keys)

    async def _ask(self, text: bytes) -> list[Evaluation]:
        """Ask the program; returns nothing when it needed too much."""
        package = _find_package()
        program = Sandboxed(
            (_PYTHON, "-I", "-S", str(_PROGRAM), package),
            {"questions.json": text},
            {"PATH": ""},
            self._limits,
            self._confinement,
            readable=(sys.base_prefix, package, str(_PROGRAM)),
        )
        async with self._slots.taken(get_namespace_at_work()):
            running = asyncio.get_running_loop().run_in_executor(None, program.run)
            try:
                finished = await asyncio.shield(running)
            except OSError as error:
                raise EvaluatorUnavailable(f"cannot run the evaluator of expressions: {error.strerror}") from None
            except (OutOfTime, TooMuchOutput):
                return []
            finally:
                program.stop()
                with contextlib.suppress(Exception):
                    await asyncio.shield(running)
        if finished.status == 0:
            return [
                Evaluation(answer.value, _shorten(answer.invalid), _shorten(answer.failed))
                for answer in _answers.decode(finished.output)
            ]
        if finished.status < 0 or b"MemoryError" in finished.messages or b"bad_alloc" in finished.messages:
            return []
        last = finished.messages.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise EvaluatorUnavailable(f"the evaluator of expressions does not run here: {' '.join(last)[:200]}")


def _refuse(questions: Sequence[Question], size: int) -> list[Evaluation] | None:
    """Refuse what is too long to be asked; None when nothing is."""
    is_long = [len(question.expression) > LONGEST for question in questions]
    if any(is_long):
        long, other = Evaluation(invalid=f"it is longer than {LONGEST} characters"), Evaluation(failed="not asked")
        return [long if each else other for each in is_long]
    if size > LARGEST:
        return [Evaluation(failed=f"the objects are larger than {LARGEST >> 20} MiB") for _ in questions]
    return None


def _shorten(text: str) -> str:
    """Return a message of cel-cpp on one line, without its codes."""
    line = re.sub(r"\s*\|[^|]*\|\s*\.*\^.*$", "", " ".join(text.split())).strip()
    line = re.sub(r"^(?:[A-Z_]+: )?(?:ERROR: )?", "", re.sub(r"\s*\[[A-Z_]+\]$", "", line))
    return line[:300]


def _find_package() -> str:
    spec = find_spec(_PACKAGE)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    if not places:
        raise EvaluatorUnavailable(HOW_TO_GET)
    return places[0]
