"""Pull requests in a whole world: opened, kept current, taken back, and what people say by closing them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gitops_core.errors import RegistryUnavailable
from gitops_core.meta import ObjectKey, ObjectRef
from image_updater.api import ImagePolicy, ImageRepository, ImageUpdateAutomation
from image_updater.domain.forges.proposals import LABEL
from image_updater.errors import ForgeUnavailable
from tests.image_updater.world import IMAGE, URL, World, has_failed, image_line, is_ready
from tests.simulation.fakes.forge import FakeForge
from tests.simulation.fakes.registry import no_fault
from tests.simulation.loop import in_virtual_time

BRANCH = "bumps"
ASKED = {"sealoop.dev/pull-request": "gitea", "sealoop.dev/pull-request-labels": "bump, automated"}


class Asking(World):
    """A world whose automation asks for pull requests; `forge` is that of its repository."""

    @property
    def forge(self) -> FakeForge:
        return self.forges.forges[URL]

    async def begin(
        self, *, branch: str = BRANCH, url: str = URL, source: Mapping[str, Any] = {}, **annotations: str
    ) -> None:
        """One marked file at 1.0.0, and tags 1.0.0 and 1.1.0, whose images say where they come from."""
        self.forges.forges[url] = FakeForge(url.removesuffix(".git"), self.forges.fault)
        self.forges.forges[url].branches |= {"main", "release", BRANCH}
        self.forges.forges[url].known |= {"bump"}
        await self.repository.commit({"app/web.yaml": image_line("1.0.0").encode()})
        for tag, revision in (("1.0.0", "0a1b2c3"), ("1.1.0", "1f2e3d4")):
            labels = {LABEL + "source": "https://github.com/org/app", LABEL + "revision": revision}
            self.fakes.describe(IMAGE, self.fakes.push(IMAGE, tag), labels=labels)
        await self.put(ImageRepository, "app", image=IMAGE, interval="1m")
        await self.policy()
        await self.until(ImagePolicy, "app", is_ready)
        await self.source(url=url, **source)
        await self.ask(branch=branch, **annotations)

    async def ask(self, *, branch: str = BRANCH, **annotations: str) -> None:
        spec = {
            "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            "interval": "5m",
            "git": {"commit": {"author": {"email": "bot@example.com"}}, "push": {"branch": branch}},
            "update": {"path": "./app", "strategy": "Setters"},
        }
        named = {f"sealoop.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
        metadata = {"name": "fleet", "namespace": "default", "annotations": {**ASKED, **named}}
        kind = ImageUpdateAutomation.KIND
        manifest = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}
        await self.cluster.apply(manifest, field_manager="test", force=True)

    async def release(self, tag: str) -> None:
        """A new tag, seen by the next scan."""
        self.fakes.describe(IMAGE, self.fakes.push(IMAGE, tag))
        await self.until(ImagePolicy, "app", lambda o: o["status"].get("latestRef", {}).get("tag") == tag)

    async def opened(self, number: int = 1) -> Any:
        """The automation, once it names that pull request."""
        url = f"{URL.removesuffix('.git')}/pulls/{number}"
        return await self.until(ImageUpdateAutomation, "fleet", lambda o: o["status"].get("pullRequest") == url)

    async def look(self) -> Any:
        """The automation after one more run."""
        now = str(self.clock.monotonic())
        patch = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": now}}}
        ref = ObjectRef(ImageUpdateAutomation.KIND, ObjectKey("default", "fleet"))
        await self.cluster.patch(ref, patch, field_manager="person")
        return await self.until(
            ImageUpdateAutomation, "fleet", lambda o: o["status"].get("lastHandledReconcileAt") == now
        )

    async def answered(self) -> dict[str, str]:
        """The Ready condition of a run that failed."""
        manifest = await self.until(ImageUpdateAutomation, "fleet", has_failed)
        return next(c for c in manifest["status"]["conditions"] if c["type"] == "Ready")


@asynccontextmanager
async def proposed() -> AsyncIterator[Asking]:
    """Run a process that has opened pull request 1, for 1.1.0."""
    world = Asking()
    async with world.running():
        await world.begin()
        await world.opened()
        yield world


@in_virtual_time
async def test_a_new_tag_becomes_a_pull_request_that_says_why() -> None:
    world = Asking()
    async with world.running():
        await world.begin()
        manifest = await world.opened()

        (pull,) = world.forge.pulls.values()
        assert (pull.head, pull.base, pull.state) == (BRANCH, "main", "open")
        assert pull.title == f"Update {IMAGE} to 1.1.0"
        assert f"| `default:app` | `{IMAGE}` | `1.0.0` | `1.1.0` |" in pull.body
        assert f"| `app/web.yaml` | 1 | `{IMAGE}:1.0.0` | `{IMAGE}:1.1.0` |" in pull.body
        assert "- policy `default:app`: `semver >=1.0` chose `1.1.0`" in pull.body
        assert "[changes](https://github.com/org/app/compare/0a1b2c3...1f2e3d4)" in pull.body
        assert world.forge.labelled == {1: {"bump"}}
        assert await world.head(BRANCH) == {"app/web.yaml": image_line("1.1.0")}
        assert await world.head() == {"app/web.yaml": image_line("1.0.0")}
        assert is_ready(manifest)


@in_virtual_time
async def test_a_newer_tag_updates_it() -> None:
    async with proposed() as world:
        await world.release("1.2.0")
        await world.look()

        (pull,) = world.forge.pulls.values()
        assert pull.title == f"Update {IMAGE} to 1.2.0"
        assert "`1.1.0`" not in pull.body
        assert await world.head(BRANCH) == {"app/web.yaml": image_line("1.2.0")}
        assert len(await world.repository.log(BRANCH)) == 2  # made anew from main: one commit on top of it


@in_virtual_time
async def test_a_second_look_changes_nothing_and_reads_no_image() -> None:
    async with proposed() as world:
        before, requests = dict(world.forge.pulls), world.fakes.requests
        log = await world.repository.log(BRANCH)

        await world.look()

        assert world.forge.pulls == before
        assert await world.repository.log(BRANCH) == log
        assert world.fakes.requests - requests <= 2  # a scan that fell due


@in_virtual_time
async def test_a_closed_one_means_not_this_version() -> None:
    async with proposed() as world:
        world.forge.close_by_hand(1)
        manifest = await world.look()
        assert len(world.forge.pulls) == 1
        assert manifest["status"].get("pullRequest", "") == ""
        (held,) = manifest["status"]["unsettled"]
        assert held["state"] == "held"
        assert "a pull request with 1.1.0 was closed" in held["cause"]

        await world.release("1.2.0")
        await world.opened(2)
        assert [pull.state for pull in world.forge.pulls.values()] == ["closed", "open"]
        assert world.forge.pulls[2].title == f"Update {IMAGE} to 1.2.0"
        assert world.forge.comments == {}


@in_virtual_time
async def test_a_pull_request_that_is_opened_again_counts_again() -> None:
    async with proposed() as world:
        world.forge.close_by_hand(1)
        await world.look()

        world.forge.reopen(1)
        manifest = await world.look()

        assert manifest["status"]["pullRequest"].endswith("/pulls/1")
        assert len(world.forge.pulls) == 1


@in_virtual_time
async def test_a_merged_one_leaves_nothing_to_do() -> None:
    async with proposed() as world:
        await world.repository.set_branch("main", (await world.repository.log(BRANCH))[0])
        world.forge.merge(1)
        manifest = await world.look()
        assert manifest["status"].get("pullRequest", "") == ""
        assert [pull.state for pull in world.forge.pulls.values()] == ["merged"]

        await world.release("1.2.0")
        await world.opened(2)
        assert await world.head(BRANCH) == {"app/web.yaml": image_line("1.2.0")}


@in_virtual_time
async def test_a_pull_request_that_is_being_merged_is_not_closed() -> None:
    """The branch has the changes a moment before the forge says so."""

    async with proposed() as world:

        async def merging(deed: str, moment: str) -> None:
            if (deed, moment) == ("find", "after"):
                world.forge.merge(1)

        await world.repository.set_branch("main", (await world.repository.log(BRANCH))[0])
        world.forge.fault = merging
        await world.look()

        assert world.forge.pulls[1].state == "merged"
        assert '"superseded":false' in world.forge.pulls[1].body
        assert world.forge.comments == {}


@in_virtual_time
async def test_a_change_by_hand_supersedes_it_and_is_no_refusal() -> None:
    async with proposed() as world:
        await world.repository.commit({"app/web.yaml": image_line("1.1.0").encode()})
        await world.look()
        assert world.forge.pulls[1].state == "closed"
        assert world.forge.comments[1] == ["Nothing is left to propose: the files say what the policies chose."]

        await world.repository.commit({"app/job.yaml": image_line("1.0.0").encode()})
        await world.look()
        await world.opened(2)
        assert "`app/job.yaml`" in world.forge.pulls[2].body


@in_virtual_time
async def test_another_base_supersedes_the_old_one() -> None:
    async with proposed() as world:
        await world.repository.commit({"app/web.yaml": image_line("1.0.0").encode()}, branch="release")
        await world.source(ref={"branch": "release"})
        await world.opened(2)

        assert [pull.state for pull in world.forge.pulls.values()] == ["closed", "open"]
        assert world.forge.pulls[2].base == "release"
        assert world.forge.comments[1] == [f"Superseded by {world.forge.pulls[2].url}."]


@pytest.mark.parametrize("moment", ["before", "after"])
@in_virtual_time
async def test_a_forge_that_is_down_costs_no_second_push(moment: str) -> None:
    world = Asking()
    left = 3

    async def away(deed: str, when: str) -> None:
        nonlocal left
        if deed == "open" and when == moment and left > 0:
            left -= 1
            raise ForgeUnavailable("POST /pulls: 503 service unavailable")

    world.forges.fault = away
    async with world.running():
        await world.begin()
        ready = await world.answered()
        assert ready["reason"] == "PullRequestFailed"
        assert "503" in ready["message"]
        log = await world.repository.log(BRANCH)
        assert await world.head(BRANCH) == {"app/web.yaml": image_line("1.1.0")}

        manifest = await world.opened()

        assert await world.repository.log(BRANCH) == log
        assert manifest["status"]["lastPushCommit"] == log[0]
        assert len(world.forge.pulls) == 1
        assert left == 0 or moment == "after"


@in_virtual_time
async def test_labels_that_cannot_be_read_now_come_later() -> None:
    world = Asking()

    async def away(deed: str) -> None:
        if deed == "digest":  # which looking at an image begins with
            raise RegistryUnavailable("GET /v2/apps/app/manifests/1.1.0: 503 service unavailable")

    world.fakes.fault = away
    async with world.running():
        await world.begin()
        await world.opened()
        assert "| `1.0.0` | `1.1.0` |" in world.forge.pulls[1].body
        assert "compare" not in world.forge.pulls[1].body

        world.fakes.fault = no_fault
        await world.look()

        assert "compare/0a1b2c3...1f2e3d4" in world.forge.pulls[1].body


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"branch": "main"}, "needs a branch of its own: set spec.git.push.branch to another one than 'main'"),
        ({"pull_request": "sourceforge"}, "is 'sourceforge': it has to be one of gitea, forgejo, github, gitlab"),
        ({"url": "ssh://git@git.example.com/org/fleet.git"}, "an ssh key opens no pull requests: name a Secret"),
    ],
)
@in_virtual_time
async def test_a_setting_that_cannot_work_is_for_somebody_to_edit(options: dict[str, Any], message: str) -> None:
    world = Asking()
    if url := options.get("url"):
        world.git.repositories[url] = world.repository
    async with world.running():
        await world.begin(**options)
        ready = await world.answered()
        manifest = await world.get(ImageUpdateAutomation, "fleet")

        assert message in ready["message"]
        assert any(c["type"] == "Stalled" for c in manifest["status"]["conditions"])
        assert len(await world.repository.log()) == 1


@in_virtual_time
async def test_the_key_of_a_github_app_needs_a_secret_of_its_own_for_the_api() -> None:
    world = Asking()
    async with world.running():
        values = {"githubAppID": "1", "githubAppInstallationID": "2", "githubAppPrivateKey": "key"}
        metadata = {"name": "app", "namespace": "default"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}
        await world.cluster.create(secret, field_manager="test")
        await world.begin(source={"provider": "github", "secretRef": {"name": "app"}})
        ready = await world.answered()

        assert ready["message"].startswith("the key of a GitHub App opens no pull requests: name a Secret")
        assert world.forge.pulls == {}


@pytest.mark.parametrize(
    "api", ["https://forge.thief.example/api/v1", "https://forge.example:8443/api/v1", "https://[half"]
)
@in_virtual_time
async def test_the_credential_that_pushes_goes_to_no_other_host(api: str) -> None:
    world = Asking()
    async with world.running():
        await world.begin(pull_request_api=api)
        ready = await world.answered()

        assert ready["message"].startswith("annotation sealoop.dev/pull-request-api leads to another host")
        assert world.forge.pulls == {}


@in_virtual_time
async def test_the_api_may_have_a_secret_of_its_own() -> None:
    world = Asking()
    async with world.running():
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "api", "namespace": "default"},
            "data": {"bearerToken": "dG9rZW4="},
        }
        await world.cluster.create(secret, field_manager="test")
        await world.begin(pull_request_secret="api")
        await world.opened()

        access = world.forge.access
        assert access is not None
        assert access.bearer_token is not None
        assert access.bearer_token.reveal_text() == "token"
