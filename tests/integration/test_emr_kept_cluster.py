"""A cluster that `keep_alive` has kept serves the next try, whatever is killed when."""

from __future__ import annotations

import pytest

from airflow_batchemr.aws.emr.own_cluster import ClusterWords
from airflow_batchemr.aws.emr.shared_cluster import ClusterJob
from airflow_batchemr.ledger import Ledger
from tests.integration.emr_steps import Steps, alive, named
from tests.integration.test_emr_never_two import Job, account, die_at, later  # noqa: F401 - fixtures

KEPT = {"type": "m5.xlarge", "instances": 2, "keep_alive": "4h"}
#: Calls of a try that finds the cluster in the ledger, asks after it, claims, adds the step and waits.
POINTS = [("after", number) for number in range(5, 13)]


@pytest.fixture
def failed(account, tmp_path):  # noqa: F811
    """A job whose second step has failed; its cluster is kept."""
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a"), steps.step("b", "[ -e mended ] || exit 3"), steps.step("c")], cluster=KEPT)
    assert "fail" == job.one_try().action
    (tmp_path / "mended").touch()
    yield job
    account.client("emr").terminate_job_flows(JobFlowIds=[one["Id"] for one in named(account, "pipe-")])


def test_a_retry_goes_on_there(account, tmp_path, failed):  # noqa: F811
    """With the step that failed, on the cluster that is paid for in any case."""
    assert "mark" == failed.one_try().action
    assert ["a", "b", "b", "c"] == Steps(tmp_path).ran()
    assert 1 == len(named(account, "pipe-"))
    assert 1 == len(alive(account, "pipe-"))


@pytest.mark.parametrize("point", POINTS, ids=[f"{when}{number}" for when, number in POINTS])
def test_a_killed_worker_adds_no_step_twice(account, tmp_path, failed, later, point):  # noqa: F811
    """At every call of the retry."""
    die_at(failed, point)
    later()
    failed.one_try()
    assert ["a", "b", "b", "c"] == Steps(tmp_path).ran()
    assert 1 == len(named(account, "pipe-"))


@pytest.mark.parametrize("why", ["changed", "ended", "not kept any more"])
def test_another_cluster_is_started_where_that_one_does_not_do(account, tmp_path, failed, why):  # noqa: F811
    """It has ended, or the file now describes another one."""
    if why == "ended":
        account.client("emr").terminate_job_flows(JobFlowIds=[named(account, "pipe-")[0]["Id"]])
    elif why == "changed":
        failed.emr = failed.emr.model_copy(update={"instances": 3})
    else:
        failed.emr = failed.emr.model_copy(update={"keep_alive": None})
    assert "mark" == failed.one_try().action
    assert ["a", "b", "b", "c"] == Steps(tmp_path).ran()
    assert 2 == len(named(account, "pipe-"))


class Shared(Job):
    """A cluster that serves others, as the task that sets it up has it."""

    def one_try(self, rerun_token=None):
        """Until the cluster is up."""
        clients, ledger, submissions = self.submissions()
        job = ClusterJob(ClusterWords(self.emr), clients, self.identity, submissions, ledger)
        while True:
            move = job.run(ledger.read(), rerun_token, ())
            if move.action != "wait":
                return move

    def tear_down(self):
        """As the teardown does with a kept cluster."""
        _clients, ledger, submissions = self.submissions()
        state = ledger.read()
        for submission in state.open_submissions:
            opened = submissions.adopt(submission, state)
            submissions.close_cluster(opened, submissions.look(opened), rerun_token=None)


@pytest.mark.parametrize("point", [None, *(("after", number) for number in range(5, 10))], ids=str)
def test_a_shared_cluster_that_was_kept_is_set_up_again(account, later, point):  # noqa: F811
    """For the retry of a job: the cluster's task finds it, and the job finds it there."""
    shared = Shared(account, [], cluster=KEPT)
    first = shared.one_try()
    shared.tear_down()
    if point is not None:
        die_at(shared, point)
        later()
    assert first.cluster_id == shared.one_try().cluster_id
    assert 1 == len(named(account, "pipe-"))
    ledger = Ledger(account.client("s3"), shared.identity.state).job("pipe", shared.identity.run_key, "work")
    assert [first.cluster_id] == [one.handle.cluster_id for one in ledger.read().open_submissions]
    account.client("emr").terminate_job_flows(JobFlowIds=[first.cluster_id])
