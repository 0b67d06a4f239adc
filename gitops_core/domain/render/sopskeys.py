"""What opens files that SOPS encrypted, as a Secret holds it: its keys are named as Flux names them.

    *.agekey          identities of age, one a line
    *.asc             a private key of OpenPGP, in ASCII armor and without a passphrase
    sops.vault-token  a token for Vault's transit engine
    sops.aws-kms      YAML: aws_access_key_id, aws_secret_access_key, aws_session_token
    sops.gcp-kms      JSON: credentials of Google Cloud
    sops.azure-kv     YAML: tenantId, clientId, clientSecret

Everything else in the Secret is not looked at. One key that is none is an error, although another would do: else a
typing mistake shows when the other is taken away.

Source: Flux, kustomize-controller, internal/decryptor (ImportKeys).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gitops_core.domain.render.manifests import Malformed, read_documents
from gitops_core.meta import Sensitive

_OURS = secrets.token_bytes(32)
_IDENTITY = re.compile(r"AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]+")
_ARMOR = re.compile(
    rb"-----BEGIN PGP PRIVATE KEY BLOCK-----\s*?\n(?:[^\n:]+:[^\n]*\n)*\s*?\n?(.*?)\n?(?:=[A-Za-z0-9+/]{4}\s*)?"
    rb"-----END PGP PRIVATE KEY BLOCK-----",
    re.DOTALL,
)
_AWS = {
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
}
_AZURE = {"tenantid": "AZURE_TENANT_ID", "clientid": "AZURE_CLIENT_ID", "clientsecret": "AZURE_CLIENT_SECRET"}


class KeyInvalid(ValueError):
    """A key is none: says which entry, and quotes nothing of it."""


@dataclass(frozen=True)
class SopsKeys:
    """Attributes:
    age: identities, one a line.
    pgp: a keyring, in OpenPGP's binary form.
    environment: credentials of key services, by the names of the variables that their clients know.
    is_ambient: key services may be asked with the rights that this process has.
    """

    age: Sensitive = field(default_factory=lambda: Sensitive(b""))
    pgp: Sensitive = field(default_factory=lambda: Sensitive(b""))
    environment: Mapping[str, Sensitive] = field(default_factory=dict)
    is_ambient: bool = False

    @property
    def fingerprint(self) -> str:
        """By which what was opened with these keys is found again; it tells nothing about them, and ends with us."""
        texts = [self.age.reveal(), self.pgp.reveal(), b"ambient" * self.is_ambient]
        texts += [
            part for name in sorted(self.environment) for part in (name.encode(), self.environment[name].reveal())
        ]
        digest = hmac.new(_OURS, digestmod=hashlib.sha256)
        for text in texts:
            digest.update(len(text).to_bytes(8) + text)
        return digest.hexdigest()


def parse_keys(data: Mapping[str, bytes], *, is_ambient: bool = True) -> SopsKeys:
    """Parse the keys of a Secret. Raises KeyInvalid.

    Args:
        is_ambient: see SopsKeys.
    """
    age: list[str] = []
    pgp: list[bytes] = []
    environment: dict[str, Sensitive] = {}
    for name, value in sorted(data.items()):
        if name.endswith(".agekey"):
            age += _parse_identities(name, value)
        elif name.endswith(".asc"):
            pgp += _parse_keyring(name, value)
        elif name == "sops.vault-token":
            environment["VAULT_TOKEN"] = Sensitive(value.strip())
        elif name == "sops.gcp-kms":
            environment["GOOGLE_CREDENTIALS"] = Sensitive(value.strip())
        elif name == "sops.aws-kms":
            environment |= _pick(name, value, _AWS)
        elif name == "sops.azure-kv":
            environment |= _pick(name, value, _AZURE)
    if any(b"\0" in value.reveal() for value in environment.values()):
        raise KeyInvalid("a credential holds a byte of zero")
    return SopsKeys(Sensitive("\n".join(age)), Sensitive(b"".join(pgp)), environment, is_ambient)


def _parse_identities(name: str, value: bytes) -> Iterable[str]:
    lines = [line.strip() for line in value.decode("utf-8", "replace").splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise KeyInvalid(f"{name} holds no identity of age")
    for number, line in enumerate(found, 1):
        if not _IDENTITY.fullmatch(line):
            hint = ": it is a recipient, which only encrypts" if line.startswith("age1") else ""
            raise KeyInvalid(f"{name}: entry {number} is no identity of age (AGE-SECRET-KEY-1...){hint}")
    return found


def _parse_keyring(name: str, value: bytes) -> Iterable[bytes]:
    text = value.replace(b"\r\n", b"\n")
    found = [_decode(name, match[1]) for match in _ARMOR.finditer(text)]
    if not found:
        raise KeyInvalid(f"{name} holds no private key of OpenPGP (gpg --export-secret-keys --armor)")
    return found


def _decode(name: str, text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        raise KeyInvalid(f"{name}: its private key is damaged") from None


def _pick(name: str, value: bytes, known: Mapping[str, str]) -> dict[str, Sensitive]:
    """Read the credentials of a mapping, whatever the case of its keys."""
    try:
        document: Any = next((document for _, document in read_documents(value) if document is not None), None)
    except Malformed:
        document = None
    if not isinstance(document, dict):
        raise KeyInvalid(f"{name} is no mapping of {', '.join(known)}")
    found = {key.lower(): text for key, text in document.items() if isinstance(text, str | int)}
    return {known[key]: Sensitive(str(found[key])) for key in known if key in found}
