"""What `pip install` gives: the command, and everything it needs beside the code."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.servers.programs import ROOT, clean_environment

QUICKSTART = ROOT / "deploy" / "examples" / "quickstart"


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints; it runs outside the source tree, so only what is installed is found."""
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=clean_environment(cwd), text=True, capture_output=True, timeout=120
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Without hatchling beside us pip fetches it, as `make install` does.
    isolation = ["--no-build-isolation"] if find_spec("hatchling") else []
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps"]
    subprocess.run([*pip, *isolation, "-w", str(folder), str(ROOT)], check=True, timeout=120)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it; the dependencies are those of the tests' own environment."""
    home = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", home / "venv", cwd=home)
    python = home / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=home)
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def test_the_installed_command_says_its_version(installed: Path) -> None:
    assert run(installed / "venv" / "bin" / "sealoop", "--version", cwd=installed) == (
        f"sealoop, version {version('sealoop')}\n"
    )


def test_the_installed_command_finds_its_tables_and_kinds(installed: Path) -> None:
    sealoop = installed / "venv" / "bin" / "sealoop"

    made = run(sealoop, "apply", "--local", "state", "-f", QUICKSTART / "app" / "web.yaml", cwd=installed)

    assert "deployment.apps/web created" in made
    assert "kind: CustomResourceDefinition" in run(sealoop, "crds", "-", cwd=installed)


def test_the_demo_finds_its_manifests_in_the_wheel(wheel: Path, installed: Path) -> None:
    expected = {str(path.relative_to(QUICKSTART)) for path in QUICKSTART.rglob("*") if path.is_file()}
    script = (
        "import sealoop, pathlib; from sealoop.demo.world import copy_manifests;"
        "copy_manifests(pathlib.Path('copied'), {'git': '127.0.0.1:9'}); print(sealoop.__file__)"
    )

    place = run(installed / "venv" / "bin" / "python", "-c", script, cwd=installed)

    packed = {name for name in ZipFile(wheel).namelist() if name.startswith("sealoop/quickstart/")}
    copied = installed / "copied"
    assert place.startswith(str(installed))
    assert {name.removeprefix("sealoop/quickstart/") for name in packed} == expected
    assert {str(path.relative_to(copied)) for path in copied.rglob("*") if path.is_file()} == expected
    assert "http://127.0.0.1:9/quickstart.git" in (copied / "bootstrap" / "source.yaml").read_text()


def test_the_wheel_holds_the_packages_and_no_tests(wheel: Path) -> None:
    top = {name.partition("/")[0] for name in ZipFile(wheel).namelist()}

    assert {name for name in top if not name.endswith(".dist-info")} == {
        "gitops_core",
        "image_updater",
        "sealoop",
        "secrets_sync",
    }
