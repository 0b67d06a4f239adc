"""Keys as a Secret holds them: which entries count, what is refused, and that nothing of them is said."""

from __future__ import annotations

import base64

import pytest

from gitops_core.domain.render.sopskeys import KeyInvalid, SopsKeys, parse_keys

IDENTITY = "AGE-SECRET-KEY-19CXRPKKSPLVXVKVPCW34LSMTUYZA4Z9CWUTLMM6UAJ2FU8CSHU5Q9Z238R"
RING = base64.b64encode(b"ring").decode()
ARMOR = f"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 1\n\n{RING}\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----\n"


def test_entries_are_found_by_their_names_and_others_are_not_looked_at() -> None:
    keys = parse_keys(
        {
            "a.agekey": f"# created: today\r\n{IDENTITY}\r\n\r\n".encode(),
            "pq.agekey": b"AGE-SECRET-KEY-PQ-1ABC\n",
            "b.asc": ARMOR.encode() * 2,
            "sops.vault-token": b"hvs.x\n",
            "sops.aws-kms": b"AWS_ACCESS_KEY_ID: a\naws_secret_access_key: 123\nother: x\n",
            "sops.azure-kv": b"tenantId: t\nclientSecret: s\n",
            "sops.gcp-kms": b'{"type": "service_account"}',
            "age.txt": b"not looked at",
        }
    )

    assert keys.age.reveal_text() == f"{IDENTITY}\nAGE-SECRET-KEY-PQ-1ABC"
    assert keys.pgp.reveal() == b"ringring"
    assert {name: value.reveal_text() for name, value in keys.environment.items()} == {
        "VAULT_TOKEN": "hvs.x",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "123",
        "AZURE_TENANT_ID": "t",
        "AZURE_CLIENT_SECRET": "s",
        "GOOGLE_CREDENTIALS": '{"type": "service_account"}',
    }


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.agekey", "", "holds no identity of age"),
        ("a.agekey", f"{IDENTITY}\nage1xyz\n", "entry 2 is no identity .* it is a recipient, which only encrypts"),
        ("a.agekey", "AGE-PLUGIN-YUBIKEY-1ABC", "entry 1 is no identity"),
        ("a.agekey", f"{IDENTITY} {IDENTITY}", "entry 1 is no identity"),
        ("a.asc", "garbage", "holds no private key of OpenPGP"),
        ("a.asc", ARMOR.replace("PRIVATE", "PUBLIC"), "holds no private key of OpenPGP"),
        ("a.asc", ARMOR.replace(RING, "!!!"), "its private key is damaged"),
        ("sops.aws-kms", "just text", "is no mapping of aws_access_key_id"),
        ("sops.aws-kms", "{a: ", "is no mapping"),
        ("sops.vault-token", "a\0b", "a byte of zero"),
    ],
)
def test_a_key_that_is_none_is_refused_without_a_word_of_it(name: str, text: str, told: str) -> None:
    with pytest.raises(KeyInvalid, match=told) as caught:
        parse_keys({name: text.encode()})

    assert "AGE-SECRET" not in str(caught.value).replace("(AGE-SECRET-KEY-1...)", "")


def test_a_fingerprint_is_of_all_the_keys_and_of_nothing_else() -> None:
    data = {"a.agekey": IDENTITY.encode(), "b.asc": ARMOR.encode(), "sops.vault-token": b"t"}
    whole = parse_keys(data)

    assert whole.fingerprint == parse_keys({**data, "note": b"x"}).fingerprint
    for name in data:
        without = parse_keys({other: text for other, text in data.items() if other != name})
        assert without.fingerprint != whole.fingerprint
    assert parse_keys(data, is_ambient=False).fingerprint != whole.fingerprint
    assert parse_keys({**data, "sops.vault-token": b"u"}).fingerprint != whole.fingerprint
    assert IDENTITY not in repr(whole)
    assert SopsKeys().fingerprint == SopsKeys().fingerprint
