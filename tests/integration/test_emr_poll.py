"""Number of calls for polling many clusters and steps."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import datetime, timezone

import pytest

from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.aws.emr.poll import EmrPoller, Progress

MACHINES = {"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True}


def cluster(emr, steps=(), **options):
    return emr.run_job_flow(
        Name="held",
        ReleaseLabel="emr-7.5.0",
        Instances={**MACHINES, **options},
        ServiceRole="EMR_DefaultRole",
        JobFlowRole="EMR_EC2_DefaultRole",
        Steps=[step(*one) for one in steps],
    )["JobFlowId"]


def step(*options):
    return {
        "Name": options[0],
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": list(options)},
    }


def until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def states(emr):
    pages = emr.get_paginator("list_clusters").paginate()
    return {one["Status"]["State"] for page in pages for one in page["Clusters"]}


@pytest.fixture
def emr(local_aws):
    return local_aws.client("emr")


def test_100_clusters_take_2_calls_and_one_per_cluster_whose_steps_are_due(local_aws, emr):
    """A second poll makes no ListSteps calls, because none are due."""
    created = datetime.now(timezone.utc)
    ids = [cluster(emr, [("sleep", "600")] * 10) for _ in range(100)]
    until(lambda: states(emr) == {"RUNNING"})
    poller = EmrPoller(boto3_clients())
    with ExitStack() as stack:
        for id_ in ids:
            step_ids = [one["Id"] for one in reversed(emr.list_steps(ClusterId=id_)["Steps"])]
            stack.enter_context(poller.expecting(id_, created, step_ids))
        poller._look(ids)  # the poller now knows the number of pages
        local_aws.reset_requests()
        seen = poller._look(ids)
        assert {"ListClusters": 2} == dict(local_aws.requests())
        assert 100 == len(seen)
        for watched in poller._watched.values():
            watched.listed = float("-inf")  # all of them are due
        local_aws.reset_requests()
        seen = poller._look(ids)
        assert {"ListClusters": 2, "ListSteps": 100} == dict(local_aws.requests())
        assert {"RUNNING"} == {sight.cluster.state for sight in seen.values()}
    assert {} == poller._watched


def test_steps_of_an_own_cluster_are_listed_when_its_state_changes(local_aws, emr):
    """And once a minute for progress. The end of the last step changes the state of the cluster."""
    id_ = cluster(emr, [("sleep", "3")] * 2)
    until(lambda: states(emr) == {"RUNNING"})
    step_ids = [one["Id"] for one in reversed(emr.list_steps(ClusterId=id_)["Steps"])]
    poller = EmrPoller(boto3_clients(), shortest=0.0, longest=0.0)  # according to the interval, always due
    with poller.expecting(id_, None, step_ids, own=True):
        poller._look([id_])
        local_aws.reset_requests()
        poller._look([id_])
        poller._look([id_])
        assert {"DescribeCluster": 2} == dict(local_aws.requests())
        until(lambda: states(emr) == {"WAITING"})
        sight = poller._look([id_])[id_]
        assert ["COMPLETED", "COMPLETED"] == [sight.steps[one].state for one in step_ids]
        with poller.expecting(id_, None, step_ids):  # another job waits for steps on the same cluster
            assert 1 == poller._watched[id_].guests


def test_one_cluster_takes_one_call_among_many_others(local_aws, emr):
    """DescribeCluster instead of many pages of ListClusters."""
    mine = cluster(emr)
    for _ in range(60):
        cluster(emr)
    until(lambda: "WAITING" in states(emr))
    poller = EmrPoller(boto3_clients())
    with poller.expecting(mine, None, []):
        local_aws.reset_requests()
        poller._look([mine])
        assert {"DescribeCluster": 1} == dict(local_aws.requests())


def test_ends_of_many_short_steps_are_found_in_one_poll(local_aws, emr):
    """Each call lists ten steps, until one has not ended. The next poll lists none."""
    id_ = cluster(emr, [("true",)] * 35)
    until(lambda: states(emr) == {"WAITING"})
    step_ids = [one["Id"] for one in reversed(emr.list_steps(ClusterId=id_)["Steps"])]
    poller = EmrPoller(boto3_clients())
    with poller.expecting(id_, None, step_ids):
        local_aws.reset_requests()
        sight = poller._look([id_])[id_]
        assert {"DescribeCluster": 1, "ListSteps": 4} == dict(local_aws.requests())
        assert {"COMPLETED"} == {one.state for one in sight.steps.values()}
        local_aws.reset_requests()
        poller._look([id_])
        assert {"DescribeCluster": 1} == dict(local_aws.requests())
    assert "Step 35/35" in Progress(id_, dict.fromkeys(step_ids, "true")).update(sight)[-1]


def test_unknown_cluster_is_omitted(local_aws, emr):
    """The poll returns the other clusters."""
    known = cluster(emr)
    poller = EmrPoller(boto3_clients())
    with poller.expecting(known, None, []), poller.expecting("j-NOSUCH", None, ["s-1"]):
        assert {known} == set(poller._look([known, "j-NOSUCH"]))


def test_step_that_is_not_listed_is_unseen_until_it_appears(local_aws, emr):
    """A step that has not been polled is not unseen."""
    id_ = cluster(emr, [("sleep", "600")] * 2)
    until(lambda: states(emr) == {"RUNNING"})
    newer, older = (one["Id"] for one in emr.list_steps(ClusterId=id_)["Steps"])
    poller = EmrPoller(boto3_clients(), shortest=0.0, longest=0.0)
    local_aws.faults.hide(newer)
    with poller.expecting(id_, None, [older, newer]):
        sight = poller._look([id_])[id_]
        assert ({older}, {newer}) == (set(sight.steps), set(sight.unseen))
        local_aws.faults.clear()
        sight = poller._look([id_])[id_]
        assert ({older, newer}, set()) == (set(sight.steps), set(sight.unseen))
    with poller.expecting(id_, None, [older]):
        assert set() == set(poller._look([id_])[id_].unseen)
