#!/usr/bin/env python3
"""Change the code in one small place after the other, and count the changes that no test notices.

    make mutate MODULES="gitops_core.domain.sync.plan image_updater.domain"

                                          mutants  killed  survived  untested  not tried   score
    gitops_core.domain.sync.plan                    58      51         7         0          0    88 %

mutmut makes the changes, in a copy of the working tree, and runs for each those of the module's own tests that reach
it. Modules are taken in order until the time is over; what survived is shown with --survivors.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gitops_core", "secrets_sync", "image_updater", "sealoop")
ROLES = ("domain", "runtime")

# What proves a module whose tests have another name than its own. Without a line: test_<name>.py beside its role's
# other tests, else all of these.
OWN_TESTS = {
    "gitops_core.domain.sync.dependencies": (
        "gitops_core/domain/sync/test_dependencies.py",
        "gitops_core/reconcilers/test_kustomization.py",
    ),
    "gitops_core.domain.sync.inventory": ("gitops_core/domain/sync/test_sync.py",),
    "gitops_core.domain.sync.ownership": (
        "gitops_core/domain/sync/test_sync.py",
        "gitops_core/reconcilers/test_kustomization.py",
    ),
    "gitops_core.domain.sync.plan": ("gitops_core/domain/sync/test_sync.py",),
    "gitops_core.domain.sync.prunelimit": ("gitops_core/domain/sync/test_sync.py",),
    "gitops_core.domain.sync.stages": (
        "gitops_core/domain/sync/test_sync.py",
        "gitops_core/reconcilers/test_kustomization.py",
    ),
    "gitops_core.domain.objects.controllermanager": (
        "gitops_core/domain/health/test_kstatus.py",
        "gitops_core/adapters/local/test_workloads.py",
    ),
    "gitops_core.runtime.loop.controlling": (
        "gitops_core/runtime/test_process.py",
        "gitops_core/runtime/test_faults.py",
        "gitops_core/runtime/test_promises.py",
    ),
    "gitops_core.runtime.authority.leading": (
        "gitops_core/runtime/test_faults.py",
        "gitops_core/runtime/test_promises.py",
    ),
    "gitops_core.runtime.watching.observing": (
        "gitops_core/runtime/test_process.py",
        "gitops_core/runtime/test_promises.py",
    ),
    "gitops_core.runtime.loop.queue": (
        "gitops_core/runtime/loop/test_queue.py",
        "gitops_core/runtime/test_promises.py",
    ),
    "gitops_core.runtime.loop.statuses": (
        "gitops_core/runtime/test_process.py",
        "gitops_core/runtime/test_faults.py",
        "gitops_core/runtime/test_promises.py",
    ),
    "image_updater.domain.guards.gates": (
        "image_updater/domain/guards/test_rules.py",
        "image_updater/test_automation_guards.py",
    ),
    "image_updater.domain.files.plan": (
        "image_updater/domain/files/test_edits.py",
        "image_updater/test_automations.py",
    ),
    "image_updater.domain.files.judging": (
        "image_updater/domain/files/test_targets.py",
        "image_updater/domain/files/test_readings.py",
    ),
    "image_updater.domain.files.placing": ("image_updater/domain/files/test_targets.py",),
    "secrets_sync.domain.secret.live": (
        "secrets_sync/domain/secret/test_plan.py",
        "secrets_sync/test_external_secret.py",
    ),
}
REAL = ("test_real_cluster.py",)  # minutes for each change, and what they prove is proven without a server too


class Score(NamedTuple):
    """How many changes came to what. `timeout` counts as killed: the tests did not end as they do."""

    total: int
    killed: int
    survived: int
    untested: int

    @property
    def tried(self) -> int:
        return self.killed + self.survived + self.untested

    def line(self, module: str) -> str:
        percent = f"{100 * self.killed / self.tried:.0f} %" if self.tried else "-"
        left = self.total - self.tried
        return f"{module:46}{self.total:8}{self.killed:8}{self.survived:10}{self.untested:10}{left:11}{percent:>8}"


HEAD = f"{'':46}{'mutants':>8}{'killed':>8}{'survived':>10}{'untested':>10}{'not tried':>11}{'score':>8}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Score the tests of the decisions and of the runtime, by module.")
    parser.add_argument("modules", nargs="*", help="modules or packages, as in gitops_core.domain; all when missing")
    parser.add_argument("--minutes", type=float, default=60, help="begin no other module after so many (60)")
    parser.add_argument("--each", type=float, default=10, help="minutes for one module (10)")
    parser.add_argument("--survivors", action="store_true", help="show the changes that no test noticed")
    arguments = parser.parse_args()
    ends = time.monotonic() + 60 * arguments.minutes
    modules = [*chosen(arguments.modules)]
    print(HEAD, flush=True)
    for number, module in enumerate(modules):
        if time.monotonic() > ends:
            sys.exit(f"mutate: the time is over; {len(modules) - number} modules were not begun, from {module} on")
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            copy = copied(Path(folder), module)
            mutmut(copy, "run", seconds=60 * arguments.each)
            print(score(copy).line(module), flush=True)
            if arguments.survivors:
                print("\n".join(survivors(copy)), flush=True)


def chosen(words: Sequence[str]) -> Iterator[str]:
    """The modules that are named, in order; those of ROLES when none is."""
    known = [module for package in PACKAGES for role in ROLES for module in _modules(f"{package}/{role}")]
    for word in words or [""]:
        dotted = word.removesuffix(".py").replace("/", ".").rstrip(".")
        found = [m for m in known if not dotted or m == dotted or m.startswith(f"{dotted}.")]
        if not found and dotted:
            found = [*_modules(dotted.replace(".", "/"))]
        if not found:
            sys.exit(f"mutate: no module {word!r}")
        yield from found


def _modules(place: str) -> Iterator[str]:
    files = [ROOT / f"{place}.py"] if (ROOT / f"{place}.py").is_file() else sorted((ROOT / place).rglob("*.py"))
    for file in files:
        if file.name != "__init__.py":
            yield str(file.relative_to(ROOT).with_suffix("")).replace("/", ".")


def tests_of(module: str) -> list[str]:
    """The paths of what proves a module: its doctests too."""
    package, role, *rest = module.split(".")
    own = [f"tests/{path}" for path in OWN_TESTS.get(module, ())]
    if not own:
        named = f"tests/{package}/{'/'.join([role, *rest[:-1]])}/test_{rest[-1] if rest else role}.py"
        own = [named] if (ROOT / named).is_file() else [f"tests/{package}/{role}"]
    return [f"{module.replace('.', '/')}.py", *own]


def copied(folder: Path, module: str) -> Path:
    """A copy of the working tree in which mutmut is told about the module."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    settings = {
        "source_paths": PACKAGES,
        "only_mutate": (f"{module.replace('.', '/')}.py",),
        "also_copy": ("tests", "conftest.py", "pyproject.toml", "deploy", "docs"),
        "pytest_add_cli_args_test_selection": tests_of(module),
        "pytest_add_cli_args": ("-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0", *ignored()),
    }
    text = "".join(f"{key} =\n" + "".join(f"    {value}\n" for value in values) for key, values in settings.items())
    (folder / "setup.cfg").write_text(f"[mutmut]\n{text}")
    return folder


def ignored() -> list[str]:
    return [f"--ignore-glob=*/{name}" for name in REAL]


def mutmut(folder: Path, *words: str, seconds: float = 600) -> str:
    """What a mutmut command prints; one that takes longer is stopped with all it began, and what it found stays."""
    path = os.pathsep.join([str(ROOT / ".tools" / "bin"), os.environ["PATH"]])
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PATH": path}
    command = [sys.executable, "-m", "mutmut", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=folder, env=environment, text=True, start_new_session=True, **pipes) as process:
        try:
            printed, _ = process.communicate(timeout=seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return ""
    if process.returncode:
        sys.exit(f"mutate: mutmut {' '.join(words)} failed:\n{printed[-6000:]}")
    return printed


def score(folder: Path) -> Score:
    mutmut(folder, "export-cicd-stats")
    counted = json.loads((folder / "mutants" / "mutmut-cicd-stats.json").read_text())
    killed = counted["killed"] + counted["timeout"] + counted.get("segfault", 0)
    return Score(counted["total"], killed, counted["survived"] + counted["suspicious"], counted["no_tests"])


def survivors(folder: Path) -> Iterator[str]:
    """The changes that no test noticed, as diffs."""
    for line in mutmut(folder, "results").splitlines():
        name, _, status = line.strip().partition(": ")
        if status in ("survived", "no tests"):
            yield mutmut(folder, "show", name)


if __name__ == "__main__":
    main()
