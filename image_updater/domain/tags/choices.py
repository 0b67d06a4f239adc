"""From an ImagePolicy's spec to the policy and the filter that decide, and from the decision to words."""

from __future__ import annotations

from gitops_core.meta import ObjectKey
from image_updater.api import ImagePolicy, ImagePolicyStatus
from image_updater.domain.tags.filters import TagFilter
from image_updater.domain.tags.policies import (
    SKIP_UNPARSABLE,
    AlphabeticalPolicy,
    NumericalPolicy,
    Policy,
    SemVerPolicy,
)
from image_updater.errors import PolicyInvalid


def get_repository_key(policy: ImagePolicy) -> ObjectKey:
    """Return the key of the ImageRepository whose tags the policy chooses from."""
    reference = policy.spec.image_repository_ref
    return ObjectKey(reference.namespace or policy.metadata.namespace, reference.name)


def get_choice(wanted: ImagePolicy) -> Policy:
    """Return the policy that spec.policy sets; of several, the first in the order semver, alphabetical, numerical.

    Raises:
        PolicyInvalid: none is set, or its range is not one.
    """
    choice = wanted.spec.policy
    if choice.semver is not None:
        policy = SemVerPolicy(choice.semver.range)
        policy.parse_constraint()
        return policy
    if choice.alphabetical is not None:
        return AlphabeticalPolicy(choice.alphabetical.order)
    if choice.numerical is not None:
        return NumericalPolicy(choice.numerical.order)
    raise PolicyInvalid("invalid policy: given ImagePolicyChoice object is invalid")


def get_filter(wanted: ImagePolicy) -> TagFilter | None:
    spec = wanted.spec.filter_tags
    return None if spec is None else TagFilter(spec.pattern, spec.extract)


def skips_unparsable(wanted: ImagePolicy) -> bool:
    """Tell whether a numerical policy passes over tags that are not numbers: an annotation says so."""
    return wanted.metadata.annotations.get(SKIP_UNPARSABLE, "").strip().lower() == "true"


def write_ready_message(status: ImagePolicyStatus) -> str:
    """Return what the Ready condition says of the chosen tag."""
    latest, previous = status.latest_ref, status.observed_previous_ref
    if latest is None:
        return ""
    message = f"Latest image tag for {latest.name} resolved to {latest.tag}"
    if latest.digest:
        message += f" with digest {latest.digest}"
    if previous is not None and previous != latest:
        message += f" (previously {previous})"
    return message
