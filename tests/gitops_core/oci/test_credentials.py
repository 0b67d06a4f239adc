"""Credentials from docker configurations."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.oci.credentials import ANONYMOUS, Credentials, choose_credentials, parse_entries
from gitops_core.oci.references import parse_image

CONFIG = b"""{"auths": {
  "https://index.docker.io/v1/": {"auth": "aHViOnA6dw=="},
  "ghcr.io": {"username": "org", "password": "p1"},
  "ghcr.io/org/team": {"username": "team", "password": "p2"},
  "*.example.com": {"identitytoken": "refresh"},
  "127.0.0.1:5000": {"registrytoken": "raw"}
}}"""


@pytest.mark.parametrize(
    ("image", "username", "secret"),
    [
        ("alpine", "hub", b"p:w"),
        ("ghcr.io/org/app", "org", b"p1"),
        ("ghcr.io/org/team/app", "team", b"p2"),
        ("ghcr.io/org/teams", "org", b"p1"),
        ("r.example.com/app", "", b"refresh"),
        ("127.0.0.1:5000/app", "", b"raw"),
    ],
)
def test_the_docker_configuration_is_read_as_kubernetes_reads_it(image: str, username: str, secret: bytes) -> None:
    found = _found(CONFIG, image)

    assert found.username == username
    assert [s.reveal() for s in found.secrets] == [secret]


@pytest.mark.parametrize("image", ["quay.io/org/app", "a.b.example.com/app", "127.0.0.1:5001/app"])
def test_other_registries_get_nothing(image: str) -> None:
    assert _found(CONFIG, image) == Credentials()


@pytest.mark.parametrize(
    "config", [b"", b"[]", b"{}", b'{"auths": 1}', b'{"auths": {"ghcr.io": {"auth": "!"}}}', b"\xff"]
)
def test_a_bad_docker_configuration_is_refused(config: bytes) -> None:
    with pytest.raises(ValueError, match="docker configuration"):
        _found(config, "ghcr.io/org/app")


ADDRESSES = st.sampled_from(
    ["ghcr.io", "https://ghcr.io/v2/", "ghcr.io/org", "ghcr.io/org/app", "*.io", "ghcr.io/other"]
)


@given(st.lists(st.dictionaries(ADDRESSES, st.sampled_from("abcdef"), max_size=4), max_size=4))
def test_the_longest_path_wins_then_the_first_configuration(configs: list[dict[str, str]]) -> None:
    entries = [
        parse_entries(json.dumps({"auths": {address: {"username": user} for address, user in config.items()}}).encode())
        for config in configs
    ]

    found = choose_credentials(entries, parse_image("ghcr.io/org/app").repository)

    for fitting in (("ghcr.io/org/app",), ("ghcr.io/org",), ("ghcr.io", "https://ghcr.io/v2/"), ("*.io",)):
        users = [{config[address] for address in fitting if address in config} for config in configs]
        if first := next(filter(None, users), None):
            assert found.username in first
            return
    assert found == ANONYMOUS


def test_a_dockercfg_has_no_auths() -> None:
    entries = parse_entries(b'{"ghcr.io": {"username": "old", "password": "p"}}', bare=True)

    assert choose_credentials([entries], parse_image("ghcr.io/org/app").repository).username == "old"


def _found(config: bytes, image: str) -> Credentials:
    return choose_credentials([parse_entries(config)], parse_image(image).repository)


@pytest.mark.parametrize("text", ["b3JnOnA=", "b3JnOnA", "b3Jn\nOnA=\n", "b3JnOnA\r\n", "b3JnOnA=\n"])
def test_an_auth_is_decoded_as_by_the_kubelet(text: str) -> None:
    found = _found(json.dumps({"auths": {"ghcr.io": {"auth": text}}}).encode(), "ghcr.io/org/app")

    assert found.username == "org"
    assert [s.reveal() for s in found.secrets] == [b"p"]


@pytest.mark.parametrize("text", ["b3JnOnA=====", "b3J nOnA", "b3JnOnA==x", "b3Jn", "b3JnO", 5])
def test_an_auth_that_the_kubelet_does_not_take_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="not base64 of user:password"):
        _found(json.dumps({"auths": {"ghcr.io": {"auth": text}}}).encode(), "ghcr.io/org/app")


@pytest.mark.parametrize(
    "config",
    [
        {"credsStore": "desktop"},
        {"credsStore": "desktop", "auths": {}},
        {"credsStore": "desktop", "auths": {"ghcr.io": {}}},
        {"credHelpers": {"ghcr.io": "gh"}},
        {"credHelpers": {"https://ghcr.io": "gh"}, "auths": {"quay.io": {"auth": "b3JnOnA="}}},
    ],
)
def test_a_password_that_only_a_credential_helper_knows_is_said_to_be_missing(config: object) -> None:
    with pytest.raises(ValueError, match=r"leaves its passwords to a program of another machine: write .* \(cred"):
        _found(json.dumps(config).encode(), "ghcr.io/org/app")


@pytest.mark.parametrize(
    "config",
    [
        {"credHelpers": {"gcr.io": "gcloud"}},
        {"credsStore": "desktop", "auths": {"quay.io": {}}},
    ],
)
def test_other_registries_helpers_are_nobodys_trouble(config: object) -> None:
    assert _found(json.dumps(config).encode(), "ghcr.io/org/app") == ANONYMOUS


def test_a_written_password_wins_over_a_helper() -> None:
    config = {"credsStore": "desktop", "credHelpers": {"ghcr.io": "gh"}, "auths": {"ghcr.io": {"auth": "b3JnOnA="}}}

    assert _found(json.dumps(config).encode(), "ghcr.io/org/app").username == "org"
