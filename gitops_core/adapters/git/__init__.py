"""Git remotes through bare mirrors and the git command: no checkout, no history, no credential left behind."""

from gitops_core.adapters.git.reading import Limits
from gitops_core.adapters.git.remote import GitMirrors, MirrorRemote

__all__ = ["GitMirrors", "Limits", "MirrorRemote"]
