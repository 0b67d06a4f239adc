"""The shard of a process: how its options are read, and the name of its Lease."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.domain.objects.selectors import parse_selector, selects, write_selector
from sealoop.main import main
from sealoop.serving.shards import Shard

KEYS = st.sampled_from(["app", "tier", "sharding.fluxcd.io/key", "in"])
VALUES = st.sampled_from(["", "a", "b", "web-1", "X_2"])
SPACES = st.sampled_from(["", " ", "  "])


@st.composite
def requirements(draw: st.DrawFn) -> str:
    key, space = draw(KEYS), draw(SPACES)
    several = f"{space},{space}".join(draw(st.lists(VALUES, min_size=1, max_size=3)))
    kinds: list[Callable[[], str]] = [
        lambda: f"{space}{key}{space}",
        lambda: f"!{space}{key}",
        lambda: f"{key}{space}{draw(st.sampled_from(['=', '==', '!=']))}{space}{draw(VALUES)}{space}",
        lambda: f"{key} {draw(st.sampled_from(['in', 'notin']))}{space}({several})",
    ]
    return draw(st.sampled_from(kinds))()


LABELS = st.dictionaries(KEYS, VALUES)


@given(st.lists(requirements(), max_size=4), LABELS)
def test_a_selector_selects_the_same_in_its_one_spelling(parts: list[str], labels: dict[str, str]) -> None:
    selector = parse_selector(",".join(parts))
    text = write_selector(selector)

    assert selects(parse_selector(text), labels) == selects(selector, labels)
    assert write_selector(parse_selector(text)) == text


@given(st.lists(requirements(), max_size=4), st.randoms(use_true_random=False))
def test_one_shard_has_one_lease_however_it_is_written(parts: list[str], chance: object) -> None:
    shuffled = sorted(parts, key=lambda _: chance.random())  # type: ignore[attr-defined]

    assert Shard.parse("shop", ",".join(parts)).lease == Shard.parse("shop", " , ".join(shuffled)).lease


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tier in (b , a),app==web", "app = web, tier in (a,b)"),
        ("key=a", "key in (a)"),
        ("key!=a", "key notin (a,a)"),
        ("key,key", " key"),
        ("", "  "),
    ],
)
def test_other_spellings_are_one_shard(one: str, other: str) -> None:
    assert Shard.parse("", one) == Shard.parse("", other)


def test_other_shards_have_other_leases_with_names_that_the_api_server_takes() -> None:
    selectors = ["", "key=a", "key!=a", "key", "!key", "key in (a,b)", "key notin (a,b)", f"{'k' * 63}={'v' * 63}"]
    shards = [Shard.parse(namespace, selector) for namespace in ("", "shop", "s" * 63) for selector in selectors]

    leases = {shard.lease for shard in shards}

    assert len(leases) == len(shards)
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in leases)


def test_who_reconciles_everything_has_the_lease_of_always() -> None:
    assert Shard.parse("", "").lease == "sealoop"


@pytest.mark.parametrize(
    ("option", "value", "cause"),
    [
        ("--watch-label-selector", "key in (a b)", 'Invalid value: "a b": a valid label must be'),
        ("--watch-label-selector", "key=a,", "'key=a,' ends with a comma"),
        ("--watch-label-selector", "size<3", "labels are not compared by size here: 'size<3'"),
        ("--watch-label-selector", "-key", 'Invalid value: "-key": name part must consist of'),
        ("--watch-namespace", "Shop", 'Invalid value: "Shop": a lowercase RFC 1123 label'),
    ],
)
def test_a_shard_that_no_api_server_takes_is_refused_at_once(option: str, value: str, cause: str) -> None:
    result = CliRunner().invoke(main, ["run", option, value])

    assert result.exit_code == 2
    assert cause in result.output
    assert "Traceback" not in result.output
