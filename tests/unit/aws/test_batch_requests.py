"""SubmitJob requests and rejected options."""

from __future__ import annotations

import pytest

from airflow_batchemr.aws.batch.options import batch_options
from airflow_batchemr.aws.batch.requests import submission_requests
from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.aws.validation import check_request
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.preamble import unwrap
from airflow_batchemr.engine.job_identity import JobIdentity

IDENTITY = JobIdentity("s3://state", "dag", "2026-11-20T000000Z", "job", "manual", "job")
DEFINITION = {"jobDefinitionArn": "there:1"}


def requests(indices, size, described=DEFINITION, /, **options):
    options = batch_options({"queue": "default", "image": "busybox", "command": ["true"], **options})
    return submission_requests(options, described, IDENTITY, 1, IndexSet.parse(indices), size=size)


@pytest.mark.parametrize(("indices", "size"), [("0-8", 10), ("3", 10), ("0-10000", 10_001)])
def test_without_the_preamble_only_one_whole_array_can_be_submitted(indices, size):
    """With any other request, the programs would see wrong indices."""
    with pytest.raises(InvalidRequest, match="preamble"):
        requests(indices, size, preamble=False)


@pytest.mark.parametrize(("indices", "size"), [("0-9", 10), ("0", 1)])
def test_without_the_preamble_a_whole_array_is_submitted(indices, size):
    """Their indices are those of AWS."""
    (request,) = requests(indices, size, preamble=False)
    assert indices == str(request.indices)


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ({"containerProperties": {"command": ["score", "Ref::day"]}}, ["score", "Ref::day"]),
        ({"containerProperties": {"image": "busybox"}}, None),
    ],
)
def test_the_default_command_is_that_of_the_definition(definition, expected):
    """If it has none either, the request has no command, and the image's own one runs."""
    options = batch_options({"queue": "default", "definition": "score"})
    (request,) = submission_requests(options, {**DEFINITION, **definition}, IDENTITY, 1, IndexSet.parse("0"), size=1)
    overrides = request.request["containerOverrides"]
    assert expected == (unwrap(overrides["command"]) if "command" in overrides else None)
    assert "PIPELINE_RUN_ID" in {one["name"] for one in overrides["environment"]}


def test_an_array_needs_a_command_that_is_known():
    """The preamble, which passes the index, cannot run the command of an image."""
    options = batch_options({"queue": "default", "definition": "score"})
    with pytest.raises(InvalidRequest, match="command: an array needs one"):
        submission_requests(options, DEFINITION, IDENTITY, 1, IndexSet.parse("0-1"), size=2)


@pytest.mark.parametrize(
    ("submit", "named"),
    [
        ({"containerOverrides": "x"}, "submit.containerOverrides: expected a mapping, not x"),
        ({"containerOverrides": "{{ x }}"}, "SubmitJob: containerOverrides: expected a mapping, not '{{ x }}'"),
        ({"containerOverrides": {"resourceRequirements": "x"}}, "resourceRequirements: expected a list"),
        ({"eksPropertiesOverride": "x"}, "submit.eksPropertiesOverride: expected a mapping"),
        ({"eksPropertiesOverride": {"podProperties": "x"}}, "submit.eksPropertiesOverride.podProperties: "),
        ({"eksPropertiesOverride": {"podProperties": {"containers": "x"}}}, "containers: expected a list"),
        ({"eksPropertiesOverride": {"podProperties": {"containers": ["x"]}}}, "containers.0.: expected a mapping"),
        ({"ecsPropertiesOverride": {"taskProperties": "x"}}, "submit.ecsPropertiesOverride.taskProperties: "),
        ({"nodeOverrides": {"nodePropertyOverrides": ["x"]}}, "submit.nodeOverrides.nodePropertyOverrides.0.: "),
        ({"tags": ["x"]}, "submit.tags: expected a mapping, not a list"),
        ({"retryStrategy": 3}, "submit.retryStrategy: expected a mapping, not 3"),
    ],
)  # fmt: skip
def test_a_wrong_type_in_submit_is_named(submit, named):
    """Also of fields that this package reads to find the overrides of a container."""
    with pytest.raises(InvalidRequest, match=named):
        requests("0", 1, submit=submit)


def test_null_in_submit_removes_what_is_below_it():
    """Here the rules of `retry_on`; where there is nothing to remove, it is ignored."""
    submit = {"retryStrategy": {"evaluateOnExit": None}, "containerOverrides": {"instanceType": None}}
    (request,) = requests("0", 1, submit=submit, attempts=4)
    assert {"attempts": 4} == request.request["retryStrategy"]
    assert "instanceType" not in request.request["containerOverrides"]


@pytest.mark.parametrize(
    ("submit", "named"),
    [
        ({"jobName": "mine"}, "jobName"),
        ({"arrayProperties": {"size": 3}}, "arrayProperties"),
        ({"containerOverrides": {"command": ["true"]}}, "containerOverrides.command"),
        ({"containerOverrides": {"environment": []}}, "containerOverrides.environment"),
        ({"tags": {"batchemr:job": "other"}}, "tags.batchemr:job"),
    ],
)
def test_fields_that_recovery_depends_on_cannot_be_set(submit, named):
    """A job with another name would run twice after a crash; without our variables, a resume runs wrong indices."""
    with pytest.raises(InvalidRequest, match=f"submit.{named}: "):
        requests("0-9", 10, submit=submit)


ECS = {"jobDefinitionArn": "there:1", "ecsProperties": {"taskProperties": [{"containers": [{"name": "main"}]}]}}


def of_container(definition, overrides, **options):
    """The request of a job with overrides of containers, pods or nodes."""
    given = {"queue": "default", "definition": "there:1", "submit": overrides, **options}
    (request,) = submission_requests(batch_options(given), definition, IDENTITY, 1, IndexSet.range(10), size=10)
    assert check_request("batch", "SubmitJob", request.request) is None
    return request.request


def test_a_command_in_the_overrides_of_a_container_gets_the_preamble():
    """Its variables are kept beside ours, and so are those of other containers."""
    main = {"name": "main", "command": ["run", "x"], "environment": [{"name": "A", "value": "1"}]}
    other = {"name": "log", "environment": [{"name": "B", "value": "2"}]}
    overrides = {"ecsPropertiesOverride": {"taskProperties": [{"containers": [other, main]}]}}
    made = of_container(ECS, overrides, env={"C": "3"})
    ours, theirs = made["ecsPropertiesOverride"]["taskProperties"][0]["containers"]
    assert "/bin/sh" == ours["command"][0]
    assert ["run", "x"] == ours["command"][-2:]
    variables = {one["name"]: one["value"] for one in ours["environment"]}
    assert {"A": "1", "C": "3", "PIPELINE_RUN_ID": variables["PIPELINE_RUN_ID"]}.items() <= variables.items()
    assert other == theirs


def test_a_pod_keeps_its_overrides():
    """Command, variables, resources and labels, without the preamble."""
    definition = {"jobDefinitionArn": "a:1", "eksProperties": {"podProperties": {"containers": [{"name": "main"}]}}}
    pod = {"name": "main", "args": ["x"], "env": [{"name": "A", "value": "1"}], "resources": {"limits": {"cpu": "2"}}}
    properties = {"containers": [pod], "metadata": {"labels": {"Team": "data"}}}
    made = of_container(definition, {"eksPropertiesOverride": {"podProperties": properties}}, preamble=False)
    found = made["eksPropertiesOverride"]["podProperties"]
    (container,) = found["containers"]
    assert (["x"], {"limits": {"cpu": "2"}}) == (container["args"], container["resources"])
    assert "command" not in container
    assert {"A", "PIPELINE_RUN_ID"} <= {one["name"] for one in container["env"]}
    assert {"labels": {"Team": "data"}} == found["metadata"]


NODES = [{"targetNodes": "0", "container": {"command": ["own"]}}, {"targetNodes": "1:", "container": {}}]
BY_NODE = [
    {"targetNodes": "1:", "containerOverrides": {"command": ["worker"]}},
    {"targetNodes": "0", "containerOverrides": {"command": ["main"]}},
]


def test_nodes_keep_their_commands_without_the_preamble():
    """Each range gets our variables."""
    definition = {"jobDefinitionArn": "a:1", "nodeProperties": {"nodeRangeProperties": NODES}}
    overrides = {"nodeOverrides": {"numNodes": 4, "nodePropertyOverrides": BY_NODE}}
    made = of_container(definition, overrides, preamble=False)["nodeOverrides"]
    ranges = made["nodePropertyOverrides"]
    assert (4, ["main"], ["worker"]) == (made["numNodes"], *(one["containerOverrides"]["command"] for one in ranges))
    assert all(one["containerOverrides"]["environment"] for one in ranges)
    with pytest.raises(InvalidRequest, match="nodes with different commands need `preamble: false`"):
        of_container(definition, overrides)


def test_two_commands_for_one_container_are_rejected():
    """Only one of them could run."""
    overrides = {"ecsPropertiesOverride": {"taskProperties": [{"containers": [{"name": "main", "command": ["x"]}]}]}}
    with pytest.raises(InvalidRequest, match="sets a command that `command:` sets as well"):
        of_container(ECS, overrides, command=["true"])


def test_other_overrides_are_kept():
    """Fields that batchemr does not set are passed to AWS."""
    (request,) = requests(
        "0-9", 10, submit={"containerOverrides": {"instanceType": "m5.large"}, "propagateTags": False}
    )
    assert "m5.large" == request.request["containerOverrides"]["instanceType"]
    assert "/bin/sh" == request.request["containerOverrides"]["command"][0]


def retried(*causes, definition=DEFINITION):
    """The rules for the causes in `retry_on`, without the last one: (condition, pattern)."""
    options = batch_options({"queue": "default", "definition": "there:1", "command": ["true"], "retry_on": [*causes]})
    (request,) = submission_requests(options, definition, IDENTITY, 1, IndexSet.range(1), size=1)
    *rules, last = request.request["retryStrategy"]["evaluateOnExit"]
    assert {"onReason": "*", "action": "EXIT"} == last
    return [(key, value) for rule in rules for key, value in rule.items() if key != "action"]


HOST, TASK = ("onStatusReason", "Host EC2*"), ("onStatusReason", "Your Spot Task was interrupted*")


def test_spot_covers_hosts_of_ec2_and_tasks_of_fargate():
    """AWS gives them different reasons; a queue may have either."""
    assert [HOST, TASK] == retried("spot")
    (default,) = requests("0", 1)
    assert [HOST[1], TASK[1], None] == [
        rule.get("onStatusReason") for rule in default.request["retryStrategy"]["evaluateOnExit"]
    ]


@pytest.mark.parametrize(("platform", "expected"), [("EC2", HOST), ("FARGATE", TASK)])
def test_four_causes_with_spot_fit_into_the_five_rules_of_aws(platform, expected):
    """The last rule is needed to retry nothing else, so spot then covers the definition's platform only."""
    definition = {**DEFINITION, "platformCapabilities": [platform]}
    rest = [("onReason", "OutOfMemory*"), ("onReason", "CannotPullContainer*"), ("onExitCode", "75")]
    assert [expected, *rest] == retried("spot", "oom", "pull", "exit:75", definition=definition)
    assert [HOST, TASK, *rest[:2]] == retried("spot", "oom", "pull", definition=definition)


def test_a_text_command_is_split_even_without_the_preamble():
    """`preamble: false` does not change how text is split."""
    (request,) = requests("0-1", 2, command="run 'a b' c", preamble=False)
    assert ["run", "a b", "c"] == request.request["containerOverrides"]["command"]


def test_a_queue_and_a_definition_in_submit_are_used():
    """They need not be set again."""
    submit = {"jobQueue": "other", "jobDefinition": "there:1"}
    options = batch_options({"command": "run", "submit": submit})
    (request,) = submission_requests(options, DEFINITION, IDENTITY, 1, IndexSet.range(1), size=1)
    assert ("other", "there:1") == (request.request["jobQueue"], options.registered_definition)


def test_a_definition_in_submit_takes_precedence_and_its_revision_is_used():
    """As all of `submit`, for example over an image in `defaults`. The revision is the one that was looked up."""
    options = batch_options({"queue": "q", "image": "busybox", "command": "run", "submit": {"jobDefinition": "etl"}})
    definition = {"jobDefinitionArn": "arn:aws:batch:eu-west-1:123456789012:job-definition/etl:3"}
    (request,) = submission_requests(options, definition, IDENTITY, 1, IndexSet.range(1), size=1)
    assert "etl" == options.registered_definition
    assert definition["jobDefinitionArn"] == request.request["jobDefinition"]


@pytest.mark.parametrize(("propagate", "accepted"), [(True, False), (False, True)])
def test_tags_of_the_definition_count_if_they_are_propagated(propagate, accepted):
    """AWS moves a job to FAILED if its tags and those of its definition are more than 50."""
    options = batch_options(
        {"queue": "default", "definition": "score", "command": "true", "submit": {"propagateTags": propagate}}
    )
    definition = {**DEFINITION, "tags": {f"t{number}": "" for number in range(46)}}
    arguments = (options, definition, IDENTITY, 1, IndexSet.parse("0"))
    if accepted:
        submission_requests(*arguments, size=1)
    else:
        with pytest.raises(InvalidRequest, match="tags: AWS accepts 50 tags, not 51"):
            submission_requests(*arguments, size=1)


ECS_TASK = {"ecsProperties": {"taskProperties": [{"containers": [{"name": "router"}, {"name": "worker"}]}]}}


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (
            {"jobDefinitionArn": "arn:x", **ECS_TASK},
            "container: the job definition arn:x has no container 'wrker', only router, worker; did you mean `worker`?",
        ),
        (
            {"jobDefinitionArn": "own", **ECS_TASK},
            "container: `job_definition` has no container 'wrker', only router, worker; did you mean `worker`?",
        ),
        (
            {"jobDefinitionArn": "own", "containerProperties": {"image": "x"}},
            "container: `job_definition` has no containers with names; remove `container`",
        ),
    ],
)
def test_a_container_that_the_definition_does_not_have_is_an_error(definition, message):
    """The similar name is suggested."""
    with pytest.raises(InvalidRequest) as caught:
        requests("0", 1, definition, image=None, submit={"jobDefinition": "there:1"}, container="wrker")
    assert message == str(caught.value)


def test_the_container_of_a_definition_that_was_not_looked_up_is_not_checked():
    """`batchemr plan` without AWS knows only its name."""
    (request,) = requests("0", 1, image=None, submit={"jobDefinition": "there:1"}, container="worker")
    assert "there:1" == request.request["jobDefinition"]


@pytest.mark.parametrize("nodes", [False, True])
def test_pods_are_retried_by_the_reasons_of_kubernetes(nodes):
    """ECS has other reasons, also for tasks. ErrImagePull, which ImagePullBackOff follows, is left out if need be."""
    pod = {"eksProperties": {"podProperties": {"containers": [{"image": "x"}]}}}
    if nodes:
        pod = {"nodeProperties": {"numNodes": 1, "nodeRangeProperties": [{"targetNodes": "0:", **pod}]}}
    pod["jobDefinitionArn"] = "there:1"
    task = {"jobDefinitionArn": "there:1", **ECS_TASK}
    memory, backoff, error = (("onReason", text) for text in ("OOMKilled*", "ImagePullBackOff*", "ErrImagePull*"))
    assert [HOST, memory, backoff, error] == retried("spot", "oom", "pull", definition=pod)
    assert [HOST, memory, backoff, ("onExitCode", "75")] == retried("spot", "oom", "pull", "exit:75", definition=pod)
    assert [("onReason", "OutOfMemory*"), ("onReason", "CannotPullContainer*")] == retried(
        "oom", "pull", definition=task
    )
