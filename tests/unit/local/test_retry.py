"""Conditions of `evaluateOnExit` as documented by AWS."""

from __future__ import annotations

import pytest

from airflow_batchemr.local.batch.retry import again

SPOT = {"onStatusReason": "Host EC2*", "action": "RETRY"}
NEVER = {"onReason": "*", "action": "EXIT"}
TASK_EXITED = "Essential container in task exited"


@pytest.mark.parametrize(
    ("rules", "status_reason", "reason", "exit_code", "expected"),
    [
        ([], TASK_EXITED, None, 1, True),
        ([SPOT], TASK_EXITED, None, 1, True),
        ([SPOT, NEVER], TASK_EXITED, None, 1, False),
        ([SPOT, NEVER], "Host EC2 (instance i-1) terminated.", None, None, True),
        ([{"onExitCode": "75", "action": "RETRY"}, NEVER], TASK_EXITED, None, 75, True),
        ([{"onExitCode": "7*", "action": "EXIT"}], TASK_EXITED, None, 75, False),
        ([{"onExitCode": "7", "action": "EXIT"}], TASK_EXITED, None, 75, True),
        ([{"onExitCode": "1", "onReason": "Out*", "action": "EXIT"}], TASK_EXITED, "OutOfMemoryError: x", 137, True),
        ([{"onReason": "outofmemory*", "action": "exit"}], TASK_EXITED, "OutOfMemoryError: x", 137, False),
        ([{"action": "EXIT"}], TASK_EXITED, None, 1, True),
    ],
)
def test_the_first_matching_rule_decides(rules, status_reason, reason, exit_code, expected):
    """Without a matching rule, the attempt is retried. Patterns ignore case."""
    assert expected == again(rules, status_reason, reason, exit_code)
