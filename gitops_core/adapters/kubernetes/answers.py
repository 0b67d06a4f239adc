"""What a refusal of the API server means: its Status object as one of our errors.

    400 405 406 415   BadRequest        401 403   Forbidden
    404               NotFound, or KindUnknown when not even the kind was found
    409               AlreadyExists, ApplyConflict (cause FieldManagerConflict), or Conflict
    410               Expired           413 422   Invalid
    408 429 5xx       ClusterUnavailable, with the server's Retry-After

A server-side apply that does not fit the schema is answered with 500, and so is an object that is too large to store;
both are Invalid all the same.

Source: k8s.io/apimachinery/pkg/api/errors, k8s.io/apimachinery/pkg/apis/meta/v1 (Status).
"""

from __future__ import annotations

import re

import msgspec

from gitops_core.decoding import make_decoder
from gitops_core.domain.objects.texts import abridge, shorten
from gitops_core.errors import (
    AlreadyExists,
    ApplyConflict,
    BadRequest,
    ClusterError,
    ClusterUnavailable,
    Conflict,
    Expired,
    FieldConflict,
    FieldFault,
    Forbidden,
    Invalid,
    KindUnknown,
    NotFound,
)
from gitops_core.meta import Kind, ObjectKey, ObjectRef

MOST_MESSAGE = 4000
MOST_CAUSE = 400
_IMMUTABLE = "field is immutable"


class Cause(msgspec.Struct):
    reason: str = ""
    message: str = ""
    field: str = ""


class Details(msgspec.Struct, rename="camel"):
    name: str = ""
    group: str = ""
    kind: str = ""
    causes: tuple[Cause, ...] | None = None
    retry_after_seconds: float = 0


class Refusal(msgspec.Struct):
    """A Kubernetes Status object, as far as we read it."""

    kind: str = ""
    reason: str = ""
    message: str = ""
    code: int = 0
    details: Details | None = None


_decoder = make_decoder(Refusal)
# The one message that does not say what it is about: a JSON patch that does not fit.
_REJECTED = "the server rejected our request due to an error in our request"
_SECRET = Kind("", "v1", "Secret")
_MANAGER = re.compile(r'conflict with "((?:[^"\\]|\\.)*)"')
_UNFIT = re.compile(
    r"failed to create typed (?:patch|new|live) object|failed to (?:convert|compare|prune|merge|add back) "
    r"|field not declared in schema"
    r"|etcdserver: request is too large|trying to send message larger than max"
)


def read_refusal(code: int, body: bytes) -> Refusal:
    """Read the Status in an answer's body; a body that is none (a proxy's page) counts for nothing but its code."""
    try:
        refusal = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Refusal(code=code)
    return refusal if refusal.kind == "Status" else Refusal(code=code)


def make_error(code: int, refusal: Refusal, ref: ObjectRef, retry_after: float | None = None) -> ClusterError:
    """Return the error to raise for an answer that is not a success.

    Args:
        ref: what the request was about; the name "" stands for all objects of the kind.
        retry_after: seconds, from the answer's header.
    """
    details = refusal.details or Details()
    causes = details.causes or ()
    message = _write_message(code, refusal, ref)
    match code:
        case 401:
            return Forbidden(f"the API server does not accept our credentials (about {ref})")
        case 403:
            return Forbidden(message)
        case 404:
            return _make_not_found(details, ref)
        # a conflict: of a creation, an apply, or another write
        case 409 if refusal.reason == "AlreadyExists":
            return AlreadyExists(ref)
        case 409 if any(cause.reason == "FieldManagerConflict" for cause in causes):
            return ApplyConflict(ref, [_make_conflict(cause) for cause in causes])
        case 409:
            return Conflict(message)
        case 410:
            return Expired(message)
        case 422 if causes and all(cause.field == "metadata.uid" for cause in causes):
            return Conflict(message)  # a patch for the object that had this name before
        # the object is refused
        case 413 | 422:
            return Invalid(
                ref, message, [FieldFault(c.field, c.reason, _shorten(_mute(c.message, ref))) for c in causes]
            )
        # an apply that does not fit the schema is answered by a 500, too
        case 500 if _UNFIT.search(refusal.message):
            return Invalid(ref, message)
        # the server cannot just now
        case 408 | 429 | 500 | 502 | 503 | 504:
            return ClusterUnavailable(message, retry_after=retry_after or details.retry_after_seconds or None)
        case _ if 400 <= code < 500:
            return BadRequest(message)
        case _:
            return ClusterUnavailable(message, retry_after=retry_after)


def _make_not_found(details: Details, ref: ObjectRef) -> ClusterError:
    if not details.name:
        return KindUnknown(ref.kind.api_version, ref.kind.kind)
    if details.kind == "namespaces" and ref.kind.kind != "Namespace":
        return NotFound(ObjectRef(Kind("", "v1", "Namespace"), ObjectKey("", details.name)))
    return NotFound(ref)


def _make_conflict(cause: Cause) -> FieldConflict:
    match = _MANAGER.search(cause.message)
    return FieldConflict(match[1] if match else "", cause.field)


def _write_message(code: int, refusal: Refusal, ref: ObjectRef) -> str:
    if not refusal.message:
        return f"{ref}: the API server answered {code}"
    if refusal.message == _REJECTED:
        return f"{ref}: {_REJECTED}"
    message = _mute(refusal.message, ref)
    for cause in (refusal.details or Details()).causes or ():
        if said := _mute(cause.message, ref):
            message = message.replace(said, _shorten(said))
    return shorten(message, MOST_MESSAGE)


def _shorten(cause: str) -> str:
    """Say what is wrong with a field, without the whole of the value that the server repeats.

    >>> _shorten("Invalid value: core.PodTemplateSpec{ObjectMeta:v1.ObjectMeta{}}: field is immutable")
    'field is immutable'
    """
    return _IMMUTABLE if cause.endswith(_IMMUTABLE) else abridge(cause, MOST_CAUSE)


def _mute(message: str, ref: ObjectRef) -> str:
    """Return the server's words, unless they may quote a Secret's value.

    A wrongly typed one is repeated by the server, and admission webhooks and policies say what they like.
    """
    if ref.kind != _SECRET:
        return message
    message = re.sub(r'(denied (?:the )?request\b|failed calling webhook "[^"]*").*', r"\1", message, flags=re.DOTALL)
    message = re.sub(r"error found in #\d+ byte of .*", "***", message, flags=re.DOTALL)  # decoders quote around it
    message = re.sub(r"got &.*", "got ***", message, flags=re.DOTALL)  # a value may hold any bracket: to the end
    message = re.sub(r"valueUnstructured\{.*\}", "***", message, flags=re.DOTALL)
    return re.sub(
        r'((?:Invalid|Duplicate|Unsupported) value: )(?:"(?:[^"\\]|\\.)*"|[^\s:,]*\{.*\}|[^\s:,]+)', r"\1***", message
    )
