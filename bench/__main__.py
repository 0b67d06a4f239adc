"""`make bench`: every benchmark in one run, side by side, each as a table.

python -m bench                          all of them
python -m bench kustomizations           one
python -m bench images.applied           one group of rows
python -m bench kustomizations.paths=30  one group, with fewer objects than it is about
"""

from __future__ import annotations

import importlib
import sys

from bench.table import show
from tests.servers.programs import ProgramMissing

BENCHMARKS = {
    "kustomizations": "gitops_core, from a commit to the cluster (what Flux takes, and targets: docs/benchmarks.md)",
    "images": "image_updater, from a tag to the cluster and back (targets: docs/benchmarks.md)",
    "idle": "10,000 idle objects (targets: 1 s of CPU, 100 MiB, constant tasks, 0.6 s of CPU a minute)",
    "git": "Git on a mirror of 20,000 files",
}


def main() -> None:
    wanted = sys.argv[1:] or list(BENCHMARKS)
    if unknown := sorted({name.partition(".")[0] for name in wanted} - set(BENCHMARKS)):
        sys.exit(f"bench: no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    for each in wanted:
        name, _, group = each.partition(".")
        rows = importlib.import_module(f"bench.{name}").rows
        try:
            show(BENCHMARKS[name], rows(group) if group else rows())
        except ProgramMissing as error:
            sys.exit(f"bench: {error}")


main()
