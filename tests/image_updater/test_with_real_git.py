"""The whole path with nothing in memory but the cluster: a registry and Git over HTTP, the git command, real time."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from gitops_core.adapters.git import GitMirrors
from gitops_core.api import GitRepository
from gitops_core.runtime.clock import SystemClock
from image_updater.adapters.oci import OciRegistry
from image_updater.api import ImagePolicy, ImageRepository, ImageUpdateAutomation
from sealoop.embedded.registry import RegistryServer
from tests.image_updater.world import World, is_ready
from tests.servers.git import BareRepository, http_place

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
