"""Arguments of the local spark-submit for commands that are written for YARN."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_batchemr.local.spark import hadoop, submit


@pytest.mark.parametrize(
    ("given", "left", "mode"),
    [
        (["app.py"], ["app.py"], "client"),
        (["--master", "yarn", "--deploy-mode", "cluster", "app.py", "x"], ["app.py", "x"], "cluster"),
        (["--master=yarn", "--deploy-mode=client", "app.py"], ["app.py"], "client"),
        (["--class", "A", "-v", "a.jar", "--master", "x"], ["--class", "A", "-v", "a.jar", "--master", "x"], "client"),
        (["--conf", "spark.submit.deployMode=cluster", "--conf", "a=b", "a.py"], ["--conf", "a=b", "a.py"], "cluster"),
        (["--conf", "spark.master=yarn", "a.py"], ["a.py"], "client"),
        (["--name", "app.py", "--deploy-mode", "cluster", "b.py"], ["--name", "app.py", "b.py"], "cluster"),
    ],
)  # fmt: skip
def test_master_and_deploy_mode_are_dropped(given, left, mode):
    """Only before the application; its arguments do not change."""
    assert (left, mode) == submit.local_arguments(given)


@pytest.mark.parametrize("script", [submit, hadoop])
def test_missing_spark_is_reported_with_the_extra_to_install(script):
    """The step fails."""
    ran = subprocess.run(
        [sys.executable, script.__file__, "app.py"], env={}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "pip install 'airflow-batchemr[spark]'" in ran.stderr
