"""What must hold in every history: after each write, in the whole history of commits, and at rest.

after each write   the inventory names every object that carries our labels; the Secret's two values belong together;
                   no tag's age is reset, no quarantine forgotten; no value comes back into the Secret; no digest is
                   made up; who writes holds the lease, which has not run out
in the commits     each bump changes marked values, to what the policies had chosen, and nothing else; see bumps.py for
                   what a guard demands of them
in the terms       whoever leads, soon another one does; see leases.py
at rest            Git, cluster, registry and secret store agree, and every object says Ready
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import yaml

from sealoop.wiring import KINDS
from tests.simulation.bumps import Broken, check_bumps, check_choices, may_stay_failing, may_stay_undecided
from tests.simulation.files import value_in
from tests.simulation.leases import Interval
from tests.simulation.world import CONFIG_MAP, DEPLOYMENT, IMAGE_POLICY, KUSTOMIZATION, SECRET, World

OWNER = "kustomize.toolkit.fluxcd.io/name"


class Invariants:
    """Watches one world."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def after_write(self, deed: str) -> None:
        """Check what holds after every write. Raises Broken."""
        if self.world.chronicle.faults:
            raise Broken(f"after {deed}: {self.world.chronicle.faults[0]}")
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
        """Check the commits, and return how many bumps there were. Raises Broken."""
        return await check_bumps(self.world)

    def in_terms(self) -> None:
        """Check that while anybody lives, somebody leads. Raises Broken."""
        chronicle = self.world.chronicle
        failed = [found for peer in ("cluster", "lease") for found in chronicle.troubles.get(peer, ())]
        for life in chronicle.lives:
            lived = Interval(life.born, min(life.died, self.world.clock.monotonic()))
            if found := chronicle.lease.abandoned(lived, [*failed, *chronicle.stalls]):
                raise Broken(f"nobody led from {found.start:.1f} to {found.end:.1f}, although somebody lived")

    async def at_rest(self) -> None:
        """Check what holds when everything has come to rest. Raises Broken."""
        head = await self.world.head()
        await check_choices(self.world, head)
        await self._check_live(head)
        secret = await self.world.object(SECRET, "app")
        wanted = f"password-{self.world.rotation}"
        if base64.b64decode(secret.get("data", {}).get("password", "")).decode() != wanted:
            raise Broken(f"the Secret does not hold {wanted}")
        excused = {(IMAGE_POLICY, policy) for policy in may_stay_undecided(self.world)}
        if await may_stay_failing(self.world, head):
            excused.add((KUSTOMIZATION, "app"))
        for kind in KINDS:
            for manifest in await self.world.live(kind.KIND):
                if (kind.KIND, manifest["metadata"]["name"]) in excused:
                    continue
                conditions = {c["type"]: c for c in (manifest.get("status") or {}).get("conditions", [])}
                if conditions.get("Ready", {}).get("status") != "True":
                    raise Broken(f"{kind.KIND.kind} {manifest['metadata']['name']} is not ready at rest: {conditions}")

    async def _check_live(self, files: Mapping[str, bytes]) -> None:
        wanted = {d["metadata"]["name"]: d for path, d in documents(files) if d["kind"] == "ConfigMap"}
        live = {m["metadata"]["name"]: m for m in await self.world.live(CONFIG_MAP)}
        live = {name: m for name, m in live.items() if OWNER in m["metadata"].get("labels", {})}
        if {n: d["data"] for n, d in wanted.items()} != {n: d["data"] for n, d in live.items()}:
            raise Broken(f"ConfigMaps at rest: wanted {sorted(wanted)}, live {sorted(live)}, or their data differ")
        for policy in self.world.policies:
            deployment = await self.world.object(DEPLOYMENT, policy)
            if not deployment:
                raise Broken(f"Deployment {policy} is gone")
            image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
            if not image.endswith(f":{value_in(files[f'app/{policy}.yaml'])}"):
                raise Broken(f"Deployment {policy} runs {image}")


def documents(files: Mapping[str, bytes]) -> list[tuple[str, dict[str, Any]]]:
    return [(path, yaml.safe_load(body)) for path, body in files.items() if path.startswith("app/")]
