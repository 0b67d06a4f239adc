"""Reads the variables of spec.postBuild: of ConfigMaps and Secrets in order, then those that stand in the spec."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from gitops_core.api import Kustomization
from gitops_core.api.kustomization import SubstituteReference
from gitops_core.domain.render.muting import make_mute, mute_values
from gitops_core.domain.render.variables import check_names, drop_breaks
from gitops_core.errors import ManifestInvalid
from gitops_core.meta import Kind, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import Cluster
from gitops_core.runtime.remotes.credentials import SECRET, decode_data

CONFIG_MAP = Kind("", "v1", "ConfigMap")
SPEC = "spec.postBuild"
MAX_BYTES = 4 * 1024 * 1024
"""Of all variables that ConfigMaps and Secrets hold: each of these may have 1 MiB."""
WITHHELD = "the reason is withheld, because the Secrets of spec.postBuild hold more values than can be looked for in it"


class Variables(NamedTuple):
    """Attributes:
    values: None where nothing is to be substituted, not even what has a default.
    secret: those of Secrets, which no message may quote.
    digest: by which a change of them is noticed; it leaves the process nowhere.
    """

    values: Mapping[str, Sensitive] | None = None
    digest: str = ""
    secret: tuple[Sensitive, ...] = ()

    def mute(self, text: str) -> str:
        """Replace by *** what of Secrets' variables stands in `text`, which may quote what the API server refused."""
        return mute_values(text, self._list_forms(), WITHHELD)

    def make_mute(self) -> Callable[[str], str]:
        """Make a function that mutes many texts."""
        return make_mute(self._list_forms(), WITHHELD)

    def _list_forms(self) -> Iterator[str]:
        values = (value.reveal_text() for value in self.secret)
        return (form for value in values for form in (value, drop_breaks(value)))


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
    optional: dict[ObjectRef, bool] = {}
    for reference in spec.substitute_from:
        ref = find_reference(wanted, reference)
        optional[ref] = optional.pop(ref, True) and reference.optional  # read once, where it is named last
    values: dict[str, Sensitive] = {}
    secret: list[Sensitive] = []
    size = 0
    for ref in optional:
        found = await _read_values(cluster, ref, optional=optional[ref])
        size += sum(len(name) + len(value.reveal()) for name, value in found.items())
        if size > MAX_BYTES:
            raise ManifestInvalid(f"{SPEC}.substituteFrom: all that it names holds more than {MAX_BYTES} bytes")
        values |= found
        secret += found.values() if ref.kind == SECRET else ()
    check_names(spec.substitute, f"{SPEC}.substitute")
    values |= {name: Sensitive(value) for name, value in spec.substitute.items()}
    if not values and spec.substitute_strategy != "Always":
        return Variables()
    content = sorted((name, value.reveal()) for name, value in values.items())
    return Variables(values, hashlib.sha256(msgspec.json.encode(content)).hexdigest(), tuple(secret))


async def _read_values(cluster: Cluster, ref: ObjectRef, *, optional: bool) -> dict[str, Sensitive]:
    manifest = await cluster.get(ref)
    if manifest is None and optional:
        return {}
    if manifest is None:
        raise ManifestInvalid(f"{SPEC}.substituteFrom: {ref} is not there, and not optional")
    try:
        data = decode_data(manifest) if ref.kind == SECRET else manifest.get("data") or {}
    except ValueError:
        raise ManifestInvalid(f"{SPEC}.substituteFrom: {ref} holds data that is not base64") from None
    check_names(data, str(ref))
    return {name: _take_text(ref, name, value) for name, value in data.items()}


def _take_text(ref: ObjectRef, name: str, value: str | bytes) -> Sensitive:
    found = Sensitive(value)
    try:
        found.reveal_text()
    except ValueError:
        raise ManifestInvalid(f"{SPEC}.substituteFrom: {name!r} of {ref} is no text") from None
    return found
