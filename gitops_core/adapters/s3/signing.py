"""Signs a request as AWS's Signature Version 4 wants it. Pure: the time is given.

    string to sign = AWS4-HMAC-SHA256 \\n time \\n date/region/service/aws4_request \\n sha256(canonical request)
    key            = HMAC(HMAC(HMAC(HMAC("AWS4" + secret, date), region), service), "aws4_request")

Source: docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime
from urllib.parse import quote

from gitops_core.ports import AwsKeys

MOMENT = "%Y%m%dT%H%M%SZ"
EMPTY = hashlib.sha256(b"").hexdigest()


def write_path(bucket: str, key: str = "") -> str:
    """Write the path of an object, each byte but the usual ones escaped.

    >>> write_path("fleet", "a b/ü.yaml")
    '/fleet/a%20b/%C3%BC.yaml'
    """
    return f"/{quote(bucket, safe='')}/{quote(key, safe='/')}"


def write_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Write a query in the order that is signed."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(pairs))


def sign(
    method: str, host: str, path: str, query: str, now: datetime, region: str, keys: AwsKeys, *, service: str = "s3"
) -> dict[str, str]:
    """Return the headers that prove who asks. Nothing is sent with the request."""
    moment = now.strftime(MOMENT)
    proof = {"x-amz-content-sha256": EMPTY, "x-amz-date": moment}
    if keys.session_token is not None:
        proof["x-amz-security-token"] = keys.session_token.reveal_text()
    signed = {"host": host, **proof}
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    signature = compute_signature(_write_request(method, path, query, signed), moment, scope, keys)
    who = f"Credential={keys.access_key}/{scope}, SignedHeaders={';'.join(signed)}, Signature={signature}"
    return {**proof, "Authorization": f"AWS4-HMAC-SHA256 {who}"}


def presign(
    method: str,
    path: str,
    pairs: Iterable[tuple[str, str]],
    headers: Mapping[str, str],
    now: datetime,
    region: str,
    keys: AwsKeys,
    *,
    service: str,
    seconds: int,
) -> str:
    """Return a query that proves who asks, to whoever sends it with `headers` (sorted, the host among them)."""
    moment = now.strftime(MOMENT)
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    proof = [
        *pairs,
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", f"{keys.access_key}/{scope}"),
        ("X-Amz-Date", moment),
        ("X-Amz-Expires", str(seconds)),
        ("X-Amz-SignedHeaders", ";".join(headers)),
    ]
    if keys.session_token is not None:
        proof.append(("X-Amz-Security-Token", keys.session_token.reveal_text()))
    query = write_query(proof)
    signature = compute_signature(_write_request(method, path, query, headers), moment, scope, keys)
    return f"{query}&X-Amz-Signature={signature}"


def compute_signature(canonical: str, moment: str, scope: str, keys: AwsKeys) -> str:
    """Compute the signature of a canonical request, in hexadecimal digits."""
    text = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = b"AWS4" + keys.secret_key.reveal()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _write_request(method: str, path: str, query: str, headers: Mapping[str, str]) -> str:
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    return "\n".join((method, path, query, lines, ";".join(headers), EMPTY))
