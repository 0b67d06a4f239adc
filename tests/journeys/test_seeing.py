"""What there is and what would change, asked from the command line while nobody reconciles."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from tests.journeys.surroundings import Surroundings, config_map, deployment, flux
from tests.journeys.test_tenants import kubeconfig
from tests.servers.git import BareRepository
from tests.servers.programs import ROOT, clean_environment

Remote = tuple[BareRepository, str]

SECRET = json.dumps(
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "hunter2hunter2"}}
).encode()


def sealoop(around: Surroundings, *words: str, user: Path | None = None) -> subprocess.CompletedProcess[str]:
    config = ("--kubeconfig", str(user or around.plane.kubeconfig), "-n", around.namespace)
    environment = clean_environment(around.folder, PYTHONPATH=str(ROOT))
    command = [sys.executable, "-m", "sealoop", *words, *config]
    return subprocess.run(command, env=environment, cwd=around.folder, text=True, capture_output=True, timeout=120)


def sync(around: Surroundings, url: str, name: str, **more: object) -> None:
    source = {"kind": "GitRepository", "name": "app"}
    spec = {"sourceRef": source, "path": "./app", "targetNamespace": around.namespace, "interval": "1h", "prune": True}
    about = {"url": url, "interval": "1s", "ref": {"branch": "main"}, "secretRef": {"name": "git"}}
    around.apply(
        flux("source", "GitRepository", "app", **about), flux("kustomize", "Kustomization", name, **spec, **more)
    )


def get_fetched(around: Surroundings) -> str:
    return str(around.get("gitrepository/app")["status"]["artifact"]["revision"])


async def test_what_the_next_reconciliation_would_change_and_what_happened_are_shown(
    around: Surroundings, remote: Remote
) -> None:
    repository, url = remote
    files = {"web": deployment("web:1"), "hand": config_map("hand", a="1"), "gone": config_map("gone"), "s": SECRET}
    await repository.commit({f"app/{name}.yaml": text for name, text in files.items()})
    sync(around, url, "app")

    def story() -> None:
        kubectl = around.plane.kubectl
        with around.serving():
            around.until(lambda: around.ready("kustomization/app"), "the folder is applied")
            around.until(lambda: around.get("pods")["items"], "the Deployment has a Pod")
            sync(around, url, "app", suspend=True)
            changed = {"app/web.yaml": deployment("web:2", replicas=3), "app/gone.yaml": None, "app/s.yaml": SECRET}
            commit = asyncio.run(repository.commit({**changed, "app/new.yaml": config_map("new")}))
            around.until(lambda: get_fetched(around).endswith(commit), "the commit is fetched")
            kubectl("patch", "configmap/hand", "-n", around.namespace, "-p", '{"data": {"a": "9"}}')
            kubectl("delete", "secret/s", "-n", around.namespace)
            around.told()
        before = kubectl("get", "configmaps,deployments,secrets,kustomizations", "-n", around.namespace, "-o", "json")

        found = sealoop(around, "diff", "app")
        plain = {
            str(one["object"]): one for one in json.loads(sealoop(around, "diff", "-o", "json").stdout)[0]["objects"]
        }

        place = around.namespace
        assert (found.returncode, found.stderr) == (3, "")
        assert found.stdout.splitlines()[2:] == [
            f"~ ConfigMap/{place}/hand configured (drift)",
            "    data.a: 9 -> 1 (set by kubectl-patch)",
            f"+ ConfigMap/{place}/new created",
            f"+ Secret/{place}/s created (drift)",
            f"~ Deployment/{place}/web configured",
            "    spec.replicas: 1 -> 3",
            "    spec.template.spec.containers[web].image: web:1 -> web:2",
            f"- ConfigMap/{place}/gone deleted",
            "Plan: 2 to create, 2 to change, 1 to delete, 0 unchanged.",
        ]
        assert {name: one["drift"] for name, one in plain.items()} == {
            f"ConfigMap/{place}/hand": True,
            f"ConfigMap/{place}/new": False,
            f"Secret/{place}/s": True,
            f"Deployment/{place}/web": False,
            f"ConfigMap/{place}/gone": False,
        }
        after = kubectl("get", "configmaps,deployments,secrets,kustomizations", "-n", around.namespace, "-o", "json")
        assert before == after

        events = json.loads(sealoop(around, "events", "--for", "ks/app", "-o", "json").stdout)["items"]
        assert {event["involvedObject"]["kind"] for event in events} >= {
            "GitRepository",
            "Kustomization",
            "Deployment",
            "ReplicaSet",
        }
        everything = json.loads(sealoop(around, "get", "all", "-o", "json").stdout)
        assert [item["kind"] for item in everything["items"]] == ["GitRepository", "Kustomization"]
        assert sealoop(around, "get", "all", "-o", "name", "--status-selector", "ready=false").stdout == ""

    await asyncio.to_thread(story)


async def test_who_may_not_read_the_credentials_is_led_to_a_checkout_and_another_cluster_is_compared_with_there(
    around: Surroundings, remote: Remote
) -> None:
    repository, url = remote
    await repository.commit({"app/one.yaml": config_map("one", a="1")})
    plane, place = around.plane, around.namespace
    plane.grant(f"system:serviceaccount:{place}:remote", ["*"], ["configmaps"], namespace=place)
    kubeconfig(around, "there", {"token": plane.service_account(place, "remote")})
    sync(around, url, "app", kubeConfig={"secretRef": {"name": "there"}}, suspend=True)
    sync(around, url, "own", serviceAccountName="nobody", suspend=True)
    reader = plane.user("reader")
    for group, resources in (
        ("source.toolkit.fluxcd.io", ["gitrepositories"]),
        ("kustomize.toolkit.fluxcd.io", ["kustomizations"]),
    ):
        plane.grant("reader", ["get", "list"], resources, namespace=place, groups=[group])

    def story() -> None:
        with around.serving():
            around.until(lambda: around.ready("gitrepository/app"), "the commit is fetched")
        refused = sealoop(around, "diff", "ks", "own", user=reader)
        there = sealoop(around, "diff", "ks/app", "--other-clusters")
        mine, theirs = (sealoop(around, "diff", "own", *more) for more in ((), ("--impersonate",)))

        assert refused.returncode == 1
        assert 'cannot get resource "secrets"' in refused.stderr
        assert f"where you have them: sealoop plan ks/own -n {place} --checkout DIR" in refused.stderr
        assert (there.returncode, there.stderr) == (3, "")
        assert there.stdout.splitlines()[0].endswith("(nothing applied yet)")
        assert f"+ ConfigMap/{place}/one created" in there.stdout
        assert (mine.returncode, theirs.returncode) == (3, 1)
        assert f'User "system:serviceaccount:{place}:nobody" cannot' in theirs.stderr

    await asyncio.to_thread(story)
