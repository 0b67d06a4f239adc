"""Every kind has a page, every page has its sections, and the map names every document."""

from __future__ import annotations

import re

import pytest

from gitops_core.meta import Resource
from sealoop.generating.fields import write_page, write_table
from sealoop.wiring import KINDS
from tests.servers.programs import ROOT

DOCS = ROOT / "docs"
SECTIONS = ["What it needs", "A manifest that runs", "What you see", "Common tasks", "What goes wrong", "Fields"]


def test_every_kind_has_its_page_and_no_page_is_left_over() -> None:
    assert {path.name for path in (DOCS / "kinds").iterdir()} == {write_page(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND.kind)
def test_a_page_has_every_section_a_manifest_of_its_kind_and_the_current_table(kind: type[Resource]) -> None:
    text = (DOCS / "kinds" / write_page(kind)).read_text()

    assert text.startswith(f"# {kind.KIND.kind}\n")
    assert re.findall(r"(?m)^## (.*)", text) == SECTIONS
    assert f"kind: {kind.KIND.kind}\n" in text.partition("## A manifest that runs")[2].partition("## What you see")[0]
    assert write_table(kind) in text


def test_the_map_names_every_document() -> None:
    linked = set(re.findall(r"\]\(([^)]+\.md)\)", (DOCS / "README.md").read_text()))

    assert linked == {str(p.relative_to(DOCS)) for p in [*DOCS.glob("*.md"), *DOCS.glob("kinds/*.md")]} - {"README.md"}


def test_every_picture_that_a_document_shows_is_there() -> None:
    for document in sorted(DOCS.rglob("*.md")):
        for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", document.read_text()):
            assert (document.parent / target).is_file(), f"{document}: {target}"
