"""Pipelines and jobs after merging and substitution, before validation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_batchemr.pipeline_file.merge import Layer, error_at

if TYPE_CHECKING:
    from airflow_batchemr.pipeline_file.defaults import Defaults
    from airflow_batchemr.pipeline_file.errors import PipelineFileError, Refusal
    from airflow_batchemr.pipeline_file.variables import Variables


@dataclass
class RawJob:
    """A resolved job that is not validated yet.

    Attributes:
        name: the job's name, including the values of its matrix.
        data: the fields of the `Job` model.
        layers: the mappings that `data` was merged from, the overriding one last.
    """

    name: str
    data: dict[str, Any]
    layers: list[Layer]


@dataclass
class RawPipeline:
    """A resolved pipeline that is not validated yet.

    Attributes:
        name: the pipeline's name, including the values of its matrix.
        key: its key in the file.
        data: the fields of the `Pipeline` model, except `jobs`.
        layers: the mappings that `data` was merged from, the overriding one last.
        jobs: its jobs.
        groups: the jobs that each job with a matrix expands to.
        errors: errors found while resolving.
        meant: job name and path of each key that was probably misspelled; it is not reported as missing.
    """

    name: str
    key: str
    data: dict[str, Any]
    layers: list[Layer]
    jobs: list[RawJob] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    errors: list[PipelineFileError] = field(default_factory=list)
    meant: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)

    def error(self, layers: list[Layer], keys: tuple[str | int, ...], refusal: Refusal, *, key: bool = False) -> None:
        """Add an error at the position of a merged value."""
        at = (*keys, *refusal.at)
        self.errors.append(error_at(layers, at, refusal.message, refusal.hint, key=key, pipeline=self.name))

    def substitute(
        self, layers: list[Layer], data: dict[str, Any], variables: Variables, defaults: Defaults
    ) -> dict[str, Any]:
        """The data with its variables substituted; variables that cannot be are added to `errors`."""
        if not defaults.has_variables:
            return data
        result: dict[str, Any] = variables.substitute(data, lambda keys, refusal: self.error(layers, keys, refusal))
        return result
