"""A guard that wants platforms and signatures, on the real registry: the newest tag that has both is chosen."""

from __future__ import annotations

import asyncio
import base64
import json
from itertools import count
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitops_core.adapters.oci import OciRegistry
from gitops_core.runtime.clock import SystemClock
from image_updater.adapters.inspecting import RegistryReader
from image_updater.api import ImagePolicy, ImageRepository, UpdateGuard
from tests.image_updater.world import World
from tests.servers.images import Pusher
from tests.servers.registry import RealRegistry

NUMBERS = count()
BOTH = {"linux/amd64": {"n": "amd64"}, "linux/arm64": {"n": "arm64"}}
ONE = {"linux/amd64": {"n": "amd64"}, "linux/arm/v7": {"n": "arm"}}
IN_TOTO = "application/vnd.in-toto+json"


def sign_as_cosign_2(pusher: Pusher, digest: str, key: ec.EllipticCurvePrivateKey, about: str = "") -> None:
    image, type_ = {"docker-manifest-digest": about or digest}, "cosign container image signature"
    critical = {"identity": {"docker-reference": ""}, "image": image, "type": type_}
    payload = json.dumps({"critical": critical, "optional": None}).encode()
    pusher.sign_by_tag(digest, [(payload, key.sign(payload, ec.ECDSA(hashes.SHA256())))])


def sign_as_cosign_3(pusher: Pusher, digest: str, key: ec.EllipticCurvePrivateKey) -> None:
    statement = json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": digest.removeprefix("sha256:")}}],
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "predicate": {},
        }
    ).encode()
    encoded = b"DSSEv1 %d %b %d %b" % (len(IN_TOTO), IN_TOTO.encode(), len(statement), statement)
    pusher.refer(digest, [pusher.bundle(digest, statement, key.sign(encoded, ec.ECDSA(hashes.SHA256())))])


def push(host: str, path: str, ours: ec.EllipticCurvePrivateKey, theirs: ec.EllipticCurvePrivateKey) -> None:
    """Six tags, of which 1.2.0 is the newest that is signed by us and runs everywhere."""
    with Pusher(host, path) as pusher:
        platforms = {f"1.{minor}.0": {**BOTH, "linux/s390x": {"n": str(minor)}} for minor in range(5)}
        platforms["1.5.0"] = ONE
        digests = {tag: pusher.images(tag, wanted) for tag, wanted in platforms.items()}
        sign_as_cosign_3(pusher, digests["1.1.0"], ours)
        sign_as_cosign_2(pusher, digests["1.2.0"], ours)
        sign_as_cosign_2(pusher, digests["1.3.0"], theirs)
        sign_as_cosign_2(pusher, digests["1.4.0"], ours, about=digests["1.2.0"])  # a signature carried elsewhere
        sign_as_cosign_2(pusher, digests["1.5.0"], ours)


async def test_the_newest_verified_tag_that_runs_everywhere_is_chosen(open_registry: RealRegistry) -> None:
    ours, theirs = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    path = f"signed/app{next(NUMBERS)}"
    await asyncio.to_thread(push, open_registry.host, path, ours, theirs)
    world = World(SystemClock())
    pem = ours.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "cosign", "namespace": "default"},
        "data": {"cosign.pub": base64.b64encode(pem).decode()},
    }

    async with OciRegistry() as registry:
        reader = RegistryReader(registry)
        async with world.running(registry, reader=reader):
            await world.cluster.apply(secret, field_manager="test")
            await world.put(
                UpdateGuard, "safe", platforms=["linux/amd64", "linux/arm64"], verify={"secretRef": {"name": "cosign"}}
            )
            await world.put(ImageRepository, "app", image=f"{open_registry.host}/{path}", interval="1m", insecure=True)
            await world.policy()
            await world.until(ImagePolicy, "app", has_chosen("1.2.0"))
        await reader.close()


def has_chosen(tag: str) -> Any:
    return lambda policy: (policy.get("status") or {}).get("latestRef", {}).get("tag") == tag
