"""What builds may do, by the kustomize program itself, and what they may not, by each line of defence without the other."""

# ruff: noqa: E501  # one folder a line

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from gitops_core.adapters.kustomize import Kustomize
from gitops_core.adapters.sandbox import Confinement, Limits, Sandboxed
from gitops_core.domain.render.manifests import read_output
from gitops_core.errors import ManifestInvalid
from gitops_core.meta import FixedTree, Manifest
from gitops_core.ports import Overlay
from tests.gitops_core.adapters.hostile import FOLDER, PLANTED, corpus

UNCONFINED = Confinement(landlock=0, has_filters=False, user=None)
PROGRAM = os.path.abspath(os.path.realpath(shutil.which("kustomize") or ".tools/bin/kustomize"))
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "nginx:1", args: [$(HOST)], env: [{name: A, value: b}]}]}
"""
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}], selector: {app: web}}\n"
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {host: example.com, port: '80'}\n"
PATCH = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n"
OPERATIONS = "- {op: replace, path: /spec/replicas, value: 4}\n"
REPLACEMENT = """
source: {kind: ConfigMap, name: conf, fieldPath: data.host}
targets:
- select: {kind: Deployment}
  reject: [{name: other}]
  fieldPaths: ["spec.template.spec.containers.[name=web].env.[name=A].value"]
  options: {create: false}
"""
CRD = json.dumps(
    {
        "example.org/v1.Widget": {
            "Schema": {
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {"type": "object"},
                    "spec": {"x-kubernetes-object-ref-api-version": "v1", "x-kubernetes-object-ref-kind": "ConfigMap"},
                }
            }
        }
    }
)
WIDGET = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\nspec: {name: conf}\n"
BASE = {
    "base/kustomization.yaml": "resources: [deployment.yaml, conf.yaml]\n",
    "base/deployment.yaml": DEPLOYMENT,
    "base/conf.yaml": CONFIG,
}
TARGET = "target: {kind: Deployment, name: web}"

LEGAL: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "names, labels and annotations": (
        """
        namePrefix: a-
        nameSuffix: -z
        namespace: shop
        commonLabels: {team: x, switch: "yes"}
        commonAnnotations: {note: "kept: {as} [it] # is"}
        labels:
        - {pairs: {a: b}, includeSelectors: no, includeTemplates: on}
        - {pairs: {c: d}, fields: [{path: spec/extra, create: yes, kind: Deployment, group: apps, version: v1}]}
        resources: [../base]
        """,
        {},
    ),
    "images, also the deprecated ones, and replicas": (
        """
        images: [{name: nginx, newName: registry.example.com/nginx, newTag: "2"}]
        imageTags: [{name: other, newTag: v2}]
        replicas: [{name: web, count: 5}]
        bases: [../base]
        """,
        {},
    ),
    "generators of all kinds": (
        """
        generatorOptions: {labels: {x: z}, annotations: {p: q}, immutable: true}
        configMapGenerator:
        - {name: files, files: [a.txt, key=sub/b.txt, ../shared/c.txt, ./d=e.txt]}
        - {name: envs, envs: [a.env, ../shared/b.env], literals: [x=y, 'z="quoted"', "emoji=\\U0001F600", "nel=a\\x85b"]}
        - {name: env, env: a.env, options: {disableNameSuffixHash: yes, labels: {m: z}}}
        - {name: conf, behavior: merge, literals: [extra=1]}
        secretGenerator:
        - {name: secret, namespace: shop, type: Opaque, files: [a.txt], literals: [p=q=r]}
        resources: [../base]
        """,
        {
            "top/a.txt": "a\n",
            "top/sub/b.txt": "b: {not: yaml",
            "shared/c.txt": "c",
            "top/e.txt": "e",
            "top/a.env": "K=V\n# comment\nL=M N\n",
            "shared/b.env": "N=O\n",
        },
    ),
    "a kustomization file as data": (
        "configMapGenerator: [{name: k, files: [kustomization.yaml, x=../base/kustomization.yaml]}]\n",
        {},
    ),
    "patches in every form": (
        f"""
        resources: [../base]
        patches:
        - path: patch.yaml
        - {{path: ../shared/operations.yaml, {TARGET}, options: {{allowNameChange: true}}}}
        - patch: |-
            - {{op: add, path: /metadata/annotations, value: {{a: "b"}}}}
          target: {{kind: Deployment, labelSelector: app=web}}
        - patch: '{{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": "conf"}}, "data": {{"new": "x"}}}}'
        patchesStrategicMerge:
        - ../shared/merge.yaml
        - |-
          apiVersion: v1
          kind: ConfigMap
          metadata: {{name: conf}}
          data: {{inline: "1"}}
        patchesJson6902:
        - {{path: ops.json, target: {{group: apps, version: v1, kind: Deployment, name: web}}}}
        """,
        {
            "top/patch.yaml": PATCH,
            "shared/operations.yaml": OPERATIONS,
            "shared/merge.yaml": PATCH.replace("3", "7"),
            "top/ops.json": json.dumps([{"op": "add", "path": "/metadata/labels/j", "value": "k"}]),
        },
    ),
    "replacements by path and inline": (
        """
        resources: [../base]
        replacements:
        - path: one.yaml
        - path: ../shared/many.yaml
        - source: {kind: ConfigMap, name: conf, fieldPath: data.port, options: {delimiter: ":", index: 0}}
          targets: [{select: {kind: Deployment}, fieldPaths: [metadata.annotations.port], options: {create: true}}]
        """,
        {
            "top/one.yaml": REPLACEMENT,
            "shared/many.yaml": f"- {json.dumps({'sourceValue': 'v', 'targets': [{'select': {'kind': 'ConfigMap'}, 'fieldPaths': ['data.port']}]})}\n",
        },
    ),
    "variables": (
        """
        resources: [../base]
        vars:
        - {name: HOST, objref: {apiVersion: v1, kind: ConfigMap, name: conf}, fieldref: {fieldpath: data.host}}
        """,
        {},
    ),
    "configurations and crds": (
        """
        namePrefix: p-
        resources: [../base, widget.yaml]
        configurations: [../shared/config.yaml]
        crds: [crd.json]
        """,
        {
            "top/widget.yaml": WIDGET,
            "top/crd.json": CRD,
            "shared/config.yaml": "namePrefix: [{path: metadata/name}]\nnameReference:\n- kind: ConfigMap\n  fieldSpecs: [{kind: Widget, path: spec/name}]\n",
        },
    ),
    "a schema of one's own": (
        """
        resources: [widget.yaml]
        openapi: {path: ../shared/schema.json}
        patches:
        - patch: '{"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"items": [{"name": "a", "x": 2}]}}'
        """,
        {
            "top/widget.yaml": WIDGET.replace("{name: conf}", "{items: [{name: a, y: 1}, {name: b}]}"),
            "shared/schema.json": json.dumps(
                {
                    "definitions": {
                        "v1.Widget": {
                            "type": "object",
                            "properties": {
                                "spec": {
                                    "type": "object",
                                    "properties": {
                                        "items": {
                                            "type": "array",
                                            "items": {"type": "object"},
                                            "x-kubernetes-patch-merge-key": "name",
                                            "x-kubernetes-patch-strategy": "merge",
                                        }
                                    },
                                }
                            },
                            "x-kubernetes-group-version-kind": [
                                {"group": "example.org", "kind": "Widget", "version": "v1"}
                            ],
                        }
                    }
                }
            ),
        },
    ),
    "plug-ins that are built in, inline and in files": (
        """
        resources: [../base]
        generators:
        - plugin.yaml
        - |-
          apiVersion: builtin
          kind: SecretGenerator
          metadata: {name: inline, labels: {l: m}}
          literals: [a=b]
          files: [../shared/c.txt]
        transformers:
        - ../shared/two.yaml
        - '{apiVersion: builtin, kind: AnnotationsTransformer, metadata: {name: a}, annotations: {t: u}, fieldSpecs: [{path: metadata/annotations, create: true}]}'
        validators:
        - '{apiVersion: builtin, kind: NamespaceTransformer, metadata: {name: v}}'
        """,
        {
            "top/plugin.yaml": "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: made}\nname: made\nliterals: [a=b]\nenvs: [a.env]\n",
            "top/a.env": "K=V\n",
            "shared/c.txt": "c",
            "shared/two.yaml": """
apiVersion: builtin
kind: PrefixSuffixTransformer
metadata: {name: p}
prefix: pre-
fieldSpecs: [{path: metadata/name}]
---
apiVersion: builtin
kind: ValueAddTransformer
metadata: {name: v}
targets: [{selector: {kind: ConfigMap}, fieldPath: data/folder}]
---
apiVersion: builtin
kind: PatchTransformer
metadata: {name: q}
path: ops.yaml
target: {kind: Deployment}
---
apiVersion: builtin
kind: ReplicaCountTransformer
metadata: {name: r}
replica: {name: web, count: 9}
fieldSpecs: [{path: spec/replicas, kind: Deployment, create: true}]
---
apiVersion: builtin
kind: PatchStrategicMergeTransformer
metadata: {name: s}
paths: [merge.yaml, '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"m": "z"}}']
---
apiVersion: builtin
kind: LabelTransformer
metadata: {name: l}
labels: {lab: el}
fieldSpecs: [{path: metadata/labels, create: true}]
---
apiVersion: builtin
kind: ImageTagTransformer
metadata: {name: i}
imageTag: {name: nginx, newTag: "9"}
""",
            "top/ops.yaml": OPERATIONS,
            "top/merge.yaml": PATCH.replace("replicas: 3", "paused: true"),
        },
    ),
    "components": (
        "resources: [../base]\ncomponents: [../comp]\nnamespace: shop\n",
        {
            "comp/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{path: p.yaml}]\n",
            "comp/p.yaml": PATCH,
        },
    ),
    "bases of bases, and one base twice under two prefixes": (
        "resources: [../a, ../b]\n",
        {
            "a/kustomization.yml": "namePrefix: a-\nresources: [../base]\n",
            "b/Kustomization": "namePrefix: b-\nresources: [../base/]\n",
        },
    ),
    "a base below": (
        "resources: [./sub, more.yaml]\n",
        {
            "top/sub/kustomization.yaml": "resources: [../../shared/s.yaml]\n",
            "shared/s.yaml": SERVICE,
            "top/more.yaml": CONFIG,
        },
    ),
    "where everything came from": (
        """
        buildMetadata: [originAnnotations, transformerAnnotations, managedByLabel]
        namePrefix: p-
        resources: [../base, ../shared/s.yaml, own.yaml]
        configMapGenerator: [{name: made, literals: [a=b]}]
        transformers: [label.yaml]
        """,
        {
            "shared/s.yaml": SERVICE,
            "top/own.yaml": WIDGET,
            "top/label.yaml": "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: l}\nlabels: {lab: el}\nfieldSpecs: [{path: metadata/labels, create: true}]\n",
        },
    ),
    "an order": (
        "resources: [../base, s.yaml]\nsortOptions: {order: legacy, legacySortOptions: {orderFirst: [Service], orderLast: [ConfigMap]}}\n",
        {"top/s.yaml": SERVICE},
    ),
    "anchors and merge keys": (
        """
        apiVersion: kustomize.config.k8s.io/v1beta1
        kind: Kustomization
        metadata: {name: top, annotations: {a: b}}
        resources: [../base]
        commonAnnotations: &all {a: b}
        labels: [{pairs: {<<: *all, c: d}}]
        """,
        {},
    ),
    "empty fields": (
        "resources: [../base]\npatches:\nconfigMapGenerator: []\nhelmCharts: []\nimages: null\ncomponents: []\ntransformers: ['']\n",
        {},
    ),
    "names with odd characters": (
        "resources: ['a b.yaml', 'c:d.yaml', './#e.yaml', '-f.yaml', 'github.com', '100%.yaml']\n",
        {
            "top/a b.yaml": CONFIG.replace("conf", "one"),
            "top/c:d.yaml": CONFIG.replace("conf", "two"),
            "top/#e.yaml": CONFIG.replace("conf", "three"),
            "top/-f.yaml": CONFIG.replace("conf", "four"),
            "top/github.com": CONFIG.replace("conf", "five"),
            "top/100%.yaml": CONFIG.replace("conf", "six"),
        },
    ),
}


def repository(document: str, files: Mapping[str, str]) -> dict[str, bytes]:
    whole = {"top/kustomization.yaml": textwrap.dedent(document).lstrip(), **BASE, **files}
    return {path: text.encode("utf-8", "surrogateescape") for path, text in whole.items()}


def built_by_kustomize(files: Mapping[str, bytes], folder: str, where: Path) -> tuple[Manifest, ...]:
    for path, data in files.items():
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        (where / path).write_bytes(data)
    command = (PROGRAM, "build", folder, "--load-restrictor", "LoadRestrictionsNone", "--reorder", "none")
    done = subprocess.run(command, cwd=where, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return read_output(done.stdout)


@pytest.mark.parametrize("what", LEGAL)
async def test_a_legal_folder_is_built_as_kustomize_builds_it(what: str, tmp_path: Path) -> None:
    files = repository(*LEGAL[what])

    ours = await Kustomize().render(FixedTree(what, files), Overlay(), "top")

    assert ours == built_by_kustomize(files, "top", tmp_path)


@pytest.fixture
def planted(tmp_path: Path) -> str:
    """A file outside of every build that kustomize could make an object of."""
    path = tmp_path / "planted.yaml"
    path.write_text(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {PLANTED}}}\ndata: {{a: {PLANTED}}}\n")
    return str(path)


def shows(text: str) -> bool:
    encoded = (base64.b64encode((" " * shift + PLANTED).encode()).decode()[4:-4] for shift in range(3))
    return PLANTED in text or any(piece in text for piece in encoded)


async def test_no_hostile_folder_reads_a_file_of_the_machine_where_nothing_but_the_guard_stands(planted: str) -> None:
    renderer = Kustomize(confinement=UNCONFINED)
    told = {}

    for number, (what, files) in enumerate(corpus(planted)):
        try:
            told[what] = repr(await renderer.render(FixedTree(str(number), files), Overlay(), FOLDER))
        except ManifestInvalid as error:
            told[what] = str(error)

    assert len(told) > 2000
    assert not [what for what, text in told.items() if shows(text)]


def test_no_hostile_folder_reads_a_file_of_the_machine_where_nothing_but_the_sandbox_stands(planted: str) -> None:
    """kustomize gets the folders as they are, and is told to restrict nothing; without a sandbox half of them read."""
    sample = list(corpus(planted))[::16]

    def told(files: Mapping[str, bytes], confinement: Confinement) -> str:
        command = (PROGRAM, "build", FOLDER, "--load-restrictor", "LoadRestrictionsNone")
        finished = Sandboxed(command, files, {}, Limits(), confinement).run()
        return (finished.output + finished.messages).decode("utf-8", "replace")

    confinement = Confinement.of_this_machine()
    without = [what for what, files in sample if shows(told(files, UNCONFINED))]

    assert confinement.is_complete
    assert len(without) > len(sample) / 3
    assert not [what for what, files in sample if shows(told(files, confinement))]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("configMapGenerator: [{name: x, Files: [a]}]", "configMapGenerator[0].Files is not a known key: write files"),
        ("Resources: [a.yaml]", "Resources is not a known key: write resources"),
        (
            "patches: [{target: {labelselector: x=y}, path: a.yaml}]",
            "patches[0].target.labelselector is not a known key",
        ),
        ("resourcez: [a.yaml]", "resourcez is not a known key"),
        ("resources: a.yaml", "resources must be a list"),
        ("resources: [1]", "resources[0] must be a text that names a file, or a folder with a kustomization file"),
        ("configMapGenerator: [x]", "configMapGenerator[0] must be a mapping"),
        ("generators: ['{apiVersion: v1, kind: List, items: []}']", "generators[0]: v1/List is not a plug-in"),
        ("generators: ['{apiVersion: example.com/v1, kind: Mine}']", "example.com/v1/Mine is not a plug-in"),
        ("transformers: [../base]", "transformers[0]: base is a folder"),
        ("resources: [missing.yaml]", "resources[0]: top/missing.yaml is not in the repository"),
        ("resources: [..]", "resources[0]: .. is or holds this folder"),
        ("helmCharts: [{name: x}]", "use a HelmRelease"),
    ],
)
async def test_a_refusal_names_the_file(document: str, said: str) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        await Kustomize().render(FixedTree("x", repository(document, {})), Overlay(), "top")

    assert str(refused.value).startswith("top/kustomization.yaml: ")
    assert said in str(refused.value)


def _bomb(levels: int) -> str:
    return "a0: &a0 x\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, levels))


GROWING = {
    "a value contains itself": "a: &a [*a]\n",
    "more than 200000 values, or as much text, when aliases are written out": _bomb(8),
    "nested more than 200 deep": f"a: {'{a: ' * 5000}{'}' * 5000}\n",
}
DOORS: Mapping[str, str] = {
    "a resource": "resources: [x.yaml]",
    "a patch": f"resources: [conf.yaml]\npatches: [{{path: x.yaml, {TARGET}}}]",
    "a strategic merge patch": "resources: [conf.yaml]\npatchesStrategicMerge: [x.yaml]",
    "a JSON patch": f"resources: [conf.yaml]\npatchesJson6902: [{{path: x.yaml, {TARGET}}}]",
    "a configuration": "resources: [conf.yaml]\nconfigurations: [x.yaml]",
    "a CRD": "resources: [conf.yaml]\ncrds: [x.yaml]",
    "a schema": "resources: [conf.yaml]\nopenapi: {path: x.yaml}",
    "a replacement": "resources: [conf.yaml]\nreplacements: [{path: x.yaml}]",
    "a component's patch": "resources: [conf.yaml]\ncomponents: [../component]",
    "a transformer's patch": "resources: [conf.yaml]\ntransformers: ['{apiVersion: builtin, kind: PatchTransformer, metadata: {name: x}, path: x.yaml}']",
    "a transformer's JSON patch": "resources: [conf.yaml]\ntransformers: ['{apiVersion: builtin, kind: PatchJson6902Transformer, metadata: {name: x}, path: x.yaml}']",
    "a generator": "resources: [conf.yaml]\ngenerators: [x.yaml]",
}


@pytest.mark.parametrize("problem", GROWING)
@pytest.mark.parametrize("door", DOORS)
async def test_a_file_that_would_grow_is_refused_before_kustomize_reads_it(door: str, problem: str) -> None:
    component = (
        f"apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{{path: ../top/x.yaml, {TARGET}}}]\n"
    )
    extra = {"top/conf.yaml": CONFIG, "top/x.yaml": GROWING[problem], "component/kustomization.yaml": component}

    with pytest.raises(
        ManifestInvalid, match=rf"^(top|component)/kustomization\.yaml: .*top/x\.yaml: line \d+: {problem}"
    ):
        await Kustomize().render(FixedTree("x", repository(DOORS[door], extra)), Overlay(), "top")


@pytest.mark.parametrize("problem", GROWING)
@pytest.mark.parametrize(
    "door",
    [
        {"patches": [{"patch": "*", "target": {"kind": "ConfigMap"}}]},
        {"patchesJson6902": [{"patch": "*", "target": {"kind": "ConfigMap"}}]},
        {"transformers": [{"kind": "PatchTransformer", "patch": "*"}]},
        {"transformers": [{"kind": "PatchJson6902Transformer", "jsonOp": "*"}]},
        {"transformers": [{"kind": "PatchStrategicMergeTransformer", "patches": "*"}]},
    ],
)
async def test_a_patch_that_would_grow_is_refused_where_it_stands(
    door: dict[str, list[dict[str, str]]], problem: str
) -> None:
    text = GROWING[problem]
    document = json.loads(json.dumps(door).replace('"*"', json.dumps(text)))
    about = {"apiVersion": "builtin", "metadata": {"name": "x"}}
    document |= {key: [json.dumps(about | item) for item in document[key]] for key in document if key == "transformers"}
    files = repository(json.dumps({"resources": ["conf.yaml"], **document}), {"top/conf.yaml": CONFIG})

    with pytest.raises(ManifestInvalid, match=rf"^top/kustomization\.yaml: .*: line \d+: {problem}"):
        await Kustomize().render(FixedTree("x", files), Overlay(), "top")


async def test_a_file_that_is_no_yaml_is_named_where_it_is_used() -> None:
    files = repository(
        "resources: [../base]\n",
        {"base/kustomization.yaml": "resources: [../shared/x.yaml]\n", "shared/x.yaml": "a: {"},
    )

    with pytest.raises(ManifestInvalid, match=r"^base/kustomization\.yaml: resources\[0\]: shared/x\.yaml: line 2: "):
        await Kustomize().render(FixedTree("x", files), Overlay(), "top")


async def test_data_that_is_no_yaml_is_taken_as_it_is() -> None:
    files = repository("configMapGenerator: [{name: x, files: [f]}]\n", {"top/f": "&a [*a]: {\n"})

    (made,) = await Kustomize().render(FixedTree("x", files), Overlay(), "top")

    assert made["data"] == {"f": "&a [*a]: {\n"}


async def test_an_error_of_kustomize_names_the_files_of_the_repository() -> None:
    files = repository(
        "resources: [../base]\n",
        {"base/kustomization.yaml": "resources: [../shared/x.yaml]\n", "shared/x.yaml": "a: 1"},
    )

    with pytest.raises(ManifestInvalid, match=r"'shared/x\.yaml'") as refused:
        await Kustomize().render(FixedTree("x", files), Overlay(), "top")

    assert "base" in str(refused.value)
    assert "/dev/shm" not in str(refused.value)
    assert "zq" not in str(refused.value)


@pytest.mark.parametrize(
    ("document", "files"),
    [
        (
            "resources: [s.yaml]\npatches: [{path: p.yaml}]\n",
            {
                "top/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: hunter2-hunter2}\nlist: [null, hunter2-hunter2]\n",
                "top/p.yaml": PATCH,
            },
        ),
        ("secretGenerator: [{name: s, literals: ['hunter2-hunter2']}]\n", {}),
        (
            "resources: [s.yaml]\n",
            {"top/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: *hunter2-hunter2}\n"},
        ),
        ("secretGenerator: [{name: s, envs: [e]}]\n", {"top/e": "A=\udcffhunter2-hunter2\n"}),
        ("resources: [s.yaml]\n", {"top/s.yaml": "kind: Secret\nstringData: {p: hunter2-hunter2\n"}),
        (
            'resources: [../base]\npatches: [{patch: \'{"kind": "Secret", "stringData": {"p": "hunter2-hunter2"}}\', path: x}]\n',
            {"top/x": ""},
        ),
        (  # the target alone says that it is for a Secret
            'resources: [s.yaml]\npatches: [{patch: "- op: replace\\n  path: /data/p\\n value: hunter2-hunter2", target: {kind: Secret}}]\n',
            {"top/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"},
        ),
        (
            "resources: [s.yaml]\npatches: [{patch: '{data: {p: hunter2-hunter2}', target: {name: s}}]\n",
            {"top/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"},
        ),
        (
            """
            resources: [s.yaml]
            patches:
            - target: {kind: Secret}
              patch: |
                stringData:
                  key: |
                    begin
                    hunter2-hunter2
                  "pass": 'it''s
                    hunter2-hunter2'
            """,
            {"top/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"},
        ),
        (
            "resources: [s.yaml]\npatchesJson6902: [{path: p.yaml, target: {version: v1, kind: Secret, name: s}}]\n",
            {
                "top/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n",
                "top/p.yaml": "op: add\npath: /stringData/p\nvalue: hunter2-hunter2\n",
            },
        ),
        (
            "resources: [s.yaml]\npatchesJson6902: [{path: p.yaml, target: {version: v1, kind: Secret, name: s}}]\n",
            {
                "top/s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n",
                "top/p.yaml": 'op: add\npath: /stringData\nvalue: {p: "\\"\\\\hunter2-hunter2"}\n',
            },
        ),
    ],
)
async def test_an_error_of_kustomize_does_not_quote_a_secret(document: str, files: Mapping[str, str]) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        await Kustomize().render(FixedTree("x", repository(document, files)), Overlay(), "top")

    assert "hunter2-hunter2" not in str(refused.value)


async def test_a_password_of_digits_is_not_quoted_either() -> None:
    document = "resources: [s.yaml]\npatchesJson6902: [{path: p.yaml, target: {version: v1, kind: Secret, name: s}}]\n"
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
    patch = "op: add\npath: /stringData\nvalue: {pin: 47114711}\n"
    files = repository(document, {"top/s.yaml": secret, "top/p.yaml": patch})

    with pytest.raises(ManifestInvalid, match=r'"pin":\*\*\*') as refused:
        await Kustomize().render(FixedTree("x", files), Overlay(), "top")

    assert "47114711" not in str(refused.value)


async def test_a_panic_of_kustomize_is_reported_with_its_cause_and_no_stack() -> None:
    mark = {"internal.config.kubernetes.io/previousNames": "a,b"}
    panics = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "annotations": mark}})
    files = repository("namePrefix: p-\nresources: [x.yaml]\n", {"top/x.yaml": panics})

    with pytest.raises(ManifestInvalid, match="panic: number of previous names") as refused:
        await Kustomize().render(FixedTree("x", files), Overlay(), "top")

    assert "goroutine" not in str(refused.value)


async def test_a_generated_secret_is_not_quoted_in_base64() -> None:
    """kustomize shows whole objects where one of them cannot be written."""
    document = """
        secretGenerator: [{name: s, literals: [p=hunter2-hunter2], files: [f]}]
        transformers:
        - '{apiVersion: builtin, kind: NamespaceTransformer, metadata: {name: n, namespace: x}, fieldSpecs: [{path: data/p/q, create: true}]}'
    """
    with pytest.raises(ManifestInvalid) as refused:
        await Kustomize().render(FixedTree("x", repository(document, {"top/f": "hunter3"})), Overlay(), "top")

    assert base64.b64encode(b"hunter2-hunter2").decode() not in str(refused.value)
    assert base64.b64encode(b"hunter3").decode() not in str(refused.value)


async def test_more_secrets_than_can_be_looked_for_are_withheld() -> None:
    lines = "".join(f"key{number}=value{number}\n" for number in range(20_000)) + "A=\udcffhunter2-hunter2\n"
    files = repository("secretGenerator: [{name: s, envs: [e]}]\n", {"top/e": lines})
    with pytest.raises(ManifestInvalid, match="withheld"):
        await Kustomize().render(FixedTree("x", files), Overlay(), "top")


async def test_names_of_ours_that_somebody_copies_are_those_of_the_repository_again() -> None:
    document = """
        buildMetadata: [originAnnotations]
        resources: [../base]
        replacements:
        - source: {kind: Deployment, name: web, fieldPath: "metadata.annotations.[config.kubernetes.io/origin]"}
          targets: [{select: {kind: ConfigMap}, fieldPaths: [data.host]}]
    """
    renderer = Kustomize()
    made = await renderer.render(FixedTree("x", repository(document, {})), Overlay(), "top")
    renderer._token = "zq0"
    forged = repository("resources: [c.yaml]\n", {"top/c.yaml": CONFIG.replace("example.com", "zq0-f7 zq0-d9 zq0-f0")})
    (config,) = await renderer.render(FixedTree("y", forged), Overlay(), "top")

    assert renderer._token not in json.dumps(made)
    assert config["data"]["host"] == "zq0-f7 zq0-d9 c.yaml"


async def test_a_file_that_several_folders_use_counts_once() -> None:
    """Three times 30 MiB would be too much."""
    kustomization = "crds: [../large.json]\nconfigMapGenerator: [{{name: c{n}, literals: [a=b]}}]\n"
    several = {f"f{n}/kustomization.yaml": kustomization.format(n=n) for n in range(3)}
    files = repository("resources: [../f0, ../f1, ../f2]\n", {**several, "large.json": "{" + " " * 30 * 2**20 + "}"})

    made = await Kustomize().render(FixedTree("x", files), Overlay(), "top")

    assert len(made) == 3


@pytest.mark.parametrize("images", ["[x]", "{a: b}", "x", "[{name: [a]}]", "[null]", "1"])
async def test_images_of_any_shape_are_refused_and_not_a_fault_of_ours(images: str) -> None:
    files = repository(f"images: {images}\nresources: [../base]\n", {})
    overlay = Overlay(fields=(("images", [{"name": "nginx", "newTag": "2"}]),))
    with pytest.raises(ManifestInvalid):
        await Kustomize().render(FixedTree("x", files), overlay, "top")
