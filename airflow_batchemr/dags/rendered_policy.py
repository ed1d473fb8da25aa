"""The policy of the organization, for options whose templates have been rendered.

The policy of `[batchemr] policy` is called with the pipelines of a file, in which an option such as `vcpus` may be a
template. When the task runs, it is called again with the rendered options of the task's job or cluster, so that no
value gets around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.core.errors import InvalidRequest
from airflow_batchemr.pipeline_file.errors import PipelineFileError
from airflow_batchemr.pipeline_file.models import Array, Batch, Emr, Pipeline
from airflow_batchemr.pipeline_file.models.base import Model, contains_template, templated_keys
from airflow_batchemr.pipeline_file.policy import changed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_batchemr.pipeline_file.policy import Policy

#: Options that the policy may change after rendering: those that may be templates, or contain such options.
_OPTIONS: dict[type[Model], frozenset[str]] = {
    Array: templated_keys(Array),
    Batch: templated_keys(Batch),
    Emr: templated_keys(Emr) | {"master", "core", "task", "fleets"},
}


@dataclass(frozen=True)
class RenderedPolicy:
    """Applies the policy to the rendered options of one task.

    Args:
        policy: The function.
        pipeline: Pipeline as the policy returned it for the file.
        name: Job, or cluster of the pipeline's `clusters`.
    """

    policy: Policy
    pipeline: Pipeline
    name: str

    @classmethod
    def of(cls, policy: Policy | None, pipeline: Pipeline, task_id: str) -> RenderedPolicy | None:
        """Return the policy of a task; None if there is no policy, or no option of the task is a template."""
        name = task_id.removesuffix(".create_cluster")
        if policy is None or name not in (*pipeline.jobs, *pipeline.clusters):
            return None
        return cls(policy, pipeline, name) if any(map(contains_template, _blocks(pipeline, name).values())) else None

    def batch(self, options: Batch, array: Mapping[str, Any]) -> tuple[Batch, dict[str, Any]]:
        """Return the options of a Batch job and its array as the policy wants them.

        Raises:
            InvalidRequest: The policy rejects them.
        """
        if "array" not in _blocks(self.pipeline, self.name):
            return self._apply(batch=options)["batch"], dict(array)
        made = self._apply(batch=options, array=Array.model_validate(array))
        return made["batch"], made["array"].model_dump(exclude_defaults=True, mode="json")

    def cluster(self, options: Emr) -> Emr:
        """Return the options of a cluster as the policy wants them.

        Raises:
            InvalidRequest: The policy rejects them.
        """
        made: Emr = self._apply(emr=options)["emr"]
        return made

    def _apply(self, **blocks: Any) -> dict[str, Any]:
        try:
            made = changed(self.policy, self._with(blocks))
            wanted = _blocks(made, self.name)
            return {
                key: block.model_copy(update={name: getattr(wanted[key], name) for name in _OPTIONS[type(block)]})
                for key, block in blocks.items()
            }
        except PipelineFileError as error:
            hint = f" ({error.hint})" if error.hint else ""
            raise InvalidRequest(f"[batchemr] policy: {error.message}{hint}") from error
        except Exception as error:
            raise InvalidRequest(f"[batchemr] policy: {type(error).__name__}: {error}") from error

    def _with(self, blocks: Mapping[str, Model]) -> Pipeline:
        if self.name in self.pipeline.clusters:
            clusters = {**self.pipeline.clusters, self.name: blocks["emr"]}
            return self.pipeline.model_copy(update={"clusters": clusters})
        job = self.pipeline.jobs[self.name].model_copy(update=blocks)
        return self.pipeline.model_copy(update={"jobs": {**self.pipeline.jobs, self.name: job}})


def _blocks(pipeline: Pipeline, name: str) -> dict[str, Model]:
    """Return the blocks of a job or cluster whose options may be templates, by the job's key."""
    if name in pipeline.clusters:
        return {"emr": pipeline.clusters[name]}
    job = pipeline.jobs[name]
    return {key: block for key in ("batch", "array", "emr") if (block := getattr(job, key)) is not None}
