"""What the steps of a job need of the cluster that they run on, wherever that is made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_batchemr.pipeline_file.models import Job, Spark, Step


@dataclass(frozen=True)
class Needs:
    """See the module. All of it can be written as JSON."""

    applications: list[str] = field(default_factory=list)
    """Hadoop for s3-dist-cp, which Spark alone does not bring; Hive; Spark."""
    requires: dict[str, str] = field(default_factory=dict)
    """Versions that the release must have."""
    python_env: list[str] = field(default_factory=list)
    """All that `python_env` says."""
    docker_image: list[str] = field(default_factory=list)
    """All that `docker_image` says."""

    @classmethod
    def of(cls, steps: Iterable[Step] = (), *, sparks: Iterable[Spark] = (), copies: bool = False) -> Needs:
        """Gather what steps need.

        Args:
            steps: of one job or several.
            sparks: spark blocks that are no steps of these.
            copies: whether there are copies that are no steps of these.
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
        """Make them of what `values` gave."""
        return cls(**values)

    def values(self) -> dict[str, Any]:
        """Plain values; what is empty stays out."""
        return {name: value for name, value in asdict(self).items() if value}


def needs_of(jobs: Iterable[Job]) -> Needs:
    """What jobs of a file need of a cluster."""
    jobs = list(jobs)
    return Needs.of(
        [step for job in jobs for step in job.steps or ()],
        sparks=[job.spark for job in jobs if job.spark is not None],
        copies=any(job.load or job.save for job in jobs),
    )
