"""What Flux's controllers wrote for these inputs on a real API server, object by object, and what we write there.

Data: tests/golden/data/flux, recorded from source-controller 1.9.1 and kustomize-controller 1.9.4. Every difference
that we want is a line of INTENDED.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conformance.comparing import Difference, Intended, differences, settled, unintended
from tests.conformance.stage import Repository, Stage, create
from tests.journeys.surroundings import Surroundings, condition, config_map, flux

DATA = Path(__file__).parents[1] / "golden" / "data" / "flux"

NEWLINE = "the sentence has no newline at its end"
INTENDED = (
    Intended("Kustomization/*", "status.history*.digest", "the digest is that of our own rendering"),
    Intended(
        "Kustomization/broken", "conditions.Ready.message", "no folder of ours is named; the line is the parser's"
    ),
    Intended("Kustomization/nopath", "conditions.Ready.message", "no folder of ours is named"),
    Intended("Kustomization/badfield", "conditions.Ready.message", "the very first object is applied as its own trial"),
    Intended("Kustomization/unknown", "conditions.Ready.message", NEWLINE),
    Intended("Kustomization/frozen", "conditions.Ready.message", "how to have the object made anew is told"),
    Intended("Kustomization/health", "conditions.*.message", "what keeps the Pods is told"),
    Intended("events/r", "*.source.toolkit.fluxcd.io/digest", "the digest is that of the tree: there is no archive"),
    Intended("events/broken", "BuildFailed: *", "one event: the message has no random folder, so it stays the same"),
    Intended("events/nopath", "ArtifactFailed: *", "no folder of ours is named"),
    Intended("events/badfield", "ReconciliationFailed: *", "the very first object is applied as its own trial"),
    Intended("events/unknown", "ReconciliationFailed: *", NEWLINE),
    Intended("events/frozen", "ReconciliationFailed: ConfigMap*", "how to have the object made anew is told"),
    Intended("events/health", "HealthCheckFailed: *", "what keeps the Pods is told"),
    Intended("events/dependent", "DependencyNotReady: *", "the dependency is named; its readiness wakes, not a timer"),
)

ROLE = b"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "lab:reader"}
rules: []
"""
BROKEN = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n   data: [\n"
BAD_PORT = b"""
apiVersion: v1
kind: Service
metadata: {name: bad}
spec: {ports: [{port: 99999999}]}
"""
WIDGET = b"apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\n"
FROZEN = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: frozen}\nimmutable: true\ndata: {a: '%d'}\n"
READY = b"""
apiVersion: v1
kind: ConfigMap
metadata: {name: ready}
data: {a: '1'}
---
apiVersion: v1
kind: Service
metadata: {name: ready}
spec: {ports: [{port: 80}]}
"""
NEVER = b"""
apiVersion: v1
kind: ServiceAccount
metadata: {name: never}
---
apiVersion: v1
kind: Service
metadata: {name: never}
spec: {ports: [{port: 80}], selector: {app: never}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: never}
spec:
  replicas: 1
  selector: {matchLabels: {app: never}}
  template:
    metadata: {labels: {app: never}}
    spec: {containers: [{name: c, image: registry.example.org/never-broken}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: never}
spec: {defaultBackend: {service: {name: never, port: {number: 80}}}}
"""
FIRST = {
    "cm/one.yaml": config_map("one", a="1"),
    "cm/two.yaml": config_map("two", a="1"),
    "cm/role.yaml": ROLE,
    "broken/x.yaml": BROKEN,
    "badfield/x.yaml": BAD_PORT,
    "unknown/x.yaml": WIDGET,
    "frozen/x.yaml": FROZEN % 1,
    "waitready/x.yaml": READY,
    "health/x.yaml": NEVER,
}
CHANGE = {
    "cm/one.yaml": config_map("one", a="2"),
    "cm/two.yaml": None,
    "cm/role.yaml": None,
    "frozen/x.yaml": FROZEN % 2,
}
PATHS = {
    "good": "./cm",
    "broken": "./broken",
    "health": "./health",
    "badfield": "./badfield",
    "unknown": "./unknown",
    "nopath": "./nope",
    "waitready": "./waitready",
    "frozen": "./frozen",
    "dependent": "./cm",
}
MORE: dict[str, dict[str, Any]] = {
    "health": {"timeout": "10s", "wait": True},
    "waitready": {"wait": True},
    "dependent": {"dependsOn": [{"name": "broken"}]},
}
# Status and reason of Ready that each comes to; a failure names the revision in Reconciling.
VERDICTS = {
    "good": ("True", "ReconciliationSucceeded"),
    "broken": ("False", "BuildFailed"),
    "health": ("False", "HealthCheckFailed"),
    "badfield": ("False", "ReconciliationFailed"),
    "unknown": ("False", "ReconciliationFailed"),
    "nopath": ("False", "ArtifactFailed"),
    "waitready": ("True", "ReconciliationSucceeded"),
    "frozen": ("True", "ReconciliationSucceeded"),
    "dependent": ("False", "DependencyNotReady"),
}
CHANGED = {"frozen": ("False", "ReconciliationFailed"), "health": ("Unknown", "Progressing")}


def recorded(name: str) -> Any:
    return yaml.safe_load((DATA / f"{name}.yaml").read_text())


@dataclass
class Syncs:
    """The Kustomizations of the recording, after its first commit and after its second."""

    place: Surroundings
    repository: Repository
    first: str
    second: str
    good: Mapping[str, Any]
    one: Mapping[str, Any]
    role: Mapping[str, Any]
    after: Mapping[str, Mapping[str, Any]]
    events: list[Mapping[str, Any]]

    def settled(self, value: Any) -> Any:
        words = {self.first: "FIRST", self.second: "SECOND", self.first[:7]: "FIRST", self.place.namespace: "default"}
        return settled(value, words)


THEIR_FIRST, THEIR_SECOND = "c39ada027a1eca5649c002972a058ac3757d37d4", "c30e5797521bf3643e4888c5f8c360108735190f"


def theirs(value: Any) -> Any:
    return settled(value, {THEIR_FIRST: "FIRST", THEIR_SECOND: "SECOND"})


@pytest.fixture(scope="module")
def syncs(served: Stage) -> Syncs:
    place = served.place("flux")
    repository = served.repository("syncs", FIRST)
    first = repository.git("rev-parse", "main").strip()
    create(place, flux("source", "GitRepository", "r", url=repository.url, interval="10m", ref={"branch": "main"}))
    source = {"kind": "GitRepository", "name": "r"}
    base = {"interval": "10m", "prune": True, "sourceRef": source, "targetNamespace": place.namespace, "force": False}
    objects = [
        flux("kustomize", "Kustomization", name, **base, path=path, **MORE.get(name, {}))
        for name, path in PATHS.items()
    ]
    create(place, *objects)

    decided(place, VERDICTS, first)
    good = _live(place, "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{}/kustomizations/good")
    one = _live(place, "/api/v1/namespaces/{}/configmaps/one")
    role = _live(place, "/apis/rbac.authorization.k8s.io/v1/clusterroles/lab:reader")
    second = repository.commit(CHANGE, "change")
    place.plane.kubectl(
        "annotate", "-n", place.namespace, "gitrepository/r", "reconcile.fluxcd.io/requestedAt=now", "--overwrite"
    )
    after = decided(place, VERDICTS | CHANGED, second)
    return Syncs(place, repository, first, second, good, one, role, after, place.told())


def decided(place: Surroundings, verdicts: Mapping[str, tuple[str, str]], commit: str) -> dict[str, dict[str, Any]]:
    """Each Kustomization as it was when it had come to its verdict on `commit`; some go on from there."""
    found: dict[str, dict[str, Any]] = {}

    def look() -> bool:
        for item in place.get("kustomizations")["items"]:
            name, ready = item["metadata"]["name"], condition(item, "Ready")
            if (ready["status"], ready["reason"]) == verdicts[name] and is_about(item, commit):
                found.setdefault(name, item)
        return found.keys() == verdicts.keys()

    place.until(look, f"everything is decided about {commit}")
    return found


def is_about(kustomization: Mapping[str, Any], commit: str) -> bool:
    """Whether a verdict is about `commit`; one on a dependency is about none."""
    conditions = kustomization["status"]["conditions"]
    return kustomization["metadata"]["name"] == "dependent" or any(commit in c["message"] for c in conditions)


def by_message(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{event['reason']}: {event['message']}": event for event in events}


def _live(place: Surroundings, path: str) -> Any:
    return place.plane.expect("GET", path.format(place.namespace))  # kubectl hides managedFields


def assert_same(found: Iterable[Difference]) -> None:
    wrong = unintended(found, INTENDED)
    assert not wrong, "\n" + wrong


def test_an_applied_object_is_the_same(syncs: Syncs) -> None:
    assert_same(differences("ConfigMap/one", theirs(recorded("a-configmap")), syncs.settled(syncs.one)))
    assert_same(differences("ClusterRole/lab:reader", theirs(recorded("a-clusterrole")), syncs.settled(syncs.role)))


def test_a_kustomization_is_the_same(syncs: Syncs) -> None:
    assert_same(differences("Kustomization/good", theirs(recorded("a-kustomization-good")), syncs.settled(syncs.good)))


@pytest.mark.parametrize("name", PATHS)
def test_a_kustomization_ends_up_the_same(syncs: Syncs, name: str) -> None:
    row = recorded("g-kustomizations")[name]

    status = syncs.after[name]["status"]
    conditions = [{k: c[k] for k in ("type", "status", "reason", "message")} for c in status["conditions"]]

    rest = {key: value for key, value in status.items() if key != "conditions"}
    ours = syncs.settled({"conditions": conditions, "status": rest})
    assert_same(differences(f"Kustomization/{name}", theirs(row), ours))


@pytest.mark.parametrize("name", ["r", *PATHS])
def test_the_events_are_the_same(syncs: Syncs, name: str) -> None:
    said = [event for event in syncs.events if event["involvedObject"]["name"] == name]
    keys = ("type", "reason", "message")
    ours = [{k: e[k] for k in keys} | {"annotations": e["metadata"].get("annotations")} for e in said]
    wanted = [{k: e[k] for k in (*keys, "annotations")} for e in recorded("g-events") if e["name"] == name]
    kinds = {(event["type"], event["reason"]) for event in wanted}
    assert {(event["type"], event["reason"]) for event in ours} == kinds
    assert_same(differences(f"events/{name}", by_message(theirs(wanted)), by_message(syncs.settled(ours))))
    controller = "source-controller" if name == "r" else "kustomize-controller"
    assert {event["reportingComponent"] for event in said} == {controller}
