"""What automations want of a branch, as the watches know it now.

A wish is what one automation wants of a branch. Where several share a branch that is rebuilt, each of them commits the
wishes of all: none of them undoes what another one did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gitops_core.meta import Revision, parse_duration
from gitops_core.runtime.policy import ReferenceRefused
from gitops_core.runtime.reconciling import Platform
from gitops_core.schema import read_manifest
from image_updater.api import ImagePolicy, ImageRef, ImageUpdateAutomation, ImageUpdateAutomationStatus
from image_updater.domain.files.plan import resolve_setters
from image_updater.domain.files.targets import DeclaredTarget
from image_updater.domain.forges.pullrequests import Version
from image_updater.domain.guards.gates import Gate, make_gates
from image_updater.domain.guards.selectors import selects, write_selector
from image_updater.domain.guards.vouching import find_holder, is_same_repository
from image_updater.errors import BranchTaken, SelectorInvalid, SourceInvalid, SourceMissing
from image_updater.reconcilers.policies import list_guards
from image_updater.reconcilers.sources import Route, Source, find_route


@dataclass(frozen=True)
class Wish:
    """What one automation wants of a branch.

    Attributes:
        policies: those selected that chose something, also if they are not Ready now.
        refused: what people do not want to be proposed again.
    """

    automation: ImageUpdateAutomation
    policies: tuple[ImagePolicy, ...]
    gates: Mapping[str, Gate]
    targets: tuple[DeclaredTarget, ...]
    refused: frozenset[Version] = frozenset()

    @property
    def images(self) -> dict[str, ImageRef]:
        """By policy name, in order."""
        chosen = {policy.metadata.name: policy.status.latest_ref for policy in self.policies}
        return {name: image for name, image in sorted(chosen.items()) if image is not None}

    @property
    def values(self) -> dict[str, str]:
        return resolve_setters(self.automation.metadata.namespace, self.images)

    @property
    def folder(self) -> str:
        """Without "./" and slashes at its ends; "" is the root."""
        return "/".join(part for part in self.automation.spec.update.path.split("/") if part not in ("", "."))


async def read_wishes(
    platform: Platform,
    wanted: ImageUpdateAutomation,
    source: Source,
    tip: Revision | None,
    refused: frozenset[Version],
) -> tuple[Wish, ...]:
    """Return what is wanted of the branch that is at `tip`: the wish of `wanted`, then those of who shares it.

    Raises:
        SelectorInvalid: the selector of `wanted`; who shares the branch says so itself.
        BranchTaken: one that cannot share it holds it.
    """
    own = await read_wish(platform, wanted)
    return tuple(replace(wish, refused=refused) for wish in (own, *await _list_sharers(platform, wanted, source, tip)))


async def read_wish(platform: Platform, automation: ImageUpdateAutomation) -> Wish:
    """Read a wish from what the watches know now: nobody is asked. Raises SelectorInvalid."""
    namespace, selector = automation.metadata.namespace, automation.spec.policy_selector
    write_selector(selector)  # says what is wrong with it, also where there are no policies yet
    policies = tuple(
        policy
        for policy in await platform.objects.list(ImagePolicy, namespace)
        if policy.metadata.deletion_timestamp is None and selects(selector, policy.metadata.labels)
    )
    decided = tuple(policy for policy in policies if policy.status.latest_ref is not None)
    guards = await list_guards(platform.objects, namespace)
    names = {policy.metadata.name for policy in decided}
    targets = tuple(
        DeclaredTarget(namespace, target)
        for guard in guards
        if not guard.spec.suspend
        for target in guard.spec.targets
        if target.policy in names
    )
    # who chose nothing yet moves nothing, but a group waits for it
    return Wish(automation, decided, make_gates(policies, guards), targets)


async def _list_sharers(
    platform: Platform, wanted: ImageUpdateAutomation, source: Source, tip: Revision | None
) -> list[Wish]:
    """Return what other automations want of a branch that is made anew.

    Raises:
        BranchTaken: one that cannot share it holds it.
    """
    wishes, rivals = [], []
    for other in await platform.objects.list(ImageUpdateAutomation):
        if other.key == wanted.key or other.spec.suspend or other.metadata.deletion_timestamp is not None:
            continue
        try:
            route = await find_route(platform, other)
        except (SourceInvalid, SourceMissing, ReferenceRefused):
            continue  # it says so itself
        if not is_same_repository(route.url, source.url) or route.push_branch != source.push_branch:
            continue
        if _can_share(wanted, source, other, route):
            try:
                wishes.append(await read_wish(platform, other))
            except SelectorInvalid:
                continue
        elif source.switches or route.switches:
            rivals.append(other)
    if (key := find_holder(tip.commit if tip is not None else "", wanted, rivals)) is not None:
        raise BranchTaken(
            f"branch '{source.push_branch}' of {source.url} is written by ImageUpdateAutomation '{key}' from"
            " another base: give each of them a push branch of its own",
            retry_after=parse_duration(wanted.spec.interval),
        )
    return wishes


def _can_share(wanted: ImageUpdateAutomation, source: Source, other: ImageUpdateAutomation, route: Route) -> bool:
    """Tell whether two automations make the same branch anew from the same base, with the same rights."""
    same_source = route.repository.key == source.repository.key and route.ref == source.ref
    return source.switches and same_source and other.metadata.namespace == wanted.metadata.namespace


def is_settled(
    wish: Wish, targets: tuple[DeclaredTarget, ...], source: Source, base: Revision, tip: Revision | None
) -> bool:
    """Tell whether the last run, which planned with `targets`, saw just this: then nothing is read."""
    wanted = wish.automation
    status = wanted.status
    if source.switches and (tip is None or tip.commit != status.last_push_commit):
        return False
    return (
        status.observed_generation == wanted.metadata.generation
        and status.observed_source_revision == str(base)
        and status.observed_policies == wish.images
        and targets == wish.targets
    )


async def read_statuses(
    platform: Platform, automations: Iterable[ImageUpdateAutomation]
) -> tuple[ImageUpdateAutomationStatus, ...]:
    """Return the statuses as they are stored now: the watches may not know yet what another one pushed."""
    found = [await platform.cluster.get(automation.ref) for automation in automations]
    return tuple(read_manifest(ImageUpdateAutomation, m).status for m in found if m is not None)
