"""Reads the variables of spec.postBuild: of ConfigMaps and Secrets in order, then those that stand in the spec."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from gitops_core.api import Kustomization
from gitops_core.api.kustomization import SubstituteReference
from gitops_core.domain.render.variables import check_names
from gitops_core.errors import ManifestInvalid
from gitops_core.meta import Kind, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import Cluster
from gitops_core.runtime.remotes.credentials import SECRET, decode_data

CONFIG_MAP = Kind("", "v1", "ConfigMap")
SPEC = "spec.postBuild"


class Variables(NamedTuple):
    """Attributes:
    values: None where nothing is to be substituted, not even what has a default.
    secret: those of Secrets, which no message may quote.
    digest: by which a change of them is noticed; it leaves the process nowhere.
    """

    values: Mapping[str, Sensitive] | None = None
    digest: str = ""
    secret: tuple[Sensitive, ...] = ()


def find_reference(wanted: Kustomization, reference: SubstituteReference) -> ObjectRef:
    kind = SECRET if reference.kind == "Secret" else CONFIG_MAP
    return ObjectRef(kind, ObjectKey(wanted.metadata.namespace, reference.name))


async def read_variables(cluster: Cluster, wanted: Kustomization) -> Variables:
    """Read the variables that a Kustomization names; of one name the last counts, and the spec's own before all.

    Raises:
        ManifestInvalid: an object is not there and not optional, or a name is none.
        ClusterError: one could not be read.
    """
    spec = wanted.spec.post_build
    if spec is None:
        return Variables()
    values: dict[str, Sensitive] = {}
    secret: list[Sensitive] = []
    for reference in spec.substitute_from:
        ref = find_reference(wanted, reference)
        manifest = await cluster.get(ref)
        if manifest is None:
            if reference.optional:
                continue
            raise ManifestInvalid(f"{SPEC}.substituteFrom: {ref} is not there, and not optional")
        try:
            data = decode_data(manifest) if ref.kind == SECRET else manifest.get("data") or {}
        except ValueError:
            raise ManifestInvalid(f"{SPEC}.substituteFrom: {ref} holds data that is not base64") from None
        check_names(data, str(ref))
        found = {name: Sensitive(value) for name, value in data.items()}
        values |= found
        secret += found.values() if ref.kind == SECRET else ()
    check_names(spec.substitute, f"{SPEC}.substitute")
    values |= {name: Sensitive(value) for name, value in spec.substitute.items()}
    if not values and spec.substitute_strategy != "Always":
        return Variables()
    content = sorted((name, value.reveal()) for name, value in values.items())
    return Variables(values, hashlib.sha256(msgspec.json.encode(content)).hexdigest(), tuple(secret))
