"""What the steps of a job require of the cluster that they run on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from airflow_batchemr.pipeline_file.models.base import Model, TextMap, Texts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_batchemr.pipeline_file.models import Job, Step


class Needs(Model):
    """The requirements of a job's steps; serializable as JSON.

    Attributes:
        applications: EMR applications: Hadoop for s3-dist-cp (which Spark alone does not install), Hive, Spark.
        requires: version (or version prefix) that the EMR release must have, by application.
        python_env: all values of `python_env`.
        docker_image: all values of `docker_image`.
    """

    applications: Texts = Field(default_factory=list)
    requires: TextMap = Field(default_factory=dict)
    python_env: Texts = Field(default_factory=list)
    docker_image: Texts = Field(default_factory=list)

    @classmethod
    def of(cls, steps: Iterable[Step]) -> Needs:
        """Collect the requirements of steps."""
        needs = [step.kind.needs() for step in steps]
        return cls(
            applications=sorted({name for each in needs for name in each.applications}),
            requires={name: version for each in needs for name, version in each.requires.items()},
            python_env=sorted({value for each in needs for value in each.python_env}),
            docker_image=sorted({value for each in needs for value in each.docker_image}),
        )

    def values(self) -> dict[str, Any]:
        """The non-empty fields, as plain values."""
        return {name: value for name, value in self.model_dump().items() if value}


def needs_of(jobs: Iterable[Job]) -> Needs:
    """Collect the requirements of jobs."""
    return Needs.of(step for job in jobs for step in job.all_steps())
