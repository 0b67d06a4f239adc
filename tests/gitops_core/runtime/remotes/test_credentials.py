"""Secrets in Flux's shapes, and what access they give."""

from __future__ import annotations

import base64
from typing import Literal

import pytest

from gitops_core.adapters.local import LocalCluster
from gitops_core.api import GitRepository, GitRepositorySpec
from gitops_core.api.fields import LocalReference
from gitops_core.errors import GitAccessDenied, GitOpsError, StalledError
from gitops_core.meta import ObjectKey, ObjectMeta, Sensitive
from gitops_core.ports import GitAccess, GitHubApp
from gitops_core.runtime.remotes.credentials import (
    make_app_access,
    make_git_access,
    read_git_access,
    read_repository_access,
)

KEY = ObjectKey("shop", "git")
HTTPS, SSH = "https://git.example.com/x.git", "ssh://git@git.example.com/x.git"


@pytest.mark.parametrize(
    ("values", "url", "access"),
    [
        ({"username": b"u", "password": b"p"}, HTTPS, GitAccess(username="u", password=Sensitive("p"))),
        (
            {"username": b"u", "password": b"p", "bearerToken": b"t"},
            HTTPS,
            GitAccess(bearer_token=Sensitive("t")),
        ),
        ({"username": b"u"}, HTTPS, GitAccess(username="u")),
        ({"ca.crt": b"new", "caFile": b"old"}, HTTPS, GitAccess(ca=b"new")),
        ({"caFile": b"old"}, HTTPS, GitAccess(ca=b"old")),
        (
            {"tls.crt": b"c", "tls.key": b"k"},
            HTTPS,
            GitAccess(client_certificate=b"c", client_key=Sensitive("k")),
        ),
        (
            {"identity": b"i", "known_hosts": b"h", "password": b"p"},
            SSH,
            GitAccess(identity=Sensitive("i"), known_hosts=b"h", passphrase=Sensitive("p")),
        ),
        ({}, HTTPS, GitAccess()),
    ],
)
def test_shapes(values: dict[str, bytes], url: str, access: GitAccess) -> None:
    assert make_git_access(values, KEY, url) == access


@pytest.mark.parametrize(
    ("values", "url", "missing"),
    [
        ({"password": b"hunter2"}, HTTPS, "no username"),
        ({"identity": b"hunter2"}, SSH, "no known_hosts"),
        ({"known_hosts": b"h"}, SSH, "no identity"),
        ({"tls.crt": b"c"}, HTTPS, "tls.key"),
    ],
)
def test_a_missing_key_is_named_and_the_present_ones_are_not(values: dict[str, bytes], url: str, missing: str) -> None:
    with pytest.raises(GitAccessDenied, match=missing) as refused:
        make_git_access(values, KEY, url)

    assert "hunter2" not in str(refused.value)


async def test_a_secret_is_read_from_the_cluster(local_cluster: LocalCluster) -> None:
    data = {"username": "u", "password": "p"}
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "git", "namespace": "default"},
        "data": encoded,
    }
    await local_cluster.create(secret, field_manager="test")

    access = await read_git_access(local_cluster, "default", "git", HTTPS)

    assert access == GitAccess(username="u", password=Sensitive("p"))
    assert await read_git_access(local_cluster, "default", "", HTTPS) == GitAccess()
    with pytest.raises(GitAccessDenied, match="'default/nope'"):
        await read_git_access(local_cluster, "default", "nope", HTTPS)


APP = {"githubAppID": b"12\n", "githubAppPrivateKey": b"hunter2"}


@pytest.mark.parametrize(
    ("values", "app"),
    [
        ({"githubAppInstallationID": b"5"}, GitHubApp(12, Sensitive("hunter2"), 5)),
        ({"githubAppInstallationOwner": b"acme"}, GitHubApp(12, Sensitive("hunter2"), 0, "acme")),
        (
            {"githubAppInstallationID": b"5", "githubAppBaseURL": b"https://github.example.com/api/v3/"},
            GitHubApp(12, Sensitive("hunter2"), 5, "", "https://github.example.com/api/v3"),
        ),
    ],
)
def test_shapes_of_a_github_app(values: dict[str, bytes], app: GitHubApp) -> None:
    assert make_app_access({**APP, **values, "ca.crt": b"ca"}, KEY) == GitAccess(app=app, ca=b"ca")


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({}, "exactly one of"),
        ({"githubAppInstallationID": b"5", "githubAppInstallationOwner": b"acme"}, "exactly one of"),
        ({"githubAppInstallationID": b"5/../6"}, "githubAppInstallationID is no number"),
        ({"githubAppInstallationID": b"5", "githubAppID": b"x"}, "githubAppID is no number"),
        ({"githubAppInstallationID": b"5", "githubAppID": b""}, "must be specified when provider is set to github"),
        ({"githubAppInstallationID": b"5", "githubAppPrivateKey": b""}, "no githubAppPrivateKey"),
        *(
            ({"githubAppInstallationID": b"5", "githubAppBaseURL": url}, "is no URL of an API")
            for url in (b"ftp://x", b"file:///etc", b"https://a\nb", b"https://u:p@host/api", b"https://h/?a=b", b"x")
        ),
    ],
)
def test_a_github_app_that_cannot_be_is_told(values: dict[str, bytes], fault: str) -> None:
    with pytest.raises(GitAccessDenied, match=fault) as refused:
        make_app_access({**APP, **values}, KEY)

    assert refused.value.reason == "InvalidProviderConfiguration"
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("provider", "named", "values", "fault"),
    [
        ("github", False, {}, "must be specified when provider is set to github"),
        ("github", True, {"username": "u", "password": "p"}, "must be specified when provider is set to github"),
        ("generic", True, {"githubAppID": "1"}, "has github app data but provider is not set to github"),
    ],
)
async def test_provider_and_secret_belong_together(
    provider: Literal["github", "generic"],
    named: bool,
    values: dict[str, str],
    fault: str,
    local_cluster: LocalCluster,
) -> None:
    metadata = {"name": "git", "namespace": "default"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}
    await local_cluster.apply(secret, field_manager="test")
    reference = LocalReference(name="git") if named else None
    spec = GitRepositorySpec(url=HTTPS, interval="1m", provider=provider, secret_ref=reference)

    with pytest.raises(GitOpsError, match=fault) as refused:
        await read_repository_access(
            local_cluster, GitRepository(metadata=ObjectMeta(name="r", namespace="default"), spec=spec)
        )

    assert refused.value.reason == "InvalidProviderConfiguration"
    assert isinstance(refused.value, StalledError) == (not named)
