"""Argo CD Image Updater's annotations and its resource, read as input."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_core.schema import default, object_schema, validate
from image_updater.api import ImagePolicy, ImageRepository, ImageUpdateAutomation, UpdateGuard
from image_updater.domain.argo import PREFIX, Imported, import_argo
from image_updater.domain.filters import matching

KINDS = {kind.KIND.kind: kind for kind in (ImageRepository, ImagePolicy, ImageUpdateAutomation, UpdateGuard)}


def application(annotations: dict[str, str], **source: Any) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": "shop",
            "namespace": "argocd",
            "annotations": {f"{PREFIX}{key}": value for key, value in annotations.items()},
        },
        "spec": {"source": {"repoURL": "https://git.example.com/shop.git", "path": "apps/shop", **source}},
    }


def found(imported: Imported, kind: str) -> list[Any]:
    return [dict(manifest["spec"]) for manifest in imported.objects if manifest["kind"] == kind]


def test_an_annotated_application_becomes_flux_objects() -> None:
    said = {
        "image-list": "web=ghcr.io/org/web:^1.2, ghcr.io/org/worker",
        "write-back-method": "git:secret:argocd/git-creds",
        "write-back-target": "kustomization",
        "git-branch": "main",
        "web.allow-tags": "regexp:^1",
        "web.ignore-tags": "*-rc*, beta?",
        "web.platforms": "linux/amd64,linux/arm64",
        "web.pull-secret": "pullsecret:argocd/pull",
    }

    imported = import_argo([application(said)])

    assert [m["kind"] for m in imported.objects] == [
        "GitRepository",
        *["ImageRepository"] * 2,
        *["ImagePolicy"] * 2,
        "UpdateGuard",
        "ImageUpdateAutomation",
    ]
    (source,) = found(imported, "GitRepository")
    assert source["url"] == "https://git.example.com/shop.git"
    assert source["secretRef"] == {"name": "git-creds"}
    web, worker = found(imported, "ImagePolicy")
    assert web["policy"] == {"semver": {"range": "^1.2"}}
    assert web["filterTags"] == {"pattern": "^1"}
    assert worker["policy"] == {"semver": {"range": "*"}}
    repository, _ = found(imported, "ImageRepository")
    assert repository["secretRef"] == {"name": "pull"}
    assert not matching(repository["exclusionList"][1], ["1.2.3"])
    assert matching(repository["exclusionList"][1], ["1.2.3-rc1"])
    (guard,) = found(imported, "UpdateGuard")
    assert guard["platforms"] == ["linux/amd64", "linux/arm64"]
    assert guard["targets"][0] == {
        "file": "apps/shop/kustomization.yaml",
        "policy": "shop-web",
        "kustomizeImage": {"name": "ghcr.io/org/web"},
    }
    assert imported.notes == ()


def test_what_is_made_is_accepted() -> None:
    said = {
        "image-list": "a=nginx:1.x,b=ghcr.io/o/b:latest",
        "b.update-strategy": "digest",
        "a.helm.image-tag": "x.tag",
    }

    imported = import_argo([application(said, helm={"valueFiles": ["prod.yaml"]})], "fleet")

    for manifest in imported.objects:
        assert manifest["metadata"]["namespace"] == "fleet"
        if kind := KINDS.get(manifest["kind"]):
            schema = object_schema(kind)
            assert validate(schema, default(schema, manifest)) == ()
    _, digest = found(imported, "ImagePolicy")
    assert digest["filterTags"] == {"pattern": "^latest$"}
    assert digest["digestReflectionPolicy"] == "Always"
    (guard,) = found(imported, "UpdateGuard")
    assert {target["file"] for target in guard["targets"]} == {"apps/shop/prod.yaml"}


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ({"image-list": "w=ghcr.io/o/w", "w.update-strategy": "newest-build"}, "build time decides nothing"),
        ({"image-list": "w=ghcr.io/o/w", "w.update-strategy": "digest"}, "needs a tag"),
        ({"image-list": "w=UPPER/w"}, "left out"),
        ({"image-list": "w=ghcr.io/o/w"}, "wrote to the Application itself"),
        ({"image-list": "w=ghcr.io/o/w", "w.update-strategy": "semvr"}, "no strategy 'semvr'"),
        ({"image-list": "w=ghcr.io/o/w", "w.allow-tags": "^v"}, "matches nothing"),
        ({"image-list": "w=ghcr.io/o/w", "pull-secret": "ext:/scripts/x"}, "has no equivalent"),
        ({"update-strategy": "semver"}, "no image-list"),
    ],
)
def test_what_has_no_equivalent_is_said(said: dict[str, str], note: str) -> None:
    notes = import_argo([application(said)]).notes

    assert any(note in text and "shop" in text for text in notes), notes


def test_an_image_updater_resource_is_read() -> None:
    updater = {
        "apiVersion": "argocd-image-updater.argoproj.io/v1alpha1",
        "kind": "ImageUpdater",
        "metadata": {"name": "all", "namespace": "argocd"},
        "spec": {
            "writeBackConfig": {"method": "git", "gitConfig": {"branch": "main:bump", "pullRequest": {"gitlab": {}}}},
            "applicationRefs": [
                {"namePattern": "*", "images": [{"alias": "x", "imageName": "ghcr.io/o/other"}]},
                {
                    "namePattern": "sh*",
                    "commonUpdateSettings": {"updateStrategy": "alphabetical"},
                    "images": [
                        {
                            "alias": "web",
                            "imageName": "ghcr.io/o/web:~2",
                            "commonUpdateSettings": {"updateStrategy": "semver"},
                            "manifestTargets": {"helm": {"name": "img.repo", "tag": "img.tag"}},
                        }
                    ],
                },
            ],
        },
    }

    imported = import_argo([application({}), updater])

    (policy,) = found(imported, "ImagePolicy")
    assert policy["policy"] == {"semver": {"range": "~2"}}
    automation = imported.objects[-1]
    assert automation["metadata"]["annotations"] == {"sealoop.dev/pull-request": "gitlab"}
    assert automation["spec"]["git"]["push"] == {"branch": "bump"}
    (guard,) = found(imported, "UpdateGuard")
    assert [target["path"] for target in guard["targets"]] == ["img.repo", "img.tag"]


def test_nothing_to_import_is_said() -> None:
    assert import_argo([]).notes == ("there is no Application among the manifests: nothing to import",)
