"""When a Kustomization may be applied, as far as what it depends on goes.

Source: Flux, kustomize-controller, checkDependencies.
"""

from __future__ import annotations

from typing import Any

import pytest

from gitops_core.api import Kustomization
from gitops_core.domain.dependencies import why_not_ready
from gitops_core.meta import ObjectKey
from gitops_core.schema import from_manifest

REVISION = "main@sha1:" + "a" * 40
OLDER = "main@sha1:" + "b" * 40
BASE = ObjectKey("shop", "base")


def kustomization(name: str, source: str = "fleet", *, generation: int = 1, **status: Any) -> Kustomization:
    metadata = {"name": name, "namespace": "shop", "generation": generation}
    reference = {"kind": "GitRepository", "name": source}
    spec = {"interval": "10m", "prune": True, "path": f"./{name}", "sourceRef": reference}
    return from_manifest(Kustomization, {"metadata": metadata, "spec": spec, "status": status})


def applied(
    *, generation: int = 1, observed: int = 1, ready: str = "True", at: str = REVISION, source: str = "fleet"
) -> Kustomization:
    moment = "2026-01-01T00:00:00Z"
    condition = {"type": "Ready", "status": ready, "reason": "R", "message": "m", "lastTransitionTime": moment}
    status = {"observedGeneration": observed, "lastAppliedRevision": at, "conditions": [condition]}
    return kustomization("base", source, generation=generation, **status)


@pytest.mark.parametrize(
    ("dependency", "why"),
    [
        (applied(), ""),
        (applied(generation=2), "dependency 'shop/base' is not ready"),  # edited, and not applied as it is now
        (applied(generation=2, observed=2), ""),
        (applied(ready="False"), "dependency 'shop/base' is not ready"),
        (applied(ready="Unknown"), "dependency 'shop/base' is not ready"),
        (kustomization("base"), "dependency 'shop/base' is not ready"),
        (applied(at=OLDER), "dependency 'shop/base' revision is not up to date"),
        (applied(at=OLDER, source="another"), ""),
    ],
)
def test_a_dependency_is_ready_when_it_was_applied_as_it_is_now(dependency: Kustomization, why: str) -> None:
    assert why_not_ready(kustomization("app"), BASE, dependency, REVISION) == why


def test_a_dependency_that_is_not_there_is_named() -> None:
    why = why_not_ready(kustomization("app"), BASE, None, REVISION)

    kinds = "kustomizations.kustomize.toolkit.fluxcd.io"
    assert why == f"dependency 'shop/base' not found: {kinds} \"base\" not found"
