"""Objects as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.objects.selectors import parse_selector
from gitops_core.domain.render.manifests import read_documents
from gitops_core.meta import Kind, write_timestamp
from sealoop.objects import printing
from sealoop.objects.printing import BUILT_IN, Column, Table

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = Kind("", "v1", "Secret")
EVENT = Kind("", "v1", "Event")
DEPLOYMENT = Kind("apps", "v1", "Deployment")

texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "12e45",
        "1e3",
        "0x1f",
        "0o17",
        "yes",
        "null",
        "~",
        "1_000",
        ".inf",
        "2026-01-01",
        "<<",
        "=",
        "",
        " a",
        "a\n",
        "\n",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (660, "11m"),
        (10_799, "179m"),
        (12_600, "3h30m"),
        (30_000, "8h"),
        (172_800, "2d"),
        (183_600, "2d3h"),
        (86_400 * 8, "8d"),
        (86_400 * 730, "2y"),
        (86_400 * 800, "2y70d"),
        (86_400 * 3000, "8y"),
        (-5, "<invalid>"),
    ],
)
def test_ages_are_shortened_as_kubectl_does(seconds: int, shown: str) -> None:
    assert printing.write_age(write_timestamp(NOW - timedelta(seconds=seconds)), NOW) == shown


@pytest.mark.parametrize(
    ("since", "shown"), [("", "<unknown>"), ("yesterday", "<invalid>"), ("2026-01-01", "<invalid>")]
)
def test_a_text_that_is_not_a_time_has_no_age(since: str, shown: str) -> None:
    assert printing.write_age(since, NOW) == shown


def secret(**data: str) -> dict[str, Any]:
    created = write_timestamp(NOW - timedelta(minutes=5))
    metadata = {"name": "db", "namespace": "shop", "creationTimestamp": created}
    return {"metadata": metadata, "type": "Opaque", "data": data}


@pytest.mark.parametrize("wide", [False, True])
def test_a_table_counts_the_values_of_a_secret_and_shows_none(wide: bool) -> None:
    table = Table(BUILT_IN["", "Secret"], SECRET, wide=wide, namespaces=True)

    lines = table.write_lines([secret(password="aHVudGVyMg==", user="d2Vi")], NOW)

    assert lines == ["NAMESPACE   NAME   TYPE     DATA   AGE", "shop        db     Opaque   2      5m"]


def test_a_table_that_is_watched_shows_its_heading_once_and_stays_in_line() -> None:
    table = Table((Column("STATUS", 0, lambda m, _: m["status"]),), DEPLOYMENT)

    first = table.write_lines([{"metadata": {"name": "a-long-name"}, "status": "ok"}], NOW)
    then = table.write_lines([{"metadata": {"name": "b"}, "status": "failed"}], NOW)

    assert first == ["NAME          STATUS", "a-long-name   ok"]
    assert then == ["b             failed"]


def test_an_empty_table_has_no_heading() -> None:
    assert Table((), DEPLOYMENT).write_lines([], NOW) == []


def test_a_cell_cannot_steer_the_terminal() -> None:
    table = Table((Column("MESSAGE", 0, lambda m, _: m["message"]),), DEPLOYMENT)

    lines = table.write_lines([{"metadata": {"name": "web"}, "message": "one\ntwo\x1b[2J\x07 \x9b31m\u2028three"}], NOW)

    assert lines[1] == "web    one two [2J   31m three"


def event(name: str, **moments: Any) -> dict[str, Any]:
    concerned = {"kind": "Kustomization", "name": "app"}
    return {"metadata": {"name": name}, "involvedObject": concerned, "reason": "Why", "message": name, **moments}


def test_events_are_shown_without_names_the_newest_last() -> None:
    events = [
        event("newest", eventTime="2026-03-01T11:59:00.000001Z", lastTimestamp=None),
        event("oldest", lastTimestamp="2026-03-01T11:00:00Z"),
        event("middle", lastTimestamp="2026-03-01T11:00:00Z", series={"lastObservedTime": "2026-03-01T11:30:00.0Z"}),
    ]

    lines = Table(BUILT_IN["", "Event"], EVENT).write_lines(printing.sort_for_reading(EVENT, events), NOW)

    assert lines[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert [line.split() for line in lines[1:]] == [
        ["60m", "Why", "kustomization/app", "oldest"],
        ["30m", "Why", "kustomization/app", "middle"],
        ["59s", "Why", "kustomization/app", "newest"],
    ]


CRD = {
    "spec": {
        "versions": [
            {"name": "v1beta1"},
            {
                "name": "v1",
                "additionalPrinterColumns": [
                    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
                    {"name": "Size", "type": "integer", "jsonPath": ".spec['size']", "priority": 1},
                    {"name": "Seen", "type": "date", "jsonPath": ".status.seen"},
                ],
            },
        ]
    }
}


def test_a_custom_kind_has_the_columns_that_its_definition_declares() -> None:
    widget = {
        "metadata": {"name": "w"},
        "spec": {"size": 3},
        "status": {"seen": "2026-03-01T11:59:30Z", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    kind = Kind("example.com", "v1", "Widget")

    columns = printing.make_declared_columns(kind, CRD)

    assert Table(columns, kind, wide=True, kinds=True).write_lines([widget], NOW) == [
        "NAME                   READY   SIZE   SEEN",
        "widget.example.com/w   True    3      30s",
    ]
    assert Table(columns, kind).write_lines([{"metadata": {"name": "new"}}], NOW) == ["NAME   READY   SEEN", "new"]


@pytest.mark.parametrize("crd", [None, CRD])
def test_a_kind_that_declares_no_columns_shows_its_age(crd: dict[str, Any] | None) -> None:
    columns = printing.make_declared_columns(Kind("example.com", "v1beta1", "Widget"), crd)

    assert [column.heading for column in columns] == ["AGE"]


@given(values)
def test_yaml_reads_back_as_what_was_written(value: Any) -> None:
    document = {"value": value}

    assert [read for _, read in read_documents(printing.write_yaml(document).encode())] == [document]


@given(values)
def test_json_reads_back_as_what_was_written(value: Any) -> None:
    assert msgspec.json.decode(printing.write_json(value)) == value


def test_yaml_looks_as_people_write_it() -> None:
    assert printing.write_yaml({"b": "two\nlines\n", "a": [{"x": "12e45"}], "c": "ä"}) == (
        'a:\n- x: "12e45"\nb: |\n  two\n  lines\nc: ä\n'
    )


def service(**spec: Any) -> dict[str, Any]:
    status = {"loadBalancer": {"ingress": spec.pop("ingress", [])}}
    return {"metadata": {"name": "web"}, "spec": {"clusterIP": "10.0.0.1", **spec}, "status": status}


@pytest.mark.parametrize(
    ("found", "address", "ports"),
    [
        (service(type="ClusterIP", ports=[{"port": 80}]), "<none>", "80/TCP"),
        (service(type="ClusterIP", externalIPs=["1.2.3.4", "5.6.7.8"], ports=[]), "1.2.3.4,5.6.7.8", "<none>"),
        (
            service(type="NodePort", ports=[{"port": 53, "nodePort": 30053, "protocol": "UDP"}]),
            "<none>",
            "53:30053/UDP",
        ),
        (service(type="LoadBalancer"), "<pending>", "<none>"),
        (service(type="LoadBalancer", ingress=[{"ip": "9.9.9.9"}, {"hostname": "lb"}]), "9.9.9.9,lb", "<none>"),
        (
            service(type="LoadBalancer", ingress=[{"ip": "9.9.9.9"}], externalIPs=["1.1.1.1"]),
            "9.9.9.9,1.1.1.1",
            "<none>",
        ),
        (service(type="ExternalName", externalName="db.example.com"), "db.example.com", "<none>"),
    ],
)
def test_a_service_says_where_it_is_reached_as_kubectl_says_it(found: dict[str, Any], address: str, ports: str) -> None:
    cells = {column.heading: column.cell(found, NOW) for column in BUILT_IN["", "Service"]}

    assert (cells["EXTERNAL-IP"], cells["PORT(S)"], cells["CLUSTER-IP"]) == (address, ports, "10.0.0.1")


def test_selectors_are_shown_as_labels_are_asked_for() -> None:
    deployment = {
        "metadata": {"name": "web"},
        "spec": {
            "selector": {
                "matchLabels": {"tier": "front", "app": "web"},
                "matchExpressions": [
                    {"key": "env", "operator": "In", "values": ["prod", "dev"]},
                    {"key": "old", "operator": "DoesNotExist"},
                    {"key": "managed", "operator": "Exists"},
                    {"key": "zone", "operator": "NotIn", "values": ["a"]},
                ],
            },
            "template": {"spec": {"containers": [{"name": "one", "image": "a:1"}, {"name": "two", "image": "b:2"}]}},
        },
    }
    cells = {column.heading: column.cell(deployment, NOW) for column in BUILT_IN["apps", "Deployment"]}

    assert cells["SELECTOR"] == "app=web,env in (dev,prod),managed,!old,tier=front,zone notin (a)"
    assert (cells["CONTAINERS"], cells["IMAGES"]) == ("one,two", "a:1,b:2")
    assert parse_selector(cells["SELECTOR"])
    assert BUILT_IN["", "Service"][-1].cell(service(selector={"b": "2", "a": "1"}), NOW) == "a=1,b=2"
    assert BUILT_IN["", "Service"][-1].cell(service(), NOW) == "<none>"
