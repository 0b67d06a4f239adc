"""Webhooks: `POST /hook/<sha256>`, which a Receiver says who may call and what it wakes.

    unknown path 404, not ready 503, no proof or no payload 400, done 200

What is told of pushes (an ImageRepository) hears of the tag that was pushed, where the sender says it: no registry is
asked. Everything else gets the annotation reconcile.fluxcd.io/requestedAt, as Flux does it. Nothing of a request is
ever answered or logged.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any

from gitops_core.api import Receiver
from gitops_core.api.receiver import ReceiverResource
from gitops_core.domain.sources.hooks import HookRefused, check, find_named, make_webhook_path
from gitops_core.errors import GitOpsError, PayloadInvalid
from gitops_core.meta import ObjectKey, ObjectRef, write_timestamp
from gitops_core.ports import Clock, Cluster, Compute, PartialObject, Pushes, Query
from gitops_core.reconcilers.receivers import TokenMissing, read_token
from gitops_core.runtime.loop.conditions import REQUESTED_AT
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.routes import Receive
from gitops_core.runtime.sharing.computing import on_account_of
from gitops_core.runtime.watching.informers import list_objects, read_every_page
from gitops_core.schema import read_manifest

log = logging.getLogger(__name__)

MOST_CLAIMS = 16
"""Receivers that are asked whether a path is theirs which several claim."""
PAUSE = 0.5
"""Seconds between two readings of the paths, which only who asks for an unknown one waits for."""
MANAGER = "notification-controller"
_PATH = re.compile(r"/hook/[0-9a-f]{64}")


@dataclass
class Webhooks:
    """Implements gitops_core.runtime.routes.Handler for Receivers."""

    cluster: Cluster
    clock: Clock
    compute: Compute
    pushes: Pushes
    policy: Policy = DEFAULT_POLICY
    _paths: dict[str, tuple[ObjectKey, ...]] = field(default_factory=dict)
    _read_at: float = -PAUSE
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def paths(self) -> Collection[str]:
        return self._paths.keys()

    async def admit(self, path: str) -> Receive | HTTPStatus:
        try:
            receiver = await self.find_receiver(path) if _PATH.fullmatch(path) else None
        except GitOpsError as error:
            log.warning("webhooks cannot be received", extra={"cause": str(error)})
            return HTTPStatus.INTERNAL_SERVER_ERROR
        if receiver is None:
            return HTTPStatus.NOT_FOUND
        if receiver.spec.suspend or not receiver.status.is_ready or receiver.metadata.deletion_timestamp is not None:
            return HTTPStatus.SERVICE_UNAVAILABLE
        return partial(self.receive, receiver, path)

    async def find_receiver(self, path: str) -> Receiver | None:
        """Find the Receiver that is called at `path` now. Raises ClusterError."""
        if not self._find_claims(path):
            await self._read(self.clock.monotonic())
        claims = self._find_claims(path)
        for key in claims:
            manifest = await self.cluster.get(ObjectRef(Receiver.KIND, key))
            receiver = None if manifest is None else read_manifest(Receiver, manifest)
            if receiver is None or not hmac.compare_digest(receiver.status.webhook_path.encode(), path.encode()):
                continue
            if len(claims) == 1 or await self._is_at(receiver, path):
                return receiver
        return None

    async def _is_at(self, receiver: Receiver, path: str) -> bool:
        """Tell whether the path is made of its token: that its status says so proves nothing. Raises ClusterError."""
        try:
            token = await read_token(self.cluster, receiver)
        except TokenMissing:
            return False
        return hmac.compare_digest(make_webhook_path(token, receiver.key), path)

    async def _read(self, asked_at: float) -> None:
        """Learn every path that a Receiver told before `asked_at`; who asks meanwhile waits for the same reading.

        Raises ClusterError.
        """
        async with self._reading:
            if self._read_at >= asked_at:
                return
            await self.clock.sleep(max(0.0, self._read_at + PAUSE - self.clock.monotonic()))
            began = self.clock.monotonic()
            paths: dict[str, tuple[ObjectKey, ...]] = {}
            for each in sorted(await list_objects(self.cluster, Receiver), key=_get_age):
                told = each.status.webhook_path  # whatever whoever may write statuses says
                claims = paths.get(told, ())
                if _PATH.fullmatch(told) and len(claims) < MOST_CLAIMS:
                    paths[told] = (*claims, each.key)
            self._paths = paths
            self._read_at = began

    async def receive(self, receiver: Receiver, path: str, headers: Mapping[str, str], body: bytes) -> HTTPStatus:
        """Prove, read and act. `headers` are by their names in lower case."""
        about = {"receiver": str(receiver.key)}
        try:
            token = await read_token(self.cluster, receiver)
            if not hmac.compare_digest(make_webhook_path(token, receiver.key), path):
                return HTTPStatus.NOT_FOUND  # the token is another one by now
            check(receiver.spec, token, headers, body)
            with on_account_of(ObjectRef(Receiver.KIND, receiver.key)):
                pushed = await self.compute.run(len(body), self.pushes.read, receiver.spec.type, headers, body)
        except (HookRefused, PayloadInvalid, TokenMissing) as error:
            log.warning("a webhook was refused", extra=about | {"cause": str(error)})
            return HTTPStatus.BAD_REQUEST
        except GitOpsError as error:
            log.warning("a webhook failed", extra=about | {"cause": str(error)})
            return HTTPStatus.INTERNAL_SERVER_ERROR
        failed = False
        for resource in receiver.spec.resources:
            try:
                await self._act(receiver, resource, pushed)
            except GitOpsError as error:
                failed = True
                log.warning("a webhook failed", extra=about | {"resource": resource.name, "cause": str(error)})
        log.info("a webhook was received", extra=about | {"tags": len(pushed)})
        return HTTPStatus.INTERNAL_SERVER_ERROR if failed else HTTPStatus.OK

    async def _act(self, receiver: Receiver, resource: ReceiverResource, pushed: Sequence[Any]) -> None:
        """Tell the objects that `resource` names what was pushed, or wake them. Raises GitOpsError."""
        for ref in await self._list_named(receiver, resource):
            is_own = ref.key.namespace == receiver.metadata.namespace  # others are woken, but told nothing
            if pushed and is_own and ref.kind.kind == self.pushes.kind.kind:
                await self.pushes.tell(ref.key, pushed)  # one of another image has nothing to look for
            else:
                await self._wake(ref)

    async def _list_named(self, receiver: Receiver, resource: ReceiverResource) -> tuple[ObjectRef, ...]:
        """Return the objects that a resource of the Receiver names. Raises ClusterError, ReferenceRefused."""
        named = find_named(receiver, resource)
        self.policy.check_reference(receiver.ref, named)
        if resource.name != "*":
            return (named,)
        if not resource.match_labels:
            raise GitOpsError("matchLabels field not set when using wildcard '*' as name")
        labels = ",".join(f"{name}={value}" for name, value in sorted(resource.match_labels.items()))
        query = Query(named.kind, namespace=named.key.namespace, labels=labels, metadata_only=True)
        found = await read_every_page(self.cluster, query, PartialObject)
        return tuple(ObjectRef(named.kind, ObjectKey(item.metadata.namespace, item.metadata.name)) for item in found)

    async def _wake(self, ref: ObjectRef) -> None:
        """Wake an object by asking for a reconciliation now. Raises ClusterError."""
        now = self.clock.now()
        moment = f"{write_timestamp(now)[:-1]}.{now.microsecond:06}Z"  # two calls in one second are two requests
        patch = {"metadata": {"annotations": {REQUESTED_AT: moment}}}
        await self.cluster.patch(ref, patch, field_manager=MANAGER)

    def _find_claims(self, path: str) -> tuple[ObjectKey, ...]:
        """Find who claims the path in a status. Compares with every path, in the same time whichever it is."""
        found = [claims for known, claims in self._paths.items() if hmac.compare_digest(known, path)]
        return found[0] if found else ()


def _get_age(receiver: Receiver) -> str:
    """Return the key that sorts the oldest first: who copies a path comes later than whose it is."""
    created = receiver.metadata.creation_timestamp
    return write_timestamp(created) if created is not None else ""
