from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_updater.domain.registry.references import parse_image, parse_repository
from image_updater.errors import ImageInvalid


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
def test_what_names_no_repository_is_refused_in_the_originals_words(image: str) -> None:
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


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("app", "latest"),
        ("localhost:5000/app", "latest"),
        ("app:1.0", "1.0"),
        ("app:1.0@sha256:" + "a" * 64, "sha256:" + "a" * 64),
    ],
)
def test_the_reference_of_an_image(text: str, reference: str) -> None:
    assert parse_image(text).reference == reference


@pytest.mark.parametrize(
    ("image", "insecure", "schemes"),
    [
        ("ghcr.io/org/app", False, ("https",)),
        ("ghcr.io/org/app", True, ("http",)),
        ("127.0.0.1:5000/app", False, ("https", "http")),
        ("192.168.1.2:5000/app", False, ("https", "http")),
        ("registry.localhost:5000/app", False, ("https", "http")),
        ("10.example.com/app", False, ("https",)),
    ],
)
def test_plain_http_only_when_asked_for_or_close_by(image: str, insecure: bool, schemes: tuple[str, ...]) -> None:
    assert parse_repository(image, insecure=insecure).schemes == schemes


@given(st.text(max_size=30))
def test_any_text_is_a_repository_or_is_refused(text: str) -> None:
    try:
        repository = parse_repository(text)
    except ImageInvalid:
        return
    assert str(parse_repository(str(repository))) == str(repository)
