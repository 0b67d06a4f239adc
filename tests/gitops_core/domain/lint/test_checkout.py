"""Laws of looking at files: whatever stands in them, no value is quoted, nothing is raised, and order is nothing."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.lint.checkout import Report, conclude, lint_file
from gitops_core.domain.lint.context import Context, is_context
from gitops_core.domain.lint.findings import RULES

VALUE = "hunter2-of-nobody"
SEALED = "ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]"
WORDS = [
    "kind",
    "apiVersion",
    "Secret",
    "List",
    "v1",
    "metadata",
    "name",
    "namespace",
    "annotations",
    "data",
    "stringData",
]
WORDS += ["items", "sops", "mac", "lastmodified", "age", "recipient", "creation_rules", "path_regex", "encrypted_regex"]
WORDS += [
    "secretGenerator",
    "configMapGenerator",
    "files",
    "literals",
    "patches",
    "patch",
    "target",
    "path",
    "key_groups",
]
WORDS += [
    "sealoop.dev/lint-allow",
    "plain-secret",
    "kustomize.toolkit.fluxcd.io/decrypt",
    "disabled",
    "a.yaml",
    "hc_vault",
]
WORDS += [
    "kms",
    "context",
    "arn",
    "mac_only_encrypted",
    "azure_keyvault",
    "op",
    "add",
    "/data/x",
    "value",
    ".",
    "",
    "(",
]
PATHS = ["a.yaml", "a.json", "a.env", "a.ini", "a.txt", "kustomization.yaml", ".sops.yaml", ".sops.yml", "b/a.yaml"]

texts = st.sampled_from([*WORDS, SEALED]) | st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=30,
)
contents = (
    st.lists(values, max_size=3).map(lambda found: "\n---\n".join(map(json.dumps, found)).encode())
    | st.lists(st.sampled_from([*WORDS, SEALED, ": ", "=", "\n", "- ", "#", "sops_mac=", "[sops]", "{"])).map(
        lambda found: "".join(found).encode()
    )
    | st.binary(max_size=200)
)
checkouts = st.dictionaries(st.sampled_from(PATHS), contents, max_size=5)


def look(files: dict[str, bytes]) -> list[Report]:
    context = Context()
    for path in filter(is_context, sorted(files)):
        context.add(path, files[path])
    return [lint_file(path, data, context) for path, data in files.items()]


@given(checkouts)
def test_whatever_stands_in_files_findings_are_of_known_rules_and_in_lines_that_there_are(
    files: dict[str, bytes],
) -> None:
    for one in conclude(look(files), Context()):
        assert one.rule in RULES
        assert one.path in files
        assert 0 <= one.line <= files[one.path].count(b"\n") + 1
        assert one.message
        assert "\n" not in one.message or b"\\n" in b"".join(files.values())


@given(checkouts, st.randoms(use_true_random=False))
def test_the_order_of_files_is_nothing(files: dict[str, bytes], random: Any) -> None:
    shuffled = list(files.items())
    random.shuffle(shuffled)

    assert conclude(look(dict(shuffled)), Context()) == conclude(look(files), Context())


def put(value: Any) -> Any:
    """Replace every text that is no word of ours by one that nobody may see."""
    if isinstance(value, dict):
        return {key: put(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [put(inner) for inner in value]
    return value if value in WORDS or value == SEALED else VALUE


@given(values, st.sampled_from(PATHS))
def test_no_value_is_quoted(value: Any, path: str) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "data": put(value), "stringData": {"x": put(value)}}
    text = json.dumps({**secret, "secretGenerator": [{"literals": [f"x={VALUE}"]}], "more": put(value)})

    found = conclude(look({path: text.encode(), "kustomization.yaml": text.encode()}), Context())

    shown = "".join(one.message for one in found)
    assert VALUE not in shown
    assert base64.b64encode(VALUE.encode()).decode() not in shown


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.none() | st.just("") | st.just(VALUE) | st.just(SEALED)))
def test_a_secret_is_plain_where_a_value_is_neither_empty_nor_encrypted(data: dict[str, str | None]) -> None:
    for field in ("data", "stringData"):
        text = json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, field: data})

        rules = {one.rule for one in lint_file("a.yaml", text.encode(), Context()).findings}

        assert ("plain-secret" in rules) == (VALUE in data.values())
        assert ("lost-block" in rules) == (SEALED in data.values())
