"""A crowd of Kustomizations of four objects each, and what the service spends on it.

The objects are a Deployment with 0 replicas, a ServiceAccount, a Service and an Ingress. A Kustomization has a folder
of its own, or one folder serves all, each of which adds a name prefix.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.stage import KUSTOMIZATIONS, SOURCES, Requests, Stage, at_once, create, ready, wait_until
from bench.table import Row, usage_of
from tests.servers.controlplane import AuditedRequest

APP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: default}
spec:
  replicas: 0
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      serviceAccountName: app
      containers: [{name: app, image: "registry.example.com/app:1.0.0"}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: app, namespace: default}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: default}
spec: {selector: {app: app}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: app, namespace: default}
spec: {defaultBackend: {service: {name: app, port: {number: 80}}}}
"""
HEADER: Row = ("", ("median s", "slowest s", "requests each", "CPU s", "peak MiB", "beside"))
SOURCE = f"{SOURCES}/app"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def name_folder(number: int) -> str:
    return f"own/{number:05}"


def write_app(number: int, version: str = "1.0.0") -> str:
    """Write the manifests of a folder of its own; their version stands in the image of its Deployment."""
    return APP.replace("name: app,", f"name: k{number}-app,").replace("app:1.0.0", f"app:{version}")


def make_kustomizations(count: int, path: str = "", **spec: Any) -> Requests:
    """Make what creates them: of the folder `path`, each with a prefix; without it each of its own folder."""
    common = {"interval": "1h", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "app"}, **spec}
    own = [
        {"path": path, "namePrefix": f"k{number}-"} if path else {"path": f"./{name_folder(number)}"}
        for number in range(count)
    ]
    kind = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization"}
    return [
        (KUSTOMIZATIONS, {**kind, "metadata": {"name": f"k{number}"}, "spec": common | place})
        for number, place in enumerate(own)
    ]


def create_source(at: Stage) -> None:
    spec = {"url": at.url, "interval": "1h", "ref": {"branch": "main"}}
    create(at.plane, SOURCES, "GitRepository", "app", spec)
    wait_until(lambda: ready(at.plane.expect("GET", SOURCE)))


def create_crowd(at: Stage, requests: Requests) -> None:
    """Create the Kustomizations at once, and wait until all are ready."""
    at_once(at.plane, "POST", requests)
    wait_until_all(at, ready, len(requests))


def wait_until_all(at: Stage, claim: Callable[[dict[str, Any]], bool], count: int) -> None:
    """Wait until `claim` holds for every Kustomization; the more there are, the less often they are listed."""

    def holds() -> bool:
        return all(map(claim, at.plane.expect("GET", KUSTOMIZATIONS)["items"]))

    wait_until(holds, timeout=max(180.0, count * 0.6), pause=max(0.1, count / 2000))


def find_image(at: Stage, name: str) -> str:
    answer = at.plane.call("GET", f"{DEPLOYMENTS}/{name}")
    return str(answer.body["spec"]["template"]["spec"]["containers"][0]["image"]) if answer.status == 200 else ""


@dataclass(frozen=True)
class Spent:
    """What the service spent on one round."""

    seconds: float
    cpu: float
    peak: float
    requests: Sequence[AuditedRequest]


class Round:
    """Counts from when it is made."""

    def __init__(self, at: Stage) -> None:
        self.at, self.mark = at, at.plane.mark()
        self.before, self.started = usage_of(at.pid), time.monotonic()

    def end(self) -> Spent:
        seconds, used = time.monotonic() - self.started, usage_of(self.at.pid)
        requests = self.at.plane.requests(agent="sealoop", since=self.mark)
        kinds = Counter(f"{r.verb} {r.resource}" for r in requests)
        print("   ", ", ".join(f"{what} {count}" for what, count in kinds.most_common(12)), file=sys.stderr)
        return Spent(seconds, used.cpu - self.before.cpu, used.peak_rss, requests)


def make_row(label: str, rounds: Sequence[Spent], count: int, beside: str = "") -> Row:
    """Make the row of equal rounds of `count` Kustomizations: medians, and the peak of all."""
    took = [one.seconds for one in rounds]
    requests = statistics.median(len(one.requests) for one in rounds) / count
    cpu, peak = statistics.median(one.cpu for one in rounds), max(one.peak for one in rounds)
    values = (f"{statistics.median(took):.2f}", f"{max(took):.2f}", f"{requests:.1f}", f"{cpu:.2f}", f"{peak:.0f}")
    return label, (*values, f"  {beside}")
