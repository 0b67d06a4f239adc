"""The program that evaluates CEL, run in a sandbox: it reads questions and prints their answers, in that order.

    celprogram.py DIRECTORY MEMORY SECONDS     the package cel_expr_python, and what the program may take at most

A question is {"expression", "names": its variables or null, "data": their values or null, "checked"}; an answer is
{"value"}, {"invalid": why it does not compile} or {"failed": why it has no value for this data}. It imports nothing of
ours: what it needs may be read, and no more.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from types import ModuleType
from typing import Any

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = (
    "true false null in as break const continue else for function if import let loop package namespace return var void "
    "while int uint double bool string bytes list map type null_type timestamp duration dyn optional optional_type "
    "google cel"
)
_TAKEN = frozenset(_WORDS.split())


def answer(question: dict[str, Any]) -> dict[str, Any]:
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_encoders, ext_optional, ext_strings

    text, names = question["expression"], question["names"]
    if names is None:
        names = sorted(set(_NAME.findall(text)) - _TAKEN)
    extensions = [ext_strings.ExtStrings(), ext_optional.ExtOptional(), ext_encoders.ExtEncoders()]
    try:
        environment = cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN), extensions=extensions)
        program = environment.compile(text)
    except RuntimeError as error:
        return {"invalid": str(error)}
    kind = program.return_type().name()
    if question["checked"] and kind != "BOOL":
        return {"invalid": f"it is of type {kind.lower()}, and not a bool"}
    if question["data"] is None:
        return {"value": True}
    try:
        result = program.eval(data={name: value for name, value in question["data"].items() if name in names})
    except MemoryError:
        raise
    except Exception as error:  # whatever it is, the other questions have answers
        return {"failed": str(error) if isinstance(error, RuntimeError) else type(error).__name__}
    found = result.type().name()
    if found != "BOOL":
        return {"failed": str(result.value()) if found == "ERROR" else f"it is of type {found.lower()}, and not a bool"}
    return {"value": bool(result.plain_value())}


def limit(memory: int, seconds: int) -> None:
    """Take no more than this, whoever we run as: who is another user's parent cannot see to it."""
    for kind, wanted in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_CPU, seconds)):
        _, hard = resource.getrlimit(kind)
        bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (bound, bound))


def main() -> None:
    limit(int(sys.argv[2]), int(sys.argv[3]))
    package = sys.modules["cel_expr_python"] = ModuleType("cel_expr_python")  # the folder above may not be read
    package.__path__ = [sys.argv[1]]
    json.dump([answer(question) for question in json.load(sys.stdin.buffer)], sys.stdout)


if __name__ == "__main__":
    main()
