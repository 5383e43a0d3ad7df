"""Let every reader read mutants of what it accepts for a stated time; only errors of the package may come out.

    python scripts/fuzz.py --seconds 600
    python scripts/fuzz.py --seconds 60 --targets cfg "set voc" --seed 1

Each target runs in a process of its own, whose memory is limited. A mutant that breaks a reader is kept in
tests/corpus, which tests/unit/test_fuzz.py reads again.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
from support.fuzz_targets import TARGETS
from support.fuzzing import Outcome, fuzz

MEMORY = 1 << 30  # bytes that a target may take beyond what the process has when it begins


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300, help="for all targets together")
    parser.add_argument("--mutants", type=int, help="of each target, instead of a time")
    parser.add_argument("--targets", nargs="*", default=list(TARGETS), choices=list(TARGETS), metavar="TARGET")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    logging.disable()  # rdflib remarks on every odd URI
    seconds = given.seconds / len(given.targets)
    print(
        f"seed {given.seed}\n{'target':<32} {'mutants':>8} {'read':>6} {'slowest':>9} {'memory':>8}  failures",
        flush=True,
    )
    total = failures = 0
    for number, name in enumerate(given.targets):
        outcome, memory = _in_own_process(name, given.seed + number, seconds, given.mutants)
        total, failures = total + outcome.mutants, failures + len(outcome.failures)
        print(
            f"{name:<32} {outcome.mutants:>8,} {outcome.accepted / max(1, outcome.mutants):>6.0%} "
            f"{outcome.slowest:>7.2f} s {memory / 1e6:>5.0f} MB  {len(outcome.failures)}",
            flush=True,
        )
        for file, problem in outcome.failures.items():
            print(f"    {file}: {problem}", flush=True)
    print(f"{total:,} mutants, {failures} failures")
    return 1 if failures else 0


def _in_own_process(name: str, seed: int, seconds: float, mutants: int | None) -> tuple[Outcome, int]:
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_run, args=(there, name, seed, seconds, mutants))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        process.join()
        return Outcome(failures={Path(name): f"the process ended with exit code {process.exitcode}"}), 0


def _run(to: Connection, name: str, seed: int, seconds: float, mutants: int | None) -> None:
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY, in_use + MEMORY))
    target, end = TARGETS[name], time.monotonic() + seconds

    def more(count: int) -> bool:
        return count < mutants if mutants is not None else time.monotonic() < end

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "seed"  # some readers look beside a folder, which must not be full of other things
        folder.mkdir()
        outcome = fuzz(target, folder, np.random.default_rng(seed), target.corpus, more)
    to.send((outcome, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin)))


if __name__ == "__main__":
    sys.exit(main())
