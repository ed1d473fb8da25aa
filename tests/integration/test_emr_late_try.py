"""A try that hangs while later tries take over, and then resumes, starts nothing."""

from __future__ import annotations

import pytest

from airflow_batchemr.aws.emr import step_work
from tests.integration.emr_engine import HangsAt, Job, SharedClusterJob, eventually, existing_cluster
from tests.integration.emr_steps import Steps, alive, named

HOLD = "until [ -e go ]; do sleep 0.05; done"


@pytest.fixture
def steps(account, tmp_path):
    """Steps that can wait for `go`."""
    yield Steps(tmp_path)
    account.faults.clear()
    (tmp_path / "go").touch()


@pytest.mark.parametrize("existing", [False, True], ids=["own", "existing"])
def test_try_that_read_an_empty_ledger_finds_the_marker_of_its_successor(account, steps, existing):
    """It hangs after its first read, and the successor runs everything."""
    job = Job(account, [steps.step("a"), steps.step("b")], existing=existing_cluster(account) if existing else None)
    late = HangsAt("after", "ListObjectsV2")
    late.run(lambda: job.try_(late))
    assert "succeed" == job.try_(try_number=2).action
    late.wake()
    assert "succeed" == late.outcome.action
    assert ["a", "b"] == steps.ran()
    assert (0 if existing else 1) == len(named(account, "pipe-"))
    assert ["succeeded"] * (2 if existing else 1) == job.outcomes()


@pytest.mark.parametrize("existing", [False, True], ids=["own", "existing"])
def test_try_that_read_an_empty_ledger_waits_for_the_work_of_its_successor(account, steps, existing):
    """It loses the claim, decides again, and adds nothing."""
    job = Job(account, [steps.step("a", HOLD)], existing=existing_cluster(account) if existing else None)
    late = HangsAt("after", "ListObjectsV2")
    late.run(lambda: job.pass_(late))
    assert "wait" == job.pass_(try_number=2).action
    late.wake()
    assert ("wait", [1]) == (late.outcome.action, [one.number for one in late.outcome.waits])
    (steps.folder / "go").touch()
    assert "succeed" == job.try_(try_number=2).action
    assert ["a"] == steps.ran()
    assert [1] == job.ledger().read().numbers


def test_setup_that_read_an_empty_ledger_uses_the_cluster_of_its_successor(account):
    """A shared cluster is started once."""
    shared = SharedClusterJob(account)
    late = HangsAt("after", "ListObjectsV2")
    late.run(lambda: shared.try_(late))
    up = shared.try_(try_number=2)
    late.wake()
    assert up.waits[-1].handle.cluster_id == late.outcome.waits[-1].handle.cluster_id
    assert 1 == len(named(account, "pipe-"))


@pytest.mark.parametrize("operation", ["DescribeCluster", "ListSteps"])
def test_late_try_that_records_the_end_of_its_cluster_claims_nothing(account, steps, operation):
    """EMR had no capacity for its cluster; a later try has recorded that, and its own cluster is running."""
    cluster = {"type": "m5.xlarge", "instances": 2, "subnets": ["subnet-1", "subnet-2"]}
    job = Job(account, [steps.step("a", HOLD)], cluster=cluster)
    account.faults.fail_start("subnet_full")
    first = job.pass_()
    emr = account.client("emr")
    cluster_id = first.waits[0].handle.cluster_id
    eventually(lambda: "TERMINATED" in emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["State"])
    late = HangsAt("after", operation)
    late.run(lambda: job.pass_(late, prior_submissions=first.prior_submissions))
    second = job.pass_(try_number=2)
    assert ("wait", [2]) == (second.action, [one.number for one in second.waits])
    eventually(steps.ran)
    late.wake()
    assert ("wait", [2]) == (late.outcome.action, [one.number for one in late.outcome.waits])
    assert 1 == len(alive(account, "pipe-"))
    (steps.folder / "go").touch()
    assert "succeed" == job.try_(try_number=2, prior_submissions=second.prior_submissions).action
    assert ["a"] == steps.ran()
    assert 2 == len(named(account, "pipe-"))
    assert [] == alive(account, "pipe-")


@pytest.mark.parametrize("operation", ["DescribeCluster", "ListSteps"])
def test_try_that_loses_the_claim_for_the_next_steps_does_not_end_the_cluster(account, steps, monkeypatch, operation):
    """A later try has added the steps to the same cluster."""
    monkeypatch.setattr(step_work, "STEPS_AT_CREATION", 1)
    job = Job(account, [steps.step("a"), steps.step("b", HOLD)])
    first = job.pass_()
    emr, cluster_id = account.client("emr"), first.waits[0].handle.cluster_id
    eventually(lambda: emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["State"] == "WAITING")
    late = HangsAt("after", operation)
    late.run(lambda: job.pass_(late, prior_submissions=first.prior_submissions))
    second = job.pass_(try_number=2)
    assert [1, 2] == [one.number for one in second.waits]
    eventually(lambda: steps.ran() == ["a", "b"])
    late.wake()
    assert ("wait", [1, 2]) == (late.outcome.action, [one.number for one in late.outcome.waits])
    assert [cluster_id] == [one["Id"] for one in alive(account, "pipe-")]
    (steps.folder / "go").touch()
    assert "succeed" == job.try_(try_number=2, prior_submissions=second.prior_submissions).action
    assert ["a", "b"] == steps.ran()
    assert 1 == len(named(account, "pipe-"))
    assert [] == alive(account, "pipe-")


def test_cluster_that_starts_after_its_claim_was_abandoned_is_terminated(account, steps, lease_over):
    """The first try hangs before RunJobFlow; a later try abandons the claim and runs the steps."""
    job = Job(account, [steps.step("a")])
    late = HangsAt("before", "RunJobFlow")
    late.run(lambda: job.pass_(late))
    lease_over()
    assert "succeed" == job.try_(try_number=2).action
    late.wake()
    assert 2 == len(named(account, "pipe-"))
    eventually(lambda: not alive(account, "pipe-"))
    assert ["abandoned", "succeeded"] == job.outcomes()
