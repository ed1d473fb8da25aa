"""Defer a task until AWS can be reached again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from airflow_batchemr import settings
from airflow_batchemr.aws.outage import passing, pause
from airflow_batchemr.triggers.outage import OutageTrigger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow.sdk import BaseOperator

    from airflow_batchemr.operators.ledger_access import LedgerAccess


def next_look(operator: BaseOperator, error: Exception, outage: Mapping[str, Any]) -> tuple[float, float, int]:
    """Determine when to try again while AWS cannot be reached.

    Args:
        operator: Operator of the task.
        error: Failure of the call to AWS or S3.
        outage: `since` and `looks` of the last time; empty if AWS could be reached before.

    Returns:
        Seconds to wait, begin of the outage in seconds since the epoch, and number of tries since then.

    Raises:
        AirflowException: AWS could not be reached for too long.
    """
    policy = settings.engine_policy()
    limit = policy.outage_limit if passing(error) else policy.refusal_limit
    now, looks = time.time(), int(outage.get("looks", 0))
    since = float(outage.get("since", now))
    if now - since >= limit:
        if not passing(error):
            raise error
        raise AirflowException(
            f"AWS could not be reached for {limit / 3600:.0f} hours: {error}. What is running on AWS was left running; "
            "a retry of the task waits for it; a clear stops it and runs what is not finished"
        ) from error
    wait = pause(looks, first=policy.outage_first_pause, longest=policy.outage_longest_pause)
    operator.log.warning("AWS cannot be reached (%s): trying again in %.0f s", error, wait)
    return wait, since, looks + 1


def defer_until_reachable(
    operator: LedgerAccess,
    error: Exception,
    *,
    event: Mapping[str, Any] | None = None,
    outage: Mapping[str, Any],
    submissions: Iterable[int] = (),
    prior_submissions: Iterable[int] | None = None,
) -> None:
    """Defer, and call the operator's `resume` later with the same event.

    Args:
        operator: Operator of the task.
        error: Failure of the call to AWS or S3.
        event: Event that the operator was called with.
        outage: Payload of the last `OutageTrigger`; empty if AWS could be reached before.
        submissions: Numbers of the submissions that are known to be open.
        prior_submissions: `Outcome.prior_submissions`, if it is known.

    Raises:
        AirflowException: AWS could not be reached for too long.
    """
    now = time.time()
    wait, since, looks = next_look(operator, error, outage)
    operator.defer(
        trigger=OutageTrigger(
            event=None if event is None else dict(event),
            since=since,
            looks=looks,
            identity=operator.identity.values(),
            submissions=list(submissions),
            prior_submissions=None if prior_submissions is None else sorted(prior_submissions),
            aws_conn_id=operator.aws_conn_id,
            region=operator.region,
            wake_at=now + wait,
            deferred_at=now,
        ),
        method_name="resume",
    )
