"""Threads that decode a type at the same time, when nobody has decoded it before.

In a process of its own each time: what is wrong ends the process.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.servers.programs import ROOT

TYPES, FIELDS, THREADS = 12, 8, 4

SCRIPT = f"""
import sys, threading, types
from gitops_core.decoding import convert, decode_json, make_decoder

def make_types(number):
    module = sys.modules[f"m{{number}}"] = types.ModuleType(f"m{{number}}")
    inner, lines = "int", ["import msgspec"]
    for level in range({TYPES}):
        lines.append(f"class S{{level}}(msgspec.Struct):")
        lines += [f"    f{{field}}: {{inner}} | None = None" for field in range({FIELDS})]
        inner = f"S{{level}}"
    exec("\\n".join(lines), module.__dict__)
    return module.S{TYPES - 1}, module.S{TYPES - 2}

def decode(barrier, decode, types):
    barrier.wait()
    for type_ in types:
        assert decode(type_).f{FIELDS - 1} is not None

body, value = '{{"f{FIELDS - 1}": {{}}}}', {{"f{FIELDS - 1}": {{}}}}
ways = {{
    "decode": lambda type_: decode_json(body, type_),
    "convert": lambda type_: convert(value, type_),
    "decoder": lambda type_: make_decoder(type_).decode(body),
}}
sys.setswitchinterval(1e-6)
for number in range(300):
    barrier, found = threading.Barrier({THREADS}), make_types(number)
    orders = [found, found[::-1]] * {THREADS // 2}
    threads = [threading.Thread(target=decode, args=(barrier, ways[sys.argv[1]], order)) for order in orders]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
print("decoded")
"""


@pytest.mark.parametrize("way", ["decode", "convert", "decoder"])
def test_threads_that_decode_a_new_type_at_once_all_decode_it(way: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, way], cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert (done.returncode, done.stdout, done.stderr) == (0, "decoded\n", "")
