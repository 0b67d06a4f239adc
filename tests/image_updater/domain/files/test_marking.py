"""Markers put where targets lead."""

from __future__ import annotations

import pytest

from image_updater.api import HelmValues, KustomizeImage, Target
from image_updater.domain.files.markers import Unparsable
from image_updater.domain.files.marking import add_markers
from image_updater.domain.files.targets import DeclaredTarget


def declared(**target: object) -> DeclaredTarget:
    return DeclaredTarget("shop", Target(file="x", policy="web", **target))  # type: ignore[arg-type]  # its fields


def test_a_kustomize_entry_is_marked_byte_for_byte() -> None:
    before = b"images:\r\n- name: ghcr.io/o/web\r\n  newTag: '1.0'   \r\n# end\r\n"

    after = add_markers("kustomization.yaml", before, [declared(kustomize_image=KustomizeImage(name="ghcr.io/o/web"))])

    marker = b'\'1.0\' # {"$imagepolicy": "shop:web:tag"}\r\n'
    assert after == before.replace(b"'1.0'   \r\n", marker)


def test_a_pair_of_helm_values_is_marked() -> None:
    before = b"image:\n  repository: ghcr.io/o/web\n  tag: 1.0.0"

    after = add_markers("values.yaml", before, [declared(helm_values=HelmValues(path="image"))])

    assert after.decode().splitlines()[1:] == [
        '  repository: ghcr.io/o/web # {"$imagepolicy": "shop:web:name"}',
        '  tag: 1.0.0 # {"$imagepolicy": "shop:web:tag"}',
    ]


@pytest.mark.parametrize(
    ("path", "text", "cause"),
    [
        ("values.json", '{"image": {"tag": "1"}}', "only YAML files"),
        ("values.yaml", "image: {tag: 1.0.0}\n", "something stands behind"),
        ("values.yaml", "image:\n  tag: 1.0.0 # ours\n", "something stands behind"),
        ("values.yaml", "other: 1\n", "nothing is inserted"),
    ],
)
def test_a_value_that_cannot_be_marked_is_left(path: str, text: str, cause: str) -> None:
    with pytest.raises(Unparsable, match=cause):
        add_markers(path, text.encode(), [declared(helm_values=HelmValues(path="image"))])
