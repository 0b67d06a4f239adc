"""What .sops.yaml wants of one file: that it is encrypted, and for whom."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from gitops_core.domain.lint.context import Context
from gitops_core.domain.lint.creationrules import Config, Rule, differ
from gitops_core.domain.lint.findings import Finding
from gitops_core.domain.lint.generators import is_kustomization
from gitops_core.domain.lint.objects import walk_keys
from gitops_core.domain.render.encrypted import Block
from gitops_core.domain.render.seals import is_readable

MOST_NAMED = 5

_NEVER = re.compile(r"\.sops\.ya?ml|\.(?:source|git)ignore|\.git(?:attributes|modules)|(?i:readme|licen[cs]e).*")


class Demand(NamedTuple):
    """The rule that says that this very file is to be encrypted, and not only how."""

    config: Config
    rule: Rule

    def covers(self, documents: Iterable[Any]) -> bool:
        """Tell whether anything of a file would be encrypted."""
        return any(
            is_readable(value) and self.rule.selects(keys)
            for document in documents
            for keys, value in walk_keys(document)
        )

    def make_finding(self, path: str) -> Finding:
        about = f"rule {self.rule.number} of {self.config.path} is for it"
        return Finding(path, 1, "error", "unencrypted", f"it is not encrypted, and {about}: sops encrypt -i {path}")


def find_demand(path: str, context: Context) -> Demand | None:
    found = context.find_rule(path)
    if found is None or is_kustomization(path) or _NEVER.fullmatch(posixpath.basename(path)):
        return None
    config, rule = found
    inside = path.removeprefix(f"{posixpath.dirname(config.path)}/")
    return None if rule.pattern is None or rule.is_broad(inside) else Demand(config, rule)


def are_objects(documents: Sequence[Any]) -> bool:
    """Tell whether all of them are for an API server: of these only Secrets are secret, and are found as such."""
    there = [document for document in documents if document is not None]
    return bool(there) and all(isinstance(one, dict) and {"apiVersion", "kind"} <= one.keys() for one in there)


def make_hint(path: str, context: Context) -> str:
    found = context.find_rule(path)
    rule = f" (rule {found[1].number} of {found[0].path} is for it)" if found else ""
    return f"encrypt it with sops{rule}, or make it an ExternalSecret"


def compare_recipients(path: str, line: int, block: Block, context: Context) -> Iterator[Finding]:
    """Find out whether a file is for those whom its rule names."""
    found = context.find_rule(path)
    if found is None:
        return
    config, rule = found
    gone, missing = differ(frozenset(recipient.name for recipient in block.recipients), rule)
    parts = [f"{_name(gone)} can decrypt it still" if gone else "", f"{_name(missing)} cannot" if missing else ""]
    if gone or missing:
        text = ", and ".join(part for part in parts if part)
        message = f"rule {rule.number} of {config.path} is for others: {text}; sops updatekeys {path}"
        yield Finding(path, line, "error", "recipients", message)


def _name(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(name[:200] for name in names[:MOST_NAMED]) + more
