"""What the pages show to whom, and with which AWS credentials Airflow's API server reads it."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import DAG
from airflow.utils.session import create_session

from airflow_batchemr.operators.batch import BatchArrayOperator
from tests.integration.test_pages import KEY, nightly, server, text  # noqa: F401 - fixtures

SECRET = "hunter2-and-more"
AT = {"run_key": KEY, "job": "work"}


@pytest.fixture
def run_work(aws, run_dag, work):
    """`run_work(dag_id, script="true", **arguments)` runs a Dag whose task `work` is a Batch job."""

    def run(dag_id, script="true", **arguments):
        with DAG(dag_id, schedule=None) as dag:
            command = work.command(script)
            BatchArrayOperator(task_id="work", queue="default", image="busybox", command=command, **arguments)
        return run_dag(dag)

    return run


@pytest.fixture
def connection(monkeypatch):
    """`connection(id, **of_the_team)` defines a connection to the local AWS where the API server can find it."""

    def define(conn_id="aws_default", team=None, **extra):
        prefix = f"_{team.upper()}__" if team else ""
        monkeypatch.setenv(f"AIRFLOW_CONN_{prefix}{'_' if team else ''}{conn_id.upper()}", json.dumps(
            {"conn_type": "aws", "extra": extra}
        ))  # fmt: skip

    return define


@pytest.fixture
def no_connection(monkeypatch, airflow_db):
    """No connection `aws_default` exists."""
    monkeypatch.delenv("AIRFLOW_CONN_AWS_DEFAULT", raising=False)


# Credentials of the API server


@pytest.mark.parametrize("path", ["/batchemr/", "/batchemr/mine", f"/batchemr/mine?run_key={KEY}&job=work"])
def test_a_missing_connection_is_named_and_nothing_is_read(run_work, server, no_connection, aws, path):  # noqa: F811
    """The API server has AWS credentials of its own here, and does not use them."""
    assert "success" == run_work("mine").state
    aws.reset_requests()
    answer = server("viewer").get(path)
    assert 502 == answer.status_code
    assert "The connection aws_default is not defined" in answer.text
    assert {} == aws.requests()


def test_the_dags_own_connection_is_named(run_work, server, connection, aws):  # noqa: F811
    """The default one is not used instead."""
    connection()
    assert "success" == run_work("own_connection", aws_conn_id="team_b_aws").state
    aws.reset_requests()
    answer = server("viewer").get("/batchemr/own_connection")
    assert 502 == answer.status_code
    assert "The connection team_b_aws is not defined" in answer.text
    assert {} == aws.requests()
    connection("team_b_aws")
    assert f"{KEY} succeeded" in text(server("viewer").get("/batchemr/own_connection"))


def test_an_empty_connection_means_the_role_of_the_api_server(run_work, server, connection):  # noqa: F811
    """As Airflow documents: whoever may edit connections has allowed it."""
    connection()
    run_work("mine")
    assert f"{KEY} succeeded" in text(server("viewer").get("/batchemr/mine"))


def test_without_a_connection_only_the_configured_ledger_is_read(run_work, server, no_connection, aws):  # noqa: F811
    """The author of a Dag chooses the state URI, and must not choose what the API server's role reads."""
    run_work("role", aws_conn_id=None)
    assert f"{KEY} succeeded" in text(server("viewer").get("/batchemr/role"))
    run_work("role_elsewhere", aws_conn_id=None, state="s3://state/elsewhere")
    aws.reset_requests()
    answer = server("viewer").get("/batchemr/role_elsewhere")
    assert 502 == answer.status_code
    assert "role_elsewhere have no connection (aws_conn_id=None)" in answer.text
    assert {} == aws.requests()


def test_a_connection_of_another_team_is_not_used(run_work, server, no_connection, connection, monkeypatch):  # noqa: F811
    """With `[core] multi_team`, the connections of the Dag's team count, as for its tasks."""
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.team import Team

    run_work("of_team_a")
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    with create_session() as session:
        team = Team(name="team_a")
        session.add(team)
        bundle = session.get(DagBundleModel, "dags-folder")
        bundle.teams.append(team)
    try:
        connection(team="team_b")
        answer = server("admin").get("/batchemr/of_team_a")
        assert 502 == answer.status_code
        assert "The connection aws_default is not defined, for the team team_a," in answer.text
        connection(team="team_a")
        assert f"{KEY} succeeded" in text(server("admin").get("/batchemr/of_team_a"))
    finally:
        with create_session() as session:
            session.delete(session.get(Team, "team_a"))


def test_a_dag_with_several_ledgers_shows_all_that_can_be_read(aws, run_dag, server, connection, work):  # noqa: F811
    """Each job is read with the connection of its task; what cannot be read is a note."""
    connection()
    with DAG("several", schedule=None) as dag:
        for name, more in {
            "first": {},
            "second": {"state": "s3://state/second"},
            "third": {"state": "s3://state/third", "aws_conn_id": "missing"},
        }.items():
            BatchArrayOperator(task_id=name, queue="default", image="a", command=work.command("true"), **more)
    assert "success" == run_dag(dag).state
    client = server("viewer")
    shown = text(client.get("/batchemr/several"))
    assert f"run first second {KEY} succeeded succeeded" in shown
    assert "The connection missing is not defined" in shown
    assert "second succeeded 1/1" in text(client.get("/batchemr/several", params={"run_key": KEY}))
    second = text(client.get("/batchemr/several", params={"run_key": KEY, "job": "second"}))
    assert "s3://state/second/several" in second
    assert "not defined" not in second
    assert 502 == client.get("/batchemr/several", params={"run_key": KEY, "job": "third"}).status_code


# Rights of the user


def deny(monkeypatch, entity):
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    allows = SimpleAuthManager.is_authorized_dag

    def without_entity(self, **asked):
        return asked.get("access_entity") != entity and allows(self, **asked)

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", without_entity)


def test_text_of_logs_needs_the_right_to_read_task_logs(nightly, server, connection, monkeypatch):  # noqa: F811
    """Without it, the rest of the page is shown, with a note."""
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity

    connection()
    at = {"run_key": KEY, "job": "nightly", "index": 2}
    whole = text(server("viewer").get("/batchemr/nightly", params=at))
    assert "1 of 4 indices failed; 3 are done" in whole
    assert "reason Essential container in task exited" in whole
    deny(monkeypatch, DagAccessEntity.TASK_LOGS)
    client = server("viewer")
    shown = text(client.get("/batchemr/nightly", params=at))
    assert "1 of 4 indices failed" not in shown
    assert "Essential container" not in shown
    assert "nightly: failed , 3/4 done" in shown
    assert "exit code 65" in shown
    assert "shown to users who may read the task logs of the Dag" in shown
    assert f"{KEY} failed 3/4" in text(client.get("/batchemr/nightly"))


def test_the_cause_of_a_failed_step_needs_the_right_to_read_task_logs(aws, run_dag, server, connection, monkeypatch):  # noqa: F811
    """It quotes the log of the step."""
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity

    from tests.integration.test_emr_failure_reports import LOGGED, own_dag

    connection()
    aws.client("s3").create_bucket(Bucket="logs")
    command = ["sh", "-c", "echo too few rows: 10 of at least 100 >&2; exit 3"]
    assert "failed" == run_dag(own_dag("checks", [{"name": "check", "command": command}], LOGGED)).state
    assert "failed: too few rows" in text(server("viewer").get("/batchemr/checks", params=AT))
    deny(monkeypatch, DagAccessEntity.TASK_LOGS)
    shown = server("viewer").get("/batchemr/checks", params=AT)
    assert "failed: too few rows" not in text(shown)
    assert ": FAILED" in text(shown)


def test_the_list_of_pipelines_needs_the_right_to_see_task_instances(nightly, server, connection, monkeypatch):  # noqa: F811
    """It shows run keys."""
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity

    connection()
    assert "nightly" in text(server("viewer").get("/batchemr/"))
    deny(monkeypatch, DagAccessEntity.TASK_INSTANCE)
    assert "nightly" not in text(server("viewer").get("/batchemr/"))


# Secrets


def test_secrets_of_the_job_and_the_connection_are_masked_on_pages(aws, run_dag, server, connection, monkeypatch):  # noqa: F811
    """In the failure report, the command and the facts."""
    from tests.integration.test_emr_failure_reports import LOGGED, own_dag

    aws.client("s3").create_bucket(Bucket="logs")
    script = f'echo "failed with $1 $3, my-connection" >&2; exit 3 # {SECRET}'
    command = ["sh", "-c", script, "step", f"DB_PASSWORD={SECRET}", "--api-token", "4711-0815-4712"]
    finished = run_dag(own_dag("leaks", [{"name": "check", "command": command}], LOGGED))
    assert "failed with DB_PASSWORD=*** ***, my-connection" in finished.output
    # With this secret in its extra, the connection could not be used with the local AWS
    monkeypatch.setattr(
        "airflow_batchemr.plugin.state_location.connection_secrets", lambda _: frozenset({"my-connection"})
    )
    answer = server("viewer").get("/batchemr/leaks", params=AT)
    assert "failed with DB_PASSWORD=*** ***, ***" in text(answer)
    for secret in (SECRET, "4711-0815-4712", "my-connection"):
        assert secret not in answer.text


def test_the_secrets_of_a_connection_are_its_password_and_parts_of_its_extra(monkeypatch, airflow_db):
    """By the names that Airflow regards as secret."""
    from airflow_batchemr.plugin.state_location import StateLocation

    extra = {
        "aws_session_token": "a-token",
        "region_name": "eu-west-1",
        "config_kwargs": {"proxy_password": "of-proxy"},
    }
    value = {"conn_type": "aws", "login": "AKIA", "password": SECRET, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(value))
    assert StateLocation("s3://state/x").open()[1] == {SECRET, "a-token", "of-proxy"}
