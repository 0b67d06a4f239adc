"""What must hold in every history: after each write, in the whole history of commits, and at rest.

after each write   the inventory names every object that carries our labels; the Secret's two values belong together
in the commits     each bump changes the marked value, to a tag the policy had chosen, and nothing else
at rest            Git, cluster, registry and secret store agree, and every object says Ready
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import yaml

from sealoop.wiring import KINDS
from tests.simulation.world import CONFIG_MAP, DEPLOYMENT, IMAGE_POLICY, KUSTOMIZATION, SECRET, World

OWNER = "kustomize.toolkit.fluxcd.io/name"
BOT = "bot@example.com"


class Broken(AssertionError):
    """An invariant does not hold."""


class Invariants:
    """Watches one world.

    Attributes:
        chosen: every tag that the policy ever had as its latest.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.chosen: set[str] = set()

    async def after_write(self, deed: str) -> None:
        """Raises Broken."""
        policy = await self.world.object(IMAGE_POLICY, "web")
        if tag := ((policy.get("status") or {}).get("latestRef") or {}).get("tag"):
            self.chosen.add(tag)
        await self._check_inventory(deed)
        await self._check_secret(deed)

    async def _check_inventory(self, deed: str) -> None:
        kustomization = await self.world.object(KUSTOMIZATION, "app")
        entries = ((kustomization.get("status") or {}).get("inventory") or {}).get("entries", [])
        known = {entry["id"] for entry in entries}
        for kind in (CONFIG_MAP, DEPLOYMENT):
            for manifest in await self.world.live(kind):
                if OWNER in manifest["metadata"].get("labels", {}):
                    entry = f"default_{manifest['metadata']['name']}_{kind.group}_{kind.kind}"
                    if entry not in known:
                        raise Broken(f"after {deed}: {entry} was made and is not in the inventory")

    async def _check_secret(self, deed: str) -> None:
        secret = await self.world.object(SECRET, "app")
        managers = {m["manager"] for m in secret.get("metadata", {}).get("managedFields", [])}
        if not secret or "somebody" in managers:
            return  # not there, or edited by hand and not yet mended
        values = {key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()}
        if values.keys() != {"user", "password"} or values["user"].split("-")[1] != values["password"].split("-")[1]:
            raise Broken(f"after {deed}: the Secret is half written: {sorted(values)}")

    async def in_commits(self) -> int:
        """How many bumps there were. Raises Broken."""
        repository = self.world.repository
        bumps = 0
        for commit in reversed(await repository.log()):
            parent = repository.parent_of(commit)
            if not parent or author_of(repository.objects[commit].body) != BOT:
                continue
            bumps += 1
            before, after = await repository.files(parent), await repository.files(commit)
            changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
            if changed != ["app/web.yaml"]:
                raise Broken(f"bump {commit[:7]} changed {changed}")
            old, new = (tag_in(files["app/web.yaml"][1]) for files in (before, after))
            if old == new:
                raise Broken(f"bump {commit[:7]} to {new} was committed twice")
            if new not in self.chosen:
                raise Broken(f"bump {commit[:7]} to {new}: the policy never chose it")
            if before["app/web.yaml"][1].replace(old.encode(), new.encode()) != after["app/web.yaml"][1]:
                raise Broken(f"bump {commit[:7]} changed more than the tag")
        return bumps

    async def at_rest(self) -> None:
        """Raises Broken."""
        head = await self.world.head()
        policy = await self.world.object(IMAGE_POLICY, "web")
        latest = ((policy.get("status") or {}).get("latestRef") or {}).get("tag")
        if tag_in(head["app/web.yaml"]) != latest:
            raise Broken(f"Git says {tag_in(head['app/web.yaml'])}, the policy {latest}")
        await self._check_live(head)
        secret = await self.world.object(SECRET, "app")
        wanted = f"password-{self.world.rotation}"
        if base64.b64decode(secret.get("data", {}).get("password", "")).decode() != wanted:
            raise Broken(f"the Secret does not hold {wanted}")
        for kind in KINDS:
            for manifest in await self.world.live(kind.KIND):
                conditions = {c["type"]: c for c in (manifest.get("status") or {}).get("conditions", [])}
                if conditions.get("Ready", {}).get("status") != "True":
                    raise Broken(f"{kind.KIND.kind} {manifest['metadata']['name']} is not ready at rest: {conditions}")

    async def _check_live(self, files: Mapping[str, bytes]) -> None:
        wanted = {d["metadata"]["name"]: d for path, d in documents(files) if d["kind"] == "ConfigMap"}
        live = {m["metadata"]["name"]: m for m in await self.world.live(CONFIG_MAP)}
        live = {name: m for name, m in live.items() if OWNER in m["metadata"].get("labels", {})}
        if {n: d["data"] for n, d in wanted.items()} != {n: d["data"] for n, d in live.items()}:
            raise Broken(f"ConfigMaps at rest: wanted {sorted(wanted)}, live {sorted(live)}, or their data differ")
        deployment = await self.world.object(DEPLOYMENT, "web")
        if not deployment:
            raise Broken("the Deployment is gone")
        image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        if not image.endswith(f":{tag_in(files['app/web.yaml'])}"):
            raise Broken(f"the Deployment runs {image}")


def documents(files: Mapping[str, bytes]) -> list[tuple[str, dict[str, Any]]]:
    return [(path, yaml.safe_load(body)) for path, body in files.items() if path.startswith("app/")]


def tag_in(body: bytes) -> str:
    found = re.search(rb"image: \S+:(\S+) #", body)
    assert found is not None, "the marked line is gone"
    return found[1].decode()


def author_of(commit: bytes) -> str:
    found = re.search(rb"^author .*<(.*)>", commit, re.MULTILINE)
    return found[1].decode() if found else ""
