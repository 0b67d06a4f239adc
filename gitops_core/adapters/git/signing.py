"""Signatures of commits: OpenPGP by Sequoia, SSH by `cryptography`. A key is in memory alone.

    gpg    git.asc (a secret key, armored or not), passphrase            -----BEGIN PGP SIGNATURE-----
    ssh    identity (OpenSSH or PEM), password                           -----BEGIN SSH SIGNATURE-----

An SSH signature is of `SSHSIG`, the namespace `git` and the SHA-512 of the commit, each as an SSH string.

Source: Flux, spec.git.commit.signingKey; openssh-portable, PROTOCOL.sshsig; RFC 4253, 5656, 8332, 8709; RFC 9580.
"""

from __future__ import annotations

import base64
import hashlib
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from gitops_core.adapters.git.keyfiles import TooSlow, refuse_slow, refuse_slow_openpgp
from gitops_core.errors import SigningFailed
from gitops_core.meta import Sensitive

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from pysequoia import PySigner

    SshKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey

NAMESPACE = b"git"
LEAST_RSA_BITS = 2048


class SigningKey(Protocol):
    def make_signature(self, payload: bytes) -> bytes:
        """Make the armored signature. Blocks for some milliseconds. Raises SigningFailed."""
        ...


def load_signer(kind: Literal["gpg", "ssh"], values: Mapping[str, Sensitive], about: str) -> SigningKey:
    """Load the key in a Secret's values. Blocks: a passphrase is made slow to try.

    Args:
        about: names the Secret, for the message.

    Raises:
        SigningFailed: the key is missing, cannot be read or opened, or is too weak.
    """
    return _load_gpg(values, about) if kind == "gpg" else _load_ssh(values, about)


# OpenPGP


@dataclass(frozen=True)
class GpgKey:
    """Implements SigningKey."""

    signer: PySigner
    about: str

    def make_signature(self, payload: bytes) -> bytes:
        from pysequoia import SignatureMode, sign

        try:
            return sign(self.signer, payload, mode=SignatureMode.DETACHED)
        except Exception as error:  # Sequoia raises nothing narrower
            raise SigningFailed(f"{self.about} cannot sign: {_read_sentence(error)}") from None


def _load_gpg(values: Mapping[str, Sensitive], about: str) -> GpgKey:
    from pysequoia import Cert, Tsk  # some megabytes, for those who sign

    key = _get_value(values, "git.asc", about).reveal()
    passphrase = values.get("passphrase")
    try:
        entities = len(Cert.split_bytes(key))
    except Exception:  # Sequoia raises nothing narrower; its text may quote the key
        raise SigningFailed(f"{about}: git.asc cannot be read as an OpenPGP secret key") from None
    if entities != 1:
        raise SigningFailed(f"{about}: git.asc holds {entities} keys: leave the one to sign with")
    try:
        tsk = Tsk.from_bytes(key)
        publics = _list_keys(bytes(tsk.extract_certificate()))
        for secret, public in zip(_list_keys(bytes(tsk)), publics, strict=True):
            refuse_slow_openpgp(secret, public)
        signer = tsk.signer(passphrase.reveal_text() if passphrase else None)
    except TooSlow as error:
        raise SigningFailed(f"{about}: the key in git.asc {error}") from None
    except Exception as error:
        hint = "" if passphrase else " (it has no 'passphrase')"
        raise SigningFailed(f"{about}: the key in git.asc cannot sign: {_read_sentence(error)}{hint}") from None
    return GpgKey(signer, about)


def _list_keys(packets: bytes) -> list[bytes]:
    """Return the packets of keys and subkeys, without their headers."""
    from pysequoia.packet import PacketPile, Tag

    tags = (Tag.SecretKey, Tag.SecretSubkey, Tag.PublicKey, Tag.PublicSubkey)
    return [packet.body for packet in PacketPile.from_bytes(packets) if packet.tag in tags]


# SSH


@dataclass(frozen=True)
class SshSigningKey:
    """Implements SigningKey."""

    key: SshKey

    def make_signature(self, payload: bytes) -> bytes:
        signed = b"SSHSIG" + _write_strings(NAMESPACE, b"", b"sha512", hashlib.sha512(payload).digest())
        blob = b"SSHSIG" + (1).to_bytes(4, "big")
        blob += _write_strings(_write_public_key(self.key), NAMESPACE, b"", b"sha512", _sign(self.key, signed))
        lines = textwrap.wrap(base64.b64encode(blob).decode(), 70)
        return "\n".join(("-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", "")).encode()


def _load_ssh(values: Mapping[str, Sensitive], about: str) -> SshSigningKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    identity = _get_value(values, "identity", about).reveal()
    password = values.get("password")
    secret = password.reveal() if password else None
    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in identity else load_pem_private_key
    try:
        refuse_slow(identity)
        key = load(identity.strip() + b"\n", secret)
    except TooSlow as error:
        raise SigningFailed(f"{about}: the key in identity {error}") from None
    except TypeError:
        said = "it has a passphrase, and the Secret has no 'password'" if secret is None else "it has no passphrase"
        raise SigningFailed(f"{about}: the key in identity cannot be opened: {said}") from None
    except (ValueError, UnsupportedAlgorithm):  # their texts may quote the key
        said = "is not a private key, or 'password' is not its passphrase"
        raise SigningFailed(f"{about}: what is in identity {said}") from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < LEAST_RSA_BITS:
        raise SigningFailed(f"{about}: an RSA key of {key.key_size} bits is too weak: {LEAST_RSA_BITS} are needed")
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in _CURVES:
        raise SigningFailed(f"{about}: OpenSSH does not know keys of curve {key.curve.name}")
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise SigningFailed(f"{about}: identity must be an ed25519, ecdsa or rsa key")
    return SshSigningKey(key)


_CURVES = {"secp256r1": "nistp256", "secp384r1": "nistp384", "secp521r1": "nistp521"}


def _write_public_key(key: SshKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(line.split(b" ")[1])


def _sign(key: SshKey, signed: bytes) -> bytes:
    """Return the signature's name and bytes."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return _write_strings(b"ssh-ed25519", key.sign(signed))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        hash_ = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.curve.key_size]
        numbers = map(_write_mpint, decode_dss_signature(key.sign(signed, ec.ECDSA(hash_))))
        return _write_strings(f"ecdsa-sha2-{_CURVES[key.curve.name]}".encode(), _write_strings(*numbers))
    return _write_strings(b"rsa-sha2-512", key.sign(signed, padding.PKCS1v15(), hashes.SHA512()))


def _write_strings(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _write_mpint(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big")  # a leading zero bit: it is positive


def _get_value(values: Mapping[str, Sensitive], name: str, about: str) -> Sensitive:
    if not values.get(name):
        raise SigningFailed(f"{about} has no '{name}' to sign with")
    return values[name]


def _read_sentence(error: Exception) -> str:
    """Return the first line of a message of Sequoia's, which names algorithms and dates, never key material."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
