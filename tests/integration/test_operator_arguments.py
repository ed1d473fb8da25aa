"""Arguments of the operators: the models' fields, and names of the amazon provider."""

from __future__ import annotations

import inspect
import re

import pytest
from airflow.providers.amazon.aws.operators import batch, emr
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowFailException
from airflow.serialization.serialized_objects import DagSerialization

import airflow_batchemr
from airflow_batchemr import (
    BatchArrayOperator,
    EmrCreateClusterOperator,
    EmrJobRunOperator,
    EmrStepsOperator,
    EmrTerminateClusterOperator,
    EphemeralEmrOperator,
    S3MarkerSensor,
)
from airflow_batchemr.operators.aws_operator import REPLACED
from airflow_batchemr.pipeline_file.models import Batch, Job
from tests.integration.emr_steps import CLUSTER

BATCH = {"task_id": "work", "queue": "q", "image": "etl:1", "command": "run"}
SERVERLESS = {"emr_serverless": {"application": "00f", "role": "arn:aws:iam::123456789012:role/x"}}
#: Required arguments of each operator.
COMPLETE = {
    BatchArrayOperator: {"queue": "q", "image": "etl:1", "command": "run"},
    EmrCreateClusterOperator: {"cluster": CLUSTER},
    EmrJobRunOperator: {"spark": {"py": "s3://code/x.py"}, "on": SERVERLESS},
    EmrStepsOperator: {"steps": ["run"], "cluster_id": "j-1"},
    EmrTerminateClusterOperator: {"cluster": "spark.cluster"},
    EphemeralEmrOperator: {"steps": ["run"], "cluster": CLUSTER},
    S3MarkerSensor: {"pipeline": "other"},
}
#: Operators of the amazon provider, and their replacements in this package.
PROVIDER = [
    (batch.BatchOperator, [BatchArrayOperator]),
    (emr.EmrAddStepsOperator, [EmrStepsOperator, EphemeralEmrOperator]),
    (emr.EmrCreateJobFlowOperator, [EmrCreateClusterOperator, EphemeralEmrOperator]),
    (emr.EmrTerminateJobFlowOperator, [EmrTerminateClusterOperator]),
    (emr.EmrServerlessStartJobOperator, [EmrJobRunOperator]),
    (emr.EmrContainerOperator, [EmrJobRunOperator]),
]


def arguments(operator):
    """The arguments of an operator's own classes."""
    classes = operator.mro()[: operator.mro().index(BaseOperator)]
    inits = [vars(one)["__init__"] for one in classes if "__init__" in vars(one)]
    return {name for init in inits for name in inspect.signature(init).parameters} - {"self", "kwargs"}


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"memory": "8GiB"}, {"memory": [8192]}),
        ({"memory": "2048"}, {"memory": [2048]}),
        ({"memory": [512, "1g"]}, {"memory": [512, 1024]}),
        ({"timeout": "2h"}, {"timeout": 7200}),
        ({"runnable_timeout": "15m"}, {"runnable_timeout": 900}),
        ({"vcpus": 2.0}, {"vcpus": 2}),
        ({"retry_on": "spot"}, {"retry_on": ["spot"]}),
        ({"ulimits": {"nofile": 1024}}, {"ulimits": [{"name": "nofile", "softLimit": 1024, "hardLimit": 1024}]}),
        ({"env": {"N": 5, "B": True}}, {"env": {"N": "5", "B": "true"}}),
        ({"command": ("run", "a b")}, {"command": ["run", "a b"]}),
        ({"command": "run '{{ ds }} x'"}, {"command": ["run", "{{ ds }} x"]}),
        ({"deadline": "1h30m"}, {"deadline": 5400}),
    ],
)
def test_values_have_the_syntax_of_the_file(given, taken):
    """Units, short forms and numbers."""
    operator = BatchArrayOperator(**BATCH | given)
    assert taken == {name: getattr(operator, name) for name in taken}


def test_every_field_of_the_model_is_a_documented_argument():
    """A new field requires no change of the operator."""
    described = dict(re.findall(r"^ {8}(\w+): (.*)$", BatchArrayOperator.__doc__, re.MULTILINE))
    assert set(Batch.model_fields) <= arguments(BatchArrayOperator) & set(
        inspect.signature(BatchArrayOperator).parameters
    )
    for name, field in Batch.model_fields.items():
        assert field.description
        assert field.description == described[name]
    assert arguments(BatchArrayOperator) - {"aws_conn_id", "region", "region_name"} <= set(described) | {
        "state",
        "job",
        "skip_if_succeeded",
        "deadline",
        "retries",
        "retry_delay",
        "retry_program_failures",
    }


def test_default_args_reach_options():
    """Like every Airflow argument."""
    with DAG("defaults", schedule=None, default_args={"memory": "1GiB", "image": "etl:2"}):
        operator = BatchArrayOperator(task_id="work", job_queue="q", command="run")
    assert ([1024], "etl:2") == (operator.memory, operator.image)


def test_output_of_another_task_is_checked_when_the_task_runs():
    """Other values are checked when the Dag is parsed."""
    with DAG("provided", schedule=None):
        from airflow.sdk import task

        @task
        def environment():
            return {"A": "1"}

        operator = BatchArrayOperator(**BATCH | {"env": environment()})
        assert {"environment"} == operator.upstream_task_ids
        with pytest.raises(AirflowFailException, match="gpus: must be at least 1"):
            BatchArrayOperator(**BATCH | {"task_id": "other", "env": environment(), "gpus": 0})


def fields_of_the_file(operator):
    """Arguments that are options in a pipeline file."""
    airflow = {"retries", "retry_delay", "queue", "worker_queue"}
    names = set(Job.model_fields) | (set(Batch.model_fields) if operator is BatchArrayOperator else set())
    return (arguments(operator) & names) - airflow


@pytest.mark.parametrize("operator", COMPLETE, ids=lambda operator: operator.__name__)
def test_another_task_can_provide_every_option(operator):
    """Text or not: the task runs after the other one, which also needs a template field for its output."""
    with DAG("edges", schedule=None):
        from airflow.sdk import task

        @task
        def value():
            return 1

        for number, name in enumerate(sorted(fields_of_the_file(operator))):
            made = operator(task_id=f"work{number}", **COMPLETE[operator] | {name: value()})
            assert len(made.upstream_task_ids) == 1, name


def test_output_of_another_task_is_resolved_and_checked_when_the_task_runs(aws, run_dag, work):
    """Numbers, sizes, durations and booleans; also in a mapped task. Each is checked as in a literal."""
    with DAG("resolved", schedule=None, default_args={"retry_delay": 0}) as dag:
        from airflow.sdk import task

        @task(multiple_outputs=True)
        def sizes():
            options = {"vcpus": 2, "memory": ["1GiB"], "attempts": 1, "timeout": "2m", "deadline": "1h"}
            return {**options, "runnable_timeout": "10m", "explicit_success": False, "skip_if_succeeded": "false"}

        found = sizes()
        given = {"job_queue": "default", "image": "busybox", "command": work.command("true")}
        names = ["vcpus", "memory", "attempts", "timeout", "runnable_timeout", "deadline", "explicit_success"]
        given |= {name: found[name] for name in names}
        BatchArrayOperator(task_id="work", **given)
        BatchArrayOperator.partial(task_id="mapped", **given).expand(array=[1])
        BatchArrayOperator(task_id="wrong", **given | {"skip_if_succeeded": found["skip_if_succeeded"]})
    finished = run_dag(dag)
    assert {"sizes": "success", "work": "success", "mapped.0": "success", "wrong": "failed"} == finished.tasks
    assert "skip_if_succeeded: expected true or false, not false" in finished.output
    for job in aws.client("batch").describe_jobs(jobs=[one["jobId"] for one in listed(aws)])["jobs"]:
        sizes = {one["type"]: one["value"] for one in job["container"]["resourceRequirements"]}
        assert ("2", "1024") == (sizes["VCPU"], sizes["MEMORY"])
        assert (1, 120) == (job["retryStrategy"]["attempts"], job["timeout"]["attemptDurationSeconds"])


def listed(aws):
    found = aws.client("batch").list_jobs(jobQueue="default", jobStatus="SUCCEEDED")["jobSummaryList"]
    assert len(found) == 2
    return found


def test_operators_and_sensors_are_exported_by_their_packages():
    """Where Airflow's providers have them; the same classes as in `airflow_batchemr`."""
    from airflow_batchemr import operators, sensors

    exported = {getattr(package, name) for package in (operators, sensors) for name in package.__all__}
    assert set(COMPLETE) == exported
    assert set(operators.__all__) <= set(dir(operators))
    with pytest.raises(AttributeError, match=r"airflow_batchemr.operators' has no attribute 'Nothing'"):
        operators.Nothing  # noqa: B018 - raises


@pytest.mark.parametrize("operator", COMPLETE, ids=lambda operator: operator.__name__)
def test_every_operator_is_exported_and_can_be_serialized(operator):
    """Airflow stores Dags in its database."""
    assert operator.__name__ in airflow_batchemr.__all__
    with DAG("serialized", schedule=None) as dag:
        operator(task_id="work", **COMPLETE[operator])
    read = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert operator.__name__ == read.get_task("work").task_type


@pytest.mark.parametrize("operator", COMPLETE, ids=lambda operator: operator.__name__)
def test_region_name_is_the_region(operator):
    """The amazon provider's name."""
    assert "eu-west-1" == operator(task_id="work", **COMPLETE[operator], region_name="eu-west-1").region


def test_the_providers_names_of_queue_and_definition_are_accepted():
    """`job_queue`, and `job_definition` as a name; as a mapping, it contains fields of RegisterJobDefinition."""
    given = {"task_id": "work", "command": "run", "job_queue": "etl"}
    options = BatchArrayOperator(**given, job_definition="etl:3").options()
    assert ("etl", "etl:3", {}) == (options.queue, options.registered_definition, options.job_definition)
    raw = {"containerProperties": {"image": "etl"}}
    assert raw == BatchArrayOperator(**given, job_definition=raw).options().job_definition


@pytest.mark.parametrize(("theirs", "ours"), PROVIDER, ids=lambda one: getattr(one, "__name__", ""))
def test_every_other_argument_of_the_provider_is_rejected(theirs, ours):
    """The message names the replacement."""
    for operator in ours:
        for name in arguments(theirs) - arguments(operator):
            with pytest.raises(TypeError, match=re.escape(f"{operator.__name__} does not take {name} (")):
                operator(task_id="work", **COMPLETE[operator], **{name: None})
            with pytest.raises(TypeError, match=re.escape(f"{operator.__name__} does not take {name} (")):
                operator(task_id="work", **{name: None})  # although a required argument is missing
            with pytest.raises(TypeError, match=re.escape(f"{operator.__name__} does not take {name} (")):
                operator.partial(task_id="work", **{name: None})


def test_accepted_arguments_are_not_listed_as_replaced():
    """Except `tags`, which only the Batch operator accepts."""
    assert {"tags"} == {name for operator in COMPLETE for name in arguments(operator)} & set(REPLACED)


@pytest.mark.parametrize(
    ("operator", "given", "message"),
    [
        (BatchArrayOperator, {"skip_if_succeeded": "false"}, "skip_if_succeeded: expected true or false, not false"),
        (BatchArrayOperator, {"explicit_success": "no"}, "explicit_success: expected true or false, not no"),
        (BatchArrayOperator, {"array": "abc"}, "array: expected a number of indices"),
        (BatchArrayOperator, {"index_of": 5}, "index_of: expected text, not 5"),
        (BatchArrayOperator, {"cluster": 5}, "cluster: expected text, not 5"),
        (BatchArrayOperator, {"job": 5}, "job: expected text, not 5"),
        (BatchArrayOperator, {"state": 5}, "state: expected text, not 5"),
        (BatchArrayOperator, {"state": "/tmp/x"}, "state URI '/tmp/x': it must start with s3://"),
        (EphemeralEmrOperator, {"resume_steps": "false"}, "resume_steps: expected true or false, not false"),
        (EmrStepsOperator, {"cluster_id": None}, "exactly one of cluster, cluster_id and cluster_name is needed"),
        (EmrStepsOperator, {"cluster": "a"}, "exactly one of cluster, cluster_id and cluster_name is needed"),
        (EmrStepsOperator, {"cluster_id": 5}, "cluster_id: expected text, not 5"),
        (EmrTerminateClusterOperator, {"job": 5}, "job: expected text, not 5"),
    ],
)  # fmt: skip
def test_an_argument_of_a_wrong_type_fails_when_the_dag_is_parsed(operator, given, message):
    """Not only when the task runs, and never because a text such as `false` is true in Python."""
    with pytest.raises(AirflowFailException) as raised:
        operator(task_id="work", **COMPLETE[operator] | given)
    assert str(raised.value).startswith(message)


def test_a_template_is_checked_when_the_task_runs():
    """An array size, and which of several clusters is named, may depend on the run."""
    BatchArrayOperator(**BATCH, array="{{ params.n }}", state="{{ params.state }}")
    EmrStepsOperator(task_id="x", steps=["run"], cluster="{{ params.a }}", cluster_id="{{ params.b }}")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EphemeralEmrOperator(task_id="x", steps=["run"], cluster={**CLUSTER, "idle": 1}), "cluster.idle: "),
        (
            lambda: EmrStepsOperator(task_id="x", steps=[{"spark": {}}], cluster_id="j"),
            "steps[0].spark: `py: s3://…` or `jar: s3://…` is required",
        ),
        (
            lambda: EmrStepsOperator(task_id="x", steps=["run 'x"], cluster_id="j"),
            "steps[0].command: the command cannot",
        ),
        (
            lambda: EmrCreateClusterOperator(task_id="x", cluster={"cluster_id": "j-3H6EATEXAMPLE"}),
            "cluster: it names an existing",
        ),
        (
            lambda: EmrJobRunOperator(task_id="x", spark={}, on=SERVERLESS),
            "spark: `py: s3://…` or `jar: s3://…` is required",
        ),
        (
            lambda: EmrJobRunOperator(task_id="x", spark={"py": "s3://x"}, on="emr_eks"),
            "on: `emr_eks` requires parameters",
        ),
    ],
)
def test_an_invalid_option_of_an_emr_operator_fails_when_the_dag_is_parsed(make, message):
    """With its path and the message of the pipeline file."""
    with pytest.raises(AirflowFailException) as raised:
        make()
    assert str(raised.value).startswith(message)
