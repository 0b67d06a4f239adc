"""How the clouds' Git servers are logged in to: with a token, or with a signature that serves as a password.

    azure   https://dev.azure.com/ORG/PROJECT/_git/NAME, https://ORG.visualstudio.com/...      a bearer token
    aws     https://git-codecommit.REGION.amazonaws.com/v1/repos/NAME                          user: the key; password:
            the time and a signature of the request "GIT PATH", good for 15 minutes

Source: github.com/fluxcd/pkg, auth/azure; github.com/aws/git-remote-codecommit, git_remote_codecommit/__init__.py.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from gitops_core.adapters.s3.signing import compute_signature
from gitops_core.domain.sources.identities import split_address
from gitops_core.meta import Sensitive
from gitops_core.ports import AwsKeys

DEVOPS = "499b84ac-1321-427f-aa17-267ca6975798/.default"
"""The scope of a token for Azure DevOps."""
AZURE_HOSTS, AWS_HOSTS = "dev.azure.com, ORG.visualstudio.com", "git-codecommit.REGION.amazonaws.com"

_AZURE = re.compile(
    r"(?:[a-z0-9-]+@)?(?:dev\.azure\.com|[a-z0-9][a-z0-9-]*\.visualstudio\.com)(?::443)?", re.IGNORECASE
)
_AWS = re.compile(r"git-codecommit(?:-fips)?\.([a-z0-9-]{1,40})\.amazonaws\.com(?:\.cn)?", re.IGNORECASE)


class CodeCommit(NamedTuple):
    """A repository. `host` and `path` are as the server sees them."""

    region: str
    host: str
    path: str


def is_azure_devops(url: str) -> bool:
    """Tell whether it is a repository of Azure DevOps, over TLS.

    >>> [is_azure_devops(url) for url in ("https://dev.azure.com/a/b/_git/c", "https://dev.azure.com.evil.example/a")]
    [True, False]
    """
    parts = split_address(url)
    return parts.scheme == "https" and _AZURE.fullmatch(parts.netloc) is not None


def find_codecommit(url: str) -> CodeCommit | None:
    """Find what a repository of CodeCommit is signed for; None: it is none, or not over TLS.

    >>> find_codecommit("https://git-codecommit.eu-central-1.amazonaws.com/v1/repos/fleet")
    CodeCommit(region='eu-central-1', host='git-codecommit.eu-central-1.amazonaws.com', path='/v1/repos/fleet')
    """
    parts = split_address(url)
    match = _AWS.fullmatch(parts.netloc)
    if parts.scheme != "https" or match is None or not re.fullmatch(r"/v1/repos/[\w.-]{1,100}", parts.path, re.ASCII):
        return None
    return CodeCommit(match[1].lower(), parts.netloc.lower(), parts.path)


def make_password(repository: CodeCommit, now: datetime, keys: AwsKeys) -> Sensitive:
    """Make the password for a repository. It is signed as of `now`, which has to be UTC."""
    moment = now.strftime("%Y%m%dT%H%M%S")
    scope = f"{moment[:8]}/{repository.region}/codecommit/aws4_request"
    canonical = f"GIT\n{repository.path}\n\nhost:{repository.host}\n\nhost\n"
    return Sensitive(f"{moment}Z{compute_signature(canonical, moment, scope, keys)}")


def make_username(keys: AwsKeys) -> str:
    """Make the user's name: the key, and the session that it belongs to."""
    return keys.access_key + (f"%{keys.session_token.reveal_text()}" if keys.session_token is not None else "")
