"""Run the preamble with the slowest index sets, in each shell that is installed.

The figures are the time of the preamble alone: the time of the same shell running `true` without it is subtracted.
Target: at most 50 ms in dash.
"""

from __future__ import annotations

import os
import platform
import random
import shutil
import statistics
import subprocess
import time

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.preamble import INDICES, wrap

RUNS = 15
SETS = {
    "half of 10,000 at random": IndexSet.of(random.Random(7).sample(range(10_000), 5_000)),
    "every other of 10,000": IndexSet.of(range(0, 10_000, 2)),
    "every other of 20,000": IndexSet.of(range(0, 20_000, 2)),
    "37 of 10,000 at random": IndexSet.of(random.Random(7).sample(range(10_000), 37)),
    "700 of 1,000,000 at random": IndexSet.of(random.Random(7).sample(range(1_000_000), 700)),
}


def milliseconds(command: list[str], environment: dict[str, str]) -> float:
    taken = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        subprocess.run(command, env=environment, check=True)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken) * 1000


def main() -> None:
    print(f"python {platform.python_version()}, {os.cpu_count()} cores, median of {RUNS} runs, last index of each set")
    shells = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]
    print(f"{'index set':<28} {'bytes':>6} " + " ".join(f"{shell[0] + ' ms':>12}" for shell in shells))
    path = {"PATH": os.environ["PATH"]}
    for name, indices in SETS.items():
        command, extra = wrap(["true"], indices, {}, size=1_000_000)
        child = {"AWS_BATCH_JOB_ARRAY_INDEX": str(len(indices) - 1)}
        taken = [
            milliseconds([*shell, *command[1:]], {**path, **extra, **child})
            - milliseconds([*shell, "-c", 'exec "$@"', "sh", "true"], path)
            for shell in shells
        ]
        print(f"{name:<28} {len(extra[INDICES]):>6} " + " ".join(f"{one:>12.1f}" for one in taken))


if __name__ == "__main__":
    main()
