"""Files to objects: what is read, what is refused, and that a stranger's file cannot hurt us."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.render.manifests import Malformed, read_documents, read_manifests
from gitops_core.domain.render.scalars import resolve
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


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ("{name: 81111e1}", "metadata.name is a number: quote it"),
        ("{name: true}", "metadata.name is a boolean: quote it"),
        ("{name: [x]}", "metadata.name is a list: write a text"),
        ("{name: x, namespace: 1234}", "metadata.namespace is a number: quote it"),
        ("{name: x, labels: {build: 12}}", "metadata.labels['build'] is a number: quote it"),
        ("{name: x, labels: {'on': true}}", "metadata.labels['on'] is a boolean: quote it"),
        ("{name: x, labels: [a]}", "metadata.labels is a list: write a mapping of texts"),
        ("{name: x, annotations: text}", "metadata.annotations is a text: write a mapping of texts"),
        ("{name: x, annotations: {a: {b: c}}}", "metadata.annotations['a'] is a mapping: write a text"),
        ("x", "an object lacks metadata.name"),
    ],
)
def test_metadata_of_the_wrong_type_is_told_with_what_to_do(metadata: str, problem: str) -> None:
    text = f"# of line 2\napiVersion: v1\nkind: ConfigMap\nmetadata: {metadata}\n"

    with pytest.raises(ManifestInvalid) as refused:
        read_manifests({"apps/one.yaml": text.encode()})

    assert str(refused.value).endswith(f"apps/one.yaml: line 2: {problem}")


def test_the_type_of_a_version_that_looks_like_a_number_is_told() -> None:
    with pytest.raises(ManifestInvalid, match="apiVersion is a number: quote it"):
        read_manifests({"x": b"apiVersion: 1\nkind: X\nmetadata: {name: x}\n"})


def test_digits_that_are_no_number_of_go_are_a_text() -> None:
    assert [resolve("9" * length) for length in (19, 5000)] == [10**19 - 1, "9" * 5000]


def test_labels_and_annotations_may_be_null() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: null, annotations: {a: null}}\n"

    assert read_manifests({"x": text.encode()})[0]["metadata"]["name"] == "x"


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
def test_a_malformed_manifest_is_refused_with_its_file(text: str, problem: str) -> None:
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


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" + "1," * 250_000 + "1]", "more than 200000 values"),
        ("[" + "{}," * 250_000 + "1]", "more than 200000 values"),
        ("".join(f"k{n}: v\n" for n in range(250_000)), "more than 200000 values"),
        ("---\n" * 500_000, "more than 2000000 values in all"),
        (f"a: &a [{'1,' * 100}1]\nb: [{'*a,' * 100}1]\n---\n" * 250, "more than 2000000 values in all"),
    ],
    ids=["items", "maps", "keys", "empty documents", "aliases"],
)
def test_reading_a_dense_file_ends_as_soon_as_it_is_known_to_be_one(text: str, problem: str) -> None:
    broken_at_its_end = f"{text}\n}} }}"

    with pytest.raises(Malformed, match=problem):
        list(read_documents(broken_at_its_end.encode()))


def test_merges_that_would_copy_a_map_again_and_again_are_refused_early() -> None:
    large = ",".join(f"k{n}: 1" for n in range(20_000))
    text = f"a: &a {{{large}}}\nb:\n" + "".join(f"  n{n}: {{<<: *a}}\n" for n in range(10_000))
    began = time.thread_time()

    with pytest.raises(Malformed, match="more than 200000 values"):
        list(read_documents(text.encode()))

    assert time.thread_time() - began < 20  # it was a minute


def test_the_values_of_all_files_are_counted_together() -> None:
    dense = (HEAD + f"a: &a [{'1,' * 1_000}1]\nd: [{'*a,' * 140}1]\n").encode()
    with pytest.raises(ManifestInvalid, match="more than 2000000 values in all: divide the folder"):
        read_manifests({f"f{n}.yaml": dense.replace(b"one", b"n%d" % n) for n in range(20)})


def test_a_merge_with_its_tag_written_out_as_sops_prints_it_is_one() -> None:
    text = f"{HEAD}data:\n    !!merge <<: {{a: b}}\n    c: d\n"

    assert read_manifests({"x": text.encode()})[0]["data"] == {"a": "b", "c": "d"}


def test_anchors_and_merges_are_written_out() -> None:
    (read,) = read_manifests({"f": (HEAD + "base: &b {x: 1, y: 2}\nd:\n  <<: *b\n  y: 3\n").encode()})

    assert read["d"] == {"x": 1, "y": 3}
