"""Webhooks: `POST /hook/<sha256>`, which a Receiver says who may call and what it wakes.

    unknown path 404, not ready 503, no proof or no payload 400, too long 413, too many 429, done 200

An ImageRepository is told the tag that was pushed, where the sender says it: no registry is asked. Everything else gets
the annotation reconcile.fluxcd.io/requestedAt, as Flux does it. Any replica may be called; nothing of a request is ever
answered or logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web

from gitops_core.api import Receiver
from gitops_core.api.receiver import ReceiverResource
from gitops_core.domain.sources.hooks import HookRefused, check, webhook_path
from gitops_core.errors import GitOpsError
from gitops_core.meta import Kind, ObjectKey, ObjectRef, timestamp
from gitops_core.ports import Clock, Cluster, Compute, PartialObject, Query
from gitops_core.reconcilers.receivers import TokenMissing, receiver_token
from gitops_core.runtime.computing import IN_PLACE, on_account_of
from gitops_core.runtime.conditions import REQUESTED_AT
from gitops_core.runtime.informers import every_page, listed
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.schema import from_manifest
from image_updater.api import ImageRepository
from image_updater.domain.registry.webhooks import PayloadInvalid, PushedTag, pushed_tags
from image_updater.reconcilers.pushes import Pushes
from sealoop.listening import PATIENCE, listening

log = logging.getLogger("sealoop.hooks")

AT_ONCE, STRANGERS_AT_ONCE = 16, 64
MOST_CLAIMS = 16
"""Receivers that are asked whether a path is theirs which several claim."""
PAUSE = 0.5
"""Seconds between two readings of the paths, which only who asks for an unknown one waits for."""
MANAGER = "notification-controller"
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
_PATH = re.compile(r"/hook/[0-9a-f]{64}")


@dataclass
class _Budget:
    """What one caller may cost: `rate` requests a second, `burst` without waiting, `most` at the same time."""

    most: int
    rate: int
    burst: int
    tokens: float
    filled_at: float = 0.0
    under_way: int = 0

    @contextlib.contextmanager
    def place(self, now: float) -> Iterator[bool]:
        """Whether one more request may be looked at; it is while the block runs."""
        self.tokens = min(self.burst, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens < 1 or self.under_way >= self.most:
            yield False
            return
        self.tokens -= 1
        self.under_way += 1
        try:
            yield True
        finally:
            self.under_way -= 1


@dataclass
class Hooks:
    """What is behind the paths. Answers are HTTP statuses; none of its methods raises because of a request.

    Each path has a budget of its own, and those who know none have one together: nobody uses up another one's.
    """

    cluster: Cluster
    clock: Clock
    compute: Compute = IN_PLACE
    policy: Policy = DEFAULT_POLICY
    _paths: dict[str, tuple[ObjectKey, ...]] = field(default_factory=dict)
    _budgets: dict[str, _Budget] = field(default_factory=dict)
    _strangers: _Budget = field(init=False)
    _read_at: float = -PAUSE
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._strangers = self._budget(STRANGERS_AT_ONCE)

    def _budget(self, most: int) -> _Budget:
        return _Budget(most, self.policy.webhook_rate, self.policy.webhook_burst, self.policy.webhook_burst)

    def place(self, path: str) -> contextlib.AbstractContextManager[bool]:
        """Whether one more request may be looked at now."""
        known = _PATH.fullmatch(path) is not None and self._known(path)
        budget = self._budgets.setdefault(path, self._budget(AT_ONCE)) if known else self._strangers
        return budget.place(self.clock.monotonic())

    async def receiver(self, path: str) -> Receiver | None:
        """The Receiver that is called at `path` now. Raises ClusterError."""
        if not self._known(path):
            await self._read(self.clock.monotonic())
        claims = self._known(path)
        for key in claims:
            manifest = await self.cluster.get(ObjectRef(Receiver.KIND, key))
            receiver = None if manifest is None else from_manifest(Receiver, manifest)
            if receiver is None or not hmac.compare_digest(receiver.status.webhook_path, path):
                continue
            if len(claims) == 1 or await self._is_at(receiver, path):
                return receiver
        return None

    async def _is_at(self, receiver: Receiver, path: str) -> bool:
        """Whether the path is made of its token: that its status says so proves nothing. Raises ClusterError."""
        try:
            token = await receiver_token(self.cluster, receiver)
        except TokenMissing:
            return False
        return hmac.compare_digest(webhook_path(token, receiver.key), path)

    async def _read(self, asked_at: float) -> None:
        """Know every path that a Receiver told before `asked_at`; who asks meanwhile waits for the same reading.

        Raises ClusterError.
        """
        async with self._reading:
            if self._read_at >= asked_at:
                return
            await self.clock.sleep(max(0.0, self._read_at + PAUSE - self.clock.monotonic()))
            began = self.clock.monotonic()
            paths: dict[str, tuple[ObjectKey, ...]] = {}
            for each in sorted(await listed(self.cluster, Receiver), key=_age):
                claims = paths.get(each.status.webhook_path, ())
                if each.status.webhook_path and len(claims) < MOST_CLAIMS:
                    paths[each.status.webhook_path] = (*claims, each.key)
            self._paths = paths
            self._budgets = {path: budget for path, budget in self._budgets.items() if path in self._paths}
            self._read_at = began

    async def receive(self, receiver: Receiver, path: str, headers: Mapping[str, str], body: bytes) -> HTTPStatus:
        """Prove, read and act. `headers` are by their names in lower case."""
        about = {"receiver": str(receiver.key)}
        try:
            token = await receiver_token(self.cluster, receiver)
            if not hmac.compare_digest(webhook_path(token, receiver.key), path):
                return HTTPStatus.NOT_FOUND  # the token is another one by now
            check(receiver.spec, token, headers, body)
            with on_account_of(ObjectRef(Receiver.KIND, receiver.key)):
                pushed = await self.compute.run(len(body), pushed_tags, receiver.spec.type, headers, body)
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

    async def _act(self, receiver: Receiver, resource: ReceiverResource, pushed: tuple[PushedTag, ...]) -> None:
        """Raises GitOpsError."""
        pushes = Pushes(self.cluster, self.clock)
        for ref in await self._named(receiver, resource):
            is_own = ref.key.namespace == receiver.metadata.namespace  # others are woken, but told nothing
            if pushed and is_own and ref.kind.kind == ImageRepository.KIND.kind:
                await pushes.tell(ref.key, pushed)  # one of another image has nothing to look for
            else:
                await self._wake(ref)

    async def _named(self, receiver: Receiver, resource: ReceiverResource) -> tuple[ObjectRef, ...]:
        """Raises ClusterError."""
        kind = Kind.of(resource.api_version or GROUPS.get(resource.kind, "source.toolkit.fluxcd.io/v1"), resource.kind)
        namespace = resource.namespace or receiver.metadata.namespace
        if resource.name != "*":
            return (ObjectRef(kind, ObjectKey(namespace, resource.name)),)
        if not resource.match_labels:
            raise GitOpsError("matchLabels field not set when using wildcard '*' as name")
        labels = ",".join(f"{name}={value}" for name, value in sorted(resource.match_labels.items()))
        query = Query(kind, namespace=namespace, labels=labels, metadata_only=True)
        found = await every_page(self.cluster, query, PartialObject)
        return tuple(ObjectRef(kind, ObjectKey(item.metadata.namespace, item.metadata.name)) for item in found)

    async def _wake(self, ref: ObjectRef) -> None:
        """Raises ClusterError."""
        now = self.clock.now()
        moment = f"{timestamp(now)[:-1]}.{now.microsecond:06}Z"  # two calls in one second are two requests
        patch = {"metadata": {"annotations": {REQUESTED_AT: moment}}}
        await self.cluster.patch(ref, patch, field_manager=MANAGER)

    def _known(self, path: str) -> tuple[ObjectKey, ...]:
        """Who claims the path in a status. Compares with every path, in the same time whichever it is."""
        found = [claims for known, claims in self._paths.items() if hmac.compare_digest(known, path)]
        return found[0] if found else ()


def _age(receiver: Receiver) -> str:
    """Sorts the oldest first: who copies a path comes later than whose it is."""
    created = receiver.metadata.creation_timestamp
    return timestamp(created) if created is not None else ""


@contextlib.asynccontextmanager
async def receiving(
    listen: str, cluster: Cluster, clock: Clock, compute: Compute = IN_PLACE, policy: Policy = DEFAULT_POLICY
) -> AsyncIterator[int]:
    """Receives webhooks while it is open; gives the port.

    Raises:
        ClickException: the address cannot be had.
    """
    hooks = Hooks(cluster, clock, compute, policy)
    application = web.Application(client_max_size=policy.webhook_size)

    async def receive(request: web.Request) -> web.Response:
        with hooks.place(request.rel_url.raw_path) as admitted:
            status = await _answer(hooks, request) if admitted else HTTPStatus.TOO_MANY_REQUESTS
        return web.Response(status=status)

    application.router.add_post("/hook/{digest}", receive)
    async with listening(application, listen, "--hooks") as port:
        yield port


async def _answer(hooks: Hooks, request: web.Request) -> HTTPStatus:
    path = request.rel_url.raw_path
    if not _PATH.fullmatch(path):
        return HTTPStatus.NOT_FOUND
    try:
        receiver = await hooks.receiver(path)
    except GitOpsError as error:
        log.warning("webhooks cannot be received", extra={"cause": str(error)})
        return HTTPStatus.INTERNAL_SERVER_ERROR
    if receiver is None:
        return HTTPStatus.NOT_FOUND
    if receiver.spec.suspend or not receiver.status.is_ready or receiver.metadata.deletion_timestamp is not None:
        return HTTPStatus.SERVICE_UNAVAILABLE
    try:
        async with asyncio.timeout(PATIENCE):
            body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    except TimeoutError:
        return HTTPStatus.REQUEST_TIMEOUT
    headers = {name.lower(): value for name, value in request.headers.items()}
    return await hooks.receive(receiver, path, headers, body)
