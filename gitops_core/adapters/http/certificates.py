"""A client's certificate and key, into a TLS context without a disk."""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from gitops_core.meta import Sensitive


def show_certificate(context: ssl.SSLContext, chain: bytes, key: Sensitive) -> None:
    """Let connections show the certificate. Raises ValueError: no pair in PEM, or the key is encrypted."""
    with _as_file(chain + b"\n" + key.reveal()) as path:
        try:
            context.load_cert_chain(path, password=_no_passphrase)
        except (ssl.SSLError, ValueError):
            raise ValueError("certificate and key are not a pair in PEM") from None


def _no_passphrase() -> str:
    raise ValueError  # the default would ask on the terminal


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path to `content`, because Python loads keys from nothing else: in memory where the system can."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:
        with tempfile.NamedTemporaryFile() as file:  # readable by its owner only, and gone at once
            file.write(content)
            file.flush()
            yield file.name
