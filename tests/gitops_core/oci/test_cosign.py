from __future__ import annotations

import base64
import json
from functools import cache

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.oci.cosign import KeysInvalid, SignedClaim, explain_refusal, is_verified, parse_keys, read_bundle

DIGEST = "sha256:" + 64 * "a"
TYPE = "application/vnd.in-toto+json"


@cache
def signer(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | dsa.DSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signed(payload: bytes, name: str = "ours") -> SignedClaim:
    return SignedClaim(payload, signer(name).sign(payload, ec.ECDSA(hashes.SHA256())))


def simple(digest: str = DIGEST, type_: str = "cosign container image signature", name: str = "ghcr.io/a/b") -> bytes:
    image, identity = {"docker-manifest-digest": digest}, {"docker-reference": name}
    return json.dumps({"critical": {"identity": identity, "image": image, "type": type_}, "optional": None}).encode()


def envelope(body: bytes, type_: str = TYPE) -> bytes:
    return b"DSSEv1 %d %b %d %b" % (len(type_), type_.encode(), len(body), body)


def statement(predicate: str = "https://sigstore.dev/cosign/sign/v1", digest: str = DIGEST) -> bytes:
    subject = [{"digest": {"sha256": digest.removeprefix("sha256:")}}]
    type_ = "https://in-toto.io/Statement/v1"
    return json.dumps({"_type": type_, "subject": subject, "predicateType": predicate, "predicate": {}}).encode()


OURS = parse_keys({"cosign.pub": pem(signer("ours"))})
THEIRS = parse_keys({"cosign.pub": pem(signer("theirs"))})


@pytest.mark.parametrize("payload", [simple(), envelope(statement())], ids=["simple", "dsse"])
def test_a_claim_counts_for_the_key_that_signed_it(payload: bytes) -> None:
    assert is_verified(signed(payload), DIGEST, OURS)
    assert is_verified(signed(payload), DIGEST, (*THEIRS, *OURS))
    assert not is_verified(signed(payload), DIGEST, THEIRS)
    assert not is_verified(signed(payload), DIGEST, ())
    assert not is_verified(signed(payload, "theirs"), DIGEST, OURS)


@pytest.mark.parametrize(
    "payload",
    [
        simple(digest="sha256:" + 64 * "b"),
        simple(digest=""),
        simple(type_="atomic container signature"),
        b"{}",
        b"[]",
        b"",
        b"\xff",
        simple() + b"x",
        envelope(statement(digest="sha256:" + 64 * "b")),
        envelope(statement("https://slsa.dev/provenance/v1")),
        envelope(statement("https://cyclonedx.org/bom")),
        envelope(statement(), "application/json"),
        envelope(statement()) + b" ",
        b'{"critical":' + b"[" * 4000 + b"]" * 4000 + b"}",
        b'{"x":' + b"[" * 4000 + b"]" * 4000 + b"}",
        b"DSSEv1 ",
        b"DSSEv1 x y z",
        b"DSSEv1 999 a 1 b",
        b"DSSEv1 -3 a 1 b",
    ],
)
def test_a_signature_of_something_else_is_none_of_the_image(payload: bytes) -> None:
    assert not is_verified(signed(payload), DIGEST, OURS)


@given(st.integers(0, 400), st.integers(1, 255))
def test_a_changed_byte_breaks_the_signature(place: int, change: int) -> None:
    claim = signed(simple())
    payload = bytearray(claim.payload)
    payload[place % len(payload)] ^= change

    assert not is_verified(SignedClaim(bytes(payload), claim.signature), DIGEST, OURS)


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_nonsense_is_refused_without_an_error(payload: bytes, signature: bytes) -> None:
    assert not is_verified(SignedClaim(payload, signature), DIGEST, OURS)
    assert not is_verified(SignedClaim(b"DSSEv1 " + payload, signature), DIGEST, OURS)
    assert read_bundle(payload) == ()


def test_a_bundle_of_brackets_holds_no_claims() -> None:
    assert read_bundle(b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}") == ()


@given(st.binary(max_size=200).filter(lambda body: body != statement()))
def test_an_envelope_is_read_as_it_was_signed(body: bytes) -> None:
    bundle = {
        "dsseEnvelope": {
            "payloadType": TYPE,
            "payload": base64.b64encode(body).decode(),
            "signatures": [{"sig": "YWJj"}],
        }
    }

    assert read_bundle(json.dumps(bundle).encode()) == (SignedClaim(envelope(body), b"abc"),)


def test_a_bundle_that_signs_a_file_is_no_claim() -> None:
    assert read_bundle(b'{"messageSignature": {"signature": "YWJj"}}') == ()
    assert read_bundle(b'{"dsseEnvelope": {"payload": "!", "payloadType": "a", "signatures": []}}') == ()


def test_a_refusal_says_why_an_image_is_not_signed() -> None:
    assert explain_refusal([signed(simple())], DIGEST, OURS) == ""
    assert explain_refusal([], DIGEST, OURS) == "it has no signature"
    assert explain_refusal([signed(simple())], DIGEST, THEIRS) == "none of its signatures (1) is valid for cosign.pub"


def test_keys_are_the_entries_that_end_with_pub() -> None:
    values = {
        "b.pub": pem(signer("ours")),
        "a.pub": pem(signer("theirs")),
        "cosign.key": b"private",
        "cosign.password": b"x",
    }

    assert [key.name for key in parse_keys(values)] == ["a.pub", "b.pub"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"no entry that ends with \.pub"),
        ({"cosign.key": b"x"}, r"no entry that ends with \.pub"),
        ({"cosign.pub": b"x"}, r"'cosign\.pub' is not a public key in PEM"),
        ({"cosign.pub": b""}, r"'cosign\.pub' is not a public key in PEM"),
        ({"cosign.pub": pem(rsa.generate_private_key(65537, 1024))}, "RSA of 2048 bits or more"),
        ({"cosign.pub": pem(ec.generate_private_key(ec.SECP224R1()))}, "is not a key that cosign signs with"),
        ({"cosign.pub": pem(dsa.generate_private_key(1024))}, "is not a key that cosign signs with"),
    ],
)
def test_an_entry_that_is_not_a_key_is_named(values: dict[str, bytes], message: str) -> None:
    with pytest.raises(KeysInvalid, match=message):
        parse_keys(values)
