"""Folders that try to read a file outside of the repository, or to reach somebody: fields x spellings x tricks.

Each names the planted file in one way. `planted` is its absolute path; the folder is `apps/evil`, so a relative way out
of any repository is there too. None of them may show what is in the file, in what is built or in what is said.
"""

# ruff: noqa: E501  # one trick a line

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping

PLANTED = "planted-4711-canary"
FOLDER = "apps/evil"
_ONE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {a: b}\n"
_TOP = {"resources": ["one.yaml", "../beside/shared.yaml"]}  # what is legal, and above the folder


def corpus(planted: str) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    """(what is tried, the files of the repository)."""
    relative = "../" * 16 + planted.lstrip("/")
    for way, path in {
        "absolute": planted,
        "relative": relative,
        "doubled": "/" + planted,
        "dotted": f"./{relative}",
    }.items():
        yield from _fields(way, path)
        yield from _plugins(way, path)
        yield from _texts(way, path)
    yield from _remotes()
    yield from _shapes(planted)
    yield from _names(planted)


def _spellings(key: str) -> tuple[str, ...]:
    folded = key.replace("s", "\u017f").replace("k", "\u212a")  # letters that fold to s and k
    return tuple(dict.fromkeys((key, key.upper(), key.capitalize(), key.swapcase(), folded)))


def _fields(way: str, path: str) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    for field in ("configMapGenerator", "secretGenerator"):
        for key in ("files", "envs", "env"):
            value = path if key == "env" else [path]
            for spelled in _spellings(key):
                yield f"{way} {field}.{spelled}", _repository({field: [{"name": "x", spelled: value}]})
        for spelled in _spellings(field):
            yield f"{way} {spelled}.files", _repository({spelled: [{"name": "x", "files": [f"k={path}"]}]})
    for key in (
        "resources",
        "bases",
        "components",
        "crds",
        "configurations",
        "patchesStrategicMerge",
        "generators",
        "transformers",
        "validators",
    ):
        for spelled in _spellings(key):
            yield f"{way} {spelled}", _repository({spelled: [path]})
    for key in ("patches", "patchesJson6902", "replacements"):
        for spelled in _spellings(key):
            for inner in _spellings("path"):
                entry = {inner: path, "target": {"kind": "ConfigMap", "name": "one"}}
                yield (
                    f"{way} {spelled}.{inner}",
                    _repository({spelled: [entry if key != "replacements" else {inner: path}]}),
                )
    for spelled in _spellings("openapi"):
        for inner in _spellings("path"):
            yield f"{way} {spelled}.{inner}", _repository({spelled: {inner: path}})


def _plugins(way: str, path: str) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    target = {"kind": "ConfigMap", "name": "one"}
    kinds: dict[str, tuple[str, dict[str, object]]] = {
        "ConfigMapGenerator": ("generators", {"files": [path]}),
        "SecretGenerator": ("generators", {"envs": [path]}),
        "PatchTransformer": ("transformers", {"path": path, "target": target}),
        "PatchJson6902Transformer": ("transformers", {"path": path, "target": target}),
        "PatchStrategicMergeTransformer": ("transformers", {"paths": [path]}),
        "ReplacementTransformer": ("validators", {"replacements": [{"path": path}]}),
        "ValueAddTransformer": ("transformers", {"value": "x", "targetFilePath": path}),
        "HelmChartInflationGenerator": ("generators", {"name": "x", "valuesFile": path, "chartHome": path}),
    }
    for kind, (field, own) in kinds.items():
        for spell in (str, str.upper, str.capitalize):
            spelled = {spell(key): value for key, value in own.items()}
            document = {"apiVersion": "builtin", "kind": kind, "metadata": {"name": "x"}, **spelled}
            forms = {
                "file": json.dumps(document),
                "second document": f"# nothing\n---\n{json.dumps(document)}",
                "list": json.dumps({"apiVersion": "v1", "kind": "List", "items": [document]}),
                "list of its kind": json.dumps({"apiVersion": "builtin", "kind": f"{kind}List", "items": [document]}),
                "list in a list": json.dumps(
                    {
                        "apiVersion": "v1",
                        "kind": "List",
                        "items": [{"apiVersion": "v1", "kind": "XList", "items": [document]}],
                    }
                ),
                "merge": f"base: &b {json.dumps(own)}\n<<: *b\napiVersion: builtin\nkind: {kind}\nmetadata: {{name: x}}\n",
            }
            for form, text in forms.items():
                yield f"{way} {kind} {form} {[*spelled]}", _repository({field: ["plugin.yaml"]}, {"plugin.yaml": text})
                yield f"{way} {kind} inline {form} {[*spelled]}", _repository({field: [text]})


def _texts(way: str, path: str) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    """Kustomizations that no JSON says, or that two readers read differently."""
    generator = f"configMapGenerator:\n- name: x\n  files: ['{path}']\n"
    texts = {
        "byte order mark": b"\xef\xbb\xbf" + generator.encode(),
        "utf-16": generator.encode("utf-16"),
        "utf-16-be": generator.encode("utf-16-be"),
        "two documents": f"resources: [one.yaml]\n---\n{generator}".encode(),
        "first of two documents": f"{generator}---\nresources: [one.yaml]\n".encode(),
        "empty first document": f"---\n---\n{generator}".encode(),
        "twice the same key": f"configMapGenerator: []\n{generator}".encode(),
        "twice, other case": f"configMapGenerator: []\nConfigMapGenerator: [{{name: x, files: ['{path}']}}]\n".encode(),
        "inner key twice, other case": f"configMapGenerator: [{{name: x, files: [one.yaml], FILES: ['{path}']}}]\n".encode(),
        "merge key": f"a: &a {{files: ['{path}']}}\nconfigMapGenerator: [{{name: x, <<: *a}}]\n".encode(),
        "merge key inside": f"configMapGenerator: [{{name: x, <<: {{files: ['{path}']}}}}]\n".encode(),
        "merge of a list": f"configMapGenerator: [{{name: x, <<: [{{envs: ['{path}']}}]}}]\n".encode(),
        "anchor": f"namePrefix: &p '{path}'\nconfigMapGenerator: [{{name: x, files: [*p]}}]\n".encode(),
        "tag": f"configMapGenerator: [{{name: x, files: [!!str '{path}']}}]\n".encode(),
        "binary tag": b"configMapGenerator: [{name: x, files: [!!binary " + _base64(path) + b"]}]\n",
        "own tag": f"configMapGenerator: [{{name: x, files: [!path '{path}']}}]\n".encode(),
        "escapes": f'configMapGenerator: [{{name: x, files: ["{"".join(f"&#92;x{ord(c):02x}" for c in path)}"]}}]\n'.replace(
            "&#92;", "\\"
        ).encode(),
        "escaped key": f'configMapGenerator: [{{name: x, "\\x66iles": ["{path}"]}}]\n'.encode(),
        "carriage returns": generator.replace("\n", "\r").encode(),
        "next line": generator.replace("\n", "\x85").encode(),
        "line separator": generator.replace("\n", "\u2028").encode(),
        "explicit key": f"? configMapGenerator\n: - name: x\n    files:\n    - '{path}'\n".encode(),
        "directive": f"%YAML 1.1\n---\n{generator}".encode(),
        "list of one": f"- {json.dumps({'resources': [path]})}\n".encode(),
        "kind List": json.dumps({"kind": "List", "items": [{"resources": [path]}]}).encode(),
        "text for a list": f"resources: '{path}'\n".encode(),
        "key with an equals sign": f"configMapGenerator: [{{name: x, files: ['a=b={path}']}}]\n".encode(),
        "nothing before the equals sign": f"configMapGenerator: [{{name: x, files: ['={path}']}}]\n".encode(),
        "newline in a path": json.dumps({"configMapGenerator": [{"name": "x", "files": [f"k={path}\n"]}]}).encode(),
        "newline before a path": json.dumps({"resources": [f"\n{path}"]}).encode(),
        "colon in a path": json.dumps({"resources": [f"a: /../../{path}"]}).encode(),
        "brace before a path": json.dumps(
            {"configMapGenerator": [{"name": "x", "files": [f"{{=/../{path}"]}]}
        ).encode(),
        "bracket before a path": json.dumps({"patches": [{"path": f"[/../../{path}"}]}).encode(),
        "comment before a path": json.dumps({"generators": [f"# x\n{path}"]}).encode(),
        "block text of a path": f"transformers:\n- |-\n  {path}\n".encode(),
        "nul in a path": f'resources: ["{path}\\0"]\n'.encode(),
    }
    for trick, text in texts.items():
        for name in ("kustomization.yaml", "kustomization.yml", "Kustomization"):
            files = {f"{FOLDER}/{name}": text, f"{FOLDER}/one.yaml": _ONE.encode()}
            yield f"{way} {name} {trick}", files
        below = {
            f"{FOLDER}/kustomization.yaml": b"resources: [../base, ../beside/shared.yaml]\n",
            "apps/base/kustomization.yaml": text,
            "apps/base/one.yaml": _ONE.encode(),
            "apps/beside/shared.yaml": _ONE.replace("one", "shared").encode(),
        }
        yield f"{way} base {trick}", below


def _remotes() -> Iterator[tuple[str, Mapping[str, bytes]]]:
    addresses = (
        *(
            "http://127.0.0.1:9/x.yaml",
            "HTTPS://127.0.0.1:9/x",
            "https://127.0.0.1:9/a/b?ref=main",
            "git::https://127.0.0.1:9/a/b",
        ),
        *(
            "git@127.0.0.1:a/b",
            "ssh://git@127.0.0.1/a/b",
            "file:///etc",
            "file://etc/x.git",
            "github.com/a/b",
            "github.com:a/b",
        ),
        *("FILE:///etc//passwd", "org-1@127.0.0.1:a/b", "//127.0.0.1/a/b", "oci://127.0.0.1/a"),
    )
    for address in addresses:
        for key in ("resources", "bases", "components", "generators", "transformers", "validators"):
            for spelled in _spellings(key)[:3]:
                yield f"{spelled} {address}", _repository({spelled: [address]})
        yield f"patches {address}", _repository({"patches": [{"path": address}]})
        yield f"files {address}", _repository({"configMapGenerator": [{"name": "x", "files": [f"k={address}"]}]})
        yield f"openapi {address}", _repository({"openapi": {"path": address}})


def _shapes(planted: str) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    """Programs, containers and charts that kustomize can be told to run."""
    container = {"config.kubernetes.io/function": "container: {image: example.com/x, mounts: [{src: /etc, dst: /e}]}"}
    program = {"config.kubernetes.io/function": f"exec: {{path: {planted}}}"}
    for field in ("generators", "transformers", "validators"):
        for version, kind in (
            ("example.com/v1", "Own"),
            ("builtin", "Own"),
            ("Builtin", "ConfigMapGenerator"),
            ("v1", "ConfigMap"),
            ("/builtin", "HashTransformer"),
        ):
            for notes in ({}, container, program):
                document = {"apiVersion": version, "kind": kind, "metadata": {"name": "x", "annotations": notes}}
                yield (
                    f"{field} {version}/{kind} {[*notes]}",
                    _repository({field: [json.dumps({**document, "files": [planted]})]}),
                )
        yield (
            f"{field} folder",
            _repository(
                {field: ["../gen"]},
                {
                    "../gen/kustomization.yaml": json.dumps({"resources": ["x.yaml"]}),
                    "../gen/x.yaml": json.dumps(
                        {
                            "apiVersion": "builtin",
                            "kind": "ConfigMapGenerator",
                            "metadata": {"name": "x"},
                            "files": [planted],
                        }
                    ),
                },
            ),
        )
    for chart in (
        {"helmCharts": [{"name": "x", "valuesFile": planted}]},
        {"helmGlobals": {"chartHome": planted}},
        {"HelmCharts": [{"name": "x"}]},
        {"helmChartInflationGenerator": [{"chartName": "x", "values": planted}]},
    ):
        yield f"{[*chart]}", _repository(chart)


def _names(planted: str) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    """Files whose names are taken for something else, and files that are read as kustomizations although they are data."""
    evil = json.dumps({"configMapGenerator": [{"name": "x", "files": [planted]}]})
    plugin = json.dumps(
        {"apiVersion": "builtin", "kind": "ConfigMapGenerator", "metadata": {"name": "x"}, "files": [planted]}
    )
    for name in ("kustomization.yaml", "kustomization.yml", "Kustomization"):
        yield (
            f"data called {name}",
            _repository({"configMapGenerator": [{"name": "y", "files": [f"../raw/{name}"]}]}, {f"../raw/{name}": evil}),
        )
        yield f"resource called {name}", _repository({"resources": [f"../raw/{name}"]}, {f"../raw/{name}": evil})
    for name in (
        "a: b",
        "{}",
        "[]",
        "# x",
        "- x",
        "kind: List",
        "http:",
        "git@x:y",
        "x\ny",
        "x=y",
        planted.rpartition("/")[2],
    ):
        yield f"folder called {name!r}", _repository({"resources": [f"./{name}"]}, {f"{name}/kustomization.yaml": evil})
        yield f"plug-in called {name!r}", _repository({"generators": [f"./{name}"]}, {name: plugin})


def _repository(document: Mapping[str, object], files: Mapping[str, str] | None = None) -> Mapping[str, bytes]:
    written = {f"{FOLDER}/kustomization.yaml": json.dumps({**_TOP, **document}, ensure_ascii=False)}
    written |= {f"{FOLDER}/one.yaml": _ONE, "apps/beside/shared.yaml": _ONE.replace("one", "shared")}
    for name, text in (files or {}).items():
        written[f"apps/{name.removeprefix('../')}" if name.startswith("../") else f"{FOLDER}/{name}"] = text
    return {path: text.encode() for path, text in written.items()}


def _base64(text: str) -> bytes:
    return base64.b64encode(text.encode())
