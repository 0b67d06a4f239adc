"""What connections trust, shared by all who trust the same; and what they show, without a disk."""

from __future__ import annotations

import os
import re
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from gitops_core.meta import Sensitive

MOST_KEY = 3600
"""Characters of a private key in PEM. RSA of 4,096 bits has close to 3,300; of 32,768 it takes 12 s a handshake."""

_KEY = re.compile(rb"-----BEGIN [^\n-]*PRIVATE KEY-----(.*?)(?:-----END|\Z)", re.DOTALL)


class Authorities:
    """TLS contexts, one for each bundle of authorities that somebody trusts now: each takes close to a megabyte."""

    def __init__(self) -> None:
        self._contexts: WeakValueDictionary[bytes, ssl.SSLContext] = WeakValueDictionary()

    def get_context(self, ca: bytes) -> ssl.SSLContext:
        """Return a context that trusts `ca` (PEM) alone, or the system's authorities when it is empty.

        It is shared: change nothing in it, and keep it as long as you need it. Raises ValueError: `ca` is not PEM.
        """
        context = self._contexts.get(ca)
        if context is None:
            try:
                context = ssl.create_default_context(cadata=ca.decode() if ca else None)
            except (ssl.SSLError, UnicodeDecodeError):
                raise ValueError("not PEM certificates") from None
            self._contexts[ca] = context
        return context


def is_slow(*pem: bytes) -> bool:
    """Tell whether these files hold a private key that is too large to be used in the event loop.

    Nobody can end what a handshake computes with it, and OpenSSL bounds public keys alone.
    """
    return any(len(match[1]) > MOST_KEY for match in _KEY.finditer(b"\n".join(pem)))


def show_certificate(context: ssl.SSLContext, chain: bytes, key: Sensitive) -> None:
    """Let connections show the certificate. Raises ValueError: no pair in PEM, or the key is encrypted."""
    with _as_file(chain + b"\n" + key.reveal()) as path:
        try:
            context.load_cert_chain(path, password=_refuse_passphrase)
        except (ssl.SSLError, ValueError):
            raise ValueError("certificate and key are not a pair in PEM") from None


def _refuse_passphrase() -> str:
    raise ValueError  # the default would ask on the terminal


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Yield a path to `content`, because Python loads keys from nothing else: in memory where the system can."""
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
