"""The numbered steps of a job, and what they need from their cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_batchemr.aws.emr.python_env import environments
from airflow_batchemr.aws.emr.step_configs import plan_steps
from airflow_batchemr.pipeline_file.needs import Needs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.python_env import Environment
    from airflow_batchemr.aws.emr.step_configs import PlannedStep
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.pipeline_file.models import Step
    from airflow_batchemr.pipeline_file.models.spark import OnFailure

#: Environment variables of a step. The submission's number is left out, because it would change the steps of each try.
_STABLE = ("PIPELINE_RUN_ID", "BATCHEMR_DAG_ID", "BATCHEMR_RUN_KEY", "BATCHEMR_JOB", "BATCHEMR_STATE")


@dataclass(frozen=True)
class JobSteps:
    """See the module.

    Attributes:
        planned: the steps.
        needs: what they need from their cluster.
        pythons: the environment of each `python_env`.
    """

    planned: Sequence[PlannedStep]
    needs: Needs = field(default_factory=Needs)
    pythons: Mapping[str, Environment] = field(default_factory=dict)

    @property
    def installed(self) -> dict[str, str]:
        """Names of the bootstrap actions that create Python environments, by the value of `python_env`."""
        return {value: one.name for value, one in self.pythons.items() if one.script is not None}


def job_steps(
    steps: Sequence[Step],
    *,
    clients: Clients | None,
    identity: JobIdentity,
    folder: Path,
    on_failure: OnFailure | None = None,
    env: Mapping[str, str] | None = None,
) -> JobSteps:
    """Number the steps of a job and find out what they need.

    Args:
        steps: as in the pipeline file.
        clients: for Python environments in S3; None: leave out all Python environments.
        identity: of the job.
        folder: base of relative paths.
        on_failure: for steps without their own.
        env: variables for commands, drivers and executors.

    Raises:
        InvalidRequest: names the step and the option.
    """
    needs = Needs.of(steps)
    pythons = {} if clients is None else environments(clients, needs.python_env, folder)
    variables = identity.environment(0)
    planned = plan_steps(
        steps,
        on_failure=on_failure,
        environment={**{name: variables[name] for name in _STABLE}, **(env or {})},
        pythons={value: one.python for value, one in pythons.items()},
    )
    return JobSteps(planned, needs, pythons)
