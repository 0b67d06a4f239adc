"""The pull request of an automation that asks for one: what its branch changes is proposed, kept current, taken back.

    sealoop.dev/pull-request: gitea | forgejo | github | gitlab
    sealoop.dev/pull-request-api      the API's base URL, where it does not follow from the GitRepository's URL
    sealoop.dev/pull-request-labels   bumps, automated
    sealoop.dev/pull-request-secret   a Secret with the API's token, where the credential that pushes is not it

In a run: `look` (is one asked for, what is there, and so what people refused), plan and push, `settle`.
What fails here fails after the push: the commit is on its branch, and the next run goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, cast
from urllib.parse import urlsplit

from gitops_core.errors import GitOpsError, StalledError
from gitops_core.meta import ObjectKey
from gitops_core.oci.credentials import RegistryAccess
from gitops_core.oci.references import Repository
from gitops_core.oci.sites import is_same_forge
from gitops_core.ports import Clock, Cluster, Compute, GitAccess, Objects
from gitops_core.runtime.policy import DEFAULT_POLICY, Policy
from gitops_core.runtime.remotes.credentials import read_git_access
from gitops_core.runtime.sharing.computing import IN_PLACE
from image_updater.api import ImagePolicy, ImageRef, ImageRepository, ImageUpdateAutomation
from image_updater.domain.files.sightings import CommitPlan
from image_updater.domain.forges.proposals import (
    Bump,
    compute_proposal_digest,
    find_old_references,
    list_changed_policies,
    write_code,
    write_proposal,
    write_rule,
)
from image_updater.domain.forges.pullrequests import (
    NOTHING_LEFT,
    Close,
    Nothing,
    Open,
    Proposal,
    PullRequest,
    Step,
    Update,
    Version,
    find_current,
    find_refused_versions,
    is_same,
    plan_outdated,
    plan_pull_request,
)
from image_updater.domain.registry.references import parse_repository
from image_updater.errors import ForgeDenied, ForgeUnavailable
from image_updater.ports import Forge, ForgeAddress, Forges, ImageReader
from image_updater.reconcilers.access import find_repository
from image_updater.reconcilers.sources import Source

ANNOTATION = "sealoop.dev/pull-request"
API, LABELS, SECRET = f"{ANNOTATION}-api", f"{ANNOTATION}-labels", f"{ANNOTATION}-secret"
KINDS: Mapping[str, str] = {"gitea": "gitea", "forgejo": "gitea", "github": "github", "gitlab": "gitlab"}
MOST_LABELS = 20
TRIES, LONGEST_PAUSE = 4, 2.0
MERGING = 3.0
"""Seconds until what looked open is looked at again, before it is closed."""
MOST_IMAGES = 50
"""Images whose labels are read for one text."""
PLACE_WEIGHT = 10
"""What a place counts that is sorted and shown."""

Reach = Callable[[ImageRepository, Repository], Awaitable[RegistryAccess]]
"""How the registry of an ImageRepository is reached."""


@dataclass(frozen=True)
class Review:
    """Where an automation's changes are proposed, and what was there before anything was planned.

    Attributes:
        found: the pull requests of the branch, newest first.
    """

    forge: Forge
    head: str
    base: str
    labels: tuple[str, ...] = ()
    found: tuple[PullRequest, ...] = ()

    @property
    def refused(self) -> frozenset[Version]:
        """Return the versions that people do not want to be proposed again."""
        return find_refused_versions(self.found, self.base)


@dataclass(frozen=True)
class PullRequests:
    """Opens, updates and closes them. Every method raises ForgeUnavailable and ForgeDenied."""

    cluster: Cluster
    clock: Clock
    objects: Objects
    forges: Forges
    reader: ImageReader
    reach: Reach
    compute: Compute = IN_PLACE
    operator: Policy = DEFAULT_POLICY

    async def look(self, wanted: ImageUpdateAutomation, source: Source) -> Review | None:
        """Return what is proposed already; None for an automation that asks for no pull requests.

        Raises:
            StalledError: there cannot be one.
            GitAccessDenied, ClusterError: the Secret.
        """
        annotations = wanted.metadata.annotations
        asked = annotations.get(ANNOTATION, "")
        if not asked:
            return None
        if asked not in KINDS:
            raise StalledError(f"annotation {ANNOTATION} is {asked!r}: it has to be one of {', '.join(KINDS)}")
        ref, url, head = source.ref, source.url, source.push_branch
        base = ref.branch if ref.is_branch else ""
        if not base:
            raise StalledError("a pull request needs a base: check out a branch, not a tag or commit")
        if head == base:
            raise StalledError(
                f"a pull request needs a branch of its own: set spec.git.push.branch to another one than '{base}'"
            )
        access = await self._get_access(wanted, url, source.access)
        kind = cast("Literal['gitea', 'github', 'gitlab']", KINDS[asked])
        forge = self.forges.make_forge(ForgeAddress(kind, url, annotations.get(API, ""), access))
        labels = _split_labels(annotations.get(LABELS, ""))
        return Review(forge, head, base, labels, await forge.find(head, ""))

    async def settle(
        self,
        review: Review,
        namespace: str,
        plan: CommitPlan,
        policies: Mapping[str, ImageRef],
    ) -> str:
        """Bring the pull requests to what `plan`, which is on the branch by now, changes; the open one's URL, or "".

        Args:
            plan: everything that the branch changes of its base.
            policies: what the policies of `namespace` chose, by name.
        """
        here = [each for each in review.found if each.base == review.base]
        bumps = await self._list_bumps(namespace, plan, policies)
        digest = await self.compute.run(_weigh(plan), compute_proposal_digest, plan, bumps)
        url = find_current(here, digest) if bumps else ""
        if not url:
            url = await self._bring(review, here, plan, bumps, policies)
        for step in plan_outdated(review.found, review.base, url) if url else ():
            await self._carry_out(review, step)
        return url

    async def _bring(
        self,
        review: Review,
        here: list[PullRequest],
        plan: CommitPlan,
        bumps: tuple[Bump, ...],
        policies: Mapping[str, ImageRef],
    ) -> str:
        proposal = None
        if bumps:
            described, complete = await self._describe(plan, bumps)
            proposal = await self.compute.run(_weigh(plan), partial(write_proposal, complete=complete), plan, described)
        step = await self._plan(here, proposal, plan)
        if isinstance(step, Close):
            # Somebody may be merging it: the branch has the changes before the forge says that it is merged.
            await self.clock.sleep(MERGING)
            again = [each for each in await review.forge.find(review.head, "") if each.base == review.base]
            step = await self._plan(again, proposal, plan)
        return await self._carry_out(review, step)

    async def _plan(self, here: list[PullRequest], proposal: Proposal | None, plan: CommitPlan) -> Step:
        weight = _weigh(plan) + sum(len(each.body) for each in here)
        return await self.compute.run(weight, lambda: plan_pull_request(here, proposal, _explain_nothing(plan)))

    async def _carry_out(self, review: Review, step: Step) -> str:
        """Carry out a step; return the URL of the pull request that is open then, or ""."""
        forge = review.forge
        match step:
            case Nothing(url=url):
                return url
            case Open(proposal=proposal):
                made = await self._open(review, proposal)
                if not is_same(made, proposal):  # somebody opened one at the same moment
                    await forge.update(made.number, proposal.title, proposal.body)
                return made.url
            case Update(number=number, url=url, proposal=proposal):
                await forge.update(number, proposal.title, proposal.body)
                return url
            case Close(number=number, proposal=proposal, comment=comment):
                await forge.update(number, proposal.title, proposal.body)  # first: it must not look like a person's no
                await forge.close(number, comment)
                return ""

    async def _open(self, review: Review, proposal: Proposal) -> PullRequest:
        """Open a pull request, in up to TRIES tries: a forge may need a moment to know the pushed branch."""
        for number in range(1, TRIES + 1):
            try:
                return await review.forge.open(review.head, review.base, proposal.title, proposal.body, review.labels)
            except (ForgeDenied, ForgeUnavailable) as error:
                if number == TRIES or error.retry_after is None or error.retry_after > LONGEST_PAUSE:
                    raise
                await self.clock.sleep(error.retry_after)
        raise AssertionError("the last try returns or raises")

    # what the text is made of

    async def _list_bumps(self, namespace: str, plan: CommitPlan, policies: Mapping[str, ImageRef]) -> tuple[Bump, ...]:
        """Return the image of each policy that the plan changes something for, without labels."""
        bumps = []
        for policy in await self.compute.run(_weigh(plan), list_changed_policies, plan):
            name = policy.partition(":")[2]
            image = policies.get(name)
            if image is None:
                continue
            live = await self.objects.get(ImagePolicy, ObjectKey(namespace, name))
            bumps.append(Bump(policy, image, write_rule(live) if live is not None else ""))
        return tuple(bumps)

    async def _describe(self, plan: CommitPlan, bumps: tuple[Bump, ...]) -> tuple[tuple[Bump, ...], bool]:
        """Return the bumps with labels, and whether all of them could be read: what is missing is no reason to wait."""
        before = await self.compute.run(_weigh(plan), find_old_references, plan, bumps)
        pairs = await asyncio.gather(
            *(self._read_labels(bump, before.get(bump.policy, "")) for bump in bumps[:MOST_IMAGES])
        )
        described = tuple(
            bump._replace(labels=new or {}, before=old or {}) for bump, (new, old) in zip(bumps, pairs, strict=False)
        )
        return described + bumps[MOST_IMAGES:], all(new is not None for new, _ in pairs)

    async def _read_labels(self, bump: Bump, before: str) -> tuple[Mapping[str, str] | None, Mapping[str, str] | None]:
        """Return labels of the image and of the one that the files name now; None for those that cannot be read."""
        namespace, _, name = bump.policy.partition(":")
        policy = await self.objects.get(ImagePolicy, ObjectKey(namespace, name))
        if policy is None:
            return None, None
        try:
            live = await find_repository(self.cluster, self.objects, self.operator, policy)
            repository = parse_repository(live.spec.image, insecure=live.spec.insecure)
            access = await self.reach(live, repository)
        except GitOpsError:
            return None, None
        new = await self._read(repository, bump.image.digest or bump.image.tag, access)
        return new, await self._read(repository, before, access) if before else None

    async def _read(self, repository: Repository, reference: str, access: RegistryAccess) -> Mapping[str, str] | None:
        try:
            return (await self.reader.read_image(repository, reference, access)).labels
        except GitOpsError:
            return None

    # annotations

    async def _get_access(self, wanted: ImageUpdateAutomation, url: str, access: GitAccess) -> GitAccess:
        """Return the credentials for the API: those of the annotation's Secret, else those that push."""
        name = wanted.metadata.annotations.get(SECRET, "")
        if name:
            own = await read_git_access(self.cluster, wanted.metadata.namespace, name, "https://")
            return own if own.ca is not None else replace(own, ca=access.ca)
        if urlsplit(url).scheme == "ssh" or access.app is not None:
            proof = "the key of a GitHub App" if access.app is not None else "an ssh key"
            raise StalledError(
                f"{proof} opens no pull requests: name a Secret with username and password, or bearerToken, in"
                f" annotation {SECRET}"
            )
        api = wanted.metadata.annotations.get(API, "")
        if api and not is_same_forge(url, api):
            raise StalledError(
                f"annotation {API} leads to another host or port than the repository's, and its credential goes"
                f" nowhere else: name a Secret with username and password, or bearerToken, in annotation {SECRET}"
            )
        return access


def _split_labels(text: str) -> tuple[str, ...]:
    names = (" ".join(name.split()) for name in text.split(","))
    return tuple(dict.fromkeys(filter(None, names)))[:MOST_LABELS]


def _weigh(plan: CommitPlan) -> int:
    return PLACE_WEIGHT * (len(plan.changes) + len(plan.sightings))


def _explain_nothing(plan: CommitPlan) -> str:
    """Say why there is nothing to propose (any more)."""
    causes = dict.fromkeys(seen.cause for seen in plan.sightings if seen.state == "held" and seen.cause)
    if not causes:
        return NOTHING_LEFT
    return "Nothing is proposed for now: " + "; ".join(write_code(cause) for cause in list(causes)[:5]) + "."
