"""Where commits go: another branch that is made anew from its base, a second ref, and who may write what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gitops_core.adapters.git.objects import edit_tree, make_object
from gitops_core.api import GitRepository
from gitops_core.errors import GitError
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from image_updater.api import ImagePolicy, ImageUpdateAutomation
from image_updater.domain.tags.scans import REQUESTED_AT
from image_updater.reconcilers.sources import tracks
from tests.image_updater.test_automations import begun, ready_of
from tests.image_updater.world import IMAGE, URL, World, has_failed, image_line, is_ready
from tests.simulation.loop import in_virtual_time

BUMPS = {"push": {"branch": "bumps"}}


def is_done(tag: str, manifest: Any) -> bool:
    return bool(manifest["status"].get("observedPolicies", {}).get("app", {}).get("tag") == tag)


async def bumped(world: World, tag: str) -> Any:
    world.fakes.push(IMAGE, tag)
    return await world.until(ImageUpdateAutomation, "fleet", lambda o: is_done(tag, o) and is_ready(o))


async def annotate(world: World, kind: Any, name: str, annotations: Mapping[str, str | None]) -> None:
    ref = ObjectRef(kind.KIND, ObjectKey("default", name))
    await world.cluster.patch(ref, {"metadata": {"annotations": dict(annotations)}}, field_manager="test")


@in_virtual_time
async def test_another_push_branch_is_one_commit_on_its_base() -> None:
    world = World()
    async with world.running():
        first = await begun(world, git=BUMPS)
        base = (await world.repository.log())[0]
        old = await world.repository.log("bumps")
        await bumped(world, "1.2.0")
        new = await world.repository.log("bumps")
        moved = await world.repository.commit({"README.md": b"moved\n"})
        await world.clock.sleep(6 * 60)
        last, head = await world.repository.log("bumps"), await world.head("bumps")

    assert first["status"]["observedSourceRevision"] == f"main@sha1:{base}"
    assert (old[1:], new[1:], last[1:]) == ((base,), (base,), (moved, base))
    assert head == {"app/web.yaml": image_line("1.2.0"), "README.md": "moved\n"}


@in_virtual_time
async def test_a_range_of_versions_is_the_base_and_follows_the_newest_tag() -> None:
    world = World()
    git = {"checkout": {"ref": {"semver": "1.x", "branch": "bumps"}}}
    async with world.running():
        released = await world.repository.commit({"app/web.yaml": image_line("1.0.0").encode()})
        await world.repository.tag("v1.0.0", released)
        first = await begun(world, git=git)
        old = await world.repository.log("bumps")
        newer = await world.repository.commit({"README.md": b"newer\n"})
        await world.repository.tag("v1.1.0", newer)
        await world.clock.sleep(6 * 60)
        new = await world.repository.log("bumps")

    assert first["status"]["observedSourceRevision"] == f"v1.0.0@sha1:{released}"
    assert (old[1], new[1]) == (released, newer)
    assert (await world.head("bumps"))["README.md"] == "newer\n"


@in_virtual_time
async def test_a_push_branch_that_says_it_all_is_left_alone() -> None:
    """Also by a process that has never seen it, and without a second event."""

    world = World()
    async with world.running(last=False):
        await begun(world, git=BUMPS)
    before = await world.repository.log("bumps")
    ref = ObjectRef(ImageUpdateAutomation.KIND, ObjectKey("default", "fleet"))
    await world.cluster.patch(ref, {"status": {"lastPushCommit": "gone"}}, field_manager="test", subresource="status")
    async with world.running():
        manifest = await world.until(
            ImageUpdateAutomation, "fleet", lambda o: o["status"]["lastPushCommit"] != "gone" and is_ready(o)
        )
        await world.clock.sleep(6 * 60)
        after, events = await world.repository.log("bumps"), await world.events("ImageUpdateAutomation")

    assert after == before
    assert manifest["status"]["lastPushCommit"] == before[0]
    assert sum(event.startswith("pushed commit") for event in events) == 1


@in_virtual_time
async def test_a_persons_commit_on_our_branch_is_not_given_up() -> None:
    world = World()
    async with world.running():
        await begun(world, git=BUMPS)
        theirs = await world.repository.commit({"fix.txt": b"mine\n"}, branch="bumps")
        world.fakes.push(IMAGE, "1.2.0")
        failed = await world.until(ImageUpdateAutomation, "fleet", has_failed)
        held = await world.repository.log("bumps")
        await world.repository.set_branch("bumps", (await world.repository.log())[0])  # merged or thrown away
        await world.until(ImageUpdateAutomation, "fleet", is_ready)
        head = await world.head("bumps")

    assert held[0] == theirs
    assert ready_of(failed)["reason"] == "GitOperationFailed"
    assert ready_of(failed)["message"] == (
        f"branch 'bumps' of {URL} is at commit {theirs[:7]} by 'somebody@example.com', which is not ours: "
        "it is left as it is; merge it, or delete the branch"
    )
    assert head["app/web.yaml"] == image_line("1.2.0")


async def amend(world: World, *, message: str = "", again: bool = False, **files: bytes) -> str:
    """A person changes our commit and keeps its author; with `again`, also its dates and committer."""
    repository = world.repository
    tip = (await repository.log("bumps"))[0]
    body = repository.objects[tip].body
    if files:
        tree, objects = edit_tree(repository.entries, repository.tree_of(tip), dict(files), "sha1")
        for item in objects:
            repository.add(item)
        body = body.replace(repository.tree_of(tip).encode(), tree.encode())
    if message:
        body = body.rpartition(b"\n\n")[0] + b"\n\n" + message.encode() + b"\n"
    if not again:
        body = re.sub(rb"\ncommitter .*", b"\ncommitter Ann <ann@example.com> 1800000000 +0000", body)
    commit = repository.add(make_object("commit", body))
    await repository.set_branch("bumps", commit)
    return commit


@pytest.mark.parametrize(
    "change",
    [{"fix": b"mine\n"}, {"fix": b"mine\n", "again": True}, {"message": "my words"}, {"message": "x", "again": True}],
)
@in_virtual_time
async def test_a_commit_of_ours_that_a_person_amended_is_kept_and_told(change: dict[str, Any]) -> None:
    world = World()
    async with world.running():
        await begun(world, git=BUMPS)
        theirs = await amend(world, **change)
        world.fakes.push(IMAGE, "1.2.0")
        failed = await world.until(ImageUpdateAutomation, "fleet", has_failed)
        await world.clock.sleep(900)
        log = await world.repository.log("bumps")

    assert log[0] == theirs
    assert "by 'bot@example.com', which is not ours: it is left as it is" in ready_of(failed)["message"]


@in_virtual_time
async def test_a_push_whose_record_was_lost_is_known_by_what_was_announced() -> None:
    """The process died between the push and its status; then the base moved on."""

    world = World()
    stored: list[dict[str, Any]] = []

    async def look(deed: str, moment: str) -> None:
        if (deed, moment) == ("push", "after"):
            stored.append((await world.get(ImageUpdateAutomation, "fleet"))["status"])

    async with world.running(last=False):
        world.git.fault = look
        await begun(world, git=BUMPS)
    ref = ObjectRef(ImageUpdateAutomation.KIND, ObjectKey("default", "fleet"))
    lost = {"lastPushCommit": None, "pushing": stored[-1]["pushing"]}
    await world.cluster.patch(ref, {"status": lost}, field_manager="test", subresource="status")
    await world.repository.commit({"other.txt": b"the base moves"})
    async with world.running():
        await bumped(world, "1.2.0")
        head, manifest = await world.head("bumps"), await world.get(ImageUpdateAutomation, "fleet")

    assert head["app/web.yaml"] == image_line("1.2.0")
    assert "pushing" not in manifest["status"]


@in_virtual_time
async def test_a_lost_answer_about_a_rebuilt_branch_is_no_second_commit() -> None:
    world = World()
    lost = 0

    async def lose(deed: str, moment: str) -> None:
        nonlocal lost
        if (deed, moment) == ("push", "after") and lost < 2:
            lost += 1
            raise GitError("git push: the connection was reset")

    async with world.running():
        world.git.fault = lose
        await begun(world, git=BUMPS)
        await bumped(world, "1.2.0")
        log, events = await world.repository.log("bumps"), await world.events("ImageUpdateAutomation")

    assert lost == 2
    assert len(log) == 2
    assert sum(event.startswith("pushed commit") for event in events) == 2


@in_virtual_time
async def test_automations_that_share_a_push_branch_commit_what_all_of_them_want() -> None:
    world = World()
    async with world.running():
        await world.repository.commit({"b/web.yaml": image_line("1.0.0").encode()})
        await world.automation("second", update={"path": "b", "strategy": "Setters"}, git=BUMPS)
        await begun(world, git=BUMPS, update={"path": "app", "strategy": "Setters"})
        await world.until(ImageUpdateAutomation, "second", is_ready)
        await world.clock.sleep(11 * 60)
        quiet = await world.repository.log("bumps")
        await world.clock.sleep(11 * 60)
        log, head = await world.repository.log("bumps"), await world.head("bumps")

    assert log == quiet
    assert len(log) == 3
    assert (head["app/web.yaml"], head["b/web.yaml"]) == (image_line("1.1.0"), image_line("1.1.0"))


@in_virtual_time
async def test_two_that_cannot_share_a_push_branch_do_not_fight_for_it() -> None:
    world = World()
    async with world.running():
        await begun(world, git=BUMPS)
        await world.put(GitRepository, "other", url=URL, interval="10m", ref={"branch": "bumps"})
        await world.automation("zeta", sourceRef={"kind": "GitRepository", "name": "other"})
        failed = await world.until(ImageUpdateAutomation, "zeta", has_failed)
        before = await world.repository.log("bumps")
        await bumped(world, "1.2.0")
        log = await world.repository.log("bumps")

    assert "is written by ImageUpdateAutomation 'default/fleet'" in ready_of(failed)["message"]
    assert log[1:] == before[1:]


@in_virtual_time
async def test_a_refspec_and_options_go_with_the_push() -> None:
    world = World()
    push = {"refspec": "refs/heads/main:refs/heads/auto", "options": {"ci.skip": "", "a": "b"}}
    async with world.running():
        await begun(world, git={"push": push})
        await world.repository.commit({"other.txt": b"1"})
        await bumped(world, "1.2.0")
        events = await world.events("ImageUpdateAutomation")
        log, auto, options = await world.repository.log(), await world.repository.log("auto"), world.repository.options

    assert log == auto
    assert options == ("a=b", "ci.skip")
    assert (
        f"pushed commit '{log[0][:7]}' to branch 'main' and refspecs 'refs/heads/main:refs/heads/auto'\n"
        "Update from image update automation"
    ) in events


@in_virtual_time
async def test_a_commit_is_signed_or_not_made() -> None:
    world = World()
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    commit = {"signingKey": {"type": "ssh", "secretRef": {"name": "key"}}}
    async with world.running():
        failed = await begun(world, commit=commit)
        unsigned = await world.repository.log()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": "default"}}
        await world.cluster.apply({**secret, "stringData": {"identity": key.decode()}}, field_manager="test")
        await world.until(ImageUpdateAutomation, "fleet", is_ready)
        log = await world.repository.log()
        raw = await world.repository.raw(log[0])

    assert ready_of(failed)["message"] == "signing key: failed to get secret 'default/key': not found"
    assert (len(unsigned), len(log)) == (1, 2)
    assert b"\ngpgsig -----BEGIN SSH SIGNATURE-----\n " in raw


@in_virtual_time
async def test_a_write_credential_of_its_own() -> None:
    """The GitRepository's Secret is not even looked at."""

    world = World()
    async with world.running():
        await world.repository.commit({"app/web.yaml": image_line("1.0.0").encode()})
        await world.scanned("1.0.0", "1.1.0")
        await world.policy()
        await world.source(secretRef={"name": "read-only"})
        await world.automation()
        failed = await world.until(ImageUpdateAutomation, "fleet", has_failed)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "writer", "namespace": "default"}}
        values = {"username": "bot", "password": "secret"}
        await world.cluster.apply({**secret, "stringData": values}, field_manager="test")
        await annotate(world, ImageUpdateAutomation, "fleet", {"sealoop.dev/write-secret": "writer"})
        await world.until(ImageUpdateAutomation, "fleet", is_ready)
        head, accesses = await world.head(), world.git.accesses

    assert "read-only" in ready_of(failed)["message"]
    assert head["app/web.yaml"] == image_line("1.1.0")
    assert {access.username for access in accesses} == {"bot"}


@in_virtual_time
async def test_commits_go_by_the_proxy_of_the_source() -> None:
    world = World()
    async with world.running():
        metadata, address = {"name": "proxy", "namespace": "default"}, {"address": "socks5://proxy:1080"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": address}
        await world.cluster.apply(secret, field_manager="test")
        await world.source("by-proxy", url="http://git.example.com/other.git", proxySecretRef={"name": "proxy"})
        await begun(world, sourceRef={"kind": "GitRepository", "name": "by-proxy"})
        found = [access.proxy for access in world.git.accesses if access.proxy is not None]

    assert [proxy.reveal_text() for proxy in found] == ["socks5://proxy:1080"]


@in_virtual_time
async def test_every_source_of_the_branch_is_woken_by_a_push() -> None:
    world = World()
    async with world.running():
        await world.namespace("prod", {})
        ours = {"url": URL.removesuffix(".git"), "interval": "10m", "ref": {"name": "refs/heads/main"}}
        await world.put(GitRepository, "same", namespace="prod", **ours)
        await world.put(GitRepository, "another", url=URL, interval="10m", ref={"branch": "other"})
        await world.put(GitRepository, "tag", url=URL, interval="10m", ref={"branch": "main", "tag": "v1"})
        await world.put(GitRepository, "asleep", url=URL, interval="10m", ref={"branch": "main"}, suspend=True)
        await begun(world)
        await world.clock.sleep(1)
        found = {}
        for namespace, name in (("prod", "same"), *(("default", n) for n in ("fleet", "another", "tag", "asleep"))):
            manifest = await world.get(GitRepository, name, namespace)
            found[name] = manifest["metadata"].get("annotations", {}).get(REQUESTED_AT)
        head = (await world.repository.log())[0]

    assert found == {"same": head, "fleet": head, "another": None, "tag": None, "asleep": None}


@pytest.mark.parametrize(
    ("operator", "proxy"),
    [(Policy(cross_namespace_references=False), False), (DEFAULT_POLICY, True)],
    ids=["references stay within", "a proxy may make commits up"],
)
@in_virtual_time
async def test_a_push_wakes_no_stranger(operator: Policy, proxy: bool) -> None:
    world = World()
    async with world.running(operator=operator):
        await world.namespace("prod", {})
        by_proxy = {"proxySecretRef": {"name": "proxy"}} if proxy else {}
        metadata, address = {"name": "proxy", "namespace": "default"}, {"address": "socks5://proxy:1080"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": address}
        await world.cluster.apply(secret, field_manager="test")
        for name, namespace in (("near", "default"), ("stranger", "prod")):
            await world.put(GitRepository, name, namespace=namespace, url=URL, interval="10m", ref={"branch": "main"})
        await world.source("own", **by_proxy)
        await begun(world, sourceRef={"kind": "GitRepository", "name": "own"})
        await world.clock.sleep(1)
        found = {}
        for namespace, name in (("prod", "stranger"), ("default", "near"), ("default", "own")):
            manifest = await world.get(GitRepository, name, namespace)
            found[name] = manifest["metadata"].get("annotations", {}).get(REQUESTED_AT)
        head = (await world.repository.log())[0]

    assert found == {"stranger": None, "near": head, "own": head}


@pytest.mark.parametrize(
    ("ref", "branch", "expected"),
    [
        (None, "master", True),
        (None, "main", False),
        ({}, "master", True),
        ({"branch": "main"}, "main", True),
        ({"branch": "main", "commit": "1" * 40}, "main", False),
        ({"branch": "main", "semver": "*"}, "main", False),
        ({"name": "refs/heads/main", "tag": "v1"}, "main", True),
        ({"branch": "main", "name": "refs/tags/v1"}, "main", False),
    ],
)
def test_a_source_tracks_the_branch_that_its_ref_resolves_to(ref: Any, branch: str, expected: bool) -> None:
    spec = {"url": URL, "interval": "1m"} | ({"ref": ref} if ref is not None else {})
    manifest = {"metadata": {"name": "x", "namespace": "y"}, "spec": spec}

    assert tracks(msgspec.convert(manifest, GitRepository), branch) == expected


@in_virtual_time
async def test_a_policy_deleted_before_the_push_is_not_committed() -> None:
    world = World()
    deleted = False

    async def race(deed: str, moment: str) -> None:
        nonlocal deleted
        if (deed, moment) == ("push", "before") and not deleted:
            deleted = True
            await world.cluster.delete(ObjectRef(ImagePolicy.KIND, ObjectKey("default", "app")))
            await world.repository.commit({"other.txt": b"so that the push is planned again\n"})
            await world.clock.sleep(1)

    async with world.running():
        world.git.fault = race
        manifest = await begun(world)
        head = await world.head()

    assert is_ready(manifest)
    assert head["app/web.yaml"] == image_line("1.0.0")
    assert manifest["status"]["markers"] == {"unmatched": 1}
    assert manifest["status"]["unsettled"][0]["file"] == "app/web.yaml"


@in_virtual_time
async def test_an_announced_push_stays_in_the_status_when_nobody_knows_whether_it_arrived() -> None:
    world = World()
    is_gone = False

    async def go(deed: str, moment: str) -> None:
        nonlocal is_gone
        is_gone |= (deed, moment) == ("push", "after")
        if is_gone:
            raise GitError("git: the connection was reset")

    async with world.running():
        world.git.fault = go
        await begun(world, git=BUMPS)
        failed = await world.until(ImageUpdateAutomation, "fleet", has_failed)
        main, bumps = await world.repository.log("main"), await world.repository.log("bumps")
        status, base, pushed, tree = failed["status"], main[0], bumps[0], world.repository.tree_of(bumps[0])

    assert status["pushing"] == {"parent": base, "tree": tree}
    assert status.get("lastPushCommit") != pushed
