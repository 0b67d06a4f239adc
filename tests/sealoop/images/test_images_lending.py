"""What a round of image updates is lent, and which objects are within its reach."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import click
import pytest

from gitops_core.adapters.local import LocalCluster
from gitops_core.meta import Manifest, ObjectKey, ObjectRef
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.runtime.remotes.credentials import SECRET
from gitops_core.schema import make_crd
from sealoop.images.lending import get_token_host, lend_logins
from sealoop.images.selecting import SERVED, select, select_in_cluster
from sealoop.objects.applying import prepare
from tests.journeys.surroundings import flux

ONE, OTHER = ObjectKey("shop", "one"), ObjectKey("shop", "other")


@pytest.mark.parametrize(
    ("urls", "named", "host"),
    [
        (["https://git.example/a", "https://GIT.example.:443/b"], "", "https://git.example:443"),
        (["https://git.example/a", "ssh://git@other.example/b"], "", "https://git.example:443"),
        (["https://git.example@evil.example/a"], "", "https://evil.example:443"),
        (["https://git.example/a", "https://evil.example/b"], "git.example", "https://git.example:443"),
        (["https://git.example/a", "https://git.example:8443/b"], "git.example:8443", "https://git.example:8443"),
        (["https://git.example/a", "http://evil.example/b"], "https://git.example/", "https://git.example:443"),
        (["https://[::1]:8443/a"], "[::1]:8443", "https://[::1]:8443"),
        (["ssh://git@git.example/a"], "", ""),
        ([], "", ""),
    ],
)
def test_a_token_has_one_host(urls: list[str], named: str, host: str) -> None:
    assert get_token_host(dict(zip((ONE, OTHER), urls, strict=False)), named) == host


@pytest.mark.parametrize(
    ("urls", "named", "cause"),
    [
        (["https://git.example/a", "https://evil.example/b"], "", "is for one host, and the automations push to"),
        (["https://git.example/a", "https://git.example:8443/b"], "", "is for one host, and the automations push to"),
        (["https://git.example/a", "http://git.example/b"], "", "is for one host, and the automations push to"),
        (["http://git.example/a"], "", "plain http, and GitRepository 'shop/one' is at http://git.example:80: use"),
        (["https://git.example/a", "http://git.example/b"], "git.example", "does not go over plain http"),
        (["https://git.example/a"], "other.example", "no automation pushes to other.example"),
        (["https://git.example/a"], "http://git.example", "--git-host names no host"),
        (["https://git.example/a"], "https://git.example/a", "--git-host names no host"),
        (["https://git.example/a"], "evil.example@git.example", "--git-host names no host"),
        (["https://git.example/a"], "git.example:x", "--git-host names no host"),
    ],
)
def test_the_host_for_a_token_is_not_guessed_and_never_reached_in_the_clear(
    urls: list[str], named: str, cause: str
) -> None:
    with pytest.raises(click.ClickException) as caught:
        get_token_host(dict(zip((ONE, OTHER), urls, strict=False)), named)

    assert cause in caught.value.message


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with contextlib.closing(LocalCluster.open(None, SystemClock(), SystemChance())) as cluster:
        yield cluster


def placed(manifest: Manifest, namespace: str) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


def secret(name: str, namespace: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}


def fleet() -> list[Manifest]:
    """Two namespaces with an automation each; the shop's reads a GitRepository and a repository of `shared`."""
    author = {"author": {"name": "ci", "email": "ci@example.com"}}

    def automation(**source: Any) -> Manifest:
        git = {"commit": author, "push": {"branch": "main"}}
        return flux("image", "ImageUpdateAutomation", "bumps", interval="5m", git=git, sourceRef=source)

    def source(name: str) -> Manifest:
        return flux(
            "source", "GitRepository", name, url="https://git.example/a", interval="5m", secretRef={"name": name}
        )

    def repository(name: str, **spec: Any) -> Manifest:
        return flux("image", "ImageRepository", name, image="ghcr.io/org/web", interval="5m", **spec)

    def policy(**repository: str) -> Manifest:
        return flux("image", "ImagePolicy", "web", imageRepositoryRef=repository, policy={"alphabetical": {}})

    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller"}}
    return [
        placed(automation(kind="GitRepository", name="fleet", namespace="shared"), "shop"),
        placed(policy(name="web", namespace="shared"), "shop"),
        placed(source("fleet"), "shared"),
        secret("fleet", "shared"),
        placed(repository("web", serviceAccountName="puller"), "shared"),
        placed({**account, "imagePullSecrets": [{"name": "pull"}]}, "shared"),
        secret("pull", "shared"),
        placed(source("unused"), "shop"),
        secret("unused", "shop"),
        placed(automation(kind="GitRepository", name="theirs"), "bakery"),
        placed(source("theirs"), "bakery"),
        secret("theirs", "bakery"),
        placed(repository("theirs"), "bakery"),
    ]


REACHED = {
    "ImageUpdateAutomation/shop/bumps",
    "ImagePolicy/shop/web",
    "GitRepository/shared/fleet",
    "Secret/shared/fleet",
    "ImageRepository/shared/web",
    "ServiceAccount/shared/puller",
    "Secret/shared/pull",
}


async def test_a_round_of_a_namespace_reaches_what_its_objects_name_and_nothing_else(cluster: LocalCluster) -> None:
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in ("shop", "shared", "bakery")]
    await prepare(cluster, map(make_crd, SERVED), [*spaces, *fleet()])

    for found in (await select(fleet(), "shop"), await select_in_cluster(cluster, "shop")):
        refs = {str(ObjectRef.of(manifest)) for manifest in found if manifest["kind"] != "Namespace"}
        assert refs == REACHED


async def test_without_a_namespace_all_take_part() -> None:
    found = await select(fleet(), "")

    assert len([each for each in found if each["kind"] == "ImageUpdateAutomation"]) == 2


async def test_manifests_without_a_namespace_are_of_the_one_that_is_named() -> None:
    bare = flux("image", "ImageRepository", "web", image="ghcr.io/org/web", interval="5m")

    assert [str(ObjectRef.of(each)) for each in await select([bare], "shop")] == ["ImageRepository/shop/web"]
    assert [str(ObjectRef.of(each)) for each in await select([bare], "")] == ["ImageRepository/default/web"]


async def test_logins_go_to_the_namespace_alone_and_never_in_the_clear(
    cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in ("shop", "bakery")]
    named = [("shop", "tls", {}), ("shop", "clear", {"insecure": True}), ("bakery", "theirs", {})]
    repositories = [
        placed(
            flux(
                "image", "ImageRepository", name, image="ghcr.io/a/b", interval="5m", secretRef={"name": name}, **spec
            ),
            namespace,
        )
        for namespace, name, spec in named
    ]
    await prepare(cluster, map(make_crd, SERVED), [*spaces, *repositories])

    await lend_logins(cluster, b'{"auths": {}}', "shop")

    lent = [name for ns, name, _ in named if await cluster.get(ObjectRef(SECRET, ObjectKey(ns, name))) is not None]
    assert lent == ["tls"]
    assert "ImageRepository/shop/clear: they do not go over plain http" in capsys.readouterr().err
