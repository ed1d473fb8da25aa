"""Pack 1,000,000 objects of log-normal sizes into 10,000 shards. Measure time, memory and balance.

Target: at most 10 s and 1 GB; the largest shard is at most 1.02 times max(mean, largest object).
"""

from __future__ import annotations

import os
import platform
import random
import resource
import time

from airflow_batchemr.core.packing import pack

OBJECTS, SHARDS = 1_000_000, 10_000


def main() -> None:
    print(f"python {platform.python_version()}, {os.cpu_count()} cores")
    print(f"{'sigma':>5} {'seconds':>8} {'largest / max(mean, largest object)':>36}")
    for sigma in (0.5, 1.0, 2.0):
        drawn = random.Random(7)
        sizes = [int(drawn.lognormvariate(14, sigma)) for _ in range(OBJECTS)]
        begin = time.perf_counter()
        shards = pack(sizes, into=SHARDS)
        seconds = time.perf_counter() - begin
        largest = max(sum(sizes[position] for position in shard) for shard in shards)
        ratio = largest / max(sum(sizes) / SHARDS, *sizes)
        print(f"{sigma:>5} {seconds:>8.2f} {ratio:>36.4f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process, including the sizes: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
