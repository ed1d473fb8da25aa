"""Common base of the operators: identity in the ledger, passes of the engine, and their outcomes."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_batchemr import settings
from airflow_batchemr.aws.outage import FAILURES, passing, settling
from airflow_batchemr.connections import as_airflow_error, mask, submission_secrets
from airflow_batchemr.core.secret_values import without
from airflow_batchemr.engine import decide
from airflow_batchemr.engine.loop import Engine, NotRunningError, StoppedError, SupersededError
from airflow_batchemr.engine.submission_records import REFUSED
from airflow_batchemr.engine.submissions import describe, stop
from airflow_batchemr.engine.waiters import cleared, record_waiter, still_ours
from airflow_batchemr.ledger import LedgerState, Marker, StopRequest
from airflow_batchemr.links.base import push_links
from airflow_batchemr.links.history import HistoryLink
from airflow_batchemr.links.ledger import LedgerLink
from airflow_batchemr.operators.killing import insist, terminate_known
from airflow_batchemr.operators.ledger_access import LedgerAccess
from airflow_batchemr.operators.limits import NEWER_RUN, End, Limits
from airflow_batchemr.operators.options import job_option
from airflow_batchemr.operators.outages import defer_until_reachable
from airflow_batchemr.operators.rerun import RERUN, rerun_names
from airflow_batchemr.triggers.outage import AGAIN
from airflow_batchemr.triggers.task_state import task_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_batchemr.dags.rendered_policy import RenderedPolicy
    from airflow_batchemr.engine.backend import Backend
    from airflow_batchemr.engine.outcome import Outcome
    from airflow_batchemr.ledger import Submission
    from airflow_batchemr.links.base import AwsLink
    from airflow_batchemr.triggers.base import LedgerTrigger

#: `Failure.cause` of failures that are not caused by the user's program.
PLATFORM_CAUSES = frozenset({"platform", "spot"})


class LedgerOperator(LedgerAccess, ABC):
    """An operator whose work is recorded in the ledger and runs once per run key, even after crashes.

    Each execution, and each resume after a deferral, makes one pass of the engine from the ledger alone, because
    Airflow creates a new operator each time.

    Args:
        skip_if_succeeded: Whether a task with a success marker ends in success, with its earlier XCom.
        deadline: Maximum duration of the work from its first submission, such as 6h (a number is
            seconds). Then it is stopped and the task fails.
        **kwargs: Arguments of `LedgerAccess` and of Airflow's BaseOperator.
    """

    template_fields: Sequence[str] = (*LedgerAccess.template_fields, "skip_if_succeeded", "deadline")

    #: Arguments that are options of a job in a pipeline file; see `job_option`.
    job_option_names: Sequence[str] = ("skip_if_succeeded", "deadline")
    #: Whether clearing a task stops the work that it waits for.
    stops_when_cleared = True
    #: Whether Airflow also retries requests that AWS refuses.
    retry_every_failure = False

    #: The organization's policy for options that templates provide; set in Dags of pipeline files.
    rendered_policy: RenderedPolicy | None = None
    #: The engine of the pass, available once the options have been checked.
    engine: Engine | None = None
    #: When this try began, by Airflow's clock.
    _began: datetime | None = None
    #: Numbers of the submissions that were open when the ledger was read.
    _open: Sequence[int] = ()
    #: Open submissions as last known, which are terminated if the ledger cannot be read when the task is killed.
    _known: Sequence[Submission] = ()

    def __init__(
        self,
        *,
        skip_if_succeeded: bool = True,
        deadline: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.skip_if_succeeded = job_option("skip_if_succeeded", skip_if_succeeded)
        self.deadline = job_option("deadline", deadline)
        self._killed = threading.Event()

    # For subclasses

    @abstractmethod
    def backend(self, state: LedgerState, rerun_token: str | None) -> Backend:
        """Check the options and return the backend of the work. Nothing is submitted.

        Raises:
            InvalidRequest: Names the option.
        """

    @abstractmethod
    def trigger(self, outcome: Outcome, common: dict[str, Any]) -> LedgerTrigger:
        """Return a trigger that waits for running work.

        Args:
            outcome: Outcome with the open submissions.
            common: Arguments common to all triggers.
        """

    @abstractmethod
    def finish(self, outcome: Outcome) -> Any:
        """Write the marker, if the work has one, and return the XCom."""

    @abstractmethod
    def report(self, context: Context, outcome: Outcome) -> str:
        """Return the reason of the failure. May defer until logs have arrived."""

    def on_event(self, event: Mapping[str, Any], state: LedgerState) -> None:
        """Handle an event of a trigger other than the end of the work or a deadline."""

    def blocked(self, outcome: Outcome) -> None:
        """Check that the job that this one waits for can still run. Called while nothing of this job runs."""

    def addresses(self, outcome: Outcome) -> dict[type[AwsLink], str]:  # noqa: ARG002 - for subclasses
        """Return the console URLs of the work, by link class."""
        return {}

    # One pass

    def execute(self, context: Context) -> Any:
        """Return the XCom of the marker if the work is done, else start or continue the work."""
        return self._pass(context, None, {})

    def resume(self, context: Context, event: Mapping[str, Any] | None = None) -> Any:
        """Continue after a deferral: `defer(trigger=…, method_name="resume")`."""
        event = event or {}
        if event.get("status") == AGAIN:
            return self._pass(context, event["event"], event)
        return self._pass(context, event, {})

    def _pass(self, context: Context, event: Mapping[str, Any] | None, outage: Mapping[str, Any]) -> Any:
        """Make a pass. If AWS cannot be reached, defer and repeat it later.

        Args:
            context: Airflow's context.
            event: None at the start of a try; the payload of the trigger after a deferral.
            outage: Payload of the last `OutageTrigger`; empty if AWS could be reached before.
        """
        with as_airflow_error(retry=self.retry_every_failure):
            try:
                return self._advance(context, event)
            except FAILURES as error:
                # Submitted work needs a task that watches it, so refusals are tolerated for some minutes
                claimed = self.engine is not None and self.engine.claimed
                begun = event is not None or bool(self._open) or claimed or context["ti"].try_number > 1
                refused = self.engine is not None and error is self.engine.refused
                if not passing(error) and (refused or not (begun and settling(error))):
                    raise
                self._try_again_later(error, event, outage)

    def _advance(self, context: Context, event: Mapping[str, Any] | None) -> Any:
        self.open_run(context)
        self._began = getattr(context["ti"], "start_date", None)
        for name in self.job_option_names:  # another task may have provided it
            setattr(self, name, job_option(name, getattr(self, name)))
        state = self.ledger.read()
        self._known = [submission for submission in state.submissions if submission.open]
        self._open = [submission.number for submission in self._known]
        if self.succeeded(state, context):  # another try may have finished it in the meantime
            return self.skipped(state, context)
        if event is None:
            state = self._stop_what_was_cleared(state)
        limits = self._limits(context)
        end = limits.end(event, state)
        if end is not None and end.by == NEWER_RUN and state.open_submissions:
            self._end(end)
        if event is not None and event.get("status") == "denied":
            raise AirflowFailException(
                f"{event['message'].rstrip('.')}. The work on AWS was left running. Fix the cause, then clear the "
                "task. Finished work is kept; the rest runs again"
            )
        if event is None and not state.open_submissions and self.unneeded(context):
            return None
        rerun_token = self.token_for_claims(state, context)
        self.engine = Engine(
            self.backend(state, rerun_token),
            self.remote(),
            self.ledger,
            self.identity,
            settings.engine_policy(),
            began=self._began,
            stopping=lambda: self._killed.is_set() or end is not None,
            running=self.running_in_airflow,
        )
        if event is not None:
            if event.get("status") == "deadline":
                self._end(limits.at_deadline())
            self.on_event(event, state)
        prior_submissions, missing = (event or {}).get("prior_submissions"), (event or {}).get("missing", ())
        try:
            outcome = self.engine.run(state, rerun_token, prior_submissions, missing)
        except (StoppedError, SupersededError, NotRunningError) as error:
            if end is not None and not self._killed.is_set():
                self._end(end)
            raise AirflowException(str(error)) from None
        return self._conclude(context, outcome)

    def _conclude(self, context: Context, outcome: Outcome) -> Any:
        self._known = outcome.waits
        numbers = [submission.number for submission in outcome.waits]
        record_waiter(self.ledger, self.identity, numbers)
        if outcome.action == "wait":
            if outcome.blocked is not None:
                self.log.error("Cannot submit more: %s. Waiting for the work that is still running", outcome.blocked)
            if self.engine is not None and self.engine.unavailable is not None:
                self.log.warning("Could not submit now, trying again later: %s", self.engine.unavailable)
            if not outcome.waits:
                self.blocked(outcome)
            for submission in outcome.waits:
                seen = outcome.observations.get(submission.number)
                text = describe(submission, seen.state if seen is not None else "")
                self.log.info("Waiting for submission %s: %s", submission.number, text)
            self._push_links(context, outcome)
            self.defer(trigger=self.trigger(outcome, self._common(context, outcome)), method_name="resume")
        if outcome.action == "succeed":
            return self.finish(outcome)
        return self._fail(context, outcome)

    def _fail(self, context: Context, outcome: Outcome) -> None:
        secrets = submission_secrets(self.ledger, outcome.failed_submissions)
        mask(secrets)
        raise self.failure(outcome, without(secrets, self.report(context, outcome)))

    def failure(self, outcome: Outcome, text: str) -> AirflowException:
        """Return the exception to raise for a failure, which Airflow retries only if a retry may help."""
        if outcome.lost:
            return AirflowFailException(
                f"{text}\nThis work may have succeeded, so it does not run again automatically. Check its output, then "
                "clear the task to run it again"
            )
        if any(failure.cause == REFUSED for failure in outcome.failures):
            return AirflowFailException(text)
        return AirflowException(text) if self.retryable(outcome) else self.program_failure(text)

    def retryable(self, outcome: Outcome) -> bool:
        """Return whether the platform failed, not the user's program."""
        return bool(outcome.failures) and all(failure.cause in PLATFORM_CAUSES for failure in outcome.failures)

    def _limits(self, context: Context) -> Limits:
        return Limits(
            self.ledger,
            self.identity,
            self.deadline,
            self.execution_timeout,
            run_began=getattr(context["dag_run"], "start_date", None),
            try_began=self._began,
        )

    def _end(self, end: End) -> None:
        """Stop the rest of the work and fail the task. As in Airflow, `retries` apply to `execution_timeout` only."""
        state = self.ledger.read()
        # So that the next try recognizes a clear, also for what no try has waited for
        record_waiter(self.ledger, self.identity, [one.number for one in state.current])
        ours = still_ours(self.ledger, self.identity, state.open_submissions, self._began)
        stop(self.ledger, self.remote(), ours, end.reason, by=end.by)
        raise (self.program_failure if end.retryable else AirflowFailException)(end.message)

    def _try_again_later(self, error: Exception, event: Mapping[str, Any] | None, outage: Mapping[str, Any]) -> None:
        prior_submissions = self.engine.prior_submissions if self.engine is not None else None
        if prior_submissions is not None:  # the try has begun, so later failures belong to it
            event = {**(event or {"status": "wake"}), "prior_submissions": sorted(prior_submissions)}
        known = self._open or outage.get("submissions") or (event or {}).get("submissions") or ()
        defer_until_reachable(
            self, error, event=event, outage=outage, submissions=known, prior_submissions=prior_submissions
        )

    def _common(self, context: Context, outcome: Outcome) -> dict[str, Any]:
        now = time.time()
        return {
            "identity": self.identity.values(),
            "submissions": [submission.number for submission in outcome.waits],
            "prior_submissions": sorted(outcome.prior_submissions),
            "aws_conn_id": self.aws_conn_id,
            "region": self.region,
            "deadline": self._limits(context).due(outcome.state),
            "wake_at": None if outcome.wake_after is None else now + outcome.wake_after,
            "deferred_at": now,
        }

    def _push_links(self, context: Context, outcome: Outcome) -> None:
        addresses: dict[type[AwsLink], str] = {
            HistoryLink: HistoryLink.address(self.identity),
            LedgerLink: LedgerLink.address(self.clients.region, self.ledger.uri),
        }
        push_links(context, {**addresses, **self.addresses(outcome)})

    # Clears, reruns, markers

    def _stop_what_was_cleared(self, state: LedgerState) -> LedgerState:
        """Record a stop request for the submissions that the task waited for before a user cleared it.

        Returns:
            The state, including the stop requests.
        """
        if not self.stops_when_cleared or self.identity.try_number == 1:  # there was nothing to clear
            return state
        open_ = [submission.number for submission in state.open_submissions if submission.stop is None]
        numbers = cleared(self.ledger, self.identity, open_)
        by = f"try {self.identity.try_number}"
        for number in numbers:
            self.ledger.request_stop(number, StopRequest(reason="the task was cleared", by=by))
        return self.ledger.read() if numbers else state

    def rerun_wanted(self, context: Context) -> bool:
        """Return whether the run's `rerun` contains this job or task."""
        return bool(rerun_names(context) & {self.job or self.task_id, self.task_id, self.identity.job})

    def succeeded(self, state: LedgerState, context: Context) -> bool:
        """Whether the work is done and does not have to run again."""
        return decide.succeeded(
            state, self.identity, skip_if_succeeded=self.skip_if_succeeded, rerun_wanted=self.rerun_wanted(context)
        )

    def unneeded(self, context: Context) -> bool:  # noqa: ARG002 - for subclasses
        """Return whether nothing needs the work, although it is not done."""
        return False

    def token_for_claims(self, state: LedgerState, context: Context) -> str | None:
        """The rerun token for claims of this try."""
        return decide.token_for_claims(
            state, self.identity, skip_if_succeeded=self.skip_if_succeeded, rerun_wanted=self.rerun_wanted(context)
        )

    def skipped(self, state: LedgerState, context: Context) -> Any:  # noqa: ARG002 - subclasses push links
        """Log that nothing is left to do, and return the XCom of the marker."""
        marker = state.marker
        assert marker is not None  # noqa: S101 - `succeeded` has checked
        self.log.info(
            "Run key %s already succeeded on %s: nothing to run. Marker: %s. To run the job again, name %r in the "
            "run's %r param, or set skip_if_succeeded: false.",
            self.identity.run_key,
            marker.finished_at,
            self.ledger.marker_uri,
            self.job or self.task_id,
            RERUN,
        )
        return marker.xcom

    def mark(self, outcome: Outcome, size: int, xcom: Mapping[str, Any] | None = None) -> Any:
        """Write the marker and return the XCom of the recorded one.

        Args:
            outcome: Outcome of the pass.
            size: Number of units of the job.
            xcom: Values that the task returns, in addition to those of all tasks.
        """
        numbers = outcome.state.numbers
        value = {
            "run_key": self.identity.run_key,
            "job": self.identity.job,
            **(xcom or {}),
            "submissions": len(numbers),
            "ledger": self.ledger.uri,
        }
        token = outcome.state.rerun_token
        marker = Marker(submission=max(numbers, default=0), size=size, rerun_token=token, xcom=value)
        return self.ledger.mark(marker).xcom

    # Kills

    def running_in_airflow(self) -> bool:
        """Return whether Airflow considers the task to be running. One request to Airflow."""
        return task_state(self.identity) == "running"

    def on_kill(self) -> None:
        """Stop the work that this task has started. Called when it is cleared, marked or killed while running."""
        self._killed.set()
        if not hasattr(self, "identity"):
            return
        limit = settings.engine_policy().kill_limit
        known = self._known
        if not insist(self._stop_ours, limit / 2 if known else limit, self.log) and known:
            numbers = [submission.number for submission in known]
            self.log.warning("Killed: terminating submissions %s without the ledger", numbers)
            insist(lambda: terminate_known(self.remote(), known, "the task was killed"), limit / 2, self.log)

    def _stop_ours(self) -> None:
        running = still_ours(self.ledger, self.identity, self.ledger.read().open_submissions, self._began)
        self.log.info("Killed: stopping submissions %s", [submission.number for submission in running])
        stop(self.ledger, self.remote(), running, "the task was killed", by=f"try {self.identity.try_number}")
