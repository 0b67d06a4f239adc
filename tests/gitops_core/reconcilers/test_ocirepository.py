"""OCIRepositories and what is applied from them: real registries, hostile ones, and the real runtime."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gitops_core.api import Kustomization, OCIRepository, Receiver
from gitops_core.component import make_routes
from gitops_core.meta import Kind, ObjectKey, ObjectRef
from gitops_core.runtime.clock import SystemClock
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.sharing.computing import IN_PLACE
from image_updater.reconcilers.pushes import Pushes
from sealoop.embedded.registry import RegistryServer
from tests.gitops_core.reconcilers.realworld import RealWorld, condition, ready, real_world
from tests.servers.artifacts import CONTENT, MANIFEST, Description, describe, layer, name_by_digest, pack, push
from tests.servers.artifacts import push_signatures as push_signature_layers
from tests.servers.certificates import Authority
from tests.servers.registry import PASSWORD, USER, RealRegistry, TlsRegistry
from tests.stretches import LONGEST, Stretches

CONFIG_MAP = Kind("", "v1", "ConfigMap")
SOURCE = OCIRepository.KIND


def config_map(name: str, value: str = "1") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{v: '{value}'}}\n"


ONE = describe({"app/one.yaml": config_map("one")})
TWO = describe({"app/one.yaml": config_map("one", "2")})


async def put(host: str, repository: str, artifact: Description, *tags: str, auth: Any = None) -> str:
    return await asyncio.to_thread(lambda: push(host, repository, artifact, *tags, auth=auth))


async def watch(world: RealWorld, host: str, name: str = "r", *, repository: str = "shop", **spec: Any) -> Any:
    """Make an OCIRepository, and return it with its first result."""
    url = f"oci://{host}/{repository}"
    await world.make(OCIRepository, name, **{"url": url, "interval": "24h", "ref": {"tag": "v1"}, **spec})
    return await world.answered(SOURCE, name)


async def sync(world: RealWorld, name: str = "apps", source: str = "r", **spec: Any) -> None:
    defaults = {"interval": "24h", "prune": True, "path": "./app"}
    await world.make(
        Kustomization, name, **{**defaults, "sourceRef": {"kind": "OCIRepository", "name": source}, **spec}
    )


async def applied(world: RealWorld, revision: str, name: str = "apps") -> Any:
    return await world.until(
        Kustomization.KIND, name, lambda live: live.get("status", {}).get("lastAppliedRevision") == revision
    )


def revision_of(live: Any) -> str:
    return str(live["status"]["artifact"]["revision"])


@asynccontextmanager
async def counting() -> AsyncIterator[RegistryServer]:
    """A registry in this process, which says what it was asked."""
    async with RegistryServer() as server:
        yield server


# What is fetched, and what it costs


async def test_what_is_pushed_is_applied_and_a_moved_tag_too(open_registry: RealRegistry, tmp_path: Path) -> None:
    host = open_registry.host
    first = await put(host, "moved", ONE, "v1")
    async with real_world(tmp_path / "state") as world, world.running():
        live = await watch(world, host, repository="moved")
        await sync(world)

        assert ready(live) == ("True", "Succeeded")
        await applied(world, f"v1@{first}")
        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"v": "1"}

        second = await put(host, "moved", TWO, "v1")
        await world.request(SOURCE, "r", "pushed")

        await applied(world, f"v1@{second}")
        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"v": "2"}


async def test_nothing_new_costs_one_head_a_range_one_listing_and_a_digest_nothing(tmp_path: Path) -> None:
    async with counting() as registry, real_world(tmp_path / "state") as world, world.running():
        digest = await put(registry.host, "shop", ONE, "v1", "1.0.0")
        asked = {
            "tag": ({"tag": "v1"}, [("HEAD", "/v2/shop/manifests/v1")]),
            "semver": (
                {"semver": "1.x"},
                [("GET", "/v2/shop/tags/list?n=1000"), ("HEAD", "/v2/shop/manifests/1.0.0")],
            ),
            "digest": ({"digest": digest}, []),
        }
        for name, (ref, requests) in asked.items():
            live = await watch(world, registry.host, name, ref=ref)
            assert ready(live) == ("True", "Succeeded")
            before = len(registry.requests)

            await world.request(SOURCE, name, "again")

            assert registry.requests[before:] == requests


async def test_the_same_files_under_another_tag_are_a_revision_and_no_news(
    open_registry: RealRegistry, tmp_path: Path
) -> None:
    host = open_registry.host
    await put(host, "retagged", ONE, "1.0.0")
    async with real_world(tmp_path / "state") as world, world.running():
        before = await watch(world, host, repository="retagged", ref={"semver": "1.x"})
        again = describe({"app/one.yaml": config_map("one")}, revision="main@sha1:abc", source="https://git")
        digest = await put(host, "retagged", again, "1.1.0")

        live = await world.request(SOURCE, "r", "again")

        assert revision_of(live) == f"1.1.0@{digest}"
        assert live["status"]["artifact"]["digest"] == before["status"]["artifact"]["digest"]
        assert live["status"]["artifact"]["metadata"] == {
            "org.opencontainers.image.revision": "main@sha1:abc",
            "org.opencontainers.image.source": "https://git",
        }
        assert [reason for _, reason, _ in await world.events("r")] == ["NewArtifact"]


async def test_files_that_were_lost_with_the_disk_are_brought_again(tmp_path: Path) -> None:
    async with counting() as registry:
        digest = await put(registry.host, "shop", ONE, "v1")
        async with real_world(tmp_path / "state") as world:
            async with world.running():
                await watch(world, registry.host)
                await sync(world)
                await applied(world, f"v1@{digest}")
            await world.patch(CONFIG_MAP, "one", {"data": {"v": "by hand"}})
            stored = (await world.live(SOURCE, "r"))["status"]
            async with real_world(tmp_path / "another") as other:
                world.git = other.git  # another disk
                async with world.running():
                    await world.request(Kustomization.KIND, "apps", "again")
                    told = await world.answered(Kustomization.KIND, "apps")

                    assert ready(told) == ("True", "ReconciliationSucceeded")
                    assert (await world.live(CONFIG_MAP, "one"))["data"] == {"v": "1"}
                    assert (await world.live(SOURCE, "r"))["status"]["artifact"] == stored["artifact"]
        assert ("GET", f"/v2/shop/manifests/{digest}") in registry.requests


async def test_files_that_cannot_be_brought_again_are_waited_for(tmp_path: Path) -> None:
    """The object was edited to what cannot be, meanwhile: the Kustomization has nothing to mend, and does not stall."""
    async with counting() as registry:
        digest = await put(registry.host, "shop", ONE, "v1")
        async with real_world(tmp_path / "state") as world:
            async with world.running():
                await watch(world, registry.host)
                await sync(world)
                await applied(world, f"v1@{digest}")
            await world.patch(SOURCE, "r", {"spec": {"url": "oci://no such place"}})
            async with real_world(tmp_path / "another") as other:
                world.git = other.git
                async with world.running():
                    await world.request(Kustomization.KIND, "apps", "again")
                    told = await world.answered(Kustomization.KIND, "apps")
                    assert ready(told) == ("False", "ArtifactFailed")
                    assert condition(told, "Stalled")["status"] == ""

                    await world.patch(SOURCE, "r", {"spec": {"url": f"oci://{registry.host}/shop"}})
                    await world.request(Kustomization.KIND, "apps", "and again")
                    await world.until(Kustomization.KIND, "apps", lambda live: ready(live)[0] == "True")


async def test_patterns_that_cannot_be_used_are_waited_out(open_registry: RealRegistry, tmp_path: Path) -> None:
    host = open_registry.host
    await put(host, "patterns", describe({".sourceignore": "x" * 5000}), "v1")
    async with real_world(tmp_path / "state") as world, world.running():
        live = await watch(world, host, repository="patterns")
        assert ready(live) == ("False", "SourceIgnoreError")
        assert condition(live, "Stalled")["status"] == ""

        await put(host, "patterns", ONE, "v1")
        assert ready(await world.request(SOURCE, "r", "mended")) == ("True", "Succeeded")


async def test_a_status_of_another_controller_s_is_not_taken_for_files_of_ours(
    open_registry: RealRegistry, tmp_path: Path
) -> None:
    """As Flux left it: the revision is the same, and the digest that of a tarball which nobody has any more."""
    host = open_registry.host
    digest = await put(host, "taken-over", ONE, "v1")
    async with real_world(tmp_path / "state") as world:
        await world.make(OCIRepository, "r", url=f"oci://{host}/taken-over", interval="24h", ref={"tag": "v1"})
        artifact = {
            "revision": f"v1@{digest}",
            "digest": "sha256:" + "a" * 64,
            "path": "ocirepository/default/r/x.tar.gz",
            "url": "http://source-controller.flux-system.svc.cluster.local./ocirepository/default/r/x.tar.gz",
            "lastUpdateTime": "2026-01-01T00:00:00Z",
        }
        patch = {"status": {"artifact": artifact, "observedGeneration": 1}}
        ref = ObjectRef(SOURCE, ObjectKey("default", "r"))
        await world.local.patch(ref, patch, field_manager="source-controller", subresource="status")
        await sync(world)
        async with world.running():
            await applied(world, f"v1@{digest}")

            assert (await world.live(CONFIG_MAP, "one"))["data"] == {"v": "1"}


async def test_a_webhook_wakes_it_at_once(open_registry: RealRegistry, tmp_path: Path) -> None:
    host = open_registry.host
    await put(host, "hooked", ONE, "v1")
    async with real_world(tmp_path / "state") as world, world.running():
        await watch(world, host, repository="hooked")
        await sync(world)
        await world.secret("token", {"token": "t"})
        resources = [{"kind": "OCIRepository", "name": "r"}]
        await world.make(Receiver, "hook", type="harbor", secretRef={"name": "token"}, resources=resources)
        hook = await world.until(Receiver.KIND, "hook", lambda live: ready(live)[0] == "True")
        second = await put(host, "hooked", TWO, "v1")

        clock = SystemClock()
        (route,) = make_routes(world.local, clock, IN_PLACE, Pushes(world.local, clock))
        receive = await route.handler.admit(hook["status"]["webhookPath"])
        assert callable(receive)
        assert await receive({"authorization": "t"}, b"{}") == HTTPStatus.OK

        await applied(world, f"v1@{second}")


# Which files


async def test_a_copied_layer_that_is_no_archive_is_ready_and_a_kustomization_says_why_not(
    open_registry: RealRegistry, tmp_path: Path
) -> None:
    text = {"layers": [{"mediaType": "text/yaml", "text": config_map("one")}]}
    await put(open_registry.host, "text", text, "v1")
    async with real_world(tmp_path / "state") as world, world.running():
        live = await watch(world, open_registry.host, repository="text", layerSelector={"operation": "copy"})
        await sync(world, path="./")
        told = await world.answered(Kustomization.KIND, "apps")

        assert ready(live) == ("True", "Succeeded")
        assert ready(told) == ("False", "ArtifactFailed")
        assert "copies is no tar.gz" in condition(told, "Ready")["message"]


async def test_a_copied_layer_holds_what_would_be_ignored(open_registry: RealRegistry, tmp_path: Path) -> None:
    files = {"app/one.yaml": config_map("one"), ".sourceignore": "/app\n"}
    digest = await put(open_registry.host, "copied", describe(files), "v1")
    async with real_world(tmp_path / "state") as world, world.running():
        await watch(world, open_registry.host, repository="copied", layerSelector={"operation": "copy"}, ignore="*")
        await sync(world)

        await applied(world, f"v1@{digest}")


async def test_an_ignored_file_is_not_applied_and_the_patterns_count_once(
    open_registry: RealRegistry, tmp_path: Path
) -> None:
    files = {
        "app/one.yaml": config_map("one"),
        "app/two.yaml": config_map("two"),
        "app/.sourceignore": "!kept.yaml\n",
        "app/kept.yaml": config_map("kept"),
        ".sourceignore": "/app/two.yaml\n/app/.sourceignore\nkept.yaml\n",
    }
    digest = await put(open_registry.host, "ignoring", describe(files), "v1")
    async with real_world(tmp_path / "state") as world, world.running():
        await watch(world, open_registry.host, repository="ignoring")
        await sync(world)
        live = await applied(world, f"v1@{digest}")

        entries = [entry["id"] for entry in live["status"]["inventory"]["entries"]]
        assert entries == ["default_kept__ConfigMap", "default_one__ConfigMap"]


# Hostile layers


def archive(*entries: tuple[str, bytes, bytes]) -> bytes:
    """A tar.gz of (name, type, body)."""
    blocks = b""
    for name, type_, body in entries:
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname = type_, len(body), "app/one.yaml"
        blocks += info.tobuf(tarfile.GNU_FORMAT) + body + b"\0" * (-len(body) % 512)
    return gzip.compress(blocks + b"\0" * 1024)


GOOD = ("app/one.yaml", tarfile.REGTYPE, config_map("one", "evil").encode())
ATTACKS: Mapping[str, tuple[bytes, str]] = {
    "leaves": (archive(GOOD, ("../../evil", b"0", b"x")), "invalid name error '../../evil'"),
    "absolute": (archive(GOOD, ("/etc/cron.d/x", b"0", b"x")), "invalid name error '/etc/cron.d/x'"),
    "hard-link": (archive(GOOD, ("x", tarfile.LNKTYPE, b"")), "'x' is a hard link"),
    "device": (archive(GOOD, ("x", tarfile.CHRTYPE, b"")), "'x' is a device"),
    "pipe": (archive(GOOD, ("x", tarfile.FIFOTYPE, b"")), "'x' is a pipe"),
    "sparse": (archive(GOOD, ("x", tarfile.GNUTYPE_SPARSE, b"")), "'x' is a sparse file"),
    "file-and-folder": (archive(GOOD, ("app", b"0", b"x")), "'app' is a file and a folder"),
    "entries": (archive(GOOD, *[("d/", tarfile.DIRTYPE, b"")] * 3000), "more than 2000 entries"),
    "bomb": (archive(GOOD, ("big", b"0", b"\0" * (9 << 20))), "'big' has 9437184 bytes, the limit is 1048576"),
    "many-bombs": (
        archive(GOOD, *[(f"big{n}", b"0", b"\0" * (1 << 20)) for n in range(9)]),
        "larger than 8388608 bytes when it is unpacked",
    ),
    "cut-off": (archive(GOOD)[:-40], "unexpected EOF"),
    "no-gzip": (b"kind: List\n", "requires gzip-compressed body: gzip: invalid header"),
}
STRICT = Policy(git_files=2000, git_file_size=1 << 20, artifact_unpacked=8 << 20)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_hostile_layer_is_refused_and_what_was_applied_stays(
    attack: str, open_registry: RealRegistry, tmp_path: Path
) -> None:
    body, cause = ATTACKS[attack]
    host, repository = open_registry.host, f"attack-{attack}"
    digest = await put(host, repository, ONE, "v1")
    async with real_world(tmp_path / "state", STRICT) as world, world.running():
        before = await watch(world, host, repository=repository)
        await sync(world)
        await applied(world, f"v1@{digest}")

        await put(host, repository, {"layers": [layer(body)]}, "v1")
        live = await world.request(SOURCE, "r", "attacked")

        assert ready(live) == ("False", "OCIArtifactLayerOperationFailed")
        assert cause in condition(live, "FetchFailed")["message"]
        assert condition(live, "ArtifactInStorage")["status"] == "True"
        assert condition(live, "ArtifactOutdated")["reason"] == "NewRevision"
        assert live["status"]["artifact"] == before["status"]["artifact"]
        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"v": "1"}


async def test_a_failure_that_is_over_is_told_once(open_registry: RealRegistry, tmp_path: Path) -> None:
    host = open_registry.host
    await put(host, "mended", {"layers": [layer(b"no archive")]}, "v1")
    async with real_world(tmp_path / "state") as world, world.running():
        assert ready(await watch(world, host, repository="mended"))[0] == "False"

        await put(host, "mended", ONE, "v1")
        live = await world.request(SOURCE, "r", "mended")

        assert ready(live) == ("True", "Succeeded")
        types = {c["type"] for c in live["status"]["conditions"]}
        assert types == {"Ready", "ArtifactInStorage"}
        assert [reason for _, reason, _ in await world.events("r")] == [
            "OCIArtifactLayerOperationFailed",
            "NewArtifact",
        ]


async def test_fifty_megabytes_come_while_the_loop_goes_on(open_registry: RealRegistry, tmp_path: Path) -> None:
    blob = os.urandom(1 << 20)
    files: dict[str, str | bytes] = {f"data/{number}": blob + b"%d" % number for number in range(50)}
    files["app/one.yaml"] = config_map("one")
    large, stretches = await asyncio.to_thread(describe, files), Stretches()
    digest = await put(open_registry.host, "large", large, "v1")
    async with real_world(tmp_path / "state") as world:
        with stretches.measured():
            async with world.running():
                live = await watch(world, open_registry.host, repository="large", timeout="5m")
                await sync(world)
                await applied(world, f"v1@{digest}")

    assert ready(live) == ("True", "Succeeded")
    assert stretches.longest < LONGEST, stretches.where


# Registries that lie


@dataclass
class Shelf:
    """A registry that sends what it is told to, by the last part of the path; a number is a status."""

    bodies: dict[str, bytes | int] = field(default_factory=dict)
    hangs: set[str] = field(default_factory=set)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def keep(self, artifact: Description, tag: str) -> str:
        """Keep an artifact of one layer; return its digest."""
        layers = []
        for each in artifact["layers"]:
            body = base64.b64decode(each["base64"])
            self.bodies[name_by_digest(body)] = body
            layers.append({"mediaType": each["mediaType"], "digest": name_by_digest(body), "size": len(body)})
        return self.keep_manifest({"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers}, tag)

    def keep_manifest(self, manifest: Mapping[str, Any], tag: str) -> str:
        body = json.dumps(manifest).encode()
        self.bodies[name_by_digest(body)] = self.bodies[tag] = body
        return name_by_digest(body)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name = request.path.rpartition("/")[2]
        self.requests.append((request.method, name))
        if name in self.hangs:
            await asyncio.sleep(3600)
        body = self.bodies.get(name, 404)
        if isinstance(body, int):
            return web.json_response({"errors": [{"code": "X", "message": "no"}]}, status=body)
        digest = name if ":" in name else f"sha256:{sha256(body).hexdigest()}"
        headers = {"Docker-Content-Digest": digest, "Content-Type": MANIFEST}
        return web.Response(body=body, headers=headers)


@asynccontextmanager
async def liar() -> AsyncIterator[tuple[str, Shelf]]:
    shelf, application = Shelf(), web.Application()
    application.router.add_route("*", "/v2/{rest:.*}", shelf.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}", shelf
    finally:
        await runner.cleanup()


def blob_of(artifact: Description) -> str:
    return name_by_digest(base64.b64decode(artifact["layers"][0]["base64"]))


@pytest.mark.parametrize("lie", ["other-layer", "other-manifest", "no-layer", "error", "longer", "digest"])
async def test_a_registry_that_sends_something_else_is_not_believed(lie: str, tmp_path: Path) -> None:
    async with liar() as (host, shelf), real_world(tmp_path / "state", Policy(artifact_size=4096)) as world:
        digest = shelf.keep(ONE, "v1")
        evil = pack({"app/one.yaml": config_map("one", "evil")})
        match lie:
            case "other-layer":
                shelf.bodies[blob_of(ONE)] = evil
            case "other-manifest":
                shelf.bodies[digest] = json.dumps({"schemaVersion": 2, "layers": []}).encode()
            case "no-layer":
                del shelf.bodies[blob_of(ONE)]
            case "error":
                shelf.bodies[blob_of(ONE)] = 500
            case "longer":
                shelf.bodies[blob_of(ONE)] = evil + b"\0" * 9000
            case "digest":
                entry = {"mediaType": CONTENT, "digest": "sha256:../../../etc/passwd", "size": 1}
                shelf.keep_manifest({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [entry]}, "v1")
        async with world.running():
            live = await watch(world, host)

            assert ready(live) == ("False", "OCIArtifactPullFailed")
            assert "artifact" not in live["status"]


async def test_a_layer_that_says_it_is_too_large_is_not_asked_for(tmp_path: Path) -> None:
    async with liar() as (host, shelf), real_world(tmp_path / "state") as world, world.running():
        entry = {"mediaType": CONTENT, "digest": "sha256:" + "a" * 64, "size": 1 << 40}
        shelf.keep_manifest({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [entry]}, "v1")

        live = await watch(world, host)

        assert ready(live) == ("False", "OCIArtifactLayerOperationFailed")
        assert (
            f"has {1 << 40} bytes, the limit is {DEFAULT_POLICY.artifact_size}" in condition(live, "Ready")["message"]
        )
        assert ("GET", "sha256:" + "a" * 64) not in shelf.requests


async def test_an_index_that_names_itself_ends(tmp_path: Path) -> None:
    """A digest cannot stand in what it is of; but an index may name an index, however often."""
    async with liar() as (host, shelf), real_world(tmp_path / "state") as world, world.running():
        type_, name = "application/vnd.oci.image.index.v1+json", shelf.keep(ONE, "layer")
        for _ in range(10):
            entries = [{"mediaType": type_, "digest": name, "size": 1}]
            name = shelf.keep_manifest({"schemaVersion": 2, "mediaType": type_, "manifests": entries}, "v1")

        live = await watch(world, host)

        assert ready(live) == ("False", "OCIArtifactPullFailed")
        assert "index of indexes" in condition(live, "Ready")["message"]


async def test_a_registry_that_hangs_is_given_up_after_the_time_out_and_hinders_nobody(
    open_registry: RealRegistry, tmp_path: Path
) -> None:
    await put(open_registry.host, "beside", ONE, "v1")
    async with liar() as (host, shelf), real_world(tmp_path / "state") as world, world.running():
        shelf.keep(ONE, "v1")
        shelf.hangs.add(blob_of(ONE))
        for number in range(5):
            url = f"oci://{host}/shop"
            await world.make(OCIRepository, f"hangs-{number}", url=url, interval="24h", ref={"tag": "v1"}, timeout="3s")

        beside = await watch(world, open_registry.host, repository="beside")
        assert ready(beside) == ("True", "Succeeded")

        live = await world.answered(SOURCE, "hangs-0")
        assert ready(live) == ("False", "OCIArtifactPullFailed")


@pytest.mark.parametrize(
    ("ref", "cause"),
    [
        ({"tag": "../../../secrets"}, "is no tag"),
        ({"tag": "v1?x=1"}, "is no tag"),
        ({"tag": "a:b"}, "is no tag"),
        ({"digest": "sha256:../x"}, "spec.ref.digest 'sha256:../x' is none"),
    ],
)
async def test_a_reference_that_would_change_the_request_is_not_sent(
    ref: Mapping[str, str], cause: str, tmp_path: Path
) -> None:
    async with liar() as (host, shelf), real_world(tmp_path / "state") as world, world.running():
        live = await watch(world, host, ref=ref)

        assert ready(live) == ("False", "OCIArtifactPullFailed")
        assert cause in condition(live, "Ready")["message"]
        assert shelf.requests == []


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("oci://ghcr.io/org/app:v1", "URL must not contain a tag; remove ':v1'"),
        ("oci://ghcr.io/org/app@sha256:" + "a" * 64, "URL must not contain a digest"),
        ("oci://ghcr.io/Org/App", "could not parse reference"),
        ("oci://", "could not parse reference"),
    ],
)
async def test_a_url_that_names_no_repository_is_stalled(url: str, cause: str, tmp_path: Path) -> None:
    async with real_world(tmp_path / "state") as world, world.running():
        await world.make(OCIRepository, "r", url=url, interval="1m")
        live = await world.answered(SOURCE, "r")

        for type_ in ("Ready", "Stalled", "FetchFailed"):
            assert condition(live, type_)["reason"] == "URLInvalid"
            assert cause in condition(live, type_)["message"]


# Credentials and trust


async def test_the_pull_secrets_of_a_service_account_count(password_registry: RealRegistry, tmp_path: Path) -> None:
    host = password_registry.host
    await put(host, "private", ONE, "v1", auth=(USER, PASSWORD))
    async with real_world(tmp_path / "state") as world, world.running():
        refused = await watch(world, host, repository="private", serviceAccountName="puller")
        assert ready(refused) == ("False", "AuthenticationFailed")

        auths = json.dumps({"auths": {host: {"username": USER, "password": PASSWORD}}})
        await world.secret("pull", {".dockerconfigjson": auths}, "kubernetes.io/dockerconfigjson")
        account = {"name": "puller", "namespace": "default"}
        await world.put(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account, "imagePullSecrets": [{"name": "pull"}]}
        )

        live = await world.until(SOURCE, "r", lambda live: ready(live)[0] == "True")
        assert PASSWORD not in json.dumps(live)


async def test_trust_is_never_shared_between_objects(tls_registry: TlsRegistry, tmp_path: Path) -> None:
    """One connects with the authority, then one without, one with another, and one that takes any certificate."""
    await put(tls_registry.registry.host, "trusted", ONE, "v1")
    other = Authority.make(tmp_path / "other", "another").certificate.read_text()
    async with real_world(tmp_path / "state") as world, world.running():
        await world.secret("ca", {"ca.crt": tls_registry.ca.decode()})
        await world.secret("other", {"ca.crt": other})
        host, results = tls_registry.host, dict[str, str]()
        wanted: dict[str, dict[str, Any]] = {
            "first": {"certSecretRef": {"name": "ca"}},
            "nothing": {},
            "other": {"certSecretRef": {"name": "other"}},
            "any": {"insecure": True},
            "nothing-again": {},
            "other-and-insecure": {"certSecretRef": {"name": "other"}, "insecure": True},
        }
        for name, spec in wanted.items():
            results[name] = ready(await watch(world, host, name, repository="trusted", **spec))[0]

        assert results == {
            "first": "True",
            "nothing": "False",
            "other": "False",
            "any": "True",
            "nothing-again": "False",
            "other-and-insecure": "False",
        }


async def test_a_client_certificate_opens_for_its_object_alone(mutual_registry: TlsRegistry, tmp_path: Path) -> None:
    await put(mutual_registry.registry.host, "mutual", ONE, "v1")
    async with real_world(tmp_path / "state") as world, world.running():
        pair, ca = mutual_registry.client, mutual_registry.ca.decode()
        both = {"ca.crt": ca, "tls.crt": pair.certificate.read_text(), "tls.key": pair.key.read_text()}
        await world.secret("both", both)
        await world.secret("ca", {"ca.crt": ca})

        for name, secret, status in (("with", "both", "True"), ("without", "ca", "False")):
            spec = {"certSecretRef": {"name": secret}}
            live = await watch(world, mutual_registry.host, name, repository="mutual", **spec)
            assert ready(live)[0] == status


@pytest.mark.parametrize("provider", ["aws", "azure", "gcp"])
async def test_a_cloud_s_password_is_for_its_own_registries_alone(provider: str, tmp_path: Path) -> None:
    async with liar() as (host, shelf), real_world(tmp_path / "state") as world, world.running():
        live = await watch(world, host, provider=provider)

        assert ready(live) == ("False", "OCIArtifactPullFailed")
        assert f"is none of provider '{provider}'" in condition(live, "Ready")["message"]
        assert shelf.requests == []

        with_account = await watch(world, host, "account", provider=provider, serviceAccountName="x")
        assert condition(with_account, "Ready")["message"].endswith(": ServiceAccount/default/x not found")
        assert shelf.requests == []


# Signatures


class Signer:
    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public(self) -> str:
        encoding, format_ = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(encoding, format_).decode()

    def sign(self, digest: str) -> tuple[bytes, bytes]:
        type_ = "cosign container image signature"
        image = {"docker-manifest-digest": digest}
        claim = {"critical": {"identity": {"docker-reference": "x"}, "image": image, "type": type_}, "optional": None}
        payload = json.dumps(claim).encode()
        return payload, self._key.sign(payload, ec.ECDSA(hashes.SHA256()))


async def sign(host: str, repository: str, digest: str, *signed: tuple[bytes, bytes]) -> None:
    await asyncio.to_thread(push_signature_layers, host, repository, digest, signed)


VERIFY: dict[str, Any] = {"verify": {"provider": "cosign", "secretRef": {"name": "keys"}}}


async def test_only_a_signature_of_this_very_artifact_counts(open_registry: RealRegistry, tmp_path: Path) -> None:
    """The genuine signature of another artifact, put where this one's would be, is what the original takes."""
    host, signer, stranger = open_registry.host, Signer(), Signer()
    good = await put(host, "signed", ONE, "v1")
    evil = await put(host, "signed", describe({"app/one.yaml": config_map("one", "evil")}), "evil")
    other = await put(host, "signed", TWO, "stranger")
    await sign(host, "signed", good, signer.sign(good))
    await sign(host, "signed", evil, signer.sign(good), (signer.sign(good)[0], signer.sign(evil)[1]))
    await sign(host, "signed", other, stranger.sign(other))
    async with real_world(tmp_path / "state") as world, world.running():
        await world.secret("keys", {"cosign.pub": signer.public, "readme": "not a key"})

        live = await watch(world, host, "good", repository="signed", **VERIFY)
        assert ready(live) == ("True", "Succeeded")
        assert condition(live, "SourceVerified")["message"] == f"verified signature of revision v1@{good}"

        for tag in ("evil", "stranger"):
            live = await watch(world, host, tag, repository="signed", ref={"tag": tag}, **VERIFY)
            assert ready(live) == ("False", "VerificationError")
            assert condition(live, "SourceVerified")["status"] == "False"
            assert "artifact" not in live["status"]


async def test_a_tag_that_moves_to_an_unsigned_artifact_leaves_what_was_verified(
    open_registry: RealRegistry, tmp_path: Path
) -> None:
    host, signer = open_registry.host, Signer()
    digest = await put(host, "unsigned", ONE, "v1")
    await sign(host, "unsigned", digest, signer.sign(digest))
    async with real_world(tmp_path / "state") as world, world.running():
        await world.secret("keys", {"cosign.pub": signer.public})
        await watch(world, host, repository="unsigned", **VERIFY)
        await sync(world)
        await applied(world, f"v1@{digest}")
        await put(host, "unsigned", TWO, "v1")

        live = await world.request(SOURCE, "r", "moved")

        assert ready(live) == ("False", "VerificationError")
        assert condition(live, "ArtifactOutdated")["status"] == "True"
        assert condition(live, "FetchFailed")["status"] == ""
        assert revision_of(live) == f"v1@{digest}"
        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"v": "1"}


@pytest.mark.parametrize("away", [False, True])
async def test_another_key_verifies_again_whatever_failed_between(away: bool, tmp_path: Path) -> None:
    """The key is changed to one that did not sign, while the registry is away: what was said of the old key is void."""
    signer, stranger = Signer(), Signer()
    async with liar() as (host, shelf), real_world(tmp_path / "state") as world, world.running():
        digest = shelf.keep(ONE, "v1")
        payload, signature = signer.sign(digest)
        note = {"dev.cosignproject.cosign/signature": base64.b64encode(signature).decode()}
        type_ = "application/vnd.dev.cosign.simplesigning.v1+json"
        entry = {"mediaType": type_, "digest": name_by_digest(payload), "size": len(payload), "annotations": note}
        shelf.bodies[name_by_digest(payload)] = payload
        shelf.keep_manifest(
            {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [entry]}, f"{digest.replace(':', '-')}.sig"
        )
        await world.secret("keys", {"cosign.pub": signer.public})
        await world.secret("others", {"cosign.pub": stranger.public})
        assert condition(await watch(world, host, **VERIFY), "SourceVerified")["status"] == "True"

        tag, shelf.bodies["v1"] = shelf.bodies["v1"], 500 if away else shelf.bodies["v1"]
        await world.patch(SOURCE, "r", {"spec": {"verify": {"secretRef": {"name": "others"}}}})
        live = await world.answered(SOURCE, "r")
        if away:
            assert condition(live, "SourceVerified")["status"] == ""
            shelf.bodies["v1"] = tag
            live = await world.request(SOURCE, "r", "back")

        assert ready(live) == ("False", "VerificationError")


@pytest.mark.parametrize(
    ("verify", "reason"),
    [
        ({"provider": "cosign"}, "FieldsNotSupported"),
        ({"provider": "notation", "secretRef": {"name": "keys"}}, "FieldsNotSupported"),
        (
            {
                "provider": "cosign",
                "secretRef": {"name": "keys"},
                "matchOIDCIdentity": [{"issuer": ".", "subject": "."}],
            },
            "FieldsNotSupported",
        ),
        ({"provider": "cosign", "secretRef": {"name": "missing"}}, "VerificationError"),
        ({"provider": "cosign", "secretRef": {"name": "keys"}}, "VerificationError"),
    ],
)
async def test_a_verification_that_cannot_be_made_fetches_nothing(
    verify: Mapping[str, Any], reason: str, open_registry: RealRegistry, tmp_path: Path
) -> None:
    await put(open_registry.host, "unverifiable", ONE, "v1")
    async with real_world(tmp_path / "state") as world, world.running():
        await world.secret("keys", {"cosign.pub": "-----BEGIN PUBLIC KEY-----\nnone\n-----END PUBLIC KEY-----\n"})

        live = await watch(world, open_registry.host, repository="unverifiable", verify=verify)

        assert ready(live) == ("False", reason)
        assert "artifact" not in live["status"]
