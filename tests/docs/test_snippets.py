"""Every fenced block of the documents is done as a reader would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitops_core.api import KINDS as CORE
from gitops_core.meta import Resource
from gitops_core.schema import default, list_unsupported, make_object_schema, prune, read_manifest, validate
from image_updater.api import KINDS as IMAGES
from secrets_sync.api import KINDS as SECRETS
from tests.docs.reader import Reader, free_ports
from tests.docs.snippets import Snippet, snippets
from tests.docs.surroundings import git_server, push_images
from tests.servers.controlplane import ControlPlane
from tests.servers.programs import ROOT
from tests.servers.registry import TlsRegistry

DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if "```" in path.read_text()
)

GIVEN = {"docs/operations.md": "docs/quickstart.md", "docs/image-updates.md": "tests/docs/argocd.yaml"}
"""Documents that take for granted that the cluster holds the objects of another, or of a file."""

KINDS: dict[tuple[str, str], type[Resource]] = {
    (kind.KIND.api_version, kind.KIND.kind): kind for kind in (*CORE, *SECRETS, *IMAGES)
}
DONE = {"run", "fails", "look", "service", "cluster"}
ALL = [snippet for document in DOCUMENTS for snippet in snippets(ROOT, document)]


@pytest.mark.parametrize("snippet", ALL, ids=str)
def test_every_block_says_how_it_is_proven(snippet: Snippet) -> None:
    assert snippet.is_known, f"{snippet}: say behind ```{snippet.language} which of tests/docs/snippets.py it is"


@pytest.mark.parametrize("document", sorted(p.name for p in (ROOT / "docs").glob("*.md") if "```sh" in p.read_text()))
def test_a_document_says_what_is_needed_before_its_first_command_and_what_a_failure_looks_like(document: str) -> None:
    text = (ROOT / "docs" / document).read_text()

    before, _, after = text.partition("```sh")
    assert re.search(r"(?i)what (it|you) needs?\b", before)
    assert "hat a first failure looks like" in before + after


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
        schema = make_object_schema(kind)
        filled = default(schema, manifest)
        assert validate(schema, filled) == ()
        assert prune(schema, manifest) == manifest, "a field that the kind does not have"
        assert list_unsupported(read_manifest(kind, filled).spec) == ()


@pytest.mark.timeout(900)  # a document is long, and a machine may be busy
@pytest.mark.parametrize("document", [d for d in DOCUMENTS if any(s.document == d and s.mark in DONE for s in ALL)])
def test_a_reader_sees_what_the_document_says(document: str, reader: Reader) -> None:
    """From a clone of the repository, with a real API server behind kubectl."""
    for snippet in snippets(ROOT, document):
        reader.follow(snippet)


@pytest.fixture
def reader(document: str, cluster: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reader]:
    text = (ROOT / document).read_text()
    reader = Reader(tmp_path / "reader", free_ports(5), {"KUBECONFIG": str(cluster)}, installs="pip install ." in text)
    with ExitStack() as stack:
        if "git.example.com" in text:
            registry: TlsRegistry = request.getfixturevalue("tls_registry")
            push_images(registry)
            reader.places["ghcr.io/org/app"] = f"{registry.host}/org/app"
            marked = [s for s in ALL if s.file.startswith("fleet/apps/app/")]
            files = {s.file.removeprefix("fleet/"): reader.adapted(s.text) for s in marked}
            host, authority = stack.enter_context(git_server(tmp_path / "git", files))
            reader.places["git.example.com"] = host
            trusted = tmp_path / "trusted.crt"
            trusted.write_bytes(registry.ca + authority.read_bytes())
            reader.extra["SSL_CERT_FILE"] = str(trusted)
        stack.callback(reader.stop)
        yield reader


@pytest.fixture
def cluster(document: str, control_plane: ControlPlane) -> Iterator[Path]:
    """A kubeconfig of a context `prod` with a new namespace, and on the cluster what the document takes for granted."""
    control_plane.install_crds()
    namespace = control_plane.namespace("docs")
    objects = given(document, namespace)
    definitions = [each for each in objects if each["kind"] == "CustomResourceDefinition"]
    if definitions:
        control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(definitions))
        names = (f"crd/{each['metadata']['name']}" for each in definitions)
        control_plane.kubectl("wait", "--for=condition=Established", "--timeout=50s", *names)
    if objects:
        control_plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
    yield control_plane.write_kubeconfig("prod", {"token": control_plane.token}, namespace=namespace)
    if objects:
        control_plane.kubectl("delete", "--wait=false", "-f", "-", stdin=yaml.safe_dump_all(objects))


def given(document: str, namespace: str) -> list[dict[str, Any]]:
    """The manifests that the document takes for granted; those of another document are put into the namespace."""
    source = GIVEN.get(document, "")
    if source.endswith(".yaml"):
        return [*yaml.safe_load_all((ROOT / source).read_text())]
    found = [m for s in ALL if s.document == source and s.mark == "objects" for m in manifests(s)]
    return [{**m, "metadata": {**m["metadata"], "namespace": namespace}} for m in found]


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
