"""`sealoop apply`, `get` and `delete` as processes: exit codes, standard input, signals, and what they cannot reach."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gitops_core.adapters.local import LocalCluster
from gitops_core.meta import Manifest
from gitops_core.runtime.clock import SystemChance, SystemClock
from tests.servers.controlplane import ControlPlane
from tests.servers.programs import clean_environment


def config_map(name: str, **metadata: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"a": "1"}}


def command(*words: str | Path, home: Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sealoop", *map(str, words)],
        cwd=home,
        env=clean_environment(home, PYTHONPATH=str(Path(__file__).parents[3]), **environment),
        input=stdin,
        text=True,
        capture_output=True,
        timeout=60,
    )


def test_the_command_works_on_an_embedded_cluster(tmp_path: Path) -> None:
    local = ("--local", tmp_path / "state")

    absent = command("get", "cm", *local, home=tmp_path)
    applied = command("apply", "-f", "-", *local, home=tmp_path, stdin=json.dumps(config_map("a")))
    shown = command("-n", "default", "get", "cm/a", "-o", "name", *local, home=tmp_path)
    failed = command("get", "cm/b", *local, home=tmp_path)

    assert (absent.returncode, absent.stderr) == (
        1,
        f"Error: no embedded cluster in {local[1]}: `sealoop run --local {local[1]}` makes one\n",
    )
    assert (applied.returncode, applied.stdout, applied.stderr) == (0, "configmap/a created\n", "")
    assert (shown.returncode, shown.stdout) == (0, "configmap/a\n")
    assert (failed.returncode, failed.stderr) == (1, "Error: ConfigMap/default/b not found\n")


@pytest.mark.parametrize("words", [("apply", "-f", "sync.json"), ("get", "kustomizations")])
def test_a_new_embedded_cluster_says_how_it_gets_to_know_our_kinds(tmp_path: Path, words: tuple[str, ...]) -> None:
    synced = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "app"}}
    (tmp_path / "sync.json").write_text(json.dumps(synced))
    made = command("apply", "-f", "-", "--local", "state", home=tmp_path, stdin=json.dumps(config_map("a")))

    done = command(*words, "--local", "state", home=tmp_path)

    assert made.returncode == 0, made.stderr
    assert done.returncode == 1
    assert "on an embedded cluster: sealoop run --local DIR\n" in done.stderr


HOSTS = [{"host": f"{letter}.example.com"} for letter in "abcd"]
POD = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]}}
JOB = {"schedule": "0 * * * *", "jobTemplate": {"spec": {"template": POD}}}
BACKEND = {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}
SELECTED = {"podSelector": {"matchLabels": {"app": "web"}}}
OBJECTS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("batch/v1", "CronJob", "plain", {"spec": JOB}),
    ("batch/v1", "CronJob", "paused", {"spec": {**JOB, "suspend": True, "timeZone": "Europe/Berlin"}}),
    ("networking.k8s.io/v1", "Ingress", "plain", {"spec": BACKEND}),
    (
        "networking.k8s.io/v1",
        "Ingress",
        "hosts",
        {"spec": {"ingressClassName": "nginx", "tls": [{"hosts": ["a.example.com"]}], "rules": HOSTS}},
    ),
    ("networking.k8s.io/v1", "NetworkPolicy", "chosen", {"spec": SELECTED}),
    ("networking.k8s.io/v1", "NetworkPolicy", "all", {"spec": {"podSelector": {}}}),
    (
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        "bound",
        {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}},
    ),
]


def cells(table: str) -> list[list[str]]:
    """The words of each line, with one age for all."""
    lines = (re.sub(r"\b\d+s$", "1s", line.rstrip()) for line in table.splitlines())
    return [re.split(r" {2,}", line) for line in lines]


def test_tables_of_built_in_kinds_are_kubectls(control_plane: ControlPlane, tmp_path: Path) -> None:
    place = control_plane.namespace("tables")
    manifests = [
        {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": place}, **fields}
        for version, kind, name, fields in OBJECTS
    ]
    stdin = "".join(map(json.dumps, manifests))
    applied = command("apply", "-f", "-", home=tmp_path, stdin=stdin, KUBECONFIG=str(control_plane.kubeconfig))
    assert applied.returncode == 0, applied.stderr

    for kind in ("cronjobs", "ingresses", "networkpolicies", "rolebindings"):
        ours = command("get", kind, "-n", place, home=tmp_path, KUBECONFIG=str(control_plane.kubeconfig))

        assert cells(ours.stdout) == cells(control_plane.kubectl("get", kind, "-n", place))


def test_a_forbidden_kind_keeps_no_other_from_being_shown_or_deleted(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    place = control_plane.namespace("partly")
    config = {"KUBECONFIG": str(control_plane.user("partly"))}
    control_plane.grant("partly", ["list", "delete"], ["configmaps"], namespace=place)
    for name in ("a", "b"):
        control_plane.kubectl("create", "configmap", name, "-n", place)

    shown = command("get", "secrets,cm", "-n", place, "-o", "name", home=tmp_path, **config)
    alone = command("get", "secrets", "-n", place, "-o", "json", home=tmp_path, **config)
    manifests = json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}) + json.dumps(
        config_map("a")
    )
    deleted = command("delete", "-f", "-", "-n", place, home=tmp_path, stdin=manifests, **config)

    assert (shown.returncode, shown.stdout) == (1, "configmap/a\nconfigmap/b\n")
    assert 'User "partly" cannot list resource "secrets"' in shown.stderr
    assert (alone.returncode, alone.stdout) == (1, "")
    assert (deleted.returncode, deleted.stdout) == (1, "configmap/a deleted\n")
    assert 'User "partly" cannot delete resource "secrets"' in deleted.stderr
    assert control_plane.kubectl("get", "cm", "-n", place, "-o", "name") == "configmap/b\n"


def test_the_namespace_is_that_of_the_context(control_plane: ControlPlane, tmp_path: Path) -> None:
    usual = control_plane.namespace("context")
    config = tmp_path / "config"
    config.write_text(control_plane.kubeconfig.read_text())
    control_plane.kubectl("config", "set-context", "admin", f"--namespace={usual}", kubeconfig=config)

    applied = command("apply", "-f", "-", home=tmp_path, stdin=json.dumps(config_map("a")), KUBECONFIG=str(config))
    elsewhere = command("get", "cm", "-n", "default", "-o", "name", home=tmp_path, KUBECONFIG=str(config))

    assert applied.returncode == 0, applied.stderr
    assert control_plane.kubectl("get", "cm/a", "-n", usual, "-o", "name") == "configmap/a\n"
    assert "configmap/a" not in elsewhere.stdout.split()


@pytest.mark.parametrize(
    ("environment", "options", "complaint"),
    [
        ({}, (), "no cluster to talk to: no kubeconfig at"),
        ({"KUBECONFIG": "dead"}, (), "the API server https://127.0.0.1:1 cannot be reached"),
        ({"KUBECONFIG": "dead"}, ("--context", "nope"), "the kubeconfig has no context 'nope'; there is c"),
        ({}, ("--kubeconfig", "nope"), "kubeconfig nope cannot be read"),
        ({}, ("--local", "x", "--context", "c"), "it goes with neither --kubeconfig nor --context"),
        ({}, ("--local", "file"), "no embedded cluster in file"),
    ],
)
def test_a_cluster_that_cannot_be_had_is_one_sentence(
    tmp_path: Path, environment: dict[str, str], options: tuple[str, ...], complaint: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dead").write_text(
        "{clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: u, user: {token: hunter2}}],"
        " contexts: [{name: c, context: {cluster: c, user: u}}], current-context: c}"
    )

    done = command("get", "cm", *options, home=tmp_path, **environment)

    assert done.returncode in (1, 2)
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


async def test_a_watch_shows_changes_and_ends_quietly_when_interrupted(tmp_path: Path) -> None:
    local = LocalCluster.open(tmp_path / "state", SystemClock(), SystemChance(), shared=True)
    watch = subprocess.Popen(  # noqa: ASYNC220 - starting it blocks for milliseconds
        [sys.executable, "-m", "sealoop", "get", "cm", "-w", "--local", str(tmp_path / "state")],
        env=clean_environment(tmp_path),
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    await local.create(config_map("first", namespace="default"), field_manager="tests")
    lines = [await asyncio.to_thread(watch.stdout.readline) for _ in range(2)]
    await local.create(config_map("second", namespace="default"), field_manager="tests")
    lines.append(await asyncio.to_thread(watch.stdout.readline))
    watch.send_signal(signal.SIGINT)
    out, err = await asyncio.to_thread(watch.communicate, None, 60)
    local.close()

    assert [line.split()[0] for line in lines] == ["NAME", "first", "second"]
    assert (watch.returncode, out, err) == (130, "", "")
