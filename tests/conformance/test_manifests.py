"""Manifests as people write them, applied by kubectl: what becomes of them is what the originals do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.stage import Repository, Stage
from tests.journeys.surroundings import Surroundings, config_map, deployment, flux

DEFINITION = b"""
apiVersion: %(group)s/v1
kind: Gadget
metadata: {name: one}
spec: {size: 3}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.%(group)s}
spec:
  group: %(group)s
  scope: Namespaced
  names: {plural: gadgets, kind: Gadget, singular: gadget, listKind: GadgetList}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
"""
NEW_NAMESPACE = b"""
apiVersion: v1
kind: ServiceAccount
metadata: {name: inside, namespace: %(name)s}
---
apiVersion: v1
kind: Namespace
metadata: {name: %(name)s}
"""
UNICODE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: é 日本 😀, b: "yes\\n"}
""".encode()
COMPONENT = b"apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -seen\n"
JOB = b"""
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "registry.example.org/job:%s"}]}}}
"""
SOURCE = {"kind": "GitRepository", "name": "app"}


def begin(served: Stage, name: str, files: dict[str, bytes]) -> tuple[Surroundings, Repository]:
    """A namespace, and a remote of `files` whose GitRepository is `app`."""
    place, repository = served.place(name), served.repository(name, files)
    place.apply(flux("source", "GitRepository", "app", url=repository.url, interval="1s", ref={"branch": "main"}))
    return place, repository


def sync(place: Surroundings, name: str, path: str, **more: Any) -> dict[str, Any]:
    spec = {"interval": "10m", "retryInterval": "1s", "prune": True, "targetNamespace": place.namespace}
    spec |= {"sourceRef": SOURCE, "path": path, **more}
    return flux("kustomize", "Kustomization", name, **{key: item for key, item in spec.items() if item is not None})


def test_a_kustomization_in_git_is_deleted_with_what_it_made(served: Stage) -> None:
    place, repository = begin(
        served, "nested", {"leaf/one.yaml": config_map("one"), "top/other.yaml": config_map("other")}
    )
    child = json.dumps(sync(place, "child", "./leaf")).encode()
    repository.commit({"top/child.yaml": child})
    place.apply(sync(place, "parent", "./top", interval="1s"))
    place.until(lambda: place.ready("kustomization/child") and place.ready("kustomization/parent"), "both are applied")
    reconciled = place.get("kustomization/parent")["status"]["history"][0]["totalReconciliations"]

    place.until(
        lambda: place.get("kustomization/parent")["status"]["history"][0]["totalReconciliations"] > reconciled + 2,
        "the parent looks again",
    )
    assert place.get("kustomization/child")["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    repository.commit({"top/child.yaml": None})

    place.until(lambda: not place.get("kustomization/child"), "the child leaves with its file")
    place.until(lambda: not place.get("configmap/one"), "what the child made leaves too")
    assert place.get("configmap/other")


def test_a_definition_and_its_object_and_a_namespace_and_its_content(served: Stage) -> None:
    group, fresh = b"conformance.example.com", b"fresh-namespace"
    files = {"crd/all.yaml": DEFINITION % {b"group": group}, "ns/all.yaml": NEW_NAMESPACE % {b"name": fresh}}
    place, _ = begin(served, "stages", files)

    place.apply(sync(place, "crd", "./crd", wait=True), sync(place, "ns", "./ns", targetNamespace=None, wait=True))

    place.until(
        lambda: place.ready("kustomization/crd") and place.ready("kustomization/ns"), "both are applied at once"
    )
    assert place.get("gadget/one")["spec"] == {"size": 3}
    assert place.plane.kubectl("get", "serviceaccount/inside", "-n", "fresh-namespace")


def test_overlays_of_the_spec(served: Stage) -> None:
    files = {
        "app/web.yaml": deployment("registry.example.org/web:1"),
        "app/settings.yaml": UNICODE,
        "shared/kustomization.yaml": COMPONENT,
    }
    place, _ = begin(served, "overlays", files)
    patch = "- {op: add, path: /spec/replicas, value: 0}"
    more = {
        "namePrefix": "p-",
        "components": ["../shared"],
        "images": [{"name": "registry.example.org/web", "newName": "registry.example.org/other", "newTag": "2"}],
        "patches": [{"patch": patch, "target": {"kind": "Deployment"}}],
        "commonMetadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}},
    }

    place.apply(sync(place, "app", "./app", wait=True, **more))

    place.until(lambda: place.ready("kustomization/app"), "the folder is applied")
    web = place.get("deployment/p-web-seen")
    assert web["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example.org/other:2"
    assert web["spec"]["replicas"] == 0
    assert (web["metadata"]["labels"]["team"], web["metadata"]["annotations"]["note"]) == ("a", "b")
    assert place.get("configmap/p-settings-seen")["data"] == {"a": "é 日本 😀", "b": "yes\n"}


def test_nothing_is_written_when_one_object_is_refused(served: Stage) -> None:
    bad = b"apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 99999999}]}\n"
    place, repository = begin(served, "refused", {"app/a.yaml": config_map("a"), "app/b.yaml": bad})

    place.apply(sync(place, "app", "./app"))

    place.until(lambda: place.condition("kustomization/app")["reason"] == "ReconciliationFailed", "it is refused")
    message = place.condition("kustomization/app")["message"]
    assert message.startswith(f"Service/{place.namespace}/bad dry-run failed (Invalid)")
    assert not place.get("configmap/a")
    repository.commit({"app/b.yaml": None})
    place.until(lambda: place.ready("kustomization/app") and place.get("configmap/a"), "a better commit heals")


def test_an_immutable_field_is_told_and_orphans_stay(served: Stage) -> None:
    place, repository = begin(served, "immutable", {"app/job.yaml": JOB % b"1"})
    place.apply(sync(place, "app", "./app", deletionPolicy="Orphan"))
    place.until(lambda: place.ready("kustomization/app"), "the Job is applied")

    repository.commit({"app/job.yaml": JOB % b"2"})

    place.until(
        lambda: "field is immutable" in place.condition("kustomization/app")["message"], "the change is refused"
    )
    place.plane.kubectl("delete", "kustomization/app", "-n", place.namespace, "--wait=true", "--timeout=55s")
    assert place.get("job/job")


ROOT = {"provider": "cosign", "trustedRootSecretRef": {"name": "root"}}
UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    (
        flux("source", "OCIRepository", "x", url="oci://127.0.0.1:9/x", interval="1h", verify=ROOT),
        "spec.verify.trustedRootSecretRef",
    ),
    (
        flux(
            "kustomize",
            "Kustomization",
            "x",
            sourceRef={**SOURCE, "kind": "ExternalArtifact"},
            interval="1h",
            prune=True,
        ),
        "spec.sourceRef.kind",
    ),
]


@pytest.mark.parametrize(("manifest", "path"), UNSUPPORTED, ids=[path for _, path in UNSUPPORTED])
def test_a_field_that_is_not_acted_on_is_named_and_stops(served: Stage, manifest: dict[str, Any], path: str) -> None:
    place = served.place("unsupported")
    what = f"{manifest['kind'].lower()}/x"

    place.apply(manifest)

    place.until(lambda: place.condition(what, "Stalled")["status"] == "True", "it stops")
    assert path in place.condition(what)["message"]
    assert path in place.condition(what, "Unsupported")["message"]


EXTERNAL: list[tuple[str, dict[str, Any]]] = [
    ("spec.target.template", {"target": {"template": {"data": {"a": "{{ .k }}"}}}}),
    (
        "spec.dataFrom[0].rewrite",
        {"dataFrom": [{"find": {"name": {"regexp": ".*"}}, "rewrite": [{"regexp": {"source": "k", "target": "l"}}]}]},
    ),
    ("spec.dataFrom[0].find.nullBytePolicy", {"dataFrom": [{"find": {"nullBytePolicy": "Fail"}}]}),
    (
        "spec.dataFrom[0].sourceRef",
        {
            "dataFrom": [
                {
                    "sourceRef": {
                        "generatorRef": {
                            "apiVersion": "generators.external-secrets.io/v1alpha1",
                            "kind": "Password",
                            "name": "x",
                        }
                    }
                }
            ]
        },
    ),
    ("spec.secretStoreRef.kind", {"secretStoreRef": {"kind": "ClusterSecretStore", "name": "x"}}),
]


@pytest.mark.parametrize(("path", "spec"), EXTERNAL, ids=[path for path, _ in EXTERNAL])
def test_secrets_that_cannot_be_made_as_asked_are_not_made(served: Stage, path: str, spec: dict[str, Any]) -> None:
    place = served.place("secrets")
    store = {"secretStoreRef": {"kind": "SecretStore", "name": "fake"}, "refreshInterval": "1h"}
    fake = {"provider": {"fake": {"data": [{"key": "k", "value": "v"}]}}}
    api = "external-secrets.io/v1"
    place.apply(
        {"apiVersion": api, "kind": "SecretStore", "metadata": {"name": "fake"}, "spec": fake},
        {"apiVersion": api, "kind": "ExternalSecret", "metadata": {"name": "x"}, "spec": {**store, **spec}},
    )

    place.until(lambda: path in place.condition("externalsecret/x")["message"], "it is refused")

    assert place.condition("externalsecret/x")["status"] == "False"
    assert path in place.condition("externalsecret/x", "Unsupported")["message"]
    assert not place.get("secret/x")
