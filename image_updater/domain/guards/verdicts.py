"""Which tag a policy chooses under the rules of its guards, and what is said of every other tag.

    policy    excluded · filtered · not a version · out of range · prerelease                 (the order of candidates)
    guards    pinned away · skipped · quarantined · older than what is quarantined · too young · not promoted
              · gone · wrong platform · unsigned                              (the first candidate without any wins)

What only a registry knows is asked for: `decide` answers `Need`, the caller adds the fact and asks again. Candidates
are tried from the best one down and a fact is asked only of one that passes everything cheaper: mostly of one image.

A quarantined image is never chosen, and nothing that is not newer than it goes out by itself: without a newer one, the
choice is exactly what ran before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal, NamedTuple

from gitops_core.meta import ObjectKey, write_timestamp
from image_updater.api import Proven, Quarantined, Skip
from image_updater.domain.guards.rules import Promotion, Rules, is_current
from image_updater.domain.registry.platforms import find_missing
from image_updater.domain.tags.filters import Pattern, TagFilter, compile_pattern
from image_updater.domain.tags.history import SeenTag
from image_updater.domain.tags.listings import Listing
from image_updater.domain.tags.policies import Policy, make_sort_key, rank
from image_updater.errors import NoTagQualifies

MOST_LOOKED_AT = 20
"""Candidates of one decision that a registry is asked about."""
MOST_PASSED = 10
"""Verdicts that a decision carries; `explain_tags` has them all."""

What = Literal["digest", "platforms", "signature"]
Kind = Literal[
    "chosen", "pinned", "taken back", "lower", "excluded", "filtered", "not a version", "not a number", "out of range",
    "prerelease", "pinned away", "skipped", "quarantined", "older than quarantined", "too young", "not promoted",
    "gone", "wrong platform", "unsigned", "not looked at", "not compared",
]  # fmt: skip


class Verdict(NamedTuple):
    """What is said of one tag: `1.3.0` `is too young (needs 24h, has 2h10m)`; `at`: when that may change by itself."""

    tag: str
    kind: Kind
    text: str
    at: datetime | None = None

    def __str__(self) -> str:
        return f"{self.tag} {self.text}"

    @property
    def steady(self) -> str:
        """The same in words that stay the same while time passes: each look at a status would write it again."""
        if self.at is not None and self.kind in ("too young", "not promoted"):
            return f"{self.tag} is {self.kind} until {write_timestamp(self.at)}"
        return str(self)


@dataclass(frozen=True)
class Facts:
    """What a registry said of a tag, as far as it was asked.

    Attributes:
        digest: "" for not asked.
        moved: whether the tag named another image until now: its age begins anew.
        platforms: None for not asked.
        unsigned: why no wanted key signed it, "" when all did; None for not asked.
        gone: why there is no such image.
    """

    digest: str = ""
    moved: bool = False
    platforms: tuple[str, ...] | None = None
    unsigned: str | None = None
    gone: str = ""


@dataclass(frozen=True)
class Request:
    """Everything that a decision depends on.

    Attributes:
        seen: since when each tag is what it is, needed with `rules.min_age` only; a tag that is not in it is new.
        proven: what ran Healthy where each policy of `rules.promotions` decides, or why we may not know.
        digest: whether the digest of what is chosen is wanted in any case.
        facts: by tag; what is known so far.
    """

    policy: Policy
    listing: Listing
    now: datetime
    tag_filter: TagFilter | None = None
    skip_unparsable: bool = False
    rules: Rules = field(default=Rules())
    seen: Mapping[str, SeenTag] = field(default_factory=dict)
    proven: Mapping[ObjectKey, tuple[Proven, ...] | str] = field(default_factory=dict)
    digest: bool = False
    facts: Mapping[str, Facts] = field(default_factory=dict)


class Need(NamedTuple):
    """Ask the registry this of `tag`, and decide again."""

    tag: str
    what: What


@dataclass(frozen=True)
class Chosen:
    """This tag it is.

    Attributes:
        digest: as far as it is known.
        passed: the best candidates that were passed over for it, and why; at most MOST_PASSED.
        again: when time alone may change the decision.
    """

    tag: str
    digest: str
    how: Literal["chosen", "pinned", "taken back"]
    passed: tuple[Verdict, ...] = ()
    again: datetime | None = None


@dataclass(frozen=True)
class Nothing:
    """No tag can be chosen now; what was chosen before stays."""

    message: str
    passed: tuple[Verdict, ...] = ()
    again: datetime | None = None


def decide(request: Request) -> Chosen | Need | Nothing:
    """Choose a tag, say what must be known first, or say why there is nothing to choose.

    Raises:
        PolicyInvalid: the range or the filter's pattern is not one.
    """
    return Judge(request).decide()


class Judge:
    """Judges the tags of one request, each once, and remembers what was said of them.

    Attributes:
        judged: the candidates so far, best first, with what speaks against them.
        passed: the first of those verdicts.
        again: when time alone may change one of them.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.rules = request.rules
        self.judged: list[tuple[str, Verdict | Need | None]] = []
        self.passed: list[Verdict] = []
        self.again: datetime | None = None
        self.pins = [pin for pin in self.rules.pins if is_current(pin.until, request.now)]
        self.skips = [skip for skip in self.rules.skips if is_current(skip.until, request.now)]
        for pin in self.pins:
            self._wait_for(pin.until)

    def decide(self) -> Chosen | Need | Nothing:
        """Judge candidates until one may be chosen, or a fact is missing. Raises PolicyInvalid."""
        # a guard that cannot be read: it may forbid anything
        if self.rules.faults:
            return Nothing("; ".join(self.rules.faults))
        try:
            for text, tag, found in self.judge_candidates():
                # a fact is missing: the caller looks it up and decides again
                if isinstance(found, Need):
                    return found if self.may_ask(tag) else self.choose_nothing(f"among the best {MOST_LOOKED_AT}")
                # nothing speaks against it: the best that qualifies
                if found is None:
                    return self.choose(tag)
                # it is to be remembered with its digest: else it could be moved unseen while it grows old
                if found.kind == "too young" and not self._knows_digest(tag) and self.may_ask(tag):
                    return Need(tag, "digest")
                # something does: the next best one may qualify
                self.note(found)
                if found.kind == "older than quarantined" and self.is_below(text):
                    break  # so are all that follow
        # no tag can be compared: what ran before a failure may still be named
        except NoTagQualifies as error:
            return self.take_back() or Nothing(str(error), again=self.again)
        return self.take_back() or self.choose_nothing()

    # which tags, in which order

    def judge_candidates(self) -> Iterator[tuple[str, str, Verdict | Need | None]]:
        """Judge the candidates that were not judged yet, best first; each with the text that is compared.

        Raises:
            PolicyInvalid: the range or the filter's pattern is not one.
            NoTagQualifies: there is none.
        """
        for text, tag in self._candidates:
            found = self.judge(tag, text)
            self.judged.append((tag, found))
            yield text, tag, found

    @cached_property
    def _candidates(self) -> Iterator[tuple[str, str]]:
        """The texts that are compared with their tags, best first. Raises PolicyInvalid, NoTagQualifies."""
        request = self.request
        if self.pins:
            return iter((("", self._get_pinned()),))
        found = request.listing.find_candidates(request.tag_filter)
        texts = rank(found, request.policy, skip_unparsable=request.skip_unparsable)
        return ((text, found.find_tag(text)) for text in texts)

    def _get_pinned(self) -> str:
        """Return the one tag that every pin names. Raises NoTagQualifies."""
        tags = sorted({pin.tag for pin in self.pins})
        if len(tags) > 1:
            raise NoTagQualifies(f"pinned to {' and to '.join(tags)}: there is no tag that is both")
        if tags[0] not in self.request.listing.tags:
            raise NoTagQualifies(f"pinned to {tags[0]}, which the repository does not have")
        return tags[0]

    # what is said of one of them

    def judge(self, tag: str, text: str) -> Verdict | Need | None:
        """Return the verdict against a candidate, or what must be known first; None when nothing speaks against it."""
        facts = self.request.facts.get(tag, _UNKNOWN)
        # the registry names no image for it
        if facts.gone:
            return Verdict(tag, "gone", f"names no image: {facts.gone}")
        # what costs no look at the registry comes first
        cheap = self._check_skips(tag, facts) or self._check_quarantine(tag, text, facts) or self._check_age(tag, facts)
        found = cheap or self._check_promotions(tag, facts)
        if found is not None:
            return found
        # it may be chosen: its digest is part of the choice
        if (self.request.digest or self.rules.watches_digests) and not facts.digest:
            return Need(tag, "digest")
        return self._check_platforms(tag, facts) or self._check_signature(tag, facts)

    def _check_skips(self, tag: str, facts: Facts) -> Verdict | Need | None:
        for skip, pattern in self._patterns:
            # skipped by name or pattern
            by_text = skip.tag == tag if skip.tag else False
            if not by_text and pattern is not None:
                by_text = pattern.search(tag.encode("utf-8", "replace")) is not None
            # skipped by digest, which has to be known
            if not by_text and skip.digest and not facts.digest:
                return Need(tag, "digest")
            if by_text or (skip.digest and skip.digest == facts.digest):
                reason = f": {skip.reason}" if skip.reason else ""
                until = f" until {write_timestamp(skip.until)}" if skip.until is not None else ""
                return Verdict(tag, "skipped", f"is skipped{until}{reason}", skip.until)
        return None

    @cached_property
    def _patterns(self) -> list[tuple[Skip, Pattern | None]]:
        return [(skip, compile_pattern(skip.pattern) if skip.pattern else None) for skip in self.skips]

    def _check_quarantine(self, tag: str, text: str, facts: Facts) -> Verdict | Need | None:
        for entry in self.rules.quarantine:
            if entry.tag != tag:
                continue
            # the tag failed: whether as this image is known by its digest
            if entry.digest and not facts.digest:
                return Need(tag, "digest")
            if entry.digest in ("", facts.digest):
                return Verdict(tag, "quarantined", f"is quarantined: {entry.reason}")
        if self.pins:
            return None  # a person chose it
        # what is not newer than an image that failed would be a step back
        here = make_sort_key(text, self.request.policy) if self._floors else None
        for entry, floor in self._floors:
            if entry.tag != tag and here is not None and here <= floor:
                return Verdict(tag, "older than quarantined", f"is not newer than {entry.tag}, which is quarantined")
        return None

    def is_below(self, text: str) -> bool:
        """Tell whether a candidate is older than some quarantined one, and not just as new."""
        here = make_sort_key(text, self.request.policy)
        return here is not None and any(here < floor for _, floor in self._floors)

    @cached_property
    def _floors(self) -> list[tuple[Quarantined, tuple[object, ...]]]:
        """The quarantined tags that this policy can compare with others."""
        found = [(entry, self._make_sort_key(entry.tag)) for entry in self.rules.quarantine]
        return [(entry, where) for entry, where in found if where is not None]

    def _make_sort_key(self, tag: str) -> tuple[object, ...] | None:
        tag_filter = self.request.tag_filter
        if tag_filter is None:
            return make_sort_key(tag, self.request.policy)
        text = next(iter(tag_filter.apply((tag,))), None)
        return None if text is None else make_sort_key(text, self.request.policy)

    def _check_age(self, tag: str, facts: Facts) -> Verdict | None:
        needed, now = self.rules.min_age, self.request.now
        if not needed:
            return None
        seen = self.request.seen.get(tag)
        since = now if facts.moved or seen is None else seen.since
        age = (now - since).total_seconds()
        if age >= needed:
            return None
        text = f"is too young (needs {write_span(needed)}, has {write_span(max(0.0, age))})"
        return Verdict(tag, "too young", text, _add_seconds(since, needed))

    def _knows_digest(self, tag: str) -> bool:
        """Tell whether it is known what a tag names, by now or since it was seen first."""
        seen = self.request.seen.get(tag)
        return bool(self.request.facts.get(tag, _UNKNOWN).digest or (seen is not None and seen.digest))

    def _check_promotions(self, tag: str, facts: Facts) -> Verdict | Need | None:
        for promotion in self.rules.promotions:
            found = self._check_promotion(tag, facts, promotion)
            if found is not None:
                return found
        return None

    def _check_promotion(self, tag: str, facts: Facts, promotion: Promotion) -> Verdict | Need | None:
        known = self.request.proven.get(promotion.policy, ())
        # what ran there must not be seen from here
        if isinstance(known, str):
            return Verdict(tag, "not promoted", f"is not promoted: {known}")
        named = [entry for entry in known if entry.tag == tag]
        # the tag never ran there
        if not named:
            return Verdict(
                tag, "not promoted", f"is not promoted: ImagePolicy {promotion.policy} was not seen healthy with it"
            )
        if not facts.digest:
            return Need(tag, "digest")
        mine = [entry for entry in named if entry.digest == facts.digest]  # a tag alone says nothing of the image
        if not mine:
            ran = "another image of that tag" if all(entry.digest for entry in named) else "an image that is not known"
            return Verdict(tag, "not promoted", f"is not promoted: ImagePolicy {promotion.policy} ran {ran}")
        return self._check_health(tag, mine, promotion)

    def _check_health(self, tag: str, mine: Sequence[Proven], promotion: Promotion) -> Verdict | None:
        """Return the verdict against an image that ran there and was not Healthy for long enough without a break."""
        whole = [entry for entry in mine if entry.down is None and not entry.ended]
        # it failed there, or is down now
        if not whole:
            how = next((entry.ended for entry in reversed(mine) if entry.ended), "") or "not healthy now"
            return Verdict(tag, "not promoted", f"is not promoted: with ImagePolicy {promotion.policy} it is {how}")
        healthy = max(((entry.until or self.request.now) - entry.since).total_seconds() for entry in whole)
        if healthy >= promotion.after:
            return None
        # not for long enough: while it still runs, one can say when it will be
        running = [entry.since for entry in whole if entry.until is None]
        at = _add_seconds(min(running), promotion.after) if running else None
        text = f"is not promoted: healthy with ImagePolicy {promotion.policy} for {write_span(max(0.0, healthy))}"
        return Verdict(tag, "not promoted", f"{text}, needs {write_span(promotion.after)}", at)

    def _check_platforms(self, tag: str, facts: Facts) -> Verdict | Need | None:
        if not self.rules.platforms:
            return None
        if facts.platforms is None:
            return Need(tag, "platforms")
        lacking = find_missing(facts.platforms, self.rules.platforms)
        return Verdict(tag, "wrong platform", f"does not offer {', '.join(lacking)}") if lacking else None

    def _check_signature(self, tag: str, facts: Facts) -> Verdict | Need | None:
        if not self.rules.verify:
            return None
        if facts.unsigned is None:
            return Need(tag, "signature")
        return Verdict(tag, "unsigned", f"is not signed: {facts.unsigned}") if facts.unsigned else None

    # what comes of it

    def may_ask(self, tag: str) -> bool:
        return tag in self.request.facts or len(self.request.facts) < MOST_LOOKED_AT

    def note(self, verdict: Verdict) -> None:
        if len(self.passed) < MOST_PASSED:
            self.passed.append(verdict)
        self._wait_for(verdict.at)

    def _wait_for(self, moment: datetime | None) -> None:
        if moment is not None and (self.again is None or moment < self.again):
            self.again = moment

    def choose(self, tag: str) -> Chosen:
        digest = self.request.facts.get(tag, _UNKNOWN).digest
        return Chosen(tag, digest, "pinned" if self.pins else "chosen", tuple(self.passed), self.again)

    def choose_nothing(self, more: str = "") -> Nothing:
        causes = "; ".join(verdict.steady for verdict in self.passed[:3]) + ("; ..." if len(self.passed) > 3 else "")
        text = "no candidate qualifies" + (f" {more}" if more else "") + (f": {causes}" if causes else "")
        return Nothing(text, tuple(self.passed), self.again)

    def take_back(self) -> Chosen | Need | Nothing | None:
        """Return the image that ran before the newest quarantined one, where this policy followed any such image."""
        entries = [entry for entry, _ in self._floors]
        if not entries:
            return None
        entry = entries[-1]
        failed = self.rules.quarantine  # also tags that are compared with none: one of them may have run before
        for _ in failed:
            before = next((e for e in reversed(failed) if _names(e, entry.previous_tag, entry.previous_digest)), None)
            if before is None:
                break
            entry = before  # what ran before it failed as well
        # all failed in a circle, or nothing ran before the first one
        if before is not None or not entry.previous_tag:
            text = f"{entries[-1].tag} is quarantined ({entries[-1].reason}), and no good image before it is known"
            return Nothing(text, tuple(self.passed), self.again)
        if (found := self._check_previous(entries[-1], entry)) is not None:
            return found
        others = tuple(verdict for verdict in self.passed if verdict.tag != entry.previous_tag)
        return Chosen(entry.previous_tag, entry.previous_digest, "taken back", others, self.again)

    def _check_previous(self, failed: Quarantined, entry: Quarantined) -> Need | Nothing | None:
        """Return why the image before `entry` cannot be named by its tag, or what to find out first; None: it can."""
        tag, digest = entry.previous_tag, entry.previous_digest
        if self.request.digest or not digest:
            return None
        facts = self.request.facts.get(tag, _UNKNOWN)
        if not facts.digest and not facts.gone:
            return Need(tag, "digest")
        if facts.gone or facts.digest == digest:
            return None
        text = (
            f"{failed.tag} is quarantined ({failed.reason}), and tag {tag} names another image than the one that ran "
            f"before it ({digest}): set digestReflectionPolicy, or pin a tag"
        )
        return Nothing(text, tuple(self.passed), self.again)


def _names(entry: Quarantined, tag: str, digest: str) -> bool:
    return entry.tag == tag and (digest == "" or entry.digest in ("", digest))


def _add_seconds(moment: datetime, length: float) -> datetime | None:
    """Return a moment later by `length`; None when it cannot be written any more."""
    try:
        return moment + timedelta(seconds=length)
    except OverflowError:
        return None


def write_span(length: float) -> str:
    """Write seconds as a person says them.

    >>> write_span(86400), write_span(7800), write_span(45), write_span(0.2)
    ('24h', '2h10m', '45s', '0s')
    """
    minutes, rest = divmod(int(length), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h" + (f"{minutes}m" if minutes else "")
    return f"{minutes}m" + (f"{rest}s" if rest else "") if minutes else f"{rest}s"


_UNKNOWN = Facts()
