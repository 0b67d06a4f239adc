"""What is told of a refusal. The sentences are the API server's own; what they quote is marked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.errors import BadRequest, ClusterError, ClusterUnavailable, FieldFault, Forbidden, Invalid
from gitops_core.meta import ObjectKey, ObjectRef
from secrets_sync.domain.secret.live import SECRET
from secrets_sync.domain.secret.refusals import explain_refusal

REF = ObjectRef(SECRET, ObjectKey("shop", "db"))
MARKED = "marked4711"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            Forbidden(
                'secrets "db" is forbidden: User "system:serviceaccount:shop:sealoop" cannot update resource "secrets" '
                'in API group "" in the namespace "shop"'
            ),
            "cannot update secrets in namespace 'shop'",
        ),
        (
            Forbidden(
                'secrets is forbidden: User "jane" cannot create resource "secrets" in API group "" in the namespace '
                '"shop": RBAC: clusterrole.rbac.authorization.k8s.io "x" not found'
            ),
            "cannot create secrets in namespace 'shop'",
        ),
        (
            Forbidden(f'admission webhook "check.example" denied the request: password {MARKED} is too weak'),
            "denied by the admission webhook 'check.example'",
        ),
        (
            ClusterUnavailable(f'Internal error occurred: failed calling webhook "check.example": got {MARKED}'),
            "no answer from the webhook 'check.example'",
        ),
        (
            Invalid(
                REF,
                "secrets \"db\" is forbidden: ValidatingAdmissionPolicy 'check' with binding 'all' denied request: "
                f"{MARKED} is too weak",
                [FieldFault("", "", f"{MARKED} is too weak")],
            ),
            "denied by the policy 'check'",
        ),
        (
            Forbidden('secrets "db" is forbidden: exceeded quota: small, requested: count/secrets=1, used: 5'),
            "exceeded quota 'small'",
        ),
        (
            Invalid(
                REF,
                f'Secret "db" is invalid: [data[a/b]: Invalid value: "{MARKED}", type: Required value]',
                [FieldFault("data[a/b]", "FieldValueInvalid", MARKED), FieldFault("type", "FieldValueRequired", "")],
            ),
            "data[a/b]: FieldValueInvalid, type: FieldValueRequired",
        ),
        (Forbidden(f"no: {MARKED}"), "Forbidden"),
        (BadRequest(f"json: {MARKED}"), "BadRequest"),
        (ClusterUnavailable(f"<html>{MARKED}"), "ClusterUnavailable"),
    ],
)
def test_a_cluster_error_is_reported_by_its_cause(error: ClusterError, told: str) -> None:
    assert explain_refusal(error) == told


PLACES = st.sampled_from(
    [
        "{}",
        "cannot update {}",
        'secrets "{}" is forbidden: {}',
        'User "{}" cannot update resource "secrets" in API group "" in the namespace "shop": {}',
        'User "x" cannot {} resource "secrets" in API group "" in the namespace "shop"',
        'admission webhook "x" denied the request: {}',
        'x {} admission webhook "{}" denied the request',
        "exceeded quota: x, requested: {}",
        "ValidatingAdmissionPolicy 'x' with binding '{}' denied request: {}",
    ]
)


@given(PLACES, st.sampled_from([Forbidden, BadRequest, ClusterUnavailable]), st.text(max_size=20), st.booleans())
def test_no_word_of_unknown_form_is_told(sentence: str, make: type[ClusterError], noise: str, invalid: bool) -> None:
    value = f"{noise}Marked-4711"
    text = sentence.replace("{}", value)
    error = Invalid(REF, text, [FieldFault(value, value, value)]) if invalid else make(text)

    assert "Marked-4711" not in explain_refusal(error)
