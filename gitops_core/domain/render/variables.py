"""spec.postBuild: variables in the texts of built objects.

    in the object         a value           what comes out
    a: ${host}            db                the text db
    a: "${port}"          8080              the number 8080: quotes that a text does not need are not seen
    a: "${port}"          "8080"            the text 8080: quotes of the value itself are
    verbs: ${verbs}       ["get", "list"]   a list
    a: ${x}               k: v              refused, for no YAML says so

Each text is written as kustomize writes it, its variables are replaced, and what is there then is read again as YAML.

Source: Flux, pkg/kustomize, varsub; the texts' quoting is that of sigs.k8s.io/yaml.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops_core.api import Kustomization
from gitops_core.domain.render.envsubst import Budget, SubstitutionInvalid, find_names, substitute
from gitops_core.domain.render.manifests import Malformed, read_documents
from gitops_core.domain.render.scalars import resolve_old
from gitops_core.errors import ManifestInvalid
from gitops_core.meta import Manifest, ObjectRef, Sensitive

SUBSTITUTE = f"{Kustomization.KIND.group}/substitute"
_NAME = re.compile("[_A-Za-z][_A-Za-z0-9]*")
_INDICATORS = tuple("#,[]{}&*!|>'\"%@`")
_COMMENT = re.compile(" #.*")
_TYPES = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "nothing",
    dict: "a map",
    list: "a list",
}


@dataclass(frozen=True)
class Substituted:
    """The objects, and what is to be known when one of them is refused.

    Attributes:
        hints: about the objects that have a text which became something else.
    """

    objects: tuple[Manifest, ...]
    hints: Mapping[ObjectRef, str] = field(default_factory=dict)


def check_names(variables: Iterable[str], where: str) -> None:
    """Raise ManifestInvalid: one of the names is none of a variable."""
    for name in variables:
        if not _NAME.fullmatch(name):
            raise ManifestInvalid(
                f"{where}: {name!r} is no name of a variable: letters, digits and _ only, no digit first"
            )


def drop_breaks(value: str) -> str:
    """Drop the line feeds of a variable's value, as Flux does."""
    return value.replace("\n", "")


def weigh_substitution(objects: int, variables: Mapping[str, Sensitive]) -> int:
    """Estimate how much work `substitute_all` is: what stands in an object may look at each value as a whole.

    Args:
        objects: what they weigh themselves.
    """
    return objects * (1 + 2 * sum(len(value.reveal()) for value in variables.values()))


def substitute_all(
    objects: Iterable[Manifest], variables: Mapping[str, Sensitive], *, strict: bool = True
) -> Substituted:
    """Replace the variables in `objects`, but in those that say that they want none of it.

    Args:
        strict: a variable that is not set is an error; else it is empty.

    Raises:
        ManifestInvalid: names the object, the field and the variables, and quotes no value.
    """
    values = {name: drop_breaks(value.reveal_text()) for name, value in variables.items()}
    done: list[Manifest] = []
    hints: dict[ObjectRef, str] = {}
    budget = Budget()
    for manifest in objects:
        if _is_left_alone(manifest):
            done.append(manifest)
            continue
        ref, found = ObjectRef.of(manifest), _Walk(values, strict, budget)
        try:
            changed = found.replace(manifest, "")
        except SubstitutionInvalid as error:
            raise ManifestInvalid(f"post build failed for {ref}: {error}") from None
        if not isinstance(changed, dict) or not isinstance(changed.get("metadata"), dict) or not _has_kind(changed):
            raise ManifestInvalid(f"post build failed for {ref}: nothing is left that is an object")
        done.append(changed)
        if found.hints:
            hints[ObjectRef.of(changed)] = "; ".join(found.hints)
    return Substituted(tuple(done), hints)


def _is_left_alone(manifest: Manifest) -> bool:
    metadata = manifest["metadata"]
    marks = (metadata.get("annotations"), metadata.get("labels"))
    return any(isinstance(marked, dict) and marked.get(SUBSTITUTE) == "disabled" for marked in marks)


def _has_kind(manifest: Mapping[str, Any]) -> bool:
    named = (manifest.get("apiVersion"), manifest.get("kind"), manifest["metadata"].get("name"))
    return all(isinstance(one, str) and one for one in named)


@dataclass
class _Walk:
    """Through one object."""

    values: Mapping[str, str]
    strict: bool
    budget: Budget
    hints: list[str] = field(default_factory=list)

    def replace(self, value: Any, path: str, prefix: str = "k: ") -> Any:
        match value:
            case dict():
                return {
                    self._replace_key(key, path): self.replace(item, f"{path}.{key}") for key, item in value.items()
                }
            case list():
                return [self.replace(item, f"{path}[{index}]", "- ") for index, item in enumerate(value)]
            case str() if "$" in value:
                return self._replace_text(value, path, prefix)
        return value

    def _replace_key(self, key: str, path: str) -> str:
        if "$" not in key:
            return key
        text = self._substitute(_quote(key, is_key=True), f"{path}.{key}")
        name = text if _is_plain(text) else self._read(text, f"{path}.{key}", "- ")
        if not isinstance(name, str):
            raise SubstitutionInvalid(f"{path}.{key} would be no text")
        return name

    def _replace_text(self, value: str, path: str, prefix: str) -> Any:
        found = self._read(self._substitute(_quote(value), path), path, prefix)
        if not isinstance(found, str):
            names = ", ".join(f"${{{name}}}" for name in sorted(find_names(value)))
            hint = f"{path} became {_TYPES.get(type(found), 'another type')} by {names}: to have a text,"
            self.hints.append(f"{hint} put quotes into the value of the variable, as in '\"...\"'")
        return found

    def _substitute(self, text: str, path: str) -> str:
        try:
            return substitute(text, self.values, strict=self.strict, budget=self.budget)
        except SubstitutionInvalid as error:
            raise SubstitutionInvalid(f"{path}: {error}") from None

    def _read(self, text: str, path: str, prefix: str) -> Any:
        """Read what stands behind `prefix`, the only entry of a map or a list. Raises SubstitutionInvalid."""
        scalar = _COMMENT.sub("", text).strip(" ")
        try:
            if _is_plain(scalar):
                return resolve_old(scalar)
            (document,) = [document for _, document in read_documents(f"{prefix}{text}\n".encode())]
            (found,) = document.values() if isinstance(document, dict) else document
        except (Malformed, ValueError, TypeError):
            raise SubstitutionInvalid(f"{path}: with its variables this is no YAML: put quotes around them") from None
        return found


# texts, as sigs.k8s.io/yaml writes them


def _quote(text: str, *, is_key: bool = False) -> str:
    """Write a text with a `$` in it: without quotes if it needs none, as a block if it has lines."""
    if not _is_printable(text):
        return json.dumps(text, ensure_ascii=False)
    if "\n" in text:
        return json.dumps(text, ensure_ascii=False) if is_key else _write_block(text)
    if _is_plain(text):
        return text
    return "'" + text.replace("'", "''") + "'"


def _is_printable(text: str) -> bool:
    return all(character == "\n" or (character.isprintable() and character != "\ufeff") for character in text)


def _is_plain(text: str) -> bool:
    """Tell whether a text of one line stands for itself without quotes, in a block."""
    if not text:
        return True
    if (
        not text.isprintable()
        or text != text.strip(" ")
        or text[0] in "#,[]{}&*!|>'\"%@`"
        or text.startswith(("---", "..."))
    ):
        return False
    if text[0] in "?:-" and text[1:2] in ("", " "):
        return False
    return ": " not in text and not text.endswith(":") and " #" not in text


def _write_block(text: str) -> str:
    """Write a text of several lines as a literal block."""
    body = text.rstrip("\n")
    breaks = len(text) - len(body)
    chomp = "-" if not breaks else "" if breaks == 1 and body else "+"
    indent = "2" if text[:1] in (" ", "\n") else ""
    lines = [f"  {line}" if line else "" for line in text.split("\n")]
    if breaks:
        lines.pop()
    return "\n".join((f"|{indent}{chomp}", *lines))
