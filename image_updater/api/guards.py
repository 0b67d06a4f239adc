"""What users write to say which bumps are safe: UpdateGuard.

Flux has no such kind, and its own stay as they are: manifests remain valid under the original.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec

from gitops_core.api.fields import Duration, FluxStatus, LabelSelector, LocalReference, NamespacedReference
from gitops_core.meta import Kind, PrinterColumn, Resource, Wire
from gitops_core.schema import NOT_SEEN
from image_updater.api.images import AGE, CATEGORIES, MESSAGE, READY, AccessFrom

GROUP = "sealoop.dev"
TimeZone = Annotated[str, msgspec.Meta(max_length=64)]
Cron = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class UpdateWindow(Wire):
    """A time that comes again: it opens when cron expression `schedule` fires in `timeZone`, and lasts `duration`."""

    schedule: Cron
    duration: Duration
    time_zone: TimeZone = "UTC"


class Freeze(Wire):
    """A time in which nothing is bumped: from one moment to another, either of which may be missing."""

    start: Annotated[datetime | None, msgspec.Meta(description="The first moment.")] = None
    end: Annotated[datetime | None, msgspec.Meta(description="The first moment after it.")] = None
    reason: str = ""


class Pin(Wire):
    """A policy chooses this tag and no other, until `until`."""

    tag: str
    policy: str = ""
    until: datetime | None = None
    reason: str = ""


class Skip(Wire):
    """A policy does not choose tags that match `pattern` (a Go regular expression), or `tag`, or `digest`."""

    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        ("has(self.tag) || has(self.pattern) || has(self.digest)", "set one of tag, pattern and digest"),
    )

    tag: str = ""
    pattern: str = ""
    digest: str = ""
    policy: str = ""
    until: datetime | None = None
    reason: str = ""


class Hold(Wire):
    """Nothing is bumped for a policy, until `until`."""

    policy: str = ""
    until: datetime | None = None
    reason: str = ""


class Approval(Wire):
    """A person's yes to one tag of a policy; with a digest, to that image only."""

    tag: str
    policy: str = ""
    digest: str = ""


class Approvals(Wire):
    """A bump needs a person's yes: an entry of `granted`, or the policy's annotation `sealoop.dev/approve: TAG`."""

    required: bool = True
    granted: tuple[Approval, ...] = ()


class Verification(Wire):
    """Only images count that carry a cosign signature of one of the Secret's keys (`*.pub`, PEM)."""

    secret_ref: LocalReference
    provider: Literal["cosign"] = "cosign"


class Promotion(Wire):
    """Only tags count that another policy's guard has seen Healthy for `after` without a break.

    A policy of another namespace must be opened by its guard's `accessFrom`.
    """

    policy_ref: NamespacedReference
    after: Duration = "0s"


class Group(Wire):
    """The selected policies move together, in one commit, or not at all; with `sameTag`, to the same tag."""

    same_tag: bool = False


class Rollback(Wire):
    """When a workload that a bump changed fails, take the bump back in Git and quarantine the image.

    `within`: how long after the bump was applied a failure is blamed on it. `pullErrors`: how long its Pods may fail to
    pull their image, or crash again and again, before that counts as a failure.
    """

    within: Duration = "1h"
    pull_errors: Duration = "30s"


class HelmValues(Wire):
    """A repository and tag pair below `path` (`image`, `web.image`): keys repository (or name) and tag, and digest."""

    path: str = ""


class KustomizeImage(Wire):
    """The entry of `images:` of that name: newTag, and newName and digest where they are set."""

    name: str


class Target(Wire):
    """A place in files that cannot carry a marker, or should not: it follows `policy` as a marked value does.

    `file` is a glob below the automation's path (`*` stays within a folder, `**` does not). `path` leads to a value in
    a YAML, JSON or TOML file (`spec.images[0].tag`), or names the variable of an .env file; `value` says which part of
    the image it holds.
    """

    RULES: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "[has(self.path), has(self.helmValues), has(self.kustomizeImage)].filter(x, x).size() == 1",
            "set exactly one of path, helmValues and kustomizeImage",
        ),
    )

    file: str
    policy: str
    path: str = ""
    value: Literal["image", "tag", "name", "digest"] = "image"
    helm_values: HelmValues | None = None
    kustomize_image: KustomizeImage | None = None


class UpdateGuardSpec(Wire):
    """What must hold for the ImagePolicies of its namespace that `policySelector` selects; all when it is missing.

    Where several guards select a policy, all of them must agree.

    Of a candidate: `minAge` since we first saw the tag name this digest; `platforms` (`linux/arm64`) that the image
    must offer; `verify` signatures; `promotion` from another policy. Of those that fail, the next one is tried.

    Of the list: `maxShrink` is the share of known tags, in percent, that may vanish from one listing to the next: of
    a list that shrank by more, nothing is believed.

    Of the commit: `windows`, `freezes`, `holds`, `approvals`, `group`, `allowDowngrade` and `allowReverted` (else a
    value that a person set back is left until a newer tag appears). A bump that may not be made is held, and told.
    """

    policy_selector: LabelSelector | None = None
    min_age: Duration | None = None
    platforms: Annotated[tuple[str, ...], msgspec.Meta(max_length=32)] = ()
    verify: Verification | None = None
    promotion: Promotion | None = None
    max_shrink: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    allow_downgrade: bool = False
    allow_reverted: bool = False
    windows: tuple[UpdateWindow, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    pins: tuple[Pin, ...] = ()
    skips: tuple[Skip, ...] = ()
    holds: tuple[Hold, ...] = ()
    approvals: Approvals | None = None
    group: Group | None = None
    rollback: Rollback | None = None
    targets: Annotated[tuple[Target, ...], msgspec.Meta(max_length=1000)] = ()
    access_from: AccessFrom | None = None
    suspend: bool = False


class Quarantined(Wire):
    """An image that failed: it is not chosen again, and what ran before it is, until a newer tag appears.

    `previous` is what was Healthy before it.
    """

    policy: str
    tag: str
    since: datetime
    reason: str
    digest: str = ""
    previous_tag: str = ""
    previous_digest: str = ""
    revision: str = ""


class Proven(Wire):
    """An image that runs Healthy everywhere the policy's image runs, and since when without a break.

    `digest` is missing when it is not known which image the tag named there. `down`: since when it is not Healthy.
    `until`: when it ceased to run; `ended` says why, unless a newer image took its place.
    """

    policy: str
    tag: str
    since: datetime
    digest: str = ""
    until: datetime | None = None
    down: datetime | None = None
    ended: Literal["", "failed", "gone", "set back"] = ""


class Rollout(Wire):
    """A bump that is on its way: which revision contains it, since when it is applied, and what it waits for.

    `moved`: the tag was moved while it ran, so it cannot be told which of its images runs.
    """

    policy: str
    tag: str
    since: datetime
    digest: str = ""
    revision: str = ""
    message: str = ""
    moved: bool = False


class UpdateGuardStatus(FluxStatus):
    """What the guard has seen of the images that its policies chose."""

    policies: tuple[str, ...] = ()
    rollouts: tuple[Rollout, ...] = ()
    proven: tuple[Proven, ...] = ()
    quarantine: tuple[Quarantined, ...] = ()


class UpdateGuard(Resource):
    """Rules for bumps: which tags may be chosen, when they may be committed, and what happens when they fail."""

    KIND: ClassVar[Kind] = Kind(GROUP, "v1alpha1", "UpdateGuard")
    PLURAL: ClassVar[str] = "updateguards"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("guard", "ug")
    CATEGORIES: ClassVar[tuple[str, ...]] = CATEGORIES
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = (READY, MESSAGE, AGE)

    spec: UpdateGuardSpec = UpdateGuardSpec()
    status: Annotated[UpdateGuardStatus, NOT_SEEN] = UpdateGuardStatus()
