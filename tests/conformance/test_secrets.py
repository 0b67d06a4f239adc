"""What External Secrets wrote for these inputs on a real API server, and what we write there.

Data: tests/golden/data/external-secrets, recorded from External Secrets 2.9.0. Every difference that we want is a line
of INTENDED.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conformance.comparing import Intended, differences, settled, unintended
from tests.conformance.stage import Stage, create, live_objects
from tests.journeys.surroundings import Surroundings

DATA = Path(__file__).parents[1] / "golden" / "data" / "external-secrets"
API = "external-secrets.io/v1"
CREATOR = "python-urllib3"
NAMESPACE = "r1-lab"
"""In the recording and here: labels and hashes are made of it."""

CHANGED = "not ours: in the recording the provider's value had changed meanwhile"
CAUSE = "the cause stands behind the original's sentence"
ABSENT = "refreshTime null is left out: it means the same"
TAKEOVER = "keys that others lose are told"
INTENDED = (
    Intended("owner-preexisting-secret", "externalSecret.status.conditions.TookOver*", TAKEOVER),
    Intended("*", "externalSecret.status.conditions.Ready.message", CAUSE),
    Intended("*", "externalSecret.metadata.managedFields.*.fieldsV1.f:status.f:refreshTime", ABSENT),
    Intended("labels-copied-no-template", "secret.metadata.annotations.*/data-hash", CHANGED),
    Intended("labels-copied-no-template", "secret.data.x", CHANGED),
)
CASES = (
    "create-owner",
    "create-orphan",
    "create-merge",
    "create-merge-notarget",
    "create-none",
    "owner-preexisting-secret",
    "labels-copied-no-template",
    "missing-key-at-create",
    "missing-property-at-create",
    "store-missing",
    "two-externalsecrets-one-target",
)
BEFORE = {
    "create-merge": {"labels": {"mine": "yes"}, "data": {"own": "kept"}},
    "owner-preexisting-secret": {"data": {"own": "gone"}},
}


def recorded(case: str) -> Any:
    return yaml.safe_load((DATA / f"{case}.yaml").read_text())


@dataclass(frozen=True)
class Told:
    """Everything of the namespace after all the situations."""

    externals: Mapping[str, Any]
    secrets: Mapping[str, Any]
    stores: Mapping[str, Any]
    events: list[Any]


@pytest.fixture(scope="module")
def told(served: Stage) -> Told:
    served.plane.expect("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    place = Surroundings(served.plane, NAMESPACE, served.folder)
    token = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault-token"}}
    create(place, token | {"stringData": {"token": served.vault.token}})
    for store in recorded("secretstores"):
        if store["metadata"]["name"] in ("fake", "vault"):
            create(place, store_like(store, served.vault.url), manager=CREATOR)
    place.until(
        lambda: place.ready("secretstore/vault") and place.ready("secretstore/fake"), "the stores are validated"
    )
    for case in CASES:
        wanted = recorded(case)["externalSecret"]
        if case in BEFORE:
            before(place, wanted, BEFORE[case])
        metadata = {k: v for k, v in wanted["metadata"].items() if k in ("name", "labels", "annotations")}
        body = {"apiVersion": API, "kind": "ExternalSecret", "metadata": metadata, "spec": wanted["spec"]}
        path = f"/apis/{API}/namespaces/{NAMESPACE}/externalsecrets?fieldManager={CREATOR}"
        served.plane.expect("POST", path, body)  # kubectl would write last-applied-configuration anew
        place.until(lambda: decided(place, wanted), f"{case} is decided")  # noqa: B023 - before the next begins
    return Told(
        {item["metadata"]["name"]: item for item in live_objects(place, API, "externalsecrets")},
        {item["metadata"]["name"]: item for item in live_objects(place, "v1", "secrets")},
        {item["metadata"]["name"]: item for item in live_objects(place, API, "secretstores")},
        place.told(),
    )


def store_like(store: Mapping[str, Any], vault: str) -> dict[str, Any]:
    spec = yaml.safe_load(yaml.safe_dump(store["spec"]).replace("http://127.0.0.1:18301", vault))
    return {"apiVersion": API, "kind": store["kind"], "metadata": {"name": store["metadata"]["name"]}, "spec": spec}


def before(place: Surroundings, wanted: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
    name = wanted["spec"]["target"].get("name", wanted["metadata"]["name"])
    metadata = {"name": name, "labels": parts.get("labels", {})}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in parts["data"].items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data, "type": "Opaque"}
    create(place, secret, manager=CREATOR)


def decided(place: Surroundings, wanted: Mapping[str, Any]) -> bool:
    """Whether an ExternalSecret has come to the recorded verdict."""
    (theirs,) = wanted["status"]["conditions"]
    ours = place.condition(f"externalsecret/{wanted['metadata']['name']}")
    return (ours["status"], ours["reason"]) == (theirs["status"], theirs["reason"])


def ours_for(told: Told, row: Mapping[str, Any]) -> dict[str, Any]:
    name = row["externalSecret"]["metadata"]["name"]
    target = row["externalSecret"]["spec"]["target"].get("name", name)
    return {"externalSecret": told.externals[name], "secret": told.secrets.get(target)}


def without_owner(value: Any) -> Any:
    """`value` with one word for every uid that is a key of managedFields."""
    if isinstance(value, Mapping):
        return {("k:uid" if k.startswith('k:{"uid"') else k): without_owner(v) for k, v in value.items()}
    return [without_owner(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", CASES)
def test_the_objects_are_the_same(told: Told, case: str) -> None:
    row = recorded(case)
    theirs = {"externalSecret": row["externalSecret"], "secret": None if row["secret"] == "ABSENT" else row["secret"]}

    found = differences(case, without_owner(settled(theirs, {})), without_owner(settled(ours_for(told, row), {})))

    wrong = unintended(found, INTENDED)
    assert not wrong, "\n" + wrong
    sentence = row["externalSecret"]["status"]["conditions"][0]["message"]
    ready = ours_for(told, row)["externalSecret"]["status"]["conditions"][0]
    assert ready["message"].startswith(sentence)
    assert ready["message"] == sentence or ready["status"] == "False"


@pytest.mark.parametrize("case", CASES)
def test_the_events_are_the_same(told: Told, case: str) -> None:
    row = recorded(case)
    name = row["externalSecret"]["metadata"]["name"]

    said = {
        (e["type"], e["reason"], e["reportingComponent"]) for e in told.events if e["involvedObject"]["name"] == name
    }

    ours = {("Warning", "KeysReplaced", "external-secrets")} if case == "owner-preexisting-secret" else set()
    assert said == ours | {(e["type"], e["reason"], e["reportingComponent"]) for e in row["events"]}


@pytest.mark.parametrize("name", ["fake", "vault"])
def test_a_store_is_the_same(told: Told, served: Stage, name: str) -> None:
    (theirs,) = (store for store in recorded("secretstores") if store["metadata"]["name"] == name)

    found = differences(
        name,
        settled(theirs, {"http://127.0.0.1:18301": "VAULT"}),
        settled(told.stores[name], {served.vault.url: "VAULT"}),
    )

    wrong = unintended(found, ())
    assert not wrong, "\n" + wrong
