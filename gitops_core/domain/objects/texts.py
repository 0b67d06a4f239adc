"""Texts cut to what their reader takes.

    a condition's message    32,768 characters, else the whole status is refused
    an Event's               1,024 bytes

Source: k8s.io/apimachinery, metav1.Condition; k8s.io/kubernetes, pkg/apis/core/validation (NoteLengthLimit).
"""

from __future__ import annotations


def shorten(text: str, most: int) -> str:
    """Shorten `text` to at most `most` bytes of UTF-8, at least 64; a cut one ends with how many bytes are left out.

    >>> shorten("all is well", 64)
    'all is well'
    >>> shorten("ä" * 1000, 64)
    'äääääääääääääääääää... (1962 bytes left out)'
    """
    if text.isascii() and len(text) <= most:
        return text
    content = text.encode("utf-8", "replace")  # a file's name may hold what is no character
    if len(content) <= most:
        return content.decode()
    room = most - len(f"... ({len(content)} bytes left out)")
    kept = content[:room].decode("utf-8", "ignore")
    return f"{kept}... ({len(content) - len(kept.encode())} bytes left out)"


def abridge(text: str, most: int) -> str:
    """Leave out the middle: people say first what they are about, and last what is wrong.

    >>> abridge("spec.template: " + "x" * 1000 + ": must be small", 96)
    'spec.template: xxxxxxxxxxxxxxxxx ... (966 bytes left out) ... xxxxxxxxxxxxxxxxx: must be small'
    """
    content = text.encode("utf-8", "replace")
    if len(content) <= most:
        return content.decode()
    room = (most - len(f" ... ({len(content)} bytes left out) ... ")) // 2
    head = content[:room].decode("utf-8", "ignore")
    tail = content[len(content) - room :].decode("utf-8", "ignore")
    left = len(content) - len(head.encode()) - len(tail.encode())
    return f"{head} ... ({left} bytes left out) ... {tail}"
