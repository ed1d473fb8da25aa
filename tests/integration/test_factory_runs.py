"""Pipelines from files, run by Airflow against the local AWS."""

from __future__ import annotations

import json
import textwrap

import pytest
from typer.testing import CliRunner

CLUSTER = "{type: m5.xlarge, instances: 2, log_uri: s3://state/logs}"


@pytest.fixture
def file(tmp_path):
    """`file(text)` creates a pipeline file with this text."""

    def write(text):
        path = tmp_path / "p.yaml"
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def only_dag(file):
    """`only_dag(text)` returns the Dag of a file with one pipeline."""
    from airflow_batchemr import build_dags

    return lambda text: build_dags(file(text))[0]


def plan(path, *more):
    """Jobs in the output of `batchemr plan --json` for the only pipeline of a file, by name."""
    from airflow_batchemr.cli.plan import app

    result = CliRunner().invoke(app, [str(path), "--date", "2026-11-20", "--json", *more])
    assert result.exit_code == 0, result.output
    return {job["task_id"]: job for job in json.loads(result.stdout)["jobs"]}


def intents(state, dag_id, job):
    """The recorded requests of a job's submissions."""
    import boto3

    from airflow_batchemr.ledger import Ledger

    history = Ledger(boto3.client("s3"), state).job(dag_id, "2026-11-20T000000Z", job).history()
    return [[request.request for request in submission.intent.requests] for submission in history.submissions]


def test_a_batch_job_runs_with_its_own_cluster(aws, run_dag, only_dag, work):
    """It gets the id of the cluster, which is terminated afterwards. A second run starts no cluster."""
    command = json.dumps(work.command('echo "$EMR_CLUSTER_ID" > cluster; [ -n "$EMR_MASTER" ]'))
    dag = only_dag(f"beside: {{emr: {CLUSTER}, batch: {{image: 'a:1', queue: default, command: {command}}}}}")
    finished = run_dag(dag)
    assert finished.tasks == {
        "beside.create_cluster": "success",
        "beside": "success",
        "beside.terminate_cluster.after_finished": "success",
        "beside.terminate_cluster": "success",
    }
    (cluster,) = aws.client("emr").list_clusters()["Clusters"]
    assert (work.folder / "cluster").read_text().strip() == cluster["Id"]
    assert cluster["Status"]["State"] in {"TERMINATING", "TERMINATED"}
    aws.reset_requests()
    assert run_dag(dag, again=True).state == "success"
    assert aws.requests()["RunJobFlow"] == aws.requests()["SubmitJob"] == 0


def test_a_cluster_is_terminated_when_its_job_fails(aws, run_dag, only_dag, work):
    """The teardown always runs; the downstream job does not."""
    dag = only_dag(f"""
        torn:
          jobs:
            work:
              emr: {CLUSTER}
              batch: {{image: 'a:1', queue: default, command: {json.dumps(work.command("exit 3"))}}}
            after: {{after: work, batch: {{image: 'a:1', queue: default, command: {json.dumps(work.command("true"))}}}}}
    """)
    finished = run_dag(dag)
    assert finished.state == "failed"
    assert finished.tasks == {
        "work.create_cluster": "success",
        "work": "failed",
        "work.terminate_cluster.after_finished": "success",
        "work.terminate_cluster": "success",
        "after": "upstream_failed",
    }


def test_jobs_share_a_cluster(aws, run_dag, only_dag, work):
    """There is one cluster for all of them, and none if all of them have markers."""
    step = json.dumps([*work.command("true")])
    dag = only_dag(f"""
        shared:
          clusters: {{spark: {CLUSTER}}}
          jobs:
            a: {{emr: {{cluster: spark}}, steps: [{step}]}}
            b: {{after: a, emr: {{cluster: spark}}, steps: [{step}]}}
    """)
    assert run_dag(dag).state == "success"
    assert aws.requests()["RunJobFlow"] == 1
    assert len(work.log.read_text().splitlines()) == 2
    aws.reset_requests()
    assert run_dag(dag, again=True).state == "success"
    assert aws.requests()["RunJobFlow"] == aws.requests()["AddJobFlowSteps"] == 0


def test_jobs_named_in_rerun_run_although_they_have_succeeded(aws, run_dag, only_dag, work):
    """The others keep their markers."""
    dag = only_dag(f"""
        rerun:
          jobs:
            a: {{batch: {{image: 'a:1', queue: default, command: {json.dumps(work.command("echo a >> ../a"))}}}}}
            b:
              after: a
              batch: {{image: 'a:1', queue: default, command: {json.dumps(work.command("echo b >> ../b"))}}}
    """)
    assert run_dag(dag).state == "success"
    assert run_dag(dag, conf={"rerun": ["b"]}, again=True).state == "success"
    assert (work.folder.parent / "a").read_text() == "a\n"
    assert (work.folder.parent / "b").read_text() == "b\nb\n"


def test_plan_shows_the_requests_of_the_run(aws, run_dag, file, work, state):
    """Except for the revision of the job definition, which AWS assigns. Planning only makes read calls."""
    from airflow_batchemr import build_dags

    step = json.dumps(["sh", "-c", "true"])
    path = file(f"""
        planned:
          jobs:
            array:
              array: 3
              env: {{A: b}}
              batch: {{image: 'a:1', queue: default, command: {json.dumps(work.command("true"))}}}
            steps: {{after: array, emr: {CLUSTER}, steps: [{step}, {step}]}}
    """)
    aws.reset_requests()
    planned = plan(path)
    assert {job: one["does"] for job, one in planned.items()} == {"array": "run", "steps": "run"}
    assert planned["array"]["indices"] == "0-2"
    assert all(name.startswith(("Describe", "List", "Get", "Head")) for name in aws.requests()), aws.requests()
    (dag,) = build_dags(path)
    assert run_dag(dag).state == "success"
    ((submitted,),) = intents(state, "planned", "array")
    assert planned["array"]["requests"][1] == {
        "call": "SubmitJob",
        "request": submitted | {"jobDefinition": planned["array"]["requests"][0]["request"]["jobDefinitionName"]},
    }
    ((started,),) = intents(state, "planned", "steps")
    assert planned["steps"]["requests"] == [{"call": "RunJobFlow", "request": started}]


def test_plan_shows_what_is_skipped_and_what_is_resumed(aws, run_dag, file, work):
    """From the ledger: a marker, or the remaining indices."""
    from airflow_batchemr import build_dags

    path = file(f"""
        resumed:
          jobs:
            good: {{batch: {{image: 'a:1', queue: default, command: {json.dumps(work.command("true"))}}}}}
            bad:
              after: good
              array: 6
              batch:
                image: a:1
                queue: default
                command: {json.dumps(work.command("case $i in 2|4) exit 1;; esac"))}
    """)
    (dag,) = build_dags(path)
    assert run_dag(dag).state == "failed"
    planned = plan(path)
    assert planned["good"]["does"] == "skip"
    assert (planned["bad"]["does"], planned["bad"]["indices"], planned["bad"]["of"]) == ("resume", "2,4", 6)
    (submit,) = [one["request"] for one in planned["bad"]["requests"] if one["call"] == "SubmitJob"]
    assert submit["arrayProperties"] == {"size": 2}
    assert submit["jobName"].endswith("-a0002")
    assert list(plan(path, "--job", "bad")) == ["bad"]


def test_plan_shows_number_and_size_of_shards(aws, run_dag, file, work, state):
    """From S3, without writing the packing. The run then submits the same shards."""
    from airflow_batchemr import build_dags

    s3 = aws.client("s3")
    s3.create_bucket(Bucket="input")
    for number in range(7):
        s3.put_object(Bucket="input", Key=f"{work.folder.parent.name}/{number}.csv", Body=b"x" * 100 * (number + 1))
    path = file(f"""
        packed:
          array: {{pack: "s3://input/{work.folder.parent.name}/", into: 3, suffix: .csv}}
          batch: {{image: 'a:1', queue: default, command: {json.dumps(work.command("true"))}}}
    """)
    planned = plan(path)["packed"]
    assert (planned["does"], planned["of"], planned["indices"], planned["bytes"]) == ("run", 3, "0-2", 2800)
    assert s3.list_objects_v2(Bucket="state", Prefix=f"{work.folder.parent.name}/")["KeyCount"] == 0
    (dag,) = build_dags(path)
    assert run_dag(dag).state == "success"
    assert work.ran() == {0: 1, 1: 1, 2: 1}
    ((submitted,),) = intents(state, "packed", "packed")
    (planned_request,) = [one["request"] for one in planned["requests"] if one["call"] == "SubmitJob"]
    assert planned_request == submitted | {"jobDefinition": planned_request["jobDefinition"]}


def test_dag_test_runs_a_job_before_the_one_that_follows_it_index_by_index(aws, run_dag, only_dag, work):
    """It runs one task at a time, in no particular order. The gate makes the follower come first."""
    from airflow.providers.standard.operators.python import PythonOperator

    command = json.dumps(work.command("true"))
    dag = only_dag(f"""
        defaults: {{batch: {{image: 'a:1', queue: default, command: {command}}}}}
        p:
          jobs:
            first: {{array: 2, batch: {{}}}}
            second: {{array: 2, after: {{first: index}}, batch: {{}}}}
    """)
    PythonOperator(task_id="gate", python_callable=list, dag=dag) >> dag.get_task("first")
    finished = run_dag(dag)
    assert {"gate": "success", "first": "success", "second": "success"} == finished.tasks
    assert {0: 2, 1: 2} == work.ran()
    assert "Rescheduling the task: dag.test() runs one task at a time" in finished.output
