"""CEL of strangers, evaluated by the real program in its sandbox."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from gitops_core.adapters import expressions, sandbox
from gitops_core.adapters.expressions import LONGEST, TOO_MUCH, EvaluatorUnavailable, SandboxedExpressions
from gitops_core.adapters.sandbox import Limits
from gitops_core.domain.health.expressions import Evaluation, Question

DATA = {"metadata": {"name": "web", "labels": {"app": "x"}}, "status": {"phase": "Done", "n": 3, "size": "2"}}
MEBIBYTE = 2**20


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("status.phase == 'Done'", True),
        ("status.n > 3", False),
        ("status.n > 2.5", True),
        ("has(status.ready)", False),
        ("has(status.phase) && metadata.labels['app'].startsWith('x')", True),
        ("[1, 2, 3].exists(n, n == status.n)", True),
        ("status.size == '2' && size(metadata.labels) == 1", True),
        ("status.?ready.orValue(true)", True),
    ],
)
async def test_an_expression_sees_the_objects_own_fields(expression: str, value: bool) -> None:
    assert await SandboxedExpressions().evaluate([Question(expression, data=DATA)]) == (Evaluation(value),)


async def test_what_has_no_value_is_told_from_what_is_no_expression() -> None:
    texts = ("status.ready", "spec.x == 1", "status.phase", "status.phase ==", "nothing(status)", "'a'.matches('(')")
    answers = await SandboxedExpressions().evaluate([Question(text, data=DATA) for text in texts])

    missing, no_field, no_bool, broken, unknown, pattern = answers
    assert "ready" in missing.failed
    assert "spec" in no_field.failed
    assert no_bool.failed == "it is of type string, and not a bool"
    assert "Syntax error" in broken.invalid
    assert "nothing" in unknown.invalid
    assert pattern.failed or pattern.invalid
    assert all(answer.value is None for answer in answers)
    assert all("\n" not in answer.invalid + answer.failed for answer in answers)


async def test_what_must_be_a_bool_is_known_to_be_one_before_it_is_evaluated() -> None:
    questions = [
        Question(text, ("self", "dep"), {"self": {}, "dep": DATA}, True)
        for text in ("dep.metadata", "dep.status.n == 3")
    ]

    unsure, sure = await SandboxedExpressions().evaluate(questions)

    assert unsure.invalid == "it is of type dyn, and not a bool"
    assert sure == Evaluation(True)


async def test_an_expression_without_data_is_compiled_only() -> None:
    fine, broken = await SandboxedExpressions().evaluate([Question("status.x == 1"), Question("status.x ==")])

    assert (fine.value, bool(broken.invalid)) == (True, True)


@pytest.mark.parametrize(
    "bomb",
    [
        "text" + ".replace('a', text)" * 4 + " == ''",
        "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(n, text + text).size() == 0".replace(
            "text + text", " + ".join(["text"] * 400)
        ),
        "(" * 2000 + "true" + ")" * 2000,
        " && ".join(["text.matches('(a*)*b')"] * 300),
    ],
)
async def test_an_expression_that_takes_too_much_is_no_answer_and_hurts_nobody(bomb: str) -> None:
    evaluator = SandboxedExpressions(limits=Limits(seconds=3, memory=128 * MEBIBYTE, output=MEBIBYTE))

    (answer,) = await evaluator.evaluate([Question(bomb, data={"text": "a" * 100_000})])

    assert answer.value is not True
    assert await evaluator.evaluate([Question("true", data={})]) == (Evaluation(True),)


async def test_memory_that_an_expression_may_not_have_is_said() -> None:
    evaluator = SandboxedExpressions(limits=Limits(seconds=3, memory=128 * MEBIBYTE, output=MEBIBYTE))
    grown = "text" + ".replace('a', text)" * 4 + " == ''"

    assert await evaluator.evaluate([Question(grown, data={"text": "a" * 1000})]) == (Evaluation(failed=TOO_MUCH),)


async def test_what_is_too_long_is_not_asked() -> None:
    long, other = await SandboxedExpressions().evaluate([Question("a" * (LONGEST + 1)), Question("true")])
    (large,) = await SandboxedExpressions().evaluate([Question("true", data={"a": "x" * 5 * MEBIBYTE})])

    assert long.invalid == f"it is longer than {LONGEST} characters"
    assert other.value is None
    assert large.value is True  # it names nothing of it
    (large,) = await SandboxedExpressions().evaluate([Question("a == ''", data={"a": "x" * 5 * MEBIBYTE})])
    assert large.failed == "the object is larger than 4 MiB"


async def test_many_objects_are_asked_about_part_by_part() -> None:
    texts = ["x" * MEBIBYTE + str(number) for number in range(10)]
    questions = [Question("status.text.endsWith('7')", data={"status": {"text": text}}) for text in texts]

    answers = await SandboxedExpressions().evaluate(questions)

    assert [answer.value for answer in answers] == [number == 7 for number in range(10)]


async def test_what_an_expression_does_not_name_is_not_asked_again() -> None:
    evaluator = SandboxedExpressions()
    first = await evaluator.evaluate([Question("status.n == 3", data=DATA)])
    evaluator._limits = Limits(seconds=0)

    changed = {**DATA, "metadata": {"resourceVersion": "2"}}
    assert await evaluator.evaluate([Question("status.n == 3", data=changed)]) == first


@pytest.mark.parametrize(
    "expression",
    [
        "{'a': true}[data.password]",
        "{'a': true}[string(base64.decode(data.password))]",
        "{'a': true}[string(base64.decode(data.password)).upperAscii()]",
        "'a'.matches(string(base64.decode(data.password)) + '(')",
        "data[data.password]",
        "timestamp(data.password) == timestamp(data.password)",
        "duration(string(base64.decode(data.password))) == duration('1s')",
        "bool(string(base64.decode(data.password)))",
        "'%d'.format([data.password]) == ''",
        "data.password",
    ],
)
async def test_an_expression_that_has_no_value_tells_none_of_the_objects(expression: str) -> None:
    (answer,) = await SandboxedExpressions().evaluate(
        [Question(expression, data={"data": {"password": "aHVudGVyMg=="}})]
    )

    assert answer.failed
    assert not any(word in answer.failed.lower() for word in ("hunter2", "ahvudgvymg"))


async def test_what_is_asked_stands_in_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[object] = []
    monkeypatch.setattr(sandbox, "_write", lambda folder, files, user: written.extend(files))

    assert await SandboxedExpressions().evaluate([Question("data.a == 'x'", data={"data": {"a": "x"}})]) == (
        Evaluation(True),
    )
    assert written == []


async def test_the_program_itself_keeps_to_its_memory() -> None:
    """What runs as another user has no limits by us."""
    question = {"expression": "text" + ".replace('a', text)" * 4 + " == ''", "names": None, "checked": False}
    package = importlib.util.find_spec("cel_expr_python")
    assert package is not None
    program = Path(expressions.__file__).with_name("celprogram.py")
    place = (package.submodule_search_locations or [""])[0]

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", program, place, str(128 * MEBIBYTE), "5"),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await process.communicate(json.dumps([{**question, "data": {"text": "a" * 1000}}]).encode())

    assert process.returncode != 0


async def test_what_was_answered_is_not_asked_again() -> None:
    evaluator, questions = SandboxedExpressions(), [Question("status.n == 3", data=DATA)]
    first = await evaluator.evaluate(questions)
    evaluator._limits = Limits(seconds=0)

    assert await evaluator.evaluate(questions) == first
    assert await evaluator.evaluate([Question("status.n == 4", data=DATA)]) == (Evaluation(failed=TOO_MUCH),)


async def test_a_machine_without_the_evaluator_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitops_core.adapters.expressions._PACKAGE", "package_that_is_not_installed")

    with pytest.raises(EvaluatorUnavailable, match=r"pip install 'sealoop\[cel\]'"):
        await SandboxedExpressions().evaluate([Question("true")])
