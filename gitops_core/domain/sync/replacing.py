"""Whether an object is deleted and made anew, where it was asked for by `force` and nothing less will do.

Flux deletes for any refusal: a manifest that is merely wrong, or one field that cannot change beside another that is
wrong, costs the live object there. Here every cause has to say that a field cannot change, and the API server has to
accept the manifest as a new object first.

Source: Kubernetes, the words of its validation (pkg/apis/*/validation, apimachinery's ValidateImmutableField); Flux's
force, fluxcd/pkg ssa/manager_apply.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gitops_core.domain.sync.ownership import Ownership
from gitops_core.errors import AlreadyExists, ClusterError, Invalid
from gitops_core.meta import Kind, Manifest, ObjectRef

HINT = "set spec.force, or the annotation kustomize.toolkit.fluxcd.io/force: enabled, to have it deleted and made anew"
_FIXED = re.compile(
    r"immutable|may not (?:be )?change|can ?not (?:be )?(?:change|update|modif)|must not (?:be )?change"
    r"|updates? to .{0,200}(?:(?:are|is) forbidden|other than|may change nothing but)"
    r"|may not be (?:update|modif)",
    re.IGNORECASE,
)
_REASONS = ("FieldValueInvalid", "FieldValueForbidden")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
"""A value, which says whatever its author likes."""
_TAKEN = re.compile(r"provided (?:IP|port) is already allocated")
"""What the API server says of an address that is held: by the object to be replaced, or by another one."""


def is_immutable(error: ClusterError) -> bool:
    """Tell whether all that is wrong with a manifest is that fields of the live object cannot be changed.

    A policy that refuses a change names no field: what it protects is not deleted either.

    >>> from gitops_core.errors import FieldFault
    >>> from gitops_core.meta import Kind, ObjectKey
    >>> job = ObjectRef(Kind.of("batch/v1", "Job"), ObjectKey("shop", "migrate"))
    >>> fixed = FieldFault("spec.template", "FieldValueInvalid", "Invalid value: {}: field is immutable")
    >>> wrong = FieldFault("spec.parallelism", "FieldValueInvalid", "Invalid value: -1: must be greater than 0")
    >>> quoting = FieldFault("metadata.labels", "FieldValueInvalid", 'Invalid value: "immutable!": must consist of')
    >>> policy = FieldFault("", "", "denied: it may not be changed on a Friday")
    >>> [is_immutable(Invalid(job, "", faults)) for faults in ([fixed], [fixed, wrong], [], [quoting], [policy])]
    [True, False, False, False, False]
    """
    if not isinstance(error, Invalid) or not error.faults:
        return False
    return all(
        fault.field and fault.reason in _REASONS and _FIXED.search(_QUOTED.sub("", fault.message))
        for fault in error.faults
    )


def is_welcome(answer: ClusterError, manifest: Manifest, live: Manifest) -> bool:
    """Tell whether the answer to a trial creation says that the manifest is fine, and only the object in its way."""
    if isinstance(answer, AlreadyExists):
        return True
    if not isinstance(answer, Invalid) or not answer.faults:
        return False
    is_taken = all(_TAKEN.search(fault.message) for fault in answer.faults)
    return is_taken and set(_list_held(manifest)) <= set(_list_held(live))


def _list_held(service: Manifest) -> Iterator[tuple[str, Any]]:
    """Yield the addresses and ports that a Service asks for by number: nobody else can have them beside it."""
    spec = service.get("spec") or {}
    for address in (spec.get("clusterIP"), *(spec.get("clusterIPs") or ())):
        if address:
            yield "address", address
    numbers = (spec.get("healthCheckNodePort"), *(port.get("nodePort") for port in spec.get("ports") or ()))
    yield from (("port", number) for number in numbers if number)


def explain_stay(ref: ObjectRef, wanted: Manifest, live: Manifest, ownership: Ownership) -> str:
    """Explain why an object is not deleted though that was asked for by spec.force; "" when it may be.

    Who asks for it on the object itself means that one.
    """
    if ownership.is_others(wanted, live):
        return f"{ref} belongs to another owner by its labels, and is not deleted for this one"
    if ownership.is_kept(wanted, live) and not ownership.is_forced(wanted, live):
        return f"{ref} is marked never to be pruned, so that spec.force does not delete it: its own annotation does"
    return ""


def refuse_replacement(ref: ObjectRef, error: ClusterError, answer: ClusterError) -> Invalid:
    """Return what to say of an object that cannot be changed, and could not be made anew either."""
    return Invalid(ref, f"{error}; it is left as it is, for it could not be made anew: {answer}")


def runs_once(old: Manifest) -> bool:
    """Tell whether an object that is made once more would do once more what it has done."""
    return Kind.of_manifest(old).kind in ("Job", "Pod")


def make_copy(old: Manifest) -> Manifest:
    """Make what to create in the place of an object that was deleted: the same, by another identity."""
    kept = ("name", "namespace", "labels", "annotations", "ownerReferences")
    metadata = {name: old["metadata"][name] for name in kept if name in old["metadata"]}
    return {**{name: value for name, value in old.items() if name != "status"}, "metadata": metadata}


def tell_return(ref: ObjectRef, refusal: ClusterError) -> Invalid:
    """Return what to say of an object that was made once more as it was."""
    return Invalid(ref, f"{refusal}; the API server took it in a trial: the object is back as it was")


def tell_loss(ref: ObjectRef, refusal: ClusterError, error: ClusterError) -> Invalid:
    """Return what to say of an object that is missing."""
    return Invalid(ref, f"{refusal}; the API server took it in a trial; the object is gone, and not back: {error}")


def add_hint(ref: ObjectRef, error: Invalid) -> Invalid:
    """Add to a refusal how to have the object made anew."""
    return Invalid(ref, f"{error}; {HINT}", error.faults)
