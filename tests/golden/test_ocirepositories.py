"""What Flux's source-controller 1.9.1 said of OCIRepositories, and what we say of the same, with a real registry.

data/ocirepositories/cases.jsonl has one recorded case a line: what was there before (`setup`), the object, what
happened `then`, and what was `expect`ed: after the creation, and after each step. Status and reason of every condition,
revision, metadata and observed fields are compared, and the contents of the files. Modes and empty folders are not:
what is applied has none.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gitops_core.api import OCIRepository
from gitops_core.errors import Invalid
from tests.gitops_core.reconcilers.realworld import real_world
from tests.golden.sources import look, recorded
from tests.servers.artifacts import push, push_signatures
from tests.servers.certificates import Authority
from tests.servers.programs import free_port
from tests.servers.registry import PASSWORD, USER, RealRegistry, TlsRegistry

DATA = Path(__file__).parent / "data" / "ocirepositories"
ARTIFACTS = json.loads((DATA / "artifacts.json").read_text())
CASES = {case["name"]: case for case in map(json.loads, (DATA / "cases.jsonl").read_text().splitlines())}

DIFFERENT: Mapping[str, str] = {
    "oci-ignore-with-copy": "what is Git's own is never kept, also of a layer that is copied",
}
"""Where we differ on purpose, and why: the rest of each case is compared all the same."""
NEVER_KEPT = ".git/config"
RECORDED_AUTH, AUTH = (base64.b64encode(f"{user}:{PASSWORD}".encode()).decode() for user in ("deploy", USER))
OBSERVED = ("observedGeneration", "observedIgnore", "observedLayerSelector")


@pytest.fixture
def servers(
    open_registry: RealRegistry, password_registry: RealRegistry, tls_registry: TlsRegistry, tmp_path: Path
) -> Mapping[str, str]:
    return {
        "OCI": open_registry.host,
        "OCIAUTH": password_registry.host,
        "OCITLS": tls_registry.host,
        "DEAD_HOST": f"127.0.0.1:{free_port()}",
        "CA": tls_registry.ca.decode(),
        "OTHERCA": Authority.make(tmp_path / "other", "another").certificate.read_text(),
        "PUSH_OCI": open_registry.host,
        "PUSH_OCIAUTH": password_registry.host,
        "PUSH_OCITLS": tls_registry.registry.host,
    }


def expand(value: Any, servers: Mapping[str, str], name: str) -> Any:
    """Put the real servers into a case, and a certificate of the real authority where one of the recording's is."""
    if isinstance(value, Mapping):
        return {key: expand(inner, servers, name) for key, inner in value.items()}
    if isinstance(value, list):
        return [expand(inner, servers, name) for inner in value]
    if not isinstance(value, str):
        return value
    if "BEGIN CERTIFICATE" in value:
        return servers["OTHERCA" if "other" in name else "CA"]
    for server in ("OCIAUTH", "OCITLS", "OCI", "DEAD_HOST"):
        value = value.replace(f"${{{server}}}", servers[server])
    return value.replace(RECORDED_AUTH, AUTH).replace('"username": "deploy"', f'"username": "{USER}"')


def prepare(case: Any, servers: Mapping[str, str]) -> None:
    """Push what is there before."""
    digests: dict[str, str] = {}
    for each in case["setup"]["oci"]:
        auth = (USER, PASSWORD) if each["server"] == "OCIAUTH" else None
        for tags, artifact in ARTIFACTS[each["fixture"]]["push"]:
            digest = push(servers[f"PUSH_{each['server']}"], each["repository"], artifact, *tags, auth=auth)
            digests |= dict.fromkeys(tags, digest)
    if (sign := case["setup"].get("sign")) is not None:
        digest = digests[sign["tag"]]
        identity = sign.get("identity") or f"{servers['OCI']}/{case['name']}/shop"
        image = {"docker-manifest-digest": sign.get("payload_digest") or digest}
        type_ = "cosign container image signature"
        critical = {"identity": {"docker-reference": identity}, "image": image, "type": type_}
        payload = json.dumps({"critical": critical, "optional": None}).encode()
        key = serialization.load_pem_private_key((DATA / f"{sign['key']}.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        signature = key.sign(payload, ec.ECDSA(hashes.SHA256()))
        push_signatures(servers["OCI"], f"{case['name']}/shop", digest, [(payload, signature)])


@pytest.mark.parametrize("name", CASES)
async def test_it_is_told_as_the_original_told_it(name: str, servers: Mapping[str, str], tmp_path: Path) -> None:
    case = CASES[name]
    prepare(case, servers)
    async with real_world(tmp_path / "state") as world, world.running():
        for manifest in expand(case["setup"]["objects"], servers, name):
            await world.put({"apiVersion": "v1", **manifest})
        manifest = {"apiVersion": "source.toolkit.fluxcd.io/v1", **expand(case["object"], servers, name)}
        if "refused" in case["expect"][0]:
            with pytest.raises(Invalid):
                await world.put(manifest)
            return

        await world.put(manifest)
        seen = [await look(world, OCIRepository, await world.answered(OCIRepository.KIND, name), OBSERVED)]
        for number, step in enumerate(case["then"]):
            for each in step.get("oci", []):
                push(servers["OCI"], f"{name}/shop", each["artifact"], *each["tags"])
            if "spec" in step:
                await world.patch(OCIRepository.KIND, name, {"spec": expand(step["spec"], servers, name)})
                await world.answered(OCIRepository.KIND, name)
            seen.append(
                await look(
                    world, OCIRepository, await world.request(OCIRepository.KIND, name, f"step-{number}"), OBSERVED
                )
            )

    assert seen == [recorded(expected, OBSERVED, NEVER_KEPT) for expected in case["expect"]]


def test_every_difference_is_of_a_case() -> None:
    assert DIFFERENT.keys() <= CASES.keys()
