"""`sealoop images import`: Argo CD Image Updater's settings become objects, and markers where they can."""

from __future__ import annotations

from pathlib import Path

import yaml
from click.testing import CliRunner

from sealoop.main import main

APPLICATION = """
apiVersion: v1
kind: List
items:
- apiVersion: argoproj.io/v1alpha1
  kind: Application
  metadata:
    name: shop
    namespace: argocd
    annotations:
      argocd-image-updater.argoproj.io/image-list: web=ghcr.io/org/web:^1.2
      argocd-image-updater.argoproj.io/write-back-method: git:secret:argocd/git
  spec: {source: {repoURL: "https://git.example.com/x.git", path: apps}}
"""


def test_targets_become_markers_in_a_checkout(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(APPLICATION)
    file = tmp_path / "checkout" / "apps" / "kustomization.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("images:\n- name: ghcr.io/org/web\n  newTag: 1.2.0\n")
    words = ["images", "import", "-f", str(tmp_path / "app.yaml"), "--path", str(tmp_path / "checkout")]

    shown = CliRunner().invoke(main, words)

    assert shown.exit_code == 0, shown.output
    objects = {each["kind"]: each for each in yaml.safe_load_all(shown.stdout)}
    assert objects["UpdateGuard"]["spec"]["targets"] == []
    assert file.read_text().endswith('newTag: 1.2.0 # {"$imagepolicy": "argocd:shop-web:tag"}\n')
    assert shown.stderr == "apps/kustomization.yaml: marked\n"


def test_a_value_that_cannot_be_marked_stays_a_target(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text(APPLICATION)
    (tmp_path / "checkout").mkdir()
    words = ["images", "import", "-f", str(tmp_path / "app.yaml"), "--path", str(tmp_path / "checkout")]

    shown = CliRunner().invoke(main, words)

    guard = next(each for each in yaml.safe_load_all(shown.stdout) if each["kind"] == "UpdateGuard")
    assert guard["spec"]["targets"][0]["kustomizeImage"] == {"name": "ghcr.io/org/web"}
    assert "a target is kept: there is no such file in the checkout" in shown.stderr


def test_no_application_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}")

    shown = CliRunner().invoke(main, ["images", "import", "-f", str(tmp_path / "x.yaml")])

    assert shown.exit_code == 1
    assert shown.stderr == "there is no Application among the manifests: nothing to import\n"
