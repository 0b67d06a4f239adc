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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.controlplane import ControlPlane
from tests.servers.programs import Running, answers, clean_environment, free_port, start

PATIENCE = 60.0
"""Seconds until a state that has to come is given up."""


@dataclass(frozen=True)
class Surroundings:
    """One journey's place on the control plane."""

    plane: ControlPlane
    namespace: str
    folder: Path

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """kubectl apply, in this journey's namespace."""
        documents = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
        self.plane.kubectl("apply", "-n", self.namespace, "-f", "-", stdin=documents)

    def get(self, what: str) -> Any:
        """The object `KIND/NAME`, or an empty mapping."""
        text = self.plane.kubectl("get", what, "-n", self.namespace, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text else {}

    def until(self, claim: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
        """Wait until `claim` holds. Raises AssertionError, which shows every object's conditions."""
        deadline = time.monotonic() + patience
        while not claim():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what}: not within {patience:.0f} s\n{self.conditions()}\n{self.log()}")
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
        manifest = self.get(what)
        conditions = (manifest.get("status") or {}).get("conditions", [])
        current = {c["type"]: c["status"] for c in conditions}
        return current.get("Ready") == "True"

    def service(self, name: str = "service", *options: str) -> Running:
        """`sealoop run`, ready. The caller stops it."""
        port = free_port()
        command: list[str | Path] = [
            *(Path(sys.executable), "-m", "sealoop", "run", "--kubeconfig", self.plane.kubeconfig),
            *("--state-dir", self.folder / f"{name}-state", "--listen", f"127.0.0.1:{port}"),
            *("--lease-namespace", self.namespace, "--log-level", "info", "--hooks", "", *options),
        ]
        environment = clean_environment(self.folder, POD_NAME=name)
        started = start(command, folder=self.folder, environment=environment, name=name)
        started.wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 60)
        return started

    @contextlib.contextmanager
    def serving(self, name: str = "service") -> Iterator[Running]:
        started = self.service(name)
        try:
            yield started
        finally:
            started.stop(20)

    def lease_holder(self) -> str:
        return str(((self.get("lease/sealoop").get("spec")) or {}).get("holderIdentity", ""))


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
