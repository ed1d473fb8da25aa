"""The unmodified operators, sensors and triggers of the amazon provider, against the local AWS."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

#: What the commands of the Dag create.
FILES = {"job", "array0", "array1", "array2", "one", "two", "serverless", "eks", "submitted", "x"}


@pytest.fixture
def aws(program_aws):
    """The local AWS with the job definition `sh`."""
    requirements = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "128"}]
    program_aws.client("batch").register_job_definition(
        jobDefinitionName="sh", type="container",
        containerProperties={"image": "busybox", "resourceRequirements": requirements},
    )  # fmt: skip
    return program_aws


def made(folder):
    return {path.name for path in folder.iterdir()} - {"run.sh"}


def test_the_operators_and_sensors_succeed(aws, run_dag, monkeypatch, tmp_path):
    """For compute environments, queues, jobs, arrays, clusters, steps, applications and job runs."""
    from airflow.providers.amazon.aws.hooks.batch_client import BatchClientHook

    from tests.integration.provider_dag import provider_dag

    monkeypatch.setattr(BatchClientHook, "DEFAULT_DELAY_MIN", 0)
    monkeypatch.setattr(BatchClientHook, "DEFAULT_DELAY_MAX", 0.5)
    finished = run_dag(provider_dag(tmp_path, deferrable=False))
    assert set(finished.tasks.values()) == {"success"}, finished.tasks
    assert made(tmp_path) == FILES


def test_the_deferred_operators_and_sensors_succeed(aws, airflow_db, clients, tmp_path):
    """With the provider's triggers, which poll with aiobotocore."""
    command = [sys.executable, "-m", "tests.integration.provider_dag", str(tmp_path)]
    environment = {**os.environ, **clients}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    states = json.loads(done.stdout.splitlines()[-1])
    assert set(states.values()) == {"success"}, done.stdout + done.stderr
    assert made(tmp_path) == FILES
    assert "container_sensor" in states
