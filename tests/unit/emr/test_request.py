"""RunJobFlow requests from `emr:` blocks, valid according to botocore's model."""

from __future__ import annotations

import pytest

from airflow_batchemr.aws.emr.options import cluster_options
from airflow_batchemr.aws.emr.request import Variant, run_job_flow_request, variants
from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.core.emr_releases import supports_idle_timeout
from airflow_batchemr.pipeline_file.models import Emr


def request(words, **arguments):
    return run_job_flow_request(cluster_options(words), name="n", tags={"batchemr:job": "x"}, **arguments)


def test_type_and_instances_are_sufficient():
    """There is one master, the other instances are core, and everything else has defaults."""
    made = request({"type": "m5.xlarge", "instances": 10})
    groups = made["Instances"]["InstanceGroups"]
    assert [("MASTER", 1), ("CORE", 9)] == [(group["InstanceRole"], group["InstanceCount"]) for group in groups]
    assert {"m5.xlarge"} == {group["InstanceType"] for group in groups}
    assert ("EMR_DefaultRole", "EMR_EC2_DefaultRole") == (made["ServiceRole"], made["JobFlowRole"])
    assert [{"Name": "Hadoop"}, {"Name": "Spark"}] == made["Applications"]
    assert made["ReleaseLabel"].startswith("emr-7.")
    assert made["Instances"]["KeepJobFlowAliveWhenNoSteps"] is False
    assert {"IdleTimeout": 24 * 3600} == made["AutoTerminationPolicy"]


def test_groups_have_markets_bids_and_volumes():
    """Without a bid, the maximum spot price is the on-demand price."""
    made = request(
        {
            "master": {"type": "m5.xlarge"},
            "core": {"type": "r5.2xlarge", "count": 4, "ebs": {"size": "200GiB", "count": 2}},
            "task": {"type": "c5.xlarge", "count": 8, "market": "spot", "bid": 0.07},
        }
    )
    master, core, task = made["Instances"]["InstanceGroups"]
    assert "ON_DEMAND" == master["Market"]
    assert {"VolumeType": "gp3", "SizeInGB": 200} == core["EbsConfiguration"]["EbsBlockDeviceConfigs"][0][
        "VolumeSpecification"
    ]
    assert 2 == core["EbsConfiguration"]["EbsBlockDeviceConfigs"][0]["VolumesPerInstance"]
    assert ("SPOT", "0.07", 8) == (task["Market"], task["BidPrice"], task["InstanceCount"])
    spot = request({"type": "m5.xlarge", "instances": 3, "market": "spot"})["Instances"]["InstanceGroups"]
    assert [("ON_DEMAND", None), ("SPOT", None)] == [(group["Market"], group.get("BidPrice")) for group in spot]


def test_fleets_have_several_types_and_spot_capacity():
    """With the allocation strategy and the action after a spot timeout."""
    made = request(
        {
            "fleets": {
                "master": {"types": ["m5.xlarge"]},
                "core": {
                    "types": [{"type": "r5.xlarge", "weight": 4}, {"type": "r5.2xlarge", "weight": 8, "bid": "0.2"}],
                    "on_demand": 4,
                    "spot": 12,
                    "allocation": "price-capacity-optimized",
                    "spot_timeout": "15m",
                },
            },
            "subnets": ["subnet-1", "subnet-2"],
        }
    )
    master, core = made["Instances"]["InstanceFleets"]
    assert (1, 0) == (master["TargetOnDemandCapacity"], master["TargetSpotCapacity"])
    assert "LaunchSpecifications" not in master
    assert (4, 12) == (core["TargetOnDemandCapacity"], core["TargetSpotCapacity"])
    assert [4, 8] == [one["WeightedCapacity"] for one in core["InstanceTypeConfigs"]]
    assert 100.0 == core["InstanceTypeConfigs"][0]["BidPriceAsPercentageOfOnDemandPrice"]
    assert "0.2" == core["InstanceTypeConfigs"][1]["BidPrice"]
    assert {
        "TimeoutDurationMinutes": 15,
        "TimeoutAction": "SWITCH_TO_ON_DEMAND",
        "AllocationStrategy": "price-capacity-optimized",
    } == core["LaunchSpecifications"]["SpotSpecification"]
    assert {"AllocationStrategy": "lowest-price"} == core["LaunchSpecifications"]["OnDemandSpecification"]
    assert ["subnet-1", "subnet-2"] == made["Instances"]["Ec2SubnetIds"]


def test_every_other_option_is_in_the_request():
    """All options of a cluster."""
    made = request(
        {
            "type": "m5.xlarge",
            "instances": 2,
            "release": "emr-6.15.0",
            "applications": ["Spark", "Hive"],
            "configurations": {"spark-defaults": {"spark.executor.memory": "4g"}},
            "bootstrap": [{"path": "s3://code/boot.sh", "args": ["a b"]}],
            "log_uri": "s3://logs/",
            "service_role": "service",
            "instance_role": "profile",
            "subnets": "subnet-1",
            "security_groups": {"master": "sg-1", "core": "sg-2", "service": "sg-3", "additional_core": ["sg-4"]},
            "security_configuration": "encrypted",
            "key_pair": "key",
            "custom_ami": "ami-1",
            "tags": {"team": "data"},
            "managed_scaling": {"minimum": 2, "maximum": 8, "maximum_on_demand": 4},
            "termination_protection": True,
            "visible": False,
            "step_concurrency": 4,
            "idle_timeout": "20m",
        }
    )
    machines = made["Instances"]
    assert ("sg-1", "sg-2", "sg-3", ["sg-4"]) == (
        machines["EmrManagedMasterSecurityGroup"],
        machines["EmrManagedSlaveSecurityGroup"],
        machines["ServiceAccessSecurityGroup"],
        machines["AdditionalSlaveSecurityGroups"],
    )
    assert ("subnet-1", "key", True) == (
        machines["Ec2SubnetId"],
        machines["Ec2KeyName"],
        machines["TerminationProtected"],
    )
    assert ("s3://logs/", "service", "profile", "encrypted", "ami-1", False, 4) == tuple(
        made[name]
        for name in (
            "LogUri",
            "ServiceRole",
            "JobFlowRole",
            "SecurityConfiguration",
            "CustomAmiId",
            "VisibleToAllUsers",
            "StepConcurrencyLevel",
        )
    )
    assert [{"Key": "team", "Value": "data"}, {"Key": "batchemr:job", "Value": "x"}] == made["Tags"]
    assert {"Path": "s3://code/boot.sh", "Args": ["a b"]} == made["BootstrapActions"][0]["ScriptBootstrapAction"]
    assert 4 == made["ManagedScalingPolicy"]["ComputeLimits"]["MaximumOnDemandCapacityUnits"]
    assert {"IdleTimeout": 1200} == made["AutoTerminationPolicy"]
    assert {"spark.executor.memory": "4g"} == made["Configurations"][0]["Properties"]


def test_overrides_are_merged_at_every_depth():
    """Fields next to the overridden one are kept."""
    made = request(
        {"type": "m5.xlarge", "overrides": {"Instances": {"UnhealthyNodeReplacement": True}, "EbsRootVolumeSize": 50}}
    )
    assert made["Instances"]["UnhealthyNodeReplacement"] is True
    assert 1 == len(made["Instances"]["InstanceGroups"])
    assert 50 == made["EbsRootVolumeSize"]


@pytest.mark.parametrize(
    ("release", "expected"),
    [("emr-5.29.0", False), ("emr-5.30.0", True), ("emr-6.0.0", False), ("emr-6.1.0", True), ("emr-7.10.0", True)],
)
def test_clusters_of_supported_releases_have_an_idle_timeout(release, expected):
    """Since emr-5.30 and emr-6.1."""
    assert expected == supports_idle_timeout(release)
    made = [request({"type": "m5.xlarge", "release": release}, stays=stays) for stays in (False, True)]
    policies = [{"IdleTimeout": 24 * 3600}, {"IdleTimeout": 4 * 3600}] if expected else [None, None]
    assert policies == [one.get("AutoTerminationPolicy") for one in made]


def test_a_cluster_that_ends_with_its_steps_has_the_given_idle_timeout():
    """Instead of one day."""
    assert {"IdleTimeout": 120} == request({"type": "m5.xlarge", "idle_timeout": "2m"})["AutoTerminationPolicy"]


def test_a_cluster_of_three_masters_has_an_idle_timeout():
    """EMR protects it and keeps it after its steps, whatever the request says."""
    made = request({"master": {"type": "m5.xlarge", "count": 3}, "core": {"type": "m5.xlarge"}})
    assert {"IdleTimeout": 4 * 3600} == made["AutoTerminationPolicy"]
    assert made["Instances"]["KeepJobFlowAliveWhenNoSteps"] is True


@pytest.mark.parametrize(
    ("named", "needed", "expected"),
    [
        ({}, [], ["Hadoop", "Spark"]),
        ({}, ["Hive"], ["Hadoop", "Hive", "Spark"]),
        ({"applications": "Spark"}, ["Spark"], ["Spark"]),
        ({"applications": "Spark"}, ["Hadoop", "Spark"], ["Spark", "Hadoop"]),
        ({"applications": ["hadoop", "Hive"]}, ["Hadoop"], ["hadoop", "Hive"]),
    ],
)
def test_a_cluster_has_the_applications_that_its_steps_need(named, needed, expected):
    """Hadoop provides s3-dist-cp; Spark alone does not."""
    made = request({"type": "m5.xlarge", **named}, needed=needed)
    assert expected == [one["Name"] for one in made["Applications"]]


def test_a_step_above_emrs_size_limit_is_rejected():
    """All texts of its HadoopJarStep count."""
    step = {"Name": "s", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["x" * 5000] * 2}}
    request({"type": "m5.xlarge"}, steps=[step])
    step["HadoopJarStep"]["Args"].append("y" * 250)
    with pytest.raises(InvalidRequest, match=r"10,240 characters .*, not 10,268 \(step 's'\)"):
        request({"type": "m5.xlarge"}, steps=[step])


@pytest.mark.parametrize("word", ["keep_alive", "idle_timeout"])
def test_keep_alive_requires_an_idle_timeout(word):
    """Otherwise, the cluster would run until somebody notices."""
    with pytest.raises(InvalidRequest, match=f"{word}: clusters of emr-5.27.0 cannot end themselves"):
        request({"type": "m5.xlarge", "release": "emr-5.27.0", word: "4h"}, stays=True)


def test_a_shared_cluster_waits_and_has_an_idle_timeout():
    """It waits for steps, but only for hours."""
    made = request({"type": "m5.xlarge"}, stays=True)
    assert made["Instances"]["KeepJobFlowAliveWhenNoSteps"] is True
    assert {"IdleTimeout": 4 * 3600} == made["AutoTerminationPolicy"]


def test_variants_try_each_subnet_before_the_next_type():
    """The order of attempts if EMR has no capacity."""
    words = Emr.model_validate({"type": ["m5.xlarge", "m4.xlarge"], "instances": 2, "subnets": ["a", "b"]})
    assert [Variant(0, 0), Variant(0, 1), Variant(1, 0), Variant(1, 1)] == variants(words)
    made = run_job_flow_request(words, name="n", tags={}, variant=Variant(1, 1))
    assert ("m4.xlarge", "b") == (
        made["Instances"]["InstanceGroups"][0]["InstanceType"],
        made["Instances"]["Ec2SubnetId"],
    )


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"type": "m5.xlarge", "overrides": {"LogURI": "s3://x/"}}, "LogURI"),
        ({"type": "m5.xlarge", "overrides": {"ScaleDownBehavior": "NOW"}}, "NOW"),
        ({"type": "m5.xlarge", "overrides": {"StepConcurrencyLevel": "many"}}, "StepConcurrencyLevel"),
        ({"type": "m5.xlarge", "tags": {f"t{n}": "x" for n in range(50)}}, "50 tags"),
    ],
)
def test_invalid_requests_are_rejected_before_the_call(words, problem):
    """The message names the field."""
    with pytest.raises(InvalidRequest, match=problem):
        request(words)
