"""`sealoop images explain`: why a tag is chosen, why every other one is not, and what becomes of each marked place.

The decision is made again by the reconciler's own code, on the registry's tags and the cluster's objects as they are
now; so is the plan of every automation that follows the policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click
import msgspec

from gitops_core.errors import GitOpsError
from gitops_core.meta import ObjectKey, write_timestamp
from gitops_core.ports import Cluster
from image_updater.api import ImagePolicy, ImageUpdateAutomation
from image_updater.domain.files.inventory import make_printable, write_location
from image_updater.domain.files.places import parse_setter
from image_updater.domain.files.sightings import Sighting
from image_updater.domain.guards.explaining import explain_tags
from image_updater.domain.guards.selectors import selects
from image_updater.domain.guards.verdicts import Chosen, Verdict
from image_updater.reconcilers.planning import plan_wish
from image_updater.reconcilers.sources import open_source
from image_updater.reconcilers.wishes import read_wish
from sealoop.images.looking import Look, open_look

SHOWN = 20
"""Tags in the table; -o json and --all have all of them."""


@dataclass(frozen=True)
class Followed:
    """An automation that follows the policy: its places, or why they cannot be told."""

    automation: ObjectKey
    repository: str
    places: tuple[Sighting, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Explanation:
    """Attributes:
    decision: one sentence.
    chosen: the tag, "" for none.
    notes: what limits the explanation.
    """

    policy: ObjectKey
    image: str
    chosen: str
    decision: str
    verdicts: tuple[Verdict, ...]
    automations: tuple[Followed, ...]
    notes: tuple[str, ...] = ()


async def explain(cluster: Cluster, key: ObjectKey) -> Explanation:
    """
    Raises:
        GitOpsError: there is no such policy, or it cannot be decided: the message says why.
    """
    async with open_look(cluster) as look:
        policy = await look.get_policy(key)
        wanted, _, note = await look.list_repository(policy)
        request, found = await look.policies.explain(policy)
        if isinstance(found, Chosen):
            said = _find_complaint(policy)
            decision = f"{found.tag} is {'taken back to' if found.how == 'taken back' else found.how}"
        else:
            said = ""
            decision = f"nothing can be chosen: {found.message}"
        automations = [await _follow(look, each, policy) for each in await _find_following(look, policy)]
        return Explanation(
            policy=key,
            image=wanted.spec.image,
            chosen=found.tag if isinstance(found, Chosen) else "",
            decision=decision,
            verdicts=explain_tags(request),
            automations=tuple(automations),
            notes=tuple(text for text in (note, said) if text),
        )


def _find_complaint(policy: ImagePolicy) -> str:
    """Return the service's message where it decides nothing: it also knows what vanished, which is forgotten here."""
    ready = policy.status.ready
    return f"the service has not decided so: {ready.message}" if ready is not None and ready.status == "False" else ""


async def _find_following(look: Look, policy: ImagePolicy) -> list[ImageUpdateAutomation]:
    automations = await look.platform.objects.list(ImageUpdateAutomation, policy.metadata.namespace)
    return [each for each in automations if selects(each.spec.policy_selector, policy.metadata.labels)]


async def _follow(look: Look, automation: ImageUpdateAutomation, policy: ImagePolicy) -> Followed:
    base = f"{policy.metadata.namespace}:{policy.metadata.name}"
    url = ""
    try:
        source = await open_source(look.platform, automation)
        url = source.url
        revision = await source.remote.resolve(source.ref)
        wish = await read_wish(look.platform, automation)
        planned = await plan_wish(look.platform, source.remote, revision, wish, {})
    except GitOpsError as error:
        return Followed(automation.key, url, trouble=str(error))
    mine = tuple(each for each in planned.plan.sightings if _may_follow(each, base))
    trouble = "it is suspended" if automation.spec.suspend else ""
    return Followed(automation.key, url, mine, trouble)


def _may_follow(place: Sighting, base: str) -> bool:
    """Tell whether a place follows the policy `namespace:name`, or may: it could not be read far enough."""
    setters = [text for text in place.setter.split(", ") if text]
    return not setters or any(parse_setter(setter).base == base for setter in setters)


def show(explanation: Explanation, output: str, everything: bool) -> None:
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(_make_plain(explanation)), indent=2).decode())
        return
    click.echo(f"ImagePolicy {explanation.policy}  {explanation.image}\n{explanation.decision}")
    for note in explanation.notes:
        click.echo(f"note: {note}")
    shown = explanation.verdicts if everything else explanation.verdicts[:SHOWN]
    width = max((len(verdict.tag) for verdict in shown), default=0)
    click.echo("\nTags, best first" if shown else "\nNo tags")
    for verdict in shown:
        click.echo(f"  {'*' if verdict.tag == explanation.chosen else ' '} {verdict.tag:<{width}}  {verdict.text}")
    if len(shown) < len(explanation.verdicts):
        click.echo(f"    ... and {len(explanation.verdicts) - len(shown)} more (--all)")
    for followed in explanation.automations:
        click.echo(f"\nImageUpdateAutomation {followed.automation}  {followed.repository}")
        if followed.trouble:
            click.echo(f"  {followed.trouble}")
        if not followed.places and not followed.trouble:
            click.echo("  no file is marked for this policy")
        for place in map(make_printable, followed.places):
            click.echo(f"  {write_location(place)}  {place.state}  {_describe(place)}")
    if not explanation.automations:
        click.echo("\nNo ImageUpdateAutomation of its namespace follows this policy: nothing is committed")


def _describe(place: Sighting) -> str:
    match place.state:
        case "applied":
            return place.current
        case "pending":
            return f"{place.current} -> {place.desired}"
        case "held" if place.desired:
            return f"{place.current} -> {place.desired}: {place.cause}"
        case _:
            return f"{place.current}: {place.cause}" if place.current else place.cause


def _make_plain(explanation: Explanation) -> dict[str, Any]:
    return {
        "policy": str(explanation.policy),
        "image": explanation.image,
        "chosen": explanation.chosen,
        "decision": explanation.decision,
        "notes": list(explanation.notes),
        "tags": [
            {"tag": v.tag, "verdict": v.kind, "text": v.text} | ({"at": write_timestamp(v.at)} if v.at else {})
            for v in explanation.verdicts
        ],
        "automations": [
            {
                "automation": str(each.automation),
                "repository": each.repository,
                "trouble": each.trouble,
                "places": [make_printable(place)._asdict() for place in each.places],
            }
            for each in explanation.automations
        ],
    }
