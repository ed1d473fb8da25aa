"""Two arrays, index by index: index i of the second starts when index i of the first is done."""

from __future__ import annotations

from collections import Counter

import pytest
from airflow.sdk import DAG

from airflow_batchemr.operators.batch import BatchArrayOperator
from tests.integration.batch_engine import Job, eventually
from tests.integration.conftest import Work


@pytest.fixture
def pair(aws, tmp_path):
    """Two jobs of four indices; index 2 of the first waits for the file `go`, and fails while there is `broken`."""
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


def test_an_index_starts_when_its_predecessor_is_done(aws, pair):
    """While index 2 of the first still runs, the others of the second are done already."""
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


def test_what_the_first_has_not_submitted_yet_is_waited_for(aws, pair):
    """The second was faster: it comes back, and nothing of it runs before its predecessor."""
    first, second, one, two = pair
    step = second.step()
    assert ("wait", [], True) == (step.action, step.waits, step.wake_after is not None)
    (one.folder / "go").touch()
    assert first.try_() is None
    assert second.try_() is None
    assert Counter(range(4)) == two.ran()


def test_a_failed_index_holds_up_its_successor_and_nothing_else(aws, pair):
    """Index 2 of the first fails, so that of the second has not run; after a fix, both run one index."""
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


def test_indices_blocked_by_a_failed_job_are_reported_when_the_rest_is_done(aws, run_dag, tmp_path):
    """The first has failed before the second begins: what can run runs, then the second says whom it waits for."""
    one, two = works = [Work(tmp_path / name) for name in ("first", "second")]
    for work in works:
        work.folder.mkdir()
    (one.folder / "broken").touch()

    def dag():
        with DAG("followed", schedule=None) as dag:
            words = {"job_queue": "default", "image": "busybox", "array": 4}
            first = one.command("[ $i != 2 ] || [ ! -e broken ]")
            first = BatchArrayOperator(task_id="first", command=first, **words)
            words |= {"index_of": "first", "trigger_rule": "all_done"}
            first >> BatchArrayOperator(task_id="second", command=two.command("true"), **words)
        return dag

    finished = run_dag(dag())
    assert {"first": "failed", "second": "failed"} == finished.tasks
    assert "first, which this job follows index by index, is failed: clear both to continue" in finished.output
    assert Counter([0, 1, 3]) == two.ran()

    (one.folder / "broken").unlink()
    assert {"first": "success", "second": "success"} == run_dag(dag(), again=True).tasks
    assert Counter({0: 1, 1: 1, 2: 2, 3: 1}) == one.ran()
    assert Counter(range(4)) == two.ran()
