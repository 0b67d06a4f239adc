"""What both clusters find wrong with a value under each keyword of its schema: the same causes, word for word."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_core.adapters.kubernetes import KubernetesCluster
from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import Invalid
from gitops_core.meta import Kind
from gitops_core.ports import Cluster
from tests.contracts.conftest import new_namespace, until_served
from tests.contracts.things import GROUP, definition

KIND = Kind(GROUP, "v1", "Checked")
INT, NUM, STR = {"type": "integer"}, {"type": "number"}, {"type": "string"}
PAIR = {"type": "object", "properties": {"a": STR, "b": STR, "n": {"type": "integer"}}}
A, B, N = {"required": ["a"]}, {"required": ["b"]}, {"properties": {"n": {"minimum": 3}}, "required": ["a"]}
LIST = {"type": "array", "items": {"type": "object", "properties": {"a": INT}}}
SIZE = {"x-kubernetes-int-or-string": True}

CASES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "oneOf": ({**PAIR, "oneOf": [A, B]}, [{"a": "1"}, {}, {"a": "1", "b": "2"}]),
    "oneOf of three": ({**PAIR, "oneOf": [A, B, N]}, [{"n": 1}, {"a": "", "n": 1}, {"a": "", "b": "", "n": 3}]),
    "oneOf with the nearest last": (
        {**PAIR, "oneOf": [B, {"properties": {"n": {"minimum": 3}, "a": {"minLength": 1}}}]},
        [{"n": 1, "a": "x"}, {"n": 3, "a": ""}],
    ),
    "anyOf": ({**PAIR, "anyOf": [A, B]}, [{"a": "1", "b": "1"}, {"n": 1}]),
    "anyOf with the nearest last": ({**PAIR, "anyOf": [B, N]}, [{"n": 1}, {"a": "x", "n": 4}]),
    "anyOf of strings": (
        {**STR, "anyOf": [{"pattern": "^a"}, {"minLength": 5}, {"format": "ipv4"}]},
        ["a", "1.2.3.4", "xx", "xxxxx"],
    ),
    "allOf": ({**PAIR, "allOf": [A, B]}, [{"a": "1", "b": "2"}, {"a": "1"}, {}]),
    "allOf that finds a fault twice": ({**PAIR, **A, "allOf": [A, N]}, [{}, {"n": 1}]),
    "not": ({**PAIR, "not": {"required": ["a", "b"]}}, [{"a": "1"}, {"a": "1", "b": "2"}]),
    "nested": (
        {**PAIR, "anyOf": [{"oneOf": [A, B]}, {"not": {"allOf": [A, B]}, "properties": {"n": {"maximum": 0}}}]},
        [{"n": 0}, {"n": 1}, {"a": "", "b": "", "n": 1}],
    ),
    "alternatives of items": (
        {**LIST, "anyOf": [{"items": {"required": ["a"]}}, {"maxItems": 1}]},
        [[{}], [{"a": 1}, {}], [{}, {}]],
    ),
    "alternatives below": (
        {"type": "object", "properties": {"x y": {**PAIR, "oneOf": [A, B]}}},
        [{"x y": {}}, {"x y": {"a": ""}}],
    ),
    "an integer or a string": (
        {**SIZE, "anyOf": [INT, STR], "pattern": "^[0-9]+%$"},
        [1, "5%", "x", True, 1.5, [], None],
    ),
    "an integer or a string in all": ({**SIZE, "allOf": [{"anyOf": [INT, STR]}, {"maximum": 5}]}, [1, 6, "x", {}]),
    "alternatives of null": ({**PAIR, "nullable": True, "oneOf": [A, B]}, [None, {}]),
    "enum in an alternative": ({**STR, "anyOf": [{"enum": ["a"]}, {"enum": ["b"]}]}, ["a", "c"]),
    "exclusive bounds": (
        {**INT, "minimum": 1, "exclusiveMinimum": True, "maximum": 5, "exclusiveMaximum": True},
        [0, 1, 2, 5, 6, 5.0],
    ),
    "exclusive bounds of numbers": (
        {**NUM, "minimum": 0.5, "exclusiveMinimum": True, "maximum": 1e6, "exclusiveMaximum": True},
        [0.5, 0.25, 1, 0, 1e6, 1234567.5, 1e-7],
    ),
    "a bound that is no integer": ({**INT, "minimum": 1.5}, [1, 2]),
    "a bound of 32 bits": ({**INT, "format": "int32", "maximum": 4e9}, [1, 3_000_000_000, 5_000_000_000]),
    "multipleOf": ({**INT, "multipleOf": 3}, [6, 7, -3, 0, 7.0]),
    "multipleOf a fraction": ({**NUM, "multipleOf": 0.1}, [0.3, 0.35, 2, 1e20, 0.7]),
    "multipleOf a fraction of integers": ({**INT, "multipleOf": 0.5}, [1]),
    "multipleOf nothing": ({**NUM, "multipleOf": 0}, [1, 1.5]),
    "float": ({**NUM, "format": "float"}, [1.5, 3.5e38, 3.4028235e38, -1e39]),
    "a format of no integer": ({**INT, "format": "byte"}, [1, "x", 1e30]),
    "a format that nobody knows": ({**STR, "format": "colour"}, ["x", 1]),
    "properties": ({"type": "object", "additionalProperties": INT, "minProperties": 2}, [{}, {"a": 1, "b": 2}]),
    "fewest properties of some": ({**PAIR, "maxProperties": 1, "minProperties": 1}, [{}, {"a": "", "b": ""}]),
}
FORMATS: dict[str, list[str]] = {
    "ipv4": ["1.2.3.4", "01.2.3.004", "1.2.3", "256.1.1.1", "::ffff:1.2.3.4", "::1", "", " 1.2.3.4"],
    "ipv6": ["::1", "1::2:3:4:5:6:7:8", "fe80::1%eth0", "1.2.3.4", "::ffff:1.2.3.4", "12345::", "::ffff:01.2.3.4"],
    "cidr": ["10.0.0.0/8", "10.0.0.1/08", "10.0.0.0/33", "::/0", "::/129", "10.0.0.0", "10.0.0.0/", "10.0.0.0/8/8"],
    "uuid": ["6BA7B810-9dad-11d1-80b4-00c04fd430c8", "6ba7b8109dad11d180b400c04fd430c8", "6ba7", ""],
    "uuid3": ["6ba7b810-9dad-31d1-80b4-00c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"],
    "uuid4": ["6ba7b810-9dad-41d1-80b4-00c04fd430c8", "6ba7b810-9dad-41d1-70b4-00c04fd430c8"],
    "uuid5": ["6ba7b810-9dad-51d1-80b4-00c04fd430c8", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"],
    "mac": ["01:23:45:67:89:ab", "01-23-45-67-89-AB", "0123.4567.89ab", "01:23-45:67:89:ab", "01:23:45:67:89"],
    "date": ["2024-02-29", "2023-02-29", "0000-02-29", "2024-1-1", "2024-01-01\n", "20240101"],
    "date-time": ["2020-01-01T00:00:00Z", "2020-01-01 00:00:00Z", "2020-01-01"],
    "datetime": ["2020-01-01T00:00:00Z", "2020-01-01"],
    "hostname": ["a", "example.com", "-a", "a_b", "a..b", "1.2.3.4", "x" * 64, "é.com", "a.com.", "a" * 64 + ".com"],
    "hexcolor": ["#fff", "fff000", "#ffff", "#ggg"],
    "ssn": ["123-45-6789", "123 45 6789", "123-456789", "12-345-6789"],
    "bsonobjectid": ["507f1f77bcf86cd799439011", "507f1f77bcf86cd79943901"],
    "byte": ["eA==", "eA", "-_==", ""],
    "k8s-short-name": ["a-b", "A", "a.b", "x" * 64, "-a"],
    "k8s-long-name": ["a.b-c", "a..b", "x" * 64],
    "password": ["anything"],
}
CASES |= {f"format {name}": ({**STR, "format": name}, list(texts)) for name, texts in FORMATS.items()}


@pytest.mark.parametrize("case", CASES)
async def test_both_find_the_same_faults_in_the_same_order(
    case: str, local_cluster: LocalCluster, real_cluster: KubernetesCluster
) -> None:
    namespace = await new_namespace(local_cluster, real_cluster)
    for cluster in (local_cluster, real_cluster):
        await define(cluster)
    field = f"f{list(CASES).index(case)}"

    for value in CASES[case][1]:
        ours, theirs = [await causes(c, namespace, {field: value}) for c in (local_cluster, real_cluster)]
        assert ours == theirs, value


async def define(cluster: Cluster) -> None:
    """Serve a kind with a field for each case."""
    properties = {f"f{number}": schema for number, (schema, _) in enumerate(CASES.values())}
    spec = {"type": "object", "properties": properties}
    schema = {"type": "object", "properties": {"spec": spec, "status": {"type": "object"}}}
    await cluster.apply(definition("Checked", schema), field_manager="tests", force=True)
    await until_served(cluster, KIND)


async def causes(cluster: Cluster, namespace: str, spec: dict[str, Any]) -> list[tuple[str, ...]]:
    """What a creation is refused for; nothing when it is taken."""
    metadata = {"name": "a", "namespace": namespace}
    manifest = {"apiVersion": KIND.api_version, "kind": KIND.kind, "metadata": metadata, "spec": spec}
    try:
        await cluster.create(manifest, field_manager="tests", dry_run=True)
    except Invalid as refusal:
        return [tuple(fault) for fault in refusal.faults]
    return []
