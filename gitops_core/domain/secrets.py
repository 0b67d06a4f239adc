"""How the API server stores a Secret: what is written as text in stringData becomes base64 in data."""

from __future__ import annotations

import base64
from typing import Any

from gitops_core.meta import Manifest


def with_encoded_strings(secret: Manifest) -> dict[str, Any]:
    """
    >>> with_encoded_strings({"kind": "Secret", "stringData": {"user": "admin"}})
    {'kind': 'Secret', 'data': {'user': 'YWRtaW4='}}
    """
    strings = secret.get("stringData")
    rest = {name: value for name, value in secret.items() if name != "stringData"}
    if not strings:
        return rest
    encoded = {name: base64.b64encode(str(value).encode()).decode() for name, value in strings.items()}
    return {**rest, "data": {**(secret.get("data") or {}), **encoded}}
