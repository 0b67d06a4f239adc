"""What asking a cloud by its SDK ends with. An SDK blocks; each is imported by the first who needs it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from gitops_core.meta import Sensitive

CONNECT, READ = 5.0, 10.0
"""Seconds that an SDK waits for a connection, and for an answer."""

LONGEST_CAUSE = 300
EARLY = 300.0
LONGEST = 12 * 3600.0


class BearerToken(NamedTuple):
    token: Sensitive
    expires: datetime


class SdkMissing(Exception):
    """The SDK is not installed. The message is the package's name."""


def shorten_message(error: Exception) -> str:
    """Return an SDK's message in one line. SDKs name identities and endpoints in their errors, not credentials."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:LONGEST_CAUSE]}"


def count_seconds(expires: datetime) -> float:
    """Count for how many seconds what ends then is kept: it is renewed before, and looked after twice a day."""
    left = (expires - datetime.now(UTC)).total_seconds()
    return min(max(left - EARLY, left / 2), LONGEST)
