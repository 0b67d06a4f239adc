"""An install without the extra `cel`: rules of CRDs are not checked, everything else is, and a person is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.servers.programs import ROOT, clean_environment

SENTENCE = "rules of CRDs (x-kubernetes-validations) are not checked here: pip install 'sealoop[cel]'"
POLICY = """\
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: app, namespace: default}
spec:
  imageRepositoryRef: {name: app}
  digestReflectionPolicy: Always
  policy: {semver: {range: 1.x}}
"""
BROKEN_RULE = "spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'"


def sealoop(folder: Path, *words: str, without: str = "cel_expr_python") -> subprocess.CompletedProcess[str]:
    """Run the command where that package cannot be imported."""
    script = f"import sys; sys.modules[{without!r}] = None; from sealoop.main import main; main(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=folder,
        env=clean_environment(folder, PYTHONPATH=str(ROOT)),
        text=True,
        capture_output=True,
        timeout=60,
    )


def test_without_the_extra_rules_are_not_checked_and_it_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    crds = ROOT / "deploy" / "crds"

    applied = sealoop(tmp_path, "apply", "--local", "state", "-f", str(crds), "-f", "policy.yaml")

    assert "imagepolicy.image.toolkit.fluxcd.io/app created" in applied.stdout
    assert applied.stderr == f"Warning: {SENTENCE}\n"
    assert applied.returncode == 0


def test_without_the_extra_types_and_required_fields_are_checked(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY.replace("semver: {range: 1.x}", "semver: {range: 3}"))

    linted = sealoop(tmp_path, "images", "lint", "-f", "policy.yaml")

    assert "spec.policy.semver.range" in linted.stdout
    assert SENTENCE in linted.stderr
    assert linted.returncode == 1


def test_with_the_extra_rules_are_checked_and_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)

    linted = sealoop(tmp_path, "images", "lint", "-f", "policy.yaml", without="a_package_that_is_not")

    assert BROKEN_RULE in linted.stdout
    assert SENTENCE not in linted.stderr
    assert linted.returncode == 1
