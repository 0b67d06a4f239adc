"""Laws of targets: a declared place follows its policy as a marked value does, and no other byte changes."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_updater.api import HelmValues, ImageRef, KustomizeImage, Target
from image_updater.domain.files.leaves import Leaf, NoPlace, parse_path
from image_updater.domain.files.leaves_env import ENV
from image_updater.domain.files.leaves_json import JSON
from image_updater.domain.files.leaves_toml import TOML
from image_updater.domain.files.leaves_yaml import YAML
from image_updater.domain.files.markers import Unparsable
from image_updater.domain.files.plan import plan_commit, setters
from image_updater.domain.files.sightings import CommitPlan
from image_updater.domain.files.targets import DeclaredTarget

slowly = settings(deadline=None, max_examples=60)  # a busy machine is no failure

DIGEST = "sha256:" + "a" * 64
VALUES = setters(
    "shop",
    {
        "app": ImageRef(name="ghcr.io/org/app", tag="2.0.0"),
        "web": ImageRef(name="org/web", tag="7", digest=DIGEST),
    },
)
MARK = '# {"$imagepolicy": "shop:web:tag"}'


def plan(file: str, text: str, *targets: Target) -> CommitPlan:
    return plan_commit({file: text.encode()}, VALUES, targets=[DeclaredTarget("shop", target) for target in targets])


def edited(file: str, text: str, *targets: Target) -> str:
    return plan(file, text, *targets).edits.get(file, text.encode()).decode()


def at(path: str, file: str = "**", policy: str = "app", value: Any = "tag") -> Target:
    return Target(file=file, policy=policy, path=path, value=value)


@pytest.mark.parametrize(
    ("file", "path", "before", "after"),
    [
        ("a.json", "a[1].b", '{"a": [0, {"b" : "1.0"}]}', '{"a": [0, {"b" : "2.0.0"}]}'),
        ("a.json", "a", '\ufeff{"z": {"a": 1},\r\n\t"a": 1.0}', '\ufeff{"z": {"a": 1},\r\n\t"a": "2.0.0"}'),
        ("a.json", 'x["a.b"]', '{"x":{"a.b":"\\u0031"}}\n', '{"x":{"a.b":"2.0.0"}}\n'),
        ("a.toml", "a.b", "[a]\nb = '1' # x\r\n", "[a]\nb = '2.0.0' # x\r\n"),
        ("a.toml", "a[1].b.c", "[[a]]\n[[a]]\nb.'c' = 1.0", "[[a]]\n[[a]]\nb.'c' = \"2.0.0\""),
        ("a.toml", "a[1].b", 'a = [ # [\n "x", {z = 1, b="1"} ]', 'a = [ # [\n "x", {z = 1, b="2.0.0"} ]'),
        (".env", "TAG", "# TAG=0\nexport TAG=1.0 # TAG\nX=1", "# TAG=0\nexport TAG=2.0.0 # TAG\nX=1"),
        ("x.env", "TAG", "X='a\nTAG=1'\nTAG=\"1\"\r\n", "X='a\nTAG=1'\nTAG=\"2.0.0\"\r\n"),
        ("a.yaml", "a[0].b", "a:\n- {b: &x 1.0, c: *x}", "a:\n- {b: &x 2.0.0, c: *x}"),
        ("a.yaml", "b", "a: 1\n---\nb:   '1'\t# why\n", "a: 1\n---\nb:   '2.0.0'\t# why\n"),
    ],
)
def test_the_value_at_a_path_changes_and_nothing_else(file: str, path: str, before: str, after: str) -> None:
    assert edited(file, before, at(path)) == after
    assert edited(file, after, at(path)) == after


RELEASE = """\
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: app}
spec: {interval: 1h, url: https://charts.example}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: app}
spec:
  values:
    image: {repository: x/y, tag: '1.0'}
---
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
images: [{name: app, newTag: '1.0'}]
"""


@pytest.mark.parametrize(
    ("target", "before", "after"),
    [
        (at("spec.values.image.tag"), "tag: '1.0'}", "tag: '2.0.0'}"),
        (
            Target(file="*", policy="app", helm_values=HelmValues(path="spec.values.image")),
            "{repository: x/y, tag: '1.0'}",
            "{repository: ghcr.io/org/app, tag: '2.0.0'}",
        ),
        (
            Target(file="*", policy="app", kustomize_image=KustomizeImage(name="app")),
            "newTag: '1.0'",
            "newTag: '2.0.0'",
        ),
    ],
)
def test_a_target_leads_to_the_one_document_that_has_its_path(target: Target, before: str, after: str) -> None:
    assert RELEASE.count(before) == 1
    assert edited("a.yaml", RELEASE, target) == RELEASE.replace(before, after)


def test_a_marker_on_a_boolean_is_seen_beside_a_target() -> None:
    text = 'a: true # {"$imagepolicy": "shop:web:tag"}\nb: 1\n'

    beside, alone = plan("a.yaml", text, at("b")), plan("a.yaml", text)

    assert [s.line for s in beside.sightings if s.setter == "shop:web:tag"] == [1]
    assert [s for s in beside.sightings if s.setter == "shop:web:tag"] == list(alone.sightings)


HELM = Target(file="*.yaml", policy="web", helm_values=HelmValues(path="image"))
PLAIN_HELM = Target(file="*.yaml", policy="app", helm_values=HelmValues(path="image"))


@pytest.mark.parametrize(
    ("target", "before", "after"),
    [
        (HELM, "image:\n  repository: x/y\n  tag: 6\n", 'image:\n  repository: org/web\n  tag: "7"\n'),
        (HELM, "image: {name: x, tag: '6'}", "image: {name: org/web, tag: '7'}"),
        (HELM, "image: {tag: '6', digest: ''}", f"image: {{tag: '7', digest: '{DIGEST}'}}"),
        (HELM, "image: {tag: '6@sha256:0'}", f"image: {{tag: '7@{DIGEST}'}}"),
        (at("image.tag", policy="web"), "image: {tag: '6@sha256:0'}", f"image: {{tag: '7@{DIGEST}'}}"),
        (
            at("image.img", value="name"),
            "image: {registry: docker.io, img: org/app}",
            "image: {registry: ghcr.io, img: org/app}",
        ),
        (at("image.img", value="name"), "image: {img: org/app}", "image: {img: ghcr.io/org/app}"),
        (
            PLAIN_HELM,
            "image:\n  registry: docker.io\n  repository: org/app\n  tag: 1.0\n  digest: ''\n",
            "image:\n  registry: ghcr.io\n  repository: org/app\n  tag: 2.0.0\n  digest: ''\n",
        ),
        (
            HELM,
            "image: {registry: index.docker.io, repository: a, tag: '1'}",
            "image: {registry: index.docker.io, repository: org/web, tag: '7'}",
        ),
        (
            Target(file="*.yaml", policy="app", helm_values=HelmValues()),
            "repository: a\ntag: '1'",
            "repository: ghcr.io/org/app\ntag: '2.0.0'",
        ),
    ],
)
def test_a_charts_repository_and_tag_change_together(target: Target, before: str, after: str) -> None:
    assert edited("values.yaml", before, target) == after
    assert edited("values.yaml", after, target) == after


def kustomize(policy: str, name: str = "app") -> Target:
    return Target(file="**/kustomization.yaml", policy=policy, kustomize_image=KustomizeImage(name=name))


@pytest.mark.parametrize(
    ("policy", "before", "after"),
    [
        ("app", "images:\n- name: app\n  newTag: 1.0\n", "images:\n- name: app\n  newTag: 2.0.0\n"),
        ("web", "images:\n- name: app\n  newTag: '6'\n", "images:\n- name: app\n  newTag: '7'\n"),
        (
            "app",
            "images: [{name: web, newTag: 1}, {newTag: 1, newName: x, name: app}]",
            "images: [{name: web, newTag: 1}, {newTag: 2.0.0, newName: ghcr.io/org/app, name: app}]",
        ),
        (
            "web",
            "images:\n- name: app\n  newTag: '6'\n  digest: sha256:0\n",
            f"images:\n- name: app\n  newTag: '7'\n  digest: {DIGEST}\n",
        ),
        ("web", "images:\n- name: app\n  digest: sha256:0\n", f"images:\n- name: app\n  digest: {DIGEST}\n"),
    ],
)
def test_a_kustomizations_image_changes(policy: str, before: str, after: str) -> None:
    assert edited("x/kustomization.yaml", before, kustomize(policy)) == after


@pytest.mark.parametrize(
    ("file", "target", "text", "state", "cause"),
    [
        ("a.json", at("b"), '{"a": 1}', "unparsable", "there is no 'b', and nothing is inserted"),
        ("a.json", at("a"), '{"a": true}', "unparsable", "'a' is a boolean"),
        ("a.json", at("a"), '{"a": 1, "a": 2}', "ambiguous", "'a' is there more than once"),
        ("a.json", at("a.b"), '{"a": {"b": 2}, "a": {}}', "ambiguous", "'a.b' is there more than once"),
        ("a.json", at("a"), '{"a": NaN}', "unparsable", "JSON has no NaN"),
        ("a.json", at("a"), '{"a": 1,}', "unparsable", "line 1: "),
        ("a.json", at("a"), "[" * 100_000, "unparsable", "it is nested too deeply"),
        ("a.toml", at("a"), "a = 1\na = 2", "unparsable", "not TOML: "),
        ("a.toml", at("a"), "a = 1979-05-27 07:32:00", "unparsable", "'a' is not a text"),
        ("a.toml", at("a"), "a = '''x'''", "unparsable", "'a' is a text of several lines"),
        ("a.env", at("A"), "A=1\nA=2", "ambiguous", "'A' is there more than once"),
        ("a.env", at("A"), "A=$B", "unparsable", "'A' is not a plain text"),
        ("a.env", at("A"), "A 1\n", "unparsable", "line 1: not of the form NAME=value"),
        ("a.yaml", at("a"), "a: 1\n---\na: 2\n", "ambiguous", "'a' is there in 2 documents of the file"),
        ("a.yaml", at("a.b"), "a: {b: 1}\n---\na: {b: {}}\n", "ambiguous", "'a.b' is there in 2 documents of the file"),
        ("a.yaml", at("a.b"), "a: {c: 1}\n---\na: {}\n", "unparsable", "there is no 'a.b', and nothing is inserted"),
        ("a.yaml", PLAIN_HELM, "image: {tag: 1}\n---\nimage: {}\n", "ambiguous", "'image' is there in 2 documents"),
        ("a.yaml", at("a"), "b: &x 1\na: *x\n", "unparsable", "'a' is an alias"),
        ("a.yaml", at("a"), "a: |\n  x\n", "unparsable", "'a' is not a plain or quoted text"),
        ("a.yaml", at("a"), "a:\n", "unparsable", "'a' has no value, and nothing is inserted"),
        ("a.yaml", at("a"), "a: [\n", "unparsable", "line 2: "),
        ("a.yaml", at("a..b"), "a: 1", "unparsable", "path 'a..b' cannot be read at character 2"),
        ("a.txt", at("a"), "a: 1", "unparsable", "files of this name are not read: "),
        ("a.yaml", at("a", file="*.yml"), "a: 1", "unmatched", "no file of this folder has such a name"),
        ("a.yaml", at("a", policy="nobody"), "a: 1", "unmatched", "no policy of this namespace "),
        ("a.yaml", at("a", value="digest"), "a: 1", "held", "the policy has no such value: a value is never emptied"),
        ("a.yaml", at("a"), 'a: "{{ .Values.x }}"', "held", "a template writes this value"),
        ("a.yaml", PLAIN_HELM, "image: {tag: 2.0.0, digest: 'sha256:0'}", "held", "a digest stands there, "),
        ("a.yaml", PLAIN_HELM, "image: {repository: x}", "unparsable", "there is no 'image.tag', "),
        ("kustomization.yaml", kustomize("app"), "images: [{name: app}]", "unparsable", "the entry 'app' of images "),
        ("kustomization.yaml", kustomize("app"), "images: []", "unparsable", "images has no entry of the name 'app'"),
    ],
)
def test_a_target_that_cannot_be_set_is_reported_and_left(
    file: str, target: Target, text: str, state: str, cause: str
) -> None:
    found = plan(file, text, target)

    assert not found.edits
    told = [s for s in found.sightings if s.state != "applied"]
    assert [s.state for s in told] == [state]
    assert told[0].cause.startswith(cause)


def test_a_pair_of_which_one_part_is_stuck_stays_whole() -> None:
    found = plan("a.yaml", "image: {repository: old, tag: 1.0, digest: 'sha256:0'}", PLAIN_HELM)

    assert not found.edits
    assert {s.setter: s.state for s in found.sightings} == {
        "shop:app:name": "held",
        "shop:app:tag": "held",
        "shop:app:digest": "held",
    }


@pytest.mark.parametrize(
    ("marked", "stuck"),
    [
        ({"newTag": ("1.0.0", "app:tag"), "digest": ("sha256:0", "app:digest")}, ""),  # the policy has no digest
        ({"newTag": ("6", "web:tag"), "digest": ("sha256:0", "web:digest")}, "shop:web:digest"),
        ({"newTag": ("6", "web:tag"), "digest": ("sha256:0", "web:digest")}, "shop:web:tag"),
        ({"newName": ("old", "web:name"), "newTag": ("6", "web:tag")}, "shop:web:tag"),
        ({"newTag": ("6", "web:tag"), "digest": ("'{{ .Values.x }}'", "web:digest")}, ""),
    ],
)
def test_marked_parts_of_an_image_move_together_or_not_at_all(marked: dict[str, tuple[str, str]], stuck: str) -> None:
    lines = [f'  {key}: {text} # {{"$imagepolicy": "shop:{setter}"}}' for key, (text, setter) in marked.items()]
    text = "\n".join(["images:", "- name: x", *lines, ""]).encode()

    found = plan_commit({"a.yaml": text}, VALUES, hold=lambda change: "somebody" if change.setter == stuck else "")

    assert not found.edits
    assert {s.state for s in found.sightings} == {"held"}


def test_a_held_spot_holds_its_pair() -> None:
    text = b"image: {repository: old, tag: 1.0}"
    declared = [DeclaredTarget("shop", PLAIN_HELM)]

    found = plan_commit(
        {"a.yaml": text}, VALUES, targets=declared, hold=lambda s: "pinned" if s.setter.endswith("tag") else ""
    )

    assert not found.edits
    assert [(s.state, s.cause) for s in found.sightings] == [("held", "pinned"), ("held", "line 1: pinned")]


def test_a_marker_and_a_target_share_a_file() -> None:
    text = f"a: 1.0\nb: 6 {MARK}\nc: 5 {MARK}\n"

    assert edited("a.yaml", text, at("a")) == f'a: 2.0.0\nb: "7" {MARK}\nc: "7" {MARK}\n'
    assert edited("a.yaml", text, at("b", policy="web")) == f'a: 1.0\nb: "7" {MARK}\nc: "7" {MARK}\n'


def test_a_marker_and_a_target_of_two_policies_leave_the_value_alone() -> None:
    found = plan("a.yaml", f"b: 6 {MARK}\n", at("b"))

    assert not found.edits
    assert [s.state for s in found.sightings] == ["ambiguous", "ambiguous"]


@slowly
@given(
    st.sampled_from(["1.0", "7", "2.0.0", "org/web:6", "sha256:0", "{{ .Values.x }}"]),
    st.sampled_from(["'", '"']),
    st.sampled_from(["app", "web", "nobody"]),
    st.sampled_from(["image", "tag", "name", "digest"]),
    st.sampled_from(["", "somebody holds it"]),
)
def test_a_marker_a_target_and_both_make_the_same_of_a_value(
    value: str, quote: str, policy: str, part: str, cause: str
) -> None:
    setter = f"shop:{policy}" + ("" if part == "image" else f":{part}")
    bare = f"x: 1\na: {quote}{value}{quote}"
    marked = f'{bare} # {{"$imagepolicy": "{setter}"}}'
    declared = [DeclaredTarget("shop", at("a", policy=policy, value=part))]

    by_marker = plan_commit({"a.yaml": marked.encode()}, VALUES, hold=lambda _: cause)
    by_target = plan_commit({"a.yaml": bare.encode()}, VALUES, hold=lambda _: cause, targets=declared)
    by_both = plan_commit({"a.yaml": marked.encode()}, VALUES, hold=lambda _: cause, targets=declared)

    assert by_marker == by_both
    assert by_marker.sightings == by_target.sightings
    assert by_marker.changes == by_target.changes
    edited = by_marker.edits.get("a.yaml", marked.encode())
    assert edited == by_target.edits.get("a.yaml", bare.encode()) + marked[len(bare) :].encode()


names = st.text(alphabet="ab.é-_ \"'\\", max_size=4)
scalars = st.one_of(st.integers(), st.booleans(), st.text(max_size=8), st.floats(allow_nan=False, allow_infinity=False))
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=10
)


def value_at(data: Any, leaf: Leaf) -> Any:
    for step in leaf.path:
        data = data[step]
    return data


@slowly
@given(st.one_of(trees, trees.map(lambda tree: {"a": tree})), st.sampled_from([None, 0, 2, "\t"]), st.booleans())
def test_every_json_value_is_found_and_set(tree: Any, indent: Any, ascii_only: bool) -> None:
    text = json.dumps(tree, indent=indent, ensure_ascii=ascii_only)

    for leaf in JSON.leaves(text):
        if not leaf.cause:
            assert json.loads(text[leaf.start : leaf.end]) == value_at(tree, leaf)
            after = json.loads(f"{text[: leaf.start]}{JSON.spell('new', '')}{text[leaf.end :]}")
            assert value_at(after, leaf) == "new"
    assert {leaf.key for leaf in JSON.leaves(text)} == JSON.says(text).keys()


TOML_VALUES = (
    *('"a # \\" b"', "'c\\'", "1_000", "1.5e3", "true", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00", "[1, 'x', ]"),
    *('[\n "a", # ]\n [2]\n]', "{ a.b = 'x', c = [1] }", '"""\nx"y"""', "'''a'b'''", "inf", "{}", "[]", "0x1F"),
)


@st.composite
def toml_texts(draw: st.DrawFn) -> str:
    """TOML of tables, arrays of tables, dotted keys, inline values and comments."""
    values = st.sampled_from(TOML_VALUES)
    lines: list[str] = []
    for number in range(draw(st.integers(0, 3))):
        head = draw(st.sampled_from(["[[list]]", f"[ t{number} . 'q.q' ]", f"[t{number}]", "[[list.sub]]", ""]))
        lines.append(head if head != "[[list.sub]]" or "[[list]]" in lines else "")
        for key in draw(st.lists(st.sampled_from(["a", "b.c", '"d.e"', "b . 'f'"]), unique=True, max_size=3)):
            lines.append(
                f"{key}{draw(st.sampled_from([' = ', '=']))}{draw(values)}{draw(st.sampled_from(['', ' # x']))}"
            )
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines)


@slowly
@given(toml_texts())
def test_every_toml_value_is_found_and_set(text: str) -> None:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(Unparsable):
            TOML.leaves(text)
        return

    leaves = TOML.leaves(text)

    for leaf in leaves:
        if not leaf.cause:
            assert tomllib.loads(f"k = {text[leaf.start : leaf.end]}")["k"] == value_at(data, leaf)
            after = tomllib.loads(f"{text[: leaf.start]}{TOML.spell('new', leaf.style)}{text[leaf.end :]}")
            assert value_at(after, leaf) == "new"
    said = {key for key, said in TOML.says(text).items() if said.value is not None}
    assert said <= {leaf.key for leaf in leaves}


@st.composite
def env_texts(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    lines: list[str] = []
    said: dict[str, str] = {}
    for number in range(draw(st.integers(1, 5))):
        value = draw(st.text(alphabet="ab1:/#=. ", max_size=6).map(str.strip).filter(lambda v: not v.startswith("#")))
        quote = draw(st.sampled_from(['"', "'"])) if " #" in value else draw(st.sampled_from(["", '"', "'"]))
        prefix, suffix = draw(st.sampled_from(["", "export ", "  "])), draw(st.sampled_from(["", " # x", "  "]))
        lines += [f"{prefix}K{number}={quote}{value}{quote}{suffix}", draw(st.sampled_from(["", "# K0=x", "\t"]))]
        said[f"K{number}"] = value
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines), said


@slowly
@given(env_texts())
def test_every_variable_is_found_and_set(case: tuple[str, dict[str, str]]) -> None:
    text, said = case

    leaves = ENV.leaves(text)

    assert {str(leaf.path[0]): leaf.value for leaf in leaves} == said
    for leaf in (found for found in leaves if not found.cause):
        after = f"{text[: leaf.start]}{ENV.spell('new:1', leaf.style)}{text[leaf.end :]}"
        assert {str(x.path[0]): x.value for x in ENV.leaves(after)} == said | {str(leaf.path[0]): "new:1"}


@slowly
@given(st.text(alphabet="{}[]\",:=#'\\ \n\rab01.-\ufeff", max_size=40), st.sampled_from([JSON, TOML, ENV, YAML]))
def test_any_text_is_read_or_refused(text: str, form: Any) -> None:
    try:
        leaves = form.leaves(text)
    except Unparsable:
        return

    for leaf in leaves:
        assert 0 <= leaf.start <= leaf.end <= len(text)
        assert leaf.line == text.count("\n", 0, leaf.start) + 1 or form is YAML


@slowly
@given(st.text(alphabet='ab.[]0"', max_size=8))
def test_any_path_is_read_or_refused(text: str) -> None:
    try:
        steps = parse_path(text)
    except NoPlace:
        return
    assert all(step != "" for step in steps)
