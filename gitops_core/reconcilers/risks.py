"""What a person should know of the Secrets that a Kustomization takes from a source, and what of it is refused."""

from __future__ import annotations

from typing import NamedTuple

from gitops_core.api import Kustomization
from gitops_core.domain.render.seals import explain_edited, explain_left, explain_moved, explain_replayed
from gitops_core.reconcilers.decrypting import MAC, Scan
from gitops_core.runtime.policy import Policy

REPLAY = "sealoop.dev/sops-replay"
"""Annotation of a Kustomization: with `refuse`, files that are older than before, for another object, or left encrypted
are not applied, else told."""
MOST_NAMED = 10


class Risks(NamedTuple):
    """Attributes:
    reason: of the first, for a condition.
    message: all of them; "" for none.
    refused: those because of which nothing is applied; "" for none.
    """

    reason: str = ""
    message: str = ""
    refused: str = ""


def find_risks(wanted: Kustomization, now: Scan, before: Scan, altered: tuple[str, ...], policy: Policy) -> Risks:
    """Find what is risky.

    Args:
        before: of the revision that was applied last.
        altered: files whose mac does not fit, and which are applied nevertheless.
    """
    found: list[tuple[str, str, bool]] = []
    refuses = wanted.metadata.annotations.get(REPLAY, "").strip() == "refuse"
    if altered:
        text = f"{_name(altered)}: the mac does not fit, and the annotation {MAC} lets it pass"
        found.append(("MacMismatch", text, False))
    if replayed := explain_replayed(now.sealed, before.sealed):
        found.append(("ReplayedSecrets", replayed, refuses))
    if moved := explain_moved(now.sealed, before.sealed):
        found.append(("MovedSecrets", moved, refuses))
    elif edited := explain_edited(now.sealed, before.sealed):
        found.append(("EditedSecrets", edited, refuses))
    if left := explain_left(now.sealed, before.sealed):
        found.append(("LeftEncrypted", left, refuses))
    if now.plain and (policy.plain_secrets != "ignore" or wanted.spec.decryption is not None):
        text = f"Secrets stand in the source for everybody to read: {_name(now.plain)}"
        found.append(("PlainSecrets", text, policy.plain_secrets == "refuse"))
    if not found:
        return Risks()
    refused = [text for _, text, is_refused in found if is_refused]
    reason = next((reason for reason, _, is_refused in found if is_refused), found[0][0])
    return Risks(reason, "; ".join(text for _, text, _ in found), "; ".join(refused))


def _name(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
