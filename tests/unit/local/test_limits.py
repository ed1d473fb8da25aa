"""What the local Batch and EMR reject, as documented by AWS."""

from __future__ import annotations

import pytest

from airflow_batchemr.local.batch import limits as batch
from airflow_batchemr.local.emr import limits as emr
from airflow_batchemr.local.emr.instances import instance_groups
from airflow_batchemr.local.protocol import AwsError


def group(role="MASTER", **more):
    return {"InstanceRole": role, "InstanceType": "m5.xlarge", "InstanceCount": 1, **more}


def fleet(role="MASTER", **more):
    types = [{"InstanceType": "m5.xlarge"}]
    return {"InstanceFleetType": role, "TargetOnDemandCapacity": 1, "InstanceTypeConfigs": types, **more}


def volume(kind, **more):
    specification = {"VolumeType": kind, "SizeInGB": 10, **more}
    return {"EbsConfiguration": {"EbsBlockDeviceConfigs": [{"VolumeSpecification": specification}]}}


def cluster(instances, **more):
    roles = {"ServiceRole": "s", "JobFlowRole": "j"}
    return {"Name": "n", "ReleaseLabel": "emr-7.5.0", "Instances": instances, **roles, **more}


def groups(*all_, **more):
    return cluster({"InstanceGroups": list(all_), **more})


def fleets(*all_, **more):
    return cluster({"InstanceFleets": list(all_), **more})


GROUPS = {"InstanceGroups": [group(), group("CORE")]}
UNITS = {"UnitType": "Instances", "MinimumCapacityUnits": 1, "MaximumCapacityUnits": 5}


def scaling(**more):
    return {"ManagedScalingPolicy": {"ComputeLimits": {**UNITS, **more}}}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (groups(group(), group()), "exactly one instance group with the role MASTER, not 2"),
        (groups(group("CORE")), "exactly one instance group with the role MASTER, not 0"),
        (groups(group(), group("CORE"), group("CORE")), "at most one instance group may have the role CORE"),
        (groups(group(), group("TASK")), "the role TASK requires one"),
        (groups(group(), group("CORE"), *[group("TASK")] * 49), "at most 48 of the role TASK"),
        (groups(group(InstanceCount=2)), "instance count of 1 or 3, not 2"),
        (groups(group(InstanceCount=3), group("CORE")) | {"ReleaseLabel": "emr-5.20.0"}, "needs release 5.23.0"),
        (groups(group(), group("CORE", InstanceCount=0)), "InstanceCount of the CORE group must be at least 1"),
        (groups(group(Market="ON_DEMAND", BidPrice="0.1")), "Attempted to set bid price for on demand instance group"),
        (groups(group(BidPrice="cheap")), "The bid price is invalid"),
        (groups(group(BidPrice="OnDemandPrice")), "The bid price is invalid"),
        (groups(group(BidPrice="0")), "The bid price is invalid"),
        (groups(group(Market="SPOT", BidPrice="0.0755")), "The bid price is invalid"),
        (groups(group(**volume("io1"))), "Iops must be given"),
        (groups(group(**volume("gp2", Throughput=125))), "Throughput is only valid for"),
        (groups(group(**volume("gp4"))), "VolumeType must be"),
        (groups(group(), Ec2SubnetIds=["a", "b"]), "Ec2SubnetIds is for instance fleets"),
        (groups(group(), Ec2SubnetId="a", Ec2SubnetIds=["a"]), "not both"),
        (groups(group(), InstanceFleets=[fleet()]), "one and only one of the following"),
        (groups(group(), InstanceCount=1), "one and only one of the following"),
        (groups(group(), MasterInstanceType="m5.xlarge"), "one and only one of the following"),
        (cluster({}), "one and only one of the following"),
        (cluster({"InstanceCount": 2}), "MasterInstanceType must be given together"),
        (cluster({"MasterInstanceType": "m5.xlarge"}), "InstanceCount, which must be at least 1"),
        (fleets(fleet(), fleet()), "exactly one instance fleet with the role MASTER, not 2"),
        (fleets(fleet(), fleet("CORE"), fleet("TASK"), fleet("TASK")), "at most 1 of the role TASK"),
        (fleets(fleet(TargetOnDemandCapacity=2)), "which must be 1, or 3 on-demand"),
        (fleets(fleet(TargetSpotCapacity=1)), "which must be 1, or 3 on-demand"),
        (fleets(fleet(TargetOnDemandCapacity=0)), "a target capacity of 0"),
        (fleets(fleet(InstanceTypeConfigs=[])), "must have 1 to 5 InstanceTypeConfigs, not 0"),
        (fleets(fleet(InstanceTypeConfigs=[{"InstanceType": "a"}] * 6)), "must have 1 to 5 InstanceTypeConfigs, not 6"),
        (fleets(fleet(InstanceTypeConfigs=[{"InstanceType": "a", "WeightedCapacity": 2}])), "must be 1"),
        (
            fleets(fleet(), fleet("CORE", InstanceTypeConfigs=[{"InstanceType": "a", "WeightedCapacity": 0}])),
            "must be at least 1",
        ),
        (
            fleets(fleet(InstanceTypeConfigs=[
                {"InstanceType": "a", "BidPrice": "1", "BidPriceAsPercentageOfOnDemandPrice": 50.0}
            ])),
            "may not be given together",
        ),
        (
            fleets(fleet(LaunchSpecifications={"SpotSpecification": {"TimeoutDurationMinutes": 4}})),
            "between 5 and 1440, not 4",
        ),
        (cluster(GROUPS, ReleaseLabel="emr-7.5"), "The supplied release label is invalid: emr-7.5."),
        (cluster(GROUPS, ReleaseLabel="emr-5.27.0", StepConcurrencyLevel=2), "needs release 5.28.0"),
        (cluster(GROUPS, ReleaseLabel="emr-5.29.0", AutoTerminationPolicy={"IdleTimeout": 60}), "needs release 5.30.0"),
        (cluster(GROUPS, AutoTerminationPolicy={"IdleTimeout": 59}), "IdleTimeout must be between 60"),
        (cluster(GROUPS, ReleaseLabel="emr-5.29.0", **scaling()), "needs release 5.30.0"),
        (cluster(GROUPS, **scaling(UnitType="InstanceFleetUnits")), "not valid for a cluster with instance groups"),
        (fleets(fleet(), fleet("CORE")) | scaling(), "not valid for a cluster with instance fleets"),
        (cluster(GROUPS, **scaling(MinimumCapacityUnits=6)), "MinimumCapacityUnits must be between 1 and"),
        (cluster(GROUPS, **scaling(MaximumOnDemandCapacityUnits=6)), "MaximumOnDemandCapacityUnits must be at most"),
        (cluster(GROUPS, ManagedScalingPolicy={}), "ComputeLimits must be given"),
        (cluster(GROUPS, Tags=[{"Key": str(number)} for number in range(51)]), "at most 50 tags, not 51"),
        (cluster(GROUPS, Tags=[{"Key": "aws:x"}]), "not beginning with aws:"),
        (
            cluster(GROUPS, Steps=[{"Name": "s", "HadoopJarStep": {"Jar": "j" * 41, "Args": ["x" * 10_200]}}]),
            "longer than 10240 characters",
        ),
        (cluster(GROUPS, ServiceRole=""), "ServiceRole must be given"),
    ],
)  # fmt: skip
def test_emr_rejects_what_is_documented(request_, message):
    """With a ValidationException that names the field."""
    with pytest.raises(AwsError) as caught:
        emr.check_run_job_flow(request_)
    assert ("ValidationException", 400) == (caught.value.code, caught.value.status)
    assert message in caught.value.message


@pytest.mark.parametrize(
    "request_",
    [
        groups(group(InstanceCount=3), group("CORE")),
        groups(group(Market="SPOT", BidPrice="0.075")),
        groups(group(BidPrice="1"), Ec2SubnetIds=["a"]),
        groups(group(**volume("io1", Iops=100)), group("CORE", **volume("gp3", Throughput=125)), group("TASK")),
        cluster({"InstanceCount": 3, "MasterInstanceType": "m5.xlarge", "SlaveInstanceType": "m5.large"}),
        fleets(fleet(TargetOnDemandCapacity=0, TargetSpotCapacity=1), Ec2SubnetIds=["a", "b"]),
        fleets(fleet(TargetOnDemandCapacity=3), fleet("CORE")),
        fleets(
            fleet(
                InstanceTypeConfigs=[{"InstanceType": "a"}] * 30,
                LaunchSpecifications={"OnDemandSpecification": {"AllocationStrategy": "lowest-price"}},
            )
        ),
        cluster(GROUPS, **scaling(MaximumOnDemandCapacityUnits=5), AutoTerminationPolicy={"IdleTimeout": 60}),
        cluster(GROUPS, Tags=[{"Key": str(number)} for number in range(50)]),
        cluster(GROUPS, Steps=[{"Name": "s", "HadoopJarStep": {"Jar": "j" * 40, "Args": ["x" * 10_200]}}]),
    ],
)
def test_emr_accepts_what_is_documented(request_):
    """Nothing is raised."""
    emr.check_run_job_flow(request_)


def test_a_bid_alone_requests_spot_instances():
    """As documented for `BidPrice`."""
    described = instance_groups({"InstanceGroups": [group(), group("CORE", BidPrice="0.1")]})
    assert ["ON_DEMAND", "SPOT"] == [each["Market"] for each in described]


def definition(*, vcpu="1", memory="128", platform="EC2", **container):
    requirements = [{"type": "VCPU", "value": vcpu}, {"type": "MEMORY", "value": memory}]
    properties = {"image": "i", "resourceRequirements": requirements, **container}
    return {
        "jobDefinitionName": "d",
        "type": "container",
        "platformCapabilities": [platform],
        "containerProperties": properties,
    }


def nodes(*ranges):
    properties = {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": [{"targetNodes": "0:", **one} for one in ranges]}
    return {"jobDefinitionName": "d", "type": "multinode", "nodeProperties": properties}


FARGATE = {"platform": "FARGATE", "executionRoleArn": "arn"}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (definition(vcpu="0.25"), "VCPU must be a whole number of at least 1 on EC2, not 0.25"),
        (definition(vcpu="0"), "VCPU must be a whole number"),
        (definition(vcpu="many"), "VCPU must be a whole number"),
        (definition(memory="3"), "MEMORY must be a whole number of MiB, at least 4, not 3"),
        (definition(memory="1.5"), "MEMORY must be a whole number"),
        (definition(vcpu="0.25", memory="4096", **FARGATE), "(VCPU 0.25, MEMORY 4096) are not valid"),
        (definition(vcpu="3", memory="8192", **FARGATE), "(VCPU 3, MEMORY 8192) are not valid"),
        (definition(memory="2048", platform="FARGATE"), "executionRoleArn"),
        (definition() | {"type": "multinode"}, "type multinode is not valid"),
        (definition() | {"schedulingPriority": 10_000}, "schedulingPriority must be between 0 and 9999"),
        (definition() | {"parameters": {"a": "x" * (24 << 10)}}, "must have at most 24576 bytes"),
        (definition() | {"tags": {"a": "b#"}}, "a tag has only letters"),
        (definition(command=["run", ""]), "Command field cannot have empty strings"),
        (nodes({"container": {"image": "i"}}), "memory must be set"),
        (nodes({"ecsProperties": {"taskProperties": [{"containers": [{"image": "i", "essential": False}]}]}}),
         "at least one essential container"),
        (nodes({"eksProperties": {"podProperties": {"containers": [{"image": "i", "args": [""]}]}}}),
         "Command field cannot have empty strings"),
    ],
)  # fmt: skip
def test_batch_rejects_definitions_outside_of_the_documented_limits(request_, message):
    """With a ClientException that names the field."""
    with pytest.raises(AwsError) as caught:
        batch.check_definition(request_)
    assert "ClientException" == caught.value.code
    assert message in caught.value.message


@pytest.mark.parametrize(
    "request_",
    [
        definition(vcpu="0.25", memory="512", **FARGATE),
        definition(vcpu=".25".zfill(4), memory="2048", **FARGATE),
        definition(vcpu="1.0", memory="2048", **FARGATE),
        definition(vcpu="16", memory="122880", **FARGATE),
        definition(vcpu="2.0"),
        definition() | {"tags": {"Team A": "a+b-c=d.e_f:g/h@i ü"}},
    ],
)
def test_batch_accepts_definitions_within_the_documented_limits(request_):
    """Nothing is raised."""
    batch.check_definition(request_)


SUBMIT = {"jobName": "j", "jobQueue": "q", "jobDefinition": "d"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"parameters": {"a": "x" * (30 << 10)}}, "must have at most 30720 bytes"),
        ({"shareIdentifier": "a b"}, "shareIdentifier must be at most 255 letters and digits"),
        ({"schedulingPriorityOverride": -1}, "schedulingPriorityOverride must be between 0 and 9999"),
        ({"tags": {"a\0": "b"}}, "a tag has only letters"),
        ({"containerOverrides": {"command": ["run", ""]}}, "Command field cannot have empty strings"),
        ({"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"command": [""]}]}]}}, "Command field"),
        ({"eksPropertiesOverride": {"podProperties": {"containers": [{"args": [""]}]}}}, "Command field"),
        ({"nodeOverrides": {"nodePropertyOverrides": [
            {"targetNodes": "0:", "containerOverrides": {"command": [""]}}
        ]}}, "Command field"),
        ({"nodeOverrides": {"nodePropertyOverrides": [
            {"targetNodes": "0:", "containerOverrides": {"environment": [{"name": "AWS_BATCH_X", "value": ""}]}}
        ]}}, "must not start with AWS_BATCH"),
    ],
)  # fmt: skip
def test_batch_rejects_jobs_outside_of_the_documented_limits(more, message):
    """With a ClientException that names the field."""
    with pytest.raises(AwsError) as caught:
        batch.check_submit({**SUBMIT, **more})
    assert "ClientException" == caught.value.code
    assert message in caught.value.message


def test_the_reason_of_a_cancellation_has_a_limit():
    """1,024 characters."""
    batch.check_reason("x" * 1024)
    with pytest.raises(AwsError, match="at most 1024 characters, not 1025"):
        batch.check_reason("x" * 1025)
