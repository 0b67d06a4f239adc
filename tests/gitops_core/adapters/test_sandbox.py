"""Hostile programs in the place of kustomize: each tries one thing that no build needs."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gitops_core.adapters import sandbox
from gitops_core.adapters.sandbox import (
    NOBODY,
    Confinement,
    Finished,
    Limits,
    OutOfTime,
    Sandboxed,
    Stopped,
    TooMuchOutput,
    remove_stale_folders,
)

PYTHON = os.path.realpath(sys.executable)
LIBRARIES = (sys.base_prefix,)
HERE = Confinement.of_this_machine()
FILTERS_ONLY = Confinement(landlock=0, has_filters=True, user=None)


def hostile(
    code: str, files: Mapping[str, bytes] | None = None, limits: Limits | None = None, confinement: Confinement = HERE
) -> Sandboxed:
    command = (PYTHON, "-I", "-S", "-c", code)
    return Sandboxed(command, files or {"own": b"hello"}, {}, limits or Limits(), confinement, LIBRARIES)


def refusal(finished: Finished) -> str:
    """The exception that ended the program."""
    assert finished.status == 1, finished
    return finished.messages.decode().strip().splitlines()[-1]


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    place = Path(sandbox.MEMORY)
    ours = f"{sandbox.PREFIX}{os.getpid()}-*"  # other tests may build in processes of their own
    before = {*place.glob(ours)}
    yield
    assert not {*place.glob(ours)} - before


def test_this_machine_can_confine_a_program_completely() -> None:
    assert HERE.is_complete
    assert "no files but its own" in HERE.described


def test_a_program_reads_its_own_files_and_prints() -> None:
    finished = hostile("import os; print(open('a/b').read(), os.listdir('a'))", {"a/b": b"c"}).run()

    assert finished == Finished(0, b"c ['b']\n", b"")


def test_a_static_program_needs_nothing_but_itself() -> None:
    kustomize = os.path.realpath(".tools/bin/kustomize")
    finished = Sandboxed((kustomize, "version"), {}, {}, Limits(), HERE).run()

    assert finished.output.startswith(b"v5.")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/proc/self/environ",
        "/proc/1/environ",
        "/proc/self/maps",
        "/dev/shm",
        "/",
        "..",
        "/tmp",
        __file__,
    ],
)
def test_a_program_opens_no_other_file(path: str) -> None:
    code = f"import os; os.open({path!r}, os.O_RDONLY)"

    assert "Permission denied" in refusal(hostile(code).run())


def test_a_link_out_of_the_folder_leads_nowhere() -> None:
    code = """
for path in ("/dev/fd/0", "/proc/self/fd/0", "/proc/self/root/etc/passwd"):
    try:
        open(path)
    except PermissionError:
        print("no")
"""

    assert hostile(code).run().output == b"no\nno\nno\n"


@pytest.mark.parametrize(
    "code",
    [
        "open('new', 'w')",
        "open('own', 'a')",
        "import os; os.remove('own')",
        "import os; os.mkdir('new')",
        "import os; os.rename('own', 'new')",
        "import os; os.symlink('/etc/passwd', 'new')",
        "import os; os.truncate('own', 0)",
        "import os; os.link('own', 'new')",
    ],
)
def test_a_program_writes_nothing(code: str) -> None:
    assert "Permission denied" in refusal(hostile(code).run())


@pytest.mark.parametrize("confinement", [HERE, FILTERS_ONLY], ids=["all", "filters only"])
@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "import socket; socket.socket(socket.AF_UNIX)",
        "import socket; socket.socketpair()",
        "import os; os.fork()",
        "import os; os.kill(os.getppid(), 0)",
        "import os; os.memfd_create('x')",
        "import os; os.pidfd_open(os.getppid())",
    ],
)
def test_a_program_makes_no_connection_and_no_process(code: str, confinement: Confinement) -> None:
    assert "Operation not permitted" in refusal(hostile(code, confinement=confinement).run())


def test_landlock_alone_refuses_connections_too() -> None:
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"

    assert "Permission denied" in refusal(hostile(code, confinement=Confinement(HERE.landlock, False, None)).run())


def test_a_program_starts_no_other_program() -> None:
    code = "import subprocess; subprocess.run(['/bin/echo', 'hello'], close_fds=False)"

    assert "hello" not in hostile(code).run().output.decode()


def test_a_program_has_threads() -> None:
    code = "import threading\nt = threading.Thread(target=print, args=('hello',))\nt.start(); t.join()"

    assert hostile(code).run().output == b"hello\n"


def test_a_child_that_outlives_the_program_is_killed() -> None:
    """Where a program finds a way to make one after all: without filters."""
    confinement = Confinement(HERE.landlock, False, None)
    code = "import os, time\nif os.fork() == 0: time.sleep(60)\nprint('started')"
    began = time.monotonic()

    assert hostile(code, confinement=confinement).run().output == b"started\n"
    assert time.monotonic() - began < 30


def test_memory_is_limited() -> None:
    assert "MemoryError" in refusal(hostile("bytearray(2**30)", limits=Limits(memory=2**28)).run())


def test_the_processor_is_limited() -> None:
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(resource.RLIMIT_FSIZE))"

    assert (
        hostile(f"import time; time.sleep(0.5)\n{code}", limits=Limits(seconds=4)).run().output == b"(10, 10) (0, 0)\n"
    )


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_is_limited(stream: str) -> None:
    code = f"import sys\nwhile True: sys.{stream}.write('x' * 4096)"

    with pytest.raises(TooMuchOutput):
        hostile(code, limits=Limits(output=2**20, messages=2**16)).run()


def test_time_is_limited_also_when_the_program_closes_its_output() -> None:
    code = "import os, time\nos.close(1); os.close(2)\ntime.sleep(60)"
    began = time.monotonic()

    with pytest.raises(OutOfTime):
        hostile(code, limits=Limits(seconds=0.5)).run()
    assert time.monotonic() - began < 30


def test_open_files_of_the_service_are_not_inherited(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("planted")
    with open(tmp_path / "secret", "rb") as secret:
        os.set_inheritable(secret.fileno(), True)
        code = f"import os; os.read({secret.fileno()}, 100)"

        assert "Bad file descriptor" in refusal(hostile(code).run())


def test_the_environment_of_the_service_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", "planted")

    assert b"PLANTED" not in hostile("import os; print(dict(os.environ))").run().output


def test_the_service_itself_stays_free() -> None:
    hostile("print()").run()

    with socket.socket(), open("/etc/passwd"):
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()


def test_a_program_is_stopped_from_another_thread() -> None:
    run = hostile("import time; time.sleep(60)")
    timer = threading.Timer(0.5, run.stop)
    timer.start()

    with pytest.raises(Stopped):
        run.run()


def test_a_program_that_was_stopped_before_does_not_start() -> None:
    run = hostile("print('hello')")
    run.stop()

    with pytest.raises(Stopped):
        run.run()


def test_a_program_that_is_not_there_leaves_no_folder() -> None:
    with pytest.raises(OSError, match="No such file"):
        Sandboxed(("/nowhere/program",), {"a": b"b"}, {}, Limits(), HERE).run()


def test_files_that_cannot_be_written_leave_no_folder() -> None:
    with pytest.raises(OSError, match="exists"):
        Sandboxed((PYTHON,), {"a": b"b", "a/c": b"d"}, {}, Limits(), HERE).run()


def test_paths_in_messages_begin_at_the_folder() -> None:
    code = "import os, sys; sys.exit(os.getcwd() + '/own and ' + os.getcwd())"

    assert hostile(code).run().messages == b"own and .\n"


def test_without_landlock_a_program_of_root_runs_as_nobody() -> None:
    other = Confinement(landlock=0, has_filters=True, user=NOBODY if os.geteuid() == 0 else None)
    command = ("/bin/sh", "-c", "id -u; id -g; cat own; cat /etc/shadow")
    finished = Sandboxed(command, {"own": b"hello\n"}, {"PATH": "/usr/bin:/bin"}, Limits(), other).run()

    user = NOBODY if os.geteuid() == 0 else os.getuid()
    assert finished.output.decode().splitlines()[0] == str(user)
    assert b"hello" in finished.output
    assert b"denied" in finished.messages
    assert not other.is_complete
    assert "no Landlock" in other.described


def test_folders_of_services_that_were_killed_are_removed_at_once_and_those_of_the_living_are_not() -> None:
    living = hostile("import time; time.sleep(60)")
    thread = threading.Thread(target=_run_until_stopped, args=(living,))
    thread.start()
    place = Path(sandbox.MEMORY)
    while living._process is None:  # its folder is locked when it begins
        time.sleep(0.01)
    used = {*place.glob(f"{sandbox.PREFIX}{os.getpid()}-*")}
    killed = Path(tempfile.mkdtemp(prefix=f"{sandbox.PREFIX}{os.getpid()}-", dir=place))
    (killed / "file").write_text("x")

    try:
        remove_stale_folders()

        assert not killed.exists()
        assert used
        assert all(folder.exists() for folder in used)
    finally:
        living.stop()
        thread.join()


def _run_until_stopped(program: Sandboxed) -> None:
    with contextlib.suppress(Stopped):
        program.run()


def test_what_must_not_stand_on_a_disk_is_not_written_where_no_memory_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    disk = tmp_path / "shm"
    disk.mkdir()
    monkeypatch.setattr(sandbox, "MEMORY", str(disk))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sandbox, "_is_in_memory", lambda place: False)
    secret, other = hostile("print(open('own').read())"), hostile("print(open('own').read())")
    secret.is_secret = True

    assert other.run().output == b"hello\n"
    with pytest.raises(OSError, match="not written to a disk"):
        secret.run()
    assert [*tmp_path.iterdir()] == [disk]
    assert [*disk.iterdir()] == []


def test_memory_is_told_from_disks_by_what_the_kernel_says() -> None:
    assert sandbox._is_in_memory("/dev/shm")
    assert not sandbox._is_in_memory("/proc/self")
    assert not sandbox._is_in_memory("/")
