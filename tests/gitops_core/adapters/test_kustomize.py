"""Rendering: the shared build is the build with the real values, plain folders are what kustomize makes of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitops_core.adapters import sandbox
from gitops_core.adapters.kustomize import Kustomize, RendererUnavailable
from gitops_core.adapters.sandbox import Limits
from gitops_core.api import Kustomization
from gitops_core.domain.render.folders import list_resources
from gitops_core.domain.render.manifests import read_output
from gitops_core.errors import ManifestInvalid, PathNotFound, Postponed
from gitops_core.meta import FixedTree, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Overlay
from gitops_core.runtime.sharing.computing import on_account_of

PARTS: Mapping[str, str] = {
    "account.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}\n",
    "config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: web, b: settings}\n",
    "secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: key, namespace: lab}\nstringData: {a: b}\n",
    "service.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n",
    "namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: lab}\n",
    "deployment.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers:
      - name: web
        image: nginx
        envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: key}}]
        env: [{name: A, valueFrom: {configMapKeyRef: {name: settings, key: a}}}]
      volumes: [{name: v, configMap: {name: settings}}, {name: w, secret: {secretName: key}}]
""",
    "statefulset.yaml": """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: web
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: postgres}]}
""",
    "ingress.yaml": """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  tls: [{secretName: key, hosts: [example.com]}]
  rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
""",
    "autoscaler.yaml": """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
""",
    "role.yaml": """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], resourceNames: [settings], verbs: [get]}]
""",
    "binding.yaml": """
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: web}, {kind: ServiceAccount, name: default, namespace: lab}]
""",
    "clusterbinding.yaml": """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: all}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: all}
subjects: [{kind: ServiceAccount, name: web, namespace: lab}, {kind: User, name: web}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: all}
rules: []
""",
    "webhook.yaml": """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: guard}
webhooks: [{name: guard.example.com, clientConfig: {service: {name: web, namespace: lab}}}]
""",
    "crd.yaml": """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec: {group: example.org, names: {kind: Widget, plural: widgets}, scope: Namespaced}
---
apiVersion: example.org/v1
kind: Widget
metadata: {name: web}
spec: {config: settings}
""",
    "cronjob.yaml": """
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  jobTemplate: {spec: {template: {spec: {serviceAccountName: web, containers: [{name: c, image: busybox}]}}}}
""",
}
AFFIXES = st.sampled_from(["", "dev-", "web-", "w", "a-much-longer-prefix-"])
SUFFIXES = st.sampled_from(["", "-v2", "b"])
NAMESPACES = st.sampled_from(["", "shop", "lab", "default", "web"])


def folder(*names: str) -> FixedTree:
    files = {name: PARTS[name].encode() for name in names}
    return FixedTree("-".join(sorted(names)), files)


async def built_with_real_values(files: FixedTree, overlay: Overlay, where: Path) -> tuple[Manifest, ...]:
    """What the kustomize program itself says."""
    document: dict[str, Any] = {"resources": [f"./{name}" for name in list_resources(files, "")]}
    fields = {"namespace": overlay.namespace, "namePrefix": overlay.name_prefix, "nameSuffix": overlay.name_suffix}
    document |= {key: value for key, value in fields.items() if value}
    for name, data in files.items():
        (where / name).write_bytes(data)
    (where / "kustomization.yaml").write_text(json.dumps(document))
    program = Kustomize()._locate()
    process = await asyncio.create_subprocess_exec(
        program, "build", str(where), "--reorder", "none", stdout=-1, stderr=asyncio.subprocess.PIPE
    )
    output, problem = await process.communicate()
    assert process.returncode == 0, problem.decode()
    return read_output(output)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    names=st.sets(st.sampled_from(sorted(PARTS)), min_size=1),
    prefix=AFFIXES,
    suffix=SUFFIXES,
    namespace=NAMESPACES,
)
def test_the_shared_build_is_the_build_with_the_real_values(
    names: set[str], prefix: str, suffix: str, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = folder(*names)
    overlay = Overlay(namespace=namespace, name_prefix=prefix, name_suffix=suffix)

    async def both() -> tuple[tuple[Manifest, ...], tuple[Manifest, ...]]:
        ours = await Kustomize().render(files, overlay)
        return ours, await built_with_real_values(files, overlay, tmp_path_factory.mktemp("build"))

    ours, theirs = asyncio.run(both())
    assert ours == theirs


WORDS = tuple(
    """
1e22 0.1 1e-7 2001-12-14T21:59:43.10Z 2001-12-14t21:59:43.10-05:00 2001-1-4 0x_1F 1__0 -017 0b2 0o8 .e3 -.5 0b_11 1e
1_ 2020-13-01 018 -0x1F 0b 1_000e1 +0o7 0X1f 09.5 -9223372036854775809 18446744073709551615 18446744073709551616 12e03
1.e3 _1 1.2.3 .1_0 00 0_7 True tRUE NULL 12345-1-1 = 0.0 -0.0 1e-5 0x 4_2 0o 12:30 yes no on Off y n ~ null Null nULL
-0 0 + +1 1. .5 1E5 0777 08 1_000.5 1.0 1.10 2020-01-01 -12 --1 'quoted' "1" !!str|12 !!int|"12" !!binary|aGk= !x|1
""".split()  # noqa: SIM905  # a table is easier to read than a list of quoted words
)


async def test_plain_scalars_mean_what_they_mean_to_kustomize(tmp_path: Path) -> None:
    lines = "".join(f"  k{index}: {word.replace('|', ' ')}\n" for index, word in enumerate(WORDS))
    text = f"apiVersion: example.org/v1\nkind: Thing\nmetadata: {{name: one}}\nspec:\n{lines}"
    files = FixedTree("words", {"one.yaml": text.encode()})

    (ours,) = await Kustomize().render(files, Overlay())
    (theirs,) = await built_with_real_values(files, Overlay(), tmp_path)

    assert {word: ours["spec"][f"k{i}"] for i, word in enumerate(WORDS)} == {
        word: theirs["spec"][f"k{i}"] for i, word in enumerate(WORDS)
    }


async def test_a_plain_folder_is_what_kustomize_makes_of_it(tmp_path: Path) -> None:
    """Lists are expanded, empty documents and objects for tools are left out, the order is that of a walk."""
    extra = """
---
# nothing
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: listed}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: tool, annotations: {config.kubernetes.io/local-config: "true"}}}
"""
    files = FixedTree(
        "all", {name: text.encode() for name, text in {**PARTS, "list.yml": extra, "a.txt": "no"}.items()}
    )

    assert await Kustomize().render(files, Overlay()) == await built_with_real_values(files, Overlay(), tmp_path)


async def test_another_name_prefix_is_rendered_without_another_build() -> None:
    """The second prefix needs no kustomize: there is none any more."""
    renderer = Kustomize()
    files = folder("deployment.yaml", "account.yaml")
    await renderer.render(files, Overlay(namespace="shop", name_prefix="dev-"))
    renderer._program = "/nowhere/kustomize"

    (_, deployment) = await renderer.render(files, Overlay(namespace="shop", name_prefix="stage-"))

    assert deployment["metadata"] == {"name": "stage-web", "namespace": "shop", "labels": {"app": "web"}}
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == "stage-web"


async def test_a_commit_that_changes_other_files_builds_nothing() -> None:
    renderer = Kustomize()
    files = {
        "base/kustomization.yaml": b"resources: [one.yaml]\n",
        "base/one.yaml": PARTS["config.yaml"].encode(),
        "prod/kustomization.yaml": b"resources: [../base]\n",
    }
    first = await renderer.render(FixedTree("1", files), Overlay(), "prod")
    renderer._program = "/nowhere/kustomize"

    assert await renderer.render(FixedTree("2", {**files, "README.md": b"new"}), Overlay(), "prod") == first


async def test_a_missing_program_says_how_to_get_it() -> None:
    with pytest.raises(RendererUnavailable, match="kustomize"):
        await Kustomize("/nowhere/kustomize").render(folder("account.yaml"), Overlay(name_prefix="x-"))


async def test_generated_names_are_built_with_their_prefix() -> None:
    kustomization = b"configMapGenerator: [{name: made, literals: [a=b]}]\n"
    files = FixedTree("generated", {"kustomization.yaml": kustomization})
    names = [(await Kustomize().render(files, Overlay(name_prefix=p)))[0]["metadata"]["name"] for p in ("a-", "b-")]

    assert names == ["a-made-4h2mbtbbt6", "b-made-4h2mbtbbt6"]


async def test_bases_outside_the_folder_but_inside_the_repository() -> None:
    files = {
        "base/kustomization.yaml": b"resources: [one.yaml]\n",
        "base/one.yaml": PARTS["config.yaml"].encode(),
        "shared/file.txt": b"hello",
        "prod/kustomization.yaml": b"resources: [../base]\nsecretGenerator: [{name: g, files: [../shared/file.txt]}]",
    }
    made = await Kustomize().render(FixedTree("x", files), Overlay(), "prod")

    assert [m["metadata"]["name"].split("-")[0] for m in made] == ["settings", "g"]


@pytest.mark.parametrize(
    "kustomization",
    [
        "resources: [https://example.com/x.yaml]",
        "resources: ['github.com/team/repo//base?ref=v1']",
        "resources: [../../etc]",
        "components: [/etc]",
        "configMapGenerator: [{name: x, files: [/etc/passwd]}]",
        "configMapGenerator: [{name: x, files: [key=../../../etc/passwd]}]",
        "secretGenerator: [{name: x, envs: [/proc/self/environ]}]",
        "patches: [{path: /etc/passwd}]",
        "crds: [/etc/passwd]",
        "openapi: {path: /etc/passwd}",
        "replacements: [{path: /etc/passwd}]",
        "transformers: ['{apiVersion: builtin, kind: PatchTransformer, metadata: {name: x}, path: /etc/passwd}']",
        "generators:\n- |-\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  files: [/etc/passwd]",
        "helmCharts: [{name: x, repo: 'https://example.com'}]",
        "resources: [/dev/null]",
    ],
)
async def test_nothing_outside_the_repository_is_read(kustomization: str) -> None:
    files = {"apps/kustomization.yaml": kustomization.encode(), "apps/x.yaml": PARTS["config.yaml"].encode()}
    with pytest.raises(ManifestInvalid):
        await Kustomize().render(FixedTree("evil", files), Overlay(), "apps")


async def test_faults_of_all_files_are_told_at_once() -> None:
    files = FixedTree(
        "bad", {"a.yaml": b"a: [", "b.yaml": b"x: 1\n y: 2", "c.yaml": b"kind: X\n", "d.yaml": b"a: 1\na: 2"}
    )
    with pytest.raises(ManifestInvalid) as refused:
        await Kustomize().render(files, Overlay())

    assert all(name in str(refused.value) for name in ("a.yaml", "b.yaml", "c.yaml", "d.yaml"))


async def test_a_folder_without_manifests_is_refused_and_a_missing_one_not_found() -> None:
    with pytest.raises(ManifestInvalid, match="holds no manifests"):
        await Kustomize().render(FixedTree("none", {"README.md": b"hello"}), Overlay())
    with pytest.raises(PathNotFound, match="kustomization path not found"):
        await Kustomize().render(FixedTree("none", {"README.md": b"hello"}), Overlay(), "apps")


async def test_a_program_that_hangs_is_stopped(tmp_path: Path) -> None:
    program = tmp_path / "kustomize"
    program.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    program.chmod(0o755)
    with pytest.raises(RendererUnavailable, match="longer than"):
        await Kustomize(str(program), limits=Limits(seconds=0.2)).render(
            folder("account.yaml"), Overlay(name_prefix="x-")
        )


@pytest.mark.parametrize("stream", [1, 2])
async def test_a_program_that_prints_too_much_is_stopped(stream: int, tmp_path: Path) -> None:
    program = tmp_path / "kustomize"
    program.write_text(f"#!/bin/sh\nexec /usr/bin/yes >&{stream}\n")
    program.chmod(0o755)
    async with asyncio.timeout(60):
        with pytest.raises(RendererUnavailable, match="printed more than"):
            await Kustomize(str(program)).render(folder("account.yaml"), Overlay(name_prefix="x-"))


async def test_a_thousand_kustomizations_asked_again_build_nothing() -> None:
    renderer = Kustomize()
    trees = [FixedTree(f"oid{n}", {"one.yaml": PARTS["deployment.yaml"].encode()}) for n in range(1000)]
    made = [await renderer.render(tree, Overlay(name_prefix=f"n{n}-")) for n, tree in enumerate(trees)]
    renderer._program = "/nowhere/kustomize"
    gone = [FixedTree(tree.oid, {"one.yaml": b"not: [read"}) for tree in trees]

    assert [await renderer.render(tree, Overlay(name_prefix=f"n{n}-")) for n, tree in enumerate(gone)] == made


async def test_a_build_that_is_cancelled_ends_its_program_and_leaves_no_folder(tmp_path: Path) -> None:
    program = tmp_path / "kustomize"
    program.write_text(f"#!/bin/sh\nexec /bin/sleep 5{os.getpid()}\n")
    program.chmod(0o755)
    before = left_folders()
    renderer = Kustomize(str(program), builds=1)
    build = asyncio.create_task(renderer.render(folder("account.yaml"), Overlay(name_prefix="x-")))
    await asyncio.sleep(1)
    assert running(f"5{os.getpid()}")

    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    await asyncio.sleep(0.5)

    assert not running(f"5{os.getpid()}")
    assert not left_folders() - before
    renderer._program = ""
    async with asyncio.timeout(30):  # its place is free again
        await renderer.render(folder("account.yaml"), Overlay(name_prefix="x-"))


def left_folders() -> set[Path]:
    return {*Path(sandbox.MEMORY).glob(f"{sandbox.PREFIX}{os.getpid()}-*")}


def running(argument: str) -> bool:
    """Whether a program with this argument runs."""
    texts = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.exists())
    with contextlib.suppress(OSError):
        return any(argument.encode() in text.split(b"\0") for text in texts)
    return running(argument)  # one ended meanwhile


async def test_a_build_that_needs_too_much_memory_says_so() -> None:
    renderer = Kustomize()
    renderer._limits = Limits(memory=48 * 2**20)
    with pytest.raises(RendererUnavailable, match="needs more than 48 MiB of memory"):
        await renderer.render(folder("account.yaml"), Overlay(name_prefix="x-"))


async def test_the_slow_builds_of_a_namespace_delay_those_of_another_by_one_at_most() -> None:
    renderer, finished = Kustomize(builds=2), list[str]()
    objects = "---\n".join(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n}}}\n" for n in range(300))
    patch = {"patch": "- {op: add, path: /data, value: {a: b}}", "target": {"kind": "ConfigMap"}}

    async def build(namespace: str, name: str, patches: int) -> None:
        document = json.dumps({"namePrefix": name, "resources": ["a.yaml"], "patches": [patch] * patches})
        tree = FixedTree(name, {"kustomization.yaml": document.encode(), "a.yaml": objects.encode()})
        with on_account_of(ObjectRef(Kustomization.KIND, ObjectKey(namespace, name))):
            while True:
                with contextlib.suppress(Postponed):
                    await renderer.render(tree, Overlay())
                    finished.append(namespace)
                    return

    slow = [asyncio.create_task(build("slow", f"slow-{number}-", 4)) for number in range(6)]
    await asyncio.sleep(0)  # all of them wait before the other comes
    await build("other", "other-", 1)

    assert len(finished) <= 4, "the two that were under way, and at most one that began with it"
    await asyncio.gather(*slow)


async def test_failed_builds_leave_nothing_behind() -> None:
    before = left_folders()
    renderer = Kustomize()
    for number in range(3):
        files = {"kustomization.yaml": b"resources: [a.yaml]", "a.yaml": b"a: 1"}
        with pytest.raises(ManifestInvalid, match="kustomize build failed"):
            await renderer.render(FixedTree(str(number), files), Overlay(name_prefix="x-"))

    assert not left_folders() - before
    assert not renderer._under_way._under_way


async def test_a_large_build_is_within_the_limits() -> None:
    """Of 100 Deployments."""
    text = "---\n".join(PARTS["deployment.yaml"].replace("{name: web,", f"{{name: web{n},") for n in range(100))
    made = await Kustomize().render(FixedTree("large", {"all.yaml": text.encode()}), Overlay(name_prefix="x-"))

    assert len(made) == 100
