"""Argo CD Image Updater's annotations and its resource, read as input."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_core.api import GitRepository
from gitops_core.schema import default, make_object_schema, validate
from image_updater.api import ImagePolicy, ImageRepository, ImageUpdateAutomation, UpdateGuard
from image_updater.domain.tags.filters import select_matching
from sealoop.images.argo import translation as argo
from sealoop.images.argo.translation import PREFIX, Imported

KINDS = {
    kind.KIND.kind: kind for kind in (GitRepository, ImageRepository, ImagePolicy, ImageUpdateAutomation, UpdateGuard)
}


def import_argo(manifests: list[dict[str, Any]], namespace: str = "") -> Imported:
    """What is imported: an API server takes all of it."""
    imported = argo.import_argo(manifests, namespace)
    for manifest in imported.objects:
        schema = make_object_schema(KINDS[manifest["kind"]])
        assert validate(schema, default(schema, manifest)) == ()
    return imported


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


ODD: st.SearchStrategy[Any] = st.sampled_from([None, 5, True, "x", "", [], {}, ["x"], [None], {"a": 1}, [{"a": None}]])
IMAGE = {"alias": "a", "imageName": "r.io/org/web:^1", "manifestTargets": {"helm": {"tag": "t", "name": "n"}}}
WIDE = {"method": "git", "gitConfig": {"branch": "a:b", "pullRequest": {"github": {}, "labels": ["x"]}}}
REFERENCES = [{"namePattern": "s*", "labelSelectors": {"matchLabels": {"a": "b"}}, "images": [IMAGE]}]
FOREIGN: list[dict[str, Any]] = [
    {
        "kind": "Application",
        "spec": {"source": {"helm": {"valueFiles": ["x.yaml"], "parameters": [{"name": "image.tag", "value": "1"}]}}},
        "status": {"sourceType": "Helm", "summary": {"images": ["r.io/org/web:1.2"]}},
    },
    {"kind": "Application", "spec": {"sources": [{"chart": "c", "helm": {"valueFiles": ["$v/x"]}}, {"ref": "v"}]}},
    {"kind": "Application", "spec": {"source": {"path": "p", "kustomize": {"images": ["r.io/org/web:1.2"]}}}},
    {"kind": "ImageUpdater", "spec": {"namespace": "argocd", "writeBackConfig": WIDE, "applicationRefs": REFERENCES}},
    {
        "kind": "ApplicationSet",
        "spec": {
            "generators": [{"list": {"elements": [{"env": "p"}]}}],
            "template": {"metadata": {"name": "shop-{{env}}"}, "spec": {"source": {"path": "{{env}}"}}},
        },
    },
]


def places(found: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


@given(st.lists(st.sampled_from(FOREIGN), min_size=1, max_size=3), st.data())
@settings(max_examples=120, deadline=None)
def test_whatever_stands_in_foreign_manifests_is_imported_or_left_out(several: list[Any], data: st.DataObject) -> None:
    annotations = {f"{PREFIX}image-list": "a=r.io/org/web:^1", f"{PREFIX}a.helm.image-tag": "image.tag"}
    manifests = []
    for each in several:
        group = "argocd-image-updater.argoproj.io" if each["kind"] == "ImageUpdater" else "argoproj.io"
        metadata = {"name": "shop", "namespace": "argocd", "labels": {"a": "b"}, "annotations": annotations}
        made = copy.deepcopy({"apiVersion": f"{group}/v1alpha1", "metadata": metadata, **each})
        spot = data.draw(st.sampled_from(places(made["spec"], ("spec",))))
        parent: Any = made
        for key in spot[:-1]:
            parent = parent[key]
        parent[spot[-1]] = data.draw(ODD)
        manifests.append(made)

    argo.import_argo(manifests)


def test_value_files_that_are_no_list_are_none() -> None:
    imported = import_argo([application({"image-list": "r.io/org/web"}, helm={"valueFiles": "prod.yaml"})])

    assert [target["file"] for target in found(imported, "UpdateGuard")[0]["targets"]] == ["apps/shop/values.yaml"]


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
    assert not select_matching(repository["exclusionList"][1], ["1.2.3"])
    assert select_matching(repository["exclusionList"][1], ["1.2.3-rc1"])
    (guard,) = found(imported, "UpdateGuard")
    assert guard["platforms"] == ["linux/amd64", "linux/arm64"]
    assert guard["targets"][0] == {
        "file": "apps/shop/kustomization.yaml",
        "policy": "shop-web",
        "kustomizeImage": {"name": "ghcr.io/org/web"},
    }
    assert imported.notes == ()


def test_objects_are_made_in_the_named_namespace() -> None:
    said = {
        "image-list": "a=nginx:1.x,b=ghcr.io/o/b:latest",
        "b.update-strategy": "digest",
        "a.helm.image-tag": "x.tag",
    }

    imported = import_argo([application(said, helm={"valueFiles": ["prod.yaml"]})], "fleet")

    for manifest in imported.objects:
        assert manifest["metadata"]["namespace"] == "fleet"
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
def test_a_setting_without_equivalent_is_a_note(said: dict[str, str], note: str) -> None:
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


def updater(*references: dict[str, Any], namespace: str = "argocd", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "argocd-image-updater.argoproj.io/v1alpha1",
        "kind": "ImageUpdater",
        "metadata": {"name": "all", "namespace": namespace},
        "spec": {"applicationRefs": list(references), "writeBackConfig": {"method": "git"}, **spec},
    }


def targets(imported: Imported) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in each.items() if k != "policy"}
        for g in found(imported, "UpdateGuard")
        for each in g["targets"]
    ]


def said(imported: Imported, part: str) -> bool:
    return any(part in note for note in imported.notes)


GIT = {"write-back-method": "git:secret:argocd/git"}
WEB = {"image-list": "web=ghcr.io/org/web:^1.2", **GIT}
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({}, {"helmValues": {"path": "image"}}),
        (
            {"web.helm.image-name": "web.image.repository", "web.helm.image-tag": "web.image.tag"},
            {"helmValues": {"path": "web.image"}},
        ),
    ],
)
def test_a_registry_that_a_chart_keeps_apart_is_not_doubled(names: dict[str, str], expected: dict[str, Any]) -> None:
    imported = import_argo([application({**WEB, **names}, helm={})])

    assert targets(imported) == [{"file": "apps/shop/values.yaml", **expected}]
    assert imported.notes == ()


@pytest.mark.parametrize(
    ("image", "base", "range_"),
    [
        (f"ghcr.io/org/web:1.2.3@{DIGEST}", "ghcr.io/org/web", "1.2.3"),
        (f"localhost:5000/web:^1@{DIGEST}", "localhost:5000/web", "^1"),
        (f"ghcr.io/org/web@{DIGEST}", "ghcr.io/org/web", "*"),
    ],
)
def test_an_image_with_tag_and_digest_keeps_both(image: str, base: str, range_: str) -> None:
    imported = import_argo([application({"image-list": f"web={image}", **GIT})])

    (repository,), (policy,) = found(imported, "ImageRepository"), found(imported, "ImagePolicy")
    assert repository["image"] == base
    assert policy["policy"] == {"semver": {"range": range_}}
    assert policy["digestReflectionPolicy"] == "IfNotPresent"
    assert said(imported, "reflects the digest")


def test_value_files_of_another_source_are_followed_to_its_repository() -> None:
    chart = {"repoURL": "https://charts.example.com", "chart": "web", "targetRevision": "1.2.3"}
    manifest = application(WEB)
    manifest["spec"] = {
        "sources": [
            {**chart, "helm": {"valueFiles": ["base.yaml", "$values/envs/../envs/prod.yaml"]}},
            {"repoURL": "git@git.example.com:org/fleet.git", "ref": "values", "targetRevision": "release"},
            {"repoURL": "https://git.example.com/more.git", "path": "more"},
        ]
    }

    imported = import_argo([manifest])

    (source,) = found(imported, "GitRepository")
    assert source["url"] == "ssh://git@git.example.com/org/fleet.git"
    assert source["ref"] == {"branch": "release"}
    assert targets(imported) == [{"file": "envs/prod.yaml", "helmValues": {"path": "image"}}]
    assert said(imported, "another source, path 'more' of https://git.example.com/more.git, is not followed")
    assert said(imported, "its key sshPrivateKey is called identity here")


def test_a_chart_without_a_repository_is_chosen_for_and_not_written() -> None:
    manifest = application(WEB)
    manifest["spec"] = {"source": {"repoURL": "https://charts.example.com", "chart": "web", "targetRevision": "1.2.3"}}

    imported = import_argo([manifest])

    assert [each["kind"] for each in imported.objects] == ["ImageRepository", "ImagePolicy", "UpdateGuard"]
    assert targets(imported) == []
    assert said(imported, "web of https://charts.example.com, is in no Git repository")


def test_a_chart_with_a_repository_to_write_to_is_written_there() -> None:
    words = {"git-repository": "https://git.example.com/fleet.git", "write-back-target": "helmvalues:/web/prod.yaml"}
    manifest = application({**WEB, **words})
    manifest["spec"] = {"source": {"repoURL": "https://charts.example.com", "chart": "web", "targetRevision": "1.2.3"}}

    imported = import_argo([manifest])

    (source,) = found(imported, "GitRepository")
    assert (source["url"], source["ref"]) == ("https://git.example.com/fleet.git", {"branch": "main"})
    assert targets(imported) == [{"file": "web/prod.yaml", "helmValues": {"path": "image"}}]


@pytest.mark.parametrize(
    ("operator", "values", "fits"),
    [("In", ["prod"], True), ("NotIn", ["prod"], False), ("Exists", [], True), ("DoesNotExist", [], False)],
)
def test_a_reference_is_chosen_by_its_expressions(operator: str, values: list[str], fits: bool) -> None:
    manifest = application({})
    manifest["metadata"]["labels"] = {"env": "prod"}
    selector = {"matchExpressions": [{"key": "env", "operator": operator, "values": values}]}
    image = {"alias": "web", "imageName": "ghcr.io/o/web"}

    imported = import_argo([manifest, updater({"namePattern": "*", "labelSelectors": selector, "images": [image]})])

    assert bool(found(imported, "ImagePolicy")) == fits
    assert said(imported, "ImageUpdater all: '*' names no Application") == (not fits)


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [("sh[a-o]p", True), ("sh[^a-o]p", False), ("sh[!o]p", True), (r"\shop", True), ("sh[op", False)],
)
def test_a_name_pattern_is_a_glob_of_go(pattern: str, fits: bool) -> None:
    image = {"alias": "web", "imageName": "ghcr.io/o/web"}

    imported = import_argo([application({}), updater({"namePattern": pattern, "images": [image]})])

    assert bool(found(imported, "ImagePolicy")) == fits
    assert fits or imported.notes


def test_an_image_updater_counts_in_its_namespace() -> None:
    image = {"alias": "web", "imageName": "ghcr.io/o/web"}

    imported = import_argo([application({}), updater({"namePattern": "*", "images": [image]}, namespace="other")])

    assert imported.objects == ()
    assert said(imported, "ImageUpdater all: '*' names no Application among the manifests")


def test_annotations_that_no_image_updater_asks_for_are_said_to_count_for_nothing() -> None:
    images = [{"alias": "x", "imageName": "ghcr.io/o/x"}]

    silent = import_argo([application(WEB), updater({"namePattern": "other", "images": images})])
    asked = import_argo(
        [application({"update-strategy": "name"}), updater({"namePattern": "*", "useAnnotations": True})]
    )

    assert said(silent, "Application shop: its annotations count only where an ImageUpdater names it")
    assert said(asked, "Application shop: no image-list")


def test_cosign_keys_are_asked_for() -> None:
    key = {"cosignKey": {"secretName": "cosign", "key": "cosign.pub"}}
    one, two = ({"alias": name, "imageName": f"ghcr.io/o/{name}"} for name in ("one", "two"))
    off = {**two, "imagesVerification": {**key, "enabled": False}}

    everywhere = import_argo(
        [application({}), updater({"namePattern": "*", "images": [one, two], "imagesVerification": key})]
    )
    here = import_argo(
        [application({}), updater({"namePattern": "*", "images": [one, off], "imagesVerification": key})]
    )

    verify = {"provider": "cosign", "secretRef": {"name": "cosign"}}
    assert [guard.get("verify") for guard in found(everywhere, "UpdateGuard")] == [verify]
    assert [guard.get("verify") for guard in found(here, "UpdateGuard")] == [None, verify]
    signed = {each["metadata"]["name"]: each["metadata"]["labels"] for each in here.objects if "Policy" in each["kind"]}
    (_, guard) = found(here, "UpdateGuard")
    wanted = guard["policySelector"]["matchLabels"].items()
    assert [name for name, labels in signed.items() if wanted <= labels.items()] == ["shop-one"]


def test_a_key_that_does_not_count_by_its_name_is_told() -> None:
    key = {"cosignKey": {"secretName": "cosign", "key": "public"}}
    image = {"alias": "web", "imageName": "ghcr.io/o/web", "imagesVerification": key}

    imported = import_argo([application({}), updater({"namePattern": "*", "images": [image]})], "fleet")

    assert said(imported, "the key 'public' of Secret cosign counts when its name ends with .pub")
    assert said(imported, "copy Secret argocd/cosign to namespace fleet")


def test_a_pull_request_keeps_its_labels_and_gets_a_branch() -> None:
    asked = {"labels": ["bump", "two words", "a,b"], "github": {}}
    config = {"method": "git", "gitConfig": {"branch": "main", "pullRequest": asked}}
    image = {"alias": "web", "imageName": "ghcr.io/o/web"}

    imported = import_argo(
        [application({}), updater({"namePattern": "*", "images": [image], "writeBackConfig": config})]
    )

    automation = imported.objects[-1]
    assert automation["metadata"]["annotations"] == {
        "sealoop.dev/pull-request": "github",
        "sealoop.dev/pull-request-labels": "bump,two words",
    }
    assert automation["spec"]["git"]["push"] == {"branch": "image-updates-shop"}
    assert said(imported, "label 'a,b' is left out")
    assert not said(imported, "pullRequest.")


def test_a_forge_that_is_not_known_is_told() -> None:
    config = {"method": "git", "gitConfig": {"pullRequest": {"azureDevOps": {}}}}
    reference = {"namePattern": "*", "images": [{"alias": "web", "imageName": "ghcr.io/o/web"}]}

    imported = import_argo([application({}), updater(reference, writeBackConfig=config)])

    assert "annotations" not in imported.objects[-1]["metadata"]
    assert said(imported, "pullRequest.azureDevOps has no equivalent")


def test_a_value_that_a_plug_in_reads_is_left_to_a_person() -> None:
    image = {"alias": "web", "imageName": "ghcr.io/o/web", "manifestTargets": {"plugin": {"tag": "TAG"}}}

    by_target = import_argo([application({}), updater({"namePattern": "*", "images": [image]})])
    by_source = import_argo([application(WEB, plugin={"name": "cdk"})])

    for imported in (by_target, by_source):
        assert len(found(imported, "ImagePolicy")) == 1
        assert targets(imported) == []
        assert said(imported, "a plug-in reads its image")


def test_words_are_trimmed_and_of_any_case() -> None:
    words = {
        "image-list": " web = ghcr.io/org/web:^1.2 ,, api=ghcr.io/org/api ",
        "web.update-strategy": " SemVer ",
        "api.update-strategy": "Alphabetical",
        "web.allow-tags": " RegExp:^v ",
        "api.allow-tags": "ANY",
        "web.pull-secret": " pullsecret:argocd/pull ",
        "api.ignore-tags": " ",
        "ignore-tags": "*-rc, dev",
        "write-back-method": " Git:secret:argocd/git ",
        "write-back-target": " kustomization : ../base ",
        "git-branch": " main : bump ",
    }

    imported = import_argo([application(words)])

    assert imported.notes == ()
    web, api = found(imported, "ImagePolicy")
    assert (web["policy"], web["filterTags"]) == ({"semver": {"range": "^1.2"}}, {"pattern": "^v"})
    assert (api["policy"], "filterTags" in api) == ({"alphabetical": {"order": "asc"}}, False)
    first, second = found(imported, "ImageRepository")
    assert first["secretRef"] == {"name": "pull"}
    assert second["exclusionList"] == [r"^.*\.sig$", r"^.*\-rc$", "^dev$"]
    assert {each["file"] for each in targets(imported)} == {"apps/base/kustomization.yaml"}
    (automation,) = found(imported, "ImageUpdateAutomation")
    assert automation["git"]["push"] == {"branch": "bump"}


@pytest.mark.parametrize(
    ("words", "note"),
    [
        ({"wbe.update-strategy": "digest"}, "annotation 'wbe.update-strategy' is none that is known"),
        ({"platforms": "linux/arm64"}, "annotation 'platforms' is none that is known"),
        ({"web.allow-tags": "regexp:("}, "matches nothing in the original"),
        ({"web.ignore-tags": "[a"}, "ignore-tags '[a' is no pattern and ignores nothing"),
        ({"force-update": "yes"}, "force-update 'yes' is no boolean"),
        ({"web.helm.image-tag": "a", "web.kustomize.image-name": "b"}, "Helm and Kustomize are both named"),
        ({"write-back-target": "argocd"}, "there is no write-back-target 'argocd'"),
        ({"write-back-method": "svn"}, "there is no write-back-method 'svn'"),
        ({"write-back-method": "git:secret:ci/git"}, "copy Secret ci/git to namespace argocd"),
        ({"image-list": "web=https://ghcr.io/org/web"}, "should not start with URL scheme"),
        ({"image-list": "web=ghcr.io/org/web:1.2"}, "tags of fewer than three parts, such as '1.2'"),
        ({"allow-tags": r"regexp:^v\d+\.\d+$"}, "tags of fewer than three parts, such as 'v1.2'"),
        ({"web.update-strategy": "digest"}, "a digest is set where one stands"),
    ],
)
def test_a_setting_that_cannot_be_carried_over_is_a_note(words: dict[str, str], note: str) -> None:
    imported = import_argo([application({**WEB, **words})])

    assert said(imported, note), imported.notes


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"status": {"summary": {"images": ["ghcr.io/org/web:1.25"]}}}, "such as '1.25'"),
        ({"helm": {"parameters": [{"name": "image.tag", "value": f"v2.4@{DIGEST}"}]}}, "such as 'v2.4'"),
        ({"kustomize": {"images": ["web=ghcr.io/org/web:7"]}}, "such as '7'"),
        ({"helm": {"parameters": [{"name": "image.tag", "value": "1.2.3"}]}}, "'image.tag' and wins over the file"),
        ({"kustomize": {"images": ["ghcr.io/org/web:1.2.3"]}}, "its kustomize.images sets 'ghcr.io/org/web:1.2.3'"),
        ({"helm": {"valueFiles": ["a.yaml", "https://x/b.yaml"]}}, "value file https://x/b.yaml is fetched"),
        ({"helm": {"valueFiles": ["a.yaml", "b.yaml"]}}, "the last one counts: the target leads into apps/shop/b.yaml"),
        ({"helm": {"valueFiles": ["$gone/a.yaml"]}}, "names a source with ref 'gone', and there is none"),
        ({"targetRevision": "v1.2.3"}, "revision 'v1.2.3' is no branch"),
    ],
)
def test_a_field_of_an_application_that_gets_in_the_way_is_a_note(changes: dict[str, Any], note: str) -> None:
    status = changes.pop("status", {})

    imported = import_argo([application(WEB, **changes) | {"status": status}])

    assert said(imported, note), imported.notes


def applicationset(generators: list[Any], **changes: Any) -> dict[str, Any]:
    made = application({**WEB, "image-list": "web=ghcr.io/org/web:^1.2"}, path="apps/{{ .path.basename }}", helm={})
    template = {"metadata": {**made["metadata"], "name": "{{ .path.basename }}-web"}, "spec": made["spec"]}
    metadata = {"name": "fleet", "namespace": "argocd"}
    spec = {"generators": generators, "template": template, **changes}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "metadata": metadata, "spec": spec}


def test_the_template_of_an_application_set_is_read() -> None:
    imported = import_argo([applicationset([{"git": {"directories": [{"path": "apps/*"}]}}], templatePatch="x")])

    assert [policy["imageRepositoryRef"]["name"] for policy in found(imported, "ImagePolicy")] == ["fleet-web"]
    assert targets(imported) == [{"file": "apps/*/values.yaml", "helmValues": {"path": "image"}}]
    assert said(imported, "ApplicationSet fleet: its templatePatch is not read")
    assert said(imported, "the target leads into all of 'apps/*/values.yaml'")


def test_the_elements_of_a_list_are_filled_in() -> None:
    elements = [{"path": {"basename": "one"}}, {"path": {"basename": "two"}}]

    imported = import_argo([applicationset([{"list": {"elements": elements}}])])

    assert {each["file"] for each in targets(imported)} == {"apps/one/values.yaml", "apps/two/values.yaml"}
    assert {m["metadata"]["name"] for m in imported.objects if m["kind"] == "UpdateGuard"} == {"one-web", "two-web"}
    assert imported.notes == ()


def test_an_image_that_only_a_template_knows_is_told() -> None:
    made = applicationset([{"clusters": {}}])
    made["spec"]["template"]["metadata"]["annotations"][f"{PREFIX}image-list"] = "web=ghcr.io/org/{{name}}"

    imported = import_argo([made])

    assert imported.objects == ()
    assert said(imported, "is left out: it is a template")


def test_an_application_set_is_not_read_where_its_applications_are() -> None:
    made = application(WEB)
    made["metadata"]["ownerReferences"] = [{"kind": "ApplicationSet", "name": "fleet"}]

    imported = import_argo([made, applicationset([{"clusters": {}}])])

    assert [m["metadata"]["name"] for m in imported.objects if m["kind"] == "UpdateGuard"] == ["shop"]


def test_no_two_objects_have_one_name() -> None:
    images = "ghcr.io/a/web,ghcr.io/b/web,c=ghcr.io/c/web"
    first, second = application({"image-list": images, **GIT}), application({"image-list": "c=ghcr.io/d/web", **GIT})
    second["metadata"] |= {"namespace": "other"}

    imported = import_argo([first, second], "fleet")

    keys = [(m["kind"], m["metadata"]["name"]) for m in imported.objects]
    assert len(keys) == len(set(keys))
    assert len(found(imported, "ImagePolicy")) == 4
    selectors = [
        guard["policySelector"]["matchLabels"]["sealoop.dev/application"] for guard in found(imported, "UpdateGuard")
    ]
    assert len(set(selectors)) == 2


def test_a_pattern_of_tags_is_a_glob_of_go() -> None:
    words = {"web.ignore-tags": r"v[0-9]*-rc?,\*x,[^a-c]z"}

    (repository,) = found(import_argo([application({**WEB, **words})]), "ImageRepository")

    tags = ["v1-rc1", "v-rc1", "*x", "ax", "dz", "az", "dzz"]
    assert [t for p in repository["exclusionList"] for t in select_matching(p, tags)] == ["v1-rc1", "*x", "dz"]


def test_nothing_to_import_is_said() -> None:
    assert import_argo([]).notes == ("there is no Application among the manifests: nothing to import",)
