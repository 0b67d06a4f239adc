"""`sealoop apply`, `get` and `delete`, on the embedded cluster and on a real API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from gitops_core.adapters.kubernetes import KubernetesCluster
from gitops_core.adapters.local import LocalCluster
from gitops_core.api import GitRepository, Kustomization
from gitops_core.errors import ClusterError, ClusterUnavailable, Expired, KindUnknown
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef, Resource
from gitops_core.ports import Cluster, Query, WatchEvent
from gitops_core.runtime.authority.forwarding import Forwarding
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.schema import make_crd
from sealoop.objects.applying import Applying, apply_all
from sealoop.objects.deleting import Deleting, delete_all
from sealoop.objects.files import collect_manifests, sort
from sealoop.objects.kinds import matches
from sealoop.objects.showing import Showing, follow_changes, show
from secrets_sync.api import SecretStore
from tests.servers.controlplane import ControlPlane

CONFIG_MAP = Kind("", "v1", "ConfigMap")


@dataclass
class Place:
    """A cluster with a namespace that is this test's alone."""

    cluster: Cluster
    namespace: str

    async def apply(self, *manifests: Manifest, **how: Any) -> int:
        return await apply_all(self.cluster, manifests, Applying(self.namespace, **how))

    async def show(self, *words: str, **how: Any) -> int:
        return await show(self.cluster, words, Showing(self.namespace, **how))

    async def delete(self, *words: str, manifests: tuple[Manifest, ...] = (), **how: Any) -> int:
        return await delete_all(self.cluster, words, manifests, Deleting(self.namespace, **how))


@pytest.fixture(params=["embedded", "real"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if request.param == "embedded":
        local = LocalCluster.open(tmp_path / "cluster", SystemClock(), SystemChance(), shared=True)
        await local.create(namespace("cli-1"), field_manager="tests")
        yield Place(local, "cli-1")
        local.close()
    else:
        plane: ControlPlane = request.getfixturevalue("control_plane")
        real = await KubernetesCluster.from_environment(plane.kubeconfig)
        yield Place(real, plane.namespace("cli"))
        await real.close()


def namespace(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def config_map(name: str, value: str = "1", **metadata: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"a": value}}


def secret(name: str, **data: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def definition(group: str) -> Manifest:
    version = {"name": "v1", "served": True, "storage": True}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {
        "kind": "Gadget",
        "plural": "gadgets",
        "singular": "gadget",
        "shortNames": ["gd"],
        "listKind": "GadgetList",
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"gadgets.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [{**version, "schema": schema}]},
    }


# apply


async def test_apply_says_what_became_of_each_object(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    await place.apply(config_map("a"))
    await place.apply(config_map("a"))
    await place.apply(config_map("a", "2"), dry_run=True)
    await place.apply(config_map("a", "3"))

    assert capsys.readouterr().out.splitlines() == [
        "configmap/a created",
        "configmap/a unchanged",
        "configmap/a configured (server dry run)",
        "configmap/a configured",
    ]


async def test_a_kind_and_its_objects_fit_in_one_call(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    group = f"{place.namespace}.example.com"
    gadget = {"apiVersion": f"{group}/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"size": 1}}
    elsewhere = f"{place.namespace}-made"

    failures = await place.apply(config_map("a", namespace=elsewhere), gadget, definition(group), namespace(elsewhere))

    assert capsys.readouterr().out.splitlines() == [
        f"namespace/{elsewhere} created",
        f"customresourcedefinition.apiextensions.k8s.io/gadgets.{group} created",
        "configmap/a created",
        f"gadget.{group}/g created",
    ]
    assert failures == 0


async def test_refused_objects_do_not_keep_the_others_back(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = {"apiVersion": "example.org/v9", "kind": "Nothing", "metadata": {"name": "x"}}

    failures = await place.apply(config_map("Bad_Name"), unknown, config_map("good"))

    out, err = capsys.readouterr()
    assert failures == 2
    assert out == "configmap/good created\n"
    assert 'ConfigMap "Bad_Name" is invalid' in err
    assert 'Nothing/x: no matches for kind "Nothing" in version "example.org/v9"; install its Custom' in err


async def test_a_conflict_names_the_managers_and_the_way_out(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    await place.apply(config_map("a"), field_manager="someone")

    refused = await place.apply(config_map("a", "2"))
    forced = await place.apply(config_map("a", "2"), force=True)

    assert (refused, forced) == (1, 0)
    assert capsys.readouterr().err == (
        f"Error: ConfigMap/{place.namespace}/a: other field managers own .data.a (someone);"
        " --force-conflicts takes them over\n"
    )


async def test_a_refused_secret_is_not_quoted(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    refused = [
        await place.apply(secret("s", password={"deep": "hunter2"}, other=["hunter2"])),
        await place.apply({**secret("s"), "data": "hunter2"}),
        await place.apply({**secret("hunter2-Bad"), "data": {"a": "aHVudGVyMg=="}}),
    ]

    out, err = capsys.readouterr()
    assert refused == [1, 1, 1]
    assert "hunter2" not in (out + err).replace("hunter2-Bad", "")
    assert "aHVudGVyMg" not in out + err


async def test_a_manifest_of_another_namespace_than_demanded_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await place.apply(config_map("a", namespace="default"), demanded=True) == 1
    assert f"ConfigMap/default/a is not in the namespace '{place.namespace}'" in capsys.readouterr().err


# get


async def test_objects_are_shown_in_each_form(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    await place.apply(config_map("a", labels={"app": "web"}), config_map("b"), secret("s", password="hunter2"))
    capsys.readouterr()

    await place.show("cm", selector="app=web")
    await place.show("configmaps,secret", output="name")
    await place.show("cm/a", "secret/s")
    table = capsys.readouterr().out
    await place.show("cm", "a", output="json")
    one = json.loads(capsys.readouterr().out)
    await place.show("cm", "a", "b", output="json", managed_fields=True)
    two = json.loads(capsys.readouterr().out)
    await place.show("cm/a", output="yaml")
    yaml = capsys.readouterr().out

    lines = [line.split()[:2] for line in table.splitlines()]
    assert lines[:2] == [["NAME", "DATA"], ["a", "1"]]
    named = [line for line in lines[2:7] if len(line) == 1 and "kube-root-ca.crt" not in line[0]]
    assert named == [["configmap/a"], ["configmap/b"], ["secret/s"]]
    assert lines[-2:] == [["NAME", "TYPE"], ["secret/s", "Opaque"]]
    assert "hunter2" not in table
    assert "aHVudGVy" not in table
    assert one["metadata"]["name"] == "a"
    assert "managedFields" not in one["metadata"]
    assert (two["kind"], len(two["items"])) == ("List", 2)
    assert "managedFields" in two["items"][0]["metadata"]
    assert yaml.startswith('apiVersion: v1\ndata:\n  a: "1"\nkind: ConfigMap\n')


async def test_a_missing_object_is_named_and_the_rest_shown(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    await place.apply(config_map("a"))
    capsys.readouterr()

    failures = await place.show("cm", "nope", "a", output="name")
    ignored = await place.show("cm", "nope", ignore_not_found=True)
    nothing = await place.show("pods")

    out, err = capsys.readouterr()
    assert (failures, ignored, nothing) == (1, 0, 0)
    assert out == "configmap/a\n"
    assert err == (
        f"Error: ConfigMap/{place.namespace}/nope not found\nNo resources found in {place.namespace} namespace.\n"
    )


@pytest.mark.parametrize(
    ("words", "how", "complaint"),
    [
        (("cm", "a"), {"all_namespaces": True}, "leave out its name, or -A"),
        (("cm", "a"), {"selector": "a=b"}, "leave out their names, or -l"),
        (("cm,pods",), {"watch": True}, "-w watches one kind"),
        (("cm/a", "b"), {}, "'b' is not KIND/NAME"),
        (("cm/",), {}, "'cm/' is not KIND/NAME"),
        (("cm,",), {}, "say which kind"),
        (("nonsense",), {}, "the cluster has no kind called 'nonsense'"),
        (("cm/a",), {"status": ("ready", "true")}, "a status chooses objects"),
        (("cm.example.com",), {}, "the cluster has no kind called"),
    ],
)
async def test_words_that_make_no_sense_are_refused(
    place: Place, words: tuple[str, ...], how: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(click.ClickException) as refused:
        await place.show(*words, **how)
    assert complaint in refused.value.format_message()


async def test_our_kinds_come_with_the_command_that_installs_them(tmp_path: Path) -> None:
    cluster = LocalCluster.open(None, SystemClock(), SystemChance())
    with pytest.raises(click.ClickException, match=r"no kind called 'gitrepo'; install it: sealoop crds - \| kubectl"):
        await Place(cluster, "default").show("gitrepo")
    cluster.close()


async def test_a_kind_answers_to_all_its_names(place: Place) -> None:
    served = await place.cluster.list_api_resources()

    words = ["deploy", "deployment", "Deployments", "deployments.apps", "deploy.v1.apps", "deployment.app"]

    assert {tuple(matches(served, word)) for word in words} == {tuple(matches(served, "deployments"))}
    assert [r.kind.group for r in matches(served, "events")] == [""]


def ours(kind: type[Resource], name: str, ready: str = "", **spec: Any) -> Manifest:
    about = {"apiVersion": kind.KIND.api_version, "kind": kind.KIND.kind, "metadata": {"name": name}}
    return {**about, "spec": spec, "status": {"conditions": [condition(ready)] if ready else []}}


def condition(ready: str) -> Manifest:
    when = "2026-01-01T00:00:00Z"
    return {"type": "Ready", "status": ready, "reason": "Said", "message": f"it is {ready}", "lastTransitionTime": when}


@pytest.fixture
async def some_of_ours() -> AsyncIterator[Place]:
    """A cluster that serves three of our kinds, with objects that are Ready, not, and not yet looked at."""
    place = Place(LocalCluster.open(None, SystemClock(), SystemChance()), "default")
    await place.apply(*(make_crd(kind) for kind in (GitRepository, Kustomization, SecretStore)))
    source = {"url": "https://git.example.com/fleet.git", "interval": "1m"}
    sync: dict[str, Any] = {"sourceRef": {"kind": "GitRepository", "name": "good"}, "interval": "1m", "prune": True}
    manifests: tuple[Manifest, ...] = (
        ours(Kustomization, "bad", "False", **sync),
        ours(Kustomization, "new", **sync),
        ours(SecretStore, "store", "False", provider={"fake": {"data": []}}),
        ours(GitRepository, "good", "True", **source),
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}},
    )
    for manifest in manifests:
        await place.apply(manifest)
        if manifest.get("status"):
            ref = ObjectRef.of({**manifest, "metadata": {"name": manifest["metadata"]["name"], "namespace": "default"}})
            patch = {"status": manifest["status"]}
            await place.cluster.patch(ref, patch, field_manager="tests", subresource="status")
    yield place
    assert isinstance(place.cluster, LocalCluster)
    place.cluster.close()


async def test_all_is_every_kind_of_ours_that_is_served(
    some_of_ours: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()

    assert await some_of_ours.show("all", all_namespaces=True) == 0
    blocks = capsys.readouterr().out.split("\n\n")
    assert await some_of_ours.show("all", output="json") == 0
    whole = json.loads(capsys.readouterr().out)

    assert [[line.split()[1] for line in block.splitlines()[1:]] for block in blocks] == [
        ["gitrepository.source.toolkit.fluxcd.io/good"],
        ["kustomization.kustomize.toolkit.fluxcd.io/bad", "kustomization.kustomize.toolkit.fluxcd.io/new"],
        ["secretstore.external-secrets.io/store"],
    ]
    assert {block.split()[0] for block in blocks} == {"NAMESPACE"}
    assert (whole["kind"], [item["kind"] for item in whole["items"]]) == (
        "List",
        ["GitRepository", "Kustomization", "Kustomization", "SecretStore"],
    )


@pytest.mark.parametrize(
    ("status", "names"),
    [
        (("ready", "false"), ["bad", "store"]),
        (("Ready", "True"), ["good"]),
        (("ready", "unknown"), ["new"]),
        (("Healthy", "True"), []),
    ],
)
async def test_objects_are_chosen_by_a_condition(
    some_of_ours: Place, status: tuple[str, str], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()

    assert await some_of_ours.show("all", output="name", status=status) == 0

    told = capsys.readouterr()
    assert [line.partition("/")[2] for line in told.out.splitlines()] == names
    assert told.err == ("" if names else "No resources found in default namespace.\n")


@pytest.mark.parametrize("status", [None, "fine", [], {"conditions": {"Ready": "True"}}, {"conditions": ["Ready", 5]}])
def test_what_has_no_conditions_does_not_know_them(status: Any) -> None:
    choices = (Showing("default", status=("ready", wanted)) for wanted in ("unknown", "true", "false"))

    assert [how.fits({"status": status}) for how in choices] == [True, False, False]


async def test_a_watch_shows_only_what_has_the_condition_then(
    some_of_ours: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    watching = asyncio.create_task(some_of_ours.show("ks", watch=True, output="name", status=("ready", "false")))
    await shows(capsys, "/bad")
    for name, status in (("bad", "True"), ("new", "False")):
        ref = ObjectRef(Kustomization.KIND, ObjectKey("default", name))
        patch = {"status": {"conditions": [condition(status)]}}
        await some_of_ours.cluster.patch(ref, patch, field_manager="tests", subresource="status")
    await shows(capsys, "kustomization.kustomize.toolkit.fluxcd.io/new\n", without="/bad")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_cluster_without_our_kinds_says_how_to_install_them(tmp_path: Path) -> None:
    cluster = LocalCluster.open(None, SystemClock(), SystemChance())
    with pytest.raises(click.ClickException, match=r"none of Sealoop's kinds; install it: sealoop crds - \| kubectl"):
        await Place(cluster, "default").show("all")
    cluster.close()


async def shows(capsys: pytest.CaptureFixture[str], expected: str, without: str = "\0") -> None:
    """Wait until this has been printed, and not that."""
    printed = ""
    async with asyncio.timeout(60):
        while expected not in printed:
            await asyncio.sleep(0.05)
            printed += "".join(capsys.readouterr())
            assert without not in printed


async def next_of(found: AsyncIterator[Manifest]) -> str:
    async with asyncio.timeout(60):
        async for manifest in found:
            if manifest["metadata"]["name"] != "kube-root-ca.crt":  # a controller's, where controllers run
                return f"{manifest['metadata']['name']}={manifest['data']['a']}"
    raise AssertionError("the changes ended")


async def test_a_watch_that_knows_no_place_to_go_on_shows_what_differs(place: Place) -> None:
    await place.apply(config_map("seen"), config_map("changed"))
    query = Query(CONFIG_MAP, place.namespace)
    page = await place.cluster.list(query, dict[str, Any])
    shown = [item for item in page.items if isinstance(item, dict)]
    await place.apply(config_map("changed", "2"), config_map("new"))

    found = follow_changes(place.cluster, query, shown, "")
    told = [await next_of(found), await next_of(found)]
    await place.apply(config_map("seen", "5"))
    told.append(await next_of(found))

    assert told == ["changed=2", "new=1", "seen=5"]


class Unsteady(Forwarding):
    """A cluster whose watches break before they begin, each for the next reason in line."""

    def __init__(self, cluster: Cluster, *reasons: ClusterError) -> None:
        super().__init__(cluster)
        self._reasons = list(reasons)

    async def watch(
        self, query: Query, type_: type[Any], resource_version: str, *, seconds: int | None = None
    ) -> AsyncIterator[WatchEvent[Any]]:
        if self._reasons:
            raise self._reasons.pop(0)
        async for event in self.inner.watch(query, type_, resource_version, seconds=seconds):
            yield event


async def test_a_watch_outlives_what_breaks_it(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    await place.apply(config_map("seen"))
    query = Query(CONFIG_MAP, place.namespace)
    page = await place.cluster.list(query, dict[str, Any])
    shown = [item for item in page.items if isinstance(item, dict)]
    unsteady = Unsteady(place.cluster, ClusterUnavailable("the API server is restarting"), Expired("too old"))
    capsys.readouterr()

    found = follow_changes(unsteady, query, shown, page.resource_version)
    await place.apply(config_map("new"))
    told = [await next_of(found)]
    await place.apply(config_map("seen", "2"))
    told.append(await next_of(found))

    assert told == ["new=1", "seen=2"]
    assert capsys.readouterr().err == "Warning: the API server is restarting; trying again\n"


async def test_a_watch_ends_when_its_kind_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    local = LocalCluster.open(None, SystemClock(), SystemChance())
    place = Place(local, "default")
    gadget = {"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "shown"}}
    await place.apply(definition("example.com"), gadget)
    capsys.readouterr()
    watching = asyncio.create_task(place.show("gadgets", watch=True))
    await shows(capsys, "shown")

    await place.delete("crd", "gadgets.example.com")

    with pytest.raises(KindUnknown):
        await asyncio.wait_for(watching, 60)
    local.close()


# delete


async def test_objects_are_deleted_by_name_by_label_and_by_manifest(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    await place.apply(*(config_map(name, labels={"app": "web"}) for name in "abc"), config_map("d"), secret("d"))
    capsys.readouterr()

    codes = [
        await place.delete("cm", "a", dry_run=True),
        await place.delete("cm/a", "cm/nope"),
        await place.delete("cm,secret", "d"),
        await place.delete("cm", selector="app=web", ignore_not_found=True),
        await place.delete(manifests=(config_map("d"),), ignore_not_found=True),
    ]

    out, err = capsys.readouterr()
    assert codes == [0, 1, 0, 0, 0]
    assert out.splitlines() == [
        "configmap/a deleted (server dry run)",
        "configmap/a deleted",
        "configmap/d deleted",
        "secret/d deleted",
        "configmap/b deleted",
        "configmap/c deleted",
    ]
    assert err == f"Error: ConfigMap/{place.namespace}/nope not found\n"


async def test_a_deletion_waits_for_finalizers_and_says_so(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    await place.apply(config_map("held", finalizers=["example.com/hold"]))
    ref = ObjectRef(CONFIG_MAP, ObjectKey(place.namespace, "held"))

    with pytest.raises(click.ClickException, match="timed out: the objects are being deleted"):
        await place.delete("cm/held", timeout=0.5)
    waiting = asyncio.create_task(place.delete("cm/held"))
    await shows(capsys, "waiting for configmap/held: its controller has yet to remove example.com/hold")
    assert not waiting.done()
    await place.cluster.patch(ref, {"metadata": {"finalizers": None}}, field_manager="tests")

    assert await asyncio.wait_for(waiting, 60) == 0


async def test_an_object_made_anew_is_not_waited_for(place: Place) -> None:
    await place.apply(config_map("phoenix", finalizers=["example.com/hold"]))
    ref = ObjectRef(CONFIG_MAP, ObjectKey(place.namespace, "phoenix"))
    waiting = asyncio.create_task(place.delete("cm/phoenix"))
    await until_deleting(place, ref)

    await place.cluster.patch(ref, {"metadata": {"finalizers": None}}, field_manager="tests")
    await place.apply(config_map("phoenix"))

    assert await asyncio.wait_for(waiting, 60) == 0
    assert await place.cluster.get(ref) is not None


async def until_deleting(place: Place, ref: ObjectRef) -> None:
    while "deletionTimestamp" not in (await place.cluster.get(ref) or {})["metadata"]:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.02)


# files


def test_folders_are_read_in_order_and_deeply_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.yaml").write_text(json.dumps(config_map("b")))
    (tmp_path / "a.json").write_text(json.dumps(config_map("a")))
    (tmp_path / "sub" / "c.yml").write_text(json.dumps(config_map("c")))
    (tmp_path / "README.md").write_text("not a manifest")

    flat, deep = collect_manifests([str(tmp_path)]), collect_manifests([str(tmp_path)], recursive=True)

    assert [m["metadata"]["name"] for m in flat] == ["a", "b"]
    assert [m["metadata"]["name"] for m in deep] == ["a", "b", "c"]


def test_objects_that_others_need_go_first() -> None:
    manifests = [config_map("a"), definition("example.com"), config_map("b"), namespace("n")]

    assert [m["kind"] for m in sort(manifests)] == [
        "Namespace",
        "CustomResourceDefinition",
        "ConfigMap",
        "ConfigMap",
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("a: [", "line 2: did not find expected node content"),
        ("hello", "line 1: not an object"),
        ("kind: ConfigMap", "an object lacks apiVersion and metadata.name"),
        (
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nmetadata: {name: k}",
            "kustomize build DIR | sealoop apply -f -",
        ),
    ],
)
def test_a_document_that_is_not_a_manifest_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(click.ClickException) as refused:
        collect_manifests([str(tmp_path / "x.yaml")])
    assert complaint in str(refused.value)


def test_places_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for place, complaint in (
        (str(tmp_path / "nope"), "nope cannot be read: No such file"),
        (str(tmp_path), "no manifests (.yaml, .yml, .json) in folder"),
        ("https://example.com/a.yaml", "curl -fsS https://example.com/a.yaml | sealoop apply -f -"),
    ):
        with pytest.raises(click.ClickException) as refused:
            collect_manifests([place])
        assert complaint in str(refused.value)
