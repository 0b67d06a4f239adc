"""A GitRepository becomes what Flux makes of it: recorded answers of its controller, with real git over loopback.

Cases: tests/golden/data/gitrepositories.jsonl, of source-controller 1.9.1; their repositories are bundles beside it. Of
a condition status and reason are compared, of an artifact its revision, and paths and contents of its files.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from aiohttp import web

from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.local import LocalCluster
from gitops_core.api import KINDS, GitRepository
from gitops_core.errors import Invalid
from gitops_core.meta import ObjectKey, ObjectRef, Resource
from gitops_core.ports import Objects
from gitops_core.reconcilers import Folders, GitSource
from gitops_core.runtime.clock import SystemClock
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.schema import make_crd, read_manifest
from sealoop.embedded.githttp import GitServer, create_repository, make_basic, make_bearer
from tests.gitops_core.reconcilers.world import Counted, World, condition
from tests.servers.git import BareRepository
from tests.servers.programs import free_port
from tests.servers.proxy import forward_proxy
from tests.simulation.fakes.git import FakeGit

DATA = Path(__file__).parent / "data"
FIXTURES = DATA / "gitrepositories"
CASES = [json.loads(line) for line in (DATA / "gitrepositories.jsonl").read_text().splitlines()]
R = TypeVar("R", bound=Resource)
LOGINS = (make_basic("deploy", "s3cret"), make_bearer("tok-123"))


@dataclass(frozen=True)
class Different:
    """What of a failure's answer differs.

    Attributes:
        reason: of the failure.
        revision: what is found where the original finds nothing.
        stalls: nothing is tried again before somebody edits the object.
        unverified: the reason why what is there is refused, where the original takes it.
    """

    reason: str = ""
    unverified: str = ""
    revision: str = ""
    stalls: bool = False

    def adapt(self, expected: Mapping[str, Any]) -> dict[str, Any]:
        """Make of the recorded answer the one that is wanted here."""
        if self.revision:
            kinds = ("Ready", "ArtifactInStorage")
            conditions = [{"type": kind, "status": "True", "reason": "Succeeded"} for kind in kinds]
            return {"conditions": conditions, "status": {"artifact": {"revision": self.revision}}}
        if self.unverified:
            failed = [
                {"type": kind, "status": "False", "reason": self.unverified} for kind in ("Ready", "SourceVerified")
            ]
            retry = {"type": "Reconciling", "status": "True", "reason": "ProgressingWithRetry"}
            return {"conditions": [*failed, retry], "status": {}}
        conditions = []
        for recorded in expected["conditions"]:
            is_retry = recorded["type"] == "Reconciling"
            kind = "Stalled" if is_retry and self.stalls else recorded["type"]
            reason = recorded["reason"] if is_retry and not self.stalls else self.reason or get_failure(expected)
            conditions.append({"type": kind, "status": recorded["status"], "reason": reason})
        return {**expected, "conditions": conditions}


def get_failure(expected: Mapping[str, Any]) -> str:
    return next(str(c["reason"]) for c in expected["conditions"] if c["type"] == "Ready")


STALLED = "only an edit of the object can help, which is told as Stalled; the original tries for ever"
DIFFERENT: Mapping[str, tuple[Different, str]] = {
    "git-auth-mtls-cert-only": (
        Different(reason="AuthenticationFailed"),
        "a certificate without its key is told; the original passes over it, and the server then asks for one",
    ),
    "git-ref-commit-only-in-pull": (
        Different(revision="sha1:e092aac03431ddfec80c44a690901f294fdb83bd"),
        "a commit is fetched by its id, whatever it is on; the original looks through the branches only",
    ),
    "git-ref-name-head": (
        Different(revision="HEAD@sha1:3c5b537af8f64f2999e94d54768ab1ea7c0411e4"),
        "the remote says where its HEAD is, as it says it of any other ref",
    ),
    "git-ref-semver-bad": (Different(stalls=True), STALLED),
    "git-url-ssh-no-secret": (Different(stalls=True), STALLED),
    "git-verify-head-then-key-arrives": (
        Different(unverified="InvalidCommitSignature"),
        "the Secret that the case names does not hold the key yet; the recording's did, from an earlier run",
    ),
}
"""Where the answer to a case is another one on purpose, and why."""


class RecordedServer(GitServer):
    """Answers as the recording's server did: /auth/ wants a login, /slow/ never answers, /redirect/ leads on."""

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        first, _, rest = request.path.removeprefix("/").partition("/")
        target = f"/{rest}?{request.query_string}"
        match first:
            case "auth" if request.headers.get("Authorization") not in LOGINS:
                return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="lab"'})
            case "slow":
                while request.transport is not None:  # noqa: ASYNC110  # until who asked gives up
                    await asyncio.sleep(0.02)
            case "redirect":
                return web.Response(status=301, headers={"Location": target})
            case "forbidden":
                return web.Response(status=403, text="go away\n")
            case "auth":
                return await super()._serve(request.clone(rel_url=target))
        return await super()._serve(request)


@dataclass(frozen=True)
class Reading:
    """Implements what is asked of Objects here: the objects as the cluster has them now."""

    cluster: LocalCluster

    async def get(self, type_: type[R], key: ObjectKey) -> R | None:
        manifest = await self.cluster.get(ObjectRef(type_.KIND, key))
        return read_manifest(type_, manifest) if manifest is not None else None


class Loopback(World):
    """A world of real git in real time."""

    def __init__(self, mirrors: GitMirrors) -> None:
        super().__init__()
        self.local.close()
        self.clock = cast(Any, SystemClock())
        self.local = LocalCluster.open(None, SystemClock(), random.Random(1))
        self.cluster = Counted(self.local)
        self.git = cast(FakeGit, mirrors)
        self.source = GitSource(self.local, mirrors, cast(Objects, Reading(self.local)), IN_PLACE)


@dataclass(frozen=True)
class Played:
    """One case: its names for servers, and where its repositories are."""

    case: Mapping[str, Any]
    world: Loopback
    names: Mapping[str, str]
    served: Path

    def expand(self, value: Any) -> Any:
        text = json.dumps(value)
        for name, place in self.names.items():
            text = text.replace(f"${{{name}_HOST}}", place.partition("//")[2]).replace(f"${{{name}}}", place)
        return json.loads(text)

    async def put(self, manifest: Mapping[str, Any]) -> None:
        version = "v1" if manifest["kind"] == "Secret" else GitRepository.KIND.api_version
        placed = {"apiVersion": version, **manifest, "metadata": {"namespace": "default", **manifest["metadata"]}}
        await self.world.local.apply(self.expand(placed), field_manager="test", force=True)
        if manifest["kind"] == "GitRepository" and manifest is not self.case["object"]:
            await self.settled(manifest["metadata"]["name"])

    async def change(self, step: Mapping[str, Any], token: str) -> None:
        for path, refs in step.get("refs", {}).items():
            for ref, commit in refs.items():
                await self.repository(path).git("update-ref", *(("-d", ref) if commit is None else (ref, commit)))
        for manifest in step.get("objects", ()):
            await self.put(manifest)
        patch = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}}
        if "spec" in step:
            patch["spec"] = self.expand(step["spec"])
        await self.world.local.patch(self.ref(self.case["name"]), patch, field_manager="test")

    def repository(self, path: str) -> BareRepository:
        return BareRepository(self.served / self.case["name"] / path)

    def ref(self, name: str) -> ObjectRef:
        return ObjectRef(GitRepository.KIND, ObjectKey("default", name))

    async def settled(self, name: str, token: str = "") -> Any:
        """Wait until the object's present generation, and `token`, were answered."""
        async with asyncio.timeout(60):
            while not is_settled(live := await self.world.local.get(self.ref(name)), token):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return live

    async def check(self, live: Any, expected: Mapping[str, Any]) -> None:
        wanted = {c["type"]: (c["status"], c["reason"]) for c in expected["conditions"]}
        found = {c["type"]: (c["status"], c["reason"]) for c in live["status"]["conditions"]}
        found.pop("ReadOnlyCredential", None)  # the original does not ask for it
        assert found == wanted, condition(live, "Ready")[2]
        status = expected["status"]
        for field in ("observedIgnore", "observedInclude", "observedSparseCheckout", "observedRecurseSubmodules"):
            assert live["status"].get(field) == status.get(field), field
        assert live["status"].get("sourceVerificationMode") == status.get("sourceVerificationMode")
        included = [artifact["revision"] for artifact in status.get("includedArtifacts", ())]
        assert [artifact["revision"] for artifact in live["status"].get("includedArtifacts", ())] == included
        revision = live["status"].get("artifact", {}).get("revision")
        assert revision in self._list_revisions(status), condition(live, "Ready")[2]
        if "files" in expected:
            assert await self._read_files(live) == _list_files(expected["files"])

    def _list_revisions(self, status: Mapping[str, Any]) -> Iterable[str | None]:
        recorded = (status.get("artifact") or {}).get("revision")
        if recorded is None:
            return [None]
        return [recorded, *(f"{tag}@{recorded.rpartition('@')[2]}" for tag in self.case.get("any_of", ()))]

    async def _read_files(self, live: Any) -> dict[str, str]:
        folders = Folders({"GitRepository": self.world.source})
        source = read_manifest(GitRepository, live)
        files = await folders.read_files(source, live["status"]["artifact"]["revision"])
        # links are followed here, and never reach an artifact there
        linked = [path for path in files if any(f"{path}/".startswith(f"{link}/") for link in files.links)]
        return {path: hashlib.sha256(files[path]).hexdigest()[:16] for path in files if path not in linked}


def is_settled(live: Any, token: str) -> bool:
    generation, status = live["metadata"]["generation"], live.get("status") or {}
    ready = [c for c in status.get("conditions", ()) if c["type"] == "Ready" and c["status"] != "Unknown"]
    return bool(
        ready and ready[0]["observedGeneration"] == generation and status.get("lastHandledReconcileAt", "") == token
    )


def _list_files(recorded: Mapping[str, str]) -> dict[str, str]:
    """List the files of a recorded artifact; folders, and modes that are the same for all, are left out."""
    return {path: about.split()[0] for path, about in recorded.items() if not path.endswith("/")}


def make_tls(*, mutual: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FIXTURES / "server.crt", FIXTURES / "server.key")
    if mutual:
        context.load_verify_locations(FIXTURES / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@asynccontextmanager
async def serving(served: Path) -> AsyncIterator[dict[str, str]]:
    """Run the servers of the recording; yield them by the names it gave them."""
    async with (
        RecordedServer(served) as http,
        RecordedServer(served, tls=make_tls(mutual=False)) as https,
        RecordedServer(served, tls=make_tls(mutual=True)) as mutual,
        forward_proxy() as proxy,
        forward_proxy("pu:pp") as guarded,
    ):
        yield {
            "HTTP": http.url,
            "TLS": https.url,
            "MTLS": mutual.url,
            "DEAD": f"http://127.0.0.1:{free_port()}",
            "PROXY": f"http://{proxy.host}",
            "AUTHPROXY": f"http://{guarded.host}",
        }


@asynccontextmanager
async def playing(case: Mapping[str, Any], tmp_path: Path) -> AsyncIterator[Played]:
    served, mirrors = tmp_path / "served", GitMirrors(tmp_path / "state")
    for made in case["setup"]["git"]:
        directory = served / case["name"] / made["path"]
        await create_repository(directory, {})
        if made["fixture"]:
            bundle = str(FIXTURES / f"{made['fixture']}.bundle")
            await BareRepository(directory).git("fetch", "--quiet", bundle, "refs/*:refs/*")
    async with serving(served) as names:
        world = Loopback(mirrors)
        for kind in KINDS:
            await world.local.create(make_crd(kind), field_manager="test")
        async with world.running():
            played = Played(case, world, names, served)
            for manifest in case["setup"]["objects"]:
                await played.put(manifest)
            yield played
        world.local.close()
    await mirrors.close()


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
async def test_a_gitrepository_becomes_what_flux_makes_of_it(case: Mapping[str, Any], tmp_path: Path) -> None:
    async with playing(case, tmp_path) as played:
        first, *others = case["expect"]
        if case["name"] in DIFFERENT:
            first = DIFFERENT[case["name"]][0].adapt(first)
        if "refused" in first:
            with pytest.raises(Invalid):
                await played.put(case["object"])
            return
        await played.put(case["object"])
        if case["object"]["spec"].get("suspend"):
            await _check_that_it_rests(played)
            return
        await played.check(await played.settled(case["name"]), first)
        for number, (step, expected) in enumerate(zip(case["then"], others, strict=True)):
            await played.change(step, f"step {number}")
            await played.check(await played.settled(case["name"], f"step {number}"), expected)


async def _check_that_it_rests(played: Played) -> None:
    """One that is made later has been answered, and it has not."""
    witness = {**played.case["object"]["spec"], "suspend": False}
    await played.put({"kind": "GitRepository", "metadata": {"name": "witness"}, "spec": witness})

    live = await played.world.local.get(played.ref(played.case["name"]))

    assert "conditions" not in (live or {}).get("status", {})
