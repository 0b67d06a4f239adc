"""The field types that Flux's kinds have in common: durations, references, conditions.

Source: github.com/fluxcd/pkg, apis/meta and apis/kustomize; k8s.io/apimachinery, meta/v1 Condition and LabelSelector.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from gitops_core.meta import Condition, Status, Wire
from gitops_core.schema import INT64

Duration = Annotated[str, msgspec.Meta(pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$")]
"""A Go duration: `1h30m`. `gitops_core.meta.parse_duration` reads it."""

ShortDuration = Annotated[str, msgspec.Meta(pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$")]
"""A Go duration without hours, as the time-outs of sources and images are."""

FLUX_FINALIZER = "finalizers.fluxcd.io"

_CONDITION: Mapping[str, Any] = {
    "description": "One aspect of the object's current state.",
    "type": "object",
    "required": ["lastTransitionTime", "message", "reason", "status", "type"],
    "properties": {
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "message": {"type": "string", "maxLength": 32768},
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        "reason": {
            "type": "string",
            "minLength": 1,
            "maxLength": 1024,
            "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        },
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "type": {
            "type": "string",
            "maxLength": 316,
            "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
            r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        },
    },
}


class FluxStatus(Status):
    """What the status of every Flux kind begins with."""

    # the schema is stricter than the decoder: a foreign condition must not make an object unreadable
    conditions: Annotated[tuple[Condition, ...], msgspec.Meta(extra_json_schema={"items": _CONDITION})] = ()
    observed_generation: Annotated[int, INT64] = 0


class LocalReference(Wire):
    """An object in the same namespace, by name."""

    name: str


class NamespacedReference(Wire):
    """An object by name; its namespace is the referring object's when empty."""

    name: str
    namespace: str = ""


class KindReference(Wire):
    """An object of any kind; its namespace is the referring object's when empty."""

    kind: str
    name: str
    api_version: str = ""
    namespace: str = ""


class GitReference(Wire):
    """Which commit of a Git repository. Precedence: commit, name, semver, tag, branch; none is the branch master."""

    branch: str = ""
    tag: str = ""
    semver: str = ""
    name: str = ""
    commit: str = ""


class LabelRequirement(Wire):
    """One requirement on a label: operator is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: Annotated[tuple[str, ...], msgspec.Meta(extra_json_schema={"x-kubernetes-list-type": "atomic"})] = ()


class LabelSelector(Wire):
    """Which objects, by their labels: all of matchLabels and all of matchExpressions."""

    SCHEMA: ClassVar[Mapping[str, Any]] = {"x-kubernetes-map-type": "atomic"}

    match_labels: dict[str, str] = {}
    match_expressions: Annotated[
        tuple[LabelRequirement, ...], msgspec.Meta(extra_json_schema={"x-kubernetes-list-type": "atomic"})
    ] = ()


class Artifact(Wire):
    """What a source produced last: where it is, what it was made from, and its checksum."""

    path: str
    url: str
    revision: str
    digest: Annotated[
        str, msgspec.Meta(extra_json_schema={"pattern": r"^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$"})
    ]
    last_update_time: datetime
    size: Annotated[int | None, INT64] = None
    metadata: dict[str, str] = {}


Provider = Literal["generic", "aws", "azure", "gcp"]
"""Whose identity service proves who we are; generic is a Secret."""
