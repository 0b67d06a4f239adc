"""What `.sops.yaml` says: which files are to be encrypted, what of them, and for whom.

    creation_rules:
      - path_regex: secrets/.*\\.yaml$          of the path seen from the folder of .sops.yaml; the first that matches
        encrypted_regex: ^(data|stringData)$    of the keys on the way to a value; without any: all values
        age: age1...,age1...
      - age: age1...                            without path_regex: for whatever else somebody encrypts

sops looks for the file from where it is called upward. Here the nearest one above a file counts for it.

Source: getsops/sops, config/config.go; shouldBeEncrypted of sops.go.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import re2

from gitops_core.domain.lint.findings import Severity
from gitops_core.domain.render.encrypted import name_key
from gitops_core.domain.render.manifests import Malformed, read_documents

CONFIG, OTHER_CONFIG = ".sops.yaml", ".sops.yml"
DEFAULT_SUFFIX = "_unencrypted"

_SELECTORS = tuple(f"{sort}encrypted_{kind}" for kind in ("suffix", "regex", "comment_regex") for sort in ("", "un"))
_LISTS = {"kms": "kms", "age": "age", "pgp": "pgp", "gcp_kms": "gcp_kms", "hckms": "hckms"}
_LISTS |= {"azure_keyvault": "azure_kv", "hc_vault_transit_uri": "hc_vault", "hc_vault": "hc_vault"}
_RULE_FIELDS = {"path_regex", "aws_profile", "key_groups", "shamir_threshold", "mac_only_encrypted", *_SELECTORS}
_RULE_FIELDS |= _LISTS.keys() - {"hc_vault"}
_GROUP_FIELDS = _LISTS.keys() - {"hc_vault_transit_uri"} | {"merge"}
_NEUTRAL = ("zz", "zz/yy/xx", "apps/zz/deployment")
"""Names by which nobody would know a secret."""
_AGE = re.compile(r"age1[a-z0-9]{3,}|ssh-(?:ed25519|rsa) \S+.*")


class Fault(NamedTuple):
    """What is wrong, and at which place of the document."""

    place: tuple[str | int, ...]
    severity: Severity
    message: str


@dataclass(frozen=True)
class Rule:
    """Attributes:
    number: from 1, as people count.
    pattern: None matches every path.
    selector: the field that says what is encrypted, and its value, compiled where it is a pattern.
    recipients: the names of keys, as sops names them.
    """

    number: int
    pattern: Any
    selector: tuple[str, Any]
    recipients: frozenset[str]

    def matches(self, path: str) -> bool:
        return self.pattern is None or self.pattern.search(_encode(path)) is not None

    def is_broad(self, path: str) -> bool:
        """Tell whether a rule says how files such as this are encrypted, and not which of them are.

        It does where it also matches a neutral name: any with the same extension, or its folder's README where the
        extension is of no format.
        """
        folder, name = posixpath.split(path)
        extension = posixpath.splitext(name)[1]
        if extension in (".yaml", ".yml", ".json", ".env", ".ini"):
            return any(self.matches(f"{neutral}{extension}") for neutral in _NEUTRAL)
        return self.matches(posixpath.join(folder, "README.md"))

    def selects(self, keys: Sequence[str]) -> bool:
        """Tell whether a value would be encrypted; comments that say so are not looked at, and do."""
        kind, value = self.selector
        match kind:
            case "unencrypted_suffix":
                return not any(key.endswith(value) for key in keys)
            case "encrypted_suffix":
                return any(key.endswith(value) for key in keys)
            case "unencrypted_regex" | "encrypted_regex":
                found = any(value.search(_encode(key)) for key in keys)
                return found == (kind == "encrypted_regex")
            case _:
                return True


@dataclass(frozen=True)
class Config:
    """Attributes:
    rules: those before the first that is wrong: what comes behind it, sops does not reach, or reaches too often.
    """

    path: str = ""
    rules: tuple[Rule, ...] = ()
    faults: tuple[Fault, ...] = ()

    def find_rule(self, path: str) -> Rule | None:
        """Find the rule for a path of the checkout."""
        folder = posixpath.dirname(self.path)
        inside = path.removeprefix(f"{folder}/") if folder else path
        return next((rule for rule in self.rules if rule.matches(inside)), None)


def read_config(path: str, data: bytes) -> Config:
    faults: list[Fault] = []
    try:
        document = next((document for _, document in read_documents(data) if document is not None), None)
    except Malformed as error:
        where = f"line {error.line} of it" if error.line else "it"
        return Config(path, faults=(Fault((), "error", f"{where} is no YAML: sops refuses it"),))
    if document is None:
        return Config(path)
    if not isinstance(document, dict):
        return Config(path, faults=(Fault((), "error", "it is no mapping: sops refuses it"),))
    faults += _find_unknown(document, {"creation_rules", "destination_rules", "stores"}, ())
    found = document.get("creation_rules")
    if found is not None and not isinstance(found, list):
        return Config(path, faults=(*faults, Fault(("creation_rules",), "error", "creation_rules is no list")))
    rules: list[Rule] = []
    for number, one in enumerate(found or ()):
        place = ("creation_rules", number)
        if rules and rules[-1].pattern is None:
            before = rules[-1].number
            faults.append(Fault(place, "warning", f"it never counts: rule {before} before it has no path_regex"))
            continue
        wrong = tuple(_check(one, place))
        faults += wrong
        if len(rules) == number and not wrong:
            rules.append(_make_rule(number + 1, one))
    return Config(path, tuple(rules), tuple(faults))


def _make_rule(number: int, one: Mapping[str, Any]) -> Rule:
    kind = next((name for name in _SELECTORS if one.get(name)), "unencrypted_suffix")
    value = one.get(kind) or DEFAULT_SUFFIX
    selector = (kind, _compile(value) if kind.endswith("_regex") else value)
    text = one.get("path_regex") or ""
    return Rule(number, _compile(text) if text else None, selector, frozenset(_list_recipients(one)))


def _check(one: Any, place: tuple[str | int, ...]) -> Iterator[Fault]:
    if not isinstance(one, dict):
        yield Fault(place, "error", "a creation rule is no mapping")
        return
    yield from _find_unknown(one, _RULE_FIELDS, place)
    for name in ("path_regex", *_SELECTORS):
        value = one.get(name)
        if value is not None and not isinstance(value, str):
            yield Fault((*place, name), "error", f"{name} is no text")
        elif name.endswith("_regex") and value and _compile(value) is None:
            yield Fault((*place, name), "error", f"{name} is no regular expression (RE2)")
    if len([name for name in _SELECTORS if one.get(name)]) > 1:
        yield Fault(place, "error", f"sops takes only one of {', '.join(_SELECTORS)} in a rule")
    groups = one.get("key_groups") or []
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        yield Fault((*place, "key_groups"), "error", "key_groups is no list of mappings")
        return
    for number, group in enumerate(groups):
        yield from _find_unknown(group, _GROUP_FIELDS, (*place, "key_groups", number))
    for name in _LISTS:
        if name in one and not isinstance(one[name], str | list | None):
            yield Fault((*place, name), "error", f"{name} is neither a text nor a list")
    recipients = list(_list_recipients(one))
    if not recipients:
        yield Fault(place, "error", "it names nobody who could decrypt")
    for name in _list_named(one, "age"):
        if not _AGE.fullmatch(name):
            yield Fault((*place, "age" if "age" in one else "key_groups"), "error", "age names what is no recipient")


def _find_unknown(found: Mapping[str, Any], known: Set[str], place: tuple[str | int, ...]) -> Iterator[Fault]:
    for name in found:
        if name not in known and not name.startswith("x-"):
            yield Fault((*place, name), "error", f"sops knows no {name[:60]} here, and passes over it")


def _list_recipients(one: Mapping[str, Any]) -> Iterator[str]:
    """List who a rule, or a group of keys in it, encrypts for; groups count instead of the rule's own keys."""
    groups = [group for group in one.get("key_groups") or () if isinstance(group, dict)]
    if groups:
        for group in groups:
            yield from _list_of_group(group)
        return
    yield from _list_of_group(one)


def _list_of_group(group: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    merged = group.get("merge")
    for inner in merged if isinstance(merged, list) and depth < 20 else ():
        if isinstance(inner, dict):
            yield from _list_of_group(inner, depth + 1)
    profile = group.get("aws_profile")
    for field, kind in _LISTS.items():
        for entry in _split(group.get(field)):
            name = _name(kind, entry, profile if isinstance(profile, str) else "")
            if name:
                yield name


def _list_named(one: Mapping[str, Any], field: str) -> Iterator[str]:
    groups: list[Mapping[str, Any]] = [group for group in one.get("key_groups") or () if isinstance(group, dict)]
    groups = groups or [one]
    yield from (entry for group in groups for entry in _split(group.get(field)) if isinstance(entry, str))


def _split(value: Any) -> Iterator[Any]:
    """Split a text at its commas; of a list, each of its texts."""
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, str):
            yield from (part.strip() for part in entry.split(",") if part.strip())
        elif entry is not None:
            yield entry


def _name(kind: str, entry: Any, profile: str) -> str:
    match kind, entry:
        case "kms", str():
            arn, plus, role = entry.replace(" ", "").partition("+arn:")
            return name_key(kind, {"arn": arn, "role": f"arn:{role}" if plus else "", "aws_profile": profile})
        case "azure_kv", dict():
            return name_key(kind, {"vault_url": entry.get("vaultUrl"), "name": entry.get("key"), **entry})
        case _, dict():
            return name_key(kind, entry)
        case "pgp", str():
            return entry.replace(" ", "")
        case "azure_kv", str():
            return entry if entry.count("/") > 4 else f"{entry.rstrip('/')}/"
        case _, str():
            return entry.rstrip("/") if kind == "hc_vault" else entry
        case _:
            return ""


def differ(recipients: frozenset[str], rule: Rule) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return who can decrypt and should not, and who should and cannot; a key of Azure may have any version."""
    loose = tuple(name for name in rule.recipients if name.startswith("https://") and name.endswith("/"))
    known = {name: next((one for one in loose if name.startswith(one)), name) for name in recipients}
    gone = sorted(name for name, one in known.items() if one not in rule.recipients)
    return tuple(gone), tuple(sorted(rule.recipients - set(known.values())))


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    try:
        return re2.compile(_encode(pattern), options)
    except re2.error:
        return None


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")
