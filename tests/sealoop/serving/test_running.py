"""`sealoop run` as a process: its locks, its endpoints, its end, and what it logs."""

from __future__ import annotations

import json
import logging
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import click
import pytest
from click.testing import CliRunner

from gitops_core.adapters.local import LocalCluster
from gitops_core.meta import Sensitive
from gitops_core.schema import make_crd
from sealoop.logs import JsonFormatter, TextFormatter
from sealoop.main import main
from sealoop.objects.kinds import INSTALL
from sealoop.serving.locks import only_process_in
from sealoop.serving.missing import find_missing
from sealoop.wiring import KINDS
from tests.servers.programs import ROOT, clean_environment, free_port

PASSWORD = "hunter2-correct-horse"


@dataclass
class Service:
    process: subprocess.Popen[bytes]
    log: Path
    ended: list[float] = field(default_factory=list)

    def told(self) -> str:
        return self.log.read_text()

    def until(self, true: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"not within {seconds} s:\n{self.told()}"
            assert self.process.poll() is None, f"it ended:\n{self.told()}"
            time.sleep(0.05)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit code."""
        self.process.send_signal(number)
        return self.process.wait(120)


@contextmanager
def service(home: Path, *words: str | Path, **environment: str) -> Iterator[Service]:
    command = [sys.executable, "-m", "sealoop", "run", *map(str, words)]
    log = home / f"{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=home, env=clean_environment(home, PYTHONPATH=str(ROOT), **environment), stderr=output
        )
        try:
            yield Service(process, log)
        finally:
            process.kill()
            process.wait()


def refused(home: Path, *words: str | Path) -> str:
    """The one sentence of a service that does not start."""
    with service(home, *words) as failed:
        assert failed.process.wait(60) == 1
        assert "Traceback" not in failed.told()
        (sentence,) = (line for line in failed.told().splitlines() if line.startswith("Error: "))
        return sentence


def answer(port: int, path: str) -> tuple[int, str]:
    """Status and body; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def repository(url: str) -> str:
    metadata = {"name": "app", "namespace": "default"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    spec = {"url": url, "interval": "1s", "secretRef": {"name": "app"}}
    source = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": metadata, "spec": spec}
    objects = [{**secret, "stringData": {"username": "bob", "password": PASSWORD}}, source]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


@contextmanager
def refusing_server() -> Iterator[str]:
    """A Git server that knows no password, and says the one it was given."""

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.end_headers()
            self.wfile.write(f"no: {self.headers.get('Authorization')} {PASSWORD}".encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/app.git"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_service_serves_health_and_metrics_and_ends_with_0_when_asked(tmp_path: Path) -> None:
    port = free_port()
    words = ("--local", "state", "--state-dir", "state", "--listen", f"127.0.0.1:{port}")
    with service(tmp_path, *words) as running:
        running.until(lambda: answer(port, "/readyz") == (200, "ok\n"))
        health, metrics = answer(port, "/healthz"), answer(port, "/metrics")
        code = running.end()

        log = running.told()
    assert health == (200, "ok\n")
    assert metrics[0] == 200
    assert "sealoop_informer_synced" in metrics[1]
    assert code == 0
    assert "abandoned" not in log
    assert re.search(r'INFO +started +version=\S+ cluster="embedded in state" state=\S+/state listen=', log)
    assert log.splitlines()[-2].endswith("stopping  signal=SIGTERM")
    assert log.splitlines()[-1].endswith("stopped")


def test_a_second_process_on_a_folder_is_refused_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    with service(tmp_path, "--local", "state") as first:
        first.until(lambda: "started" in first.told())
        same = refused(tmp_path, "--local", "state")
        other = refused(tmp_path, "--local", "state", "--state-dir", "elsewhere")
        first.end(signal.SIGKILL)
        number = first.process.pid

    with service(tmp_path, "--local", "state") as second:
        second.until(lambda: "started" in second.told())
        assert second.end(signal.SIGINT) == 0
    assert same == f"Error: another sealoop (process {number}) works on state: stop it, or name another folder"
    assert other == same


def test_a_lock_is_given_back(tmp_path: Path) -> None:
    with only_process_in(tmp_path / "new"), pytest.raises(click.ClickException), only_process_in(tmp_path / "new"):
        pass
    with only_process_in(tmp_path / "new"):
        pass


def test_a_setting_it_cannot_start_with_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "bad.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Bad_Name}")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "cluster.sqlite").write_text("this is no database" * 100)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"

        assert refused(tmp_path, "--local", "x", "--listen", listen) == (
            f"Error: cannot listen on '{listen}': Address already in use; name another with --listen"
        )
    assert "cannot listen on '127.0.0.1:http': 'http' is not a port" in refused(
        tmp_path, "--local", "x", "--listen", "127.0.0.1:http"
    )
    assert "cannot write to file: File exists" in refused(tmp_path, "--local", "file")
    assert "file cannot be read: Not a dir" in refused(tmp_path, "--local", "x", "-f", "file/below").replace(
        "/below", ""
    )
    assert 'ConfigMap "Bad_Name" is invalid' in refused(tmp_path, "--local", "x", "-f", "bad.yaml")
    assert "junk cannot be used: " in refused(tmp_path, "--local", "junk")
    assert "no cluster to talk to: no kubeconfig at" in refused(tmp_path)


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, number: signal.Signals, expected: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # takes connections and never answers
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}/app.git"
        (tmp_path / "app.json").write_text(repository(url))
        with service(tmp_path, "--local", "state", "-f", "app.json", "--grace-period", "600") as running:
            connection, _ = hanging.accept()
            running.process.send_signal(number)
            running.until(lambda: "stopping" in running.told())
            with suppress(subprocess.TimeoutExpired):
                running.process.wait(0.5)  # it finishes what is under way
            still_there = running.process.poll() is None
            code = running.end(number)
            connection.close()
            assert "Traceback" not in running.told()
    assert still_there
    assert code == expected


def test_a_reconciliation_that_hangs_is_abandoned_after_the_grace_period(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}/app.git"
        (tmp_path / "app.json").write_text(repository(url))
        with service(tmp_path, "--local", "state", "-f", "app.json", "--grace-period", "0.5") as running:
            connection, _ = hanging.accept()
            code = running.end()
            connection.close()
            assert "abandoned what was under way" in running.told()
    assert code == 0


@pytest.mark.parametrize("level", ["info", "debug"])
def test_every_line_is_json_with_its_fields_and_none_holds_a_password(tmp_path: Path, level: str) -> None:
    with refusing_server() as url:
        (tmp_path / "app.json").write_text(repository(url))
        words = ("--local", "state", "-f", "app.json", "--log-format", "json", "--log-level", level)
        with service(tmp_path, *words) as running:
            running.until(lambda: '"msg":"failed"' in running.told())
            assert running.end() == 0
            log = running.told()
    lines = [json.loads(line) for line in log.splitlines()]
    (failure, *_) = (line for line in lines if line["msg"] == "failed")
    assert {"ts", "level", "logger", "msg", "kind", "key", "reason", "cause"} <= failure.keys()
    assert (failure["level"], failure["kind"], failure["key"]) == ("warning", "GitRepository", "default/app")
    assert PASSWORD not in log
    assert "Basic " not in log


def test_an_api_server_that_is_down_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "{clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: u, user: {token: hunter2}}],"
        " contexts: [{name: c, context: {cluster: c, user: u}}], current-context: c}"
    )
    words = ("--kubeconfig", "config", "--state-dir", "state", "--listen", "")
    with service(tmp_path, *words) as running:
        running.until(lambda: "cannot reach the lease" in running.told())
        time.sleep(3)
        log = running.told()
        assert running.end() == 0
    assert log.count("cannot reach the lease") == 1
    assert "https://127.0.0.1:1 cannot be reached: Connection refused" in log
    assert "hunter2" not in log


async def test_a_missing_part_of_a_cluster_is_named_with_the_command_that_mends_it(local_cluster: LocalCluster) -> None:
    kinds = [kind.KIND for kind in KINDS]

    before = [lack async for lack in find_missing(local_cluster, kinds, "sealoop-system")]
    for kind in KINDS:
        await local_cluster.apply(make_crd(kind), field_manager="tests")
    after = [lack async for lack in find_missing(local_cluster, kinds, "sealoop-system")]

    assert before == [(f"the kinds {', '.join(kind.kind for kind in kinds)}", INSTALL), *after]
    assert after == [
        ("the namespace sealoop-system for the lease", "kubectl create namespace sealoop-system"),
    ]
    assert [lack async for lack in find_missing(local_cluster, kinds, "default")] == []


# one line of the log


def record(message: str, **extra: object) -> logging.LogRecord:
    return logging.getLogger("tests").makeRecord("tests", logging.INFO, __file__, 1, message, (), None, extra={**extra})


def test_both_formats_show_the_fields_and_mute_what_is_sensitive() -> None:
    entry = record("synced", kind="Kustomization", changed=True, token=Sensitive(PASSWORD), path=Path("/x y"))

    text, line = TextFormatter().format(entry), json.loads(JsonFormatter().format(entry))

    assert text.endswith('INFO    synced  kind=Kustomization changed=True token=Sensitive(...) path="/x y"')
    assert (line["msg"], line["kind"], line["changed"], line["token"]) == (
        "synced",
        "Kustomization",
        True,
        "Sensitive(...)",
    )


def test_a_value_cannot_begin_another_line() -> None:
    entry = record("failed", cause='said "no"\n12:00:00.000 INFO    all is well', empty="", unit="a=b")

    text, line = TextFormatter().format(entry), JsonFormatter().format(entry)

    assert len(text.splitlines()) == len(line.splitlines()) == 1
    assert text.endswith(r'cause="said \"no\"\n12:00:00.000 INFO    all is well" empty="" unit="a=b"')


def test_a_bug_is_logged_with_its_traceback() -> None:
    try:
        raise ValueError("a bug")  # noqa: TRY301 - a traceback is wanted
    except ValueError:
        entry = logging.getLogger("tests").makeRecord(
            "tests", logging.ERROR, __file__, 1, "broke", (), sys.exc_info(), extra={"kind": "X"}
        )

    assert "ValueError: a bug" in json.loads(JsonFormatter().format(entry))["stacktrace"]
    assert TextFormatter().format(entry).endswith("ValueError: a bug")


@pytest.mark.parametrize("name", ["", " ", "a b", "A", "x/y", "a:b", "deployer\n"])
def test_a_default_that_no_service_account_is_called_is_refused_at_once(name: str) -> None:
    result = CliRunner().invoke(main, ["run", "--default-service-account", name])

    assert result.exit_code == 2
    assert f"--default-service-account: no ServiceAccount can be called {name!r}" in " ".join(result.output.split())


@pytest.mark.parametrize("said", ["--no-remote-bases=false", "--remote-bases"])
def test_remote_bases_cannot_be_allowed(said: str) -> None:
    """And to forbid them as Flux does is no mistake: tests/journeys/test_multitenancy.py."""
    result = CliRunner().invoke(main, ["run", said])

    assert result.exit_code == 2
    assert "--remote-bases: bases of other repositories are never built" in " ".join(result.output.split())
