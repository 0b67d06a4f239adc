"""Whether an object is deleted and made anew, where it was asked for by `force` and nothing less will do.

Flux deletes for any refusal: a manifest that is merely wrong, or one field that cannot change beside another that is
wrong, costs the live object there. Here every cause has to say that a field cannot change, and the API server has to
accept the manifest as a new object first.

Source: Kubernetes, the words of its validation (pkg/apis/*/validation, apimachinery's ValidateImmutableField); Flux's
force, fluxcd/pkg ssa/manager_apply.go.
"""

from __future__ import annotations

import re

from gitops_core.errors import AlreadyExists, ClusterError, Invalid
from gitops_core.meta import ObjectRef

HINT = "set spec.force, or the annotation kustomize.toolkit.fluxcd.io/force: enabled, to have it deleted and made anew"
_FIXED = re.compile(
    r"immutable|may not (?:be )?change|can ?not (?:be )?(?:change|update|modif)|must not (?:be )?change"
    r"|updates? to .{0,200}(?:(?:are|is) forbidden|other than|may change nothing but)"
    r"|may not be (?:update|modif)",
    re.IGNORECASE,
)
_TAKEN = re.compile(r"provided (?:IP|port) is already allocated")
"""What the API server says of the very address that the object to be replaced holds."""


def is_immutable(error: ClusterError) -> bool:
    """Tell whether all that is wrong with a manifest is that fields of the live object cannot be changed.

    >>> from gitops_core.errors import FieldFault
    >>> from gitops_core.meta import Kind, ObjectKey
    >>> job = ObjectRef(Kind.of("batch/v1", "Job"), ObjectKey("shop", "migrate"))
    >>> fixed = FieldFault("spec.template", "FieldValueInvalid", "Invalid value: {}: field is immutable")
    >>> wrong = FieldFault("spec.parallelism", "FieldValueInvalid", "Invalid value: -1: must be greater than 0")
    >>> [is_immutable(Invalid(job, "", faults)) for faults in ([fixed], [fixed, wrong], [])]
    [True, False, False]
    """
    if not isinstance(error, Invalid) or not error.faults:
        return False
    return all(_FIXED.search(fault.message) for fault in error.faults)


def is_welcome(answer: ClusterError) -> bool:
    """Tell whether the answer to a trial creation says that the manifest is fine, and only the object in its way."""
    if isinstance(answer, AlreadyExists):
        return True
    if not isinstance(answer, Invalid) or not answer.faults:
        return False
    return all(_TAKEN.search(fault.message) for fault in answer.faults)


def refuse_replacement(ref: ObjectRef, error: ClusterError, answer: ClusterError) -> Invalid:
    """Return what to say of an object that cannot be changed, and could not be made anew either."""
    return Invalid(ref, f"{error}; it is left as it is, for it could not be made anew: {answer}")


def add_hint(ref: ObjectRef, error: Invalid) -> Invalid:
    """Add to a refusal how to have the object made anew."""
    return Invalid(ref, f"{error}; {HINT}", error.faults)
