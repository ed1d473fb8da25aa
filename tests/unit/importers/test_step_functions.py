"""Import of AWS Step Functions state machines."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batchemr.core.service_models import shape
from airflow_batchemr.dags.plan import plan_dag
from airflow_batchemr.pipeline_file.importers.document import read_json
from airflow_batchemr.pipeline_file.importers.step_functions import translate
from tests.unit.importers.model_documents import capitalized, sample
from tests.unit.importers.state_machines import EMR, batch, cluster, jobs, load, machine, notes, problems, step

NIGHTLY = Path(__file__).parents[2] / "data" / "step_functions" / "nightly.asl.json"


def test_a_machine_of_all_kinds_of_states_loads_and_compiles(tmp_path):
    """Batch arrays, a shared cluster, Parallel, Map, Wait, Retry and Catch in one state machine."""
    spec = load(tmp_path, json.loads(NIGHTLY.read_text()), "nightly")
    errors = [str(error) for error in spec.errors]
    assert errors == []
    upstream = {task.task_id: task.upstream for task in plan_dag(spec.pipelines["nightly"]).tasks}
    expected = {
        "Create-cluster.create_cluster": ["Split"],
        "Split": [],
        "Score": ["Split", "Create-cluster.create_cluster"],
        "Publish-region-0": ["Split"],
        "Publish-region-1": ["Publish-region-0"],
        "Pause": ["Score", "Publish-region-1"],
        "Tell": ["Split"],
        "Create-cluster.terminate_cluster.after_finished": ["Create-cluster.create_cluster", "Score"],
        "Create-cluster.terminate_cluster": [
            "Create-cluster.create_cluster",
            "Create-cluster.terminate_cluster.after_finished",
        ],
    }
    assert expected == upstream


def test_submit_job_parameters_are_translated():
    """Every parameter of submitJob."""
    parameters = {
        "ArrayProperties": {"Size": 10},
        "ContainerOverrides": {
            "Command": ["run", "Ref::date"],
            "Environment": [{"Name": "A", "Value": "1"}],
            "ResourceRequirements": [
                {"Type": "MEMORY", "Value": "2048"},
                {"Type": "VCPU", "Value": "0.5"},
                {"Type": "GPU", "Value": "1"},
            ],
            "InstanceType": "p3.2xlarge",
        },
        "Parameters": {"date": "x"},
        "RetryStrategy": {"Attempts": 2, "EvaluateOnExit": [{"OnExitCode": "75", "Action": "RETRY"}]},
        "Timeout": {"AttemptDurationSeconds": 120},
        "Tags": {"Team": "data"},
        "ShareIdentifier": "blue",
        "SchedulingPriorityOverride": 5,
        "PropagateTags": True,
    }
    expected = {
        "array": 10,
        "batch": {
            "definition": "etl:1",
            "queue": "data",
            "command": ["run", "Ref::date"],
            "vcpus": 0.5,
            "memory": "2048MiB",
            "gpus": 1,
            "env": {"A": "1"},
            "parameters": {"date": "x"},
            "tags": {"Team": "data"},
            "timeout": "2m",
            "share_identifier": "blue",
            "scheduling_priority": 5,
            "submit": {
                "containerOverrides": {"instanceType": "p3.2xlarge"},
                "retryStrategy": {"attempts": 2, "evaluateOnExit": [{"onExitCode": "75", "action": "RETRY"}]},
                "propagateTags": True,
            },
        },
    }
    assert {"A": expected} == jobs(machine(batch(parameters)))


def test_legacy_vcpus_and_memory():
    """The fields of ContainerOverrides that precede ResourceRequirements."""
    made = jobs(machine(batch({"ContainerOverrides": {"Vcpus": 2, "Memory": 1000}})))["A"]["batch"]
    assert (made["vcpus"], made["memory"]) == (2, "1000MiB")


def test_the_order_of_states_is_the_order_of_jobs():
    """Pass and Succeed do not become jobs."""
    data = machine(batch(), {"Type": "Pass"}, batch(), {"Type": "Succeed"})
    assert {name: job.get("after") for name, job in jobs(data).items()} == {"A": None, "C": "A"}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ({"Value": "x"}, "x"),
        ({"Value": "{{ x }}"}, "{% raw %}{{ x }}{% endraw %}"),
        ({"Value": "${X}"}, "${X}"),
        ({"Value": "${X:-1} $${Y}"}, "$${X:-1} $$${Y}"),
        ({"Value.$": "$.date"}, "{{ params['date'] }}"),
        ({"Value.$": "$.values"}, "{{ params['values'] }}"),
        ({"Value.$": "$.a.items[0]['c d']"}, "{{ params['a']['items'][0]['c d'] }}"),
        ({"Value.$": "$['my-date']"}, "{{ params['my_date'] }}"),
        ({"Value.$": "$$.Execution.Name"}, "{{ run_id }}"),
        ({"Value.$": "$$.Execution.Input.date"}, "{{ params['date'] }}"),
        ({"Value.$": "$$.State.Name"}, "B"),
        ({"Value.$": "$.set.inner"}, "constant"),
        ({"Value.$": "$.set.list[1]"}, "2"),
        ({"Value.$": "States.Format('s3://{}/{}', $.set.inner, $.date)"}, "s3://constant/{{ params['date'] }}"),
        ({"Value.$": "States.Format('it\\'s \\{\\} {}', 7)"}, "it's $${} 7".replace("$$", "")),
        ({"Value.$": "States.Format('{}', States.Format('{}!', 'x'))"}, "x!"),
    ],
)
def test_paths_and_formats_are_evaluated(template, expected):
    """Fields of the execution's input become params, and constants are inserted."""
    start = {"Type": "Pass", "Result": {"inner": "constant", "list": [1, 2]}, "ResultPath": "$.set"}
    data = machine(start, batch({"ContainerOverrides": {"Environment": [{"Name": "V", **template}]}}))
    assert {"V": expected} == jobs(data)["B"]["batch"]["env"]


def test_states_array_becomes_a_command():
    """With constants and fields of the input."""
    data = machine(batch({"ContainerOverrides": {"Command.$": "States.Array('run', $.date, 7, 'it\\'s')"}}))
    assert jobs(data)["A"]["batch"]["command"] == ["run", "{{ params['date'] }}", "7", "it's"]


def test_fields_of_the_input_become_params(tmp_path):
    """With the original name as title in the trigger form."""
    data = machine(batch({"ContainerOverrides": {"Environment": [{"Name": "V", "Value.$": "$.my-date"}]}}))
    made = load(tmp_path, data).pipelines["p"]
    assert {name: param.title for name, param in made.params.items()} == {"my_date": "my-date"}


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ([{"Type": "Choice", "Choices": []}], "Choice selects the next state by the data of the run"),
        ([{"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke"}], "is not supported, only AWS Batch"),
        ([{"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:1:function:x"}], "is not supported, only AWS Batch"),
        ([{"Type": "Task"}], "Resource has an unexpected value: null"),
        ([{"Type": "Fail"}], "always fail"),
        ([{"Type": "Sleep"}], "unknown state type: Sleep"),
        ([{"Type": "Wait", "Timestamp": "2026-01-01T00:00:00Z"}], "only supported with Seconds"),
        ([{"Type": "Wait", "Seconds": "5"}], "Seconds has an unexpected value"),
        ([{"Type": "Task", "Resource": EMR + "cancelStep", "Parameters": {}}], "cancelStep is not supported"),
        (
            [{"Type": "Task", "Resource": EMR + "terminateCluster", "Parameters": {"ClusterId": "j-1"}}],
            "has not created",
        ),
        ([batch(Resource="arn:aws:states:::batch:submitJob.waitForTaskToken")], "submitJob.waitForTaskToken is not"),
        ([batch({"JobDefinition": None})], "JobDefinition: expected text, not null"),
        ([batch({"Nonsense": 1})], "AWS has no parameter Nonsense"),
        ([batch({"DependsOn": [{"JobId": "x"}]})], "DependsOn"),
        (
            [batch(), batch({"ArrayProperties": {"Size.$": "$.n"}})],
            "ArrayProperties.Size: the result of A is not avail",
        ),
        ([batch({"ContainerOverrides": {"Command.$": "$.command"}})], "Command is only known at run time"),
        ([batch({"ContainerOverrides": {"Command.$": "States.UUID()"}})], "States.UUID is evaluated at run time"),
        ([batch({"ContainerOverrides": {"Command": [{"a": 1}]}})], "expected text"),
        ([batch({"Parameters": {"a.$": "$..b"}})], "depends on data"),
        ([batch({"Parameters": {"a.$": "$.b[?(@.c)]"}})], "depends on data"),
        ([batch({"Parameters": {"a.$": 7}})], "a path or an intrinsic function has an unexpected value: 7"),
        ([batch({"Parameters": {"a.$": "$"}})], "the whole input"),
        ([batch({"Parameters": {"a.$": "States.Format('{}')"}})], "too few arguments"),
        ([batch({"Parameters": {"a.$": "States.Format('x', 1)"}})], "too many arguments"),
        ([batch(QueryLanguage="JSONata")], "only JSONPath"),
        ([batch(TimeoutSecondsPath="$.t")], "TimeoutSecondsPath"),
        ([batch(ResultPath="$.a[0]")], "into a list"),
        ([batch(), batch({"Parameters": {"a.$": "$.JobId"}})], "the result of A is not available to other jobs"),
        ([{"Type": "Map", "ItemsPath": "$.items", "Iterator": machine(batch())}], "only known at run time"),
        ([{"Type": "Map", "ItemReader": {}, "ItemProcessor": machine(batch())}], "per_object"),
        ([{"Type": "Map", "Items": list(range(500)), "ItemProcessor": machine(batch())}], "too many items (500)"),
        ([{"Type": "Parallel", "Branches": "x"}], "Branches has an unexpected value"),
        ([{"Type": "Pass"}], "has no AWS Batch or EMR task"),
        ([{**batch(), "Next": "A"}], "form a cycle"),
        ([{**batch(), "Next": "Z"}], "there is no state 'Z'"),
        ([{k: v for k, v in batch().items() if k != "End"} | {"End": False}], "neither Next nor End"),
    ],
)
def test_an_unsupported_state_is_rejected_with_the_reason(states, reason):
    """No pipeline file is written for the state machine."""
    translation = translate(machine(*states), "p")
    messages = " | ".join(problem.message for problem in translation.problems)
    assert reason in messages
    assert translation.file == {}


def test_all_problems_are_reported_at_once():
    """With the path of each state."""
    data = machine({"Type": "Task", "Resource": "x"}, batch({"Nonsense": 1}), {"Type": "Choice"})
    assert [path for path, _ in problems(data)] == ["States.A", "States.B", "States.C"]


@pytest.mark.parametrize("data", [[], {}, 7, {"StartAt": "A"}, {"States": []}, None])
def test_other_json_is_rejected(data):
    """With the expected format."""
    message = "expected a state machine in Amazon States Language: an object with StartAt and States"
    assert [("", message)] == problems(data)


def test_branches_of_a_parallel_are_independent():
    """The next state depends on the last jobs of all branches."""
    branches = [
        {"StartAt": "X1", "States": {"X1": batch(Next="X2"), "X2": batch(End=True)}},
        {"StartAt": "Y", "States": {"Y": batch(End=True)}},
    ]
    data = machine(batch(), {"Type": "Parallel", "Branches": branches}, batch())
    expected = {"A": None, "X1": "A", "X2": "X1", "Y": "A", "C": ["X2", "Y"]}
    assert expected == {name: job.get("after") for name, job in jobs(data).items()}


@pytest.mark.parametrize(
    ("concurrency", "expected"),
    [
        ({}, {"X-0": None, "X-1": None, "B": ["X-0", "X-1"]}),
        ({"MaxConcurrency": 1}, {"X-0": None, "X-1": "X-0", "B": "X-1"}),
    ],
)
def test_a_map_over_constant_items_becomes_a_job_per_item(concurrency, expected):
    """In parallel, or sequentially with MaxConcurrency 1; each job gets its item and index."""
    env = [{"Name": "V", "Value.$": "$$.Map.Item.Value"}, {"Name": "I", "Value.$": "$$.Map.Item.Index"}]
    inner = {"StartAt": "X", "States": {"X": batch({"ContainerOverrides": {"Environment": env}}, End=True)}}
    data = machine({"Type": "Map", "Items": ["a", "b"], "ItemProcessor": inner} | concurrency, batch())
    made = jobs(data)
    assert expected == {name: job.get("after") for name, job in made.items()}
    assert [made[f"X-{n}"]["batch"]["env"] for n in (0, 1)] == [{"V": "a", "I": "0"}, {"V": "b", "I": "1"}]


def test_a_note_explains_how_to_limit_concurrency():
    """With an Airflow pool."""
    inner = {"StartAt": "X", "States": {"X": batch(End=True)}}
    data = machine({"Type": "Map", "Items": [1, 2, 3], "MaxConcurrency": 2, "ItemProcessor": inner})
    assert any("a `pool:` with 2 slots" in text for text in notes(data))


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        ({}, {"retries": 3, "retry_delay": "1s", "retry_backoff": 2}),
        (
            {"IntervalSeconds": 60, "MaxAttempts": 5, "BackoffRate": 1.5, "MaxDelaySeconds": 600},
            {"retries": 5, "retry_delay": "1m", "retry_backoff": 1.5, "max_retry_delay": "10m"},
        ),
        ({"MaxAttempts": 0}, {"retries": 0}),
        ({"BackoffRate": 1.0}, {"retries": 3, "retry_delay": "1s"}),
    ],
)
def test_retry(retry, expected):
    """With the defaults of Amazon States Language."""
    made = jobs(machine(batch(Retry=[{"ErrorEquals": ["States.ALL"]} | retry])))["A"]
    assert expected == {key: value for key, value in made.items() if "retr" in key}


def test_a_note_is_added_for_a_retry_of_some_errors():
    """Airflow retries any failure."""
    data = machine(batch(Retry=[{"ErrorEquals": ["Batch.AWSBatchException"]}]))
    assert any("retried only some errors" in text for text in notes(data))


def test_retry_of_a_parallel_applies_to_its_jobs():
    """Unless a state has its own Retry."""
    inner = {
        "StartAt": "X",
        "States": {
            "X": batch(Next="Y"),
            "Y": batch(Retry=[{"ErrorEquals": ["States.ALL"], "MaxAttempts": 7}], End=True),
        },
    }
    retry = [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1}]
    made = jobs(machine({"Type": "Parallel", "Branches": [inner], "Retry": retry}))
    assert {name: job["retries"] for name, job in made.items()} == {"X": 1, "Y": 7}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, "10m"), ({"Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 2}]}, "30m")],
)
def test_the_deadline_covers_the_timeouts_of_all_attempts(fields, expected):
    """TimeoutSeconds applied to each attempt; a deadline is measured from the first submission."""
    assert expected == jobs(machine(batch(TimeoutSeconds=600, **fields)))["A"]["deadline"]


CATCH = [{"ErrorEquals": ["States.ALL"], "Next": "H"}]


def test_a_catch_to_the_next_state_becomes_the_finished_rule():
    """The next job runs whether or not the job succeeds."""
    data = machine(batch(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "B"}]), batch())
    assert jobs(data)["B"]["after"] == {"A": "finished"}


def test_a_catch_that_only_fails_is_omitted():
    """A failed job fails the run anyway."""
    assert list(jobs(machine(batch(Catch=CATCH), batch(), H={"Type": "Fail"}))) == ["A", "B"]


def test_a_handler_runs_after_the_failure():
    """With a note about the other cases in which it runs."""
    handler = {"H": batch(Next="I"), "I": batch(Next="F"), "F": {"Type": "Fail"}}
    data = machine(batch(Catch=CATCH), batch(), **handler)
    made = jobs(data)
    assert (made["H"]["after"], made["I"]["after"]) == ({"A": "failed"}, "H")
    assert any("also run if an upstream job has failed" in text for text in notes(data))


def test_states_after_a_choice_are_checked_too():
    """All problems are reported at once, with the states that can be imported as jobs."""
    task = {**batch(), "Next": "Choose"}
    states = {
        "First": task,
        "Choose": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.x", "IsNull": True, "Next": "Big"}],
            "Default": "Small",
        },
        "Big": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Next": "Each"},
        "Small": {**batch(), "Next": "Each"},
        "Each": {"Type": "Map", "ItemsPath": "$.files", "ItemProcessor": {}, "Next": "Last"},
        "Last": {**batch(), "Next": "Choose"},
    }
    translation = translate({"StartAt": "First", "States": states}, "m")
    assert ["Choose", "Big", "Each"] == [problem.keys[-1] for problem in translation.problems]
    (supported,) = [note.message for note in translation.notes if "can be imported" in note.message]
    assert "can be imported as jobs: First, Last, Small. " in supported
    assert {} == translation.file


def test_a_handler_that_rejoins_the_main_path_is_rejected():
    """A job cannot depend on whichever of two jobs ran."""
    data = machine(batch(Catch=CATCH), batch(), H=batch(Next="B"))
    expected = [("States.A.Catch.0", True)]
    assert expected == [(path, "other states lead to" in text) for path, text in problems(data)]


@pytest.mark.parametrize("path", ["$.c.ClusterId", "$.c.Cluster.Id", "$['c']['ClusterId']"])
def test_steps_run_on_the_cluster_that_the_state_machine_created(path):
    """It becomes a shared cluster; terminateCluster is omitted."""
    end = {"Type": "Task", "Resource": EMR + "terminateCluster", "Parameters": {"ClusterId.$": path}}
    translation = translate(machine(cluster(), step(path), end), "p")
    expected = {
        "B": {
            "emr": {"cluster": "A"},
            "steps": [{"name": "s", "command": ["spark-submit", "s3://a.py"], "on_failure": "continue"}],
        }
    }
    assert expected == translation.file["p"]["jobs"]
    assert translation.file["p"]["clusters"]["A"]["core"] == {"type": "m5.2xlarge", "count": 3}


@pytest.mark.parametrize(
    ("path", "expected"),
    [("j-123ABC", {"cluster_id": "j-123ABC"}), ("$.cluster", {"cluster_id": "{{ params['cluster'] }}"})],
)
def test_steps_on_an_existing_cluster(path, expected):
    """Its id is a constant or a field of the input."""
    assert expected == jobs(machine(step(path)))["A"]["emr"]


def test_a_jar_step():
    """With main class, arguments and properties."""
    jar = {"Jar": "s3://a.jar", "MainClass": "a.B", "Args": ["x"], "Properties": [{"Key": "k", "Value": "v"}]}
    made = jobs(machine(step("j-1", HadoopJarStep=jar, ActionOnFailure="CANCEL_AND_WAIT")))["A"]["steps"]
    expected = {
        "name": "s",
        "jar": "s3://a.jar",
        "class": "a.B",
        "args": ["x"],
        "properties": {"k": "v"},
        "on_failure": "cancel_and_wait",
    }
    assert [expected] == made


def test_steps_of_create_cluster_become_a_job(tmp_path):
    """Parameters without an equivalent are copied to `overrides`."""
    data = machine(
        cluster(
            Steps=[{"Name": "s", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["true"]}}],
            Instances={"InstanceFleets": [{"InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1}]},
            ScaleDownBehavior="TERMINATE_AT_TASK_COMPLETION",
            Tags=[{"Key": "team", "Value": "data"}],
            BootstrapActions=[{"Name": "b", "ScriptBootstrapAction": {"Path": "s3://b.sh", "Args": ["1"]}}],
            AutoTerminationPolicy={"IdleTimeout": 600},
            VisibleToAllUsers=False,
        )
    )
    spec = load(tmp_path, data)
    assert [str(error) for error in spec.errors] == []
    made = spec.pipelines["p"].clusters["A"]
    assert made.overrides == {
        "Instances": {"InstanceFleets": [{"InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1}]},
        "ScaleDownBehavior": "TERMINATE_AT_TASK_COMPLETION",
    }
    assert (made.tags, made.idle_timeout, made.visible) == ({"Name": "c", "team": "data"}, 600, False)
    assert list(spec.pipelines["p"].jobs) == ["A-steps"]


def test_a_note_is_added_for_a_task_without_sync():
    """Step Functions did not wait for it, but downstream jobs do."""
    data = machine(batch(Resource="arn:aws:states:::batch:submitJob"))
    assert any("did not wait for this task" in text for text in notes(data))


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov"])
def test_other_partitions(partition):
    """China and GovCloud have different ARNs."""
    assert list(jobs(machine(batch(Resource=f"arn:{partition}:states:::batch:submitJob.sync")))) == ["A"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**6)
    | st.text(max_size=8)
    | st.sampled_from(["$.a", "$$.b", "States.x("]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value, path=()):
    """All paths of JSON data."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def every_member():
    """A state machine with every member of each request and of each kind of state."""
    task = {"Type": "Task", "Resource": "arn:aws:states:::batch:submitJob.sync"}
    submit = sample(shape("batch", "SubmitJob"))
    del submit["dependsOn"][0]["jobId"]
    run, add = sample(shape("emr", "RunJobFlow")), sample(shape("emr", "AddJobFlowSteps"))
    del run["AmiVersion"]
    inner = {"StartAt": "X", "States": {"X": batch(Retry=[{"ErrorEquals": ["States.ALL"]}], End=True)}}
    states = [
        {"Type": "Pass", "Result": {"items": [1, 2], "x": "y"}, "ResultPath": "$.set"},
        task | {"Parameters": capitalized(submit, shape("batch", "SubmitJob")), "ResultPath": None},
        cluster(**run),
        step(more={"ExecutionRoleArn": add["ExecutionRoleArn"]}, **add["Steps"][0]),
        {"Type": "Map", "ItemsPath": "$.set.items", "ItemProcessor": inner, "MaxConcurrency": 1, "ResultPath": None},
        {"Type": "Wait", "Seconds": 5},
    ]
    return machine(*states)


def test_every_member_is_translated(tmp_path):
    """All of them at once."""
    assert [] == [str(error) for error in load(tmp_path, every_member()).errors]


SOURCES = [json.loads(NIGHTLY.read_text()), every_member()]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), source=st.sampled_from(SOURCES), put=JSON, delete=st.booleans(), count=st.integers(1, 3))
def test_any_mutation_is_translated_or_rejected(data, source, put, delete, count):
    """With valid YAML or a problem that names a state, never a traceback."""
    changed = copy.deepcopy(source)
    for _ in range(count):
        path = data.draw(st.sampled_from([place for place in places(changed) if place] or [()]))
        if not path:
            break
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        if delete:
            del parent[path[-1]]
        elif isinstance(parent, dict) and data.draw(st.booleans()):
            parent[f"{path[-1]}.$"] = parent.pop(path[-1]) if data.draw(st.booleans()) else copy.deepcopy(put)
        else:
            parent[path[-1]] = copy.deepcopy(put)
    document = read_json("x.json", json.dumps(changed), lambda found: translate(found, "nightly"))
    assert document.value == (yaml.safe_load(document.yaml("header")) or {})
    assert document.value or document.errors
