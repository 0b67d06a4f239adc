"""spec.verify of a GitRepository: what is not signed with a key of the Secret never becomes an artifact."""

from __future__ import annotations

import asyncio
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gitops_core.adapters.git.objects import make_object
from gitops_core.adapters.git.signing import load_signer
from gitops_core.api import GitRepository
from gitops_core.meta import Kind, Sensitive
from tests.gitops_core.reconcilers.world import CONFIG_MAP, URL, World, condition, config_map
from tests.simulation.loop import in_virtual_time

KEY, OTHER = Ed25519PrivateKey.from_private_bytes(b"k" * 32), Ed25519PrivateKey.from_private_bytes(b"o" * 32)
SECRET = Kind("", "v1", "Secret")


def sign(key: Ed25519PrivateKey, payload: bytes) -> bytes:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return load_signer("ssh", {"identity": Sensitive(pem)}, "a key").make_signature(payload)


def make_public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


async def commit_signed(world: World, key: Ed25519PrivateKey, value: str) -> str:
    """Commit, with a signature of `key`."""
    unsigned = await world.commit({"apps/a.yaml": config_map("a", value)})
    head, _, message = world.repository.objects[unsigned].body.partition(b"\n\n")
    signature = sign(key, head + b"\n\n" + message).strip().replace(b"\n", b"\n ")
    signed = world.repository.add(make_object("commit", head + b"\ngpgsig " + signature + b"\n\n" + message))
    await world.repository.set_branch("main", signed)
    return signed


async def tag_signed(world: World, name: str, commit: str, key: Ed25519PrivateKey, said: str = "") -> None:
    """Put an annotated tag on a commit, which says that its name is `said`."""
    payload = f"object {commit}\ntype commit\ntag {said or name}\ntagger A <a@b.c> 0 +0000\n\n{name}\n".encode()
    await world.repository.tag(name, commit, annotated=True)
    world.repository.annotated[f"refs/tags/{name}"] = payload + sign(key, payload)


async def trust(world: World, *keys: Ed25519PrivateKey) -> None:
    lines = {f"{number}.sshpub": make_public(key) for number, key in enumerate(keys)}
    labels = {"reconcile.fluxcd.io/watch": "Enabled"}
    metadata = {"name": "keys", "namespace": "default", "labels": labels}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": lines}
    if await world.live(SECRET, "keys"):
        await world.delete(SECRET, "keys")
    await world.local.create(secret, field_manager="test")


async def watch(world: World, ref: Any = None, **verify: str) -> None:
    spec: dict[str, Any] = {"interval": "1m", "url": URL, "ref": ref or {"branch": "main"}}
    await world.put(GitRepository, "r", **spec, verify={"secretRef": {"name": "keys"}, **verify})


@in_virtual_time
async def test_what_is_not_signed_by_a_trusted_key_is_neither_stored_nor_applied() -> None:
    world = World()
    await world.begin({"apps/a.yaml": config_map("a", "0")})
    first = await commit_signed(world, KEY, "1")
    await trust(world, KEY)
    await watch(world)
    await world.sync("apps", "./apps")
    async with world.running():
        await asyncio.sleep(5)
        live = await world.repository_object()
        assert condition(live, "SourceVerified")[:2] == ("True", "Succeeded")
        assert f"commit '{first}' with key 'SHA256:" in condition(live, "SourceVerified")[2]
        assert live["status"]["sourceVerificationMode"] == "HEAD"
        assert live["status"]["artifact"]["revision"] == f"main@sha1:{first}"
        for step in ("by another", "unsigned"):
            await (commit_signed(world, OTHER, "2") if step == "by another" else world.commit({"apps/a.yaml": "x"}))
            await asyncio.sleep(90)

            live = await world.repository_object()
            assert condition(live, "Ready")[:2] == ("False", "InvalidCommitSignature")
            assert condition(live, "SourceVerified")[:2] == ("False", "InvalidCommitSignature")
            assert condition(live, "ArtifactInStorage")[0] == "True"
            assert live["status"]["artifact"]["revision"] == f"main@sha1:{first}"
            assert (await world.live(CONFIG_MAP, "a"))["data"] == {"a": "1"}
        second = await commit_signed(world, KEY, "3")
        await asyncio.sleep(90)

        live = await world.repository_object()
        assert condition(live, "Ready")[0] == condition(live, "SourceVerified")[0] == "True"
        assert live["status"]["artifact"]["revision"] == f"main@sha1:{second}"
        assert (await world.live(CONFIG_MAP, "a"))["data"] == {"a": "3"}


@in_virtual_time
async def test_a_key_that_is_taken_away_counts_no_more_and_one_that_comes_back_does() -> None:
    world = World()
    await world.begin({"a.yaml": config_map("a")})
    await commit_signed(world, KEY, "1")
    await trust(world, KEY, OTHER)
    await watch(world)
    async with world.running():
        await asyncio.sleep(5)
        assert condition(await world.repository_object(), "Ready")[0] == "True"

        await trust(world, OTHER)
        await asyncio.sleep(2)
        live = await world.repository_object()
        assert condition(live, "SourceVerified")[:2] == ("False", "InvalidCommitSignature")
        assert "is not in the secret" in condition(live, "Ready")[2]

        await trust(world, KEY)
        await asyncio.sleep(2)
        assert condition(await world.repository_object(), "Ready")[0] == "True"
        quiet = len(world.cluster.since(0, "patch"))
        await asyncio.sleep(300)
        assert len(world.cluster.since(0, "patch")) == quiet

        await world.put(GitRepository, "r", interval="1m", url=URL, ref={"branch": "main"})
        await asyncio.sleep(5)
        live = await world.repository_object()
        assert condition(live, "SourceVerified") == ("", "", "")
        assert "sourceVerificationMode" not in live["status"]


@in_virtual_time
async def test_an_old_signed_tag_under_a_new_name_is_refused() -> None:
    world = World()
    await world.begin({"a.yaml": config_map("a")})
    first = await commit_signed(world, KEY, "1")
    await tag_signed(world, "v1.0.0", first, KEY)
    await trust(world, KEY)
    await watch(world, {"semver": "1.x"}, mode="Tag")
    async with world.running():
        await asyncio.sleep(5)
        live = await world.repository_object()
        assert live["status"]["artifact"]["revision"] == f"v1.0.0@sha1:{first}"
        assert condition(live, "SourceVerified")[2].startswith(
            "verified signature of\n\t- tag 'v1.0.0' with key 'SHA256:"
        )

        await tag_signed(world, "v1.9.9", first, KEY, said="v1.0.0")
        await asyncio.sleep(90)
        live = await world.repository_object()
        assert condition(live, "Ready")[:2] == ("False", "InvalidTagSignature")
        assert "was signed as tag 'v1.0.0'" in condition(live, "Ready")[2]

        await tag_signed(world, "v1.9.9", first, OTHER)
        await asyncio.sleep(90)
        assert condition(await world.repository_object(), "Ready")[:2] == ("False", "InvalidTagSignature")

        await world.repository.tag("v1.9.9", first)
        await asyncio.sleep(90)
        assert condition(await world.repository_object(), "Ready")[:2] == ("False", "InvalidGitObject")


@in_virtual_time
async def test_a_tag_and_its_commit_are_both_verified_and_a_branch_is_no_tag() -> None:
    world = World()
    await world.begin({"a.yaml": config_map("a")})
    foreign = await commit_signed(world, OTHER, "1")
    await tag_signed(world, "v1.0.0", foreign, KEY)
    await trust(world, KEY)
    await watch(world, {"tag": "v1.0.0"}, mode="TagAndHEAD")
    async with world.running():
        await asyncio.sleep(5)
        assert condition(await world.repository_object(), "Ready")[:2] == ("False", "InvalidCommitSignature")

        for ref in ({"branch": "main"}, {"tag": "v1.0.0", "commit": foreign}, {"name": "refs/heads/main"}):
            await watch(world, ref, mode="Tag")
            await asyncio.sleep(5)
            live = await world.repository_object()
            assert condition(live, "Stalled")[:2] == ("True", "InvalidVerificationMode")
            assert condition(live, "SourceVerified")[:2] == ("False", "InvalidVerificationMode")
        await watch(world, {"name": "refs/tags/v1.0.0"}, mode="Tag")
        await asyncio.sleep(5)
        live = await world.repository_object()
        assert live["status"]["artifact"]["revision"] == f"refs/tags/v1.0.0@sha1:{foreign}"
