"""What every real server of the suite relies on: found or named, ready or explained, and gone with the test process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers import programs
from tests.servers.programs import ROOT, ProgramFailed

SERVE = "import http.server as h, sys; h.test(h.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')"


def test_a_missing_program_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(FileNotFoundError, match=r"the program 'kube-nonsense': `make tools` builds it"):
        programs.program("kube-nonsense")


def test_two_test_processes_are_never_given_the_same_port() -> None:
    """They would be, here: both have the same luck."""
    script = (
        "import random; from tests.servers import programs; random.seed(20)\n"
        "print(*(programs.free_port() for _ in range(20)), flush=True); input()"
    )
    command = [sys.executable, "-c", script]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe) as one:
        assert one.stdout is not None
        ours = one.stdout.readline().split()
        other = subprocess.run(command, cwd=ROOT, text=True, input="\n", capture_output=True, check=True)
        one.communicate("\n")

    theirs = other.stdout.split()
    assert len(ours) == len(theirs) == 20
    assert not set(ours) & set(theirs)


def test_a_server_runs_for_the_length_of_the_block(tmp_path: Path) -> None:
    port = programs.free_port()
    command = [sys.executable, "-c", SERVE, str(port)]

    with programs.running(command, folder=tmp_path, ready=lambda: programs.listens(port), name="serve"):
        assert programs.answers(f"http://127.0.0.1:{port}/")

    assert not programs.listens(port)
    assert "GET / HTTP" in (tmp_path / "serve.log").read_text()


def test_a_program_that_ends_early_shows_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such flag')"]
    started = programs.start(command, folder=tmp_path, name="early")

    with pytest.raises(ProgramFailed, match=r"early ended with code 1:\nno such flag"):
        started.wait_until(lambda: False)


def test_a_program_that_never_gets_ready_is_an_error_in_time(tmp_path: Path) -> None:
    started = programs.start([sys.executable, "-c", "import time; time.sleep(60)"], folder=tmp_path, name="slow")

    with pytest.raises(ProgramFailed, match="slow was not ready after 0 s"):
        started.wait_until(lambda: False, timeout=0.2)

    started.stop()
    assert not _alive(started.pid)


def test_the_developers_own_settings_do_not_reach_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/home/developer/.kube/config")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")

    started = programs.start(
        [sys.executable, "-c", "import os; print(sorted(os.environ))"], folder=tmp_path, name="env"
    )
    started.process.wait(60)

    assert "HOME" in started.last_lines()
    assert "KUBECONFIG" not in started.last_lines()
    assert "https_proxy" not in started.last_lines()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_a_program_dies_with_a_test_process_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tests.servers import programs\n"
        "started = programs.start([sys.executable, '-c', 'import time; time.sleep(60)'], folder=Path(sys.argv[1]))\n"
        "print(started.pid, flush=True); time.sleep(60)"
    )
    tester = subprocess.Popen([sys.executable, "-c", script, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert tester.stdout is not None
    child = int(tester.stdout.readline())
    assert _alive(child)

    tester.kill()
    tester.wait()
    tester.stdout.close()

    deadline = time.monotonic() + 10
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and was not waited for does not."""
    try:
        os.kill(pid, signal.SIG_DFL)
        return not Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].startswith(" Z")
    except (ProcessLookupError, FileNotFoundError):
        return False
