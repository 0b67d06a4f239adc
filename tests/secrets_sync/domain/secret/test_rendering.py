"""What an ExternalSecret makes of what it read, and which objects it names."""

from __future__ import annotations

from typing import Any

from gitops_core.meta import ObjectKey, ObjectRef, Sensitive
from gitops_core.schema import read_manifest
from secrets_sync.api import ExternalSecret
from secrets_sync.component import make_controllers
from secrets_sync.domain.provider.reading import Absent, Reading
from secrets_sync.domain.secret.live import SECRET, LiveSecret
from secrets_sync.domain.secret.plan import Create, Update, plan_target
from secrets_sync.domain.secret.references import list_references
from secrets_sync.domain.secret.rendering import Rendered, render
from tests.secrets_sync.world import NAMESPACE, external_secret


def wanted(**spec: Any) -> ExternalSecret:
    manifest = external_secret(**spec)
    manifest["metadata"] |= {"labels": {"team": "a"}, "annotations": {"note": "b"}, "uid": "u"}
    return read_manifest(ExternalSecret, manifest)


def test_of_equal_keys_the_later_entry_wins_and_metadata_is_the_external_secrets() -> None:
    first, second = {"a": Sensitive("1"), "b": Sensitive("2")}, {"b": Sensitive("3")}

    rendered = render(wanted(), Reading((first, Absent("memory", "k", "", "removed"), second)))

    assert rendered == Rendered({"a": Sensitive("1"), "b": Sensitive("3")}, {"team": "a"}, {"note": "b"}, "Opaque")


READING = Reading(({"read": Sensitive("1")},))
OTHERWISE = Rendered({"made": Sensitive("2")}, {"l": "x"}, {"n": "y"}, "kubernetes.io/tls")


def test_a_new_secret_is_what_was_rendered_and_not_what_was_read() -> None:
    plan = plan_target(wanted(), READING, OTHERWISE, None)

    assert isinstance(plan, Create)
    assert (plan.manifest["type"], plan.manifest["data"]) == ("kubernetes.io/tls", {"made": "Mg=="})
    metadata = plan.manifest["metadata"]
    assert (metadata["labels"]["l"], "team" in metadata["labels"]) == ("x", False)
    assert (metadata["annotations"]["n"], "note" in metadata["annotations"]) == ("y", False)


def test_a_secret_that_is_there_gets_what_was_rendered_and_keeps_its_type() -> None:
    metadata = {"name": "db", "namespace": NAMESPACE, "labels": {"l": "old", "kept": "z"}}
    live = LiveSecret.of({"metadata": metadata, "type": "Opaque", "data": {"old": "MQ=="}})

    plan = plan_target(wanted(), READING, OTHERWISE, live)

    assert isinstance(plan, Update)
    assert (plan.manifest["type"], plan.manifest["data"]) == ("Opaque", {"made": "Mg=="})
    labels = plan.manifest["metadata"]["labels"]
    assert (labels["l"], labels["kept"], "team" in labels) == ("x", "z", False)


def named(kind: str, *names: str) -> set[str]:
    return {f"{kind}/{NAMESPACE}/{name}" for name in names}


def test_an_external_secret_names_its_secret_its_stores_and_where_its_templates_are() -> None:
    items = [{"key": "k"}]
    template = {
        "templateFrom": [
            {"configMap": {"name": "frame", "items": items}, "secret": {"name": "salt", "items": items}},
            {"literal": "a: b"},
        ]
    }
    entry = {"secretKey": "a", "remoteRef": {"key": "k"}, "sourceRef": {"storeRef": {"name": "third"}}}
    every = wanted(
        secretStoreRef={"name": "first"},
        target={"name": "made", "template": template},
        dataFrom=[{"extract": {"key": "k"}, "sourceRef": {"storeRef": {"name": "second"}}}],
        data=[entry, entry | {"sourceRef": {"storeRef": {"name": "wide", "kind": "ClusterSecretStore"}}}],
    )

    found = [f"{ref.kind.kind}/{ref.key.namespace}/{ref.key.name}" for ref in list_references(every)]

    assert sorted(found) == sorted(
        named("Secret", "made", "salt") | named("SecretStore", "first", "second", "third") | named("ConfigMap", "frame")
    )


def test_the_runtime_is_told_of_them() -> None:
    platform: Any = type("Platform", (), dict.fromkeys(("cluster", "objects", "clock", "compute")))
    _, secrets = make_controllers(platform, {})

    named_by = list(secrets.references(wanted()))

    assert ObjectRef(SECRET, ObjectKey(NAMESPACE, "db")) in named_by
    assert named_by == list(list_references(wanted()))
