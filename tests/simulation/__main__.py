"""`make simulate SEEDS=n`: play more histories; print the seed that fails, and how to play it again."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter

from tests.simulation.history import Report, play


def tried(seed: int) -> Report | tuple[int, str]:
    try:
        return play(seed)
    except BaseException:
        return seed, traceback.format_exc()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many histories to play")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="play this one, and print its trace")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        print("\n".join(play(arguments.seed).trace))
        return
    started, lives, bumps, deeds = time.monotonic(), 0, 0, Counter[str]()
    with multiprocessing.Pool(os.cpu_count(), maxtasksperchild=200) as pool:
        seeds = range(arguments.first, arguments.first + arguments.seeds)
        for number, result in enumerate(pool.imap_unordered(tried, seeds), 1):
            if isinstance(result, tuple):
                pool.terminate()
                print(result[1])
                sys.exit(f"seed {result[0]} fails; play it again: make simulate SEED={result[0]}")
            lives, bumps, deeds = lives + result.lives, bumps + result.bumps, deeds + result.deeds
            if number % 100 == 0:
                rate = number / (time.monotonic() - started)
                print(f"{number} histories, {lives} lives, {bumps} bumps, {rate:.1f} a second", flush=True)
    print(f"{arguments.seeds} histories held: {lives} lives, {bumps} bumps, {sum(deeds.values())} deeds")


if __name__ == "__main__":
    main()
