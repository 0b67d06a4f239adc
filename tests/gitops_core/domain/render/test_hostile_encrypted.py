"""What is found of encrypted files, whatever strangers wrote into them, and what no object may hold."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from typing import Any

import pytest

from gitops_core.domain.render.encrypted import list_encrypted, list_forms, list_values, take_apart
from gitops_core.domain.render.manifests import read_file
from gitops_core.domain.render.muting import mute_values

SEALED = "ENC[AES256_GCM,data:/21d630=,iv:zuu1cflREURP0TjkbRZFVeDMqxsOoNBeHZxFIYAqZPk=,tag:+MXb3cnHfHdj=,type:str]"
LONGEST = 5.0
"""CPU seconds on a busy machine: what is not linear takes minutes."""


def _object(kind: str, api_version: str = "v1", /, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **fields}


HELM = {"values": {"database": {"password": SEALED}}}
CONTAINERS = [{"name": "c", "env": [{"name": "TOKEN", "value": SEALED}]}]


@pytest.mark.parametrize(
    "manifest",
    [
        _object("ConfigMap", data={"a": SEALED}),
        _object("ConfigMap", data={"values.yaml": f"a: b\nc:\n  password: {SEALED}\n"}),
        _object("ConfigMap", binaryData={"a": b64encode(f"x={SEALED}".encode()).decode()}),
        _object("Secret", stringData={"a": f" {SEALED}"}),
        _object("Secret", stringData={"url": f"postgres://app:{SEALED}@db/app"}),
        _object("Secret", data={"a": b64encode(f"a: 1\nb: {SEALED}\n".encode()).decode()}),
        _object(
            "Secret",
            data={"a": "\n".join(b64encode(SEALED.encode() * 9).decode()[at:][:64] for at in range(0, 1500, 64))},
        ),
        _object("Secret", stringData={"app.json": f'{{"a": "{SEALED}", "sops": {{"mac": "{SEALED}"}}, "sops": {{}}}}'}),
        _object("Secret", stringData={"app.env": f"A={SEALED}\nsops_version=3.11.0\n"}),
        _object("Deployment", "apps/v1", spec={"template": {"spec": {"containers": CONTAINERS}}}),
        _object("HelmRelease", "helm.toolkit.fluxcd.io/v2", spec=HELM),
        _object("Certificate", "example.com/v1", sops=[{"mac": SEALED}]),
        _object("Secret", stringData={"a": "b"}, sops={"version": "3.11.0"}),
    ],
)
def test_an_object_that_holds_a_value_as_sops_wrote_it_is_encrypted_still(manifest: dict[str, Any]) -> None:
    assert list_encrypted(manifest)
    left = {**manifest, "metadata": {"name": "x", "annotations": {"kustomize.toolkit.fluxcd.io/decrypt": "disabled"}}}
    assert not list_encrypted(left)


def test_the_items_of_a_list_whose_block_goes_with_it_are_encrypted_still() -> None:
    text = f"""
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {{name: x}}
  data: {{a: "{SEALED}"}}
sops: {{mac: "{SEALED}", lastmodified: "2026-11-29T20:39:08Z"}}
"""
    assert [list_encrypted(manifest) for manifest in read_file(text.encode())] == [("ConfigMap/x",)]


@pytest.mark.parametrize(
    "manifest",
    [
        _object(
            "ConfigMap",
            data={"install.sh": "#!/bin/sh\nsops_version=3.11.0\ncurl -O https://example.com/$sops_version\n"},
        ),
        _object("ConfigMap", data={"sops_version": "3.11.0"}),
        _object("ConfigMap", data={"values.yaml": "sops: {enabled: true}\n"}),
        _object("ConfigMap", data={"app.ini": "[sops]\nenabled = true\n"}),
        _object("ConfigMap", data={"README": "values look like ENC[AES256_GCM,data:...,iv:...,tag:...,type:str]"}),
        _object("Secret", stringData={"a": "ENC[AES256_GCM,hello"}),
    ],
)
def test_what_only_speaks_of_sops_is_not_encrypted(manifest: dict[str, Any]) -> None:
    assert not list_encrypted(manifest)


@pytest.mark.parametrize(
    "data",
    [
        b"".join(b"---\na: 1\nsops: {mac: x, n: %d}\n" % number for number in range(5_000)),
        b"---\nsops: {mac: x}\n" * 10_000,
        b"--- sops\n" * 10_000,
        (b"[sops] \r\t" * 100 + b"\n") * 1_000 + SEALED.encode(),
        b"sops_mac" * 200_000,
    ],
    ids=["blocks of their own", "one block", "documents", "sections", "lines"],
)
def test_a_file_of_many_parts_is_taken_apart_in_linear_time(data: bytes) -> None:
    began = time.thread_time()

    take_apart(data, "a.yaml")

    assert time.thread_time() - began < LONGEST


@pytest.mark.parametrize("piece", ["ENC[AES256_GCM,data:", "ENC[AES256_GCM,data:A,iv:A,tag:A,type:", "ENC[", "A" * 20])
def test_a_large_object_of_half_values_is_looked_through_in_linear_time(piece: str) -> None:
    began = time.thread_time()

    assert not list_encrypted(_object("ConfigMap", data={"a": piece * 50_000}))

    assert time.thread_time() - began < LONGEST


def test_a_mark_of_the_byte_order_changes_neither_what_is_found_nor_its_format() -> None:
    texts = {
        "a.json": '{"a": "b", "sops": {"mac": "x"}}',
        "a.env": f"A={SEALED}\nsops_version=1\n",
        "a.yaml": "sops: {mac: x}",
    }

    for path, text in texts.items():
        marked, plain = take_apart(f"\ufeff{text}".encode(), path), take_apart(text.encode(), path)
        assert marked == plain
        assert len(plain) == 1


def test_documents_belong_together_that_have_the_same_block_however_it_is_written() -> None:
    text = b"a: 1\nsops: {mac: x, age: []}\n---\nplain: 1\n--- # third\nb: 2\nsops:\n  \"age\": []\n  mac: 'x'\n"

    pieces = take_apart(text, "a.yaml")

    assert [(piece.format, piece.text.count(b"sops")) for piece in pieces] == [("yaml", 2), (None, 0)]


@pytest.mark.parametrize(
    ("told", "quoted"),
    [
        ("hunter2-4711", "Invalid value: {value}"),
        (b64encode(b"hunter2-4711").decode(), 'invalid character in "hunter2-4711"'),
        ("hunter2-4711${SUFFIX}", 'Invalid value: "hunter2-4711-replaced"'),
        ("${PREFIX}hunter2-4711", 'Invalid value: "replaced-hunter2-4711"'),
        ("${PREFIX:-${OTHER}}hunter2-4711", 'Invalid value: "xhunter2-4711"'),
        ("<hunter2-4711>&", '{"a":"\\u003chunter2-4711\\u003e\\u0026"}'),
        ("hunter2\u00a04711\u007f", '"hunter2\\u00a04711\\x7f"'),
    ],
)
def test_a_decrypted_value_is_muted_in_whatever_form_it_is_quoted(told: str, quoted: str) -> None:
    values = list_values(f"a: {SEALED}".encode(), f"a: {json.dumps(told)}".encode(), "yaml")

    muted = mute_values(quoted.replace("{value}", told), [form for value in values for form in list_forms(value)], "")

    assert "hunter2" not in muted
    assert "4711" not in muted
