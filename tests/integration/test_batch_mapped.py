"""`BatchArrayOperator.partial(...).expand(...)`: each map index is a separate job in the ledger."""

from __future__ import annotations

import inspect
from collections import Counter

import pytest
from airflow.sdk import DAG, BaseOperator, TaskGroup, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_batchemr import (
    BatchArrayOperator,
    EmrCreateClusterOperator,
    EmrJobRunOperator,
    EmrStepsOperator,
    EmrTerminateClusterOperator,
    EphemeralEmrOperator,
    S3MarkerSensor,
)
from airflow_batchemr.operators.retries import RetryingOperator
from tests.integration.emr_steps import CLUSTER

OPERATORS = [
    BatchArrayOperator,
    EmrCreateClusterOperator,
    EmrJobRunOperator,
    EmrStepsOperator,
    EmrTerminateClusterOperator,
    EphemeralEmrOperator,
    S3MarkerSensor,
]


def mapped_dag(dag_id, work, script="true", **arguments):
    with DAG(dag_id, schedule=None) as dag:
        BatchArrayOperator.partial(task_id="work", job_queue="default", image="busybox", **arguments).expand(
            command=[work.command(f"who={who}; echo $who >> who.txt; {script}") for who in ("a", "b", "c")]
        )
    return dag


def names(work):
    return Counter((work.folder / "who.txt").read_text().split())


def test_each_map_index_runs_its_own_job(aws, run_dag, work):
    """Three jobs with different names in the ledger. Each runs once, also in a second run of the date."""
    dag = mapped_dag("mapped", work, array=2)
    finished = run_dag(dag)
    assert {f"work.{index}": "success" for index in range(3)} == finished.tasks
    assert Counter({"a": 2, "b": 2, "c": 2}) == names(work)
    listed = aws.client("s3").list_objects_v2(Bucket="state", Prefix=f"{work.folder.parent.name}/mapped/")["Contents"]
    jobs = {one["Key"].split("/")[3] for one in listed} - {"_files"}
    assert {"work.0", "work.1", "work.2"} == jobs
    aws.reset_requests()
    assert {f"work.{index}": "success" for index in range(3)} == run_dag(dag).tasks
    assert 0 == aws.requests()["SubmitJob"]


def test_only_the_failed_map_index_runs_again(aws, run_dag, work):
    """The others have markers."""
    dag = mapped_dag("mapped_once", work, "[ $who != b ] || [ -e fixed ]")
    failed = run_dag(dag)
    assert {"work.0": "success", "work.1": "failed", "work.2": "success"} == failed.tasks
    (work.folder / "fixed").touch()
    assert {f"work.{index}": "success" for index in range(3)} == run_dag(dag).tasks
    assert Counter({"a": 1, "b": 2, "c": 1}) == names(work)


def expanded(dag_id, work, partial, **expand):
    with DAG(dag_id, schedule=None) as dag:
        partial = {"image": "busybox", "command": work.command("true"), **partial}
        BatchArrayOperator.partial(task_id="work", **partial).expand(**expand)
    return dag


def submitted(aws, dag_id):
    """Descriptions of a Dag's jobs, in the order of their names."""
    queues = aws.client("batch").describe_job_queues()["jobQueues"]
    names = [
        one["jobId"]
        for queue in queues
        for status in ("SUCCEEDED", "FAILED")
        for one in aws.client("batch").list_jobs(jobQueue=queue["jobQueueName"], jobStatus=status)["jobSummaryList"]
    ]
    jobs = aws.client("batch").describe_jobs(jobs=names)["jobs"] if names else []
    return sorted(
        (job for job in jobs if job["tags"].get("batchemr:dag_id") == dag_id),
        key=lambda job: job["tags"]["batchemr:job"],
    )


def test_mapped_options_have_the_syntax_of_the_file(aws, run_dag, work):
    """Units, short forms and text commands work in `expand` as well."""
    dag = expanded("mapped_values", work, {"queue": "default"}, memory=["1GiB", [512, "2GiB"]])
    assert {"work.0": "success", "work.1": "success"} == run_dag(dag).tasks
    sizes = [
        [one["value"] for one in job["container"]["resourceRequirements"] if one["type"] == "MEMORY"]
        for job in submitted(aws, "mapped_values")
    ]
    assert [["1024"], ["512"]] == sizes


@pytest.mark.parametrize(
    ("partial", "worker_queue"),
    [
        ({"queue": "default"}, "default"),
        ({"job_queue": "default"}, "default"),
        ({"job_queue": "default", "queue": "workers"}, "workers"),
        ({"queue": "default", "worker_queue": "workers"}, "workers"),
        ({"job_queue": "default", "worker_queue": "workers"}, "workers"),
    ],
)
def test_the_batch_queue_is_not_used_as_worker_queue(aws, run_dag, work, partial, worker_queue):
    """A task in a worker queue with the name of a Batch queue would stay queued."""
    dag = expanded("mapped_queues", work, partial, array=[1, 2])
    assert worker_queue == dag.get_task("work").queue
    assert {"work.0": "success", "work.1": "success"} == run_dag(dag).tasks


def test_queue_in_default_args_is_the_worker_queue(aws, run_dag, work):
    """As for every other operator."""
    with DAG("mapped_defaults", schedule=None, default_args={"queue": "workers"}) as dag:
        given = {"image": "busybox", "job_queue": "default", "command": work.command("true")}
        BatchArrayOperator(task_id="alone", **given)
        BatchArrayOperator.partial(task_id="work", **given).expand(array=[1])
    assert ["workers", "workers"] == [dag.get_task(name).queue for name in ("alone", "work")]
    assert {"alone": "success", "work.0": "success"} == run_dag(dag).tasks


def test_a_queue_in_default_args_without_a_job_queue_is_the_batch_queue(aws, run_dag, work):
    """Mapped or not, as with the argument `queue`; Airflow's queue is the default one."""
    with DAG("mapped_default_queue", schedule=None, default_args={"queue": "default"}) as dag:
        given = {"image": "busybox", "command": work.command("true")}
        BatchArrayOperator(task_id="alone", **given)
        BatchArrayOperator.partial(task_id="work", **given).expand(array=[1])
        BatchArrayOperator.partial(task_id="kwargs", **given).expand_kwargs([{"array": 1}, {"job_queue": "default"}])
    with DAG("mapped_other_queue", schedule=None, default_args={"queue": "q"}):
        plain = BatchArrayOperator(task_id="alone", **given)
        mapped = BatchArrayOperator.partial(task_id="work", **given).expand(array=[1])
    assert ("q", "default") == (plain.job_queue, plain.queue)
    assert ("q", "default") == (mapped.unmap({"array": 1}).job_queue, mapped.queue)
    assert {"alone": "success", "work.0": "success", "kwargs.0": "success", "kwargs.1": "success"} == run_dag(dag).tasks


@pytest.mark.parametrize("level", ["dag", "group", "task"])
def test_default_args_are_the_same_for_mapped_tasks(level):
    """Those of the Dag, of the task group and of the task itself. A mapped argument takes precedence."""
    defaults = {
        "memory": "2GiB",
        "vcpus": 2,
        "retry_program_failures": True,
        "deadline": "1h",
        "region_name": "us-east-2",
    }
    levels = {one: {"default_args": defaults} if one == level else {} for one in ("dag", "group", "task")}
    given = {"image": "busybox", "command": "true", "job_queue": "q", **levels["task"]}
    with DAG("defaults", schedule=None, **levels["dag"]), TaskGroup("group", **levels["group"]):
        plain = BatchArrayOperator(task_id="alone", **given)
        mapped = BatchArrayOperator.partial(task_id="work", **given).expand(vcpus=[1, 4])
    task = mapped.unmap({"vcpus": 4})
    names = ["memory", "retry_program_failures", "deadline", "region", "queue", "job_queue", "retries"]
    assert [getattr(plain, name) for name in names] == [getattr(task, name) for name in names]
    assert ([2048], 3600, "us-east-2") == (task.memory, task.deadline, task.region)
    assert (2, 4) == (plain.vcpus, task.vcpus)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EmrStepsOperator.partial(task_id="x", steps=[{"foo": 1}]).expand(cluster_id=["j"]),
         AirflowFailException, r"^steps\[0\].foo: unknown key"),
        (lambda: EmrStepsOperator.partial(task_id="x", steps=["a"]).expand_kwargs([{"on_failure": "continue"}]),
         AirflowFailException, "^exactly one of cluster, cluster_id and cluster_name is needed, not none"),
        (lambda: EmrStepsOperator.partial(task_id="x", resume_steps="no", cluster_id="j").expand(steps=[["a"]]),
         AirflowFailException, "^resume_steps: expected true or false"),
        (lambda: EmrStepsOperator.partial(task_id="x").expand(steps=[["a"]]),
         AirflowFailException, "^exactly one of cluster, cluster_id and cluster_name is needed, not none"),
        (lambda: EmrStepsOperator.partial(task_id="x", steps=["a"]).expand(job_flow_id=["j"]),
         TypeError, r"EmrStepsOperator does not take job_flow_id \(give cluster_id="),
        (lambda: BatchArrayOperator.partial(task_id="x", queue="q", image="a").expand(container_overrides=[{}]),
         TypeError, r"BatchArrayOperator does not take container_overrides \(give command="),
        (lambda: BatchArrayOperator.partial(task_id="x", queue="q").expand_kwargs([{"container_overrides": {}}]),
         TypeError, r"BatchArrayOperator does not take container_overrides \(give command="),
        (lambda: EmrTerminateClusterOperator.partial(task_id="x").expand(job_flow_id=["j"]),
         TypeError, r"EmrTerminateClusterOperator does not take job_flow_id \(give cluster="),
    ],
)  # fmt: skip
def test_arguments_of_a_mapped_task_are_checked_when_the_dag_is_parsed(make, error, message):
    """As without mapping, except for the values that are mapped."""
    with DAG("mapped_checks", schedule=None), pytest.raises(error, match=message):
        make()


def test_job_queues_are_mapped(aws, run_dag, work):
    """As `job_queue`, because `queue` is Airflow's argument here."""
    dag = expanded("mapped_job_queues", work, {}, job_queue=["default", "default"])
    assert {"work.0": "success", "work.1": "success"} == run_dag(dag).tasks
    with pytest.raises(TypeError, match=r"give job_queue=\[…\]"):
        expanded("mapped_queue", work, {}, queue=["default"])


def test_a_wrong_option_of_partial_fails_when_the_dag_is_parsed(work):
    """Not only when the task runs."""
    with pytest.raises(AirflowFailException, match="gpus: must be at least 1, not -1"):
        expanded("mapped_wrong", work, {"queue": "default", "gpus": -1}, array=[1])
    with pytest.raises(TypeError, match=r"does not take container_overrides \(give command="):
        expanded("mapped_wrong", work, {"queue": "default", "container_overrides": {}}, array=[1])


def test_a_wrong_option_of_expand_fails_its_map_index_without_a_retry(aws, run_dag, work):
    """The other map indices run."""
    dag = expanded("mapped_bad", work, {"queue": "default", "retries": 3, "retry_delay": 0}, memory=["1GiB", "8GB"])
    finished = run_dag(dag)
    assert {"work.0": "success", "work.1": "failed"} == finished.tasks
    assert "memory[0]: 8GB is 7629.4 MiB" in finished.output
    assert 1 == aws.requests()["SubmitJob"]


def test_a_mapped_definition_can_have_the_providers_name(aws, run_dag, work):
    """`job_definition` as text."""
    requirements = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}]
    properties = {"image": "busybox", "resourceRequirements": requirements}
    aws.client("batch").register_job_definition(
        jobDefinitionName="etl", type="container", containerProperties=properties
    )
    dag = expanded("mapped_definition", work, {"queue": "default", "image": None}, job_definition=["etl", "etl:1"])
    assert {"work.0": "success", "work.1": "success"} == run_dag(dag).tasks


SECRET = {"secret": "S3CRET"}
#: What an upstream task read somewhere: data that is also a template.
DATA = "{{ params.secret }}"


def output(values):
    """The output of a task that returns one value per map index."""

    @task
    def rows():
        return values

    return rows()


@pytest.mark.parametrize(
    "made",
    [
        lambda line, script: {"command": ["sh", "-c", script, "-", line]},
        lambda line, script: {"command": f"sh -c '{script}' - '{line}'"},
        lambda line, script: {"command": ["sh", "-c", script.replace("$1", "$DATA")], "env": {"DATA": line}},
    ],
    ids=["list", "text", "env"],
)
def test_output_of_another_task_is_not_rendered(aws, run_dag, work, made):
    """Only what the Dag's author wrote is a template: otherwise, data could read the run's secrets."""
    given = made(DATA, f'echo "$1" > {work.folder}/data.txt')
    name = list(given)[-1]
    with DAG("mapped_data", schedule=None, params=SECRET) as dag:
        partial = {"image": "busybox", "job_queue": "default", **given}
        values = output([partial.pop(name)])
        BatchArrayOperator.partial(task_id="work", **partial).expand(**{name: values})
    assert "success" == run_dag(dag).state
    assert DATA == (work.folder / "data.txt").read_text().strip()


def test_templates_of_the_author_are_rendered(aws, run_dag, work):
    """In `partial`, and in values that are written into `expand`."""
    command = ["sh", "-c", f'echo "$1 $DATA" > {work.folder}/data.txt', "-", DATA]
    with DAG("mapped_templates", schedule=None, params=SECRET) as dag:
        BatchArrayOperator.partial(
            task_id="work", image="busybox", job_queue="default", env={"DATA": "of {{ ds }}"}
        ).expand(command=[command])
    assert "success" == run_dag(dag).state
    assert "S3CRET of 2026-11-20" == (work.folder / "data.txt").read_text().strip()


def test_steps_from_another_task_are_not_rendered(aws, run_dag, work):
    """On EMR too: neither their arguments nor `env`."""
    script = f'echo "$1" >> {work.folder}/data.txt'
    steps = [{"name": "a", "command": ["sh", "-c", script, "-", DATA]}, f"sh -c '{script}' - '{DATA}'"]
    with DAG("mapped_steps", schedule=None, params=SECRET) as dag:
        EphemeralEmrOperator.partial(task_id="work", cluster=CLUSTER).expand(steps=output([steps]))
    assert "success" == run_dag(dag).state
    assert [DATA, DATA] == (work.folder / "data.txt").read_text().splitlines()


@pytest.mark.parametrize(
    ("operator", "more"),
    [
        (EphemeralEmrOperator, {"cluster": CLUSTER, "steps": ["true"]}),
        (
            EmrJobRunOperator,
            {
                "spark": {"py": "s3://code/a.py"},
                "on": {"emr_serverless": {"application": "a", "role": "arn:aws:iam::123456789012:role/r"}},
            },
        ),
    ],
)
def test_env_from_another_task_is_not_rendered(operator, more):
    """The operator stores a checked copy, which Airflow does not recognize as the output of a task."""
    env = {"DATA": DATA}
    with DAG("mapped_env", schedule=None):
        made = operator(task_id="work", env=env, state="{{ params.secret }}", **more)
    made._do_render_template_fields(
        made, operator.template_fields, {"params": SECRET}, made.get_template_env(), {id(env)}
    )
    assert {"DATA": DATA} == made.env
    assert "S3CRET" == made.state


def own_classes(operator):
    """The classes of this package whose arguments an operator accepts."""
    return [one for one in operator.mro()[: operator.mro().index(BaseOperator)] if one is not RetryingOperator]


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
def test_no_other_argument_has_the_name_of_an_airflow_argument(operator):
    """Airflow passes its own arguments of `partial` to the scheduler, so a shared name would be ambiguous.

    `RetryingOperator` accepts `retries` and `retry_delay`, and overrides `partial` for them.
    """
    airflow = set(inspect.signature(BaseOperator.__init__).parameters) - {"self", "kwargs"}
    classes = own_classes(operator)
    ours = {
        name for one in classes if "__init__" in vars(one) for name in inspect.signature(one.__init__).parameters
    } - {"self", "kwargs"}
    assert ({"queue"} if operator is BatchArrayOperator else set()) == ours & airflow


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
def test_no_argument_hides_an_attribute_of_airflow(operator):
    """Each argument becomes an attribute of the operator."""
    classes = own_classes(operator)
    ours = {name for one in classes if "__init__" in vars(one) for name in inspect.signature(one.__init__).parameters}
    assert {"queue"} >= {name for name in ours if hasattr(BaseOperator, name)} - {"self"}
