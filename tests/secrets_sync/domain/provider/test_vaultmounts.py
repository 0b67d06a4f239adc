"""When Vault's 404 is the word that a key is gone. The bodies are OpenBao's and Vault's own, shortened."""

from __future__ import annotations

from typing import Any

import pytest

from secrets_sync.domain.provider.vaultmounts import Place, describe_denial, describe_mount

DELETED = {"data": None, "metadata": {"created_time": "2026-01-01T00:00:00Z", "destroyed": False, "version": 2}}


def mount(path: str, version: str | None, type_: str = "kv") -> dict[str, Any]:
    return {"data": {"path": path, "type": type_, "options": {"version": version} if version else None}}


@pytest.mark.parametrize(
    ("body", "engine", "said"),
    [
        ({"errors": []}, "v2", "HTTP 404"),
        ({"errors": []}, "v1", "HTTP 404"),
        ({"data": DELETED | {"metadata": {"deletion_time": "2026-01-02T00:00:00Z"}}}, "v2", "the version is deleted"),
        ({"data": DELETED | {"metadata": {"destroyed": True}}, "warnings": None}, "v2", "the version is destroyed"),
    ],
)
def test_a_404_that_speaks_of_the_key(body: Any, engine: Any, said: str) -> None:
    assert describe_denial(body, engine) == said


@pytest.mark.parametrize(
    "body",
    [
        None,
        "<html>",
        [],
        {},
        {"errors": None},
        {"message": "Not Found"},
        {"errors": ["no handler for route"]},
        {"errors": [], "warnings": ["Invalid path for a versioned K/V secrets engine."]},
        {"data": None, "warnings": ["Invalid path for a versioned K/V secrets engine."]},
        {"data": DELETED},
        {"data": {"data": {"a": "1"}, "metadata": {"deletion_time": "2026-01-02T00:00:00Z"}}},
    ],
)
def test_a_404_that_does_not(body: Any) -> None:
    with pytest.raises(ValueError, match=r"404|engine"):
        describe_denial(body, "v2")


def test_a_deleted_version_is_nothing_that_version_1_could_say() -> None:
    with pytest.raises(ValueError, match="404"):
        describe_denial({"data": {"data": None, "metadata": {"destroyed": True}}}, "v1")


@pytest.mark.parametrize(
    ("about", "place"),
    [
        (mount("secret/", "2"), Place("secret", "v2", "secret/data/db")),
        (mount("secret/", "2"), Place("/secret/", "v2", "secret/data/db")),
        (mount("secret/", "2"), Place(None, "v2", "secret/data/db")),
        (mount("team/kv/", "2"), Place("team/kv", "v2", "team/kv/data/db")),
        (mount("kv1/", "1"), Place("kv1", "v1", "kv1/db")),
        (mount("kv1/", None), Place(None, "v1", "kv1/data/db")),
        (mount("old/", None, "generic"), Place("old", "v1", "old/db")),
        (mount("secret/", "2"), Place("secret", "v2", "secret/metadata/", "metadata")),
        (mount("kv1/", "1"), Place("kv1", "v1", "kv1/", "metadata")),
    ],
)
def test_the_engine_that_the_store_means(about: Any, place: Place) -> None:
    assert about["data"]["path"] in describe_mount(about, place)


@pytest.mark.parametrize(
    ("about", "place"),
    [
        (mount("secret/", "2"), Place("secret", "v1", "secret/data/db")),
        (mount("kv1/", "1"), Place("kv1", "v2", "kv1/data/db")),
        (mount("kv1/", None), Place("kv1", "v2", "kv1/data/db")),
        (mount("kv1/", "3"), Place("kv1", "v2", "kv1/data/db")),
        (mount("kv1/", "3"), Place("kv1", "v1", "kv1/db")),
        (mount("kv1/", "1"), Place("kv1/team", "v1", "kv1/team/db")),
        (mount("team/kv/", "2"), Place("team", "v2", "team/data/db")),
        (mount("team/kv/", "2"), Place(None, "v2", "team/data/kv/db")),
        (mount("secret/", "2"), Place(None, "v2", "secret/metadata/db")),
        (mount("cubbyhole/", None, "cubbyhole"), Place("cubbyhole", "v1", "cubbyhole/db")),
        (mount("", "2"), Place(None, "v2", "secret/data/db")),
        (mount("secret/", "2"), Place("secret", "v2", "secret/data/db", "metadata")),
        (mount("team/kv/", "2"), Place(None, "v2", "team/metadata/kv/", "metadata")),
        ({"data": None}, Place("secret", "v2", "secret/data/db")),
        (None, Place("secret", "v2", "secret/data/db")),
    ],
)
def test_an_engine_that_it_does_not_mean(about: Any, place: Place) -> None:
    with pytest.raises(ValueError, match="engine"):
        describe_mount(about, place)
