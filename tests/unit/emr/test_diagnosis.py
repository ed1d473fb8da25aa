"""Probable causes of failures, from real logs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from airflow_batchemr.aws.emr.diagnosis import Log, exit_code, probable_cause

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


#: What EMR's step runner writes about a step, as in public reports: with time stamps of EMR 4 to 7, and without.
#: The step's environment is a part of it.
CONTROLLER = """\
2026-11-20T01:02:30.101Z INFO Ensure step 3 jar file command-runner.jar
2026-11-20T01:02:30.102Z INFO StepRunner: Created Runner for step 3
INFO startExec 'hadoop jar /var/lib/aws/emr/step-runner/hadoop-jars/command-runner.jar spark-submit s3://code/failed.py'
INFO Environment:
  PATH=/sbin:/usr/sbin:/bin:/usr/bin
  LAST_ERROR=No such file or directory
INFO redirectError to /mnt/var/log/hadoop/steps/s-1/stderr
INFO ProcessRunner started child process 24540
2026-11-20T01:02:31.500Z INFO HadoopJarStepRunner.Runner: startRun() called for s-1 Child Pid: 24540
INFO Synchronously wait child process to complete : hadoop jar /var/lib/aws/emr/step-runner/hadoop-...
INFO waitProcessCompletion ended with exit code 1 : hadoop jar /var/lib/aws/emr/step-runner/hadoop-...
INFO total process run time: 4 seconds
2026-11-20T01:02:34.684Z INFO Step created jobs:
2026-11-20T01:02:34.684Z WARN Step failed with exitCode 1 and took 4 seconds
"""
WITHOUT_STAMPS = "\n".join(line.partition("Z ")[2] or line for line in CONTROLLER.splitlines())
FETCH = """\
2026-11-20T01:02:30.101Z INFO Ensure step 3 jar file s3://code/none.jar
2026-11-20T01:02:30.900Z INFO Failed to download: s3://code/none.jar
java.lang.RuntimeException: Error whilst fetching 's3://code/none.jar'
\tat aws157.instancecontroller.util.S3Wrapper.fetchS3HadoopFileToLocal(S3Wrapper.java:452)
Caused by: com.amazonaws.services.s3.model.AmazonS3Exception: The specified key does not exist. (Error Code: NoSuchKey)
\tat com.amazonaws.http.AmazonHttpClient$RequestExecutor.handleErrorResponse(AmazonHttpClient.java:1712)
"""


@pytest.mark.parametrize("controller", [CONTROLLER, WITHOUT_STAMPS], ids=["stamps", "no stamps"])
@pytest.mark.parametrize("case", [one for one in EXPECTED if not one.startswith("bootstrap")])
def test_the_controller_log_does_not_hide_the_cause(case, controller):
    """It says only that the step failed; the reason is in the other logs."""
    logs = logs_of(case)
    assert probable_cause([*logs, Log("controller", "controller.gz", controller)]) == probable_cause(logs)


@pytest.mark.parametrize("controller", [CONTROLLER, WITHOUT_STAMPS], ids=["stamps", "no stamps"])
def test_a_plain_line_of_stderr_is_preferred_to_the_controller_log(controller):
    """Programs often say why they end without a word such as error."""
    stderr = Log("stderr", "stderr.gz", "checking the input\ntoo few rows: 10 of at least 100\n")
    found = probable_cause([stderr, Log("controller", "controller.gz", controller)])
    assert ("too few rows: 10 of at least 100", "stderr.gz") == (found.message, found.log)


@pytest.mark.parametrize("controller", [CONTROLLER, WITHOUT_STAMPS], ids=["stamps", "no stamps"])
def test_a_controller_log_without_a_reason_gives_the_exit_code_only(controller):
    """The report shows it together with the end of stderr."""
    logs = [Log("controller", "controller.gz", controller)]
    assert (None, 1) == (probable_cause(logs), exit_code(logs))
    killed = [Log("controller", "", "2017-03-29T19:48:32.155Z WARN Step failed with exitCode -1 and took 2586 seconds")]
    assert (None, -1) == (probable_cause(killed), exit_code(killed))


def test_a_jar_that_could_not_be_fetched_is_found_in_the_controller_log():
    """Then there is no other log."""
    found = probable_cause([Log("controller", "controller.gz", FETCH)])
    assert ("file", "AmazonS3Exception") == (found.kind, found.exception)
    assert "The specified key does not exist" in found.message


@pytest.mark.parametrize(
    "stamp",
    [
        "26/11/20 01:02:34",  # Spark
        "2026-11-20 01:02:34,684",  # Hadoop
        "2026-11-20T01:02:34,684",  # Hive
        "2026-11-20T01:02:34.684Z",  # EMR
        "2026-11-20T01:02:34.684+0000",
        "2026-11-20 01:02:34",
        "2026-11-20 01:02:34,684 [main]",  # log4j2 with a thread
        "01:02:34.684 [main]",  # log4j2's default
        "[2026-11-20 01:02:34,684]",
        "2026-11-20 01:02:34,684 - shop -",  # Python
    ],
)
def test_messages_of_low_levels_are_no_cause_with_any_time_stamp(stamp):
    """And the stamp is no part of a message."""
    text = f"too few rows\n{stamp} WARN Client: cannot find spark.yarn.jars, error ignored\n{stamp} INFO x.Y: failed\n"
    assert "too few rows" == probable_cause([Log("stderr", "", text)]).message
    error = f"{stamp} ERROR shop.Orders: no such file: orders.csv\n"
    assert "no such file: orders.csv" == probable_cause([Log("stderr", "", text + error)]).message


@pytest.mark.parametrize("noise", ["INFO:root:failed", "[INFO] failed", "SLF4J: Failed to load class x."])
def test_messages_of_low_levels_are_no_cause_without_a_time_stamp(noise):
    """The default formats of Python's and Java's loggers and of build tools."""
    assert "too few rows" == probable_cause([Log("stderr", "", f"too few rows\n{noise}\n")]).message


def test_a_time_in_the_output_of_a_program_is_no_level():
    """The rest of the line is the message."""
    assert "01:02:34 orders failed" == probable_cause([Log("stderr", "", "01:02:34 orders failed\n")]).message


@pytest.mark.parametrize("stamp", ["", "2026-11-20T01:02:31.500Z "])
def test_the_command_in_the_controller_log_is_no_cause(stamp):
    """It may have several lines, with words such as failed. The reason is in stderr."""
    command = "bash -c\nset -e\nload || { echo failed: no such file; exit 3; }'\n"
    controller = (
        f"INFO startExec 'hadoop jar command-runner.jar {command}{stamp}INFO Environment:\n  PATH=/bin\n"
        f"INFO waitProcessCompletion ended with exit code 3 : hadoop jar command-runner.jar {command}"
        f"{stamp}WARN Step failed with exitCode 3 and took 4 seconds\n"
    )
    logs = [Log("stderr", "", "too few rows\n"), Log("controller", "", controller)]
    assert "too few rows" == probable_cause(logs).message
    assert (None, 3) == (probable_cause(logs[1:]), exit_code(logs))


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
