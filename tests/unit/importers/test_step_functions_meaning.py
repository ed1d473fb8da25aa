"""Nothing in a state machine changes its meaning silently when it is imported."""

from __future__ import annotations

import copy

import jinja2
import pytest

from airflow_batchemr.dags.plan import plan_dag
from airflow_batchemr.pipeline_file.importers.document import read_json
from airflow_batchemr.pipeline_file.importers.step_functions import translate
from tests.unit.importers.state_machines import (
    BATCH,
    EMR,
    batch,
    cluster,
    jobs,
    load,
    machine,
    notes,
    pipeline,
    problems,
    step,
    terminate,
)

ALL = ["States.ALL"]


@pytest.mark.parametrize(
    ("state", "path"),
    [
        (batch(Nonsense=1), "Nonsense"),
        (batch(Assign={"x": 1}), "Assign"),
        (batch(Retry=[{"ErrorEquals": ALL, "Nonsense": 1}]), "Retry.0.Nonsense"),
        (batch(Catch=[{"ErrorEquals": ALL, "Next": "F", "Assign": {}}]), "Catch.0.Assign"),
        (batch(Credentials={"RoleArn": "arn:aws:iam::1:role/x", "Other": 1}), "Credentials.Other"),
        (step("j-1", more={"Nonsense": 1}), "Parameters.Nonsense"),
        ({"Type": "Parallel", "Branches": [machine(batch()) | {"Nonsense": 1}]}, "Branches.0.Nonsense"),
        ({"Type": "Map", "Items": [1, 2], "ItemProcessor": machine(batch()), "ItemBatcher": {}}, "ItemBatcher"),
        ({"Type": "Map", "Items": [1], "ItemProcessor": machine(batch()), "ResultWriter": {}}, "ResultWriter"),
        ({"Type": "Map", "Items": [1], "ItemProcessor": machine(batch()), "MaxConcurrencyPath": "$.n"},
         "MaxConcurrencyPath"),
    ],
)  # fmt: skip
def test_a_member_that_is_not_translated_is_an_error_at_its_path(state, path):
    """Once, also in each item of a Map."""
    name = path.rpartition(".")[2]
    message = f"`{name}` has no equivalent in a pipeline file and is not translated"
    assert [(f"States.A.{path}", message)] == problems(machine(state, F={"Type": "Fail"}))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"ArrayProperties.$": "$.array"}, "ArrayProperties is only known at run time, but must be constant"),
        ({"Tags.$": "$.tags"}, "Tags is only known at run time, but must be constant"),
        ({"Parameters.$": "$.p"}, "Parameters is only known at run time, but must be constant"),
        ({"ContainerOverrides.$": "$.o"}, "ContainerOverrides is only known at run time, but must be constant"),
        ({"Timeout.$": "$.t"}, "Timeout is only known at run time, but must be constant"),
        ({"RetryStrategy.$": "$.t"}, "RetryStrategy is only known at run time, but must be constant"),
        ({"RetryStrategy": {"Attempts.$": "$$.Execution.Id"}}, "RetryStrategy.Attempts is only known at run time, but"),
        ({"RetryStrategy": {"Attempt": 3}}, "AWS has no parameter RetryStrategy.Attempt"),
        ({"ContainerOverrides": {"Environment": "x"}}, 'ContainerOverrides.Environment has an unexpected value: "x"'),
        ({"ContainerOverrides": {"Environment": ["x"]}}, "ContainerOverrides.Environment[0] has an unexpected value"),
        ({"ContainerOverrides": {"ResourceRequirements": [{"Type": "VCPU", "Value": "x"}]}},
         "ContainerOverrides.ResourceRequirements[0].Value: VCPU requires a number, not x"),
        ({"ContainerOverrides": {"ResourceRequirements": [{"Type": "VCPU", "Value": "{{ x }}"}]}},
         "ContainerOverrides.ResourceRequirements[0].Value: VCPU requires a number, not {{ x }}"),
        ({"ContainerOverrides": {"ResourceRequirements": [{"Type": "MEMORY", "Value": "512.5"}]}},
         "ContainerOverrides.ResourceRequirements[0].Value: MEMORY requires a number, not 512.5"),
        ({"ContainerOverrides": {"ResourceRequirements": [{"Type": "GPU", "Value": "1"}] * 2}},
         "ResourceRequirements sets GPU twice"),
        ({"ContainerOverrides": {"ResourceRequirements": [{"Type": "CPU", "Value": "1"}]}},
         "ResourceRequirements has an unknown Type CPU"),
        ({"ContainerOverrides": {"Memry": 3}}, "AWS has no parameter ContainerOverrides.Memry"),
        ({"ContainerOverrides": {"Environment": [{"Name": "A"}, {"Name": "A"}]}}, "Environment sets A twice"),
        ({"Tags": {"${X}": "a"}}, "Tags: the name ${X} contains a substitution"),
        ({"Tags": [1]}, "Tags has an unexpected value"),
    ],
)  # fmt: skip
def test_an_error_names_the_member(parameters, message):
    """Whatever its shape is."""
    ((path, found),) = problems(machine(batch(parameters)))
    assert "States.A" == path
    assert found.startswith(message)


def test_a_role_of_a_state_becomes_a_connection(tmp_path):
    """Jobs run in the account of the role; those without one keep the default connection."""
    role = "arn:aws:iam::123456789012:role/other/Jobs"
    data = machine(batch(Credentials={"RoleArn": role}), batch())
    made = load(tmp_path, data).pipelines["p"].jobs
    assert ("aws-Jobs", None) == (made["A"].aws_conn_id, made["B"].aws_conn_id)
    assert any(
        f"the state assumed the role {role}: create the Airflow connection aws-Jobs" in one for one in notes(data)
    )
    ((_, message),) = problems(machine(batch(Credentials={"RoleArn.$": "$.role"})))
    assert message == "Credentials.RoleArn.$ is only known" or "RoleArn" in message


def test_the_role_of_a_cluster_is_that_of_the_pipeline():
    """A cluster has no connection of its own; jobs of other roles keep theirs."""
    credentials = {"Credentials": {"RoleArn": "arn:aws:iam::123456789012:role/Emr"}}
    made = pipeline(machine(cluster(credentials), step() | credentials, batch(ResultPath=None), terminate()))
    assert "aws-Emr" == made["aws_conn_id"]
    assert [None, "aws_default"] == [made["jobs"][name].get("aws_conn_id") for name in "BC"]


def test_the_runtime_role_of_steps_is_kept(tmp_path):
    """Of addStep, and of the steps of createCluster."""
    role = "arn:aws:iam::123456789012:role/Steps"
    own = [{"Name": "s", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["true"]}}]
    first = cluster(Steps=own, StepExecutionRoleArn=role)
    made = load(tmp_path, machine(first, step(more={"ExecutionRoleArn": role}), terminate())).pipelines["p"].jobs
    assert [role, role] == [made["A-steps"].execution_role, made["B"].execution_role]


def test_retry_and_timeout_of_a_cluster_are_reported():
    """They have no equivalent, because the cluster is started by a task of its own."""
    data = machine(cluster({"Retry": [{"ErrorEquals": ALL}], "TimeoutSeconds": 60}), step())
    assert jobs(data)
    for name in ("Retry", "TimeoutSeconds"):
        assert any(text.startswith(f"{name} of A is omitted") for text in notes(data))


@pytest.mark.parametrize(
    ("tolerated", "rule"),
    [
        ({"ToleratedFailureCount": 0}, ["X-0", "X-1"]),
        ({"ToleratedFailureCount": 2}, {"X-0": "finished", "X-1": "finished"}),
        ({"ToleratedFailurePercentage": 100}, {"X-0": "finished", "X-1": "finished"}),
    ],
)
def test_tolerated_failures_of_a_map(tolerated, rule):
    """None or all; some of them are an error."""
    inner = {"StartAt": "X", "States": {"X": batch(End=True)}}
    state = {"Type": "Map", "Items": [1, 2], "ItemProcessor": inner}
    assert rule == jobs(machine(state | tolerated, batch()))["B"]["after"]
    ((_, message),) = problems(machine(state | {"ToleratedFailurePercentage": 50}))
    assert "cannot continue after the failure of some items" in message


def test_all_subnets_of_a_fleet_are_kept(tmp_path):
    """EMR chooses among them."""
    fleet = {
        "InstanceFleetType": "MASTER",
        "TargetOnDemandCapacity": 1,
        "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}],
    }
    instances = {"InstanceFleets": [fleet], "Ec2SubnetIds": ["subnet-1", "subnet-2"]}
    made = load(tmp_path, machine(cluster(Instances=instances), step())).pipelines["p"].clusters["A"]
    assert instances == made.overrides["Instances"]


@pytest.mark.parametrize(
    "end",
    [{"Type": "Succeed"}, {"Type": "Pass", "End": True}],
)
def test_a_failure_that_ends_the_execution_successfully_ends_the_run_successfully(tmp_path, end):
    """Catch and Next to the same end: an empty last task keeps the state of the run."""
    catch = [{"ErrorEquals": ALL, "Next": "B"}]
    spec = load(tmp_path, machine(batch(Catch=catch), end))
    (_, last) = plan_dag(spec.pipelines["p"]).tasks
    assert (["A"], "all_done") == (last.upstream, last.trigger_rule)
    assert last.operator.endswith("EmptyOperator")


def test_a_failure_before_the_cluster_ends_is_ignored_as_well(tmp_path):
    """The most common form: steps continue with terminateCluster, whatever their outcome."""
    catch = [{"ErrorEquals": ALL, "Next": "C"}]
    data = machine(cluster(), step() | {"Catch": catch}, terminate())
    assert {"Succeed": {"B": "finished"}} == {
        name: job["after"] for name, job in jobs(data).items() if "operator" in job
    }
    assert [] == load(tmp_path, data).errors


def test_a_handler_that_ends_successfully_is_reported():
    """If a job follows that does not run, the run is marked failed."""
    catch = [{"ErrorEquals": ALL, "Next": "H"}]
    data = machine(batch(Catch=catch), batch(), H={"Type": "Succeed"})
    assert ["A", "B"] == list(jobs(data))
    assert "A: after its failure the execution succeeded; the run is now marked failed" in notes(data)


def test_each_rule_of_a_catch_is_translated():
    """Not only the first one."""
    catch = [{"ErrorEquals": ["States.Timeout"], "Next": "B"}, {"ErrorEquals": ALL, "Next": "H"}]
    made = jobs(machine(batch(Catch=catch), batch(), H=batch(Next="F"), F={"Type": "Fail"}))
    assert ({"A": "finished"}, {"A": "failed"}) == (made["B"]["after"], made["H"]["after"])


def test_the_error_of_a_state_is_not_a_param():
    """A handler cannot read it, but the input of the state that failed."""
    catch = [{"ErrorEquals": ALL, "Next": "H", "ResultPath": "$.error"}]

    def using(path):
        handler = batch({"ContainerOverrides": {"Environment": [{"Name": "V", "Value.$": path}]}}, Next="F")
        return machine(batch(Catch=catch), batch(), H=handler, F={"Type": "Fail"})

    assert {"V": "{{ params['date'] }}"} == jobs(using("$.date"))["H"]["batch"]["env"]
    ((_, message),) = problems(using("$.error.Cause"))
    assert "the error of A is not available to other jobs" in message


@pytest.mark.parametrize("name", ["values", "items", "keys", "get", "copy", "pop", "update"])
def test_a_field_with_the_name_of_a_method_is_a_param(name):
    """Jinja's `params.values` would be the method of the mapping."""
    made = jobs(machine(batch({"ContainerOverrides": {"Environment": [{"Name": "V", "Value.$": f"$.a.{name}"}]}})))
    assert f"{{{{ params['a']['{name}'] }}}}" == made["A"]["batch"]["env"]["V"]


def test_fields_with_similar_names_are_different_params():
    """The names of params consist of letters, digits and _."""
    env = [{"Name": "A", "Value.$": "$.my-date"}, {"Name": "B", "Value.$": "$.my_date"}]
    data = machine(batch({"ContainerOverrides": {"Environment": env}}))
    assert {"A": "{{ params['my_date'] }}", "B": "{{ params['my_date_2'] }}"} == jobs(data)["A"]["batch"]["env"]
    assert {"my_date": {"title": "my-date"}, "my_date_2": {"title": "my_date"}} == pipeline(data)["params"]


@pytest.mark.parametrize("partition", ["${AWS::Partition}", "${Partition}", "${Token[AWS.Partition.3]}", "<PARTITION>"])
def test_a_resource_with_a_substituted_partition(partition):
    """The partition does not matter, because the job runs with the connection's."""
    assert ["A"] == list(jobs(machine(batch(Resource=f"arn:{partition}:states:::batch:submitJob.sync"))))


@pytest.mark.parametrize(
    ("text", "value", "variables"),
    [
        ("${Queue}", "${Queue}", {"Queue": "$${Queue}"}),
        ("a-${var.name}/b", "a-${var_name}/b", {"var_name": "$${var.name}"}),
        ("arn:${AWS::Partition}:x", "arn:${AWS_Partition}:x", {"AWS_Partition": "aws"}),
        ("${Token[TOKEN.12]}", "${Token_TOKEN_12}", {"Token_TOKEN_12": "$${Token[TOKEN.12]}"}),
        ("${a.b} ${a_b}", "${a_b} ${a_b_2}", {"a_b": "$${a.b}", "a_b_2": "$${a_b}"}),
        ("${X:-1} ${X%.*}", "$${X:-1} $${X%.*}", None),
        ("{{ x }} ${X}", "{% raw %}{{ x }} {% endraw %}${X}", {"X": "$${X}"}),
    ],
)
def test_substitutions_become_variables(tmp_path, text, value, variables):
    """Of SAM, CloudFormation, the CDK and Terraform; without a value, the text stays the same."""
    data = machine(batch({"ContainerOverrides": {"Command": [text]}, "Tags": {"t": text}}, Comment=text))
    data["Comment"] = text
    translation = translate(data, "p")
    assert [value] == translation.file["p"]["jobs"]["A"]["batch"]["command"]
    assert variables == translation.file.get("vars")
    spec = load(tmp_path, data)
    assert [] == [str(error) for error in spec.errors]
    assert text == spec.pipelines["p"].description
    if variables and "AWS_Partition" not in variables and "{{" not in text:
        assert [text] == spec.pipelines["p"].jobs["A"].batch.command


@pytest.mark.parametrize(
    "data",
    [
        machine(step("${ClusterId}")),
        machine(batch({"ContainerOverrides": {"Command": ["#{Token[${TOKEN.5}]}"]}})),
        machine(cluster(ReleaseLabel="${Release}"), step()),
        machine(cluster(LogUri="${Logs}"), step()),
        machine(batch({"ArrayProperties": {"Size": "${Size}"}})),
        machine(batch(TimeoutSeconds="${Timeout}")),
    ],
)
def test_a_substitution_with_a_format_is_an_error(data):
    """No file is written that does not load."""
    ((_, message),) = problems(data)
    assert "${" in message


def test_a_substitution_outside_of_text_is_an_error_with_a_hint():
    """A template of Terraform is no JSON."""
    (error,) = read_json("x.json", '{"StartAt": ${start}}', lambda found: translate(found, "p")).errors
    assert (1, 13, "replace the substitutions outside of text first") == (error.line, error.column, error.hint)


def test_a_substitution_in_the_instances_of_a_cluster_is_kept(tmp_path):
    """In `overrides`."""
    group = {"InstanceRole": "MASTER", "InstanceType": "${Type}", "InstanceCount": 1}
    spec = load(tmp_path, machine(cluster(Instances={"InstanceGroups": [group]}), step()))
    assert [] == spec.errors
    assert [group] == spec.pipelines["p"].clusters["A"].overrides["Instances"]["InstanceGroups"]


def test_a_value_that_is_not_used_may_be_known_only_at_run_time():
    """Jobs and clusters are named after their run."""
    assert jobs(machine(batch({"JobName.$": "States.Format('{}', States.UUID())"})))
    data = machine(cluster(**{"Name.$": "States.Format('{}', States.UUID())", "Name": None}), step())
    assert "tags" not in pipeline(data)["clusters"]["A"]


@pytest.mark.parametrize(
    "first",
    [cluster(ReleaseLabel=7), cluster({"InputPath": 7, "TimeoutSeconds": {}}, Nonsense=1)],
)
def test_the_states_after_an_error_have_no_errors_of_their_own(first):
    """The cluster is created by the state machine."""
    (problem,) = problems(machine(first, step(), terminate()))
    assert "States.A" == problem[0]


def test_a_cluster_without_steps_is_an_error():
    """It would run for nothing."""
    assert [("States", "the state machine runs no step on its clusters")] == problems(machine(cluster(), terminate()))


def test_termination_protection_is_that_of_the_cluster(tmp_path):
    """It is removed before the cluster is terminated."""

    def protect(value):
        parameters = {"ClusterId.$": "$.c.ClusterId", "TerminationProtected": value}
        resource = EMR + "setClusterTerminationProtection"
        return {"Type": "Task", "Resource": resource, "Parameters": parameters, "ResultPath": None}

    spec = load(tmp_path, machine(cluster(), protect(True), step(), protect(False), terminate()))
    assert [] == spec.errors
    assert spec.pipelines["p"].clusters["A"].termination_protection


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        ("modifyInstanceFleetByName", "managed_scaling"),
        ("modifyInstanceGroupByName", "managed_scaling"),
        ("cancelStep", "`deadline`"),
    ],
)
def test_calls_that_change_a_cluster_name_the_alternative(call, instead):
    """They are not supported."""
    ((_, message),) = problems(machine({"Type": "Task", "Resource": EMR + call, "Parameters": {}}))
    assert message.startswith(f"{call} is not supported in a pipeline file: ")
    assert instead in message


def test_an_empty_instance_group_is_kept(tmp_path):
    """A later resize may use it."""
    groups = [
        {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1},
        {"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": 2},
        {"InstanceRole": "TASK", "InstanceType": "m5.xlarge", "InstanceCount": 0},
    ]
    spec = load(tmp_path, machine(cluster(Instances={"InstanceGroups": groups}), step()))
    assert [] == [str(error) for error in spec.errors]
    assert groups == spec.pipelines["p"].clusters["A"].overrides["Instances"]["InstanceGroups"]


@pytest.mark.parametrize("path", ["s3://b/x.sh", "file:/usr/share/aws/emr/x.sh"])
def test_bootstrap_scripts_are_in_s3_or_on_the_instance(path):
    """Other URIs are errors."""

    def actions(uri):
        return cluster(BootstrapActions=[{"Name": "b", "ScriptBootstrapAction": {"Path": uri}}])

    assert [{"path": path, "name": "b"}] == pipeline(machine(actions(path), step()))["clusters"]["A"]["bootstrap"]
    ((_, message),) = problems(machine(actions("https://x"), step()))
    assert "neither an S3 URI nor a file: URI" in message


def test_the_names_in_free_maps_keep_their_capitals():
    """Labels and limits of pods, properties of log drivers, tags."""
    container = {"Name": "main", "Resources": {"Limits": {"Vendor.com/GPU": "1"}}}
    pod = {"Containers": [container], "Metadata": {"Labels": {"Team": "data"}, "Annotations": {"A": "b"}}}
    made = jobs(machine(batch({"EksPropertiesOverride": {"PodProperties": pod}})))["A"]["batch"]["submit"]
    assert made["eksPropertiesOverride"] == {
        "podProperties": {
            "containers": [{"name": "main", "resources": {"limits": {"Vendor.com/GPU": "1"}}}],
            "metadata": {"labels": {"Team": "data"}, "annotations": {"A": "b"}},
        }
    }


def test_overrides_of_containers_may_use_the_input(tmp_path):
    """They are templates, like the values of a plain container."""
    containers = [{"Name": "main", "Command.$": "States.Array('run', $.date)"}]
    data = machine(batch({"EcsPropertiesOverride": {"TaskProperties": [{"Containers": containers}]}}))
    spec = load(tmp_path, data)
    assert [] == [str(error) for error in spec.errors]
    (task,) = spec.pipelines["p"].jobs["A"].batch.submit["ecsPropertiesOverride"]["taskProperties"]
    assert [{"name": "main", "command": ["run", "{{ params['date'] }}"]}] == task["containers"]


def test_a_cluster_without_applications_installs_none():
    """Instead of those that a pipeline file installs by default."""
    assert [] == pipeline(machine(cluster(), step()))["clusters"]["A"]["applications"]


@pytest.mark.parametrize(("release", "ends"), [("emr-7.5.0", True), ("emr-5.26.0", False)])
def test_an_idle_cluster_terminates_itself_if_its_release_supports_it(release, ends):
    """It did not in Step Functions, unless it had an AutoTerminationPolicy."""
    data = machine(cluster(ReleaseLabel=release), step())
    assert ends == any(text.startswith("the cluster terminates itself if it is idle") for text in notes(data))
    data["States"]["A"]["Parameters"]["AutoTerminationPolicy"] = {"IdleTimeout": 600}
    assert not any("idle for 4 hours" in text for text in notes(data))


def test_the_branches_of_a_choice_start_with_its_data():
    """All errors are true, although a Choice is one."""
    states = {
        "Choose": {"Type": "Choice", "Choices": [{"Next": "Big"}], "Default": "Small"},
        "Big": batch({"ContainerOverrides": {"Command.$": "States.Array($.date)"}}, End=True),
        "Small": batch({"ContainerOverrides": {"Command.$": "States.Array($.date)"}}, End=True),
    }
    assert ["States.Choose"] == [path for path, _ in problems({"StartAt": "Choose", "States": states})]


def test_deep_nesting_is_an_error():
    """Not a traceback."""
    data = machine(batch())
    for _ in range(150):
        data = machine({"Type": "Parallel", "Branches": [data]})
    assert "the state machine is nested too deeply" in [message for _, message in problems(data)] or jobs(data)


def test_a_translation_does_not_change_the_source():
    """It is shown in errors."""
    data = machine(cluster(), step(), batch(Resource=BATCH), terminate())
    before = copy.deepcopy(data)
    translate(data, "p")
    assert before == data


def test_sizes_from_the_input_are_templates(tmp_path):
    """With the options that accept them, so that they are checked after rendering."""
    resources = [
        {"Type": "VCPU", "Value.$": "$.cpus"},
        {"Type": "MEMORY", "Value.$": "States.Format('{}', $.memory)"},
        {"Type": "GPU", "Value.$": "$.gpus"},
    ]
    parameters = {
        "ArrayProperties": {"Size.$": "$.shards"},
        "Timeout": {"AttemptDurationSeconds.$": "$.seconds"},
        "RetryStrategy": {"Attempts.$": "$.attempts"},
        "ContainerOverrides": {"ResourceRequirements": resources},
    }
    job = load(tmp_path, machine(batch(parameters))).pipelines["p"].jobs["A"]
    found = (job.array.size, job.batch.timeout, job.batch.vcpus, *job.batch.memory, job.batch.gpus)
    names = ("shards", "seconds", "cpus", "memory", "gpus")
    assert tuple(f"{{{{ params['{name}'] }}}}" for name in names) == found
    assert {"retryStrategy": {"attempts": "{{ params['attempts'] }}"}} == job.batch.submit


def test_the_size_of_a_cluster_from_the_input_is_a_template(tmp_path):
    """In an instance group and in the short form, beside a release from the input."""
    groups = [
        {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1},
        {"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount.$": "$.nodes"},
    ]
    given = {"ReleaseLabel": None, "ReleaseLabel.$": "$.release"}
    data = machine(cluster(**given, Instances={"InstanceGroups": groups}), step())
    made = load(tmp_path, data).pipelines["p"].clusters["A"]
    assert ("{{ params['release'] }}", "{{ params['nodes'] }}") == (made.release, made.core.count)
    assert any(text.startswith("the cluster terminates itself if it is idle") for text in notes(data))
    short = {"MasterInstanceType": "m5.xlarge", "InstanceCount.$": "$.nodes"}
    made = load(tmp_path, machine(cluster(Instances=short), step())).pipelines["p"].clusters["A"]
    assert {"MasterInstanceType": "m5.xlarge", "InstanceCount": "{{ params['nodes'] }}"} == made.overrides["Instances"]


def test_parameters_without_an_option_are_kept_beside_each_other():
    """Applications with arguments, fleets, and a policy."""
    given = {
        "Applications": [{"Name": "Spark", "Args": ["x"]}],
        "Instances": {"MasterInstanceType": "m5.xlarge", "Ec2SubnetIds": ["subnet-1", "subnet-2"]},
        "AutoScalingRole": "role",
    }
    made = pipeline(machine(cluster(**given), step()))["clusters"]["A"]["overrides"]
    assert {**given, "Instances": {"Ec2SubnetIds": ["subnet-1", "subnet-2"]}} == made


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("'s3://${Bucket}/{}/x', $.q", "s3://${Bucket}/V/x"),
        ("'${A}{}${A.b}', $.q", "${A}V${A.b}"),
        (r"'\{{}\}', $.q", "{V}"),
        (r"'\{\{{}\}\}', $.q", "{{V}}"),
        (r"'\{% {}', $.q", "{% V"),
        (r"'\{\"a\": {}\}', $.q", '{"a": V}'),
        ("'{}{}', '{', '{'", "{{"),
        ("'${}', $.q", "$V"),
        (r"'$\{{}\}', $.q", "${V}"),
        ("'{}{}', States.Format('\\{'), $.q", "{V"),
        ("''", ""),
        ("'{} costs {} $', 1, null", "1 costs null $"),
    ],
)
def test_a_formatted_text_keeps_substitutions_and_braces(tmp_path, template, rendered):
    """They are not part of a template, wherever the values are."""
    data = machine(batch({"Parameters": {"v.$": f"States.Format({template})"}}))
    spec = load(tmp_path, data)
    assert [] == [str(error) for error in spec.errors]
    text = spec.pipelines["p"].jobs["A"].batch.parameters["v"]
    assert rendered == jinja2.Environment(autoescape=False).from_string(text).render(params={"q": "V"})  # noqa: S701


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ("${SubmitJobArn}", "Resource is the substitution ${SubmitJobArn}: replace it and import again"),
        ("arn:aws:states:::emr-serverless:startJobRun.sync", "write this task as a job with `on: {emr_serverless: …}`"),
        ("arn:aws:states:::emr-containers:startJobRun.sync", "write this task as a job with `on: {emr_eks: …}`"),
        ("arn:aws:lambda:${Region}:1:function:f", "write this task as a job with `operator:`"),
    ],
)
def test_a_task_of_another_service_names_what_to_write_instead(resource, message):
    """A substitution may be a supported task."""
    ((_, found),) = problems(machine({"Type": "Task", "Resource": resource}))
    assert found.endswith(message)


def test_items_run_one_after_another_although_earlier_ones_may_fail():
    """With `MaxConcurrency: 1`."""
    state = {"Type": "Map", "Items": [1, 2], "MaxConcurrency": 1, "ToleratedFailureCount": 2}
    state["ItemProcessor"] = {"StartAt": "X", "States": {"X": batch(End=True)}}
    made = jobs(machine(state, batch()))
    assert ({"X-0": "finished"}, {"X-1": "finished"}) == (made["X-1"]["after"], made["B"]["after"])


@pytest.mark.parametrize(
    ("state", "reported"),
    [
        ({"Type": "Parallel", "Branches": [machine(batch()), machine(batch())]}, True),
        ({"Type": "Parallel", "Branches": [machine(batch())]}, False),
        ({"Type": "Map", "Items": [1, 2], "ItemProcessor": machine(batch())}, True),
        ({"Type": "Map", "Items": [1, 2], "ItemProcessor": machine(batch()), "MaxConcurrency": 1}, False),
        ({"Type": "Map", "Items": [1, 2], "ItemProcessor": machine(batch()), "ToleratedFailureCount": 2}, False),
    ],
)
def test_jobs_that_a_failure_no_longer_stops_are_reported(state, reported):
    """Step Functions stops the other branches and items."""
    note = "A stopped when one of its jobs failed; now the others run to their end"
    assert reported == (note in notes(machine(state)))


def test_a_fail_state_after_a_choice_has_no_error_of_its_own():
    """It is not always reached."""
    states = {
        "Choose": {"Type": "Choice", "Choices": [{"Next": "Run"}], "Default": "Stop"},
        "Run": batch(End=True),
        "Stop": {"Type": "Fail"},
    }
    assert ["States.Choose"] == [path for path, _ in problems({"StartAt": "Choose", "States": states})]


def test_the_members_of_a_call_about_a_cluster_are_reported():
    """Also its failures, and the states that handle them."""
    handled = {"Retry": [{"ErrorEquals": ALL}], "Catch": [{"ErrorEquals": ALL, "Next": "F"}]}
    found = notes(machine(cluster(), step(), terminate(**handled), F={"Type": "Fail"}))
    assert {"Retry of C is omitted", "Catch of C is omitted"} <= {text.partition(":")[0] for text in found}
    assert "States.C.Nonsense" == problems(machine(cluster(), step(), terminate(Nonsense=1)))[0][0]
    handled["Catch"][0]["Next"] = "H"
    ((path, message),) = problems(machine(cluster(), step(), terminate(**handled), H=batch(End=True)))
    assert ("States.H", True) == (path, message.startswith("this state is not translated"))


@pytest.mark.parametrize("state", [step(), terminate()])
def test_the_cluster_of_a_task_that_is_not_supported_is_named(state):
    """It may have been created by that task, for example a function of Lambda."""
    create = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "ResultPath": "$.c"}
    (_, (path, message)) = problems(machine(create, state))
    assert ("States.B", True) == (path, message.startswith("ClusterId: the result of A is not available"))


@pytest.mark.parametrize(
    ("path", "note"),
    [
        ("$$.Execution.Id", "$$.Execution.Id, an ARN, is now {{ run_id }}"),
        ("$$.Execution.Name", "$$.Execution.Name is now {{ run_id }}"),
    ],
)
def test_what_replaces_the_context_of_an_execution_is_reported(path, note):
    """Its values differ."""
    data = machine(batch({"Parameters": {"v.$": path}}))
    assert {"v": "{{ run_id }}"} == jobs(data)["A"]["batch"]["parameters"]
    assert note in notes(data)
    ((_, message),) = problems(machine(batch({"Parameters": {"v.$": "$$.Task.Token"}})))
    assert "Parameters.v: $$.Task.Token is not available" == message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("StartAt: A\nStates: {}", "if it is YAML, convert it to JSON first"),
        ('{"Resources": {}}', "import the definition of a state machine, instead of a template of CloudFormation"),
        ('{"x": 1}', None),
    ],
)
def test_other_files_are_errors_with_a_hint(text, hint):
    """SAM writes state machines in YAML, and templates contain them."""
    (error,) = read_json("x.json", text, lambda found: translate(found, "p")).errors
    assert hint == error.hint


def test_a_resource_with_functions_of_cloudformation_is_an_error():
    """The CDK writes the partition so."""
    resource = {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":states:::batch:submitJob.sync"]]}
    ((_, message),) = problems(machine(batch(Resource=resource)))
    assert message.startswith("Resource has an unexpected value: ")


def test_a_cluster_may_have_a_name_that_no_tag_can_have(tmp_path):
    """The name is not needed; clusters are named after their run."""
    data = machine(cluster(Name="etl (daily), 2"), step())
    spec = load(tmp_path, data)
    assert [] == spec.errors
    assert {} == spec.pipelines["p"].clusters["A"].tags
    assert any(text.startswith("the cluster's Name is omitted: AWS accepts letters") for text in notes(data))


def test_a_timeout_of_the_execution_that_is_a_substitution_is_an_error():
    """It would be dropped."""
    ((path, message),) = problems(machine(batch()) | {"TimeoutSeconds": "${Timeout}"})
    assert ("TimeoutSeconds", True) == (path, message.endswith("is not translated"))
    assert "1h" == pipeline(machine(batch()) | {"TimeoutSeconds": 3600})["deadline"]


@pytest.mark.parametrize("paths", [{"OutputPath": "$.a"}, {"InputPath": "$.a"}])
def test_the_paths_of_a_wait_apply_to_the_data_of_the_next_state(paths):
    """As those of a task."""
    data = machine({"Type": "Wait", "Seconds": 1} | paths, batch({"Parameters": {"v.$": "$.b"}}))
    assert {"v": "{{ params['a']['b'] }}"} == jobs(data)["B"]["batch"]["parameters"]


def test_how_values_of_the_input_are_rendered_is_reported():
    """States.Format writes true and null, as JSON does."""
    data = machine(batch({"Parameters": {"v.$": "States.Format('{}', $.flag)"}}))
    assert any("true is rendered as True and null as None" in text for text in notes(data))
