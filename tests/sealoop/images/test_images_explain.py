"""`sealoop images explain` and `simulate`, beside a service on an embedded cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sealoop.embedded.githttp import GitServer, create_repository
from sealoop.embedded.registry import RegistryServer
from tests.journeys.surroundings import flux
from tests.servers.programs import clean_environment

MARKED = 'image: {image}:1.0.0 # {{"$imagepolicy": "shop:web"}}\nother: x:1 # {{"$imagepolicy": "shop:nobody"}}\n'


@dataclass(frozen=True)
class Shop:
    """A service at work in namespace shop: tags 1.0.0, 1.1.0 and latest, one marked file, a guard."""

    folder: Path
    registry: RegistryServer

    async def run(self, *words: str) -> tuple[int, str, str]:
        """Exit code, output, complaints of `sealoop images ...`."""
        command = [sys.executable, "-m", "sealoop", "images", *words, "--local", str(self.folder / "cluster")]
        pipe = asyncio.subprocess.PIPE
        environment = clean_environment(self.folder)
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
        output, complaints = await process.communicate()
        return process.returncode or 0, output.decode(), complaints.decode()


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with RegistryServer() as registry, GitServer(tmp_path / "git") as git:
        for tag in ("1.0.0", "1.1.0", "latest"):
            registry.add("web", tag)
        image = f"{registry.host}/web"
        await create_repository(tmp_path / "git" / "app.git", _files(image))
        (tmp_path / "objects.yaml").write_text("\n---\n".join(map(json.dumps, _objects(image, f"{git.url}/app.git"))))
        command = ["run", "--local", tmp_path / "cluster", "-f", tmp_path / "objects.yaml", "--log-level", "error"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sealoop", *map(str, command)), env=clean_environment(tmp_path)
        )
        try:
            yield Shop(tmp_path, registry)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


def _objects(image: str, url: str) -> list[dict[str, Any]]:
    author = {"email": "bot@example.com"}
    source = {"kind": "GitRepository", "name": "app"}
    objects = [
        flux("source", "GitRepository", "app", url=url, interval="5m", ref={"branch": "main"}),
        flux("image", "ImageRepository", "web", image=image, interval="5m", insecure=True),
        flux("image", "ImagePolicy", "web", imageRepositoryRef={"name": "web"}, policy={"semver": {"range": ">=1"}}),
        flux(
            "image", "ImageUpdateAutomation", "web", sourceRef=source, interval="5m", git={"commit": {"author": author}}
        ),
        {
            "apiVersion": "sealoop.dev/v1alpha1",
            "kind": "UpdateGuard",
            "metadata": {"name": "web"},
            "spec": {"holds": [{"policy": "web", "reason": "migration"}], "skips": [{"tag": "1.1.0", "reason": "bad"}]},
        },
    ]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    return [namespace, *({**each, "metadata": {**each["metadata"], "namespace": "shop"}} for each in objects)]


def _files(image: str) -> dict[str, bytes]:
    marked = MARKED.format(image=image)
    both = f'image: {image}:1.0.0 # {{"$imagepolicy": "shop:web"}} {{"$imagepolicy": "shop:other"}}\n'
    other = marked.replace("shop:web", "shop:other")
    return {
        "web.yaml": marked.encode(),
        "both.yaml": both.encode(),
        "latin.yaml": "é: 1\n".encode("latin-1") + marked.encode(),
        "other.yaml": other.encode(),
    }


async def explained(shop: Shop) -> dict[str, Any]:
    """What explain says as soon as the service has listed the tags."""
    for _ in range(100):
        code, output, complaints = await shop.run("explain", "web", "-n", "shop", "-o", "json")
        if code == 0:
            return dict(json.loads(output))
        await asyncio.sleep(0.3)
    raise AssertionError(complaints)


async def test_every_tag_and_every_place_is_explained(shop: Shop) -> None:
    found = await explained(shop)

    assert found["chosen"] == "1.0.0"
    said = {tag["tag"]: (tag["verdict"], tag["text"]) for tag in found["tags"]}
    assert said["1.1.0"] == ("skipped", "is skipped: bad")
    assert said["latest"][0] == "not a version"
    (automation,) = found["automations"]
    assert [(place["file"], place["line"], place["state"]) for place in automation["places"]] == [
        ("both.yaml", 1, "ambiguous"),
        ("latin.yaml", 0, "unparsable"),
        ("web.yaml", 1, "applied"),
    ]

    code, table, _ = await shop.run("explain", "web", "-n", "shop")

    assert code == 0
    assert "  * 1.0.0   is chosen" in table
    assert "web.yaml:1  applied" in table
    assert "  latin.yaml  unparsable  not UTF-8" in table

    code, output, complaints = await shop.run("simulate", "web", "-n", "shop")

    assert (code, complaints) == (0, "")
    assert "1.0.0" in output

    code, _, complaints = await shop.run("explain", "nobody", "-n", "shop")

    assert (code, complaints) == (1, "Error: there is no ImagePolicy 'shop/nobody'\n")

    await shop.registry.stop()
    code, output, complaints = await shop.run("explain", "web", "-n", "shop")

    assert code == 0, complaints
    assert "the tags are those that the cluster remembers" in output
    assert "1.1.0" in output
