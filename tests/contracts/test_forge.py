"""What every Forge port does: the one in memory, the client of a real Gitea, and those of GitHub and GitLab.

GitHub and GitLab are doubles (tests/servers/forges.py), written from what their documentation says; Gitea is real.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count

import pytest

from gitops_core.meta import Sensitive
from gitops_core.ports import GitAccess
from image_updater.adapters.forges import HttpForges
from image_updater.errors import ForgeDenied
from image_updater.ports import Forge, ForgeAddress
from tests.servers.forges import TOKEN, double
from tests.servers.gitea import PASSWORD, USER, GiteaRepository, GiteaServer
from tests.simulation.fakes.forge import FakeForges

NUMBERS = count(1)

Person = Callable[[str, int], Awaitable[None]]
"""What somebody does by hand: ("close" | "reopen" | "merge", number)."""


@dataclass(frozen=True)
class World:
    """One Forge port, whose repository has the branches main, other and the one of this test.

    Attributes:
        head: this test's branch.
        comments: those of a pull request.
        labels: its labels' names.
        stranger: somebody opens one from a fork's branch bumps into main; None where there are no forks.
        wrong: the same repository with a token that is wrong, where there are tokens.
    """

    forge: Forge
    head: str
    person: Person
    comments: Callable[[int], Awaitable[list[str]]]
    labels: Callable[[int], Awaitable[list[str]]]
    stranger: Callable[[], Awaitable[None]] | None = None
    wrong: Forge | None = None


def fake_world() -> World:
    forge = FakeForges().make_forge(ForgeAddress("gitea", "https://forge.example.com/org/app.git"))
    forge.branches |= {"main", "other", "bumps"}
    forge.known.add("bump")

    async def person(deed: str, number: int) -> None:
        {"close": forge.close_by_hand, "reopen": forge.reopen, "merge": forge.merge}[deed](number)

    async def comments(number: int) -> list[str]:
        return forge.comments.get(number, [])

    async def labels(number: int) -> list[str]:
        return sorted(forge.labelled[number])

    return World(forge, "bumps", person, comments, labels)


async def double_world(forges: HttpForges, kind: str) -> AsyncIterator[World]:
    async with double(kind) as server:
        server.branches |= {"other", "bumps"}
        url = f"{server.url}/{server.path}.git"

        def forge(token: str) -> Forge:
            access = GitAccess(username="robot", password=Sensitive(token))
            return forges.make_forge(ForgeAddress("github" if kind == "github" else "gitlab", url, access=access))

        async def person(deed: str, number: int) -> None:
            pull = server.pulls[number - 1]
            pull.state, pull.merged = "open" if deed == "reopen" else "closed", deed == "merge"

        async def comments(number: int) -> list[str]:
            return server.pulls[number - 1].comments

        async def labels(number: int) -> list[str]:
            return [label for label in server.pulls[number - 1].labels if label != "unknown"]  # both make new ones

        async def stranger() -> None:
            server.add("bumps", "main", "theirs", "theirs", source=2)

        yield World(forge(TOKEN), "bumps", person, comments, labels, stranger, forge("wrong"))


async def gitea_world(forges: HttpForges, repository: GiteaRepository) -> World:
    gitea, head = repository.server, f"bumps-{next(NUMBERS)}"
    await asyncio.to_thread(repository.commit, {head: b"2"}, branch=head)

    def forge(token: str) -> Forge:
        access = GitAccess(username=USER, password=Sensitive(token))
        return forges.make_forge(ForgeAddress("gitea", repository.url, access=access))

    async def person(deed: str, number: int) -> None:
        if deed == "merge":
            await asyncio.to_thread(repository.merge, number)
        else:
            await asyncio.to_thread(repository.edit_pull, number, state="closed" if deed == "close" else "open")

    async def comments(number: int) -> list[str]:
        return await asyncio.to_thread(repository.comments, number)

    async def labels(number: int) -> list[str]:
        pulls = await asyncio.to_thread(repository.pulls)
        return [label["name"] for label in pulls[number - 1]["labels"]]

    async def stranger() -> None:
        owner = "strangers"
        await asyncio.to_thread(gitea.organization, owner)
        await asyncio.to_thread(gitea.fork, repository, owner)
        wanted = {"title": "theirs", "body": "theirs", "head": f"{owner}:{head}", "base": "main"}
        await asyncio.to_thread(gitea.call, "POST", f"/repos/{repository.path}/pulls", wanted)

    return World(forge(gitea.token), head, person, comments, labels, stranger, forge("0" * 40))


@pytest.fixture(scope="module")
def gitea_repository(gitea: GiteaServer) -> GiteaRepository:
    """One for all tests of this module: each has a branch of its own."""
    repository = gitea.repository()
    repository.commit({"image": b"1"})
    repository.commit({"other": b"1"}, branch="other")
    repository.label("bump")
    return repository


@pytest.fixture
async def forges() -> AsyncIterator[HttpForges]:
    async with HttpForges({}) as opened:
        yield opened


@pytest.fixture(params=["fake", "gitea", "github", "gitlab"])
async def world(request: pytest.FixtureRequest, forges: HttpForges) -> AsyncIterator[World]:
    if request.param == "fake":
        yield fake_world()
    elif request.param == "gitea":
        yield await gitea_world(forges, request.getfixturevalue("gitea_repository"))
    else:
        async for made in double_world(forges, request.param):
            yield made


async def test_there_is_none_before_one_is_opened(world: World) -> None:
    assert await world.forge.find(world.head, "main") == ()


async def test_an_opened_pull_request_is_found(world: World) -> None:
    made = await world.forge.open(world.head, "main", "A title", "A body\n\n<!-- hidden: 1 -->")

    assert await world.forge.find(world.head, "main") == (made,)
    assert (made.head, made.base, made.state) == (world.head, "main", "open")
    assert (made.title, made.body) == ("A title", "A body\n\n<!-- hidden: 1 -->")
    assert made.url.endswith(f"/{made.number}")


async def test_only_those_of_the_branch_and_base_are_found(world: World) -> None:
    first = await world.forge.open(world.head, "main", "A title", "A body")
    second = await world.forge.open(world.head, "other", "A title", "A body")

    assert await world.forge.find(world.head, "main") == (first,)
    assert await world.forge.find(world.head, "other") == (second,)
    assert await world.forge.find(world.head, "") == (second, first)
    assert await world.forge.find("other", "main") == ()


async def test_opening_a_second_time_gives_the_first_as_it_is(world: World) -> None:
    made = await world.forge.open(world.head, "main", "A title", "A body")

    assert await world.forge.open(world.head, "main", "Another title", "Another body") == made
    assert await world.forge.find(world.head, "main") == (made,)


async def test_title_and_body_are_updated(world: World) -> None:
    made = await world.forge.open(world.head, "main", "A title", "A body")

    await world.forge.update(made.number, "Another title", "Another body")

    assert await world.forge.find(world.head, "main") == (made._replace(title="Another title", body="Another body"),)


async def test_closing_says_why_and_leaves_it_to_be_found(world: World) -> None:
    made = await world.forge.open(world.head, "main", "A title", "A body")

    await world.forge.close(made.number, "Nothing is left.")

    assert await world.forge.find(world.head, "main") == (made._replace(state="closed"),)
    assert await world.comments(made.number) == ["Nothing is left."]


async def test_a_pull_request_shows_what_people_did(world: World) -> None:
    made = await world.forge.open(world.head, "main", "A title", "A body")

    await world.person("close", made.number)
    assert [each.state for each in await world.forge.find(world.head, "main")] == ["closed"]
    await world.person("reopen", made.number)
    assert [each.state for each in await world.forge.find(world.head, "main")] == ["open"]
    await world.person("merge", made.number)
    assert [each.state for each in await world.forge.find(world.head, "main")] == ["merged"]


async def test_a_new_one_after_a_closed_one_comes_first(world: World) -> None:
    first = await world.forge.open(world.head, "main", "A title", "A body")
    await world.person("close", first.number)

    second = await world.forge.open(world.head, "main", "Another title", "Another body")

    assert await world.forge.find(world.head, "main") == (second, first._replace(state="closed"))


async def test_a_pull_request_gets_the_labels_that_the_forge_has(world: World) -> None:
    made = await world.forge.open(world.head, "main", "A title", "A body", ["bump", "unknown"])

    assert await world.labels(made.number) == ["bump"]


async def test_a_strangers_branch_of_the_same_name_is_not_ours(world: World) -> None:
    if world.stranger is None:
        return  # the one in memory has no forks
    await world.stranger()

    assert await world.forge.find(world.head, "main") == ()


async def test_a_branch_that_is_not_there_is_denied(world: World) -> None:
    with pytest.raises(ForgeDenied):
        await world.forge.open("nothing", "main", "A title", "A body")


async def test_an_update_of_a_pull_request_that_is_not_there_is_denied(world: World) -> None:
    with pytest.raises(ForgeDenied):
        await world.forge.update(77, "A title", "A body")


async def test_a_wrong_token_is_denied_and_not_repeated(world: World) -> None:
    if world.wrong is None:
        return  # the one in memory asks for no token
    with pytest.raises(ForgeDenied, match=r"401 .*the token is wrong") as caught:
        await world.wrong.find(world.head, "main")

    assert "0" * 40 not in str(caught.value)
    assert "robot" not in str(caught.value) or "/repos/robot/" in str(caught.value)


async def test_gitea_takes_a_password_a_token_and_a_bearer_token(
    gitea_repository: GiteaRepository, forges: HttpForges
) -> None:
    repository, gitea = gitea_repository, gitea_repository.server
    accesses = [
        GitAccess(username=USER, password=Sensitive(PASSWORD)),
        GitAccess(username=USER, password=Sensitive(gitea.token)),
        GitAccess(bearer_token=Sensitive(gitea.token)),
    ]

    for access in accesses:
        assert await forges.make_forge(ForgeAddress("gitea", repository.url, access=access)).find("a", "b") == ()


async def test_gitea_needs_these_scopes_of_a_token_and_no_more(
    gitea_repository: GiteaRepository, forges: HttpForges
) -> None:
    repository, gitea, head = gitea_repository, gitea_repository.server, f"bumps-{next(NUMBERS)}"
    await asyncio.to_thread(repository.commit, {head: b"2"}, branch=head)
    token = await asyncio.to_thread(gitea.new_token, "write:repository,write:issue")
    access = GitAccess(username=USER, password=Sensitive(token))
    forge = forges.make_forge(ForgeAddress("gitea", repository.url, access=access))

    made = await forge.open(head, "main", "A title", "A body", ["unknown"])
    await forge.update(made.number, "Another title", "A body")
    await forge.close(made.number, "Nothing is left.")

    assert [each.state for each in await forge.find(head, "main")] == ["closed"]


async def test_gitea_still_names_the_branch_of_one_whose_branch_was_deleted(
    gitea_repository: GiteaRepository, forges: HttpForges
) -> None:
    repository, gitea, head = gitea_repository, gitea_repository.server, f"bumps-{next(NUMBERS)}"
    await asyncio.to_thread(repository.commit, {head: b"2"}, branch=head)
    access = GitAccess(username=USER, password=Sensitive(gitea.token))
    forge = forges.make_forge(ForgeAddress("gitea", repository.url, access=access))
    made = await forge.open(head, "main", "A title", "A body")

    await asyncio.to_thread(repository.edit_pull, made.number, state="closed")
    await asyncio.to_thread(repository.delete_branch, head)

    assert await forge.find(head, "main") == (made._replace(state="closed"),)
