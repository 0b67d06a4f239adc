"""Whose key made a signature: public keys of a Secret, OpenPGP by Sequoia, SSH by `cryptography`.

    NAME.sshpub    lines of authorized_keys: ssh-ed25519, ecdsa-sha2-*, ssh-rsa, and the same of a security key
    any other      OpenPGP certificates, armored or not

An SSH signature is of `SSHSIG`, the namespace `git`, a hash's name and that hash of the payload, each an SSH string; a
security key signs SHA-256 of its application, its flags, its counter and SHA-256 of that.

Source: Flux, spec.verify.secretRef; openssh-portable, PROTOCOL.sshsig and PROTOCOL.u2f; RFC 4253, 5656, 8332, 8709.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gitops_core.domain.sources.signatures import SignatureInvalid, Signed

if TYPE_CHECKING:
    from pysequoia import Cert

SSH_SUFFIX = ".sshpub"
NAMESPACE = b"git"
LEAST_RSA_BITS = 2048
MOST_KEY = 4096
"""Bytes of one OpenPGP public key: what of it is longer takes seconds to compute with."""
PRESENT = 1
"""The flag of a security key that somebody touched it."""

_PREAMBLE = b"SSHSIG" + (1).to_bytes(4, "big")
_SSH_TYPES = frozenset(
    {
        *("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
        *("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"),
    }
)


@dataclass(frozen=True)
class Keyring:
    """Public keys that signatures are accepted of.

    Attributes:
        openpgp: the values of a Secret that hold certificates, as they are.
        ssh: keys in the wire's form.
    """

    openpgp: tuple[bytes, ...]
    ssh: frozenset[bytes]


def read_keyring(values: Mapping[str, bytes]) -> Keyring:
    """Read the keys in a Secret's decoded values; lines that are no key are passed over."""
    ssh = [line for name, value in values.items() if name.endswith(SSH_SUFFIX) for line in value.splitlines()]
    keys = frozenset(key for line in ssh if (key := _read_ssh_line(line.decode("utf-8", "replace"))))
    return Keyring(tuple(value for name, value in sorted(values.items()) if not name.endswith(SSH_SUFFIX)), keys)


def find_signer(signed: Signed, keyring: Keyring) -> str:
    """Find the key that made a signature: its OpenPGP key id, or the SHA256 fingerprint of an SSH key.

    Raises:
        SignatureInvalid: none of `keyring` did.
    """
    if signed.signature.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        if not keyring.ssh:
            raise SignatureInvalid(
                f"SSH signature detected but no SSH public keys found in secret (keys with {SSH_SUFFIX} suffix)"
            )
        return _find_ssh_signer(signed, keyring.ssh)
    if signed.signature.startswith((b"-----BEGIN PGP SIGNATURE-----", b"-----BEGIN PGP MESSAGE-----")):
        return _find_openpgp_signer(signed, keyring.openpgp)
    raise SignatureInvalid("its signature is neither of OpenPGP nor of SSH")


# OpenPGP


def _find_openpgp_signer(signed: Signed, values: tuple[bytes, ...]) -> str:
    from pysequoia import Sig, verify  # some megabytes, for those who verify

    certificates = [certificate for value in values for certificate in _list_certificates(value)]
    if not certificates:
        raise SignatureInvalid(
            f"PGP signature detected but no PGP public keys found in secret (keys without {SSH_SUFFIX} suffix)"
        )
    try:
        signature = Sig.from_bytes(signed.signature)
        found = verify(bytes=signed.payload, store=lambda _: certificates, signature=signature).valid_sigs
    except BaseException as error:
        raise SignatureInvalid(_read_sentence(error)) from None
    if not found:
        raise SignatureInvalid("none of the keys made it")
    return str(found[0].signing_key)[-16:].upper()


def _list_certificates(value: bytes) -> list[Cert]:
    """List the certificates in a value; what is none is passed over."""
    from pysequoia import Cert
    from pysequoia.packet import PacketPile, Tag

    try:
        certificates = Cert.split_bytes(value)
        packets = [packet for certificate in certificates for packet in PacketPile.from_bytes(bytes(certificate))]
    except BaseException as error:
        _read_sentence(error)
        return []
    keys = (packet.body for packet in packets if packet.tag in (Tag.PublicKey, Tag.PublicSubkey))
    if any(len(key) > MOST_KEY for key in keys):
        raise SignatureInvalid(f"a PGP public key in the secret is longer than {MOST_KEY} bytes")
    return certificates


def _read_sentence(error: BaseException) -> str:
    """Return the first line of what Sequoia says; raise what it did not raise.

    It raises Exceptions, nothing narrower, and where it panics what is no Exception at all.
    """
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
    return (str(error).splitlines() or ["it cannot be verified"])[0][:200]


# SSH


class _SshSignature(NamedTuple):
    """A parsed SSHSIG: the signer's key, the hash's name, and the signature's form and bytes."""

    key: bytes
    hash: bytes
    form: bytes
    signature: bytes
    rest: bytes


def _read_ssh_line(line: str) -> bytes | None:
    words = line.split()
    place = next((number for number, word in enumerate(words) if word in _SSH_TYPES), None)
    if line.startswith("#") or place is None or place + 1 == len(words):
        return None
    if any("cert-authority" in word for word in words[:place]):  # it signs certificates, not commits
        return None
    try:
        key = base64.b64decode(words[place + 1], validate=True)
        return key if _split_string(key)[0] == words[place].encode() else None
    except ValueError:
        return None


def _find_ssh_signer(signed: Signed, keys: frozenset[bytes]) -> str:
    parsed = _parse_ssh(signed.signature)
    fingerprint = "SHA256:" + base64.b64encode(hashlib.sha256(parsed.key).digest()).decode().rstrip("=")
    if parsed.key not in keys:
        raise SignatureInvalid(f"the key that made it, {fingerprint}, is not in the secret")
    hashed = hashlib.new(parsed.hash.decode(), signed.payload).digest()
    covered = b"SSHSIG" + b"".join(map(_write_string, (NAMESPACE, b"", parsed.hash, hashed)))
    if not _is_made_by(parsed, covered):
        raise SignatureInvalid(f"the key {fingerprint} did not sign this")
    return fingerprint


def _parse_ssh(armored: bytes) -> _SshSignature:
    lines = armored.strip().splitlines()
    if lines[-1] != b"-----END SSH SIGNATURE-----":
        raise SignatureInvalid("its SSH signature cannot be read")
    try:
        blob = binascii.a2b_base64(b"".join(lines[1:-1]), strict_mode=True)
        key, rest = _split_string(blob[len(_PREAMBLE) :])
        namespace, rest = _split_string(rest)
        reserved, rest = _split_string(rest)
        hash_, rest = _split_string(rest)
        inner, rest = _split_string(rest)
        form, inner = _split_string(inner)
        signature, inner = _split_string(inner)
    except ValueError:
        raise SignatureInvalid("its SSH signature cannot be read") from None
    if not blob.startswith(_PREAMBLE):
        raise SignatureInvalid("its SSH signature is of a form that is not known")
    if namespace != NAMESPACE:
        raise SignatureInvalid("its SSH signature was made for something else than Git")
    if rest or reserved or hash_ not in (b"sha256", b"sha512"):
        raise SignatureInvalid("its SSH signature is of a form that is not known")
    return _SshSignature(key, hash_, form, signature, inner)


def _is_made_by(parsed: _SshSignature, covered: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    type_, fields = _split_string(parsed.key)
    try:
        if type_.startswith(b"sk-"):
            return _verify_security_key(parsed, type_, fields, covered)
        return not parsed.rest and _verify(parsed, type_, covered)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False


def _verify_security_key(parsed: _SshSignature, type_: bytes, fields: bytes, covered: bytes) -> bool:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    curve = b""
    if type_ != b"sk-ssh-ed25519@openssh.com":
        curve, fields = _split_string(fields)
    public, fields = _split_string(fields)
    application, fields = _split_string(fields)
    if fields or parsed.form != type_ or len(parsed.rest) != 5 or not parsed.rest[0] & PRESENT:
        return False
    said = hashlib.sha256(application).digest() + parsed.rest + hashlib.sha256(covered).digest()
    if curve:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
        key.verify(_write_der(parsed.signature), said, ec.ECDSA(hashes.SHA256()))
    else:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(parsed.signature, said)
    return True


def _verify(parsed: _SshSignature, type_: bytes, covered: bytes) -> bool:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    key = load_ssh_public_key(type_ + b" " + base64.b64encode(parsed.key))
    match key:
        case ed25519.Ed25519PublicKey() if parsed.form == type_:
            key.verify(parsed.signature, covered)
        case ec.EllipticCurvePublicKey() if parsed.form == type_:
            hash_ = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.curve.key_size]
            key.verify(_write_der(parsed.signature), covered, ec.ECDSA(hash_))
        case rsa.RSAPublicKey() if key.key_size >= LEAST_RSA_BITS:
            forms = {b"rsa-sha2-256": hashes.SHA256(), b"rsa-sha2-512": hashes.SHA512()}
            if parsed.form not in forms:
                return False
            key.verify(parsed.signature, covered, padding.PKCS1v15(), forms[parsed.form])
        case _:
            return False
    return True


def _write_der(numbers: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    first, rest = _split_string(numbers)
    second, rest = _split_string(rest)
    if rest:
        raise ValueError("an ECDSA signature has more than two numbers")
    return encode_dss_signature(int.from_bytes(first, "big"), int.from_bytes(second, "big"))


def _split_string(data: bytes) -> tuple[bytes, bytes]:
    """Split an SSH string from what follows it. Raises ValueError."""
    end = 4 + int.from_bytes(data[:4], "big")
    if len(data) < 4 or end > len(data):
        raise ValueError("an SSH string is cut off")
    return data[4:end], data[end:]


def _write_string(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part
