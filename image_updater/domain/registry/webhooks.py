"""Which tags a registry's webhook says were pushed.

    dockerhub      {"push_data": {"tag"}, "repository": {"repo_name"}}
    github         event package or registry_package: {"package": {"name", "namespace", "package_version":
                   {"container_metadata": {"tag": {"name", "digest"}}}}}, at ghcr.io
    harbor         {"type": "PUSH_ARTIFACT" or "harbor.artifact.pushed", "event_data" or "data": {"resources": [...]}}
    quay           {"docker_url", "updated_tags": [...]}
    acr            {"action": "push", "target": {"repository", "tag", "digest"}, "request": {"host"}}
    generic-hmac   {"image": "ghcr.io/org/app:1.2.0"} (with @sha256:... where it is known), or {"events": [...]} as the
                   registry of the CNCF (distribution) sends them

Source: docs.docker.com/docker-hub/repos/manage/webhooks, docs.github.com/webhooks (package), goharbor.io/docs
(configure-webhooks), docs.quay.io/guides/notifications.html, learn.microsoft.com/azure/container-registry/
container-registry-webhook-reference, distribution.github.io/distribution/about/notifications;
fluxcd/notification-controller, internal/server/receiver_handlers.go (which bodies are refused).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from gitops_core.errors import ImageInvalid, PayloadInvalid
from gitops_core.oci.references import DIGEST, parse_image
from image_updater.domain.registry.references import parse_repository

MOST = 100
MOST_READ = 1000
"""Tags that are looked at in one body, whatever they are."""
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class PushedTag(NamedTuple):
    """A tag that was pushed: the canonical repository, and the digest or "" where it is not told."""

    repository: str
    tag: str
    digest: str = ""


def parse_pushed_tags(type_: str, headers: Mapping[str, str], body: bytes) -> tuple[PushedTag, ...]:
    """Parse the tags that a webhook reports, each once; () for another event, and for senders that report no tags.

    Args:
        type_: a Receiver's spec.type.
        headers: by their names in lower case.

    Raises:
        PayloadInvalid.
    """
    reader, shape = _READERS.get(type_), _SHAPES.get(type_)
    if reader is None:
        return ()
    try:
        payload = _decode_first_value(_find_json(headers, body))
    except (ValueError, RecursionError):
        if shape is None:
            return ()  # the original does not read the bodies of these, either
        raise PayloadInvalid("the body is not JSON") from None
    if shape is not None and not _fits(payload, shape):
        raise PayloadInvalid(f"the body is not what {type_} sends")
    found = dict.fromkeys(_parse_push(*told) for told in islice(reader(_Part(payload), headers), MOST_READ))
    return tuple(push for push in found if push is not None)[:MOST]


def _find_json(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the JSON of a body: GitHub may send a form with it in `payload`, and curl calls everything a form."""
    is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if not is_form or body.lstrip().startswith(b"{"):
        return body
    return parse_qs(body, max_num_fields=10).get(b"payload", [b""])[0]


def _decode_first_value(body: bytes) -> Any:
    """Decode the first JSON value and ignore what follows, as Go's decoder does. Raises ValueError, RecursionError."""
    return _DECODER.raw_decode(body.decode("utf-8", "replace").lstrip(" \t\r\n"))[0]


def _refuse_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_number, parse_int=float)  # a whole number may have any length


def _fits(value: Any, shape: Any) -> bool:
    """Tell whether Go would decode `value` into a struct of that shape: names in any case, null for anything."""
    match shape:
        case dict():
            parts = ((shape.get(name.lower()), part) for name, part in value.items()) if isinstance(value, dict) else ()
            fit = isinstance(value, dict) and all(wanted is None or _fits(part, wanted) for wanted, part in parts)
        case list():
            fit = isinstance(value, list) and all(_fits(part, shape[0]) for part in value)
        case _:
            fit = isinstance(value, shape)
    return fit or value is None


class _Part:
    """A part of foreign JSON: what is not there, or of another type, is empty."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __getitem__(self, name: str) -> _Part:
        return _Part(self._value.get(name) if isinstance(self._value, dict) else None)

    def __iter__(self) -> Iterator[_Part]:
        return map(_Part, self._value if isinstance(self._value, list) else ())

    def __bool__(self) -> bool:
        return bool(self._value)

    @property
    def text(self) -> str:
        return self._value if isinstance(self._value, str) else ""


Told = Iterator[tuple[str, str, str]]
"""Image without tag, tag, digest; as they were said."""


def _read_docker_hub(payload: _Part, headers: Mapping[str, str]) -> Told:
    yield payload["repository"]["repo_name"].text, payload["push_data"]["tag"].text, ""


def _read_github(payload: _Part, headers: Mapping[str, str]) -> Told:
    if headers.get("x-github-event") not in ("package", "registry_package"):
        return
    package = payload["package"] or payload["registry_package"]
    version = package["package_version"]
    tag = version["container_metadata"]["tag"]
    owner = package["namespace"].text or package["owner"]["login"].text
    is_container = package["package_type"].text.lower() in ("", "container")
    if is_container and payload["action"].text in ("published", "updated") and tag["name"].text:
        yield f"ghcr.io/{owner}/{package['name'].text}".lower(), tag["name"].text, tag["digest"].text


def _read_harbor(payload: _Part, headers: Mapping[str, str]) -> Told:
    if payload["type"].text not in ("PUSH_ARTIFACT", "harbor.artifact.pushed"):
        return
    for resource in (payload["event_data"] or payload["data"])["resources"]:
        image, _, _ = resource["resource_url"].text.partition("@")
        base, colon, last = image.rpartition(":")
        yield base if colon and "/" not in last else image, resource["tag"].text, resource["digest"].text


def _read_quay(payload: _Part, headers: Mapping[str, str]) -> Told:
    for tag in payload["updated_tags"]:
        yield payload["docker_url"].text, tag.text, ""


def _read_registry_event(event: _Part) -> Told:
    target = event["target"]
    if event["action"].text == "push" and target["tag"].text:
        yield f"{event['request']['host'].text}/{target['repository'].text}", target["tag"].text, target["digest"].text


def _read_acr(payload: _Part, headers: Mapping[str, str]) -> Told:
    return _read_registry_event(payload)


def _read_generic(payload: _Part, headers: Mapping[str, str]) -> Told:
    for event in payload["events"]:
        yield from _read_registry_event(event)
    image, _, digest = payload["image"].text.partition("@")
    try:
        named = parse_image(image) if image else None
    except ImageInvalid:
        return
    if named is not None and image.endswith(f":{named.reference}"):
        yield str(named.repository), named.reference, digest


_SHAPES: Mapping[str, Any] = {
    "dockerhub": {"push_data": {"tag": str}, "repository": {"repo_url": str}},
    "quay": {"docker_url": str, "updated_tags": [str]},
    "acr": {"action": str, "target": {"repository": str, "tag": str}},
}
"""What must be right in a body; of other senders the original reads none."""

_READERS: dict[str, Callable[[_Part, Mapping[str, str]], Told]] = {
    "dockerhub": _read_docker_hub,
    "github": _read_github,
    "harbor": _read_harbor,
    "quay": _read_quay,
    "acr": _read_acr,
    "generic-hmac": _read_generic,
}


def _parse_push(image: str, tag: str, digest: str) -> PushedTag | None:
    """Return the push that the texts name; None when they name no image and tag."""
    if not _TAG.fullmatch(tag):
        return None
    try:
        repository = parse_repository(image)
    except ImageInvalid:
        return None
    return PushedTag(str(repository), tag, digest if DIGEST.fullmatch(digest) else "")
