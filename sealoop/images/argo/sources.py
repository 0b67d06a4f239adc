"""Where in Git an Application's images stand: its sources, and the Applications that an ApplicationSet makes.

    source: {repoURL, path, helm: {valueFiles: [prod.yaml]}}     path/prod.yaml of that repository
    sources: [{chart, helm: {valueFiles: [$values/prod.yaml]}},  prod.yaml of the repository with that ref: a chart
              {repoURL, ref: values}]                            stands in no Git repository

Source: argo-cd docs/user-guide/multiple_sources.md; argocd-image-updater pkg/argocd/argocd.go (getApplicationSource).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gitops_core.meta import Manifest

TEMPLATE = "{{"
_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")


def get_mapping(found: Any) -> Mapping[str, Any]:
    """Return a mapping, {} for anything else: these manifests are other people's."""
    return found if isinstance(found, Mapping) else {}


def list_mappings(found: Any) -> list[Mapping[str, Any]]:
    """Return the mappings of a list."""
    return [each for each in get_sequence(found) if isinstance(each, Mapping)]


def get_sequence(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


class Source(NamedTuple):
    """What an Application is made from, as far as an image can be written there.

    Attributes:
        url: of the Git repository; "" where there is none.
        folder: of the source in it.
        values: the value files, by path from the repository's root; the last one wins.
        left: what could not be followed.
    """

    url: str
    revision: str
    folder: str
    kind: str
    values: tuple[str, ...]
    main: Mapping[str, Any]
    left: tuple[str, ...] = ()


def find_source(application: Manifest) -> Source:
    """Return the source that images are written to: the first with Helm or Kustomize settings, as in the original."""
    everything = _list_sources(application)
    main = next((each for each in everything if "helm" in each or "kustomize" in each), None)
    main = main or next((each for each in everything if each.get("path") is not None), None)
    main = main or (everything[0] if everything else {})
    refs = {str(each["ref"]): each for each in everything if each.get("ref")}
    left: list[str] = []
    is_chart = bool(main.get("chart"))
    home: Mapping[str, Any] = {} if is_chart else main
    folder = "" if is_chart else str(main.get("path") or "")
    files: list[tuple[Mapping[str, Any], str]] = []
    for file in map(str, get_sequence(get_mapping(main.get("helm")).get("valueFiles"))):
        # a URL
        if "://" in file:
            left.append(f"value file {file} is fetched from elsewhere and cannot be written")
        # a path in the source itself, which for a chart is nowhere in Git
        elif not file.startswith("$"):
            if not is_chart:
                files.append((main, join(folder, file)))
        # `$ref/path`: in another source
        else:
            name, _, path = file[1:].partition("/")
            if name in refs:
                files.append((refs[name], join("", path)))
            else:
                left.append(f"value file {file} names a source with ref {name!r}, and there is none")
    if files:
        home = files[-1][0]  # the last one wins
    others = [file for where, file in files if where is not home]
    left += (f"value file {file} is of another repository than the last one and is not followed" for file in others)
    left += _note_others(everything, main, home)
    return Source(
        url=str(home.get("repoURL") or ""),
        revision=str(home.get("targetRevision") or ""),
        folder=folder if home is main else "",
        kind=next((kind for kind in ("helm", "kustomize", "plugin") if kind in main), "helm" if is_chart else ""),
        values=tuple(file for where, file in files if where is home),
        main=main,
        left=tuple(left),
    )


def _note_others(
    everything: list[Mapping[str, Any]], main: Mapping[str, Any], home: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a note on each source that nothing leads into."""
    for each in everything:
        if each is not main and each is not home and (each.get("path") is not None or each.get("chart")):
            what = f"chart {each['chart']}" if each.get("chart") else f"path {each['path']!r}"
            yield f"another source, {what} of {each.get('repoURL', '')}, is not followed: declare targets there"


def _list_sources(application: Manifest) -> list[Mapping[str, Any]]:
    spec = get_mapping(application.get("spec"))
    if several := list_mappings(spec.get("sources")):
        return several
    hydrated = get_mapping(spec.get("sourceHydrator")).get("drySource")
    return [each for each in (hydrated, spec.get("source")) if isinstance(each, Mapping)][:1]


def join(folder: str, path: str) -> str:
    """Join `path` to a folder of the repository; an absolute one is below its root."""
    whole = path if path.startswith("/") else f"{folder}/{path}"
    parts: list[str] = []
    for part in whole.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def write_glob(path: str) -> str:
    """Write a path in which a template stands as a glob of all that it may become.

    >>> write_glob("apps/{{ .path.basename }}/values.yaml")
    'apps/*/values.yaml'
    """
    return re.sub(r"\*{2,}", "*", _ACTION.sub("*", path))


def expand_template(applicationset: Manifest) -> tuple[Manifest, ...]:
    """Return the Applications of an ApplicationSet: one for each element of a list, else its template as it is."""
    spec = get_mapping(applicationset.get("spec"))
    metadata = applicationset["metadata"]
    template = dict(copy.deepcopy(get_mapping(spec.get("template"))))
    usual = {"namespace": metadata.get("namespace", "argocd"), "name": metadata["name"]}
    template["metadata"] = usual | {k: v for k, v in get_mapping(template.get("metadata")).items() if v is not None}
    elements = _list_elements(spec.get("generators"))
    if elements is not None:
        return tuple(_fill(template, element) for element in elements)
    if TEMPLATE in str(template["metadata"]["name"]):
        template["metadata"]["name"] = metadata["name"]
    return (template,)


def _list_elements(generators: Any) -> list[Mapping[str, Any]] | None:
    """Return the elements of list generators; None where other generators make what only Argo CD knows."""
    found: list[Mapping[str, Any]] = []
    for generator in get_sequence(generators):
        only = get_mapping(generator)
        elements = get_mapping(only.get("list")).get("elements") if only.keys() == {"list"} else None
        if not isinstance(elements, list):
            return None
        found += list_mappings(elements)
    return found or None


def _fill(found: Any, element: Mapping[str, Any]) -> Any:
    """Fill the template with the element's values; the template's other fields stay."""
    if isinstance(found, Mapping):
        return {key: _fill(value, element) for key, value in found.items()}
    if isinstance(found, list):
        return [_fill(each, element) for each in found]
    if isinstance(found, str):
        return _ACTION.sub(lambda match: str(_find_value(element, match[1], match[0])), found)
    return found


def _find_value(element: Mapping[str, Any], path: str, instead: str) -> Any:
    found: Any = element
    for step in path.removeprefix(".").split("."):
        if not isinstance(found, Mapping) or step not in found:
            return instead
        found = found[step]
    return instead if isinstance(found, Mapping | list) else found
