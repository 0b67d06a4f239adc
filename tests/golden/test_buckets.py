"""What Flux's source-controller 1.9.1 said of Buckets, and what we say of the same, with moto as the object store.

data/buckets/cases.jsonl has one recorded case a line: what was there before (`setup`), the object, what happened
`then`, and what was `expect`ed: after the creation, and after each step. Status and reason of every condition, revision
and observed fields are compared, and the contents of the files.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gitops_core.api import Bucket
from gitops_core.errors import Invalid
from tests.gitops_core.reconcilers.realworld import real_world
from tests.golden.sources import look, recorded
from tests.servers.aws import S3Server
from tests.servers.programs import free_port

DATA = Path(__file__).parent / "data" / "buckets"
CASES = {case["name"]: case for case in map(json.loads, (DATA / "cases.jsonl").read_text().splitlines())}
OBSERVED = ("observedGeneration", "observedIgnore")

Servers = Mapping[str, S3Server]


@pytest.fixture
def servers(s3_server: S3Server, s3_tls_server: S3Server, s3_auth_server: S3Server) -> Servers:
    return {"S3": s3_server, "S3TLS": s3_tls_server, "S3AUTH": s3_auth_server}


def expand(value: Any, servers: Servers) -> Any:
    if isinstance(value, Mapping):
        return {key: expand(inner, servers) for key, inner in value.items()}
    if isinstance(value, list):
        return [expand(inner, servers) for inner in value]
    if not isinstance(value, str):
        return value
    if "BEGIN CERTIFICATE" in value:
        return servers["S3TLS"].ca
    access_key, secret_key = servers["S3AUTH"].keys
    value = value.replace("${ACCESSKEY}", access_key).replace("${SECRETKEY}", secret_key)
    for name in ("S3TLS", "S3AUTH", "S3"):
        value = value.replace(f"${{{name}}}", servers[name].host)
    return value.replace("${DEAD_HOST}", f"127.0.0.1:{free_port()}")


def prepare(case: Any, servers: Servers) -> None:
    for each in case["setup"]["s3"]:
        client = servers[each["server"]].client()
        client.create_bucket(Bucket=each["bucket"])
        for key, text in each["objects"].items():
            client.put_object(Bucket=each["bucket"], Key=key, Body=text.encode())


def change(case: Any, step: Any, servers: Servers) -> None:
    client, changed = servers["S3"].client(), step.get("s3", {})
    for key, text in changed.get("put", {}).items():
        client.put_object(Bucket=case["name"], Key=key, Body=text.encode())
    for key in changed.get("delete", []):
        client.delete_object(Bucket=case["name"], Key=key)


@pytest.mark.parametrize("name", CASES)
async def test_it_is_told_as_the_original_told_it(name: str, servers: Servers, tmp_path: Path) -> None:
    case = CASES[name]
    await asyncio.to_thread(prepare, case, servers)
    async with real_world(tmp_path / "state") as world, world.running():
        for manifest in expand(case["setup"]["objects"], servers):
            await world.put({"apiVersion": "v1", **manifest})
        manifest = {"apiVersion": "source.toolkit.fluxcd.io/v1", **expand(case["object"], servers)}
        if "refused" in case["expect"][0]:
            with pytest.raises(Invalid):
                await world.put(manifest)
            return

        await world.put(manifest)
        seen = [await look(world, Bucket, await world.answered(Bucket.KIND, name), OBSERVED)]
        for number, step in enumerate(case["then"]):
            await asyncio.to_thread(change, case, step, servers)
            if "spec" in step:
                await world.patch(Bucket.KIND, name, {"spec": expand(step["spec"], servers)})
                await world.answered(Bucket.KIND, name)
            seen.append(await look(world, Bucket, await world.request(Bucket.KIND, name, f"step-{number}"), OBSERVED))

    assert seen == [recorded(expected, OBSERVED) for expected in case["expect"]]
