"""What the steps of a job require of the cluster that they run on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_batchemr.pipeline_file.models import Job, Spark, Step


@dataclass(frozen=True)
class Needs:
    """The requirements of a job's steps; serializable as JSON.

    Attributes:
        applications: EMR applications: Hadoop for s3-dist-cp (which Spark alone does not install), Hive, Spark.
        requires: version (or version prefix) that the EMR release must have, by application.
        python_env: all values of `python_env`.
        docker_image: all values of `docker_image`.
    """

    applications: list[str] = field(default_factory=list)
    requires: dict[str, str] = field(default_factory=dict)
    python_env: list[str] = field(default_factory=list)
    docker_image: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, steps: Iterable[Step] = (), *, sparks: Iterable[Spark] = (), copies: bool = False) -> Needs:
        """Collect the requirements of steps.

        Args:
            steps: the steps of one or more jobs.
            sparks: `spark` blocks outside of these steps.
            copies: whether there are `load` or `save` copies outside of these steps.
        """
        steps = list(steps)
        sparks = [*(step.spark for step in steps if step.spark is not None), *sparks]
        runs = {
            "Hadoop": copies or any(step.copy_ is not None for step in steps),
            "Hive": any(step.hive is not None for step in steps),
            "Spark": bool(sparks),
        }
        return cls(
            applications=[name for name, needed in runs.items() if needed],
            requires={name: version for spark in sparks for name, version in spark.requires.items()},
            python_env=sorted({spark.python_env for spark in sparks if spark.python_env}),
            docker_image=sorted({spark.docker_image for spark in sparks if spark.docker_image}),
        )

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> Needs:
        """The inverse of `values`."""
        return cls(**values)

    def values(self) -> dict[str, Any]:
        """The non-empty fields, as plain values."""
        return {name: value for name, value in asdict(self).items() if value}


def needs_of(jobs: Iterable[Job]) -> Needs:
    """Collect the requirements of jobs."""
    jobs = list(jobs)
    return Needs.of(
        [step for job in jobs for step in job.steps or ()],
        sparks=[job.spark for job in jobs if job.spark is not None],
        copies=any(job.load or job.save for job in jobs),
    )
