"""The local EMR: documented behavior of EMR, with steps and bootstrap actions that really run."""

from __future__ import annotations

import gzip
import itertools
import time

import botocore.exceptions
import pytest

INSTANCES = {"MasterInstanceType": "m5.xlarge", "InstanceCount": 1}
ROLES = {"ServiceRole": "EMR_DefaultRole", "JobFlowRole": "EMR_EC2_DefaultRole"}


@pytest.fixture
def emr(local_aws):
    """An EMR client. The bucket `logs` exists."""
    local_aws.client("s3").create_bucket(Bucket="logs")
    return local_aws.client("emr")


def step(*command, on_failure="CONTINUE", jar="command-runner.jar"):
    return {
        "Name": " ".join(command)[:40],
        "ActionOnFailure": on_failure,
        "HadoopJarStep": {"Jar": jar, "Args": list(command)},
    }


def run(emr, *steps, keep=False, **options):
    instances = {**INSTANCES, "KeepJobFlowAliveWhenNoSteps": keep, **options.pop("Instances", {})}
    request = {"Name": "nightly", "ReleaseLabel": "emr-7.5.0", "LogUri": "s3://logs/emr/", **ROLES, **options}
    return emr.run_job_flow(Steps=list(steps), Instances=instances, **request)["JobFlowId"]


def status(emr, cluster):
    return emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]


def wait(emr, cluster, *states):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = status(emr, cluster)
        if found["State"] in (states or ("TERMINATED", "TERMINATED_WITH_ERRORS")):
            return found
        time.sleep(0.02)
    raise AssertionError(f"{cluster} is still {found}")


def steps(emr, cluster):
    """The states of a cluster's steps, oldest first."""
    return [each["Status"]["State"] for each in reversed(emr.list_steps(ClusterId=cluster)["Steps"])]


def wait_step(emr, cluster, number, state):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if steps(emr, cluster)[number] == state:
            return
        time.sleep(0.02)
    raise AssertionError(f"step {number} is not {state}: {steps(emr, cluster)}")


def log(local_aws, key):
    body = local_aws.client("s3").get_object(Bucket="logs", Key=f"emr/{key}.gz")["Body"].read()
    return gzip.decompress(body).decode()


def rejected(call, code, **params):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**params)
    assert code == caught.value.response["Error"]["Code"]
    return caught.value.response["Error"]["Message"]


# The documented transitions

#: States that may follow each state of a cluster. Source: "Understanding the cluster lifecycle".
TRANSITIONS = {
    "STARTING": {"BOOTSTRAPPING", "TERMINATING"},
    "BOOTSTRAPPING": {"RUNNING", "TERMINATING"},
    "RUNNING": {"WAITING", "TERMINATING"},
    "WAITING": {"RUNNING", "TERMINATING"},
    "TERMINATING": {"TERMINATED", "TERMINATED_WITH_ERRORS"},
    "TERMINATED": set(),
    "TERMINATED_WITH_ERRORS": set(),
}

#: Effect of a failed first step of three, by ActionOnFailure: states of the steps, final state of the cluster, reason.
ON_FAILURE = {
    "CONTINUE": (["FAILED", "COMPLETED", "COMPLETED"], "TERMINATED", "ALL_STEPS_COMPLETED"),
    "TERMINATE_CLUSTER": (["FAILED", "CANCELLED", "CANCELLED"], "TERMINATED_WITH_ERRORS", "STEP_FAILURE"),
    "CANCEL_AND_WAIT": (["FAILED", "CANCELLED", "CANCELLED"], "WAITING", None),
}


@pytest.mark.parametrize("action", ON_FAILURE)
def test_action_on_failure_of_a_failed_step_applies(local_aws, emr, action):
    """To the other steps and to the cluster."""
    states, end, code = ON_FAILURE[action]
    cluster = run(emr, step("false", on_failure=action), step("true"), step("true"))
    assert code == wait(emr, cluster, end)["StateChangeReason"].get("Code")
    assert states == steps(emr, cluster)


def test_a_cluster_goes_through_the_documented_states(local_aws, emr, tmp_path):
    """From STARTING to TERMINATED, as returned by DescribeCluster, with only documented changes."""
    script = tmp_path / "wait.sh"
    script.write_text(f"until [ -e {tmp_path}/BOOTSTRAPPING ]; do sleep 0.05; done")
    local_aws.clusters.delays.starting = local_aws.clusters.delays.terminating = 1.0
    action = {"Name": "wait", "ScriptBootstrapAction": {"Path": str(script)}}
    until_seen = step("sh", "-c", f"until [ -e {tmp_path}/RUNNING ]; do sleep 0.05; done")
    cluster = run(emr, until_seen, keep=True, BootstrapActions=[action])
    seen = []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and "TERMINATED" not in seen:
        state = status(emr, cluster)["State"]
        if state not in seen[-1:]:
            seen.append(state)
            (tmp_path / state).touch()
        if state == "WAITING":
            emr.terminate_job_flows(JobFlowIds=[cluster])
    assert seen == ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING", "TERMINATED"]
    assert all(after in TRANSITIONS[before] for before, after in itertools.pairwise(seen))
    assert status(emr, cluster)["StateChangeReason"]["Code"] == "USER_REQUEST"


# Steps


def test_steps_really_run_and_their_logs_have_the_layout_of_emr(local_aws, emr):
    """Steps run in order. stdout, stderr and controller are compressed below the log URI."""
    cluster = run(emr, step("bash", "-c", "echo out; echo bad >&2; exit 3"), step("echo", "two"))
    assert wait(emr, cluster)["StateChangeReason"]["Message"] == "Steps completed with errors"
    second, first = emr.list_steps(ClusterId=cluster)["Steps"]
    folder = f"{cluster}/steps/{first['Id']}"
    assert (log(local_aws, f"{folder}/stdout"), log(local_aws, f"{folder}/stderr")) == ("out\n", "bad\n")
    assert "WARN Step failed with exitCode 3" in log(local_aws, f"{folder}/controller")
    assert log(local_aws, f"{cluster}/steps/{second['Id']}/stdout") == "two\n"
    details = first["Status"]["FailureDetails"]
    assert details["LogFile"] == f"s3://logs/emr/{folder}/stderr.gz"


def test_logs_may_arrive_after_the_end_of_the_step(local_aws, emr):
    """On EMR, they are uploaded every few minutes."""
    local_aws.faults.delay_logs(3)
    cluster = run(emr, step("true"))
    wait(emr, cluster)
    s3 = local_aws.client("s3")
    assert s3.list_objects_v2(Bucket="logs")["KeyCount"] == 0
    deadline = time.monotonic() + 120
    while not s3.list_objects_v2(Bucket="logs")["KeyCount"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_logs_of_a_running_step_are_uploaded_periodically(local_aws, emr):
    """Every few minutes of the scaled clock."""
    local_aws.clock.speed = 1000
    try:
        cluster = run(emr, step("bash", "-c", "echo working; sleep 60"), keep=True)
        wait_step(emr, cluster, 0, "RUNNING")
        name = emr.list_steps(ClusterId=cluster)["Steps"][0]["Id"]
        deadline = time.monotonic() + 120
        content = ""
        while content != "working\n":
            assert time.monotonic() < deadline
            try:
                content = log(local_aws, f"{cluster}/steps/{name}/stdout")
            except botocore.exceptions.ClientError:
                time.sleep(0.05)
    finally:
        local_aws.clock.speed = 1


def test_step_concurrency_limits_running_steps(local_aws, emr):
    """With StepConcurrencyLevel 1, the second step waits; with 2, both run."""
    one = run(emr, step("sleep", "60"), step("sleep", "60"))
    wait_step(emr, one, 0, "RUNNING")
    assert steps(emr, one) == ["RUNNING", "PENDING"]
    two = run(emr, step("sleep", "60"), step("sleep", "60"), StepConcurrencyLevel=2)
    wait_step(emr, two, 1, "RUNNING")
    assert steps(emr, two) == ["RUNNING", "RUNNING"]


def test_pending_and_running_steps_can_be_cancelled(local_aws, emr):
    """The running step is interrupted, and the cluster keeps running."""
    cluster = run(emr, step("sleep", "60"), step("true"), step("true"), keep=True)
    wait_step(emr, cluster, 0, "RUNNING")
    _, pending, running = [each["Id"] for each in emr.list_steps(ClusterId=cluster)["Steps"]]
    answer = emr.cancel_steps(ClusterId=cluster, StepIds=[running, pending])["CancelStepsInfoList"]
    assert [each["Status"] for each in answer] == ["SUBMITTED", "SUBMITTED"]
    wait(emr, cluster, "WAITING")
    assert steps(emr, cluster) == ["CANCELLED", "CANCELLED", "COMPLETED"]
    again = emr.cancel_steps(ClusterId=cluster, StepIds=[running])["CancelStepsInfoList"][0]
    assert again["Status"] == "FAILED"


def test_old_releases_cannot_cancel_running_steps(local_aws, emr):
    """Releases before 5.28.0."""
    cluster = run(emr, step("sleep", "60"), ReleaseLabel="emr-5.27.0")
    wait_step(emr, cluster, 0, "RUNNING")
    name = emr.list_steps(ClusterId=cluster)["Steps"][0]["Id"]
    answer = emr.cancel_steps(ClusterId=cluster, StepIds=[name])["CancelStepsInfoList"][0]
    assert answer["Status"] == "FAILED"
    assert "5.28.0" in answer["Reason"]


def test_a_batch_job_can_wait_for_a_step_that_it_adds(local_aws, emr):
    """Steps have separate slots, so that no job occupies the slot that its step needs."""
    batch = local_aws.client("batch")
    batch.register_job_definition(
        jobDefinitionName="sh", type="container", containerProperties={"image": "x", "vcpus": 1, "memory": 512}
    )
    cluster = run(emr, keep=True)
    wait(emr, cluster, "WAITING")
    program = (
        "import boto3, os\n"
        "emr = boto3.client('emr')\n"
        "jar = {'Jar': 'command-runner.jar', 'Args': ['true']}\n"
        "steps = [{'Name': 'x', 'HadoopJarStep': jar}]\n"
        f"ids = emr.add_job_flow_steps(JobFlowId={cluster!r}, Steps=steps)['StepIds']\n"
        "waiter = emr.get_waiter('step_complete')\n"
        f"waiter.wait(ClusterId={cluster!r}, StepId=ids[0], WaiterConfig={{'Delay': 0.1, 'MaxAttempts': 100}})\n"
    )
    job = batch.submit_job(
        jobName="driver", jobQueue="default", jobDefinition="sh", arrayProperties={"size": 4},
        containerOverrides={"command": ["python", "-c", program]},
    )["jobId"]  # fmt: skip
    deadline = time.monotonic() + 120
    while (found := batch.describe_jobs(jobs=[job])["jobs"][0]["status"]) not in ("SUCCEEDED", "FAILED"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found == "SUCCEEDED"
    assert steps(emr, cluster) == ["COMPLETED"] * 4


def test_a_script_from_s3_runs_as_a_step(local_aws, emr):
    """With script-runner.jar and arguments."""
    local_aws.client("s3").put_object(Bucket="logs", Key="code/hello.sh", Body=b"echo hello $1\n")
    jar = "s3://us-east-1.elasticmapreduce/libs/script-runner/script-runner.jar"
    cluster = run(emr, step("s3://logs/code/hello.sh", "world", jar=jar))
    wait(emr, cluster)
    name = emr.list_steps(ClusterId=cluster)["Steps"][0]["Id"]
    assert log(local_aws, f"{cluster}/steps/{name}/stdout") == "hello world\n"


def test_s3_dist_cp_copies_a_prefix(local_aws, emr):
    """Matching objects are copied, with their paths below the source."""
    s3 = local_aws.client("s3")
    for key in ("in/a.csv", "in/deep/b.csv", "in/c.txt", "other/d.csv"):
        s3.put_object(Bucket="logs", Key=key, Body=key.encode())
    cluster = run(emr, step("s3-dist-cp", "--src", "s3://logs/in/", "--dest=s3://logs/out", "--srcPattern", r".*\.csv"))
    wait(emr, cluster)
    assert steps(emr, cluster) == ["COMPLETED"]
    found = s3.list_objects_v2(Bucket="logs", Prefix="out/")["Contents"]
    assert [each["Key"] for each in found] == ["out/a.csv", "out/deep/b.csv"]
    assert s3.get_object(Bucket="logs", Key="out/deep/b.csv")["Body"].read() == b"in/deep/b.csv"


# Start


def test_bootstrap_actions_run_before_the_steps(local_aws, emr):
    """A script from S3 runs with its arguments in the cluster's home."""
    local_aws.client("s3").put_object(Bucket="logs", Key="boot.sh", Body=b"echo prepared $1 > ~/prepared\n")
    action = {"Name": "boot", "ScriptBootstrapAction": {"Path": "s3://logs/boot.sh", "Args": ["well"]}}
    cluster = run(emr, step("bash", "-c", "cat ~/prepared"), BootstrapActions=[action])
    wait(emr, cluster)
    name = emr.list_steps(ClusterId=cluster)["Steps"][0]["Id"]
    assert log(local_aws, f"{cluster}/steps/{name}/stdout") == "prepared well\n"


@pytest.mark.parametrize(("script", "what"), [(b"echo no >&2; exit 4", "non-zero return code"), (None, "cannot")])
def test_a_failed_bootstrap_action_ends_the_cluster(local_aws, emr, script, what):
    """Its log is at EMR's location."""
    if script is not None:
        local_aws.client("s3").put_object(Bucket="logs", Key="boot.sh", Body=script)
    action = {"Name": "boot", "ScriptBootstrapAction": {"Path": "s3://logs/boot.sh"}}
    cluster = run(emr, step("true"), BootstrapActions=[action])
    end = wait(emr, cluster)
    assert (end["State"], end["StateChangeReason"]["Code"]) == ("TERMINATED_WITH_ERRORS", "BOOTSTRAP_FAILURE")
    message = end["StateChangeReason"]["Message"]
    assert what in message
    assert steps(emr, cluster) == ["CANCELLED"]
    if script is not None:
        instance = message.partition("(")[2].partition(")")[0]
        assert log(local_aws, f"{cluster}/node/{instance}/bootstrap-actions/1/stderr") == "no\n"


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("subnet_full", "VALIDATION_ERROR"),
        ("spot_not_fulfilled", "INSTANCE_FLEET_TIMEOUT"),
        ("no_capacity", "INSTANCE_FAILURE"),
        ("bootstrap", "BOOTSTRAP_FAILURE"),
    ],
)
def test_a_cluster_can_fail_to_start(local_aws, emr, reason, code):
    """Only one cluster fails, with EMR's code; the next one starts."""
    local_aws.faults.fail_start(reason)
    end = wait(emr, run(emr, step("true")))
    assert ("TERMINATED_WITH_ERRORS", code) == (end["State"], end["StateChangeReason"]["Code"])
    assert wait(emr, run(emr, step("true")))["State"] == "TERMINATED"


# End


def test_an_idle_cluster_terminates_itself(local_aws, emr):
    """It terminates by its policy, but not while a step runs."""
    local_aws.clock.speed = 200
    try:
        cluster = run(emr, step("sleep", "0.6"), keep=True, AutoTerminationPolicy={"IdleTimeout": 60})
        wait(emr, cluster, "WAITING")
        assert wait(emr, cluster)["State"] == "TERMINATED"
    finally:
        local_aws.clock.speed = 1
    assert steps(emr, cluster) == ["COMPLETED"]


def test_policies_can_be_changed_later(local_aws, emr):
    """They can be set, read and removed."""
    cluster = run(emr, keep=True)
    wait(emr, cluster, "WAITING")
    emr.put_auto_termination_policy(ClusterId=cluster, AutoTerminationPolicy={"IdleTimeout": 3600})
    assert emr.get_auto_termination_policy(ClusterId=cluster)["AutoTerminationPolicy"] == {"IdleTimeout": 3600}
    emr.remove_auto_termination_policy(ClusterId=cluster)
    assert "AutoTerminationPolicy" not in emr.get_auto_termination_policy(ClusterId=cluster)
    limits = {"ComputeLimits": {"UnitType": "Instances", "MinimumCapacityUnits": 1, "MaximumCapacityUnits": 4}}
    emr.put_managed_scaling_policy(ClusterId=cluster, ManagedScalingPolicy=limits)
    assert emr.get_managed_scaling_policy(ClusterId=cluster)["ManagedScalingPolicy"] == limits


def test_a_protected_cluster_is_not_terminated(local_aws, emr):
    """Termination works after the protection is removed."""
    cluster = run(emr, keep=True, Instances={"TerminationProtected": True})
    assert "protected" in rejected(emr.terminate_job_flows, "ValidationException", JobFlowIds=[cluster])
    emr.set_termination_protection(JobFlowIds=[cluster], TerminationProtected=False)
    emr.terminate_job_flows(JobFlowIds=[cluster])
    assert wait(emr, cluster)["State"] == "TERMINATED"


def test_terminating_a_cluster_kills_its_steps(local_aws, emr, tmp_path):
    """Both the running step and the pending one."""
    cluster = run(
        emr,
        step("bash", "-c", f"until [ -e {tmp_path}/go ]; do sleep 0.05; done; touch {tmp_path}/went-on"),
        step("true"),
    )
    wait_step(emr, cluster, 0, "RUNNING")
    emr.terminate_job_flows(JobFlowIds=[cluster])
    wait(emr, cluster)
    assert steps(emr, cluster) == ["CANCELLED", "CANCELLED"]
    (tmp_path / "go").touch()
    time.sleep(0.5)
    assert not (tmp_path / "went-on").exists()


# Descriptions and lists


def test_clusters_are_listed_by_state_and_time(local_aws, emr):
    """By ClusterStates and CreatedAfter, newest first."""
    first = run(emr, step("true"))
    wait(emr, first)
    second = run(emr, keep=True)
    wait(emr, second, "WAITING")
    assert [second, first] == [each["Id"] for each in emr.list_clusters()["Clusters"]]
    waiting = emr.list_clusters(ClusterStates=["STARTING", "RUNNING", "WAITING"])["Clusters"]
    assert [second] == [each["Id"] for each in waiting]
    created = emr.describe_cluster(ClusterId=second)["Cluster"]["Status"]["Timeline"]["CreationDateTime"]
    assert [second] == [each["Id"] for each in emr.list_clusters(CreatedAfter=created)["Clusters"]]


def test_a_cluster_is_described_as_requested(local_aws, emr):
    """Applications with their versions, tags, fleets, and the address of the primary node."""
    fleets = [
        {
            "InstanceFleetType": kind, "TargetSpotCapacity": spot, "TargetOnDemandCapacity": 1,
            "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}, {"InstanceType": "m5a.xlarge"}],
        }
        for kind, spot in (("MASTER", 0), ("CORE", 2))
    ]  # fmt: skip
    cluster = emr.run_job_flow(
        Name="fleets", ReleaseLabel="emr-5.27.0", Applications=[{"Name": "Spark"}],
        Instances={"InstanceFleets": fleets, "KeepJobFlowAliveWhenNoSteps": True}, Tags=[{"Key": "run", "Value": "1"}],
        **ROLES,
    )["JobFlowId"]  # fmt: skip
    wait(emr, cluster, "WAITING")
    emr.add_tags(ResourceId=cluster, Tags=[{"Key": "team", "Value": "data"}])
    emr.remove_tags(ResourceId=cluster, TagKeys=["run"])
    described = emr.describe_cluster(ClusterId=cluster)["Cluster"]
    assert described["Applications"] == [{"Name": "Spark", "Version": "2.4.4"}]
    assert described["Tags"] == [{"Key": "team", "Value": "data"}]
    assert described["MasterPublicDnsName"]
    listed = emr.list_instance_fleets(ClusterId=cluster)["InstanceFleets"]
    assert [
        (each["InstanceFleetType"], each["ProvisionedSpotCapacity"], each["ProvisionedOnDemandCapacity"])
        for each in listed
    ] == [("MASTER", 0, 1), ("CORE", 2, 1)]
    assert len(emr.list_instances(ClusterId=cluster, InstanceFleetType="CORE")["Instances"]) == 3
    assert "mutually exclusive" in rejected(emr.list_instance_groups, "InvalidRequestException", ClusterId=cluster)


def test_releases_determine_application_versions(local_aws, emr):
    """emr-5.27.0 has Spark 2.4.4 and Hadoop 2.8.5."""
    applications = emr.describe_release_label(ReleaseLabel="emr-5.27.0")["Applications"]
    versions = {each["Name"]: each["Version"] for each in applications}
    assert (versions["Spark"], versions["Hadoop"]) == ("2.4.4", "2.8.5")
    labels = emr.list_release_labels(Filters={"Prefix": "emr-7", "Application": "Spark-3.5.2"})["ReleaseLabels"]
    assert labels == ["emr-7.5.0", "emr-7.4.0"]


GROUPS = [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}]
TASKS = [*GROUPS, {"InstanceRole": "TASK", "InstanceType": "m5.xlarge", "InstanceCount": 1}]
FLEETS = [{"InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ReleaseLabel": "emr-99.0.0"}, "release label is invalid"),
        ({"Applications": [{"Name": "Sparc"}]}, "Specified application: Sparc is invalid"),
        ({"Instances": {"InstanceGroups": GROUPS, "InstanceFleets": FLEETS}}, "one and only one of"),
        ({"Instances": {"InstanceGroups": TASKS}}, "the role TASK requires one"),
        ({"Instances": {"InstanceGroups": GROUPS * 2}}, "exactly one instance group with the role MASTER, not 2"),
        ({"Instances": {"InstanceGroups": [{**GROUPS[0], "BidPrice": "cheap"}]}}, "The bid price is invalid"),
        ({"Instances": {"InstanceGroups": [{**GROUPS[0], "Market": "FREE"}]}}, "must be one of ON_DEMAND, SPOT"),
        ({"Name": "x" * 257}, "Member must have at most 256, not 257"),
        ({"AutoTerminationPolicy": {"IdleTimeout": 59}}, "between 60 and 604800"),
        ({"Steps": [step("true")] * 257}, "256"),
        ({"Steps": [step("true", on_failure="TERMINATE_CLUSTER")], "StepConcurrencyLevel": 2}, "is not valid with"),
        ({"ServiceRole": ""}, "ServiceRole must be given"),
    ],
)
def test_limits_are_those_of_aws(local_aws, emr, options, message):
    """Requests fail with ValidationException, and no cluster is created."""
    request = {"Name": "x", "ReleaseLabel": "emr-7.5.0", "Instances": INSTANCES, **ROLES, **options}
    assert message in rejected(emr.run_job_flow, "ValidationException", **request)
    assert emr.list_clusters()["Clusters"] == []


def test_a_cluster_with_three_masters_is_protected_and_kept_alive(local_aws, emr):
    """Whatever the request says. It can be terminated once its protection is lifted."""
    three = [{**GROUPS[0], "InstanceCount": 3}, {**GROUPS[0], "InstanceRole": "CORE"}]
    instances = {"InstanceGroups": three, "KeepJobFlowAliveWhenNoSteps": False, "TerminationProtected": False}
    cluster = emr.run_job_flow(
        Name="x", ReleaseLabel="emr-7.5.0", Instances=instances, Steps=[step("true")], **ROLES
    )["JobFlowId"]  # fmt: skip
    wait(emr, cluster, "WAITING")
    described = emr.describe_cluster(ClusterId=cluster)["Cluster"]
    assert (True, False) == (described["TerminationProtected"], described["AutoTerminate"])
    message = rejected(emr.terminate_job_flows, "ValidationException", JobFlowIds=[cluster])
    assert "termination protected" in message
    emr.set_termination_protection(JobFlowIds=[cluster], TerminationProtected=False)
    emr.terminate_job_flows(JobFlowIds=[cluster])
    assert wait(emr, cluster)["State"] == "TERMINATED"


def test_unknown_ids_are_rejected(local_aws, emr):
    """The messages are those of EMR."""
    message = rejected(emr.describe_cluster, "InvalidRequestException", ClusterId="j-NONE")
    assert message == "Cluster id 'j-NONE' is not valid."
    message = rejected(emr.add_job_flow_steps, "ValidationException", JobFlowId="j-NONE", Steps=[step("true")])
    assert message == "Specified job flow ID does not exist."
    assert message == rejected(emr.terminate_job_flows, "ValidationException", JobFlowIds=["j-NONE"])
    cluster = run(emr, step("true"))
    rejected(emr.describe_step, "InvalidRequestException", ClusterId=cluster, StepId="s-NONE")
    wait(emr, cluster)
    rejected(emr.add_job_flow_steps, "ValidationException", JobFlowId=cluster, Steps=[step("true")])
    rejected(emr.terminate_job_flows, "ValidationException", JobFlowIds=[cluster] * 11)
    too_many = [f"s-{number}" for number in range(11)]
    rejected(emr.list_steps, "ValidationException", ClusterId=cluster, StepIds=too_many)
