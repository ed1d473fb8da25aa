"""Secret values in requests, found by their names."""

from __future__ import annotations

import pytest

from airflow_batchemr.core.secret_values import secret_values, without
from tests.unit.hostile.bounds import bounded

SECRET = "hunter2-and-more"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END PRIVATE KEY-----"


def secret_name(name):
    return any(word in name.lower() for word in ("password", "token", "secret"))


@pytest.mark.parametrize(
    "request_",
    [
        {"containerOverrides": {"environment": [{"name": "DB_PASSWORD", "value": SECRET}]}},
        {"Configurations": [{"Classification": "x", "Properties": {"javax.jdo.option.ConnectionPassword": SECRET}}]},
        {"Steps": [{"HadoopJarStep": {"Args": ["spark-submit", "--conf", f"spark.jdbc.password={SECRET}", "x.py"]}}]},
        {"Steps": [{"HadoopJarStep": {"Args": ["spark-submit", f"--conf=spark.jdbc.password={SECRET}", "x.py"]}}]},
        {"Steps": [{"HadoopJarStep": {"Args": ["x.py", "--password", SECRET]}}]},
        {"Steps": [{"HadoopJarStep": {"Args": ["x.py", f"--api-token={SECRET}"]}}]},
        {"HadoopJarStep": {"Properties": [{"Key": "my.secret", "Value": SECRET}]}},
        {"jobDriver": {"sparkSubmit": {"sparkSubmitParameters": f"--class A --conf spark.token={SECRET} --conf a=b"}}},
        {"parameters": {"password": SECRET}},
    ],
)
def test_values_with_a_secret_name_are_found(request_):
    """Wherever AWS's requests have names."""
    assert secret_values(request_, secret_name) == {SECRET}


@pytest.mark.parametrize(
    "request_",
    [
        {"secrets": [{"name": "DB_PASSWORD", "valueFrom": "arn:aws:secretsmanager:us-east-1:1:secret:db"}]},
        {"environment": [{"name": "TOKEN", "value": "abc"}, {"name": "USE_TOKEN", "value": "false"}]},
        {"environment": [{"name": "PLAIN", "value": "plain-value"}, {"name": "TOKEN"}, {"name": "TOKEN", "value": ""}]},
        {"command": ["sh", "-c", "echo $PASSWORD", "--password"]},
        {},
        None,
    ],
)
def test_other_values_are_not(request_):
    """ARNs of secrets, short values and switches."""
    assert secret_values(request_, secret_name) == set()


def test_the_longest_secret_is_replaced_first():
    """So that no part of it is left."""
    assert without({"abcde", "abcdefgh"}, "x abcdefgh abcde") == "x *** ***"


def test_the_lines_of_a_private_key_are_secret():
    """A log has them one by one; its first line is not secret."""
    secrets = secret_values({"environment": [{"name": "KEY_SECRET", "value": KEY}]}, secret_name)
    log = [without(secrets, line) for line in KEY.splitlines()]
    assert log == ["-----BEGIN PRIVATE KEY-----", "***", "***", "-----END PRIVATE KEY-----"]
    assert without(secrets, f"key: {KEY}") == "key: ***"


@pytest.mark.parametrize("value", [f"{SECRET}\n", f" {SECRET}\r\n", f"{SECRET}\n0123456789abcdef-of-old\n"])
def test_a_secret_with_line_breaks_is_replaced_in_each_line(value):
    """As it was read from a file; a log does not have its line break."""
    secrets = secret_values({"environment": [{"name": "DB_PASSWORD", "value": value}]}, secret_name)
    assert [without(secrets, f"using {line.strip()}!") for line in value.splitlines()] == ["using ***!"] * len(
        value.splitlines()
    )


def test_a_hostile_request_is_read_in_bounds():
    """Deeply nested, or with long texts of many assignments."""
    deep = {"password": SECRET}
    for _ in range(5_000):
        deep = {"a": [deep]}
    long = ["--conf " + "a=" * 200_000, "=" * 400_000, "-" * 400_000]
    with bounded(memory=100_000_000, lines=2_000_000):
        assert secret_values([deep, long], secret_name) == {SECRET}


def test_a_secret_in_parts_is_replaced():
    """Removing the colors, or the carriage returns of a key, must not make it complete."""
    assert without({"abcdefgh"}, "x abc\x1b[31mdef\x1b[0mgh") == "x ***"
    assert without({"abc\r\ndef"}, "x abc\ndef") == "x ***"
    assert without({"ab\x1bcdef"}, "x ab\x1bcdef") == "x ***"
    assert without({"\x1b[31m\x1b[0m"}, "x\x07") == "x\\x07"
