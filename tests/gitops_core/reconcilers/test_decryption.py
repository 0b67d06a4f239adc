"""Encrypted files on the embedded cluster: what is opened how often, for whom, and what is told or kept quiet."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gitops_core.adapters.kustomize import Kustomize
from gitops_core.adapters.sops import Sops
from gitops_core.api import Kustomization
from gitops_core.domain.render.encrypted import Block, Format
from gitops_core.domain.render.sopskeys import SopsKeys
from gitops_core.errors import DecryptionFailed, Invalid
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Tree
from gitops_core.ports import Overlay
from gitops_core.recent import Recent
from gitops_core.runtime.policy import Policy
from tests.gitops_core.reconcilers.world import CONFIG_MAP, DEPLOYMENT, World, condition
from tests.servers.sops import SECRET_FIELDS, AgeKey, encrypt
from tests.simulation.loop import in_virtual_time

SECRET = Kind("", "v1", "Secret")
WATCHED = {"reconcile.fluxcd.io/watch": "Enabled"}
PASSWORD = "hunter2-4711-tiger"
BUILD = "kustomization.yaml"


@dataclass
class Counting:
    """The sops program, and how often it was asked."""

    inner: Sops = field(default_factory=Sops)
    asked: int = 0

    async def decrypt(
        self, text: bytes, format_: Format, block: Block, keys: SopsKeys, *, check_mac: bool = True
    ) -> bytes:
        self.asked += 1
        return await self.inner.decrypt(text, format_, block, keys, check_mac=check_mac)


class CountingKustomize(Kustomize):
    """The kustomize program, and how often something was built."""

    rendered = 0

    async def render(self, tree: Tree, overlay: Overlay, path: str = "") -> tuple[Manifest, ...]:
        self.rendered += 1
        return await super().render(tree, overlay, path)


@dataclass(frozen=True)
class Lab:
    """Throw-away keys, and files that are encrypted for the first."""

    folder: Path
    key: AgeKey
    other: AgeKey

    def seal(self, text: str, *arguments: str, format_: str = "yaml") -> str:
        return encrypt(self.folder, text, *arguments, age=self.key, format_=format_).decode()

    def secret(self, name: str = "db", password: str = PASSWORD, **more: Any) -> str:
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        return self.seal(json.dumps({**manifest, "stringData": {"password": password}, **more}), *SECRET_FIELDS)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("sops"), AgeKey.make(), AgeKey.make())


async def _put_keys(world: World, *keys: AgeKey, namespace: str = "default", **labels: str) -> None:
    data = {f"{number}.agekey": key.identity for number, key in enumerate(keys)}
    metadata: dict[str, Any] = {"name": "keys", "namespace": namespace, "labels": labels}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
    await world.local.apply(manifest, field_manager="test", force=True)


DECRYPTION = {"provider": "sops", "secretRef": {"name": "keys"}}


@asynccontextmanager
async def _decrypting(
    lab: Lab, files: Mapping[str, str], policy: Policy | None = None, **spec: Any
) -> AsyncIterator[tuple[World, Counting]]:
    """Run a process whose Kustomization `apps` applies the folder ./apps of `files`; its first sync is done."""
    world, counting = World(policy) if policy else World(), Counting()
    world.decryptor, world.renderer = counting, CountingKustomize()
    await world.begin(files)
    await _put_keys(world, lab.key, **WATCHED)
    await world.sync("apps", "./apps", **{"decryption": DECRYPTION, "retryInterval": "1m", **spec})
    async with world.running():
        await asyncio.sleep(5)
        yield world, counting


async def _tell_everything(world: World) -> str:
    """Return what a person without rights to Secrets may see of the Kustomization and of the objects' names."""
    return repr(await world.kustomization("apps")) + repr(await world.events("apps"))


def _password(secret: Any) -> str:
    return b64decode(secret["data"]["password"]).decode()


async def _annotate(world: World, **annotations: str) -> None:
    ref = ObjectRef(Kustomization.KIND, ObjectKey("default", "apps"))
    about = {name.replace("_", "-"): text for name, text in annotations.items()}
    patch = {"metadata": {"annotations": {f"sealoop.dev/{name}": text for name, text in about.items()}}}
    await world.local.patch(ref, patch, field_manager="test")


@pytest.mark.parametrize("is_built", [False, True])
@in_virtual_time
async def test_what_did_not_change_is_opened_once_and_not_built_again(lab: Lab, is_built: bool) -> None:
    files = {f"apps/{number}.yaml": lab.secret(f"db{number}") for number in range(3)}
    if is_built:
        files[f"apps/{BUILD}"] = "resources: [0.yaml, 1.yaml, 2.yaml]\n"
    async with _decrypting(lab, files, interval="1m") as (world, counting):
        assert _password(await world.live(SECRET, "db2")) == PASSWORD
        assert counting.asked == 3

        built = vars(world.renderer)["rendered"]
        await world.request(Kustomization, "apps", "again")
        await asyncio.sleep(150)
        assert counting.asked == 3
        assert vars(world.renderer)["rendered"] == built

        await world.commit_and_sync({"apps/1.yaml": lab.secret("db1", "another-word")})
        assert _password(await world.live(SECRET, "db1")) == "another-word"
        assert counting.asked == 4


@in_virtual_time
async def test_a_key_that_is_taken_away_opens_nothing_more_and_its_return_is_noticed_at_once(lab: Lab) -> None:
    async with _decrypting(lab, {"apps/a.yaml": lab.secret()}) as (world, _):
        await _put_keys(world, lab.other, **WATCHED)
        await asyncio.sleep(5)
        status, reason, message = condition(await world.kustomization("apps"), "Ready")
        assert (status, reason) == ("False", "BuildFailed")
        assert message == f"apps/a.yaml: no key opens it: it is for age {lab.key.recipient}"
        assert _password(await world.live(SECRET, "db")) == PASSWORD

        await _put_keys(world, lab.key, lab.other, **WATCHED)
        await asyncio.sleep(5)
        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"


@in_virtual_time
async def test_who_has_another_key_gets_nothing_of_what_others_opened(lab: Lab) -> None:
    async with _decrypting(lab, {"apps/a.yaml": lab.secret()}) as (world, _):
        other = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "namespace": "default"}}
        data = {"x.agekey": lab.other.identity}
        await world.local.apply({**other, "stringData": data}, field_manager="test", force=True)
        own = {"provider": "sops", "secretRef": {"name": "mine"}}
        await world.sync("thief", "./apps", decryption=own, namePrefix="stolen-")
        await asyncio.sleep(5)

        assert condition(await world.kustomization("thief"), "Ready")[1] == "BuildFailed"
        assert await world.live(SECRET, "stolen-db") is None


@pytest.mark.parametrize("spec", [{}, {"namePrefix": "p-"}, {"patches": [{"patch": "{}", "target": {"kind": "X"}}]}])
@in_virtual_time
async def test_the_renderer_keeps_nothing_of_a_decrypted_folder(lab: Lab, spec: dict[str, Any]) -> None:
    files = {"apps/a.yaml": lab.secret(), "apps/b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\n"}
    async with _decrypting(lab, files, **spec) as (world, _):
        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        caches = [value for value in vars(world.renderer).values() if isinstance(value, Recent)]
        assert len(caches) >= 4
        assert not any(cache.list_items() for cache in caches)


DEPLOYED = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: web, env: [{name: TOKEN, value: hunter2-4711-tiger}]}]
"""


@in_virtual_time
async def test_what_the_server_quotes_of_a_decrypted_value_is_muted_whatever_the_kind(lab: Lab) -> None:
    sealed = lab.seal(DEPLOYED, "--encrypted-regex", "^value$")
    async with _decrypting(lab, {"apps/a.yaml": sealed}) as (world, _):
        live, ref = await world.live(DEPLOYMENT, "web"), ObjectRef(DEPLOYMENT, ObjectKey("default", "web"))
        assert live["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "TOKEN", "value": PASSWORD}]
        world.cluster.trials["apply", "Deployment/web"] = Invalid(ref, f'spec.env: Invalid value: "{PASSWORD}"')

        changed = DEPLOYED.replace("image: web", "image: web2")
        await world.commit_and_sync({"apps/a.yaml": lab.seal(changed, "--encrypted-regex", "^value$")})

        told = await _tell_everything(world)
        assert "Invalid value" in told
        assert "hunter2" not in told


@in_virtual_time
async def test_what_kustomize_quotes_of_a_decrypted_file_is_muted(lab: Lab) -> None:
    broken = f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, labels: {PASSWORD}}}\n"
    files = {
        "apps/web.yaml": lab.seal(broken, "--encrypted-regex", "^labels$"),
        f"apps/{BUILD}": "resources: [web.yaml]\nlabels: [{pairs: {a: b}}]\n",
    }
    async with _decrypting(lab, files) as (world, _):
        _, reason, message = condition(await world.kustomization("apps"), "Ready")
        assert (reason, "node contents:\n***" in message) == ("BuildFailed", True)
        assert "hunter2" not in await _tell_everything(world)


@in_virtual_time
async def test_the_history_does_not_tell_whether_two_secrets_are_the_same(lab: Lab) -> None:
    """Who may read a status could else find a short password out by trying."""
    async with _decrypting(lab, {"apps/a.yaml": lab.secret()}) as (world, _):
        await world.commit_and_sync({"apps/a.yaml": lab.secret()})
        history = (await world.kustomization("apps"))["status"]["history"]

    assert len({entry["digest"] for entry in history}) == 2


@in_virtual_time
async def test_a_missing_secret_with_keys_is_told_and_its_coming_is_noticed(lab: Lab) -> None:
    async with _decrypting(
        lab, {"apps/a.yaml": lab.secret()}, decryption={"provider": "sops", "secretRef": {"name": "later"}}
    ) as (world, _):
        assert condition(await world.kustomization("apps"), "Ready") == (
            "False",
            "BuildFailed",
            "spec.decryption: failed to get secret 'default/later': not found",
        )
        metadata = {"name": "later", "namespace": "default", "labels": WATCHED}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "stringData": {"a.agekey": lab.key.identity},
        }
        await world.local.apply(secret, field_manager="test", force=True)
        await asyncio.sleep(5)

        assert _password(await world.live(SECRET, "db")) == PASSWORD


@in_virtual_time
async def test_the_operators_keys_open_for_who_names_none_also_where_objects_keep_to_their_namespaces(lab: Lab) -> None:
    policy = Policy(cross_namespace_references=False, sops_age_secret=ObjectKey("operators", "keys"))
    world = World(policy)
    await world.begin({"apps/a.yaml": lab.secret()})
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "operators"}}
    await world.local.create(namespace, field_manager="test")
    await _put_keys(world, lab.key, namespace="operators")
    await world.sync("apps", "./apps", decryption={"provider": "sops"})
    async with world.running():
        await asyncio.sleep(5)

        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert _password(await world.live(SECRET, "db")) == PASSWORD


@dataclass
class Noting:
    """Notes with whose rights key services may be asked."""

    lent: set[bool] = field(default_factory=set)

    async def decrypt(
        self, text: bytes, format_: Format, block: Block, keys: SopsKeys, *, check_mac: bool = True
    ) -> bytes:
        self.lent.add(keys.is_ambient)
        raise DecryptionFailed("no key opens it")


@pytest.mark.parametrize("account", ["", "tenant"])
@pytest.mark.parametrize("decryption", [DECRYPTION, {"provider": "sops"}])
@in_virtual_time
async def test_the_services_own_rights_at_key_services_are_not_lent_where_everybody_has_an_account(
    lab: Lab, account: str, decryption: dict[str, Any]
) -> None:
    world, noting = World(Policy(default_service_account=account)), Noting()
    world.decryptor = noting
    await world.begin({"apps/a.yaml": lab.secret()})
    await _put_keys(world, lab.other)
    await world.sync("apps", "./apps", decryption=decryption)
    async with world.running():
        await asyncio.sleep(5)

    assert noting.lent == {not account}


# what is told of files that are valid


def _with_time(sealed: str) -> str:
    match = re.search(r'lastmodified: "?([^"\n]+)', sealed)
    assert match is not None
    return match[1]


@pytest.mark.parametrize("is_refused", [False, True])
@in_virtual_time
async def test_an_older_file_that_comes_back_is_told_or_refused(lab: Lab, is_refused: bool) -> None:
    old = lab.secret(password="old-word-1")
    await asyncio.to_thread(_wait_for_another_second, _with_time(old), lab)
    new = lab.secret(password="new-word-2")
    async with _decrypting(lab, {"apps/a.yaml": old}) as (world, _):
        if is_refused:
            await _annotate(world, sops_replay="refuse")
        await world.commit_and_sync({"apps/a.yaml": new})
        assert condition(await world.kustomization("apps"), "InsecureSecrets") == ("", "", "")

        await world.commit_and_sync({"apps/a.yaml": None, "apps/renamed.yaml": old})

        live = await world.kustomization("apps")
        _, reason, message = condition(live, "InsecureSecrets")
        assert reason == "ReplayedSecrets"
        assert message == (
            f"apps/renamed.yaml (Secret/db) was encrypted at {_with_time(old)}, "
            f"and one of {_with_time(new)} was applied before"
        )
        assert condition(live, "Ready")[:2] == (
            ("False", "ReplayedSecrets") if is_refused else ("True", "ReconciliationSucceeded")
        )
        assert _password(await world.live(SECRET, "db")) == ("new-word-2" if is_refused else "old-word-1")
        assert [reason for type_, reason, _ in await world.events("apps") if type_ == "Warning"] == ["ReplayedSecrets"]

        await world.commit_and_sync({"apps/renamed.yaml": None, "apps/a.yaml": new})
        assert condition(await world.kustomization("apps"), "InsecureSecrets") == ("", "", "")
        assert _password(await world.live(SECRET, "db")) == "new-word-2"


def _wait_for_another_second(told: str, lab: Lab) -> None:
    """sops writes its own clock's seconds."""
    while _with_time(lab.secret("clock")) == told:
        pass


@in_virtual_time
async def test_a_file_that_now_stands_for_another_object_is_told_or_refused(lab: Lab) -> None:
    rule = f"creation_rules: [{{age: {lab.key.recipient}, mac_only_encrypted: true, encrypted_regex: stringData}}]"
    text = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: db}}\nstringData: {{password: {PASSWORD}}}\n"
    sealed = encrypt(lab.folder, text, config=rule).decode()
    async with _decrypting(lab, {"apps/a.yaml": sealed}) as (world, _):
        await _annotate(world, sops_replay="refuse")
        await world.commit_and_sync({"apps/b.yaml": sealed.replace("name: db", "name: mine")})

        live = await world.kustomization("apps")
        assert condition(live, "Ready")[1:] == (
            "MovedSecrets",
            "apps/b.yaml (Secret/mine) holds what was encrypted for Secret/db",
        )
        assert await world.live(SECRET, "mine") is None

        await _annotate(world, sops_replay="warn")
        await asyncio.sleep(5)
        assert condition(await world.kustomization("apps"), "InsecureSecrets")[1] == "MovedSecrets"
        assert _password(await world.live(SECRET, "mine")) == PASSWORD


PLAIN = "apiVersion: v1\nkind: Secret\nmetadata: {name: open}\nstringData: {a: hunter2-4711-tiger}\n"
LISTED = "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Secret, metadata: {name: x}, data: {a: eA==}}]\n"
EMPTY = "apiVersion: v1\nkind: Secret\nmetadata: {name: empty}\nstringData: {a: ''}\n"
TOKEN = EMPTY.replace("''", "x").replace("name: empty", "name: t, annotations: {kubernetes.io/service-account.name: x}")
TOKEN += "type: kubernetes.io/service-account-token\n"


@pytest.mark.parametrize(
    ("file", "told"),
    [(PLAIN, "apps/b.yaml (Secret/open)"), (LISTED, "apps/b.yaml (Secret/x)"), (EMPTY, ""), (TOKEN, "")],
)
@in_virtual_time
async def test_secrets_that_stand_in_git_as_they_are_are_refused_where_the_operator_wants_it(
    lab: Lab, file: str, told: str
) -> None:
    files = {"apps/a.yaml": lab.secret(), "apps/b.yaml": file}
    async with _decrypting(lab, files, Policy(plain_secrets="refuse")) as (world, _):
        live = await world.kustomization("apps")
        expected = f"Secrets stand in the source for everybody to read: {told}"
        assert condition(live, "Ready")[1:] == (
            ("PlainSecrets", expected) if told else ("ReconciliationSucceeded", condition(live, "Ready")[2])
        )
        assert "hunter2" not in await _tell_everything(world)


@in_virtual_time
async def test_generators_that_take_values_from_git_are_told_without_any_decryption(lab: Lab) -> None:
    files = {
        f"apps/{BUILD}": "secretGenerator: [{name: a, files: [word.txt]}, {name: b, literals: [x=y]}]\n",
        "apps/word.txt": "plain",
    }
    async with _decrypting(lab, files, Policy(plain_secrets="warn"), decryption=None) as (world, _):
        live = await world.kustomization("apps")
        assert condition(live, "Ready")[0] == "True"
        assert condition(live, "InsecureSecrets")[1:] == (
            "PlainSecrets",
            "Secrets stand in the source for everybody to read: apps/word.txt, literals of a secretGenerator",
        )


# what is never applied

ENCRYPTED_ITEM = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "x"},
    "stringData": {"a": "ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]"},
}


@pytest.mark.parametrize(
    "manifest",
    [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {}, "sops": {"mac": "x"}},
        {"apiVersion": "e.com/v1", "kind": "Thing", "metadata": {"name": "x"}, "sops": {"age": []}},
        {"apiVersion": "v1", "kind": "List", "items": [{**ENCRYPTED_ITEM, "sops": {"mac": "x"}}]},
        ENCRYPTED_ITEM,
        {**ENCRYPTED_ITEM, "stringData": {"sops_mac": "x", "a": "b"}},
        {**ENCRYPTED_ITEM, "stringData": {"a.json": '{"data": "x", "sops": {"mac": "x"}}'}},
    ],
    ids=["config map", "custom resource", "in a list", "block taken away", "keys of lines", "a file in a value"],
)
@in_virtual_time
async def test_what_is_encrypted_is_never_applied_as_it_is(lab: Lab, manifest: dict[str, Any]) -> None:
    async with _decrypting(lab, {"apps/a.yaml": json.dumps(manifest)}, decryption=None) as (world, _):
        status, reason, message = condition(await world.kustomization("apps"), "Ready")

        assert (status, reason) == ("False", "ReconciliationFailed")
        assert re.match(r".*(Thing|ConfigMap|Secret)/default/x is SOPS encrypted, ", message)
        assert await world.live(SECRET, "x") is None
        assert await world.live(CONFIG_MAP, "x") is None


@in_virtual_time
async def test_who_wants_an_object_as_it_is_says_so_on_it(lab: Lab) -> None:
    metadata = {"name": "x", "annotations": {"kustomize.toolkit.fluxcd.io/decrypt": "Disabled"}}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}, "sops": {"mac": "x"}}
    async with _decrypting(lab, {"apps/a.yaml": json.dumps(manifest)}) as (world, counting):
        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert (await world.live(CONFIG_MAP, "x"))["data"] == {"a": "b"}
        assert counting.asked == 0


@in_virtual_time
async def test_a_file_that_is_put_into_a_config_map_stays_closed_and_is_refused(lab: Lab) -> None:
    files = {
        "apps/app.json": lab.seal(json.dumps({"password": PASSWORD}), format_="json"),
        f"apps/{BUILD}": "configMapGenerator: [{name: cm, files: [app.json]}]\n"
        "secretGenerator: [{name: s, files: [app.json]}]\ngeneratorOptions: {disableNameSuffixHash: true}\n",
    }
    async with _decrypting(lab, files) as (world, counting):
        assert (
            "app.json of ConfigMap/default/cm is SOPS encrypted"
            in condition(await world.kustomization("apps"), "Ready")[2]
        )
        assert counting.asked == 1  # for the Secret, whose value it is


@in_virtual_time
async def test_several_documents_are_opened_each_by_its_own_block_or_together_by_one(lab: Lab) -> None:
    both = lab.seal(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {password: one}\n---\n"
        "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\nstringData: {password: two}\n",
        *SECRET_FIELDS,
    )
    plain = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {a: b}\n"
    files = {"apps/a.yaml": f"{plain}---\n{lab.secret('c', 'three')}---  # together\n{both}"}
    async with _decrypting(lab, files) as (world, counting):
        assert condition(await world.kustomization("apps"), "Ready")[0] == "True"
        assert [_password(await world.live(SECRET, name)) for name in "abc"] == ["one", "two", "three"]
        assert (await world.live(CONFIG_MAP, "cm"))["data"] == {"a": "b"}
        assert counting.asked == 2
