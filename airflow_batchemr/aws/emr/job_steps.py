"""The steps of a job as EMR StepConfigs, numbered for the ledger, and what they need from their cluster."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr.python_env import environments
from airflow_batchemr.core.errors import InvalidRequest
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.core.preamble import STEP_VARIABLES
from airflow_batchemr.pipeline_file.needs import Needs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.python_env import Environment
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.pipeline_file.models import Step
    from airflow_batchemr.pipeline_file.models.spark import OnFailure
    from airflow_batchemr.pipeline_file.steps.base import StepKind
    from airflow_batchemr.pipeline_file.steps.spark import PythonEnv

#: EMR: characters of a step's name.
NAME_LENGTH = 256


@dataclass(frozen=True)
class PlannedStep:
    """One step of a job, as the ledger numbers it.

    Attributes:
        number: position in the job, from 0.
        name: name without the submission.
        body: StepConfig without `Name` and `ActionOnFailure`.
        on_failure: the option of the step, or else of the job.
        stage: stages run one after another at any concurrency: copies at the beginning are 0, copies at the end 2.
        with_environment: with `explicit_success`, the body with more variables, which differ between submissions.
        refusal: why it must not be submitted; what an earlier version has submitted is watched in any case.
    """

    number: int
    name: str
    body: dict[str, Any] = field(hash=False)
    on_failure: OnFailure | None
    stage: int = 1
    with_environment: Callable[[Mapping[str, str]], dict[str, Any]] | None = field(default=None, compare=False)
    refusal: str | None = field(default=None, compare=False)

    @property
    def explicit(self) -> bool:
        """Whether its program has to write an object to succeed."""
        return self.with_environment is not None

    @property
    def digest(self) -> str:
        """Digest of the body; a step whose digest has changed runs again."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()[:16]

    def title(self, submission: str) -> str:
        """The step's name on EMR; it ends with the submission and number, by which the step is found after a crash."""
        mark = f" [{submission}-s{self.number:04d}]"
        return self.name[: NAME_LENGTH - len(mark)] + mark

    def config(
        self, submission: str, default: OnFailure, environment: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The StepConfig in the submission of that name.

        Args:
            submission: name of the submission.
            default: applies if step and job specify no `on_failure`.
            environment: for `with_environment`.
        """
        action = (self.on_failure or default).upper()
        body = self.with_environment(environment) if self.with_environment and environment else self.body
        return {"Name": self.title(submission), "ActionOnFailure": action, **body}


def plan_steps(
    steps: Sequence[Step],
    *,
    on_failure: OnFailure | None = None,
    environment: Mapping[str, str] | None = None,
    pythons: Mapping[str, PythonEnv] | None = None,
    explicit_success: bool = False,
    rendered: bool = False,
) -> list[PlannedStep]:
    """Number the steps of a job, in the order in which they run; see `job_steps`."""
    planned = []
    variables = environment or {}
    kinds = [step.kind for step in steps]
    others = [number for number, kind in enumerate(kinds) if not kind.is_copy] or [len(kinds)]
    for number, (step, kind) in enumerate(zip(steps, kinds, strict=True)):
        name = step.name or kind.default_name()
        body = kind.config(variables, pythons or {})
        stage = 0 if number < others[0] else 2 if number > others[-1] else 1
        on_step_failure = step.on_failure or kind.on_failure or on_failure
        explicit = (
            partial(_body, kind, variables, pythons or {}) if explicit_success and kind.takes_environment else None
        )
        refusal = kind.refusal() if rendered else None
        planned.append(PlannedStep(number, name, body, on_step_failure, stage, explicit, refusal))
    if explicit_success and not any(step.explicit for step in planned):
        raise InvalidRequest(
            "explicit_success: only `spark` and `command` steps get environment variables, and there are none: have "
            "the program exit with a nonzero code if it did not succeed"
        )
    return planned


def _body(
    kind: StepKind, environment: Mapping[str, str], pythons: Mapping[str, PythonEnv], more: Mapping[str, str]
) -> dict[str, Any]:
    return kind.config({**environment, **more}, pythons)


@dataclass(frozen=True)
class JobSteps:
    """The steps of a job, what they need from their cluster, the environment of each `python_env`, and their role."""

    planned: Sequence[PlannedStep]
    needs: Needs = field(default_factory=Needs)
    pythons: Mapping[str, Environment] = field(default_factory=dict)
    execution_role: str | None = None

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
    explicit_success: bool = False,
    execution_role: str | None = None,
    rendered: bool = False,
) -> JobSteps:
    """Number the steps of a job and find out what they need.

    Args:
        steps: as in the pipeline file.
        clients: for Python environments in S3; None: leave out all Python environments.
        identity: of the job.
        folder: base of relative paths.
        on_failure: for steps without their own.
        env: variables for commands, drivers and executors.
        explicit_success: whether the programs of `spark` and `command` steps have to write an object to succeed.
        execution_role: ARN of their IAM role.
        rendered: whether all templates have been rendered, so that values can be checked.

    Raises:
        InvalidRequest: names the step and the option.
    """
    needs = Needs.of(steps)
    pythons = {} if clients is None else environments(clients, needs.python_env, folder)
    variables = identity.environment(0)
    planned = plan_steps(
        steps,
        on_failure=on_failure,
        environment={**{name: variables[name] for name in STEP_VARIABLES}, **(env or {})},
        pythons={value: one.python for value, one in pythons.items()},
        explicit_success=explicit_success,
        rendered=rendered,
    )
    return JobSteps(planned, needs, pythons, execution_role)


def remaining(planned: Sequence[PlannedStep], done: Mapping[int, str], *, ordered: bool = True) -> list[PlannedStep]:
    """Return the steps that remain to run.

    A step that has succeeded (`done`: number and digest) but has changed since runs again, and so do the steps after
    it, which depend on it unless they are concurrent (not `ordered`).
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
