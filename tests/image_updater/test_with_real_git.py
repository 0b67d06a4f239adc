"""The whole path with nothing in memory but the cluster: a registry and Git over HTTP, the git command, real time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.oci import OciRegistry
from gitops_core.api import GitRepository
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.runtime.clock import SystemClock
from image_updater.api import ImagePolicy, ImageRepository, ImageUpdateAutomation
from image_updater.domain.tags.scans import REQUESTED_AT
from image_updater.reconcilers.automations import MOST_WAITING
from sealoop.embedded.githttp import GitServer, create_repository
from sealoop.embedded.registry import RegistryServer
from tests.image_updater.world import World, has_failed, is_ready
from tests.servers.git import BareRepository, bad_server, http_place
from tests.servers.git import git as run_git

BUMPS, WRITERS, TURNS = 3, 5, 4


async def commit_fairly(repository: BareRepository, name: str, content: bytes) -> None:
    """Commit on the tip of main, and again on the next one when somebody was quicker: nobody is overwritten."""
    while True:
        tip = (await repository.git("rev-parse", "refs/heads/main")).decode().strip()
        await repository.set_branch(name, tip)
        made = await repository.commit({f"{name}.txt": content}, branch=name)
        with contextlib.suppress(RuntimeError):  # the tip is another one by now
            await repository.git("update-ref", "refs/heads/main", made, tip)
            return


@asynccontextmanager
async def at_work(
    tmp_path: Path, files: Mapping[str, bytes], **automation: Any
) -> AsyncIterator[tuple[World, BareRepository, RegistryServer, GitServer]]:
    """A service that updates the image of fleet.git, whose first commit holds `files` and what says 1.0.0."""
    served = tmp_path / "served"
    mirrors = GitMirrors(tmp_path / "state")
    async with GitServer(served) as place, RegistryServer() as server, OciRegistry() as registry:
        server.add("apps/app", "1.0.0")
        line = f'image: {server.host}/apps/app:1.0.0 # {{"$imagepolicy": "default:app"}}\n'
        await create_repository(served / "fleet.git", {"app/web.yaml": line.encode(), **files})
        world = World(SystemClock(), git=mirrors)
        async with world.running(registry):
            image = f"{server.host}/apps/app"
            await world.put(ImageRepository, "app", image=image, interval="1s", insecure=True)
            await world.policy()
            await world.put(GitRepository, "fleet", url=f"{place.url}/fleet.git", interval="1h", ref={"branch": "main"})
            await world.automation(**{"interval": "1h", **automation})
            yield world, BareRepository(served / "fleet.git"), server, place
        await mirrors.close()


async def settled(world: World, tag: str) -> Any:
    return await world.until(ImageUpdateAutomation, "fleet", lambda o: chosen_of(o) == tag and is_ready(o))


def chosen_of(automation: Any) -> str:
    return str((automation.get("status") or {}).get("observedPolicies", {}).get("app", {}).get("tag", ""))


async def failed(world: World) -> str:
    found = await world.until(ImageUpdateAutomation, "fleet", has_failed)
    return str(next(c["message"] for c in found["status"]["conditions"] if c["type"] == "Ready"))


async def ask(world: World, token: str) -> None:
    """Ask the automation to look now, and wait until it did."""
    ref = ObjectRef(ImageUpdateAutomation.KIND, ObjectKey("default", "fleet"))
    patch = {"metadata": {"annotations": {REQUESTED_AT: token}}}
    await world.cluster.patch(ref, patch, field_manager="test")
    await world.until(ImageUpdateAutomation, "fleet", lambda o: o["status"].get("lastHandledReconcileAt") == token)


async def test_nothing_new_is_one_question(tmp_path: Path) -> None:
    async with at_work(tmp_path, {}) as (world, _, server, place):
        server.add("apps/app", "1.1.0")
        await settled(world, "1.1.0")
        await world.until(GitRepository, "fleet", lambda o: REQUESTED_AT in o["metadata"].get("annotations", {}))
        await ask(world, "once, for what its own push has woken")
        place.requests.clear()

        await ask(world, "now")

        # one conversation of ls-remote: what the server can do, and where its branches are
        assert [service for service in map(str, place.requests) if "receive-pack" in service] == []
        assert len(place.requests) == 2


async def test_more_automations_than_workers_on_a_branch_that_hangs_delay_no_other(tmp_path: Path) -> None:
    conversations, hangs_up = 0, asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal conversations
        conversations += 1
        await hangs_up.wait()

    async with bad_server(silent) as url, at_work(tmp_path, {}) as (world, repository, server, _):
        await settled(world, "1.0.0")
        await world.put(GitRepository, "hung", url=f"{url}/a.git", interval="1h", timeout="10m", ref={"branch": "main"})
        for number in range(80):
            await world.automation(f"hung-{number}", sourceRef={"kind": "GitRepository", "name": "hung"}, interval="1h")
        while not conversations:  # noqa: ASYNC110  # of the automation whose turn it is
            await asyncio.sleep(0.01)

        server.add("apps/app", "1.1.0")
        await settled(world, "1.1.0")

        assert len(await repository.log()) == 2
        assert conversations == 1  # nobody gave up meanwhile, and nobody asked beside them
        hangs_up.set()


async def test_automations_of_one_branch_all_have_their_turns(tmp_path: Path) -> None:
    """More of them than may wait: those that gave their workers back say nothing, and come again."""
    async with at_work(tmp_path, {}) as (world, _, server, _):
        names = [f"more-{number}" for number in range(3 * MOST_WAITING)]
        for name in names:
            await world.automation(name, interval="1h")
        for name in names:
            await world.until(ImageUpdateAutomation, name, is_ready)
        server.add("apps/app", "1.1.0")

        for name in names:
            found = await world.until(ImageUpdateAutomation, name, lambda o: chosen_of(o) == "1.1.0" and is_ready(o))
            assert found["status"]["observedGeneration"] == 1

        told = await world.events("ImageUpdateAutomation")
        assert [message for message in told if "wait" in message] == []


async def test_a_protected_branch_says_so_in_the_servers_words(tmp_path: Path) -> None:
    async with at_work(tmp_path, {}) as (world, repository, server, _):
        await settled(world, "1.0.0")
        await repository.refuse("GitLab: You are not allowed to push code to protected branches on this project.")
        server.add("apps/app", "1.1.0")

        said = await failed(world)

        assert "You are not allowed to push code to protected branches on this project." in said
        assert len(said) < 500
        assert len(await repository.log()) == 1
        (repository.directory / "hooks/pre-receive").unlink()
        await settled(world, "1.1.0")


async def test_a_server_without_push_options_is_named(tmp_path: Path) -> None:
    git = {"push": {"branch": "main", "options": {"ci.skip": ""}}}
    async with at_work(tmp_path, {}, git=git) as (world, repository, server, _):
        await settled(world, "1.0.0")
        server.add("apps/app", "1.1.0")

        said = await failed(world)

        assert "the server takes no push options: leave spec.git.push.options out" in said
        assert len(await repository.log()) == 1


async def test_a_server_without_atomic_pushes_moves_neither_ref(tmp_path: Path) -> None:
    git = {"push": {"branch": "main", "refspec": "HEAD:refs/heads/copy"}}
    async with at_work(tmp_path, {}, git=git) as (world, repository, server, _):
        await settled(world, "1.0.0")
        await repository.git("config", "receive.advertiseAtomic", "false")
        server.add("apps/app", "1.1.0")

        said = await failed(world)

        assert "a branch and a refspec could not move together" in said
        assert len(await repository.log()) == 1
        assert not await repository.git("for-each-ref", "refs/heads/copy")


async def test_signed_and_pushed_to_a_branch_of_its_own(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    commit = {"signingKey": {"type": "ssh", "secretRef": {"name": "key"}}}
    push = {"push": {"branch": "bumps"}}
    async with at_work(tmp_path, {}, commit=commit, git=push) as (world, repository, server, _):
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "default"}}
        await world.cluster.apply({**secret, "stringData": {"identity": pem}}, field_manager="test")
        await settled(world, "1.0.0")
        for tag in ("1.1.0", "1.2.0"):
            server.add("apps/app", tag)
            await settled(world, tag)
        moved = await repository.commit({"other.txt": b"1"})
        await ask(world, "moved")

        log = await repository.log("bumps")
        line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        (tmp_path / "signers").write_bytes(b"bot@example.com " + line + b"\n")
        settings = ("-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={tmp_path / 'signers'}")
        await run_git(*settings, f"--git-dir={repository.directory}", "verify-commit", log[0])
        assert log[1:] == await repository.log()
        assert log[1] == moved
        assert b"apps/app:1.2.0" in (await repository.files(log[0]))["app/web.yaml"][1]


async def test_every_bump_lands_among_other_writers(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    mirrors = GitMirrors(tmp_path / "state", allow_file=True)
    async with http_place(served) as place, RegistryServer() as server, OciRegistry() as registry:
        image = f"{server.host}/apps/app"
        server.add("apps/app", "1.0.0")
        line = f'image: {image}:1.0.0 # {{"$imagepolicy": "default:app"}}\r\n'
        repository = await place.repository("fleet.git", {"app/web.yaml": b"# head\r\n" + line.encode()})
        world = World(SystemClock(), git=mirrors)
        async with world.running(registry):
            await world.put(ImageRepository, "app", image=image, interval="1s", insecure=True)
            await world.policy()
            await world.put(GitRepository, "fleet", url=f"{place.url}/fleet.git", interval="1h", ref={"branch": "main"})
            await world.automation(interval="1s")
            await world.until(ImageUpdateAutomation, "fleet", is_ready)

            async def write(number: int) -> None:
                for turn in range(TURNS):
                    await asyncio.sleep(0.1 * number + 0.3 * turn)
                    await commit_fairly(repository, f"writer{number}", f"{turn}\n".encode())

            async def bump() -> None:
                for minor in range(1, BUMPS + 1):
                    server.add("apps/app", f"1.{minor}.0")

                    def is_committed(automation: Any, tag: str = f"1.{minor}.0") -> bool:
                        return bool(automation["status"].get("observedPolicies", {}).get("app", {}).get("tag") == tag)

                    await world.until(ImageUpdateAutomation, "fleet", is_committed)

            await asyncio.gather(bump(), *(write(number) for number in range(WRITERS)))
            await world.until(ImagePolicy, "app", is_ready)
            log = await repository.log()
            files = await repository.files(log[0])
        await mirrors.close()

    assert files["app/web.yaml"][1] == b"# head\r\n" + line.replace("1.0.0", f"1.{BUMPS}.0").encode()
    assert [files[f"writer{number}.txt"][1] for number in range(WRITERS)] == [b"%d\n" % (TURNS - 1)] * WRITERS
    assert len(log) == 1 + WRITERS * TURNS + BUMPS
