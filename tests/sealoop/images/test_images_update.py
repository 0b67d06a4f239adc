"""`sealoop images update --once`: the whole job from a CI job, with a token that the cluster never sees."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from sealoop.embedded.githttp import GitServer, create_repository, make_basic
from sealoop.embedded.registry import RegistryServer
from sealoop.main import main
from tests.journeys.surroundings import flux
from tests.servers.certificates import Authority
from tests.servers.git import BareRepository
from tests.servers.programs import clean_environment, free_port

TOKEN = "short lived"


@dataclass(frozen=True)
class Job:
    """A CI job: manifests in a folder, a Git remote behind a password, a registry."""

    folder: Path
    repository: BareRepository
    git: GitServer
    registry: RegistryServer
    authority: Authority

    def write(self, *objects: dict[str, Any]) -> None:
        placed = [{**each, "metadata": {"namespace": "shop", **each["metadata"]}} for each in objects]
        (self.folder / "objects.yaml").write_text("\n---\n".join(map(json.dumps, placed)))

    async def run(self, *options: str, token: str = TOKEN) -> tuple[int, str, str]:
        """Exit code, output, complaints."""
        command = [sys.executable, "-m", "sealoop", "images", "update", "--once", *options]
        trusted = str(self.authority.certificate)
        environment = clean_environment(self.folder, SEALOOP_GIT_TOKEN=token, SSL_CERT_FILE=trusted)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
        output, complaints = await process.communicate()
        return process.returncode or 0, output.decode(), complaints.decode()


@pytest.fixture
async def job(tmp_path: Path) -> AsyncIterator[Job]:
    directory = tmp_path / "git" / "app.git"
    await create_repository(directory, {"README.md": b"the fleet\n"})
    authority = Authority.make(tmp_path / "authority")
    keys = authority.server()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(keys.certificate, keys.key)
    async with (
        GitServer(directory.parent, authorization={"app.git": make_basic("git", TOKEN)}, tls=tls) as git,
        RegistryServer() as registry,
    ):
        yield Job(tmp_path, BareRepository(directory), git, registry, authority)


def objects(job: Job, **automation: Any) -> list[dict[str, Any]]:
    author = {"name": "ci", "email": "ci@example.com"}
    return [
        flux("source", "GitRepository", "app", url=f"{job.git.url}/app.git", interval="5m", ref={"branch": "main"}),
        flux("image", "ImageRepository", "web", image=f"{job.registry.host}/web", interval="5m", insecure=True),
        flux("image", "ImagePolicy", "web", imageRepositoryRef={"name": "web"}, policy={"semver": {"range": ">=1"}}),
        flux(
            "image",
            "ImageUpdateAutomation",
            "web",
            sourceRef={"kind": "GitRepository", "name": "app"},
            interval="5m",
            git={"commit": {"author": author}},
            **automation,
        ),
    ]


async def test_an_update_pushes_and_the_next_one_has_nothing_to_do(job: Job) -> None:
    marked = b'image: HOST/web:1.0.0 # {"$imagepolicy": "shop:web"}\n'.replace(b"HOST", job.registry.host.encode())
    await job.repository.commit({"web.yaml": marked})
    job.registry.add("web", "1.0.0")
    job.registry.add("web", "1.2.0")
    synced = {"sourceRef": {"kind": "GitRepository", "name": "app"}, "interval": "1m", "prune": True}
    job.write(*objects(job, suspend=True), flux("kustomize", "Kustomization", "app", **synced))

    code, output, complaints = await job.run("-f", str(job.folder / "objects.yaml"), "-o", "json")

    assert code == 0, complaints
    assert await job.repository.git("show", "main:web.yaml") == marked.replace(b"1.0.0", b"1.2.0")
    pushed = {entry["kind"]: entry["commit"] for entry in json.loads(output)}["ImageUpdateAutomation"]
    assert pushed == (await job.repository.git("rev-parse", "main")).decode().strip()
    assert TOKEN not in output + complaints

    code, output, _ = await job.run("-f", str(job.folder / "objects.yaml"))

    assert code == 0
    assert "repository up-to-date" in output
    assert (await job.repository.git("rev-parse", "main")).decode().strip() == pushed


async def invoked(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, ["images", *words])


ODD = {
    "a.yaml": 'image: HOST/web:1 # {"$imagepolicy": "shop:nobody"}\n',
    "b.yaml": "a: 1 # " + " ".join(f'{{"$imagepolicy": "shop:{name}:tag"}}' for name in ("web", "other")) + "\n",
    "c.yaml": 'a: [\nb: 1 # {"$imagepolicy": "shop:web:tag"}\n',
    "d.yaml": 'a: &a 1 # no\nb: *a # {"$imagepolicy": "shop:web:tag"}\n',
    "e.txt": 'a: 1 # {"$imagepolicy": "shop:web:tag"}\n',
    "e\udce9.yaml": 'a: 1 # {"$imagepolicy": "shop:\\ud800\\u001b[2J"}\nb: 1 # {"$imagepolicy": "' + "x" * 300 + '"}\n',
    "f.yaml": "".join(f'a{n}: sha256:{"0" * 64} # {{"$imagepolicy": "shop:web:digest"}}\n' for n in range(25)),
}


async def test_update_edit_and_lint_tell_the_same_of_each_place(job: Job) -> None:
    files = {name: text.replace("HOST", job.registry.host) for name, text in ODD.items()}
    good = f'image: {job.registry.host}/web:1.0.0 # {{"$imagepolicy": "shop:web"}}\n'
    await job.repository.commit({name: text.encode() for name, text in {**files, "z.yaml": good}.items()})
    job.registry.add("web", "1.2.0")
    job.write(*objects(job))
    fleet = job.folder / "fleet"
    fleet.mkdir()
    for name, text in files.items():
        (fleet / name).write_text(text)
    image = f"shop:web={job.registry.host}/web:1.2.0"

    code, output, complaints = await job.run("-f", str(job.folder / "objects.yaml"), "-o", "json")
    edited = await invoked("edit", "--set", image, str(fleet), "-o", "json")
    linted = await invoked("lint", "-f", str(job.folder / "objects.yaml"), str(fleet))

    assert code == 0, complaints
    told = complaints.splitlines()
    assert [line.split(": ")[1] for line in told] == [
        *("unmatched", "ambiguous", "unparsable", "unmatched", "unmatched", "unmatched", "unmatched"),
        *["held"] * 25,
    ]
    assert "e\ufffd.yaml:1: unmatched: shop:\ufffd?[2J: no policy" in complaints
    assert edited.stderr.splitlines()[:-1] == told
    of_places = [line.partition(": ")[2] for line in linted.stdout.splitlines()]
    assert sorted(of_places) == sorted(told)
    (found,) = (each["inventory"] for each in json.loads(output) if each["kind"] == "ImageUpdateAutomation")
    assert found == json.loads(edited.stdout)["inventory"]


async def test_a_wrong_token_is_told_and_fails(job: Job) -> None:
    job.registry.add("web", "1.0.0")
    job.write(*objects(job))

    code, output, complaints = await job.run("-f", str(job.folder / "objects.yaml"), token="no longer good")

    assert code == 1
    assert "imageupdateautomation/web\tfailed" in output
    assert "no longer good" not in output + complaints


@dataclass
class Thief:
    """A Git server that wants to know who asks.

    Attributes:
        host: with its port.
        heard: the Authorization of every request, "" for none.
    """

    host: str
    heard: list[str]

    def objects(self, job: Job, namespace: str, scheme: str, **repository: Any) -> list[dict[str, Any]]:
        """A GitRepository there, and an automation that pushes to it."""
        made = [objects(job)[0], objects(job)[3]]
        made[0]["spec"] |= {"url": f"{scheme}://{self.host}/app.git"} | repository
        made[1]["spec"]["sourceRef"]["name"] = "theirs"
        return [{**each, "metadata": {"name": "theirs", "namespace": namespace}} for each in made]


@pytest.fixture
async def thief(job: Job) -> AsyncIterator[Thief]:
    heard: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        heard.append(request.headers.get("Authorization", ""))
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="here"'})

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    keys = job.authority.server()
    tls.load_cert_chain(keys.certificate, keys.key)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield Thief(f"localhost:{runner.addresses[0][1]}", heard)
    finally:
        await runner.cleanup()


async def test_a_token_for_two_hosts_is_refused_before_anybody_is_asked(job: Job, thief: Thief) -> None:
    job.write(*objects(job), *thief.objects(job, "shop", "https"))

    code, output, complaints = await job.run("-f", str(job.folder / "objects.yaml"))

    assert (code, output) == (1, "")
    assert complaints == (
        f"Error: the token is for one host, and the automations push to {job.git.url}, https://{thief.host}:"
        " name it with --git-host\n"
    )
    assert thief.heard == []
    assert job.git.requests == []


@pytest.mark.parametrize("secret", ["", "sealoop-write-once"])
async def test_a_token_goes_to_the_host_that_is_named_alone(job: Job, thief: Thief, secret: str) -> None:
    job.registry.add("web", "1.0.0")
    theirs = {"secretRef": {"name": secret}} if secret else {}
    job.write(*objects(job), *thief.objects(job, "shop", "https", **theirs))
    named = job.git.url.removeprefix("https://")

    code, output, _ = await job.run("-f", str(job.folder / "objects.yaml"), "--git-host", named)

    assert code == 1
    assert "imageupdateautomation/web\tok" in output
    assert "imageupdateautomation/theirs\tfailed" in output
    assert set(thief.heard) <= {""}


async def test_a_token_is_lent_to_the_automations_of_the_namespace_that_is_named(job: Job, thief: Thief) -> None:
    job.registry.add("web", "1.0.0")
    job.write(*objects(job), *thief.objects(job, "elsewhere", "https"))

    code, output, complaints = await job.run("-f", str(job.folder / "objects.yaml"), "-n", "shop")

    assert code == 0, complaints
    assert "theirs" not in output
    assert thief.heard == []


async def test_a_token_does_not_go_over_plain_http(job: Job, thief: Thief) -> None:
    job.write(*objects(job)[:3], *thief.objects(job, "shop", "http"))

    code, _, complaints = await job.run("-f", str(job.folder / "objects.yaml"))

    assert code == 1
    assert complaints == (
        "Error: the token does not go over plain http, and GitRepository 'shop/theirs' is at"
        f" http://{thief.host}: use https\n"
    )


async def test_a_registry_that_is_down_holds_up_nothing(job: Job) -> None:
    """Also where the objects remember that it was listed before."""
    marked = b'image: HOST/web:1.0.0 # {"$imagepolicy": "shop:web"}\n'.replace(b"HOST", job.registry.host.encode())
    await job.repository.commit({"web.yaml": marked})
    job.registry.add("web", "1.2.0")
    gone = f"127.0.0.1:{free_port()}/gone"
    repository = flux("image", "ImageRepository", "gone", image=gone, interval="5m", insecure=True)
    scan = {"tagCount": 1, "scanTime": "2026-01-01T00:00:00Z", "revision": "1", "latestTags": ["1.0.0"]}
    repository["status"] = {"canonicalImageName": gone, "lastScanResult": scan}
    policy = flux("image", "ImagePolicy", "gone", imageRepositoryRef={"name": "gone"}, policy={"alphabetical": {}})
    policy["status"] = {"latestRef": {"name": gone, "tag": "1.0.0"}}
    job.write(*objects(job), repository, policy)

    code, output, complaints = await job.run("-f", str(job.folder / "objects.yaml"), "--timeout", "100")

    assert code == 1
    assert f"imagerepository/gone\tfailed\tscan failed: GET http://{gone.partition('/')[0]}/v2/gone/" in output
    assert "imageupdateautomation/web\tpushed" in output
    assert complaints == ""  # "not done within 100s" neither


async def test_without_an_automation_there_is_nothing_to_do(job: Job) -> None:
    job.write(*objects(job)[:3])

    code, _, complaints = await job.run("-f", str(job.folder / "objects.yaml"))

    assert code == 1
    assert complaints == "Error: there is no ImageUpdateAutomation: nothing to update\n"
