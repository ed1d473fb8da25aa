"""A job on a cluster that was there before it and lives on after it: shared, or somebody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr.advance import Advance
from airflow_batchemr.aws.emr.request import STEPS_AT_CREATION, check_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_batchemr.aws.emr.advance import Failed
    from airflow_batchemr.aws.emr.step_configs import PlannedStep
    from airflow_batchemr.aws.emr.submission_view import Open
    from airflow_batchemr.aws.emr.submissions import EmrSubmissions
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger


class Guest(Advance):
    """See the module.

    Steps that may not go on after a failure are added one at a time: EMR would go on to the next (CONTINUE), or cancel
    other people's steps (CANCEL_AND_WAIT), or end their cluster. Steps whose `on_failure` is given are added together.

    Args:
        identity: whose work it is.
        cluster: gives `(cluster id, step concurrency)`; called when there is something to add. Raises `InvalidRequest`.
        attempts: of the job.
        ledger: of the job.
        planned: all steps of the job.
        **kwargs: of `Advance`.
    """

    def __init__(
        self,
        identity: JobIdentity,
        cluster: Callable[[], tuple[str, int]],
        submissions: EmrSubmissions,
        ledger: JobLedger,
        planned: Sequence[PlannedStep],
        **kwargs: Any,
    ) -> None:
        super().__init__(submissions, ledger, planned, **kwargs)
        self._identity = identity
        self._cluster = cluster

    def begin(
        self,
        number: int,
        left: list[PlannedStep],
        rerun_token: str | None,
        last: Failed | None,  # noqa: ARG002 - a cluster that is there has one form
    ) -> Open | None:
        """Add the next step, or the next ones that may be added together."""
        cluster_id, concurrency = self._cluster()
        batch = together(left)
        name = self._identity.submission_name(number)
        configs = [step.config(name, "continue") for step in batch]
        check_steps(configs, concurrency)
        return self._attempts.start_steps(number, cluster_id, configs, batch, rerun_token)


def together(left: Sequence[PlannedStep]) -> list[PlannedStep]:
    """The steps to add in one call: up to and with the first one whose failure must keep the next from running."""
    batch: list[PlannedStep] = []
    for step in left[:STEPS_AT_CREATION]:
        batch.append(step)
        if step.on_failure is None:
            break
    return batch
