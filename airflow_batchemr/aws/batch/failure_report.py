"""The failure report of a Batch job, with one log per kind of failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.logs import log_group, tail
from airflow_batchemr.engine.failure_report import group, report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.ledger import Failure

#: Kinds of failure whose last log lines are shown, and how many lines.
SHOWN_LOGS, LINES = 5, 15


def group_of(jobs: Sequence[Mapping[str, Any]]) -> str:
    """The log group of a submission's jobs, as recorded in the ledger."""
    return log_group(jobs[0] if jobs else {})


def failure_report(
    clients: Clients,
    failures: Sequence[Failure],
    *,
    log_group_name: str,
    link: Callable[[str], str],
    **facts: Any,
) -> str:
    """The text of the error that Airflow shows.

    Args:
        clients: for the logs: one GetLogEvents for each of the largest five kinds of failure.
        failures: of the indices that failed.
        log_group_name: CloudWatch log group of the job.
        link: returns the URL of a log stream in the console.
        **facts: see `engine.failure_report.report`.
    """
    logs, links = {}, {}
    for one in group(failures)[:SHOWN_LOGS]:
        stream = one.sample.log_stream
        if stream:
            logs[one.key] = tail(clients, log_group_name, stream, LINES)
            links[one.key] = link(stream)
    return report(failures, logs=logs, links=links, **facts)
