"""Receiver: the path that it is called at, made of the token in its Secret. What is received is webhooks.py."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import msgspec

from gitops_core.api.receiver import Receiver
from gitops_core.domain.sources.hooks import find_named, make_webhook_path
from gitops_core.domain.sync.durations import write_duration
from gitops_core.errors import TransientError
from gitops_core.meta import ObjectKey, ObjectRef, Sensitive, parse_duration
from gitops_core.ports import Cluster
from gitops_core.runtime.loop.refusing import refuse_unsupported
from gitops_core.runtime.policy import Policy
from gitops_core.runtime.reconciling import Notice, Outcome
from gitops_core.runtime.remotes.credentials import SECRET


class TokenMissing(TransientError):
    """The Secret with the token is missing or has none."""

    reason = "TokenNotFound"


@dataclass(frozen=True)
class ReceiverReconciler:
    """Implements gitops_core.runtime.reconciling.Reconciler for Receiver."""

    cluster: Cluster
    policy: Policy

    async def reconcile(self, wanted: Receiver) -> Outcome:
        refuse_unsupported(wanted, frozenset())
        for resource in wanted.spec.resources:
            self.policy.check_reference(wanted.ref, find_named(wanted, resource))
        try:
            token = await read_token(self.cluster, wanted)
        except TokenMissing as error:
            raise error.carry(msgspec.structs.replace(wanted.status, webhook_path="")) from None
        path = make_webhook_path(token, wanted.key)
        interval = parse_duration(wanted.spec.interval)
        is_new = path != wanted.status.webhook_path
        finished = Notice("Normal", "Succeeded", f"Reconciliation finished, next run in {write_duration(interval)}")
        return Outcome(
            status=msgspec.structs.replace(wanted.status, webhook_path=path),
            message=f"Receiver initialized for path: {path}",
            requeue_after=interval,
            changed=is_new,
            notices=(finished,) if is_new else (),
        )

    async def finalize(self, wanted: Receiver) -> None:
        """Leave everything: an address that nobody has is not found."""


async def read_token(cluster: Cluster, receiver: Receiver) -> Sensitive:
    """Read the token that a Receiver's Secret holds. Raises TokenMissing, ClusterError."""
    name = receiver.spec.secret_ref.name if receiver.spec.secret_ref is not None else ""
    key = ObjectKey(receiver.metadata.namespace, name)
    manifest = await cluster.get(ObjectRef(SECRET, key)) if name else None
    if manifest is None:
        raise TokenMissing(f"unable to read token from secret '{key}' error: Secret \"{name}\" not found")
    encoded = (manifest.get("data") or {}).get("token")
    try:
        token = base64.b64decode(encoded or "", validate=True)
    except (binascii.Error, ValueError):
        token = b""
    if not token:
        raise TokenMissing(f"invalid '{key}' secret data: required fields 'token'")
    return Sensitive(token)
