"""The failure report of a job."""

from __future__ import annotations

import pytest

from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.failure_report import group, report, shortened
from airflow_batchemr.ledger import Failure

EXITED = "Essential container in task exited"
REPLAY = ["batchemr", "replay", "nightly", "2026-11-20T000000Z", "score"]


def test_failures_are_grouped_by_cause():
    """With number, indices, log of one index per group, link, and the command that reruns it."""
    failures = [Failure(index=index, reason=EXITED, exit_code=1) for index in (42, 3, 17, 18, 19)]
    failures += [Failure(index=7, reason="OutOfMemoryError: Container killed", exit_code=137, cause="oom")]
    logs = {f"{EXITED}/1": ["Traceback", "ValueError: bad row"]}
    links = {"oom/137": "https://console/log"}
    assert report(failures, size=50, done=44, logs=logs, links=links, replay=REPLAY) == (
        "6 of 50 indices failed; 44 are done and will not run again\n"
        "\n"
        "5 indices: exit code 1 · Essential container in task exited\n"
        "  indices 3, 17-19, 42\n"
        "  last lines of the log of index 3:\n"
        "    | Traceback\n"
        "    | ValueError: bad row\n"
        "  run it again alone: batchemr replay nightly 2026-11-20T000000Z score --index 3\n"
        "\n"
        "index 7: out of memory · exit code 137 · OutOfMemoryError: Container killed\n"
        "  log of index 7: https://console/log\n"
        "  run it again alone: batchemr replay nightly 2026-11-20T000000Z score --index 7"
    )


def test_a_single_job_is_reported_without_indices():
    """A job that is not an array has none."""
    text = report(
        [Failure(index=0, reason=EXITED, exit_code=3)], size=1, done=0, logs={f"{EXITED}/3": ["no such file"]}
    )
    assert text == (
        "the job failed\n\nexit code 3 · Essential container in task exited\n"
        "  last lines of the log:\n    | no such file"
    )


def test_a_failure_of_the_whole_job_names_no_index():
    """For example, an array that never started."""
    text = report([Failure(reason="CannotPullContainerError: x", cause="pull")], size=50, done=0, replay=REPLAY)
    assert text == "0 of 50 indices failed\n\nimage could not be pulled · CannotPullContainerError: x"


@pytest.mark.parametrize("cause", ["exit 65", "other", None])
def test_a_redundant_cause_is_omitted(cause):
    """The exit code is shown once."""
    (one,) = group([Failure(index=1, reason=EXITED, exit_code=65, cause=cause)])
    assert one.title == f"exit code 65 · {EXITED}"


def test_ids_in_the_reason_do_not_separate_groups():
    """Two reclaimed instances have the same cause."""
    failures = [Failure(index=place, reason=f"Host EC2 (instance i-0{place}abc) terminated.") for place in range(5)] + [
        Failure(index=9, reason="Task 0123456789abcdef0123456789abcdef stopped after 12 s")
    ]
    assert [list(one.indices) for one in group(failures)] == [[0, 1, 2, 3, 4], [9]]


def test_exit_codes_separate_groups():
    """The largest group is first. Each is represented by its lowest index."""
    failures = [Failure(index=9 - code, reason=EXITED, exit_code=code) for code in (1, 2, 2, 2)] + [
        Failure(index=5, reason=EXITED, exit_code=2)
    ]
    assert [(one.sample.exit_code, one.sample.index) for one in group(failures)] == [(2, 5), (1, 8)]


def test_logs_cannot_control_the_terminal():
    """Colors are removed, other control characters are made visible, and long lines are cut."""
    logs = {f"{EXITED}/None": ["\x1b[31mred\x1b[0m\x07 \x1b]0;title\x07", "x" * 9_999]}
    text = report([Failure(index=0, reason=EXITED)], size=1, done=0, logs=logs)
    assert "    | red\\x07 \\x1b]0;title\\x07\n" in text
    assert "x" * 501 not in text
    assert not any(ord(letter) < 32 and letter != "\n" for letter in text)


def test_many_indices_are_shortened():
    """With the number of omitted indices."""
    text = shortened(IndexSet.of(range(0, 2_000, 2)))
    assert text.startswith("0, 2, 4, ")
    shown = text.partition(", … (")[0].split(", ")
    assert text.endswith(f", … ({1_000 - len(shown):,} more)")
    assert len(text) < 190


def test_failures_that_are_not_listed_are_counted():
    """A result lists a thousand failures, but the report shows the total number."""
    failures = [Failure(index=index, reason=EXITED, exit_code=1) for index in range(3)]
    text = report(failures, size=5_000, done=0, failed=IndexSet.range(4_000))
    assert text.startswith("4,000 of 5,000 indices failed\n")
    assert text.endswith("\nand 3,997 indices more, whose causes are in the ledger: 3-3999")


def test_many_groups_are_cut():
    """The length of the report is limited."""
    text = report([Failure(index=code, reason="x", exit_code=code) for code in range(30)], size=30, done=0)
    assert text.endswith("and 20 more kinds of failure: see the ledger")
