"""Versions and constraints as policies use them: Masterminds/semver v3, which templates know too.

The rules are in gitops_core.gotemplate.semver, for sprig's `semverCompare` has the same ones.
"""

from gitops_core.gotemplate.semver import RELEASE, Constraint, Version, parse_constraint, parse_tag, parse_version

__all__ = ["RELEASE", "Constraint", "Version", "parse_constraint", "parse_tag", "parse_version"]
