"""What an object store answers in XML: a page of a listing, keys, or what went wrong.

    <ListBucketResult><Contents><Key>a</Key><ETag>"..."</ETag><Size>1</Size></Contents>
      <IsTruncated>true</IsTruncated><NextContinuationToken>...</NextContinuationToken></ListBucketResult>
    <Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>

An answer with a document type is none: its entities could be anything.

Source: docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html and ErrorResponses.html.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple
from xml.parsers import expat

from gitops_core.meta import Sensitive
from gitops_core.ports import AwsKeys, StoredObject

DEEPEST = 8


class Listing(NamedTuple):
    """One page. `token` is where the next one begins, "" on the last one."""

    objects: tuple[StoredObject, ...]
    token: str


def read_listing(body: bytes) -> Listing:
    """Read a page. Raises ValueError: it is none."""
    objects, top, entry = list[StoredObject](), dict[str, str](), dict[str, str]()

    def end(path: tuple[str, ...], text: str) -> None:
        match path:
            case ("ListBucketResult", "Contents"):
                size = entry.get("Size", "")
                if "Key" not in entry or not size.isdecimal() or len(size) > 20:
                    raise ValueError("an entry has no key or no size")
                objects.append(StoredObject(entry["Key"], entry.get("ETag", "").strip('"'), int(size)))
                entry.clear()
            case ("ListBucketResult", "Contents", name):
                entry[name] = text
            case ("ListBucketResult", name):
                top[name] = text
            case ("ListBucketResult",):
                top[""] = "read"

    _parse(body, end)
    if not top.get(""):
        raise ValueError("it is no listing")
    is_last = top.get("IsTruncated", "false").strip() != "true"
    token = "" if is_last else top.get("NextContinuationToken", "")
    if not is_last and not token:
        raise ValueError("there is more, and it does not say where")
    return Listing(tuple(objects), token)


def read_error(body: bytes) -> str:
    """Read the message of an error; "" for none."""
    found = dict[str, str]()

    def end(path: tuple[str, ...], text: str) -> None:
        if path[-2:-1] == ("Error",):  # a token service puts it into an ErrorResponse
            found[path[-1]] = text

    try:
        _parse(body, end)
    except ValueError:
        return ""
    return found.get("Message") or found.get("Code", "")


class Given(NamedTuple):
    """Keys, and until when they are some."""

    keys: AwsKeys
    expires: datetime


def read_keys(body: bytes) -> Given:
    """Read the keys that a token service gives. Raises ValueError, which quotes none: there are none."""
    found = dict[str, str]()

    def end(path: tuple[str, ...], text: str) -> None:
        if path[-2:-1] == ("Credentials",):
            found[path[-1]] = text

    _parse(body, end)
    values = [found.get(name, "") for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
    # they become headers
    if not all(value.isascii() and value.isprintable() for value in values) or not (values[0] and values[1]):
        raise ValueError("it holds no keys")
    try:
        expires = datetime.fromisoformat(found.get("Expiration", ""))
    except ValueError:
        raise ValueError("it does not say until when the keys last") from None
    token = Sensitive(values[2]) if values[2] else None
    return Given(
        AwsKeys(values[0], Sensitive(values[1]), token), expires if expires.tzinfo else expires.replace(tzinfo=UTC)
    )


def _parse(body: bytes, end: Callable[[tuple[str, ...], str], None]) -> None:
    """Call `end` for each element with its path and its text. Raises ValueError."""
    parser = expat.ParserCreate()
    path: list[str] = []
    text: list[str] = []

    def begin(name: str, _: dict[str, str]) -> None:
        path.append(name.rpartition(":")[2])
        if len(path) > DEEPEST:
            raise ValueError("it is nested too deep")
        text.clear()

    def finish(_: str) -> None:
        end(tuple(path), "".join(text))
        path.pop()
        text.clear()

    def refuse(*_: object) -> None:
        raise ValueError("it has a document type")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = begin, finish
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise ValueError(f"it is no XML: {expat.errors.messages.get(error.code, 'unknown error')}") from None
