"""The policy of the organization: a function that checks or changes each pipeline (`[batchemr] policy`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batchemr.pipeline_file.errors import PipelineFileError
from airflow_batchemr.pipeline_file.models import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_batchemr.pipeline_file.load import PipelineFile

    Policy = Callable[[Pipeline], Pipeline | None]


def apply_policy(spec: PipelineFile, policy: Policy | None) -> None:
    """Replace each pipeline of a file by what the policy returns; what it raises becomes an error of that pipeline.

    Args:
        spec: as returned by `load_file`; changed in place. `spec.policy` is set, for options that are rendered later.
        policy: the function; None if there is none.
    """
    spec.policy = policy
    if policy is None:
        return
    for name, pipeline in list(spec.pipelines.items()):
        try:
            spec.pipelines[name] = changed(policy, pipeline)
        except PipelineFileError as error:
            spec.errors.append(_with_position(error, spec, name))
            del spec.pipelines[name]
        except Exception as error:  # noqa: BLE001 - of the policy; must not affect other pipelines
            spec.errors.append(spec.error(name, f"{type(error).__name__}: {error}"))
            del spec.pipelines[name]


def changed(policy: Policy, pipeline: Pipeline) -> Pipeline:
    """Call the policy with a pipeline.

    Returns:
        what it returns, or the pipeline if that is None.

    Raises:
        TypeError: it returns something else.
        Exception: what the policy raises.
    """
    made = policy(pipeline)
    if made is not None and not isinstance(made, Pipeline):
        raise TypeError(f"[batchemr] policy must return a pipeline or None, not {type(made).__name__}")
    return made or pipeline


def _with_position(error: PipelineFileError, spec: PipelineFile, name: str) -> PipelineFileError:
    """The error at its position, or else at that of the pipeline."""
    if error.path is not None:
        error.pipeline = error.pipeline or name
        return error
    positioned = spec.error(name, error.message)
    positioned.hint, positioned.severity = error.hint, error.severity
    return positioned
