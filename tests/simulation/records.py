"""What a world writes down as it happens, so that invariants can ask later what was true when.

Nothing here is asked by the process, and nothing is taken from its memory: times are those of the deed itself, not of
when somebody heard of it. What the process *can* know is written down apart: what a registry answered, and which
generation of a guard a process has been told.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from gitops_core.adapters.local import LocalCluster
from gitops_core.meta import Manifest, ObjectRef
from gitops_core.ports import Clock
from image_updater.domain.checkpoint import decode
from image_updater.domain.credentials import OPEN, RegistryAccess
from image_updater.domain.references import Repository, parse_image
from image_updater.ports import Image, SignedClaim
from tests.simulation.fakes.registry import FakeRegistry
from tests.simulation.files import IMAGES
from tests.simulation.loop import BEGINNING
from tests.simulation.mortal import Life

GRACE = 10.0
"""Virtual seconds that a commit may take from the last look at guards to its arrival."""


class Named(NamedTuple):
    """From `at` on a tag named `digest`; "" for: it was gone."""

    at: float
    digest: str


class Choice(NamedTuple):
    """A policy's latest from `at` on, "" for none; `looked`: what a registry had answered of the tag by then."""

    at: float
    tag: str
    digest: str
    looked: str

    @property
    def text(self) -> str:
        """As a marked line says it behind the image's name."""
        return f"{self.tag}@{self.digest}" if self.digest else self.tag


class Quarantine(NamedTuple):
    """An entry of a guard's quarantine, first seen at `at`."""

    at: float
    policy: str
    tag: str
    digest: str
    previous_tag: str
    previous_digest: str

    def is_of(self, text: str) -> bool:
        """Whether a marked value names this image; one that names no digest means whatever the tag names."""
        tag, _, digest = text.partition("@")
        return tag == self.tag and not (digest and self.digest and digest != self.digest)

    def leads_to(self, text: str) -> bool:
        """Whether a marked value names what ran before it."""
        tag, _, digest = text.partition("@")
        return tag == self.previous_tag and digest in ("", self.previous_digest)


class GuardSpec(NamedTuple):
    """What the guard said from `at` on."""

    at: float
    generation: int
    spec: Mapping[str, Any]


class Interval(NamedTuple):
    start: float
    end: float = float("inf")


@dataclass
class Chronicle:
    """One world's records. Times are virtual seconds.

    Attributes:
        named: what each (image, tag) named, oldest first.
        answered: the digest that a process was told last of each (image, tag).
        bad: digests of images that do not start.
        commits: when each commit arrived in the repository.
        choices: by policy, oldest first.
        quarantined, released: what was put into quarantine, and when it was let out again.
        gone: when each policy was deleted, and until when.
        checkpointed: by (ConfigMap, tag): the age of a tag in the newest record, as the second of the epoch it began.
        remembered: digests that the checkpoints named of each (ConfigMap, tag), oldest first; "" when it left them.
        holder: who holds the lease, as it is stored; "" for nobody.
        stalls: when no process got any time at all.
        faults: what was seen to be wrong at once.
    """

    clock: Clock
    named: dict[tuple[str, str], list[Named]] = field(default_factory=dict)
    answered: dict[tuple[str, str], str] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    commits: dict[str, float] = field(default_factory=dict)
    guards: list[GuardSpec] = field(default_factory=list)
    approved: list[tuple[float, str, str]] = field(default_factory=list)
    choices: dict[str, list[Choice]] = field(default_factory=dict)
    quarantined: list[Quarantine] = field(default_factory=list)
    released: dict[Quarantine, float] = field(default_factory=dict)
    gone: dict[str, list[Interval]] = field(default_factory=dict)
    checkpointed: dict[tuple[str, str], float] = field(default_factory=dict)
    remembered: dict[tuple[str, str], list[Named]] = field(default_factory=dict)
    lives: list[Life] = field(default_factory=list)
    holder: str = ""
    stalls: list[Interval] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _told: dict[str, dict[tuple[str, str], int]] = field(default_factory=dict)

    def before(self, at: float) -> float:
        """GRACE before `at`, of the time in which processes could do anything."""
        late = at - GRACE
        for stall in reversed(self.stalls):
            if late < stall.end <= at:
                late -= stall.end - stall.start
        return late

    def sends(self, identity: str, deed: str) -> None:
        """A process that has rivals begins to write."""
        if self.holder.partition("_")[0] != identity:
            self.faults.append(f"{identity} began to {deed}, and {self.holder or 'nobody'} held the lease")

    def chosen_at(self, policy: str, at: float) -> str:
        return next((c.text for c in reversed(self.choices.get(policy, [])) if c.at <= at), "")

    def image_of(self, policy: str, text: str, at: float) -> str:
        """What a marked value meant when its policy chose it: with the digest that a registry had answered."""
        tag = text.partition("@")[0]
        choices = [c for c in self.choices.get(policy, []) if c.at <= at and c.text == text]
        return f"{tag}@{choices[-1].looked}" if choices and choices[-1].looked else text

    def quarantine(self, at: float, policy: str = "") -> list[Quarantine]:
        """What was in quarantine then, of one policy or of all."""
        forever = float("inf")
        found = [entry for entry in self.quarantined if entry.at <= at < self.released.get(entry, forever)]
        return [entry for entry in found if policy in ("", entry.policy)]

    def was_pinned(self, policy: str, tag: str, at: float) -> bool:
        """Whether a person had asked for this very tag, now or before."""
        said = [pin for guard in self.guards if guard.at <= at for pin in guard.spec.get("pins", ())]
        return {"policy": policy, "tag": tag} in said

    def is_gone(self, policy: str, start: float, end: float) -> bool:
        """Whether the policy was away at some time between."""
        return any(gone.start <= end and start <= gone.end for gone in self.gone.get(policy, ()))

    # what happened to a registry

    def name(self, image: str, tag: str, digest: str) -> None:
        self.named.setdefault((image, tag), []).append(Named(self.clock.monotonic(), digest))

    def since(self, image: str, tag: str, digest: str) -> float:
        """Since when, at the earliest, the tag named this digest; of "", since when there is such a tag."""
        return min(
            (n.at for n in self.named.get((image, tag), ()) if n.digest and digest in ("", n.digest)), default=0.0
        )

    # what was written to the cluster

    def see_policy(self, manifest: Manifest) -> None:
        latest = (manifest.get("status") or {}).get("latestRef") or {}
        choices = self.choices.setdefault(manifest["metadata"]["name"], [Choice(0.0, "", "", "")])
        tag, digest = latest.get("tag", ""), latest.get("digest", "")
        if (choices[-1].tag, choices[-1].digest) != (tag, digest):
            looked = self.answered.get((latest.get("name", ""), tag), "")
            choices.append(Choice(self.clock.monotonic(), tag, digest, looked))

    def see_guard(self, manifest: Manifest) -> None:
        generation, status = manifest["metadata"]["generation"], manifest.get("status") or {}
        if not self.guards or self.guards[-1].generation < generation:
            self.guards.append(GuardSpec(self.clock.monotonic(), generation, manifest["spec"]))
        entries = [_entry(self.clock.monotonic(), entry) for entry in status.get("quarantine", ())]
        now, there = self.clock.monotonic(), {entry[1:] for entry in entries}
        for lost in self.quarantine(now):
            if lost[1:] not in there:
                self.released[lost] = now
                if not self.was_pinned(lost.policy, lost.tag, now):
                    self.faults.append(f"the quarantine of {lost.policy} {lost.tag} was forgotten")
        known = {entry[1:] for entry in self.quarantine(now)}
        self.quarantined += [entry for entry in entries if entry[1:] not in known]

    def see_checkpoint(self, name: str, record: bytes) -> None:
        """A tag that is in two records one after the other may only turn out older, unless it was moved since."""
        seen, now = decode(record).seen, self.clock.monotonic()
        image = IMAGES[name.removeprefix("sealoop-tags-")]
        for tag, found in seen.items():
            before, since = self.checkpointed.get((name, tag)), found.since.timestamp()
            if before is not None and since > before + 0.001 and not self._was_moved(image, tag, before, since):
                self.faults.append(f"the age of {tag} in {name} was reset by {since - before:.1f}s")
            self.checkpointed[name, tag] = since
            if found.digest:
                self.remembered.setdefault((name, tag), []).append(Named(now, found.digest))
        for key in [key for key in self.checkpointed if key[0] == name and key[1] not in seen]:
            del self.checkpointed[key]
            self.remembered.setdefault(key, []).append(Named(now, ""))

    def digests_kept(self, name: str, tag: str, at: float) -> set[str]:
        """The digests of a tag that the checkpoint told of at that time, now or before, without a gap."""
        found: set[str] = set()
        for moment, digest in self.remembered.get((name, tag), ()):
            if moment <= at:
                found = found | {digest} if digest else set()
        return found

    def _was_moved(self, image: str, tag: str, after: float, until: float) -> bool:
        """Whether the tag came to name another digest in that time (seconds of the epoch)."""
        start = BEGINNING.timestamp()
        named = [each for each in self.named.get((image, tag), ()) if each.digest]
        return any(one.digest != two.digest and after < start + two.at <= until for one, two in pairwise(named))

    # what processes were told

    def arrive(self, commit: str) -> None:
        """A process pushed it just now: what may it have known?"""
        self.commits[commit] = self.clock.monotonic()
        self._told[commit] = {key: self._least_told(key) for life in self.lives for key in life.heard}

    def told_at(self, commit: str, kind: str, name: str) -> int:
        """The oldest generation of an object that the process which pushed may have acted on, GRACE before.

        0 for: it may have heard of none yet; -1: it is gone.
        """
        return self._told.get(commit, {}).get((kind, name), 0)

    def _least_told(self, key: tuple[str, str]) -> int:
        late, told = self.before(self.clock.monotonic()), []
        for life in self.lives:
            heard = life.heard.get(key, ())
            if not life.dead and heard:  # one that heard nothing yet does nothing yet
                told.append(next((number for moment, number in reversed(heard) if moment <= late), heard[0][1]))
        return min(told, default=0)


def _entry(at: float, entry: Mapping[str, Any]) -> Quarantine:
    digests = entry.get("digest", ""), entry.get("previousTag", ""), entry.get("previousDigest", "")
    return Quarantine(at, entry["policy"], entry["tag"], *digests)


class RecordedCluster(LocalCluster):
    """The embedded cluster, which writes down what an invariant asks for at the moment it is stored."""

    chronicle: Chronicle

    async def create(self, manifest: Manifest, *, field_manager: str, dry_run: bool = False) -> Manifest:
        stored = await super().create(manifest, field_manager=field_manager, dry_run=dry_run)
        if not dry_run:
            self._note(stored)
        return stored

    async def replace(
        self, manifest: Manifest, *, field_manager: str, subresource: str = "", dry_run: bool = False
    ) -> Manifest:
        stored = await super().replace(manifest, field_manager=field_manager, subresource=subresource, dry_run=dry_run)
        if not dry_run:
            self._note(stored)
        return stored

    async def apply(
        self, manifest: Manifest, *, field_manager: str, force: bool = False, dry_run: bool = False
    ) -> Manifest:
        stored = await super().apply(manifest, field_manager=field_manager, force=force, dry_run=dry_run)
        if not dry_run:
            self._note(stored)
        return stored

    async def patch(
        self,
        ref: ObjectRef,
        patch: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        field_manager: str,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Manifest:
        stored = await super().patch(ref, patch, field_manager=field_manager, subresource=subresource, dry_run=dry_run)
        if not dry_run:
            self._note(stored)
        return stored

    def _note(self, stored: Manifest) -> None:
        match stored["kind"]:
            case "Lease":
                self.chronicle.holder = stored["spec"].get("holderIdentity") or ""
            case "ImagePolicy":
                self.chronicle.see_policy(stored)
            case "UpdateGuard":
                self.chronicle.see_guard(stored)
            case "ConfigMap" if stored["metadata"]["name"].startswith("sealoop-tags-"):
                self.chronicle.see_checkpoint(stored["metadata"]["name"], b64decode(stored["binaryData"]["tags"]))


@dataclass(frozen=True)
class RecordedRegistry:
    """Implements Registry and ImageReader: what processes are answered is written down."""

    registry: FakeRegistry
    chronicle: Chronicle

    async def tags(self, repository: Repository, access: RegistryAccess = OPEN) -> tuple[str, ...]:
        return await self.registry.tags(repository, access)

    async def digest(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> str:
        digest = await self.registry.digest(repository, reference, access)
        self.chronicle.answered[str(repository), reference] = digest
        return digest

    async def image(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> Image:
        return await self.registry.image(repository, reference, access)

    async def claims(
        self, repository: Repository, digest: str, access: RegistryAccess = OPEN
    ) -> tuple[SignedClaim, ...]:
        return await self.registry.claims(repository, digest, access)


@dataclass(frozen=True)
class StartingImages:
    """Implements gitops_core.ports.Images: an image that is bad never starts, one that was pushed is kept by digest."""

    chronicle: Chronicle

    async def exists(self, image: str) -> bool:
        found = parse_image(image)
        name, reference = str(found.repository), found.reference
        named = self.chronicle.named
        if reference.startswith("sha256:"):
            there = any(each.digest == reference for key in named if key[0] == name for each in named[key])
            return there and reference not in self.chronicle.bad
        now = named.get((name, reference), [Named(0.0, "")])[-1].digest
        return bool(now) and now not in self.chronicle.bad
