from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.errors import ImageInvalid
from image_updater.domain.registry.references import parse_repository


@pytest.mark.parametrize(
    ("image", "canonical"),
    [
        ("alpine", "index.docker.io/library/alpine"),
        ("docker.io/alpine", "index.docker.io/library/alpine"),
        ("fluxcd/flux", "index.docker.io/fluxcd/flux"),
        ("ghcr.io/org/app", "ghcr.io/org/app"),
        ("localhost:5000/app", "localhost:5000/app"),
        ("localhost/app", "index.docker.io/localhost/app"),
        ("127.0.0.1:54367/apps/app", "127.0.0.1:54367/apps/app"),
        ("[::1]:5000/app", "[::1]:5000/app"),
    ],
)
def test_canonical_names(image: str, canonical: str) -> None:
    assert str(parse_repository(image)) == canonical


@pytest.mark.parametrize(
    "image", ["127.0.0.1:1/x", "127.0.0.1:54367/Apps/UP", "", "a b/cc", "ghcr.io/", "ghcr.io/é/app"]
)
def test_an_image_that_names_no_repository_is_refused_in_the_originals_words(image: str) -> None:
    with pytest.raises(ImageInvalid) as caught:
        parse_repository(image)

    assert str(caught.value) == f"could not parse reference: {image}"
    assert caught.value.reason == "ImageURLInvalid"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("https://ghcr.io/org/app", ".spec.image value should not start with URL scheme; remove 'https://'"),
        ("ghcr.io/org/app:1.0", ".spec.image value should not contain a tag; remove ':1.0'"),
    ],
)
def test_scheme_and_tag_are_refused(image: str, message: str) -> None:
    with pytest.raises(ImageInvalid) as caught:
        parse_repository(image)

    assert str(caught.value) == message


@given(st.text(max_size=30))
def test_any_text_is_a_repository_or_is_refused(text: str) -> None:
    try:
        repository = parse_repository(text)
    except ImageInvalid:
        return
    assert str(parse_repository(str(repository))) == str(repository)
