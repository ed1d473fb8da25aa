"""What the operators share: who they are in the ledger, and what to do when the work is already done."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_batchemr.aws.outage import FAILURES, PATIENCE, passing, pause
from airflow_batchemr.connections import as_airflow_error, configured_state, connection_clients
from airflow_batchemr.core.run_key import run_key
from airflow_batchemr.engine.job_identity import JobIdentity
from airflow_batchemr.engine.waiters import cleared
from airflow_batchemr.ledger import JobLedger, Ledger, LedgerState, Marker, StopRequest
from airflow_batchemr.ledger.store import plain_uri
from airflow_batchemr.triggers.outage import AGAIN, OutageTrigger

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow.sdk import Context

    from airflow_batchemr.aws.clients import Clients

#: Name of the Dag param (and key of a run's conf) that lists the jobs to run although they have succeeded.
RERUN = "rerun"
#: `StopRequest.by` of a newer run of the pipeline (`overlap: terminate`): other stops leave the rest to do, this one ends
#: the task.
NEWER_RUN = "newer run"


class Engine(Protocol):
    """Brings the work of a try forward."""

    @property
    def before(self) -> Collection[int] | None:
        """The attempts whose failures this try forgives; None until it has found out."""


class LedgerOperator(BaseOperator, ABC):
    """An operator whose work stands in the ledger: done once for a run key, whatever crashes when.

    Subclasses implement `work`, which reads the ledger, brings the work forward as far as it can, and defers or
    returns the XCom. It is called at the start and after every deferral, and must get by with what the ledger holds:
    Airflow builds a fresh operator each time.

    Args:
        state: s3:// URI under which the ledger lives; `[batchemr] state` of Airflow's configuration if not given.
        job: name in the ledger; the task's id if not given. A mapped task's has the map index behind it.
        skip_if_succeeded: whether a marker that stands ends the task in success with the XCom it had.
        aws_conn_id: Airflow connection for all calls.
        region: AWS region; the connection's if not given.
    """

    template_fields: Sequence[str] = ("state", "job", "aws_conn_id", "region")
    ui_color = "#f7e8d0"
    #: Whether the clear of a task is a word to stop what it waits for.
    stops_when_cleared = True

    #: What brings the work forward, once `work` has made it.
    engine: Engine | None = None
    #: Numbers of the attempts that were open when the ledger was read.
    _open: Sequence[int] = ()
    #: Set while the operator works, for `on_kill`.
    identity: JobIdentity
    clients: Clients
    ledger: JobLedger

    def __init__(
        self,
        *,
        state: str | None = None,
        job: str | None = None,
        skip_if_succeeded: bool = True,
        aws_conn_id: str | None = "aws_default",
        region: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.state = state
        self.job = job
        self.skip_if_succeeded = skip_if_succeeded
        self.aws_conn_id = aws_conn_id
        self.region = region

    def execute(self, context: Context) -> Any:
        """Return the marker's XCom where the work is done, else begin it or go on with it."""
        return self._reaching_aws(context, None, {})

    def resume(self, context: Context, event: Mapping[str, Any] | None = None) -> Any:
        """Go on after a deferral: `defer(trigger=…, method_name="resume")`."""
        event = event or {}
        if event.get("status") == AGAIN:
            return self._reaching_aws(context, event["event"], event)
        return self._reaching_aws(context, event, {})

    def _reaching_aws(self, context: Context, event: Mapping[str, Any] | None, outage: Mapping[str, Any]) -> Any:
        """Go on with the work; where AWS cannot be reached, defer and do the same again later.

        Args:
            context: Airflow's.
            event: as in `work`.
            outage: the payload of the last `OutageTrigger`; empty where AWS was reached before.
        """
        with as_airflow_error():
            try:
                return self._go_on(context, event)
            except FAILURES as error:
                if not passing(error):
                    raise
                self._try_again_later(error, event, outage)

    def _go_on(self, context: Context, event: Mapping[str, Any] | None) -> Any:
        self.open_run(context)
        state = self.ledger.read()
        self._open = [submission.number for submission in state.submissions if submission.open]
        if self.stands(state, context):  # perhaps somebody else has finished it meanwhile
            return self.skipped(state, context)
        if event is None:
            state = self.heed_clear(state)
        else:
            overtaken = [one.stop.reason for one in state.open_submissions if one.stop and one.stop.by == NEWER_RUN]
            if overtaken:
                raise AirflowFailException(f"Stopped: {overtaken[0]}. Clear the task to do the rest")
            if event.get("status") == "denied":
                raise AirflowFailException(
                    f"{event['message']} What runs on AWS goes on. When that is mended, clear the task: what has "
                    "finished by then stays done, the rest is done anew"
                )
        return self.work(context, state, self.token_for_claims(state, context), event=event)

    def _try_again_later(self, error: Exception, event: Mapping[str, Any] | None, outage: Mapping[str, Any]) -> None:
        """Defer until AWS may be reached again.

        Raises:
            AirflowException: it was not reached for too long.
        """
        now, looks = time.time(), int(outage.get("looks", 0))
        since = float(outage.get("since", now))
        if now - since >= PATIENCE:
            raise AirflowException(
                f"AWS could not be reached for {PATIENCE / 3600:.0f} hours: {error}. What had been started on AWS goes "
                "on; a retry of the task waits for it, a clear stops it and does what it has not finished"
            ) from error
        wait = pause(looks)
        self.log.warning("AWS cannot be reached (%s): trying again in %.0f s", error, wait)
        before = self.engine.before if self.engine is not None else None
        if before is not None:  # the try has begun: what fails from now on is its own failure
            event = {**(event or {"status": "wake"}), "before": sorted(before)}
        self.defer(
            trigger=OutageTrigger(
                event=None if event is None else dict(event),
                since=since,
                looks=looks + 1,
                identity=self.identity.values(),
                submissions=list(self._open or outage.get("submissions") or (event or {}).get("submissions") or ()),
                before=None if before is None else sorted(before),
                aws_conn_id=self.aws_conn_id,
                region=self.region,
                wake_at=now + wait,
            ),
            method_name="resume",
        )

    @abstractmethod
    def work(
        self, context: Context, state: LedgerState, rerun_token: str | None, event: Mapping[str, Any] | None
    ) -> Any:
        """Bring the work forward; defer, or return the XCom after marking, or raise.

        Args:
            context: Airflow's.
            state: the ledger as just read.
            fresh: token for new claims. If it differs from `state.fresh`, a rerun begins: what `state` says is done
                does not count, and what it says is open is to be stopped.
            event: None at the start of a try; the trigger's payload after a deferral.
        """

    def open_run(self, context: Context) -> None:
        """Find out who we are, and open clients and ledger; asks AWS nothing.

        Raises:
            LedgerError: no state URI is configured, or it is none.
        """
        self.clients = connection_clients(self.aws_conn_id, self.region)
        state = configured_state(self.state)
        self.identity = self.identify(context, plain_uri(state))
        ledger = Ledger(self.clients.s3, state)
        self.ledger = ledger.job(self.identity.dag_id, self.identity.run_key, self.identity.job)

    def identify(self, context: Context, state_uri: str) -> JobIdentity:
        """The identity of this task instance's work."""
        ti, run = context["ti"], context["dag_run"]
        job = self.job or self.task_id
        return JobIdentity(
            state=state_uri,
            dag_id=ti.dag_id,
            run_key=run_key(run.logical_date, getattr(run, "partition_key", None), run.run_id),
            job=job if ti.map_index is None or ti.map_index < 0 else f"{job}.{ti.map_index}",
            run_id=run.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            try_number=ti.try_number,
            max_tries=ti.max_tries or 0,
        )

    def rerun_names(self, context: Context) -> set[str]:
        """The jobs that the run's `rerun` (param or conf) names."""
        names: set[str] = set()
        for source in (context.get("params"), getattr(context["dag_run"], "conf", None)):
            wanted = (source or {}).get(RERUN)
            if isinstance(wanted, str):
                names.add(wanted)
            elif isinstance(wanted, Iterable):
                names.update(str(name) for name in wanted)
        return names

    def heed_clear(self, state: LedgerState) -> LedgerState:
        """Ask those attempts to stop that were waited for before a person cleared the task: the word of the person.

        Returns:
            the state with the stop words.
        """
        if not self.stops_when_cleared or self.identity.try_number == 1:  # nothing was there to be cleared
            return state
        open_ = [submission.number for submission in state.open_submissions if submission.stop is None]
        numbers = cleared(self.ledger, self.identity, open_)
        for number in numbers:
            self.ledger.ask_stop(
                number, StopRequest(reason="the task was cleared", by=f"try {self.identity.try_number}")
            )
        return self.ledger.read() if numbers else state

    def rerun_wanted(self, context: Context) -> bool:
        """Whether the run's `rerun` names this job or task."""
        return bool(self.rerun_names(context) & {self.job or self.task_id, self.task_id, self.identity.job})

    def stands(self, state: LedgerState, context: Context) -> bool:
        """Whether the work is done and need not be done again."""
        if state.marker is None:
            return False
        again = not self.skip_if_succeeded or self.rerun_wanted(context)
        return not again or state.marker.rerun_token == self.identity.token

    def token_for_claims(self, state: LedgerState, context: Context) -> str | None:
        """The token for claims of this try; see `work`.

        A rerun begins where a marker stands that is not to count, or where the run asks for a rerun and has not begun
        one. A retry goes on with what its try before began; so does a clear of a rerun that failed.
        """
        if state.marker is not None and not self.stands(state, context):
            return self.identity.token
        if self.rerun_wanted(context) and not (state.rerun_token or "").startswith(f"{self.identity.run_id}#"):
            return self.identity.token
        if not self.skip_if_succeeded and not state.numbers:
            return self.identity.token  # so that this run's retry knows the marker as its own
        return state.rerun_token

    def skipped(self, state: LedgerState, context: Context) -> Any:  # noqa: ARG002 - subclasses push links
        """Tell that nothing is left to do, and give the marker's XCom."""
        marker = state.marker
        assert marker is not None  # noqa: S101 - `stands` has looked
        self.log.info(
            "Already done for run key %s on %s: nothing to run. Marker: %s. To run it all the same, name %r in the "
            "run's %r param, or give skip_if_succeeded: false.",
            self.identity.run_key,
            marker.finished_at,
            self.ledger.marker_uri,
            self.job or self.task_id,
            RERUN,
        )
        return marker.xcom

    def mark(self, marker: Marker) -> Any:
        """Write the marker; give the XCom of the one that stands."""
        return self.ledger.mark(marker).xcom
