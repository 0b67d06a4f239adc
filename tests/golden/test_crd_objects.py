"""The CRDs store and refuse what the original CRDs stored and refused, object by object.

Each row of data/crd-objects.jsonl is an object that was sent to a real kube-apiserver with the CRDs of Flux 2.9 and
External Secrets 2.9, and what it answered. Every row is asked twice: of our own functions, which the embedded cluster
is made of, and of a real kube-apiserver with our generated CRDs.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

import gitops_core.api
import image_updater.api
import secrets_sync.api
from gitops_core.api import GitRepository, GitRepositorySpec
from gitops_core.meta import ObjectMeta, Resource
from gitops_core.schema import (
    default,
    make_crd,
    make_manifest,
    make_object_schema,
    prune,
    read_manifest,
    validate,
    write_crds,
    write_refusal,
)
from secrets_sync.api import ExternalSecret, ExternalSecretSpec, StoreRef
from tests.servers.controlplane import ControlPlane

KINDS: tuple[type[Resource], ...] = (*gitops_core.api.KINDS, *image_updater.api.KINDS, *secrets_sync.api.KINDS)
BY_NAME = {cls.KIND.kind: cls for cls in KINDS}
CRDS = Path(__file__).parents[2] / "deploy" / "crds"

Row = Mapping[str, Any]


def rows(kind: str) -> list[Row]:
    lines = (Path(__file__).parent / "data" / "crd-objects.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["object"]["kind"] == kind]


def causes(message: str) -> list[str]:
    """The parts of a 422's message, sorted: the API server walks maps in no order."""
    head, _, tail = message.partition(" is invalid: ")
    return [head, *sorted(tail.removeprefix("[").removesuffix("]").split(", "))]


# What `kubectl get -o wide` showed with the original CRDs, and how the kinds could be called.
COLUMNS = {
    "GitRepository": ["Name", "URL", "Age", "Ready", "Status"],
    "OCIRepository": ["Name", "URL", "Ready", "Status", "Age"],
    "Bucket": ["Name", "Endpoint", "Age", "Ready", "Status"],
    "Kustomization": ["Name", "Age", "Ready", "Status"],
    "Receiver": ["Name", "Age", "Ready", "Status"],
    "ImageRepository": ["Name", "Image", "Tags", "Ready", "Status", "Last scan", "Age"],
    "ImagePolicy": ["Name", "Image", "Tag", "Ready", "Status", "Age"],
    "ImageUpdateAutomation": ["Name", "Ready", "Status", "Last run", "Age"],
    "UpdateGuard": ["Name", "Ready", "Status", "Age"],  # ours: there is no original
    "SecretStore": ["Name", "AGE", "Status", "Capabilities", "Ready"],
    "ExternalSecret": ["Name", "StoreType", "Store", "Refresh Interval", "Status", "Ready", "Last Sync"],
}
SHORT_NAMES = {
    "GitRepository": ["gitrepo"],
    "OCIRepository": ["ocirepo"],
    "Bucket": [],
    "Kustomization": ["ks"],
    "Receiver": [],
    "ImageRepository": ["imgrepo", "imagerepo"],
    "ImagePolicy": ["imgpol", "imagepol"],
    "ImageUpdateAutomation": ["iua", "imgupd", "imgauto"],
    "UpdateGuard": ["guard", "ug"],
    "SecretStore": ["ss"],
    "ExternalSecret": ["es"],
}
CATEGORIES = {
    "GitRepository": "fluxcd-sources",
    "OCIRepository": "fluxcd-sources",
    "Bucket": "fluxcd-sources",
    "Kustomization": "fluxcd-appliers",
    "Receiver": "fluxcd-notifications",
    "ImageRepository": "fluxcd-images",
    "ImagePolicy": "fluxcd-images",
    "ImageUpdateAutomation": "fluxcd-images",
    "UpdateGuard": "fluxcd-images",
    "SecretStore": "external-secrets",
    "ExternalSecret": "external-secrets",
}


class Answer(NamedTuple):
    status: int
    warning: str | None
    body: Any


@dataclass
class Api:
    """One connection to the real API server, for many requests."""

    connection: HTTPSConnection
    token: str

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        given = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, None if body is None else json.dumps(body), given)
        response = self.connection.getresponse()
        return Answer(response.status, response.getheader("Warning"), json.loads(response.read()))


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> Iterator[Api]:
    control_plane.install_crds()
    context = ssl.create_default_context(cafile=str(control_plane.ca))
    connection = HTTPSConnection(urlsplit(control_plane.url).netloc, timeout=30, context=context)
    yield Api(connection, control_plane.token)
    connection.close()


@pytest.mark.parametrize("kind", BY_NAME)
def test_our_functions_answer_as_the_originals(kind: str) -> None:
    cls = BY_NAME[kind]
    schema = make_object_schema(cls)
    for row in rows(kind):
        sent = row["object"]

        stored = prune(schema, default(schema, sent))
        faults = validate(schema, stored)

        if row["code"] == 201:
            assert (faults, stored.get("spec")) == ((), row["stored"]), sent
        else:
            assert sorted({fault.field for fault in faults}) == row["fields"], sent
            message = write_refusal(kind, cls.KIND.group, sent["metadata"]["name"], faults)
            assert causes(message) == causes(row["message"]), sent


@pytest.mark.parametrize("kind", BY_NAME)
def test_the_real_api_server_answers_as_the_originals(kind: str, api: Api) -> None:
    """With our CRDs, it also gives the causes of a refusal that our functions give."""
    cls = BY_NAME[kind]
    schema = make_object_schema(cls)
    path = f"/apis/{cls.KIND.api_version}/namespaces/default/{cls.PLURAL}?dryRun=All"
    for row in rows(kind):
        sent = row["object"]

        answer = api("POST", path, sent)

        assert answer.status == row["code"], (sent, answer)
        if row["code"] == 201:
            assert answer.body.get("spec") == row["stored"], sent
        else:
            refused = {(c["field"], c["reason"], c["message"]) for c in answer.body["details"]["causes"]}
            assert sorted({field for field, _, _ in refused}) == row["fields"], (sent, answer)
            assert causes(answer.body["message"]) == causes(row["message"]), sent
            assert refused == set(validate(schema, prune(schema, default(schema, sent)))), sent


@pytest.mark.parametrize("kind", BY_NAME)
def test_a_stored_object_can_be_read(kind: str) -> None:
    """Every object that the CRD lets through decodes to our class, but one that has no spec where we need one."""
    for row in rows(kind):
        if row["code"] == 201 and row["stored"] is not None:
            read_manifest(BY_NAME[kind], {**row["object"], "spec": row["stored"]})


def test_the_crds_in_the_repository_are_the_generated_ones() -> None:
    files = {path.name: path.read_text() for path in CRDS.glob("*.yaml")}

    assert files == write_crds(KINDS), "say `make generate`"


@pytest.mark.parametrize("kind", BY_NAME)
def test_the_real_api_server_accepts_the_crd_without_a_warning(kind: str, api: Api) -> None:
    manifest = make_crd(BY_NAME[kind])
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{manifest['metadata']['name']}"

    checked = api(
        "PATCH",
        f"{path}?dryRun=All&fieldManager=tests&force=true&fieldValidation=Strict",
        manifest,
        Content_Type="application/apply-patch+yaml",
    )
    served = api("GET", path)

    assert (checked.status, checked.warning) == (200, None), checked
    conditions = {c["type"]: c["status"] for c in served.body["status"]["conditions"]}
    assert (conditions["NamesAccepted"], conditions["Established"]) == ("True", "True")
    assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("kind", BY_NAME)
def test_objects_are_listed_as_the_originals_are(kind: str, api: Api) -> None:
    cls = BY_NAME[kind]
    path = f"/apis/{cls.KIND.api_version}"

    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = api("GET", f"{path}/{cls.PLURAL}", Accept=accept)
    deadline = time.monotonic() + 60
    while table.status != 200 and time.monotonic() < deadline:  # established is not yet served
        time.sleep(0.2)
        table = api("GET", f"{path}/{cls.PLURAL}", Accept=accept)
    served = {r["name"]: r for r in api("GET", path).body["resources"]}

    assert [column["name"] for column in table.body["columnDefinitions"]] == COLUMNS[kind]
    assert served[cls.PLURAL].get("shortNames", []) == SHORT_NAMES[kind]
    assert CATEGORIES[kind] in served[cls.PLURAL]["categories"]
    assert f"{cls.PLURAL}/status" in served


def test_an_object_shows_its_spec_and_status_in_its_columns(api: Api, control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace()
    path = f"/apis/source.toolkit.fluxcd.io/v1/namespaces/{namespace}/gitrepositories"
    app = GitRepository(
        metadata=ObjectMeta(name="app"), spec=GitRepositorySpec(url="https://example.com/r", interval="1m")
    )
    made = api("POST", path, make_manifest(app))
    condition = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored artifact"}
    now = made.body["metadata"]["creationTimestamp"]

    api(
        "PATCH",
        f"{path}/app/status",
        {"status": {"observedGeneration": 1, "conditions": [condition | {"lastTransitionTime": now}]}},
        Content_Type="application/merge-patch+json",
    )
    table = api("GET", path, Accept="application/json;as=Table;v=v1;g=meta.k8s.io").body

    assert made.body["status"] == {"observedGeneration": -1}
    name, url, _, ready, status = table["rows"][0]["cells"]
    assert (name, url, ready, status) == ("app", "https://example.com/r", "True", "stored artifact")


def test_external_secrets_can_be_selected_by_their_store(api: Api, control_plane: ControlPlane) -> None:
    namespace = control_plane.namespace()
    path = f"/apis/external-secrets.io/v1/namespaces/{namespace}/externalsecrets"
    for name, store in (("a", "vault"), ("b", "aws")):
        spec = ExternalSecretSpec(secret_store_ref=StoreRef(name=store))
        api("POST", path, make_manifest(ExternalSecret(metadata=ObjectMeta(name=name), spec=spec)))

    found = api("GET", f"{path}?fieldSelector=spec.secretStoreRef.name%3Dvault")

    assert [item["metadata"]["name"] for item in found.body["items"]] == ["a"]
