"""Count for how many of the real failures in tests/data/emr_failures the probable cause is right.

    python benchmarks/diagnosis.py

A cause is right if kind, innermost exception, message and place in the user's code match `expected.yaml`.
Target: 18 of 20.
"""

from __future__ import annotations

import time
from pathlib import Path

import yaml

from airflow_batchemr.aws.emr.diagnosis import Log, probable_cause

FAILURES = Path(__file__).parents[1] / "tests" / "data" / "emr_failures"
ORDER = ("driver_stdout", "driver_stderr", "stdout", "stderr", "bootstrap_stderr", "bootstrap_stdout")


def main() -> None:
    expected = yaml.safe_load((FAILURES / "expected.yaml").read_text())
    right = made = seconds = 0
    for case, wanted in expected.items():
        paths = [FAILURES / case / f"{name}.txt" for name in ORDER]
        logs = [Log(path.stem, path.name, path.read_text()) for path in paths if path.exists()]
        begun = time.perf_counter()
        found = probable_cause(logs)
        seconds += time.perf_counter() - begun
        good = found is not None and (found.kind, found.exception, found.place) == (
            wanted["kind"],
            wanted["exception"],
            wanted["place"],
        )
        good = good and wanted["message"] in found.message
        right += good
        made += "written" not in wanted
        if not good:
            print(f"wrong: {case}: {found}")
    print(f"{right} of {len(expected)} right; {made} of them really ran and failed; {seconds:.3f} s for all")


if __name__ == "__main__":
    main()
