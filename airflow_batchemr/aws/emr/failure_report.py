"""The failure report of a submission on EMR, with the probable cause from its logs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr.clusters import Cluster
from airflow_batchemr.aws.emr.diagnosis import exit_code, probable_cause
from airflow_batchemr.aws.emr.logs import ClusterLogs
from airflow_batchemr.aws.emr.start_failures import start_failure
from airflow_batchemr.aws.emr.steps import CANCELLED, Step
from airflow_batchemr.aws.explicit_success import UNCONFIRMED
from airflow_batchemr.core.foreign_text import clean
from airflow_batchemr.core.log_lines import cut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.diagnosis import Cause, Log
    from airflow_batchemr.ledger import JobLedger, Result

#: Seconds after a submission's end in which logs may still arrive: EMR uploads every five minutes and at the end.
LOGS_LATE = 600.0
#: Lines of a log that are shown if no cause is found in it, and characters of each.
TAIL, WIDTH = 15, 500
#: Failed steps whose logs are read at most, the first ones: each has up to eleven.
DIAGNOSED = 10


@dataclass(frozen=True)
class FailureReport:
    """Why one submission failed."""

    text: str
    """The report, for display."""
    complete: bool
    """Whether all logs that may contain the cause were available."""


def failure_report(
    clients: Clients, ledger: JobLedger, number: int, result: Result, names: Mapping[int, str]
) -> FailureReport:
    """Find out why a submission failed, as far as its logs show now; `names` are those of the steps by number.

    The cause is stored in the document `causes/<number>.json`.
    """
    cluster_id = str(result.details.get("cluster_id") or "")
    description: Any = result.details.get("cluster") or {}
    brief = Cluster.of({"Id": cluster_id, **description}) if description else None
    uri = description.get("LogUri")
    logs = ClusterLogs(clients, str(uri), cluster_id) if uri and cluster_id else None
    lines: list[str] = []
    causes: list[dict[str, Any]] = []
    complete = True
    for place, failure in enumerate(result.failures):
        if failure.index is None:
            text, cause, there = _cluster(brief, failure.reason, logs)
        else:
            of = f"/{len(names)}" if names else ""
            title = f"Step {failure.index + 1}{of} {names.get(failure.index, '')} ({failure.job_id})"
            if failure.cause == UNCONFIRMED:  # its logs are those of a success
                text, cause, there = f"{title} failed: {failure.reason}", None, True
            elif failure.cause == CANCELLED:
                text, cause, there = f"{title} was cancelled in EMR: {failure.reason}", None, True
            else:
                text, cause, there = _step(
                    title, failure.reason, str(failure.job_id), logs if place < DIAGNOSED else None
                )
        complete = complete and there
        lines.append(text)
        if cause is not None:
            causes.append({"index": failure.index, **cause.__dict__})
    if brief is not None:
        if any(failure.index is not None for failure in result.failures):
            lines.append(f"Cluster {cluster_id}: {brief.why}")
        elif brief.ready:
            lines += _interrupted(result)
        if logs is None:
            lines.append("The cluster has no log URI: set `log_uri: s3://…`, and the cause can be found in the logs")
    if causes and complete:
        ledger.put_document(f"causes/{number:04d}.json", json.dumps(causes, indent=1).encode())
    return FailureReport(clean("\n".join(lines)), complete)


def _interrupted(result: Result) -> list[str]:
    """The steps that were running when their cluster was lost; steps that had not begun have no start time."""
    entries: list[Any] = list(result.steps)
    steps = [Step.of(one) for one in entries if one.get("Status", {}).get("Timeline", {}).get("StartDateTime")]
    return [
        f"Step {one.name.partition(' [')[0]} ({one.step_id}) was interrupted: it may have done part of its work"
        for one in steps
        if one.state != "COMPLETED"
    ]


def _step(title: str, reason: str, step_id: str, logs: ClusterLogs | None) -> tuple[str, Cause | None, bool]:
    if logs is None:
        return f"{title} failed: {reason}", None, True
    found = logs.step(step_id)
    cause = probable_cause(found)
    code = exit_code(found) if cause is None else None
    lines = [f"{title} failed: {cause or reason}{'' if code is None else f' (exit code {code})'}"]
    lines += _where(cause, found, logs, f"steps/{step_id}/")
    return "\n".join(lines), cause, logs.complete(found)


def _cluster(brief: Cluster | None, reason: str, logs: ClusterLogs | None) -> tuple[str, Cause | None, bool]:
    failure = start_failure(brief) if brief else None
    if brief is None or failure is None:
        return reason, None, True
    what = "was lost while it was running" if brief.ready else "did not start"
    lines = [f"Cluster {brief.cluster_id} {what} [{failure.kind}]: {brief.message or brief.code}"]
    cause = None
    complete = True
    if failure.kind == "bootstrap" and logs is not None:
        found = logs.bootstrap(brief.message)
        cause = probable_cause(found)
        if cause is not None:
            lines.append(f"Bootstrap action failed: {cause}")
        lines += _where(cause, found, logs, "node/")
        complete = bool(found) or logs.unreadable is not None
    lines.append(f"To do: {failure.advice}")
    return "\n".join(lines), cause, complete


def _where(cause: Cause | None, found: Sequence[Log], logs: ClusterLogs, folder: str) -> list[str]:
    """The log with the cause, or the last lines of a log, or why there is none."""
    if cause is not None and cause.log:
        return [f"  log: {cause.log}"]
    if found:
        shown = next((log for log in found if log.name == "stderr"), found[0])
        tail = [line for line in shown.text.splitlines() if line.strip()][-TAIL:]
        return [f"  log: {shown.uri}", *(f"  | {cut(line, WIDTH)}" for line in tail)]
    if logs.unreadable:
        return [f"  its logs in {logs.uri(folder)} cannot be read: {logs.unreadable}"]
    return [f"  its logs have not arrived in {logs.uri(folder)}"]
