"""What is said of every tag of a repository: the whole of what `verdicts.decide` found only the best of."""

from __future__ import annotations

import contextlib

from image_updater.domain.guards.rules import is_current
from image_updater.domain.guards.verdicts import Chosen, Judge, Need, Request, Verdict
from image_updater.domain.tags.filters import select_matching
from image_updater.domain.tags.policies import NumericalPolicy, SemVerPolicy, parse_number
from image_updater.domain.tags.semver import Constraint, parse_tag
from image_updater.errors import NoTagQualifies


def explain_tags(request: Request) -> tuple[Verdict, ...]:
    """Return a verdict for each listed tag: candidates first, best first; then the others in descending order.

    A tag that is taken back to and no longer listed comes before all others. As far as `request.facts` tells: what else
    had to be asked for first is "not looked at".

    Raises:
        PolicyInvalid.
    """
    judge = Judge(request)
    decision = judge.decide()
    with contextlib.suppress(NoTagQualifies):  # then no tag is a candidate
        for _ in judge.judge_candidates():  # the others are judged, too
            pass
    chosen = decision.tag if isinstance(decision, Chosen) else ""
    found: list[Verdict] = []
    if isinstance(decision, Chosen) and chosen not in request.listing.listed:
        found.append(_explain_choice(decision))
    reached = False
    for tag, judged in judge.judged:
        reached = reached or tag == chosen
        if isinstance(decision, Chosen) and tag == chosen:
            found.append(_explain_choice(decision))
        else:
            found.append(
                judged if isinstance(judged, Verdict) else _explain_need(tag, judged, chosen if reached else "")
            )
    known = {verdict.tag for verdict in found}
    if isinstance(decision, Chosen) and chosen not in known:  # taken back to a tag that the policy would not choose
        found.append(_explain_choice(decision))
        known.add(chosen)
    others = _Others(request)
    return (*found, *(others.explain(tag) for tag in request.listing.listed if tag not in known))


def _explain_choice(decision: Chosen) -> Verdict:
    digest = f" with digest {decision.digest}" if decision.digest else ""
    match decision.how:
        case "chosen":
            return Verdict(decision.tag, "chosen", f"is chosen{digest}")
        case "pinned":
            return Verdict(decision.tag, "pinned", f"is chosen{digest}: it is pinned")
        case "taken back":
            return Verdict(decision.tag, "taken back", f"is taken back to{digest}: what came after it is quarantined")


def _explain_need(tag: str, need: Need | None, chosen: str) -> Verdict:
    if chosen:
        return Verdict(tag, "lower", f"is lower than {chosen}")
    return Verdict(
        tag, "not looked at", f"was not looked at: its {need.what} is not known" if need else "was not looked at"
    )


class _Others:
    """Says of the tags that are no candidates why they are none."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.pins = [pin.tag for pin in request.rules.pins if is_current(pin.until, request.now)]
        self.constraint = request.policy.parse_constraint() if isinstance(request.policy, SemVerPolicy) else None
        self.excluded: dict[str, str] = {}
        for pattern in reversed(request.listing.exclusions):
            self.excluded |= dict.fromkeys(select_matching(pattern, request.listing.listed), pattern)
        self.texts: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        if request.tag_filter is not None:
            self.texts = dict(request.tag_filter.pair_texts(request.listing.tags))
            self.tags = {text: tag for tag, text in self.texts.items()}

    def explain(self, tag: str) -> Verdict:
        request = self.request
        if tag in self.excluded:
            return Verdict(tag, "excluded", f"is excluded by pattern {self.excluded[tag]!r}")
        if self.pins:
            return Verdict(tag, "pinned away", f"is not the pinned {' or '.join(sorted(set(self.pins)))}")
        if request.tag_filter is None:
            return self._explain_uncompared(tag, tag)
        if tag not in self.texts:
            return Verdict(tag, "filtered", f"does not match filterTags.pattern {request.tag_filter.pattern!r}")
        text = self.texts[tag]
        if self.tags[text] != tag:
            return Verdict(tag, "filtered", f"is compared as {text!r}, and so is {self.tags[text]}, which counts")
        return self._explain_uncompared(tag, text)

    def _explain_uncompared(self, tag: str, text: str) -> Verdict:
        read = f" (compared as {text!r})" if text != tag else ""
        match self.request.policy:
            case SemVerPolicy(range=range_):
                return _explain_version(tag, text, range_, self.constraint, read)
            case NumericalPolicy():
                try:
                    parse_number(text)
                except NoTagQualifies:
                    return Verdict(tag, "not a number", f"is no number{read}")
        return Verdict(tag, "not compared", "is not compared: the policy fails before that")


def _explain_version(tag: str, text: str, range_: str, constraint: Constraint | None, read: str) -> Verdict:
    version = parse_tag(text)
    if version is None or constraint is None:
        return Verdict(tag, "not a version", f"is no version of three parts{read}")
    if constraint.accepts(version):
        return Verdict(tag, "not compared", "is not compared: the policy fails before that")
    if version.is_prerelease and constraint.contains(version):
        return Verdict(tag, "prerelease", f"is a prerelease, which range {range_!r} does not allow{read}")
    return Verdict(tag, "out of range", f"is out of range {range_!r}{read}")
