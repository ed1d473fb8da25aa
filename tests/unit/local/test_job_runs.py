"""Parts of the local job runs that do not need a server."""

from __future__ import annotations

import time

import pytest

from airflow_batchemr.local.constraints import violations
from airflow_batchemr.local.job_runs.command import spark_command
from airflow_batchemr.local.job_runs.tokens import ClientTokens
from airflow_batchemr.local.protocol import AwsError, load
from airflow_batchemr.local.visibility import Visibility

DRIVER = "spark.kubernetes.driverEnv."


@pytest.mark.parametrize(
    ("parameters", "arguments", "environment"),
    [
        ("", [], {}),
        (f"--conf {DRIVER}A=1 -c '{DRIVER}B=x y'", ["--conf", f"{DRIVER}A=1", "-c", f"{DRIVER}B=x y"],
         {"A": "1", "B": "x y"}),
        (f"--conf={DRIVER}A=b=c", [f"--conf={DRIVER}A=b=c"], {"A": "b=c"}),
        ("--master yarn --deploy-mode cluster --class A", ["--class", "A"], {}),
        ("--conf spark.executorEnv.A=1", ["--conf", "spark.executorEnv.A=1"], {}),
    ],
)  # fmt: skip
def test_parameters_become_arguments_and_variables(parameters, arguments, environment):
    """Master and deploy mode are dropped. Arguments of the application do not change."""
    application = ["s3://code/x.py", "--conf", f"{DRIVER}NOT=1"]
    argv, found = spark_command(parameters, application, {}, DRIVER)
    assert (["spark-submit", *arguments, *application], environment) == (argv, found)


def test_parameters_take_precedence_over_defaults():
    """Spark uses the last value of a property."""
    argv, environment = spark_command(f"--conf {DRIVER}A=2", ["x.py"], {f"{DRIVER}A": "1"}, DRIVER)
    assert argv.index(f"{DRIVER}A=1") < argv.index(f"{DRIVER}A=2")
    assert {"A": "2"} == environment


def test_a_missing_closing_quote_is_an_error():
    """The service rejects it."""
    with pytest.raises(ValueError, match="No closing quotation"):
        spark_command("--conf 'a", ["x.py"], {}, DRIVER)


@pytest.mark.parametrize(
    ("params", "member"),
    [
        ({"name": "a b"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"jobDriver": {"sparkSubmitJobDriver": {"entryPoint": "x" * 257}}}, "jobDriver.sparkSubmitJobDriver"),
        ({"tags": {"k" * 129: "v"}}, "tags"),
    ],
)
def test_violations_name_the_member(params, member):
    """Pattern, length, length in a nested structure, and length of a map's key."""
    shape = load("emr-containers").operation_model("StartJobRun").input_shape
    found = list(violations(shape, params))
    assert found
    assert all(member in text for text in found)
    assert [] == list(violations(shape, {"name": "a-b", "tags": {"k": "v"}}))


def test_an_unknown_state_is_a_violation():
    """Also in a list."""
    shape = load("emr-containers").operation_model("ListJobRuns").input_shape
    assert [] == list(violations(shape, {"states": ["FAILED"]}))
    assert ["states"] == [text.split("'")[1] for text in violations(shape, {"states": ["FAILED", "LOST"]})]


def test_a_client_token_is_valid_in_its_scope():
    """The same token can be used in another scope."""
    tokens = ClientTokens(lambda message: AwsError("ConflictException", message, 409))
    tokens.keep("a", {"clientToken": "t", "x": 1}, "first")
    assert "first" == tokens.find("a", {"clientToken": "t", "x": 1})
    assert None is tokens.find("b", {"clientToken": "t", "x": 2})
    with pytest.raises(AwsError, match="different parameters"):
        tokens.find("a", {"clientToken": "t", "x": 2})


def test_hide_new_only_hides_later_resources(monkeypatch):
    """Resources hidden by id, including children of an array, stay hidden for the given time."""
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    visibility = Visibility()
    visibility.hide_new(30)
    visibility.hide("job", 10)
    assert not visibility.hides("old", 999.0)
    assert visibility.hides("new", 1000.0)
    assert (True, True) == (visibility.hides("job", 900.0), visibility.hides("job:3", 900.0))
    now = 1030.0
    assert (False, True) == (visibility.hides("new", 1000.0), visibility.hides("newer", 1001.0))
    assert not visibility.hides("job", 900.0)
    visibility.clear()
    assert not visibility.hides("newer", 1001.0)
