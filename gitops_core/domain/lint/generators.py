"""What a kustomization file does with other files, and what it says itself that is nobody's business.

    secretGenerator:
      - name: creds
        literals: [password=hunter2]        says it itself
        files: [tls.key, ca=trust/ca.crt]   each must be encrypted
    configMapGenerator:
      - files: [app.enc.yaml]               must not be: it would be refused
    patches:
      - target: {kind: Secret}
        patch: ...                          says it itself, or a file does (path)

It is read as far as it can be: whether kustomize takes it is the build's business.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from gitops_core.domain.lint.findings import Finding
from gitops_core.domain.lint.lines import Lines
from gitops_core.domain.render.folders import NAMES
from gitops_core.domain.render.manifests import Malformed, read_documents
from gitops_core.domain.render.seals import is_readable, list_plain

Place = tuple[str | int, ...]
Role = Literal["secret", "configmap", "patch", "plugin", "resource"]
_CURE = "put it into a file that sops encrypts"
_COMMENTS = re.compile(rb"^[ \t]*#.*$", re.MULTILINE)
_CERTIFICATES = re.compile(rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]*-----END (?:TRUSTED )?CERTIFICATE-----")


class Use(NamedTuple):
    """A file that a kustomization names.

    Attributes:
        by: the kustomization's path.
        role: put into a Secret or a ConfigMap; a patch of a Secret; a generator's configuration; or a manifest.
    """

    by: str
    line: int
    role: Role
    target: str


class Readable(NamedTuple):
    """A value that stands in a kustomization itself."""

    line: int
    rule: str
    message: str


def is_kustomization(path: str) -> bool:
    return posixpath.basename(path) in NAMES


def list_uses(path: str, data: bytes) -> Iterator[Use]:
    """List the files that a kustomization uses, of those whose contents matter here. What is no YAML uses none."""
    lines, folder = Lines(data), posixpath.dirname(path)
    for number, document in enumerate(_read(data)):
        for place, role, text in _list_named(document):
            target = posixpath.normpath(posixpath.join(folder, text))
            if target != "." and not target.startswith(("../", "/")):
                yield Use(path, lines.find(number, place), role, target)


def _read(data: bytes) -> list[Any]:
    try:
        return [document for _, document in read_documents(data)]
    except Malformed:
        return []


def _list_named(document: Any) -> Iterator[tuple[Place, Role, str]]:
    for place, role, generator in _list_generators(document):
        for field in ("files", "envs", "env"):
            for where, text in _list_texts(generator.get(field), (*place, field)):
                yield where, role, text.rpartition("=")[2] if field == "files" else text
    for field, role in _FILES.items():
        yield from ((where, role, text) for where, text in _list_texts(_get(document, field), (field,)))
    for place, patch in _list_patches(document):
        name = patch.get("path")
        if isinstance(name, str):
            yield (*place, "path"), "patch" if is_for_secrets(patch) else "resource", name


_FILES: Mapping[str, Role] = {"resources": "resource", "bases": "resource", "patchesStrategicMerge": "resource"}
_FILES = {**_FILES, "generators": "plugin"}
_GENERATORS: Mapping[str, Role] = {"secretGenerator": "secret", "configMapGenerator": "configmap"}
_PLUGINS: Mapping[str, Role] = {"SecretGenerator": "secret", "ConfigMapGenerator": "configmap"}


def _list_generators(document: Any) -> Iterator[tuple[Place, Role, Mapping[str, Any]]]:
    """List the generators of a kustomization, or the one that a plug-in's configuration is."""
    for field, role in _GENERATORS.items():
        yield from ((place, role, one) for place, one in _list_mappings(_get(document, field), (field,)))
    kind = _get(document, "kind")
    if _get(document, "apiVersion") == "builtin" and isinstance(kind, str) and kind in _PLUGINS:
        yield (), _PLUGINS[kind], document


def _list_patches(document: Any) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    for field in ("patches", "patchesJson6902"):
        yield from _list_mappings(_get(document, field), (field,))


def is_for_secrets(patch: Mapping[str, Any]) -> bool:
    target = patch.get("target")
    return isinstance(target, dict) and target.get("kind") == "Secret"


def find_readable(path: str, data: bytes) -> Iterator[Readable]:
    """Find the values of Secrets that stand in a kustomization, or in the configuration of a plug-in."""
    lines = Lines(data)
    for number, document in enumerate(_read(data)):
        for where, key in _find_literals(document):
            message = f"a secretGenerator says the value of {key}, for everybody to read: {_CURE}"
            yield Readable(lines.find(number, where), "plain-generator", message)
        if is_kustomization(path):
            for where, inner, name in _find_in_patches(document):
                message = f"a patch of {name} says its values, for everybody to read: {_CURE}"
                yield Readable(lines.find_within(number, where, inner), "plain-secret", message)
            for where, text in _list_texts(_get(document, "generators"), ("generators",)):
                for key in (key for inside in _read_inline(text) for _, key in _find_literals(inside)):
                    message = f"a generator says the value of {key}, for everybody to read: {_CURE}"
                    yield Readable(lines.find(number, where), "plain-generator", message)


def _find_literals(document: Any) -> Iterator[tuple[Place, str]]:
    for place, role, generator in _list_generators(document):
        for where, text in _list_texts(generator.get("literals"), (*place, "literals")):
            key, _, value = text.partition("=")
            if role == "secret" and is_readable(value.strip("'\"")):
                yield where, key


def _read_inline(text: str) -> list[Any]:
    return _read(text.encode("utf-8", "replace")) if "\n" in text else []


def _find_in_patches(document: Any) -> Iterator[tuple[Place, int, str]]:
    """Find patches that stand in a kustomization: their place, the line in their text, and whose values they say."""
    texts = [(where, text, False) for where, text in _list_texts(_get(document, "patchesStrategicMerge"), ())]
    texts = [(("patchesStrategicMerge", *where), text, False) for where, text, _ in texts]
    for place, patch in _list_patches(document):
        if isinstance(patch.get("patch"), str):
            texts.append(((*place, "patch"), patch["patch"], is_for_secrets(patch)))
    for where, text, is_for_secret in texts:
        if "Secret" not in text and not is_for_secret:
            continue
        data = text.encode("utf-8", "replace")
        inside = Lines(data)
        for number, found in enumerate(_read(data)):
            for one in list_plain(found):
                yield where, inside.find(number, (*one.place, *one.values[0])), one.name
            if is_for_secret:
                for place in list_operations(found):
                    yield where, inside.find(number, place), "a Secret"


def list_operations(document: Any) -> Iterator[Place]:
    """List those operations of a JSON patch, or fields of another one, that say values of a Secret."""
    for number, operation in enumerate(document if isinstance(document, list) else ()):
        path = _get(operation, "path")
        is_value = isinstance(path, str) and path.split("/")[1:2] in (["data"], ["stringData"])
        if is_value and any(is_readable(value) for value in _list_values(_get(operation, "value"))):
            yield (number,)
    if isinstance(document, dict) and document.get("kind") in (None, "Secret") and document.get("apiVersion") != "v1":
        for field in ("data", "stringData"):
            if any(is_readable(value) for value in _list_values(document.get(field))):
                yield (field,)


def _list_values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else [value]


def check_uses(path: str, data: bytes, uses: Sequence[Use], *, is_encrypted: bool) -> Iterator[Finding]:
    """Check what kustomizations do with a file; what is wrong with that stands in the kustomization."""
    is_plain = any(use.role == "secret" for use in uses) and not is_encrypted and _says_something(data)
    for use in uses:
        if use.role == "configmap" and is_encrypted:
            message = f"{path} is encrypted, and a ConfigMap is to hold it: that is refused; use a secretGenerator"
            yield Finding(use.by, use.line, "error", "encrypted-configmap", message)
        elif use.role == "secret" and is_plain:
            message = f"{path} is put into a Secret, and can be read by everybody: sops encrypt -i {path}"
            yield Finding(use.by, use.line, "error", "plain-generator", message)


def _says_something(data: bytes) -> bool:
    """Tell whether a file holds more than certificates, comments, and names without values."""
    left = _COMMENTS.sub(b"", _CERTIFICATES.sub(b"", data))
    lines = (line.strip().decode("utf-8", "replace") for line in left.splitlines())
    return any(is_readable(line.partition("=")[2].strip() if "=" in line else line) for line in lines)


def _get(document: Any, field: str) -> Any:
    return document.get(field) if isinstance(document, dict) else None


def _list_mappings(found: Any, place: Place) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    for number, one in enumerate(found if isinstance(found, list) else ()):
        if isinstance(one, dict):
            yield (*place, number), one


def _list_texts(found: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(found, str):
        yield place, found
    for number, one in enumerate(found if isinstance(found, list) else ()):
        if isinstance(one, str):
            yield (*place, number), one
