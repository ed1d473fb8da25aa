"""Probable causes of failures, from real logs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from airflow_batchemr.aws.emr.diagnosis import Log, probable_cause

FAILURES = Path(__file__).parents[2] / "data" / "emr_failures"
EXPECTED = yaml.safe_load((FAILURES / "expected.yaml").read_text())
#: Order in which the logs of a failed step are read: those of the driver first.
ORDER = ["driver_stdout", "driver_stderr", "stdout", "stderr", "bootstrap_stderr", "bootstrap_stdout"]


def logs_of(case):
    paths = [FAILURES / case / f"{name}.txt" for name in ORDER]
    return [Log(path.stem, path.name, path.read_text()) for path in paths if path.exists()]


@pytest.mark.parametrize("case", EXPECTED)
def test_the_cause_of_a_real_failure_is_found(case):
    """With kind, innermost exception, message, and place in the user's code."""
    expected, found = EXPECTED[case], probable_cause(logs_of(case))
    assert (expected["kind"], expected["exception"], expected["place"]) == (found.kind, found.exception, found.place)
    assert expected["message"] in found.message


@pytest.mark.parametrize(
    ("case", "advice"),
    [
        ("access_denied", "the cluster's instance role may not GetObject there"),
        ("bootstrap_permission", "chmod +x"),
        ("result_too_large", "spark.driver.maxResultSize"),
        ("yarn_memory_killer", "spark.executor.memoryOverhead"),
        ("worker_killed", "spark.executor.memoryOverhead"),
        ("driver_out_of_memory", "`driver_memory:`"),
        ("hive_missing", "`applications:`"),
        ("package_missing", "reaches the repository"),
        ("jar_missing", "upload the jar to S3"),
    ],
)
def test_the_advice_matches_the_cause(case, advice):
    """For example, a missing execute permission is not about IAM, and a too large result is not about memory."""
    assert advice in str(probable_cause(logs_of(case)))


def test_a_cause_has_no_irrelevant_parts():
    """No query plan, and no colon before an empty message."""
    assert str(probable_cause(logs_of("column_missing"))).endswith("[`shop`, `amount`]. at column_missing.py:5")
    assert "[memory] MemoryError at python_memory_error.py:8" in str(probable_cause(logs_of("python_memory_error")))


def test_logs_without_a_cause_give_no_cause():
    """No cause is better than a wrong one."""
    assert probable_cause([]) is None
    assert probable_cause([Log("stderr", "", "26/11/20 10:00:00 INFO Client: all is well\n")]) is None
