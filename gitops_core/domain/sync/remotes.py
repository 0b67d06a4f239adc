"""Another cluster, as a ConfigMap that a Kustomization names describes it: where it is, and whose token it takes.

    provider            generic                          aws, azure, gcp
    cluster             -                                its name in the cloud
    address, ca.crt     its API server, over TLS         as the cloud says where one is missing
    serviceAccountName  whose token is sent              whose role asks the cloud for one; none: this process's own
    audiences           for whom (YAML); the address     -

A ConfigMap is a tenant's. So of the generic provider this process's own token is never sent, nor one that a cloud would
take; and what proves the process to a cloud goes where that cloud says its cluster is.

Source: github.com/fluxcd/pkg, auth/utils/restconfig.go; fluxcd/kustomize-controller, docs/spec/v1/kustomizations.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
import yaml

from gitops_core.decoding import convert
from gitops_core.domain.sources.identities import is_cloud_audience
from gitops_core.domain.sync.targets import is_account_name

Provider = Literal["generic", "aws", "azure", "gcp"]

LONGEST_AUDIENCES = 4096
LONGEST_ADDRESS = 2048

FORMS: Mapping[str, re.Pattern[str]] = {
    "aws": re.compile(r"arn:aws[a-z-]{0,20}:eks:([a-z0-9-]{1,40}):[0-9]{1,30}:cluster/([A-Za-z0-9_-]{1,200})"),
    "azure": re.compile(
        r"/subscriptions/([0-9A-Za-z-]{1,36})/resourceGroups/([\w.()-]{1,200})"
        r"/providers/Microsoft\.ContainerService/managedClusters/([\w-]{1,200})",
        re.IGNORECASE | re.ASCII,
    ),
    "gcp": re.compile(r"projects/([\w.:-]{1,200})/locations/([\w-]{1,200})/clusters/([\w-]{1,200})", re.ASCII),
}
EXAMPLES = {
    "aws": "arn:aws:eks:REGION:ACCOUNT:cluster/NAME",
    "azure": "/subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.ContainerService/managedClusters/NAME",
    "gcp": "projects/PROJECT/locations/PLACE/clusters/NAME",
}


class Remote(NamedTuple):
    """Attributes:
    account: a ServiceAccount beside the ConfigMap; "" for this process's own identity in a cloud.
    address: as `write_address` writes it; "" where the cloud says it.
    ca: PEM.
    """

    provider: Provider
    account: str
    cluster: str = ""
    address: str = ""
    ca: bytes | None = None
    audiences: tuple[str, ...] = ()


def read_remote(data: Mapping[str, str], default_account: str) -> Remote:
    """Read what a ConfigMap describes. Raises ValueError with what is wrong.

    Args:
        default_account: of those that name none; "" for none.
    """
    account = data.get("serviceAccountName") or default_account
    if account and not is_account_name(account):
        raise ValueError(f"serviceAccountName is {account[:100]!r}, as which no ServiceAccount can be called")
    ca = data.get("ca.crt", "").encode() or None
    if ca is not None and b"-----BEGIN CERTIFICATE-----" not in ca:
        raise ValueError("ca.crt is no certificate in PEM")
    address = write_address(data["address"]) if data.get("address") else ""
    match data.get("provider", ""):
        case "generic":
            if not address:
                raise ValueError("provider generic needs an address")
            if not account:
                raise ValueError("provider generic needs serviceAccountName: the service's own token is sent nowhere")
            audiences = _read_audiences(data.get("audiences", "")) or (data["address"].strip(),)
            return Remote("generic", account, address=address, ca=ca, audiences=audiences)
        case "aws" | "azure" | "gcp" as provider:
            cluster = data.get("cluster", "")
            if not FORMS[provider].fullmatch(cluster):
                raise ValueError(f"cluster is {cluster[:200]!r}, and not of the form {EXAMPLES[provider]}")
            return Remote(provider, account, cluster, address, ca)
        case other:
            raise ValueError(f"provider is {other[:100]!r}, and not generic, aws, azure or gcp")


def split_cluster(provider: Provider, cluster: str) -> tuple[str, ...]:
    """Split a cluster's name: aws (region, name), azure (subscription, group, name), gcp (project, place, name)."""
    match = FORMS[provider].fullmatch(cluster)
    if match is None:
        raise ValueError(f"{cluster[:200]!r} is no cluster of provider {provider!r}")
    return match.groups()


def write_address(address: str) -> str:
    """Write the address of an API server in the one form that is compared. Raises ValueError: it is none over TLS.

    >>> write_address("Prod.example"), write_address("https://[::1]:6443/")
    ('https://prod.example:443', 'https://[::1]:6443')
    """
    text = address.strip()
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, port = parts.hostname or "", 443 if parts.port is None else parts.port
    except ValueError:
        host, port, parts = "", 0, urlsplit("")
    is_bare = parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in parts.netloc)
    if not re.fullmatch(r"[a-z0-9.:_-]+", host) or not port or not is_bare or len(text) > LONGEST_ADDRESS:
        raise ValueError(f"address is {text[:200]!r}, and not https://HOST:PORT")
    if parts.scheme != "https":
        raise ValueError(f"address is {text[:200]!r}: a token goes over https only")
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"


def refuse_audiences(wanted: tuple[str, ...], own: tuple[str, ...]) -> None:
    """Raise ValueError if a token for these audiences would be good elsewhere than in the other cluster.

    Args:
        own: for whom our own API server takes tokens.
    """
    for audience in wanted:
        if audience in own:
            cause = "our own API server takes, so the other cluster could act here"
        elif is_cloud_audience(audience):
            cause = "a cloud takes, so the other cluster could act there"
        else:
            continue
        raise ValueError(f"audiences: a token for {audience[:200]!r} is one that {cause}; name one of its own")


def _read_audiences(text: str) -> tuple[str, ...]:
    trouble = "audiences is no YAML list of texts"
    if len(text) > LONGEST_AUDIENCES:
        raise ValueError(f"{trouble} of less than {LONGEST_AUDIENCES} characters")
    try:
        found = convert(yaml.safe_load(text) or [], list[str])
    except (yaml.YAMLError, msgspec.ValidationError, ValueError, LookupError, AttributeError, RecursionError):
        raise ValueError(trouble) from None
    if not all(found):
        raise ValueError(trouble)
    return tuple(found)
