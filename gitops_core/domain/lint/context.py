"""What must be known of a whole checkout before one file of it is looked at: kustomizations, and each .sops.yaml."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field

from gitops_core.domain.lint.creationrules import CONFIG, Config, Rule, read_config
from gitops_core.domain.lint.findings import Allowance, list_allowances
from gitops_core.domain.lint.generators import Use, is_kustomization, list_uses


@dataclass
class Context:
    """Attributes:
    configs: what each .sops.yaml says, by its folder.
    uses: what kustomizations do with a file, by its path.
    allowances: comments of kustomizations.
    """

    configs: dict[str, Config] = field(default_factory=dict)
    uses: dict[str, list[Use]] = field(default_factory=dict)
    allowances: list[Allowance] = field(default_factory=list)

    def add(self, path: str, data: bytes) -> None:
        """Add what a file says for which `is_context` is true, or that is one of `list_plugins`."""
        if posixpath.basename(path) == CONFIG:
            self.configs[posixpath.dirname(path)] = read_config(path, data)
            return
        for use in list_uses(path, data):
            self.uses.setdefault(use.target, []).append(use)
        self.allowances += list_allowances(path, data)

    def list_uses(self, path: str) -> Sequence[Use]:
        return self.uses.get(path, ())

    def list_plugins(self) -> set[str]:
        """List what configures generators, and names files as kustomizations do."""
        return {path for path, uses in self.uses.items() if any(use.role == "plugin" for use in uses)}

    def find_rule(self, path: str) -> tuple[Config, Rule] | None:
        """Find the rule for a file, of the nearest .sops.yaml above it."""
        folder = posixpath.dirname(path)
        while folder not in self.configs and folder:
            folder = posixpath.dirname(folder)
        config = self.configs.get(folder)
        rule = config.find_rule(path) if config is not None else None
        return None if config is None or rule is None else (config, rule)


def is_context(path: str) -> bool:
    return is_kustomization(path) or posixpath.basename(path) == CONFIG
