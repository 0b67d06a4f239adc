"""All files of a checkout, looked at one after the other.

    kustomizations, .sops.yaml  ->  Context     what must be known of others before a file is looked at
    each file                   ->  Report      what is wrong with it, and what must be compared with others
    all reports                 ->  findings    without those that somebody allowed

Only reports are kept, so that a checkout may be larger than memory.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gitops_core.domain.lint.creationrules import CONFIG, OTHER_CONFIG, Config, Rule, differ, read_config
from gitops_core.domain.lint.findings import Allowance, Finding, Severity, bound, list_allowances, silence
from gitops_core.domain.lint.generators import Use, find_readable, is_kustomization, list_operations, list_uses
from gitops_core.domain.lint.lines import Lines
from gitops_core.domain.lint.objects import Objects, walk_keys
from gitops_core.domain.lint.privatekeys import find_private_keys
from gitops_core.domain.render.encrypted import SEALED, SEALED_IN_BASE64, Block, may_be_encrypted, take_apart
from gitops_core.domain.render.manifests import Malformed, read_documents
from gitops_core.domain.render.seals import is_readable

MANIFESTS = (".yaml", ".yml", ".json")
FLAT = (".env", ".ini", ".properties", ".conf")
MAX_FILE = 16 << 20
MOST_NAMED = 5

_NEVER = re.compile(r"\.sops\.ya?ml|\.(?:source|git)ignore|\.git(?:attributes|modules)|(?i:readme|licen[cs]e).*")
_CERTIFICATES = re.compile(rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]*-----END (?:TRUSTED )?CERTIFICATE-----")
_COMMENTS = re.compile(rb"^[ \t]*#.*$", re.MULTILINE)
_LOST = re.compile(rb"^[^\n#]{0,500}?ENC\[AES256_GCM,data:", re.MULTILINE)
_SCREEN = (b"Secret", b"sops", SEALED.encode(), SEALED_IN_BASE64.encode())


@dataclass
class Context:
    """What is known of all files of a checkout before one is looked at.

    Attributes:
        configs: what each .sops.yaml says, by its folder.
        uses: what kustomizations do with a file, by its path.
    """

    configs: dict[str, Config] = field(default_factory=dict)
    uses: dict[str, list[Use]] = field(default_factory=dict)
    allowances: list[Allowance] = field(default_factory=list)
    """Comments of kustomizations."""

    def add(self, path: str, data: bytes) -> None:
        """Add what one of the files says for which `is_context` is true."""
        if posixpath.basename(path) == CONFIG:
            self.configs[posixpath.dirname(path)] = read_config(path, data)
            return
        for use in list_uses(path, data):
            self.uses.setdefault(use.target, []).append(use)
        self.allowances += list_allowances(path, data)

    def find_config(self, path: str) -> Config | None:
        """Find the nearest .sops.yaml above a file."""
        folder = posixpath.dirname(path)
        while folder not in self.configs and folder:
            folder = posixpath.dirname(folder)
        return self.configs.get(folder)

    def find_rule(self, path: str) -> tuple[Config, Rule] | None:
        config = self.find_config(path)
        rule = config.find_rule(path) if config is not None else None
        return None if config is None or rule is None else (config, rule)


class Seal(NamedTuple):
    """What SOPS encrypted together, for comparing it with others.

    Attributes:
        mac: a digest of it.
    """

    path: str
    line: int
    names: tuple[str, ...]
    mac: bytes
    allowed: bool


class Report(NamedTuple):
    findings: tuple[Finding, ...] = ()
    allowances: tuple[Allowance, ...] = ()
    seals: tuple[Seal, ...] = ()


def is_context(path: str) -> bool:
    return is_kustomization(path) or posixpath.basename(path) == CONFIG


def lint_file(path: str, data: bytes, context: Context) -> Report:
    """Look at one file.

    Args:
        data: at most MAX_FILE of it, and a byte more where there is more.
    """
    found = [_make_key_finding(path, key.line, key.name, key.is_locked) for key in find_private_keys(data)]
    allowances = tuple(list_allowances(path, data))
    if len(data) > MAX_FILE:
        if b"\0" not in data[:8000]:
            message = f"it is larger than {MAX_FILE >> 20} MiB: only private keys were looked for, in its beginning"
            found.append(Finding(path, 0, "warning", "too-large", message))
        return Report(tuple(bound(found)), allowances)
    found += _lint_config(path, data, context)
    found += _lint_kustomization(path, data)
    sealed, own = _lint_contents(path, data, context)
    found += own
    found += _lint_uses(path, data, bool(sealed), context)
    found += _lint_recipients(path, sealed, context)
    seals = tuple(_make_seal(path, one) for one in sealed if one.block.mac)
    return Report(tuple(bound(found)), allowances, seals)


class _Sealed(NamedTuple):
    line: int
    block: Block
    names: tuple[str, ...] = ()
    allowed: bool = False


def _make_key_finding(path: str, line: int, name: str, is_locked: bool) -> Finding:
    severity: Severity = "warning" if is_locked else "error"
    how = ", with a passphrase," if is_locked else ""
    message = f"{name}{how} stands here: take it out, and make a new one, for the history of Git keeps this one"
    return Finding(path, line, severity, "private-key", message)


def _lint_config(path: str, data: bytes, context: Context) -> Iterator[Finding]:
    name = posixpath.basename(path)
    if name == OTHER_CONFIG:
        yield Finding(path, 1, "warning", "sops-config", f"sops does not read it: call it {CONFIG}")
    if name != CONFIG:
        return
    lines = Lines(data)
    config = context.configs.get(posixpath.dirname(path)) or read_config(path, data)
    for fault in config.faults:
        yield Finding(path, lines.find(0, fault.place) or 1, fault.severity, "sops-config", fault.message)


def _lint_kustomization(path: str, data: bytes) -> Iterator[Finding]:
    if is_kustomization(path) or (path.endswith(MANIFESTS) and b"SecretGenerator" in data):
        for one in find_readable(path, data):
            yield Finding(path, one.line, "error", one.rule, f"{one.what}, for everybody to read: encrypt a file of it")


def _lint_contents(path: str, data: bytes, context: Context) -> tuple[list[_Sealed], list[Finding]]:
    """Look at what stands in a file; return also what of it is encrypted."""
    uses = context.uses.get(path, ())
    demand = _find_demand(path, context)
    is_manifest = path.endswith(MANIFESTS) or is_kustomization(path) or any(use.role == "resource" for use in uses)
    if not (any(word in data for word in _SCREEN) or demand or uses):
        return [], []
    if not is_manifest:
        return _lint_flat(path, data, bool(uses), demand)
    try:
        documents = [document for _, document in read_documents(data)]
    except Malformed as error:
        return [], _make_unparsed(path, data, error.line)
    objects = Objects(path, data, documents)
    found = list(objects.find(_make_hint(path, context)))
    sealed: list[_Sealed] = []
    before: list[tuple[Block, frozenset[str], tuple[str, ...]]] = []
    for one in objects.list_encrypted():
        for block, leaves, names in before:
            if block == one.block and not leaves.isdisjoint(one.leaves) and not one.allowed:
                found.append(_make_copy(path, one.line, one.names, names, "this file"))
                break
        before = [*before[-50:], (one.block, one.leaves, one.names)]
        same = next((number for number, other in enumerate(sealed) if other.block == one.block), None)
        if same is None:
            sealed.append(_Sealed(one.line, one.block, one.names, one.allowed))
        else:
            sealed[same] = sealed[same]._replace(names=(*sealed[same].names, *one.names)[:MOST_NAMED])
    if demand and not sealed and not _are_objects(documents) and _would_encrypt(documents, demand[1]):
        found.append(_make_unencrypted(path, demand))
    if any(use.role == "patch" for use in uses) and not sealed:
        lines = Lines(data)
        for number, document in enumerate(documents):
            for place in list_operations(document):
                message = f"a patch of a Secret says its values, for everybody to read; {_make_hint(path, context)}"
                found.append(Finding(path, lines.find(number, place), "error", "plain-secret", message))
    return sealed, found


def _make_unparsed(path: str, data: bytes, line: int) -> list[Finding]:
    if b"{{" in data:  # a template of a chart
        return []
    message = "it is no YAML that can be read, so that nothing is known of Secrets in it"
    return [Finding(path, line, "warning", "unparsed", message)]


def _lint_flat(
    path: str, data: bytes, is_used: bool, demand: tuple[Config, Rule] | None
) -> tuple[list[_Sealed], list[Finding]]:
    is_known = path.endswith(FLAT) or is_used
    may_have = may_be_encrypted(data) and (is_known or data.lstrip()[:1] == b"{")
    sealed = [
        _Sealed(1, piece.block, piece.names)
        for piece in (take_apart(data, path) if may_have else ())
        if piece.block is not None and piece.format is not None
    ]
    found: list[Finding] = []
    for one in sealed:
        if not one.block.mac:
            found.append(Finding(path, 1, "error", "no-mac", "there is no mac: it is not decrypted"))
        elif not one.block.covers_all:
            message = "the mac covers only what is encrypted: what else stands here can be changed, and nobody sees it"
            found.append(Finding(path, 1, "warning", "weak-mac", message))
    if not sealed and is_known and (match := _LOST.search(data)):
        line = data.count(b"\n", 0, match.end()) + 1
        message = "encrypted values and no block of sops: nobody can decrypt that"
        found.append(Finding(path, line, "error", "lost-block", message))
    elif not sealed and demand and data.strip() and _would_encrypt([_read_pairs(path, data)], demand[1]):
        found.append(_make_unencrypted(path, demand))
    return sealed, found


def _read_pairs(path: str, data: bytes) -> Mapping[str, str]:
    """Read `name=value`; sops takes a file of another format for one value."""
    if not path.endswith((".env", ".ini")):
        return {"data": "all of it"}
    lines = (line.partition("=") for line in data.decode("utf-8", "replace").splitlines())
    return {key.strip(): value.strip() for key, equals, value in lines if equals and not key.lstrip().startswith("#")}


def _find_demand(path: str, context: Context) -> tuple[Config, Rule] | None:
    """Find the rule that says that this very file is to be encrypted."""
    found = context.find_rule(path)
    if found is None or is_kustomization(path) or _NEVER.fullmatch(posixpath.basename(path)):
        return None
    config, rule = found
    inside = path.removeprefix(f"{posixpath.dirname(config.path)}/")
    return None if rule.pattern is None or rule.is_broad(inside) else found


def _are_objects(documents: Sequence[Any]) -> bool:
    """Tell whether all of them are for an API server: of these only Secrets are secret, and found as such."""
    there = [document for document in documents if document is not None]
    return bool(there) and all(isinstance(one, dict) and {"apiVersion", "kind"} <= one.keys() for one in there)


def _would_encrypt(documents: Iterable[Any], rule: Rule) -> bool:
    return any(
        is_readable(value) and rule.selects(keys) for document in documents for keys, value in walk_keys(document)
    )


def _make_unencrypted(path: str, demand: tuple[Config, Rule]) -> Finding:
    config, rule = demand
    message = f"it is not encrypted, and rule {rule.number} of {config.path} is for it: sops encrypt -i {path}"
    return Finding(path, 1, "error", "unencrypted", message)


def _make_hint(path: str, context: Context) -> str:
    found = context.find_rule(path)
    rule = f" (rule {found[1].number} of {found[0].path} is for it)" if found else ""
    return f"encrypt it with sops{rule}, or make it an ExternalSecret"


def _lint_uses(path: str, data: bytes, is_sealed: bool, context: Context) -> Iterator[Finding]:
    """Look at what kustomizations do with a file; what is wrong with that stands in the kustomization."""
    for use in context.uses.get(path, ()):
        if use.role == "configmap" and is_sealed:
            message = f"{path} is encrypted, and a ConfigMap is to hold it: that is refused; use a secretGenerator"
            yield Finding(use.by, use.line, "error", "encrypted-configmap", message)
        elif use.role == "secret" and not is_sealed and _says_something(data):
            message = f"{path} is put into a Secret, and can be read by everybody: sops encrypt -i {path}"
            yield Finding(use.by, use.line, "error", "plain-generator", message)


def _says_something(data: bytes) -> bool:
    """Tell whether a file holds more than certificates, comments, and names without values."""
    left = _COMMENTS.sub(b"", _CERTIFICATES.sub(b"", data)).strip()
    if not left:
        return False
    lines = [line.strip().decode("utf-8", "replace") for line in left.splitlines() if line.strip()]
    return any(is_readable(line.partition("=")[2].strip() if "=" in line else line) for line in lines)


def _lint_recipients(path: str, sealed: Sequence[_Sealed], context: Context) -> Iterator[Finding]:
    found = context.find_rule(path)
    if found is None:
        return
    config, rule = found
    for one in sealed:
        gone, missing = differ(frozenset(recipient.name for recipient in one.block.recipients), rule)
        parts = [f"{_name(gone)} can decrypt it still" if gone else "", f"{_name(missing)} cannot" if missing else ""]
        if gone or missing:
            text = ", and ".join(part for part in parts if part)
            message = f"rule {rule.number} of {config.path} is for others: {text}; sops updatekeys {path}"
            yield Finding(path, one.line, "error", "recipients", message)


def _name(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(name[:200] for name in names[:MOST_NAMED]) + more


def _make_seal(path: str, one: _Sealed) -> Seal:
    mac = hashlib.sha256(one.block.mac.encode("utf-8", "replace")).digest()[:16]
    return Seal(path, one.line, one.names[:MOST_NAMED], mac, one.allowed)


def _make_copy(path: str, line: int, names: tuple[str, ...], owner: tuple[str, ...], where: str) -> Finding:
    if names != owner and names and owner:
        message = f"{_name(names)} holds what was encrypted for {_name(owner)} in {where}"
        return Finding(path, line, "error", "copied", message)
    message = f"{_name(names) or 'it'} stands in {where} already, as it is here: one of them is enough"
    return Finding(path, line, "warning", "copied", message)


def find_copies(seals: Iterable[Seal]) -> Iterator[Finding]:
    """Find what is encrypted in two files with one mac; the first of them, by path, is taken for the original."""
    owners: dict[bytes, Seal] = {}
    for one in sorted(seals, key=lambda seal: (seal.path, seal.line)):
        owner = owners.setdefault(one.mac, one)
        if owner is not one and not one.allowed:
            yield _make_copy(one.path, one.line, one.names, owner.names, f"{owner.path}:{owner.line}")


def conclude(reports: Iterable[Report], context: Context) -> tuple[Finding, ...]:
    """Return what was found: errors first, then by path and line."""
    found: list[Finding] = []
    seals: list[Seal] = []
    allowances: dict[Allowance, None] = {}
    for report in reports:
        found += report.findings
        seals += report.seals
        allowances |= dict.fromkeys(report.allowances)
    found += bound(find_copies(seals))
    own = [one for one in allowances if one.path.endswith((*MANIFESTS, *FLAT)) or is_kustomization(one.path)]
    kept = silence(dict.fromkeys(found), own, [*allowances, *context.allowances])
    return tuple(sorted(kept, key=lambda one: (one.severity, one.path, one.line, one.rule, one.message)))
