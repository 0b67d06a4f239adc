"""What the operator of a process allows, whatever its objects ask for: where the flags of `sealoop run` land.

A field is here when an operator may want another value; what only protects us from ourselves stays beside its code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gitops_core.errors import StalledError
from gitops_core.meta import ObjectKey, ObjectRef

KI, MI, GI = 1 << 10, 1 << 20, 1 << 30


class ReferenceRefused(StalledError):
    """The operator does not let objects name those of other namespaces."""

    reason = "AccessDenied"


@dataclass(frozen=True)
class Policy:
    """Every number is a limit that `--limit NAME=NUMBER` sets; sizes in bytes, times in seconds.

    Attributes:
        cross_namespace_references: objects may name sources, repositories and what a webhook wakes in other namespaces.
        default_service_account: whose rights a Kustomization has that names none, in its own namespace; "" for ours.
        strict_substitutions: a variable of spec.postBuild that is not set is an error, and not empty.
        file_remotes: Git remotes may be file:// URLs, which read what this process can read.
        plain_secrets: what becomes of Secrets whose values stand in a source as they are: "ignore", where it is told
            only of those beside encrypted ones; "warn"; "refuse".
        sops_age_secret: the Secret with the age keys of Kustomizations that decrypt and name no keys.
        sops_vaults: which Vaults SOPS may ask, by what their addresses begin with; ("all",) for any.
        writable_git: the credential of a GitRepository may be one that the remote takes pushes with.
        git_files: in a folder of one commit, with all below it, and in one artifact of a registry.
        git_file_size: of one file in Git, and in an artifact.
        artifact_size: of the layer that holds an artifact's files.
        artifact_unpacked: of these files together.
        builds: of kustomize that run at the same time.
        build_seconds: that one build may take.
        build_memory: of one build.
        build_output: of one build.
        webhook_size: of one request.
        webhook_rate: requests a second to one Receiver, and to all paths that are no Receiver's.
        webhook_burst: requests beyond the rate after a rest.
        reported_places: that are not applied and stand in the status of one ImageUpdateAutomation.
    """

    cross_namespace_references: bool = True
    default_service_account: str = ""
    strict_substitutions: bool = True
    file_remotes: bool = False
    plain_secrets: Literal["ignore", "warn", "refuse"] = "ignore"
    sops_age_secret: ObjectKey | None = None
    sops_vaults: tuple[str, ...] = ("all",)
    writable_git: bool = True
    git_files: int = 200_000
    git_file_size: int = 64 * MI
    artifact_size: int = 64 * MI
    artifact_unpacked: int = 256 * MI
    builds: int = 2
    build_seconds: int = 60
    build_memory: int = GI
    build_output: int = 64 * MI
    webhook_size: int = MI
    webhook_rate: int = 50
    webhook_burst: int = 200
    reported_places: int = 20

    def check_reference(self, about: ObjectRef, named: ObjectRef) -> None:
        """Raise ReferenceRefused if an object may not name another one in its namespace."""
        if not self.cross_namespace_references and named.key.namespace != about.key.namespace:
            why = "--no-cross-namespace-refs keeps objects from naming those of other namespaces"
            raise ReferenceRefused(f"{about} may not name {named}: {why}")


DEFAULT_POLICY = Policy()
