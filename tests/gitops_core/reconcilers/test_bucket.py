"""Buckets and what is applied from them: moto, stores that lie, and the real runtime."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from aiohttp import web

from gitops_core.api import Bucket, Kustomization
from gitops_core.meta import Kind
from gitops_core.runtime.policy import Policy
from gitops_core.schema import read_manifest
from tests.gitops_core.reconcilers.realworld import RealWorld, condition, ready, real_world
from tests.servers.aws import S3Server
from tests.servers.certificates import Authority
from tests.servers.proxy import socks_proxy
from tests.stretches import LONGEST, Stretches

CONFIG_MAP = Kind("", "v1", "ConfigMap")
SOURCE = Bucket.KIND


def config_map(name: str, value: str = "1") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{v: '{value}'}}\n"


async def fill(server: S3Server, bucket: str, objects: Mapping[str, str], *, gone: tuple[str, ...] = ()) -> None:
    def work() -> None:
        client = server.client()
        client.create_bucket(Bucket=bucket)
        for key, body in objects.items():
            client.put_object(Bucket=bucket, Key=key, Body=body.encode())
        for key in gone:
            client.delete_object(Bucket=bucket, Key=key)

    await asyncio.to_thread(work)


async def watch(world: RealWorld, host: str, bucket: str, name: str = "r", **spec: Any) -> Any:
    """Make a Bucket, and return it with its first result."""
    defaults = {"bucketName": bucket, "endpoint": host, "interval": "24h", "insecure": True}
    await world.secret("keys", {"accesskey": "AKIAEXAMPLE", "secretkey": "not-a-secret"})
    complete = {**defaults, "secretRef": {"name": "keys"}, **spec}
    await world.make(Bucket, name, **{key: value for key, value in complete.items() if value is not None})
    return await world.answered(SOURCE, name)


async def sync(world: RealWorld) -> None:
    reference = {"kind": "Bucket", "name": "r"}
    await world.make(Kustomization, "apps", interval="24h", prune=True, path="./app", sourceRef=reference)


async def applied(world: RealWorld, live: Any) -> Any:
    revision = live["status"]["artifact"]["revision"]
    return await world.until(
        Kustomization.KIND, "apps", lambda live: live.get("status", {}).get("lastAppliedRevision") == revision
    )


async def test_what_a_bucket_holds_is_applied_and_what_changes_too(s3_server: S3Server, tmp_path: Path) -> None:
    await fill(s3_server, "applied", {"app/one.yaml": config_map("one"), "app/two.yaml": config_map("two")})
    async with real_world(tmp_path / "state") as world, world.running():
        live = await watch(world, s3_server.host, "applied")
        await sync(world)
        await applied(world, live)

        await fill(s3_server, "applied", {"app/one.yaml": config_map("one", "2")}, gone=("app/two.yaml",))
        await applied(world, await world.request(SOURCE, "r", "changed"))

        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"v": "2"}
        assert await world.live(CONFIG_MAP, "two") is None


@pytest.mark.parametrize("how", ["emptied", "prefix", "folder gone"])
async def test_an_emptied_bucket_deletes_nothing(how: str, s3_server: S3Server, tmp_path: Path) -> None:
    bucket = f"emptied-{how.replace(' ', '-')}"
    await fill(s3_server, bucket, {"app/one.yaml": config_map("one")})
    async with real_world(tmp_path / "state") as world, world.running():
        live = await watch(world, s3_server.host, bucket)
        await sync(world)
        await applied(world, live)

        if how == "prefix":
            await world.patch(SOURCE, "r", {"spec": {"prefix": "nope/"}})
        else:
            beside: dict[str, str] = {"other/x.yaml": config_map("x")} if how == "folder gone" else {}
            await fill(s3_server, bucket, beside, gone=("app/one.yaml",))
        live = await world.request(SOURCE, "r", "emptied")
        assert ready(live) == ("True", "Succeeded")

        told = await world.until(Kustomization.KIND, "apps", lambda live: ready(live)[0] == "False")
        assert ready(told)[1] in ("BuildFailed", "ArtifactFailed")
        assert (await world.live(CONFIG_MAP, "one"))["data"] == {"v": "1"}


async def test_files_that_were_lost_with_the_disk_are_brought_again(s3_server: S3Server, tmp_path: Path) -> None:
    await fill(s3_server, "lost", {"app/one.yaml": config_map("one")})
    async with real_world(tmp_path / "state") as world:
        async with world.running():
            live = await watch(world, s3_server.host, "lost")
            await sync(world)
            await applied(world, live)
        await world.patch(CONFIG_MAP, "one", {"data": {"v": "by hand"}})
        async with real_world(tmp_path / "another") as other:
            world.git = other.git
            async with world.running():
                await world.request(Kustomization.KIND, "apps", "again")
                assert (await world.live(CONFIG_MAP, "one"))["data"] == {"v": "1"}


async def test_the_prefix_and_the_region_are_the_store_s(s3_server: S3Server, tmp_path: Path) -> None:
    objects = {"app/one.yaml": config_map("one"), "apples/x.yaml": config_map("x"), "b/y.yaml": config_map("y")}
    await fill(s3_server, "prefixed", objects)
    async with real_world(tmp_path / "state") as world, world.running():
        live = await watch(world, s3_server.host, "prefixed", prefix="app/", region="eu-central-1")
        tree = await world.kinds["Bucket"].read_tree(_read(live), live["status"]["artifact"]["revision"])

        assert set(tree) == {"app/one.yaml"}


def _read(live: Any) -> Bucket:
    return read_manifest(Bucket, live)


async def test_a_thousand_objects_come_in_pages_while_the_loop_goes_on(s3_server: S3Server, tmp_path: Path) -> None:
    many = {f"app/{number:04}.yaml": config_map(f"m{number}") for number in range(1005)}
    await fill(s3_server, "many", many)
    stretches = Stretches()
    async with real_world(tmp_path / "state") as world:
        with stretches.measured():
            async with world.running():
                live = await watch(world, s3_server.host, "many", timeout="5m")
                tree = await world.kinds["Bucket"].read_tree(_read(live), live["status"]["artifact"]["revision"])
        assert set(tree) == set(many)

    assert stretches.longest < LONGEST, stretches.where


# Trust and credentials


async def test_trust_is_never_shared_between_objects(s3_tls_server: S3Server, tmp_path: Path) -> None:
    await fill(s3_tls_server, "trusted", {"a.yaml": config_map("a")})
    other = Authority.make(tmp_path / "other", "another").certificate.read_text()
    async with real_world(tmp_path / "state") as world, world.running():
        await world.secret("ca", {"ca.crt": s3_tls_server.ca})
        await world.secret("other", {"ca.crt": other})
        results = dict[str, str]()
        for name, secret in (("first", "ca"), ("nothing", ""), ("another", "other"), ("again", "ca")):
            spec = {"certSecretRef": {"name": secret}} if secret else {}
            live = await watch(world, s3_tls_server.host, "trusted", name, insecure=False, **spec)
            results[name] = ready(live)[0]

        assert results == {"first": "True", "nothing": "False", "another": "False", "again": "True"}


async def test_the_signature_is_what_a_store_that_checks_it_takes(s3_auth_server: S3Server, tmp_path: Path) -> None:
    await fill(s3_auth_server, "signed", {"app/a b+c/ü&=.yaml": config_map("one"), "x~y/(1)*'!.txt": "x"})
    access_key, secret_key = s3_auth_server.keys
    async with real_world(tmp_path / "state") as world, world.running():
        await world.secret("good", {"accesskey": access_key, "secretkey": secret_key})
        live = await watch(world, s3_auth_server.host, "signed", secretRef={"name": "good"}, prefix="")

        assert ready(live) == ("True", "Succeeded"), live
        tree = await world.kinds["Bucket"].read_tree(_read(live), live["status"]["artifact"]["revision"])
        assert set(tree) == {"app/a b+c/ü&=.yaml", "x~y/(1)*'!.txt"}


async def test_a_socks_proxy_leads_to_the_store(s3_server: S3Server, tmp_path: Path) -> None:
    await fill(s3_server, "by-socks", {"app/one.yaml": config_map("one")})
    async with socks_proxy("u:p") as proxy, real_world(tmp_path / "state") as world, world.running():
        await world.secret("proxy", {"address": f"socks5://{proxy.host}", "username": "u", "password": "p"})
        live = await watch(world, s3_server.host, "by-socks", proxySecretRef={"name": "proxy"})

        assert ready(live) == ("True", "Succeeded")
        assert set(proxy.targets) == {s3_server.host}


async def test_where_no_region_is_said_the_one_that_the_store_names_is_signed_for(tmp_path: Path) -> None:
    async with liar() as (host, store), real_world(tmp_path / "state") as world, world.running():
        scopes: list[str] = []

        def answer(request: web.Request) -> web.StreamResponse:
            scopes.append(request.headers["Authorization"].split("/")[2])
            if scopes[-1] != "eu-west-1":
                return web.Response(status=400, headers={"x-amz-bucket-region": "eu-west-1"})
            return web.Response(text=write_page({}))

        store.answers[""] = answer
        assert ready(await watch(world, host, "shop")) == ("True", "Succeeded")
        assert ready(await watch(world, host, "shop", "said", region="us-east-1"))[0] == "False"
        assert scopes == ["us-east-1", "eu-west-1", "us-east-1"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"secretRef": {"name": "none"}}, "AuthenticationFailed"),
        ({"secretRef": {"name": "half"}}, "AuthenticationFailed"),
        ({"certSecretRef": {"name": "none"}}, "AuthenticationFailed"),
        ({"proxySecretRef": {"name": "none"}}, "AuthenticationFailed"),
        ({"endpoint": "http://127.0.0.1:1"}, "AuthenticationFailed"),
        ({"endpoint": "user@127.0.0.1:1"}, "AuthenticationFailed"),
        ({"endpoint": "["}, "AuthenticationFailed"),
        ({"endpoint": "a:b"}, "AuthenticationFailed"),
        ({"endpoint": ""}, "AuthenticationFailed"),
        ({"provider": "azure"}, "FieldsNotSupported"),
        ({"provider": "gcp"}, "AuthenticationFailed"),
        ({"provider": "aws", "secretRef": None}, "AuthenticationFailed"),
        ({"sts": {"provider": "ldap", "endpoint": "https://x"}, "secretRef": None}, "AuthenticationFailed"),
    ],
)
async def test_what_cannot_be_reached_as_it_says_is_not_asked(
    spec: Mapping[str, Any], reason: str, tmp_path: Path
) -> None:
    async with liar() as (host, store), real_world(tmp_path / "state") as world, world.running():
        await world.secret("half", {"accesskey": "only"})
        live = await watch(world, host, "shop", **spec)

        assert ready(live) == ("False", reason)
        assert store.requests == []


# Stores that lie


@dataclass
class Store:
    """An object store that answers what it is told to, by the key ("" is the listing)."""

    answers: dict[str, Callable[[web.Request], web.StreamResponse]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    hangs: bool = False

    def hold(self, objects: Mapping[str, str]) -> None:
        for key, text in objects.items():
            self.answers[key] = _make_answer(text)
        self.answers[""] = lambda _: web.Response(text=write_page(objects))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        key = request.path.partition("/")[2].partition("/")[2]
        self.requests.append((request.method, request.path_qs))
        if request.method == "HEAD":
            return web.Response()
        if self.hangs:
            await asyncio.sleep(3600)
        if key not in self.answers:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        return self.answers[key](request)


def _make_answer(text: str) -> Callable[[web.Request], web.StreamResponse]:
    return lambda _: web.Response(text=text, headers={"ETag": f'"{hash(text)}"'})


def write_page(objects: Mapping[str, str], token: str = "") -> str:
    entries = "".join(
        f"<Contents><Key>{escape(key)}</Key><ETag>&quot;{hash(text)}&quot;</ETag><Size>{len(text)}</Size></Contents>"
        for key, text in objects.items()
    )
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{entries}{more}</ListBucketResult>'


@asynccontextmanager
async def liar() -> AsyncIterator[tuple[str, Store]]:
    store, application = Store(), web.Application()
    application.router.add_route("*", "/{rest:.*}", store.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}", store
    finally:
        await runner.cleanup()


def counted(page: Callable[[int], str]) -> Callable[[web.Request], web.StreamResponse]:
    """Answers with `page` of how many were asked for."""
    asked = [0]

    def answer(_: web.Request) -> web.StreamResponse:
        asked[0] += 1
        return web.Response(text=page(asked[0]))

    return answer


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><ListBucketResult>&b;</ListBucketResult>'
LISTINGS: Mapping[str, tuple[Callable[[int], str], str]] = {
    "for ever": (
        lambda n: write_page({f"{n}/{k}.yaml": "" for k in range(100)}, f"t{n}"),
        "has more than 2000 objects",
    ),
    "for ever without objects": (lambda n: write_page({}, f"t{n}"), "goes round without new objects"),
    "in a circle": (lambda n: write_page({f"{n}": ""}, f"t{n % 3}"), "goes round without new objects"),
    "a bomb": (lambda n: BOMB, "it has a document type"),
    "too deep": (lambda n: "<a>" * 5000, "it is nested too deep"),
    "too long": (lambda n: "<a>" + "x" * (9 << 20), "longer than 8388608 bytes"),
    "nothing": (lambda n: "", "it is no XML"),
    "a page of a site": (lambda n: "<html><body>hello</body></html>", "it is no listing"),
    "half": (lambda n: write_page({"a": ""})[:-20], "it is no XML"),
    "no token": (
        lambda n: "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "there is more, and it does not say where",
    ),
    "no size": (
        lambda n: "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
        "an entry has no key or no size",
    ),
    "large": (
        lambda n: "<ListBucketResult><Contents><Key>a</Key><Size>999999999999</Size></Contents></ListBucketResult>",
        "its objects have 999999999999 bytes together",
    ),
}


@pytest.mark.parametrize("how", LISTINGS)
async def test_a_listing_that_is_none_or_does_not_end_is_given_up(how: str, tmp_path: Path) -> None:
    page, cause = LISTINGS[how]
    async with liar() as (host, store), real_world(tmp_path / "state", Policy(git_files=2000)) as world:
        store.answers[""] = counted(page)
        async with world.running():
            live = await watch(world, host, "shop")

            assert ready(live) == ("False", "BucketOperationFailed")
            assert cause in condition(live, "Ready")["message"]
            assert len(store.requests) < 60


@pytest.mark.parametrize(
    ("objects", "cause"),
    [
        ({"a": "x", "a/b": "y"}, "'a' is a file and a folder"),
        ({"d/" * 120 + "x": "x"}, "is too long or too deep"),
        ({"n" * 300: "x"}, "is too long or too deep"),
        ({f"{n}/{'d/' * 60}x": "" for n in range(100)}, "there are more than 2000 folders"),
    ],
)
async def test_keys_that_cannot_be_files_are_refused(objects: Mapping[str, str], cause: str, tmp_path: Path) -> None:
    async with liar() as (host, store), real_world(tmp_path / "state", Policy(git_files=2000)) as world:
        store.hold(objects)
        async with world.running():
            live = await watch(world, host, "shop")

            assert ready(live) == ("False", "BucketOperationFailed")
            assert cause in condition(live, "Ready")["message"]


async def test_keys_that_climb_land_inside_and_git_s_own_are_left_out(s3_server: S3Server, tmp_path: Path) -> None:
    await fill(s3_server, "climbing", {"../../evil.yaml": "e", "/etc/x": "x", ".git/config": "g", "a/.GIT/h": "h"})
    async with real_world(tmp_path / "state") as world, world.running():
        live = await watch(world, s3_server.host, "climbing")
        tree = await world.kinds["Bucket"].read_tree(_read(live), live["status"]["artifact"]["revision"])

        assert set(tree) == {"evil.yaml", "etc/x"}


async def test_an_object_that_is_larger_than_the_listing_says_is_given_up(tmp_path: Path) -> None:
    async with liar() as (host, store), real_world(tmp_path / "state", Policy(git_file_size=1000)) as world:
        store.hold({"a.yaml": "small"})
        store.answers["a.yaml"] = _make_answer("x" * 2000)
        async with world.running():
            live = await watch(world, host, "shop")

            assert ready(live) == ("False", "BucketOperationFailed")
            assert "failed to get 'a.yaml' object" in condition(live, "Ready")["message"]


async def test_an_object_that_vanished_is_left_out_of_files_and_revision(tmp_path: Path) -> None:
    async with liar() as (host, store), real_world(tmp_path / "state") as world, world.running():
        store.hold({"a.yaml": "a", "b.yaml": "b"})
        del store.answers["b.yaml"]
        gone = await watch(world, host, "shop")
        store.hold({"a.yaml": "a"})
        live = await world.request(SOURCE, "r", "again")

        assert ready(gone) == ("True", "Succeeded")
        assert live["status"]["artifact"] == gone["status"]["artifact"]


async def test_a_redirect_is_not_followed_and_no_key_goes_along(tmp_path: Path) -> None:
    async with liar() as (host, store), liar() as (thief, seen), real_world(tmp_path / "state") as world:
        moved = {"Location": f"http://{thief}/shop/"}
        store.answers[""] = lambda _: web.Response(status=307, headers=moved)
        async with world.running():
            live = await watch(world, host, "shop")

            assert ready(live) == ("False", "BucketOperationFailed")
            assert seen.requests == []
            assert "not-a-secret" not in json.dumps(live)


async def test_a_store_that_hangs_is_given_up_after_the_time_out(tmp_path: Path) -> None:
    async with liar() as (host, store), real_world(tmp_path / "state") as world, world.running():
        store.hangs = True
        live = await watch(world, host, "shop", timeout="2s")

        assert ready(live) == ("False", "BucketOperationFailed")
        assert "not done within spec.timeout (2s)" in condition(live, "Ready")["message"]
