"""What can be found of encrypted files without a key: laws of taking files apart, and what is refused."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.render.encrypted import (
    Recipient,
    find_payloads,
    list_encrypted,
    list_values,
    set_payloads,
    take_apart,
)
from gitops_core.meta import Manifest

BLOCK = "sops: {age: [{recipient: age1x, enc: y}], lastmodified: '2026-11-29T20:39:08Z', mac: m}\n"
SEALED = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData: {{b: 'ENC[x]'}}\n{BLOCK}"
PLAIN = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {note: about sops}\n"


@given(
    st.lists(st.sampled_from([PLAIN, SEALED, "# sops\n", BLOCK.replace("mac: m", "mac: n")]), min_size=1, max_size=6)
)
def test_every_document_of_a_file_is_in_one_piece(documents: list[str]) -> None:
    text = "---\n".join(documents).encode()

    pieces = take_apart(text)

    if not any("mac:" in document for document in documents):
        assert pieces == ()
        return
    assert sorted(b"".join(piece.text for piece in pieces)) == sorted(text)
    sealed = [piece for piece in pieces if piece.format is not None]
    assert len(sealed) == len({document.count("mac: m") for document in documents if "mac:" in document})
    assert all(b"mac:" not in piece.text for piece in pieces if piece.format is None)


@pytest.mark.parametrize("breaks", ["\n", "\r\n"])
def test_documents_with_one_block_are_decrypted_together_and_others_alone(breaks: str) -> None:
    other = SEALED.replace("mac: m", "mac: n").replace("name: a", "name: b")
    text = f"{SEALED}---\n{PLAIN}--- # again\n{SEALED.replace('name: a', 'name: c')}---\n{other}".replace("\n", breaks)

    found = [(piece.format, piece.names) for piece in take_apart(text.encode())]

    assert found == [
        ("yaml", ("Secret/a", "Secret/c")),
        (None, ("ConfigMap/cm",)),
        ("yaml", ("Secret/b",)),
    ]


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a.yaml", SEALED, "yaml"),
        ("a", SEALED, "yaml"),
        ("a.json", json.dumps({"data": "x", "sops": {"mac": "m"}}), "json"),
        ("a.bin", json.dumps({"data": "x", "sops": {"mac": "m"}}), "binary"),
        ("a", json.dumps({"a": "x", "sops": {"mac": "m"}}), "json"),
        ("a.yaml", json.dumps({"a": "x", "sops": {"mac": "m"}}), "yaml"),
        ("a.env", "A=ENC[x]\nsops_mac=ENC[y]\n", "dotenv"),
        ("a", "A=ENC[x]\r\nsops_version=3.11.0\r\n", "dotenv"),
        ("a.ini", "[main]\na = ENC[x]\n\n[sops]\nmac = ENC[y]\n", "ini"),
        ("a.yaml", "sops: hello\n", None),
        ("a.yaml", "sops: {}\n", None),
        ("a.yaml", "a: {sops: {mac: m}}\n", None),
        ("a.md", "we use sops: with [sops] and sops_mac\n", None),
        ("a.yaml", "sops: {mac: m\n", None),
        ("a.json", '{"sops": ', None),
        ("a.json", "[" * 100_000 + "sops", None),
        ("a.bin", b"\xff\xfe sops \x00".decode("latin-1"), None),
    ],
)
def test_the_format_of_a_file_follows_from_what_it_says(path: str, text: str, expected: str | None) -> None:
    pieces = take_apart(text.encode(), path)

    assert [piece.format for piece in pieces] == ([expected] if expected else [])


def test_who_can_open_a_file_and_when_it_was_encrypted_is_read_in_every_format() -> None:
    groups = (
        "sops: {key_groups: [{pgp: [{fp: AB}]}, {age: [{recipient: age1y}], "
        "hc_vault: [{vault_address: v, engine_path: e, key_name: k}]}], mac: m}"
    )
    flat = (
        "A=B\nsops_age__list_0__map_enc=x\nsops_age__list_0__map_recipient=age1x\nsops_lastmodified=2026\n"
        "sops_mac_only_encrypted=true\nsops_mac=m\n"
    )
    section = "[a]\nb = c\n[sops]\npgp__list_0__map_fp = AB\nlastmodified = 2026\nmac = m\n"

    first, second, third = (take_apart(text.encode())[0].block for text in (f"a: b\n{groups}\n", flat, section))

    assert first is not None and second is not None and third is not None  # noqa: PT018
    assert first.recipients == (
        Recipient("pgp", "AB"),
        Recipient("age", "age1y"),
        Recipient("hc_vault", "v/v1/e/keys/k"),
    )
    assert (first.is_remote, second.is_remote) == (True, False)
    assert (second.modified, second.mac, second.covers_all) == ("2026", "m", False)
    assert Recipient("age", "age1x") in second.recipients
    assert (third.recipients, third.modified, third.covers_all) == ((Recipient("pgp", "AB"),), "2026", True)


def test_an_annotation_keeps_a_document_closed_and_its_siblings_are_opened() -> None:
    left = SEALED.replace("{name: a}", "{name: a, annotations: {kustomize.toolkit.fluxcd.io/decrypt: DISABLED}}")

    pieces = take_apart(f"{left}---\n{SEALED}".encode())

    assert [(piece.format, piece.block is not None) for piece in pieces] == [(None, True), ("yaml", True)]


def _make_secret(**data: str) -> Manifest:
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "data": encoded}


def test_a_file_in_a_value_is_found_also_where_its_base64_is_broken_into_lines() -> None:
    manifest = _make_secret(a=SEALED, b="nothing of sops")
    broken = {
        **manifest,
        "data": {
            key: "\n".join(text[i : i + 70] for i in range(0, len(text), 70)) for key, text in manifest["data"].items()
        },
    }

    for one in (manifest, broken):
        (payload,) = find_payloads(one)
        assert (payload.field, payload.key, payload.text) == ("data", "a", SEALED.encode())
        assert list_encrypted(one) == ("a of Secret/x",)
        opened = set_payloads(one, [(payload, b"plain")])
        assert base64.b64decode(opened["data"]["a"]) == b"plain"
        assert list_encrypted(opened) == ()


@pytest.mark.parametrize(
    "values",
    [{"a": "ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]"}, {"sops_mac": "x"}, {"sops_version": "3.11.0", "a": "b"}],
)
def test_a_secret_whose_block_was_taken_away_is_encrypted_still(values: dict[str, str]) -> None:
    plain = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": values}

    assert list_encrypted(plain) == ("Secret/x",)
    assert list_encrypted(_make_secret(**values)) == ("Secret/x",)


def test_what_is_plain_now_and_was_not_is_listed_and_nothing_else() -> None:
    before = "a: {name: web, password: 'ENC[1]'}\nlist: [x, 'ENC[2]', 'ENC[3]']\nport: 'ENC[4]'\non: true\n"
    after = "a: {name: web, password: secret-1}\nlist: [x, secret-2, 3]\nport: 5432\non: true\n"

    assert list_values(before.encode(), after.encode(), "yaml") == ("secret-1", "secret-2", "3", "5432")
    assert list_values(b"A=x\nB=ENC[1]\n", b"A=x\nB=secret\n", "dotenv") == ("B=secret", "secret")
    assert list_values(b"{}", b"whole", "binary") == ("whole",)
