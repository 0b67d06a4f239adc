"""JSON, and what was decoded before, as typed objects; the one door to msgspec's decoders.

msgspec learns how a Struct is decoded when it is first asked to, by running Python, which another thread may interrupt.
A thread that is asked for the same Struct meanwhile uses what is half learned, and the process ends by a segmentation
fault (msgspec 0.22: `StructInfo_Convert` stores its result before it is whole). So types are learned by one thread at a
time, and none is used before it is whole.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, TypeVar, cast, overload

import msgspec

T = TypeVar("T")

_learned: dict[Any, msgspec.json.Decoder[Any]] = {}
_turn = Lock()


def make_decoder(type_: type[T]) -> msgspec.json.Decoder[T]:
    """Return the decoder of a type, made if there is none; threads may share it."""
    if (known := _learned.get(type_)) is None:
        with _turn:
            known = _learned.get(type_)
            if known is None:
                known = _learned[type_] = msgspec.json.Decoder(type_)
    return cast("msgspec.json.Decoder[T]", known)


@overload
def decode_json(body: bytes | str | msgspec.Raw) -> Any: ...
@overload
def decode_json(body: bytes | str | msgspec.Raw, type_: type[T]) -> T: ...
def decode_json(body: bytes | str | msgspec.Raw, type_: Any = Any) -> Any:
    """Decode JSON as an object of `type_`.

    Raises:
        msgspec.ValidationError: it does not fit; names the path of the field.
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is no JSON.
    """
    return make_decoder(type_).decode(body)


def convert(value: Any, type_: type[T]) -> T:
    """Make an object of `type_` of what was decoded as lists and mappings.

    Raises:
        msgspec.ValidationError: names the path of the field that does not fit.
    """
    make_decoder(type_)
    return msgspec.convert(value, type_)
