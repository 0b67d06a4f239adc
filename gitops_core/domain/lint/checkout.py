"""All files of a checkout, looked at one after the other.

    kustomizations, .sops.yaml  ->  Context     what must be known of others before a file is looked at
    each file                   ->  Report      what is wrong with it, and what must be compared with others
    all reports                 ->  findings    without those that somebody allowed

Only reports are kept, so that a checkout may be larger than memory.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from gitops_core.domain.lint.context import Context
from gitops_core.domain.lint.copies import Seal, find_copies, find_copies_within
from gitops_core.domain.lint.creationrules import CONFIG, OTHER_CONFIG, read_config
from gitops_core.domain.lint.demands import are_objects, compare_recipients, find_demand, make_hint
from gitops_core.domain.lint.findings import Allowance, Finding, bound, list_allowances, silence
from gitops_core.domain.lint.generators import check_uses, find_readable, is_kustomization, list_operations
from gitops_core.domain.lint.lines import Lines
from gitops_core.domain.lint.objects import Document, Objects
from gitops_core.domain.lint.privatekeys import Key, find_private_keys
from gitops_core.domain.render.encrypted import SEALED, SEALED_IN_BASE64, Block, may_be_encrypted, take_apart
from gitops_core.domain.render.manifests import Malformed, read_documents
from gitops_core.domain.render.seals import may_say

MANIFESTS = (".yaml", ".yml", ".json")
FLAT = (".env", ".ini", ".properties", ".conf")
MAX_FILE = 16 << 20
MOST_NAMED = 5

_LOST = re.compile(rb"^[^\n#]{0,500}?ENC\[AES256_GCM,data:", re.MULTILINE)
_SCREEN = (b"Secret", b"sops", SEALED, SEALED_IN_BASE64)


class Report(NamedTuple):
    """Attributes:
    allowances: the file's comments.
    seals: what is encrypted of it.
    """

    findings: tuple[Finding, ...] = ()
    allowances: tuple[Allowance, ...] = ()
    seals: tuple[Seal, ...] = ()


def lint_file(path: str, data: bytes, context: Context) -> Report:
    """Look at one file.

    Args:
        data: MAX_FILE of it, and a byte more where there is more.
    """
    found = [_make_key_finding(path, key) for key in find_private_keys(data)]
    allowances = tuple(list_allowances(path, data))
    if len(data) > MAX_FILE:
        if not _is_binary(data):
            message = f"it is larger than {MAX_FILE >> 20} MiB: only private keys were looked for, in its beginning"
            found.append(Finding(path, 0, "warning", "too-large", message))
        return Report(tuple(bound(found)), allowances)
    found += _check_config(path, data)
    if is_kustomization(path) or (path.endswith(MANIFESTS) and may_say(b"SecretGenerator", data)):
        found += (Finding(path, one.line, "error", one.rule, one.message) for one in find_readable(path, data))
    documents, own = _check_contents(path, data, context)
    found += own
    found += check_uses(path, data, context.list_uses(path), is_encrypted=bool(documents))
    found += find_copies_within(path, documents)
    blocks: dict[Block, Document] = {}
    for one in documents:
        first = blocks.setdefault(one.block, one)
        if first is not one and len(first.names) < MOST_NAMED:
            blocks[one.block] = first._replace(names=first.names + one.names)
    for block, one in blocks.items():
        found += compare_recipients(path, one.line, block, context)
    seals = [
        Seal.of(path, one.line, block, one.names, is_allowed=one.is_allowed)
        for block, one in blocks.items()
        if block.mac
    ]
    return Report(tuple(bound(found)), allowances, tuple(seals))


def _make_key_finding(path: str, key: Key) -> Finding:
    how = ", with a passphrase," if key.is_locked else ""
    message = f"{key.name}{how} stands here: take it out, and make a new one, for the history of Git keeps this one"
    return Finding(path, key.line, "warning" if key.is_locked else "error", "private-key", message)


def _check_config(path: str, data: bytes) -> Iterator[Finding]:
    name = posixpath.basename(path)
    if name == OTHER_CONFIG:
        yield Finding(path, 1, "warning", "sops-config", f"sops does not read it: call it {CONFIG}")
    elif name == CONFIG:
        lines = Lines(data)
        for fault in read_config(path, data).faults:
            yield Finding(path, lines.find(0, fault.place) or 1, fault.severity, "sops-config", fault.message)


def _check_contents(path: str, data: bytes, context: Context) -> tuple[list[Document], list[Finding]]:
    """Check what stands in a file; return also what of it is encrypted."""
    uses, demand = context.list_uses(path), find_demand(path, context)
    is_manifest = path.endswith(MANIFESTS) or is_kustomization(path) or any(use.role == "resource" for use in uses)
    if is_manifest and (uses or demand or any(may_say(word, data) for word in _SCREEN)):
        return _check_manifests(path, data, context)
    if not is_manifest and (uses or demand or any(word in data for word in _SCREEN)):
        return _check_others(path, data, context)
    return [], []


def _check_manifests(path: str, data: bytes, context: Context) -> tuple[list[Document], list[Finding]]:
    try:
        documents = [document for _, document in read_documents(data)]
    except Malformed as error:
        if b"{{" in data:  # a template of a chart
            return [], []
        message = "it is no YAML that can be read, so that nothing is known of Secrets in it"
        return [], [Finding(path, error.line, "warning", "unparsed", message)]
    lines, hint, demand = Lines(data), make_hint(path, context), find_demand(path, context)
    objects = Objects(path, lines, documents)
    found, encrypted = list(objects.find(hint)), list(objects.list_encrypted())
    if encrypted:
        return encrypted, found
    if demand and not are_objects(documents) and demand.covers(documents):
        found.append(demand.make_finding(path))
    if any(use.role == "patch" for use in context.list_uses(path)):
        message = f"a patch of a Secret says its values, for everybody to read; {hint}"
        for number, document in enumerate(documents):
            for place in list_operations(document):
                found.append(Finding(path, lines.find(number, place), "error", "plain-secret", message))
    return [], found


def _check_others(path: str, data: bytes, context: Context) -> tuple[list[Document], list[Finding]]:
    """Check a file that holds no objects, which sops may have encrypted as dotenv, INI or as a whole."""
    demand, is_known = find_demand(path, context), path.endswith(FLAT) or bool(context.list_uses(path))
    is_candidate = may_be_encrypted(data) and (is_known or data.lstrip()[:1] == b"{")
    pieces = take_apart(data, path) if is_candidate else ()
    encrypted = [Document(1, piece.block, piece.names) for piece in pieces if piece.block and piece.format]
    found: list[Finding] = []
    for one in encrypted:
        if not one.block.mac:
            found.append(Finding(path, 1, "error", "no-mac", "there is no mac: it is not decrypted"))
        elif not one.block.covers_all:
            message = "the mac covers only what is encrypted: what else stands here can be changed, and nobody sees it"
            found.append(Finding(path, 1, "warning", "weak-mac", message))
    if not encrypted and is_known and (match := _LOST.search(data)):
        line = data.count(b"\n", 0, match.end()) + 1
        message = "encrypted values and no block of sops: nobody can decrypt that"
        found.append(Finding(path, line, "error", "lost-block", message))
    elif not encrypted and demand and data.strip() and demand.covers([_read_pairs(path, data)]):
        found.append(demand.make_finding(path))
    return encrypted, found


def _read_pairs(path: str, data: bytes) -> Mapping[str, str]:
    """Read `name=value`; sops takes a file of another format for one value."""
    if not path.endswith((".env", ".ini")):
        return {"data": "all of it"}
    lines = (line.partition("=") for line in data.decode("utf-8", "replace").splitlines())
    return {key.strip(): value.strip() for key, equals, value in lines if equals and not key.lstrip().startswith("#")}


def _is_binary(data: bytes) -> bool:
    return b"\0" in data[:8000]


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
