"""The translator: its laws, and what Flux and External Secrets were seen to write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_core.errors import StalledError, TransientError
from gitops_core.meta import Condition, ObjectMeta, Resource, Status
from gitops_core.runtime.loop.statuses import make_merge_patch, make_status_patch
from gitops_core.runtime.reconciling import Outcome
from image_updater.api.images import ImageUpdateAutomationStatus, MarkerReport
from tests.gitops_core.runtime.kinds import TELLERS, Plain, Widget, WidgetStatus

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
WORDS = st.sampled_from(["Succeeded", "Away", "BuildFailed"])
OWN = st.lists(
    st.builds(
        Condition, type=st.sampled_from(["Healthy", "Ready", "Reconciling"]), status=st.just("True"), reason=WORDS
    ),
    max_size=2,
    unique_by=lambda c: c.type,
).map(tuple)


def _outcome(ready: Any, reason: str, conditions: tuple[Condition, ...]) -> Outcome:
    return Outcome(WidgetStatus(), "message", None, reason=reason, ready=ready, conditions=conditions)


def _failure(kind: Any, reason: str, own: tuple[Condition, ...], carries: bool) -> Exception:
    error = kind("message", reason=reason)
    return error.carry(WidgetStatus(), *own) if carries else error  # type: ignore[no-any-return]


RESULTS = st.one_of(
    st.builds(_outcome, st.sampled_from(["True", "Unknown"]), WORDS, OWN),
    st.builds(_failure, st.sampled_from([TransientError, StalledError]), WORDS, OWN, st.booleans()),
    st.just(KeyError("secret")),
)
KINDS = st.sampled_from([Widget, Plain])


def status_after(result: Any, wanted: Resource, now: datetime, unsupported: tuple[str, ...]) -> Status:
    status = TELLERS[type(wanted)].make_status(result, wanted, now, unsupported)
    assert isinstance(status, Status)
    return status


def conditions_after(
    result: Any, wanted: Resource, now: datetime, unsupported: tuple[str, ...]
) -> tuple[Condition, ...]:
    return status_after(result, wanted, now, unsupported).conditions


def _with(kind: type[Resource], conditions: tuple[Condition, ...] = (), **metadata: Any) -> Resource:
    return kind(metadata=ObjectMeta(generation=3, **metadata), status=WidgetStatus(conditions=conditions))


def _plain(conditions: tuple[Condition, ...]) -> list[tuple[str, str, str, str]]:
    return [(c.type, c.status, c.reason, c.message) for c in conditions]


@settings(max_examples=100)
@given(KINDS, st.lists(RESULTS, min_size=1, max_size=4), st.booleans())
def test_after_any_history_the_conditions_are_those_of_the_last_result(
    kind: type[Resource], history: list[Any], unsupported: bool
) -> None:
    """One Ready, never Reconciling and Stalled at once, and no condition of a type that the kind's CRD cannot hold."""
    conditions: tuple[Condition, ...] = ()
    for result in history:
        conditions = conditions_after(result, _with(kind, conditions), NOW, ("spec.x",) if unsupported else ())

    types = [condition.type for condition in conditions]
    assert len(set(types)) == len(types)
    assert types.count("Ready") == 1
    assert not {"Reconciling", "Stalled"} <= set(types)
    assert ("Unsupported" in types) == unsupported
    if kind is Plain:
        assert not {"Reconciling", "Stalled"} & set(types)
        assert all(c.observed_generation is None for c in conditions)


@settings(max_examples=100)
@given(KINDS, RESULTS)
def test_the_same_result_again_changes_nothing(kind: type[Resource], result: Any) -> None:
    once = status_after(result, _with(kind), NOW, ())
    wanted = msgspec.structs.replace(_with(kind), status=once)

    twice = status_after(result, wanted, NOW + timedelta(hours=1), ())

    assert make_status_patch(once, twice) == {}


@settings(max_examples=100)
@given(KINDS, RESULTS, RESULTS)
def test_a_condition_is_dated_by_its_last_transition(kind: type[Resource], first: Any, second: Any) -> None:
    before = conditions_after(first, _with(kind), NOW, ())
    later = NOW + timedelta(hours=1)

    after = conditions_after(second, _with(kind, before), later, ())

    old = {c.type: c for c in before}
    for condition in after:
        same = condition.type in old and old[condition.type].status == condition.status
        expected = NOW if same else later
        assert condition.last_transition_time == expected.replace(microsecond=0)


@given(KINDS, RESULTS)
def test_the_conditions_of_a_newer_peer_stay(kind: type[Resource], result: Any) -> None:
    foreign = Condition(type="FromTheFuture", status="Unknown", last_transition_time=NOW)

    assert foreign in conditions_after(result, _with(kind, (foreign,)), NOW, ())


@pytest.mark.parametrize(
    ("result", "generation"),
    [
        (Outcome(WidgetStatus(), "done", None), 3),
        (StalledError("not a range"), 3),
        (TransientError("away"), 2),
        (Outcome(WidgetStatus(), "waiting", None, ready="Unknown"), 2),
        (KeyError(), 2),
    ],
)
def test_the_observed_generation_advances_when_ready_or_stalled(result: Any, generation: int) -> None:
    wanted = Widget(metadata=ObjectMeta(generation=3), status=WidgetStatus(observed_generation=2))

    assert status_after(result, wanted, NOW, ()).observed_generation == generation


def test_a_failure_without_a_status_leaves_the_other_fields_as_they_are() -> None:
    healthy = Condition(type="Healthy", status="True", last_transition_time=NOW)
    wanted = Widget(metadata=ObjectMeta(generation=3), status=WidgetStatus(size=5, conditions=(healthy,)))

    status = status_after(TransientError("away"), wanted, NOW, ())

    assert isinstance(status, WidgetStatus)
    assert status.size == 5
    assert healthy in status.conditions


TEXTS = st.text(alphabet=st.sampled_from("aä€🦭\udcff"), max_size=50).map(lambda text: text * 2000)


@settings(max_examples=100, deadline=None)
@given(KINDS, TEXTS, st.sampled_from(["outcome", "waits", "fails", "stalls", "own"]))
def test_no_text_is_too_long_for_the_api_server(kind: type[Resource], text: str, how: str) -> None:
    own = (Condition(type="Healthy", status="True", reason="Succeeded", message=text),)
    results: dict[str, Outcome | Exception] = {
        "outcome": Outcome(WidgetStatus(), text, None),
        "waits": Outcome(WidgetStatus(), text, None, ready="Unknown"),
        "fails": TransientError(text),
        "stalls": StalledError(text),
        "own": TransientError("message").carry(WidgetStatus(), *own),
    }
    conditions = conditions_after(results[how], _with(kind), NOW, (f"spec.{text}",))

    for condition in conditions:
        assert len(condition.message.encode()) <= 4096
    if len(text.encode("utf-8", "replace")) > 4096:
        assert any(condition.message.endswith("bytes left out)") for condition in conditions)
    again = conditions_after(results[how], _with(kind, conditions), NOW + timedelta(hours=1), (f"spec.{text}",))
    assert again == conditions


def test_a_quotation_in_a_status_is_cut_and_an_echo_is_whole() -> None:
    report = MarkerReport(file="app.yaml", state="ambiguous", current="ä" * 1_000_000)
    patch = make_status_patch(
        None, ImageUpdateAutomationStatus(unsettled=(report,), observed_source_revision="r" * 9000)
    )

    assert len(patch["unsettled"][0]["current"].encode()) <= 4096
    assert patch["unsettled"][0]["file"] == "app.yaml"
    assert patch["observedSourceRevision"] == "r" * 9000


def test_flux_broken_build() -> None:
    """Seen: golden/flux/g-kustomizations.yaml, broken."""
    progress = "Building manifests for revision main@sha1:c30e with a timeout of 9m30s"
    error = TransientError("failed to decode Kubernetes YAML", reason="BuildFailed").carry(
        WidgetStatus(), Condition(type="Reconciling", status="True", message=progress)
    )

    assert _plain(conditions_after(error, _with(Widget), NOW, ())) == [
        ("Reconciling", "True", "ProgressingWithRetry", progress),
        ("Ready", "False", "BuildFailed", "failed to decode Kubernetes YAML"),
    ]


def test_flux_dependency_not_ready() -> None:
    """Seen: golden/flux/g-kustomizations.yaml, dependent: no Reconciling."""
    error = TransientError("dependency 'default/broken' is not ready", reason="DependencyNotReady").carry(
        WidgetStatus(), Condition(type="Reconciling", status="False")
    )

    assert _plain(conditions_after(error, _with(Widget), NOW, ())) == [
        ("Ready", "False", "DependencyNotReady", "dependency 'default/broken' is not ready"),
    ]


def test_flux_invalid_policy() -> None:
    """Seen: golden/flux/f-image.yaml, badrange."""
    message = 'invalid policy: improper constraint: "not a range"'

    assert _plain(conditions_after(StalledError(message, reason="InvalidPolicy"), _with(Widget), NOW, ())) == [
        ("Stalled", "True", "InvalidPolicy", message),
        ("Ready", "False", "InvalidPolicy", message),
    ]


def test_flux_health_check_under_way() -> None:
    """Seen: golden/flux/g-kustomizations.yaml, health."""
    running = "Running health checks for revision main@sha1:c30e with a timeout of 30s"
    healthy = Condition(type="Healthy", status="Unknown", reason="Progressing", message=running)
    result = Outcome(WidgetStatus(), running, None, ready="Unknown", conditions=(healthy,))

    assert _plain(conditions_after(result, _with(Widget), NOW, ())) == [
        ("Reconciling", "True", "Progressing", running),
        ("Ready", "Unknown", "Progressing", "Reconciliation in progress"),
        ("Healthy", "Unknown", "Progressing", running),
    ]


JSON = st.recursive(
    st.one_of(st.integers(0, 3), st.sampled_from(["a", "b"])),
    lambda inner: st.dictionaries(st.sampled_from("pqr"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("xyz"), JSON, max_size=3)


def _patched(target: Any, patch: Any) -> Any:
    """RFC 7396, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _patched(result.get(name), value)
    return result


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_makes_the_new_from_the_old_and_is_empty_when_they_are_equal(old: Any, new: Any) -> None:
    patch = make_merge_patch(old, new)

    assert _patched(old, patch) == new
    assert (patch == {}) == (old == new)
