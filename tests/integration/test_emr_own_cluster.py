"""A job on its own cluster: steps run once, in order, and the cluster always ends."""

from __future__ import annotations

from collections import Counter

import pytest
from airflow.sdk import DAG

from airflow_batchemr.operators.emr import EphemeralEmrOperator
from tests.integration.emr_engine import Job, existing_cluster
from tests.integration.emr_steps import CLUSTER, Steps, alive, named

POLLS = {"DescribeCluster", "ListClusters", "ListSteps"}


@pytest.fixture
def steps(tmp_path):
    return Steps(tmp_path)


def own_dag(dag_id, steps, cluster=CLUSTER, **arguments):
    with DAG(dag_id, schedule=None) as dag:
        EphemeralEmrOperator(task_id="work", cluster=cluster, steps=steps, **arguments)
    return dag


def test_steps_run_in_order_and_the_cluster_ends(aws, run_dag, steps, xcom):
    """Three steps on one cluster, and nothing left running."""
    dag = own_dag("own_ok", [steps.step("a"), steps.step("b"), steps.step("c")])
    finished = run_dag(dag)
    assert {"work": "success"} == finished.tasks
    assert ["a", "b", "c"] == steps.ran()
    assert [] == alive(aws, "own_ok")
    assert 1 == len(named(aws, "own_ok-"))
    assert 1 == aws.requests()["RunJobFlow"]
    returned = xcom(finished, "own_ok", "work")
    assert named(aws, "own_ok-")[0]["Id"] == returned["cluster_id"]
    assert 3 == returned["steps"]


def test_second_run_of_a_date_starts_no_cluster(aws, run_dag, steps):
    """The job succeeds with its marker."""
    dag = own_dag("own_twice", [steps.step("a")])
    run_dag(dag)
    aws.reset_requests()
    assert {"work": "success"} == run_dag(dag).tasks
    assert ["a"] == steps.ran()
    assert 0 == sum(count for call, count in aws.requests().items() if call in POLLS | {"RunJobFlow"})


def test_retry_starts_with_the_failed_step(aws, run_dag, steps):
    """It runs on a new cluster, because the first one ended with the failure."""
    dag = own_dag("own_resume", [steps.step("a"), steps.step("b", "[ -e fixed ] || exit 3"), steps.step("c")])
    finished = run_dag(dag)
    assert {"work": "failed"} == finished.tasks
    assert ["a", "b"] == steps.ran()
    assert [] == alive(aws, "own_resume")
    assert "Step 2/3 b" in finished.output
    assert "1 of 3 steps are done: a retry or a clear runs the rest" in finished.output
    (steps.folder / "fixed").touch()
    assert {"work": "success"} == run_dag(dag).tasks
    assert ["a", "b", "b", "c"] == steps.ran()
    assert 2 == len(named(aws, "own_resume"))


def test_retry_without_resume_steps_starts_at_the_first_step(aws, run_dag, steps):
    """If steps share data through HDFS, the output of completed steps was lost with the cluster."""
    script = "[ -e tried ] || { touch tried; exit 3; }"
    dag = own_dag(
        "own_no_resume", [steps.step("a"), steps.step("b", script)], resume_steps=False, retries=1, retry_delay=0
    )
    assert {"work": "success"} == run_dag(dag).tasks
    assert ["a", "b", "a", "b"] == steps.ran()


def test_changed_step_runs_again_with_all_steps_after_it(aws, run_dag, steps):
    """The later steps read its output."""
    run_dag(own_dag("own_changed", [steps.step("a"), steps.step("b"), steps.step("c", "exit 1")]))
    run_dag(own_dag("own_changed", [steps.step("a"), steps.step("b", "true # other"), steps.step("c")]))
    assert ["a", "b", "c", "b", "c"] == steps.ran()


def test_cluster_with_termination_protection_is_terminated(aws, run_dag, steps):
    """The protection is removed after the steps."""
    dag = own_dag("own_protected", [steps.step("a")], {**CLUSTER, "termination_protection": True})
    assert {"work": "success"} == run_dag(dag).tasks
    assert [] == alive(aws, "own_protected")


def test_keep_alive_leaves_the_termination_to_the_idle_timeout(aws, run_dag, steps):
    """It is an auto-termination policy of EMR."""
    dag = own_dag("own_kept", [steps.step("a")], {**CLUSTER, "keep_alive": "4h"})
    assert {"work": "success"} == run_dag(dag).tasks
    kept = alive(aws, "own_kept")
    assert 1 == len(kept)
    policy = aws.client("emr").get_auto_termination_policy(ClusterId=kept[0]["Id"])["AutoTerminationPolicy"]
    assert {"IdleTimeout": 4 * 3600} == policy
    aws.client("emr").terminate_job_flows(JobFlowIds=[kept[0]["Id"]])


def test_more_than_256_steps_run_on_one_cluster(aws, run_dag, steps):
    """The other steps are added when the first 256 have ended."""
    many = [["sh", "-c", f"echo {number} >> {steps.log}"] for number in range(270)]
    dag = own_dag("own_many", many)
    assert {"work": "success"} == run_dag(dag).tasks
    assert [str(number) for number in range(270)] == steps.ran()
    assert 1 == len(named(aws, "own_many"))
    assert [] == alive(aws, "own_many")


def test_only_failed_steps_run_again_with_step_concurrency(aws, run_dag, steps):
    """Concurrent steps do not depend on each other."""
    dag = own_dag(
        "own_at_once",
        [steps.step("a"), steps.step("b", "[ -e fixed ] || exit 3"), steps.step("c")],
        {**CLUSTER, "step_concurrency": 3},
    )
    assert {"work": "failed"} == run_dag(dag).tasks
    (steps.folder / "fixed").touch()
    assert {"work": "success"} == run_dag(dag).tasks
    assert Counter(a=1, b=2, c=1) == Counter(steps.ran())
    assert [] == alive(aws, "own_at_once")


def times_of(aws, cluster_id):
    """Start and end of each step, by name."""
    found = aws.client("emr").list_steps(ClusterId=cluster_id)["Steps"]
    return {
        one["Name"].split(" [")[0]: (
            one["Status"]["Timeline"]["StartDateTime"],
            one["Status"]["Timeline"]["EndDateTime"],
        )
        for one in found
    }


@pytest.mark.parametrize("existing", [False, True], ids=["own", "existing"])
def test_copies_do_not_overlap_with_concurrent_steps(account, tmp_path, existing):
    """Copies before and after the steps are barriers, also with `on_failure` on an existing cluster."""
    s3 = account.client("s3")
    s3.create_bucket(Bucket="shop")
    for number in range(3):
        s3.put_object(Bucket="shop", Key=f"in/{number}", Body=b"x")
    work = [
        {"name": "load", "copy": {"source": "s3://shop/in/", "destination": "s3://shop/mid/"}},
        *({"name": name, "command": ["sleep", "1.5"]} for name in ("a", "b", "c")),
        {"name": "save", "copy": {"source": "s3://shop/mid/", "destination": "s3://shop/out/"}},
    ]
    if existing:
        cluster_id = existing_cluster(account, StepConcurrencyLevel=4)
        job = Job(account, work, existing=cluster_id, on_failure="continue")
    else:
        job = Job(account, work, cluster={"type": "m5.xlarge", "instances": 2, "step_concurrency": 4})
    assert "succeed" == job.try_().action
    ran = times_of(account, cluster_id if existing else named(account, "pipe-")[0]["Id"])
    assert {"load", "a", "b", "c", "save"} == set(ran)
    sparks = [ran[name] for name in ("a", "b", "c")]
    assert ran["load"][1] <= min(start for start, _ in sparks)
    assert max(start for start, _ in sparks) < min(end for _, end in sparks), "the three steps must overlap"
    assert max(end for _, end in sparks) <= ran["save"][0]
    assert 3 == len(s3.list_objects_v2(Bucket="shop", Prefix="out/")["Contents"])


def test_copy_after_failed_concurrent_steps_does_not_run(account, tmp_path):
    """Their output is incomplete. The next try runs the failed step and then the copy."""
    account.client("s3").create_bucket(Bucket="shop")
    account.client("s3").put_object(Bucket="shop", Key="mid/0", Body=b"x")
    steps = Steps(tmp_path)
    save = {"name": "save", "copy": {"source": "s3://shop/mid/", "destination": "s3://shop/out/"}}
    work = [steps.step("a"), steps.step("b", "[ -e fixed ] || exit 3"), save]
    job = Job(account, work, cluster={"type": "m5.xlarge", "instances": 2, "step_concurrency": 4})
    assert "fail" == job.try_().action
    assert "Contents" not in account.client("s3").list_objects_v2(Bucket="shop", Prefix="out/")
    assert [] == alive(account, "pipe-")
    (tmp_path / "fixed").touch()
    assert "succeed" == job.try_(try_number=2).action
    assert Counter(a=1, b=2) == Counter(steps.ran())
    assert 1 == len(account.client("s3").list_objects_v2(Bucket="shop", Prefix="out/")["Contents"])
