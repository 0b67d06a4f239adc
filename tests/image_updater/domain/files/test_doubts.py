"""What is probably not meant is told, what is meant is not."""

from __future__ import annotations

import pytest

from image_updater.domain.files.doubts import doubt, find_lone_digest, find_near_misses

IMAGE = "ghcr.io/org/web"
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("part", "before", "value", "cause"),
    [
        ("", "newTag: ", "1.0.0", "the marker lacks :tag"),
        ("", "newTag: ", "canary", "the marker lacks :tag"),
        ("", 'image_tag: "', "feature-x", "the marker lacks :tag"),
        ("", "  - {name: a, newTag: ", "main", "the marker lacks :tag"),
        ("", "appVersion: ", "", "the marker lacks :tag"),
        ("", "image: ", "v2", "the marker lacks :tag"),
        ("", "  value: ", "20240101", "the marker lacks :tag"),
        ("", "- ", "main", "the marker lacks :tag"),
        ("", "digest: ", DIGEST, "the marker lacks :digest"),
        ("", "- ", "IMAGE=ghcr.io/org/web:1.0.0", "'IMAGE=' would be lost"),
        ("", "- ", "--image=ghcr.io/org/web:1.0.0", "'--image=' would be lost"),
        ("tag", "- ", "TAG=1.0.0", "'TAG=' would be lost"),
        ("name", "- ", "NAME=ghcr.io/org/web", "'NAME=' would be lost"),
        ("", "command: ", "run ghcr.io/org/web:1.0.0 --all", "is more than an image"),
        ("", "url: ", "oci://ghcr.io/org/web:1.0.0", "is more than an image"),
        ("", "images: ", "ghcr.io/org/web:1.0.0,ghcr.io/org/api:1.0.0", "is more than an image"),
        ("tag", "image: ", "ghcr.io/org/web:1.0.0", "is more than a tag"),
        ("tag", "tag: ", f"1.0.0@{DIGEST}", "is more than a tag"),
        ("name", "image: ", "ghcr.io/org/web:1.0.0", "is more than a name"),
        ("name", "image: ", f"ghcr.io/org/web@{DIGEST}", "is more than a name"),
        ("name", "newTag: ", "1.0.0", "only a tag, '1.0.0', stands here, and a name would be set"),
        ("digest", "newTag: ", "1.0.0", "is no digest"),
        ("digest", "image: ", f"ghcr.io/org/web@{DIGEST}", "is no digest"),
    ],
)
def test_a_value_that_is_not_what_its_marker_sets_is_told(part: str, before: str, value: str, cause: str) -> None:
    assert cause in doubt(f"shop:web:{part}" if part else "shop:web", value, before, IMAGE)


@pytest.mark.parametrize(
    ("part", "before", "value"),
    [
        ("", "image: ", "ghcr.io/org/web:1.0.0"),
        ("", "- image: ", f"ghcr.io/org/web:1.0.0@{DIGEST}"),
        ("", "image: ", "localhost:5000/web"),
        ("", "image: ", "web"),
        ("", "- ", "org/web"),
        ("", "image: ", "placeholder"),
        ("", "image: ", ""),
        ("tag", "newTag: ", "1.0.0"),
        ("tag", "tag: ", ""),
        ("name", "newName: ", "localhost:5000/web"),
        ("name", "repository: ", "web"),
        ("digest", "digest: ", DIGEST),
        ("digest", "digest: ", ""),
    ],
)
def test_a_value_that_is_what_its_marker_sets_is_not_told(part: str, before: str, value: str) -> None:
    assert doubt(f"shop:web:{part}" if part else "shop:web", value, before, IMAGE) == ""


@pytest.mark.parametrize(
    "comment",
    [
        '{"$imagePolicy": "shop:web"}',
        '{"$image-policy": "shop:web"}',
        '{"$image_policy": "shop:web:tag"}',
        '{"$ImagePolicy": "shop:web"}',
        '{"$imagepolicies": "shop:web"}',
        '{"$imagepolcy": "shop:web"}',
        '{"$iamgepolicy": "shop:web"}',
        '{"$imagepolicy : "shop:web"}',
        '{"imagepolicy": "shop:web"}',
        "{'$imagepolicy': 'shop:web'}",
        "{$imagepolicy: shop:web}",
        "$imagepolicy: shop:web",
        "$image policy: shop:web",
        "imagepolicy: shop:web",
        '"imagepolicy": "shop:web:tag"',
        "{\u201c$imagepolicy\u201d: \u201cshop:web\u201d}",
        "{\u201c$imagepolicy\u201c: \u201cshop:web\u201c}",
        "{\u00ab$imagepolicy\u00bb: \u00abshop:web\u00bb}",
        '{"\uff04imagepolicy": "shop:web"}',
    ],
)
def test_a_comment_that_is_almost_a_marker_is_told_with_its_line(comment: str) -> None:
    for text in (f"a: 1\nimage: x:1 # {comment}\n", f"a: 1\r\n#{comment}"):
        assert [miss.line for miss in find_near_misses(text)] == [2]


@pytest.mark.parametrize(
    "text",
    [
        'image: x:1 # {"$imagepolicy": "shop:web"}',
        'image: x:1 # {"$imagepolicy": "shop:web',
        "# the ImagePolicy of shop: see docs",
        "# imagePolicyRef: web",
        "# {imagePullPolicy: Always, x: 1}",
        "imagePullPolicy: Always # IfNotPresent",
        '# imageRepositoryRef: "a:b"',
        "a: '$imagePolicy'",
        "a: x#$imagePolicy",
        "# costs $100 for image policies",
        "",
    ],
)
def test_other_comments_are_not_told(text: str) -> None:
    assert list(find_near_misses(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        f"images:\n- name: web\n  newTag: 1.0.0 # MARKED\n  digest: {DIGEST}\n",
        f"images:\n- digest: '{DIGEST}'\n  newTag: 1.0.0 # MARKED\n",
        f"image:\n  tag: 1.0.0 # MARKED\n  # from the registry\n\n  pullSecrets:\n  - a\n  digest: {DIGEST}\n",
    ],
)
def test_a_digest_beside_a_marked_tag_is_told_where_it_is_not_marked(text: str) -> None:
    lines = text.splitlines()
    (line,) = (number for number, written in enumerate(lines, start=1) if "MARKED" in written)
    (digest,) = (number for number, written in enumerate(lines, start=1) if "sha256" in written)

    assert f"the digest beside it (line {digest})" in find_lone_digest("shop:web:tag", lines, line)


@pytest.mark.parametrize(
    ("setter", "text"),
    [
        ("shop:web:tag", f'newTag: 1.0.0 # MARKED\ndigest: {DIGEST} # {{"$imagepolicy": "shop:web:digest"}}\n'),
        ("shop:web:tag", f"- newTag: 1.0.0 # MARKED\n- digest: {DIGEST}\n"),
        ("shop:web:tag", f"a:\n  tag: 1.0.0 # MARKED\nb:\n  digest: {DIGEST}\n"),
        ("shop:web:tag", f"a:\n  tag: 1.0.0 # MARKED\n---\na:\n  digest: {DIGEST}\n"),
        ("shop:web:tag", f"tag: 1.0.0 # MARKED\nbase:\n  digest: {DIGEST}\n"),
        ("shop:web:tag", "tag: 1.0.0 # MARKED\ndigest: ''\n"),
        ("shop:web:name", f"newName: a/b # MARKED\ndigest: {DIGEST}\n"),
        ("shop:web", f"image: a/b:1.0.0 # MARKED\ndigest: {DIGEST}\n"),
    ],
)
def test_a_digest_of_something_else_is_not(setter: str, text: str) -> None:
    lines = text.splitlines()
    (line,) = (number for number, written in enumerate(lines, start=1) if "MARKED" in written)

    assert find_lone_digest(setter, lines, line) == ""
