"""What is read of objects that anybody may have written."""

from __future__ import annotations

from sealoop.objects.reading import find_condition, list_inventory


def test_an_inventory_is_read_without_what_is_no_entry() -> None:
    entries = [{"id": "shop_web_apps_Deployment", "v": "v1"}, {"id": "a_b"}, {"v": "v1"}, {"id": "_x_y", "v": "v1"}]
    last = {"id": "shop_colours__ConfigMap", "v": "v1"}

    found = list_inventory({"status": {"inventory": {"entries": [*entries, last]}}})

    assert [str(ref) for ref in found] == ["Deployment/shop/web", "ConfigMap/shop/colours"]
    assert list_inventory({"status": {"inventory": None}}) == []
    assert list_inventory({}) == []


def test_a_condition_is_found_by_its_type() -> None:
    live = {"status": {"conditions": [{"status": "True"}, {"type": "Ready", "status": "False"}]}}

    assert find_condition(live, "Ready") == {"type": "Ready", "status": "False"}
    assert find_condition(live, "Stalled") == {}
    assert find_condition({"status": None}, "Ready") == {}
