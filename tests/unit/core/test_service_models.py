"""Parts of requests are checked against botocore's models."""

from __future__ import annotations

import pytest

from airflow_batchemr.core.service_models import wrong_in_request, wrong_parts


@pytest.mark.parametrize(
    ("service", "path", "value", "expected"),
    [
        ("batch", "SubmitJob", {}, []),
        ("batch", "SubmitJob", {"timeout": {"attemptDurationSeconds": 60}, "tags": {"a": "b"}}, []),
        ("batch", "SubmitJob", {"timeout": "{{ params.x }}", "schedulingPriorityOverride": "{{ params.n }}"}, []),
        ("batch", "SubmitJob", {"timeout": None}, []),
        ("batch", "SubmitJob", {"jobPriority": 1}, [(("jobPriority",), "unknown parameter `jobPriority`")]),
        ("batch", "SubmitJob", {"timeout": []}, [(("timeout",), "expected a mapping")]),
        ("batch", "SubmitJob", {"tags": {"a": 1}}, [(("tags", "a"), "expected text")]),
        ("batch", "SubmitJob", {"propagateTags": 1}, [(("propagateTags",), "expected true or false")]),
        ("batch", "SubmitJob", {"schedulingPriorityOverride": True},
         [(("schedulingPriorityOverride",), "expected a whole number")]),
        ("batch", "SubmitJob", {"containerOverrides": {"resourceRequirements": [{"type": "CPU"}]}},
         [(("containerOverrides", "resourceRequirements", 0, "type"), "expected one of GPU, VCPU, MEMORY"),
          (("containerOverrides", "resourceRequirements", 0), "`value` is missing")]),
        ("batch", "RegisterJobDefinition.containerProperties.volumes", [{"name": "v", "host": {"path": "/x"}}],
         [((0, "host", "path"), "unknown parameter `path`")]),
        ("emr", "RunJobFlow", {"Instances": {"InstanceGroups": [{"InstanceRole": "CORE", "InstanceType": "x"}]}},
         [(("Instances", "InstanceGroups", 0), "`InstanceCount` is missing")]),
        ("emr", "RunJobFlow.Steps[]", {"HadoopJarStep": {"Jar": 7}}, [(("HadoopJarStep", "Jar"), "expected text")]),
        ("emr", "RunJobFlow", {"AutoScalingRole": ""}, []),
        ("emr", "RunJobFlow", {"Instances": {"InstanceFleets": [{"InstanceFleetType": "CORE", "InstanceTypeConfigs": [
            {"InstanceType": "x", "BidPriceAsPercentageOfOnDemandPrice": 50, "WeightedCapacity": -1}]}]}},
         [(("Instances", "InstanceFleets", 0, "InstanceTypeConfigs", 0, "WeightedCapacity"), "must be at least 0")]),
    ],
)  # fmt: skip
def test_what_the_service_would_refuse_is_found(service, path, value, expected):
    """Names may be missing outside of lists, because the value is merged; templates have any type."""
    assert expected == [(wrong.keys, wrong.message) for wrong in wrong_parts(service, path, value)]


def test_text_can_be_too_short():
    """Botocore refuses it, too, but only in the call."""
    request = {"JobFlowId": "j-1", "Steps": [], "ExecutionRoleArn": "role"}
    (wrong,) = wrong_in_request("emr", "AddJobFlowSteps", request)
    assert (("ExecutionRoleArn",), "at least 20 characters, not 4") == (wrong.keys, wrong.message)
