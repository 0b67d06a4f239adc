"""Two processes share the objects by label: both lead, each object is one's, what it names may be the other's."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from tests.journeys.surroundings import Surroundings, config_map, flux
from tests.servers.git import BareRepository

Remote = tuple[BareRepository, str]
KEY = "sharding.fluxcd.io/key"


def sync(around: Surroundings, name: str, labels: dict[str, str], **more: object) -> None:
    source = {"kind": "GitRepository", "name": "app"}
    wanted = flux("kustomize", "Kustomization", name, sourceRef=source, path=f"./{name}", interval="1h", prune=True)
    wanted["metadata"]["labels"] = labels
    wanted["spec"] |= {"targetNamespace": around.namespace, "retryInterval": "1s", **more}
    around.apply(wanted)


def applied(around: Surroundings, name: str) -> str:
    return str((around.get(f"kustomization/{name}").get("status") or {}).get("lastAppliedRevision", ""))


async def test_two_shards_reconcile_each_its_own_and_see_what_is_the_others(
    around: Surroundings, remote: Remote
) -> None:
    repository, url = remote
    first = await repository.commit({"base/a.yaml": config_map("a", at="1"), "one/b.yaml": config_map("b", at="1")})
    names = ("base", "one")

    def story() -> None:
        spec = {"url": url, "interval": "1s", "ref": {"branch": "main"}, "secretRef": {"name": "git"}}
        around.apply(flux("source", "GitRepository", "app", **spec))
        sync(around, "base", {})
        sync(around, "one", {KEY: "one"}, dependsOn=[{"name": "base"}])
        here = ("--watch-namespace", around.namespace, "--watch-label-selector")
        services = [
            around.service("rest", *here, f"!{KEY}"),
            around.service("shard", *here, f" {KEY} in (one) "),
        ]
        try:
            around.until(lambda: all(applied(around, name).endswith(first) for name in names), "both shards work")
            second = asyncio.run(repository.commit({"base/a.yaml": config_map("a", at="2")}))
            around.until(lambda: all(applied(around, name).endswith(second) for name in names), "both go on")
            holders = sorted(lease["spec"]["holderIdentity"].split("-")[0] for lease in around.get("leases")["items"])

            tellers = defaultdict(set)
            for event in around.told():
                tellers[event["involvedObject"]["name"]].add(event["reportingInstance"].split("-")[0])
        finally:
            for service in services:
                service.stop(60)
        assert holders == ["rest", "shard"]
        assert tellers == {"app": {"rest"}, "base": {"rest"}, "one": {"shard"}}

    await asyncio.to_thread(story)
