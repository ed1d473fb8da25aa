"""Default retries apply only to failures of the platform, unless retries are set in one of Airflow's ways."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys

import pytest
from airflow.sdk import DAG, BaseOperator, TaskGroup
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.serialization.serialized_objects import DagSerialization

from airflow_batchemr.core.retries import PLATFORM_RETRIES, PLATFORM_RETRY_DELAY
from airflow_batchemr.operators.retries import RetryingOperator

PLATFORM = (PLATFORM_RETRIES, dt.timedelta(seconds=PLATFORM_RETRY_DELAY), False)
AIRFLOW_DELAY = dt.timedelta(seconds=300)


class Program(RetryingOperator):
    """Runs a program that fails. Like the operators of this package, it has two constructors above Airflow's."""

    template_fields = ("number",)

    def __init__(self, *, number: int = 0, platform: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.number = number
        self.platform = platform

    def execute(self, context):
        if self.platform:
            raise AirflowException("S3 did not answer")
        raise self.program_failure(f"program {self.number} exited with 1")


def resolved(operator):
    return operator.retries, operator.retry_delay, operator.retry_program_failures


def serialized(dag, task_id):
    """Retries and delay of a task, as read by the scheduler."""
    data = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    task = DagSerialization.from_dict(data).get_task(task_id)
    return task.retries, task.retry_delay


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, PLATFORM),
        ({"retries": None}, PLATFORM),
        ({"retry_delay": 7}, (PLATFORM_RETRIES, dt.timedelta(seconds=7), False)),
        ({"retries": 2}, (2, AIRFLOW_DELAY, True)),
        ({"retries": 0}, (0, AIRFLOW_DELAY, True)),
        ({"retries": 2, "retry_delay": dt.timedelta(seconds=30)}, (2, dt.timedelta(seconds=30), True)),
        ({"retries": 2, "retry_program_failures": False}, (2, AIRFLOW_DELAY, False)),
        ({"default_args": {"retries": 1}}, (1, AIRFLOW_DELAY, True)),
        ({"default_args": {"retries": 0}}, (0, AIRFLOW_DELAY, True)),
        ({"default_args": {"retry_program_failures": True}}, (*PLATFORM[:2], True)),
        ({"default_args": {"retry_delay": 7}}, (PLATFORM_RETRIES, dt.timedelta(seconds=7), False)),
    ],
    ids=str,
)
def test_retries_are_the_same_for_task_mapped_task_and_scheduler(arguments, expected):
    with DAG("resolved", schedule=None) as dag:
        plain = Program(task_id="plain", **arguments)
        mapped = Program.partial(task_id="mapped", **arguments).expand(number=[1, 2])
    assert resolved(plain) == expected
    assert resolved(mapped.unmap({"number": 1})) == expected
    assert serialized(dag, "plain") == expected[:2]
    assert serialized(dag, "mapped") == expected[:2]


def test_retries_in_default_args_of_dag_or_task_group_are_used():
    with DAG("defaults", schedule=None, default_args={"retries": 0}):
        plain = Program(task_id="plain")
        mapped = Program.partial(task_id="mapped").expand(number=[1])
        with TaskGroup("group", default_args={"retries": 4, "retry_delay": dt.timedelta(seconds=9)}):
            inner = Program(task_id="inner")
            inner_mapped = Program.partial(task_id="inner_mapped").expand(number=[1])
    assert resolved(plain) == resolved(mapped.unmap({"number": 1})) == (0, AIRFLOW_DELAY, True)
    assert resolved(inner) == resolved(inner_mapped.unmap({"number": 1})) == (4, dt.timedelta(seconds=9), True)


def test_retry_program_failures_in_default_args_of_the_dag_is_used():
    with DAG("defaults", schedule=None, default_args={"retry_program_failures": True}):
        plain = Program(task_id="plain")
        mapped = Program.partial(task_id="mapped").expand(number=[1])
        given = Program.partial(task_id="given", retry_program_failures=False).expand(number=[1])
    assert resolved(plain) == resolved(mapped.unmap({"number": 1})) == (*PLATFORM[:2], True)
    assert resolved(given.unmap({"number": 1})) == PLATFORM


def test_configured_default_task_retries_keep_airflows_meaning(tmp_path):
    """Airflow reads the setting on import, so this needs a separate process."""
    code = (
        "from airflow_batchemr.operators.retries import RetryingOperator as O\n"
        "from airflow.sdk import DAG\n"
        "class P(O):\n"
        "    def __init__(self, *, number=0, **kwargs):\n"
        "        super().__init__(**kwargs)\n"
        "with DAG('d', schedule=None):\n"
        "    one = O(task_id='one')\n"
        "    many = P.partial(task_id='many').expand(number=[1]).unmap({'number': 1})\n"
        "print(*[(o.retries, o.retry_delay.seconds, o.retry_program_failures) for o in (one, many)], sep='\\n')\n"
    )
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "2",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "11",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["(2, 11, True)"] * 2


def test_a_failure_of_the_program_is_only_retried_if_retries_are_set():
    with DAG("kinds", schedule=None):
        by_default, given = Program(task_id="by_default"), Program(task_id="given", retries=1)
    assert type(by_default.program_failure("exit code 1")) is AirflowFailException
    assert type(given.program_failure("exit code 1")) is AirflowException
    assert str(given.program_failure("exit code 1")) == "exit code 1"


def test_failures_of_the_platform_are_retried_and_those_of_the_program_are_not(run_dag):
    """In a real run: three retries after a failure of the platform; one try for the program, mapped or not."""
    with DAG("real_failures", schedule=None) as dag:
        Program(task_id="program")
        Program.partial(task_id="programs").expand(number=[1])
        Program(task_id="platform", platform=True, retry_delay=0)
        Program(task_id="asked_for", retries=1, retry_delay=0)
    finished = run_dag(dag)
    assert set(finished.tasks.values()) == {"failed"}
    assert tries(finished) == {"program": 1, "programs": 1, "platform": 1 + PLATFORM_RETRIES, "asked_for": 2}


def tries(finished):
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.scalars(select(TaskInstance).where(TaskInstance.run_id == finished.run_id))
        return {row.task_id: row.try_number for row in rows if row.dag_id == "real_failures"}


def test_airflow_operators_keep_their_own_default():
    """Only operators of this package have default retries."""
    with DAG("others", schedule=None):
        assert BaseOperator(task_id="other").retries == 0
