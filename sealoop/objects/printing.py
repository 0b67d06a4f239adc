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
from typing import Any, NamedTuple

import msgspec
import yaml

from gitops_core.domain.render.scalars import resolve
from gitops_core.meta import Kind, Manifest
from sealoop.objects.kinds import write_name
from sealoop.terminals import make_visible

NONE = "<none>"
_MOST_HOSTS = 3

Cell = Callable[[Manifest, datetime], str]


class Column(NamedTuple):
    """Priority above 0 is shown with `-o wide` only."""

    heading: str
    priority: int
    cell: Cell


def write_age(since: str, now: datetime) -> str:
    """Write the time that has passed since `since` (RFC 3339), as kubectl shortens it.

    >>> from datetime import UTC
    >>> now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> [write_age(f"2026-01-01T{time}Z", now) for time in ("11:59:17", "11:55:30", "08:30:00")]
    ['43s', '4m30s', '3h30m']

    Source: k8s.io/apimachinery duration.HumanDuration.
    """
    if not since:
        return "<unknown>"
    try:
        seconds = int((now - datetime.fromisoformat(since)).total_seconds())
    except (ValueError, TypeError):  # a column may declare any string a date; one without a zone is no moment
        return "<invalid>"
    if seconds < 0:
        return "0s" if seconds > -2 else "<invalid>"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    for fits, text in (
        (seconds < 120, f"{seconds}s"),
        (minutes < 10, _write_units(minutes, "m", seconds % 60, "s")),
        (minutes < 180, f"{minutes}m"),
        (hours < 8, _write_units(hours, "h", minutes % 60, "m")),
        (hours < 48, f"{hours}h"),
        (days < 8, _write_units(days, "d", hours % 24, "h")),
        (days < 730, f"{days}d"),
        (days < 2920, _write_units(days // 365, "y", days % 365, "d")),
    ):
        if fits:
            return text
    return f"{days // 365}y"


def _write_units(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


_STEP = re.compile(
    r"""\.?([\w-]+(?:\\\.[\w-]+)*)|\[['"]([^'"]+)['"]\]|\[(\d+|\*)\]|\[\?\(@\.([\w.]+)\s*==\s*["']([^"']*)["']\)\]"""
)


def find_at(value: Any, path: str) -> list[Any]:
    """Find everything that a CRD column's JSONPath means, in order; the subset that CRDs use.

    >>> find_at({"conditions": [{"type": "Ready", "status": "True"}]}, '.conditions[?(@.type=="Ready")].status')
    ['True']
    """
    found = [value]
    for match in _STEP.finditer(path):
        name = (match[1] or match[2] or "").replace("\\.", ".")
        found = [item for parent in found for item in _list_children(parent, name, match[3], match[4], match[5])]
    return found


def _list_children(parent: Any, name: str, index: str | None, field: str | None, wanted: str | None) -> list[Any]:
    if name:
        return [parent[name]] if isinstance(parent, Mapping) and name in parent else []
    if not isinstance(parent, Sequence) or isinstance(parent, str):
        return []
    if index is not None:
        return list(parent) if index == "*" else list(parent[int(index) : int(index) + 1])
    return [item for item in parent if field and find_at(item, f".{field}") == [wanted]]


def make_cell(path: str, type_: str = "string") -> Cell:
    """Make a cell that shows what `path` finds; dates as ages."""

    def write(manifest: Manifest, now: datetime) -> str:
        text = ",".join(_write_plainly(item) for item in find_at(manifest, path))
        return write_age(text, now) if type_ == "date" and text else text

    return write


def _write_plainly(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str() | int() | float():
            return str(value)
        case _:
            return msgspec.json.encode(value).decode()


def _count(*paths: str) -> Cell:
    """Return how many entries there are: of a Secret a table shows no more than that."""
    return lambda manifest, _: str(sum(len(found or ()) for path in paths for found in find_at(manifest, path)))


def _make_ratio(ready: str, wanted: str) -> Cell:
    def write(manifest: Manifest, now: datetime) -> str:
        return f"{make_cell(ready)(manifest, now) or 0}/{make_cell(wanted)(manifest, now) or 0}"

    return write


def _make_number(path: str) -> Cell:
    """Make a cell of a count, which objects leave out where it is 0."""
    return lambda manifest, now: make_cell(path)(manifest, now) or "0"


def _write_ready_containers(manifest: Manifest, _: datetime) -> str:
    ready = find_at(manifest, ".status.containerStatuses[*].ready")
    return f"{sum(map(bool, ready))}/{len(find_at(manifest, '.spec.containers[*].name'))}"


def _write_pod_status(manifest: Manifest, now: datetime) -> str:
    waiting = find_at(manifest, ".status.containerStatuses[*].state.waiting.reason")
    return str(waiting[0]) if waiting else make_cell(".status.phase")(manifest, now)


def _write_ports(service: Manifest, _: datetime) -> str:
    return ",".join(map(_write_port, find_at(service, ".spec.ports[*]"))) or NONE


def _write_port(port: Manifest) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"


def _write_cluster_ip(service: Manifest, _: datetime) -> str:
    return (
        next((str(ip) for path in (".spec.clusterIPs[0]", ".spec.clusterIP") for ip in find_at(service, path)), "")
        or NONE
    )


def _find_external_ip(service: Manifest, _: datetime) -> str:
    """Return where a Service is reached from outside. Source: k8s.io/kubernetes, pkg/printers, getServiceExternalIP."""
    given = [str(ip) for ip in find_at(service, ".spec.externalIPs[*]")]
    match find_at(service, ".spec.type"):
        case ["ExternalName"]:
            return make_cell(".spec.externalName")(service, _)
        case ["LoadBalancer"]:
            ingress = find_at(service, ".status.loadBalancer.ingress[*]")
            balancers = sorted({str(found) for each in ingress if (found := each.get("ip") or each.get("hostname"))})
            return ",".join([*balancers, *given]) or "<pending>"
        case _:
            return ",".join(given) or NONE


def _make_labels(path: str) -> Cell:
    """Make a cell of what a plain selector, a map of labels, selects."""

    def write(manifest: Manifest, _: datetime) -> str:
        pairs = (f"{key}={value}" for found in find_at(manifest, path) for key, value in sorted((found or {}).items()))
        return ",".join(pairs) or NONE

    return write


def _make_optional(path: str, type_: str = "string") -> Cell:
    cell = make_cell(path, type_)
    return lambda manifest, now: cell(manifest, now) or NONE


def _write_hosts(ingress: Manifest, _: datetime) -> str:
    hosts = [str(host) for host in find_at(ingress, ".spec.rules[*].host") if host]
    more = f" + {len(hosts) - _MOST_HOSTS} more..." if len(hosts) > _MOST_HOSTS else ""
    return ",".join(hosts[:_MOST_HOSTS]) + more or "*"


def _write_address(ingress: Manifest, _: datetime) -> str:
    found = find_at(ingress, ".status.loadBalancer.ingress[*]")
    return ",".join(sorted({str(at_) for each in found if (at_ := each.get("ip") or each.get("hostname"))}))


def _write_role(binding: Manifest, _: datetime) -> str:
    return "/".join(str(word) for name in ("kind", "name") for word in find_at(binding, f".roleRef.{name}"))


def _write_selector(manifest: Manifest, _: datetime) -> str:
    """Write what a workload's selector selects, as `get -l` takes it."""
    return _write_selector_at(manifest, ".spec.selector")


def _write_pod_selector(policy: Manifest, _: datetime) -> str:
    return _write_selector_at(policy, ".spec.podSelector")


def _write_selector_at(manifest: Manifest, path: str) -> str:
    found = next(iter(find_at(manifest, path)), None) or {}
    labels = {key: f"{key}={value}" for key, value in (found.get("matchLabels") or {}).items()}
    expressions = [(each.get("key", ""), _write_requirement(each)) for each in found.get("matchExpressions") or ()]
    return ",".join(text for _, text in sorted([*labels.items(), *expressions])) or NONE


def _write_requirement(expression: Manifest) -> str:
    key, values = expression.get("key", ""), ",".join(sorted(expression.get("values") or ()))
    match expression.get("operator"):
        case "In":
            return f"{key} in ({values})"
        case "NotIn":
            return f"{key} notin ({values})"
        case "DoesNotExist":
            return f"!{key}"
        case _:
            return str(key)


def _get_last_seen(event: Manifest) -> str:
    moments = (".series.lastObservedTime", ".lastTimestamp", ".eventTime", ".metadata.creationTimestamp")
    return next((str(found[0]) for path in moments if (found := find_at(event, path)) and found[0]), "")


def write_last_seen(event: Manifest, now: datetime) -> str:
    """Write when an Event was seen last, and how often: `2m (x5 over 10m)`. Source: kubectl events, getInterval."""
    seen = write_age(_get_last_seen(event), now)
    count = next((n for path in (".series.count", ".count") for n in find_at(event, path) if isinstance(n, int)), 1)
    first = next((str(at) for path in (".firstTimestamp", ".eventTime") for at in find_at(event, path) if at), "")
    return f"{seen} (x{count} over {write_age(first, now)})" if count > 1 else seen


def write_concerned(event: Manifest, _: datetime) -> str:
    kind, name = find_at(event, ".involvedObject.kind"), find_at(event, ".involvedObject.name")
    return f"{str(kind[0]).lower() if kind else ''}/{name[0] if name else ''}"


def _write_restarts(manifest: Manifest, _: datetime) -> str:
    return str(sum(find_at(manifest, ".status.containerStatuses[*].restartCount")))


_AGE = Column("AGE", 0, make_cell(".metadata.creationTimestamp", "date"))
_POD_TEMPLATE = (
    Column("CONTAINERS", 1, make_cell(".spec.template.spec.containers[*].name")),
    Column("IMAGES", 1, make_cell(".spec.template.spec.containers[*].image")),
)
_SELECTOR = Column("SELECTOR", 1, _write_selector)
_READY = Column("READY", 0, _make_ratio(".status.readyReplicas", ".spec.replicas"))

BUILT_IN: Mapping[tuple[str, str], tuple[Column, ...]] = {
    ("", "Pod"): (
        Column("READY", 0, _write_ready_containers),
        Column("STATUS", 0, _write_pod_status),
        Column("RESTARTS", 0, _write_restarts),
        _AGE,
        Column("NODE", 1, make_cell(".spec.nodeName")),
        Column("IMAGES", 1, make_cell(".spec.containers[*].image")),
    ),
    ("", "Secret"): (Column("TYPE", 0, make_cell(".type")), Column("DATA", 0, _count(".data")), _AGE),
    ("", "ConfigMap"): (Column("DATA", 0, _count(".data", ".binaryData")), _AGE),
    ("", "Service"): (
        Column("TYPE", 0, make_cell(".spec.type")),
        Column("CLUSTER-IP", 0, _write_cluster_ip),
        Column("EXTERNAL-IP", 0, _find_external_ip),
        Column("PORT(S)", 0, _write_ports),
        _AGE,
        Column("SELECTOR", 1, _make_labels(".spec.selector")),
    ),
    ("", "Namespace"): (Column("STATUS", 0, make_cell(".status.phase")), _AGE),
    ("", "Event"): (
        Column("LAST SEEN", 0, lambda event, now: write_age(_get_last_seen(event), now)),
        Column("TYPE", 0, make_cell(".type")),
        Column("REASON", 0, make_cell(".reason")),
        Column("OBJECT", 0, write_concerned),
        Column("COUNT", 1, make_cell(".count")),
        Column("MESSAGE", 0, make_cell(".message")),
    ),
    ("apps", "Deployment"): (
        _READY,
        Column("UP-TO-DATE", 0, _make_number(".status.updatedReplicas")),
        Column("AVAILABLE", 0, _make_number(".status.availableReplicas")),
        _AGE,
        *_POD_TEMPLATE,
        _SELECTOR,
    ),
    ("apps", "StatefulSet"): (_READY, _AGE, *_POD_TEMPLATE),
    ("apps", "ReplicaSet"): (
        Column("DESIRED", 0, _make_number(".spec.replicas")),
        Column("CURRENT", 0, _make_number(".status.replicas")),
        Column("READY", 0, _make_number(".status.readyReplicas")),
        _AGE,
        *_POD_TEMPLATE,
        _SELECTOR,
    ),
    ("apps", "DaemonSet"): (
        Column("DESIRED", 0, _make_number(".status.desiredNumberScheduled")),
        Column("CURRENT", 0, _make_number(".status.currentNumberScheduled")),
        Column("READY", 0, _make_number(".status.numberReady")),
        Column("UP-TO-DATE", 0, _make_number(".status.updatedNumberScheduled")),
        Column("AVAILABLE", 0, _make_number(".status.numberAvailable")),
        Column("NODE SELECTOR", 0, _make_labels(".spec.template.spec.nodeSelector")),
        _AGE,
        *_POD_TEMPLATE,
        _SELECTOR,
    ),
    ("batch", "Job"): (
        Column("COMPLETIONS", 0, _make_ratio(".status.succeeded", ".spec.completions")),
        _AGE,
        *_POD_TEMPLATE,
        _SELECTOR,
    ),
    ("batch", "CronJob"): (
        Column("SCHEDULE", 0, make_cell(".spec.schedule")),
        Column("TIMEZONE", 0, _make_optional(".spec.timeZone")),
        Column("SUSPEND", 0, lambda job, _: str(find_at(job, ".spec.suspend") == [True])),
        Column("ACTIVE", 0, _count(".status.active")),
        Column("LAST SCHEDULE", 0, _make_optional(".status.lastScheduleTime", "date")),
        _AGE,
        Column("CONTAINERS", 1, make_cell(".spec.jobTemplate.spec.template.spec.containers[*].name")),
        Column("IMAGES", 1, make_cell(".spec.jobTemplate.spec.template.spec.containers[*].image")),
    ),
    ("networking.k8s.io", "Ingress"): (
        Column("CLASS", 0, _make_optional(".spec.ingressClassName")),
        Column("HOSTS", 0, _write_hosts),
        Column("ADDRESS", 0, _write_address),
        Column("PORTS", 0, lambda ingress, _: "80, 443" if any(find_at(ingress, ".spec.tls")) else "80"),
        _AGE,
    ),
    ("networking.k8s.io", "NetworkPolicy"): (Column("POD-SELECTOR", 0, _write_pod_selector), _AGE),
    ("rbac.authorization.k8s.io", "RoleBinding"): (Column("ROLE", 0, _write_role), _AGE),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): (Column("ROLE", 0, _write_role), _AGE),
    ("coordination.k8s.io", "Lease"): (Column("HOLDER", 0, make_cell(".spec.holderIdentity")), _AGE),
}

_NAMELESS = {Kind("", "v1", "Event")}
"""An event's name says nothing: kubectl leaves it out too."""


def make_declared_columns(kind: Kind, crd: Manifest | None) -> tuple[Column, ...]:
    """Return the columns that a kind's CustomResourceDefinition declares; its age when it declares none."""
    versions = {} if crd is None else {version["name"]: version for version in crd["spec"]["versions"]}
    declared = versions.get(kind.version, {}).get("additionalPrinterColumns")
    if not declared:
        return (_AGE,)
    return tuple(Column(c["name"].upper(), c.get("priority", 0), make_cell(c["jsonPath"], c["type"])) for c in declared)


def sort_for_reading(kind: Kind, found: Iterable[Manifest]) -> list[Manifest]:
    """Sort Events as they happened, the newest last; keep everything else as the cluster lists it."""
    return sorted(found, key=_get_last_seen) if kind.kind == "Event" else list(found)


class Table:
    """Objects of one kind, a line each below a heading that is shown once.

    Columns are as wide as their widest cell so far: a table that is watched stays in line.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        kind: Kind,
        *,
        wide: bool = False,
        namespaces: bool = False,
        kinds: bool = False,
    ) -> None:
        """
        Args:
            namespaces: show each object's namespace.
            kinds: show names as `deployment.apps/web`: there are tables of other kinds beside this one.
        """
        self.kind, self._namespaces, self._kinds = kind, namespaces, kinds
        self._named = kind not in _NAMELESS
        self._columns = [column for column in columns if wide or column.priority == 0]
        self._widths: list[int] = []

    def write_lines(self, objects: Iterable[Manifest], now: datetime) -> list[str]:
        """Write one line for each object, the heading before the first ever."""
        rows = [self._make_row(manifest, now) for manifest in objects]
        if rows and not self._widths:
            rows.insert(0, self._make_heading())
            self._widths = [0] * len(rows[0])
        for row in rows:
            self._widths = [max(width, len(text)) for width, text in zip(self._widths, row, strict=True)]
        return [
            "   ".join(text.ljust(width) for text, width in zip(row, self._widths, strict=True)).rstrip()
            for row in rows
        ]

    def _make_heading(self) -> list[str]:
        first = [*(["NAMESPACE"] if self._namespaces else []), *(["NAME"] if self._named else [])]
        return [*first, *(column.heading for column in self._columns)]

    def _make_row(self, manifest: Manifest, now: datetime) -> list[str]:
        metadata = manifest["metadata"]
        name = write_name(self.kind, metadata["name"]) if self._kinds else metadata["name"]
        first = [*([metadata.get("namespace", "")] if self._namespaces else []), *([name] if self._named else [])]
        return [*first, *(make_visible(column.cell(manifest, now)) for column in self._columns)]


# libyaml's emitter is ten times faster; a wheel without it has the other one
_Emitter: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Emitter):  # type: ignore[valid-type,misc]  # chosen above
    """Writes what kubectl's `-o yaml` writes: block style, text with line breaks as literal blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else '"' if _reads_as_other(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _reads_as_other(value: str) -> bool:
    """Tell whether plain text would be read back as a number or the like: PyYAML does not quote the commit 12e45."""
    try:
        return resolve(value) != value
    except ValueError:
        return True


_Dumper.add_representer(str, _represent_text)


def write_yaml(value: Any) -> str:
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=True, default_flow_style=False, allow_unicode=True, width=10**6
    )
    return text


def write_json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=4).decode() + "\n"
