from __future__ import annotations

import pytest

from gitops_core.oci.references import parse_image


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
    assert parse_image(image, insecure=insecure).repository.schemes == schemes
