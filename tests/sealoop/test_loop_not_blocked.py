"""Hostile inputs of every kind through the real reconcilers: the event loop's own thread never computes for long."""

from __future__ import annotations

import asyncio
import hmac
import io
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import ClientSession
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from prometheus_client import CollectorRegistry

from gitops_core.adapters.expressions import SandboxedExpressions
from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.git.reading import ANSWER_SECONDS
from gitops_core.adapters.git.remote import MirrorRemote
from gitops_core.adapters.kubernetes import KubernetesClusters
from gitops_core.adapters.kustomize import Kustomize
from gitops_core.adapters.local import LocalCluster
from gitops_core.adapters.local.objects import Objects
from gitops_core.adapters.sops import Sops
from gitops_core.api import GitRepository, Kustomization, Receiver
from gitops_core.domain.sources.hooks import make_webhook_path
from gitops_core.meta import Manifest, ObjectKey, ObjectRef, Resource, Sensitive
from gitops_core.oci.cosign import SignedClaim
from gitops_core.ports import GitAccess
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.policy import Policy
from gitops_core.runtime.process import Health, Settings, run
from gitops_core.runtime.sharing.computing import IN_PLACE, Threads
from gitops_core.schema import make_crd
from image_updater.adapters.catalog import SqliteCatalog
from image_updater.api import ImagePolicy, ImageRepository, ImageUpdateAutomation, UpdateGuard
from sealoop.serving.hooks import receiving
from sealoop.wiring import KINDS, Ports, make_controllers, make_routes
from secrets_sync.adapters import make_provider_factories
from secrets_sync.api import ExternalSecret, SecretStore
from secrets_sync.domain.secret.live import SECRET
from tests.processes import children
from tests.servers.git import BareRepository, file_place
from tests.simulation.fakes.registry import FakeRegistry
from tests.stretches import LONGEST, Stretches

ANONYMOUS = GitAccess()
URL = "https://git.example.com/fleet.git"


class LocalMirrors(GitMirrors):
    """Git on the disk beside us, whatever the URL: a server in this process would compute in its loop."""

    place = ""

    def get_remote(self, url: str, access: GitAccess = ANONYMOUS, *, timeout: float = 60.0) -> MirrorRemote:
        return super().get_remote(self.place, timeout=timeout)


class Apart:
    """The embedded cluster's objects, whose work counts as another process's."""

    def __init__(self, objects: Objects, stretches: Stretches) -> None:
        self._objects, self._stretches = objects, stretches

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._objects, name)
        if name not in ("get", "create", "replace", "apply", "patch", "delete"):
            return found

        def counted(*args: Any, **options: Any) -> Any:
            with self._stretches.elsewhere():
                return found(*args, **options)

        return counted


class World:
    def __init__(
        self,
        cluster: LocalCluster,
        repository: BareRepository,
        registry: FakeRegistry,
        catalog: SqliteCatalog,
        compute: Threads,
    ) -> None:
        self.cluster, self.repository, self.registry, self.catalog = cluster, repository, registry, catalog
        self.compute = compute

    async def put(self, kind: type[Resource], name: str, **spec: Any) -> None:
        manifest = {
            "apiVersion": kind.KIND.api_version,
            "kind": kind.KIND.kind,
            "metadata": {"name": name, "namespace": "default"},
            "spec": spec,
        }
        await self.cluster.apply(manifest, field_manager="test", force=True)

    async def ready(self, kind: type[Resource], name: str, want: Callable[[str, str], bool]) -> tuple[str, str, str]:
        """Status, reason and message of Ready, once they are as wanted."""
        async with asyncio.timeout(150):
            while True:
                found = await self.cluster.get(ObjectRef(kind.KIND, ObjectKey("default", name))) or {}
                for condition in (found.get("status") or {}).get("conditions") or ():
                    if condition["type"] == "Ready" and want(condition["status"], condition["reason"]):
                        return condition["status"], condition["reason"], condition["message"]
                await asyncio.sleep(0.05)

    async def holds(self, ref: ObjectRef, want: Callable[[Manifest], bool]) -> None:
        """Return once the object is as wanted."""
        async with asyncio.timeout(150):
            while True:
                if want(await self.cluster.get(ref) or {}):
                    return
                await asyncio.sleep(0.05)


@asynccontextmanager
async def service(tmp_path: Path) -> AsyncIterator[tuple[World, Stretches]]:
    """The whole service on an embedded cluster, with real Git."""
    clock, chance, metrics = SystemClock(), SystemChance(), Metrics(CollectorRegistry())
    cluster = LocalCluster.open(None, clock, chance)
    for kind in KINDS:
        await cluster.create(make_crd(kind), field_manager="test")
    (tmp_path / "served").mkdir()
    git, registry = LocalMirrors(tmp_path / "git", allow_file=True), FakeRegistry()
    stop, stretches = asyncio.Event(), Stretches()
    cluster._objects = cast(Objects, Apart(cluster._objects, stretches))
    async with file_place(tmp_path / "served") as place:
        repository = await place.repository("fleet.git", {"README": b"x"})
        git.place = f"{place.url}/fleet.git"
        with closing(Threads(metrics)) as compute, closing(SqliteCatalog.open(tmp_path / "tags.db")) as catalog:
            world = World(cluster, repository, registry, catalog, compute)
            providers = make_provider_factories(clock, compute)
            ports = Ports(
                Kustomize(compute=compute),
                Sops(),
                SandboxedExpressions(compute=compute),
                registry,
                registry,
                catalog,
                providers,
            )
            work = asyncio.create_task(
                run(
                    cluster=cluster,
                    clusters=KubernetesClusters(cluster, IN_PLACE),
                    git=git,
                    clock=clock,
                    chance=chance,
                    assemble=lambda platform: make_controllers(platform, ports),
                    settings=Settings(),
                    stop=stop,
                    metrics=metrics,
                    health=Health(),
                    compute=compute,
                )
            )
            try:
                yield world, stretches
            finally:
                stop.set()
                await work
                await git.close()
                cluster.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[tuple[World, Stretches]]:
    async with service(tmp_path) as made:
        yield made


async def test_a_path_that_doubles_a_large_secret(world: tuple[World, Stretches]) -> None:
    at, stretches = world
    value = '{"a":"' + '\\"' * 450_000 + '"}'
    await at.put(SecretStore, "store", provider={"fake": {"data": [{"key": "k", "value": value}]}})
    await at.ready(SecretStore, "store", lambda status, reason: status == "True")

    with stretches.measured():
        await at.put(ExternalSecret, "hostile", **secret("|".join(["@tostr"] * 50)))
        _, _, message = await at.ready(ExternalSecret, "hostile", lambda status, reason: status == "False")

    assert "shorten the path" in message
    assert stretches.longest < LONGEST, stretches.where


@pytest.mark.parametrize(
    "value",
    ["x" * 1_000_000, json.dumps({f"key-{n}": "" for n in range(40_000)})],
    ids=["one value", "keys without values"],
)
async def test_a_large_secret_is_made_and_kept_right(world: tuple[World, Stretches], value: str) -> None:
    at, stretches = world
    await at.put(SecretStore, "store", provider={"fake": {"data": [{"key": "k", "value": value}]}})
    await at.ready(SecretStore, "store", lambda status, reason: status == "True")
    spec = secret("") if value[0] == "x" else {**secret(""), "data": [], "dataFrom": [{"extract": {"key": "k"}}]}

    with stretches.measured():
        await at.put(ExternalSecret, "large", **spec)
        await at.ready(ExternalSecret, "large", lambda status, reason: status == "True")
        ref = ObjectRef(SECRET, ObjectKey("default", "large"))
        await at.cluster.patch(ref, {"data": {"other": ""}}, field_manager="somebody")
        await at.holds(ref, lambda live: "other" not in live["data"])

    assert stretches.longest < LONGEST, stretches.where


def secret(path: str) -> dict[str, Any]:
    return {
        "refreshInterval": "1h",
        "secretStoreRef": {"name": "store", "kind": "SecretStore"},
        "data": [{"secretKey": "v", "remoteRef": {"key": "k", "property": path} if path else {"key": "k"}}],
    }


HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD + "d: [" + "1," * 2_500_000 + "1]\n", "more than 200000 values"),
        ("".join(f"{HEAD.replace('one', f'n{n}')}---\n" for n in range(50_000)) + HEAD * 2, "already defined"),
        ("a: " + "[" * 1_000_000, "nested more than"),
    ],
    ids=["dense", "many documents", "deep"],
)
async def test_hostile_yaml_in_a_folder(world: tuple[World, Stretches], text: str, problem: str) -> None:
    at, stretches = world
    await at.repository.commit({"apps/a.yaml": text.encode()})

    with stretches.measured():
        await at.put(GitRepository, "fleet", interval="1h", url=URL, ref={"branch": "main"})
        source = {"kind": "GitRepository", "name": "fleet"}
        await at.put(Kustomization, "apps", interval="1h", path="./apps", prune=True, sourceRef=source)
        _, _, message = await at.ready(Kustomization, "apps", lambda status, reason: reason == "BuildFailed")

    assert problem in message
    assert stretches.longest < LONGEST, stretches.where


async def test_variables_whose_patterns_look_at_a_large_value_again_and_again(world: tuple[World, Stretches]) -> None:
    at, stretches = world
    await at.repository.commit(
        {"apps/a.yaml": (HEAD + "data: {k: '${a##*a*a*a*b} ${a%%*a*a*a*b} ${a##*a*a*a*c}'}\n").encode()}
    )
    await at.put(GitRepository, "fleet", interval="1h", url=URL, ref={"branch": "main"})
    spec = {"interval": "1h", "path": "./apps", "prune": True, "sourceRef": {"kind": "GitRepository", "name": "fleet"}}
    await at.ready(GitRepository, "fleet", lambda status, reason: status == "True")

    with stretches.measured():
        await at.put(Kustomization, "apps", **spec, postBuild={"substitute": {"a": "a" * 500_000}})
        _, _, message = await at.ready(Kustomization, "apps", lambda status, reason: reason == "BuildFailed")

    assert "takes too much work" in message
    assert stretches.longest < LONGEST, stretches.where


async def test_twenty_thousand_files_behind_many_ignore_rules(world: tuple[World, Stretches]) -> None:
    at, stretches = world
    files = {f"other/{n}/f.txt": b"x" for n in range(20_000)}
    rules = "".join(f"*a{n}*b*c*d\n!*e{n}*f\n" for n in range(20)).encode()
    await at.repository.commit({**files, ".sourceignore": rules, "apps/a.yaml": HEAD.encode()})

    with stretches.measured():
        await at.put(GitRepository, "fleet", interval="1h", url=URL, ref={"branch": "main"})
        source = {"kind": "GitRepository", "name": "fleet"}
        await at.put(
            Kustomization, "apps", interval="1h", path="./apps", prune=True, targetNamespace="default", sourceRef=source
        )
        await at.ready(Kustomization, "apps", lambda status, reason: status == "True")

    assert stretches.longest < LONGEST, stretches.where


async def test_a_hundred_thousand_tags(world: tuple[World, Stretches]) -> None:
    at, stretches = world
    for n in range(100_000):
        at.registry.push("registry.example.com/app", f"1.{n // 1000}.{n % 1000}-rc.{n}", digest=f"sha256:{n:064x}")
    filter_ = {"pattern": "^(1)\\.(.*)-(r*c*)*.*\\.([0-9]+)$", "extract": "$4"}

    with stretches.measured():
        await at.put(
            ImageRepository, "app", image="registry.example.com/app", interval="1h", exclusionList=["^9.*", ".*x$"]
        )
        policy = {"imageRepositoryRef": {"name": "app"}}
        await at.put(ImagePolicy, "semver", **policy, policy={"semver": {"range": " || ".join(["~1.2.3-0"] * 50)}})
        await at.put(ImagePolicy, "number", **policy, filterTags=filter_, policy={"numerical": {"order": "asc"}})
        guarded = {"maxShrink": 20, "minAge": "0s", "policySelector": {}}
        await at.put(UpdateGuard, "guard", **guarded)
        await at.ready(ImagePolicy, "number", lambda status, reason: status == "True")
        await at.ready(ImagePolicy, "semver", lambda status, reason: status in ("True", "False"))

    assert stretches.longest < LONGEST, stretches.where


MARKER = '# {"$imagepolicy": "default:app"}'


@pytest.mark.parametrize(
    "text",
    [
        "{{ if x }}\na: [\n{{ end }}\n" + f"  image: registry.example.com/app:1.0.0 {MARKER}\n" * 9_000,
        "{{ a: [ # " + MARKER * 9_000,
        "a:\n" + f"- registry.example.com/app:1.0.0 {MARKER}\n" * 3_000,
    ],
    ids=["unreadable template", "one line", "many places behind windows"],
)
async def test_marked_files_that_are_costly_to_read(world: tuple[World, Stretches], text: str) -> None:
    at, stretches = world
    at.registry.push("registry.example.com/app", "1.1.0")
    await at.repository.commit({"apps/a.yaml": text.encode()})
    await at.put(ImageRepository, "app", image="registry.example.com/app", interval="1h")
    ref = {"imageRepositoryRef": {"name": "app"}}
    await at.put(ImagePolicy, "app", **ref, policy={"semver": {"range": "*"}})
    windows = [{"schedule": f"0 0 29 2 {day}", "duration": "1h", "timeZone": "Europe/Berlin"} for day in range(7)]
    await at.put(UpdateGuard, "guard", policySelector={}, windows=windows)
    await at.ready(ImagePolicy, "app", lambda status, reason: status == "True")

    with stretches.measured():
        await at.put(GitRepository, "fleet", interval="1h", url=URL, ref={"branch": "main"})
        await at.put(ImageUpdateAutomation, "fleet", **automation())
        await at.ready(ImageUpdateAutomation, "fleet", lambda status, reason: status in ("True", "False"))

    assert stretches.longest < LONGEST, stretches.where


async def test_two_hundred_thousand_events_of_tags_that_vanished(world: tuple[World, Stretches]) -> None:
    at, stretches = world
    at.registry.push("registry.example.com/app", "1.0.0")
    name, now = "registry.example.com/app for default", datetime.now(UTC)
    for day in range(1, 3):
        listed = {f"1.{day}.{n}-rc.{n}" for n in range(50_000)}
        await at.catalog.store(name, listed, now - timedelta(days=3 - day))

    with stretches.measured():
        await at.put(ImageRepository, "app", image="registry.example.com/app", interval="1h", exclusionList=["^9.*"])
        await at.put(UpdateGuard, "guard", maxShrink=20, policySelector={})
        ref = {"imageRepositoryRef": {"name": "app"}}
        await at.put(ImagePolicy, "app", **ref, policy={"semver": {"range": "*"}})
        _, _, message = await at.ready(ImagePolicy, "app", lambda status, reason: reason == "ListShrank")

    assert "50000 of 50000 known tags vanished" in message
    assert stretches.longest < LONGEST, stretches.where


def automation(**commit: Any) -> dict[str, Any]:
    return {
        "interval": "1h",
        "sourceRef": {"kind": "GitRepository", "name": "fleet"},
        "git": {"commit": {"author": {"email": "bot@example.com"}, **commit}},
    }


@pytest.mark.parametrize(
    "template",
    [
        "{{ range untilStep 0 199999 1 }}" + "{{ $.Values }}" * 50 + "{{ end }}",
        "{{ regexReplaceAll (repeat 500 `(a|b)*`) (repeat 99999 `ab`) `x` }}",
        "{{ define `t` }}{{ template `t` . }}{{ template `t` . }}{{ end }}{{ template `t` . }}",
        "{{ .Values.x | toJson | toJson | toJson | toJson | toJson | toJson | toJson | toJson | toJson | toJson }}",
        "{{" * 200_000,
        "{{ if true }}" * 20_000 + "{{ end }}" * 20_000,
    ],
    ids=["loops", "patterns", "recursion", "quotes", "unclosed", "deep"],
)
async def test_commit_messages_that_are_costly_to_write(world: tuple[World, Stretches], template: str) -> None:
    at, stretches = world
    at.registry.push("registry.example.com/app", "1.1.0")
    await at.repository.commit({"apps/a.yaml": f"a: registry.example.com/app:1.0.0 {MARKER}\n".encode()})
    await at.put(ImageRepository, "app", image="registry.example.com/app", interval="1h")
    await at.put(ImagePolicy, "app", imageRepositoryRef={"name": "app"}, policy={"semver": {"range": "*"}})
    await at.ready(ImagePolicy, "app", lambda status, reason: status == "True")
    values = {"x": '\\"' * 20_000}

    with stretches.measured():
        await at.put(GitRepository, "fleet", interval="1h", url=URL, ref={"branch": "main"})
        await at.put(
            ImageUpdateAutomation, "fleet", **automation(messageTemplate=template, messageTemplateValues=values)
        )
        _, _, message = await at.ready(ImageUpdateAutomation, "fleet", lambda status, reason: status == "False")

    assert "template" in message
    assert stretches.longest < LONGEST, stretches.where


async def test_a_reader_of_git_that_hangs_stops_only_who_reads_that_repository(
    world: tuple[World, Stretches],
) -> None:
    at, stretches = world
    at.registry.push("registry.example.com/app", "1.1.0")
    await at.repository.commit({"apps/a.yaml": HEAD.encode()})
    await at.repository.commit({"other/b.yaml": HEAD.replace("one", "two").encode()})
    shared = {"interval": "1h", "prune": True, "targetNamespace": "default"}
    shared["sourceRef"] = {"kind": "GitRepository", "name": "fleet"}
    await at.put(GitRepository, "fleet", interval="1h", url=URL, ref={"branch": "main"})
    await at.put(Kustomization, "first", path="./apps", **shared)
    await at.ready(Kustomization, "first", lambda status, reason: status == "True")
    for reader in children("cat-file"):
        os.kill(reader, signal.SIGSTOP)

    with stretches.measured():
        await at.put(Kustomization, "second", path="./other", **shared)
        await at.put(SecretStore, "store", provider={"fake": {"data": [{"key": "k", "value": "x" * 30_000}]}})
        await at.put(ExternalSecret, "secret", **secret(""))
        await at.put(ImageRepository, "app", image="registry.example.com/app", interval="1h")
        await at.put(ImagePolicy, "app", imageRepositoryRef={"name": "app"}, policy={"semver": {"range": "*"}})
        for kind, name in ((ExternalSecret, "secret"), (ImagePolicy, "app")):
            await at.ready(kind, name, lambda status, reason: status == "True")
        await at.ready(Kustomization, "second", lambda status, reason: status == "True")

    assert stretches.passed < ANSWER_SECONDS / 2  # the loop itself never waited for it
    assert stretches.longest < LONGEST, stretches.where


def filled(head: str, unit: str, tail: str) -> bytes:
    """As many units as a webhook's body may have."""
    count = (Policy().webhook_size - len(head) - len(tail)) // len(unit)
    return f"{head}{(unit * count).rstrip(',')}{tail}".encode()


@pytest.mark.parametrize(
    ("sender", "body"),
    [
        ("quay", filled('{"docker_url": "quay.io/a/b", "updated_tags": [', '"v1",', "]}")),
        ("harbor", filled('{"type": "PUSH_ARTIFACT", "event_data": {"resources": [', "{},", "]}}")),
        ("generic-hmac", filled('{"events": [', "{},", "]}")),
        ("dockerhub", filled('{"push_data": {"tag": "v1"}, "x": [', "[],", "]}")),
    ],
    ids=["quay", "harbor", "generic-hmac", "dockerhub"],
)
async def test_bodies_of_webhooks_that_are_costly_to_read(
    world: tuple[World, Stretches], sender: str, body: bytes
) -> None:
    at, stretches = world
    token = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "default"}}
    await at.cluster.apply({**token, "stringData": {"token": "t"}}, field_manager="test")
    resources = [{"kind": "ImageRepository", "name": "app"}]
    await at.put(ImageRepository, "app", image="quay.io/a/b", interval="1h")
    await at.put(Receiver, "hook", type=sender, secretRef={"name": "token"}, resources=resources)
    await at.ready(Receiver, "hook", lambda status, reason: status == "True")
    path = make_webhook_path(Sensitive(b"t"), ObjectKey("default", "hook"))
    proof = {"X-Signature": f"sha256={hmac.new(b't', body, 'sha256').hexdigest()}", "Authorization": "t"}

    clock = SystemClock()
    with stretches.measured():
        async with (
            receiving("127.0.0.1:0", make_routes(at.cluster, clock, at.compute), clock) as port,
            ClientSession() as session,
        ):
            answer = await session.post(f"http://127.0.0.1:{port}{path}", data=io.BytesIO(body), headers=proof)

    assert answer.status == 200
    assert stretches.longest < LONGEST, stretches.where


async def test_a_docker_configuration_of_many_registries(world: tuple[World, Stretches]) -> None:
    at, stretches = world
    at.registry.push("registry.example.com/app", "1.0.0")
    config = json.dumps({"auths": {f"{n}": {} for n in range(80_000)}})
    secret_ = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull", "namespace": "default"}}
    secret_ |= {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config}}
    await at.cluster.apply(secret_, field_manager="test")

    with stretches.measured():
        image = "registry.example.com/app"
        await at.put(ImageRepository, "app", image=image, interval="1h", secretRef={"name": "pull"})
        await at.ready(ImageRepository, "app", lambda status, reason: status == "True")

    assert stretches.longest < LONGEST, stretches.where


async def test_many_signatures_and_many_keys(world: tuple[World, Stretches]) -> None:
    at, stretches = world
    digest = at.registry.push("registry.example.com/app", "1.0.0")
    said = {"type": "cosign container image signature", "image": {"docker-manifest-digest": digest}}
    payload = json.dumps({"critical": {**said, "identity": {"docker-reference": "x"}}}).encode()
    for n in range(30):
        at.registry.sign("registry.example.com/app", digest, SignedClaim(payload, bytes([n]) * 70))
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "default"}}
    await at.cluster.apply({**keys, "stringData": {f"{n}.pub": pem for n in range(1000)}}, field_manager="test")
    await at.put(ImageRepository, "app", image="registry.example.com/app", interval="1h")
    await at.put(UpdateGuard, "guard", policySelector={}, verify={"secretRef": {"name": "keys"}})
    await at.ready(ImageRepository, "app", lambda status, reason: status == "True")

    with stretches.measured():
        await at.put(ImagePolicy, "app", imageRepositoryRef={"name": "app"}, policy={"semver": {"range": "*"}})
        _, _, message = await at.ready(ImagePolicy, "app", lambda status, reason: status == "False")

    assert "none of its signatures (30) is valid" in message
    assert stretches.longest < LONGEST, stretches.where
