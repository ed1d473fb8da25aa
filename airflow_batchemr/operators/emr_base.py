"""Common base of the EMR cluster operators: they wait for a cluster or its steps, and report failures."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_batchemr.aws.emr.clusters import Cluster
from airflow_batchemr.aws.emr.failure_report import LOGS_LATE, failure_report
from airflow_batchemr.aws.emr.options import cluster_options, without_templated
from airflow_batchemr.aws.emr.start_failures import start_failure
from airflow_batchemr.aws.errors import InvalidRequest
from airflow_batchemr.engine.outcome import Outcome
from airflow_batchemr.engine.submission_records import report_document
from airflow_batchemr.links.emr import EmrClusterLink, EmrLogsLink
from airflow_batchemr.links.history import HistoryLink
from airflow_batchemr.links.ledger import LedgerLink
from airflow_batchemr.operators.base import LedgerOperator
from airflow_batchemr.triggers.emr import EmrTrigger
from airflow_batchemr.triggers.emr_logs import EmrLogsTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_batchemr.aws.emr.job_steps import PlannedStep
    from airflow_batchemr.ledger import LedgerState, Result
    from airflow_batchemr.links.base import AwsLink
    from airflow_batchemr.pipeline_file.models import Emr


class EmrOperator(LedgerOperator):
    """Base of the operators that wait for an EMR cluster or its steps."""

    operator_extra_links = (EmrClusterLink(), EmrLogsLink(), HistoryLink(), LedgerLink())

    #: The steps, available once the options have been checked; empty for a shared cluster.
    _planned: Sequence[PlannedStep] = ()

    def folder(self) -> Path:
        """Base of relative paths: the folder of the Dag's file."""
        return Path(self.dag.fileloc).parent if self.dag.fileloc else Path.cwd()

    def new_cluster(self, cluster: Any, state: LedgerState) -> tuple[Emr, InvalidRequest | None]:
        """Return the options of a new cluster with rendered templates, and why none can be started with them, if so.

        A cluster or steps that run need a task that watches them, also if the XCom that a template reads has gone.

        Raises:
            InvalidRequest: Names the option; nothing runs.
        """
        try:
            options = cluster_options(cluster, rendered=True)
            return (options if self.rendered_policy is None else self.rendered_policy.cluster(options)), None
        except InvalidRequest as error:
            if not state.open_submissions:
                raise
            return cluster_options(without_templated(cluster), rendered=True), error

    def log_uri(self) -> str | None:
        """Log URI of the cluster, if it is known before the cluster is described."""
        return None

    def streams(self) -> Mapping[int, list[str]]:
        """Return the CloudWatch group and stream to which the program of a step writes, by step number."""
        return {}

    def step_names(self) -> dict[int, str]:
        """Names of the steps, by number."""
        return {step.number: step.name for step in self._planned}

    def on_event(self, event: Mapping[str, Any], state: LedgerState) -> None:
        """Fail with the cause after the logs of the failure have arrived."""
        if event.get("status") != "logs":
            return
        text, _ = self._collect_reports(state, event["submissions"], final=True)
        # The pass that reported the failure is over, but the ledger contains what it decided on
        outcome = Outcome("fail", state, frozenset(event["prior_submissions"]))
        results = [one.result for one in outcome.failed_submissions if one.result is not None]
        failures = [failure for result in results for failure in result.failures]
        raise self.failure(replace(outcome, failures=failures), text)

    def trigger(self, outcome: Outcome, common: dict[str, Any]) -> EmrTrigger:
        """Return a trigger that waits until the steps end or, without steps, until the cluster is up."""
        names = self.step_names()
        views = {one.number: outcome.observations.get(one.number) for one in outcome.waits}
        steps: list[tuple[int, str]] = []
        cluster_id: str | None = None
        for submission in outcome.waits:
            handle, seen = submission.handle, views[submission.number]
            if handle is None:
                continue
            cluster_id = handle.cluster_id
            ids = seen.answer.step_ids if seen is not None else handle.step_ids
            steps += sorted(ids.items())
        own = any(one.handle is not None and one.handle.kind == "emr" for one in outcome.waits)
        claimed = [one.claimed_at for one in outcome.waits if one.claimed_at]
        log_uri = self._log_uri(outcome)
        if self._planned and log_uri is None and cluster_id is not None:
            self.log.warning("The cluster has no log URI: when a step fails, its logs cannot be searched for the cause")
        streams = self.streams()
        return EmrTrigger(
            cluster_id=cluster_id,
            step_ids=[step_id for _, step_id in steps],
            names=[names.get(number, str(number)) for number, _ in steps],
            created=min(claimed, default=outcome.state.now).isoformat() if own else None,
            own=own and bool(self._planned),
            log_uri=log_uri,
            streams={step_id: streams[number] for number, step_id in steps if number in streams},
            **common,
        )

    def _log_uri(self, outcome: Outcome) -> str | None:
        for seen in outcome.observations.values():
            if seen.answer is not None and seen.answer.cluster and seen.answer.cluster.get("LogUri"):
                return str(seen.answer.cluster["LogUri"])
        return self.log_uri()

    def addresses(self, outcome: Outcome) -> dict[type[AwsLink], str]:
        """Return the URLs of the cluster and its logs."""
        ids = [one.handle.cluster_id for one in outcome.waits if one.handle and one.handle.cluster_id]
        if not ids:
            return {}
        found: dict[type[AwsLink], str] = {EmrClusterLink: EmrClusterLink.address(self.clients.region, ids[-1])}
        if log_uri := self._log_uri(outcome):
            found[EmrLogsLink] = EmrLogsLink.address(self.clients.region, log_uri, ids[-1])
        return found

    def report(self, context: Context, outcome: Outcome) -> str:  # noqa: ARG002 - for other kinds
        """Return the probable cause after the logs have arrived in S3, some minutes after the end."""
        numbers = [submission.number for submission in outcome.failed_submissions]
        text, complete = self._collect_reports(outcome.state, numbers)
        if complete:
            return text
        self.log.error("%s", text)
        now = time.time()
        self.defer(
            trigger=EmrLogsTrigger(
                identity=self.identity.values(),
                submissions=numbers,
                prior_submissions=sorted(outcome.prior_submissions),
                aws_conn_id=self.aws_conn_id,
                region=self.region,
                wake_at=now + LOGS_LATE,
                deferred_at=now,
            ),
            method_name="resume",
        )
        return text  # not reached: `defer` raises

    def retryable(self, outcome: Outcome) -> bool:
        """Return whether AWS lacked capacity for the cluster, or lost it."""
        results = [one.result for one in outcome.failed_submissions if one.result is not None]
        return bool(results) and all(_lost_to_aws(result) for result in results)

    def _collect_reports(self, state: LedgerState, numbers: Sequence[int], *, final: bool = False) -> tuple[str, bool]:
        """Return the reports of failed submissions, and whether all logs were available. Stores complete reports."""
        names = self.step_names()
        results = {one.number: one.result for one in state.submissions if one.number in numbers}
        reports = {
            number: failure_report(self.clients, self.ledger, number, result, names)
            for number, result in results.items()
            if result is not None
        }
        for number, one in reports.items():
            if one.complete or final:
                self.ledger.put_document(report_document(number), one.text.encode())
        lines = [one.text for one in reports.values()]
        done = len(state.done)
        if names and done:
            lines.append(f"{done} of {len(names)} steps are done: a retry or a clear runs the rest")
        return "\n".join(lines), all(one.complete for one in reports.values())


def _lost_to_aws(result: Result) -> bool:
    cluster: Any = result.details.get("cluster")
    if not cluster or any(failure.cause != "cluster" for failure in result.failures):
        return False
    failure = start_failure(Cluster.of(cluster))
    return failure is not None and failure.transient
