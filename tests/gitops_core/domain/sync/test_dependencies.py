"""Laws of dependencies: circles are found, and what was edited and not applied yet is not ready."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.api import Kustomization
from gitops_core.domain.health.expressions import Evaluation, ExpressionInvalid
from gitops_core.domain.sync.dependencies import (
    ask,
    explain_absence,
    explain_answer,
    explain_unready,
    find_cycle,
    tell_cycle,
)
from gitops_core.meta import ObjectKey
from gitops_core.schema import read_manifest

keys = st.builds(ObjectKey, st.just("default"), st.sampled_from("abcdef"))
graphs = st.dictionaries(keys, st.lists(keys, max_size=3), max_size=6)


def key(name: str, namespace: str = "default") -> ObjectKey:
    return ObjectKey(namespace, name)


@given(graphs, keys)
def test_a_cycle_is_a_way_back_and_is_found_when_there_is_one(
    edges: dict[ObjectKey, list[ObjectKey]], start: ObjectKey
) -> None:
    reached: set[ObjectKey] = set()
    frontier = set(edges.get(start, ()))
    while frontier - reached:
        reached |= frontier
        frontier = {needed for one in frontier for needed in edges.get(one, ())}

    cycle = find_cycle(start, edges)

    assert bool(cycle) == (start in reached)
    if cycle:
        assert cycle[0] == cycle[-1] == start
        assert all(after in edges[before] for before, after in itertools.pairwise(cycle))
        assert len(set(cycle)) == len(cycle) - 1


def test_the_shortest_cycle_is_told_by_names() -> None:
    a, b, c = key("a"), key("b"), key("c")

    assert tell_cycle(find_cycle(a, {a: [b, c], b: [c], c: [a]})) == "a -> c -> a"
    assert tell_cycle(find_cycle(a, {a: [a]})) == "a -> a"
    other = key("b", "team")
    assert tell_cycle(find_cycle(a, {a: [other], other: [a]})) == "default/a -> team/b -> default/a"


def kustomization(
    name: str, *, generation: int = 1, observed: int = 1, ready: str = "True", **spec: Any
) -> Kustomization:
    source = {"kind": "GitRepository", "name": "r"}
    status = {
        "observedGeneration": observed,
        "conditions": [{"type": "Ready", "status": ready}],
        "lastAppliedRevision": "main@sha1:" + "a" * 40,
    }
    manifest = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name, "namespace": "default", "generation": generation},
        "spec": {"interval": "1m", "prune": True, "sourceRef": source, **spec},
        "status": status,
    }
    return read_manifest(Kustomization, manifest)


@pytest.mark.parametrize(
    ("dependency", "why"),
    [
        (kustomization("base"), ""),
        (kustomization("base", generation=2, observed=1), "dependency 'default/base' is not ready"),
        (kustomization("base", ready="False"), "dependency 'default/base' is not ready"),
        (kustomization("base", ready="Unknown"), "dependency 'default/base' is not ready"),
    ],
)
def test_a_dependency_is_ready_when_it_was_applied_as_it_is_now(dependency: Kustomization, why: str) -> None:
    assert explain_unready(kustomization("apps"), key("base"), dependency, "main@sha1:" + "a" * 40) == why


def test_a_dependency_on_the_same_source_has_applied_the_same_revision() -> None:
    behind = "dependency 'default/base' revision is not up to date"
    elsewhere = kustomization("base", sourceRef={"kind": "GitRepository", "name": "other"})

    assert explain_unready(kustomization("apps"), key("base"), kustomization("base"), "main@sha1:" + "b" * 40) == behind
    assert explain_unready(kustomization("apps"), key("base"), elsewhere, "main@sha1:" + "b" * 40) == ""


def test_sources_of_two_kinds_with_one_name_are_two_sources() -> None:
    base = kustomization("base", sourceRef={"kind": "OCIRepository", "name": "r"})

    assert explain_unready(kustomization("apps"), key("base"), base, "main@sha1:" + "b" * 40) == ""


def test_a_namespace_that_is_said_and_one_that_is_not_make_one_source() -> None:
    base = kustomization("base", sourceRef={"kind": "GitRepository", "name": "r", "namespace": "default"})

    assert explain_unready(kustomization("apps"), key("base"), base, "other").endswith("revision is not up to date")


def test_a_dependency_that_is_not_there_is_named() -> None:
    why = explain_absence(key("base"))

    kinds = "kustomizations.kustomize.toolkit.fluxcd.io"
    assert why == f"dependency 'default/base' not found: {kinds} \"base\" not found"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Evaluation(True), ""),
        (Evaluation(False), "dependency 'default/base' is not ready according to readyExpr eval"),
        (Evaluation(failed="no x"), "dependency 'default/base' is not ready: its readyExpr has no value yet: no x"),
    ],
)
def test_an_expression_decides_in_the_place_of_the_rules(answer: Evaluation, why: str) -> None:
    assert explain_answer(key("base"), "dep.x", answer) == why


def test_an_expression_that_does_not_compile_stalls() -> None:
    why = "readyExpr of dependency 'default/base', 'dep.x ==', is no valid CEL: bad"
    with pytest.raises(ExpressionInvalid, match=why):
        explain_answer(key("base"), "dep.x ==", Evaluation(invalid="bad"))


def test_an_expression_sees_both_as_the_api_server_shows_them() -> None:
    base, apps = kustomization("base"), kustomization("apps")

    question = ask(apps, "dep.metadata.name == 'base'", base)

    assert question.data is not None
    assert (question.names, question.checked) == (("self", "dep"), True)
    assert [question.data[name]["metadata"]["name"] for name in ("self", "dep")] == ["apps", "base"]
    assert question.data["dep"]["apiVersion"] == "kustomize.toolkit.fluxcd.io/v1"
