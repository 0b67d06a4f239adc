"""What a journey travels through: a namespace on the real control plane, a Git remote, a registry, Vault, the service.

Everything is as a user would have it: objects are applied with kubectl, commits arrive over HTTP, the service is the
`sealoop run` command in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.controlplane import ControlPlane
from tests.servers.programs import ROOT, Running, answers, clean_environment, free_port, start

PATIENCE = 120.0
"""Seconds until a state that has to come is given up: of no weight but for one that fails, however busy the machine."""


@dataclass(frozen=True)
class Surroundings:
    """One journey's place on the control plane."""

    plane: ControlPlane
    namespace: str
    folder: Path
    started: list[Running] = field(default_factory=list)

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """kubectl apply, in this journey's namespace."""
        documents = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
        self.plane.kubectl("apply", "-n", self.namespace, "-f", "-", stdin=documents)

    def get(self, what: str) -> Any:
        """The object `KIND/NAME`, or an empty mapping; the list of `KIND`."""
        return self.plane.get(what, self.namespace) or {}

    def until(self, claim: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
        """Wait until `claim` holds. Raises AssertionError, which shows every object's conditions."""
        deadline = time.monotonic() + patience
        while not claim():
            gone = [f"{one.name} ended with code {one.process.returncode}" for one in self.started if one.has_failed]
            if gone or time.monotonic() > deadline:
                why = ", ".join(gone) or f"not within {patience:.0f} s"
                raise AssertionError(f"{what}: {why}\n{self.conditions()}\n{self.log()}")
            time.sleep(0.1)

    def conditions(self) -> str:
        kinds = "gitrepositories,kustomizations,imagerepositories,imagepolicies,imageupdateautomations"
        return self.plane.kubectl("get", f"{kinds},secretstores,externalsecrets,pods,events", "-n", self.namespace)

    def log(self) -> str:
        return "\n".join(
            f"{path.name}:\n" + "\n".join(path.read_text(errors="replace").splitlines()[-30:])
            for path in sorted(self.folder.glob("*.log"))
        )

    def ready(self, what: str) -> bool:
        return bool(self.condition(what)["status"] == "True")

    def condition(self, what: str, type_: str = "Ready") -> dict[str, Any]:
        """A condition of the object `KIND/NAME`, as `condition` tells it."""
        return condition(self.get(what), type_)

    def told(self) -> list[Mapping[str, Any]]:
        """Every Event about what is in a status by now.

        The service writes Events in the order in which things happen, and says a thing before its status does: when the
        Event of something that happens after this call is there, those of before it are.
        """
        last = f"last-{time.monotonic_ns()}"
        self.apply(flux("source", "GitRepository", last, url="http://127.0.0.1:1/none.git", interval="1h"))
        events: list[dict[str, Any]] = []

        def is_told() -> bool:
            events[:] = self.get("events")["items"]
            return any(event["involvedObject"]["name"] == last for event in events)

        self.until(is_told, "the last event is written")
        self.plane.kubectl("delete", f"gitrepository/{last}", "-n", self.namespace)
        return [event for event in events if event["involvedObject"]["name"] != last]

    def service(self, name: str = "service", *options: str) -> Running:
        """`sealoop run`, ready. The caller stops it."""
        port = free_port()
        command: list[str | Path] = [
            *(Path(sys.executable), "-m", "sealoop", "run", "--kubeconfig", self.plane.kubeconfig),
            *("--state-dir", self.folder / f"{name}-state", "--listen", f"127.0.0.1:{port}"),
            *("--lease-namespace", self.namespace, "--log-level", "info", "--hooks", "", *options),
        ]
        environment = clean_environment(self.folder, POD_NAME=name, PYTHONPATH=str(ROOT))
        started = start(command, folder=self.folder, environment=environment, name=name)
        self.started.append(started)
        started.wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 60)
        return started

    @contextlib.contextmanager
    def serving(self, name: str = "service") -> Iterator[Running]:
        started = self.service(name)
        try:
            yield started
        finally:
            started.stop(60)

    def lease_holder(self) -> str:
        return str(((self.get("lease/sealoop").get("spec")) or {}).get("holderIdentity", ""))


def condition(manifest: Mapping[str, Any], type_: str) -> dict[str, Any]:
    """A condition of an object; of empty words while it has none."""
    found = (manifest.get("status") or {}).get("conditions", [])
    return next((c for c in found if c["type"] == type_), {"status": "", "reason": "", "message": ""})


def flux(group: str, kind: str, name: str, **spec: Any) -> dict[str, Any]:
    """One of Flux's kinds."""
    return {"apiVersion": f"{group}.toolkit.fluxcd.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def deployment(image: str, *, marker: str = "", replicas: int = 1) -> bytes:
    return f"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
        - name: web
          image: {image}{f" # {marker}" if marker else ""}
""".encode()


def config_map(name: str, **data: str) -> bytes:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    return json.dumps(manifest).encode()
