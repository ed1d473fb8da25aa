"""A cluster kept by `keep_alive` runs the steps of the next try, despite kills."""

from __future__ import annotations

import pytest

from airflow_batchemr.engine.submissions import adopt, conclude
from tests.integration.emr_engine import Job, SharedClusterJob, killed_at
from tests.integration.emr_steps import Steps, alive, named

KEPT = {"type": "m5.xlarge", "instances": 2, "keep_alive": "4h"}
#: Number of calls of a try that finds the cluster, describes it, claims, adds the step and waits.
POINTS = range(5, 13)


@pytest.fixture
def failed(account, tmp_path):
    """A job whose second step has failed and whose cluster is kept alive."""
    steps = Steps(tmp_path)
    job = Job(account, [steps.step("a"), steps.step("b", "[ -e fixed ] || exit 3"), steps.step("c")], cluster=KEPT)
    assert "fail" == job.try_().action
    (tmp_path / "fixed").touch()
    yield job
    account.client("emr").terminate_job_flows(JobFlowIds=[one["Id"] for one in named(account, "pipe-")])


def test_retry_continues_on_the_kept_cluster(account, tmp_path, failed):
    """It starts with the failed step."""
    assert "succeed" == failed.try_(try_number=2).action
    assert ["a", "b", "b", "c"] == Steps(tmp_path).ran()
    assert 1 == len(named(account, "pipe-"))
    assert 1 == len(alive(account, "pipe-"))


@pytest.mark.parametrize("number", POINTS)
def test_next_try_adds_no_step_again_to_a_kept_cluster(account, tmp_path, failed, lease_over, number):
    """The retry is killed after any of its calls."""
    killed_at(failed, "after", number)
    lease_over()
    assert "succeed" == failed.try_(try_number=3).action
    assert ["a", "b", "b", "c"] == Steps(tmp_path).ran()
    assert 1 == len(named(account, "pipe-"))


@pytest.mark.parametrize("why", ["changed", "ended", "not kept any more"])
def test_another_cluster_starts_if_the_kept_one_cannot_be_used(account, tmp_path, failed, why):
    """It has ended, or the file describes a different cluster."""
    if why == "ended":
        account.client("emr").terminate_job_flows(JobFlowIds=[named(account, "pipe-")[0]["Id"]])
    elif why == "changed":
        failed.emr = failed.emr.model_copy(update={"instances": 3})
    else:
        failed.emr = failed.emr.model_copy(update={"keep_alive": None})
    assert "succeed" == failed.try_(try_number=2).action
    assert ["a", "b", "b", "c"] == Steps(tmp_path).ran()
    assert 2 == len(named(account, "pipe-"))


def cluster_of(outcome):
    """The cluster that is up."""
    return outcome.waits[-1].handle.cluster_id


def tear_down(job):
    """Handle the kept cluster like the teardown task."""
    engine = job.engine()
    state = engine.ledger.read()
    for submission in state.open_submissions:
        found = adopt(engine.ledger, engine.remote, submission, state, job.policy)
        conclude(engine.ledger, engine.remote, found, engine.remote.observe(found))


@pytest.mark.parametrize("number", [None, *range(5, 10)], ids=str)
def test_setup_takes_over_a_shared_cluster_that_was_kept(account, lease_over, number):
    """For the retry of a job, the setup task finds the cluster, and the job finds it in the ledger."""
    shared = SharedClusterJob(account, cluster=KEPT)
    first = cluster_of(shared.try_())
    tear_down(shared)
    if number is not None:
        killed_at(shared, "after", number, least=number)
        lease_over()
    assert first == cluster_of(shared.try_(try_number=2))
    assert 1 == len(named(account, "pipe-"))
    assert [first] == [one.handle.cluster_id for one in shared.ledger().read().open_submissions]
    account.client("emr").terminate_job_flows(JobFlowIds=[first])
