"""GJSON paths: how a `property` picks a value out of a secret's text.

The text is never parsed as a whole: an object or array is answered as the very characters it was written with, white
space and order of keys included, and what comes after the value may be broken. Of duplicate keys the first wins.

    get('{"n": 1.0, "o": {"b" : [1, 2]}}', "o")  ->  {"b" : [1, 2]}
    get('{"n": 1.0, "o": {"b" : [1, 2]}}', "n")  ->  1

Source: github.com/tidwall/gjson, SYNTAX.md (version 1.18). Left out: the modifier @pretty.
"""

from secrets_sync.domain.gjson.search import TooMuchWork, get
from secrets_sync.domain.gjson.tokens import MISSING, Type, Value

__all__ = ["MISSING", "TooMuchWork", "Type", "Value", "get"]
