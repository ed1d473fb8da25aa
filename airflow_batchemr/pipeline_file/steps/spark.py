"""Steps that run a Spark application with spark-submit."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from airflow_batchemr.pipeline_file.models.spark import Spark
from airflow_batchemr.pipeline_file.needs import Needs
from airflow_batchemr.pipeline_file.steps.base import StepKind, command_runner, env_command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.pipeline_file.models.spark import Logs, OnFailure

#: Name of the folder into which YARN unpacks a packed Python environment.
ARCHIVE = "environment"
#: What a shell executes, or YARN changes, in arguments of an application in cluster mode. Spark quotes them for the
#: script with which YARN starts the driver, but not backticks and backslashes (YarnSparkHadoopUtil.escapeForShell), and
#: YARN then replaces `{{` by `$`, and removes `}}` (ContainerLaunch.expandEnvironment).
_NOT_QUOTED = re.compile(r"`|\\[\\$\"`\n]|\{\{|\}\}|<(LOG_DIR|CPS|\w{0,20}ADD_OPENS\w{0,20})>")
#: The same in the application, which Spark does not quote at all.
_SHELL = re.compile(r"[\s`$\"'\\;&|<>(){}]")
_APP_MASTER, _EXECUTOR = "spark.yarn.appMasterEnv.", "spark.executorEnv."


class SparkStep(StepKind):
    """A Spark application."""

    takes_environment: ClassVar[bool] = True

    spark: Spark = Field(description="Run a Spark application")

    def default_name(self) -> str:
        """Return `spark` and the main class or the name of the application's file."""
        return f"spark {self.spark.class_ or posixpath.basename(self.spark.py or self.spark.jar or '')}"

    def config(self, environment: Mapping[str, str], pythons: Mapping[str, PythonEnv]) -> dict[str, Any]:
        """Run spark-submit."""
        spark = self.spark
        python = pythons.get(spark.python_env) if spark.python_env else None
        # In client mode the driver is spark-submit itself, for which YARN sets no variables.
        variables = env_command(environment) if spark.deploy_mode == "client" else []
        return command_runner([*variables, *spark_submit(spark, python=python, environment=environment)])

    def refusal(self) -> str | None:
        """Refuse what would be executed on the cluster instead of being passed to the application."""
        spark = self.spark
        if spark.deploy_mode != "cluster":
            return None
        values = [("py", spark.py or "", _SHELL), ("jar", spark.jar or "", _SHELL)]
        values += [(f"args[{position}]", value, _NOT_QUOTED) for position, value in enumerate(spark.args)]
        for key, value, unsafe in values:
            if found := unsafe.search(value):
                return (
                    f"spark.{key}: {found[0]!r} is not supported with `deploy_mode: cluster`, because a shell of YARN "
                    "would execute or change it: pass the value as a variable in `env:`, or set `deploy_mode: client`"
                )
        return None

    def needs(self) -> Needs:
        """Require Spark, and the versions, Python environment and image that the block names."""
        return Needs(
            applications=["Spark"],
            requires=dict(self.spark.requires),
            python_env=[self.spark.python_env] if self.spark.python_env else [],
            docker_image=[self.spark.docker_image] if self.spark.docker_image else [],
        )

    @property
    def on_failure(self) -> OnFailure | None:
        """The `on_failure` of the block."""
        return self.spark.on_failure

    @property
    def logs(self) -> Logs | None:
        """The `logs` of the block."""
        return self.spark.logs


@dataclass(frozen=True)
class PythonEnv:
    """The Python of driver and executors: packed in an archive, or installed on every machine by a bootstrap action.

    Attributes:
        python: path of the interpreter in a YARN container.
        archive: URI of the archive to distribute with the application.
    """

    python: str
    archive: str | None = None

    @classmethod
    def packed(cls, uri: str) -> PythonEnv:
        """Describe an archive made by conda-pack or venv-pack."""
        return cls(f"./{ARCHIVE}/bin/python", f"{uri}#{ARCHIVE}")

    @classmethod
    def installed(cls, folder: str) -> PythonEnv:
        """Describe an environment that a bootstrap action creates in a folder."""
        return cls(f"{folder}/bin/python")


def spark_submit(
    spark: Spark, *, python: PythonEnv | None = None, environment: Mapping[str, str] | None = None
) -> list[str]:
    """Return the spark-submit command of a block. Its `conf` takes precedence over properties from other options.

    Args:
        spark: the block.
        python: the environment of `python_env`.
        environment: variables for driver and executors.
    """
    words = ["spark-submit", "--deploy-mode", spark.deploy_mode]
    if spark.class_:
        words += ["--class", spark.class_]
    for key, value in {**_conf(spark, python, environment or {}), **spark.conf}.items():
        words += ["--conf", f"{key}={value}"]
    archives = [*spark.archives, *([python.archive] if python and python.archive else [])]
    for option, values in (
        ("--packages", spark.packages),
        ("--jars", spark.jars),
        ("--py-files", spark.py_files),
        ("--files", spark.files),
        ("--archives", archives),
    ):
        if values:
            words += [option, ",".join(values)]
    for option, size in (
        ("--driver-memory", spark.driver_memory and f"{spark.driver_memory}m"),
        ("--driver-cores", spark.driver_cores),
        ("--executor-memory", spark.executor_memory and f"{spark.executor_memory}m"),
        ("--executor-cores", spark.executor_cores),
        ("--num-executors", spark.num_executors),
    ):
        if size:
            words += [option, str(size)]
    application = spark.py or spark.jar
    assert application is not None  # noqa: S101 - checked by the model
    return [*words, application, *spark.args]


def _conf(spark: Spark, python: PythonEnv | None, environment: Mapping[str, str]) -> dict[str, str]:
    conf: dict[str, str] = {}
    for name, value in environment.items():
        conf[f"{_APP_MASTER}{name}"] = conf[f"{_EXECUTOR}{name}"] = _for_yarn(value)
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
            conf[f"{prefix}YARN_CONTAINER_RUNTIME_DOCKER_IMAGE"] = _for_yarn(spark.docker_image)
    return conf


def _for_yarn(value: str) -> str:
    """Escape a value for the script with which YARN starts a container.

    The script has it in double quotes, and unescaped (Hadoop: ContainerLaunch.ShellScriptBuilder.env), after YARN has
    replaced `{{`, `}}` and names such as `<CPS>` (ContainerLaunch.expandEnvironment); empty quotes prevent that.
    """
    escaped = re.sub(r'[\\"$`]', r"\\\g<0>", value)
    return re.sub(r"(?<=\{)(?=\{)|(?<=\})(?=\})|(?<=<)(?=[A-Z_]+>)", '""', escaped)
