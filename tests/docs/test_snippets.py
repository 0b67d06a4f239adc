"""Every fenced block of the documents is done as a reader would, or says why not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops_core.api import KINDS as CORE
from gitops_core.meta import Resource
from gitops_core.schema import default, from_manifest, object_schema, prune, unsupported, validate
from image_updater.api import KINDS as IMAGES
from secrets_sync.api import KINDS as SECRETS
from tests.docs.reader import Reader, free_ports
from tests.docs.snippets import Snippet, snippets
from tests.servers.controlplane import ControlPlane
from tests.servers.programs import ROOT

DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if "```" in path.read_text()
)

ELSEWHERE = {
    ("README.md", "pip install ."): "tests/sealoop/test_install.py installs the wheel and runs the command",
    ("README.md", "sealoop run"): "tests/sealoop/test_running.py runs it on a real control plane",
    ("docs/quickstart.md", "python3 -m venv"): "tests/sealoop/test_install.py installs the wheel and runs the command",
    ("docs/quickstart.md", "sealoop run "): "tests/sealoop/test_running.py runs it on a real control plane",
    (
        "docs/image-updates.md",
        "export SEALOOP_GIT_TOKEN",
    ): "tests/sealoop/test_images_update.py runs both, with servers that speak TLS",
    ("docs/image-updates.md", "curl "): "tests/sealoop/test_hooks.py posts such bodies to a running service",
    (
        "docs/image-updates.md",
        "sealoop images explain",
    ): "tests/docs/test_snippets.py runs them in the quickstart, which has tags",
    (
        "docs/image-updates.md",
        "kubectl get applications",
    ): "tests/sealoop/test_images_import.py gives it Argo CD's objects",
}
"""Blocks that are not run here, by document and how they begin, and where what they say is proven."""

GIVEN = {"docs/operations.md": "docs/quickstart.md"}
"""Documents that take for granted that the cluster holds the objects of another."""

KINDS: dict[tuple[str, str], type[Resource]] = {
    (kind.KIND.api_version, kind.KIND.kind): kind for kind in (*CORE, *SECRETS, *IMAGES)
}
DONE = {"run", "fails", "look", "service", "cluster"}
ALL = [snippet for document in DOCUMENTS for snippet in snippets(ROOT, document)]


@pytest.mark.parametrize("snippet", ALL, ids=str)
def test_every_block_says_how_it_is_proven(snippet: Snippet) -> None:
    assert snippet.is_known, f"{snippet}: say behind ```{snippet.language} which of tests/docs/snippets.py it is"


def test_blocks_that_are_run_elsewhere_are_those_of_the_table() -> None:
    begun = {s: [row for row in ELSEWHERE if row[0] == s.document and s.text.startswith(row[1])] for s in ALL}

    assert {row for s, rows in begun.items() if s.mark == "elsewhere" for row in rows} == set(ELSEWHERE)
    assert [str(s) for s, rows in begun.items() if s.mark == "elsewhere" and not rows] == []
    assert [reason for reason in ELSEWHERE.values() if not (ROOT / reason.split()[0]).is_file()] == []


@pytest.mark.parametrize("snippet", [s for s in ALL if s.language == "sh" and s.mark == "make"], ids=str)
def test_targets_of_the_makefile_are_there(snippet: Snippet) -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))

    for line in snippet.text.splitlines():
        program, target, *_ = line.split()
        assert program == "make"
        assert target in targets


@pytest.mark.parametrize("snippet", [s for s in ALL if s.language == "yaml"], ids=str)
def test_yaml_is_what_an_api_server_takes(snippet: Snippet) -> None:
    for manifest in manifests(snippet):
        kind = KINDS.get((manifest["apiVersion"], manifest["kind"]))
        if kind is None:
            continue
        schema = object_schema(kind)
        filled = default(schema, manifest)
        assert validate(schema, filled) == ()
        assert prune(schema, manifest) == manifest, "a field that the kind does not have"
        assert unsupported(from_manifest(kind, filled).spec) == ()


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if any(s.document == d and s.mark in DONE for s in ALL)])
def test_a_reader_sees_what_the_document_says(document: str, tmp_path: Path, cluster: Path) -> None:
    """From a folder that is empty but for `deploy/`, with a real API server behind kubectl."""
    reader = Reader(tmp_path / "reader", free_ports(), {"KUBECONFIG": str(cluster)})
    try:
        for snippet in snippets(ROOT, document):
            reader.follow(snippet)
    finally:
        reader.stop()


@pytest.fixture
def cluster(document: str, control_plane: ControlPlane) -> Iterator[Path]:
    """A kubeconfig for a new namespace, in which are the objects that the document takes for granted."""
    control_plane.install_crds()
    namespace = control_plane.namespace("docs")
    given = [m for s in ALL if s.document == GIVEN.get(document) and s.mark == "objects" for m in manifests(s)]
    for manifest in given:
        manifest["metadata"]["namespace"] = namespace
    objects = yaml.safe_dump_all(given)
    if given:
        control_plane.kubectl("apply", "-f", "-", stdin=objects)
    yield control_plane.write_kubeconfig(namespace, {"token": control_plane.token}, namespace=namespace)
    if given:
        control_plane.kubectl("delete", "--wait=false", "-f", "-", stdin=objects)


def manifests(snippet: Snippet) -> list[dict[str, Any]]:
    """The block's objects; a part of a spec stands in one of its kind."""
    documents = list(yaml.load_all(snippet.text, yaml.CSafeLoader))
    if not snippet.mark.startswith("spec="):
        return documents if snippet.mark == "objects" else []
    (kind,) = (kind for kind in KINDS.values() if kind.KIND.kind == snippet.mark.removeprefix("spec="))
    metadata = {"name": "x", "namespace": "default"}
    return [
        {"apiVersion": kind.KIND.api_version, "kind": kind.KIND.kind, "metadata": metadata, "spec": spec}
        for spec in documents
    ]
