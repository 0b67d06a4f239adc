"""How the process logs: one line an event on standard error, as text for people or JSON for machines.

Libraries log a constant message and fields (`extra={...}`); both formats show the fields. Exceptions of ours carry no
secret, and bodies of requests are never logged.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import msgspec

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(style: Literal["text", "json"], level: str) -> None:
    """Send every log record at or above `level` to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # One line an HTTP request or spawned process is noise at Info, and urllib3 would log request paths.
    for chatty in ("aiohttp.access", "asyncio", "urllib3", "hvac"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def get_fields(record: logging.LogRecord) -> dict[str, object]:
    """Return what the caller passed as `extra`, in order."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **get_fields(record),
        }
        if record.exc_info:
            line["stacktrace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = " ".join(f"{name}={_quote(value)}" for name, value in get_fields(record).items())
        line = f"{when} {record.levelname:<7} {record.getMessage()}  {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _quote(value: object) -> str:
    """Write one word, or a JSON string: a line feed in a value must not begin another line."""
    text = str(value)
    return text if text.isprintable() and text and not set(text) & set(' "=') else msgspec.json.encode(text).decode()
