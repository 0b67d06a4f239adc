"""Small worlds for the tests of secrets: stores, ExternalSecrets, and a loop that does what the runtime does."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import GitOpsError, StalledError
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Resource, Sensitive
from gitops_core.ports import Change
from gitops_core.runtime.reconciling import Notice, Outcome, Teller
from gitops_core.runtime.watching.informers import list_objects
from gitops_core.schema import make_crd, read_manifest
from secrets_sync.api import ExternalSecret, SecretStore
from secrets_sync.component import TELLS_SECRETS, TELLS_STORES
from secrets_sync.domain.provider.payload import Payload, SecretRef
from secrets_sync.domain.secret.live import SECRET
from secrets_sync.ports import ProviderFactories, SecretProvider
from secrets_sync.reconcilers import ExternalSecretReconciler, SecretStoreReconciler
from secrets_sync.runtime.reads import Reads

R = TypeVar("R", bound=Resource)
NAMESPACE = "shop"
START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def store(name: str, provider: Mapping[str, Any], namespace: str = NAMESPACE) -> Manifest:
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"provider": provider},
    }


def fake(name: str = "fake", **payloads: str) -> Manifest:
    data = [{"key": key, "value": value} for key, value in payloads.items()]
    return store(name, {"fake": {"data": data}})


def vault_store(url: str, **more: Any) -> SecretStore:
    settings = {
        "server": url,
        "path": "secret",
        "auth": {"tokenSecretRef": {"name": "vault-token", "key": "token"}},
    } | more
    manifest = dict(store("vault", {"vault": settings}))
    manifest["metadata"] = {**manifest["metadata"], "uid": "store-uid", "generation": 1}
    return read_manifest(SecretStore, manifest)


async def vault_token(cluster: LocalCluster, token: str) -> None:
    await put_secret(cluster, "vault-token", token=token)


async def put_secret(cluster: LocalCluster, name: str, namespace: str = NAMESPACE, **data: str) -> Manifest:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "Opaque",
        "data": encoded,
    }
    return await cluster.create(manifest, field_manager="tests")


def external_secret(name: str = "db", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "refreshInterval": "1h",
            "secretStoreRef": {"name": "fake", "kind": "SecretStore"},
            "data": [{"secretKey": "password", "remoteRef": {"key": "db"}}],
        }
        | spec,
    }


@dataclass
class FixedClock:
    """Implements gitops_core.ports.Clock: time passes when told to."""

    time: datetime = START

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class StoredObjects:
    """Implements gitops_core.ports.Objects by asking the cluster."""

    cluster: LocalCluster

    async def get(self, type_: type[R], key: ObjectKey) -> R | None:
        manifest = await self.cluster.get(ObjectRef(type_.KIND, key))
        return None if manifest is None else read_manifest(type_, manifest)

    async def list(self, type_: type[R], namespace: str = "") -> tuple[R, ...]:
        return tuple(await list_objects(self.cluster, type_, namespace))

    async def find(
        self, type_: type[R], list_terms: Callable[[R], Iterable[str]], terms: Iterable[str]
    ) -> tuple[R, ...]:
        wanted = frozenset(terms)
        return tuple(one for one in await self.list(type_) if not wanted.isdisjoint(list_terms(one)))

    def follow(self, type_: type[R], namespace: str = "") -> AsyncGenerator[Change[R], None]:
        raise NotImplementedError("no reconciler reads changes: the runtime wakes it")


@dataclass
class World:
    """The reconcilers of secrets on an embedded cluster; `step` does for one object what the runtime does."""

    cluster: LocalCluster
    factories: ProviderFactories
    clock: FixedClock = field(default_factory=FixedClock)
    notices: list[Notice] = field(default_factory=list)
    errors: list[GitOpsError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stores = SecretStoreReconciler(self.cluster, self.factories)
        objects = StoredObjects(self.cluster)
        self.secrets = ExternalSecretReconciler(self.cluster, objects, self.clock, self.factories, Reads())

    async def create(self, *manifests: Manifest) -> None:
        for manifest in manifests:
            await self.cluster.create(manifest, field_manager="tests")
            if manifest["kind"] == "SecretStore":
                await self.step_store(manifest["metadata"]["name"])

    async def step_store(self, name: str = "fake") -> Outcome | GitOpsError:
        return await self._plan(SecretStore, name, self.stores, TELLS_STORES)

    async def step(self, name: str = "db") -> Outcome | GitOpsError:
        return await self._plan(ExternalSecret, name, self.secrets, TELLS_SECRETS)

    async def _plan(self, type_: type[Resource], name: str, reconciler: Any, teller: Teller) -> Outcome | GitOpsError:
        key = ObjectKey(NAMESPACE, name)
        manifest = await self.cluster.get(ObjectRef(type_.KIND, key))
        assert manifest is not None
        wanted = read_manifest(type_, manifest)
        result: Outcome | GitOpsError
        try:
            outcome: Outcome = await reconciler.reconcile(wanted)
            self.notices += outcome.notices
            result = outcome
        except GitOpsError as error:
            result = error
            self.errors.append(error)
        status = msgspec.to_builtins(teller.make_status(result, wanted, self.clock.now(), ()))
        patch = {"status": status}
        await self.cluster.patch(
            ObjectRef(type_.KIND, key), patch, field_manager="external-secrets", subresource="status"
        )
        return result

    async def get(self, name: str = "db") -> ExternalSecret:
        manifest = await self.cluster.get(ObjectRef(ExternalSecret.KIND, ObjectKey(NAMESPACE, name)))
        assert manifest is not None
        return read_manifest(ExternalSecret, manifest)

    async def ready(self, name: str = "db") -> tuple[str, str, str]:
        """Status, reason and message of the Ready condition."""
        condition = next(c for c in (await self.get(name)).status.conditions if c.type == "Ready")
        return condition.status, condition.reason, condition.message

    async def secret(self, name: str = "db") -> Manifest | None:
        return await self.cluster.get(ObjectRef(SECRET, ObjectKey(NAMESPACE, name)))

    async def data(self, name: str = "db") -> dict[str, str] | None:
        secret = await self.secret(name)
        if secret is None:
            return None
        return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}

    async def patch(self, kind: Kind, name: str, patch: Mapping[str, Any]) -> None:
        await self.cluster.patch(ObjectRef(kind, ObjectKey(NAMESPACE, name)), patch, field_manager="tests")


def is_stalled(result: Outcome | GitOpsError) -> bool:
    return isinstance(result, StalledError)


async def payload_at(provider: SecretProvider, key: str, version: str = "") -> Payload:
    """What is stored under a key that is there."""
    answer = await provider.fetch(SecretRef(key, version))
    assert isinstance(answer, Payload)
    return answer


async def payload_of(provider: SecretProvider, key: str, version: str = "") -> Sensitive:
    """The whole value under a key that is there."""
    return (await payload_at(provider, key, version)).value


def sensitive(**values: str) -> dict[str, Sensitive]:
    return {key: Sensitive(value) for key, value in values.items()}


async def prepare(cluster: LocalCluster) -> None:
    """The CRDs, and the namespaces that tests use."""
    for kind in (SecretStore, ExternalSecret):
        await cluster.create(make_crd(kind), field_manager="tests")
    for name in (NAMESPACE, "other"):
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await cluster.create(manifest, field_manager="tests")
