"""What a world writes down as it happens, so that invariants can ask later what was true when.

Nothing here is asked by the process, and nothing is taken from its memory: times are those of the deed itself, not of
when somebody heard of it. What the process *can* know is written down apart: what a registry answered, and which
generation of a guard a process has been told.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any, NamedTuple, TypeVar

from gitops_core.adapters.local import LocalCluster
from gitops_core.meta import Manifest
from gitops_core.oci.credentials import OPEN, RegistryAccess
from gitops_core.oci.references import Repository, parse_image
from gitops_core.ports import Clock
from gitops_core.runtime.authority.forwarding import Forwarding, Request
from image_updater.domain.tags.checkpoint import decode
from image_updater.domain.tags.history import SeenTag
from image_updater.ports import Image, SignedClaim
from tests.simulation.fakes.registry import FakeRegistry
from tests.simulation.files import IMAGES
from tests.simulation.leases import Interval, LeaseRecord
from tests.simulation.loop import BEGINNING
from tests.simulation.mortal import ACTING, Liar, Life

A = TypeVar("A")

GRACE = 10.0
"""Virtual seconds that a commit may take from the last look at guards to its arrival."""


class Named(NamedTuple):
    """From `at` on a tag named `digest`; "" for: it was gone."""

    at: float
    digest: str


class Choice(NamedTuple):
    """A policy's latest from `at` on, "" for none.

    Attributes:
        looked: what a registry had answered of the tag by then to the process that chose.
        moved: what that process had been answered before, and since when in a row; then since when it was `looked`.
    """

    at: float
    tag: str
    digest: str
    looked: str
    moved: tuple[Named, float] | None = None

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
        """Tell whether a marked value names this image; one without a digest means whatever the tag names."""
        tag, _, digest = text.partition("@")
        return tag == self.tag and not (digest and self.digest and digest != self.digest)

    def leads_to(self, text: str) -> bool:
        """Tell whether a marked value names what ran before it."""
        tag, _, digest = text.partition("@")
        return tag == self.previous_tag and digest in ("", self.previous_digest)


class GuardSpec(NamedTuple):
    """What the guard said from `at` on."""

    at: float
    generation: int
    spec: Mapping[str, Any]


@dataclass
class Chronicle:
    """One world's records. Times are virtual seconds.

    Attributes:
        named: what each (image, tag) named, oldest first.
        answered: every digest that a process was told of each (image, tag), oldest first.
        bad: digests of images that do not start.
        commits: when each commit arrived in the repository.
        choices: by policy, oldest first.
        quarantined, released: what was put into quarantine, and when it was let out again.
        gone: when each policy was deleted, and until when.
        checkpointed: by (ConfigMap, tag): the age of a tag in the newest record, as the second of the epoch it began.
        remembered: digests that the checkpoints named of each (ConfigMap, tag), oldest first; "" when it left them.
        lease: who held it when.
        rotation: the number in the newest values that the Secret ever held.
        stalls: when no process got any time at all.
        troubles: when each peer failed.
        faults: what was seen to be wrong at once.
    """

    clock: Clock
    named: dict[tuple[str, str], list[Named]] = field(default_factory=dict)
    answered: dict[tuple[str, str], list[Named]] = field(default_factory=dict)
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
    lease: LeaseRecord = field(default_factory=LeaseRecord)
    rotation: int = 0
    stalls: list[Interval] = field(default_factory=list)
    troubles: dict[str, list[Interval]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    _told: dict[str, dict[tuple[str, str], int]] = field(default_factory=dict)
    _believed: dict[str, dict[str, set[str]]] = field(default_factory=dict)

    def before(self, at: float) -> float:
        """Return the moment GRACE before `at`, of the time in which processes could do anything."""
        late = at - GRACE
        for stall in reversed(self.stalls):
            if late < stall.end <= at:
                late -= stall.end - stall.start
        return late

    def sends(self, identity: str, deed: str) -> None:
        """Note a fault if a process that has rivals begins to write without the lease."""
        if fault := self.lease.fault_of(self.clock.monotonic(), identity):
            self.faults.append(f"{identity} began to {deed}, and {fault}")

    def trouble(self, peer: str, share: float) -> None:
        """Note that the peer fails as often as `share` says from now on."""
        now, known = self.clock.monotonic(), self.troubles.setdefault(peer, [])
        if known and known[-1].end > now:
            known[-1] = Interval(known[-1].start, now)
        if share:
            known.append(Interval(now))

    def chosen_at(self, policy: str, at: float) -> str:
        return next((c.text for c in reversed(self.choices.get(policy, [])) if c.at <= at), "")

    def image_of(self, policy: str, text: str, at: float) -> str:
        """Return what a marked value meant when chosen: its own digest, else the one a registry had answered."""
        choices = [c for c in self.choices.get(policy, []) if c.at <= at and c.text == text]
        return f"{text}@{choices[-1].looked}" if "@" not in text and choices and choices[-1].looked else text

    def quarantine(self, at: float, policy: str = "") -> list[Quarantine]:
        """Return what was in quarantine then, of one policy or of all."""
        forever = float("inf")
        found = [entry for entry in self.quarantined if entry.at <= at < self.released.get(entry, forever)]
        return [entry for entry in found if policy in ("", entry.policy)]

    def was_pinned(self, policy: str, tag: str, at: float) -> bool:
        """Tell whether a person had asked for this very tag, now or before."""
        said = [pin for guard in self.guards if guard.at <= at for pin in guard.spec.get("pins", ())]
        return {"policy": policy, "tag": tag} in said

    def is_gone(self, policy: str, start: float, end: float) -> bool:
        """Tell whether the policy was away at some time between."""
        return any(gone.start <= end and start <= gone.end for gone in self.gone.get(policy, ()))

    # what happened to a registry

    def name(self, image: str, tag: str, digest: str) -> None:
        self.named.setdefault((image, tag), []).append(Named(self.clock.monotonic(), digest))

    def there_is(self, image: str, digest: str) -> bool:
        return any(each.digest == digest for key, names in self.named.items() if key[0] == image for each in names)

    def since(self, image: str, policy: str, choice: Choice) -> float:
        """Return since when, at the earliest, what a policy chose was there.

        That is since the registry had the tag. But who remembered that a registry had said something else of it has to
        begin anew when it was told otherwise.
        """
        names, meant = self.named.get((image, choice.tag), ()), choice.digest or choice.looked
        if choice.moved is not None and meant == choice.looked:
            before, since = choice.moved
            kept = self.remembered.get((f"sealoop-tags-{policy}", choice.tag), ())
            told = [each for each in kept if each.digest and before.at <= each.at <= choice.at]
            if told and told[-1].digest == before.digest:  # else another process was told so before, and wrote it down
                return since
        known = self.digests_kept(f"sealoop-tags-{policy}", choice.tag, choice.at)
        first = [each.at for each in names if each.digest]
        if known - {meant}:
            first = [each.at for each in names if each.digest == meant]
        return min(first, default=0.0)

    # what was written to the cluster

    def see_policy(self, manifest: Manifest) -> None:
        latest = (manifest.get("status") or {}).get("latestRef") or {}
        choices = self.choices.setdefault(manifest["metadata"]["name"], [Choice(0.0, "", "", "")])
        tag, digest = latest.get("tag", ""), latest.get("digest", "")
        if (choices[-1].tag, choices[-1].digest) != (tag, digest):
            key, life = (latest.get("name", ""), tag), ACTING.get()
            if digest and digest not in {each.digest for each in self.answered.get(key, ())}:
                self.faults.append(f"policy {manifest['metadata']['name']} chose {tag}@{digest}, which nobody told it")
            answers = [] if life is None else life.answers.get(key, [])
            looked = answers[-1][1] if answers else ""
            choices.append(Choice(self.clock.monotonic(), tag, digest, looked, _move_in(answers)))

    def see_secret(self, manifest: Manifest) -> None:
        """Note a fault if a value that was replaced came back."""
        found = re.fullmatch(r"password-(\d+)", b64decode((manifest.get("data") or {}).get("password", "")).decode())
        if found is None:
            return
        if int(found[1]) < self.rotation:
            self.faults.append(f"the Secret went back from rotation {self.rotation} to {found[1]}")
        self.rotation = max(self.rotation, int(found[1]))

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
        """Note a fault if a tag got younger from one record to the next, unless it was moved since."""
        seen, now = decode(record).seen, self.clock.monotonic()
        image = IMAGES[name.removeprefix("sealoop-tags-")]
        for tag, found in seen.items():
            before, since = self.checkpointed.get((name, tag)), found.since.timestamp()
            if before is not None and since > before + 0.001 and not self._was_moved(image, found, before):
                self.faults.append(f"the age of {tag} in {name} was reset by {since - before:.1f}s")
            self.checkpointed[name, tag] = since
            if found.digest:
                self.remembered.setdefault((name, tag), []).append(Named(now, found.digest))
        for key in [key for key in self.checkpointed if key[0] == name and key[1] not in seen]:
            del self.checkpointed[key]
            self.remembered.setdefault(key, []).append(Named(now, ""))

    def digests_kept(self, name: str, tag: str, at: float) -> set[str]:
        """Return the digests of a tag that the checkpoint told of at that time, now or before, without a gap."""
        found: set[str] = set()
        for moment, digest in self.remembered.get((name, tag), ()):
            if moment <= at:
                found = found | {digest} if digest else set()
        return found

    def _was_moved(self, image: str, found: SeenTag, after: float) -> bool:
        """Tell whether the tag came to name another digest after that second, or a process was told so."""
        start, until = BEGINNING.timestamp(), found.since.timestamp()
        named = [each for each in self.named.get((image, found.tag), ()) if each.digest]
        if any(one.digest != two.digest and after < start + two.at <= until for one, two in pairwise(named)):
            return True
        told = self.answered.get((image, found.tag), ())
        another = False  # also in the same instant, before
        for each in told:
            if each.digest != found.digest:
                another = True
            elif another and -0.001 < start + each.at - until < GRACE:
                return True
        return False

    # what processes were told

    def arrive(self, commit: str) -> None:
        """Note a commit that a process pushed just now, and what it may have known."""
        self.commits[commit] = self.clock.monotonic()
        late = self.before(self.clock.monotonic())
        pushed = ACTING.get()
        lives = [life for life in self.lives if not life.dead] if pushed is None else [pushed]
        self._told[commit] = {key: _least_told(lives, key, late) for life in lives for key in life.heard}
        self._believed[commit] = {policy: _believed(lives, policy, late) for life in lives for policy in life.chosen}

    def told_at(self, commit: str, kind: str, name: str) -> int:
        """Return an object's oldest generation that the process which pushed may have acted on, GRACE before.

        0 for: it may have heard of none yet; -1: it is gone.
        """
        return self._told.get(commit, {}).get((kind, name), 0)

    def believed(self, commit: str, policy: str, at: float) -> set[str]:
        """Return what the process that pushed may have taken for the policy's choice, GRACE before or since."""
        late = self.before(at)
        since = {c.text for c in self.choices.get(policy, ()) if late <= c.at <= at}
        told = self._believed.get(commit, {}).get(policy, set())
        return told | since | {self.chosen_at(policy, late)}


def _least_told(lives: Sequence[Life], key: tuple[str, str], late: float) -> int:
    told = []
    for life in lives:
        if heard := life.heard.get(key, ()):  # one that heard nothing yet does nothing yet
            told.append(next((number for moment, number in reversed(heard) if moment <= late), heard[0][1]))
    return min(told, default=0)


def _believed(lives: Sequence[Life], policy: str, late: float) -> set[str]:
    found = set[str]()
    for life in lives:
        heard = life.chosen.get(policy, ())
        known = sum(moment <= late for moment, _ in heard)
        found |= {text for _, text in heard[max(0, known - 1) :]}
    return found


def _move_in(answers: Sequence[tuple[float, str]]) -> tuple[Named, float] | None:
    """Return the digest before the last one, since when it was answered in a row, and since when the last one is."""
    runs = [[*run] for _, run in groupby(answers, key=lambda answer: answer[1])]
    return (Named(*runs[-2][0]), runs[-1][0][0]) if len(runs) > 1 else None


def _entry(at: float, entry: Mapping[str, Any]) -> Quarantine:
    digests = entry.get("digest", ""), entry.get("previousTag", ""), entry.get("previousDigest", "")
    return Quarantine(at, entry["policy"], entry["tag"], *digests)


@dataclass(frozen=True)
class RecordedCluster(Forwarding):
    """The embedded cluster, which writes down what an invariant asks for at the moment it is stored."""

    inner: LocalCluster
    chronicle: Chronicle

    def close(self) -> None:
        self.inner.close()

    async def carry(self, request: Request, send: Callable[[], Awaitable[A]]) -> A:
        answer = await send()
        if request.is_write and isinstance(answer, Mapping) and not request.dry_run:
            self._note(answer)
        return answer

    def _note(self, stored: Manifest) -> None:
        match stored["kind"]:
            case "Lease":
                self.chronicle.lease.see(self.chronicle.clock.monotonic(), stored)
            case "Secret" if stored["metadata"]["name"] == "app":
                self.chronicle.see_secret(stored)
            case "ImagePolicy":
                self.chronicle.see_policy(stored)
            case "UpdateGuard":
                self.chronicle.see_guard(stored)
            case "ConfigMap" if stored["metadata"]["name"].startswith("sealoop-tags-"):
                self.chronicle.see_checkpoint(stored["metadata"]["name"], b64decode(stored["binaryData"]["tags"]))


@dataclass(frozen=True)
class RecordedRegistry:
    """Implements Registry and ImageReader: what a process is answered is written down."""

    registry: FakeRegistry | Liar
    chronicle: Chronicle
    life: Life

    async def list_tags(self, repository: Repository, access: RegistryAccess = OPEN) -> tuple[str, ...]:
        return await self.registry.list_tags(repository, access)

    async def resolve_digest(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> str:
        digest = await self.registry.resolve_digest(repository, reference, access)
        key, told = (str(repository), reference), Named(self.chronicle.clock.monotonic(), digest)
        self.chronicle.answered.setdefault(key, []).append(told)
        self.life.answers.setdefault(key, []).append(told)
        return digest

    async def read_image(self, repository: Repository, reference: str, access: RegistryAccess = OPEN) -> Image:
        return await self.registry.read_image(repository, reference, access)

    async def list_claims(
        self, repository: Repository, digest: str, access: RegistryAccess = OPEN
    ) -> tuple[SignedClaim, ...]:
        return await self.registry.list_claims(repository, digest, access)


@dataclass(frozen=True)
class StartingImages:
    """Implements gitops_core.ports.Images: an image that is bad never starts, one that was pushed is kept by digest."""

    chronicle: Chronicle

    async def exists(self, image: str) -> bool:
        found = parse_image(image)
        name, reference = str(found.repository), found.reference
        named = self.chronicle.named
        if reference.startswith("sha256:"):
            return self.chronicle.there_is(name, reference) and reference not in self.chronicle.bad
        now = named.get((name, reference), [Named(0.0, "")])[-1].digest
        return bool(now) and now not in self.chronicle.bad
