"""decodingStrategy: what is stored encoded becomes bytes again.

Base64 and Base64URL want padding and, as Go's decoders, overlook line breaks and nothing else. Auto tries both and
takes the value as it is when neither fits: `abcd`, `password` and `12345678` are valid base64 and come out as such.
"""

from __future__ import annotations

import base64
import re
from typing import Literal

from gitops_core.meta import Sensitive

Strategy = Literal["Auto", "Base64", "Base64URL", "None"]

_STANDARD = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_URL = re.compile(rb"(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}==|[A-Za-z0-9_-]{3}=)?")


def decode(value: Sensitive, strategy: Strategy) -> Sensitive:
    """Decode `value` into the bytes that it stands for. Raises ValueError, which does not quote the value."""
    text = value.reveal()
    plain = re.sub(rb"[\r\n]", b"", text)
    if strategy in ("Base64", "Auto") and _STANDARD.fullmatch(plain):
        return Sensitive(base64.b64decode(plain))
    if strategy in ("Base64URL", "Auto") and _URL.fullmatch(plain):
        return Sensitive(base64.urlsafe_b64decode(plain))
    if strategy in ("Base64", "Base64URL"):
        raise ValueError(f"not {strategy.lower()}, as decodingStrategy {strategy} says it is")
    return value
