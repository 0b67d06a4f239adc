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
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gitops_core.domain.render.encrypted import Recipient
from gitops_core.domain.render.manifests import Malformed, read_documents
from gitops_core.meta import Sensitive

_OURS = secrets.token_bytes(32)
_IDENTITY = re.compile(r"AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]+")
_BEGIN, _END = b"-----BEGIN PGP PRIVATE KEY BLOCK-----", b"-----END PGP PRIVATE KEY BLOCK-----"
MAX_CREDENTIALS = 64 * 1024
"""Of one entry that is read as YAML or JSON."""
_AWS = {
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
}
_GOOGLE = ("service_account", "authorized_user")
_GOOGLE_FIELDS = frozenset(
    [
        "type",
        "project_id",
        "private_key_id",
        "private_key",
        "client_email",
        "client_id",
        "client_secret",
        "refresh_token",
        "auth_uri",
        "token_uri",
        "auth_provider_x509_cert_url",
        "client_x509_cert_url",
        "quota_project_id",
        "universe_domain",
    ]
)
_AZURE = {"tenantid": "AZURE_TENANT_ID", "clientid": "AZURE_CLIENT_ID", "clientsecret": "AZURE_CLIENT_SECRET"}


LogIn = Callable[[Sequence[Recipient]], Awaitable[Mapping[str, Sensitive]]]
"""Returns credentials of key services, by the names of the variables that their clients know."""


class KeyInvalid(ValueError):
    """A key is none: says which entry, and quotes nothing of it."""


@dataclass(frozen=True)
class SopsKeys:
    """Attributes:
    age: identities, one a line.
    pgp: a keyring, in OpenPGP's binary form.
    environment: credentials of key services, by the names of the variables that their clients know.
    is_ambient: key services may be asked with the rights that this process has.
    account: whose roles in clouds open files too; "" for nobody's.
    log_in: how that account gets credentials for the key services that are named, when they are needed.
    """

    age: Sensitive = field(default_factory=lambda: Sensitive(b""))
    pgp: Sensitive = field(default_factory=lambda: Sensitive(b""))
    environment: Mapping[str, Sensitive] = field(default_factory=dict)
    is_ambient: bool = False
    account: str = ""
    log_in: LogIn | None = field(default=None, repr=False, compare=False)

    @cached_property
    def fingerprint(self) -> str:
        """By which what was opened with these keys is found again; it tells nothing about them, and ends with us."""
        texts = [self.age.reveal(), self.pgp.reveal(), b"ambient" * self.is_ambient, self.account.encode()]
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
            environment["GOOGLE_CREDENTIALS"] = Sensitive(_check_google(name, value))
        elif name == "sops.aws-kms":
            environment |= _pick(name, value, _AWS)
        elif name == "sops.azure-kv":
            environment |= _pick(name, value, _AZURE)
    if any(b"\0" in value.reveal() for value in environment.values()):
        raise KeyInvalid("a credential holds a byte of zero")
    return SopsKeys(Sensitive("\n".join(age)), Sensitive(b"".join(pgp)), environment, is_ambient)


def _parse_identities(name: str, value: bytes) -> Iterable[str]:
    lines = [line.strip() for line in value.decode("utf-8-sig", "replace").splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise KeyInvalid(f"{name} holds no identity of age")
    for number, line in enumerate(found, 1):
        if not _IDENTITY.fullmatch(line):
            hint = ": it is a recipient, which only encrypts" if line.startswith("age1") else ""
            raise KeyInvalid(f"{name}: entry {number} is no identity of age (AGE-SECRET-KEY-1...){hint}")
    return found


def _parse_keyring(name: str, value: bytes) -> Iterable[bytes]:
    """Decode every armored block; line by line, for a pattern over all of it takes for ever on what is none."""
    found: list[bytes] = []
    block: list[bytes] | None = None
    for line in map(bytes.strip, value.splitlines()):
        if line == _BEGIN:
            block = []
        elif line == _END and block is not None:
            found.append(_decode(name, block))
            block = None
        elif block is not None:
            block.append(line)
    if block is not None:
        raise KeyInvalid(f"{name}: its private key does not end")
    if not found:
        raise KeyInvalid(f"{name} holds no private key of OpenPGP (gpg --export-secret-keys --armor)")
    return found


def _decode(name: str, lines: list[bytes]) -> bytes:
    """Decode what stands between the marks, without the headers ("Comment: ...") and the checksum ("=AbCd")."""
    try:
        return base64.b64decode(
            b"".join(line for line in lines if b":" not in line and line[:1] != b"="), validate=True
        )
    except binascii.Error:
        raise KeyInvalid(f"{name}: its private key is damaged") from None


def _pick(name: str, value: bytes, known: Mapping[str, str]) -> dict[str, Sensitive]:
    """Read the credentials of a mapping, whatever the case of its keys."""
    _check_size(name, value)
    try:
        document: Any = next((document for _, document in read_documents(value) if document is not None), None)
    except Malformed:
        document = None
    if not isinstance(document, dict):
        raise KeyInvalid(f"{name} is no mapping of {', '.join(known)}")
    found = {key.lower(): text for key, text in document.items() if isinstance(text, str | int)}
    return {known[key]: Sensitive(str(found[key])) for key in known if key in found}


def _check_size(name: str, value: bytes) -> None:
    if len(value) > MAX_CREDENTIALS:
        raise KeyInvalid(f"{name} is larger than {MAX_CREDENTIALS >> 10} KiB")


def _check_google(name: str, value: bytes) -> bytes:
    """Return credentials that hold all they need.

    Others name a file, a program or a server that gives a token, which is then sent to a server that they name as well:
    the rights of this machine, from its metadata server, to whoever wrote the Secret.
    """
    _check_size(name, value)
    try:
        document: Any = json.loads(value)
    except (ValueError, RecursionError):
        document = None
    kind = document.get("type") if isinstance(document, dict) else None
    if kind not in _GOOGLE:
        raise KeyInvalid(f"{name} is no JSON with credentials of type {' or '.join(_GOOGLE)}")
    return json.dumps({field: document[field] for field in document if field in _GOOGLE_FIELDS}).encode()
