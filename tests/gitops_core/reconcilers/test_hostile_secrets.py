"""Encrypted files of strangers: what they cost others, and what nobody gets to read by them."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gitops_core.adapters import sandbox
from gitops_core.adapters.kustomize import Kustomize
from gitops_core.adapters.local import LocalCluster
from gitops_core.adapters.sops import Sops, SopsUnavailable
from gitops_core.api import Kustomization
from gitops_core.domain.render.encrypted import Block, Format
from gitops_core.domain.render.seals import find_sealed
from gitops_core.domain.render.sopskeys import SopsKeys
from gitops_core.errors import ManifestInvalid
from gitops_core.meta import FixedTree, Kind, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import Overlay
from gitops_core.recent import Recent
from gitops_core.reconcilers import decrypting
from gitops_core.reconcilers.decrypting import Decrypter, Scan
from tests.gitops_core.reconcilers.world import CONFIG_MAP, World, condition, config_map
from tests.servers.sops import SECRET_FIELDS, AgeKey, encrypt
from tests.simulation.loop import SeededChance, VirtualClock, in_virtual_time

SECRET = Kind("", "v1", "Secret")
PASSWORD = "hunter2-4711-tiger"


@dataclass(frozen=True)
class Lab:
    """A throw-away key, and files that are encrypted for it."""

    folder: Path
    key: AgeKey

    def seal(self, text: str, *arguments: str, format_: str = "yaml") -> str:
        return encrypt(self.folder, text, *arguments, age=self.key, format_=format_).decode()

    def secret(self, **more: Any) -> str:
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}}
        return self.seal(json.dumps({**manifest, "stringData": {"password": PASSWORD}, **more}), *SECRET_FIELDS)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("sops"), AgeKey.make())


@asynccontextmanager
async def _decrypting(lab: Lab, files: Mapping[str, str], **spec: Any) -> AsyncIterator[World]:
    """Run a process whose Kustomization `apps` applies the folder ./apps of `files`; its first sync is done."""
    world = World()
    await world.begin(files)
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "default"}}
    await world.local.create({**keys, "stringData": {"a.agekey": lab.key.identity}}, field_manager="test")
    decryption = {"provider": "sops", "secretRef": {"name": "keys"}}
    await world.sync("apps", "./apps", **{"decryption": decryption, "retryInterval": "1m", **spec})
    async with world.running():
        await asyncio.sleep(5)
        yield world


DEPLOYED = f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers: [{{name: web, image: web, env: [{{name: TOKEN, value: {PASSWORD}}}]}}]
"""


@in_virtual_time
async def test_what_a_pod_says_after_a_wait_is_muted_as_at_the_first_look(lab: Lab) -> None:
    files = {"apps/a.yaml": lab.seal(DEPLOYED, "--encrypted-regex", "^value$")}
    async with _decrypting(lab, files, wait=True, timeout="10s") as world:
        metadata = {"name": "web-1", "namespace": "default", "labels": {"app": "web"}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        spec = {"containers": [{"name": "web", "image": "web"}]}
        await world.local.create({**pod, "spec": spec}, field_manager="test")
        state = {"waiting": {"reason": "CreateContainerError", "message": f"TOKEN={PASSWORD} is refused"}}
        status = {"status": {"containerStatuses": [{"name": "web", "ready": False, "state": state}]}}
        ref = ObjectRef(Kind("", "v1", "Pod"), ObjectKey("default", "web-1"))
        await world.local.patch(ref, status, field_manager="test", subresource="status")
        await asyncio.sleep(35)

        failed = await world.kustomization("apps")
        assert condition(failed, "Ready")[1] == "HealthCheckFailed"
        assert "is refused" in condition(failed, "Ready")[2]
        assert "hunter2" not in repr(failed) + repr(await world.events("apps"))


@in_virtual_time
async def test_a_list_of_any_kind_whose_block_goes_with_it_is_refused_without_a_key(lab: Lab) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": PASSWORD}}
    sealed = lab.seal(json.dumps({"apiVersion": "v1", "kind": "List", "items": [config]}), *SECRET_FIELDS)
    async with _decrypting(lab, {"apps/a.yaml": sealed}, decryption=None) as world:
        assert "ConfigMap/default/a is SOPS encrypted" in condition(await world.kustomization("apps"), "Ready")[2]
        assert await world.live(CONFIG_MAP, "a") is None


@in_virtual_time
async def test_a_script_that_names_a_version_of_sops_is_applied(lab: Lab) -> None:
    script = "#!/bin/sh\nsops_version=3.11.0\n"
    plain = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"install.sh": script}}
    values = "sops: {enabled: true}\n"
    build = "configMapGenerator: [{name: v, files: [values.yaml], options: {disableNameSuffixHash: true}}]\n"
    files = {"apps/kustomization.yaml": f"resources: [a.yaml]\n{build}", "apps/values.yaml": values}
    async with _decrypting(lab, {**files, "apps/a.yaml": json.dumps(plain)}) as world:
        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert (await world.live(CONFIG_MAP, "a"))["data"] == {"install.sh": script}
        assert (await world.live(CONFIG_MAP, "v"))["data"] == {"values.yaml": values}


@pytest.mark.parametrize("is_refused", [False, True])
@in_virtual_time
async def test_an_annotation_that_makes_ciphertext_of_a_secret_is_told_or_refused(lab: Lab, is_refused: bool) -> None:
    sealed = lab.secret()
    async with _decrypting(lab, {"apps/a.yaml": sealed}) as world:
        if is_refused:
            patch = {"metadata": {"annotations": {"sealoop.dev/sops-replay": "refuse"}}}
            apps = ObjectRef(Kustomization.KIND, ObjectKey("default", "apps"))
            await world.local.patch(apps, patch, field_manager="test")
        marked = 'name: db\n    annotations: {"kustomize.toolkit.fluxcd.io/decrypt": disabled}'
        assert "name: db" in sealed
        await world.commit_and_sync({"apps/a.yaml": sealed.replace("name: db", marked)})

        reason = condition(await world.kustomization("apps"), "InsecureSecrets")[1]
        assert reason == "LeftEncrypted"
        assert condition(await world.kustomization("apps"), "Ready")[0] == ("False" if is_refused else "True")
        value = b64decode((await world.live(SECRET, "db"))["data"]["password"]).decode()
        assert (value == PASSWORD) is is_refused


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("immutable: false", "notimmutable: false"),
        ("type: Opaque", "type: Opa\nother: que"),
        ("type: Opaque", "type: Opaque\nautomountServiceAccountToken: null"),
        ("    name: db", '    name: db\n    labels: {"kustomize.toolkit.fluxcd.io/prune": ""}'),
    ],
    ids=["another name", "split", "a null", "an empty text"],
)
@in_virtual_time
async def test_what_a_mac_does_not_cover_is_compared_with_what_was_applied_before(lab: Lab, old: str, new: str) -> None:
    sealed = lab.secret(type="Opaque", immutable=False)
    assert old in sealed
    async with _decrypting(lab, {"apps/a.yaml": sealed}) as world:
        patch = {"metadata": {"annotations": {"sealoop.dev/sops-replay": "refuse"}}}
        apps = ObjectRef(Kustomization.KIND, ObjectKey("default", "apps"))
        await world.local.patch(apps, patch, field_manager="test")
        await world.commit_and_sync({"apps/a.yaml": f"# a comment is no change\n{sealed}"})
        assert condition(await world.kustomization("apps"), "InsecureSecrets") == ("", "", "")
        await world.commit_and_sync({"apps/a.yaml": sealed.replace(old, new)})

        assert condition(await world.kustomization("apps"), "Ready")[:2] == ("False", "EditedSecrets")


@in_virtual_time
async def test_without_a_folder_in_memory_nothing_decrypted_is_built_and_all_else_is(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_find_memory", lambda: None)
    files = {"apps/kustomization.yaml": "resources: [a.yaml]\nnamePrefix: x-\n", "apps/a.yaml": lab.secret()}
    other = {"other/kustomization.yaml": "resources: [a.yaml]\nnamePrefix: x-\n", "other/a.yaml": config_map("a")}
    async with _decrypting(lab, {**files, **other}) as world:
        await world.sync("other", "./other")
        await asyncio.sleep(5)

        assert "not written to a disk" in condition(await world.kustomization("apps"), "Ready")[2]
        assert await world.live(SECRET, "x-db") is None
        assert condition(await world.kustomization("other"), "Ready")[0] == "True"


# what others lose by it


@dataclass
class Stubborn:
    """Opens nothing until it is told to, and then fails as a key service that hangs does."""

    asked: int = 0
    at_once: int = 0
    is_asked: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def decrypt(
        self, text: bytes, format_: Format, block: Block, keys: SopsKeys, *, check_mac: bool = True
    ) -> bytes:
        self.asked += 1
        self.at_once += 1
        self.is_asked.set()
        try:
            await self.told.wait()
            raise SopsUnavailable("it takes longer than 30s to decrypt")
        finally:
            self.at_once -= 1


class Growing:
    """Opens anything, which then has so many bytes."""

    size = 1_000_000

    async def decrypt(
        self, text: bytes, format_: Format, block: Block, keys: SopsKeys, *, check_mac: bool = True
    ) -> bytes:
        return b"a: b\n".ljust(self.size, b"#")


def _make_decrypter(decryptor: Any) -> Decrypter:
    return Decrypter(LocalCluster.open(None, VirtualClock(), SeededChance(1)), Kustomize(), decryptor)


def _make_files(count: int) -> tuple[FixedTree, Scan]:
    files = {f"{number}.yaml": f"a: {number}\nsops: {{mac: x}}\n".encode() for number in range(count)}
    return FixedTree("t", files), Scan(tuple(one for path, data in files.items() for one in find_sealed(path, data)))


async def test_when_a_key_service_hangs_nothing_more_is_asked_of_it_for_the_same_build() -> None:
    stubborn = Stubborn()
    decrypter, (tree, scan) = _make_decrypter(stubborn), _make_files(100)
    opening = asyncio.create_task(decrypter.open_files(tree, scan, SopsKeys()))
    await stubborn.is_asked.wait()
    stubborn.told.set()

    with pytest.raises(SopsUnavailable):
        await opening

    await decrypter._under_way.close()
    assert stubborn.at_once == 0
    assert stubborn.asked <= decrypting.AT_ONCE


async def test_who_is_given_up_leaves_nothing_that_is_opened_still() -> None:
    stubborn = Stubborn()
    decrypter, (tree, scan) = _make_decrypter(stubborn), _make_files(100)
    opening = asyncio.create_task(decrypter.open_files(tree, scan, SopsKeys()))
    await stubborn.is_asked.wait()
    opening.cancel()
    await asyncio.wait({opening})
    await decrypter._under_way.close()

    assert stubborn.at_once == 0
    assert stubborn.asked <= decrypting.AT_ONCE


async def test_files_that_grow_when_they_are_opened_take_no_more_memory_than_one_build_may() -> None:
    decrypter, (tree, scan) = _make_decrypter(Growing()), _make_files(100)

    with pytest.raises(ManifestInvalid, match="more than 64 MiB"):
        await decrypter.open_files(tree, scan, SopsKeys())


async def test_what_is_kept_weighs_what_it_takes_and_not_what_its_file_is_long() -> None:
    decrypter, (tree, scan) = _make_decrypter(Growing()), _make_files(3)
    decrypter._texts = Recent(2 * Growing.size)  # room for one, with all that belongs to it

    await decrypter.open_files(tree, scan, SopsKeys())

    assert len(decrypter._texts) == 1


async def test_a_scan_of_a_file_that_names_thousands_weighs_them_all() -> None:
    items = "".join(f"- {{apiVersion: v1, kind: Secret, metadata: {{name: {'n' * 60}{n}}}}}\n" for n in range(1000))
    tree = FixedTree("t", {"apps/a.yaml": f"kind: List\nsops: {{mac: x}}\nitems:\n{items}".encode()})
    decrypter = _make_decrypter(Growing())

    (sealed,) = (await decrypter.scan(tree, Overlay(), "apps")).sealed

    assert len(sealed.names) == 1000
    assert decrypter._scans.weight > sum(map(len, sealed.names))


async def test_a_text_is_what_its_name_says_though_another_of_the_same_contents_was_opened_before(lab: Lab) -> None:
    decrypter = _make_decrypter(Sops())
    text = lab.seal('{"a": 1, "b": "x"}', format_="json").encode()
    keys = SopsKeys(Sensitive(lab.key.identity))

    first = (await decrypter.open_text("x.yaml", text, keys)).text.reveal()
    second = (await decrypter.open_text("yaml", text, keys)).text.reveal()

    assert first.startswith(b"a: 1")
    assert json.loads(second) == {"a": 1, "b": "x"}
