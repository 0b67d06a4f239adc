"""What the Secrets for certificates and proxies say."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.oci.reaching import ProxyUnsupported, read_proxy, read_trust

PEM = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KEY = b"-----BEGIN PRIVATE KEY-----\n"


def test_new_names_win_over_old_ones() -> None:
    trust = read_trust({"ca.crt": PEM, "caFile": b"old", "certFile": PEM, "tls.key": KEY, "keyFile": b"old"}, "d/s")

    assert trust.ca == PEM
    assert trust.certificate == PEM
    assert trust.key is not None
    assert trust.key.reveal() == KEY


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "secret 'd/s' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'"),
        ({"ca.crt": b""}, "secret 'd/s' must contain either 'ca.crt' or both 'tls.crt' and 'tls.key'"),
        ({"tls.crt": PEM}, "secret 'd/s' contains 'tls.crt' but missing 'tls.key'"),
        ({"tls.key": KEY, "ca.crt": PEM}, "secret 'd/s' contains 'tls.key' but missing 'tls.crt'"),
        ({"ca.crt": b"hunter2"}, "secret 'd/s': failed to parse CA certificate"),
    ],
)
def test_a_missing_value_is_named(data: dict[str, bytes], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        read_trust(data, "d/s")


@given(
    st.text(max_size=20),
    st.text(max_size=20),
    st.sampled_from(["http://proxy:3128", "https://10.0.0.1", "http://[::1]:8"]),
)
def test_user_and_password_arrive_as_they_are(username: str, password: str, address: str) -> None:
    data = {"address": address.encode(), "username": _bytes(username), "password": _bytes(password)}

    url = urlsplit(read_proxy(data, "d/s").reveal_text())

    assert url.netloc.rpartition("@")[2] == urlsplit(address).netloc
    if _bytes(username):
        assert unquote(url.username or "") == _bytes(username).decode()
        assert unquote(url.password or "") == _bytes(password).decode()
    else:
        assert url.username is None


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "proxy address is empty"),
        ("http://", "failed to parse proxy address"),
        ("http://hunter2:x", "failed to parse proxy address"),
        ("http://[::1", "failed to parse proxy address"),
        ("http://" + "x" * 2048, "proxy URL exceeds maximum length of 2048 characters"),
    ],
)
def test_an_address_that_is_not_a_proxy_is_refused_and_not_quoted(address: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^secret 'd/s': {message}$") as caught:
        read_proxy({"address": address.encode()}, "d/s")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("address", ["socks4://proxy:1080", "hunter2://u:p@x", "proxy:3128"])
def test_only_http_and_socks_5_proxies_are_spoken_to(address: str) -> None:
    with pytest.raises(ProxyUnsupported, match=r"one of the supported schemes \(http, https, socks5\)") as caught:
        read_proxy({"address": address.encode()}, "d/s")

    assert "hunter2" not in str(caught.value)
    assert ("got 'socks4'" in str(caught.value)) == address.startswith("socks4")


def test_no_address() -> None:
    with pytest.raises(ValueError, match=r"^secret 'd/s': key 'address' not found$"):
        read_proxy({"username": b"x"}, "d/s")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
