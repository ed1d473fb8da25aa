"""The pages in Airflow's UI, served by a real Airflow API server with its login."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from html import unescape

import pytest

KEY = "2026-11-20T000000Z"


@pytest.fixture
def server(airflow_db, monkeypatch):
    """`server(role)`: a client of the API server, logged in with a role of the simple auth manager, or not (None)."""
    from airflow.api_fastapi import app as airflow_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi.testclient import TestClient

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
    """`nightly` has failed at index 2 of 4, and its command contains `<b>`; `other` has its own ledger."""
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
    """Return the visible text of a page."""
    assert 200 == answer.status_code, answer.text
    body = answer.text.partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_pages_lead_from_pipelines_to_an_index(nightly, server):
    """Runs, jobs, submissions with their failures, and an index. Commands are never interpreted as HTML."""
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


def test_a_dag_with_its_own_state_uri_is_read_from_there(nightly, server):
    """The location comes from the Dag, not from the request."""
    client = server("viewer")
    assert "other" not in text(client.get("/batchemr/"))
    assert f"{KEY} succeeded" in text(client.get("/batchemr/other"))
    assert f"{KEY} failed" in text(client.get("/batchemr/nightly", params={"state": "s3://state/elsewhere"}))


def test_pages_require_a_login(nightly, server, aws):
    """S3 is not read without one."""
    aws.reset_requests()
    client = server(None)
    for path in ("/batchemr/", "/batchemr/nightly", f"/batchemr/nightly?run_key={KEY}&job=nightly"):
        assert 401 == client.get(path).status_code
    assert {} == aws.requests()


def test_pages_require_permission_to_see_the_dag(nightly, server, monkeypatch):
    """The auth manager decides for each Dag."""
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


def test_a_ledger_that_cannot_be_read_is_reported(aws, server, monkeypatch):
    """With the reason and without a traceback."""
    monkeypatch.setenv("AIRFLOW__BATCHEMR__STATE", "s3://nowhere/state")
    answer = server("viewer").get("/batchemr/")
    assert 502 == answer.status_code
    assert "nowhere" in answer.text
    assert "Traceback" not in answer.text


def test_the_plugin_imports_no_web_framework():
    """Airflow loads plugins in every process, including task processes."""
    code = """
import sys, airflow.plugins_manager, airflow_batchemr
before = set(sys.modules)
import airflow_batchemr.plugin
print(*(name.partition(".")[0] for name in set(sys.modules) - before))
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert {"airflow", "airflow_batchemr"} == set(ran.stdout.splitlines()[-1].split())
