from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_updater.domain.registry.platforms import find_missing, parse_platform
from image_updater.errors import GuardInvalid

PLATFORMS = st.sampled_from(
    [
        "linux/amd64",
        "linux/x86_64",
        "linux/amd64/v2",
        "linux/amd64/v3",
        "linux/386",
        "linux/arm64",
        "linux/aarch64",
        "linux/arm64/v8",
        "linux/arm64/8",
        "linux/arm64/v8.2",
        "linux/arm64/v9",
        "linux/arm64/v9.1",
        "linux/arm",
        "linux/arm/v5",
        "linux/arm/v6",
        "linux/arm/7",
        "linux/armhf",
        "linux/riscv64",
        "linux/s390x",
        "linux/ppc64le/power9",
        "windows/amd64",
    ]
)


def offers(available: list[str], node: str) -> bool:
    return find_missing(available, [node]) == ()


@pytest.mark.parametrize(
    ("image", "node", "runs"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/arm64", False),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/x86_64", "linux/amd64", True),
        ("linux/aarch64", "Linux/ARM64", True),
        ("linux/arm/v6", "linux/arm/v7", True),
        ("linux/arm/v7", "linux/arm/v6", False),
        ("linux/arm", "linux/arm/v7", True),
        ("linux/armhf", "linux/arm/v6", False),
        ("linux/amd64", "linux/amd64/v3", True),
        ("linux/amd64/v3", "linux/amd64", False),
        ("linux/arm64/v8.5", "linux/arm64/v9", True),
        ("linux/arm64/v8.6", "linux/arm64/v9", False),
        ("linux/arm64/v9", "linux/arm64/v8.5", False),
        ("linux/386", "linux/amd64", False),
        ("linux/arm/v7", "linux/arm64", False),
        ("windows/amd64", "linux/amd64", False),
        ("unknown", "linux/amd64", False),
    ],
)
def test_an_image_offers_what_containerd_would_run(image: str, node: str, runs: bool) -> None:
    assert offers([image], node) is runs


@pytest.mark.parametrize("text", ["linux", "", "/", "linux/", "a/b/c/d", "linux/amd 64", "windows(10)/amd64"])
def test_a_platform_has_a_system_and_an_architecture(text: str) -> None:
    with pytest.raises(GuardInvalid, match="is not os/architecture"):
        offers([], text)


@given(PLATFORMS)
def test_an_image_offers_what_it_is_for(platform: str) -> None:
    assert offers([platform], platform)
    assert offers([str(parse_platform(platform))], platform)
    assert offers([platform], str(parse_platform(platform)))


@given(PLATFORMS, PLATFORMS, PLATFORMS)
def test_a_node_that_runs_anothers_images_runs_all_that_it_runs(image: str, node: str, better: str) -> None:
    if offers([image], node) and offers([node], better):
        assert offers([image], better)


@given(PLATFORMS, PLATFORMS)
def test_two_that_run_each_others_images_are_the_same(one: str, other: str) -> None:
    if offers([one], other) and offers([other], one):
        assert parse_platform(one) == parse_platform(other)


@given(st.lists(PLATFORMS), st.lists(PLATFORMS))
def test_a_platform_is_missing_when_it_is_not_offered(available: list[str], wanted: list[str]) -> None:
    assert find_missing(available, wanted) == tuple(each for each in wanted if not offers(available, each))


@given(st.lists(PLATFORMS), PLATFORMS, st.lists(PLATFORMS))
def test_more_platforms_never_miss_more(available: list[str], one: str, wanted: list[str]) -> None:
    assert set(find_missing([*available, one], wanted)) <= set(find_missing(available, wanted))
