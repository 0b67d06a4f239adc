"""Laws of decoding, keys and hashes."""

from __future__ import annotations

import base64
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.meta import ObjectMeta, Sensitive
from secrets_sync.domain.provider.decoding import decode
from secrets_sync.domain.provider.keys import check, convert
from secrets_sync.domain.provider.vaultpaths import make_kv_path
from secrets_sync.domain.secret.hashing import hash_data, name_field_manager, write_synced_version

entries = st.dictionaries(st.text("abcé/._-", min_size=1, max_size=6), st.binary(max_size=8), max_size=5)


@given(st.binary(max_size=40), st.sampled_from(["\n", "\r\n", ""]), st.integers(0, 30))
def test_an_encoded_value_is_decoded_with_or_without_line_breaks(value: bytes, line_end: str, at: int) -> None:
    standard, url = base64.b64encode(value).decode(), base64.urlsafe_b64encode(value).decode()

    assert decode(Sensitive(standard[:at] + line_end + standard[at:]), "Base64").reveal() == value
    assert decode(Sensitive(url[:at] + line_end + url[at:]), "Base64URL").reveal() == value
    assert decode(Sensitive(standard), "Auto").reveal() == value


@given(st.binary(max_size=40))
def test_auto_never_fails_and_none_changes_nothing(value: bytes) -> None:
    decode(Sensitive(value), "Auto")

    assert decode(Sensitive(value), "None").reveal() == value


def test_a_refusal_does_not_quote() -> None:
    with pytest.raises(ValueError, match="not base64") as refusal:
        decode(Sensitive("marked-4711!"), "Base64")

    assert "4711" not in str(refusal.value)


@given(entries)
def test_the_hash_knows_no_order_but_every_byte(data: dict[str, bytes]) -> None:
    plain = {key: Sensitive(value) for key, value in data.items()}
    turned = dict(reversed(plain.items()))
    changed = plain | {"extra": Sensitive("x")}

    assert hash_data(plain) == hash_data(turned)
    assert hash_data(plain) != hash_data(changed)


@given(entries, st.sampled_from(["Default", "Unicode"]))
def test_converted_keys_keep_every_value(data: dict[str, bytes], strategy: str) -> None:
    try:
        result = convert(data, strategy)  # type: ignore[arg-type]
    except ValueError:
        assert strategy == "Default"
        return

    assert sorted(result.values()) == sorted(data.values())
    assert all(c in "-._" or unicodedata.category(c)[0] in "LN" for key in result for c in key)


def test_keys_that_no_secret_may_have() -> None:
    assert check({"": 1, "a.b-c_D9": 2}) == {"a.b-c_D9": 2}
    for key in ("ü", "a/b", "x" * 254):
        with pytest.raises(ValueError, match="characters"):
            check({key: 1})
    with pytest.raises(ValueError, match="two keys become 'a_b'"):
        convert({"a/b": 1, "a_b": 2}, "Default")


def test_metadata_and_generation_make_the_synced_version() -> None:
    plain = ObjectMeta(generation=1)

    assert write_synced_version(plain) == "1-f47fe3c0b255b6dd8047cdffa772587bb829efe7a1cb70febeda2eb2"
    assert write_synced_version(ObjectMeta(generation=1, labels={"a": "b"})) != write_synced_version(plain)


def test_long_names_have_a_hashed_field_manager() -> None:
    assert name_field_manager("db") == "externalsecrets.external-secrets.io/db"
    assert len(name_field_manager("x" * 28)) > 63
    assert name_field_manager("x" * 28).startswith("externalsecrets.external-secrets.io/sha3/")


@pytest.mark.parametrize(
    ("mount", "version", "key", "path"),
    [
        ("secret", "v2", "shop/db", "secret/data/shop/db"),
        ("secret", "v2", "secret/shop/db", "secret/data/shop/db"),
        ("secret", "v2", "secret/data/shop/db", "secret/data/shop/db"),
        ("secret", "v2", "data/shop", "secret/data/data/shop"),
        ("a/b", "v2", "a/b/data/c", "a/b/data/c"),
        ("secret", "v1", "shop/db", "secret/shop/db"),
        ("secret", "v1", "secret/data/x", "secret/data/x"),
        (None, "v2", "secret/shop/db", "secret/data/shop/db"),
        (None, "v2", "secret/data/shop", "secret/data/shop"),
        (None, "v1", "secret/shop", "secret/shop"),
    ],
)
def test_paths_of_vault(mount: str | None, version: str, key: str, path: str) -> None:
    assert make_kv_path(mount, version, key) == path  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    ("mount", "key"), [("kv", ""), ("kv", "/"), ("kv", "kv/"), ("/kv/", "//"), (None, "kv"), (None, "kv/"), (None, "")]
)
def test_a_key_that_names_the_engine_alone_is_a_mistake(mount: str | None, version: Any, key: str) -> None:
    """An engine of version 1 answers "no such key" to it."""
    with pytest.raises(ValueError, match="names no secret"):
        make_kv_path(mount, version, key)
