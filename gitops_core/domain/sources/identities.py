"""What a cloud lets a ServiceAccount be: its role, from the annotations that the cloud's own tools read.

    aws    eks.amazonaws.com/role-arn                      arn:aws:iam::123456789012:role/fleet
    azure  azure.workload.identity/tenant-id, /client-id   11111111-2222-3333-4444-555555555555
    gcp    gcp.auth.fluxcd.io/workload-identity-provider   projects/1/locations/global/workloadIdentityPools/...
           iam.gke.io/gcp-service-account (optional)       fleet@project.iam.gserviceaccount.com

Everything here was written by a tenant: what becomes part of an address has the form of a name.

Source: github.com/fluxcd/pkg, auth/{aws,azure,gcp}/options.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

Provider = Literal["aws", "azure", "gcp"]

ROLE = "eks.amazonaws.com/role-arn"
TENANT, CLIENT = "azure.workload.identity/tenant-id", "azure.workload.identity/client-id"
POOL, EMAIL = "gcp.auth.fluxcd.io/workload-identity-provider", "iam.gke.io/gcp-service-account"

_FORMS = {
    ROLE: re.compile(r"arn:aws[a-z-]{0,20}:iam::[0-9]{1,30}:role/[\x21-\x7e]{1,200}"),
    TENANT: re.compile(r"[0-9A-Za-z.-]{1,100}"),
    CLIENT: re.compile(r"[0-9A-Za-z-]{1,100}"),
    POOL: re.compile(r"projects/\d{1,30}/locations/global/workloadIdentityPools/[\w-]{1,100}/providers/[\w-]{1,100}"),
    EMAIL: re.compile(r"[a-zA-Z0-9-]{1,100}@[a-zA-Z0-9-]{1,100}\.iam\.gserviceaccount\.com"),
}
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z0-9]+){1,5}")
_STS = re.compile(r"(?:[a-z0-9-]+\.)*sts(?:-fips)?(?:\.[a-z0-9-]+)?(?:\.vpce)?\.amazonaws\.com(?:\.cn)?")


class Role(NamedTuple):
    """Attributes:
    names: aws (ARN,), azure (tenant, client), gcp (pool's provider, e-mail or "").
    audience: for whom the ServiceAccount's token is made, that proves it: the cloud's token service, and nobody else.
    """

    provider: Provider
    names: tuple[str, ...]
    audience: str


def find_role(provider: Provider, annotations: Mapping[str, str]) -> Role:
    """Find the role of a ServiceAccount. Raises ValueError: it has none, or what is there is none."""
    match provider:
        case "aws":
            return Role(provider, (_read(annotations, ROLE),), "sts.amazonaws.com")
        case "azure":
            names = (_read(annotations, TENANT), _read(annotations, CLIENT))
            return Role(provider, names, "api://AzureADTokenExchange")
        case "gcp":
            pool = f"//iam.googleapis.com/{_read(annotations, POOL)}"
            return Role(provider, (pool, _read(annotations, EMAIL) if annotations.get(EMAIL) else ""), pool)


def is_cloud_audience(audience: str) -> bool:
    """Tell whether a token for that audience is one that a cloud gives its own credentials for.

    >>> [is_cloud_audience(each) for each in ("sts.amazonaws.com", "https://far.example:6443")]
    [True, False]
    """
    clouds = ("sts.amazonaws.com", "api://azureadtokenexchange", "//iam.googleapis.com/", "https://iam.googleapis.com/")
    return audience.lower().startswith(clouds) or audience.lower().endswith(".svc.id.goog")


def is_region(region: str) -> bool:
    """Tell whether a region of AWS may be called that: it becomes part of a host's name.

    >>> [is_region(name) for name in ("eu-central-1", "evil.example/")]
    [True, False]
    """
    return len(region) <= 40 and _REGION.fullmatch(region) is not None


def write_sts_endpoint(region: str) -> str:
    """Write where the token service of a region is.

    >>> write_sts_endpoint("cn-north-1")
    'https://sts.cn-north-1.amazonaws.com.cn'
    """
    return f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def is_sts_endpoint(endpoint: str) -> bool:
    """Tell whether it is the address of a token service of AWS's, over TLS, and nothing else.

    >>> is_sts_endpoint("https://vpce-1-2.sts.us-east-1.vpce.amazonaws.com")
    True
    >>> any(map(is_sts_endpoint, ("https://evil.example/.sts.amazonaws.com", "http://sts.amazonaws.com")))
    False
    """
    parts = split_address(endpoint)
    return (
        parts.scheme == "https"
        and _STS.fullmatch(parts.netloc) is not None
        and not (parts.path.strip("/") or parts.query or parts.fragment)
    )


def split_address(text: str) -> SplitResult:
    """Split an address that somebody wrote; what is none has no part.

    >>> split_address("https://["), split_address("https://a.example/b").netloc
    (SplitResult(scheme='', netloc='', path='', query='', fragment=''), 'a.example')
    """
    try:
        parts = urlsplit(text) if text.isascii() and text.isprintable() else urlsplit("")
        _ = parts.port
    except ValueError:  # a bracket that is not closed, a port that is no number
        return urlsplit("")
    return parts


def is_aws_host(host: str) -> bool:
    """Tell whether a host, without a port, is one of AWS's own.

    >>> [is_aws_host(host) for host in ("s3.eu-central-1.amazonaws.com", "amazonaws.com.evil.example")]
    [True, False]
    """
    return re.fullmatch(r"(?:[a-z0-9-]+\.)+amazonaws\.com(?:\.cn)?", host) is not None


def _read(annotations: Mapping[str, str], name: str) -> str:
    value = annotations.get(name) or ""
    if not value:
        raise ValueError(f"it has no annotation {name}")
    if not _FORMS[name].fullmatch(value):
        raise ValueError(f"its annotation {name} is none: {value[:100]!r}")
    return value
