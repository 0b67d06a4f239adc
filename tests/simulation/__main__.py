"""`make simulate SEEDS=n`: play more histories; every seed that fails is told at once, and all of them at the end."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tests.simulation.history import Report, play


class Failed(NamedTuple):
    """A history that broke a promise, or could not be played to its end."""

    seed: int
    error: str
    traceback: str


def tried(seed: int) -> Report | Failed:
    try:
        return play(seed)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Failed(seed, f"{type(error).__name__}: {error}", traceback.format_exc())


def tell(results: Iterable[Report | Failed]) -> int:
    """Print what there is to say of the histories as they come, and of all of them at the end; the exit code."""
    started, held, failed, deeds = time.monotonic(), 0, list[Failed](), Counter[str]()
    lives = bumps = 0
    for number, result in enumerate(results, 1):
        if isinstance(result, Failed):
            failed.append(result)
            print(result.traceback, flush=True)
        else:
            held, deeds = held + 1, deeds + result.deeds
            lives, bumps = lives + result.lives, bumps + result.bumps
        if number % 100 == 0:
            rate = number / (time.monotonic() - started)
            so_far = f"{number} histories, {len(failed)} failed, {lives} lives, {bumps} bumps, {rate:.1f} a second"
            print(so_far, flush=True)
    print(f"{held} histories held: {lives} lives, {bumps} bumps, {sum(deeds.values())} deeds")
    if failed:
        print(f"{len(failed)} failed:")
    for seed, error, _ in sorted(failed):
        print(f"make simulate SEED={seed}    {error.splitlines()[0]}")
    return 1 if failed else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many histories to play")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="play this one, and print its trace")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="how many to play at a time")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        result = tried(arguments.seed)
        if isinstance(result, Failed):
            sys.exit(result.traceback)
        print("\n".join(result.trace))
        return
    gc.freeze()  # what was imported stays: no collection of a history's garbage need look at it
    with multiprocessing.Pool(arguments.processes, maxtasksperchild=200) as pool:
        seeds = range(arguments.first, arguments.first + arguments.seeds)
        sys.exit(tell(pool.imap_unordered(tried, seeds)))


if __name__ == "__main__":
    main()
