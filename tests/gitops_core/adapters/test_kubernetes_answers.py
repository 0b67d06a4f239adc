"""What is told of an API server's refusal of a Secret: its words, and none of the values that they quote."""

from __future__ import annotations

import pytest

from gitops_core.adapters.kubernetes.answers import Cause, Details, Refusal, make_error
from gitops_core.meta import Kind, ObjectKey, ObjectRef

SECRET = ObjectRef(Kind.of("v1", "Secret"), ObjectKey("shop", "key"))
VALUE = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("code", "said", "told"),
    [
        (
            400,
            'Secret in version "v1" cannot be handled as a Secret: v1.Secret.Data: ReadString: expects " or n, but '
            f'found 1, error found in #10 byte of ...|"a":"{VALUE}","b":1}}|..., bigger context ...|"{VALUE}"|...',
            'Secret in version "v1" cannot be handled as a Secret: v1.Secret.Data: ReadString: expects " or n, but '
            "found 1, ***",
        ),
        (
            500,
            "failed to create typed patch object (shop/key; /v1, Kind=Secret): .data.p: expected string, got "
            f'&value.valueUnstructured{{Value:map[string]interface {{}}{{"}}":"{VALUE}"}}}}',
            "failed to create typed patch object (shop/key; /v1, Kind=Secret): .data.p: expected string, got ***",
        ),
        (400, f'admission webhook "a.b" denied the request: {VALUE}', 'admission webhook "a.b" denied the request'),
        (
            422,
            f'Secret "key" is invalid: data: Invalid value: map[string]string{{"a":"{VALUE}: x"}}: no',
            'Secret "key" is invalid: data: Invalid value: ***: no',
        ),
        (
            422,
            f'Secret "key" is invalid: type: Unsupported value: "{VALUE} \\" {VALUE}": no',
            'Secret "key" is invalid: type: Unsupported value: ***: no',
        ),
        (
            403,
            'secrets "key" is forbidden: exceeded quota: small, requested: secrets=1',
            'secrets "key" is forbidden: exceeded quota: small, requested: secrets=1',
        ),
    ],
)
def test_a_refusal_of_a_secret_quotes_no_value(code: int, said: str, told: str) -> None:
    refusal = Refusal("Status", "", said, code, Details(causes=(Cause("FieldValueInvalid", said, "data"),)))

    error = make_error(code, refusal, SECRET)

    assert str(error) == told
    assert VALUE not in repr(vars(error))


def test_of_other_objects_the_value_is_told() -> None:
    said = 'ConfigMap "a" is invalid: data: Invalid value: "x y": no'

    assert (
        str(make_error(422, Refusal("Status", "", said, 422), SECRET._replace(kind=Kind.of("v1", "ConfigMap")))) == said
    )
