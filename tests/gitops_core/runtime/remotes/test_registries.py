"""How an ImageRepository says its registry is reached, from the objects in a cluster."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import CredentialsInvalid, StalledError
from gitops_core.meta import SERVICE_ACCOUNT, ObjectKey, ObjectRef, Sensitive
from gitops_core.oci.credentials import ANONYMOUS, OPEN, Credentials, RegistryAccess
from gitops_core.oci.references import Repository, parse_image
from gitops_core.ports import CloudIdentity
from gitops_core.runtime.remotes.credentials import SECRET
from gitops_core.runtime.remotes.registries import (
    identify_access,
    list_named_for_access,
    read_registry_access,
)
from gitops_core.schema import make_crd, read_manifest
from image_updater.api import ImageRepository
from tests.servers.certificates import Authority

IMAGE = "ghcr.io/org/app"
REPOSITORY = parse_image(IMAGE).repository
TROUBLE = "failed to configure authentication options: "


async def _secret(cluster: LocalCluster, name: str, type_: str, data: Mapping[str, bytes]) -> None:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    metadata = {"name": name, "namespace": "default"}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type_, "data": encoded}
    await cluster.create(manifest, field_manager="tests")


async def _pull_secret(cluster: LocalCluster, name: str, **users: str) -> None:
    """`users`: host with _ for dots -> user name, whose password is its reverse."""
    auths = {host.replace("_", "."): {"username": user, "password": user[::-1]} for host, user in users.items()}
    config = json.dumps({"auths": auths}).encode()
    await _secret(cluster, name, "kubernetes.io/dockerconfigjson", {".dockerconfigjson": config})


async def _account(cluster: LocalCluster, name: str, *secrets: str) -> None:
    metadata = {"name": name, "namespace": "default"}
    references = [{"name": secret} for secret in secrets]
    manifest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "imagePullSecrets": references}
    await cluster.create(manifest, field_manager="tests")


async def _wanted(cluster: LocalCluster, **spec: Any) -> ImageRepository:
    await cluster.apply(make_crd(ImageRepository), field_manager="tests")
    manifest = {
        "apiVersion": ImageRepository.KIND.api_version,
        "kind": "ImageRepository",
        "metadata": {"name": "app", "namespace": "default"},
        "spec": {"image": IMAGE, "interval": "1m", **spec},
    }
    return read_manifest(ImageRepository, await cluster.apply(manifest, field_manager="tests"))


async def _access(cluster: LocalCluster, **spec: Any) -> RegistryAccess:
    return await read_registry_access(cluster, await _wanted(cluster, **spec), REPOSITORY)


async def test_nothing_named_is_open(local_cluster: LocalCluster) -> None:
    assert await _access(local_cluster) == OPEN


async def test_pull_secrets_of_a_service_account_count_and_missing_ones_do_not(local_cluster: LocalCluster) -> None:
    await _account(local_cluster, "puller", "gone", "other", "mine", "mine")
    await _pull_secret(local_cluster, "other", quay_io="quentin")
    await _pull_secret(local_cluster, "mine", ghcr_io="gina")

    access = await _access(local_cluster, serviceAccountName="puller")

    assert access.credentials == Credentials("gina", Sensitive("anig"))


async def test_the_named_secret_wins_over_the_accounts(local_cluster: LocalCluster) -> None:
    await _account(local_cluster, "puller", "account")
    await _pull_secret(local_cluster, "account", ghcr_io="gina")
    await _pull_secret(local_cluster, "named", ghcr_io="nora")

    access = await _access(local_cluster, serviceAccountName="puller", secretRef={"name": "named"})

    assert access.credentials.username == "nora"


async def test_a_longer_path_wins_wherever_it_stands(local_cluster: LocalCluster) -> None:
    await _account(local_cluster, "puller", "account")
    config = json.dumps({"auths": {"ghcr.io/org": {"username": "team", "password": "x"}}}).encode()
    await _secret(local_cluster, "account", "kubernetes.io/dockerconfigjson", {".dockerconfigjson": config})
    await _pull_secret(local_cluster, "named", ghcr_io="nora")

    access = await _access(local_cluster, serviceAccountName="puller", secretRef={"name": "named"})

    assert access.credentials.username == "team"


async def test_a_dockercfg_is_read(local_cluster: LocalCluster) -> None:
    config = json.dumps({"ghcr.io": {"username": "old", "password": "x"}}).encode()
    await _secret(local_cluster, "named", "kubernetes.io/dockercfg", {".dockercfg": config})

    assert (await _access(local_cluster, secretRef={"name": "named"})).credentials.username == "old"


async def test_an_account_without_pull_secrets_is_anonymous(local_cluster: LocalCluster) -> None:
    await _account(local_cluster, "plain")

    assert (await _access(local_cluster, serviceAccountName="plain")).credentials == ANONYMOUS


async def test_certificates_and_proxy(local_cluster: LocalCluster, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    pair = authority.client("updater")
    ca, certificate, key = (path.read_bytes() for path in (authority.certificate, pair.certificate, pair.key))
    await _secret(local_cluster, "tls", "Opaque", {"ca.crt": ca, "tls.crt": certificate, "tls.key": key})
    proxy = {"address": b"http://proxy:3128", "username": b"carol", "password": b"p@ss"}
    await _secret(local_cluster, "proxy", "Opaque", proxy)

    access = await _access(local_cluster, certSecretRef={"name": "tls"}, proxySecretRef={"name": "proxy"})

    expected = (ca, certificate, Sensitive(key), Sensitive("http://carol:p%40ss@proxy:3128"))
    assert access == RegistryAccess(ANONYMOUS, *expected)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"secretRef": {"name": "gone"}}, "secret 'default/gone' not found"),
        ({"certSecretRef": {"name": "gone"}}, "secret 'default/gone' not found"),
        ({"proxySecretRef": {"name": "gone"}}, "secret 'default/gone' not found"),
        ({"serviceAccountName": "gone"}, "serviceaccount 'default/gone' not found"),
        ({"secretRef": {"name": "odd"}}, "secret 'default/odd' is not of type kubernetes.io/dockerconfigjson"),
        ({"serviceAccountName": "odd"}, "secret 'default/odd' is not of type kubernetes.io/dockerconfigjson"),
        (
            {"certSecretRef": {"name": "odd"}},
            "secret 'default/odd' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'",
        ),
        ({"proxySecretRef": {"name": "odd"}}, "secret 'default/odd': key 'address' not found"),
        (
            {"secretRef": {"name": "broken"}},
            "secret 'default/broken': not a docker configuration with 'auths'",
        ),
        ({"provider": "aws"}, "no login of provider 'aws' is set up for registry ghcr.io"),
    ],
)
async def test_a_missing_object_is_named(local_cluster: LocalCluster, spec: dict[str, Any], message: str) -> None:
    await _secret(local_cluster, "odd", "Opaque", {"hunter2": b"hunter2"})
    await _secret(local_cluster, "broken", "kubernetes.io/dockerconfigjson", {".dockerconfigjson": b'{"x": "hunter2"}'})
    await _account(local_cluster, "odd", "odd")

    with pytest.raises(CredentialsInvalid) as caught:
        await _access(local_cluster, **spec)

    assert str(caught.value) == TROUBLE + message
    assert caught.value.reason == "AuthenticationFailed"


async def test_a_proxy_of_another_kind_needs_an_edit(local_cluster: LocalCluster) -> None:
    await _secret(local_cluster, "proxy", "Opaque", {"address": b"socks4://proxy:1080"})

    with pytest.raises(StalledError, match=r"\(http, https, socks5\), got 'socks4'$") as caught:
        await _access(local_cluster, proxySecretRef={"name": "proxy"})

    assert caught.value.reason == "AuthenticationFailed"


class Cloud:
    """Implements CloudLogins."""

    async def login(
        self,
        provider: Literal["aws", "azure", "gcp"],
        repository: Repository,
        identity: CloudIdentity | None = None,
    ) -> Credentials:
        who = f" {identity.account} {identity.role.names[0]}" if identity is not None else ""
        return Credentials(provider, Sensitive(f"{repository.registry}{who}"))


async def test_a_cloud_provider_logs_in_and_secrets_are_not_asked(local_cluster: LocalCluster) -> None:
    wanted = await _wanted(local_cluster, provider="gcp", secretRef={"name": "gone"})

    access = await read_registry_access(local_cluster, wanted, REPOSITORY, Cloud())

    assert access.credentials == Credentials("gcp", Sensitive("ghcr.io"))


async def test_a_cloud_is_asked_as_the_account_that_is_named_or_the_operator_s(local_cluster: LocalCluster) -> None:
    role = "arn:aws:iam::123456789012:role/puller"
    for name in ("puller", "default"):
        metadata = {"name": name, "namespace": "default", "annotations": {"eks.amazonaws.com/role-arn": role}}
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        await local_cluster.apply(account, field_manager="test")

    for named, operator_s, expected in (
        ("puller", "", "puller"),
        ("puller", "default", "puller"),
        ("", "default", "default"),
    ):
        wanted = await _wanted(local_cluster, provider="aws", **({"serviceAccountName": named} if named else {}))
        access = await read_registry_access(local_cluster, wanted, REPOSITORY, Cloud(), default_account=operator_s)
        assert access.credentials == Credentials("aws", Sensitive(f"ghcr.io default/{expected} {role}"))


async def test_a_cloud_is_not_asked_as_an_account_that_it_does_not_know(local_cluster: LocalCluster) -> None:
    wanted = await _wanted(local_cluster, provider="gcp", serviceAccountName="other")

    with pytest.raises(CredentialsInvalid, match=r": ServiceAccount/default/other not found$"):
        await read_registry_access(local_cluster, wanted, REPOSITORY, Cloud())


async def test_all_that_is_named_is_watched(local_cluster: LocalCluster) -> None:
    wanted = await _wanted(
        local_cluster,
        secretRef={"name": "a"},
        certSecretRef={"name": "b"},
        proxySecretRef={"name": "c"},
        serviceAccountName="d",
    )

    assert set(list_named_for_access(wanted)) == {
        *(ObjectRef(SECRET, ObjectKey("default", name)) for name in "abc*"),
        ObjectRef(SERVICE_ACCOUNT, ObjectKey("default", "d")),
    }


def test_identities_differ_where_accesses_do_and_hold_nothing_of_them() -> None:
    different = [
        OPEN,
        RegistryAccess(Credentials("bob", Sensitive("x"))),
        RegistryAccess(Credentials("bob", Sensitive("y"))),
        RegistryAccess(Credentials("bob", identity_token=Sensitive("x"))),
        RegistryAccess(Credentials("bob", bearer_token=Sensitive("x"))),
        RegistryAccess(ca=b"x"),
        RegistryAccess(client_certificate=b"x"),
        RegistryAccess(client_certificate=b"x", client_key=Sensitive("x")),
        RegistryAccess(proxy=Sensitive("x")),
    ]

    identities = [identify_access(access) for access in different]

    assert len(set(identities)) == len(different)
    assert identities[0] == ""
    assert identify_access(RegistryAccess(Credentials("bob", Sensitive("x")))) == identities[1]
