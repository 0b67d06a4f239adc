"""ImageUpdateAutomation: what the policies chose becomes one commit, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops_core.api import GitRepository
from gitops_core.errors import GitError
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.ports import GitRef
from image_updater.api import ImagePolicy, ImageRepository, ImageUpdateAutomation
from image_updater.domain.tags.scans import REQUESTED_AT
from tests.image_updater.world import IMAGE, URL, World, conditions, has_failed, image_line, is_ready
from tests.simulation.loop import in_virtual_time, virtually

GOLDEN = Path(__file__).parents[1] / "golden/data/flux"


def ready_of(manifest: Any) -> dict[str, str]:
    return next(c for c in conditions(manifest) if c["type"] == "Ready")


def has_chosen(tag: str, policy: Any) -> bool:
    return bool(policy["status"]["latestRef"]["tag"] == tag)


async def chosen(world: World, *tags: str) -> None:
    """Tags in the registry, and a policy that has chosen the newest."""
    await world.scanned(*tags)
    await world.policy()
    await world.until(ImagePolicy, "app", is_ready)


async def begun(world: World, before: str = "1.0.0", **automation: Any) -> Any:
    """A repository with one marked file, tags 1.0.0 and 1.1.0, and the automation once it is through."""
    await world.repository.commit({"app/web.yaml": image_line(before).encode(), "README.md": b"hello\n"})
    await chosen(world, "1.0.0", "1.1.0")
    await world.source()
    await world.automation(**automation)
    return await world.until(ImageUpdateAutomation, "fleet", lambda o: is_ready(o) or has_failed(o))


@in_virtual_time
async def test_a_new_tag_becomes_a_commit_like_the_originals() -> None:
    world = World()
    async with world.running():
        manifest = await begun(world)
        remote = world.git.get_remote(URL)
        info = await remote.describe(await remote.resolve(GitRef(branch="main")))
        events = await world.events("ImageUpdateAutomation")
        head, log = await world.head(), list(await world.repository.log())

    assert head == {"app/web.yaml": image_line("1.1.0"), "README.md": "hello\n"}
    assert len(log) == 2
    assert events == [f"pushed commit '{log[0][:7]}' to branch 'main'\nUpdate from image update automation"]
    assert (info.author.name, info.author.email) == ("", "bot@example.com")
    assert info.message == "Update from image update automation"
    recorded = yaml.safe_load((GOLDEN / "c-imageupdateautomation-plain.yaml").read_text())["status"]
    status = manifest["status"]
    assert status.keys() == recorded.keys() | {"markers"}
    assert status["markers"] == {"applied": 1}
    assert conditions(manifest) == conditions({"status": recorded})
    assert status["observedPolicies"] == {"app": {"name": IMAGE, "tag": "1.1.0"}}
    assert status["lastPushCommit"] == log[0]
    assert status["observedSourceRevision"] == f"main@sha1:{log[0]}"


@in_virtual_time
async def test_a_cluster_without_update_guards_needs_none() -> None:
    world = World()
    async with world.running(kinds=(GitRepository, ImageRepository, ImagePolicy, ImageUpdateAutomation)):
        assert is_ready(await begun(world))
        result = await world.head()
    assert result["app/web.yaml"] == image_line("1.1.0")


@in_virtual_time
async def test_the_next_tag_is_committed_without_waiting_for_an_interval() -> None:
    world = World()
    async with world.running():
        await begun(world)
        world.fakes.push(IMAGE, "1.2.0")
        await world.until(ImagePolicy, "app", lambda o: o["status"]["latestRef"]["tag"] == "1.2.0")
        before = world.clock.monotonic()
        while (await world.head())["app/web.yaml"] != image_line("1.2.0"):
            await world.clock.sleep(0.01)
        result = world.clock.monotonic() - before
    assert result < 1


@in_virtual_time
async def test_nothing_new_costs_one_question_and_nothing_else() -> None:
    world = World()
    deeds: Counter[str] = Counter()

    async def count(deed: str, moment: str) -> None:
        deeds[f"{deed} {moment}"] += 1

    async with world.running():
        await begun(world)
        await world.clock.sleep(20)
        world.git.fault = count
        await world.clock.sleep(5 * 60)  # one interval
    assert deeds == {"resolve before": 1, "resolve after": 1}


@in_virtual_time
async def test_the_source_is_woken_once_for_each_commit() -> None:
    world = World()
    async with world.running():
        await begun(world)
        source = await world.until(
            GitRepository, "fleet", lambda o: REQUESTED_AT in o["metadata"].get("annotations", {})
        )
        before = source["metadata"]["resourceVersion"]
        await world.clock.sleep(20 * 60)
        after = (await world.get(GitRepository, "fleet"))["metadata"]["resourceVersion"]
        log = await world.repository.log()
        token, head, writes = source["metadata"]["annotations"][REQUESTED_AT], log[0], int(after) - int(before)

    assert token == head
    assert writes == 0


@in_virtual_time
async def test_a_lost_race_is_planned_again_at_once() -> None:
    world = World()
    raced = 0

    async def race(deed: str, moment: str) -> None:
        nonlocal raced
        if (deed, moment) == ("push", "before") and raced < 3:
            raced += 1
            await world.repository.commit({f"other{raced}.txt": b"mine\n"})

    async with world.running():
        world.git.fault = race
        before = world.clock.monotonic()
        manifest = await begun(world)
        head, log, took = await world.head(), list(await world.repository.log()), world.clock.monotonic() - before

    assert head["app/web.yaml"] == image_line("1.1.0")
    assert {"other1.txt", "other2.txt", "other3.txt"} <= head.keys()
    assert len(log) == 5
    assert ready_of(manifest)["status"] == "True"
    assert took < 5


@in_virtual_time
async def test_a_branch_that_never_stands_still_is_a_failure_that_is_retried() -> None:
    world = World()
    moving = True

    async def race(deed: str, moment: str) -> None:
        if (deed, moment) == ("push", "before") and moving:
            await world.repository.commit({"other.txt": str(world.clock.monotonic()).encode()})

    async with world.running():
        world.git.fault = race
        failed = await begun(world)
        moving = False
        await world.until(ImageUpdateAutomation, "fleet", is_ready)
        head = await world.head()

    assert ready_of(failed)["reason"] == "GitOperationFailed"
    assert ready_of(failed)["message"] == f"branch 'main' of {URL} moved 20 times while we tried to push"
    assert head["app/web.yaml"] == image_line("1.1.0")


@in_virtual_time
async def test_a_push_whose_answer_was_lost_is_not_made_twice() -> None:
    world = World()
    lost = False

    async def lose(deed: str, moment: str) -> None:
        nonlocal lost
        if (deed, moment) == ("push", "after") and not lost:
            lost = True
            raise GitError("git push: the connection was reset")

    async with world.running():
        world.git.fault = lose
        manifest = await begun(world)
        log, events = list(await world.repository.log()), await world.events("ImageUpdateAutomation")

    assert len(log) == 2
    assert manifest["status"]["lastPushCommit"] == log[0]
    assert events == [f"pushed commit '{log[0][:7]}' to branch 'main'\nUpdate from image update automation"]


@in_virtual_time
async def test_a_push_that_did_not_arrive_is_an_error_that_is_retried() -> None:
    world = World()
    failures = 0

    async def fail(deed: str, moment: str) -> None:
        nonlocal failures
        if (deed, moment) == ("push", "before") and failures < 2:
            failures += 1
            raise GitError("git push: the remote is away")

    async with world.running():
        world.git.fault = fail
        failed = await begun(world)
        await world.until(ImageUpdateAutomation, "fleet", is_ready)
        log = list(await world.repository.log())

    assert ready_of(failed) == {
        "type": "Ready",
        "status": "False",
        "reason": "GitOperationFailed",
        "message": "git push: the remote is away",
    }
    assert len(log) == 2


@in_virtual_time
async def test_a_protected_branch_is_said_to_be_one() -> None:
    world = World()
    async with world.running():
        await world.repository.refuse("protected branch")
        manifest, log = await begun(world), list(await world.repository.log())

    assert ready_of(manifest)["reason"] == "GitOperationFailed"
    assert "protected branch" in ready_of(manifest)["message"]
    assert len(log) == 1


@in_virtual_time
async def test_ten_writers_lose_nothing() -> None:
    world = World()
    async with world.running():
        await begun(world, before="1.1.0")

        async def write(number: int) -> None:
            for turn in range(5):
                await world.clock.sleep(0.3 * ((number * 7 + turn * 3) % 10))
                await world.repository.commit({f"writer{number}.txt": f"{turn}\n".encode()})

        async def bump() -> None:
            for minor in range(2, 7):
                tag = f"1.{minor}.0"
                world.fakes.push(IMAGE, tag)
                await world.until(ImagePolicy, "app", partial(has_chosen, tag))

        await asyncio.gather(bump(), *(write(number) for number in range(10)))
        await world.clock.sleep(10)
        head, log = await world.head(), list(await world.repository.log())

    assert head["app/web.yaml"] == image_line("1.6.0")
    assert [head[f"writer{number}.txt"] for number in range(10)] == ["4\n"] * 10
    assert len(log) == 1 + 50 + 5


@pytest.mark.parametrize(("path", "changed"), [("./app", True), ("app/", True), ("other", False)])
@in_virtual_time
async def test_only_the_update_path_is_touched(path: str, changed: bool) -> None:
    world = World()
    async with world.running():
        await world.repository.commit({"other/x.yaml": b"a: 1\n", "elsewhere.yaml": image_line("1.0.0").encode()})
        manifest = await begun(world, update={"path": path, "strategy": "Setters"})
        head = await world.head()

    assert is_ready(manifest)
    assert head["elsewhere.yaml"] == image_line("1.0.0")
    assert head["app/web.yaml"] == image_line("1.1.0" if changed else "1.0.0")


@in_virtual_time
async def test_a_missing_update_path_is_said() -> None:
    world = World()
    async with world.running():
        ready = ready_of(await begun(world, update={"path": "nowhere", "strategy": "Setters"}))

    assert ready["reason"] == "UpdateFailed"
    assert "has no folder 'nowhere'" in ready["message"]


def test_the_message_template_sees_the_changes() -> None:
    template = (
        "{{ range $file, $objects := .Changed.FileChanges }}{{ $file }}: {{ range $object, $changes := $objects }}"
        "{{ $object.Kind }}/{{ $object.Name }}{{ range $changes }} {{ .OldValue }} -> {{ .NewValue }} by {{ .Setter }}"
        "{{ end }}{{ end }}\n{{ end }}{{ .AutomationObject.Namespace }} {{ .AutomationObject }} {{ .Values.team }}"
        " {{ len .Changed.Changes }} {{ .Values.team | sha256sum | trunc 8 }} "
        "{{ range $o, $_ := .Changed.Objects }}{{ $o }}{{ end }}"
    )
    line = image_line("1.0.0")

    async def scenario() -> str:
        world = World()
        async with world.running():
            pod = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  {line}"
            await world.repository.commit({"b.yaml": pod.encode(), "a.yaml": pod.replace("web", "api").encode()})
            await begun(
                world,
                before="1.1.0",
                commit={"messageTemplate": template, "messageTemplateValues": {"team": "blue"}},
            )
            remote = world.git.get_remote(URL)
            return (await remote.describe(await remote.resolve(GitRef(branch="main")))).message

    change = f"{IMAGE}:1.0.0 -> {IMAGE}:1.1.0 by default:app"
    objects = "{{{v1 Pod} {api }}}{{{v1 Pod} {web }}}"
    assert virtually(scenario()) == (
        f"a.yaml: Pod/api {change}\nb.yaml: Pod/web {change}\ndefault default/fleet blue 1 16477688 {objects}"
    )


@pytest.mark.parametrize(
    ("spec", "reason", "message", "stalled"),
    [
        (
            {"commit": {"messageTemplate": "{{ .Updated.Images }}"}},
            "RemovedTemplateField",
            "template uses removed '.Updated' field. Please use '.Changed' instead. "
            "See: https://fluxcd.io/flux/components/image/imageupdateautomations/#message-template",
            True,
        ),
        (
            {"commit": {"messageTemplate": "{{ .Changed.ImageResult }}"}},
            "RemovedTemplateField",
            "template uses removed '.Changed.ImageResult' field. Please use '.Changed.FileChanges' or "
            "'.Changed.Objects' instead. "
            "See: https://fluxcd.io/flux/components/image/imageupdateautomations/#message-template",
            True,
        ),
        (
            {"commit": {"messageTemplate": "\n{{ nope }}"}},
            "GitOperationFailed",
            "unable to create commit message template from spec: "
            'template: commit message:2: function "nope" not defined',
            False,
        ),
        (
            {"sourceRef": {"kind": "GitRepository", "name": "nothere"}},
            "SourceManagerFailed",
            'failed to get source: gitrepositories.source.toolkit.fluxcd.io "nothere" not found',
            False,
        ),
        (
            {"policySelector": {"matchExpressions": [{"key": "app", "operator": "Is", "values": ["web"]}]}},
            "InvalidPolicySelector",
            "policySelector: operator 'Is' of label 'app' does not fit its values",
            True,
        ),
        (
            {"git": {"checkout": {"ref": {"tag": "v1"}}}},
            "InvalidSourceConfiguration",
            "push spec not provided, and cannot be inferred from .spec.git.checkout.ref or GitRepository .spec.ref: "
            "invalid source configuration",
            True,
        ),
        (
            {"git": {"checkout": {"ref": {"branch": "nothere"}}}},
            "GitOperationFailed",
            "has no ref 'nothere'",
            False,
        ),
    ],
)
@in_virtual_time
async def test_a_failure_is_named_in_the_condition(
    spec: dict[str, Any], reason: str, message: str, stalled: bool
) -> None:
    world = World()
    async with world.running():
        manifest, log = await begun(world, **spec), list(await world.repository.log())

    assert len(log) == 1
    ready = ready_of(manifest)
    assert (ready["reason"], ready["status"]) == (reason, "False")
    assert ready["message"].endswith(message)
    assert any(c["type"] == "Stalled" for c in conditions(manifest)) == stalled
    assert manifest["status"]["lastAutomationRunTime"]


@in_virtual_time
async def test_without_git_there_is_nothing_to_do_and_it_is_said() -> None:
    world = World()
    async with world.running():
        await world.put(
            ImageUpdateAutomation, "bare", sourceRef={"kind": "GitRepository", "name": "fleet"}, interval="5m"
        )
        ready = ready_of(await world.until(ImageUpdateAutomation, "bare", has_failed))

    assert ready["reason"] == "InvalidSourceConfiguration"
    assert ready["message"] == (
        "source kind 'GitRepository' necessitates field .spec.git: invalid source configuration"
    )


@in_virtual_time
async def test_only_selected_policies_count() -> None:
    world = World()
    async with world.running():
        manifest = await begun(world, policySelector={"matchLabels": {"team": "blue"}})
        assert manifest["status"].get("observedPolicies", {}) == {}
        ref = ObjectRef(ImagePolicy.KIND, ObjectKey("default", "app"))
        patch = {"metadata": {"labels": {"team": "blue"}}}
        await world.cluster.patch(ref, patch, field_manager="test")
        manifest = await world.until(
            ImageUpdateAutomation, "fleet", lambda o: o["status"].get("observedPolicies", {}) != {}
        )
        head = await world.head()

    assert list(manifest["status"]["observedPolicies"]) == ["app"]
    assert head["app/web.yaml"] == image_line("1.1.0")


@in_virtual_time
async def test_two_automations_of_one_branch_do_not_disturb_each_other() -> None:
    world = World()
    async with world.running():
        await world.automation("second")
        await begun(world)
        await world.until(ImageUpdateAutomation, "second", is_ready)
        await world.clock.sleep(60)
        events = await world.events("ImageUpdateAutomation")
        head, log = await world.head(), list(await world.repository.log())

    assert head["app/web.yaml"] == image_line("1.1.0")
    assert len(log) == 2
    assert sum(message.startswith("pushed commit") for message in events) == 1


@in_virtual_time
async def test_somebody_elses_new_marker_is_found_by_the_next_look() -> None:
    world = World()
    async with world.running():
        await begun(world)
        await world.repository.commit({"late.yaml": image_line("0.9.0").encode()})
        await world.clock.sleep(6 * 60)
        result = await world.head()
    assert result["late.yaml"] == image_line("1.1.0")


@in_virtual_time
async def test_a_policy_that_fails_now_still_counts_with_what_it_chose() -> None:
    world = World()
    async with world.running():
        await world.repository.commit({"app/web.yaml": image_line("1.0.0").encode()})
        await chosen(world, "1.0.0", "1.1.0")
        await world.policy(range_=">=9")
        await world.until(ImagePolicy, "app", has_failed)
        await world.until(ImageRepository, "app", is_ready)
        await world.source()
        await world.automation()
        await world.until(ImageUpdateAutomation, "fleet", is_ready)
        result = await world.head()
    assert result["app/web.yaml"] == image_line("1.1.0")


@in_virtual_time
async def test_pushes_are_counted_by_their_result() -> None:
    world = World()
    troubles = ["race", "race", "away"]

    async def trouble(deed: str, moment: str) -> None:
        if (deed, moment) == ("push", "before") and troubles:
            if troubles.pop(0) == "away":
                raise GitError("git push: the remote is away")
            await world.repository.commit({f"other{len(troubles)}.txt": b"mine\n"})

    async with world.running():
        world.git.fault = trouble
        await begun(world)
        await world.until(ImageUpdateAutomation, "fleet", is_ready)
        sample = world.metrics.registry.get_sample_value
        results = ("Conflict", "GitOperationFailed", "Succeeded")
        result = {result: sample("sealoop_git_pushes_total", {"result": result}) for result in results}
    assert result == {"Conflict": 2, "GitOperationFailed": 1, "Succeeded": 1}
