"""A new tag becomes a pull request on a real Gitea, which follows the tags until a person merges or closes it."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.journeys.surroundings import Surroundings, config_map, deployment, flux
from tests.servers.gitea import USER, GiteaRepository, GiteaServer
from tests.servers.images import Pusher
from tests.servers.registry import RealRegistry

SOURCE = {"org.opencontainers.image.source": "https://github.com/example/web"}


def objects(around: Surroundings, repository: GiteaRepository, token: str, image: str) -> list[dict[str, Any]]:
    source = {"kind": "GitRepository", "name": "fleet"}
    author = {"name": "bot", "email": "bot@example.com"}
    automation = flux(
        "image",
        "ImageUpdateAutomation",
        "web",
        sourceRef=source,
        interval="1s",
        git={"commit": {"author": author}, "push": {"branch": "bumps"}},
        update={"path": "./app", "strategy": "Setters"},
    )
    automation["metadata"]["annotations"] = {
        "sealoop.dev/pull-request": "gitea",
        "sealoop.dev/pull-request-labels": "bump",
    }
    credentials = {"username": USER, "password": token}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"}, "stringData": credentials},
        flux(
            "source", "GitRepository", "fleet",
            url=repository.url, interval="1s", ref={"branch": "main"}, secretRef={"name": "git"},
        ),
        flux("image", "ImageRepository", "web", image=image, interval="1s", insecure=True),
        flux(
            "image", "ImagePolicy", "web", imageRepositoryRef={"name": "web"}, policy={"semver": {"range": ">=1.0.0"}}
        ),
        automation,
    ]  # fmt: skip


async def test_pull_requests_follow_the_tags_and_what_people_say(
    around: Surroundings, gitea: GiteaServer, open_registry: RealRegistry
) -> None:
    path = f"{around.namespace}/web"
    image = f"{open_registry.host}/{path}"
    marker = f'{{"$imagepolicy": "{around.namespace}:web"}}'
    repository = await asyncio.to_thread(gitea.repository)

    def release(tag: str, revision: str) -> None:
        with Pusher(open_registry.host, path) as pusher:
            pusher.image(tag, labels={**SOURCE, "org.opencontainers.image.revision": revision})

    def pulls() -> list[tuple[str, str]]:
        """State and title of each, oldest first."""
        return [("merged" if p["merged"] else p["state"], p["title"]) for p in repository.pulls()]

    def says(tag: str) -> bool:
        return repository.file("app/web.yaml", "bumps") == deployment(f"{image}:{tag}", marker=marker)

    def shown() -> str:
        return str(around.get("imageupdateautomation/web").get("status", {}).get("pullRequest", ""))

    def story() -> None:
        release("1.0.0", "0a1b2c3")
        release("1.1.0", "1f2e3d4")
        repository.label("bump")
        repository.commit({"app/web.yaml": deployment(f"{image}:1.0.0", marker=marker)})
        token = gitea.new_token("write:repository,write:issue")
        around.apply(*objects(around, repository, token, image))
        titles = {tag: f"Update {image} to {tag}" for tag in ("1.1.0", "1.2.0", "1.3.0", "1.4.0")}
        with around.serving():
            around.until(lambda: pulls() == [("open", titles["1.1.0"])], "a pull request is open")
            (opened,) = repository.pulls()
            assert says("1.1.0")
            assert f"| `{around.namespace}:web` | `{image}` | `1.0.0` | `1.1.0` |" in opened["body"]
            assert "| `app/web.yaml` | " in opened["body"]
            assert "`semver >=1.0.0` chose `1.1.0`" in opened["body"]
            assert "[changes](https://github.com/example/web/compare/0a1b2c3...1f2e3d4)" in opened["body"]
            assert [label["name"] for label in opened["labels"]] == ["bump"]
            around.until(lambda: shown() == opened["html_url"], "status names it")

            release("1.2.0", "2a2b2c2")
            around.until(lambda: pulls() == [("open", titles["1.2.0"])], "the same one proposes 1.2.0")
            assert says("1.2.0")

            repository.edit_pull(1, state="closed")
            around.until(lambda: shown() == "", "a no is heard")
            repository.commit({"app/other.yaml": config_map("other", key="value")})  # a reason to plan again
            release("1.3.0", "3a3b3c3")
            around.until(
                lambda: pulls() == [("closed", titles["1.2.0"]), ("open", titles["1.3.0"])], "1.3.0 gets one of its own"
            )
            assert says("1.3.0")

            repository.merge(2)
            merged = deployment(f"{image}:1.3.0", marker=marker)
            around.until(lambda: repository.file("app/web.yaml") == merged and shown() == "", "nothing is left")
            assert pulls() == [("closed", titles["1.2.0"]), ("merged", titles["1.3.0"])]
            assert repository.comments(1) == repository.comments(2) == []

            release("1.4.0", "4a4b4c4")
            around.until(lambda: pulls()[2:] == [("open", titles["1.4.0"])], "and so it goes on")

    await asyncio.to_thread(story)
