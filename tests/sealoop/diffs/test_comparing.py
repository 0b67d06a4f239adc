"""`sealoop diff`: what the source fetched, against what is live."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click
import pytest

from gitops_core.api import GitRepository, Kustomization
from gitops_core.commands.diff import Differ, Unwritten
from gitops_core.component import make_sources
from gitops_core.errors import GitAccessDenied, GitOpsError
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.ports import NO_CLOUDS
from gitops_core.reconcilers.folders import Folders
from gitops_core.reconcilers.remoteclusters import RemoteClusters
from gitops_core.reconcilers.targets import Targets
from sealoop.diffs.comparing import Asking, show_differences
from tests.gitops_core.commands.test_plan import make_builder
from tests.gitops_core.reconcilers.world import CONFIG_MAP, World, config_map
from tests.servers.sops import SECRET_FIELDS, AgeKey
from tests.servers.sops import encrypt as run_sops
from tests.simulation.loop import in_virtual_time

FILES = {"apps/a.yaml": config_map("a", "1"), "apps/b.yaml": config_map("b", "1")}


POST_BUILD = {"substituteFrom": [{"kind": "ConfigMap", "name": "v", "optional": True}]}
DECRYPTION = {"provider": "sops", "secretRef": {"name": "keys"}}


async def begin(files: dict[str, str] = FILES, **spec: Any) -> World:
    world = World()
    await world.begin(files)
    await world.sync("apps", "./apps", **spec)
    return world


def make_differ(world: World, *, is_abroad: bool = False) -> Differ:
    platform = world.platform
    folders = Folders(make_sources(platform).get_kinds(), platform.compute)
    remotes = RemoteClusters(platform.cluster, NO_CLOUDS, platform.policy)
    targets = Targets(platform.cluster, platform.clusters, platform.clock, platform.policy, remotes)
    return Differ(platform, world.cluster, folders, make_builder(world.cluster), targets, is_abroad=is_abroad)


async def compare(
    world: World, *words: str, output: str = "text", everywhere: bool = False, is_abroad: bool = False
) -> tuple[int, int]:
    before = len(world.cluster.requests)
    found = await show_differences(
        make_differ(world, is_abroad=is_abroad), words, Asking("default", everywhere, output)
    )
    assert [one for one in world.cluster.since(before, "apply", "create", "patch", "delete") if not one[2]] == []
    return found


async def fetch(world: World, files: dict[str, str | None]) -> str:
    """Commit, and have the source fetch it, while its Kustomization is suspended."""
    await world.sync("apps", "./apps", suspend=True)
    return await world.commit_and_sync(files)


@in_virtual_time
async def test_what_was_fetched_and_not_applied_is_told_before_it_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        old = (await world.kustomization("apps"))["status"]["lastAppliedRevision"]
        changed = {"apps/a.yaml": config_map("a", "2"), "apps/b.yaml": None, "apps/c.yaml": config_map("c", "1")}
        new = f"main@sha1:{await fetch(world, changed)}"
        counted = await compare(world, "apps")
        told = capsys.readouterr().out.splitlines()
        await world.sync("apps", "./apps", suspend=False)
        await asyncio.sleep(90)
        after = await compare(world, "ks/apps")

    assert counted == (3, 0)
    assert told == [
        f"Kustomization/default/apps at {new} (applied: {old})",
        "  it is suspended: nothing of this happens before it is resumed",
        "~ ConfigMap/default/a configured",
        "    data.a: 1 -> 2",
        "+ ConfigMap/default/c created",
        "- ConfigMap/default/b deleted",
        "Plan: 1 to create, 1 to change, 1 to delete, 0 unchanged.",
    ]
    assert after == (0, 0)
    assert capsys.readouterr().out.splitlines() == [
        f"Kustomization/default/apps at {new} (applied)",
        "Plan: nothing to do, 2 unchanged.",
    ]


@in_virtual_time
async def test_drift_is_told_from_what_git_changes(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin({**FILES, "apps/c.yaml": config_map("c", "1"), "apps/d.yaml": config_map("d", "1")})
    async with world.running():
        await asyncio.sleep(5)
        await fetch(world, {"apps/a.yaml": config_map("a", "2"), "apps/e.yaml": config_map("e", "1")})
        by_hand = {"data": {"a": "9"}}
        await world.local.patch(ObjectRef(CONFIG_MAP, ObjectKey("default", "b")), by_hand, field_manager="kubectl-edit")
        await world.delete(CONFIG_MAP, "c")
        assert await compare(world, "apps", output="json") == (4, 0)

    (told,) = json.loads(capsys.readouterr().out)
    found = {one["object"]: (one["change"], one["drift"], one["fields"]) for one in told["objects"]}
    assert found == {
        "ConfigMap/default/a": ("configured", False, [{"path": "data.a", "old": "1", "new": "2", "by": ""}]),
        "ConfigMap/default/b": ("configured", True, [{"path": "data.a", "old": "9", "new": "1", "by": "kubectl-edit"}]),
        "ConfigMap/default/c": ("created", True, []),
        "ConfigMap/default/d": ("unchanged", False, []),
        "ConfigMap/default/e": ("created", False, []),
    }


@pytest.mark.parametrize(
    ("commit", "spec", "is_drift"),
    [
        ({"README.md": "not applied"}, {}, True),
        ({"apps/b.yaml": config_map("b", "2")}, {}, False),
        ({}, {"wait": True}, True),
        ({}, {"commonMetadata": {"labels": {"a": "b"}}}, False),
        ({}, {"postBuild": POST_BUILD}, False),
    ],
)
@in_virtual_time
async def test_a_field_that_somebody_took_out_is_drift_where_the_same_build_was_applied_last(
    commit: dict[str, str | None], spec: dict[str, Any], is_drift: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        await fetch(world, commit)
        await world.sync("apps", "./apps", suspend=True, **spec)
        ref = ObjectRef(CONFIG_MAP, ObjectKey("default", "a"))
        await world.local.patch(ref, {"data": {"a": None}}, field_manager="kubectl-edit")
        await compare(world, "apps")

    told = capsys.readouterr().out
    assert f"~ ConfigMap/default/a configured{' (drift)' * is_drift}\n" in told
    assert "    data.a: + 1\n" in told or "    data: + " in told


@in_virtual_time
async def test_a_variable_that_is_another_by_now_is_no_drift(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin({"apps/a.yaml": config_map("a", "${key}")}, postBuild=POST_BUILD)
    variables = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "v", "namespace": "default"}}
    await world.local.create({**variables, "data": {"key": "one"}}, field_manager="test")
    async with world.running():
        await asyncio.sleep(30)
        await world.local.patch(ObjectRef.of(variables), {"data": {"key": "other"}}, field_manager="test")
        await compare(world, "apps")

    assert "~ ConfigMap/default/a configured\n    data.a: one -> other\n" in capsys.readouterr().out


@in_virtual_time
async def test_a_kustomization_that_cannot_be_compared_keeps_no_other_from_being_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = await begin()
    await world.sync("absent", "./none")
    await world.sync("prefixed", "./apps", namePrefix="other-")
    await world.sync("sourceless", "./apps", sourceRef={"kind": "GitRepository", "name": "none"})
    await world.sync("elsewhere", "./apps", kubeConfig={"secretRef": {"name": "there"}})
    async with world.running():
        await asyncio.sleep(5)
        assert await compare(world, "ks", everywhere=True, is_abroad=True) == (0, 3)
        told = capsys.readouterr()
        assert await compare(world, output="json") == (0, 3)
        whole = json.loads(capsys.readouterr().out)
        assert await compare(world, "ks/apps", "ks/none", output="markdown") == (0, 1)

    revision = whole[1]["revision"]
    assert told.out.splitlines() == [
        f"Kustomization/default/apps at {revision} (applied)",
        "Plan: nothing to do, 2 unchanged.",
        "",
        f"Kustomization/default/prefixed at {revision} (applied)",
        "Plan: nothing to do, 2 unchanged.",
    ]
    assert told.err.splitlines() == [
        f"Error: Kustomization/default/absent: kustomization path not found: none is not a folder of {revision}",
        "Error: Kustomization/default/elsewhere: the kubeconfig in Secret/default/there (value or value.yaml)"
        " is not there",
        'Error: Kustomization/default/sourceless: gitrepositories.source.toolkit.fluxcd.io "none" not found in default',
    ]
    assert [one["kustomization"].rpartition("/")[2] for one in whole if "error" in one] == [
        "absent",
        "elsewhere",
        "sourceless",
    ]
    assert "### Kustomization/default/none\n\n    Kustomization/default/none not found\n" in capsys.readouterr().out


@in_virtual_time
async def test_files_of_others_are_not_sent_to_a_server_that_a_tenant_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = await begin()
    source = {"kind": "GitRepository", "name": "r", "namespace": "others"}
    await world.sync("modest", "./apps", kubeConfig={"secretRef": {"name": "mine"}}, suspend=True)
    await world.sync("greedy", "./apps", sourceRef=source, kubeConfig={"secretRef": {"name": "mine"}}, suspend=True)
    async with world.running():
        await asyncio.sleep(5)
        before = len(world.cluster.requests)
        assert await compare(world, "greedy", is_abroad=True) == (0, 1)
        assert [one for one in world.cluster.since(before) if "Secret" in one[1] or "GitRepository" in one[1]] == []

        assert await compare(world, "modest") == (0, 1)

    told = capsys.readouterr().err
    assert "takes the files of namespace 'others' to another cluster (spec.kubeConfig)" in told
    assert "Kustomization/default/modest is for another cluster (spec.kubeConfig): --other-clusters sends" in told


@in_virtual_time
async def test_what_keeps_it_from_happening_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    await world.sync("later", "./apps", namePrefix="later-", dependsOn=[{"name": "none"}, {"name": "apps"}])
    async with world.running():
        await asyncio.sleep(5)
        await fetch(world, {"apps/a.yaml": config_map("a", "2")})
        await compare(world, "later")

    notes = capsys.readouterr().out.splitlines()[1:3]
    assert notes[0].startswith("  it waits: dependency 'default/none' not found")
    assert notes[1].startswith("  it waits: dependency 'default/apps' ")


@in_virtual_time
async def test_deletions_beyond_the_limit_are_refused_as_the_service_does_until_they_are_confirmed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [f"m{number}" for number in range(20)]
    world = await begin({f"apps/{name}.yaml": config_map(name, "1") for name in names})
    async with world.running():
        await asyncio.sleep(5)
        commit = await fetch(world, {f"apps/{name}.yaml": None for name in names[1:]})
        assert await compare(world, "apps") == (0, 1)
        assert (
            f"confirm this with the annotation sealoop.dev/confirm-prune: main@sha1:{commit}" in capsys.readouterr().err
        )
        confirmed = {"metadata": {"annotations": {"sealoop.dev/confirm-prune": commit}}}
        about = ObjectRef(Kustomization.KIND, ObjectKey("default", "apps"))
        await world.local.patch(about, confirmed, field_manager="test")
        assert await compare(world, "apps") == (19, 0)


@in_virtual_time
async def test_files_that_cannot_be_fetched_from_here_lead_to_a_checkout(capsys: pytest.CaptureFixture[str]) -> None:
    async def refuse(deed: str, moment: str) -> None:
        raise GitAccessDenied("the remote refused the credentials")

    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        world.git.fault = refuse
        assert await compare(world, "apps") == (0, 1)

    assert capsys.readouterr().err == (
        "Error: Kustomization/default/apps: the files of GitRepository/default/r cannot be read from here:"
        " the remote refused the credentials; where you have them: sealoop plan ks/apps -n default --checkout DIR\n"
    )


@in_virtual_time
async def test_values_of_secrets_are_told_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    def secret(value: str) -> str:
        about = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
        return json.dumps({**about, "stringData": {"password": value, "same": "unchanged"}})

    world = await begin({"apps/s.yaml": secret("first-secret")})
    async with world.running():
        await asyncio.sleep(5)
        await fetch(world, {"apps/s.yaml": secret("other-secret")})
        for output in ("text", "json", "markdown"):
            assert await compare(world, "apps", output=output) == (1, 0)

    told = capsys.readouterr().out
    assert told.count("data.password: *** -> ***") == 2
    assert "same" not in told
    assert not any(word in told for word in ("first-secret", "other-secret", "b3RoZXIt", "Zmlyc3Qt"))


@in_virtual_time
async def test_what_sops_encrypted_is_compared_in_the_clear_and_told_nowhere(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def encrypt(value: str) -> str:
        about = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
        text = json.dumps({**about, "stringData": {"password": value}})
        return run_sops(tmp_path, text, *SECRET_FIELDS, age=key).decode()

    key = AgeKey.make()
    world = await begin({"apps/s.yaml": encrypt("first-secret")}, decryption=DECRYPTION)
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "default"}}
    await world.local.create({**keys, "stringData": {"own.agekey": key.identity}}, field_manager="test")
    async with world.running():
        await asyncio.sleep(90)
        await world.sync("apps", "./apps", suspend=True, decryption=DECRYPTION)
        await world.commit_and_sync({"apps/s.yaml": encrypt("first-secret")})
        assert await compare(world, "apps") == (0, 0)
        await world.commit_and_sync({"apps/s.yaml": encrypt("other-secret")})
        assert await compare(world, "apps") == (1, 0)
        told = capsys.readouterr()
        await world.sync("apps", "./apps", suspend=True)
        assert await compare(world, "apps") == (0, 1)
        refused = capsys.readouterr()

    assert "    data.password: *** -> ***\n" in told.out
    assert not any(word in told.out for word in ("first-secret", "other-secret", "ENC["))
    assert "Secret/default/s is SOPS encrypted, configuring decryption is required" in refused.err


@in_virtual_time
async def test_what_is_being_deleted_or_is_no_kustomization_is_not_compared(
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        differ = make_differ(world)
    await world.delete(Kustomization.KIND, "apps")

    assert await show_differences(differ, ["apps"], Asking("default")) == (0, 1)
    assert "is being deleted: nothing of it is applied any more" in capsys.readouterr().err
    with pytest.raises(click.UsageError, match="a diff is one of Kustomizations, and not of a ConfigMap"):
        await show_differences(differ, ["cm/a"], Asking("default"))
    with pytest.raises(click.UsageError, match="an object cannot be named across all namespaces"):
        await show_differences(differ, ["apps"], Asking("default", all_namespaces=True))


@in_virtual_time
async def test_a_namespace_without_kustomizations_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    world = await begin()
    async with world.running():
        await asyncio.sleep(5)
        differ = make_differ(world)
        assert await show_differences(differ, [], Asking("shop", output="json")) == (0, 0)

    told = capsys.readouterr()
    assert (json.loads(told.out), told.err) == ([], "No Kustomizations found in shop namespace.\n")


@in_virtual_time
async def test_nothing_is_written_whoever_asks_for_it() -> None:
    world = await begin()
    ref = ObjectRef(GitRepository.KIND, ObjectKey("default", "r"))

    with pytest.raises(GitOpsError, match="nothing is written"):
        await Unwritten(world.local).delete(ref)
    await Unwritten(world.local).delete(ref, dry_run=True)
    assert await world.repository_object() is not None
