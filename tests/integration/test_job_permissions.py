"""What the program of a job writes below the state URI, and the IAM policy in the documentation that allows it."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from airflow.sdk import DAG

from airflow_batchemr.local.gate import Gate
from airflow_batchemr.operators.batch import BatchArrayOperator

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
CONFIRM = (
    'place=${BATCHEMR_SUCCESS_URI#s3://}$i; aws s3api put-object --bucket "${place%%/*}" --key "${place#*/}" >/dev/null'
)


@pytest.fixture
def puts(monkeypatch):
    """Paths of the server's PUT requests, by whether they come from the AWS CLI: only programs use it."""
    seen = {True: set(), False: set()}
    serve = Gate._moto

    def noted(gate, environ, start_response, scope):
        if environ["REQUEST_METHOD"] == "PUT":
            seen[environ.get("HTTP_USER_AGENT", "").startswith("aws-cli")].add(environ["PATH_INFO"])
        return serve(gate, environ, start_response, scope)

    monkeypatch.setattr(Gate, "_moto", noted)
    return seen


def allowed(state, dag_id, job):
    """The resources of the documented policy, for another state URI, Dag and job."""
    found = re.findall(r"arn:aws:s3:::(data/_batchemr/nightly/\S*/_files/score/[^\s\"]*)", DOCS.read_text())
    place = state.removeprefix("s3://")
    return [one.replace("data/_batchemr/nightly", f"{place}/{dag_id}").replace("/score/", f"/{job}/") for one in found]


def test_a_program_writes_only_what_the_documented_policy_allows(aws, state, run_dag, work, puts):
    """Its markers and confirmations. The policy covers no record of the ledger, nor another job."""
    with DAG("least", schedule=None) as dag:
        BatchArrayOperator(
            task_id="work",
            queue="default",
            image="busybox",
            command=work.command(CONFIRM),
            array={"size": 2, "markers": "in_job"},
            explicit_success=True,
        )
    assert {"work": "success"} == run_dag(dag).tasks
    files = f"/{state.removeprefix('s3://')}/least/2026-11-20T000000Z/_files/work"
    assert puts[True] == {f"{files}/{folder}/0001/{index}" for folder in ("done", "explicit") for index in (0, 1)}
    patterns = allowed(state, "least", "work")
    assert len(patterns) == 2

    def covered(paths):  # `*` of IAM matches slashes, too
        return {path for path in paths if any(fnmatchcase(path.removeprefix("/"), one) for one in patterns)}

    assert covered(puts[True]) == puts[True]
    assert covered(puts[False]) == set()
    other = {path.replace("/work/", "/other/") for path in puts[True]}
    assert covered(other) == set()
