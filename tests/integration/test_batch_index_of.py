"""The rule `index`: index i of the second array starts when index i of the first has succeeded."""

from __future__ import annotations

from collections import Counter

import pytest
from airflow.sdk import DAG, task

from airflow_batchemr.engine.submissions import describe, stop
from airflow_batchemr.operators.batch import BatchArrayOperator
from tests.integration.batch_engine import Job, eventually
from tests.integration.conftest import Work


@pytest.fixture
def pair(aws, tmp_path):
    """Two jobs of four indices. Index 2 of the first waits for the file `go`, and fails while `broken` exists."""
    works = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        works.append(Work(tmp_path / name))
    script = "[ $i != 2 ] || { while [ ! -e go ]; do sleep 0.1; done; [ ! -e broken ]; }"
    state = f"s3://state/{tmp_path.name}"
    first = Job(state, works[0].command(script), 4, name="first")
    second = Job(state, works[1].command("true"), 4, name="second", after=first)
    yield first, second, *works
    (works[0].folder / "go").touch()


def test_an_index_starts_when_its_predecessor_has_succeeded(aws, pair):
    """The other indices of the second array succeed while index 2 of the first still runs."""
    first, second, one, two = pair
    first.step()
    step = second.step()
    assert [1] == [submission.number for submission in step.waits]
    eventually(lambda: Counter([0, 1, 3]) == two.ran())
    (one.folder / "go").touch()
    assert first.try_() is None
    assert second.try_() is None
    assert Counter(range(4)) == two.ran()
    assert 2 == aws.requests()["SubmitJob"]


def test_the_second_job_waits_until_the_first_is_submitted(aws, pair):
    """It starts first, waits, and none of its indices runs before its predecessor."""
    first, second, one, two = pair
    step = second.step()
    assert ("wait", [], True) == (step.action, step.waits, step.wake_after is not None)
    (one.folder / "go").touch()
    assert first.try_() is None
    assert second.try_() is None
    assert Counter(range(4)) == two.ran()


def test_a_failed_index_blocks_only_its_successor(aws, pair):
    """Index 2 of the first array fails, so index 2 of the second has not run. After a fix, both run one index."""
    first, second, one, two = pair
    (one.folder / "broken").touch()
    (one.folder / "go").touch()
    began = first.step()
    step = second.step()
    assert "fail" == first.try_(prior_submissions=began.prior_submissions).action
    while step.waits:
        step = second.step(prior_submissions=step.prior_submissions)
    assert Counter([0, 1, 3]) == two.ran()
    (one.folder / "broken").unlink()
    first.step(try_number=2)
    assert second.try_(try_number=2) is None
    assert first.try_(try_number=2) is None
    assert Counter({0: 1, 1: 1, 2: 2, 3: 1}) == one.ran()
    assert Counter(range(4)) == two.ran()


def test_a_cleared_job_waits_until_aws_cancels_its_pending_indices(aws, pair):
    """The log says for which job it waits. Then the rest runs, and nothing runs twice."""
    first, second, one, two = pair
    (waited,) = first.step().waits
    (stopped,) = second.step().waits
    eventually(lambda: Counter([0, 1, 3]) == two.ran())
    stop(second.ledger(), second.engine().remote, [stopped], "the task was cleared", by="try 2")
    step = second.step(try_number=2)
    (submission,) = step.waits
    text = describe(submission, step.observations[submission.number].state)
    assert text.startswith("indices 0-3 in Batch job ")
    assert text.endswith(
        "It is being stopped: the task was cleared. AWS Batch cancels a job in PENDING only once the jobs that it "
        f"depends on have ended: {waited.handle.jobs[0].job_id}"
    )
    (one.folder / "go").touch()
    assert first.try_() is None
    assert second.try_(try_number=2) is None
    assert Counter(range(4)) == two.ran() == one.ran()


def test_indices_blocked_by_a_failed_job_are_reported_when_the_rest_is_done(aws, run_dag, tmp_path):
    """The first job has failed before the second starts: possible indices run, then the error names the first job."""
    one, two = works = [Work(tmp_path / name) for name in ("first", "second")]
    for work in works:
        work.folder.mkdir()
    (one.folder / "broken").touch()

    def dag():
        with DAG("followed", schedule=None) as dag:
            options = {"job_queue": "default", "image": "busybox", "array": 4}
            first = one.command("[ $i != 2 ] || [ ! -e broken ]")
            first = BatchArrayOperator(task_id="first", command=first, **options)
            options |= {"index_of": "first", "trigger_rule": "all_done"}
            first >> BatchArrayOperator(task_id="second", command=two.command("true"), **options)
        return dag

    finished = run_dag(dag())
    assert {"first": "failed", "second": "failed"} == finished.tasks
    assert "first, which this job follows index by index, is failed: clear both to continue" in finished.output
    assert Counter([0, 1, 3]) == two.ran()

    (one.folder / "broken").unlink()
    assert {"first": "success", "second": "success"} == run_dag(dag(), again=True).tasks
    assert Counter({0: 1, 1: 1, 2: 2, 3: 1}) == one.ran()
    assert Counter(range(4)) == two.ran()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("first", "first, which this job follows index by index, is success, but its ledger has no success marker"),
        ("frist", "index_of: no task of this run has the ledger name 'frist'"),
    ],
    ids=["marked", "unknown"],
)
def test_a_job_does_not_wait_for_one_that_never_submits(aws, run_dag, tmp_path, name, message):
    """The other task was marked as success, or its name is wrong."""

    @task
    def first():
        """Succeeds without a job, like a task that a user marks."""

    with DAG("never", schedule=None) as dag:
        first() >> BatchArrayOperator(
            task_id="second", job_queue="default", image="busybox", command="true", array=2, index_of=name
        )
    finished = run_dag(dag)
    assert {"first": "success", "second": "failed"} == finished.tasks
    assert message in finished.output
    assert 0 == aws.requests()["SubmitJob"]


def test_the_other_task_is_found_by_its_ledger_name():
    """It is not always the task id; a map index has its own."""
    options = {"job_queue": "default", "image": "busybox", "array": 2}
    with DAG("named", schedule=None):
        BatchArrayOperator(task_id="first", job="one", command="true", **options)
        BatchArrayOperator.partial(task_id="mapped", job="many", **options).expand(command=["a", "b"])
        second = BatchArrayOperator(task_id="second", command="true", **options)
    found = {name: second._task_of(name) for name in ("one", "many.1", "second", "unknown", "one.1")}
    assert {
        "one": ("first", None),
        "many.1": ("mapped", 1),
        "second": ("second", None),
        "unknown": ("unknown", None),
        "one.1": ("one.1", None),
    } == found
