"""What a terminal may be shown: names and messages quote what strangers and their servers said."""

from __future__ import annotations

import re

_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_HALF = re.compile("[\ud800-\udfff]")


def make_visible(text: str) -> str:
    """Write one line that cannot steer a terminal.

    >>> make_visible("the name\\x1b[2J\\nis taken")
    'the name [2J is taken'
    """
    return _HALF.sub("\ufffd", _INVISIBLE.sub(" ", text))
