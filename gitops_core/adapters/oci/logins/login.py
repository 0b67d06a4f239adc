"""What a cloud's login ends with."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from gitops_core.oci.credentials import Credentials

CONNECT, READ = 5.0, 10.0
"""Seconds that an SDK waits for a connection, and for an answer."""

LONGEST_CAUSE = 300


class Login(NamedTuple):
    credentials: Credentials
    expires: datetime


class SdkMissing(Exception):
    """The SDK is not installed. The message is the package's name."""


def shorten_message(error: Exception) -> str:
    """Return an SDK's message in one line. SDKs name identities and endpoints in their errors, not credentials."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:LONGEST_CAUSE]}"
