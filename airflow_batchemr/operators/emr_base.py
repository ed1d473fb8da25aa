"""What the EMR operators share: waiting, being killed, deadlines."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_batchemr.aws.emr.failure_report import LOGS_LATE, why
from airflow_batchemr.aws.emr.submissions import EmrSubmissions
from airflow_batchemr.engine.history_reader import report_document
from airflow_batchemr.engine.waiters import attach, still_ours
from airflow_batchemr.links.base import push_links
from airflow_batchemr.links.emr import EmrClusterLink, EmrLogsLink
from airflow_batchemr.links.history import HistoryLink
from airflow_batchemr.links.ledger import LedgerLink
from airflow_batchemr.operators.base import LedgerOperator
from airflow_batchemr.triggers.emr import EmrTrigger
from airflow_batchemr.triggers.emr_logs import EmrLogsTrigger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_batchemr.aws.emr.advance import Move
    from airflow_batchemr.aws.emr.step_configs import PlannedStep
    from airflow_batchemr.aws.emr.submission_view import Open
    from airflow_batchemr.ledger import LedgerState
    from airflow_batchemr.links.base import AwsLink

#: Seconds that a killed task takes at most to end what it started: Airflow sends SIGKILL soon after SIGTERM.
KILL_TIMEOUT = 20.0


class EmrOperator(LedgerOperator):
    """Base of the EMR operators.

    Args:
        deadline: seconds from the first submission in which the work has to be done; then it is stopped and fails.
        **kwargs: of `LedgerOperator` and of Airflow's BaseOperator.
    """

    operator_extra_links = (EmrClusterLink(), EmrLogsLink(), HistoryLink(), LedgerLink())

    def __init__(self, *, deadline: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deadline = deadline
        self._killed = threading.Event()

    def folder(self) -> Path:
        """Where relative paths begin: the folder of the Dag's file."""
        return Path(self.dag.fileloc).parent if self.dag.fileloc else Path.cwd()

    def emr_submissions(self) -> EmrSubmissions:
        """The attempts of this job."""
        return EmrSubmissions(self.clients, self.ledger, self.identity, stopping=self._killed.is_set)

    def heed(self, event: Mapping[str, Any] | None, state: LedgerState, names: Mapping[int, str]) -> None:
        """Act on what a wait says, other than that it is over.

        Args:
            event: its payload.
            state: the ledger.
            names: what a person calls the steps, by number.

        Raises:
            AirflowFailException: the deadline is over.
            AirflowException: why what had failed has failed, now that its logs are there.
        """
        status = (event or {}).get("status")
        if status == "told":
            raise AirflowException(self._report(state, (event or {})["submissions"], names, final=True)[0])
        if status == "deadline":
            self._stop_all("the deadline is over", by="deadline")
            raise AirflowFailException(
                f"Not done in time ({self._limit()}): what ran on EMR has been stopped. Steps that have completed are "
                "in the ledger; clear the task to do the rest"
            )

    def _limit(self) -> str:
        limits = []
        if self.deadline is not None:
            limits.append(f"deadline {self.deadline} s from the first submission")
        if self.execution_timeout is not None:
            limits.append(f"execution_timeout {self.execution_timeout}")
        return ", ".join(limits)

    def wait(
        self,
        context: Any,
        state: LedgerState,
        opens: Sequence[Open],
        before: Iterable[int],
        planned: Sequence[PlannedStep] = (),
        *,
        log_uri: str | None = None,
        streams: Mapping[int, list[str]] | None = None,
    ) -> None:
        """Defer until the steps of some attempts on one cluster have ended; without steps, until it is up."""
        names = {step.number: step.name for step in planned}
        numbers = [one.number for one in opens]
        steps = [(step_id, names.get(n, str(n))) for one in opens for n, step_id in sorted(one.step_ids.items())]
        places = (streams or {}).items()
        followed = {one.step_ids[n]: place for n, place in places for one in opens if n in one.step_ids}
        claimed = [one.submission.claimed_at for one in opens if one.submission and one.submission.claimed_at]
        created = min(claimed, default=state.now)
        cluster_id = opens[-1].cluster_id
        self.log.info("Waiting for attempts %s on cluster %s", numbers, cluster_id)
        if planned and log_uri is None:
            self.log.warning(
                "The cluster has no log URI: when a step fails, its logs cannot be looked at for the cause"
            )
        self._push_links(context, str(cluster_id), log_uri)
        attach(self.ledger, self.identity, numbers)
        own = any(one.kind == "emr" for one in opens)
        self.defer(
            trigger=EmrTrigger(
                cluster_id=str(cluster_id),
                step_ids=[step_id for step_id, _ in steps],
                names=[name for _, name in steps],
                created=created.isoformat() if own else None,
                own=own and bool(planned),
                log_uri=log_uri,
                streams=followed,
                identity=self.identity.values(),
                submissions=numbers,
                before=sorted(before),
                aws_conn_id=self.aws_conn_id,
                region=self.region,
                deadline=self._ends(context, state),
            ),
            method_name="resume",
        )

    def _push_links(self, context: Any, cluster_id: str, log_uri: str | None) -> None:
        region = self.clients.region
        addresses: dict[type[AwsLink], str] = {
            EmrClusterLink: EmrClusterLink.address(region, cluster_id),
            HistoryLink: HistoryLink.address(self.identity),
            LedgerLink: LedgerLink.address(region, self.ledger.uri),
        }
        if log_uri:
            addresses[EmrLogsLink] = EmrLogsLink.address(region, log_uri, cluster_id)
        push_links(context, addresses)

    def fail(self, move: Move, names: Mapping[int, str]) -> None:
        """Tell why, once the logs are there: they come to S3 some minutes after the end."""
        numbers = [one.opened.number for one in move.failed]
        told, complete = self._report(self.ledger.read(), numbers, names)
        if complete:
            raise AirflowException(told)
        self.log.error("%s", told)
        self.defer(
            trigger=EmrLogsTrigger(
                identity=self.identity.values(),
                submissions=numbers,
                before=sorted(move.before),
                aws_conn_id=self.aws_conn_id,
                region=self.region,
                wake_at=time.time() + LOGS_LATE,
            ),
            method_name="resume",
        )

    def _report(
        self, state: LedgerState, numbers: Sequence[int], names: Mapping[int, str], *, final: bool = False
    ) -> tuple[str, bool]:
        """What failed and why, and whether all logs were there to tell; what will not get better is kept for later."""
        results = {one.number: one.result for one in state.submissions if one.number in numbers}
        told = {n: why(self.clients, self.ledger, n, one, names) for n, one in results.items() if one is not None}
        for number, one in told.items():
            if one.complete or final:
                self.ledger.put_document(report_document(number), one.text.encode())
        lines = [one.text for one in told.values()]
        if names and state.done:
            lines.append(f"{len(state.done)} of {len(names)} steps are done: a retry or a clear goes on with the rest")
        return "\n".join(lines), all(one.complete for one in told.values())

    def _ends(self, context: Any, state: LedgerState) -> float | None:
        """Seconds since the epoch at which the work has to be done."""
        ends = []
        if self.deadline is not None:
            first = min((one.claimed_at for one in state.current if one.claimed_at), default=None)
            ends.append((first.timestamp() if first else time.time()) + self.deadline)
        if self.execution_timeout is not None:  # Airflow does not enforce it while a task is deferred
            started = getattr(context["ti"], "start_date", None)
            ends.append((started.timestamp() if started else time.time()) + self.execution_timeout.total_seconds())
        return min(ends) if ends else None

    def killed(self) -> AirflowException:
        """What a task raises that was killed while it worked."""
        return AirflowException("The task was killed; what it had started on EMR has been stopped")

    def on_kill(self) -> None:
        """End what this task has started: it was cleared, marked or killed while it worked."""
        self._killed.set()
        if not hasattr(self, "identity"):
            return
        # In a thread: the signal may have interrupted a call that holds locks, and Airflow does not wait long.
        thread = threading.Thread(
            target=lambda: self._stop_all("the task was killed", by=f"try {self.identity.try_number}", ours=True),
            name="batchemr on_kill",
            daemon=True,
        )
        thread.start()
        thread.join(KILL_TIMEOUT)

    def _stop_all(self, reason: str, *, by: str, ours: bool = False) -> None:
        """Stop what is open; `ours`: not what a later try has taken over."""
        submissions = EmrSubmissions(self.clients, self.ledger, self.identity)
        state = self.ledger.read()
        running = still_ours(self.ledger, self.identity, state.open_submissions) if ours else state.open_submissions
        for submission in reversed(running):
            opened = submissions.adopt(submission, state)
            if opened is not None:
                self.log.info("Stopping attempt %s on cluster %s: %s", opened.number, opened.cluster_id, reason)
                submissions.stop(opened, reason, by=by)
