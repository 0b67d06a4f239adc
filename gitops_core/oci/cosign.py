"""Whether somebody who has one of our keys signed an image with cosign.

What is signed comes in two forms, and either must say the image's own digest:

    simple signing   {"critical": {"type": "cosign container image signature",
                                   "identity": {"docker-reference": "ghcr.io/org/app"},
                                   "image": {"docker-manifest-digest": "sha256:..."}}, "optional": ...}
    DSSE (cosign 3)  DSSEv1 28 application/vnd.in-toto+json LENGTH {"predicateType":
                     "https://sigstore.dev/cosign/sign/v1", "subject": [{"digest": {"sha256": "..."}}], ...}

An attestation is signed the same way and says something else: only these two count. Transparency logs and keyless
certificates are not looked at: the key is the proof.

Source: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md and BUNDLE_SPEC.md,
github.com/sigstore/sigstore/pkg/signature, https://github.com/secure-systems-lab/dsse/blob/master/protocol.md.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gitops_core.decoding import decode_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

SIMPLE_SIGNING = "cosign container image signature"
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
_IN_TOTO = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/"
_DSSE = b"DSSEv1 "
MOST_ENVELOPE_SIGNATURES = 8
SMALLEST_RSA = 2048


class KeysInvalid(ValueError):
    """What should hold public keys does not; the message quotes no key."""


class SignedClaim(NamedTuple):
    """One signature, and the bytes it is over: simple signing JSON or a DSSE encoding. Nobody checked it."""

    payload: bytes
    signature: bytes


@dataclass(frozen=True)
class PublicKey:
    """Who may sign. `name` is the Secret's entry that holds the key."""

    name: str
    key: EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey


class _Identity(msgspec.Struct, frozen=True):
    docker_reference: str = msgspec.field(name="docker-reference", default="")


class _Image(msgspec.Struct):
    docker_manifest_digest: str = msgspec.field(name="docker-manifest-digest", default="")


class _Critical(msgspec.Struct):
    type: str
    image: _Image
    identity: _Identity = _Identity()


class _SimpleSigning(msgspec.Struct):
    critical: _Critical


class _Subject(msgspec.Struct):
    name: str = ""
    digest: dict[str, str] = {}


class _Statement(msgspec.Struct, rename={"predicate_type": "predicateType", "type": "_type"}):
    type: str
    predicate_type: str
    subject: list[_Subject]


class _EnvelopeSignature(msgspec.Struct):
    sig: str


class _Envelope(msgspec.Struct, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[_EnvelopeSignature]


class _Bundle(msgspec.Struct, rename="camel"):
    dsse_envelope: _Envelope | None = None


def parse_keys(values: Mapping[str, bytes]) -> tuple[PublicKey, ...]:
    """Return the keys of a Secret's entries `*.pub` (PEM), by name.

    Raises:
        KeysInvalid: there are none, or one is none, of an unknown kind or weak.
    """
    keys = tuple(PublicKey(name, _parse_key(name, values[name])) for name in sorted(values) if name.endswith(".pub"))
    if not keys:
        raise KeysInvalid("no entry that ends with .pub holds a public key")
    return keys


def is_verified(claim: SignedClaim, digest: str, keys: Iterable[PublicKey]) -> bool:
    """Tell whether the claim is about this image, by whatever name (images are copied), and one of `keys` signed it."""
    return digest in _read_digests(claim.payload) and any(_has_signed(claim, key) for key in keys)


def explain_refusal(claims: Iterable[SignedClaim], digest: str, keys: Iterable[PublicKey]) -> str:
    """Return why an image does not count as signed, "" when one of the claims is verified."""
    claims, keys = tuple(claims), tuple(keys)
    if any(is_verified(claim, digest, keys) for claim in claims):
        return ""
    if not claims:
        return "it has no signature"
    names = ", ".join(key.name for key in keys)
    return f"none of its signatures ({len(claims)}) is valid for {names}" if keys else "there is no key to verify with"


def read_bundle(body: bytes) -> tuple[SignedClaim, ...]:
    """Return the claims of a Sigstore bundle; () for one that holds no DSSE envelope, or is none."""
    try:
        envelope = decode_json(body, _Bundle).dsse_envelope
        if envelope is None:
            return ()
        payload = _encode(envelope.payload_type, base64.b64decode(envelope.payload, validate=True))
        signatures = envelope.signatures[:MOST_ENVELOPE_SIGNATURES]
        return tuple(SignedClaim(payload, base64.b64decode(each.sig, validate=True)) for each in signatures)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ()


# what is claimed


def _read_digests(payload: bytes) -> tuple[str, ...]:
    """Return the digests of the images that a claim is about; () for one that claims something else."""
    try:
        return _read_envelope(payload) if payload.startswith(_DSSE) else _read_simple_signing(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ()


def _read_simple_signing(payload: bytes) -> tuple[str, ...]:
    critical = decode_json(payload, _SimpleSigning).critical
    return (critical.image.docker_manifest_digest,) if critical.type == SIMPLE_SIGNING else ()


def _read_envelope(payload: bytes) -> tuple[str, ...]:
    """Return the digests that an in-toto statement is about; () for another one. Raises ValueError."""
    _, length, rest = payload.split(b" ", 2)
    type_, rest = rest[: int(length)], rest[int(length) :].removeprefix(b" ")
    _, _, body = rest.partition(b" ")
    if payload != _encode(type_.decode(), body) or type_.decode() != _IN_TOTO:
        return ()
    statement = decode_json(body, _Statement)
    if statement.predicate_type != SIGN_PREDICATE or not statement.type.startswith(_STATEMENT):
        return ()
    return tuple(f"{algorithm}:{value}" for subject in statement.subject for algorithm, value in subject.digest.items())


def _encode(payload_type: str, body: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding, which is what is signed of an envelope."""
    type_ = payload_type.encode()
    return b"%b%d %b %d %b" % (_DSSE, len(type_), type_, len(body), body)


# who signed


def _parse_key(name: str, pem: bytes) -> EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey:
    # imported where signatures are wanted: nobody else pays for it
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key: Any = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise KeysInvalid(f"{name!r} is not a public key in PEM") from None
    match key:
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1() | ec.SECP384R1() | ec.SECP521R1()):
            return key
        case rsa.RSAPublicKey(key_size=size) if size >= SMALLEST_RSA:
            return key
        case ed25519.Ed25519PublicKey():
            return key
    raise KeysInvalid(
        f"{name!r} is not a key that cosign signs with: ECDSA P-256, P-384 or P-521, RSA of 2048 bits or more, Ed25519"
    )


def _has_signed(claim: SignedClaim, by: PublicKey) -> bool:
    """Tell whether `by` made the signature: cosign hashes with SHA-256, its bundles as is usual for the curve."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    match by.key:
        case ec.EllipticCurvePublicKey(key_size=size):
            usual = {384: hashes.SHA384(), 521: hashes.SHA512()}.get(size)
            attempts: list[tuple[Any, ...]] = [(ec.ECDSA(each),) for each in (hashes.SHA256(), usual) if each]
        case rsa.RSAPublicKey():
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.AUTO)
            attempts = [(each, hashes.SHA256()) for each in (padding.PKCS1v15(), pss)]
        case _:
            attempts = [()]
    for how in attempts:
        try:
            by.key.verify(claim.signature, claim.payload, *how)
        except InvalidSignature:
            continue
        return True
    return False
