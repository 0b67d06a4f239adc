"""Payloads as the providers document them, shortened where nothing is read."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.errors import PayloadInvalid
from image_updater.domain.registry.webhooks import PushedTag, parse_pushed_tags

DIGEST = f"sha256:{'b' * 64}"
JSON = {"content-type": "application/json"}

DOCKER_HUB = {
    "callback_url": "https://registry.hub.docker.com/u/svendowideit/testhook/hook/2141b5bi5i5b02bec211i4eeih0242eg/",
    "push_data": {"pushed_at": 1417566161, "pusher": "trustedbuilder", "tag": "1.2.0"},
    "repository": {
        "name": "testhook",
        "namespace": "svendowideit",
        "repo_name": "svendowideit/testhook",
        "repo_url": "https://registry.hub.docker.com/u/svendowideit/testhook/",
        "status": "Active",
    },
}
PACKAGE = {
    "id": 10696,
    "name": "hello_docker",
    "namespace": "Monalisa",
    "ecosystem": "CONTAINER",
    "package_type": "CONTAINER",
    "owner": {"login": "Monalisa", "id": 1},
    "package_version": {
        "version": DIGEST,
        "container_metadata": {"tag": {"name": "1.2.0", "digest": DIGEST}, "labels": {}, "manifest": {}},
        "package_url": "ghcr.io/monalisa/hello_docker:1.2.0",
    },
}
HARBOR_RESOURCE = {"digest": DIGEST, "tag": "1.2.0", "resource_url": "hub.harbor.com:8443/test-webhook/debian:1.2.0"}
HARBOR = {
    "type": "PUSH_ARTIFACT",
    "occur_at": 1586922308,
    "operator": "admin",
    "event_data": {
        "resources": [HARBOR_RESOURCE],
        "repository": {"name": "debian", "namespace": "test-webhook", "repo_full_name": "test-webhook/debian"},
    },
}
HARBOR_CLOUD_EVENT = {
    "specversion": "1.0",
    "type": "harbor.artifact.pushed",
    "data": {"resources": [HARBOR_RESOURCE], "repository": {"name": "debian"}},
}
QUAY = {
    "name": "repository",
    "repository": "mynamespace/repository",
    "namespace": "mynamespace",
    "docker_url": "quay.io/mynamespace/repository",
    "homepage": "https://quay.io/repository/mynamespace/repository",
    "updated_tags": ["1.2.0", "latest"],
}
ACR = {
    "id": "cb8c3971-9adc-488b-bdd8-43cbb4974ff5",
    "timestamp": "2017-11-17T16:52:01.343145347Z",
    "action": "push",
    "target": {
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "digest": DIGEST,
        "repository": "team/hello-world",
        "tag": "1.2.0",
    },
    "request": {"id": "3cbb6949", "host": "myregistry.azurecr.io", "method": "PUT"},
}
DISTRIBUTION = {"events": [ACR, {**ACR, "action": "pull"}]}
HUB = "index.docker.io/svendowideit/testhook"
ACR_TAG = PushedTag("myregistry.azurecr.io/team/hello-world", "1.2.0", DIGEST)
HARBOR_TAG = PushedTag("hub.harbor.com:8443/test-webhook/debian", "1.2.0", DIGEST)
GHCR_TAG = PushedTag("ghcr.io/monalisa/hello_docker", "1.2.0", DIGEST)


@pytest.mark.parametrize(
    ("type_", "event", "payload", "expected"),
    [
        ("dockerhub", "", DOCKER_HUB, [PushedTag(HUB, "1.2.0")]),
        ("github", "package", {"action": "published", "package": PACKAGE}, [GHCR_TAG]),
        ("github", "registry_package", {"action": "updated", "registry_package": PACKAGE}, [GHCR_TAG]),
        ("github", "package", {"action": "published", "package": {**PACKAGE, "package_type": "npm"}}, []),
        ("github", "push", {"ref": "refs/heads/main", "package": PACKAGE, "action": "published"}, []),
        ("github", "ping", {"zen": "Keep it logically awesome."}, []),
        ("harbor", "", HARBOR, [HARBOR_TAG]),
        ("harbor", "", HARBOR_CLOUD_EVENT, [HARBOR_TAG]),
        ("harbor", "", {**HARBOR, "type": "DELETE_ARTIFACT"}, []),
        ("quay", "", QUAY, [PushedTag("quay.io/mynamespace/repository", tag) for tag in ("1.2.0", "latest")]),
        ("acr", "", ACR, [ACR_TAG]),
        ("acr", "", {**ACR, "action": "delete"}, []),
        ("generic-hmac", "", DISTRIBUTION, [ACR_TAG]),
        (
            "generic-hmac",
            "",
            {"image": f"ghcr.io/org/app:1.2.0@{DIGEST}"},
            [PushedTag("ghcr.io/org/app", "1.2.0", DIGEST)],
        ),
        ("generic-hmac", "", {"image": "ghcr.io/org/app"}, []),
        ("generic-hmac", "", {"ref": "refs/heads/main"}, []),
        ("generic", "", {"image": "ghcr.io/org/app:1.2.0"}, []),
    ],
)
def test_a_providers_webhook_is_read(type_: str, event: str, payload: Any, expected: list[PushedTag]) -> None:
    body = json.dumps(payload).encode()

    assert list(parse_pushed_tags(type_, {**JSON, "x-github-event": event}, body)) == expected


def test_github_also_sends_forms() -> None:
    headers = {"content-type": "application/x-www-form-urlencoded", "x-github-event": "package"}
    body = urlencode({"payload": json.dumps({"action": "published", "package": PACKAGE})}).encode()

    assert parse_pushed_tags("github", headers, body) == (GHCR_TAG,)


def test_json_that_curl_calls_a_form_is_read() -> None:
    body = json.dumps({"push_data": {"tag": "1.0.0"}, "repository": {"repo_name": "org/app"}}).encode()

    (told,) = parse_pushed_tags("dockerhub", {"content-type": "application/x-www-form-urlencoded"}, body)

    assert told.tag == "1.0.0"


NO_JSON = [b"", b"<html>", b'{"a": ', b"\xff\xfe", b"NaN", b"[" * 100_000, b'{"a":' * 50_000]


@pytest.mark.parametrize("type_", ["dockerhub", "quay", "acr"])
@pytest.mark.parametrize("body", NO_JSON)
def test_a_body_that_is_not_json_is_refused_and_not_quoted(type_: str, body: bytes) -> None:
    with pytest.raises(PayloadInvalid, match=r"^the body is not JSON$"):
        parse_pushed_tags(type_, {}, body)


def test_a_number_of_any_length_is_json() -> None:
    body = b'{"push_data": {"pushed_at": ' + b"9" * 5000 + b', "tag": "1.0"}, "repository": {"repo_name": "org/app"}}'

    assert [push.tag for push in parse_pushed_tags("dockerhub", JSON, body)] == ["1.0"]


@pytest.mark.parametrize("type_", ["github", "harbor", "generic-hmac"])
@pytest.mark.parametrize("body", [*NO_JSON, b"[]", b"5", b'{"image": ":::"}', b'{"events": 5}'])
def test_bodies_that_the_original_does_not_read_tell_nothing_and_are_taken(type_: str, body: bytes) -> None:
    assert parse_pushed_tags(type_, {"x-github-event": "package"}, body) == ()


@pytest.mark.parametrize(
    ("type_", "body"),
    [
        ("acr", '{"action": 5}'),
        ("acr", '{"ACTION": 5}'),
        ("acr", '{"target": []}'),
        ("acr", '{"target": {"tag": 1.2}}'),
        ("acr", '"push"'),
        ("dockerhub", "[]"),
        ("dockerhub", '{"push_data": "1.0.0"}'),
        ("dockerhub", '{"repository": {"repo_url": {}}}'),
        ("quay", '{"updated_tags": "1.0.0"}'),
        ("quay", '{"updated_tags": [1]}'),
        ("quay", '{"docker_url": true}'),
    ],
)
def test_a_body_of_another_shape_is_refused_as_by_gos_decoder(type_: str, body: str) -> None:
    with pytest.raises(PayloadInvalid, match=rf"^the body is not what {type_} sends$"):
        parse_pushed_tags(type_, {}, body.encode())


@pytest.mark.parametrize(
    "body",
    ["null", "{}", '{"action": null, "target": null}', '{"target": {"size": "x"}, "more": [1]}', "{} trailing", "{}{"],
)
def test_a_body_that_gos_decoder_takes_is_taken(body: str) -> None:
    assert parse_pushed_tags("acr", {}, body.encode()) == ()


def test_a_tag_or_image_that_is_none_is_passed_over() -> None:
    for tag in ("", "-x", "a b", "x" * 129, "é"):
        assert parse_pushed_tags("quay", {}, json.dumps({**QUAY, "updated_tags": [tag]}).encode()) == ()
    assert parse_pushed_tags("quay", {}, json.dumps({**QUAY, "docker_url": "https://quay.io/x/y"}).encode()) == ()
    assert (
        len(parse_pushed_tags("quay", {}, json.dumps({**QUAY, "updated_tags": list(map(str, range(999)))}).encode()))
        == 100
    )


KEYS = st.sampled_from(
    (
        *("action", "target", "events", "image", "package", "package_version", "container_metadata", "tag", "type"),
        *("data", "event_data", "resources", "resource_url", "updated_tags", "docker_url", "push_data", "request"),
    )
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(KEYS, part, max_size=4),
    max_leaves=20,
)


@given(st.sampled_from(["dockerhub", "github", "harbor", "quay", "acr", "generic-hmac"]), ANYTHING)
def test_any_json_is_read_or_refused(type_: str, payload: Any) -> None:
    with contextlib.suppress(PayloadInvalid):
        found = parse_pushed_tags(type_, {"x-github-event": "package"}, json.dumps(payload).encode())
        assert all(push.repository and push.tag for push in found)


def test_of_a_body_that_names_tags_without_end_the_first_are_looked_at() -> None:
    none = [""] * 1000

    found = parse_pushed_tags(
        "quay", {}, json.dumps({"docker_url": "quay.io/a/b", "updated_tags": [*none, "v1"]}).encode()
    )
    first = parse_pushed_tags(
        "quay", {}, json.dumps({"docker_url": "quay.io/a/b", "updated_tags": [*none[1:], "v1"]}).encode()
    )

    assert found == ()
    assert [push.tag for push in first] == ["v1"]
