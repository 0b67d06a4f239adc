"""Which Secrets of a file stand there for everybody to read."""

from __future__ import annotations

import pytest

from gitops_core.domain.render.encrypted import Recipient, take_apart
from gitops_core.domain.render.seals import find_plain_secrets


def found(text: str) -> list[str]:
    return list(find_plain_secrets("a.yaml", text.encode()))


@pytest.mark.parametrize("metadata", ["3", "{name: [1]}", "[]", "{namespace: {}}"])
def test_a_secret_whose_name_is_none_is_found_nevertheless(metadata: str) -> None:
    text = f"apiVersion: v1\nkind: Secret\nmetadata: {metadata}\nstringData: {{a: b}}\n"

    assert len(found(text)) == 1


def test_a_value_that_is_a_variable_is_none_but_its_default_is() -> None:
    text = "apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData: {{x: '{}'}}\n"

    assert found(text.format("${PASSWORD}")) == []
    assert found(text.format("${PASSWORD:=hunter2}")) == ["a.yaml (Secret/a)"]


def test_keys_of_a_flat_block_are_named_with_all_their_parts() -> None:
    lines = [
        "A=ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]",
        "sops_hc_vault__list_0__map_vault_address=https://vault:8200",
        "sops_hc_vault__list_0__map_engine_path=sops",
        "sops_hc_vault__list_0__map_key_name=first",
        "sops_hc_vault__list_1__map_vault_address=https://vault:8200",
        "sops_hc_vault__list_1__map_engine_path=sops",
        "sops_hc_vault__list_1__map_key_name=second",
        "sops_mac=ENC[x]",
    ]

    (piece,) = take_apart("\n".join(lines).encode(), "a.env")

    assert piece.block is not None
    assert piece.block.recipients == (
        Recipient("hc_vault", "https://vault:8200/v1/sops/keys/first"),
        Recipient("hc_vault", "https://vault:8200/v1/sops/keys/second"),
    )
