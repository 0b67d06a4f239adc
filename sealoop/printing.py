"""Objects as people read them: kubectl's tables, YAML and JSON.

The columns of a custom kind are those of its CRD (additionalPrinterColumns); of a built-in kind the few that kubectl
shows and that can be read off the object itself.

    NAME         URL                                        AGE   READY   STATUS
    quickstart   http://127.0.0.1:8300/quickstart.git       12s   True    stored artifact for revision 'main@sha1:...'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import yaml

from gitops_core.meta import Kind, Manifest

Cell = Callable[[Manifest, datetime], str]


def age(since: str, now: datetime) -> str:
    """The time that has passed since `since` (RFC 3339), as kubectl shortens it.

    >>> from datetime import UTC
    >>> now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> [age(f"2026-01-01T{time}Z", now) for time in ("11:59:17", "11:55:30", "08:30:00")]
    ['43s', '4m30s', '3h30m']

    Source: k8s.io/apimachinery duration.HumanDuration.
    """
    if not since:
        return "<unknown>"
    seconds = int((now - datetime.fromisoformat(since)).total_seconds())
    if seconds < 0:
        return "0s" if seconds > -2 else "<invalid>"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    for fits, text in (
        (seconds < 120, f"{seconds}s"),
        (minutes < 10, _two(minutes, "m", seconds % 60, "s")),
        (minutes < 180, f"{minutes}m"),
        (hours < 8, _two(hours, "h", minutes % 60, "m")),
        (hours < 48, f"{hours}h"),
        (days < 8, _two(days, "d", hours % 24, "h")),
        (days < 730, f"{days}d"),
        (days < 2920, _two(days // 365, "y", days % 365, "d")),
    ):
        if fits:
            return text
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


_STEP = re.compile(
    r"""\.?([\w-]+(?:\\\.[\w-]+)*)|\[['"]([^'"]+)['"]\]|\[(\d+|\*)\]|\[\?\(@\.([\w.]+)\s*==\s*["']([^"']*)["']\)\]"""
)


def at(value: Any, path: str) -> list[Any]:
    """Everything that a CRD column's JSONPath finds, in order; the subset that CRDs use.

    >>> at({"conditions": [{"type": "Ready", "status": "True"}]}, '.conditions[?(@.type=="Ready")].status')
    ['True']
    """
    found = [value]
    for match in _STEP.finditer(path):
        name = (match[1] or match[2] or "").replace("\\.", ".")
        found = [item for parent in found for item in _children(parent, name, match[3], match[4], match[5])]
    return found


def _children(parent: Any, name: str, index: str | None, field: str | None, wanted: str | None) -> list[Any]:
    if name:
        return [parent[name]] if isinstance(parent, Mapping) and name in parent else []
    if not isinstance(parent, Sequence) or isinstance(parent, str):
        return []
    if index is not None:
        return list(parent) if index == "*" else list(parent[int(index) : int(index) + 1])
    return [item for item in parent if field and at(item, f".{field}") == [wanted]]


def cell_at(path: str, type_: str = "string") -> Cell:
    """A cell that shows what `path` finds; dates as ages."""

    def cell(manifest: Manifest, now: datetime) -> str:
        text = ",".join(_plain(item) for item in at(manifest, path))
        return age(text, now) if type_ == "date" and text else text

    return cell


def _plain(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str() | int() | float():
            return str(value)
        case _:
            return msgspec.json.encode(value).decode()


def _count(path: str) -> Cell:
    return lambda manifest, _: str(sum(len(found) for found in at(manifest, path)))


def _of(ready: str, wanted: str) -> Cell:
    def cell(manifest: Manifest, now: datetime) -> str:
        return f"{cell_at(ready)(manifest, now) or 0}/{cell_at(wanted)(manifest, now) or 0}"

    return cell


def _containers_ready(manifest: Manifest, _: datetime) -> str:
    ready = at(manifest, ".status.containerStatuses[*].ready")
    return f"{sum(map(bool, ready))}/{len(at(manifest, '.spec.containers[*].name'))}"


def _pod_status(manifest: Manifest, now: datetime) -> str:
    waiting = at(manifest, ".status.containerStatuses[*].state.waiting.reason")
    return str(waiting[0]) if waiting else cell_at(".status.phase")(manifest, now)


_AGE = ("AGE", 0, cell_at(".metadata.creationTimestamp", "date"))
_IMAGES = ("IMAGES", 1, cell_at(".spec.template.spec.containers[*].image"))

BUILT_IN: Mapping[tuple[str, str], tuple[tuple[str, int, Cell], ...]] = {
    ("", "Pod"): (("READY", 0, _containers_ready), ("STATUS", 0, _pod_status), _AGE),
    ("", "Secret"): (("TYPE", 0, cell_at(".type")), ("DATA", 0, _count(".data")), _AGE),
    ("", "ConfigMap"): (("DATA", 0, _count(".data")), _AGE),
    ("", "Service"): (("TYPE", 0, cell_at(".spec.type")), ("PORT(S)", 0, cell_at(".spec.ports[*].port")), _AGE),
    ("", "Namespace"): (("STATUS", 0, cell_at(".status.phase")), _AGE),
    ("", "Event"): (
        ("LAST SEEN", 0, cell_at(".lastTimestamp", "date")),
        ("TYPE", 0, cell_at(".type")),
        ("REASON", 0, cell_at(".reason")),
        (
            "OBJECT",
            0,
            lambda m, _: "/".join(_plain(v) for p in ("kind", "name") for v in at(m, f".involvedObject.{p}")),
        ),
        ("MESSAGE", 0, cell_at(".message")),
    ),
    ("apps", "Deployment"): (
        ("READY", 0, _of(".status.readyReplicas", ".spec.replicas")),
        ("UP-TO-DATE", 0, cell_at(".status.updatedReplicas")),
        ("AVAILABLE", 0, cell_at(".status.availableReplicas")),
        _AGE,
        _IMAGES,
    ),
    ("apps", "StatefulSet"): (("READY", 0, _of(".status.readyReplicas", ".spec.replicas")), _AGE, _IMAGES),
    ("batch", "Job"): (("COMPLETIONS", 0, _of(".status.succeeded", ".spec.completions")), _AGE, _IMAGES),
}


def columns_of(kind: Kind, crd: Manifest | None) -> tuple[tuple[str, int, Cell], ...]:
    """(heading, priority, cell) of each column after NAME. Priority above 0 is shown with `-o wide` only."""
    if crd is None:
        return BUILT_IN.get((kind.group, kind.kind), (_AGE,))
    versions = {version["name"]: version for version in crd["spec"]["versions"]}
    declared = versions.get(kind.version, {}).get("additionalPrinterColumns")
    if not declared:
        return (_AGE,)
    return tuple((c["name"].upper(), c.get("priority", 0), cell_at(c["jsonPath"], c["type"])) for c in declared)


def table(
    rows: Iterable[Manifest],
    columns: Sequence[tuple[str, int, Cell]],
    now: datetime,
    *,
    wide: bool = False,
    namespaces: bool = False,
    names: Callable[[Manifest], str] = lambda m: m["metadata"]["name"],
) -> list[str]:
    """Lines of a table with a heading; the columns are as wide as their widest cell."""
    shown = [(heading, cell) for heading, priority, cell in columns if wide or priority == 0]
    lines = [[*(["NAMESPACE"] if namespaces else []), "NAME", *(heading for heading, _ in shown)]]
    for row in rows:
        namespace = [row["metadata"].get("namespace", "")] if namespaces else []
        lines.append([*namespace, names(row), *(cell(row, now).replace("\n", " ") for _, cell in shown)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["   ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]


class _Dumper(yaml.SafeDumper):
    """Writes what kubectl's `-o yaml` writes: block style, text with line breaks as literal blocks."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def as_yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=True, default_flow_style=False, allow_unicode=True, width=10**6)


def as_json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=4).decode() + "\n"
