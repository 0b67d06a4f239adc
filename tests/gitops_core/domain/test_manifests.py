"""Files to objects: what is read, what is refused, and that a stranger's file cannot hurt us."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.manifests import read_manifests
from gitops_core.domain.scalars import resolve
from gitops_core.errors import ManifestInvalid

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n"
words = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=12,
)


@given(values)
def test_json_and_yaml_mean_the_same(value: object) -> None:
    wanted = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "spec": value}

    assert read_manifests({"x": json.dumps(wanted, ensure_ascii=False).encode()}) == (wanted,)
    assert read_manifests({"x": yaml.safe_dump(wanted, allow_unicode=True, default_style='"').encode()}) == (wanted,)


@given(st.text())
def test_any_text_is_objects_or_a_fault_that_names_the_file(text: str) -> None:
    with suppress(ManifestInvalid):
        read_manifests({"some/file.yaml": text.encode("utf-8", "surrogatepass")})
        return
    with pytest.raises(ManifestInvalid, match=r"some/file\.yaml"):
        read_manifests({"some/file.yaml": text.encode("utf-8", "surrogatepass")})


@given(st.text(alphabet="0123456789+-._eExXoObBtTzZ: ", min_size=1, max_size=12))
def test_every_plain_scalar_has_a_meaning_that_json_can_say(text: str) -> None:
    try:
        value = resolve(text.strip() or "~")
    except ValueError:
        return
    assert json.loads(json.dumps(value, allow_nan=False)) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD + "a: &a [*a]", "line 4: a value contains itself"),
        (HEAD + "a: {x: 1, x: 2}", "line 4: mapping key 'x' already defined"),
        (HEAD + "a: {1: x}", "line 4: mapping key 1 is not a string"),
        (HEAD + "a: .inf", "line 4: the number .inf cannot be written as JSON"),
        (HEAD + "a: [", "did not find expected node content"),
        ("- a", "line 1: not an object"),
        ("kind: X\nmetadata: {name: x}", "an object lacks apiVersion"),
        (HEAD + "---\n" + HEAD, "ConfigMap/one is already defined in f.yaml"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        read_manifests({"f.yaml": text.encode()})

    assert "f.yaml: " in str(refused.value)
    assert problem in str(refused.value)


def test_bombs_are_refused_quickly() -> None:
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
    deep_flow, deep_block = "a: " + "[" * 100_000, "- " * 100_000 + "x"
    for bomb in (laughs, deep_flow, deep_block, "".join(f"{' ' * n}a:\n" for n in range(300))):
        with pytest.raises(ManifestInvalid):
            read_manifests({"f.yaml": (HEAD + bomb if bomb is not deep_block else bomb).encode()})


def test_anchors_and_merges_are_written_out() -> None:
    (read,) = read_manifests({"f": (HEAD + "base: &b {x: 1, y: 2}\nd:\n  <<: *b\n  y: 3\n").encode()})

    assert read["d"] == {"x": 1, "y": 3}
