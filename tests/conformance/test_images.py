"""What Flux's image controllers wrote for these inputs, and what we write there.

Data: tests/golden/data/flux/f-*.yaml, c-*.yaml. Every difference that we want is a line of INTENDED.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conformance.comparing import Difference, Intended, differences, settled, unintended
from tests.conformance.stage import Repository, Stage, create, live_objects
from tests.conformance.test_flux import recorded
from tests.journeys.surroundings import Surroundings, flux

DETAIL = "not ours: this registry adds a detail to its error, and both print it"
LATER = "not ours: here the policies are made after the first scan"
INTENDED = (
    Intended("ImageRepository/missing", "conditions.Ready.message", DETAIL),
    Intended("events/ImageRepository/missing", "scan failed*", DETAIL),
    Intended("events/ImagePolicy/*", "retrying in 30s error: no tags in database", LATER),
    Intended("ImageUpdateAutomation/plain", "*markers*", "every marked place is accounted for, in fields of our own"),
)

API = "image.toolkit.fluxcd.io/v1"
THEIR_HOST = "127.0.0.1:54367"
THEIR_COMMIT = "6927c94529267aa465f2c0fbc23e84306b7cc98a"
TAGS = {"app": ("1.0.0", "1.1.0"), "web": ("1.0.0", "1.1.0"), "num": ("100", "101"), "twopart": ("1.0", "1.10")}
POLICIES: dict[str, tuple[str, dict[str, Any]]] = {
    "app": ("app", {"policy": {"semver": {"range": ">=1.0"}}}),
    "web": ("web", {"policy": {"semver": {"range": ">=1.0.0"}}}),
    "num": ("num", {"policy": {"numerical": {"order": "asc"}}}),
    "nomatch": ("app", {"policy": {"semver": {"range": ">=5.0.0"}}}),
    "badrange": ("app", {"policy": {"semver": {"range": "not a range"}}}),
    "badregex": ("app", {"policy": {"semver": {"range": ">=1.0.0"}}, "filterTags": {"pattern": "("}}),
    "nofilter": ("app", {"policy": {"semver": {"range": ">=1.0.0"}}, "filterTags": {"pattern": "^none$"}}),
    "norepo": ("nothere", {"policy": {"semver": {"range": ">=1.0.0"}}}),
    "onmissing": ("missing", {"policy": {"semver": {"range": ">=1.0.0"}}}),
    "onempty": ("empty", {"policy": {"semver": {"range": ">=1.0.0"}}}),
    "twopart": ("twopart", {"policy": {"semver": {"range": ">=1.0"}}}),
}


@dataclass(frozen=True)
class Images:
    """Every image object of the recording, and the remote that the automation pushed to."""

    place: Surroundings
    stage: Stage
    repository: Repository
    objects: Mapping[str, Mapping[str, Any]]
    events: list[Mapping[str, Any]]

    def settled(self, value: Any) -> Any:
        head = self.repository.git("rev-parse", "main").strip()
        words = {
            head: "COMMIT",
            f"{self.stage.registry.host}/{self.place.namespace}": "HOST/apps",
            f"/v2/{self.place.namespace}/": "/v2/apps/",
            "/unauthorized/": "/deny/",
            self.stage.registry.host: "HOST",
            self.stage.hostile: "HOST",
            head[:7]: "COMMIT",
            self.place.namespace: "default",
        }
        return settled(value, words)


def theirs(value: Any) -> Any:
    return settled(value, {THEIR_HOST: "HOST", THEIR_COMMIT: "COMMIT", THEIR_COMMIT[:7]: "COMMIT"})


@pytest.fixture(scope="module")
def images(served: Stage) -> Images:
    place = served.place("images")
    ours = f"{served.registry.host}/{place.namespace}"
    for name, tags in TAGS.items():
        for tag in tags:
            served.registry.push(f"{place.namespace}/{name}", tag)
    where = {name: f"{ours}/{name}" for name in TAGS} | {
        "missing": f"{ours}/none",
        "empty": f"{served.hostile}/null-tags/app",
        "unauth": f"{served.hostile}/unauthorized/app",
        "refused": "127.0.0.1:1/x",
        "badname": f"{served.registry.host}/Apps/UP",
    }
    marked = "".join(
        f'{name}: {ours}/{name}:0.1.0 # {{"$imagepolicy": "{place.namespace}:{name}"}}\n' for name in ("app", "web")
    )
    repository = served.repository("plain", {"plain.yaml": marked.encode()})
    create(
        place,
        flux("source", "GitRepository", "plain", url=repository.url, interval="10m", ref={"branch": "main"}),
        *(flux("image", "ImageRepository", n, image=i, interval="10m", insecure=True) for n, i in where.items()),
    )
    place.until(
        lambda: place.ready("gitrepository/plain") and settled_all(place, "imagerepositories"),
        "all is fetched and scanned",
    )
    policies = [
        flux("image", "ImagePolicy", name, imageRepositoryRef={"name": repository_name}, **spec)
        for name, (repository_name, spec) in POLICIES.items()
    ]
    create(place, *policies)
    place.until(lambda: settled_all(place, "imagepolicies"), "every policy is decided")
    git = {
        "checkout": {"ref": {"branch": "main"}},
        "commit": {"author": {"email": "bot@example.com"}},
        "push": {"branch": "main"},
    }
    update = {"path": "./", "strategy": "Setters"}
    source = {"kind": "GitRepository", "name": "plain"}
    automation = flux(
        "image", "ImageUpdateAutomation", "plain", sourceRef=source, interval="10m", git=git, update=update
    )
    create(place, automation)
    place.until(lambda: place.ready("imageupdateautomation/plain"), "the automation ran")
    pushed = place.get("imageupdateautomation/plain")["status"]["lastPushCommit"]
    place.until(
        lambda: place.get("gitrepository/plain")["status"]["artifact"]["revision"].endswith(pushed),
        "the source has its commit",
    )
    ran = live_objects(place, API, "imageupdateautomations")
    place.plane.kubectl(
        *("patch", "imagepolicy/web", "-n", place.namespace, "--type=merge", "--field-manager=python-requests"),
        *("-p", '{"spec": {"policy": {"semver": {"range": ">=5.0.0"}}}}'),
    )
    place.until(lambda: place.condition("imagepolicy/web")["reason"] == "Failure", "the changed policy is decided")
    found = [*ran, *live_objects(place, API, "imagerepositories"), *live_objects(place, API, "imagepolicies")]
    objects = {f"{item['kind']}/{item['metadata']['name']}": item for item in found}
    return Images(place, served, repository, objects, place.told())


def settled_all(place: Surroundings, kind: str) -> bool:
    """Whether every object has a Ready condition that says something."""
    ready = [
        [c["status"] for c in item.get("status", {}).get("conditions", []) if c["type"] == "Ready"]
        for item in place.get(kind)["items"]
    ]
    return bool(ready) and all(statuses in (["True"], ["False"]) for statuses in ready)


def assert_same(found: Iterable[Difference]) -> None:
    wrong = unintended(found, INTENDED)
    assert not wrong, "\n" + wrong


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("f-imagerepository-app", "ImageRepository/app"),
        ("f-imagepolicy-app", "ImagePolicy/app"),
        ("c-imageupdateautomation-plain", "ImageUpdateAutomation/plain"),
    ],
)
def test_the_object_is_the_same(images: Images, data: str, what: str) -> None:
    assert_same(differences(what, theirs(recorded(data)), images.settled(images.objects[what])))


SITUATIONS = [(kind, name) for kind, rows in recorded("f-image").items() for name in rows]


@pytest.mark.parametrize(("kind", "name"), SITUATIONS, ids=lambda part: part)
def test_the_situation_ends_in_the_same_status(images: Images, kind: str, name: str) -> None:
    row = recorded("f-image")[kind][name]

    status = images.objects[f"{kind}/{name.partition('-after-')[0]}"]["status"]

    conditions = [{k: c[k] for k in ("type", "status", "reason", "message")} for c in status["conditions"]]
    rest = {key: status.get(key) for key in row if key != "conditions"}
    ours = images.settled({"conditions": conditions, **rest})
    assert_same(differences(f"{kind}/{name}", theirs(row), ours))


OBJECTS = sorted({f"{kind}/{name.partition('-after-')[0]}" for kind, name in SITUATIONS})


@pytest.mark.parametrize("what", [*OBJECTS, "ImageUpdateAutomation/plain"])
def test_the_events_are_the_same(images: Images, what: str) -> None:
    kind, _, name = what.partition("/")
    keys = ("type", "reason", "message")
    said = [e for e in images.events if (e["involvedObject"]["kind"], e["involvedObject"]["name"]) == (kind, name)]
    wanted = [e for e in recorded("f-events") if (e["kind"], e["name"]) == (kind, name)]
    ours = {e["message"]: {k: e[k] for k in keys} | {"annotations": e["metadata"].get("annotations")} for e in said}
    expected = {e["message"]: {k: e[k] for k in keys} | {"annotations": e["annotations"]} for e in wanted}
    assert_same(differences(f"events/{what}", theirs(expected), images.settled(ours)))
    controller = "image-automation-controller" if kind == "ImageUpdateAutomation" else "image-reflector-controller"
    assert {event["reportingComponent"] for event in said} == {controller}
