"""What an API class says about a field beside its type: each is one `Annotated[...]` argument.

    force: Annotated[bool, SERVER_DEFAULT, UNSUPPORTED] = False

The API server stores the default `false`, and an object that says `true` is told that nothing acts on it. To act on a
field, take its `UNSUPPORTED` away; to act on one value more, name it in `only(...)`.
"""

from __future__ import annotations

from typing import Any

import msgspec

SERVER_DEFAULT = msgspec.Meta(extra={"server_default": True})
"""The CRD has the field's Python default as its default, so the API server stores it when the field is missing.

Without it, the Python default only says what a missing field means to us.
"""

UNSUPPORTED = msgspec.Meta(extra={"supported": ()})
"""Nothing acts on this field yet: an object that sets it gets the condition Unsupported."""

NOT_SEEN = msgspec.Meta(extra_json_schema={"default": {"observedGeneration": -1}})
"""The default of a Flux kind's status: `kubectl wait` and kstatus see that no controller has looked at the object."""

INT64 = msgspec.Meta(extra_json_schema={"format": "int64"})


def only(*values: str | int | bool) -> msgspec.Meta:
    """Mark the values of a field that are acted on; any other one gets the condition Unsupported."""
    return msgspec.Meta(extra={"supported": values})


def rules(*pairs: tuple[str, str]) -> msgspec.Meta:
    """Mark a field with CEL rules, each with its message: `self` is the field's value."""
    return msgspec.Meta(extra_json_schema={"x-kubernetes-validations": validations(pairs)})


def validations(pairs: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    return [{"rule": rule, "message": message} for rule, message in pairs]
