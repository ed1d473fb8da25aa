"""All kinds of job definitions: the job's command reaches the program of an ECS task, a pod, and a multi-node job."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from airflow.sdk.exceptions import AirflowFailException
from typer.testing import CliRunner

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.batch.progress import summary_of
from airflow_batchemr.cli.app import app
from airflow_batchemr.core.container_overrides import recorded
from airflow_batchemr.triggers.batch_live import Live
from airflow_batchemr.triggers.emr_live import LiveSteps
from tests.integration.batch_engine import Job, clients, eventually
from tests.integration.test_batch_array import array_dag
from tests.integration.test_history import KEY, batchemr, facts

#: Required fields of each kind's containers, in addition to the image.
PLAIN = {
    "image": "busybox",
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "256"}],
}
#: Comes first, and has to run for the others, but does not get the command.
ROUTER = {"name": "router", **PLAIN, "firelensConfiguration": {"type": "fluentbit"}}
SIDE = {"name": "side", **PLAIN, "command": ["sleep", "60"], "essential": False}
KINDS = {
    "ecs": {"ecsProperties": {"taskProperties": [{"containers": [ROUTER, SIDE, {"name": "main", **PLAIN}]}]}},
    "eks": {"eksProperties": {"podProperties": {"containers": [{"name": "main", "image": "busybox"}]}}},
    "nodes": {
        "type": "multinode",
        "nodeProperties": {
            "numNodes": 2,
            "mainNode": 0,
            "nodeRangeProperties": [
                {"targetNodes": "0", "container": {**PLAIN, "command": ["main"]}},
                {"targetNodes": "1:", "container": {**PLAIN, "command": ["other"]}},
            ],
        },
    },
    "plain": {"containerProperties": PLAIN},
}


def of_nodes(kind):
    """A multi-node job whose nodes are of a kind."""
    nodes = {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": [{"targetNodes": "0:", **KINDS[kind]}]}
    return {"type": "multinode", "nodeProperties": nodes}


#: With nodes that are tasks or pods. AWS records no logs of pods.
ALL = {**KINDS, "nodes_ecs": of_nodes("ecs"), "nodes_eks": of_nodes("eks")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_raw_job_definition_runs_the_command_with_its_environment(aws, run_dag, work, kind):
    """It is registered as written, is valid according to botocore's model, and runs with index 0."""
    command = work.command('[ "$WORD" = "it\'s" ] && [ -n "$PIPELINE_RUN_ID" ]')
    dag = array_dag(f"kind_{kind}", command, image=None, job_definition=KINDS[kind], env={"WORD": "it's"}, memory=300)
    assert {"work": "success"} == run_dag(dag).tasks
    assert {0} == set(work.ran())  # the nodes of a multi-node job all run it


@pytest.mark.parametrize("kind", ALL)
def test_a_failure_is_reported_with_exit_code_log_and_replay(aws, run_dag, work, kind):
    """In the task, the history and `batchemr replay`, which runs the index again. AWS records no log of a pod."""
    dag_id, pod = f"fails_{kind}", kind.endswith("eks")
    command = work.command("[ ${AWS_BATCH_JOB_NODE_INDEX:-0} = 0 ] || exec sleep 60; echo bad row; exit 7")
    finished = run_dag(array_dag(dag_id, command, image=None, job_definition=ALL[kind]))
    assert {"work": "failed"} == finished.tasks
    report = finished.output[finished.output.index("the job failed") :]
    assert "exit code 7" in report
    assert ("| bad row" in report) == ("| bad row" in finished.output) == (not pod)
    assert f"batchemr replay {dag_id} {KEY} work" in report

    found = facts(batchemr(dag_id, KEY, "work", "--index", "0"))
    assert ("failed", "7", "1") == (found["outcome"], found["exit code"], found["attempts by Batch"])
    assert ("log stream" in found, "pod" in found) == (not pod, pod)
    assert "machine" in found

    replay = ["replay", dag_id, KEY, "work"]
    assert "bad row" in CliRunner().invoke(app, replay).stdout
    done = CliRunner().invoke(app, [*replay, "--batch", "--yes"])
    assert (7, not pod) == (done.exit_code, "| bad row" in done.stderr)


@pytest.mark.parametrize("kind", ALL)
def test_a_job_of_every_kind_gets_more_memory(aws, work, tmp_path, kind):
    """After it has run out of it, whatever the reason is called."""
    script = "if [ ! -e died ] && [ ${AWS_BATCH_JOB_NODE_INDEX:-0} = 0 ]; then touch died; exec sleep 60; fi"
    options = {"image": None, "job_definition": ALL[kind], "memory": [512, 1024]}
    job = Job(f"s3://state/{tmp_path.name}", work.command(script), 1, **options)
    step = job.step()
    eventually((work.folder / "died").exists)
    (submission,) = job.ledger().read().open_submissions
    aws.faults.out_of_memory(submission.handle.jobs[0].job_id)
    while step is not None:
        step = job.step(prior_submissions=step.prior_submissions)
        assert step is None or "wait" == step.action
    first, second = job.ledger().history().submissions
    assert [("oom", 137)] == [(one.cause, one.exit_code) for one in first.result.failures]
    sizes = {one["type"]: one["value"] for one in recorded(second.intent.requests[0].request)["resourceRequirements"]}
    assert "1024" == sizes["MEMORY"]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("retry_on", ["exit:75", "oom"])
def test_a_cause_is_retried_by_aws(aws, work, tmp_path, kind, retry_on):
    """By the exit code or reason of the container."""
    die = "exit 75" if retry_on == "exit:75" else "exec sleep 60"
    script = f"[ ${{AWS_BATCH_JOB_NODE_INDEX:-0}} = 0 ] || exit 0; [ -e died ] || {{ touch died; {die}; }}"
    options = {"image": None, "job_definition": ALL[kind], "retry_on": retry_on}
    job = Job(f"s3://state/{tmp_path.name}", work.command(script), 1, **options)
    job.step()
    eventually((work.folder / "died").exists)
    if retry_on == "oom":
        (submission,) = job.ledger().read().open_submissions
        aws.faults.out_of_memory(submission.handle.jobs[0].job_id)
    assert job.try_() is None
    assert 1 == aws.requests()["SubmitJob"]


@pytest.mark.parametrize("kind", ALL)
def test_an_image_that_cannot_be_pulled_is_pulled_again_and_reported(aws, work, tmp_path, kind):
    """Pods have Kubernetes' reason. The cause is the same."""
    options = {"image": None, "job_definition": ALL[kind], "retry_on": "pull", "attempts": 2}
    aws.faults.unpullable("busybox")
    failed = Job(f"s3://state/{tmp_path.name}", work.command("true"), 1, **options).try_()
    assert [("pull", None)] == [(one.cause, one.exit_code) for one in failed.failures]
    (job,) = aws.client("batch").describe_jobs(jobs=[failed.failures[0].job_id])["jobs"]
    assert 2 == len(job.get("attempts") or job["eksAttempts"])


def test_the_named_container_runs_the_command(aws, run_dag, work):
    """Here the second essential one, which gets the image."""
    first = {"name": "first", **PLAIN, "command": ["sleep", "60"]}
    task = {"ecsProperties": {"taskProperties": [{"containers": [first, {"name": "second"}]}]}}
    dag = array_dag("named", work.command("exit 7"), container="second", job_definition=task)
    finished = run_dag(dag)
    assert {"work": "failed"} == finished.tasks
    assert "exit code 7" in finished.output
    (definition,) = aws.client("batch").describe_job_definitions(status="ACTIVE")["jobDefinitions"]
    several = definition["ecsProperties"]["taskProperties"][0]["containers"]
    assert ["busybox", "busybox"] == [one["image"] for one in several]


def test_a_container_that_does_not_exist_is_rejected_when_the_dag_is_parsed(aws, run_dag, work):
    """With the name that may be meant. That of a registered definition is rejected before anything is submitted."""
    unknown = "has no container 'man', only router, side, main"
    with pytest.raises(AirflowFailException, match=unknown):
        array_dag("unnamed", work.command("true"), image=None, container="man", job_definition=KINDS["ecs"])
    aws.client("batch").register_job_definition(jobDefinitionName="several", type="container", **KINDS["ecs"])
    dag = array_dag("unnamed", work.command("true"), image=None, container="man", definition="several")
    finished = run_dag(dag)
    assert {"work": "failed"} == finished.tasks
    assert f"{unknown}; did you mean `main`?" in finished.output
    assert 0 == aws.requests()["SubmitJob"]


@pytest.mark.parametrize("kind", ["ecs", "eks"])
def test_failures_beyond_the_first_hundred_have_exit_codes(aws, work, tmp_path, kind, monkeypatch):
    """ListJobs has none for these kinds, so that all failed children are described, also of large arrays."""
    from airflow_batchemr.aws.batch import results

    monkeypatch.setattr(results, "KEPT_WHOLE", 1)
    monkeypatch.setattr(results, "DESCRIBED", 1)
    options = {"image": None, "job_definition": KINDS[kind]}
    job = Job(f"s3://state/{tmp_path.name}", work.command("exit $((i + 1))"), 3, **options)
    failed = job.try_()
    assert [(0, 1), (1, 2), (2, 3)] == [(one.index, one.exit_code) for one in failed.failures]


@pytest.mark.parametrize("kind", ["ecs", "eks"])
def test_arrays_of_every_kind_resume_by_index(aws, run_dag, work, kind):
    """Like those of plain containers."""
    command = work.command("[ $i != 2 ] || [ -e fixed ]")
    dag = array_dag(f"resume_{kind}", command, image=None, job_definition=KINDS[kind], array=4)
    assert {"work": "failed"} == run_dag(dag).tasks
    (work.folder / "fixed").touch()
    assert {"work": "success"} == run_dag(dag).tasks
    assert Counter(range(4)) + Counter([2]) == work.ran()


def test_the_definitions_command_is_used_if_the_job_has_none(aws, run_dag, work):
    """It runs inside the preamble as well."""
    own = {"containerProperties": {**PLAIN, "command": work.command("true")}}
    dag = array_dag("own_command", None, image=None, job_definition=own, array=3)
    assert {"work": "success"} == run_dag(dag).tasks
    assert Counter(range(3)) == work.ran()


def test_an_unknown_field_is_rejected_when_the_dag_is_parsed(work):
    """By botocore's model."""
    wrong = {"ecsProperties": {"taskProperties": [{"containers": [{"name": "main", **PLAIN, "imagePullPolicy": "x"}]}]}}
    with pytest.raises(AirflowFailException, match="imagePullPolicy: unknown parameter"):
        array_dag("wrong_kind", work.command("true"), image=None, job_definition=wrong)


class Log:
    """Collects the lines of a trigger's logger."""

    def __init__(self):
        self.lines = []

    def info(self, text, *arguments):
        self.lines.append(text % arguments)

    warning = info


@pytest.mark.parametrize("kind", ["ecs", "nodes"])
def test_the_log_of_every_kind_is_shown_while_the_job_runs(aws, work, tmp_path, kind):
    """That of a multi-node job is found by its main node, because the job itself names it only after its end."""
    through = clients()
    options = {"image": None, "job_definition": KINDS[kind]}
    job = Job(f"s3://state/{tmp_path.name}", work.command("echo hello; exec sleep 60"), 1, **options)
    job.step()
    (submission,) = job.ledger().read().open_submissions
    job_id, log = submission.handle.jobs[0].job_id, Log()

    async def watch():
        async with Live(through, (None, None), {job_id: "0"}, log) as live:
            for _ in range(300):
                described = await asyncio.to_thread(jobs.describe, through, [job_id])
                live.update({job_id: summary_of(described[job_id])})
                if "| hello" in log.lines:
                    return described[job_id]["status"]
                await asyncio.sleep(0.1)
        return None

    assert "RUNNING" == asyncio.run(watch())


def test_every_line_of_an_event_is_shown_as_the_program_s():
    """An event of CloudWatch may have several lines; without the mark, they look like lines of Airflow."""
    log = Log()
    Live(None, (None, None), {}, log)._log_lines(["a\n[warning] forged\rb"])
    steps = LiveSteps(None, (None, None), log_uri=None, cluster_id="j-1", streams={}, log=log)
    asyncio.run(steps._log_lines(["a\n[warning] forged\rb"]))
    assert ["| a\n| [warning] forged\n| b"] * 2 == log.lines
