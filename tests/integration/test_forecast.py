"""The requests in `batchemr plan` are exactly those that a run records before its calls."""

from __future__ import annotations

import json

import boto3
import pytest
from typer.testing import CliRunner

from airflow_batchemr import build_dags
from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.cli.plan import app
from airflow_batchemr.dags.plan import plan_dag
from airflow_batchemr.forecast import pipeline as planning
from airflow_batchemr.ledger import Ledger
from airflow_batchemr.pipeline_file import load_file
from tests.integration.test_batch_kinds import KINDS
from tests.integration.test_emr_job_runs import EKS, SERVERLESS, SPARK

CLUSTER = {"type": "m5.xlarge", "instances": 2, "log_uri": "s3://state/logs"}
READS = ("Describe", "List", "Get", "Head")


@pytest.fixture
def file(tmp_path):
    """`file(jobs, **pipeline)` creates a pipeline file; JSON is valid YAML."""

    def write(jobs, **pipeline):
        path = tmp_path / "p.yaml"
        path.write_text(json.dumps({"pipeline": {**pipeline, "jobs": jobs}}))
        return path

    return write


@pytest.fixture
def forecast(aws):
    """`forecast(path)` returns what each task would do, by task id, and asserts that AWS was not changed."""

    def of(path):
        aws.reset_requests()
        result = CliRunner().invoke(app, [str(path), "--date", "2026-11-20", "--json"])
        assert result.exit_code == 0, result.output
        assert all(name.startswith(READS) for name in aws.requests()), aws.requests()
        return {one["task_id"]: one for one in json.loads(result.stdout)["jobs"]}

    return of


@pytest.fixture
def recorded(state):
    """`recorded(job, number)` returns the requests in the intent of a submission."""

    def of(job, number=1):
        history = Ledger(boto3.client("s3"), state).job("pipeline", "2026-11-20T000000Z", job).history()
        (submission,) = [one for one in history.submissions if one.number == number]
        return [request.request for request in submission.intent.requests]

    return of


@pytest.fixture
def numbers(state):
    """`numbers(job)` returns the numbers of its submissions."""
    ledger = Ledger(boto3.client("s3"), state)
    return lambda job: ledger.job("pipeline", "2026-11-20T000000Z", job).history().numbers


def calls(planned, call):
    return [one["request"] for one in planned["requests"] if one["call"] == call]


def run(run_dag, path):
    (dag,) = build_dags(path)
    return run_dag(dag)


def batch(command, **options):
    return {"image": "a:1", "queue": "default", "command": command, **options}


def test_arrays_are_submitted_as_forecast(aws, run_dag, file, forecast, recorded, numbers, work):
    """The first submission, those after a failure and after an out-of-memory error; nothing after success."""
    script = "[ -e fixed ] || case $i in 1) exit 137;; 3) exit 1;; esac"
    job = {"array": {"size": 5, "markers": "in_job"}, "explicit_success": False, "env": {"A": "b"}}
    path = file({"work": {**job, "batch": batch(work.command(script), memory=[512, 1024])}})
    first = forecast(path)["work"]
    assert ("run", "0-4", 5) == (first["does"], first["indices"], first["of"])
    (register,) = calls(first, "RegisterJobDefinition")
    run(run_dag, path)
    planned = calls(first, "SubmitJob")
    assert [{**one, "jobDefinition": register["jobDefinitionName"]} for one in recorded("work")] == planned
    last = max(numbers("work"))
    (work.folder / "fixed").touch()
    again = forecast(path)["work"]
    assert "resume" == again["does"]
    assert [] == calls(again, "RegisterJobDefinition")
    assert "success" == run(run_dag, path).state
    assert calls(again, "SubmitJob") == [
        request for number in numbers("work") if number > last for request in recorded("work", number)
    ]
    done = forecast(path)["work"]
    assert ("skip", []) == (done["does"], done["requests"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("exists", [True, False], ids=["registered before", "registered by the run"])
def test_any_kind_of_definition_is_submitted_as_forecast(aws, run_dag, file, forecast, recorded, work, kind, exists):
    """EKS and ECS definitions have other overrides; a multi-node job may have a command."""
    options = {"queue": "default", "command": work.command("true"), "env": {"A": "b"}, "memory": 300}
    if exists:
        content = {"type": "container", **KINDS[kind]}
        aws.client("batch").register_job_definition(jobDefinitionName="theirs", **content)
        options["definition"] = "theirs"
    else:
        options["job_definition"] = KINDS[kind]
    path = file({"work": {"batch": options}})
    planned = forecast(path)["work"]
    assert "success" == run(run_dag, path).state
    (submitted,), (planned_request,) = recorded("work"), calls(planned, "SubmitJob")
    if not exists:
        planned_request["jobDefinition"] = submitted["jobDefinition"]
    assert submitted == planned_request
    field = {"ecs": "ecsPropertiesOverride", "eks": "eksPropertiesOverride", "nodes": "nodeOverrides"}
    assert field.get(kind, "containerOverrides") in submitted


def test_steps_with_copies_and_concurrency_are_submitted_as_forecast(aws, run_dag, file, forecast, recorded, work):
    """Copies before and after are barriers: the cluster starts with only the first copy."""
    aws.client("s3").create_bucket(Bucket="data")
    aws.client("s3").put_object(Bucket="data", Key="in/a", Body=b"a")
    path = file({"work": {
        "emr": {**CLUSTER, "step_concurrency": 4},
        "load": [{"source": "s3://data/in/", "destination": "hdfs:///in"}],
        "steps": [["true"], ["true"]],
        "save": [{"source": "hdfs:///in", "destination": "s3://data/out/"}],
    }})  # fmt: skip
    planned = forecast(path)["work"]
    assert ("run", "0-3", 4) == (planned["does"], planned["indices"], planned["of"])
    (planned_request,) = calls(planned, "RunJobFlow")
    assert 1 == len(planned_request["Steps"])
    assert "3 more follow, each when the steps before it have completed" == planned["requests"][0]["note"]
    run(run_dag, path)
    assert [planned_request] == recorded("work")


def test_a_shared_cluster_is_started_and_used_as_forecast(aws, run_dag, file, forecast, recorded, work):
    """The id of the cluster is not known before its start."""
    steps = [work.command("true"), work.command("true")]
    path = file({"work": {"emr": {"cluster": "spark"}, "steps": steps}}, clusters={"spark": CLUSTER})
    planned = forecast(path)
    ids = ["spark.create_cluster", "work", "spark.terminate_cluster"]
    assert ["cluster", "run", "terminate"] == [planned[one]["does"] for one in ids]
    assert "success" == run(run_dag, path).state
    assert calls(planned["spark.create_cluster"], "RunJobFlow") == recorded("spark.cluster")
    (added,) = calls(planned["work"], "AddJobFlowSteps")
    assert "(the cluster's id)" == added["JobFlowId"]
    assert [{**one, "JobFlowId": added["JobFlowId"]} for one in recorded("work")] == [added]
    again = forecast(path)
    assert ["no cluster", "skip", "terminate"] == [again[one]["does"] for one in ids]


def test_steps_run_with_their_role_as_forecast(aws, run_dag, file, forecast, recorded, work):
    """On the job's own cluster with its start, on another one when they are added."""
    role = {"execution_role": "arn:aws:iam::123456789012:role/Steps"}
    path = file(
        {
            "own": {"emr": CLUSTER, "steps": [work.command("true")], **role},
            "shared": {"emr": {"cluster": "spark"}, "steps": [work.command("true")], **role},
        },
        clusters={"spark": CLUSTER},
    )
    planned = forecast(path)
    (own,), (added,) = calls(planned["own"], "RunJobFlow"), calls(planned["shared"], "AddJobFlowSteps")
    assert [role["execution_role"]] * 2 == [own["StepExecutionRoleArn"], added["ExecutionRoleArn"]]
    assert "success" == run(run_dag, path).state
    assert [own] == recorded("own")
    assert [{**one, "JobFlowId": added["JobFlowId"]} for one in recorded("shared")] == [added]


def test_a_job_that_follows_another_index_by_index_depends_on_it_in_the_forecast(
    aws, run_dag, file, forecast, recorded, work
):
    """The first job has no id before the run."""
    command = work.command("true")
    path = file({
        "first": {"array": 3, "batch": batch(command)},
        "second": {"array": 3, "after": {"first": "index"}, "batch": batch(command)},
    })  # fmt: skip
    second = forecast(path)["second"]
    (planned,) = calls(second, "SubmitJob")
    assert [{"jobId": "(the job of first)", "type": "N_TO_N"}] == planned.pop("dependsOn")
    assert "each index runs after that of first, which has not been submitted yet" in second["note"]
    assert "success" == run(run_dag, path).state
    (submitted,) = recorded("second")
    submitted.pop("dependsOn", None)  # absent if the first job has succeeded by then
    assert {**planned, "jobDefinition": submitted["jobDefinition"]} == submitted


@pytest.mark.parametrize("on", [SERVERLESS, EKS], ids=["serverless", "eks"])
def test_a_job_run_is_started_as_forecast(aws, run_dag, file, forecast, recorded, on):
    """The program does not exist: what is compared is the request."""
    path = file({"work": {"on": on, "spark": SPARK, "env": {"A": "b"}, "retries": 0}})
    (planned,) = calls(forecast(path)["work"], "StartJobRun")
    run(run_dag, path)
    assert [planned] == recorded("work")


def test_a_missing_queue_is_reported(aws, file, work):
    """As in the run."""
    path = file({"work": {"batch": batch(["true"], queue="nowhere")}})
    result = CliRunner().invoke(app, [str(path), "--date", "2026-11-20", "--json"])
    (planned,) = json.loads(result.stdout)["jobs"]
    assert (1, "refused") == (result.exit_code, planned["does"])
    assert "no job queue 'nowhere'" in planned["note"]


def test_ended_work_without_a_record_is_forecast_from_aws(aws, run_dag, file, forecast, recorded, work, state):
    """It is running according to the ledger. The forecast asks AWS, and records nothing."""
    path = file({"work": {"batch": batch(work.command("true"))}})
    run(run_dag, path)
    s3, prefix = aws.client("s3"), f"{state.removeprefix('s3://state/')}/pipeline/2026-11-20T000000Z/work/"
    for name in ("submissions/0001/result.json", "success.json"):
        s3.delete_object(Bucket="state", Key=prefix + name)
    planned = forecast(path)["work"]
    assert ("skip", "all of it is done; only the marker is missing") == (planned["does"], planned["note"])
    keys = [one["Key"].removeprefix(prefix) for one in s3.list_objects_v2(Bucket="state", Prefix=prefix)["Contents"]]
    assert {"submissions/0001/handle.json", "submissions/0001/intent.json"} == set(keys)


def test_each_job_is_planned_in_its_own_region(aws, file, forecast, monkeypatch):
    """As it runs: including the cluster of a job. `--region` overrides all of them."""
    made = []

    def clients(*, region, **options):
        made.append(region)
        return boto3_clients(region=region, **options)

    monkeypatch.setattr(planning, "boto3_clients", clients)
    here = {"batch": batch("true")}
    there = {"batch": batch("true"), "emr": {"type": "m5.xlarge", "log_uri": "s3://state/l"}, "region": "eu-west-1"}
    path = file({"here": here, "there": there}, region="us-east-1")
    assert {"here", "there", "there.create_cluster"} < set(forecast(path))
    assert ["us-east-1", "eu-west-1"] == made
    tasks = {task.task_id: task.kwargs for task in plan_dag(load_file(path).pipelines["pipeline"]).tasks}
    of_cluster = [tasks[f"there.{name}"]["region"] for name in ("create_cluster", "terminate_cluster")]
    assert ["eu-west-1", "eu-west-1"] == of_cluster

    made.clear()
    CliRunner().invoke(app, [str(path), "--date", "2026-11-20", "--region", "us-west-2"])
    assert {"us-west-2"} == set(made)
