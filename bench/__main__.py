"""`make bench`: every benchmark in one run, side by side, each as a table.

python -m bench                 all of them
python -m bench kustomizations  one
"""

from __future__ import annotations

import importlib
import sys

from bench.table import show

BENCHMARKS = {
    "kustomizations": "100 Kustomizations of one path (Flux: 9.7 s, 24 requests; again 8.2-9.3 s, 17 requests each)",
    "bump": "tag to commit on the remote; 20,000 files, 40 MiB, one marker, mirror warm (Flux: 5.2-8.1 s, 210 MiB)",
    "idle": "10,000 idle objects (targets: 1 s of CPU, 100 MiB, constant tasks, 0.6 s of CPU a minute)",
    "git": "Git on a mirror of 20,000 files",
}


def main() -> None:
    wanted = sys.argv[1:] or list(BENCHMARKS)
    if unknown := sorted(set(wanted) - set(BENCHMARKS)):
        sys.exit(f"bench: no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    for name in wanted:
        show(BENCHMARKS[name], importlib.import_module(f"bench.{name}").rows())


main()
