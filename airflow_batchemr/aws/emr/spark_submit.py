"""The spark-submit command of a `spark:` block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.pipeline_file.models import Spark

#: Name of the folder into which YARN unpacks a packed Python environment.
ARCHIVE = "environment"
_APP_MASTER, _EXECUTOR = "spark.yarn.appMasterEnv.", "spark.executorEnv."


@dataclass(frozen=True)
class PythonEnv:
    """A Python for driver and executors: packed in an archive, or installed on every machine by a bootstrap action."""

    python: str
    """Path of the interpreter, as a container of YARN sees it."""
    archive: str | None = None
    """URI of the archive to distribute with the application."""

    @classmethod
    def packed(cls, uri: str) -> PythonEnv:
        """An archive of conda-pack or venv-pack."""
        return cls(f"./{ARCHIVE}/bin/python", f"{uri}#{ARCHIVE}")

    @classmethod
    def installed(cls, folder: str) -> PythonEnv:
        """An environment that a bootstrap action has created."""
        return cls(f"{folder}/bin/python")


def spark_submit(
    spark: Spark, *, python: PythonEnv | None = None, environment: Mapping[str, str] | None = None
) -> list[str]:
    """The program and arguments of the spark-submit command of a block.

    The block's own `conf` overrides the generated properties.

    Args:
        spark: the block.
        python: the environment of `python_env`.
        environment: variables for driver and executors.
    """
    arguments = ["spark-submit", "--deploy-mode", spark.deploy_mode]
    if spark.class_:
        arguments += ["--class", spark.class_]
    for key, value in {**_conf(spark, python, environment or {}), **spark.conf}.items():
        arguments += ["--conf", f"{key}={value}"]
    archives = [*spark.archives, *([python.archive] if python and python.archive else [])]
    for option, values in (
        ("--packages", spark.packages),
        ("--jars", spark.jars),
        ("--py-files", spark.py_files),
        ("--files", spark.files),
        ("--archives", archives),
    ):
        if values:
            arguments += [option, ",".join(values)]
    for option, size in (
        ("--driver-memory", spark.driver_memory and f"{spark.driver_memory}m"),
        ("--driver-cores", spark.driver_cores),
        ("--executor-memory", spark.executor_memory and f"{spark.executor_memory}m"),
        ("--executor-cores", spark.executor_cores),
        ("--num-executors", spark.num_executors),
    ):
        if size:
            arguments += [option, str(size)]
    application = spark.py or spark.jar
    assert application is not None  # noqa: S101 - the model has checked
    return [*arguments, application, *spark.args]


def _conf(spark: Spark, python: PythonEnv | None, environment: Mapping[str, str]) -> dict[str, str]:
    conf: dict[str, str] = {}
    for name, value in environment.items():
        conf[f"{_APP_MASTER}{name}"] = value
        conf[f"{_EXECUTOR}{name}"] = value
    if python is not None:
        # In cluster mode the driver is YARN's application master; in client mode it runs on the master itself.
        conf["spark.pyspark.python"] = python.python
        conf[f"{_APP_MASTER}PYSPARK_PYTHON"] = python.python
        conf[f"{_EXECUTOR}PYSPARK_PYTHON"] = python.python
        if python.archive is None:
            conf["spark.pyspark.driver.python"] = python.python
    if spark.docker_image:
        for prefix in (_APP_MASTER, _EXECUTOR):
            conf[f"{prefix}YARN_CONTAINER_RUNTIME_TYPE"] = "docker"
            conf[f"{prefix}YARN_CONTAINER_RUNTIME_DOCKER_IMAGE"] = spark.docker_image
    return conf
