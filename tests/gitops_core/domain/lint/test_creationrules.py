"""Rules of .sops.yaml say what they say to sops."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops_core.domain.lint.creationrules import Config, differ, read_config
from gitops_core.domain.lint.objects import walk_keys
from gitops_core.domain.render.encrypted import Block
from tests.servers.programs import program

FIRST = "age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun"
SECOND = "age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw"
TEXT = {"data": {"a": "1", "a_plain": "2"}, "kind": "x", "list": [{"data": "3"}, "4"], "other": {"b_unencrypted": "5"}}
CONFIG = f"""
creation_rules:
  - path_regex: ^prod/.*\\.yaml$
    encrypted_regex: ^(data|stringData)$
    age: {FIRST}, {SECOND}
  - path_regex: suffix
    encrypted_suffix: a
    age: [{SECOND}]
  - path_regex: unplain
    unencrypted_suffix: _plain
    key_groups:
      - age: ["{FIRST}"]
        merge: [{{age: ["{SECOND}"]}}]
  - path_regex: un[r]egex
    unencrypted_regex: "^(?:kind|.*_plain)"
    age: >-
      {FIRST},
      {SECOND}
  - age: {FIRST}
"""


@pytest.mark.parametrize(
    "path", ["prod/a.yaml", "x/prod/a.yaml", "a-suffix.yaml", "x/unplain.yaml", "unregex.yaml", "other.yaml"]
)
def test_the_rule_of_a_file_its_recipients_and_what_it_encrypts_are_those_of_sops(path: str, tmp_path: Path) -> None:
    (tmp_path / ".sops.yaml").write_text(CONFIG)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(yaml.safe_dump(TEXT))
    done = subprocess.run([program("sops"), "encrypt", path], cwd=tmp_path, capture_output=True, check=True)
    made: dict[str, Any] = yaml.safe_load(done.stdout)
    block = Block.of(made.pop("sops"))

    rule = read_config(".sops.yaml", CONFIG.encode()).find_rule(path)

    assert rule is not None
    assert rule.recipients == {recipient.name for recipient in block.recipients}
    assert differ(rule.recipients, rule) == ((), ())
    encrypted = {keys for keys, value in walk_keys(made) if str(value).startswith("ENC[")}
    assert {keys for keys, _ in walk_keys(TEXT) if rule.selects(keys)} == encrypted


@pytest.mark.parametrize(
    ("rule", "is_taken"),
    [
        (f"{{age: {FIRST}}}", True),
        (f"{{path_regex: a, age: {FIRST}}}", True),
        (f"{{path_regex: '(', age: {FIRST}}}", False),
        (f"{{path_regex: 'a(?=b)', age: {FIRST}}}", False),
        (f"{{encrypted_regex: a, encrypted_suffix: b, age: {FIRST}}}", False),
        ("{age: age2x}", False),
        ("{age: [3]}", False),
        ("{age: {a: b}}", False),
        ("{}", False),
        ("3", False),
    ],
)
def test_what_sops_refuses_is_an_error_and_nothing_else_is(rule: str, is_taken: bool, tmp_path: Path) -> None:
    text = f"creation_rules: [{rule}]"
    (tmp_path / ".sops.yaml").write_text(text)
    (tmp_path / "a.yaml").write_text("a: b\n")

    done = subprocess.run([program("sops"), "encrypt", "a.yaml"], cwd=tmp_path, capture_output=True)

    assert (done.returncode == 0) == is_taken
    assert (read_config(".sops.yaml", text.encode()).faults == ()) == is_taken


def read(fields: str, path: str = ".sops.yaml") -> Config:
    return read_config(path, f"creation_rules: [{{{fields}}}]".encode())


@pytest.mark.parametrize(
    ("fields", "entry"),
    [
        ("pgp: 'ABCD 1234'", {"pgp": [{"fp": "ABCD1234"}]}),
        ("kms: 'arn:aws:kms:k+arn:aws:iam:r', aws_profile: p",
         {"kms": [{"arn": "arn:aws:kms:k", "role": "arn:aws:iam:r", "aws_profile": "p"}]}),
        ("key_groups: [{kms: [{arn: 'arn:k', context: {b: c, a: b}}]}]",
         {"kms": [{"arn": "arn:k", "context": {"a": "b", "b": "c"}, "aws_profile": ""}]}),
        ("gcp_kms: projects/p/locations/global/keyRings/r/cryptoKeys/k",
         {"gcp_kms": [{"resource_id": "projects/p/locations/global/keyRings/r/cryptoKeys/k"}]}),
        ("hc_vault_transit_uri: 'https://vault:8200/v1/a/b/keys/k'",
         {"hc_vault": [{"vault_address": "https://vault:8200", "engine_path": "a/b", "key_name": "k"}]}),
        ("azure_keyvault: https://v.vault.azure.net/keys/k",
         {"azure_kv": [{"vault_url": "https://v.vault.azure.net", "name": "k", "version": "2ef"}]}),
        ("key_groups: [{azure_keyvault: [{vaultUrl: 'https://v.vault.azure.net', key: k, version: 2ef}]}]",
         {"azure_kv": [{"vault_url": "https://v.vault.azure.net", "name": "k", "version": "2ef"}]}),
    ],
)  # fmt: skip
def test_keys_of_services_have_one_name_in_a_rule_and_in_a_block(fields: str, entry: dict[str, Any]) -> None:
    (rule,) = read(fields).rules

    names = frozenset(recipient.name for recipient in Block.of(entry).recipients)

    assert len(names) == 1
    assert differ(names, rule) == ((), ())
    assert differ(frozenset({"other"}), rule) == (("other",), tuple(rule.recipients))


@pytest.mark.parametrize(
    ("pattern", "path", "is_broad"),
    [
        (r".*\.yaml$", "secrets/a.yaml", True),
        (r"^apps/.*", "apps/a.yaml", True),
        (r"secrets/", "secrets/a.yaml", False),
        (r"\.enc\.yaml$", "a.enc.yaml", False),
        (r"\.key$", "tls/a.key", False),
        (r"prod/", "prod/notes", True),
    ],
)
def test_a_rule_that_also_matches_neutral_names_is_broad(pattern: str, path: str, is_broad: bool) -> None:
    (rule,) = read(f"path_regex: '{pattern}', age: {FIRST}").rules

    assert rule.matches(path)
    assert rule.is_broad(path) == is_broad


def test_a_path_is_seen_from_the_folder_of_the_file_that_holds_the_rule() -> None:
    config = read(f"path_regex: ^a/, age: {FIRST}", "x/.sops.yaml")

    assert config.find_rule("x/a/b.yaml") is not None
    assert config.find_rule("x/b/a/b.yaml") is None
