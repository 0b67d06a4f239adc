"""Secrets in Flux's shapes, and what access they give."""

from __future__ import annotations

import base64

import pytest

from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import GitAccessDenied
from gitops_core.meta import ObjectKey, Sensitive
from gitops_core.ports import GitAccess
from gitops_core.runtime.remotes.credentials import make_git_access, read_git_access

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
