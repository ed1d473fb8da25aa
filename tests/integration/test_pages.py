"""The pages in Airflow's UI, served by Airflow's API server with its login."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import textwrap
import time
from html import unescape

import pytest
from botocore.config import Config

from airflow_batchemr.operators.batch import BatchArrayOperator
from airflow_batchemr.plugin import pages
from tests.integration.batch_engine import eventually
from tests.integration.task_engine import Task

KEY = "2026-11-20T000000Z"


@pytest.fixture
def server(airflow_db, monkeypatch):
    """`server(role)` returns a client of the API server, logged in with a role of the simple auth manager, if any."""
    from airflow.api_fastapi import app as airflow_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")  # without credentials: those of the environment
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "False")
    monkeypatch.setenv(
        "AIRFLOW__API_AUTH__JWT_SECRET", "a secret of at least sixty-four characters, for tests of this package"
    )
    app = airflow_app.create_app(apps="core")

    def client(role):
        user = SimpleAuthManagerUser(username="ann", role=role)
        token = role and airflow_app.get_auth_manager().generate_jwt(user)
        return TestClient(app, headers={"Authorization": f"Bearer {token}"} if role else {})

    yield client
    airflow_app.purge_cached_app()


@pytest.fixture
def nightly(aws, run_dag, work, tmp_path):
    """`split` of 4 indices has failed at index 2, and its program is named `<b>`. `other` has a separate ledger."""
    from airflow_batchemr import build_dags

    command = json.dumps(work.command(': "<b>"; [ "$i" != 2 ] || exit 65'))
    file = tmp_path / "p.yaml"
    file.write_text(
        textwrap.dedent(f"""
        nightly: {{array: 4, batch: {{image: 'etl:1.4', queue: default, command: {command}}}}}
        other:
          state: s3://state/elsewhere
          batch: {{image: 'a:1', queue: default, command: {json.dumps(["true"])}}}
        """)
    )
    nightly, other = build_dags(file)
    assert "failed" == run_dag(nightly).state
    assert "success" == run_dag(other).state


def text(answer):
    """The text of a page."""
    assert 200 == answer.status_code, answer.text
    body = answer.text.partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_pages_lead_from_the_pipelines_to_an_index(nightly, server):
    """Runs, jobs, submissions with their failures, and one index. Names are escaped in HTML."""
    client = server("viewer")
    assert f"nightly 1 {KEY}" in text(client.get("/batchemr/"))
    assert f"{KEY} failed 3/4" in text(client.get("/batchemr/nightly"))
    assert "nightly failed 3/4 1" in text(client.get("/batchemr/nightly", params={"run_key": KEY}))
    answer = client.get("/batchemr/nightly", params={"run_key": KEY, "job": "nightly", "index": 2})
    shown = text(answer)
    assert "nightly: failed , 3/4 done" in shown
    assert "exit code 65" in shown
    assert "1 of 4 indices failed; 3 are done and will not run again" in shown
    assert "sh -c i=$AWS_BATCH_JOB_ARRAY_INDEX" in shown
    assert "<b>" not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_success_that_airflow_did_not_record_is_shown(aws, server, work):
    """Nothing is written. If AWS does not respond, the page shows the ledger."""
    task = Task(
        lambda: BatchArrayOperator(
            task_id="work", queue="default", image="busybox", command=work.command("true"), array=2
        )
    )
    assert hasattr(task.begin(), "run")
    batch = aws.client("batch")
    (parent,) = batch.list_jobs(jobQueue="default", filters=[{"name": "JOB_NAME", "values": ["dag-work*"]}])[
        "jobSummaryList"
    ]
    eventually(lambda: batch.describe_jobs(jobs=[parent["jobId"]])["jobs"][0]["status"] == "SUCCEEDED")
    aws.reset_requests()
    client, at = server("viewer"), {"run_key": KEY}
    assert f"{KEY} succeeded (not recorded) 2/2" in text(client.get("/batchemr/dag"))
    assert "work succeeded (not recorded) 2/2 1" in text(client.get("/batchemr/dag", params=at))
    shown = text(client.get("/batchemr/dag", params={**at, "job": "work", "index": 1}))
    assert "work: succeeded (not recorded) , 2/2 done" in shown
    assert "submission 1: succeeded (not recorded) , 2/2 done" in shown
    assert "recorded no. If the Airflow task has ended, clear it" in shown
    assert "exit code 0" in shown
    assert {"DescribeJobs", "ListObjectsV2", "GetObject"} == set(aws.requests())

    def calls(**options):
        aws.reset_requests()
        client.get("/batchemr/dag", params={**at, "job": "work", **options})
        return dict(aws.requests())

    assert calls() == calls(index=1)  # the records are read once


def test_a_page_shows_the_ledger_if_aws_does_not_respond(aws, server, work, monkeypatch):
    """With a note, and within a short time."""
    command = work.command("sleep 60")
    task = Task(lambda: BatchArrayOperator(task_id="work", queue="default", image="busybox", command=command))
    assert hasattr(task.begin(), "run")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BATCH", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(pages, "INTERACTIVE", pages.INTERACTIVE.merge(Config(read_timeout=1)))
        began = time.monotonic()
        shown = text(server("viewer").get("/batchemr/dag", params={"run_key": KEY}))
    assert "work running 0/1 1" in shown
    assert "AWS cannot be queried about open submissions: batch:DescribeJobs" in shown
    assert time.monotonic() - began < 60


def test_the_ledger_of_a_dag_is_read_at_its_own_state_uri(nightly, server):
    """The location is that of the Dag, not of the request."""
    client = server("viewer")
    assert "other" not in text(client.get("/batchemr/"))
    assert f"{KEY} succeeded" in text(client.get("/batchemr/other"))
    assert f"{KEY} failed" in text(client.get("/batchemr/nightly", params={"state": "s3://state/elsewhere"}))


def test_pages_require_a_login(nightly, server, aws):
    """Without a login, nothing is read from S3."""
    aws.reset_requests()
    client = server(None)
    for path in ("/batchemr/", "/batchemr/nightly", f"/batchemr/nightly?run_key={KEY}&job=nightly"):
        assert 401 == client.get(path).status_code
    assert {} == aws.requests()


def test_pages_require_access_to_the_dag(nightly, server, monkeypatch):
    """According to the auth manager, for each Dag."""
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    allows = SimpleAuthManager.is_authorized_dag

    def not_nightly(self, **asked):
        return allows(self, **asked) and not (asked.get("details") and asked["details"].id == "nightly")

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", not_nightly)
    client = server("viewer")
    assert "nightly" not in text(client.get("/batchemr/"))
    assert 403 == client.get("/batchemr/nightly").status_code
    assert 403 == client.get("/batchemr/nightly", params={"dag_id": "other", "run_key": KEY}).status_code
    assert f"{KEY} succeeded" in text(client.get("/batchemr/other"))


def test_an_unreadable_ledger_shows_an_error(aws, server, monkeypatch):
    """The page has a message instead of a traceback."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__STATE", "s3://nowhere/state")
    answer = server("viewer").get("/batchemr/")
    assert 502 == answer.status_code
    assert "nowhere" in answer.text
    assert "Traceback" not in answer.text


def test_other_processes_do_not_import_the_pages():
    """Airflow loads plugins in the process of each task, where no web framework is imported."""
    code = """
import sys, airflow.plugins_manager, airflow_batchemr
before = set(sys.modules)
import airflow_batchemr.plugin
print(*(name.partition(".")[0] for name in set(sys.modules) - before))
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert {"airflow", "airflow_batchemr"} == set(ran.stdout.splitlines()[-1].split())
