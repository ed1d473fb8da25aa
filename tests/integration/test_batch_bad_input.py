"""What AWS or the ledger would refuse is told before anything is submitted, and a retry is not wasted on it."""

from __future__ import annotations

import pytest

from tests.integration.test_batch_array import array_dag

CASES = {
    "no_queue": ({"queue": "nowhere"}, "queue: AWS Batch has no job queue 'nowhere'"),
    "no_definition": ({"image": None, "definition": "nothing:3"}, "definition: AWS Batch has no active job definition"),
    "no_state_bucket": ({"state": "s3://no-such-bucket/x"}, "the state bucket 'no-such-bucket' does not exist"),
    "state_is_no_uri": ({"state": "/tmp/x"}, "state URI '/tmp/x'"),
    "no_command": ({"command": None}, "command: a Batch job needs one"),
    "empty_command": ({"command": ""}, "command: a Batch job needs one"),
    "size_0": ({"array": 0}, "array: a job has 1 to 1,000,000 indices, not 0"),
    "size_too_large": ({"array": 1_000_001}, "array: a job has 1 to 1,000,000 indices, not 1,000,001"),
    "reserved_name": ({"env": {"AWS_BATCH_X": "1"}}, "env: 'AWS_BATCH_X'"),
    "environment_too_large": ({"env": {"BIG": "x" * 8200}}, "8,192 bytes in all"),
    "timeout_too_short": ({"timeout": 59}, "timeout: AWS Batch takes 60 s or more, not 59 s"),
    "too_many_attempts": ({"attempts": 11}, "attempts: AWS Batch takes 1 to 10, not 11"),
    "too_many_rules": ({"retry_on": ["spot", "oom", "pull", "exit:1", "exit:2"]}, "retry_on: AWS Batch takes 5 rules"),
    "unknown_rule": ({"retry_on": ["sopt"]}, "retry_on: 'sopt' is none of"),
    "fargate_size": ({"platform": "fargate", "vcpus": 1, "memory": 1000}, "memory: Fargate with 1 vcpus has"),
    "unknown_field": ({"submit": {"jobPriority": 1}}, 'SubmitJob: Unknown parameter in input: "jobPriority"'),
    "image_and_definition": ({"definition": "there:1"}, "image and definition: give one"),
    "role_with_definition": ({"image": None, "definition": "there:1", "job_role": "r"}, "job_role: the job definition"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_told_and_nothing_is_submitted(aws, run_dag, work, name):
    """The task fails at once, though it has retries, with words that say what is wrong; nothing reaches AWS."""
    arguments, message = CASES[name]
    finished = run_dag(array_dag(f"bad_{name}", work.command("true"), retries=3, **arguments))
    assert {"work": "failed"} == finished.tasks
    assert message in finished.output
    assert 0 == aws.requests()["SubmitJob"]
    assert 0 == aws.requests()["RegisterJobDefinition"]
    assert 0 == aws.requests()["PutObject"]


def test_no_state_uri_is_told(aws, run_dag, work, monkeypatch):
    """Without a place for the ledger nothing can be done."""
    monkeypatch.delenv("AIRFLOW__BATCHEMR__STATE")
    finished = run_dag(array_dag("no_state", work.command("true"), retries=3))
    assert {"work": "failed"} == finished.tasks
    assert "no state URI is configured" in finished.output
    assert 0 == aws.requests()["SubmitJob"]


def test_a_missing_permission_names_the_iam_action(aws, run_dag, work):
    """A refused SubmitJob fails at once and is not retried; the claim is closed."""
    aws.faults.refuse("SubmitJob")
    finished = run_dag(array_dag("refused", work.command("true"), retries=3))
    assert {"work": "failed"} == finished.tasks
    assert "IAM action batch:SubmitJob" in finished.output
    assert {} == work.ran()
    assert {"work": "success"} == run_dag(array_dag("refused", work.command("true"))).tasks
    assert {0: 1} == work.ran()
