"""The attempts of a Spark job without a cluster: claim, call, record; find again, look, conclude, stop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from airflow_batchemr.aws.emr.job_runs import Eks, Serverless
from airflow_batchemr.aws.emr.submissions import MARGIN, StoppedError
from airflow_batchemr.aws.errors import AwsError, Refused, Unknown
from airflow_batchemr.core.indices import IndexSet
from airflow_batchemr.ledger.records import Failure, Handle, HandleJob, Request, Result, StopRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from airflow_batchemr.aws.clients import Clients
    from airflow_batchemr.aws.emr.job_runs import JobRun, JobRunTarget
    from airflow_batchemr.engine.job_identity import JobIdentity
    from airflow_batchemr.ledger import JobLedger, LedgerState, Submission
    from airflow_batchemr.ledger.records import Outcome

#: A job run is one piece of work.
ONE = IndexSet.of([0])
#: Seconds between two looks at an attempt that another process may just be starting.
PAUSE = 3.0


def job_run_target(on: dict[str, Any]) -> JobRunTarget:
    """Where `on:` points to: plain values of `{emr_serverless: …}` or `{emr_eks: …}`."""
    if serverless := on.get("emr_serverless"):
        return Serverless(serverless["application"], serverless["role"], None, serverless.get("log_uri"))
    eks = on["emr_eks"]
    return Eks(eks["virtual_cluster"], eks["role"], eks["release"], eks.get("log_uri"))


@dataclass
class RunMove:
    """What is to be done next."""

    action: Literal["wait", "mark", "fail"]
    state: LedgerState
    number: int = 0
    run_id: str = ""
    before: set[int] = field(default_factory=set)
    run: JobRun | None = None


class JobRunSubmissions:
    """Brings a job run forward as far as it goes without waiting.

    Args:
        clients: AWS.
        ledger: of the job.
        identity: whose work it is.
        place: where it runs.
        sleep: waits.
        stopping: whether the task has been killed.
    """

    def __init__(
        self,
        clients: Clients,
        ledger: JobLedger,
        identity: JobIdentity,
        place: JobRunTarget,
        *,
        sleep: Callable[[float], object] = time.sleep,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._clients = clients
        self._ledger = ledger
        self._identity = identity
        self._place = place
        self._sleep = sleep
        self._stopping = stopping
        self.before: Collection[int] | None = None
        """Attempts whose failures are those of earlier tries, from the moment on at which they are known."""

    def run(
        self,
        state: LedgerState,
        rerun_token: str | None,
        before: Iterable[int] | None,
        request: Callable[[int], dict[str, Any]],
    ) -> RunMove:
        """Read, adopt, look, conclude, start.

        Args:
            state: the ledger as just read.
            fresh: token for new claims; one other than the state's begins a rerun.
            before: attempts whose failures are those of earlier tries; None at the start of a try.
            request: makes StartJobRun's arguments for the number of an attempt.

        Raises:
            AwsError: a call failed.
            StoppedError: the task was killed. Nothing runs.
        """
        forgiven = None if before is None else set(before)
        while True:
            rerun = rerun_token != state.rerun_token
            if forgiven is None:
                forgiven = set()
                at_start = True
            else:
                at_start = False
            for submission in [*state.stale_submissions, *state.open_submissions]:
                run_id = self._adopt(submission, state)
                if run_id is None:
                    continue
                if rerun or submission in state.stale_submissions:
                    self.stop(submission.number, run_id, "a rerun was asked for", by="rerun")
                elif submission.stop is not None:
                    self._place.cancel(self._clients, run_id)
                run = self._place.describe(self._clients, run_id)
                if not rerun and run is not None and not run.ended:
                    return RunMove("wait", state, submission.number, run_id, forgiven)
                result = self._conclude(submission, run_id, run)
                if at_start:
                    forgiven.add(submission.number)
                if not rerun and result.outcome == "failed" and submission.number not in forgiven:
                    return RunMove("fail", state, submission.number, run_id, forgiven, run)
            self.before = forgiven
            state = self._ledger.read()
            if rerun_token == state.rerun_token and state.done == ONE:
                return RunMove("mark", state, max(state.numbers), before=forgiven)
            if rerun_token == state.rerun_token and state.open_submissions:
                self._sleep(PAUSE)  # another process may be in the middle of its call
                state = self._ledger.read()
                continue
            number = state.next_number
            started = self._start(number, request(number), rerun_token)
            if started is not None:
                return RunMove("wait", state, number, started, forgiven)
            state = self._ledger.read()

    def _start(self, number: int, request: dict[str, Any], rerun_token: str | None) -> str | None:
        name = self._identity.submission_name(number)
        requests = [Request(name=name, indices=ONE, request=request)]
        where = {"where": self._place.where}
        intent = self._identity.intent(number, self._place.kind, requests, ONE, rerun_token=rerun_token, details=where)
        if not self._ledger.claim(number, intent):
            return None
        if self._stopping() or self._ledger.lease_left(number) < MARGIN:
            self._ledger.record_handle(number, Handle(kind=self._place.kind, abandoned=True))
            self._not_stopped()
            return None
        try:
            run_id = self._place.start(self._clients, request)
        except Unknown:
            return None  # looked for by its name in the next round
        except AwsError as error:
            self._ledger.record_handle(number, Handle(kind=self._place.kind, abandoned=True))
            if isinstance(error, Refused):
                failure = Failure(reason=str(error), cause="refused")
                self._ledger.record_result(number, self._result("failed", rerun_token, [failure], {}))
            raise
        mine = Handle(kind=self._place.kind, jobs=[HandleJob(job_id=run_id, name=name, indices=ONE)])
        stands = self._ledger.record_handle(number, mine)
        if stands.abandoned:
            self._place.cancel(self._clients, run_id)
            return None
        if self._stopping():
            self.stop(number, run_id, "the task was killed", by="person")
        self._not_stopped()
        return stands.jobs[0].job_id

    def _not_stopped(self) -> None:
        if self._stopping():
            raise StoppedError

    def _adopt(self, submission: Submission, state: LedgerState) -> str | None:
        """The run of an open attempt; None while it is not known, or where it never reached AWS (which is recorded)."""
        if submission.handle is not None:
            return submission.handle.jobs[0].job_id if submission.handle.jobs else None
        if submission.intent is None:  # half a record: whoever wrote it has not got to the call
            if state.lease_ended(submission):
                self._ledger.abandon(submission, self._place.kind)
            return None
        run_id = self._place.find(self._clients, submission.intent.name, submission.intent.written_at)
        if run_id is None:
            if state.lease_ended(submission):
                self._ledger.abandon(submission, self._place.kind)
            return None
        job = HandleJob(job_id=run_id, name=submission.intent.name, indices=ONE)
        stands = self._ledger.record_handle(submission.number, Handle(kind=self._place.kind, jobs=[job]))
        return stands.jobs[0].job_id if stands.jobs else None

    def _conclude(self, submission: Submission, run_id: str, run: JobRun | None) -> Result:
        outcome: Outcome = "failed"
        if run is None:
            outcome = "lost"
        elif run.succeeded:
            outcome = "succeeded"
        elif submission.stop is not None or self._ledger.stop_request(submission.number) is not None:
            outcome = "stopped"
        reason = "AWS does not know it" if run is None else f"{run.state}: {run.reason}" if run.reason else run.state
        failures = [] if outcome == "succeeded" else [Failure(index=0, reason=reason, job_id=run_id)]
        result = self._result(outcome, submission.rerun_token, failures, run.said if run else {})
        return self._ledger.record_result(submission.number, result)

    def _result(
        self, outcome: Outcome, rerun_token: str | None, failures: list[Failure], said: dict[str, Any]
    ) -> Result:
        return Result(
            kind=self._place.kind,
            outcome=outcome,
            indices=ONE,
            succeeded=ONE if outcome == "succeeded" else IndexSet(),
            rerun_token=rerun_token,
            failures=failures,
            details={"job_run": said},
        )

    def stop(self, number: int, run_id: str, reason: str, *, by: str) -> None:
        """Leave word that an attempt is to end, then cancel its run."""
        self._ledger.ask_stop(number, StopRequest(reason=reason, by=by))
        self._place.cancel(self._clients, run_id)

    def stop_all(self, numbers: Iterable[int] | None, reason: str, *, by: str) -> None:
        """Stop the open attempts; of all of them where no numbers are given."""
        state = self._ledger.read()
        wanted = None if numbers is None else set(numbers)
        for submission in state.open_submissions:
            run_id = self._adopt(submission, state) if wanted is None or submission.number in wanted else None
            if run_id is not None:
                self.stop(submission.number, run_id, reason, by=by)


def stop_job_run(
    clients: Clients, ledger: JobLedger, identity: JobIdentity, submission: Submission, reason: str, *, by: str
) -> None:
    """Stop an attempt by what the ledger alone says of it: for those who do not have the job's words."""
    if submission.intent is None:
        return
    where = str(submission.intent.details.get("where", ""))
    place = Serverless(where, "") if submission.intent.kind == "emr_serverless" else Eks(where, "")
    JobRunSubmissions(clients, ledger, identity, place).stop_all([submission.number], reason, by=by)
