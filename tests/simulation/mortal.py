"""Ports that die with their process, and that fail and dawdle as seeded.

A simulated process gets every port wrapped in `Mortal`. Each call is a checkpoint, before and after the deed: the
`Life` may let time pass there, raise the port's own kind of error, or end. Where `troubled` says so, answers about the
lease and events of watches come late, writes wait in queues before they leave, statuses are refused, and a `Liar` of a
registry leaves tags out of its listings and says of a tag that it names another image. When a life has ended every
further call raises `Killed`, so nothing that runs while the process unwinds can still write: kill -9, at any await.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from gitops_core.errors import ClusterUnavailable, Forbidden, GitError, GitOpsError
from gitops_core.ports import Clock
from gitops_core.runtime.authority.leave import check_again
from image_updater.api import ImagePolicy, UpdateGuard

Raised = Callable[[str], GitOpsError]

FAILURES: Mapping[str, Raised] = {
    "cluster": lambda deed: ClusterUnavailable(f"{deed}: the API server is away"),
    "git": lambda deed: GitError(f"{deed}: the remote is away"),
}

READS = frozenset(
    {
        *("get", "list", "watch", "find_api_resource", "list_api_resources"),
        *("resolve", "fetch_tree", "search", "describe", "load_signer"),
        *("list_tags", "resolve_digest", "read_image", "list_claims"),
        *("list_seen", "list_events", "list_repositories", "find_listing_begin", "find_newest_listing"),
        *("fetch", "validate"),
    }
)
"""Deeds that change nothing."""

WRITES = frozenset({"create", "replace", "apply", "patch", "delete", "push"})
"""Deeds that change what others see."""

HANDLES = frozenset({"get_remote", "impersonate", "connect_apart"})
"""What returns another peer of that kind."""

UNINTERESTING = frozenset({"Lease", "Event"})
"""Kinds whose writes change nothing that an invariant speaks of."""


def _kind_of(arguments: Sequence[Any]) -> str:
    """Return the kind of the object that a write is about: its manifest's, or its reference's."""
    subject = arguments[0] if arguments else None
    return (
        str(subject["kind"]) if isinstance(subject, dict) else str(getattr(getattr(subject, "kind", None), "kind", ""))
    )


LATE = 12.0
"""Seconds that an answer about the lease or an event takes at most, or that a write waits: longer than a holder may."""


class Killed(BaseException):
    """The process this port belonged to is dead."""


@dataclass
class Life:
    """One process's time on earth.

    Attributes:
        dies_at: the checkpoint (counted from 1) at which it ends; 0 for none.
        troubled: names of the peers that fail now, and how often (0 to 1).
        on_send: called when a write leaves, with its verb; not for one of the lease, and not for a dry run.
        on_write: called after each write that succeeded.
        heard: when it was told which generation of a guard or a policy, by kind and name; -1 for: it is gone.
        chosen: when it was told that a policy chose what, by the policy's name, as a marked line says it.
        answers: when a registry answered which digest of each (image, tag).
        born, died: in virtual seconds.
    """

    clock: Clock
    chance: random.Random
    dies_at: int = 0
    troubled: dict[str, float] = field(default_factory=dict)
    on_send: Callable[[str], None] = lambda deed: None
    on_write: Callable[[str], Awaitable[None]] | None = None
    on_death: Callable[[], None] = lambda: None
    checkpoints: int = 0
    dead: bool = False
    heard: dict[tuple[str, str], list[tuple[float, int]]] = field(default_factory=dict)
    chosen: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    answers: dict[tuple[str, str], list[tuple[float, str]]] = field(default_factory=dict)
    born: float = field(init=False)
    died: float = float("inf")

    def __post_init__(self) -> None:
        self.born = self.clock.monotonic()

    async def checkpoint(self, peer: str, deed: str, raised: Raised) -> None:
        """Pass a moment at which a process may die. Raises Killed, or what `raised` makes."""
        self.check()
        self.checkpoints += 1
        if self.checkpoints == self.dies_at:
            self.end()
        self.check()
        if self.chance.random() < 0.2:
            await self.clock.sleep(self.chance.random() * 0.5)
            self.check()
        if self.chance.random() < self.troubled.get(peer, 0.0):
            raise raised(deed)

    def suffers(self, trouble: str) -> bool:
        share = self.troubled.get(trouble, 0.0)
        return share > 0 and self.chance.random() < share

    async def wait_for(self, trouble: str) -> None:
        """Let an answer about the lease, a place to write or an event maybe outlast anybody's patience."""
        if self.suffers(trouble):
            await self.clock.sleep(self.chance.random() * LATE)
            self.check()

    def hear(self, item: Any, *, gone: bool = False) -> None:
        """Note what the process is told of an object."""
        if isinstance(item, UpdateGuard | ImagePolicy):
            generation = -1 if gone else item.metadata.generation
            heard = self.heard.setdefault((item.KIND.kind, item.metadata.name), [])
            heard.append((self.clock.monotonic(), generation))
        if isinstance(item, ImagePolicy):
            latest = None if gone else item.status.latest_ref
            text = "" if latest is None else f"{latest.tag}@{latest.digest}" if latest.digest else latest.tag
            self.chosen.setdefault(item.metadata.name, []).append((self.clock.monotonic(), text))

    def check(self) -> None:
        if self.dead:
            raise Killed

    def end(self) -> None:
        if not self.dead:
            self.dead, self.died = True, self.clock.monotonic()
            self.on_death()


ACTING: ContextVar[Life | None] = ContextVar("ACTING", default=None)
"""The process whose work the running task does; None for people, and for the world itself."""


class Mortal:
    """`target`, for as long as `life` lasts. Results that are ports themselves are mortal too."""

    def __init__(self, target: Any, peer: str, life: Life, raised: Raised | None = None) -> None:
        self._target, self._peer, self._life = target, peer, life
        self._raised = raised or FAILURES[peer]

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name == "watch":
            return lambda *args, **options: self._iterate(name, value(*args, **options))
        if inspect.iscoroutinefunction(value):
            return lambda *args, **options: self._call(name, value, args, options)
        if callable(value) and name in HANDLES:
            return lambda *args, **options: Mortal(value(*args, **options), self._peer, self._life, self._raised)
        return value

    async def _call(self, name: str, deed: Any, args: Any, options: Any) -> Any:
        is_lease = _kind_of(args) == "Lease"
        if is_lease:
            await self._life.wait_for("lease")
        await self._life.checkpoint(self._peer, name, self._raised)
        if options.get("subresource") == "status" and self._life.suffers("statuses"):
            raise Forbidden(f"{name}: statuses are refused")
        if name in WRITES and not is_lease:
            if self._peer == "cluster":
                await self._life.wait_for("queues")
            check_again()  # as the adapters for real peers do, right before the first byte
            if not options.get("dry_run"):
                self._life.on_send(name)
        result = await deed(*args, **options)
        self._life.check()
        if is_lease:
            await self._life.wait_for("lease")
        if name == "open":
            return Mortal(result, self._peer, self._life, self._raised)
        if name == "list":
            for item in result.items:
                self._life.hear(item)
        if name not in READS:
            if self._life.on_write is not None and not options.get("dry_run") and _kind_of(args) not in UNINTERESTING:
                await self._life.on_write(name)
            # The deed is done; the answer may still be lost on the way.
            await self._life.checkpoint(self._peer, name, self._raised)
        return result

    async def _iterate(self, name: str, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        await self._life.checkpoint(self._peer, name, self._raised)
        async for item in items:
            await self._life.wait_for("watches")
            self._life.check()
            self._life.hear(item.object, gone=item.type == "DELETED")
            yield item
            if self._life.chance.random() < self._life.troubled.get(self._peer, 0.0) / 10:
                return  # a watch that ends early


@dataclass
class Liar:
    """A registry that lies, as often as `troubled` says.

    listings    nothing, half of the tags, or what it listed before
    digests     what the tag named before, what another tag names, or an image that there is not
    """

    registry: Any
    chance: random.Random
    troubled: Mapping[str, float]
    _listed: dict[Any, tuple[str, ...]] = field(default_factory=dict)
    _named: dict[Any, dict[str, str]] = field(default_factory=dict)

    async def list_tags(self, repository: Any, *args: Any) -> tuple[str, ...]:
        listed: tuple[str, ...] = await self.registry.list_tags(repository, *args)
        former = self._listed.get(repository, ())
        self._listed[repository] = listed
        if self._lies("listings"):
            return self.chance.choice([(), former, listed[::2]])
        return listed

    async def resolve_digest(self, repository: Any, reference: str, *args: Any) -> str:
        digest: str = await self.registry.resolve_digest(repository, reference, *args)
        named = self._named.setdefault(repository, {})
        former, others = named.get(reference, digest), [named[tag] for tag in sorted(named) if tag != reference]
        named[reference] = digest
        if self._lies("digests"):
            return self.chance.choice([former, *others[-2:], f"sha256:{sha256(digest.encode()).hexdigest()}"])
        return digest

    def _lies(self, about: str) -> bool:
        share = self.troubled.get(about, 0.0)
        return share > 0 and self.chance.random() < share

    def __getattr__(self, name: str) -> Any:
        return getattr(self.registry, name)
