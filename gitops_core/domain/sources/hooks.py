"""Whether a webhook's caller is who it should be: the secret path, and what each kind of sender proves beside it.

    generic, dockerhub, quay, acr   the path alone
    generic-hmac                    X-Signature: sha256=<hex> over the body (sha1, sha512 likewise)
    github                          X-Hub-Signature-256, or X-Hub-Signature
    harbor                          Authorization: <token>

Source: fluxcd/notification-controller, internal/server/receiver_handlers.go. Every comparison takes the same time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from gitops_core.api.receiver import Receiver, ReceiverResource, ReceiverSpec
from gitops_core.meta import Kind, ObjectKey, ObjectRef, Sensitive

PREFIX = "/hook/"


class HookRefused(ValueError):
    """The request does not prove what it must; the message quotes nothing of it."""


GROUPS = {
    "Bucket": "source.toolkit.fluxcd.io/v1",
    "HelmChart": "source.toolkit.fluxcd.io/v1",
    "HelmRepository": "source.toolkit.fluxcd.io/v1",
    "GitRepository": "source.toolkit.fluxcd.io/v1",
    "OCIRepository": "source.toolkit.fluxcd.io/v1",
    "Kustomization": "kustomize.toolkit.fluxcd.io/v1",
    "HelmRelease": "helm.toolkit.fluxcd.io/v2",
    "ImageRepository": "image.toolkit.fluxcd.io/v1",
    "ImagePolicy": "image.toolkit.fluxcd.io/v1",
    "ImageUpdateAutomation": "image.toolkit.fluxcd.io/v1",
}


def find_named(receiver: Receiver, resource: ReceiverResource) -> ObjectRef:
    """Return what a resource of a Receiver names; the name "*" stands for all that its labels select."""
    kind = Kind.of(resource.api_version or GROUPS.get(resource.kind, "source.toolkit.fluxcd.io/v1"), resource.kind)
    return ObjectRef(kind, ObjectKey(resource.namespace or receiver.metadata.namespace, resource.name))


def make_webhook_path(token: Sensitive, key: ObjectKey) -> str:
    """Return the path that a Receiver is called at.

    >>> make_webhook_path(Sensitive("secret"), ObjectKey("ns", "hook"))[:24]
    '/hook/32031b979575e69e7a'
    """
    named = token.reveal() + key.name.encode() + key.namespace.encode()
    return PREFIX + hashlib.sha256(named).hexdigest()


def check(spec: ReceiverSpec, token: Sensitive, headers: Mapping[str, str], body: bytes) -> None:
    """Raise HookRefused where the request lacks a proof or an event that the Receiver's type asks for.

    Args:
        headers: by their names in lower case.
    """
    if spec.type == "generic-hmac":
        _check_signature(headers.get("x-signature", ""), token, body)
    elif spec.type == "github":
        _check_signature(headers.get("x-hub-signature-256") or headers.get("x-hub-signature", ""), token, body)
        _check_event(spec.events, headers.get("x-github-event", ""))
    elif spec.type == "harbor":
        given = headers.get("authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, token.reveal()):
            raise HookRefused("the Authorization header is not the token")


def _check_signature(signature: str, token: Sensitive, body: bytes) -> None:
    algorithm, _, given = signature.partition("=")
    if algorithm not in ("sha1", "sha256", "sha512"):
        raise HookRefused("there is no signature")
    wanted = hmac.new(token.reveal(), body, algorithm).hexdigest()
    if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode()):
        raise HookRefused("the signature is not that of this body with this token")


def _check_event(wanted: tuple[str, ...], event: str) -> None:
    if wanted and event.lower() not in (each.lower() for each in wanted):
        raise HookRefused("the event is none of spec.events")
