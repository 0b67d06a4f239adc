"""The `flux` command of Flux's own release, on objects that the service reconciles.

What it prints is read from Flux's status fields, conditions, events, labels and inventories: where one of them differed
from the original's, a command would fail, wait for ever, or show nothing.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from sealoop.main import main
from tests.conformance.stage import PASSWORD, USER, Repository, Stage
from tests.journeys.surroundings import Surroundings, config_map, deployment
from tests.journeys.surroundings import flux as make
from tests.servers.aws import S3Server
from tests.servers.programs import clean_environment, program

ROLE = b"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "fleet:reader"}
rules: []
"""
ORIGIN = "https://git.example.com/fleet"
ORIGIN_REVISION = "main@sha1:8526579df8fc4545aed1c8316b4dfc7cba4d8678"
FROM = f"--source {ORIGIN} --revision {ORIGIN_REVISION}"
INNER = b"""
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: inner, namespace: %(namespace)s}
spec:
  interval: 1h0m0s
  prune: true
  path: ./inner
  targetNamespace: %(namespace)s
  sourceRef: {kind: GitRepository, name: app}
"""


@dataclass(frozen=True)
class Said:
    """What one call printed: results, and what was said meanwhile."""

    out: str
    told: str

    @property
    def rows(self) -> list[list[str]]:
        """The cells of the printed tables, line by line, without empty lines. Behind each cell of a row is a tab."""
        lines = (line.removesuffix("\t") for line in self.out.splitlines() if line.strip())
        return [[cell.strip() for cell in line.split("\t")] for line in lines]


def flux(place: Surroundings, command: str, code: int = 0) -> Said:
    """Call `flux COMMAND` in the namespace. Raises AssertionError unless it ends with `code`."""
    called = [str(program("flux")), *shlex.split(command), "--namespace", place.namespace]
    environment = clean_environment(place.folder, KUBECONFIG=str(place.plane.kubeconfig))
    done = subprocess.run(called, env=environment, text=True, capture_output=True, timeout=180)
    assert done.returncode == code, f"flux {command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return Said(done.stdout, done.stderr)


def all_at_once(place: Surroundings, *commands: str) -> list[Said]:
    """Call several at the same time: one that waits looks every two seconds."""
    with ThreadPoolExecutor(len(commands)) as pool:
        return [*pool.map(lambda command: flux(place, command), commands)]


@dataclass(frozen=True)
class Fleet:
    """One object of each kind, made by `flux create`, all Ready; and what stands behind them."""

    place: Surroundings
    repository: Repository
    checkout: Path
    image: str
    artifact: str
    made: Sequence[str]

    def revision(self, what: str) -> str:
        status = self.place.get(what)["status"]
        return str(status["artifact"]["revision"])


def short(revision: str) -> str:
    """A revision as flux prints it in tables: 8 characters of each digest."""
    head, _, digest = revision.rpartition(":")
    return f"{head}:{digest[:8]}"


@pytest.fixture(scope="module")
def fleet(served: Stage, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    place = served.place("fleet")
    namespace, keys = place.namespace, s3_server.keys
    image = f"{served.registry.host}/{namespace}/web"
    files = {
        "app/one.yaml": config_map("one", a="1"),
        "app/web.yaml": deployment("registry.example.org/web:1"),
        "app/inner.yaml": INNER % {b"namespace": namespace.encode()},
        "app/role.yaml": ROLE,
        "inner/two.yaml": config_map("two"),
    }
    repository = served.repository("fleet", files)
    checkout = write(tmp_path_factory.mktemp("checkout"), files)
    marked = f'image: {image}:1.0.0 # {{"$imagepolicy": "{namespace}:web"}}\n'
    images = served.repository("locked-0", {"image.yaml": marked.encode()})
    for tag in ("1.0.0", "1.1.0"):
        served.registry.push(f"{namespace}/web", tag)
    artifact = f"oci://{served.registry.host}/{namespace}/fleet"
    pushed = write(tmp_path_factory.mktemp("pushed"), {"three.yaml": config_map("three")})
    flux(place, f"push artifact {artifact}:v1 --path {pushed} --insecure-registry {FROM}")
    store = s3_server.client()
    store.create_bucket(Bucket=namespace)
    store.put_object(Bucket=namespace, Key="apps/four.yaml", Body=config_map("four"))
    place.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hook"}, "stringData": {"token": "t"}})

    git = f"--branch main --interval 1h --username {USER} --password '{PASSWORD}'"
    bucket = f"--bucket-name {namespace} --endpoint {s3_server.host} --access-key {keys[0]} --secret-key {keys[1]}"
    sources = all_at_once(
        place,
        f"create source git app --url {repository.url} --branch main --interval 1h",
        f"create source git images --url {images.url} {git}",
        f"create source oci pushed --url {artifact} --tag v1 --insecure --interval 1h",
        f"create source bucket kept {bucket} --insecure --interval 1h",
        f"create image repository web --image {image} --interval 1h",
    )
    folder = f"--prune --interval 1h --target-namespace {namespace}"
    update = "--git-repo-ref images --git-repo-path . --checkout-branch main --push-branch main --interval 1h"
    rest = all_at_once(
        place,
        f"create kustomization app --source GitRepository/app --path ./app --wait {folder}",
        f"create kustomization pushed --source OCIRepository/pushed {folder}",
        f"create kustomization kept --source Bucket/kept --path ./apps {folder}",
        "create image policy web --image-ref web --select-semver '>=1.0.0'",
        f"create image update web {update} --author-name bot --author-email bot@example.com",
        "create receiver hook --type generic --secret-ref hook --resource GitRepository/app",
    )
    made = Fleet(place, repository, checkout, image, artifact, [each.told for each in (*sources, *rest)])
    place.until(lambda: f"{image}:1.1.0" in images.git("show", "main:image.yaml"), "the new tag is committed")
    head = images.git("rev-parse", "main").strip()
    place.until(lambda: made.revision("gitrepository/images").endswith(head), "the commit is fetched")
    place.told()
    return made


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def test_creating_waits_until_the_object_is_ready(fleet: Fleet) -> None:
    app, images, pushed, kept, scanned, applied, _, _, chosen, _, path = fleet.made

    assert f"fetched revision: {fleet.revision('gitrepository/app')}" in app
    assert "authentication configured" in images
    assert f"fetched revision: {fleet.revision('ocirepository/pushed')}" in pushed
    assert f"fetched revision: {fleet.revision('bucket/kept')}" in kept
    assert "ImageRepository reconciliation completed" in scanned
    assert f"applied revision {fleet.revision('gitrepository/app')}" in applied
    assert "ImagePolicy reconciliation completed" in chosen
    assert f"generated webhook URL {fleet.place.get('receiver/hook')['status']['webhookPath']}" in path


@pytest.mark.parametrize(
    ("word", "kind", "name"),
    [("git", "gitrepository", "app"), ("oci", "ocirepository", "pushed"), ("bucket", "bucket", "kept")],
)
def test_sources_are_shown_with_their_revision(fleet: Fleet, word: str, kind: str, name: str) -> None:
    revision = short(fleet.revision(f"{kind}/{name}"))

    header, row = flux(fleet.place, f"get sources {word} {name}").rows

    assert header == ["NAME", "REVISION", "SUSPENDED", "READY", "MESSAGE"]
    assert row[:4] == [name, revision, "False", "True"]
    assert row[4].startswith("stored artifact")
    assert revision in row[4]


def test_kustomizations_are_shown_with_what_they_applied(fleet: Fleet) -> None:
    sources = {"app": "gitrepository/app", "inner": "gitrepository/app", "kept": "bucket/kept"}
    revisions = {name: short(fleet.revision(what)) for name, what in sources.items()}
    revisions["pushed"] = short(fleet.revision("ocirepository/pushed"))

    header, *rows = flux(fleet.place, "get kustomizations").rows

    assert header == ["NAME", "REVISION", "SUSPENDED", "READY", "MESSAGE"]
    assert sorted(rows) == [
        [name, r, "False", "True", f"Applied revision: {r}"] for name, r in sorted(revisions.items())
    ]


def test_images_are_shown_with_what_was_chosen_and_when(fleet: Fleet) -> None:
    scan = fleet.place.get("imagerepository/web")["status"]
    scanned = fleet.place.condition("imagerepository/web")["message"]
    runs = [fleet.place.get("imageupdateautomation/web")["status"]["lastAutomationRunTime"]]

    rows = flux(fleet.place, "get images all").rows

    runs.append(fleet.place.get("imageupdateautomation/web")["status"]["lastAutomationRunTime"])
    assert scanned.startswith("successful scan: found 2 tags")
    assert rows[:4] == [
        ["NAME", "LAST SCAN", "SUSPENDED", "READY", "MESSAGE"],
        ["imagerepository/web", scan["lastScanResult"]["scanTime"], "False", "True", scanned],
        ["NAME", "IMAGE", "TAG", "READY", "MESSAGE"],
        ["imagepolicy/web", fleet.image, "1.1.0", "True", f"Latest image tag for {fleet.image} resolved to 1.1.0"],
    ]
    assert rows[4] == ["NAME", "LAST RUN", "SUSPENDED", "READY", "MESSAGE"]
    name, ran, *rest = rows[5]
    assert [name, *rest] == ["imageupdateautomation/web", "False", "True", "repository up-to-date"]
    assert ran in runs


def test_everything_of_all_namespaces_is_shown(fleet: Fleet) -> None:
    rows = flux(fleet.place, "get all -A").rows

    ours = {name: cells for namespace, name, *cells in rows if namespace == fleet.place.namespace}
    assert ours.keys() == {
        *("gitrepository/app", "gitrepository/images", "ocirepository/pushed", "bucket/kept", "receiver/hook"),
        *("kustomization/app", "kustomization/inner", "kustomization/pushed", "kustomization/kept"),
        *("imagerepository/web", "imagepolicy/web", "imageupdateautomation/web"),
    }
    assert all("True" in cells for cells in ours.values())


def test_objects_are_selected_by_their_conditions(fleet: Fleet) -> None:
    ready = flux(fleet.place, "get kustomizations --status-selector ready=true --no-header").rows
    failed = flux(fleet.place, "get kustomizations --status-selector ready=false --no-header").rows

    assert [row[0] for row in ready] == ["app", "inner", "kept", "pushed"]
    assert failed == []


REQUESTS = {
    "source git images": "gitrepository/images",
    "source oci pushed": "ocirepository/pushed",
    "source bucket kept": "bucket/kept",
    "kustomization pushed": "kustomization/pushed",
    "image repository web": "imagerepository/web",
    "image policy web": "imagepolicy/web",
    "image update web": "imageupdateautomation/web",
    "receiver hook": "receiver/hook",
}
"""What is reconciled, suspended, resumed and exported, in flux's words."""


def test_a_reconciliation_is_asked_for_and_waited_for(fleet: Fleet) -> None:
    said = all_at_once(fleet.place, *(f"reconcile {words}" for words in REQUESTS))

    for what in REQUESTS.values():
        live = fleet.place.get(what)
        asked = live["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"]
        assert live["status"]["lastHandledReconcileAt"] == asked
    git, oci, bucket, applied, scanned, chosen, run, hook = (each.told.splitlines()[-1] for each in said)
    assert git == f"✔ fetched revision {fleet.revision('gitrepository/images')}"
    assert oci == f"✔ fetched revision {fleet.revision('ocirepository/pushed')}"
    assert bucket == f"✔ fetched revision {fleet.revision('bucket/kept')}"
    assert applied == f"✔ applied revision {fleet.revision('ocirepository/pushed')}"
    assert scanned == "✔ scan fetched 2 tags"
    assert chosen == f"✔ selected ref {fleet.image}:1.1.0"
    assert run == "✔ repository up-to-date"
    assert hook == "✔ Receiver reconciliation completed"


def begin(served: Stage, name: str) -> tuple[Surroundings, Repository]:
    """A namespace whose Kustomization `app` has applied the folder `app` of its GitRepository `app`."""
    place, repository = served.place(name), served.repository(name, {"app/one.yaml": config_map("one", a="1")})
    folder = {
        "sourceRef": {"kind": "GitRepository", "name": "app"},
        "path": "./app",
        "targetNamespace": place.namespace,
    }
    place.apply(
        make("source", "GitRepository", "app", url=repository.url, interval="1h", ref={"branch": "main"}),
        make("kustomize", "Kustomization", "app", interval="1h", prune=True, wait=True, **folder),
    )
    place.until(lambda: place.ready("kustomization/app"), "the folder is applied")
    return place, repository


def test_a_kustomization_is_reconciled_with_its_source_until_its_objects_are_healthy(served: Stage) -> None:
    place, repository = begin(served, "withsource")
    commit = repository.commit({"app/web.yaml": deployment("registry.example.org/web:1")})

    told = flux(place, "reconcile kustomization app --with-source").told.splitlines()

    assert f"✔ fetched revision main@sha1:{commit}" in told
    assert told[-1] == f"✔ applied revision main@sha1:{commit}"
    assert place.get("deployment/web")["status"]["readyReplicas"] == 1


def test_a_reconciliation_that_fails_ends_with_1_and_the_reason_is_shown(served: Stage) -> None:
    place, repository = begin(served, "failing")
    repository.commit({"app/one.yaml": b"apiVersion: v1\nkind: Nonsense\nmetadata: {name: one}\n"})
    why = 'no matches for kind "Nonsense"'
    flux(place, "reconcile source git app")
    place.until(lambda: why in place.condition("kustomization/app")["message"], "the folder is refused")

    flux(place, "reconcile kustomization app --timeout 3s", code=1)  # it waits for what is tried again

    place.told()
    (row,) = flux(place, "get kustomizations --no-header").rows
    assert row[3] == "False"
    assert why in row[4]
    (warning, *_) = flux(place, "events --for Kustomization/app --types Warning").rows[1:]
    assert warning[1:4] == ["Warning", "ReconciliationFailed", "Kustomization/app"]
    assert why in warning[4]


def test_what_only_an_edit_can_heal_is_told_at_once(served: Stage) -> None:
    place = served.place("stalled")
    place.apply(
        make("image", "ImageRepository", "web", image="127.0.0.1:1/web", interval="1h"),
        make("image", "ImagePolicy", "web", imageRepositoryRef={"name": "web"}, policy={"semver": {"range": "newest"}}),
    )

    told = flux(place, "reconcile image policy web", code=1).told

    assert "newest" in told.splitlines()[-1]


def test_a_suspended_kustomization_waits_for_being_resumed(served: Stage) -> None:
    place, repository = begin(served, "suspended")
    before = place.get("kustomization/app")["status"]["lastAppliedRevision"]

    assert "kustomization suspended" in flux(place, "suspend kustomization app").told
    commit = repository.commit({"app/one.yaml": config_map("one", a="2")})
    flux(place, "reconcile source git app")
    assert "resource is suspended" in flux(place, "reconcile kustomization app", code=1).told
    assert flux(place, "get kustomizations --no-header").rows[0][:4] == ["app", short(before), "True", "True"]
    assert place.get("configmap/one")["data"] == {"a": "1"}

    told = flux(place, "resume kustomization app").told

    assert f"applied revision main@sha1:{commit}" in told
    assert place.get("configmap/one")["data"] == {"a": "2"}


def test_every_kind_is_suspended_and_resumed(fleet: Fleet) -> None:
    all_at_once(fleet.place, *(f"suspend {words}" for words in REQUESTS))

    suspended = {what: fleet.place.get(what)["spec"]["suspend"] for what in REQUESTS.values()}
    assert suspended == dict.fromkeys(REQUESTS.values(), True)

    resumed = all_at_once(fleet.place, *(f"resume {words}" for words in REQUESTS))

    for what, each in zip(REQUESTS.values(), resumed, strict=True):
        assert f"{what.partition('/')[2]} reconciliation completed" in each.told
        live = fleet.place.get(what)
        assert not live["spec"].get("suspend")
        assert live["status"]["observedGeneration"] == live["metadata"]["generation"]


def test_events_of_an_object_and_of_its_source_are_shown(fleet: Fleet) -> None:
    header, *rows = flux(fleet.place, "events --for Kustomization/app").rows

    assert header == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    shown = {(type_, reason, what) for _, type_, reason, what, _ in rows if what}  # else a further line of a message
    assert {
        ("Normal", "ReconciliationSucceeded", "Kustomization/app"),
        ("Normal", "NewArtifact", "GitRepository/app"),
    } <= shown
    assert {what for _, _, what in shown} == {"Kustomization/app", "GitRepository/app"}


def test_events_of_a_policy_come_with_those_of_its_repository(fleet: Fleet) -> None:
    rows = flux(fleet.place, "events --for ImagePolicy/web").rows[1:]

    assert {what for _, _, _, what, _ in rows} == {"ImagePolicy/web", "ImageRepository/web"}
    assert any(message == f"Latest image tag for {fleet.image} resolved to 1.1.0" for *_, message in rows)


def test_a_receiver_s_path_is_told(fleet: Fleet) -> None:
    row = flux(fleet.place, "events --for Receiver/hook").rows[1]

    assert row[1:] == ["Normal", "Succeeded", "Receiver/hook", "Reconciliation finished, next run in 10m0s"]


def traced(text: str) -> list[dict[str, str]]:
    """The parts of a trace, each by its labels."""
    parts = [[line.partition(":") for line in part.splitlines() if line.strip()] for part in text.split("---\n")]
    return [{label: value.strip() for label, _, value in part} for part in parts]


def test_a_pod_is_traced_to_its_commit(fleet: Fleet) -> None:
    fleet.place.until(lambda: fleet.place.get("pods")["items"], "the Deployment has a Pod")
    (pod,) = fleet.place.get("pods")["items"]
    revision = fleet.revision("gitrepository/app")

    managed, kustomization, source = traced(flux(fleet.place, f"trace pod/{pod['metadata']['name']}").out)

    assert managed["Object"] == f"Pod/{pod['metadata']['name']}"
    assert managed["Status"] == "Managed by Flux"
    assert (kustomization["Kustomization"], kustomization["Path"]) == ("app", "./app")
    assert (kustomization["Revision"], kustomization["Message"]) == (revision, f"Applied revision: {revision}")
    assert (source["GitRepository"], source["URL"], source["Branch"]) == ("app", fleet.repository.url, "main")
    assert source["Revision"] == revision


def test_what_ci_pushed_is_traced_to_where_ci_had_it_from(fleet: Fleet) -> None:
    managed, kustomization, source = traced(flux(fleet.place, "trace configmap/three").out)

    assert managed["Status"] == "Managed by Flux"
    assert kustomization["Kustomization"] == "pushed"
    assert source["OCIRepository"] == "pushed"
    assert source["Revision"] == kustomization["Revision"] == fleet.revision("ocirepository/pushed")
    assert (source["Origin Source"], source["Origin Revision"]) == (ORIGIN, ORIGIN_REVISION)


def test_a_tree_has_what_was_applied_and_what_that_applied(fleet: Fleet) -> None:
    namespace = fleet.place.namespace

    lines = flux(fleet.place, "tree kustomization app").out.strip().splitlines()

    assert lines == [
        f"Kustomization/{namespace}/app",
        "├── ClusterRole/fleet:reader",
        f"├── ConfigMap/{namespace}/one",
        f"├── Deployment/{namespace}/web",
        f"└── Kustomization/{namespace}/inner",
        f"    └── ConfigMap/{namespace}/two",
    ]
    compact = flux(fleet.place, "tree kustomization app --compact").out.split()
    assert compact == [f"Kustomization/{namespace}/app", "└──", f"Kustomization/{namespace}/inner"]


def test_reconcilers_are_counted(fleet: Fleet) -> None:
    header, *rows = flux(fleet.place, "stats").rows

    assert header == ["RECONCILERS", "RUNNING", "FAILING", "SUSPENDED", "STORAGE"]
    counted = {kind: numbers for kind, *numbers, _ in rows}
    assert counted["GitRepository"] == ["2", "0", "0"]
    assert counted["Kustomization"] == ["4", "0", "0"]
    for kind in ("OCIRepository", "Bucket", "Receiver", "ImageRepository", "ImagePolicy", "ImageUpdateAutomation"):
        assert counted[kind] == ["1", "0", "0"]


@pytest.mark.parametrize("words", REQUESTS)
def test_what_is_exported_is_what_is_there(fleet: Fleet, words: str) -> None:
    for manifest in manifests(flux(fleet.place, f"export {words}").out):
        live = fleet.place.get(f"{manifest['kind'].lower()}/{manifest['metadata']['name']}")
        command = ("replace", "--validate=strict", "--dry-run=server", "-o", "json", "-f", "-")

        replaced = json.loads(fleet.place.plane.kubectl(*command, stdin=json.dumps(manifest)))

        assert in_seconds(replaced["spec"]) == in_seconds(live["spec"])


def manifests(text: str) -> list[dict[str, Any]]:
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def in_seconds(value: Any) -> Any:
    """The value with its durations as numbers: `60s` comes back as `1m0s`."""
    if isinstance(value, dict):
        return {key: in_seconds(each) for key, each in value.items()}
    if isinstance(value, str) and (found := re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", value)):
        hours, minutes, seconds = (int(each or 0) for each in found.groups())
        return 3600 * hours + 60 * minutes + seconds
    return value


def test_a_build_is_what_was_applied(fleet: Fleet) -> None:
    built = flux(fleet.place, f"build kustomization app --path {fleet.checkout}/app").out

    labels = {
        "kustomize.toolkit.fluxcd.io/name": "app",
        "kustomize.toolkit.fluxcd.io/namespace": fleet.place.namespace,
    }
    assert sorted(manifest["kind"] for manifest in manifests(built)) == [
        "ClusterRole",
        "ConfigMap",
        "Deployment",
        "Kustomization",
    ]
    for manifest in manifests(built):
        if manifest["kind"] == "ClusterRole":
            continue
        live = fleet.place.get(f"{manifest['kind'].lower()}/{manifest['metadata']['name']}")
        assert manifest["metadata"]["labels"] == live["metadata"]["labels"] == labels


def test_a_diff_is_empty_until_something_differs(fleet: Fleet, tmp_path: Path) -> None:
    flux(fleet.place, f"diff kustomization app --path {fleet.checkout}/app --progress-bar=false")

    changed = write(
        tmp_path, {"one.yaml": config_map("one", a="2"), "web.yaml": deployment("registry.example.org/web:1")}
    )
    said = flux(fleet.place, f"diff kustomization app --path {changed} --progress-bar=false", code=1)

    namespace = fleet.place.namespace
    assert f"► ConfigMap/{namespace}/one drifted" in said.out
    assert f"► Kustomization/{namespace}/inner deleted" in said.out
    assert f"Deployment/{namespace}/web" not in said.out


RICH = {
    "app/kustomization.yaml": b"""
resources: [web.yaml, settings.yaml]
configMapGenerator: [{name: generated, literals: ["color=${color}", "size=${size:=large}"]}]
secretGenerator: [{name: token, literals: [token=t]}]
replacements:
  - source: {kind: ConfigMap, name: settings, fieldPath: data.level}
    targets: [{select: {kind: Deployment}, fieldPaths: [spec.template.metadata.labels.level], options: {create: true}}]
""",
    "app/web.yaml": deployment("registry.example.org/web:1"),
    "app/settings.yaml": config_map("settings", level="high", who="${who:-nobody}", url="http://${color}.example.org"),
    "shared/kustomization.yaml": b"""
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
labels: [{pairs: {seen: "yes"}, includeSelectors: true}]
""",
}


def test_what_flux_builds_of_overlays_is_what_was_applied(served: Stage, tmp_path: Path) -> None:
    place, repository, checkout = served.place("rich"), served.repository("rich", RICH), write(tmp_path, RICH)
    overlays = {
        "namePrefix": "p-",
        "nameSuffix": "-s",
        "components": ["../shared"],
        "images": [{"name": "registry.example.org/web", "newName": "registry.example.org/other", "newTag": "2"}],
        "patches": [{"patch": "- {op: add, path: /spec/replicas, value: 3}", "target": {"kind": "Deployment"}}],
        "commonMetadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
        "postBuild": {"substitute": {"color": "blue"}},
    }
    folder = {
        "sourceRef": {"kind": "GitRepository", "name": "app"},
        "path": "./app",
        "targetNamespace": place.namespace,
    }
    place.apply(
        make("source", "GitRepository", "app", url=repository.url, interval="1h", ref={"branch": "main"}),
        make("kustomize", "Kustomization", "app", interval="1h", prune=True, **folder, **overlays),
    )
    place.until(lambda: place.ready("kustomization/app"), "the folder is applied")

    said = flux(place, f"diff kustomization app --path {checkout}/app --progress-bar=false")

    assert said.out == ""
    assert len(place.get("kustomization/app")["status"]["inventory"]["entries"]) == 4


def test_status_history_and_variables_are_shown(served: Stage) -> None:
    place, _ = begin(served, "debugged")
    variables = '{"spec": {"postBuild": {"substitute": {"color": "blue"}}}}'
    place.plane.kubectl("patch", "kustomization/app", "-n", place.namespace, "--type=merge", "-p", variables)
    live = place.get("kustomization/app")["status"]

    status, history, shown = (
        flux(place, f"debug kustomization app --show-{what}").out for what in ("status", "history", "vars")
    )

    assert yaml.safe_load(status)["inventory"] == live["inventory"]
    assert {each["lastReconciledStatus"] for each in yaml.safe_load(history)} == {"ReconciliationSucceeded"}
    assert shown == "color=blue\n"


def test_a_deleted_kustomization_takes_its_objects_along(served: Stage) -> None:
    place, _ = begin(served, "deleted")

    flux(place, "delete kustomization app --silent")
    flux(place, "delete source git app --silent")

    place.until(lambda: not place.get("kustomization/app"), "it is gone")
    assert not place.get("configmap/one")
    place.until(lambda: not place.get("gitrepository/app"), "its source is gone, too")


def test_what_one_command_pushes_the_other_pulls(fleet: Fleet, tmp_path: Path) -> None:
    files = {"a/one.yaml": config_map("one"), "two.yaml": config_map("two")}
    folder, theirs, ours = write(tmp_path / "in", files), write(tmp_path / "theirs", {}), tmp_path / "ours"
    place, artifact, how = fleet.place, fleet.artifact, "--insecure-registry"
    flux(place, f"push artifact {artifact}:theirs --path {folder} {how} {FROM}")
    sealoop(f"push artifact {artifact}:ours --path {folder} {how} {FROM}")

    pulled = flux(place, f"pull artifact {artifact}:ours {how} --output {theirs}")
    sealoop(f"pull artifact {artifact}:theirs {how} --output {ours}")
    rows = flux(place, f"list artifacts {artifact}").rows[1:]

    assert read(theirs) == read(ours) == files
    assert f"source {ORIGIN}" in pulled.told
    assert f"revision {ORIGIN_REVISION}" in pulled.told
    repository = artifact.removeprefix("oci://")
    listed = {(where, source, revision) for where, _, source, revision in rows}
    assert listed >= {(f"{repository}:{tag}", ORIGIN, ORIGIN_REVISION) for tag in ("v1", "ours", "theirs")}


def read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sealoop(command: str) -> None:
    done = CliRunner().invoke(main, shlex.split(command), prog_name="sealoop", env={"DOCKER_CONFIG": "/nonexistent"})
    assert done.exit_code == 0, f"sealoop {command}: {done.output}"
