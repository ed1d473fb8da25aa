"""Number of calls for polling many clusters and steps."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from datetime import datetime, timezone

import pytest

from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.aws.emr import clusters, steps
from airflow_batchemr.aws.emr.poll import EmrPoller, Progress
from airflow_batchemr.aws.rate import Rate

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
    poller = EmrPoller(boto3_clients(), shortest=600, longest=600)
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


@pytest.fixture
def rate(monkeypatch):
    """The rate of reads: 40 calls per second."""
    made = Rate(per_second=40)
    monkeypatch.setattr(clusters, "RATE", made)
    return made


def calls_in(seconds, local_aws, *pollers):
    """How many calls the server sees in this time from pollers that poll as often as they may."""
    local_aws.reset_requests()
    ends = time.monotonic() + seconds

    def look(poller, id_):
        while time.monotonic() < ends:
            poller._look([id_])

    threads = [threading.Thread(target=look, args=one) for one in pollers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(local_aws.requests()[call] for call in ("DescribeCluster", "ListClusters", "ListSteps"))


def test_other_reads_share_the_rate_of_the_polls(local_aws, emr, rate, monkeypatch):
    """Searches after a lost answer, failure reports and `batchemr orphans` count for the account as well."""
    id_ = cluster(emr, [("true",)])
    turns = []
    monkeypatch.setattr(rate, "wait", lambda: turns.append(1))
    clients = boto3_clients()
    clusters.describe(clients, id_)
    assert [id_] == [one["Id"] for one in clusters.listed(clients)]
    assert [] != list(steps.listed(clients, id_))
    steps.states(clients, id_, [one["Id"] for one in emr.list_steps(ClusterId=id_)["Steps"]][:1])
    assert 4 == len(turns)
    clusters.terminate(clients, [id_])
    assert 4 == len(turns)


def test_pollers_of_two_connections_share_one_rate(local_aws, emr, rate):
    """EMR throttles per account, and two connections may be of one account."""
    id_ = cluster(emr)
    pollers = [(EmrPoller(boto3_clients()), id_) for _ in range(2)]
    assert calls_in(2.0, local_aws, *pollers) <= 2.0 * 40 + 3


def test_throttling_of_list_steps_slows_down_the_other_operations(local_aws, emr, rate):
    """Three throttled calls: an eighth of the rate. The states of clusters are still reported."""
    created = datetime.now(timezone.utc)
    id_ = cluster(emr, [("sleep", "60")])
    until(lambda: states(emr) == {"RUNNING"})
    step_ids = [one["Id"] for one in emr.list_steps(ClusterId=id_)["Steps"]]
    poller, other = EmrPoller(boto3_clients()), EmrPoller(boto3_clients())
    other._look([id_])
    fast = calls_in(1.0, local_aws, (other, id_))
    local_aws.faults.throttle("ListSteps", times=3)
    with poller.expecting(id_, created, step_ids):
        for _ in range(3):
            assert {} == poller._look([id_])[id_].steps
        slow = calls_in(1.0, local_aws, (other, id_))
        assert "RUNNING" == poller._look([id_])[id_].steps[step_ids[0]].state
    assert slow <= 9 < fast


def test_throttled_steps_are_polled_in_the_next_round(local_aws, emr, rate):
    """What was polled before the throttling is kept."""
    created = datetime.now(timezone.utc)
    ids = [cluster(emr, [("sleep", "60")]) for _ in range(4)]
    until(lambda: states(emr) == {"RUNNING"})
    poller = EmrPoller(boto3_clients())
    with ExitStack() as stack:
        for id_ in ids:
            step_ids = [one["Id"] for one in emr.list_steps(ClusterId=id_)["Steps"]]
            stack.enter_context(poller.expecting(id_, created, step_ids))
        local_aws.faults.plan("ListSteps", "throttle", after=2)
        first = poller._look(ids)
        assert [0, 0, 1, 1] == sorted(len(sight.steps) for sight in first.values())
        local_aws.reset_requests()
        assert [1, 1, 1, 1] == [len(sight.steps) for sight in poller._look(ids).values()]
        assert 2 == local_aws.requests()["ListSteps"]
