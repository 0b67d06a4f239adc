"""What expressions say of an object's health, and of which objects they are asked."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_core.api import Kustomization
from gitops_core.domain.health.expressions import Evaluation, ExpressionInvalid, Inquiry, ask, check, judge, list_checks
from gitops_core.domain.health.kstatus import Health
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.schema import read_manifest

WIDGET = ObjectRef(Kind("example.org", "v1", "Widget"), ObjectKey("shop", "one"))


def kustomization(*expressions: dict[str, str]) -> Kustomization:
    spec = {
        "interval": "1m",
        "prune": True,
        "sourceRef": {"kind": "GitRepository", "name": "r"},
        "healthCheckExprs": [{"apiVersion": "example.org/v1", "kind": "Widget", **each} for each in expressions],
    }
    about = {"apiVersion": Kustomization.KIND.api_version, "kind": "Kustomization"}
    return read_manifest(Kustomization, {**about, "metadata": {"name": "a", "namespace": "shop"}, "spec": spec})


def widget(**metadata: Any) -> dict[str, Any]:
    about = {"name": "one", "namespace": "shop", "generation": 2, **metadata}
    return {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": about, "status": {"observedGeneration": 2}}


def inquire(wanted: Kustomization, live: dict[str, Any] | None) -> list[Inquiry]:
    return list(ask(wanted, {WIDGET: live}))


ALL = {"current": "c", "failed": "f", "inProgress": "p"}


def test_expressions_are_asked_in_the_order_of_the_states() -> None:
    (inquiry,) = inquire(kustomization(ALL), widget())

    assert [question.expression for question in inquiry.questions] == ["p", "f", "c"]
    assert inquiry.questions[0].data == widget()


@pytest.mark.parametrize(
    "live",
    [
        None,
        widget(generation=3),
        widget(deletionTimestamp="2026-01-01T00:00:00Z"),
    ],
)
def test_an_object_whose_state_is_plain_is_not_asked_about(live: dict[str, Any] | None) -> None:
    assert inquire(kustomization(ALL), live) == []


def test_the_first_expressions_of_a_kind_count_and_those_of_others_do_not() -> None:
    wanted = kustomization({"current": "x", "kind": "Gadget"}, {"current": "first"}, {"current": "second"})

    (inquiry,) = inquire(wanted, widget())

    assert [question.expression for question in inquiry.questions] == ["first"]


@pytest.mark.parametrize(("group", "is_asked"), [("example.org/v1beta1", True), ("example.com/v1", False)])
def test_the_group_of_a_kind_counts_and_the_version_does_not(group: str, is_asked: bool) -> None:
    assert bool(inquire(kustomization({**ALL, "apiVersion": group}), widget())) == is_asked


YES, NO, LOST = Evaluation(True), Evaluation(False), Evaluation(failed="no such key: x")


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ((YES, YES, YES), "InProgress"),
        ((NO, YES, YES), "Failed"),
        ((NO, NO, YES), "Current"),
        ((NO, NO, NO), "InProgress"),
        ((NO, LOST, YES), "Unknown"),
        ((YES, LOST, LOST), "InProgress"),
    ],
)
def test_the_first_answer_that_decides_is_the_health(answers: tuple[Evaluation, ...], status: str) -> None:
    (inquiry,) = inquire(kustomization(ALL), widget())

    assert judge(inquiry, answers).status == status


def test_an_expression_without_a_value_is_told_with_what_it_lacks() -> None:
    (inquiry,) = inquire(kustomization({"current": "status.x"}), widget())

    assert judge(inquiry, [LOST]) == Health(
        "Unknown", "failed to evaluate the CEL expression 'status.x': no such key: x"
    )


def test_every_expression_is_checked_and_the_bad_one_named() -> None:
    places, questions = zip(*list_checks(kustomization({"current": "a"}, ALL)), strict=True)

    assert all(question.data is None for question in questions)
    check(places, [YES] * 4)
    with pytest.raises(ExpressionInvalid, match=r"spec.healthCheckExprs\[1\].failed is no valid CEL expression: bad"):
        check(places, [YES, YES, Evaluation(invalid="bad"), YES])
