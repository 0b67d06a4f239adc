"""What may be told of the API server's refusal to take or delete a Secret: nothing that could quote a value.

The server repeats what does not fit, and admission webhooks, policies and proxies say what they like. So only words
with a form of their own are kept, and each is written anew:

    RBAC                 cannot update secrets in namespace 'shop'
    admission webhook    denied by the admission webhook 'check.example', or no answer from it
    admission policy     denied by the policy 'check'
    quota                exceeded quota 'small'
    an invalid object    data[a]: FieldValueInvalid
    anything else        the reason alone: Forbidden, ClusterUnavailable

Source: k8s.io/apiserver, pkg/endpoints/handlers/responsewriters (ForbiddenMessage), pkg/admission/plugin/webhook/errors
and pkg/admission/plugin/policy/validating; k8s.io/kubernetes, plugin/pkg/admission/resourcequota.
"""

from __future__ import annotations

import re

from gitops_core.errors import ClusterError, Invalid

_NAME = r"([a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?)"
_SUBJECT = r'^(?:secrets(?: "[^"]*")? is forbidden: )?'
_FORMS = (
    (
        re.compile(
            _SUBJECT + r'User "[^"]*" cannot (get|list|create|update|patch|delete) resource "secrets" in API group ""'
            rf' in the namespace "{_NAME}"'
        ),
        "cannot {} secrets in namespace {!r}",
    ),
    (re.compile(_SUBJECT + rf'admission webhook "{_NAME}" denied'), "denied by the admission webhook {!r}"),
    (re.compile(rf'^Internal error occurred: failed calling webhook "{_NAME}"'), "no answer from the webhook {!r}"),
    (re.compile(_SUBJECT + rf"ValidatingAdmissionPolicy '{_NAME}' (?:with|denied) "), "denied by the policy {!r}"),
    (re.compile(_SUBJECT + rf"exceeded quota: {_NAME},"), "exceeded quota {!r}"),
)
_FIELD = re.compile(r"^(?:metadata|data|type|immutable)(?:[.\[][-._/\[\]a-zA-Z0-9]*)?$")
_REASON = re.compile(r"^Field[A-Za-z]{1,40}$")


def explain_refusal(error: ClusterError) -> str:
    """Explain why the API server refused, in words of ours."""
    for form, words in _FORMS:
        if found := form.match(str(error)):
            return words.format(*found.groups())
    faults = error.faults if isinstance(error, Invalid) else ()
    told = [f"{f.field}: {f.reason}" for f in faults if _FIELD.match(f.field) and _REASON.match(f.reason)]
    return ", ".join(told) or error.reason
