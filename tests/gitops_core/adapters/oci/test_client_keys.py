"""A client's key is used in the event loop: one that takes seconds for each handshake is refused before."""

from __future__ import annotations

import math
import secrets
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gitops_core.adapters.oci.sessions import make_tls_context
from gitops_core.errors import CredentialsInvalid
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import RegistryAccess


def _odd(bits: int) -> int:
    return secrets.randbits(bits) | 1 | 3 << (bits - 2)


def _key(bits: int) -> rsa.RSAPrivateKey:
    """A key of numbers that are no primes: OpenSSL takes them, and computes as long as with a good one or longer."""
    p, q = _odd(bits // 2), _odd(bits // 2)
    while math.gcd(p, q) > 1:
        q = _odd(bits // 2)
    d, public = _odd(bits - 1), rsa.RSAPublicNumbers(65537, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def _access(key: rsa.RSAPrivateKey, form: PrivateFormat, before: bytes = b"") -> RegistryAccess:
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    written = before + key.private_bytes(Encoding.PEM, form, NoEncryption())
    return RegistryAccess(client_certificate=certificate, client_key=Sensitive(written))


FORMS = [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_a_usual_client_key_is_taken(bits: int, form: PrivateFormat) -> None:
    assert isinstance(make_tls_context(_access(_key(bits), form)), ssl.SSLContext)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bits", [8192, 32768])
def test_a_client_key_that_would_stop_the_loop_at_each_handshake_is_refused(bits: int, form: PrivateFormat) -> None:
    with pytest.raises(CredentialsInvalid, match=r"TLS key: more than 4,096 bits of RSA"):
        make_tls_context(_access(_key(bits), form, before=b"Bag Attributes: none\n"))


def test_a_large_client_key_in_the_certificates_file_is_refused_too() -> None:
    access = _access(_key(32768), PrivateFormat.PKCS8)
    assert access.client_key is not None
    whole = access.client_key.reveal() + (access.client_certificate or b"")

    with pytest.raises(CredentialsInvalid):
        make_tls_context(RegistryAccess(client_certificate=whole, client_key=Sensitive(b"\n")))
