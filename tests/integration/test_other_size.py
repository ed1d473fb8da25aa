"""An array whose size is changed in the file during a run."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from typer.testing import CliRunner

from airflow_batchemr.cli.plan import app
from airflow_batchemr.operators.batch import BatchArrayOperator
from tests.integration.task_engine import Task


class Array(Task):
    """Tries of an array whose size the test changes, like an edit of the file."""

    def __init__(self, state, work):
        self.size = 4
        script = "[ ! -e hold ] || while [ ! -e go ]; do sleep 0.05; done; [ ! -e broken ] || [ $i != 1 ]"

        def make():
            return BatchArrayOperator(
                task_id="work",
                queue="default",
                image="busybox",
                command=work.command(script),
                state=state,
                array=self.size,
                aws_conn_id=None,
            )

        super().__init__(make)


@pytest.fixture
def job(aws, state, work):
    return Array(state, work)


def fails(job, **who):
    with pytest.raises(AirflowException) as caught:
        job.try_(**who)
    return caught


@pytest.mark.parametrize("size", [8, 1])
def test_a_partly_finished_run_does_not_continue_with_another_size(aws, work, job, size):
    """The task fails immediately with both sizes and advice. With the old size, the run continues."""
    (work.folder / "broken").touch()
    fails(job)
    (work.folder / "broken").unlink()
    job.size = size
    caught = fails(job, try_number=2)
    assert caught.errisinstance(AirflowFailException)  # a retry would fail as well
    assert f"this run began with 4 indices, of which 3 are done; now the job has {size}" in str(caught.value)
    assert "Set the size to 4 to finish the run; or name the job in the `rerun` param" in str(caught.value)
    assert 1 == aws.requests()["SubmitJob"]
    job.size = 4
    assert 4 == job.try_(try_number=3)["size"]
    assert Counter({0: 1, 1: 2, 2: 1, 3: 1}) == work.ran()


def test_a_run_with_nothing_done_uses_the_new_size(aws, work, job):
    """No finished index depends on the old size."""
    job.size = 1
    job.make, made = (lambda: _broken(made())), job.make
    fails(job)
    job.make, job.size = made, 3
    assert 3 == job.try_(try_number=2)["size"]
    assert Counter(range(3)) == work.ran()


def _broken(operator):
    operator.command = ["sh", "-c", "exit 1"]
    return operator


def test_a_running_run_ends_with_the_size_it_started_with(aws, work, job, capfd):
    """The file is edited during the wait. The logs of this try and of a later clear say when the new size applies."""
    (work.folder / "hold").touch()
    waits = job.begin()
    job.size = 8
    (work.folder / "go").touch()
    assert 4 == job.try_(waits)["size"]
    assert "This run started with 4 indices; the new array size (8) applies from the next run" in "".join(
        capfd.readouterr()
    )
    assert 4 == job.try_(try_number=2)["size"]
    assert "This run started with 4 indices; the new array size (8) applies from the next run" in "".join(
        capfd.readouterr()
    )
    assert Counter(range(4)) == work.ran()


def test_a_rerun_uses_the_new_size(aws, work, job):
    """Nothing of the old run counts."""
    (work.folder / "broken").touch()
    fails(job)
    (work.folder / "broken").unlink()
    job.size, context = 6, job.context
    job.context = lambda *who: {**context(*who), "params": {"rerun": ["work"]}}
    assert 6 == job.try_(try_number=2)["size"]
    assert Counter({0: 2, 1: 2, 2: 2, 3: 2, 4: 1, 5: 1}) == work.ran()


def planned(tmp_path, state, size):
    file = tmp_path / "pipeline.yaml"
    job = f"work: {{array: {size}, batch: {{image: busybox, queue: default, command: 'true'}}}}"
    file.write_text(f"defaults: {{state: '{state}'}}\ndag: {{jobs: {{{job}}}}}\n")
    result = CliRunner().invoke(app, [str(file), "--json", "--date", "2026-11-20T00:00"])
    (planned,) = json.loads(result.stdout)["jobs"]
    return planned["does"], planned["of"], planned["note"], result.exit_code


def test_plan_shows_the_effect_of_another_size(aws, state, work, job, tmp_path):
    """Refused if the run is partly done. If it is done or running, the new size applies later."""
    (work.folder / "broken").touch()
    fails(job)
    does, _, note, code = planned(tmp_path, state, 8)
    assert ("refused", 1) == (does, code)
    assert "this run began with 4 indices, of which 3 are done; now the job has 8" in note
    assert ("resume", 4, "3 of 4 indices are done", 0) == planned(tmp_path, state, 4)
    (work.folder / "broken").unlink()
    (work.folder / "hold").touch()
    waits = job.begin(try_number=2)
    later = "this run started with 4 indices, the new array size (8) applies from the next run"
    assert ("wait", 4, f"submission 2 is running; {later}", 0) == planned(tmp_path, state, 8)
    (work.folder / "go").touch()
    job.try_(waits, try_number=2)
    does, of, note, _ = planned(tmp_path, state, 8)
    assert ("skip", 4) == (does, of)
    assert note.endswith(f"; {later}")
