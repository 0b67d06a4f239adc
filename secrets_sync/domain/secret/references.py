"""Which objects a SecretStore and an ExternalSecret name: a change of one of them may concern who names it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gitops_core.meta import Kind, ObjectKey, ObjectRef
from secrets_sync.api import CaProvider, ExternalSecret, SecretKeySelector, SecretStore
from secrets_sync.domain.secret.live import SECRET
from secrets_sync.domain.secret.plan import get_target

CONFIG_MAP = Kind("", "v1", "ConfigMap")


def list_references(wanted: ExternalSecret) -> Iterator[ObjectRef]:
    """List its Secret, its stores, and the objects that its templates are in, also where those are not acted on."""
    yield get_target(wanted)
    namespace, spec = wanted.metadata.namespace, wanted.spec
    sources = [*(entry.source_ref for entry in spec.data_from), *(entry.source_ref for entry in spec.data)]
    for store in (spec.secret_store_ref, *(source.store_ref for source in sources if source is not None)):
        if store is not None and store.name and store.kind == "SecretStore":
            yield ObjectRef(SecretStore.KIND, ObjectKey(namespace, store.name))
    for source in spec.target.template.template_from if spec.target.template is not None else ():
        for kind, template in ((CONFIG_MAP, source.config_map), (SECRET, source.secret)):
            if template is not None:
                yield ObjectRef(kind, ObjectKey(namespace, template.name))


def list_credentials(store: SecretStore) -> Iterator[ObjectRef]:
    """List the Secrets and ConfigMaps that a store's settings name, wherever in them."""
    namespace = store.metadata.namespace
    for value in _walk(store.spec.provider):
        match value:
            case SecretKeySelector(name=name) if name:
                yield ObjectRef(SECRET, ObjectKey(namespace, name))
            case CaProvider(type=type_, name=name):
                yield ObjectRef(SECRET if type_ == "Secret" else CONFIG_MAP, ObjectKey(namespace, name))


def _walk(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _walk(getattr(value, name))
