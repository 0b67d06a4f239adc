"""Decisions on lines of JSON: a question and its answer, one line each.

    {"tags": ["1.0.0", "1.1.0"], "policy": {"semver": {"range": "^1"}}, "filterTags": {"pattern": "^1"}}
    {"tag": "1.1.0"}        or        {"reason": "Failure", "message": "version list argument cannot be empty"}

`policy` and `filterTags` are those of an ImagePolicy's spec; `annotations`, too, may be there. Whatever the line is,
there is an answer.
"""

from __future__ import annotations

import msgspec

from gitops_core.api.fields import NamespacedReference
from gitops_core.decoding import decode_json
from gitops_core.errors import GitOpsError
from gitops_core.meta import ObjectMeta, Wire
from image_updater.api import ImagePolicy, ImagePolicySpec, PolicyChoice, TagFilter
from image_updater.domain.tags.choices import get_choice, get_filter, skips_unparsable
from image_updater.domain.tags.policies import select_latest

INVALID = "InvalidLine"


class Question(Wire):
    tags: tuple[str, ...]
    policy: PolicyChoice
    filter_tags: TagFilter | None = None
    annotations: dict[str, str] = {}


class Answer(Wire):
    """A tag, or why there is none."""

    tag: str = ""
    reason: str = ""
    message: str = ""


def answer_line(line: bytes) -> bytes:
    """Return the answer to one line, without a newline.

    >>> answer_line(b'{"tags": ["b-9", "a-10"], "policy": {"numerical": {}}, "filterTags": {"pattern": "[0-9]+"}}')[:20]
    b'{"reason":"Failure",'
    >>> answer_line(b'[')[:24]
    b'{"reason":"InvalidLine",'
    """
    try:
        question = decode_json(line, Question)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return msgspec.json.encode(Answer(reason=INVALID, message=f"not a question: {error}"))
    return msgspec.json.encode(answer(question))


def answer(question: Question) -> Answer:
    policy = ImagePolicy(
        metadata=ObjectMeta(annotations=question.annotations),
        spec=ImagePolicySpec(
            image_repository_ref=NamespacedReference(name="-"),
            policy=question.policy,
            filter_tags=question.filter_tags,
        ),
    )
    return choose(policy, question.tags)


def choose(policy: ImagePolicy, tags: tuple[str, ...]) -> Answer:
    """Return what the policy alone chooses, without guards."""
    try:
        chosen = select_latest(tags, get_choice(policy), get_filter(policy), skip_unparsable=skips_unparsable(policy))
    except GitOpsError as error:
        return Answer(reason=error.reason, message=str(error))
    return Answer(tag=chosen)
