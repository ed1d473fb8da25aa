"""EMR's StepConfigs for the steps of the pipeline file, numbered for the ledger."""

from __future__ import annotations

import hashlib
import json
import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr.spark_submit import spark_submit
from airflow_batchemr.core.indices import IndexSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.aws.emr.spark_submit import PythonEnv
    from airflow_batchemr.pipeline_file.models import Copy, Spark, Step
    from airflow_batchemr.pipeline_file.models.spark import OnFailure

#: The jar that runs any command on the master.
COMMAND_RUNNER = "command-runner.jar"
#: EMR: steps per RunJobFlow and AddJobFlowSteps.
STEPS_A_CALL = 256
#: EMR: characters of a step's name.
NAME_LENGTH = 256


@dataclass(frozen=True)
class PlannedStep:
    """One step of a job, as the ledger numbers it."""

    number: int
    name: str
    """Display name."""
    body: dict[str, Any] = field(hash=False)
    """StepConfig without Name and ActionOnFailure."""
    on_failure: OnFailure | None
    """`on_failure` of the step or the job."""
    stage: int = 1
    """Stages run one after another at any concurrency: 0 for copies at the beginning, 2 for copies at the end."""

    @property
    def digest(self) -> str:
        """Identifies what the step does, to compare it with a step that the ledger has recorded as done."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()[:16]

    def title(self, submission: str) -> str:
        """The step's name on EMR: its display name, and a suffix by which it is found after a crash."""
        mark = f" [{submission}-s{self.number:04d}]"
        return self.name[: NAME_LENGTH - len(mark)] + mark

    def config(self, submission: str, default: OnFailure) -> dict[str, Any]:
        """The StepConfig of this step in a submission.

        Args:
            submission: the submission's deterministic name.
            default: what EMR does on failure if neither step nor job specify it.
        """
        action = (self.on_failure or default).upper()
        return {"Name": self.title(submission), "ActionOnFailure": action, **self.body}


def plan_steps(
    steps: Sequence[Step],
    *,
    on_failure: OnFailure | None = None,
    environment: Mapping[str, str] | None = None,
    pythons: Mapping[str, PythonEnv] | None = None,
) -> list[PlannedStep]:
    """All steps of a job in the order in which they run.

    Args:
        steps: as in the file.
        on_failure: of the job; a step's own overrides it.
        environment: variables for commands, drivers and executors.
        pythons: the environment of each `python_env`.
    """
    planned = []
    copies = [step.copy_ is not None for step in steps]
    before = copies.index(False) if False in copies else len(copies)
    after = len(copies) - copies[::-1].index(False) if False in copies else len(copies)
    for number, step in enumerate(steps):
        name, body = _step(step, environment or {}, pythons or {})
        raw = (step.raw or {}).get("ActionOnFailure")
        own = step.on_failure or (step.spark.on_failure if step.spark else None) or (raw.lower() if raw else None)
        stage = 0 if number < before else 2 if number >= after else 1
        planned.append(PlannedStep(number, step.name or name, body, own or on_failure, stage))
    return planned


def remaining(planned: Sequence[PlannedStep], done: Mapping[int, str], *, ordered: bool = True) -> list[PlannedStep]:
    """The steps that are left to do.

    A step that is done but has changed since runs again, and with it all later steps, which may depend on it.

    Args:
        planned: all steps.
        done: digest of each step at the time it succeeded.
        ordered: whether steps run one after another; concurrent steps do not depend on each other.
    """
    changed = [step for step in planned if step.number in done and done[step.number] != step.digest]
    if not changed:
        return [step for step in planned if step.number not in done]
    first = changed[0]
    return [
        step
        for step in planned
        if step.number not in done
        or step in changed
        or (step.number > first.number if ordered else step.stage > first.stage)
    ]


def numbers(planned: Sequence[PlannedStep]) -> IndexSet:
    """The steps' numbers."""
    return IndexSet.of(step.number for step in planned)


def _runner(arguments: Sequence[str]) -> dict[str, Any]:
    return {"HadoopJarStep": {"Jar": COMMAND_RUNNER, "Args": list(arguments)}}


def _copy(copy: Copy) -> dict[str, Any]:
    return _runner(["s3-dist-cp", f"--src={copy.source}", f"--dest={copy.destination}", *copy.args])


def _spark(spark: Spark, environment: Mapping[str, str], pythons: Mapping[str, PythonEnv]) -> dict[str, Any]:
    python = pythons.get(spark.python_env) if spark.python_env else None
    command = spark_submit(spark, python=python, environment=environment)
    # In client mode the driver is spark-submit itself, for which YARN sets nothing
    variables = _variables(environment) if spark.deploy_mode == "client" else []
    return _runner([*variables, *command])


def _variables(environment: Mapping[str, str]) -> list[str]:
    """The `env` command that sets variables for the command that follows."""
    return ["env", *(f"{name}={value}" for name, value in environment.items())] if environment else []


def _spark_name(spark: Spark) -> str:
    return f"spark {spark.class_ or posixpath.basename(spark.py or spark.jar or '')}"


def _step(step: Step, environment: Mapping[str, str], pythons: Mapping[str, PythonEnv]) -> tuple[str, dict[str, Any]]:
    """The default name of a step, and its body."""
    if step.spark is not None:
        return _spark_name(step.spark), _spark(step.spark, environment, pythons)
    if step.copy_ is not None:
        return f"copy {step.copy_.source}", _copy(step.copy_)
    if step.hive is not None:
        arguments = ["hive-script", "--run-hive-script", "--args", "-f", step.hive.script, *step.hive.args]
        return f"hive {posixpath.basename(step.hive.script)}", _runner(arguments)
    if step.raw is not None:
        body = {key: value for key, value in step.raw.items() if key not in {"Name", "ActionOnFailure"}}
        return str(step.raw.get("Name", "step")), body
    if step.jar is not None:
        properties = [{"Key": key, "Value": value} for key, value in step.properties.items()]
        jar = {"Jar": step.jar, "MainClass": step.class_, "Args": list(step.args), "Properties": properties}
        return step.class_ or posixpath.basename(step.jar), {"HadoopJarStep": {k: v for k, v in jar.items() if v}}
    command = step.command
    assert command is not None  # noqa: S101 - the model has checked
    # No shell: a rendered template remains a single argument
    return posixpath.basename(command[0]) or "command", _runner([*_variables(environment), *command])
