"""The steps of a job as EMR StepConfigs, numbered for the ledger."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.indices import IndexSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.pipeline_file.models import Step
    from airflow_batchemr.pipeline_file.models.spark import OnFailure
    from airflow_batchemr.pipeline_file.steps.spark import PythonEnv

#: EMR: RunJobFlow and AddJobFlowSteps take up to 256 steps.
STEPS_A_CALL = 256
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
    """

    number: int
    name: str
    body: dict[str, Any] = field(hash=False)
    on_failure: OnFailure | None
    stage: int = 1

    @property
    def digest(self) -> str:
        """Digest of the body; a step whose digest has changed runs again."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()[:16]

    def title(self, submission: str) -> str:
        """The step's name on EMR; it ends with the submission and number, by which the step is found after a crash."""
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
    """Number the steps of a job, in the order in which they run.

    Args:
        steps: the steps.
        on_failure: the option of the job, for steps without their own.
        environment: variables for commands, drivers and executors.
        pythons: Python environments by value of `python_env`.
    """
    planned = []
    kinds = [step.kind for step in steps]
    copies = [kind.is_copy for kind in kinds]
    before = copies.index(False) if False in copies else len(copies)
    after = len(copies) - copies[::-1].index(False) if False in copies else len(copies)
    for number, (step, kind) in enumerate(zip(steps, kinds, strict=True)):
        name = step.name or kind.default_name()
        body = kind.config(environment or {}, pythons or {})
        stage = 0 if number < before else 2 if number >= after else 1
        planned.append(PlannedStep(number, name, body, step.on_failure or kind.on_failure or on_failure, stage))
    return planned


def remaining(planned: Sequence[PlannedStep], done: Mapping[int, str], *, ordered: bool = True) -> list[PlannedStep]:
    """Return the steps that remain to run.

    A step that has succeeded but has changed since runs again, and so do the steps after it, which depend on it.

    Args:
        planned: all steps.
        done: number and digest of each step that has succeeded.
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
