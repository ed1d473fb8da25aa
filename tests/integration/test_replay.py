"""`batchemr replay` against the local AWS: rerun a recorded index exactly as it was."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from airflow_batchemr.aws.batch import jobs
from airflow_batchemr.aws.batch.remote import BatchRemote
from airflow_batchemr.aws.batch.requests import submission_requests
from airflow_batchemr.aws.clients import boto3_clients
from airflow_batchemr.aws.explicit_success import environment
from airflow_batchemr.cli import replay_batch
from airflow_batchemr.cli.app import app
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.submissions import conclude
from airflow_batchemr.ledger import Handle, HandleJob, Ledger, Marker
from airflow_batchemr.pipeline_file.models import Batch
from tests.integration.batch_engine import submit

STATE = "s3://data/_batchemr"
RUN = ["nightly", "2026-11-20T000000Z", "score"]
ODD = 'it\'s "$(odd)"\n`x` ☃'


class Array:
    """An array job that has run on the local AWS, and the files that its commands wrote."""

    def __init__(self, folder, size, *, preamble=True, kind="plain", explicit=""):
        self.explicit = explicit
        self.folder = folder
        self.clients = boto3_clients()
        self.clients.s3.create_bucket(Bucket="data")
        self.identity = JobIdentity(STATE, *RUN, run_id="scheduled__1", task_id="score")
        self.ledger = Ledger(self.clients.s3, STATE).job(*RUN)
        self.size = size
        script = (
            f'i=${{AWS_BATCH_JOB_ARRAY_INDEX-}}; echo $i >> {folder}/ran; printf %s "$ODD|$1|$2" > {folder}/seen-$i; '
            f"[ $i != 3 ] || [ -e {folder}/fixed ] || exit 7{explicit}"
        )
        container = {
            "image": "busybox",
            "environment": [{"name": "OF_DEFINITION", "value": "d"}],
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}],
        }
        helper = {**container, "image": "log-router", "name": "helper", "essential": False}
        tasks = {"ecs": [container], "ecs with a helper": [{**container, "name": "main"}, helper]}
        self.clients.batch.register_job_definition(
            jobDefinitionName="own",
            type="container",
            parameters={"colour": "blue"},
            **({"containerProperties": container} if kind == "plain" else {}),
            **({"ecsProperties": {"taskProperties": [{"containers": tasks[kind]}]}} if kind in tasks else {}),
        )
        self.options = Batch(
            queue="default",
            definition="own:1",
            command=["sh", "-c", script, "sh", ODD, "Ref::colour"],
            env={"ODD": ODD},
            memory=[256],
            preamble=preamble,
            parameters={"colour": "red"},
        )
        self.run(IndexSet.range(size))

    def run(self, indices):
        """Run one submission to its end."""
        state = self.ledger.read()
        definition = self.clients.batch.describe_job_definitions(jobDefinitions=["own:1"])["jobDefinitions"][0]
        requests = submission_requests(
            self.options, definition, self.identity, state.next_number, indices, size=self.size,
            environment=environment(self.ledger, state.next_number, None) if self.explicit else None,
        )  # fmt: skip
        submission = submit(self.clients, self.ledger, self.identity, requests)
        remote = BatchRemote(self.clients, self.ledger, self.identity)
        while (seen := remote.observe(submission)).status != "ended":
            time.sleep(0.1)
        conclude(self.ledger, remote, submission, seen)

    def ran(self):
        return sorted(map(int, (self.folder / "ran").read_text().split()))

    def seen(self, index):
        return (self.folder / f"seen-{index}").read_text()

    def clear(self):
        for file in self.folder.iterdir():
            file.unlink()


@pytest.fixture
def array(local_aws, tmp_path):
    """An array of 5 whose index 3 has failed."""
    array = Array(tmp_path, 5)
    array.clear()
    return array


def batchemr(*arguments, path=None, state=STATE, ask=False):
    """Run the command line, which may start programs, in this process. Returns exit_code, stdout and stderr."""
    if {"--local", "--docker", "--batch"} & set(arguments) and not ask:
        arguments = (*arguments, "--yes")
    environment = {} if path is None else {"PATH": f"{path}:{os.environ['PATH']}"}
    options = ["--state", state] if state else []
    return CliRunner().invoke(app, [*arguments, *options], env={**environment, "COLUMNS": "200"})


def test_the_printed_command_reproduces_the_index(array):
    """It can be pasted into a shell, whatever arguments, parameters and environment contain."""
    done = batchemr("replay", *RUN, "--index", "3", "--print")
    assert (done.exit_code, done.stderr) == (0, "")
    assert subprocess.run(["sh", "-c", done.stdout], check=False).returncode == 7
    assert array.ran() == [3]
    assert f"{ODD}|{ODD}|red" == array.seen(3)


def test_printing_is_the_default(array):
    """Nothing runs unless requested."""
    assert batchemr("replay", *RUN, "--index", "3").stdout == batchemr("replay", *RUN, "-i", "3", "--print").stdout
    assert not (array.folder / "ran").exists()


def test_json_contains_the_recorded_request(array):
    """And the resolved command and environment."""
    shown = json.loads(batchemr("replay", *RUN, "--index", "3", "--json").stdout)
    assert (shown["index"], shown["size"], shown["image"], shown["queue"]) == (3, 5, "busybox", "default")
    environment = shown["environment"]
    assert (environment["OF_DEFINITION"], environment["AWS_BATCH_JOB_ARRAY_INDEX"]) == ("d", "3")
    assert shown["command"][:2] == ["sh", "-c"]


def test_local_runs_a_process(array):
    """With the exit code of the program, and without changing the ledger."""
    before = array.ledger.read().numbers
    assert batchemr("replay", *RUN, "--index", "3", "--local").exit_code == 7
    done = batchemr("replay", *RUN, "--index", "1", "--local")
    assert done.exit_code == 0
    assert done.stderr.endswith(f"note: running in {Path.cwd()}; files that the program writes there are kept\n")
    assert array.ran() == [1, 3]
    assert f"{ODD}|{ODD}|red" == array.seen(3)
    assert before == array.ledger.read().numbers


def test_mark_records_a_successful_local_run(array):
    """The index was the last one left, so the marker is written with the XCom that the task would return."""
    (array.folder / "fixed").touch()
    done = batchemr("replay", *RUN, "--index", "3", "--local", "--mark")
    assert done.exit_code == 0
    assert "it was the last one: marker written to" in done.stderr
    marker = array.ledger.read().marker
    assert (5, {"run_key": RUN[1], "job": "score", "size": 5, "submissions": 2, "ledger": array.ledger.uri}) == (
        marker.size,
        marker.xcom,
    )


@pytest.mark.parametrize("how", ["--local", "--batch"])
def test_a_marked_run_belongs_to_the_try_of_the_recorded_submission(local_aws, tmp_path, how):
    """However it ran."""
    array = Array(tmp_path, 5)
    array.identity = replace(array.identity, try_number=3)
    array.run(IndexSet.of([3]))
    (tmp_path / "fixed").touch()
    assert batchemr("replay", *RUN, "--index", "3", how, "--mark").exit_code == 0
    last = array.ledger.history().submissions[-1]
    assert (3, 3, "score") == (last.intent.try_number, last.result.owner.try_number, last.result.owner.task_id)


def test_mark_does_not_record_a_failed_local_run(array):
    """The next try finds the ledger unchanged."""
    assert batchemr("replay", *RUN, "--index", "3", "--local", "--mark").exit_code == 7
    assert array.ledger.read().numbers == [1]


def test_mark_rejects_an_index_that_is_done(array):
    """The program does not run."""
    done = batchemr("replay", *RUN, "--index", "1", "--local", "--mark")
    assert (
        done.exit_code,
        done.stderr,
    ) == (1, "error: index 1 is already recorded as done; to run it anyway, omit --mark\n")
    assert not (array.folder / "ran").exists()


def test_batch_runs_a_single_job(array):
    """With the same queue and definition. The program sees its index, its log is shown, the ledger is unchanged."""
    done = batchemr("replay", *RUN, "--index", "3", "--batch")
    assert done.exit_code == 7
    assert "Essential container in task exited" in done.stderr
    assert array.ran() == [3]
    assert f"{ODD}|{ODD}|red" == array.seen(3)
    assert array.ledger.read().numbers == [1]


def test_a_marked_batch_job_is_a_submission(array):
    """It is claimed before the call and recorded after it, so that the next try of the task finds it."""
    (array.folder / "fixed").touch()
    done = batchemr("replay", *RUN, "--index", "3", "--batch", "--mark")
    assert done.exit_code == 0
    assert array.ran() == [3]
    second = array.ledger.history().submissions[1]
    assert ("3", "3", array.identity.submission_name(2)) == (
        str(second.intent.indices),
        str(second.result.succeeded),
        second.handle.jobs[0].name,
    )
    assert array.ledger.read().marker is not None


def test_a_marked_batch_job_shows_and_ends_no_job_that_a_planted_handle_names(array, monkeypatch):
    """Somebody with write access to the state bucket writes the handle first. Ctrl-C ended the job that it names."""
    request = {"jobQueue": "default", "jobDefinition": "own:1", "containerOverrides": {"command": ["sleep", "300"]}}
    theirs = array.clients.batch.submit_job(jobName="payroll", **request)["jobId"]
    submit_request = jobs.submit_request

    def and_plant(*args, **kwargs):
        own = submit_request(*args, **kwargs)
        planted = Handle(kind="batch", jobs=[HandleJob(job_id=theirs, name="x", indices=IndexSet.of([3]))])
        array.ledger.record_handle(2, planted)
        return own

    monkeypatch.setattr(jobs, "submit_request", and_plant)
    monkeypatch.setattr(replay_batch, "INTERVAL", 0.0)

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(replay_batch.time, "sleep", interrupt)
    done = batchemr("replay", *RUN, "--index", "3", "--batch", "--mark")
    monkeypatch.undo()
    status = array.clients.batch.describe_jobs(jobs=[theirs])["jobs"][0]["status"]
    array.clients.batch.terminate_job(jobId=theirs, reason="end of the test")
    assert status not in {"FAILED", "SUCCEEDED"}
    assert f"names {theirs}, which is not the work of this submission" in done.stderr
    assert done.exit_code == 1


@pytest.mark.parametrize(("written", "code"), [(True, 0), (False, 1)])
def test_a_marked_batch_job_has_to_write_its_own_object_if_success_is_explicit(local_aws, tmp_path, written, code):
    """The folder of the objects is that of the new submission, not of the recorded one."""
    write = f'; [ ! -e {tmp_path}/fixed ] || aws s3 cp --quiet {tmp_path}/seen-$i "$BATCHEMR_SUCCESS_URI$i"'
    array = Array(tmp_path, 5, explicit=write if written else "; true")
    (array.folder / "fixed").touch()
    done = batchemr("replay", *RUN, "--index", "2", "--batch", "--mark")
    assert (code, written) == (done.exit_code, 2 in array.ledger.read().done)
    assert written or "exit 0, but no object at BATCHEMR_SUCCESS_URI" in done.stderr


def test_a_local_run_is_marked_only_with_its_object_if_success_is_explicit(local_aws, tmp_path):
    """As on AWS Batch, exit code 0 is not enough."""
    array = Array(tmp_path, 5, explicit="; true")
    done = batchemr("replay", *RUN, "--index", "2", "--local", "--mark")
    assert (1, IndexSet()) == (done.exit_code, array.ledger.read().done)
    assert "not recorded: exit 0, but no object at BATCHEMR_SUCCESS_URI" in done.stderr
    array.ledger.put_document("explicit/0001/2", b"")
    assert batchemr("replay", *RUN, "--index", "2", "--local", "--mark").exit_code == 0
    assert IndexSet.of([2]) == array.ledger.read().done


def test_an_instance_type_selects_a_queue_with_only_that_type(local_aws, array):
    """In Batch, a job selects a queue, not an instance type."""
    done = batchemr("replay", *RUN, "--index", "3", "--batch", "--instance-type", "r5.large")
    assert done.exit_code == 1
    assert "no enabled queue has only instances of type r5.large" in done.stderr
    batch = local_aws.client("batch")
    batch.create_compute_environment(
        computeEnvironmentName="large",
        type="MANAGED",
        computeResources={"type": "EC2", "maxvCpus": 4, "subnets": [], "instanceTypes": ["r5.large"]},
    )
    order = [{"order": 1, "computeEnvironment": "large"}]
    batch.create_job_queue(jobQueueName="large-ones", priority=1, computeEnvironmentOrder=order)
    assert batchemr("replay", *RUN, "--index", "3", "--batch", "--instance-type", "r5.large").exit_code == 7
    listed = batch.list_jobs(jobQueue="large-ones", jobStatus="FAILED")["jobSummaryList"]
    assert len(listed) == 1


@pytest.fixture
def docker(tmp_path_factory):
    """A program `docker` that records its arguments and the file with variables."""
    folder = tmp_path_factory.mktemp("docker")
    program = folder / "docker"
    program.write_text(
        "#!/bin/sh\n"
        f'for argument in "$@"; do printf \'%s\\0\' "$argument"; done > {folder}/arguments\n'
        f'cp "$4" {folder}/file\n'
        f'printf %s "$ODD" > {folder}/odd\n'
        "exit 5\n"
    )
    program.chmod(0o755)
    return folder


def test_docker_gets_the_same_image_command_and_variables(local_aws, array, docker):
    """Variables are passed in a file, or by name if they have several lines; their values are not in the arguments."""
    done = batchemr("replay", *RUN, "--index", "3", "--docker", path=docker)
    assert done.exit_code == 5
    arguments = (docker / "arguments").read_text().split("\0")[:-1]
    assert arguments[:3] == ["run", "--rm", "--env-file"]
    assert ODD == (docker / "odd").read_text()
    assert ["--env", "ODD", "--memory", "256m", "--network", "host", "busybox", "sh", "-c"] == arguments[4:13]
    assert arguments[-2:] == [ODD, "red"]
    variables = dict(line.split("=", 1) for line in (docker / "file").read_text().splitlines())
    assert ("3", "d", local_aws.environment()["AWS_SECRET_ACCESS_KEY"]) == tuple(
        variables[name] for name in ("AWS_BATCH_JOB_ARRAY_INDEX", "OF_DEFINITION", "AWS_SECRET_ACCESS_KEY")
    )
    assert local_aws.environment()["AWS_SECRET_ACCESS_KEY"] not in " ".join(arguments)
    assert not os.path.exists(arguments[3])  # noqa: PTH110


def test_docker_runs_the_container_of_an_ecs_task(local_aws, tmp_path, docker):
    """With the image and the variables of its definition."""
    Array(tmp_path, 5, kind="ecs")
    done = batchemr("replay", *RUN, "--index", "3", "--docker", path=docker)
    assert done.exit_code == 5, done.stderr
    arguments = (docker / "arguments").read_text().split("\0")[:-1]
    assert ["--memory", "256m", "--network", "host", "busybox", "sh", "-c"] == arguments[6:13]
    assert "OF_DEFINITION=d" in (docker / "file").read_text().splitlines()


def test_docker_does_not_run_one_of_several_containers(local_aws, tmp_path, docker):
    """The message says what does."""
    Array(tmp_path, 5, kind="ecs with a helper")
    done = batchemr("replay", *RUN, "--index", "3", "--docker", path=docker)
    assert done.exit_code == 1
    assert "ECS tasks with several containers need AWS Batch; use --batch, or --local" in done.stderr


def test_a_missing_docker_is_reported_with_alternatives(array, tmp_path_factory, monkeypatch):
    """Without a traceback."""
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("nothing")))
    done = batchemr("replay", *RUN, "--index", "3", "--docker")
    assert done.exit_code == 1
    assert done.stderr.endswith("error: docker is not installed: use --local or --batch\n")


def test_the_last_submission_of_an_index_is_replayed(array):
    """Submission 2 was a single job for index 3."""
    array.run(IndexSet.of([3]))
    shown = json.loads(batchemr("replay", *RUN, "--index", "3", "--json").stdout)
    assert (
        shown["submission"],
        shown["environment"]["AWS_BATCH_JOB_ARRAY_INDEX"],
        shown["environment"]["AWS_BATCH_JOB_ARRAY_SIZE"],
    ) == (2, "3", "5")
    assert "BATCHEMR_INDICES" not in shown["environment"]


def test_without_the_preamble_an_index_can_run_locally_but_not_on_batch(local_aws, tmp_path):
    """Batch sets no index for a single job, and a request cannot set it."""
    array = Array(tmp_path, 5, preamble=False)
    array.clear()
    assert batchemr("replay", *RUN, "--index", "3", "--local").exit_code == 7
    assert array.ran() == [3]
    done = batchemr("replay", *RUN, "--index", "3", "--batch")
    assert done.exit_code == 1
    assert "preamble: false" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nightl", RUN[1], "score"], "has no pipeline named 'nightl'; available: nightly"),
        (["nightly", "2026", "score"], "has no run of nightly named '2026'; available: 2026-11-20T000000Z"),
        (["nightly", RUN[1], "scor"], "has no job of nightly 2026-11-20T000000Z named 'scor'; available: score"),
        ([*RUN, "--index", "9"], "index 9 was never submitted; submitted so far: 0-4"),
        ([*RUN, "--local", "--docker"], "use only one of --print, --local, --docker and --batch"),
        ([*RUN, "--mark"], "--mark requires --local, --docker or --batch"),
        ([*RUN, "--instance-type", "m5.large"], "--instance-type requires --batch"),
    ],
)
def test_invalid_arguments_are_reported(array, arguments, message):
    """Unknown names with the available ones, and options that do not go together."""
    done = batchemr("replay", *arguments)
    assert done.exit_code in {1, 2}
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_an_emr_job_cannot_be_replayed(local_aws):
    """The message says what to do instead."""
    from airflow_batchemr.ledger import Intent

    clients = boto3_clients()
    clients.s3.create_bucket(Bucket="data")
    job = Ledger(clients.s3, STATE).job(*RUN)
    job.claim(
        1, Intent(kind="emr", name="x", requests=[], indices="0", rerun_token=None, dag_id="d", run_key="r", job="j")
    )
    job.mark(Marker(submission=1, size=1, rerun_token=None))
    assert "clear its task" in batchemr("replay", *RUN).stderr


@pytest.mark.parametrize("given", ["variable", "file"])
def test_the_state_uri_is_read_from_airflows_configuration(array, tmp_path_factory, monkeypatch, given):
    """From the environment variable or airflow.cfg, without importing Airflow."""
    home = tmp_path_factory.mktemp("airflow")
    monkeypatch.setenv("AIRFLOW_HOME", str(home))
    monkeypatch.delenv("AIRFLOW__BATCHEMR__STATE", raising=False)
    assert "no state URI is configured" in batchemr("replay", *RUN, state=None).stderr
    if given == "variable":
        monkeypatch.setenv("AIRFLOW__BATCHEMR__STATE", STATE)
    else:
        (home / "airflow.cfg").write_text(f"[core]\nformat = %(asctime)s\n[batchemr]\nstate = {STATE}\n")
    printed = batchemr("replay", *RUN, state=None)
    assert (printed.exit_code, shlex.split(printed.stdout)[0]) == (0, "env")
