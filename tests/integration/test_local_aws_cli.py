"""The unmodified aws CLI, against the local AWS. Only the pauses of its waiters are shorter."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest

CONTAINER = {
    "image": "busybox",
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
}


@pytest.fixture
def cli(local_aws, monkeypatch, tmp_path, capsys):
    """`cli("emr list-clusters")` runs a command and returns its output, parsed if it is JSON."""
    from awscli.clidriver import create_clidriver

    (tmp_path / "config").touch()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr("botocore.waiter.time", SimpleNamespace(sleep=lambda _: time.sleep(0.05)))
    local_aws.client("s3").create_bucket(Bucket="logs")

    def run(command, *more):
        capsys.readouterr()
        code = create_clidriver().main([*command.split(), *more])
        output, errors = capsys.readouterr()
        assert code == 0, errors
        return json.loads(output) if output.startswith(("{", "[")) else output

    return run


def wait_job(cli, job):
    deadline = time.monotonic() + 120
    while (found := cli(f"batch describe-jobs --jobs {job}")["jobs"][0])["status"] not in ("SUCCEEDED", "FAILED"):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def test_the_default_roles_of_emr_are_created_once(local_aws, cli, monkeypatch):
    """They have AWS's managed policies and trust EMR and EC2. The CLI writes them to its configuration."""
    # The CLI derives the name of EMR's service principal from the endpoint of EMR
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    command = f"emr create-default-roles --iam-endpoint {local_aws.endpoint_url}"
    made = cli(command)
    assert [each["Role"]["RoleName"] for each in made] == [
        "EMR_EC2_DefaultRole", "EMR_DefaultRole", "EMR_AutoScaling_DefaultRole"
    ]  # fmt: skip
    assert all(each["RolePolicy"]["Statement"] for each in made)
    iam = local_aws.client("iam")
    trust = iam.get_role(RoleName="EMR_DefaultRole")["Role"]["AssumeRolePolicyDocument"]
    assert trust["Statement"][0]["Principal"] == {"Service": "elasticmapreduce.amazonaws.com"}
    profile = iam.get_instance_profile(InstanceProfileName="EMR_EC2_DefaultRole")["InstanceProfile"]
    assert [role["RoleName"] for role in profile["Roles"]] == ["EMR_EC2_DefaultRole"]
    assert cli("configure get emr.service_role") == "EMR_DefaultRole\n"
    assert cli(command) == []


def test_a_cluster_is_created_watched_and_terminated(local_aws, cli, tmp_path):
    """With the default roles, applications, debugging, a bootstrap action, steps of several types, and the waiters."""
    local_aws.client("s3").put_object(Bucket="logs", Key="boot.sh", Body=b"sudo touch ~/$1\n")
    cluster = cli(
        "emr create-cluster --name cli --release-label emr-7.5.0 --applications Name=Hadoop Name=Spark Name=JupyterHub "
        "--use-default-roles --instance-type m5.xlarge --instance-count 3 --log-uri s3://logs/emr/ --enable-debugging "
        "--bootstrap-actions Path=s3://logs/boot.sh,Args=[ready] --tags team=data --ec2-attributes SubnetId=subnet-0a "
        "--auto-termination-policy IdleTimeout=3600 --steps",
        'Type=CUSTOM_JAR,Jar=command-runner.jar,Args=["bash","-c","ls ~/ready"]',
    )["ClusterId"]
    cli(f"emr wait cluster-running --cluster-id {cluster}")
    described = cli(f"emr describe-cluster --cluster-id {cluster}")["Cluster"]
    assert [(group["InstanceGroupType"], group["RunningInstanceCount"]) for group in described["InstanceGroups"]] == [
        ("MASTER", 1), ("CORE", 2)
    ]  # fmt: skip
    assert [each["Name"] for each in described["Applications"]] == ["Hadoop", "Spark", "JupyterHub"]
    assert described["BootstrapActions"] == [
        {"Name": "Bootstrap action", "ScriptPath": "s3://logs/boot.sh", "Args": ["ready"]}
    ]
    assert [each["Id"] for each in cli("emr list-clusters --active")["Clusters"]] == [cluster]
    assert len(cli(f"emr list-instances --cluster-id {cluster}")["Instances"]) == 3
    local_aws.client("s3").put_object(Bucket="logs", Key="in/a.txt", Body=b"b a\nb\n")
    local_aws.client("s3").put_object(Bucket="logs", Key="words.sh", Body=b"#!/bin/sh\nexec tr ' ' '\\n'\n")
    streaming = "[-files,s3://logs/words.sh,-mapper,words.sh,-reducer,uniq,-input,s3://logs/in,-output,s3://logs/out]"
    step = cli(f"emr add-steps --cluster-id {cluster} --steps Type=STREAMING,Args={streaming}")["StepIds"][0]
    cli(f"emr wait step-complete --cluster-id {cluster} --step-id {step}")
    steps = cli(f"emr list-steps --cluster-id {cluster}")["Steps"]
    assert [(each["Name"], each["Status"]["State"]) for each in steps] == [
        ("Streaming program", "COMPLETED"), ("Custom JAR", "COMPLETED"), ("Setup Hadoop Debugging", "COMPLETED")
    ]  # fmt: skip
    cli("s3 cp s3://logs/out/part-00000", str(tmp_path / "result"))
    assert (tmp_path / "result").read_text() == "a\t\nb\t\n"
    cli(f"emr modify-cluster-attributes --cluster-id {cluster} --no-termination-protected")
    cli(f"emr terminate-clusters --cluster-ids {cluster}")
    cli(f"emr wait cluster-terminated --cluster-id {cluster}")
    assert cli("emr list-clusters --active")["Clusters"] == []


def test_batch_resources_are_created_and_jobs_run(local_aws, cli, tmp_path):
    """Compute environment, queue, definition, an array job, a terminated job."""
    cli(
        "batch create-compute-environment --compute-environment-name cli --type MANAGED",
        "--compute-resources", "type=FARGATE,maxvCpus=4,subnets=subnet-0a,securityGroupIds=sg-0a",
    )  # fmt: skip
    order = "order=1,computeEnvironment=cli"
    cli(f"batch create-job-queue --job-queue-name cli --priority 1 --compute-environment-order {order}")
    assert cli("batch describe-job-queues --job-queues cli")["jobQueues"][0]["status"] == "VALID"
    container = ["--container-properties", json.dumps(CONTAINER)]
    cli("batch register-job-definition --job-definition-name sh --type container", *container)
    overrides = [
        "--container-overrides",
        json.dumps({"command": ["sh", "-c", f"touch {tmp_path}/$AWS_BATCH_JOB_ARRAY_INDEX"]}),
    ]
    submit = "batch submit-job --job-queue cli --job-definition sh"
    array = cli(f"{submit} --job-name array --array-properties size=2", *overrides)["jobId"]
    assert wait_job(cli, array)["status"] == "SUCCEEDED"
    assert {"0", "1"} < {path.name for path in tmp_path.iterdir()}
    children = cli(f"batch list-jobs --array-job-id {array} --job-status SUCCEEDED")["jobSummaryList"]
    assert sorted(each["arrayProperties"]["index"] for each in children) == [0, 1]
    job = cli(f"{submit} --job-name long", "--container-overrides", "command=sleep,600")["jobId"]
    cli(f"batch terminate-job --job-id {job}", "--reason", "not needed")
    assert wait_job(cli, job)["statusReason"] == "not needed"
