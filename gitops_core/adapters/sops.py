"""Implements Decryptor with the sops program: the one parser of its format that is trusted with keys.

What is encrypted reaches the program by its standard input, what is plain leaves it by its standard output, keys of age
and credentials are in its environment, and a keyring of OpenPGP is in a private folder in memory: nothing of it ever
stands on a disk. The program is confined as builds are (sandbox.py). It reaches no network, but for a file that a key
service may open and no key at hand did; then with the credentials that belong to the Kustomization, and no others.

What the program says is not passed on, for it quotes what it decrypts; what is told is made from its exit status and
from what stands in the file for everybody to read.

Source: getsops/sops, cmd/sops/codes; sops(1).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum

from gitops_core.adapters.sandbox import Confinement, Finished, Limits, OutOfTime, Sandboxed, TooMuchOutput
from gitops_core.domain.render.encrypted import MAX_ENCRYPTED, Block, Format
from gitops_core.domain.render.sopskeys import SopsKeys
from gitops_core.errors import DecryptionFailed, MacMismatch, TransientError
from gitops_core.meta import Sensitive
from gitops_core.runtime.sharing.computing import get_namespace_at_work
from gitops_core.runtime.sharing.slots import Slots

LIMITS = Limits(seconds=30.0, memory=2**30, output=4 * MAX_ENCRYPTED)
HOW_TO_GET = "the sops program is missing: put it on PATH (https://getsops.io; `make tools` builds it into .tools/bin)"
MOST_NAMED = 5

_ENVIRONMENT = {"PATH": "", "GOTRACEBACK": "none", "SOPS_DISABLE_VERSION_CHECK": "1", "GNUPGHOME": ".gnupg"}
_NO_SERVICE = {"SOPS_HC_VAULT_ALLOWLIST": "none", "AWS_EC2_METADATA_DISABLED": "true"}
_NOT_OURS = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
    "GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent/credentials",
}
"""Keeps clients from asking this machine's metadata servers, whatever other key service a file names."""
_AMBIENT = re.compile(
    r"AWS_(?:REGION|DEFAULT_REGION|ENDPOINT_URL(?:_\w+)?|CA_BUNDLE|ROLE_\w+|WEB_IDENTITY_TOKEN_FILE|CONTAINER_\w+)"
    r"|AWS_(?:ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)|GOOGLE_(?:\w+_)?CREDENTIALS|GOOGLE_OAUTH_ACCESS_TOKEN"
    r"|SOPS_GCP_KMS_\w+|AZURE_(?:AUTHORITY_HOST|FEDERATED_TOKEN_FILE|TENANT_ID|CLIENT_ID|CLIENT_SECRET)"
    r"|SSL_CERT_(?:FILE|DIR)|(?:HTTPS?|NO)_PROXY|(?:https?|no)_proxy"
)
_PLACES = re.compile(
    r"AWS_(?:REGION|DEFAULT_REGION|ENDPOINT_URL(?:_\w+)?|CA_BUNDLE)|SOPS_GCP_KMS_\w+|SSL_\w+|.*(?i:proxy)"
)
"""Where services are, which is nobody's right."""
_FOR_NETWORKS = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/ssl",
    "/etc/pki",
    "/usr/share/ca-certificates",
)
_REASONS = (
    (re.compile(rb"api error (\w{1,60})"), "the key service answers {}"),
    (re.compile(rb"\bError (4\d\d|5\d\d)|\bCode: (4\d\d|5\d\d)"), "the key service answers {}"),
    (re.compile(rb"code = (\w{1,40})"), "the key service answers {}"),
    (re.compile(rb"(connection refused|no such host|i/o timeout|deadline exceeded|certificate)"), "network: {}"),
    (re.compile(rb"does not allow|not in allow ?list|allowlist"), "the operator does not let its address be asked"),
)


class Exit(IntEnum):
    """What sops ends with."""

    TREE_BROKEN = 25
    MAC_BROKEN = 51
    MAC_MISSING = 52
    NO_KEY = 128


class SopsUnavailable(TransientError):
    """The sops program is missing, hangs, or needs too much."""

    reason = "BuildFailed"


class Sops:
    """Implements Decryptor."""

    def __init__(
        self,
        program: str = "",
        *,
        limits: Limits = LIMITS,
        at_once: int = 2,
        asking_at_once: int = 8,
        vault_addresses: Iterable[str] = ("all",),
        confinement: Confinement | None = None,
        environment: Mapping[str, str] | None = None,
        count: Callable[[], object] = bool,
    ) -> None:
        """
        Args:
            program: the sops binary; "" looks on PATH and in .tools/bin of the working directory.
            limits: what one file may take.
            at_once: how many processes run at the same time, shared by namespace.
            asking_at_once: how many more ask key services, which may answer slowly or never.
            vault_addresses: which Vaults may be asked, by what their addresses begin with.
            confinement: what the program is kept from; None for all that this machine can.
            environment: where key services are, and as whom this process asks them; ours by default.
            count: called at every run of the program.
        """
        self._program = program
        self._limits = limits
        self._slots, self._asking = Slots(at_once, "decryptions"), Slots(asking_at_once, "requests to key services")
        self._vaults = ",".join(vault_addresses) or "none"
        self._confinement = confinement or Confinement.of_this_machine()
        self._own = dict(os.environ) if environment is None else environment
        self._count = count

    async def decrypt(
        self, text: bytes, format_: Format, block: Block, keys: SopsKeys, *, check_mac: bool = True
    ) -> bytes:
        if len(text) > MAX_ENCRYPTED:
            raise DecryptionFailed(f"it is larger than {MAX_ENCRYPTED >> 20} MiB")
        types = ("--input-type", format_, "--output-type", format_)
        command = (self._locate(), "decrypt", *types, *(() if check_mac else ("--ignore-mac",)))
        finished = await self._run(command, text, keys, {**_ENVIRONMENT, **_NO_SERVICE})
        if finished.status == Exit.NO_KEY and block.is_remote and (keys.environment or keys.is_ambient or keys.log_in):
            given = {**keys.environment, **(await keys.log_in(block.recipients) if keys.log_in is not None else {})}
            services = self._list_services(given, is_ambient=keys.is_ambient)
            finished = await self._run(command, text, keys, services, may_connect=True)
        if finished.status != 0:
            raise _explain(finished, block)
        return finished.output

    async def _run(
        self,
        command: tuple[str, ...],
        text: bytes,
        keys: SopsKeys,
        environment: Mapping[str, str],
        *,
        may_connect: bool = False,
    ) -> Finished:
        program = Sandboxed(
            command,
            {".gnupg/secring.gpg": keys.pgp.reveal()} if keys.pgp else {},
            {**environment, "SOPS_AGE_KEY": keys.age.reveal_text()} if keys.age else environment,
            self._limits,
            self._confinement,
            _list_readable(environment) if may_connect else (),
            text,
            may_connect,
            is_secret=True,
        )
        slots = self._asking if may_connect else self._slots
        async with slots.taken(get_namespace_at_work()):
            self._count()
            try:
                return await program.run_beside()
            except OSError as error:
                raise SopsUnavailable(f"cannot run {self._program or 'sops'}: {error.strerror}") from None
            except OutOfTime:
                raise SopsUnavailable(f"it takes longer than {self._limits.seconds:g}s to decrypt") from None
            except TooMuchOutput:
                raise SopsUnavailable(f"it is more than {self._limits.output >> 20} MiB when decrypted") from None

    def _list_services(self, credentials: Mapping[str, Sensitive], *, is_ambient: bool) -> dict[str, str]:
        """List what the program needs to know to ask key services: with the Kustomization's credentials, or ours."""
        pattern = _AMBIENT if is_ambient and not credentials else _PLACES
        own = {name: value for name, value in self._own.items() if pattern.fullmatch(name)}
        given = {name: value.reveal_text() for name, value in credentials.items()}
        vaults = {"SOPS_HC_VAULT_ALLOWLIST": self._vaults if "VAULT_TOKEN" in given else "none"}
        hidden = {} if pattern is _AMBIENT else _NOT_OURS
        return {**own, **_ENVIRONMENT, **hidden, **vaults, **given}

    def _locate(self) -> str:
        program = self._program or shutil.which("sops") or shutil.which("sops", path=".tools/bin")
        if program is None:
            raise SopsUnavailable(HOW_TO_GET)
        return os.path.abspath(program)


_PATHS = frozenset(("GOOGLE_APPLICATION_CREDENTIALS", "AWS_CA_BUNDLE", "SSL_CERT_DIR"))


def _list_readable(environment: Mapping[str, str]) -> tuple[str, ...]:
    """List the files of this machine that a client of key services reads."""
    named = (path for name, path in environment.items() if name.endswith("_FILE") or name in _PATHS)
    return tuple(path for path in (*_FOR_NETWORKS, *named) if os.path.exists(path))


def _explain(finished: Finished, block: Block) -> DecryptionFailed | SopsUnavailable:
    match finished.status:
        case Exit.MAC_BROKEN | Exit.MAC_MISSING if not block.mac:
            return MacMismatch("it has no mac, so that nobody can tell whether it is as SOPS left it")
        case Exit.MAC_BROKEN | Exit.MAC_MISSING:
            return MacMismatch(
                "its mac does not fit: it was changed by something else than sops (edit it with `sops edit`)"
            )
        case Exit.TREE_BROKEN:
            return DecryptionFailed(
                "a value cannot be decrypted: it was changed, moved or added by something else than sops"
            )
        case Exit.NO_KEY:
            return DecryptionFailed(f"no key opens it: it is for {_name(block)}{_find_reason(finished.messages)}")
        case status if status < 0:
            return SopsUnavailable("sops was ended: it needs more memory or time than it may have")
        case _:
            return DecryptionFailed("sops cannot read it")


def _name(block: Block) -> str:
    names = [f"{recipient.kind} {recipient.name}" for recipient in block.recipients]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return (", ".join(name[:200] for name in names[:MOST_NAMED]) or "nobody") + more


def _find_reason(messages: bytes) -> str:
    """Find what a key service answered, of the few words that can be no secret."""
    for pattern, text in _REASONS:
        if match := pattern.search(messages):
            word = next((group for group in match.groups() if group), b"").decode("utf-8", "replace")
            return f"; {text.format(word)}"
    return ""
