"""Which hosts have one owner, by the public suffix list's own rules and by what providers document of their names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.oci.sites import get_host, is_same_forge, is_same_site

NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
SUFFIXES = st.sampled_from(
    (
        *("co.uk", "com.au", "kawasaki.jp", "公司.cn", "github.io", "herokuapp.com", "pages.dev", "s3.amazonaws.com"),
        *("azurecr.io", "azurecr.cn", "jfrog.io", "dkr.ecr.eu-central-1.amazonaws.com", "blob.core.windows.net"),
        *("oss-cn-hangzhou.aliyuncs.com", "10.0.0.1.nip.io", "svc.cluster.local", "team.svc"),
    )
)


@given(NAMES, NAMES, SUFFIXES)
def test_two_names_below_a_suffix_that_anybody_gets_names_of_are_two_sites(one: str, other: str, suffix: str) -> None:
    first, second = (f"{name}.{suffix}" for name in (one, other))
    if suffix == "team.svc":
        first, second = f"registry.{one}.svc", f"registry.{other}.svc"

    assert is_same_site(first, second) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("auth.docker.io", "index.docker.io"),
        ("gitlab.com", "registry.gitlab.com"),
        ("api.digitalocean.com", "registry.digitalocean.com"),
        ("auth.example.co.uk", "registry.example.co.uk"),
        ("auth.me.github.io", "me.github.io"),
        ("gitlab.corp.internal", "registry.corp.internal"),
        ("auth.shop.svc.cluster.local", "registry.shop.svc.cluster.local"),
        ("auth.shop.svc", "registry.shop.svc"),
        ("auth.bücher.example", "registry.bücher.example"),
        ("localhost", "localhost"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_hosts_below_what_somebody_registered_are_one_site(one: str, other: str) -> None:
    assert is_same_site(one, other)
    assert is_same_site(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10.0.0.1", "11.0.0.1"),
        ("1.2.3.4", "9.9.3.4"),
        ("127.0.0.0x1", "10.0.0.0x1"),
        ("::1", "::2"),
        ("co.uk", "evil.co.uk"),
        ("com", "evil.com"),
        ("registry", "auth"),
        ("registry.shop.svc.cluster.local", "auth.evil.svc.cluster.local"),
        ("registry.local", "auth.local"),
        ("a..example.com", "b..example.com"),
        ("bücher.example", "xn--bcher-kva.evil"),
        ("straße.de", "strasse.de"),
        ("", ""),
    ],
)
def test_everything_else_stands_for_itself(one: str, other: str) -> None:
    assert not is_same_site(one, other)
    assert not is_same_site(other, one)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Registry.Example.COM./token", "registry.example.com"),
        ("https://xn--bcher-kva.example:444", "bücher.example"),
        ("https://BÜCHER.example", "bücher.example"),
        ("https://good.example@evil.example/", "evil.example"),
        ("https://evil.example\\@good.example/", ""),
        ("https://[::1]:5000/", "::1"),
        ("https://[::1", ""),
        ("https://a:99999/", ""),
        ("", ""),
        ("/token", ""),
    ],
)
def test_the_host_is_the_one_that_would_be_asked(url: str, host: str) -> None:
    assert get_host(url) == host


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_read_or_no_host(one: str, other: str) -> None:
    assert is_same_site(get_host(one), get_host(other)) == is_same_site(get_host(other), get_host(one))


@pytest.mark.parametrize(
    ("url", "api", "same"),
    [
        ("https://git.example/org/app", "https://git.example/api/v1", True),
        ("https://git.example:8443/org/app", "https://GIT.example.:8443/api/v1", True),
        ("http://git.example/org/app", "https://git.example/api/v1", True),
        ("http://git.example:3000/org/app", "http://git.example:3000/api/v1", True),
        ("https://shop.ghe.com/org/app", "https://api.shop.ghe.com", True),
        ("https://ghe.com/org/app", "https://api.ghe.com", False),
        ("https://github.com/org/app", "https://api.github.com", True),
        ("https://git.example/org/app", "https://git.example:8443/api/v1", False),
        ("https://git.example:8443/org/app", "https://git.example/api/v1", False),
        ("http://git.example:3000/org/app", "http://git.example:3001/api/v1", False),
        ("https://git.example/org/app", "http://git.example/api/v1", False),
        ("https://git.example/org/app", "http://git.example:443/api/v1", False),
        ("https://github.com/org/app", "https://evil.github.com", False),
        ("https://github.com/org/app", "https://api.github.com:8443", False),
        ("https://github.io/org/app", "https://api.github.io", False),
        ("https://azurecr.io/org/app", "https://api.azurecr.io", False),
        ("https://10.0.0.1/org/app", "https://api.10.0.0.1", False),
        ("https://git.example/org/app", "https://git.example@evil.example/api/v1", False),
        ("https://git.example/org/app", "https://bob@git.example/api/v1", False),
        ("https://git.example/org/app", "https://evil.example\\@git.example/api/v1", False),
        ("https://git.example/org/app", "ftp://git.example/api/v1", False),
        ("https://git.example/org/app", "https://git.example:x/api/v1", False),
        ("https://git.example/org/app", "git.example", False),
        ("", "", False),
    ],
)
def test_a_forges_api_is_where_its_repositories_are(url: str, api: str, same: bool) -> None:
    assert is_same_forge(url, api) == same
