"""What is read for an ExternalSecret, in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gitops_core.meta import Sensitive
from secrets_sync.api import DataEntry, DataFromEntry, ExternalSecretSpec, Find, RemoteRef
from secrets_sync.domain.provider.extract import extract_map, extract_value
from secrets_sync.domain.provider.payload import Payload, SecretRef
from secrets_sync.domain.provider.reads import plan_reads
from secrets_sync.errors import NoPlace

remotes = st.builds(
    RemoteRef,
    key=st.sampled_from(["db", "api"]),
    version=st.sampled_from(["", "1"]),
    property=st.sampled_from(["", "user", "password"]),
)
finds = st.builds(Find, path=st.sampled_from([None, "shop"]))


@given(st.lists(remotes | finds, max_size=4), st.lists(remotes, max_size=4))
def test_each_key_and_version_is_read_once_and_in_the_order_of_the_entries(
    many: list[RemoteRef | Find], single: list[RemoteRef]
) -> None:
    data_from = tuple(DataFromEntry(find=one) if isinstance(one, Find) else DataFromEntry(extract=one) for one in many)
    data = tuple(DataEntry(secret_key=f"k{i}", remote_ref=ref) for i, ref in enumerate(single))

    plan = plan_reads(ExternalSecretSpec(data=data, data_from=data_from))

    assert [entry.wants for entry in plan.entries] == [*many, *single]
    asked = [(one.key, one.version) for one in [*many, *single] if isinstance(one, RemoteRef)]
    assert sorted(plan.refs) == sorted({SecretRef(*one) for one in asked})
    assert list(plan.refs) == sorted(plan.refs, key=lambda ref: asked.index((ref.key, ref.version)))


def test_entries_are_called_as_the_original_calls_them() -> None:
    spec = ExternalSecretSpec(
        data=(DataEntry(secret_key="a", remote_ref=RemoteRef(key="db")),),
        data_from=(DataFromEntry(), DataFromEntry(extract=RemoteRef(key="db")), DataFromEntry(find=Find())),
    )
    entries = plan_reads(spec).entries

    assert [entry.label for entry in entries] == ["spec.dataFrom[1]", "spec.dataFrom[2]", "spec.data[0] (key=db)"]
    assert [str(entry.locate(NoPlace("no"))) for entry in entries] == [
        "error processing spec.dataFrom[1].extract, err: no",
        "error processing spec.dataFrom[2].find, err: no",
        "error processing spec.data[0] (key: db), err: no",
    ]


NAMES = {"a.b": Sensitive("literal"), "n": Sensitive("1e3")}
DOCUMENT = Sensitive('{"a.b":"literal","a":{"b":"nested"},"n":1e3}')


def test_of_names_and_values_a_property_is_a_name_before_it_is_a_path() -> None:
    wants = RemoteRef(key="k", property="a.b")

    assert extract_value(Payload(DOCUMENT, NAMES), wants, "store") == Sensitive("literal")
    assert extract_value(Payload(DOCUMENT), wants, "store") == Sensitive("nested")


def test_numbers_of_a_map_are_plain_where_the_provider_stores_names_and_values() -> None:
    wants = RemoteRef(key="k")

    assert extract_map(Payload(DOCUMENT, NAMES), wants, "store")["n"] == Sensitive("1000")
    assert extract_map(Payload(DOCUMENT), wants, "store")["n"] == Sensitive("1e3")


def test_a_payload_shows_no_value_and_counts_all_of_them() -> None:
    payload = Payload(Sensitive("12345"), {"ab": Sensitive("678")}, {"version": "3"})

    assert repr(payload) == "Payload(value=Sensitive(...), metadata={'version': '3'})"
    assert payload.weight == 5 + 2 + 3
