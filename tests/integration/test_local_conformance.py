"""The local AWS against botocore's data: Batch's examples, and the paginators and waiters of Batch and EMR."""

from __future__ import annotations

import json
import time
from pathlib import Path

import botocore
import botocore.exceptions
import pytest

DATA = Path(botocore.__file__).parent / "data"
EXAMPLES = json.loads((DATA / "batch/2016-08-10/examples-1.json").read_text())["examples"]
CASES = [(operation, example) for operation, examples in EXAMPLES.items() for example in examples]


def snake(operation):
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in operation).lstrip("_")


def container(*command):
    requirements = [{"type": "MEMORY", "value": "128"}, {"type": "VCPU", "value": "1"}]
    return {"command": list(command), "image": "busybox", "resourceRequirements": requirements}


@pytest.fixture
def account(local_aws):
    """An account with the resources that the examples use."""
    batch = local_aws.client("batch")
    for name, state in (("M4Spot", "ENABLED"), ("C4OnDemand", "ENABLED"), ("P2OnDemand", "ENABLED")):
        batch.create_compute_environment(
            computeEnvironmentName=name, type="MANAGED", state=state, serviceRole="role",
            computeResources={
                "type": "EC2", "minvCpus": 0, "maxvCpus": 8, "desiredvCpus": 1, "subnets": ["s"], "ec2KeyPair": "k",
                "instanceTypes": ["p2"], "instanceRole": "r", "securityGroupIds": ["g"], "tags": {"Name": "x"},
            },
        )  # fmt: skip
    order = [{"computeEnvironment": "M4Spot", "order": 1}]
    for name in ("HighPriority", "GPGPU"):
        batch.create_job_queue(jobQueueName=name, priority=10, computeEnvironmentOrder=order)
    for name in ("sleep10", "sleep30", "sleep60"):
        batch.register_job_definition(
            jobDefinitionName=name,
            type="container",
            containerProperties=container("true"),
            tags=EXAMPLES["ListTagsForResource"][0]["output"]["tags"],
        )
    return batch


def prepared(batch, operation, params):
    """Adapt an example's input to this account: new resources must not exist, and deletions must be allowed."""
    params = dict(params)
    if operation == "CreateJobQueue":
        params["jobQueueName"] += "2"
    elif operation == "CreateComputeEnvironment":
        params["computeEnvironmentName"] += "2"
    elif operation == "DeleteJobQueue":
        batch.update_job_queue(jobQueue=params["jobQueue"], state="DISABLED")
    elif operation == "DeleteComputeEnvironment":
        batch.update_compute_environment(computeEnvironment=params["computeEnvironment"], state="DISABLED")
    elif "resourceArn" in params:
        params["resourceArn"] = batch.describe_job_definitions(jobDefinitionName="sleep30")["jobDefinitions"][0][
            "jobDefinitionArn"
        ]
    elif operation == "ListJobs":
        batch.submit_job(jobName="example", jobQueue=params["jobQueue"], jobDefinition="sleep60")
    elif operation == "DescribeJobs":
        params["jobs"] = [ended_job(batch)]
    return params


def ended_job(batch):
    job_id = batch.submit_job(jobName="example", jobQueue="HighPriority", jobDefinition="sleep60")["jobId"]
    while batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"] != "SUCCEEDED":
        time.sleep(0.02)
    return job_id


#: Members that newer responses do not have, because they moved to resourceRequirements.
MOVED = {"memory", "vcpus"}


def missing(example, answer, place=""):
    """Members of the example's output that are missing in the response."""
    if isinstance(example, dict) and isinstance(answer, dict):
        return [
            each
            for key, value in example.items()
            if key not in MOVED
            for each in ([f"{place}.{key}"] if key not in answer else missing(value, answer[key], f"{place}.{key}"))
        ]
    if isinstance(example, list) and example and answer:
        return missing(example[0], answer[0], f"{place}[]")
    return []


@pytest.mark.parametrize(
    ("operation", "example"), CASES, ids=[f"{operation}-{number}" for number, (operation, _) in enumerate(CASES)]
)
def test_batch_accepts_the_examples_of_botocore(account, operation, example):
    """The responses have all members of the examples' outputs."""
    params = prepared(account, operation, example.get("input", {}))
    answer = getattr(account, snake(operation))(**params)
    assert missing(example.get("output", {}), answer) == []


def test_batch_paginators_return_everything_once(local_aws):
    """Definitions, queues and compute environments, over several pages."""
    batch = local_aws.client("batch")
    for number in range(5):
        batch.register_job_definition(
            jobDefinitionName=f"d{number}", type="container", containerProperties=container("true")
        )
        batch.create_compute_environment(computeEnvironmentName=f"c{number}", type="UNMANAGED")
        order = [{"computeEnvironment": f"c{number}", "order": 1}]
        batch.create_job_queue(jobQueueName=f"q{number}", priority=1, computeEnvironmentOrder=order)

    def names(operation, key, name):
        pages = batch.get_paginator(operation).paginate(PaginationConfig={"PageSize": 2})
        return [each[name] for page in pages for each in page[key]]

    numbers = range(5)
    assert [f"d{n}" for n in numbers] == names("describe_job_definitions", "jobDefinitions", "jobDefinitionName")
    assert ["default", *(f"q{n}" for n in numbers)] == names("describe_job_queues", "jobQueues", "jobQueueName")
    assert ["local", *(f"c{n}" for n in numbers)] == names(
        "describe_compute_environments", "computeEnvironments", "computeEnvironmentName"
    )


# EMR

CLUSTER = {
    "Name": "nightly",
    "ReleaseLabel": "emr-7.5.0",
    "ServiceRole": "EMR_DefaultRole",
    "JobFlowRole": "EMR_EC2_DefaultRole",
    "Instances": {"MasterInstanceType": "m5.xlarge", "InstanceCount": 3, "KeepJobFlowAliveWhenNoSteps": True},
}


def step(*command):
    return {"Name": command[0], "HadoopJarStep": {"Jar": "command-runner.jar", "Args": list(command)}}


FAST = {"Delay": 0.05, "MaxAttempts": 400}


def test_emr_waiters_return(local_aws):
    """ClusterRunning, StepComplete and ClusterTerminated return, and StepComplete fails for a failed step."""
    emr = local_aws.client("emr")
    cluster = emr.run_job_flow(**CLUSTER)["JobFlowId"]
    emr.get_waiter("cluster_running").wait(ClusterId=cluster, WaiterConfig=FAST)
    done, failed = emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step("true"), step("false")])["StepIds"]
    emr.get_waiter("step_complete").wait(ClusterId=cluster, StepId=done, WaiterConfig=FAST)
    with pytest.raises(botocore.exceptions.WaiterError):
        emr.get_waiter("step_complete").wait(ClusterId=cluster, StepId=failed, WaiterConfig=FAST)
    emr.terminate_job_flows(JobFlowIds=[cluster])
    emr.get_waiter("cluster_terminated").wait(ClusterId=cluster, WaiterConfig=FAST)
    assert emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"] == "TERMINATED"


def test_emr_paginators_return_everything_once(local_aws):
    """Clusters and steps are listed in pages of 50, newest first."""
    emr = local_aws.client("emr")
    clusters = [emr.run_job_flow(**CLUSTER)["JobFlowId"] for _ in range(60)]
    pages = [[cluster["Id"] for cluster in page["Clusters"]] for page in emr.get_paginator("list_clusters").paginate()]
    newest_first = clusters[::-1]
    assert [newest_first[:50], newest_first[50:]] == pages
    emr.get_waiter("cluster_running").wait(ClusterId=clusters[0], WaiterConfig=FAST)
    ids = emr.add_job_flow_steps(JobFlowId=clusters[0], Steps=[step("true")] * 120)["StepIds"]
    listed = [
        each["Id"] for page in emr.get_paginator("list_steps").paginate(ClusterId=clusters[0]) for each in page["Steps"]
    ]
    assert ids[::-1] == listed
    groups = emr.get_paginator("list_instance_groups").paginate(ClusterId=clusters[0]).build_full_result()
    assert [(group["InstanceGroupType"], group["RunningInstanceCount"]) for group in groups["InstanceGroups"]] == [
        ("MASTER", 1),
        ("CORE", 2),
    ]
    instances = emr.get_paginator("list_instances").paginate(ClusterId=clusters[0]).build_full_result()["Instances"]
    assert len(instances) == 3
