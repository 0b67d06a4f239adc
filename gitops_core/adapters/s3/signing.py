"""Signs a request as AWS's Signature Version 4 wants it. Pure: the time is given.

    string to sign = AWS4-HMAC-SHA256 \\n time \\n date/region/s3/aws4_request \\n sha256(canonical request)
    key            = HMAC(HMAC(HMAC(HMAC("AWS4" + secret, date), region), "s3"), "aws4_request")

Source: docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime
from urllib.parse import quote

from gitops_core.ports import AwsKeys

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


def sign(method: str, host: str, path: str, query: str, now: datetime, region: str, keys: AwsKeys) -> dict[str, str]:
    """Return the headers that prove who asks. Nothing is sent with the request."""
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    proof = {"x-amz-content-sha256": EMPTY, "x-amz-date": moment}
    if keys.session_token is not None:
        proof["x-amz-security-token"] = keys.session_token.reveal_text()
    signed = {"host": host, **proof}
    headers = "".join(f"{name}:{value}\n" for name, value in signed.items())
    canonical = "\n".join((method, path, query, headers, ";".join(signed), EMPTY))
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = b"AWS4" + keys.secret_key.reveal()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    who = f"Credential={keys.access_key}/{scope}, SignedHeaders={';'.join(signed)}, Signature={signature}"
    return {**proof, "Authorization": f"AWS4-HMAC-SHA256 {who}"}
