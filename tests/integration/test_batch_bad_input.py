"""Invalid input is reported before anything is submitted, and without retries."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowFailException

from tests.integration.test_batch_array import array_dag

LATE = {
    "no_queue": ({"queue": "nowhere"}, "queue: AWS Batch has no job queue 'nowhere'"),
    "no_definition": ({"image": None, "definition": "nothing:3"}, "definition: AWS Batch has no active job definition"),
    "no_state_bucket": ({"state": "s3://no-such-bucket/x"}, "the state bucket 'no-such-bucket' does not exist"),
    "state_is_no_uri": ({"state": "{{ '/tmp/x' }}"}, "state URI '/tmp/x'"),
    "too_large_with_ours": ({"env": {"BIG": "x" * 6450}}, "at most 8,192 bytes"),
    "rendered_name": ({"env": {"BIG": "{{ 'x' * 9000 }}"}}, "env: the environment has 9,004 bytes"),
    "rendered_image": ({"image": "{{ '' }}"}, "image: must not be empty"),
    "rendered_array": ({"array": "{{ 2000000 }}"}, "array.size: must be at most 1,000,000, not 2000000"),
    "rendered_memory": ({"memory": "{{ '8GB' }}"}, "memory[0]: 8GB is 7629.4 MiB, but AWS requires whole MiB"),
}

#: Errors that are found when the Dag is parsed.
EARLY = {
    "no_command": ({"command": None}, "command: `command` is required"),
    "empty_command": ({"command": ""}, "command: the command is empty"),
    "open_quote": ({"command": "echo 'a"}, "command: the command cannot be split: no closing quotation"),
    "no_queue_given": ({"queue": None}, "queue: `queue` is required"),
    "size_0": ({"array": 0}, "array: an array must have 1 to 1,000,000 indices, not 0"),
    "size_too_large": ({"array": 1_000_001}, "array: an array must have 1 to 1,000,000 indices, not 1,000,001"),
    "size_is_text": ({"array": {"size": "3"}}, "array.size: expected a whole number, not 3"),
    "reserved_name": ({"env": {"AWS_BATCH_X": "1"}}, "env.AWS_BATCH_X: AWS Batch keeps names"),
    "environment_too_large": ({"env": {"BIG": "x" * 8200}}, "env: the environment has 8,204 bytes"),
    "overrides_too_large": ({"env": {"BIG": "x" * 8100}}, "env: AWS Batch accepts 8,192 bytes of command and environ"),
    "fraction_on_ec2": ({"vcpus": 0.5}, "vcpus: EC2 requires whole vCPUs, not 0.5"),
    "tag": ({"tags": {"a": "b&c"}}, "tags.a: AWS accepts letters, digits, spaces and + - = . _ : / @ in tags, not '&'"),
    "timeout_too_short": ({"timeout": 59}, "timeout: AWS Batch takes a timeout of at least 60 seconds, not 59"),
    "deadline": ({"deadline": "soon"}, "deadline: expected a duration like 90s, 15m or 2h"),
    "memory": ({"memory": "8GB"}, "memory[0]: 8GB is 7629.4 MiB, but AWS requires whole MiB; did you mean 8GiB?"),
    "vcpus": ({"vcpus": "2"}, "vcpus: expected a number of vCPUs above 0, not 2 (remove the quotes)"),
    "gpus": ({"gpus": -1}, "gpus: must be at least 1, not -1"),
    "too_many_attempts": ({"attempts": 11}, "attempts: must be at most 10, not 11"),
    "too_many_rules": ({"retry_on": ["spot", "oom", "pull", "exit:1", "exit:2"]}, "retry_on: at most 4 causes, not 5"),
    "unknown_rule": ({"retry_on": ["sopt"]}, "retry_on[0]: expected spot, oom, pull or exit:N, not sopt (did you"),
    "fargate_size": (
        {"platform": "fargate", "execution_role": "r", "vcpus": 1, "memory": 1000},
        "memory[0]: Fargate does not support 1000 MiB of memory with 1 vCPU",
    ),
    "fargate_default_size": (
        {"platform": "fargate", "execution_role": "r", "vcpus": 4},
        "vcpus: Fargate does not support the default of 2048 MiB of memory with 4 vCPUs (set `memory: 8GiB` or more)",
    ),
    "image_and_definition": ({"definition": "there:1"}, "image: `image` and `definition` cannot be combined"),
    "definition_twice": ({"definition": "a", "job_definition": "b"}, "job_definition: as text it is the same as"),
    "role_with_definition": (
        {"image": None, "definition": "there:1", "job_role": "r"},
        "job_role: `job_role` has no effect on the job definition there:1",
    ),
    "unknown_field": ({"submit": {"jobPriority": 1}}, "submit.jobPriority: unknown parameter `jobPriority`"),
    "several": ({"gpus": 0, "attempts": 0}, "gpus: must be at least 1, not 0; attempts: must be at least 1, not 0"),
}


@pytest.mark.parametrize("name", EARLY)
def test_a_wrong_option_fails_when_the_dag_is_parsed(work, name):
    """With the message of the pipeline file."""
    arguments, message = EARLY[name]
    with pytest.raises(AirflowFailException) as raised:
        array_dag(f"early_{name}", work.command("true"), **arguments)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("name", LATE)
def test_bad_input_fails_the_task_and_nothing_is_submitted(aws, run_dag, work, name):
    """The task fails without retries, with the reason."""
    arguments, message = LATE[name]
    finished = run_dag(array_dag(f"bad_{name}", work.command("true"), retries=3, **arguments))
    assert {"work": "failed"} == finished.tasks
    assert message in finished.output
    assert 0 == aws.requests()["SubmitJob"]
    assert 0 == aws.requests()["RegisterJobDefinition"]
    assert 0 == aws.requests()["PutObject"]


def test_a_missing_state_uri_is_an_error(aws, run_dag, work, monkeypatch):
    """The ledger has no location."""
    monkeypatch.delenv("AIRFLOW__BATCHEMR__STATE")
    finished = run_dag(array_dag("no_state", work.command("true"), retries=3))
    assert {"work": "failed"} == finished.tasks
    assert "no state URI is configured" in finished.output
    assert 0 == aws.requests()["SubmitJob"]


def test_a_missing_permission_names_the_iam_action(aws, run_dag, work):
    """A refused SubmitJob fails the task without retries, and the claim is closed."""
    aws.faults.refuse("SubmitJob")
    finished = run_dag(array_dag("refused", work.command("true"), retries=3))
    assert {"work": "failed"} == finished.tasks
    assert "IAM action batch:SubmitJob" in finished.output
    assert {} == work.ran()
    assert {"work": "success"} == run_dag(array_dag("refused", work.command("true"))).tasks
    assert {0: 1} == work.ran()
